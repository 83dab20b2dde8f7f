//! Decoder configurations out of GGUF metadata, and the names of their tensors there.
//!
//! Keys and conventions are those of the GGUF specification and of the files that llama.cpp's converter writes:
//! norm offsets are folded in, and families of Llama's kind have the rows of their query and key matrices reordered
//! for rotations of neighbouring pairs.

use medley_formats::gguf::Metadata;
use medley_nn::{Activation, MoeSpec, RopeScaling, RopeSpec, RopeStyle, Weights};

use super::config::{DecoderConfig, LayerKind, NormLayout};
use super::{FAMILIES, Family, known_families};
use crate::{ConfigError, Result};

/// Keys of one architecture's part of the metadata.
struct Keys<'a> {
    metadata: &'a Metadata,
    arch: &'a str,
}

impl Keys<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.arch)
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        let key = self.key(key);
        if self.metadata.get(&key).is_none() {
            return Ok(None);
        }
        match self
            .metadata
            .u64(&key)
            .and_then(|n| usize::try_from(n).ok())
        {
            Some(n) => Ok(Some(n)),
            None => Err(ConfigError::invalid(
                &key,
                "another type",
                "it must be one whole number",
            )),
        }
    }

    fn need(&self, key: &str) -> Result<usize> {
        self.size(key)?
            .ok_or_else(|| ConfigError::missing(&self.key(key)))
    }

    fn float(&self, key: &str) -> Option<f32> {
        self.metadata.f32(&self.key(key))
    }
}

/// The family of a GGUF architecture name, a mixture told from its dense sibling by the number of experts.
fn family_of(metadata: &Metadata) -> Result<(&'static Family, &str)> {
    let arch = metadata
        .str("general.architecture")
        .ok_or_else(|| ConfigError::missing("general.architecture"))?;
    let sparse = metadata
        .u64(&format!("{arch}.expert_count"))
        .is_some_and(|n| n > 0);
    let unknown = || ConfigError::UnknownArchitecture {
        name: arch.to_owned(),
        known: known_families(),
    };
    let family = FAMILIES
        .iter()
        .find(|f| f.gguf == arch && f.sparse == sparse)
        .ok_or_else(unknown)?;
    Ok((family, arch))
}

impl DecoderConfig {
    /// Reads the configuration of a GGUF file. `weights` (by the file's own names) gives what stands in tensors.
    pub fn from_gguf(metadata: &Metadata, weights: &Weights) -> Result<Self> {
        let (family, arch) = family_of(metadata)?;
        let k = Keys { metadata, arch };
        let (hidden_size, heads) = (k.need("embedding_length")?, k.need("attention.head_count")?);
        let count = k.need("block_count")?;
        if count > 1024 || heads == 0 {
            return Err(ConfigError::invalid(
                "block_count",
                count,
                "it must lie between 1 and 1024, with at least one head",
            ));
        }
        let head_dim = k
            .size("attention.key_length")?
            .unwrap_or(hidden_size / heads);
        let gemma = family.name.starts_with("gemma");
        let shape = weights.shape("token_embd.weight")?;
        let large = matches!((family.name, count), ("gemma2", 46) | ("gemma3", 62));
        let attention_scale = match k.float("attention.scale").filter(|s| *s != 0.0) {
            Some(scale) => scale,
            None if large => ((hidden_size / heads) as f32).powf(-0.5),
            None => (head_dim as f32).powf(-0.5),
        };
        let softcap = |key: &str, default: f32| match family.name {
            "gemma2" => Some(k.float(key).unwrap_or(default)),
            _ => k.float(key).filter(|c| *c > 0.0),
        };
        let moe = if family.sparse {
            let intermediate = match k.size("expert_feed_forward_length")? {
                Some(n) => n,
                None => k.need("feed_forward_length")?,
            };
            Some(MoeSpec {
                experts: k.need("expert_count")?,
                top_k: k.need("expert_used_count")?,
                normalise: true,
                intermediate,
            })
        } else {
            None
        };
        Self {
            family: family.name,
            vocab_size: shape.first().copied().unwrap_or(0),
            hidden_size,
            intermediate_size: k.need("feed_forward_length")?,
            heads,
            kv_heads: k.size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            max_positions: k.need("context_length")?,
            norm_eps: k.float("attention.layer_norm_rms_epsilon").unwrap_or(1e-6),
            norm_offset: 0.0,
            norms: family.norms,
            qk_norm: family.qk_norm,
            act: if gemma {
                Activation::GeluTanh
            } else {
                Activation::Silu
            },
            tied: !weights.has("output.weight"),
            embedding_scale: match gemma {
                true => (hidden_size as f32).sqrt(),
                false => k.float("embedding_scale").unwrap_or(1.0),
            },
            residual_scale: k.float("residual_scale").unwrap_or(1.0),
            logit_scale: 1.0 / k.float("logit_scale").filter(|s| *s != 0.0).unwrap_or(1.0),
            logit_softcap: softcap("final_logit_softcapping", 30.0),
            attention_scale,
            attention_softcap: softcap("attn_logit_softcapping", 50.0),
            ropes: ropes(&k, family, head_dim, weights)?,
            layers: layers(&k, family, count)?,
            moe,
        }
        .validate()
    }
}

