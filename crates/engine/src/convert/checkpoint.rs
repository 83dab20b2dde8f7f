//! A published checkpoint, planned as a GGUF file.

use std::collections::HashMap;
use std::path::Path;

use medley_formats::gguf::Metadata;
use medley_formats::{DType, WeightFile};
use medley_models::decoder::{
    DecoderConfig, GgufTensor, gguf_metadata, gguf_rope_tensors, gguf_tensors,
};
use medley_nn::{Device, Weights};
use serde_json::Value;

use super::write::{Planned, Rows};
use super::{ConvertEvent, encoder, tokenizer};
use crate::{EngineError, Result};

/// Beginnings of the names of a language model's tensors, by themselves or within a model of more media.
const BEGINNINGS: [&str; 4] = [
    "model.",
    "language_model.model.",
    "model.language_model.",
    "",
];

/// What the last part of a GGUF tensor's name may be in a layer.
const PARTS: [&str; 18] = [
    "attn_norm",
    "ffn_norm",
    "post_attention_norm",
    "post_ffw_norm",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_qkv",
    "attn_output",
    "attn_q_norm",
    "attn_k_norm",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    "ffn_gate_inp",
    "ffn_gate_exps",
    "ffn_up_exps",
    "ffn_down_exps",
];

pub(super) fn refuse(reason: impl Into<String>) -> EngineError {
    EngineError::Convert {
        reason: reason.into(),
    }
}

/// A JSON file of the folder; `Null` where it is missing.
pub(super) fn json(folder: &Path, name: &str) -> Result<Value> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(Value::Null);
    }
    let bytes = std::fs::read(&path).map_err(EngineError::io("read", &path))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| refuse(format!("{} is no JSON: {e}", path.display())))
}

