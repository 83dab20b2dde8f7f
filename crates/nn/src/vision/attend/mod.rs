//! Full attention over sequences, from rows of projections to rows of mixed values: heads, norms on queries and keys,
//! rotary positions, softmax and all in one operation.

mod ops;
mod plain;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, D, Shape, Tensor};
use medley_kernels as kernels;
use medley_kernels::{RopeStyle, SequenceAttention, pool};

use super::{Candle, expect, ours, result};
use crate::{Error, Result};

/// Heads of an attention, and the norm on their queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// Heads.
    pub heads: usize,
    /// Elements of a head.
    pub dim: usize,
    /// Added to the mean square in the norms of queries and keys.
    pub eps: f32,
}

impl Heads {
    fn width(&self) -> usize {
        self.heads * self.dim
    }
}

/// Cosines and sines of each token's rotation, pairs `(i, i + dim / 2)` of a head.
#[derive(Clone, Debug, PartialEq)]
pub struct Angles {
    /// `[tokens, dim / 2]`
    pub cos: Vec<f32>,
    /// `[tokens, dim / 2]`
    pub sin: Vec<f32>,
}

/// Places along one direction of a grid of tokens, and the pairs of a head that turn with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Places.
    pub count: usize,
    /// Pairs.
    pub pairs: usize,
    /// Whether the first place follows the last one, as in a clip that repeats: pairs then turn by whole turns from end to
    /// end, from half the places down to one.
    pub closed: bool,
}

impl Axis {
    /// The angle from a place to the next one of each pair.
    fn steps(self, theta: f32) -> Vec<f64> {
        let share = |i: usize, of: usize| i as f64 / of.max(1) as f64;
        let turn = std::f64::consts::TAU / self.count.max(1) as f64;
        let most = (self.count / 2).max(1) as f64;
        (0..self.pairs)
            .map(|i| match self.closed {
                true => most.powf(1.0 - share(i, self.pairs - 1)).round() * turn,
                false => f64::from(theta).powf(-share(i, self.pairs)),
            })
            .collect()
    }
}

impl Angles {
    /// Rotations for a grid of `rows × columns` tokens, row by row, followed by `still` tokens that are not rotated:
    /// half of a head's pairs turn with the row, half with the column (Su et al. 2021, along two axes).
    ///
    /// # Errors
    /// [`Error::Config`] where `dim` is no multiple of 4.
    pub fn grid(rows: usize, columns: usize, still: usize, dim: usize, theta: f32) -> Result<Self> {
        if !dim.is_multiple_of(4) || dim == 0 {
            return Err(Error::Config(format!(
                "heads of {dim} cannot turn along two axes; they must be a multiple of 4"
            )));
        }
        let axis = |count| Axis {
            count,
            pairs: dim / 4,
            closed: false,
        };
        Ok(Self::along(&[axis(rows), axis(columns)], still, theta))
    }

    /// Rotations for a grid along any number of axes, the last one running fastest, followed by `still` tokens that are
    /// not rotated. Heads have two numbers for each pair of the axes together; open axes turn with frequencies from 1 down
    /// to about `1 / theta`.
    pub fn along(axes: &[Axis], still: usize, theta: f32) -> Self {
        let steps: Vec<Vec<f64>> = axes.iter().map(|axis| axis.steps(theta)).collect();
        let tokens: usize = axes.iter().map(|axis| axis.count).product();
        let pairs: usize = axes.iter().map(|axis| axis.pairs).sum();
        let mut angles = Self {
            cos: Vec::with_capacity((tokens + still) * pairs),
            sin: Vec::with_capacity((tokens + still) * pairs),
        };
        for token in 0..tokens {
            let mut after = tokens;
            for (axis, steps) in axes.iter().zip(&steps) {
                after /= axis.count;
                let place = (token / after % axis.count) as f64;
                angles
                    .cos
                    .extend(steps.iter().map(|s| (place * s).cos() as f32));
                angles
                    .sin
                    .extend(steps.iter().map(|s| (place * s).sin() as f32));
            }
        }
        angles.cos.resize((tokens + still) * pairs, 1.0);
        angles.sin.resize((tokens + still) * pairs, 0.0);
        angles
    }
}

