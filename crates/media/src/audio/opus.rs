//! Opus in Ogg ([RFC 7845](https://www.rfc-editor.org/rfc/rfc7845)), by ropus: libopus in Rust, bit for bit.

use std::io::Cursor;

use ogg::writing::PacketWriteEndInfo;
use ogg::{PacketReader, PacketWriter};
use ropus::{Application, Bitrate, Channels, DecodeMode, Decoder, Encoder};

use super::encode::not_empty;
use super::read::{SoundLimits, too_long};
use super::{Audio, MAX_CHANNELS};
use crate::error::{MediaError, size};
use crate::label::{Origin, opus_tags};

/// What files are decoded at, and what their times are told in.
const RATE: u32 = 48_000;

/// Rates that are encoded as they are; others are brought to the last.
const RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];

/// Bits a second of one channel and of two, at which nobody hears a difference.
const BITS: [u32; 2] = [64_000, 128_000];

/// Most bytes of one packet, and most moments that it stands for (120 ms).
const PACKET: usize = 4000;
const LONGEST: usize = 5760;

/// Names the one stream of a file; always the same, as the same sound makes the same file.
const SERIAL: u32 = 0x6D65_646C;

const HEAD: &[u8] = b"OpusHead";

/// The first packet: version 1, channels, what is to be left out at the beginning, the rate of what was encoded, gain 0, the
/// channels as they come.
fn head(channels: u8, skip: u16, rate: u32) -> Vec<u8> {
    let mut head = HEAD.to_vec();
    head.extend([1, channels]);
    head.extend(skip.to_le_bytes());
    head.extend(rate.to_le_bytes());
    head.extend([0, 0, 0]);
    head
}

fn failed(reason: impl ToString) -> MediaError {
    MediaError::EncodeSound {
        format: "Opus",
        reason: reason.to_string(),
    }
}

pub(super) fn encode(audio: &Audio, origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    not_empty(audio)?;
    let audio = audio.at_most_stereo();
    let (mut writer, mut out) = OpusWriter::begin(audio.rate(), audio.channels(), origin)?;
    out.extend(writer.push(&audio)?);
    out.extend(writer.finish()?);
    Ok(out)
}

/// A file that grows.
pub(super) struct OpusWriter {
    encoder: Encoder,
    writer: PacketWriter<'static, Vec<u8>>,
    rate: u32,
    channels: usize,
    /// Samples that are no whole frame yet.
    waiting: Vec<i16>,
    /// The packet before the next, whose place in the file is not known yet, and its time.
    packet: Option<(Vec<u8>, u64)>,
    /// Moments that came in, and that were encoded.
    heard: u64,
    encoded: u64,
    skip: u64,
}

impl OpusWriter {
    /// Begins a file of one or two channels; what it begins with comes with it.
    pub(super) fn begin(
        original: u32,
        channels: u16,
        origin: Origin<'_>,
    ) -> Result<(Self, Vec<u8>), MediaError> {
        let rate = match RATES.contains(&original) {
            true => original,
            false => RATE,
        };
        let (places, bits) = match channels {
            1 => (Channels::Mono, BITS[0]),
            _ => (Channels::Stereo, BITS[1]),
        };
        let encoder = Encoder::builder(rate, places, Application::Audio)
            .bitrate(Bitrate::Bits(bits))
            .build()
            .map_err(failed)?;
        // Told in samples of the encoder's rate.
        let skip = encoder.lookahead() * (RATE / rate);
        let mut file = Self {
            encoder,
            writer: PacketWriter::new(Vec::new()),
            rate,
            channels: usize::from(channels),
            waiting: Vec::new(),
            packet: None,
            heard: 0,
            encoded: 0,
            skip: u64::from(skip),
        };
        let head = head(
            channels as u8,
            u16::try_from(skip).unwrap_or(u16::MAX),
            original,
        );
        file.put(head, PacketWriteEndInfo::EndPage, 0)?;
        file.put(opus_tags(origin)?, PacketWriteEndInfo::EndPage, 0)?;
        let first = file.ready();
        Ok((file, first))
    }

    fn put(
        &mut self,
        packet: Vec<u8>,
        end: PacketWriteEndInfo,
        time: u64,
    ) -> Result<(), MediaError> {
        let written = self.writer.write_packet(packet, SERIAL, end, time);
        written.map_err(failed)
    }

