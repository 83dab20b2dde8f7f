//! Attention over whole sequences with its backward pass, for training.
//!
//! Scores exist for [`BLOCK`] queries at a time; the forward pass keeps the logarithms of the sums
//! of their exponentials, from which the backward pass makes the probabilities anew (Dao et al.,
//! arXiv:2205.14135). The products are those of [`crate::matmul`]. A row's result depends on its
//! position and sequence alone; the gradients of keys and values are summed over blocks of
//! queries, head by head, in order.
#![allow(unsafe_code)] // tasks write disjoint parts of one slice

use std::cell::RefCell;
use std::ops::Range;

use crate::dense::{Matrix, product};
use crate::pool::{self, SharedMut};
use crate::rowwise::same_len;
use crate::simd::{math, simd_fn};
use crate::{Isa, isa};

/// Queries whose scores exist at a time.
const BLOCK: usize = 64;

/// Shapes of an attention over whole sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceAttention {
    /// Sequences.
    pub batch: usize,
    /// Heads of queries, a multiple of `kv_heads`; each run of `heads / kv_heads` consecutive
    /// heads has the same keys and values.
    pub heads: usize,
    /// Heads of keys and of values.
    pub kv_heads: usize,
    /// Queries of a sequence.
    pub queries: usize,
    /// Keys (and values) of a sequence.
    pub keys: usize,
    /// Elements of a head.
    pub dim: usize,
    /// Factor of every score, usually `1 / sqrt(dim)`.
    pub scale: f32,
    /// Query `i` sees the keys up to `i + keys - queries` only.
    pub causal: bool,
}

impl SequenceAttention {
    /// The keys that query `i` sees: those before this number.
    fn seen(&self, i: usize) -> usize {
        if self.causal {
            (i + 1 + self.keys)
                .saturating_sub(self.queries)
                .min(self.keys)
        } else {
            self.keys
        }
    }

    fn blocks(&self) -> usize {
        self.queries.div_ceil(BLOCK)
    }

    fn block(&self, i: usize) -> Range<usize> {
        i * BLOCK..((i + 1) * BLOCK).min(self.queries)
    }

    /// # Panics
    /// When heads cannot be shared evenly.
    fn group(&self) -> usize {
        assert!(
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads),
            "{} query heads cannot share {} heads of keys evenly",
            self.heads,
            self.kv_heads
        );
        self.heads / self.kv_heads
    }

    fn query_len(&self) -> usize {
        self.batch * self.heads * self.queries * self.dim
    }

    fn key_len(&self) -> usize {
        self.batch * self.kv_heads * self.keys * self.dim
    }
}

/// Memory of a thread for the scores of a block and what is made of them.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    gradients: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// `out = softmax(scale · q kᵀ) v`. `q` and `out` are batch × heads × queries × dim, `k` and `v`
/// batch × kv_heads × keys × dim. The logarithm of each row's sum of exponentials goes to
/// `log_sums` (batch × heads × queries), for the backward pass. A query that sees no key has
/// output 0.
///
/// # Panics
/// When `heads` is not a multiple of `kv_heads` or a slice has another length.
pub fn sequence_attention(
    shape: &SequenceAttention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
    log_sums: &mut [f32],
) {
    let (group, dim) = (shape.group(), shape.dim);
    same_len("q", q.len(), shape.query_len());
    same_len("k", k.len(), shape.key_len());
    same_len("v", v.len(), shape.key_len());
    same_len("out", out.len(), q.len());
    let rows = shape.batch * shape.heads * shape.queries;
    same_len("log_sums", log_sums.len(), rows);
    if q.is_empty() {
        return;
    }
    let (isa, out, log_sums) = (isa(), SharedMut::new(out), SharedMut::new(log_sums));
    let blocks = shape.blocks();
    pool::parallel_for(shape.batch * shape.heads * blocks, |task| {
        // Blocks that see the most come first.
        let (head, block) = (task / blocks, shape.block(blocks - 1 - task % blocks));
        let keys = head_of(head / group, shape.keys * dim);
        let (k, v) = (&k[keys.clone()], &v[keys]);
        let at = head * shape.queries + block.start..head * shape.queries + block.end;
        let elements = at.start * dim..at.end * dim;
        // SAFETY: each block of rows is written by one task.
        let (out, sums) = unsafe { (out.slice(elements.clone()), log_sums.slice(at)) };
        SCRATCH.with_borrow_mut(|scratch| {
            forward(isa, shape, block, &q[elements], (k, v), scratch, out, sums);
        });
    });
}