/// Attention of tokens among themselves. `qkv` `[batch, tokens, 3 · heads · dim]` holds queries, keys and values side
/// by side. `norms` `[2 · streams, dim]`, where given, are the weights of the root-mean-square norms of queries and of
/// keys, for each stream: the first `split` tokens are the first stream, the others the second (one stream has no
/// split). `lengths` says how many tokens of each sample may be looked at, where not all. Gives
/// `[batch, tokens, heads · dim]`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Config`] where operands do not fit.
pub fn self_attention(
    qkv: &Tensor,
    norms: Option<&Tensor>,
    heads: Heads,
    angles: Option<&Arc<Angles>>,
    split: Option<usize>,
    lengths: Option<&[usize]>,
) -> Result<Tensor> {
    let (batch, tokens, _) = qkv.dims3()?;
    expect(
        "queries, keys and values",
        qkv,
        &[batch, tokens, 3 * heads.width()],
    )?;
    let op = Attend::new(heads, batch, [tokens, tokens], angles, split, lengths, true)?;
    op.check_norms(norms)?;
    let mut operands = vec![qkv];
    operands.extend(norms);
    if !ours(&operands) {
        #[cfg(feature = "cuda")]
        if split.is_none() && crate::gpu::ops::serves(&operands) {
            return op.on_gpu().among(qkv, norms);
        }
        let part = |i: usize| qkv.narrow(D::Minus1, i * heads.width(), heads.width());
        return op.plain(&part(0)?, &part(1)?, &part(2)?, norms);
    }
    let qkv = qkv.contiguous()?;
    Ok(match norms {
        Some(norms) => qkv.apply_op2(&norms.contiguous()?, op)?,
        None => qkv.apply_op1(op)?,
    })
}

/// Attention of the tokens of `q` `[batch, tokens, heads · dim]` to others, whose keys and values stand side by side in
/// `kv` `[batch, others, 2 · heads · dim]`. `norms` `[2, dim]` as in [`self_attention`]; `lengths` says how many of the
/// others of each sample may be looked at: where it is 0, the result is 0.
///
/// # Errors
/// As [`self_attention`].
pub fn cross_attention(
    q: &Tensor,
    kv: &Tensor,
    norms: Option<&Tensor>,
    heads: Heads,
    lengths: Option<&[usize]>,
) -> Result<Tensor> {
    let (batch, tokens, _) = q.dims3()?;
    let others = kv.dim(1)?;
    expect("queries", q, &[batch, tokens, heads.width()])?;
    expect("keys and values", kv, &[batch, others, 2 * heads.width()])?;
    let op = Attend::new(heads, batch, [tokens, others], None, None, lengths, false)?;
    op.check_norms(norms)?;
    let mut operands = vec![q, kv];
    operands.extend(norms);
    if !ours(&operands) {
        #[cfg(feature = "cuda")]
        if crate::gpu::ops::serves(&operands) {
            return op.on_gpu().across(q, kv, norms);
        }
        let part = |i: usize| kv.narrow(D::Minus1, i * heads.width(), heads.width());
        return op.plain(q, &part(0)?, &part(1)?, norms);
    }
    let (q, kv) = (q.contiguous()?, kv.contiguous()?);
    Ok(match norms {
        Some(norms) => q.apply_op3(&kv, &norms.contiguous()?, op)?,
        None => q.apply_op2(&kv, op)?,
    })
}

pub(super) struct Attend {
    heads: Heads,
    batch: usize,
    queries: usize,
    keys: usize,
    angles: Option<Arc<Angles>>,
    /// Tokens of the first of two streams.
    split: Option<usize>,
    /// Keys of each sample.
    lengths: Vec<usize>,
    /// Whether queries, keys and values stand in one operand.
    together: bool,
    /// Logarithms of the sums of exponentials, which the backward pass begins with.
    log_sums: OnceLock<Vec<f32>>,
}

/// Where one of the three lies in rows of an operand.
#[derive(Clone, Copy)]
struct Part {
    /// Elements of a row.
    stride: usize,
    /// Where its own begin.
    start: usize,
    /// Rows of a sample.
    tokens: usize,
}

