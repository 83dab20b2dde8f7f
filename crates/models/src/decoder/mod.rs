//! The decoder-only transformer, one configurable model for the Llama line and its relatives.
//!
//! Llama (Touvron et al. 2023), Mistral, SmolLM, Qwen 2 and 3, Gemma 2 and 3, Phi 3, Granite, OLMo 2, and the
//! mixtures Mixtral and Qwen 3 MoE differ in where norms stand, in their attention and in a few factors; all of it is
//! in [`DecoderConfig`]. Fields are named after the keys of the published checkpoints.

mod adapt;
mod adapter;
mod build;
mod config;
mod convert;
mod gguf;
mod json;

use std::sync::Arc;

use medley_nn::attention::Rows;
use medley_nn::{
    Attention, Cache, CacheSpec, Device, Embedding, GatedMlp, KvType, Linear, MixtureOfExperts,
    RmsNorm, Rope, Tensor, train,
};

pub use adapt::{Module, TARGETS};
pub use adapter::{Adapter, Factors, GgufFactor, RowOrder};
pub use build::{configured, from_file, from_tensors, trainable};
pub use config::{DecoderConfig, LayerKind, NormLayout, QkNormKind};
pub use convert::{GgufTensor, gguf_metadata, gguf_rope_tensors, gguf_tensors};
pub use gguf::tensor_name;

use crate::Result;

/// What files say of themselves, and what follows from it.
pub struct Family {
    /// Name in this project.
    pub name: &'static str,
    /// `model_type` of a published `config.json`.
    pub model_types: &'static [&'static str],
    /// `general.architecture` of a GGUF file.
    pub gguf: &'static str,
    /// Whether it is a mixture of experts (Mixtral shares Llama's name in GGUF).
    pub sparse: bool,
    /// Whether GGUF files have query and key rows reordered for rotations of neighbouring pairs.
    pub reordered: bool,
    /// Where norms stand.
    pub norms: NormLayout,
    /// Norm on queries and keys.
    pub qk_norm: Option<QkNormKind>,
}

const PRE: NormLayout = NormLayout::Pre;
const PER_HEAD: Option<QkNormKind> = Some(QkNormKind::PerHead);

const fn family(
    name: &'static str,
    model_types: &'static [&'static str],
    gguf: &'static str,
    reordered: bool,
    norms: NormLayout,
    qk_norm: Option<QkNormKind>,
) -> Family {
    Family {
        name,
        model_types,
        gguf,
        sparse: false,
        reordered,
        norms,
        qk_norm,
    }
}

/// Every family that [`Decoder`] covers.
pub const FAMILIES: &[Family] = &[
    family(
        "llama",
        &["llama", "mistral", "smollm", "ministral"],
        "llama",
        true,
        PRE,
        None,
    ),
    family("smollm3", &["smollm3"], "smollm3", true, PRE, None),
    family("qwen2", &["qwen2"], "qwen2", false, PRE, None),
    family("qwen3", &["qwen3"], "qwen3", false, PRE, PER_HEAD),
    family(
        "gemma2",
        &["gemma2"],
        "gemma2",
        false,
        NormLayout::Sandwich,
        None,
    ),
    family(
        "gemma3",
        &["gemma3_text", "gemma3"],
        "gemma3",
        false,
        NormLayout::Sandwich,
        PER_HEAD,
    ),
    family("phi3", &["phi3"], "phi3", false, PRE, None),
    family("granite", &["granite"], "granite", true, PRE, None),
    family(
        "olmo2",
        &["olmo2"],
        "olmo2",
        false,
        NormLayout::Post,
        Some(QkNormKind::Whole),
    ),
    Family {
        sparse: true,
        ..family("mixtral", &["mixtral"], "llama", true, PRE, None)
    },
    Family {
        sparse: true,
        ..family(
            "qwen3_moe",
            &["qwen3_moe"],
            "qwen3moe",
            false,
            PRE,
            PER_HEAD,
        )
    },
];

fn known_families() -> String {
    FAMILIES
        .iter()
        .flat_map(|f| f.model_types)
        .copied()
        .collect::<Vec<_>>()
        .join(", ")
}

/// The feed-forward block of a layer.
enum Mlp {
    Dense(GatedMlp),
    Sparse(MixtureOfExperts),
}

impl Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Dense(mlp) => mlp.forward(x)?,
            Self::Sparse(mlp) => mlp.forward(x)?,
        })
    }
}

