//! One task of attention: a run of rows, a few query heads, one head of the cache.

use std::cell::RefCell;
use std::ops::Range;

use super::block::{ROWS, Stored, outputs, scores, widen};
use super::page::{KvShape, KvType, PAGE};
use super::{AttentionParams, QueryRow};
use crate::Isa;
use crate::pool::SharedMut;
use crate::simd::{MOST_LANES, Simd, math, simd_fn};

/// Elements of queries (and as many of outputs) that a tile keeps: a quarter of a usual L2 cache
/// with the page beside them.
const TILE: usize = 16 * 1024;

/// From this many rows on, a page is widened to f32 once instead of in each block.
const WIDEN: usize = 2 * ROWS;

/// Rows of a sequence that one tile takes, for `group` query heads each.
pub(super) fn rows_per_tile(group: usize, head_dim: usize) -> usize {
    ((TILE / head_dim).clamp(16, 128) / group).max(1)
}

pub(super) struct Task<'a> {
    pub(super) shape: &'a KvShape,
    pub(super) params: &'a AttentionParams,
    pub(super) rows: &'a [QueryRow<'a>],
    pub(super) first_row: usize,
    pub(super) kv_head: usize,
    pub(super) heads: Range<usize>,
    pub(super) q: &'a [f32],
    pub(super) out: &'a SharedMut<'a, f32>,
}

/// Memory of a thread for its tiles; its size depends on the shape, not on the context.
#[derive(Default)]
struct Scratch {
    /// Scaled queries in blocks of head_dim × ROWS. A "row" here is a query head of a position.
    q: Vec<f32>,
    /// Unnormalised outputs, rows × padded head_dim.
    acc: Vec<f32>,
    /// Largest score so far.
    max: Vec<f32>,
    /// Sums of probabilities so far, by lane.
    sum: Vec<[f32; MOST_LANES]>,
    /// Scores, then probabilities, of one block of rows for one page.
    scores: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub(super) fn run(isa: Isa, task: Task<'_>) {
    SCRATCH.with_borrow_mut(|scratch| tile(isa, &task, scratch));
}

/// The positions that a row sees.
fn visible(row: &QueryRow<'_>, params: &AttentionParams) -> Range<usize> {
    let end = row.pos + 1;
    let start = params
        .window
        .map_or(0, |window| end.saturating_sub(window.max(1)));
    start..end
}

/// `range` inside of page `page`, from the page's begin.
fn within(range: &Range<usize>, page: usize) -> Range<usize> {
    let local = |x: usize| x.saturating_sub(page * PAGE).min(PAGE);
    local(range.start)..local(range.end)
}

fn tile(isa: Isa, task: &Task<'_>, scratch: &mut Scratch) {
    let (shape, params) = (task.shape, task.params);
    let (head_dim, padded, group) = (shape.head_dim, shape.padded(), task.heads.len());
    let count = task.rows.len() * group;
    prepare(task, scratch, count);
    let first = task
        .rows
        .iter()
        .map(|row| visible(row, params).start)
        .min()
        .unwrap_or(0);
    let last = task.rows.iter().map(|row| row.pos).max().unwrap_or(0);
    let direct = shape.ty == KvType::F32 || (shape.ty == KvType::F16 && isa == Isa::Avx512);
    let wide = count >= WIDEN && !direct;
    for page in first / PAGE..=last / PAGE {
        let (mut keys, mut values) = stored(task, page);
        if wide {
            scratch.keys.resize(head_dim * PAGE, 0.0);
            scratch.values.resize(PAGE * padded, 0.0);
            // SAFETY: `stored` checked that the page holds head_dim x PAGE keys and
            // PAGE x padded values.
            unsafe {
                widen(isa, keys, PAGE, &mut scratch.keys);
                widen(isa, values, padded, &mut scratch.values);
            }
            keys = Stored::F32 {
                data: scratch.keys.as_ptr(),
                stride: PAGE,
            };
            values = Stored::F32 {
                data: scratch.values.as_ptr(),
                stride: padded,
            };
        }
        for (i, rows) in row_blocks(count).enumerate() {
            // SAFETY: `stored` checked the page, `prepare` sized the scratch for `count` rows.
            unsafe { block_of_rows(isa, task, scratch, page, (i, rows), keys, values) };
        }
    }
    finish(isa, task, scratch);
}
/// Rows of the next block, such that no block is left with few of many rows.
fn block_rows(left: usize) -> usize {
    match left {
        7 | 8 => 4,
        9 => 5,
        _ => left.min(ROWS),
    }
}

/// The rows in blocks of at most [`ROWS`].
fn row_blocks(count: usize) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rows = block_rows(count - at);
        at += rows;
        (rows > 0).then_some(at - rows..at)
    })
}

