//! Layers from weights.

use std::ops::Range;
use std::path::Path;

use medley_formats::WeightFile;
use medley_nn::weights::Tensors;
use medley_nn::{
    Attention, AttentionSpec, Device, Embedding, GatedMlp, Linear, MixtureOfExperts, Parameters,
    QkNorm, Rope, Weights,
};
use serde_json::Value;

use super::config::{DecoderConfig, LayerKind, NormLayout, QkNormKind};
use super::{Decoder, DecoderLayer, Mlp, tensor_name};
use crate::{ConfigError, Result};

/// A decoder out of an opened GGUF file, or of another container with its `config.json`.
pub fn from_file(
    file: WeightFile,
    path: &Path,
    config: Option<&Value>,
    device: &Device,
) -> Result<Decoder> {
    let (config, weights) = configured(file, path, config, device)?;
    Decoder::new(config, &weights)
}

/// The configuration of an opened model, and its weights by the names of published checkpoints.
pub fn configured(
    file: WeightFile,
    path: &Path,
    config: Option<&Value>,
    device: &Device,
) -> Result<(DecoderConfig, Weights)> {
    let weights = Weights::from_file(file, path, device);
    match (weights.metadata(), config) {
        (Some(metadata), _) => {
            let config = DecoderConfig::from_gguf(metadata, &weights)?;
            let norms = config.norms;
            let weights = weights.with_key_map(move |name| tensor_name(norms, name));
            Ok((config, weights))
        }
        (None, Some(config)) => Ok((DecoderConfig::from_json(config)?, prefixed(weights))),
        (None, None) => Err(ConfigError::missing("config.json beside the weights")),
    }
}

/// A decoder out of tensors in memory that have the names of a published checkpoint.
pub fn from_tensors(
    tensors: Tensors,
    config: &Value,
    device: &Device,
    trainable: bool,
) -> Result<Decoder> {
    let weights = prefixed(Weights::from_tensors(tensors, device));
    Decoder::new(
        DecoderConfig::from_json(config)?,
        &if trainable { weights.plain() } else { weights },
    )
}

/// A decoder in training, and its parameters by the names of a published checkpoint.
pub fn trainable(
    tensors: &Tensors,
    config: &Value,
    device: &Device,
) -> Result<(Decoder, Parameters)> {
    let mut config = DecoderConfig::from_json(config)?;
    // Norms that are stored as their distance from 1 are trained as what they are.
    let offset = std::mem::take(&mut config.norm_offset);
    let of = |name: &str| {
        if name.ends_with("norm.weight") {
            offset
        } else {
            0.0
        }
    };
    let parameters = Parameters::new(tensors, of, device)?;
    let weights = prefixed(Weights::from_vars(parameters.vars(), device));
    Ok((Decoder::new(config, &weights)?, parameters))
}

/// Finds the text model inside checkpoints of models with more media, whose names have another beginning.
fn prefixed(weights: Weights) -> Weights {
    let beginnings = [
        "model.",
        "language_model.model.",
        "model.language_model.",
        "",
    ];
    let found = beginnings
        .into_iter()
        .find(|p| weights.has(&format!("{p}embed_tokens.weight")));
    match found {
        Some("model.") | None => weights,
        Some(prefix) => weights.with_key_map(move |name| match name.strip_prefix("model.") {
            Some(rest) => format!("{prefix}{rest}"),
            None if prefix == "language_model.model." => format!("language_model.{name}"),
            None => name.to_owned(),
        }),
    }
}

