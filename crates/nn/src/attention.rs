//! Self-attention with grouped queries, rotary positions and a KV cache.

use std::sync::Arc;

use candle_core::{D, DType, Tensor};
use medley_kernels::{AttentionParams, QueryRow};

use crate::linear::{joint, project};
use crate::tensor::{from_vec, slice};
use crate::{Cache, Error, Linear, Result, RmsNorm, RopeStyle, train};

/// Sizes and switches of one attention layer.
#[derive(Clone, Debug)]
pub struct AttentionSpec {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor on the scores before softmax.
    pub scale: f32,
    /// `cap · tanh(score / cap)` on the scores (Gemma 2).
    pub softcap: Option<f32>,
    /// Positions that a query sees, itself included.
    pub window: Option<usize>,
    /// Whether a query sees only what stands before it; else it sees its whole sequence.
    pub causal: bool,
    /// Which rotary table of the model it uses, and the dimensions and pairing of it; none for layers without positions.
    pub rope: Option<(usize, usize, RopeStyle)>,
}

/// Norm on queries and keys before the rotation.
#[derive(Clone)]
pub enum QkNorm {
    /// Each head by itself (Qwen 3, Gemma 3): weights of `head_dim`.
    PerHead(RmsNorm, RmsNorm),
    /// All heads together (OLMo 2): weights of `heads × head_dim` and `kv_heads × head_dim`.
    Whole(RmsNorm, RmsNorm),
}

/// Query, key, value and output projections around attention.
#[derive(Clone)]
pub struct Attention {
    /// Sizes.
    pub spec: AttentionSpec,
    /// `[heads × head_dim, hidden]`
    pub q_proj: Linear,
    /// `[kv_heads × head_dim, hidden]`
    pub k_proj: Linear,
    /// `[kv_heads × head_dim, hidden]`
    pub v_proj: Linear,
    /// `[hidden, heads × head_dim]`
    pub o_proj: Linear,
    /// Norm on queries and keys.
    pub qk_norm: Option<QkNorm>,
}

/// The rows of one step: tokens of several sequences, one sequence after the other.
pub struct Rows<'a, 'b> {
    /// One cache per sequence, with room reserved.
    pub caches: &'a mut [&'b mut Cache],
    /// Rows of each sequence.
    pub counts: &'a [usize],
    /// Cosines and sines `[rows, rot_dim / 2]` per rotary table.
    pub angles: &'a [(Vec<f32>, Vec<f32>)],
}

impl Attention {
    /// Normed rows `[rows, hidden]` → `[rows, hidden]`; keys and values go into the caches of `rows`.
    pub fn forward(&self, x: &Tensor, layer: usize, rows: &mut Rows) -> Result<Tensor> {
        let s = &self.spec;
        let mut projected = project(x, &[&self.q_proj, &self.k_proj, &self.v_proj])?.into_iter();
        let (Some(mut q), Some(mut k), Some(v)) =
            (projected.next(), projected.next(), projected.next())
        else {
            return Err(Error::Config("three projections give three results".into()));
        };
        match &self.qk_norm {
            Some(QkNorm::PerHead(qn, kn) | QkNorm::Whole(qn, kn)) => {
                q = norm_in_rows(qn, &q)?;
                k = norm_in_rows(kn, &k)?;
            }
            None => {}
        }
        if let Some((table, rot_dim, style)) = s.rope {
            let (cos, sin) = &rows.angles[table];
            medley_kernels::rope(&mut q, s.heads, s.head_dim, rot_dim, style, cos, sin);
            medley_kernels::rope(&mut k, s.kv_heads, s.head_dim, rot_dim, style, cos, sin);
        }
        let width = s.kv_heads * s.head_dim;
        let mut first = 0;
        let mut starts = Vec::with_capacity(rows.counts.len());
        for (cache, &count) in rows.caches.iter_mut().zip(rows.counts) {
            let span = first * width..(first + count) * width;
            starts.push(cache.len());
            cache.write(layer, cache.len(), &k[span.clone()], &v[span]);
            first += count;
        }
        let pages: Vec<Vec<&[u8]>> = rows.caches.iter().map(|cache| cache.pages(layer)).collect();
        let queries: Vec<QueryRow> = (0..rows.counts.len())
            .flat_map(|i| {
                let (pages, start, count) = (pages[i].as_slice(), starts[i], rows.counts[i]);
                (0..count).map(move |j| QueryRow {
                    pages,
                    pos: start + if s.causal { j } else { count - 1 },
                })
            })
            .collect();
        let params = AttentionParams {
            heads: s.heads,
            scale: s.scale,
            softcap: s.softcap,
            window: s.window,
        };
        let mut out = vec![0.0; q.len()];
        if let Some(cache) = rows.caches.first() {
            medley_kernels::attention(&cache.spec().shape, &params, &queries, &q, &mut out);
        }
        let mixed = from_vec(out, &[queries.len(), s.heads * s.head_dim])?;
        self.o_proj.forward(&mixed)
    }

