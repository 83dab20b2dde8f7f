//! States and tokens to tokens.

use std::sync::Arc;

use medley_nn::attention::{Rows, attend};
use medley_nn::cache::shape;
use medley_nn::linear::project;
use medley_nn::{
    Attention, Cache, CacheSpec, Device, Embedding, KvType, LayerNorm, Linear, Tensor, tensor,
};

use super::encoder::{attention, numbers};
use super::names::Source;
use super::{FeedForward, WhisperConfig};
use crate::{ConfigError, Result};

struct CrossAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
}

struct Layer {
    self_attn_layer_norm: LayerNorm,
    self_attn: Attention,
    encoder_attn_layer_norm: LayerNorm,
    encoder_attn: CrossAttention,
    feed_forward: FeedForward,
}

/// Writes tokens after tokens, with a window's states in view.
pub struct Decoder {
    heads: usize,
    width: usize,
    embed_tokens: Embedding,
    /// `[context, width]`
    embed_positions: Vec<f32>,
    layers: Vec<Layer>,
    layer_norm: LayerNorm,
    texts: Arc<CacheSpec>,
    memories: Arc<CacheSpec>,
}

/// What the decoder keeps of a window: keys and values of its states in every layer.
pub struct Memory {
    cache: Cache,
    /// `[states, width]`
    states: Tensor,
}

/// What the decoder keeps of a text that it writes.
#[derive(Clone)]
pub struct Text(Cache);

impl Text {
    /// Tokens so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no token yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where chosen heads look: for each, the share of every state, token by token.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaze {
    /// States.
    pub states: usize,
    /// Of each head `[tokens, states]`; each row sums to 1.
    pub heads: Vec<Vec<f32>>,
}

