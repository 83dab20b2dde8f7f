//! From the names and conventions of published checkpoints to those of GGUF files.

use medley_formats::gguf::{Metadata, Value};
use medley_nn::{RopeScaling, RopeSpec};

use super::config::DecoderConfig;
use super::{FAMILIES, tensor_name};
use crate::{ConfigError, Result};

/// How one tensor of a GGUF file comes from tensors of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufTensor {
    /// Name in the GGUF file.
    pub name: String,
    /// Tensors of the checkpoint; several are stacked in a new outermost dimension (experts).
    pub sources: Vec<String>,
    /// One of two halves of every source's next to last dimension (gate and up matrices stored together).
    pub half: Option<usize>,
    /// Heads whose rows are reordered from halves to neighbouring pairs.
    pub reorder: Option<usize>,
    /// Added to every element (norm weights that are stored less 1).
    pub add: f32,
}

/// The tensors of a GGUF file for a checkpoint whose tensors are called `names` (`model.…`, `lm_head.weight`).
pub fn gguf_tensors(config: &DecoderConfig, names: &[String]) -> Vec<GgufTensor> {
    let reordered = FAMILIES
        .iter()
        .any(|f| f.name == config.family && f.reordered);
    let mut tensors: Vec<GgufTensor> = Vec::new();
    let mut sorted: Vec<&String> = names
        .iter()
        .filter(|name| !(config.tied && *name == "lm_head.weight"))
        .collect();
    sorted.sort_by_key(|name| sort_key(name));
    for source in sorted {
        let canonical = source.replace(".block_sparse_moe.", ".mlp.");
        if let Some(stem) = canonical.strip_suffix(".mlp.experts.gate_up_proj") {
            for (half, part) in ["gate_proj", "up_proj"].into_iter().enumerate() {
                let name = tensor_name(config.norms, &format!("{stem}.mlp.experts.{part}.weight"));
                tensors.push(GgufTensor {
                    name,
                    sources: vec![source.clone()],
                    half: Some(half),
                    reorder: None,
                    add: 0.0,
                });
            }
            continue;
        }
        let name = tensor_name(config.norms, &stacked(&canonical));
        if let Some(existing) = tensors.iter_mut().find(|t| t.name == name) {
            existing.sources.push(source.clone());
            continue;
        }
        let heads = match canonical.rsplit('.').nth(1) {
            Some("q_proj") => Some(config.heads),
            Some("k_proj") => Some(config.kv_heads),
            _ => None,
        };
        let add = if canonical.contains("norm") {
            config.norm_offset
        } else {
            0.0
        };
        tensors.push(GgufTensor {
            name,
            sources: vec![source.clone()],
            half: None,
            reorder: heads.filter(|_| reordered),
            add,
        });
    }
    tensors
}

/// Experts that have an entry each, by the name of their stack.
fn stacked(name: &str) -> String {
    let Some((stem, rest)) = name.split_once(".experts.") else {
        return name.to_owned();
    };
    let rest = match rest.split_once('.') {
        Some((index, part)) if index.bytes().all(|b| b.is_ascii_digit()) => part,
        _ => rest,
    };
    let part = match rest.strip_suffix(".weight").unwrap_or(rest) {
        "w1" => "gate_proj",
        "w2" => "down_proj",
        "w3" => "up_proj",
        other => other,
    };
    format!("{stem}.experts.{part}.weight")
}

/// Orders names by text with numbers by value, so that experts stack in their order.
fn sort_key(name: &str) -> Vec<(u64, String)> {
    name.split('.')
        .map(|part| (part.parse().unwrap_or(u64::MAX), part.to_owned()))
        .collect()
}