struct DecoderLayer {
    input_layernorm: Option<RmsNorm>,
    self_attn: Attention,
    after_attention: Option<RmsNorm>,
    before_mlp: Option<RmsNorm>,
    mlp: Mlp,
    after_mlp: Option<RmsNorm>,
}

/// A decoder-only transformer with its weights.
pub struct Decoder {
    config: DecoderConfig,
    device: Device,
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    lm_head: Linear,
    ropes: Vec<Rope>,
}

/// Rows of which logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None: the tokens only fill the cache.
    None,
    /// The last token's.
    Last,
    /// Those of every token.
    All,
}

/// New tokens of one sequence.
pub struct Input<'a> {
    /// Ids that follow what the cache holds.
    pub tokens: &'a [u32],
    /// The sequence so far; grows by `tokens`.
    pub cache: &'a mut Cache,
    /// Rows of which logits are wanted.
    pub wanted: Wanted,
}

impl Decoder {
    /// Shape and switches.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Bytes of all weights in memory.
    pub fn bytes(&self) -> usize {
        let mut sum = self.embed_tokens.table.bytes();
        if !self.config.tied {
            sum += self.lm_head.bytes();
        }
        let mlp = |m: &GatedMlp| m.gate_proj.bytes() + m.up_proj.bytes() + m.down_proj.bytes();
        for layer in &self.layers {
            let a = &layer.self_attn;
            sum += [&a.q_proj, &a.k_proj, &a.v_proj, &a.o_proj]
                .map(Linear::bytes)
                .iter()
                .sum::<usize>();
            sum += match &layer.mlp {
                Mlp::Dense(m) => mlp(m),
                Mlp::Sparse(m) => m.experts.iter().map(mlp).sum(),
            };
        }
        sum
    }

    /// An empty cache for at most `limit` positions.
    pub fn cache(&self, ty: KvType, limit: usize) -> Cache {
        let shape = medley_nn::cache::shape(self.config.kv_heads, self.config.head_dim, ty);
        Cache::new(Arc::new(CacheSpec {
            layers: self.layers.len(),
            shape,
            limit,
        }))
    }

