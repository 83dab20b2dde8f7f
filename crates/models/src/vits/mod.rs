//! VITS (Kim et al., arXiv:2106.06103), as [Piper](https://github.com/rhasspy/piper) trains and publishes its voices:
//! phonemes to samples in one network. A transformer gives each phoneme a distribution; a flow says how long it lasts;
//! what is drawn goes backwards through another flow and then through a vocoder that was trained as a GAN.
//!
//! Weights have the names of Piper's own code, to which `medley_formats::onnx` brings back those of an ONNX file.

mod blocks;
mod decoder;
mod duration;
mod flow;
mod text;

use medley_nn::Weights;

use crate::{ConfigError, Result};
use decoder::Decoder;
use duration::Durations;
use flow::Flow;
use text::TextEncoder;

/// Longest sequence of phonemes with the empty ones between them.
pub const MAX_PHONEMES: usize = 4096;
/// Most frames of a piece: ten minutes of 86 a second.
const MAX_FRAMES: usize = 51_600;

/// Shape of a voice.
#[derive(Clone, Debug, PartialEq)]
pub struct VitsConfig {
    /// Phonemes of the alphabet.
    pub symbols: usize,
    /// Width of the text encoder.
    pub width: usize,
    /// Its layers.
    pub layers: usize,
    /// Its heads.
    pub heads: usize,
    /// How far phonemes see each other's distance.
    pub window: usize,
    /// Width of the latents.
    pub latent: usize,
    /// Speakers; 1 where the voice knows of none.
    pub speakers: usize,
}

impl VitsConfig {
    /// Reads the shape out of a voice's tensors.
    ///
    /// # Errors
    /// [`ConfigError`] where they are those of another model.
    pub fn from_weights(weights: &Weights) -> Result<Self> {
        let shape = |name: &str, dims: usize| -> Result<Vec<usize>> {
            match weights.shape(name)? {
                shape if shape.len() == dims => Ok(shape),
                other => Err(ConfigError::invalid(
                    name,
                    format!("of shape {other:?}"),
                    &format!("it has {dims} dimensions"),
                )),
            }
        };
        let emb = shape("enc_p.emb.weight", 2)?;
        let relative = shape("enc_p.encoder.attn_layers.0.emb_rel_k", 3)?;
        let there = |i: &usize| weights.has(&format!("enc_p.encoder.norm_layers_1.{i}.gamma"));
        let (width, dim) = (emb[1], relative[2]);
        if dim == 0 || width == 0 || !width.is_multiple_of(dim) {
            let expected = format!("it must divide the width {width}");
            return Err(ConfigError::invalid("the width of a head", dim, &expected));
        }
        Ok(Self {
            symbols: emb[0],
            width,
            layers: (0..64).take_while(there).count(),
            heads: width / dim,
            window: relative[1] / 2,
            latent: shape("enc_p.proj.bias", 1)?[0] / 2,
            speakers: match weights.has("emb_g.weight") {
                true => shape("emb_g.weight", 2)?[0],
                false => 1,
            },
        })
    }
}

/// Dilation and stride of a convolution by its name.
pub type ConvShape<'a> = dyn Fn(&str) -> [usize; 2] + 'a;

/// How a sentence is spoken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VitsParams {
    /// Deviation of the latents' noise.
    pub noise: f32,
    /// Deviation of the durations' noise.
    pub duration_noise: f32,
    /// What durations are multiplied by.
    pub length: f32,
    /// Number of the speaker.
    pub speaker: usize,
}

/// What a voice says.
#[derive(Clone, Debug, PartialEq)]
pub struct VitsSound {
    /// One channel.
    pub samples: Vec<f32>,
    /// Frames of each phoneme; all frames have the same number of samples.
    pub durations: Vec<usize>,
}

/// A voice with its weights.
pub struct Vits {
    config: VitsConfig,
    text: TextEncoder,
    durations: Durations,
    flow: Flow,
    decoder: Decoder,
    /// `[speakers, width]`
    speakers: Vec<f32>,
}