impl Decoder {
    /// Makes every layer of `config` out of `weights`.
    pub fn new(config: DecoderConfig, weights: &Weights) -> Result<Self> {
        let c = &config;
        let embed_tokens = Embedding {
            table: weights.matrix(
                "model.embed_tokens.weight",
                &[c.vocab_size, c.hidden_size],
                0..c.vocab_size,
                c.hidden_size,
                None,
            )?,
        };
        let tied = c.tied || !weights.has("lm_head.weight");
        let lm_head = if tied {
            embed_tokens.table.clone()
        } else {
            weights.linear("lm_head", c.vocab_size, c.hidden_size)?
        };
        let layers = c
            .layers
            .iter()
            .enumerate()
            .map(|(i, kind)| layer(c, kind, i, weights))
            .collect::<Result<_>>()?;
        let norm = weights.rms_norm("model.norm", c.hidden_size, c.norm_eps, c.norm_offset)?;
        let ropes = c.ropes.iter().cloned().map(Rope::new).collect();
        Ok(Self {
            device: weights.device().clone(),
            embed_tokens,
            layers,
            norm,
            lm_head,
            ropes,
            config: DecoderConfig { tied, ..config },
        })
    }
}

fn layer(
    c: &DecoderConfig,
    kind: &LayerKind,
    index: usize,
    weights: &Weights,
) -> Result<DecoderLayer> {
    let prefix = format!("model.layers.{index}");
    let norm = |name: &str| {
        weights.rms_norm(
            &format!("{prefix}.{name}"),
            c.hidden_size,
            c.norm_eps,
            c.norm_offset,
        )
    };
    let (input_layernorm, after_attention, before_mlp, after_mlp) = match c.norms {
        NormLayout::Pre => (
            Some(norm("input_layernorm")?),
            None,
            Some(norm("post_attention_layernorm")?),
            None,
        ),
        NormLayout::Post => (
            None,
            Some(norm("post_attention_layernorm")?),
            None,
            Some(norm("post_feedforward_layernorm")?),
        ),
        NormLayout::Sandwich => (
            Some(norm("input_layernorm")?),
            Some(norm("post_attention_layernorm")?),
            Some(norm("pre_feedforward_layernorm")?),
            Some(norm("post_feedforward_layernorm")?),
        ),
    };
    let mlp = if kind.sparse {
        sparse(c, &prefix, weights)?
    } else {
        Mlp::Dense(dense(c, &prefix, weights)?)
    };
    Ok(DecoderLayer {
        input_layernorm,
        self_attn: attention(c, kind, &prefix, weights)?,
        after_attention,
        before_mlp,
        mlp,
        after_mlp,
    })
}

fn attention(
    c: &DecoderConfig,
    kind: &LayerKind,
    prefix: &str,
    weights: &Weights,
) -> Result<Attention> {
    let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let fused = format!("{prefix}.self_attn.qkv_proj");
    let (q_proj, k_proj, v_proj) = if weights.has(&format!("{fused}.weight")) {
        let total = q + 2 * kv;
        let part = |rows: Range<usize>| weights.linear_rows(&fused, total, rows, c.hidden_size);
        (part(0..q)?, part(q..q + kv)?, part(q + kv..total)?)
    } else {
        let part = |name: &str, out| {
            weights.linear(&format!("{prefix}.self_attn.{name}"), out, c.hidden_size)
        };
        (part("q_proj", q)?, part("k_proj", kv)?, part("v_proj", kv)?)
    };
    let norm = |name: &str, width| {
        weights.rms_norm(
            &format!("{prefix}.self_attn.{name}"),
            width,
            c.norm_eps,
            c.norm_offset,
        )
    };
    let qk_norm = match c.qk_norm {
        Some(QkNormKind::PerHead) => Some(QkNorm::PerHead(
            norm("q_norm", c.head_dim)?,
            norm("k_norm", c.head_dim)?,
        )),
        Some(QkNormKind::Whole) => Some(QkNorm::Whole(norm("q_norm", q)?, norm("k_norm", kv)?)),
        None => None,
    };
    Ok(Attention {
        spec: AttentionSpec {
            heads: c.heads,
            kv_heads: c.kv_heads,
            head_dim: c.head_dim,
            scale: c.attention_scale,
            softcap: c.attention_softcap,
            window: kind.window,
            causal: true,
            rope: kind
                .rope
                .map(|table| (table, c.ropes[table].rot_dim, c.ropes[table].style)),
        },
        q_proj,
        k_proj,
        v_proj,
        o_proj: weights.linear(&format!("{prefix}.self_attn.o_proj"), c.hidden_size, q)?,
        qk_norm,
    })
}