/// The name of a model is its folder's.
pub(super) fn title(folder: &Path) -> String {
    folder
        .canonicalize()
        .ok()
        .and_then(|f| f.file_name().map(|n| n.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "model".into())
}

/// Metadata and tensors of the GGUF file for a checkpoint; tensors have the types they come in.
pub(super) fn plan(
    folder: &Path,
    file: &WeightFile,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<(Metadata, Vec<Planned>)> {
    let spelled = json(folder, "config.json")?;
    if spelled.is_null() {
        return Err(refuse(format!("{} has no config.json", folder.display())));
    }
    if spelled["model_type"] == "bert" {
        return encoder::plan(folder, &spelled, file, events);
    }
    let wrong = |e: medley_models::ConfigError| refuse(format!("config.json: {e}"));
    let config = DecoderConfig::from_json(&spelled).map_err(wrong)?;
    let names = canonical_names(file, events)?;
    let config = DecoderConfig {
        tied: config.tied || !names.contains_key("lm_head.weight"),
        ..config
    };
    let mut metadata = gguf_metadata(&config, &title(folder)).map_err(wrong)?;
    let known: Vec<String> = names.keys().cloned().collect();
    let mut planned = Vec::new();
    for tensor in gguf_tensors(&config, &known) {
        planned.push(planned_tensor(file, &names, tensor)?);
    }
    let ropes = gguf_rope_tensors(&config);
    for (name, values) in &ropes {
        planned.push(Planned {
            name: (*name).to_owned(),
            shape: vec![values.len()],
            dtype: DType::F32,
            rows: Rows::Values(values.clone()),
            add: 0.0,
        });
    }
    same_when_read(&config, &metadata, &planned, &ropes)?;
    tokenizer::describe(folder, &spelled, config.vocab_size, &mut metadata, events)?;
    Ok((metadata, planned))
}

/// Names in the form `model.…` and `lm_head.weight`, with those that the files have.
fn canonical_names(
    file: &WeightFile,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<HashMap<String, String>> {
    let has = |p: &str| file.info(&format!("{p}embed_tokens.weight")).is_some();
    let prefix = BEGINNINGS.into_iter().find(|p| has(p)).ok_or_else(|| {
        refuse(format!(
            "{} has no embed_tokens.weight, so it is no language model that GGUF files are made of here",
            file.path().display()
        ))
    })?;
    let (mut names, mut left_out) = (HashMap::new(), 0);
    for info in file.tensors() {
        let name = info.name.as_str();
        let canonical = match name.strip_prefix(prefix) {
            _ if name.ends_with("lm_head.weight") => "lm_head.weight".to_owned(),
            Some(rest) if !rest.starts_with("visual.") && !rest.starts_with("vision_") => {
                format!("model.{rest}")
            }
            _ => {
                left_out += 1;
                continue;
            }
        };
        // Old checkpoints keep the inverse frequencies of their positions, which follow from the configuration.
        if !canonical.contains("rotary_emb") {
            names.insert(canonical, info.name.clone());
        }
    }
    if left_out > 0 {
        events(ConvertEvent::Note(format!(
            "{left_out} tensors that are not the language model's are left out"
        )));
    }
    Ok(names)
}

fn planned_tensor(
    file: &WeightFile,
    names: &HashMap<String, String>,
    tensor: GgufTensor,
) -> Result<Planned> {
    let known = match tensor.name.strip_prefix("blk.") {
        Some(rest) => rest
            .split_once('.')
            .and_then(|(_, part)| part.rsplit_once('.'))
            .is_some_and(|(stem, end)| PARTS.contains(&stem) && matches!(end, "weight" | "bias")),
        None => matches!(
            tensor.name.as_str(),
            "token_embd.weight" | "output_norm.weight" | "output.weight"
        ),
    };
    let sources: Vec<String> = tensor
        .sources
        .iter()
        .filter_map(|s| names.get(s).cloned())
        .collect();
    let first = sources.first().filter(|_| known).ok_or_else(|| {
        refuse(format!(
            "tensor {:?} has no place in a GGUF file of this architecture",
            tensor.sources.first().unwrap_or(&tensor.name)
        ))
    })?;
    let info = file.require(first)?;
    for other in &sources {
        if file.require(other)?.shape != info.shape {
            return Err(refuse(format!("{other} and {first} have different shapes")));
        }
    }
    let (mut shape, dtype) = (info.shape.clone(), info.dtype);
    let wrong = || {
        refuse(format!(
            "{first} has the shape {:?}, which cannot be",
            info.shape
        ))
    };
    let experts = tensor.name.contains("_exps.");
    let rows = match (tensor.half, tensor.reorder) {
        (Some(half), _) => {
            let at = shape.len().checked_sub(2).ok_or_else(wrong)?;
            if !shape[at].is_multiple_of(2) {
                return Err(wrong());
            }
            shape[at] /= 2;
            Rows::Half {
                source: first.clone(),
                half,
            }
        }
        (None, Some(heads)) => {
            let outer = shape.first().copied().unwrap_or(0);
            if heads == 0 || !outer.is_multiple_of(2 * heads) {
                return Err(wrong());
            }
            Rows::Paired {
                source: first.clone(),
                heads,
            }
        }
        (None, None) if sources.len() > 1 || (experts && shape.len() == 2) => {
            shape.insert(0, sources.len());
            Rows::Stacked { sources }
        }
        (None, None) => Rows::Plain {
            source: first.clone(),
        },
    };
    // What is no block comes as singles.
    let dtype = match dtype {
        DType::Block(_) => dtype,
        _ => DType::F32,
    };
    Ok(Planned {
        name: tensor.name,
        shape,
        dtype,
        rows,
        add: tensor.add,
    })
}

/// Refuses a configuration that GGUF's keys cannot say in full: what is read back must be what was written.
fn same_when_read(
    config: &DecoderConfig,
    metadata: &Metadata,
    planned: &[Planned],
    ropes: &[(&'static str, Vec<f32>)],
) -> Result<()> {
    // Only shapes are looked at, except of rope factors.
    let mut tensors: HashMap<String, (Vec<usize>, Vec<f32>)> = planned
        .iter()
        .map(|t| (t.name.clone(), (t.shape.clone(), Vec::new())))
        .collect();
    for (name, values) in ropes {
        tensors.insert((*name).to_owned(), (vec![values.len()], values.clone()));
    }
    let weights = Weights::from_tensors(tensors, &Device::Cpu);
    let back = DecoderConfig::from_gguf(metadata, &weights)
        .map_err(|e| refuse(format!("this model cannot be described in GGUF: {e}")))?;
    let close = |a: f32, b: f32| (a - b).abs() <= 1e-5 * a.abs().max(b.abs());
    let near = |a: Option<f32>, b: Option<f32>| match (a, b) {
        (Some(a), Some(b)) => close(a, b),
        (a, b) => a == b,
    };
    let checks = [
        (
            "the windows and positions of its layers",
            config.layers == back.layers,
        ),
        ("its activation", config.act == back.act),
        ("its head width", config.head_dim == back.head_dim),
        ("its vocabulary", config.vocab_size == back.vocab_size),
        (
            "its heads",
            (config.heads, config.kv_heads) == (back.heads, back.kv_heads),
        ),
        (
            "its attention scale",
            close(config.attention_scale, back.attention_scale),
        ),
        (
            "its embedding scale",
            close(config.embedding_scale, back.embedding_scale),
        ),
        (
            "its residual scale",
            close(config.residual_scale, back.residual_scale),
        ),
        (
            "its logit scale",
            close(config.logit_scale, back.logit_scale),
        ),
        (
            "its logit cap",
            near(config.logit_softcap, back.logit_softcap),
        ),
        (
            "its attention cap",
            near(config.attention_softcap, back.attention_softcap),
        ),
        ("the routing of its experts", config.moe == back.moe),
        (
            "the number of its rotary tables",
            config.ropes.len() == back.ropes.len(),
        ),
        (
            "its rotary bases",
            config
                .ropes
                .iter()
                .zip(&back.ropes)
                .all(|(a, b)| close(a.theta, b.theta) && a.rot_dim == b.rot_dim),
        ),
    ];
    let lost: Vec<&str> = checks.iter().filter(|c| !c.1).map(|c| c.0).collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(refuse(format!(
        "GGUF files of architecture {} have no way to say {}",
        metadata.str("general.architecture").unwrap_or("?"),
        lost.join(" or ")
    )))
}