    /// The same over tensors, with gradients where training operations serve it or candle's do: `[batch, length, hidden]` at positions `past..past + length`,
    /// where `past` keys and values `[batch, kv_heads, past, head_dim]` lie in `memory`, which grows.
    /// `angles`: cosines and sines `[length, rot_dim / 2]` per rotary table.
    pub fn forward_plain(
        &self,
        x: &Tensor,
        angles: &[(Tensor, Tensor)],
        memory: Option<&mut Option<(Tensor, Tensor)>>,
    ) -> Result<Tensor> {
        let (_, length, _) = x.dims3()?;
        let shape = match &memory {
            None => self.train_shape(length, angles)?,
            Some(_) => None,
        };
        let layers = [&self.q_proj, &self.k_proj, &self.v_proj];
        if let (Some(shape), None) = (&shape, &self.qk_norm)
            && let Some(weights) = joint(x, &layers)
        {
            let projected = train::joint_linear(x, &weights)?;
            return self
                .o_proj
                .forward(&train::joint_attention(shape, &projected)?);
        }
        let (q, k, v) = self.projected(x)?;
        if let Some(shape) = &shape
            && train::serves(&[&q, &k, &v])
        {
            let (q, k) = (q.flatten_from(2)?, k.flatten_from(2)?);
            return self.o_proj.forward(&train::attention(shape, &q, &k, &v)?);
        }
        let (q, mut k, mut v) = self.turned(&q, &k, v, angles)?;
        if let Some(memory) = memory {
            if let Some((pk, pv)) = memory.as_ref() {
                (k, v) = (Tensor::cat(&[pk, &k], 2)?, Tensor::cat(&[pv, &v], 2)?);
            }
            *memory = Some((k.clone(), v.clone()));
        }
        let weights = self.weights(&q, &k)?;
        self.mixed(&weights, &v)
    }

    /// As [`forward_plain`](Self::forward_plain) over a whole sequence, and the weights that it mixes values by: `[batch,
    /// heads, length, length]`, each row a distribution over the positions that its token sees.
    pub fn forward_watched(
        &self,
        x: &Tensor,
        angles: &[(Tensor, Tensor)],
    ) -> Result<(Tensor, Tensor)> {
        let (q, k, v) = self.projected(x)?;
        let (q, k, v) = self.turned(&q, &k, v, angles)?;
        let weights = self.weights(&q, &k)?;
        Ok((self.mixed(&weights, &v)?, weights))
    }