/// Queries, keys and values head by head.
struct Prepared {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Attend {
    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> crate::gpu::ops::Attention<'_> {
        crate::gpu::ops::Attention {
            heads: self.heads,
            tokens: [self.queries, self.keys],
            batch: self.batch,
            angles: self.angles.as_deref(),
            lengths: &self.lengths,
        }
    }

    pub(super) fn new(
        heads: Heads,
        batch: usize,
        [queries, keys]: [usize; 2],
        angles: Option<&Arc<Angles>>,
        split: Option<usize>,
        lengths: Option<&[usize]>,
        together: bool,
    ) -> Result<Self> {
        let fail = |what: String| Err(Error::Config(what));
        if heads.heads == 0 || heads.dim == 0 || batch == 0 || queries == 0 {
            return fail("attention over nothing".into());
        }
        if let Some(angles) = angles
            && (angles.cos.len() != queries * (heads.dim / 2)
                || angles.sin.len() != angles.cos.len()
                || !heads.dim.is_multiple_of(2))
        {
            return fail(format!(
                "{} angles for {queries} tokens of {} a head",
                angles.cos.len(),
                heads.dim
            ));
        }
        let lengths = lengths.map_or_else(|| vec![keys; batch], <[usize]>::to_vec);
        if lengths.len() != batch || lengths.iter().any(|&n| n > keys) {
            return fail(format!(
                "lengths {lengths:?} for {batch} sequences of {keys} tokens"
            ));
        }
        if split.is_some_and(|n| n > queries) {
            return fail(format!("a first stream longer than all {queries} tokens"));
        }
        Ok(Self {
            heads,
            batch,
            queries,
            keys,
            angles: angles.cloned(),
            split,
            lengths,
            together,
            log_sums: OnceLock::new(),
        })
    }

    fn check_norms(&self, norms: Option<&Tensor>) -> Result<()> {
        let rows = if self.split.is_some() { 4 } else { 2 };
        match norms {
            Some(norms) => expect("norms of queries and keys", norms, &[rows, self.heads.dim]),
            None => Ok(()),
        }
    }

    /// Where queries, keys and values lie in their operands.
    fn parts(&self) -> [Part; 3] {
        let width = self.heads.width();
        let part = |stride, start, tokens| Part {
            stride,
            start,
            tokens,
        };
        if self.together {
            [0, 1, 2].map(|i| part(3 * width, i * width, self.queries))
        } else {
            [
                part(width, 0, self.queries),
                part(2 * width, 0, self.keys),
                part(2 * width, width, self.keys),
            ]
        }
    }

    /// Runs of samples that have one number of keys, so that one call serves them.
    fn runs(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (i, n) in self.lengths.iter().enumerate() {
            match runs.last_mut() {
                Some(run) if self.lengths[run.start] == *n => run.end = i + 1,
                _ => runs.push(i..i + 1),
            }
        }
        runs
    }

    fn shape(&self, samples: &Range<usize>) -> SequenceAttention {
        SequenceAttention {
            batch: samples.len(),
            heads: self.heads.heads,
            kv_heads: self.heads.heads,
            queries: self.queries,
            keys: self.lengths[samples.start],
            dim: self.heads.dim,
            scale: (self.heads.dim as f32).powf(-0.5),
            causal: false,
        }
    }

    /// One of the three of some samples, `[samples, heads, tokens, dim]`: the first `tokens` of each.
    fn gather(&self, rows: &[f32], part: Part, samples: &Range<usize>, tokens: usize) -> Vec<f32> {
        let Heads { heads, dim, .. } = self.heads;
        let mut out = kernels::unspecified(samples.len() * heads * tokens * dim);
        pool::parallel_chunks(&mut out, (tokens * dim).max(1), |i, out| {
            let (sample, head) = (samples.start + i / heads, i % heads);
            let first = sample * part.tokens * part.stride + part.start + head * dim;
            for (t, to) in out.chunks_exact_mut(dim).enumerate() {
                let from = first + t * part.stride;
                to.copy_from_slice(&rows[from..from + dim]);
            }
        });
        out
    }