fn dense(c: &DecoderConfig, prefix: &str, weights: &Weights) -> Result<GatedMlp> {
    let (hidden, width) = (c.hidden_size, c.intermediate_size);
    let fused = format!("{prefix}.mlp.gate_up_proj");
    let separate = weights.has(&format!("{prefix}.mlp.gate_proj.weight"));
    let (gate_proj, up_proj) = if !separate && weights.has(&format!("{fused}.weight")) {
        let part = |rows: Range<usize>| weights.linear_rows(&fused, 2 * width, rows, hidden);
        (part(0..width)?, part(width..2 * width)?)
    } else {
        let part = |name: &str| weights.linear(&format!("{prefix}.mlp.{name}"), width, hidden);
        (part("gate_proj")?, part("up_proj")?)
    };
    let down_proj = weights.linear(&format!("{prefix}.mlp.down_proj"), hidden, width)?;
    Ok(GatedMlp {
        gate_proj,
        up_proj,
        down_proj,
        act: c.act,
    })
}

/// A mixture in one of the spellings that checkpoints have: an entry per expert, or all experts stacked, with gate
/// and up matrices apart (GGUF) or one below the other (transformers 5).
fn sparse(c: &DecoderConfig, prefix: &str, weights: &Weights) -> Result<Mlp> {
    let Some(spec) = c.moe.clone() else {
        return Err(ConfigError::missing("number of experts"));
    };
    let (n, hidden, width) = (spec.experts, c.hidden_size, spec.intermediate);
    let stacked = |name: &str,
                   rows: usize,
                   part: Range<usize>,
                   expert: usize,
                   inputs: usize|
     -> Result<Linear> {
        let name = format!("{prefix}.mlp.experts.{name}");
        let first = expert * rows;
        Ok(weights.matrix(
            &name,
            &[n, rows, inputs],
            first + part.start..first + part.end,
            inputs,
            None,
        )?)
    };
    let single = |names: [&str; 3], base: &str, e: usize| -> Result<GatedMlp> {
        let part = |name: &str, out, inputs| {
            weights.linear(&format!("{prefix}.{base}.experts.{e}.{name}"), out, inputs)
        };
        Ok(GatedMlp {
            gate_proj: part(names[0], width, hidden)?,
            up_proj: part(names[1], width, hidden)?,
            down_proj: part(names[2], hidden, width)?,
            act: c.act,
        })
    };
    let old = weights.has(&format!("{prefix}.block_sparse_moe.gate.weight"));
    let gate = if old {
        format!("{prefix}.block_sparse_moe.gate")
    } else {
        format!("{prefix}.mlp.gate")
    };
    let joined = weights.has(&format!("{prefix}.mlp.experts.gate_up_proj"));
    let apart = weights.has(&format!("{prefix}.mlp.experts.gate_proj.weight"));
    let expert = |e: usize| -> Result<GatedMlp> {
        if old {
            single(["w1", "w3", "w2"], "block_sparse_moe", e)
        } else if joined {
            Ok(GatedMlp {
                gate_proj: stacked("gate_up_proj", 2 * width, 0..width, e, hidden)?,
                up_proj: stacked("gate_up_proj", 2 * width, width..2 * width, e, hidden)?,
                down_proj: stacked("down_proj", hidden, 0..hidden, e, width)?,
                act: c.act,
            })
        } else if apart {
            Ok(GatedMlp {
                gate_proj: stacked("gate_proj.weight", width, 0..width, e, hidden)?,
                up_proj: stacked("up_proj.weight", width, 0..width, e, hidden)?,
                down_proj: stacked("down_proj.weight", hidden, 0..hidden, e, width)?,
                act: c.act,
            })
        } else {
            single(["gate_proj", "up_proj", "down_proj"], "mlp", e)
        }
    };
    Ok(Mlp::Sparse(MixtureOfExperts {
        gate: weights.linear(&gate, n, hidden)?,
        experts: (0..n).map(expert).collect::<Result<_>>()?,
        spec,
    }))
}