    /// Normed queries and keys `[batch, length, heads, head_dim]`, and values `[batch, length, kv_heads × head_dim]`.
    fn projected(&self, x: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let s = &self.spec;
        let (batch, length, _) = x.dims3()?;
        let split = |y: Tensor, heads: usize| y.reshape((batch, length, heads, s.head_dim));
        let (mut q, mut k) = (self.q_proj.forward(x)?, self.k_proj.forward(x)?);
        let v = self.v_proj.forward(x)?;
        if let Some(QkNorm::Whole(qn, kn)) = &self.qk_norm {
            (q, k) = (qn.forward(&q)?, kn.forward(&k)?);
        }
        (q, k) = (split(q, s.heads)?, split(k, s.kv_heads)?);
        if let Some(QkNorm::PerHead(qn, kn)) = &self.qk_norm {
            (q, k) = (qn.forward(&q)?, kn.forward(&k)?);
        }
        Ok((q, k, v))
    }

    /// What [`projected`](Self::projected) gave with its rotations, each `[batch, heads, length, head_dim]`.
    fn turned(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: Tensor,
        angles: &[(Tensor, Tensor)],
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let s = &self.spec;
        let (batch, length, _) = v.dims3()?;
        let v = v.reshape((batch, length, s.kv_heads, s.head_dim))?;
        let [mut q, mut k] = [
            q.transpose(1, 2)?.contiguous()?,
            k.transpose(1, 2)?.contiguous()?,
        ];
        if let Some((table, rot_dim, style)) = s.rope {
            let (cos, sin) = &angles[table];
            (q, k) = (
                rotate(&q, cos, sin, rot_dim, style)?,
                rotate(&k, cos, sin, rot_dim, style)?,
            );
        }
        Ok((q, k, v.transpose(1, 2)?.contiguous()?))
    }

    /// Keys or values `[batch, kv_heads, total, head_dim]`, once for every query head.
    fn spread(&self, y: &Tensor) -> Result<Tensor> {
        let s = &self.spec;
        let (batch, _, total, _) = y.dims4()?;
        let groups = s.heads / s.kv_heads;
        let y = y
            .unsqueeze(2)?
            .expand((batch, s.kv_heads, groups, total, s.head_dim))?;
        Ok(y.reshape((batch, s.heads, total, s.head_dim))?)
    }

    /// `softmax(q kᵀ · scale)` over what each query sees: `[batch, heads, length, total]`.
    fn weights(&self, q: &Tensor, k: &Tensor) -> Result<Tensor> {
        let s = &self.spec;
        let (length, total) = (q.dim(2)?, k.dim(2)?);
        let k = self.spread(k)?.transpose(2, 3)?.contiguous()?;
        let mut scores = (q.matmul(&k)? * f64::from(s.scale))?;
        if let Some(cap) = s.softcap {
            scores = ((scores / f64::from(cap))?.tanh()? * f64::from(cap))?;
        }
        if s.causal {
            scores = scores.broadcast_add(&causal_mask(length, total, s.window, &scores)?)?;
        }
        let peak = scores.max_keepdim(D::Minus1)?.detach();
        let weights = scores.broadcast_sub(&peak)?.exp()?;
        Ok(weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?)
    }

    /// The values mixed by their weights, through the output projection: `[batch, length, hidden]`.
    fn mixed(&self, weights: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (batch, heads, length, _) = weights.dims4()?;
        let mixed = weights
            .matmul(&self.spread(v)?.contiguous()?)?
            .transpose(1, 2)?
            .reshape((batch, length, heads * self.spec.head_dim))?;
        self.o_proj.forward(&mixed)
    }

    /// This attention over whole sequences as a training operation has it, or `None` where none does all of it.
    fn train_shape(
        &self,
        length: usize,
        angles: &[(Tensor, Tensor)],
    ) -> Result<Option<train::AttentionShape>> {
        let s = &self.spec;
        if s.softcap.is_some() || s.window.is_some_and(|w| w < length) {
            return Ok(None);
        }
        let turns = match s.rope {
            None => None,
            Some((table, rot_dim, style)) => {
                let (cos, sin) = &angles[table];
                Some(Arc::new(train::Angles {
                    cos: cos.flatten_all()?.to_vec1()?,
                    sin: sin.flatten_all()?.to_vec1()?,
                    rot_dim,
                    style,
                }))
            }
        };
        Ok(Some(train::AttentionShape {
            heads: s.heads,
            kv_heads: s.kv_heads,
            head_dim: s.head_dim,
            scale: s.scale,
            causal: s.causal,
            rope_q: turns.clone(),
            rope_k: turns,
        }))
    }
}

