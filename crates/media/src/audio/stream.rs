//! Sound files that are sent while they are made.

use super::mp3::Mp3Writer;
use super::opus::OpusWriter;
use super::{Audio, SoundFormat};
use crate::error::MediaError;
use crate::label::{Origin, mp3_label, wav_chunks};

/// A file of one channel that grows: what is to be sent comes back from each step.
pub struct SoundStream {
    rate: u32,
    kind: Kind,
}

enum Kind {
    /// Whole numbers of 16 bits, the lower byte first, and no file around them.
    Raw,
    /// The same, behind a head whose lengths say that nobody knows them.
    Wav,
    Mp3(Mp3Writer),
    Opus(Box<OpusWriter>),
    /// Its head tells what is only known at the end.
    Flac {
        samples: Vec<f32>,
        recipe: Option<String>,
        marked: bool,
    },
}

impl SoundStream {
    /// Begins a file, raw samples where no format is given; what is to be sent first comes with it.
    ///
    /// # Errors
    /// As [`Audio::encode`].
    pub fn begin(
        format: Option<SoundFormat>,
        rate: u32,
        origin: Origin<'_>,
    ) -> Result<(Self, Vec<u8>), MediaError> {
        let (kind, first) = match format {
            None => (Kind::Raw, Vec::new()),
            Some(SoundFormat::Wav) => (Kind::Wav, wav_head(rate, origin)?),
            Some(SoundFormat::Mp3) => (Kind::Mp3(Mp3Writer::new(rate, 1)), mp3_label(origin)?),
            Some(SoundFormat::Opus) => {
                let (writer, first) = OpusWriter::begin(rate, 1, origin)?;
                (Kind::Opus(Box::new(writer)), first)
            }
            Some(SoundFormat::Flac) => {
                let (recipe, marked) = match origin {
                    Origin::Generated { recipe } => (recipe.map(str::to_owned), true),
                    _ => (None, false),
                };
                let samples = Vec::new();
                let kind = Kind::Flac {
                    samples,
                    recipe,
                    marked,
                };
                (kind, Vec::new())
            }
        };
        Ok((Self { rate, kind }, first))
    }

    /// The sound goes on.
    ///
    /// # Errors
    /// As [`Audio::encode`].
    pub fn push(&mut self, samples: &[f32]) -> Result<Vec<u8>, MediaError> {
        if samples.is_empty() {
            return Ok(Vec::new());
        }
        let piece = Audio::new(self.rate, 1, samples.to_vec())?;
        match &mut self.kind {
            Kind::Raw | Kind::Wav => {
                let whole = piece.to_pcm16()?;
                Ok(whole.into_iter().flat_map(i16::to_le_bytes).collect())
            }
            Kind::Mp3(writer) => writer.push(&piece),
            Kind::Opus(writer) => writer.push(&piece),
            Kind::Flac { samples: all, .. } => {
                all.extend_from_slice(samples);
                Ok(Vec::new())
            }
        }
    }

    /// The sound is at its end.
    ///
    /// # Errors
    /// As [`Audio::encode`].
    pub fn finish(self) -> Result<Vec<u8>, MediaError> {
        match self.kind {
            Kind::Raw | Kind::Wav => Ok(Vec::new()),
            Kind::Mp3(writer) => writer.finish(),
            Kind::Opus(writer) => writer.finish(),
            Kind::Flac {
                samples,
                recipe,
                marked,
            } => {
                let origin = match marked {
                    true => Origin::Generated {
                        recipe: recipe.as_deref(),
                    },
                    false => Origin::Collected,
                };
                Audio::new(self.rate, 1, samples)?.encode(SoundFormat::Flac, origin)
            }
        }
    }
}

/// What a WAV file without an end begins with; the label stands before the samples.
fn wav_head(rate: u32, origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    const UNKNOWN: [u8; 4] = [0xFF; 4];
    let mut head = Vec::new();
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
    put(&[b"RIFF", &UNKNOWN, b"WAVE", b"fmt ", &16u32.to_le_bytes()]);
    // Whole numbers, one channel, bytes a second and a moment, bits.
    put(&[
        &1u16.to_le_bytes(),
        &1u16.to_le_bytes(),
        &rate.to_le_bytes(),
    ]);
    put(&[
        &(rate * 2).to_le_bytes(),
        &2u16.to_le_bytes(),
        &16u16.to_le_bytes(),
    ]);
    put(&[&wav_chunks(origin)?, b"data", &UNKNOWN]);
    Ok(head)
}