impl Vits {
    /// Makes every layer of `config` out of `weights`, which run on the CPU.
    ///
    /// # Errors
    /// [`ConfigError`] where a weight is missing or has another shape.
    pub fn new(config: VitsConfig, weights: &Weights, shape: &ConvShape<'_>) -> Result<Self> {
        let (speakers, vector) = match weights.has("emb_g.weight") {
            true => {
                let dims = weights.shape("emb_g.weight")?;
                let vector = dims.last().copied().unwrap_or(0);
                (weights.values("emb_g.weight", &dims)?, vector)
            }
            false => (Vec::new(), 0),
        };
        let sizes = [config.latent, vector];
        Ok(Self {
            text: TextEncoder::new(weights, &config)?,
            durations: Durations::new(weights, config.width, vector)?,
            flow: Flow::new(weights, sizes, &|name| shape(name)[0])?,
            decoder: Decoder::new(weights, sizes, &|name| shape(name))?,
            speakers,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &VitsConfig {
        &self.config
    }

    /// Phonemes by number to samples. `noise` gives normal numbers, first those of durations.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for too many phonemes, an unknown one, or a speaker that is not there.
    pub fn forward(
        &self,
        ids: &[u32],
        params: &VitsParams,
        noise: &mut dyn FnMut() -> f32,
    ) -> Result<VitsSound> {
        if ids.len() > MAX_PHONEMES || ids.is_empty() {
            let expected = format!("1 to {MAX_PHONEMES} are spoken at a time");
            return Err(ConfigError::invalid("phonemes", ids.len(), &expected));
        }
        let speaker = self.speaker(params.speaker)?;
        let (states, means, logs) = self.text.forward(ids)?;
        let mut draw = |deviation: f32| match deviation {
            0.0 => 0.0,
            deviation => noise() * deviation,
        };
        let drawn: Vec<[f32; 2]> = (0..ids.len())
            .map(|_| [draw(params.duration_noise), draw(params.duration_noise)])
            .collect();
        let lengths = self.durations.forward(&states, speaker, &drawn);
        let durations = self.frames(&lengths, params.length)?;
        let latent = self.config.latent;
        let mut x = Vec::new();
        for (i, &count) in durations.iter().enumerate() {
            let at = i * latent..(i + 1) * latent;
            for _ in 0..count {
                let both = means[at.clone()].iter().zip(&logs[at.clone()]);
                x.extend(both.map(|(mean, log)| mean + draw(params.noise) * log.exp()));
            }
        }
        self.flow.backward(&mut x, latent, speaker);
        Ok(VitsSound {
            samples: self.decoder.forward(&x, speaker),
            durations,
        })
    }

    fn speaker(&self, number: usize) -> Result<Option<&[f32]>> {
        if self.speakers.is_empty() {
            return match number {
                0 => Ok(None),
                other => Err(ConfigError::invalid(
                    "speaker",
                    other,
                    "the voice has one, 0",
                )),
            };
        }
        let count = self.config.speakers;
        let width = self.speakers.len() / count.max(1);
        match number < count {
            true => Ok(Some(&self.speakers[number * width..(number + 1) * width])),
            false => Err(ConfigError::invalid(
                "speaker",
                number,
                &format!("there are 0 to {}", count - 1),
            )),
        }
    }

    /// Frames of each phoneme; at least one altogether.
    fn frames(&self, logs: &[f32], length: f32) -> Result<Vec<usize>> {
        let frames = |log: &f32| (log.exp() * length).ceil().clamp(0.0, MAX_FRAMES as f32);
        let mut all: Vec<usize> = logs.iter().map(|log| frames(log) as usize).collect();
        let total: usize = all.iter().sum();
        if total == 0 {
            all[0] = 1;
        }
        match total <= MAX_FRAMES {
            true => Ok(all),
            false => Err(ConfigError::invalid(
                "frames",
                total,
                &format!("at most {MAX_FRAMES} are spoken at a time"),
            )),
        }
    }
}