/// Queries `[rows × heads × head_dim]` over all that a layer of `memory` holds, without projections: `[rows, heads ×
/// head_dim]`.
pub fn attend(memory: &Cache, layer: usize, spec: &AttentionSpec, q: &[f32]) -> Result<Tensor> {
    let width = spec.heads * spec.head_dim;
    let pages = memory.pages(layer);
    let Some(pos) = memory.len().checked_sub(1) else {
        return Err(Error::Config("there is nothing to look at".into()));
    };
    let queries: Vec<QueryRow> = (0..q.len() / width.max(1))
        .map(|_| QueryRow { pages: &pages, pos })
        .collect();
    let params = AttentionParams {
        heads: spec.heads,
        scale: spec.scale,
        softcap: spec.softcap,
        window: None,
    };
    let mut out = vec![0.0; q.len()];
    medley_kernels::attention(&memory.spec().shape, &params, &queries, q, &mut out);
    from_vec(out, &[queries.len(), width])
}

fn norm_in_rows(norm: &RmsNorm, x: &[f32]) -> Result<Vec<f32>> {
    let weight = slice(&norm.weight)
        .ok_or_else(|| Error::Config("norm weights must be f32 on the CPU".into()))?;
    let mut out = vec![0.0; x.len()];
    medley_kernels::rms_norm(x, &weight, norm.eps, &mut out);
    Ok(out)
}

/// Rotates the first `rot_dim` dimensions of `[batch, heads, length, head_dim]`.
fn rotate(
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    rot_dim: usize,
    style: RopeStyle,
) -> Result<Tensor> {
    let head_dim = x.dim(D::Minus1)?;
    let half = rot_dim / 2;
    let turning = x.narrow(D::Minus1, 0, rot_dim)?;
    let (a, b) = match style {
        RopeStyle::Neox => (
            turning.narrow(D::Minus1, 0, half)?,
            turning.narrow(D::Minus1, half, half)?,
        ),
        RopeStyle::Interleaved => {
            let mut dims = x.dims().to_vec();
            dims.pop();
            dims.extend([half, 2]);
            let pairs = turning.reshape(dims)?;
            let pick = |i| -> candle_core::Result<Tensor> {
                pairs.narrow(D::Minus1, i, 1)?.squeeze(D::Minus1)
            };
            (pick(0)?, pick(1)?)
        }
    };
    let first = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let second = (b.broadcast_mul(cos)? + a.broadcast_mul(sin)?)?;
    let turned = match style {
        RopeStyle::Neox => Tensor::cat(&[first, second], D::Minus1)?,
        RopeStyle::Interleaved => {
            Tensor::stack(&[first, second], D::Minus1)?.reshape(turning.dims())?
        }
    };
    if rot_dim == head_dim {
        return Ok(turned);
    }
    Ok(Tensor::cat(
        &[turned, x.narrow(D::Minus1, rot_dim, head_dim - rot_dim)?],
        D::Minus1,
    )?)
}

/// `[length, total]`: 0 where the query may look, −∞ elsewhere.
fn causal_mask(
    length: usize,
    total: usize,
    window: Option<usize>,
    like: &Tensor,
) -> Result<Tensor> {
    let past = total - length;
    let mask: Vec<f32> = (0..length)
        .flat_map(|i| {
            let now = past + i;
            let first = window.map_or(0, |w| (now + 1).saturating_sub(w));
            (0..total).map(move |j| {
                if j <= now && j >= first {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
        })
        .collect();
    Ok(Tensor::from_vec(mask, (length, total), like.device())?
        .to_dtype(DType::F32)?
        .to_dtype(like.dtype())?)
}
