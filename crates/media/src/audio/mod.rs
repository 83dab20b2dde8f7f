//! Sound: samples in memory, files in and out.
//!
//! Read are WAV, FLAC, MP3, Ogg with Vorbis or Opus, and AAC ([`read`], [`decode`]); written are WAV, FLAC, Opus and MP3 with
//! recipe and mark ([`Audio::encode`]), also piece by piece ([`SoundStream`]). The same sound and recipe give the same bytes,
//! always.

mod encode;
mod flac;
mod mel;
mod mp3;
mod opus;
mod read;
mod resample;
mod stream;
mod write;

use std::path::Path;

use crate::error::{MediaError, size};

pub use mel::{MEL_HOP, MEL_RATE, log_mel};
pub use read::{SoundLimits, decode, read};
pub use stream::SoundStream;
pub use write::{Depth, encode_wav};

/// The most channels of a sound.
const MAX_CHANNELS: u16 = 32;

/// A sound: its samples by time, the channels of one moment side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    rate: u32,
    channels: u16,
    samples: Vec<f32>,
}

impl Audio {
    /// A sound of `rate` samples a second and `channels` channels (1 or 2, mostly). `samples` are within -1 and
    /// 1, interleaved: of stereo left, right, left, right.
    ///
    /// # Errors
    /// [`MediaError::Size`] for a rate or number of channels that cannot be, or samples of half a moment.
    pub fn new(rate: u32, channels: u16, samples: Vec<f32>) -> Result<Self, MediaError> {
        size(
            (1..=768_000).contains(&rate),
            "the sample rate",
            rate,
            "1 to 768000 samples a second",
        )?;
        size(
            (1..=MAX_CHANNELS).contains(&channels),
            "the number of channels",
            channels,
            format!("1 to {MAX_CHANNELS}"),
        )?;
        size(
            samples.len().is_multiple_of(usize::from(channels)),
            "the number of samples",
            samples.len(),
            format!("a multiple of the {channels} channels"),
        )?;
        Ok(Self {
            rate,
            channels,
            samples,
        })
    }

    /// Samples a second of each channel.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The number of channels.
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// The samples, interleaved.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// The samples, interleaved, to change.
    pub fn samples_mut(&mut self) -> &mut [f32] {
        &mut self.samples
    }

    /// The samples themselves, interleaved.
    pub fn into_samples(self) -> Vec<f32> {
        self.samples
    }

    /// The number of moments: samples of one channel.
    pub fn frames(&self) -> usize {
        self.samples.len() / usize::from(self.channels)
    }

    /// How long it sounds.
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.rate)
    }

    /// One channel: the mean of all.
    pub fn to_mono(&self) -> Self {
        let channels = usize::from(self.channels);
        let share = 1.0 / f32::from(self.channels);
        Self {
            rate: self.rate,
            channels: 1,
            samples: self
                .samples
                .chunks_exact(channels)
                .map(|moment| moment.iter().sum::<f32>() * share)
                .collect(),
        }
    }
}

/// A sound format that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SoundFormat {
    /// Uncompressed.
    Wav,
    /// Compressed, nothing lost.
    Flac,
    /// Opus in Ogg: small, and good from the lowest rates on.
    Opus,
    /// What every player plays.
    Mp3,
}

impl SoundFormat {
    /// The format that a file's name asks for.
    ///
    /// # Errors
    /// [`MediaError::UnknownSoundExtension`] names the endings there are.
    pub fn from_path(path: &Path) -> Result<Self, MediaError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        match extension.to_ascii_lowercase().as_str() {
            "wav" | "wave" => Ok(Self::Wav),
            "flac" => Ok(Self::Flac),
            "opus" | "ogg" | "oga" => Ok(Self::Opus),
            "mp3" => Ok(Self::Mp3),
            _ => Err(MediaError::UnknownSoundExtension {
                name: path
                    .file_name()
                    .unwrap_or(path.as_os_str())
                    .to_string_lossy()
                    .into_owned(),
            }),
        }
    }

    /// The format that a file's first bytes show.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let is_frame = |head: &[u8]| head[0] == 0xFF && head[1] & 0xE6 == 0xE2;
        if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE") {
            Some(Self::Wav)
        } else if bytes.starts_with(b"fLaC") {
            Some(Self::Flac)
        } else if bytes.starts_with(b"OggS") {
            // Vorbis among them, which has the same name in the end.
            Some(Self::Opus)
        } else if bytes.starts_with(b"ID3") || bytes.get(..2).is_some_and(is_frame) {
            Some(Self::Mp3)
        } else {
            None
        }
    }

    /// Its MIME type.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Flac => "audio/flac",
            Self::Opus => "audio/ogg",
            Self::Mp3 => "audio/mpeg",
        }
    }
}
