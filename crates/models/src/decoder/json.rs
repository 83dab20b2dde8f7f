//! Decoder configurations out of a published `config.json`.

use medley_nn::{Activation, MoeSpec, RopeScaling, RopeSpec, RopeStyle};
use serde_json::Value;

use super::config::{DecoderConfig, LayerKind};
use super::{FAMILIES, known_families};
use crate::{ConfigError, Result};

/// A JSON object with typed access; `null` counts as absent.
struct Json<'a>(&'a Value);

impl<'a> Json<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        match self.get(key) {
            None => Ok(None),
            Some(v) => match v.as_u64().and_then(|n| usize::try_from(n).ok()) {
                Some(n) => Ok(Some(n)),
                None => Err(ConfigError::invalid(key, v, "it must be a whole number")),
            },
        }
    }

    fn need(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| ConfigError::missing(key))
    }

    fn float(&self, key: &str) -> Option<f32> {
        self.get(key).and_then(Value::as_f64).map(|v| v as f32)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    fn floats(&self, key: &str) -> Option<Vec<f32>> {
        self.get(key)?
            .as_array()?
            .iter()
            .map(|v| v.as_f64().map(|f| f as f32))
            .collect()
    }
}

impl DecoderConfig {
    /// Reads the fields of a published `config.json` (transformers 4 and 5 spellings).
    pub fn from_json(config: &Value) -> Result<Self> {
        let config = config
            .get("text_config")
            .filter(|v| v.is_object())
            .unwrap_or(config);
        let c = Json(config);
        let model_type = c
            .text("model_type")
            .ok_or_else(|| ConfigError::missing("model_type"))?;
        let family = FAMILIES
            .iter()
            .find(|f| f.model_types.contains(&model_type))
            .ok_or_else(|| ConfigError::UnknownArchitecture {
                name: model_type.to_owned(),
                known: known_families(),
            })?;
        let gemma = family.name.starts_with("gemma");
        let (hidden_size, heads) = (c.need("hidden_size")?, c.need("num_attention_heads")?);
        let count = c.need("num_hidden_layers")?;
        if count > 1024 {
            return Err(ConfigError::invalid(
                "num_hidden_layers",
                count,
                "it must lie between 1 and 1024",
            ));
        }
        let head_dim = match c.size("head_dim")? {
            Some(dim) => dim,
            None => hidden_size.checked_div(heads).ok_or_else(|| {
                ConfigError::invalid("num_attention_heads", 0, "it must be at least 1")
            })?,
        };
        let max_positions = c.need("max_position_embeddings")?;
        let act = c
            .text("hidden_activation")
            .or(c.text("hidden_act"))
            .unwrap_or("silu");
        let attention_scale = match family.name {
            "gemma2" | "gemma3" => c
                .float("query_pre_attn_scalar")
                .unwrap_or(head_dim as f32)
                .powf(-0.5),
            "granite" => c.float("attention_multiplier").unwrap_or(1.0),
            _ => (head_dim as f32).powf(-0.5),
        };
        let tied = c
            .flag("tie_word_embeddings")
            .unwrap_or(gemma || family.name == "smollm3");
        Self {
            family: family.name,
            vocab_size: c.need("vocab_size")?,
            hidden_size,
            intermediate_size: c.need("intermediate_size")?,
            heads,
            kv_heads: c.size("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            max_positions,
            norm_eps: c.float("rms_norm_eps").unwrap_or(1e-6),
            norm_offset: if gemma { 1.0 } else { 0.0 },
            norms: family.norms,
            qk_norm: family.qk_norm,
            act: activation(act)?,
            tied,
            embedding_scale: match family.name {
                "gemma2" | "gemma3" => (hidden_size as f32).sqrt(),
                _ => c.float("embedding_multiplier").unwrap_or(1.0),
            },
            residual_scale: c.float("residual_multiplier").unwrap_or(1.0),
            logit_scale: 1.0 / c.float("logits_scaling").unwrap_or(1.0),
            logit_softcap: c.float("final_logit_softcapping"),
            attention_scale,
            attention_softcap: c.float("attn_logit_softcapping"),
            ropes: ropes(&c, family.name, head_dim, max_positions)?,
            layers: layers(&c, family.name, count)?,
            moe: moe(&c, family.name)?,
        }
        .validate()
    }
}

fn activation(name: &str) -> Result<Activation> {
    Ok(match name {
        "silu" | "swish" => Activation::Silu,
        "gelu_pytorch_tanh" | "gelu_new" => Activation::GeluTanh,
        "gelu" => Activation::Gelu,
        "relu" => Activation::Relu,
        other => {
            return Err(ConfigError::invalid(
                "hidden_act",
                other,
                "it must be silu, gelu, gelu_pytorch_tanh or relu",
            ));
        }
    })
}

/// The rotary tables: one, or for Gemma 3 that of full layers and that of sliding ones.
fn ropes(c: &Json, family: &str, head_dim: usize, max_positions: usize) -> Result<Vec<RopeSpec>> {
    let empty = Value::Null;
    let parameters = c
        .get("rope_parameters")
        .or(c.get("rope_scaling"))
        .unwrap_or(&empty);
    let theta = c.float("rope_theta");
    let spec = |p: &Json, fallback: f32| rope(c, p, theta, fallback, head_dim, max_positions);
    if family != "gemma3" {
        return Ok(vec![spec(&Json(parameters), 10_000.0)?]);
    }
    if let (Some(full), Some(sliding)) = (
        parameters.get("full_attention"),
        parameters.get("sliding_attention"),
    ) {
        return Ok(vec![
            spec(&Json(full), 1_000_000.0)?,
            spec(&Json(sliding), 10_000.0)?,
        ]);
    }
    let full = spec(&Json(parameters), 1_000_000.0)?;
    let local = c.float("rope_local_base_freq").unwrap_or(10_000.0);
    let sliding = RopeSpec {
        theta: local,
        scaling: RopeScaling::None,
        ..full.clone()
    };
    Ok(vec![full, sliding])
}

fn rope(
    c: &Json,
    p: &Json,
    theta: Option<f32>,
    fallback: f32,
    head_dim: usize,
    max_positions: usize,
) -> Result<RopeSpec> {
    let theta = p.float("rope_theta").or(theta).unwrap_or(fallback);
    let partial = p
        .float("partial_rotary_factor")
        .or(c.float("partial_rotary_factor"))
        .unwrap_or(1.0);
    let rot_dim = (head_dim as f32 * partial) as usize;
    let kind = p.text("rope_type").or(p.text("type")).unwrap_or("default");
    let original = match p.size("original_max_position_embeddings")? {
        Some(n) => n,
        None => c
            .size("original_max_position_embeddings")?
            .unwrap_or(max_positions),
    };
    let factor = || -> Result<f32> {
        match p.float("factor") {
            Some(f) if f.is_finite() && f > 0.0 => Ok(f),
            Some(f) => Err(ConfigError::invalid(
                "rope factor",
                f,
                "it must be positive",
            )),
            None => Err(ConfigError::missing("rope_parameters.factor")),
        }
    };
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: factor()? },
        "dynamic" => RopeScaling::Dynamic {
            factor: factor()?,
            original,
        },
        "yarn" => {
            let factor = factor()?;
            let mscale = |m: f32| {
                if factor <= 1.0 {
                    1.0
                } else {
                    0.1 * m * factor.ln() + 1.0
                }
            };
            let both = p
                .float("mscale")
                .filter(|m| *m != 0.0)
                .zip(p.float("mscale_all_dim").filter(|m| *m != 0.0));
            RopeScaling::Yarn {
                factor,
                original,
                beta_fast: p.float("beta_fast").unwrap_or(32.0),
                beta_slow: p.float("beta_slow").unwrap_or(1.0),
                attention_factor: p
                    .float("attention_factor")
                    .or(both.map(|(m, all)| mscale(m) / mscale(all))),
                truncate: p.flag("truncate").unwrap_or(true),
            }
        }
        "llama3" => RopeScaling::Llama3 {
            factor: factor()?,
            low: p
                .float("low_freq_factor")
                .ok_or_else(|| ConfigError::missing("low_freq_factor"))?,
            high: p
                .float("high_freq_factor")
                .ok_or_else(|| ConfigError::missing("high_freq_factor"))?,
            original,
        },
        "longrope" | "su" => {
            let stretch = p
                .float("factor")
                .unwrap_or(max_positions as f32 / original.max(1) as f32);
            let default = if stretch <= 1.0 {
                1.0
            } else {
                (1.0 + stretch.ln() / (original as f32).ln()).sqrt()
            };
            RopeScaling::LongRope {
                short: p
                    .floats("short_factor")
                    .ok_or_else(|| ConfigError::missing("short_factor"))?,
                long: p
                    .floats("long_factor")
                    .ok_or_else(|| ConfigError::missing("long_factor"))?,
                original,
                attention_factor: p.float("attention_factor").unwrap_or(default),
            }
        }
        other => {
            return Err(ConfigError::invalid(
                "rope_type",
                other,
                "it must be default, linear, dynamic, yarn, llama3 or longrope",
            ));
        }
    };
    Ok(RopeSpec {
        theta,
        rot_dim,
        style: RopeStyle::Neox,
        scaling,
    })
}