    /// The way back of [`Attend::gather`]: into rows that begin with the first of `samples`.
    fn scatter(&self, values: &[f32], part: Part, tokens: usize, rows: &mut [f32]) {
        let Heads { heads, dim, .. } = self.heads;
        let each = part.tokens * part.stride;
        pool::parallel_chunks(rows, each.max(1), |sample, rows| {
            for (t, row) in rows.chunks_exact_mut(part.stride).take(tokens).enumerate() {
                let row = &mut row[part.start..part.start + heads * dim];
                for (head, to) in row.chunks_exact_mut(dim).enumerate() {
                    let from = ((sample * heads + head) * tokens + t) * dim;
                    to.copy_from_slice(&values[from..from + dim]);
                }
            }
        });
    }

    /// The tokens of each stream out of the first `tokens`, with the row of `norms` of its queries.
    fn streams(&self, tokens: usize) -> Vec<(Range<usize>, usize)> {
        match self.split {
            Some(at) => vec![(0..at.min(tokens), 0), (at.min(tokens)..tokens, 2)],
            None => vec![(0..tokens, 0)],
        }
    }

    /// Norm and rotation of queries (`which` 0) or keys (1), `[.., tokens, dim]`.
    fn turn(
        &self,
        mut values: Vec<f32>,
        norms: Option<&[f32]>,
        which: usize,
        tokens: usize,
    ) -> Vec<f32> {
        let Heads { dim, eps, .. } = self.heads;
        let half = dim / 2;
        if tokens == 0 || (norms.is_none() && self.angles.is_none()) {
            return values;
        }
        pool::parallel_chunks(&mut values, tokens * dim, |_, head| {
            if let Some(norms) = norms {
                let raw = head.to_vec();
                for (range, first) in self.streams(tokens) {
                    let at = range.start * dim..range.end * dim;
                    let weight = &norms[(first + which) * dim..(first + which + 1) * dim];
                    kernels::rms_norm(&raw[at.clone()], weight, eps, &mut head[at]);
                }
            }
            if let Some(angles) = &self.angles {
                let (cos, sin) = (&angles.cos[..tokens * half], &angles.sin[..tokens * half]);
                kernels::rope(head, 1, dim, dim, RopeStyle::Neox, cos, sin);
            }
        });
        values
    }

    /// The way back of [`Attend::turn`]: from the gradient of its result and its input to the gradient of that, adding
    /// the gradient of the norms.
    fn turn_backward(
        &self,
        mut grad: Vec<f32>,
        raw: &[f32],
        norms: Option<&[f32]>,
        dnorms: &mut [f32],
        which: usize,
        tokens: usize,
    ) -> Vec<f32> {
        let Heads { dim, eps, .. } = self.heads;
        let half = dim / 2;
        if tokens == 0 {
            return grad;
        }
        if let Some(angles) = &self.angles {
            pool::parallel_chunks(&mut grad, tokens * dim, |_, head| {
                let (cos, sin) = (&angles.cos[..tokens * half], &angles.sin[..tokens * half]);
                kernels::rope_backward(head, 1, dim, dim, RopeStyle::Neox, cos, sin);
            });
        }
        let Some(norms) = norms else {
            return grad;
        };
        let mut out = kernels::unspecified(grad.len());
        let weight = |first: usize| (first + which) * dim..(first + which + 1) * dim;
        if self.split.is_none() {
            let to = weight(0);
            kernels::rms_norm_backward(
                raw,
                &norms[to.clone()],
                eps,
                &grad,
                &mut out,
                &mut dnorms[to],
            );
            return out;
        }
        for (i, out) in out.chunks_exact_mut(tokens * dim).enumerate() {
            for (range, first) in self.streams(tokens) {
                let at = range.start * dim..range.end * dim;
                let all = i * tokens * dim + at.start..i * tokens * dim + at.end;
                let to = weight(first);
                kernels::rms_norm_backward(
                    &raw[all.clone()],
                    &norms[to.clone()],
                    eps,
                    &grad[all],
                    &mut out[at],
                    &mut dnorms[to],
                );
            }
        }
        out
    }

