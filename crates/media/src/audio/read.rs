//! Sound files of every kind, safe on hostile ones.

use std::fs;
use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use symphonia::core::audio::SampleBuffer;
use symphonia::core::codecs::{Decoder, DecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::probe::Hint;

use super::{Audio, MAX_CHANNELS, opus};
use crate::error::{MediaError, size};

/// What a file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundLimits {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Samples over all channels, once decoded: four bytes each.
    pub samples: usize,
}

impl Default for SoundLimits {
    /// Files up to 2 GiB; samples up to 4 hours of mono at 48 kHz, 2.6 GiB in memory.
    fn default() -> Self {
        Self {
            file_bytes: 2 << 30,
            samples: 4 * 3600 * 48_000,
        }
    }
}

/// Reads a WAV, FLAC, MP3, Ogg (Vorbis or Opus) or AAC file.
///
/// # Errors
/// [`MediaError::InFile`] around what [`decode`] returns, [`MediaError::Io`].
pub fn read(path: &Path, limits: SoundLimits) -> Result<Audio, MediaError> {
    let in_file = |source| MediaError::InFile {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let length = fs::metadata(path)
        .map_err(|e| MediaError::io(path, "read", e))?
        .len();
    if length > limits.file_bytes {
        return Err(in_file(too_long(length, limits.file_bytes, "bytes")));
    }
    let bytes = fs::read(path).map_err(|e| MediaError::io(path, "read", e))?;
    decode(bytes, limits).map_err(in_file)
}

/// Decodes the bytes of a sound file. A file that is cut off gives what was there of it.
///
/// # Errors
/// [`MediaError::UnknownSound`], [`MediaError::DamagedSound`], [`MediaError::Size`] beyond the limits or for
/// more channels than 32.
pub fn decode(bytes: Vec<u8>, limits: SoundLimits) -> Result<Audio, MediaError> {
    if opus::is_opus(&bytes) {
        return opus::decode(&bytes, limits);
    }
    if no_rate(&bytes) {
        return Err(MediaError::damaged_sound(
            "it says that a second has no samples",
        ));
    }
    // The decoders do arithmetic on what files say of themselves, and have been seen to panic on it.
    catch_unwind(AssertUnwindSafe(|| decode_others(bytes, limits)))
        .unwrap_or_else(|_| Err(MediaError::damaged_sound("its decoder gave up")))
}

/// Whether this is a WAV file of 0 samples a second.
fn no_rate(bytes: &[u8]) -> bool {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return false;
    }
    let mut rest = &bytes[12..];
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        if head.starts_with(b"fmt ") {
            return body.get(4..8) == Some(&[0u8; 4][..]);
        }
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        // Chunks begin at even places.
        rest = body.get(length.saturating_add(length % 2)..).unwrap_or(&[]);
    }
    false
}

fn decode_others(bytes: Vec<u8>, limits: SoundLimits) -> Result<Audio, MediaError> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let options = FormatOptions {
        enable_gapless: true,
        ..FormatOptions::default()
    };
    let probed = symphonia::default::get_probe()
        .format(&Hint::new(), stream, &options, &MetadataOptions::default())
        .map_err(|error| match error {
            Error::Unsupported(_) | Error::IoError(_) => MediaError::UnknownSound,
            other => MediaError::damaged_sound(other),
        })?;
    let mut format = probed.format;
    let track = format.default_track().ok_or(MediaError::UnknownSound)?;
    let id = track.id;
    let mut decoder = symphonia::default::get_codecs()
        .make(&track.codec_params, &DecoderOptions::default())
        .map_err(|_| MediaError::UnknownSound)?;
    collect(&mut *format, &mut *decoder, id, limits)
}

/// Decodes packet by packet. What cannot be decoded is left out, as players do.
fn collect(
    format: &mut dyn FormatReader,
    decoder: &mut dyn Decoder,
    id: u32,
    limits: SoundLimits,
) -> Result<Audio, MediaError> {
    let mut shape = declared(decoder)?;
    let mut samples: Vec<f32> = Vec::new();
    let mut broken = None;
    loop {
        let packet = match format.next_packet() {
            Ok(packet) if packet.track_id() == id => packet,
            Ok(_) => continue,
            Err(Error::IoError(e)) if e.kind() == ErrorKind::UnexpectedEof => break,
            Err(Error::ResetRequired) => break,
            Err(error) => return Err(MediaError::damaged_sound(error)),
        };
        let decoded = match decoder.decode(&packet) {
            Ok(decoded) => decoded,
            Err(error @ Error::DecodeError(_)) => {
                broken.get_or_insert(error);
                continue;
            }
            Err(Error::IoError(e)) if e.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(MediaError::damaged_sound(error)),
        };
        let spec = *decoded.spec();
        let found = (spec.rate, channel_count(spec.channels.count())?);
        if *shape.get_or_insert(found) != found {
            return Err(MediaError::damaged_sound(
                "its rate or channels change on the way",
            ));
        }
        let room = decoded.capacity() as u64;
        if room.saturating_mul(u64::from(found.1)) > limits.samples as u64 {
            return Err(too_long(room, limits.samples as u64, "samples"));
        }
        let mut buffer = SampleBuffer::<f32>::new(room, spec);
        buffer.copy_interleaved_ref(decoded);
        if samples.len() + buffer.samples().len() > limits.samples {
            let got = samples.len() + buffer.samples().len();
            return Err(too_long(got as u64, limits.samples as u64, "samples"));
        }
        samples.extend(buffer.samples().iter().map(finite));
    }
    match (shape, broken) {
        (_, Some(error)) if samples.is_empty() => Err(MediaError::damaged_sound(error)),
        (Some((rate, channels)), _) => Audio::new(rate, channels, samples),
        (None, _) => Err(MediaError::damaged_sound("there is nothing in it")),
    }
}

/// The rate and channels that the file declares.
fn declared(decoder: &dyn Decoder) -> Result<Option<(u32, u16)>, MediaError> {
    let parameters = decoder.codec_params();
    match (parameters.sample_rate, parameters.channels) {
        (Some(rate), Some(channels)) => Ok(Some((rate, channel_count(channels.count())?))),
        _ => Ok(None),
    }
}

fn channel_count(count: usize) -> Result<u16, MediaError> {
    let channels = u16::try_from(count).unwrap_or(u16::MAX);
    size(
        (1..=MAX_CHANNELS).contains(&channels),
        "the number of channels",
        count,
        format!("1 to {MAX_CHANNELS}"),
    )?;
    Ok(channels)
}

/// Float files may hold anything.
fn finite(sample: &f32) -> f32 {
    if sample.is_finite() { *sample } else { 0.0 }
}

pub(super) fn too_long(got: u64, allowed: u64, unit: &str) -> MediaError {
    MediaError::Size {
        what: "the length of the sound",
        got: format!("{got} {unit}"),
        allowed: format!("at most {allowed} {unit}"),
    }
}
