//! Attention over whole sequences, with rotary positions.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Shape, Tensor};
use medley_kernels::{
    RopeStyle, SequenceAttention, pool, rope, rope_backward, sequence_attention,
    sequence_attention_backward, unspecified,
};

use super::{block_rows, numbers, tensor, values};
use crate::{Error, Result};

/// Rotary positions of a sequence, the same for every sequence of a batch.
#[derive(Debug, Clone)]
pub struct Angles {
    /// Cosines `[length, rot_dim / 2]`.
    pub cos: Vec<f32>,
    /// Sines `[length, rot_dim / 2]`.
    pub sin: Vec<f32>,
    /// Dimensions of a head that turn.
    pub rot_dim: usize,
    /// Which dimensions form a pair.
    pub style: RopeStyle,
}

/// Heads of an attention.
#[derive(Debug, Clone)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Whether a query sees only the keys up to its own position (counted from the end, where there are more keys).
    pub causal: bool,
    /// Rotary positions of the queries.
    pub rope_q: Option<Arc<Angles>>,
    /// Rotary positions of the keys.
    pub rope_k: Option<Arc<Angles>>,
}

impl AttentionShape {
    fn check(&self, q: &[usize], k: &[usize], v: &[usize]) -> Result<SequenceAttention> {
        let &[batch, queries, q_width] = q else {
            return Err(Error::Config(format!("queries of the shape {q:?}")));
        };
        let &[k_batch, keys, k_width] = k else {
            return Err(Error::Config(format!("keys of the shape {k:?}")));
        };
        let fits = q_width == self.heads * self.head_dim
            && k_width == self.kv_heads * self.head_dim
            && k == v
            && batch == k_batch
            && self.kv_heads > 0
            && self.heads.is_multiple_of(self.kv_heads);
        if !fits {
            return Err(Error::Config(format!(
                "attention of {} heads of {} over {} of keys was given {q:?}, {k:?} and {v:?}",
                self.heads, self.head_dim, self.kv_heads
            )));
        }
        for (angles, length) in [(&self.rope_q, queries), (&self.rope_k, keys)] {
            let Some(a) = angles else { continue };
            let table = length * (a.rot_dim / 2);
            let even = a.rot_dim.is_multiple_of(2) && a.rot_dim <= self.head_dim;
            if !even || a.cos.len() != table || a.sin.len() != table {
                return Err(Error::Config(format!(
                    "rotary tables of {} and {} numbers for {length} positions of {} dimensions",
                    a.cos.len(),
                    a.sin.len(),
                    a.rot_dim
                )));
            }
        }
        Ok(SequenceAttention {
            batch,
            heads: self.heads,
            kv_heads: self.kv_heads,
            queries,
            keys,
            dim: self.head_dim,
            scale: self.scale,
            causal: self.causal,
        })
    }
}

/// `softmax(scale · q kᵀ) v` by heads: `q [batch, queries, heads × dim]`, `k` and `v [batch, keys, kv_heads × dim]` →
/// `[batch, queries, heads × dim]`. Queries and keys are turned by their positions first. Scores exist for some queries
/// at a time only.
pub fn attention(shape: &AttentionShape, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let op = Attention {
        sizes: shape.check(q.dims(), k.dims(), v.dims())?,
        shape: shape.clone(),
        log_sums: Mutex::default(),
    };
    Ok(q.contiguous()?
        .apply_op3(&k.contiguous()?, &v.contiguous()?, op)?)
}

/// [`attention`] of rows that hold queries, keys and values side by side, as [`super::joint_linear`] makes them:
/// `[batch, length, (heads + 2 kv_heads) × dim]`.
pub fn joint_attention(shape: &AttentionShape, x: &Tensor) -> Result<Tensor> {
    let (batch, length, width) = x.dims3()?;
    let (q, kv) = (
        shape.heads * shape.head_dim,
        shape.kv_heads * shape.head_dim,
    );
    if width != q + 2 * kv {
        return Err(Error::Config(format!(
            "queries, keys and values side by side have a width of {}, not {width}",
            q + 2 * kv
        )));
    }
    let keys = [batch, length, kv];
    let op = Attention {
        sizes: shape.check(&[batch, length, q], &keys, &keys)?,
        shape: shape.clone(),
        log_sums: Mutex::default(),
    };
    Ok(x.contiguous()?.apply_op1(op)?)
}

