//! MP3 files (MPEG-1 and -2 Layer III, ISO/IEC 11172-3 and 13818-3), by oxideav-mp3: its encoder was written from the
//! standard alone, under a licence that asks for nothing. Patents on the format have run out.

use oxideav_mp3::{ChannelMode, Mp3Encoder};

use super::Audio;
use super::encode::not_empty;
use crate::error::MediaError;
use crate::label::{Origin, mp3_label};

/// Rates that files have; others are brought to the last.
const RATES: [u32; 6] = [16_000, 22_050, 24_000, 32_000, 48_000, 44_100];

/// Thousands of bits a second, of one channel and of two; the lower ones for rates up to 24 kHz, whose ladder ends there. With
/// fewer this encoder falls far behind others: speech at 64 is 11 dB above its noise, at 160 it is 42.
const LOW: [u32; 2] = [160, 160];
const HIGH: [u32; 2] = [192, 320];

pub(super) fn encode(audio: &Audio, origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    not_empty(audio)?;
    let mut out = mp3_label(origin)?;
    let mut writer = Mp3Writer::new(audio.rate(), audio.channels());
    out.extend(writer.push(audio)?);
    out.extend(writer.finish()?);
    Ok(out)
}

/// Samples of a channel that come out after the others: overlapping windows and the bank of filters.
const LATE: usize = 1152;
/// Frames before a frame that its windows reach back to, and one more.
const BEFORE: usize = 3;

/// The frames of a sound that comes in pieces; the label is not among them.
///
/// The encoder gives its bytes at its end only. So each piece is encoded behind the last frames of the one before it,
/// whose bytes are left out: as no frame keeps bytes in another, what is left are the frames of one encoder over all.
pub(super) struct Mp3Writer {
    rate: u32,
    channels: usize,
    /// Samples of frames that were sent and still reach into the next, and of frames that are not whole.
    waiting: Vec<i16>,
    /// Frames at their beginning that were sent.
    sent: usize,
}

impl Mp3Writer {
    /// Of pieces with this rate and so many channels, of which two are kept.
    pub(super) fn new(rate: u32, channels: u16) -> Self {
        Self {
            rate: match RATES.contains(&rate) {
                true => rate,
                false => RATES[RATES.len() - 1],
            },
            channels: usize::from(channels.min(2)),
            waiting: Vec::new(),
            sent: 0,
        }
    }

    /// Thousands of bits a second.
    fn bits(&self) -> u32 {
        let each = if self.rate <= 24_000 { LOW } else { HIGH };
        each[self.channels - 1]
    }

    /// Samples of a frame, over all channels.
    fn frame(&self) -> usize {
        let moments = if self.rate <= 24_000 { 576 } else { 1152 };
        moments * self.channels
    }

    /// The sound goes on; the bytes of all frames that are whole.
    pub(super) fn push(&mut self, piece: &Audio) -> Result<Vec<u8>, MediaError> {
        let piece = piece.at_most_stereo().resampled(self.rate)?;
        self.waiting.extend(piece.to_pcm16()?);
        self.frames(self.waiting.len() / self.frame())
    }

    /// The sound is at its end, which silence behind it brings out.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, MediaError> {
        let length = self.waiting.len() + LATE * self.channels;
        let whole = length.div_ceil(self.frame());
        self.waiting.resize(whole * self.frame(), 0);
        self.frames(whole)
    }

    /// The bytes of those of the first `whole` frames that were not sent.
    fn frames(&mut self, whole: usize) -> Result<Vec<u8>, MediaError> {
        if whole <= self.sent {
            return Ok(Vec::new());
        }
        let failed = |reason: String| MediaError::EncodeSound {
            format: "MP3",
            reason,
        };
        let mode = match self.channels {
            1 => ChannelMode::SingleChannel,
            _ => ChannelMode::Stereo,
        };
        let mut encoder = Mp3Encoder::new(self.bits(), self.rate, mode)
            .map_err(|error| failed(error.to_string()))?;
        encoder
            .push_samples(&self.waiting[..whole * self.frame()])
            .map_err(|error| failed(error.to_string()))?;
        let mut out = Vec::new();
        encoder
            .finish(&mut out)
            .map_err(|error| failed(error.to_string()))?;
        let mut from = 0;
        for _ in 0..self.sent {
            from += self.length(&out[from.min(out.len())..]);
        }
        out.drain(..from.min(out.len()));
        let kept = whole.min(BEFORE);
        self.waiting.drain(..(whole - kept) * self.frame());
        self.sent = kept;
        Ok(out)
    }

    /// Bytes of the frame that these begin with: one more where its header says so.
    fn length(&self, bytes: &[u8]) -> usize {
        let moments = self.frame() / self.channels;
        let padded = bytes.get(2).is_some_and(|byte| byte & 2 != 0);
        moments / 8 * self.bits() as usize * 1000 / self.rate as usize + usize::from(padded)
    }
}