impl Decoder {
    pub(super) fn new(c: &WhisperConfig, source: &Source<'_>) -> Result<Self> {
        let layers = (0..c.text_layers)
            .map(|i| {
                let name = format!("decoder.layers.{i}");
                let norm = |part: &str| source.norm(&format!("{name}.{part}"), c.width);
                let cross = |part: &str| {
                    let name = format!("{name}.encoder_attn.{part}");
                    source.linear(&name, c.width, c.width)
                };
                Ok(Layer {
                    self_attn_layer_norm: norm("self_attn_layer_norm")?,
                    self_attn: attention(source, &name, c.width, c.text_heads, true)?,
                    encoder_attn_layer_norm: norm("encoder_attn_layer_norm")?,
                    encoder_attn: CrossAttention {
                        q_proj: cross("q_proj")?,
                        k_proj: cross("k_proj")?,
                        v_proj: cross("v_proj")?,
                        out_proj: cross("out_proj")?,
                    },
                    feed_forward: FeedForward::new(source, &name, c.width, c.inner)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let table = source.linear("decoder.embed_tokens", c.vocab_size, c.width)?;
        let spec = |ty, limit| {
            Arc::new(CacheSpec {
                layers: c.text_layers,
                shape: shape(c.text_heads, c.width / c.text_heads, ty),
                limit,
            })
        };
        Ok(Self {
            heads: c.text_heads,
            width: c.width,
            embed_tokens: Embedding { table },
            embed_positions: source.positions("decoder", c.text_context, c.width)?,
            layers,
            layer_norm: source.norm("decoder.layer_norm", c.width)?,
            texts: spec(KvType::F32, c.text_context),
            memories: spec(source.kept(), c.audio_context),
        })
    }

    /// Takes in the states `[states, width]` of a window.
    ///
    /// # Errors
    /// [`ConfigError`] for states of another width or more of them than the model knows.
    pub fn remember(&self, states: Tensor) -> Result<Memory> {
        let (count, _) = states.dims2()?;
        let mut cache = Cache::new(self.memories.clone());
        cache.reserve(count)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let cross = &layer.encoder_attn;
            let [k, v]: [Vec<f32>; 2] = project(&states, &[&cross.k_proj, &cross.v_proj])?
                .try_into()
                .map_err(|_| ConfigError::missing("keys and values"))?;
            cache.write(i, 0, &k, &v);
        }
        cache.advance(count);
        Ok(Memory { cache, states })
    }

    /// A text without tokens.
    pub fn begin(&self) -> Text {
        Text(Cache::new(self.texts.clone()))
    }

    /// Reads `tokens` on, `counts` of them for each of `texts`, one text after the other, and gives the states
    /// `[tokens, width]` behind each.
    ///
    /// # Errors
    /// [`ConfigError`] for ids outside of the vocabulary and texts beyond the context.
    pub fn forward(
        &self,
        tokens: &[u32],
        counts: &[usize],
        texts: &mut [&mut Text],
        memory: &Memory,
    ) -> Result<Tensor> {
        self.run(tokens, counts, texts, memory, |_, _| Ok(()))
    }

    /// Logits `[rows, vocabulary]` behind states `[rows, width]`.
    ///
    /// # Errors
    /// [`ConfigError`] for states of another width.
    pub fn logits(&self, states: &Tensor) -> Result<Vec<f32>> {
        numbers(&self.embed_tokens.table.forward(states)?)
    }

    /// Reads a whole text and gives the states behind each of its tokens, and where `heads` (layer and number) look.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`ConfigError::Invalid`] for a head that is not there.
    pub fn gaze(
        &self,
        tokens: &[u32],
        memory: &Memory,
        heads: &[(usize, usize)],
    ) -> Result<(Tensor, Gaze)> {
        if let Some(head) = heads
            .iter()
            .find(|(l, h)| *l >= self.layers.len() || *h >= self.heads)
        {
            let expected = format!("there are {} of {}", self.layers.len(), self.heads);
            return Err(ConfigError::invalid(
                "alignment_heads",
                format!("{head:?}"),
                &expected,
            ));
        }
        let (states, _) = memory.states.dims2()?;
        let mut found = Vec::new();
        let mut text = self.begin();
        let out = self.run(
            tokens,
            &[tokens.len()],
            &mut [&mut text],
            memory,
            |layer, q| {
                if heads.iter().all(|(l, _)| *l != layer) {
                    return Ok(());
                }
                let keys = numbers(
                    &self.layers[layer]
                        .encoder_attn
                        .k_proj
                        .forward(&memory.states)?,
                )?;
                for &(_, head) in heads.iter().filter(|(l, _)| *l == layer) {
                    found.push(shares(q, &keys, head, self.heads, self.width));
                }
                Ok(())
            },
        )?;
        Ok((
            out,
            Gaze {
                states,
                heads: found,
            },
        ))
    }

    /// [`Decoder::forward`] that shows every layer's queries to the window.
    fn run(
        &self,
        tokens: &[u32],
        counts: &[usize],
        texts: &mut [&mut Text],
        memory: &Memory,
        mut show: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<Tensor> {
        let mut caches: Vec<&mut Cache> = texts.iter_mut().map(|text| &mut text.0).collect();
        if counts.iter().sum::<usize>() != tokens.len() || counts.len() != caches.len() {
            let expected = "each text has its share of the tokens";
            return Err(ConfigError::invalid("counts", tokens.len(), expected));
        }
        let mut x = numbers(&self.embed_tokens.forward(tokens, &Device::Cpu)?)?;
        let mut rows = x.chunks_exact_mut(self.width);
        for (cache, &count) in caches.iter_mut().zip(counts) {
            let start = cache.reserve(count)? * self.width;
            let positions = self.embed_positions[start..].chunks_exact(self.width);
            for (row, position) in rows.by_ref().take(count).zip(positions) {
                row.iter_mut().zip(position).for_each(|(x, p)| *x += p);
            }
        }
        let mut x = tensor::from_vec(x, &[tokens.len(), self.width])?;
        for (i, layer) in self.layers.iter().enumerate() {
            let normed = layer.self_attn_layer_norm.forward(&x)?;
            let mut rows = Rows {
                caches: &mut caches,
                counts,
                angles: &[],
            };
            x = (x + layer.self_attn.forward(&normed, i, &mut rows)?)?;
            let normed = layer.encoder_attn_layer_norm.forward(&x)?;
            let cross = &layer.encoder_attn;
            let q = numbers(&cross.q_proj.forward(&normed)?)?;
            show(i, &q)?;
            let mixed = attend(&memory.cache, i, &layer.self_attn.spec, &q)?;
            x = (x + cross.out_proj.forward(&mixed)?)?;
            x = layer.feed_forward.forward(&x)?;
        }
        for (cache, &count) in caches.iter_mut().zip(counts) {
            cache.advance(count);
        }
        Ok(self.layer_norm.forward(&x)?)
    }
}

/// Softmax of the scores of one head: `[tokens, states]`. `q` and `keys` are rows of `width`.
fn shares(q: &[f32], keys: &[f32], head: usize, heads: usize, width: usize) -> Vec<f32> {
    let dim = width / heads;
    let part = head * dim..(head + 1) * dim;
    let scale = (dim as f32).sqrt().recip();
    let mut out = Vec::with_capacity(q.len() / width * (keys.len() / width));
    for q in q.chunks_exact(width) {
        let start = out.len();
        let score = |k: &[f32]| -> f32 {
            let products = q[part.clone()].iter().zip(&k[part.clone()]);
            products.map(|(a, b)| a * b).sum::<f32>() * scale
        };
        out.extend(keys.chunks_exact(width).map(score));
        let row = &mut out[start..];
        let peak = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|s| *s = (*s - peak).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|s| *s /= sum);
    }
    out
}