/// Heads within rows: `heads` of them from the column `first` on, of rows that are `width` wide.
#[derive(Clone, Copy)]
struct Columns<'a> {
    rows: &'a [f32],
    width: usize,
    first: usize,
}

struct Attention {
    sizes: SequenceAttention,
    shape: AttentionShape,
    log_sums: Mutex<Vec<f32>>,
}

impl Attention {
    /// `[batch, length, ..]` → `[batch, heads, length, dim]`, turned by `angles`.
    fn by_heads(
        &self,
        from: Columns<'_>,
        heads: usize,
        length: usize,
        angles: Option<&Angles>,
    ) -> Vec<f32> {
        let dim = self.sizes.dim;
        let mut out = unspecified(self.sizes.batch * heads * length * dim);
        pool::parallel_chunks(&mut out, (length * dim).max(1), |i, out| {
            let (sequence, head) = (i / heads, i % heads);
            let column = from.first + head * dim;
            for (r, row) in out.chunks_exact_mut(dim).enumerate() {
                let at = (sequence * length + r) * from.width + column;
                row.copy_from_slice(&from.rows[at..at + dim]);
            }
            if let Some(a) = angles {
                rope(out, 1, dim, a.rot_dim, a.style, &a.cos, &a.sin);
            }
        });
        out
    }

    fn turn_back(&self, x: &mut [f32], length: usize, angles: Option<&Angles>) {
        let dim = self.sizes.dim;
        if let Some(a) = angles {
            pool::parallel_chunks(x, (length * dim).max(1), |_, head| {
                rope_backward(head, 1, dim, a.rot_dim, a.style, &a.cos, &a.sin);
            });
        }
    }

    /// Parts `[batch, heads, length, dim]` side by side in rows.
    fn by_rows(&self, parts: &[(&[f32], usize)], length: usize) -> Vec<f32> {
        let dim = self.sizes.dim;
        let width: usize = parts.iter().map(|(_, heads)| heads * dim).sum();
        let mut out = unspecified(self.sizes.batch * length * width);
        let block = block_rows(width);
        pool::parallel_chunks(&mut out, (block * width).max(1), |i, out| {
            for (r, row) in out.chunks_exact_mut(width).enumerate() {
                let (sequence, r) = ((i * block + r) / length, (i * block + r) % length);
                let mut rest = row;
                for (part, heads) in parts {
                    let (mine, others) = rest.split_at_mut(heads * dim);
                    rest = others;
                    for (head, to) in mine.chunks_exact_mut(dim).enumerate() {
                        let at = ((sequence * heads + head) * length + r) * dim;
                        to.copy_from_slice(&part[at..at + dim]);
                    }
                }
            }
        });
        out
    }

    /// Queries, keys and values by heads.
    fn operands(&self, q: Columns<'_>, k: Columns<'_>, v: Columns<'_>) -> [Vec<f32>; 3] {
        let s = &self.sizes;
        let (turn_q, turn_k) = (self.shape.rope_q.as_deref(), self.shape.rope_k.as_deref());
        [
            self.by_heads(q, s.heads, s.queries, turn_q),
            self.by_heads(k, s.kv_heads, s.keys, turn_k),
            self.by_heads(v, s.kv_heads, s.keys, None),
        ]
    }

    fn forward(&self, q: Columns<'_>, k: Columns<'_>, v: Columns<'_>) -> (CpuStorage, Shape) {
        let s = &self.sizes;
        let [q, k, v] = self.operands(q, k, v);
        let mut out = unspecified(q.len());
        let mut log_sums = unspecified(s.batch * s.heads * s.queries);
        sequence_attention(s, &q, &k, &v, &mut out, &mut log_sums);
        *self.log_sums.lock().unwrap_or_else(PoisonError::into_inner) = log_sums;
        let out = self.by_rows(&[(&out, s.heads)], s.queries);
        let shape = Shape::from((s.batch, s.queries, s.heads * s.dim));
        (CpuStorage::F32(out), shape)
    }