    /// Queries, keys and values of some samples, as they lie in the operands.
    fn raw(&self, q: &[f32], kv: &[f32], samples: &Range<usize>) -> Prepared {
        let parts = self.parts();
        let keys = self.lengths[samples.start];
        Prepared {
            q: self.gather(q, parts[0], samples, self.queries),
            k: self.gather(kv, parts[1], samples, keys),
            v: self.gather(kv, parts[2], samples, keys),
        }
    }

    fn output(&self) -> Part {
        Part {
            stride: self.heads.width(),
            start: 0,
            tokens: self.queries,
        }
    }

    fn forward(&self, q: &[f32], kv: &[f32], norms: Option<&[f32]>) -> Candle<(CpuStorage, Shape)> {
        let (width, rows) = (self.heads.width(), self.heads.heads * self.queries);
        let mut out = kernels::unspecified(self.batch * self.queries * width);
        let mut log_sums = vec![0.0; self.batch * rows];
        for samples in self.runs() {
            let shape = self.shape(&samples);
            let Prepared { q, k, v } = self.raw(q, kv, &samples);
            let q = self.turn(q, norms, 0, self.queries);
            let k = self.turn(k, norms, 1, shape.keys);
            let mut mixed = kernels::unspecified(q.len());
            let sums = &mut log_sums[samples.start * rows..samples.end * rows];
            kernels::sequence_attention(&shape, &q, &k, &v, &mut mixed, sums);
            let each = self.queries * width;
            let to = &mut out[samples.start * each..samples.end * each];
            self.scatter(&mixed, self.output(), self.queries, to);
        }
        // A second forward pass of one operation, which candle does not make, would give the same sums.
        let _ = self.log_sums.set(log_sums);
        result(out, &[self.batch, self.queries, width])
    }

    /// Gradients of queries, of keys and values (the same vector where they stand together), and of the norms.
    fn backward(
        &self,
        q: &[f32],
        kv: &[f32],
        norms: Option<&[f32]>,
        out: &[f32],
        dout: &[f32],
    ) -> Candle<[Vec<f32>; 3]> {
        let Some(log_sums) = self.log_sums.get() else {
            candle_core::bail!("the backward pass of an attention that has not run")
        };
        let parts = self.parts();
        let rows = self.heads.heads * self.queries;
        // Tokens that nobody may look at get no gradient.
        let rows_of = |len: usize| match self.lengths.iter().all(|&n| n == self.keys) {
            true => kernels::unspecified(len),
            false => vec![0.0; len],
        };
        let mut dq_rows = rows_of(q.len());
        let mut dkv_rows = rows_of(if self.together { 0 } else { kv.len() });
        let mut dnorms = vec![0.0; norms.map_or(0, <[f32]>::len)];
        for samples in self.runs() {
            let shape = self.shape(&samples);
            let keys = shape.keys;
            let raw = self.raw(q, kv, &samples);
            let turned_q = self.turn(raw.q.clone(), norms, 0, self.queries);
            let turned_k = self.turn(raw.k.clone(), norms, 1, keys);
            let out = self.gather(out, self.output(), &samples, self.queries);
            let dout = self.gather(dout, self.output(), &samples, self.queries);
            let mut dq = kernels::unspecified(turned_q.len());
            let mut dk = kernels::unspecified(turned_k.len());
            let mut dv = kernels::unspecified(turned_k.len());
            let sums = &log_sums[samples.start * rows..samples.end * rows];
            kernels::sequence_attention_backward(
                &shape, &turned_q, &turned_k, &raw.v, &out, sums, &dout, &mut dq, &mut dk, &mut dv,
            );
            let dq = self.turn_backward(dq, &raw.q, norms, &mut dnorms, 0, self.queries);
            let dk = self.turn_backward(dk, &raw.k, norms, &mut dnorms, 1, keys);
            let each = parts[0].tokens * parts[0].stride;
            let to = &mut dq_rows[samples.start * each..samples.end * each];
            self.scatter(&dq, parts[0], self.queries, to);
            let to = if self.together {
                to
            } else {
                let each = parts[1].tokens * parts[1].stride;
                &mut dkv_rows[samples.start * each..samples.end * each]
            };
            self.scatter(&dk, parts[1], keys, to);
            self.scatter(&dv, parts[2], keys, to);
        }
        Ok([dq_rows, dkv_rows, dnorms])
    }
}
