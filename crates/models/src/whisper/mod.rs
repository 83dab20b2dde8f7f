//! [Whisper](https://arxiv.org/abs/2212.04356) (Radford et al. 2022): a spectrogram of speech to text.
//!
//! An encoder makes states of half a minute of sound, a decoder writes tokens that look at them: text, the language,
//! times. All published sizes are settings of [`WhisperConfig`]; weights come from Hugging Face's safetensors,
//! whisper.cpp's `ggml-*.bin` or CTranslate2's `model.bin`. Reference: transformers'
//! [modeling_whisper.py](https://github.com/huggingface/transformers/blob/main/src/transformers/models/whisper/modeling_whisper.py).

mod config;
mod decoder;
mod encoder;
mod names;

use medley_formats::Container;
use medley_nn::{Activation, LayerNorm, Linear, Tensor, Weights, tensor};

use crate::Result;
use names::Source;

pub use config::WhisperConfig;
pub use decoder::{Decoder, Gaze, Memory, Text};
pub use encoder::Encoder;
pub use names::Precision;

/// A model with its weights.
pub struct Whisper {
    config: WhisperConfig,
    /// Sound to states.
    pub encoder: Encoder,
    /// States and tokens to tokens.
    pub decoder: Decoder,
}

impl Whisper {
    /// Makes every layer of `config` out of `weights` of a file of this kind, which run on the CPU.
    ///
    /// # Errors
    /// [`ConfigError`](crate::ConfigError) where a weight is missing or has another size.
    pub fn new(
        config: WhisperConfig,
        kind: Container,
        weights: &Weights,
        precision: Precision,
    ) -> Result<Self> {
        let source = Source::new(weights, kind, precision);
        Ok(Self {
            encoder: Encoder::new(&config, &source)?,
            decoder: Decoder::new(&config, &source)?,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &WhisperConfig {
        &self.config
    }
}

/// Two layers with a GELU between, behind a norm; what comes in is added.
struct FeedForward {
    final_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl FeedForward {
    fn new(source: &Source<'_>, layer: &str, width: usize, inner: usize) -> Result<Self> {
        Ok(Self {
            final_layer_norm: source.norm(&format!("{layer}.final_layer_norm"), width)?,
            fc1: source.linear(&format!("{layer}.fc1"), inner, width)?,
            fc2: source.linear(&format!("{layer}.fc2"), width, inner)?,
        })
    }

    /// `[rows, width]` → the same shape.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.fc1.forward(&self.final_layer_norm.forward(x)?)?;
        let inner = tensor::activated(Activation::Gelu, inner)?;
        Ok((x + self.fc2.forward(&inner)?)?)
    }
}