    /// What was written since.
    fn ready(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.inner_mut())
    }

    /// Times are told in 48 kHz.
    fn scale(&self) -> u64 {
        u64::from(RATE / self.rate)
    }

    /// The sound goes on, in the channels of the file.
    pub(super) fn push(&mut self, audio: &Audio) -> Result<Vec<u8>, MediaError> {
        let audio = audio.resampled(self.rate)?;
        self.heard += audio.frames() as u64;
        self.waiting.extend(audio.to_pcm16()?);
        self.encode(PacketWriteEndInfo::EndPage)?;
        Ok(self.ready())
    }

    /// Encodes all whole frames that wait. `last` says how the page of the last ends.
    fn encode(&mut self, last: PacketWriteEndInfo) -> Result<(), MediaError> {
        let frame = self.rate as usize / 50;
        let size = frame * self.channels;
        let whole = self.waiting.len() / size;
        let mut packet = vec![0; PACKET];
        for index in 0..whole {
            let part = &self.waiting[index * size..(index + 1) * size];
            let length = self.encoder.encode(part, &mut packet).map_err(failed)?;
            self.encoded += frame as u64;
            let time = self.encoded * self.scale();
            let next = Some((packet[..length].to_vec(), time));
            if let Some((before, time)) = std::mem::replace(&mut self.packet, next) {
                let end = if index + 1 == whole {
                    last
                } else {
                    PacketWriteEndInfo::NormalPacket
                };
                self.put(before, end, time)?;
            }
        }
        self.waiting.drain(..whole * size);
        Ok(())
    }

    /// The sound is at its end.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, MediaError> {
        let frame = self.rate as usize / 50;
        let end = self.heard * self.scale() + self.skip;
        // As much silence behind it as the encoder looks ahead, and up to a whole frame.
        let moments = end.div_ceil(self.scale()).next_multiple_of(frame as u64);
        let missing = usize::try_from(moments.saturating_sub(self.encoded)).unwrap_or(0);
        self.waiting.resize(missing * self.channels, 0);
        self.encode(PacketWriteEndInfo::NormalPacket)?;
        if let Some((packet, time)) = self.packet.take() {
            self.put(packet, PacketWriteEndInfo::EndStream, time.min(end))?;
        }
        Ok(self.ready())
    }
}

/// Whether a file is Ogg with Opus in it.
pub(super) fn is_opus(bytes: &[u8]) -> bool {
    // The first page has one packet, behind a head of 28 bytes.
    bytes.starts_with(b"OggS") && bytes.get(28..36) == Some(HEAD)
}

/// What the first packet says.
struct Head {
    channels: u16,
    skip: usize,
    gain: i16,
}

fn read_head(packet: &[u8]) -> Result<Head, MediaError> {
    let damaged = || MediaError::damaged_sound("its first packet is no head of Opus");
    let rest = packet.strip_prefix(HEAD).ok_or_else(damaged)?;
    let &[
        version,
        channels,
        skip0,
        skip1,
        _,
        _,
        _,
        _,
        gain0,
        gain1,
        family,
        ..,
    ] = rest
    else {
        return Err(damaged());
    };
    size(
        u16::from(channels) <= MAX_CHANNELS && version < 16,
        "the number of channels",
        channels,
        format!("1 to {MAX_CHANNELS}"),
    )?;
    if !matches!(channels, 1 | 2) || family > 1 {
        return Err(MediaError::damaged_sound(format!(
            "it has {channels} channels in an order of their own; Opus is read with one or two"
        )));
    }
    Ok(Head {
        channels: u16::from(channels),
        skip: usize::from(u16::from_le_bytes([skip0, skip1])),
        gain: i16::from_le_bytes([gain0, gain1]),
    })
}

/// Decodes Opus in Ogg, at 48 kHz. A file that is cut off gives what was there of it.
pub(super) fn decode(bytes: &[u8], limits: SoundLimits) -> Result<Audio, MediaError> {
    let mut reader = PacketReader::new(Cursor::new(bytes));
    let first = reader.read_packet().map_err(MediaError::damaged_sound)?;
    let first = first.ok_or(MediaError::UnknownSound)?;
    let head = read_head(&first.data)?;
    let channels = usize::from(head.channels);
    let places = if channels == 1 {
        Channels::Mono
    } else {
        Channels::Stereo
    };
    let mut decoder = Decoder::new(RATE, places).map_err(MediaError::damaged_sound)?;
    decoder
        .set_gain(i32::from(head.gain))
        .map_err(MediaError::damaged_sound)?;
    let mut samples: Vec<f32> = Vec::new();
    let mut part = vec![0.0f32; LONGEST * channels];
    let (mut tags, mut end) = (true, None);
    // A page that is damaged ends it, as it does where it is cut off.
    while let Ok(Some(packet)) = reader.read_packet() {
        if packet.stream_serial() != first.stream_serial() {
            continue;
        }
        if std::mem::take(&mut tags) || packet.data.is_empty() {
            continue;
        }
        // What cannot be decoded is left out, as players do.
        if let Ok(moments) = decoder.decode_float(&packet.data, &mut part, DecodeMode::Normal) {
            samples.extend_from_slice(&part[..(moments * channels).min(part.len())]);
        }
        if samples.len() > limits.samples {
            return Err(too_long(
                samples.len() as u64,
                limits.samples as u64,
                "samples",
            ));
        }
        if packet.last_in_stream() {
            end = usize::try_from(packet.absgp_page()).ok();
        }
    }
    if let Some(end) = end {
        samples.truncate(end.saturating_mul(channels));
    }
    samples.drain(..(head.skip * channels).min(samples.len()));
    samples
        .iter_mut()
        .filter(|s| !s.is_finite())
        .for_each(|s| *s = 0.0);
    Audio::new(RATE, head.channels, samples)
}