fn head_of(head: usize, len: usize) -> Range<usize> {
    head * len..(head + 1) * len
}

#[allow(clippy::too_many_arguments)]
fn forward(
    isa: Isa,
    shape: &SequenceAttention,
    block: Range<usize>,
    q: &[f32],
    (k, v): (&[f32], &[f32]),
    scratch: &mut Scratch,
    out: &mut [f32],
    log_sums: &mut [f32],
) {
    let (rows, seen, dim) = (block.len(), shape.seen(block.end - 1), shape.dim);
    if seen == 0 {
        out.fill(0.0);
        log_sums.fill(f32::NEG_INFINITY);
        return;
    }
    let scores = sized(&mut scratch.scores, rows * seen);
    let keys = Matrix::new(&k[..seen * dim], seen, dim);
    product(isa, Matrix::new(q, rows, dim), keys.t(), scores, false);
    let mut factors = [0.0; BLOCK];
    let rows_of = block.zip(scores.chunks_exact_mut(seen));
    for ((i, row), (log_sum, factor)) in rows_of.zip(log_sums.iter_mut().zip(&mut factors)) {
        let (row, hidden) = row.split_at_mut(shape.seen(i));
        (*log_sum, *factor) = exponentials(isa, row, shape.scale);
        hidden.fill(0.0);
    }
    let values = Matrix::new(&v[..seen * dim], seen, dim);
    product(isa, Matrix::new(scores, rows, seen), values, out, false);
    for (row, &factor) in out.chunks_exact_mut(dim).zip(&factors) {
        scale_row(isa, row, factor);
    }
}

fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// The backward pass of [`sequence_attention`]: from the gradient `dout` of its output `out`,
/// writes those of `q`, `k` and `v`.
///
/// # Panics
/// As [`sequence_attention`].
#[allow(clippy::too_many_arguments)]
pub fn sequence_attention_backward(
    shape: &SequenceAttention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &[f32],
    log_sums: &[f32],
    dout: &[f32],
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) {
    let (group, dim) = (shape.group(), shape.dim);
    for (what, len) in [
        ("q", q.len()),
        ("out", out.len()),
        ("dout", dout.len()),
        ("dq", dq.len()),
    ] {
        same_len(what, len, shape.query_len());
    }
    for (what, len) in [
        ("k", k.len()),
        ("v", v.len()),
        ("dk", dk.len()),
        ("dv", dv.len()),
    ] {
        same_len(what, len, shape.key_len());
    }
    let rows = shape.batch * shape.heads * shape.queries;
    same_len("log_sums", log_sums.len(), rows);
    let isa = isa();
    let (dq, dk, dv) = (SharedMut::new(dq), SharedMut::new(dk), SharedMut::new(dv));
    pool::parallel_for(shape.batch * shape.kv_heads, |kv_head| {
        let at = head_of(kv_head, shape.keys * dim);
        // SAFETY: each head of keys and values is written by one task.
        let (dk, dv) = unsafe { (dk.slice(at.clone()), dv.slice(at.clone())) };
        dk.fill(0.0);
        dv.fill(0.0);
        for head in kv_head * group..(kv_head + 1) * group {
            for block in (0..shape.blocks()).map(|i| shape.block(i)) {
                let rows = head * shape.queries + block.start..head * shape.queries + block.end;
                let at_q = rows.start * dim..rows.end * dim;
                let part = Backward {
                    q: &q[at_q.clone()],
                    out: &out[at_q.clone()],
                    dout: &dout[at_q.clone()],
                    log_sums: &log_sums[rows],
                    k: &k[at.clone()],
                    v: &v[at.clone()],
                };
                // SAFETY: each head of queries belongs to one head of keys, so to one task.
                let dq = unsafe { dq.slice(at_q) };
                SCRATCH.with_borrow_mut(|scratch| {
                    part.run(isa, shape, block, scratch, dq, dk, dv);
                });
            }
        }
    });
}

/// What the backward pass of a block of queries reads.
struct Backward<'a> {
    q: &'a [f32],
    out: &'a [f32],
    dout: &'a [f32],
    log_sums: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
}