    /// Gradients of queries, keys and values by heads.
    fn backward(
        &self,
        q: Columns<'_>,
        k: Columns<'_>,
        v: Columns<'_>,
        (out, dout): (&[f32], &[f32]),
    ) -> [Vec<f32>; 3] {
        let s = &self.sizes;
        let [q, k, v] = self.operands(q, k, v);
        let whole = |rows| Columns {
            rows,
            width: s.heads * s.dim,
            first: 0,
        };
        let out = self.by_heads(whole(out), s.heads, s.queries, None);
        let dout = self.by_heads(whole(dout), s.heads, s.queries, None);
        let log_sums = self.log_sums.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut dq, mut dk) = (unspecified(q.len()), unspecified(k.len()));
        let mut dv = unspecified(v.len());
        sequence_attention_backward(
            s, &q, &k, &v, &out, &log_sums, &dout, &mut dq, &mut dk, &mut dv,
        );
        self.turn_back(&mut dq, s.queries, self.shape.rope_q.as_deref());
        self.turn_back(&mut dk, s.keys, self.shape.rope_k.as_deref());
        [dq, dk, dv]
    }

    /// Views of queries, keys and values that lie side by side.
    fn side_by_side<'a>(&self, rows: &'a [f32]) -> [Columns<'a>; 3] {
        let s = &self.sizes;
        let (q, kv) = (s.heads * s.dim, s.kv_heads * s.dim);
        [0, q, q + kv].map(|first| Columns {
            rows,
            width: q + 2 * kv,
            first,
        })
    }

    fn apart<'a>(&self, q: &'a [f32], k: &'a [f32], v: &'a [f32]) -> [Columns<'a>; 3] {
        let s = &self.sizes;
        let whole = |rows, heads: usize| Columns {
            rows,
            width: heads * s.dim,
            first: 0,
        };
        [
            whole(q, s.heads),
            whole(k, s.kv_heads),
            whole(v, s.kv_heads),
        ]
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "joint attention"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let [q, k, v] = self.side_by_side(values(x, xl)?);
        Ok(self.forward(q, k, v))
    }

    fn bwd(&self, x: &Tensor, res: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (xs, out, dout) = (numbers(x)?, numbers(res)?, numbers(&grad)?);
        let [q, k, v] = self.side_by_side(&xs);
        let [dq, dk, dv] = self.backward(q, k, v, (&out, &dout));
        let s = &self.sizes;
        let parts: [(&[f32], usize); 3] = [(&dq, s.heads), (&dk, s.kv_heads), (&dv, s.kv_heads)];
        tensor(self.by_rows(&parts, s.queries), x.dims()).map(Some)
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let [q, k, v] = self.apart(values(q, ql)?, values(k, kl)?, values(v, vl)?);
        Ok(self.forward(q, k, v))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (out, dout) = (numbers(res)?, numbers(&grad)?);
        let (qs, ks, vs) = (numbers(q)?, numbers(k)?, numbers(v)?);
        let [qc, kc, vc] = self.apart(&qs, &ks, &vs);
        let [dq, dk, dv] = self.backward(qc, kc, vc, (&out, &dout));
        let s = &self.sizes;
        let give = |x: &Tensor, gradient: &[f32], heads, length| {
            let wanted = x.track_op();
            let rows = wanted.then(|| self.by_rows(&[(gradient, heads)], length));
            rows.map(|rows| tensor(rows, x.dims())).transpose()
        };
        Ok((
            give(q, &dq, s.heads, s.queries)?,
            give(k, &dk, s.kv_heads, s.keys)?,
            give(v, &dv, s.kv_heads, s.keys)?,
        ))
    }
}