fn ropes(k: &Keys, family: &Family, head_dim: usize, weights: &Weights) -> Result<Vec<RopeSpec>> {
    let fallback = if family.name == "gemma3" {
        1_000_000.0
    } else {
        10_000.0
    };
    let theta = k.float("rope.freq_base").unwrap_or(fallback);
    let rot_dim = k.size("rope.dimension_count")?.unwrap_or(head_dim);
    let factor = k.float("rope.scaling.factor").filter(|f| *f > 0.0);
    let original = match k.size("rope.scaling.original_context_length")? {
        Some(n) => n,
        None => k.need("context_length")?,
    };
    let divisors = |name: &str| -> Result<Option<Vec<f32>>> {
        match weights.shape(name) {
            Ok(shape) => Ok(Some(weights.values(name, &shape)?)),
            Err(_) => Ok(None),
        }
    };
    let scaling = match (
        k.metadata
            .str(&k.key("rope.scaling.type"))
            .unwrap_or("none"),
        factor,
    ) {
        ("linear", Some(factor)) => RopeScaling::Linear { factor },
        ("yarn", Some(factor)) => RopeScaling::Yarn {
            factor,
            original,
            beta_fast: 32.0,
            beta_slow: 1.0,
            attention_factor: k
                .float("rope.scaling.attn_factor")
                .map(|a| a * (1.0 + 0.1 * factor.ln())),
            truncate: true,
        },
        _ => match (
            divisors("rope_factors_short.weight")?,
            divisors("rope_factors_long.weight")?,
        ) {
            (Some(short), Some(long)) => RopeScaling::LongRope {
                short,
                long,
                original,
                attention_factor: k.float("rope.scaling.attn_factor").unwrap_or(1.0),
            },
            _ => match divisors("rope_freqs.weight")? {
                Some(divisors) => RopeScaling::Divisors(divisors),
                None => RopeScaling::None,
            },
        },
    };
    let style = if family.reordered {
        RopeStyle::Interleaved
    } else {
        RopeStyle::Neox
    };
    let full = RopeSpec {
        theta,
        rot_dim,
        style,
        scaling,
    };
    if family.name != "gemma3" {
        return Ok(vec![full]);
    }
    let local = k.float("rope.freq_base_swa").unwrap_or(10_000.0);
    let sliding = RopeSpec {
        theta: local,
        scaling: RopeScaling::None,
        ..full.clone()
    };
    Ok(vec![full, sliding])
}

fn layers(k: &Keys, family: &Family, count: usize) -> Result<Vec<LayerKind>> {
    let window = match (
        k.size("attention.sliding_window")?.filter(|w| *w > 0),
        family.name,
    ) {
        (None, "gemma2") => Some(4096),
        (window, _) => window,
    };
    let pattern = if family.name == "gemma3" { 6 } else { 2 };
    Ok((0..count)
        .map(|i| {
            let sliding = match family.name {
                "gemma2" | "gemma3" => !(i + 1).is_multiple_of(pattern),
                "qwen2" | "qwen3" | "qwen3_moe" | "smollm3" => false,
                _ => true,
            };
            let positions = family.name != "smollm3" || !(i + 1).is_multiple_of(4);
            LayerKind {
                window: window.filter(|_| sliding),
                rope: positions.then_some(usize::from(family.name == "gemma3" && sliding)),
                sparse: family.sparse,
            }
        })
        .collect())
}

/// The name in a GGUF file of a tensor that a published checkpoint calls `name`.
pub fn tensor_name(norms: NormLayout, name: &str) -> String {
    match name {
        "model.embed_tokens.weight" => return "token_embd.weight".into(),
        "model.norm.weight" => return "output_norm.weight".into(),
        "lm_head.weight" => return "output.weight".into(),
        _ => {}
    }
    let Some((layer, part)) = name
        .strip_prefix("model.layers.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return name.to_owned();
    };
    let (stem, suffix) = part.rsplit_once('.').unwrap_or((part, "weight"));
    let short = match stem {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" if norms == NormLayout::Pre => "ffn_norm",
        "post_attention_layernorm" => "post_attention_norm",
        "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.qkv_proj" => "attn_qkv",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" | "mlp.gate_up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        "mlp.gate" => "ffn_gate_inp",
        "mlp.experts.gate_proj" => "ffn_gate_exps",
        "mlp.experts.up_proj" => "ffn_up_exps",
        "mlp.experts.down_proj" => "ffn_down_exps",
        other => other,
    };
    format!("blk.{layer}.{short}.{suffix}")
}