impl Backward<'_> {
    /// Writes the gradients of the queries and adds those of the keys and values.
    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        isa: Isa,
        shape: &SequenceAttention,
        block: Range<usize>,
        scratch: &mut Scratch,
        dq: &mut [f32],
        dk: &mut [f32],
        dv: &mut [f32],
    ) {
        let (rows, seen, dim) = (block.len(), shape.seen(block.end - 1), shape.dim);
        if seen == 0 || dim == 0 {
            dq.fill(0.0);
            return;
        }
        let part = ..seen * dim;
        let keys = Matrix::new(&self.k[part], seen, dim);
        let values = Matrix::new(&self.v[part], seen, dim);
        let (q, dout) = (
            Matrix::new(self.q, rows, dim),
            Matrix::new(self.dout, rows, dim),
        );
        let p = sized(&mut scratch.scores, rows * seen);
        let ds = sized(&mut scratch.gradients, rows * seen);
        product(isa, q, keys.t(), p, false);
        for ((i, p), &log_sum) in block
            .clone()
            .zip(p.chunks_exact_mut(seen))
            .zip(self.log_sums)
        {
            let (p, hidden) = p.split_at_mut(shape.seen(i));
            again(isa, p, shape.scale, log_sum);
            hidden.fill(0.0);
        }
        product(
            isa,
            Matrix::new(p, rows, seen).t(),
            dout,
            &mut dv[part],
            true,
        );
        product(isa, dout, values.t(), ds, false);
        let outs = self.out.chunks_exact(dim).zip(self.dout.chunks_exact(dim));
        let scores = p.chunks_exact(seen).zip(ds.chunks_exact_mut(seen));
        for ((p, ds), (out, dout)) in scores.zip(outs) {
            score_gradients(isa, p, ds, dot(isa, out, dout), shape.scale);
        }
        product(isa, Matrix::new(ds, rows, seen), keys, dq, false);
        product(isa, Matrix::new(ds, rows, seen).t(), q, &mut dk[part], true);
    }
}

simd_fn! {
    /// Turns scores into their exponentials relative to the largest; returns the logarithm of the
    /// sum of all exponentials and the factor that makes probabilities.
    fn exponentials(s, x: &mut [f32], scale: f32) -> (f32, f32) {
        if x.is_empty() {
            return (f32::NEG_INFINITY, 0.0);
        }
        let factor = s.splat(scale);
        let mut largest = s.splat(f32::NEG_INFINITY);
        for part in x.chunks_mut(S::LANES) {
            let scaled = s.mul(s.load_part(part, 0.0), factor);
            s.store_part(part, scaled);
            largest = s.max(largest, s.load_part(part, f32::NEG_INFINITY));
        }
        let largest = s.hmax(largest);
        let shift = s.splat(largest);
        let mut sum = s.zero();
        for part in x.chunks_mut(S::LANES) {
            let score = s.load_part(part, f32::NEG_INFINITY);
            let e = math::exp_negative(s, s.sub(score, shift));
            sum = s.add(sum, e);
            s.store_part(part, e);
        }
        let total = s.sum(sum);
        (largest + total.ln(), 1.0 / total)
    }
}

simd_fn! {
    fn scale_row(s, x: &mut [f32], factor: f32) {
        let factor = s.splat(factor);
        for part in x.chunks_mut(S::LANES) {
            let scaled = s.mul(s.load_part(part, 0.0), factor);
            s.store_part(part, scaled);
        }
    }
}

simd_fn! {
    /// Turns scores into probabilities by the logarithm of the sum of exponentials.
    fn again(s, x: &mut [f32], scale: f32, log_sum: f32) {
        let (scale, log_sum) = (s.splat(scale), s.splat(log_sum));
        for part in x.chunks_mut(S::LANES) {
            let score = s.mul(s.load_part(part, 0.0), scale);
            s.store_part(part, math::exp(s, s.sub(score, log_sum)));
        }
    }
}

simd_fn! {
    /// From the gradients of probabilities to those of scores: `scale · p (dp - Σ p dp)`, where
    /// the sum is that of output times its gradient.
    fn score_gradients(s, p: &[f32], dp: &mut [f32], sum: f32, scale: f32) {
        let (sum, scale) = (s.splat(sum), s.splat(scale));
        for (p, dp) in p.chunks(S::LANES).zip(dp.chunks_mut(S::LANES)) {
            let d = s.sub(s.load_part(dp, 0.0), sum);
            s.store_part(dp, s.mul(s.mul(s.load_part(p, 0.0), d), scale));
        }
    }
}

simd_fn! {
    fn dot(s, x: &[f32], y: &[f32]) -> f32 {
        let mut sum = s.zero();
        for (x, y) in x.chunks(S::LANES).zip(y.chunks(S::LANES)) {
            sum = s.fma(s.load_part(x, 0.0), s.load_part(y, 0.0), sum);
        }
        s.sum(sum)
    }
}

#[cfg(test)]
mod tests;