fn layers(c: &Json, family: &str, count: usize) -> Result<Vec<LayerKind>> {
    let window = c
        .size("sliding_window")?
        .filter(|_| c.flag("use_sliding_window").unwrap_or(true));
    let types: Option<Vec<&str>> = c
        .get("layer_types")
        .and_then(Value::as_array)
        .map(|a| a.iter().filter_map(Value::as_str).collect());
    if types.as_ref().is_some_and(|t| t.len() != count) {
        return Err(ConfigError::invalid(
            "layer_types",
            "another number of entries",
            "it needs one for each layer",
        ));
    }
    let pattern = c
        .size("sliding_window_pattern")?
        .unwrap_or(if family == "gemma3" { 6 } else { 2 })
        .max(1);
    let first_windowed = c.size("max_window_layers")?.unwrap_or(0);
    let no_rope: Option<Vec<bool>> = c
        .get("no_rope_layers")
        .and_then(Value::as_array)
        .filter(|a| a.len() == count)
        .map(|a| a.iter().map(|v| v.as_u64() == Some(0)).collect());
    let interval = c.size("no_rope_layer_interval")?.unwrap_or(4).max(1);
    let dense: Vec<u64> = match c.get("mlp_only_layers").and_then(Value::as_array) {
        Some(list) => list.iter().filter_map(Value::as_u64).collect(),
        None => Vec::new(),
    };
    let step = c.size("decoder_sparse_step")?.unwrap_or(1).max(1);
    Ok((0..count)
        .map(|i| {
            let sliding = match (&types, family) {
                (Some(types), _) => types[i] == "sliding_attention",
                (None, "gemma2" | "gemma3") => !(i + 1).is_multiple_of(pattern),
                (None, "qwen2" | "qwen3" | "qwen3_moe") => i >= first_windowed,
                _ => true,
            };
            let positions = match family {
                "smollm3" => !no_rope
                    .as_ref()
                    .map_or((i + 1).is_multiple_of(interval), |list| list[i]),
                _ => true,
            };
            LayerKind {
                window: window.filter(|_| sliding),
                rope: positions.then_some(usize::from(family == "gemma3" && sliding)),
                sparse: match family {
                    "mixtral" => true,
                    "qwen3_moe" => !dense.contains(&(i as u64)) && (i + 1).is_multiple_of(step),
                    _ => false,
                },
            }
        })
        .collect())
}

fn moe(c: &Json, family: &str) -> Result<Option<MoeSpec>> {
    let experts = |keys: [&str; 2]| -> Result<usize> {
        match c.size(keys[0])? {
            Some(n) => Ok(n),
            None => c.need(keys[1]),
        }
    };
    Ok(match family {
        "mixtral" => Some(MoeSpec {
            experts: experts(["num_local_experts", "num_experts"])?,
            top_k: c.need("num_experts_per_tok")?,
            normalise: true,
            intermediate: c.need("intermediate_size")?,
        }),
        "qwen3_moe" => Some(MoeSpec {
            experts: experts(["num_experts", "num_local_experts"])?,
            top_k: c.need("num_experts_per_tok")?,
            normalise: c.flag("norm_topk_prob").unwrap_or(false),
            intermediate: c.need("moe_intermediate_size")?,
        }),
        _ => None,
    })
}