/// The model's part of a GGUF file's metadata; the tokenizer's is not in it.
pub fn gguf_metadata(config: &DecoderConfig, name: &str) -> Result<Metadata> {
    let family = FAMILIES
        .iter()
        .find(|f| f.name == config.family)
        .ok_or_else(|| {
            ConfigError::invalid(
                "family",
                config.family,
                "it must be one that is implemented",
            )
        })?;
    let arch = family.gguf;
    let mut m = Metadata::default();
    let mut set = |key: &str, value: Value| {
        m.insert(key.replace("{}", arch), value);
    };
    let size = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX));
    set("general.architecture", Value::String(arch.into()));
    set("general.type", Value::String("model".into()));
    set("general.name", Value::String(name.into()));
    set("{}.block_count", size(config.layers.len()));
    set("{}.context_length", size(config.max_positions));
    set("{}.embedding_length", size(config.hidden_size));
    set("{}.feed_forward_length", size(config.intermediate_size));
    set("{}.attention.head_count", size(config.heads));
    set("{}.attention.head_count_kv", size(config.kv_heads));
    set("{}.attention.key_length", size(config.head_dim));
    set("{}.attention.value_length", size(config.head_dim));
    set(
        "{}.attention.layer_norm_rms_epsilon",
        Value::F32(config.norm_eps),
    );
    set("{}.vocab_size", size(config.vocab_size));
    if let Some(moe) = &config.moe {
        set("{}.expert_count", size(moe.experts));
        set("{}.expert_used_count", size(moe.top_k));
        set("{}.expert_feed_forward_length", size(moe.intermediate));
    }
    if let Some(window) = config.layers.iter().find_map(|l| l.window) {
        set("{}.attention.sliding_window", size(window));
    }
    for (key, value) in [
        ("attn", config.attention_softcap),
        ("final", config.logit_softcap),
    ] {
        if let Some(cap) = value {
            set(&format!("{{}}.{key}_logit_softcapping"), Value::F32(cap));
        }
    }
    if (config.attention_scale - (config.head_dim as f32).powf(-0.5)).abs() > 1e-7 {
        set("{}.attention.scale", Value::F32(config.attention_scale));
    }
    if config.family == "granite" {
        set("{}.embedding_scale", Value::F32(config.embedding_scale));
        set("{}.residual_scale", Value::F32(config.residual_scale));
        set("{}.logit_scale", Value::F32(1.0 / config.logit_scale));
    }
    if let Some(rope) = config.ropes.first() {
        rope_keys(rope, &mut set)?;
    }
    if let Some(local) = config.ropes.get(1) {
        set("{}.rope.freq_base_swa", Value::F32(local.theta));
    }
    Ok(m)
}

fn rope_keys(rope: &RopeSpec, set: &mut impl FnMut(&str, Value)) -> Result<()> {
    let size = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX));
    set("{}.rope.freq_base", Value::F32(rope.theta));
    set("{}.rope.dimension_count", size(rope.rot_dim));
    match &rope.scaling {
        RopeScaling::None | RopeScaling::Divisors(_) | RopeScaling::Llama3 { .. } => {}
        RopeScaling::Linear { factor } => {
            set("{}.rope.scaling.type", Value::String("linear".into()));
            set("{}.rope.scaling.factor", Value::F32(*factor));
        }
        RopeScaling::Yarn {
            factor,
            original,
            attention_factor,
            ..
        } => {
            set("{}.rope.scaling.type", Value::String("yarn".into()));
            set("{}.rope.scaling.factor", Value::F32(*factor));
            set("{}.rope.scaling.original_context_length", size(*original));
            if let Some(a) = attention_factor {
                set(
                    "{}.rope.scaling.attn_factor",
                    Value::F32(a / (1.0 + 0.1 * factor.ln())),
                );
            }
        }
        RopeScaling::LongRope {
            original,
            attention_factor,
            ..
        } => {
            set("{}.rope.scaling.original_context_length", size(*original));
            set("{}.rope.scaling.attn_factor", Value::F32(*attention_factor));
        }
        RopeScaling::Dynamic { .. } => {
            return Err(ConfigError::invalid(
                "rope_type",
                "dynamic",
                "GGUF files know only linear, yarn, llama3 and longrope",
            ));
        }
    }
    Ok(())
}

/// Rope factors that GGUF files hold as tensors: name and one divisor per pair of dimensions.
pub fn gguf_rope_tensors(config: &DecoderConfig) -> Vec<(&'static str, Vec<f32>)> {
    let Some(rope) = config.ropes.first() else {
        return Vec::new();
    };
    match &rope.scaling {
        RopeScaling::LongRope { short, long, .. } => {
            vec![
                ("rope_factors_short.weight", short.clone()),
                ("rope_factors_long.weight", long.clone()),
            ]
        }
        RopeScaling::Llama3 { .. } => vec![("rope_freqs.weight", medley_nn::rope::divisors(rope))],
        RopeScaling::Divisors(d) => vec![("rope_freqs.weight", d.clone())],
        _ => Vec::new(),
    }
}
