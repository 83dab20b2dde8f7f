//! Sound to states.

use std::sync::Arc;

use medley_nn::attention::Rows;
use medley_nn::cache::shape;
use medley_nn::{
    Activation, Attention, AttentionSpec, Cache, CacheSpec, KvType, LayerNorm, Linear, Tensor,
    tensor,
};

use super::names::Source;
use super::{FeedForward, WhisperConfig};
use crate::{ConfigError, Result};

struct Layer {
    self_attn_layer_norm: LayerNorm,
    self_attn: Attention,
    feed_forward: FeedForward,
}

/// Two convolutions and layers of attention over all of a window.
pub struct Encoder {
    mels: usize,
    context: usize,
    width: usize,
    conv1: Linear,
    conv2: Linear,
    /// `[context, width]`
    embed_positions: Vec<f32>,
    layers: Vec<Layer>,
    layer_norm: LayerNorm,
    cache: Arc<CacheSpec>,
}

impl Encoder {
    pub(super) fn new(c: &WhisperConfig, source: &Source<'_>) -> Result<Self> {
        let layers = (0..c.audio_layers)
            .map(|i| {
                let name = format!("encoder.layers.{i}");
                let norm = format!("{name}.self_attn_layer_norm");
                Ok(Layer {
                    self_attn_layer_norm: source.norm(&norm, c.width)?,
                    self_attn: attention(source, &name, c.width, c.audio_heads, false)?,
                    feed_forward: FeedForward::new(source, &name, c.width, c.inner)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            mels: c.mels,
            context: c.audio_context,
            width: c.width,
            // Sound as it comes in has too wide a range for 8 bits.
            conv1: source.conv("encoder.conv1", c.width, c.mels, true)?,
            conv2: source.conv("encoder.conv2", c.width, c.width, false)?,
            embed_positions: source.positions("encoder", c.audio_context, c.width)?,
            layers,
            layer_norm: source.norm("encoder.layer_norm", c.width)?,
            cache: Arc::new(CacheSpec {
                layers: 1,
                shape: shape(c.audio_heads, c.width / c.audio_heads, KvType::F32),
                limit: c.audio_context,
            }),
        })
    }

    /// Frames of a window's spectrogram: two of each state.
    pub fn frames(&self) -> usize {
        2 * self.context
    }

    /// A spectrogram `[frames, mels]` to states `[frames / 2, width]`. `ended` is asked before every layer; where it
    /// says so there is no result.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a spectrogram of another size.
    pub fn forward(
        &self,
        mel: Vec<f32>,
        mut ended: impl FnMut() -> bool,
    ) -> Result<Option<Tensor>> {
        if mel.len() != self.frames() * self.mels {
            let expected = format!("it must hold {} frames of {}", self.frames(), self.mels);
            return Err(ConfigError::invalid("spectrogram", mel.len(), &expected));
        }
        let x = self.conv1.forward(&seen(&mel, self.mels, 1)?)?;
        let x = numbers(&tensor::activated(Activation::Gelu, x)?)?;
        let x = self.conv2.forward(&seen(&x, self.width, 2)?)?;
        let mut x = numbers(&tensor::activated(Activation::Gelu, x)?)?; // [context, width]
        x.iter_mut()
            .zip(&self.embed_positions)
            .for_each(|(x, p)| *x += p);
        let mut x = tensor::from_vec(x, &[self.context, self.width])?;
        for layer in &self.layers {
            if ended() {
                return Ok(None);
            }
            let normed = layer.self_attn_layer_norm.forward(&x)?;
            let mut cache = Cache::new(self.cache.clone());
            cache.reserve(self.context)?;
            let mut rows = Rows {
                caches: &mut [&mut cache],
                counts: &[self.context],
                angles: &[],
            };
            x = (x + layer.self_attn.forward(&normed, 0, &mut rows)?)?;
            x = layer.feed_forward.forward(&x)?;
        }
        Ok(Some(self.layer_norm.forward(&x)?))
    }
}

/// Attention as both halves have it.
pub(super) fn attention(
    source: &Source<'_>,
    layer: &str,
    width: usize,
    heads: usize,
    causal: bool,
) -> Result<Attention> {
    let part = |name: &str| source.linear(&format!("{layer}.self_attn.{name}"), width, width);
    Ok(Attention {
        spec: AttentionSpec {
            heads,
            kv_heads: heads,
            head_dim: width / heads,
            scale: ((width / heads) as f32).sqrt().recip(),
            softcap: None,
            window: None,
            causal,
            rope: None,
        },
        q_proj: part("q_proj")?,
        k_proj: part("k_proj")?,
        v_proj: part("v_proj")?,
        o_proj: part("out_proj")?,
        qk_norm: None,
    })
}

/// What a convolution of three taps sees at every `stride`-th row of `x`: `[rows / stride, 3 · width]`.
fn seen(x: &[f32], width: usize, stride: usize) -> Result<Tensor> {
    let rows = x.len() / width;
    let out = rows.div_ceil(stride);
    let mut seen = vec![0.0; out * 3 * width];
    for (t, row) in seen.chunks_exact_mut(3 * width).enumerate() {
        for (k, part) in row.chunks_exact_mut(width).enumerate() {
            if let Some(from) = (t * stride + k).checked_sub(1).filter(|&from| from < rows) {
                part.copy_from_slice(&x[from * width..(from + 1) * width]);
            }
        }
    }
    Ok(tensor::from_vec(seen, &[out, 3 * width])?)
}

pub(super) fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    match tensor::slice(x) {
        Some(values) => Ok(values.to_vec()),
        None => Ok(x.flatten_all()?.to_vec1()?),
    }
}