    /// Reads new tokens of several sequences in one step. Gives one `[rows × vocab]` vector of logits per input, with
    /// as many rows as were wanted. A sequence's logits do not depend on the sequences beside it.
    pub fn forward(&self, inputs: &mut [Input]) -> Result<Vec<Vec<f32>>> {
        if !self.device.is_cpu() || matches!(self.lm_head, Linear::Dense { .. }) {
            return inputs
                .iter_mut()
                .map(|input| self.forward_one_plain(input))
                .collect();
        }
        let counts: Vec<usize> = inputs.iter().map(|i| i.tokens.len()).collect();
        let ids: Vec<u32> = inputs.iter().flat_map(|i| i.tokens).copied().collect();
        if ids.is_empty() {
            return Ok(vec![Vec::new(); inputs.len()]);
        }
        let mut angles: Vec<(Vec<f32>, Vec<f32>)> = vec![Default::default(); self.ropes.len()];
        for input in inputs.iter_mut() {
            let start = input.cache.reserve(input.tokens.len())?;
            let length = start + input.tokens.len();
            let positions: Vec<usize> = (start..length).collect();
            for (rope, (cos, sin)) in self.ropes.iter().zip(&mut angles) {
                rope.angles(&positions, length, cos, sin);
            }
        }
        let wanted: Vec<Wanted> = inputs.iter().map(|i| i.wanted).collect();
        let mut caches: Vec<&mut Cache> = inputs.iter_mut().map(|i| &mut *i.cache).collect();
        let mut rows = Rows {
            caches: &mut caches,
            counts: &counts,
            angles: &angles,
        };
        let mut x = self.embed(&ids)?;
        let mut pending: Option<Tensor> = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let h;
            (x, h) = joined(x, pending.take(), layer.input_layernorm.as_ref())?;
            let a = layer.self_attn.forward(&h, index, &mut rows)?;
            let h;
            (x, h) = joined(
                x,
                Some(self.added(a, layer.after_attention.as_ref())?),
                layer.before_mlp.as_ref(),
            )?;
            pending = Some(self.added(layer.mlp.forward(&h)?, layer.after_mlp.as_ref())?);
        }
        if let Some(last) = pending {
            x = (x + last)?;
        }
        for (cache, count) in caches.iter_mut().zip(&counts) {
            cache.advance(*count);
        }
        self.logits_of_rows(&x, &counts, &wanted)
    }

    /// `[batch, length]` ids to logits `[batch, length, vocab]`, with gradients and no cache.
    pub fn forward_train(&self, ids: &Tensor) -> Result<Tensor> {
        self.head(&self.forward_hidden(ids)?)
    }

    /// The mean cross entropy, in nats, of the next tokens: `[batch, length]` ids with a target for each, row after row;
    /// [`train::IGNORED`] where none counts. The logits of all positions are never in memory at once where the training
    /// operations serve the head.
    pub fn loss(&self, ids: &Tensor, targets: &[u32]) -> Result<Tensor> {
        let hidden = self.forward_hidden(ids)?;
        if let Linear::Dense { weight, bias: None } = &self.lm_head
            && self.config.logit_softcap.is_none()
            && train::serves(&[&hidden, weight])
        {
            let hidden = scaled(hidden, self.config.logit_scale)?;
            return Ok(train::linear_cross_entropy(&hidden, weight, targets)?);
        }
        if let Linear::Packed { weight, bias: None } = &self.lm_head
            && self.config.logit_softcap.is_none()
            && train::serves(&[&hidden])
        {
            let hidden = scaled(hidden, self.config.logit_scale)?;
            return Ok(train::frozen_cross_entropy(&hidden, weight, targets)?);
        }
        let logits = self.head(&hidden)?;
        if train::serves(&[&logits]) {
            return Ok(train::cross_entropy(&logits, targets)?);
        }
        Ok(medley_nn::loss::cross_entropy(&logits, targets)?)
    }

    /// `[batch, length]` ids to what the head reads, `[batch, length, hidden]`.
    fn forward_hidden(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, length) = ids.dims2()?;
        let flat: Vec<u32> = ids.flatten_all().and_then(|t| t.to_vec1())?;
        let x = self
            .embed(&flat)?
            .reshape((batch, length, self.config.hidden_size))?;
        let x = self.blocks_plain(x, 0, |_, attention, h, angles| {
            attention.forward_plain(h, angles, None)
        })?;
        Ok(self.norm.forward(&x)?)
    }

    /// Reads the tokens of one text without a cache, and says where each looks: the logits `[vocab]` of the token after
    /// them, and for every layer the weights of attention `[heads, length, length]`, whose rows are distributions over a
    /// token and those before it.
    pub fn forward_watched(&self, tokens: &[u32]) -> Result<(Vec<f32>, Vec<Tensor>)> {
        let x = self.embed(tokens)?.unsqueeze(0)?;
        let mut seen = Vec::with_capacity(self.layers.len());
        let x = self.blocks_plain(x, 0, |_, attention, h, angles| {
            let (mixed, weights) = attention.forward_watched(h, angles)?;
            seen.push(weights.squeeze(0)?);
            Ok(mixed)
        })?;
        let last = x.narrow(1, tokens.len().saturating_sub(1), 1)?;
        let logits = self.head(&self.norm.forward(&last)?)?;
        Ok((logits.flatten_all().and_then(|t| t.to_vec1())?, seen))
    }

    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let x = self.embed_tokens.forward(ids, &self.device)?;
        scaled(x, self.config.embedding_scale)
    }

    /// What a block adds to the residual stream.
    fn added(&self, x: Tensor, norm: Option<&RmsNorm>) -> Result<Tensor> {
        let x = match norm {
            Some(norm) => norm.forward(&x)?,
            None => x,
        };
        scaled(x, self.config.residual_scale)
    }

    fn head(&self, x: &Tensor) -> Result<Tensor> {
        let logits = scaled(self.lm_head.forward(x)?, self.config.logit_scale)?;
        match self.config.logit_softcap.map(f64::from) {
            Some(cap) => Ok(((logits / cap)?.tanh()? * cap)?),
            None => Ok(logits),
        }
    }

    fn logits_of_rows(
        &self,
        x: &Tensor,
        counts: &[usize],
        wanted: &[Wanted],
    ) -> Result<Vec<Vec<f32>>> {
        let hidden = self.config.hidden_size;
        let all = medley_nn::tensor::slice(x)
            .ok_or_else(|| medley_nn::Error::Config("hidden rows must be f32 on the CPU".into()))?;
        let mut picked = Vec::new();
        let mut numbers = Vec::with_capacity(counts.len());
        let mut first = 0;
        for (&count, &wanted) in counts.iter().zip(wanted) {
            let rows = match wanted {
                Wanted::None => 0,
                Wanted::Last => count.min(1),
                Wanted::All => count,
            };
            picked
                .extend_from_slice(&all[(first + count - rows) * hidden..(first + count) * hidden]);
            numbers.push(rows);
            first += count;
        }
        let total: usize = numbers.iter().sum();
        if total == 0 {
            return Ok(vec![Vec::new(); counts.len()]);
        }
        let x = medley_nn::tensor::from_vec(picked, &[total, hidden])?;
        let logits = self.head(&self.norm.forward(&x)?)?;
        let values = medley_nn::tensor::slice(&logits)
            .ok_or_else(|| medley_nn::Error::Config("logits must be f32".into()))?;
        let mut rest: &[f32] = &values;
        Ok(numbers
            .iter()
            .map(|n| {
                let (mine, others) = rest.split_at(n * self.config.vocab_size);
                rest = others;
                mine.to_vec()
            })
            .collect())
    }

    fn forward_one_plain(&self, input: &mut Input) -> Result<Vec<f32>> {
        if input.tokens.is_empty() {
            return Ok(Vec::new());
        }
        let count = input.tokens.len();
        let past = input.cache.len();
        if past + count > input.cache.spec().limit {
            return Err(medley_nn::Error::ContextFull {
                limit: input.cache.spec().limit,
                needed: past + count,
            }
            .into());
        }
        let x = self.embed(input.tokens)?.unsqueeze(0)?;
        let memory = input.cache.tensors_mut();
        let x = self.blocks_plain(x, past, |layer, attention, h, angles| {
            attention.forward_plain(h, angles, memory.get_mut(layer))
        })?;
        input.cache.advance(count);
        let rows = match input.wanted {
            Wanted::None => return Ok(Vec::new()),
            Wanted::Last => 1,
            Wanted::All => count,
        };
        let x = x.narrow(1, count - rows, rows)?;
        let logits = self.head(&self.norm.forward(&x)?)?;
        Ok(logits.flatten_all().and_then(|t| t.to_vec1())?)
    }

    /// All layers over tensors, where `attend` is told each layer's number, its attention, what that reads and the rotary
    /// tables of the positions, and gives what it says.
    fn blocks_plain(
        &self,
        mut x: Tensor,
        past: usize,
        mut attend: impl FnMut(
            usize,
            &Attention,
            &Tensor,
            &[(Tensor, Tensor)],
        ) -> medley_nn::Result<Tensor>,
    ) -> Result<Tensor> {
        let length = x.dim(1)?;
        let positions: Vec<usize> = (past..past + length).collect();
        let mut angles = Vec::with_capacity(self.ropes.len());
        for rope in &self.ropes {
            let (mut cos, mut sin) = (Vec::new(), Vec::new());
            rope.angles(&positions, past + length, &mut cos, &mut sin);
            let table =
                |v: Vec<f32>| Tensor::from_vec(v, (length, rope.spec().rot_dim / 2), &self.device);
            angles.push((table(cos)?, table(sin)?));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let h = normed(&x, layer.input_layernorm.as_ref())?;
            let a = attend(index, &layer.self_attn, &h, &angles)?;
            x = (x + self.added(a, layer.after_attention.as_ref())?)?;
            let m = layer.mlp.forward(&normed(&x, layer.before_mlp.as_ref())?)?;
            x = (x + self.added(m, layer.after_mlp.as_ref())?)?;
        }
        Ok(x)
    }
}

fn scaled(x: Tensor, factor: f32) -> Result<Tensor> {
    if factor == 1.0 {
        Ok(x)
    } else {
        Ok((x * f64::from(factor))?)
    }
}

fn normed(x: &Tensor, norm: Option<&RmsNorm>) -> Result<Tensor> {
    Ok(match norm {
        Some(norm) => norm.forward(x)?,
        None => x.clone(),
    })
}

/// The residual stream after `added`, and its norm.
fn joined(x: Tensor, added: Option<Tensor>, norm: Option<&RmsNorm>) -> Result<(Tensor, Tensor)> {
    match (added, norm) {
        (Some(added), Some(norm)) => Ok(norm.add_forward(x, &added)?),
        (Some(added), None) => {
            let sum = (x + added)?;
            Ok((sum.clone(), sum))
        }
        (None, norm) => {
            let h = normed(&x, norm)?;
            Ok((x, h))
        }
    }
}
