//! WAV files ([Microsoft's description](https://learn.microsoft.com/en-us/windows/win32/medfound/tutorial--parsing-wav-files),
//! [RFC 2361](https://www.rfc-editor.org/rfc/rfc2361) for the codes of the sample formats).

use super::Audio;
use crate::error::{MediaError, size};
use crate::label::{Origin, wav_chunks};

/// How a sample is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// 16 bits, whole numbers: what every program plays. Samples beyond -1 and 1 are clipped.
    #[default]
    Int16,
    /// 32 bits, floating point: as it was computed.
    Float32,
}

impl Depth {
    fn code(self) -> u16 {
        match self {
            Self::Int16 => 1,
            Self::Float32 => 3,
        }
    }

    fn bytes(self) -> u16 {
        match self {
            Self::Int16 => 2,
            Self::Float32 => 4,
        }
    }
}

/// The sound as a WAV file, with recipe and mark as `origin` says.
///
/// # Errors
/// [`MediaError::SampleNotFinite`], [`MediaError::RecipeTooLong`], [`MediaError::Size`] for a sound of more bytes
/// than the format's four gibibytes.
pub fn encode_wav(audio: &Audio, depth: Depth, origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    if let Some(index) = audio.samples.iter().position(|s| !s.is_finite()) {
        return Err(MediaError::SampleNotFinite {
            index,
            value: audio.samples[index].to_string(),
        });
    }
    let label = wav_chunks(origin)?;
    let format = format_chunk(audio, depth);
    let data = audio.samples.len() * usize::from(depth.bytes());
    // Kind of file, three heads of chunks, how many moments there are; even lengths throughout.
    let total = 4 + 8 + format.len() + 8 + 4 + 8 + data + data % 2 + label.len();
    let all = u32::try_from(total);
    size(
        all.is_ok(),
        "the length of the sound",
        format!("{total} bytes"),
        "under 4 GiB in a WAV file",
    )?;
    let mut out = Vec::with_capacity(8 + total);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    put(&[b"RIFF", &length(total), b"WAVE"]);
    put(&[b"fmt ", &length(format.len()), &format]);
    put(&[b"fact", &length(4), &length(audio.frames())]);
    put(&[b"data", &length(data)]);
    match depth {
        Depth::Int16 => {
            for sample in &audio.samples {
                let level = (sample.clamp(-1.0, 1.0) * 32767.0).round() as i16;
                out.extend_from_slice(&level.to_le_bytes());
            }
        }
        Depth::Float32 => {
            for sample in &audio.samples {
                out.extend_from_slice(&sample.to_le_bytes());
            }
        }
    }
    // Behind the samples, where readers that know only the plain form never look.
    out.extend_from_slice(&label);
    Ok(out)
}

/// The 18 bytes that say how samples lie.
fn format_chunk(audio: &Audio, depth: Depth) -> Vec<u8> {
    let moment = audio.channels * depth.bytes();
    let mut chunk = Vec::new();
    chunk.extend_from_slice(&depth.code().to_le_bytes());
    chunk.extend_from_slice(&audio.channels.to_le_bytes());
    chunk.extend_from_slice(&audio.rate.to_le_bytes());
    chunk.extend_from_slice(&(audio.rate * u32::from(moment)).to_le_bytes());
    chunk.extend_from_slice(&moment.to_le_bytes());
    chunk.extend_from_slice(&(depth.bytes() * 8).to_le_bytes());
    // Nothing more follows.
    chunk.extend_from_slice(&0u16.to_le_bytes());
    chunk
}

/// Lengths whose sum was found to fit.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}