fn prepare(task: &Task<'_>, scratch: &mut Scratch, count: usize) {
    let (head_dim, heads, group) = (task.shape.head_dim, task.params.heads, task.heads.len());
    let block = head_dim * ROWS;
    scratch.q.resize(row_blocks(count).count() * block, 0.0);
    for (rows, q) in row_blocks(count).zip(scratch.q.chunks_exact_mut(block)) {
        // A block with fewer rows repeats its last, which nobody reads.
        let last = rows.end - 1;
        let from: [&[f32]; ROWS] = std::array::from_fn(|r| {
            let row = (rows.start + r).min(last);
            let (row, head) = (task.first_row + row / group, task.heads.start + row % group);
            &task.q[(row * heads + head) * head_dim..][..head_dim]
        });
        for (d, q) in q.chunks_exact_mut(ROWS).enumerate() {
            for (q, from) in q.iter_mut().zip(&from) {
                *q = from[d] * task.params.scale;
            }
        }
    }
    scratch.acc.clear();
    scratch.acc.resize(count * task.shape.padded(), 0.0);
    scratch.max.clear();
    scratch.max.resize(count, f32::NEG_INFINITY);
    scratch.sum.clear();
    scratch.sum.resize(count, [0.0; MOST_LANES]);
    scratch.scores.resize(ROWS * PAGE, 0.0);
}

/// The keys (head_dim × PAGE) and values (PAGE × padded) of the task's head in a page.
///
/// # Panics
/// When the page is missing or too short.
fn stored(task: &Task<'_>, page: usize) -> (Stored, Stored) {
    let (shape, pages) = (task.shape, task.rows[0].pages);
    assert!(
        page < pages.len(),
        "page {page} of a sequence with {} pages",
        pages.len()
    );
    let bytes = pages[page];
    assert!(
        bytes.len() >= shape.page_bytes(),
        "a page of {} bytes, but its shape needs {}",
        bytes.len(),
        shape.page_bytes()
    );
    let at = shape.head(task.kv_head);
    let part = |from: usize| bytes[from..].as_ptr();
    let (keys, values) = (part(at.keys), part(at.values));
    let stride = shape.padded();
    match shape.ty {
        KvType::F32 => (
            Stored::F32 {
                data: keys.cast(),
                stride: PAGE,
            },
            Stored::F32 {
                data: values.cast(),
                stride,
            },
        ),
        KvType::F16 => (
            Stored::F16 {
                data: keys.cast(),
                stride: PAGE,
            },
            Stored::F16 {
                data: values.cast(),
                stride,
            },
        ),
        KvType::Q8 => (
            Stored::Keys {
                data: keys.cast(),
                scales: part(at.key_scales).cast(),
            },
            Stored::Values {
                data: values.cast(),
                stride,
                scales: part(at.value_scales).cast(),
                blocks: shape.blocks(),
            },
        ),
    }
}

