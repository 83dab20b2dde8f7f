//! Shared by the row-wise operations: argument checks and the split into tasks.

use std::ops::Range;

use crate::pool;

/// Below this many elements an operation is not worth waking another thread.
const SERIAL: usize = 1 << 15;

/// The number of rows of `width` in `len` elements.
///
/// # Panics
/// When `len` is not a whole number of rows.
pub(crate) fn rows(what: &str, len: usize, width: usize) -> usize {
    if len == 0 {
        return 0;
    }
    assert!(
        width > 0 && len.is_multiple_of(width),
        "{what} holds {len} elements, not whole rows of {width}"
    );
    len / width
}

/// # Panics
/// When the lengths differ.
pub(crate) fn same_len(what: &str, got: usize, expected: usize) {
    assert!(
        got == expected,
        "{what} holds {got} elements, but its shape needs {expected}"
    );
}

/// Calls `f` with ranges that cover `0..rows`, in parallel where `rows * width` is large.
pub(crate) fn for_ranges(rows: usize, width: usize, f: impl Fn(Range<usize>) + Sync) {
    if rows == 0 {
        return;
    }
    let elements = rows.saturating_mul(width);
    if elements < SERIAL {
        return f(0..rows);
    }
    // A task should be worth claiming, and borders should fall on cache lines.
    let align = 16_usize
        .div_ceil(width.max(1))
        .max((SERIAL / 8).div_ceil(width.max(1)));
    let split = pool::split(rows, align);
    pool::parallel_for(split.len(), |i| f(split.range(i)));
}

/// Rows that are summed into one partial sum; fixed, so that sums over rows have the same bits
/// with any number of threads.
const CHUNK: usize = 64;

/// Calls `f` for ranges of at most [`CHUNK`] rows, each with its own zeroed `sums`-long buffer,
/// and adds the buffers to `sums` in order of the rows.
pub(crate) fn sum_over_rows(
    rows: usize,
    sums: &mut [f32],
    f: impl Fn(Range<usize>, &mut [f32]) + Sync,
) {
    if rows == 0 || sums.is_empty() {
        return;
    }
    let chunk = |i: usize| i * CHUNK..((i + 1) * CHUNK).min(rows);
    let chunks = rows.div_ceil(CHUNK);
    let width = sums.len();
    let mut partial = vec![0.0; chunks * width];
    pool::parallel_chunks(&mut partial, width, |i, partial| {
        f(chunk(i), partial);
    });
    for partial in partial.chunks_exact(width) {
        for (sum, x) in sums.iter_mut().zip(partial) {
            *sum += x;
        }
    }
}

/// Adds the rows of `x` to `sums`, one row: the gradient of a bias.
///
/// # Panics
/// When `x` is not whole rows of `sums.len()`.
pub fn sum_rows(x: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    sum_over_rows(rows("x", x.len(), width), sums, |range, sums| {
        for row in x[range.start * width..range.end * width].chunks_exact(width) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    });
}
