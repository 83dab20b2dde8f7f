//! Bidirectional encoders of BERT's kind (Devlin et al. 2019) that turn a sentence into states for an embedding.
//!
//! Covers `bert` (MiniLM, BGE, E5 …: learned positions, GELU) and `nomic_bert` (rotary positions, SwiGLU).

mod gguf;

use std::sync::Arc;

use medley_nn::attention::Rows;
use medley_nn::{
    Activation, Attention, AttentionSpec, Cache, CacheSpec, Device, Embedding, GatedMlp, KvType,
    LayerNorm, Linear, Rope, RopeScaling, RopeSpec, RopeStyle, Tensor, Weights,
};
use serde_json::Value;

use crate::{ConfigError, Result};

pub use gguf::{gguf_metadata, gguf_name};

/// Shape of an encoder.
#[derive(Clone, Debug)]
pub struct BertConfig {
    /// Whether it is of Nomic's form.
    pub nomic: bool,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the states.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Longest sequence.
    pub max_positions: usize,
    /// Added to the variance in norms.
    pub norm_eps: f32,
    /// Base of the rotary positions (Nomic).
    pub rope_theta: f32,
    /// Activation of the feed-forward block.
    pub act: Activation,
}

impl BertConfig {
    /// Reads a published `config.json`.
    pub fn from_json(c: &Value) -> Result<Self> {
        let model_type = c
            .get("model_type")
            .and_then(Value::as_str)
            .ok_or_else(|| ConfigError::missing("model_type"))?;
        let nomic = match model_type {
            "bert" => false,
            "nomic_bert" => true,
            other => {
                return Err(ConfigError::UnknownArchitecture {
                    name: other.into(),
                    known: "bert, nomic_bert".into(),
                });
            }
        };
        let size = |keys: &[&str]| -> Result<usize> {
            let found = keys.iter().find_map(|k| c.get(k).and_then(Value::as_u64));
            let value = found.ok_or_else(|| ConfigError::missing(keys[0]))?;
            usize::try_from(value)
                .ok()
                .filter(|n| (1..=1 << 24).contains(n))
                .ok_or_else(|| {
                    ConfigError::invalid(keys[0], value, "it must lie between 1 and 16777216")
                })
        };
        let float = |keys: &[&str], default: f64| {
            keys.iter()
                .find_map(|k| c.get(k).and_then(Value::as_f64))
                .unwrap_or(default) as f32
        };
        let act = match c
            .get("hidden_act")
            .and_then(Value::as_str)
            .unwrap_or("gelu")
        {
            _ if nomic => Activation::Silu,
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            "silu" => Activation::Silu,
            other => {
                return Err(ConfigError::invalid(
                    "hidden_act",
                    other,
                    "it must be gelu, gelu_new, relu or silu",
                ));
            }
        };
        let theta = c
            .get("rope_parameters")
            .and_then(|p| p.get("rope_theta"))
            .and_then(Value::as_f64);
        let config = Self {
            nomic,
            vocab_size: size(&["vocab_size"])?,
            hidden_size: size(&["hidden_size", "n_embd"])?,
            layers: size(&["num_hidden_layers", "n_layer"])?,
            heads: size(&["num_attention_heads", "n_head"])?,
            intermediate_size: size(&["intermediate_size", "n_inner"])?,
            max_positions: size(&["max_position_embeddings", "n_positions"])?,
            norm_eps: float(&["layer_norm_eps", "layer_norm_epsilon"], 1e-12),
            rope_theta: theta.map_or_else(|| float(&["rotary_emb_base"], 1000.0), |t| t as f32),
            act,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        if self.hidden_size.is_multiple_of(self.heads) {
            return Ok(());
        }
        Err(ConfigError::invalid(
            "num_attention_heads",
            self.heads,
            "it must divide hidden_size",
        ))
    }
}

enum Mlp {
    Plain { up: Linear, down: Linear },
    Gated(GatedMlp),
}

struct Layer {
    attention: Attention,
    attention_norm: LayerNorm,
    mlp: Mlp,
    output_norm: LayerNorm,
}

/// An encoder with its weights.
pub struct Bert {
    config: BertConfig,
    word_embeddings: Embedding,
    position_embeddings: Option<Embedding>,
    /// `[hidden]`: the embedding of the first and only segment.
    segment: Tensor,
    embedding_norm: LayerNorm,
    layers: Vec<Layer>,
    rope: Option<Rope>,
    cache: Arc<CacheSpec>,
}

impl Bert {
    /// Makes every layer of `config` out of `weights`, which run on the CPU.
    pub fn new(config: BertConfig, weights: &Weights) -> Result<Self> {
        let c = &config;
        let weights = &named(weights);
        let table = |name: &str, rows: usize| -> Result<Embedding> {
            Ok(Embedding {
                table: weights.matrix(
                    name,
                    &[rows, c.hidden_size],
                    0..rows,
                    c.hidden_size,
                    None,
                )?,
            })
        };
        let segments = weights
            .shape("embeddings.token_type_embeddings.weight")?
            .first()
            .copied()
            .unwrap_or(0);
        let segment = table("embeddings.token_type_embeddings.weight", segments)?
            .forward(&[0], &Device::Cpu)?;
        let position_embeddings = match c.nomic {
            false => Some(table(
                "embeddings.position_embeddings.weight",
                c.max_positions,
            )?),
            true => None,
        };
        let norm = if c.nomic {
            "emb_ln"
        } else {
            "embeddings.LayerNorm"
        };
        let head_dim = c.hidden_size / c.heads;
        let rope = RopeSpec {
            theta: c.rope_theta,
            rot_dim: head_dim,
            style: RopeStyle::Neox,
            scaling: RopeScaling::None,
        };
        let shape = medley_nn::cache::shape(c.heads, head_dim, KvType::F32);
        Ok(Self {
            word_embeddings: table("embeddings.word_embeddings.weight", c.vocab_size)?,
            position_embeddings,
            segment: segment.reshape(c.hidden_size)?,
            embedding_norm: weights.layer_norm(norm, c.hidden_size, c.norm_eps)?,
            layers: (0..c.layers)
                .map(|i| {
                    if c.nomic {
                        nomic_layer(c, i, weights)
                    } else {
                        bert_layer(c, i, weights)
                    }
                })
                .collect::<Result<_>>()?,
            rope: c.nomic.then(|| Rope::new(rope)),
            cache: Arc::new(CacheSpec {
                layers: 1,
                shape,
                limit: c.max_positions,
            }),
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Last states `[tokens, hidden]` of each sequence of ids, one after the other, as plain numbers.
    pub fn forward(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        self.forward_through(sequences, self.layers.len())
    }

    /// As [`forward`](Self::forward), the states behind the first `layers` layers, which know less of what a text means and
    /// more of how it is said; all layers, where there are fewer.
    ///
    /// # Errors
    /// [`ContextFull`](medley_nn::Error::ContextFull) for a sequence that is too long.
    pub fn forward_through(&self, sequences: &[&[u32]], layers: usize) -> Result<Vec<Vec<f32>>> {
        let counts: Vec<usize> = sequences.iter().map(|s| s.len()).collect();
        if let Some(&longest) = counts
            .iter()
            .max()
            .filter(|&&n| n > self.config.max_positions)
        {
            return Err(medley_nn::Error::ContextFull {
                limit: self.config.max_positions,
                needed: longest,
            }
            .into());
        }
        let ids: Vec<u32> = sequences.iter().flat_map(|s| s.iter()).copied().collect();
        if ids.is_empty() {
            return Ok(vec![Vec::new(); sequences.len()]);
        }
        let mut x = self
            .word_embeddings
            .forward(&ids, &Device::Cpu)?
            .broadcast_add(&self.segment)?;
        if let Some(table) = &self.position_embeddings {
            let positions: Vec<u32> = counts.iter().flat_map(|&n| 0..n as u32).collect();
            x = (x + table.forward(&positions, &Device::Cpu)?)?;
        }
        x = self.embedding_norm.forward(&x)?;
        let mut angles = Vec::new();
        if let Some(rope) = &self.rope {
            let (mut cos, mut sin) = (Vec::new(), Vec::new());
            for &count in &counts {
                rope.angles(&(0..count).collect::<Vec<_>>(), count, &mut cos, &mut sin);
            }
            angles.push((cos, sin));
        }
        for layer in self.layers.iter().take(layers) {
            let mut caches: Vec<Cache> = counts
                .iter()
                .map(|_| Cache::new(self.cache.clone()))
                .collect();
            for (cache, &count) in caches.iter_mut().zip(&counts) {
                cache.reserve(count)?;
            }
            let mut borrowed: Vec<&mut Cache> = caches.iter_mut().collect();
            let mut rows = Rows {
                caches: &mut borrowed,
                counts: &counts,
                angles: &angles,
            };
            let a = layer.attention.forward(&x, 0, &mut rows)?;
            x = layer.attention_norm.forward(&(x + a)?)?;
            let m = match &layer.mlp {
                Mlp::Gated(mlp) => mlp.forward(&x)?,
                Mlp::Plain { up, down } => down.forward(&medley_nn::tensor::activated(
                    self.config.act,
                    up.forward(&x)?,
                )?)?,
            };
            x = layer.output_norm.forward(&(x + m)?)?;
        }
        let values: Vec<f32> = x.flatten_all()?.to_vec1()?;
        let mut rest = values.as_slice();
        Ok(counts
            .iter()
            .map(|n| {
                let (mine, others) = rest.split_at(n * self.config.hidden_size);
                rest = others;
                mine.to_vec()
            })
            .collect())
    }
}

/// The weights under the names of `transformers`, whatever the file calls them.
fn named(weights: &Weights) -> Weights {
    let weights = weights.clone();
    if weights.metadata().is_some_and(gguf::is_encoder) {
        return weights.with_key_map(|name| gguf_name(name).unwrap_or_else(|| name.to_owned()));
    }
    let table = "embeddings.word_embeddings.weight";
    let table = |prefix: &&str| weights.has(&format!("{prefix}{table}"));
    match ["", "bert.", "model."].into_iter().find(table) {
        Some(prefix) if !prefix.is_empty() => {
            weights.with_key_map(move |name| format!("{prefix}{name}"))
        }
        _ => weights,
    }
}

fn spec(c: &BertConfig) -> AttentionSpec {
    let head_dim = c.hidden_size / c.heads;
    AttentionSpec {
        heads: c.heads,
        kv_heads: c.heads,
        head_dim,
        scale: (head_dim as f32).powf(-0.5),
        softcap: None,
        window: None,
        causal: false,
        rope: c.nomic.then_some((0, head_dim, RopeStyle::Neox)),
    }
}

fn bert_layer(c: &BertConfig, index: usize, weights: &Weights) -> Result<Layer> {
    let prefix = format!("encoder.layer.{index}");
    let (hidden, width) = (c.hidden_size, c.intermediate_size);
    let part = |name: &str, out, inputs| weights.linear(&format!("{prefix}.{name}"), out, inputs);
    let norm = |name: &str| weights.layer_norm(&format!("{prefix}.{name}"), hidden, c.norm_eps);
    Ok(Layer {
        attention: Attention {
            spec: spec(c),
            q_proj: part("attention.self.query", hidden, hidden)?,
            k_proj: part("attention.self.key", hidden, hidden)?,
            v_proj: part("attention.self.value", hidden, hidden)?,
            o_proj: part("attention.output.dense", hidden, hidden)?,
            qk_norm: None,
        },
        attention_norm: norm("attention.output.LayerNorm")?,
        mlp: Mlp::Plain {
            up: part("intermediate.dense", width, hidden)?,
            down: part("output.dense", hidden, width)?,
        },
        output_norm: norm("output.LayerNorm")?,
    })
}

fn nomic_layer(c: &BertConfig, index: usize, weights: &Weights) -> Result<Layer> {
    let prefix = format!("encoder.layers.{index}");
    let (hidden, width) = (c.hidden_size, c.intermediate_size);
    let part = |name: &str, out, inputs| weights.linear(&format!("{prefix}.{name}"), out, inputs);
    let norm = |name: &str| weights.layer_norm(&format!("{prefix}.{name}"), hidden, c.norm_eps);
    let fused = format!("{prefix}.attn.Wqkv");
    let third =
        |i: usize| weights.linear_rows(&fused, 3 * hidden, i * hidden..(i + 1) * hidden, hidden);
    Ok(Layer {
        attention: Attention {
            spec: spec(c),
            q_proj: third(0)?,
            k_proj: third(1)?,
            v_proj: third(2)?,
            o_proj: part("attn.out_proj", hidden, hidden)?,
            qk_norm: None,
        },
        attention_norm: norm("norm1")?,
        mlp: Mlp::Gated(GatedMlp {
            gate_proj: part("mlp.fc12", width, hidden)?,
            up_proj: part("mlp.fc11", width, hidden)?,
            down_proj: part("mlp.fc2", hidden, width)?,
            act: c.act,
        }),
        output_norm: norm("norm2")?,
    })
}
