//! What distinguishes one decoder-only transformer from another.

use medley_nn::{Activation, MoeSpec, RopeScaling, RopeSpec};

use crate::{ConfigError, Result};

/// Where a layer's norms stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormLayout {
    /// Before attention and before the feed-forward block (Llama).
    Pre,
    /// After each of them, before the residual sum (OLMo 2).
    Post,
    /// Before and after (Gemma 2 and 3).
    Sandwich,
}

/// Norm on queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNormKind {
    /// Each head by itself.
    PerHead,
    /// All heads together.
    Whole,
}

/// What differs between the layers of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerKind {
    /// Positions that a query sees, itself included.
    pub window: Option<usize>,
    /// Index into [`DecoderConfig::ropes`]; none for layers without positions.
    pub rope: Option<usize>,
    /// Whether the feed-forward block is a mixture of experts.
    pub sparse: bool,
}

/// Shape and switches of a decoder-only transformer.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// Family, as [`super::FAMILIES`] names it.
    pub family: &'static str,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Positions that the model is meant for.
    pub max_positions: usize,
    /// Added to the mean square in norms.
    pub norm_eps: f32,
    /// Added to stored norm weights (1 for Gemma's checkpoints, whose GGUF files have it added already).
    pub norm_offset: f32,
    /// Where norms stand.
    pub norms: NormLayout,
    /// Norm on queries and keys.
    pub qk_norm: Option<QkNormKind>,
    /// Activation of the gate.
    pub act: Activation,
    /// Whether the head is the embedding matrix.
    pub tied: bool,
    /// Factor on embeddings.
    pub embedding_scale: f32,
    /// Factor on what a block adds to the residual stream.
    pub residual_scale: f32,
    /// Factor on logits.
    pub logit_scale: f32,
    /// `cap · tanh(logit / cap)` on logits.
    pub logit_softcap: Option<f32>,
    /// Factor on attention scores.
    pub attention_scale: f32,
    /// `cap · tanh(score / cap)` on attention scores.
    pub attention_softcap: Option<f32>,
    /// Rotary tables.
    pub ropes: Vec<RopeSpec>,
    /// One entry per layer.
    pub layers: Vec<LayerKind>,
    /// Routing of sparse layers.
    pub moe: Option<MoeSpec>,
}

/// Largest sizes that a file may ask for; beyond them a file is damaged or hostile.
const MAX_WIDTH: usize = 1 << 20;
const MAX_VOCAB: usize = 1 << 24;
const MAX_LAYERS: usize = 1024;

impl DecoderConfig {
    /// Positions up to which a token's keys, values and logits do not depend on the steps in which its sequence is read;
    /// none where they never do. Beyond it, rotary positions follow the length that the sequence has after a step.
    pub fn steady_positions(&self) -> Option<usize> {
        let original = |rope: &RopeSpec| match rope.scaling {
            RopeScaling::Dynamic { original, .. } | RopeScaling::LongRope { original, .. } => {
                Some(original)
            }
            _ => None,
        };
        self.ropes.iter().filter_map(original).min()
    }

    /// Refuses sizes that cannot be, before anything is allocated by them.
    pub fn validate(self) -> Result<Self> {
        let bounded = [
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("num_attention_heads", self.heads, MAX_WIDTH),
            ("num_key_value_heads", self.kv_heads, MAX_WIDTH),
            ("head_dim", self.head_dim, MAX_WIDTH),
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            ("num_hidden_layers", self.layers.len(), MAX_LAYERS),
            ("max_position_embeddings", self.max_positions, 1 << 30),
        ];
        for (key, value, limit) in bounded {
            if value == 0 || value > limit {
                return Err(ConfigError::invalid(
                    key,
                    value,
                    &format!("it must lie between 1 and {limit}"),
                ));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(ConfigError::invalid(
                "num_key_value_heads",
                self.kv_heads,
                "it must divide num_attention_heads",
            ));
        }
        for rope in &self.ropes {
            if rope.rot_dim == 0 || rope.rot_dim > self.head_dim || !rope.rot_dim.is_multiple_of(2)
            {
                return Err(ConfigError::invalid(
                    "rotary dimensions",
                    rope.rot_dim,
                    "they must be even and within a head",
                ));
            }
            let divisors = match &rope.scaling {
                RopeScaling::Divisors(d) => vec![d.len()],
                RopeScaling::LongRope { short, long, .. } => {
                    vec![short.len(), long.len()]
                }
                _ => Vec::new(),
            };
            if divisors.iter().any(|&n| n != rope.rot_dim / 2) {
                return Err(ConfigError::invalid(
                    "rope factors",
                    format!("{divisors:?} entries"),
                    "one is needed for each pair of dimensions",
                ));
            }
            if !(rope.theta.is_finite() && rope.theta > 0.0) {
                return Err(ConfigError::invalid(
                    "rope_theta",
                    rope.theta,
                    "it must be positive",
                ));
            }
        }
        if let Some(moe) = &self.moe
            && (moe.experts == 0
                || moe.experts > 4096
                || moe.top_k == 0
                || moe.top_k > moe.experts
                || moe.intermediate == 0
                || moe.intermediate > MAX_WIDTH)
        {
            return Err(ConfigError::invalid(
                "experts",
                format!("{moe:?}"),
                "at least one and at most all of them serve a token",
            ));
        }
        let ropes = self.ropes.len();
        if let Some(window) = self
            .layers
            .iter()
            .filter_map(|l| l.window)
            .find(|&w| w == 0)
        {
            return Err(ConfigError::invalid(
                "sliding_window",
                window,
                "it must be at least 1",
            ));
        }
        if self
            .layers
            .iter()
            .filter_map(|l| l.rope)
            .any(|r| r >= ropes)
        {
            return Err(ConfigError::missing("rope parameters of a layer type"));
        }
        Ok(self)
    }
}
