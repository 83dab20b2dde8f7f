//! Shapes of the published sizes, as the three kinds of file say them.

use medley_formats::Container;
use medley_formats::gguf::Metadata;
use medley_nn::Weights;
use serde_json::Value;

use crate::json::{choice, size};
use crate::{ConfigError, Result};

/// Shape of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhisperConfig {
    /// Tokens, the special ones and those of times included.
    pub vocab_size: usize,
    /// Bands of the spectrogram: 80, or 128 for large-v3.
    pub mels: usize,
    /// Width of the states.
    pub width: usize,
    /// States that the encoder makes of a window: 1500 of 20 ms each.
    pub audio_context: usize,
    /// Attention heads of the encoder.
    pub audio_heads: usize,
    /// Layers of the encoder.
    pub audio_layers: usize,
    /// The most tokens that the decoder sees: 448.
    pub text_context: usize,
    /// Attention heads of the decoder.
    pub text_heads: usize,
    /// Layers of the decoder.
    pub text_layers: usize,
    /// Width within the feed-forward blocks.
    pub inner: usize,
}

impl WhisperConfig {
    /// Reads a published `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] for values that are missing or cannot be, and for another architecture.
    pub fn from_json(c: &Value) -> Result<Self> {
        crate::json::required(c, "model_type", "whisper")?;
        choice(c, "activation_function", &[("gelu", ())])?;
        let width = size(c, "d_model", 1..=1 << 14)?;
        let inner = size(c, "encoder_ffn_dim", 1..=1 << 16)?;
        if size(c, "decoder_ffn_dim", 1..=1 << 16)? != inner {
            let expected = "it must be that of the encoder";
            return Err(ConfigError::invalid(
                "decoder_ffn_dim",
                &c["decoder_ffn_dim"],
                expected,
            ));
        }
        Self {
            vocab_size: size(c, "vocab_size", 1..=1 << 20)?,
            mels: size(c, "num_mel_bins", 1..=512)?,
            width,
            audio_context: size(c, "max_source_positions", 1..=1 << 14)?,
            audio_heads: size(c, "encoder_attention_heads", 1..=256)?,
            audio_layers: size(c, "encoder_layers", 1..=256)?,
            text_context: size(c, "max_target_positions", 2..=1 << 14)?,
            text_heads: size(c, "decoder_attention_heads", 1..=256)?,
            text_layers: size(c, "decoder_layers", 1..=256)?,
            inner,
        }
        .checked()
    }

    /// Reads the shape out of a file of whisper.cpp or CTranslate2, which says it itself.
    ///
    /// # Errors
    /// [`ConfigError`] as [`from_json`](Self::from_json), and for a CTranslate2 model of another kind.
    pub fn from_file(kind: Container, weights: &Weights) -> Result<Self> {
        match (kind, weights.metadata()) {
            (Container::Ggml, Some(metadata)) => Self::from_ggml(metadata, weights),
            _ => Self::from_ctranslate2(weights),
        }
    }

    fn from_ggml(metadata: &Metadata, weights: &Weights) -> Result<Self> {
        let number = |key: &str| {
            let key = format!("whisper.{key}");
            let value = metadata.usize(&key).filter(|&n| n > 0);
            value.ok_or_else(|| ConfigError::missing(&key))
        };
        let width = number("audio.width")?;
        if number("text.width")? != width {
            let expected = "it must be that of the audio";
            return Err(ConfigError::invalid(
                "text.width",
                number("text.width")?,
                expected,
            ));
        }
        Self {
            vocab_size: number("vocab_size")?,
            mels: number("mels")?,
            width,
            audio_context: number("audio.context")?,
            audio_heads: number("audio.heads")?,
            audio_layers: number("audio.layers")?,
            text_context: number("text.context")?,
            text_heads: number("text.heads")?,
            text_layers: number("text.layers")?,
            inner: rows(weights, "encoder.blocks.0.mlp.0.weight")?,
        }
        .checked()
    }

    fn from_ctranslate2(weights: &Weights) -> Result<Self> {
        let heads = |name: &str| -> Result<usize> {
            let name = format!("{name}/num_heads");
            let shape = weights.shape(&name)?;
            let heads = weights.values(&name, &shape)?.first().copied();
            Ok(heads.unwrap_or(0.0) as usize)
        };
        let layers = |name: &str| {
            let there = |i: &usize| {
                weights.has(&format!("{name}/layer_{i}/self_attention/layer_norm/gamma"))
            };
            (0..256).take_while(there).count()
        };
        let mels = match *weights.shape("encoder/conv1/weight")? {
            [_, mels, _] => mels,
            _ => {
                return Err(ConfigError::missing(
                    "encoder/conv1/weight, of three dimensions",
                ));
            }
        };
        Self {
            vocab_size: rows(weights, "decoder/embeddings/weight")?,
            mels,
            width: rows(weights, "encoder/conv1/weight")?,
            audio_context: rows(weights, "encoder/position_encodings/encodings")?,
            audio_heads: heads("encoder")?,
            audio_layers: layers("encoder"),
            text_context: rows(weights, "decoder/position_encodings/encodings")?,
            text_heads: heads("decoder")?,
            text_layers: layers("decoder"),
            inner: rows(weights, "encoder/layer_0/ffn/linear_0/weight")?,
        }
        .checked()
    }

    fn checked(self) -> Result<Self> {
        for (key, size, most) in [
            ("vocabulary", self.vocab_size, 1 << 20),
            ("mel bands", self.mels, 1024),
            ("width", self.width, 1 << 14),
            ("audio context", self.audio_context, 1 << 16),
            ("audio layers", self.audio_layers, 256),
            ("text context", self.text_context, 1 << 16),
            ("text layers", self.text_layers, 256),
            ("inner width", self.inner, 1 << 17),
        ] {
            if !(1..=most).contains(&size) {
                let range = format!("it must be 1 to {most}");
                return Err(ConfigError::invalid(key, size, &range));
            }
        }
        for (key, heads) in [
            ("audio heads", self.audio_heads),
            ("text heads", self.text_heads),
        ] {
            if heads == 0 || !self.width.is_multiple_of(heads) {
                return Err(ConfigError::invalid(
                    key,
                    heads,
                    "they must divide the width",
                ));
            }
        }
        Ok(self)
    }

    /// Bytes of the keys and values that one window and its text take at most.
    pub fn memory_bytes(&self) -> usize {
        (self.audio_context * 2 + self.text_context * 4) * 2 * self.width * self.text_layers
    }
}

/// Outermost dimension of a tensor.
fn rows(weights: &Weights, name: &str) -> Result<usize> {
    let shape = weights.shape(name)?;
    shape
        .first()
        .copied()
        .ok_or_else(|| ConfigError::missing(&format!("{name}, a matrix")))
}