/// Scores, softmax step and outputs of a block of rows for one page.
///
/// # Safety
/// `keys` and `values` point to a whole page of the task's head; the scratch holds the rows.
unsafe fn block_of_rows(
    isa: Isa,
    task: &Task<'_>,
    scratch: &mut Scratch,
    page: usize,
    (index, rows): (usize, Range<usize>),
    keys: Stored,
    values: Stored,
) {
    let (head_dim, padded, group) = (task.shape.head_dim, task.shape.padded(), task.heads.len());
    let mut seen: [Range<usize>; ROWS] = [const { 0..0 }; ROWS];
    let (mut start, mut end) = (PAGE, 0);
    for (seen, row) in seen.iter_mut().zip(rows.clone()) {
        *seen = within(&visible(&task.rows[row / group], task.params), page);
        if seen.start < seen.end {
            (start, end) = (start.min(seen.start), end.max(seen.end));
        }
    }
    if start >= end {
        return;
    }
    let cols = start / 16 * 16..end.next_multiple_of(16);
    let q = scratch.q[index * head_dim * ROWS..].as_ptr();
    // SAFETY: queries of `rows`, a block of scores, and whole keys; scores of positions that are
    // not written yet may be anything and are masked.
    unsafe {
        scores(
            isa,
            q,
            keys,
            scratch.scores.as_mut_ptr(),
            rows.len(),
            head_dim,
            cols,
        )
    };
    softmax_step(
        isa,
        task.params.softcap,
        &mut scratch.scores,
        &seen[..rows.len()],
        &mut scratch.max[rows.clone()],
        &mut scratch.sum[rows.clone()],
        &mut scratch.acc[rows.start * padded..rows.end * padded],
    );

    let out = &mut scratch.acc[rows.start * padded..rows.end * padded];
    // SAFETY: probabilities and outputs of `rows`, and a whole page of values.
    unsafe {
        accumulate(
            isa,
            &scratch.scores,
            values,
            out,
            &seen[..rows.len()],
            padded,
        )
    };
}

/// Adds the values that each row sees: those that all see together, the rest row by row.
///
/// # Safety
/// `p` (rows of PAGE) and `out` (rows of `padded`) have a row for each range in `seen`; `values`
/// holds those positions.
unsafe fn accumulate(
    isa: Isa,
    p: &[f32],
    values: Stored,
    out: &mut [f32],
    seen: &[Range<usize>],
    padded: usize,
) {
    let start = seen.iter().map(|r| r.start).max().unwrap_or(0);
    let end = seen.iter().map(|r| r.end).min().unwrap_or(0);
    let (p, out) = (p.as_ptr(), out.as_mut_ptr());
    let single = |i: usize, k: Range<usize>| {
        if k.start < k.end {
            // SAFETY: one row and positions out of `seen[i]`.
            unsafe {
                outputs(
                    isa,
                    p.add(i * PAGE),
                    values,
                    out.add(i * padded),
                    1,
                    padded,
                    k,
                )
            };
        }
    };
    if start >= end {
        for (i, range) in seen.iter().enumerate() {
            single(i, range.clone());
        }
        return;
    }
    for (i, range) in seen.iter().enumerate() {
        single(i, range.start..start);
    }
    // SAFETY: all rows see these positions.
    unsafe { outputs(isa, p, values, out, seen.len(), padded, start..end) };
    for (i, range) in seen.iter().enumerate() {
        single(i, end..range.end);
    }
}

/// Caps the scores of a row, makes those of unseen positions minus infinity in the vectors that
/// hold a seen one, and returns the largest.
#[inline(always)]
fn largest<S: Simd>(s: S, softcap: Option<f32>, scores: &mut [f32], seen: &Range<usize>) -> f32 {
    let hidden = s.splat(f32::NEG_INFINITY);
    let (from, to) = (s.splat(seen.start as f32), s.splat(seen.end as f32));
    let mut largest = hidden;
    for first in vectors::<S>(seen).step_by(S::LANES) {
        let part = &mut scores[first..];
        let mut x = s.load(part);
        if let Some(cap) = softcap {
            x = s.mul(s.splat(cap), math::tanh(s, s.div(x, s.splat(cap))));
        }
        if first < seen.start || first + S::LANES > seen.end {
            let at = s.add(s.count(), s.splat(first as f32));
            x = s.select_lt(at, from, hidden, s.select_lt(at, to, x, hidden));
            s.store(part, x);
        } else if softcap.is_some() {
            s.store(part, x);
        }
        largest = s.max(largest, x);
    }
    s.hmax(largest)
}

