//! Sentence encoders in GGUF: the words that llama.cpp has for them
//! (<https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py>, architecture `bert`).

use medley_formats::gguf::{Metadata, Value};
use medley_nn::Activation;

use super::BertConfig;
use crate::{ConfigError, Result};

const ARCHITECTURE: &str = "bert";

/// Tensors outside the layers: checkpoint name and GGUF name, without `weight` and `bias`.
const OUTER: [(&str, &str); 4] = [
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("embeddings.LayerNorm", "token_embd_norm"),
];

/// Tensors of a layer, in the same way.
const INNER: [(&str, &str); 8] = [
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("attention.output.LayerNorm", "attn_output_norm"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    ("output.LayerNorm", "layer_output_norm"),
];

/// Whether these are the metadata of an encoder.
pub(super) fn is_encoder(metadata: &Metadata) -> bool {
    metadata.str("general.architecture") == Some(ARCHITECTURE)
}

/// The GGUF name of a checkpoint's tensor; `None` if GGUF has none for it.
pub fn gguf_name(name: &str) -> Option<String> {
    let (stem, end) = name.rsplit_once('.')?;
    if !matches!(end, "weight" | "bias") {
        return None;
    }
    let find = |list: &[(&str, &'static str)], stem: &str| {
        list.iter()
            .find(|(from, _)| *from == stem)
            .map(|(_, to)| *to)
    };
    if let Some(outer) = find(&OUTER, stem) {
        return Some(format!("{outer}.{end}"));
    }
    let (layer, part) = stem.strip_prefix("encoder.layer.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    Some(format!("blk.{layer}.{}.{end}", find(&INNER, part)?))
}

/// Metadata of a GGUF file with this shape.
///
/// # Errors
/// For shapes that llama.cpp's `bert` has not: Nomic's, and activations other than GELU.
pub fn gguf_metadata(config: &BertConfig, name: &str) -> Result<Metadata> {
    if config.nomic {
        return Err(ConfigError::invalid(
            "model_type",
            "nomic_bert",
            "only bert is written as GGUF",
        ));
    }
    if config.act != Activation::Gelu {
        return Err(ConfigError::invalid(
            "hidden_act",
            format!("{:?}", config.act),
            "it must be gelu in GGUF",
        ));
    }
    let mut m = Metadata::default();
    let mut set = |key: &str, value: Value| {
        m.insert(key.replace("{}", ARCHITECTURE), value);
    };
    let size = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX));
    set("general.architecture", Value::String(ARCHITECTURE.into()));
    set("general.type", Value::String("model".into()));
    set("general.name", Value::String(name.into()));
    set("{}.block_count", size(config.layers));
    set("{}.context_length", size(config.max_positions));
    set("{}.embedding_length", size(config.hidden_size));
    set("{}.feed_forward_length", size(config.intermediate_size));
    set("{}.attention.head_count", size(config.heads));
    set(
        "{}.attention.layer_norm_epsilon",
        Value::F32(config.norm_eps),
    );
    set("{}.attention.causal", Value::Bool(false));
    set("{}.vocab_size", size(config.vocab_size));
    Ok(m)
}

impl BertConfig {
    /// Reads the metadata of a GGUF file.
    ///
    /// # Errors
    /// [`ConfigError`] for another architecture, and for keys that are missing or cannot be.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self> {
        if !is_encoder(metadata) {
            let name = metadata.str("general.architecture").unwrap_or("none");
            return Err(ConfigError::UnknownArchitecture {
                name: name.into(),
                known: ARCHITECTURE.into(),
            });
        }
        let tokens = metadata
            .string_array("tokenizer.ggml.tokens")
            .map_or(0, |tokens| tokens.len());
        let size = |key: &'static str, default: Option<usize>| -> Result<usize> {
            let value = metadata
                .usize(&format!("{ARCHITECTURE}.{key}"))
                .or(default)
                .ok_or_else(|| ConfigError::missing(key))?;
            if (1..=1 << 24).contains(&value) {
                return Ok(value);
            }
            Err(ConfigError::invalid(
                key,
                value,
                "it must lie between 1 and 16777216",
            ))
        };
        let config = Self {
            nomic: false,
            vocab_size: size("vocab_size", Some(tokens))?,
            hidden_size: size("embedding_length", None)?,
            layers: size("block_count", None)?,
            heads: size("attention.head_count", None)?,
            intermediate_size: size("feed_forward_length", None)?,
            max_positions: size("context_length", None)?,
            norm_eps: metadata
                .f32(&format!("{ARCHITECTURE}.attention.layer_norm_epsilon"))
                .unwrap_or(1e-12),
            rope_theta: 0.0,
            act: Activation::Gelu,
        };
        config.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_llama_cpp() {
        for (from, to) in [
            (
                "embeddings.word_embeddings.weight",
                Some("token_embd.weight"),
            ),
            ("embeddings.LayerNorm.bias", Some("token_embd_norm.bias")),
            (
                "encoder.layer.11.attention.self.query.bias",
                Some("blk.11.attn_q.bias"),
            ),
            (
                "encoder.layer.0.attention.output.LayerNorm.weight",
                Some("blk.0.attn_output_norm.weight"),
            ),
            (
                "encoder.layer.2.output.dense.weight",
                Some("blk.2.ffn_down.weight"),
            ),
            (
                "encoder.layer.2.output.LayerNorm.bias",
                Some("blk.2.layer_output_norm.bias"),
            ),
            ("pooler.dense.weight", None),
            ("embeddings.position_ids", None),
        ] {
            assert_eq!(gguf_name(from).as_deref(), to, "{from}");
        }
    }
}
