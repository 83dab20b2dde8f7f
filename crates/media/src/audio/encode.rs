//! Sound files of every kind that is written.

use super::{Audio, Depth, SoundFormat, encode_wav, flac, mp3, opus};
use crate::error::MediaError;
use crate::label::Origin;

impl Audio {
    /// The sound as a file of this format, with recipe and mark as `origin` says. Opus and MP3 lose what is hard to hear, and
    /// are brought to a rate that they have.
    ///
    /// # Errors
    /// [`MediaError::SampleNotFinite`], [`MediaError::RecipeTooLong`], [`MediaError::Size`] for a sound without samples, or
    /// of more channels or bytes than the format has.
    pub fn encode(&self, format: SoundFormat, origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
        match format {
            SoundFormat::Wav => encode_wav(self, Depth::Int16, origin),
            SoundFormat::Flac => flac::encode(self, origin),
            SoundFormat::Opus => opus::encode(self, origin),
            SoundFormat::Mp3 => mp3::encode(self, origin),
        }
    }

    /// The samples as whole numbers of 16 bits, those beyond -1 and 1 clipped.
    ///
    /// # Errors
    /// [`MediaError::SampleNotFinite`].
    pub fn to_pcm16(&self) -> Result<Vec<i16>, MediaError> {
        let whole = |(index, sample): (usize, &f32)| match sample.is_finite() {
            true => Ok((sample.clamp(-1.0, 1.0) * 32767.0).round() as i16),
            false => Err(MediaError::SampleNotFinite {
                index,
                value: sample.to_string(),
            }),
        };
        self.samples().iter().enumerate().map(whole).collect()
    }

    /// The same with at most two channels, all others mixed to one.
    pub(super) fn at_most_stereo(&self) -> std::borrow::Cow<'_, Self> {
        match self.channels() {
            1 | 2 => std::borrow::Cow::Borrowed(self),
            _ => std::borrow::Cow::Owned(self.to_mono()),
        }
    }
}

/// Refuses a sound in which there is nothing.
pub(super) fn not_empty(audio: &Audio) -> Result<(), MediaError> {
    crate::error::size(
        audio.frames() > 0,
        "the length of the sound",
        "no sample",
        "at least one sample",
    )
}
