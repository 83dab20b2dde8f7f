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
    out.extend(frames(audio, true)?);
    Ok(out)
}

/// Samples of a channel that come out after the others: overlapping windows and the bank of filters.
const LATE: usize = 1152;

/// The sound without a label.
///
/// `last` says whether nothing comes behind it.
pub(super) fn frames(audio: &Audio, last: bool) -> Result<Vec<u8>, MediaError> {
    let failed = |reason: String| MediaError::EncodeSound {
        format: "MP3",
        reason,
    };
    let audio = audio.at_most_stereo();
    let rate = match RATES.contains(&audio.rate()) {
        true => audio.rate(),
        false => RATES[RATES.len() - 1],
    };
    let audio = audio.resampled(rate)?;
    let (mode, place) = match audio.channels() {
        1 => (ChannelMode::SingleChannel, 0),
        _ => (ChannelMode::Stereo, 1),
    };
    let bits = if rate <= 24_000 {
        LOW[place]
    } else {
        HIGH[place]
    };
    let mut encoder =
        Mp3Encoder::new(bits, rate, mode).map_err(|error| failed(error.to_string()))?;
    // The codec is late by less than this: silence behind the sound brings its end out.
    let mut samples = audio.to_pcm16()?;
    if last {
        samples.resize(samples.len() + LATE * usize::from(audio.channels()), 0);
    }
    encoder
        .push_samples(&samples)
        .map_err(|error| failed(error.to_string()))?;
    let mut out = Vec::new();
    encoder
        .finish(&mut out)
        .map_err(|error| failed(error.to_string()))?;
    Ok(out)
}