/// The positions of the vectors that hold a seen one.
#[inline(always)]
fn vectors<S: Simd>(seen: &Range<usize>) -> Range<usize> {
    seen.start / S::LANES * S::LANES..seen.end.next_multiple_of(S::LANES)
}

simd_fn! {
    /// Turns the scores of the positions that each row has `seen` into probabilities relative to
    /// its largest score so far, which it updates with the sum, and scales the outputs so far. All
    /// rows take each step together, so that one does not wait for the other.
    fn softmax_step(
        s,
        softcap: Option<f32>,
        scores: &mut [f32],
        seen: &[Range<usize>],
        max: &mut [f32],
        sum: &mut [[f32; MOST_LANES]],
        acc: &mut [f32],
    ) {
        let mut new = [f32::NEG_INFINITY; ROWS];
        let rows = scores.chunks_exact_mut(PAGE).zip(seen);
        for (new, (scores, seen)) in new.iter_mut().zip(rows) {
            if !seen.is_empty() {
                *new = largest(s, softcap, scores, seen);
            }
        }
        for (new, max) in new.iter_mut().zip(max.iter()) {
            *new = max.max(*new);
        }
        let padded = acc.len() / seen.len();
        let rows = scores.chunks_exact_mut(PAGE).zip(seen).zip(acc.chunks_exact_mut(padded));
        for (((scores, seen), acc), ((new, max), sum)) in
            rows.zip(new.into_iter().zip(max).zip(sum))
        {
            if seen.is_empty() {
                continue;
            }
            if new == f32::NEG_INFINITY {
                // Every score is minus infinity: nothing is seen yet.
                scores[seen.clone()].fill(0.0);
                continue;
            }
            let shift = s.splat(new);
            let rescale = math::exp_negative(s, s.sub(s.splat(*max), shift));
            let mut total = s.mul(s.load(sum), rescale);
            for first in vectors::<S>(seen).step_by(S::LANES) {
                let p = math::exp_negative(s, s.sub(s.load(&scores[first..]), shift));
                total = s.add(total, p);
                s.store(&mut scores[first..], p);
            }
            s.store(sum, total);
            if *max != new {
                for part in acc.chunks_exact_mut(S::LANES) {
                    let scaled = s.mul(s.load(part), rescale);
                    s.store(part, scaled);
                }
            }
            *max = new;
        }
    }
}

simd_fn! {
    /// Divides the outputs of a head by the sum of its probabilities.
    fn normalise(s, acc: &[f32], sum: &[f32; MOST_LANES], out: &mut [f32]) {
        let scale = s.splat(1.0 / s.sum(s.load(sum)));
        for (out, acc) in out.chunks_mut(S::LANES).zip(acc.chunks_exact(S::LANES)) {
            s.store_part(out, s.mul(s.load(acc), scale));
        }
    }
}

/// Divides by the sums and writes the outputs.
fn finish(isa: Isa, task: &Task<'_>, scratch: &Scratch) {
    let (head_dim, padded) = (task.shape.head_dim, task.shape.padded());
    let accs = scratch.acc.chunks_exact(padded).zip(&scratch.sum);
    let group = task.heads.len();
    for (i, (acc, sum)) in accs.enumerate() {
        let (row, head) = (task.first_row + i / group, task.heads.start + i % group);
        let at = (row * task.params.heads + head) * head_dim;
        // SAFETY: each head of each row is written by one task.
        let out = unsafe { task.out.slice(at..at + head_dim) };
        normalise(isa, acc, sum, out);
    }
}
