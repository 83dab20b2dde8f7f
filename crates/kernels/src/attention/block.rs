//! The inner product of attention: a few rows times a block of a page.
//!
//! Both products of attention have the form `C[r][c] += Σ_k A[r][k] · B[k][c]` with `B` read in
//! vectors of columns: scores with A = queries, k = dimension, c = position; outputs with
//! A = probabilities, k = position, c = dimension. Every element of C is one chain over k.

use std::ops::Range;

use super::page::{PAGE, SCALED};
use crate::simd::{Simd, simd_fn};

/// Rows that one block takes at most.
pub(super) const ROWS: usize = 6;

/// The matrix B in one of the ways that a page stores it.
#[derive(Clone, Copy)]
pub(super) enum Stored {
    F32 {
        data: *const f32,
        stride: usize,
    },
    F16 {
        data: *const u16,
        stride: usize,
    },
    /// One scale for a column and 32 rows: 8-bit keys.
    Keys {
        data: *const i8,
        scales: *const f32,
    },
    /// One scale for a row and 32 columns: 8-bit values.
    Values {
        data: *const i8,
        stride: usize,
        scales: *const f32,
        blocks: usize,
    },
}

/// Loads a vector of columns of a row of B.
trait Source: Copy {
    /// # Safety
    /// Row `k` and a vector of columns from `c` on are inside of what the source was made from.
    unsafe fn load<S: Simd>(self, s: S, k: usize, c: usize) -> S::V;
}

#[derive(Clone, Copy)]
struct F32(*const f32, usize);
#[derive(Clone, Copy)]
struct F16(*const u16, usize);
#[derive(Clone, Copy)]
struct Keys(*const i8, *const f32);
#[derive(Clone, Copy)]
struct Values(*const i8, usize, *const f32, usize);

impl Source for F32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, k: usize, c: usize) -> S::V {
        // SAFETY: inside by the caller.
        unsafe { s.load_ptr(self.0.add(k * self.1 + c)) }
    }
}

impl Source for F16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, k: usize, c: usize) -> S::V {
        // SAFETY: inside by the caller.
        unsafe { s.load_f16(self.0.add(k * self.1 + c)) }
    }
}

impl Source for Keys {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, k: usize, c: usize) -> S::V {
        // SAFETY: inside by the caller.
        unsafe {
            let scale = s.load_ptr(self.1.add(k / SCALED * PAGE + c));
            s.mul(s.load_i8(self.0.add(k * PAGE + c)), scale)
        }
    }
}

impl Source for Values {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, k: usize, c: usize) -> S::V {
        // Columns of the padding may lie behind the last scale's 32; they are never read.
        let block = (c / SCALED).min(self.3 - 1);
        // SAFETY: inside by the caller; the scales of a row are read as bytes of any alignment.
        unsafe {
            let scale = s.splat(self.2.add(k * self.3 + block).read_unaligned());
            s.mul(s.load_i8(self.0.add(k * self.1 + c)), scale)
        }
    }
}

/// `R` rows by `N` vectors of columns from column `at`. Element (r, k) of A is at
/// `r * AR + k * AK`, for addresses that need no arithmetic. C starts from 0 if `fresh`, else from
/// what it holds.
///
/// # Safety
/// A has R rows over `k`, C has R rows of the columns, B has rows `k` and the columns.
#[inline(always)]
unsafe fn block<S, B, const AR: usize, const AK: usize, const R: usize, const N: usize>(
    s: S,
    a: *const f32,
    b: B,
    c: Out,
    k: Range<usize>,
    at: usize,
) where
    S: Simd,
    B: Source,
{
    let mut acc = [[s.zero(); N]; R];
    // SAFETY: all pointers stay in the rows and columns that the caller vouches for.
    unsafe {
        if !c.fresh {
            for (r, acc) in acc.iter_mut().enumerate() {
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = s.load_ptr(c.data.add(r * c.stride + at + n * S::LANES));
                }
            }
        }
        for k in k {
            let a = a.add(k * AK);
            // The smaller side of the block is held in registers.
            if R < N {
                let mut rows = [s.zero(); R];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = s.splat(*a.add(r * AR));
                }
                for n in 0..N {
                    let column = b.load(s, k, at + n * S::LANES);
                    for (acc, &row) in acc.iter_mut().zip(&rows) {
                        acc[n] = s.fma(row, column, acc[n]);
                    }
                }
            } else {
                let mut columns = [s.zero(); N];
                for (n, column) in columns.iter_mut().enumerate() {
                    *column = b.load(s, k, at + n * S::LANES);
                }
                for (r, acc) in acc.iter_mut().enumerate() {
                    let row = s.splat(*a.add(r * AR));
                    for (acc, &column) in acc.iter_mut().zip(&columns) {
                        *acc = s.fma(row, column, *acc);
                    }
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            for (n, &acc) in acc.iter().enumerate() {
                s.store_ptr(c.data.add(r * c.stride + at + n * S::LANES), acc);
            }
        }
    }
}

/// Where C is.
#[derive(Clone, Copy)]
struct Out {
    data: *mut f32,
    stride: usize,
    fresh: bool,
}

/// `rows` (1 to [`ROWS`]) rows by the columns `cols`, both ends multiples of 16.
///
/// # Safety
/// As [`block`].
#[inline(always)]
unsafe fn columns<S: Simd, B: Source, const AR: usize, const AK: usize>(
    s: S,
    a: *const f32,
    b: B,
    c: Out,
    rows: usize,
    k: Range<usize>,
    cols: Range<usize>,
) {
    debug_assert!((1..=ROWS).contains(&rows));
    debug_assert!(cols.start.is_multiple_of(16) && cols.end.is_multiple_of(16));
    let mut at = cols.start;
    macro_rules! take {
        ($rows:literal x $vectors:literal) => {{
            // SAFETY: these columns are inside `cols`; the rest is the caller's word.
            unsafe { block::<S, B, AR, AK, $rows, $vectors>(s, a, b, c, k.clone(), at) };
            at += $vectors * S::LANES;
        }};
    }
    // As many chains as hide the latency of a sum, in no more than the registers there are.
    while S::LANES == 16 && at < cols.end {
        match (rows, (cols.end - at) / S::LANES) {
            (1, 8..) => take!(1 x 8),
            (1, 4..) => take!(1 x 4),
            (1, 2..) => take!(1 x 2),
            (1, _) => take!(1 x 1),
            (2, 4..) => take!(2 x 4),
            (2, 2..) => take!(2 x 2),
            (2, _) => take!(2 x 1),
            (3, 4..) => take!(3 x 4),
            (3, 2..) => take!(3 x 2),
            (3, _) => take!(3 x 1),
            (4, 4..) => take!(4 x 4),
            (4, 2..) => take!(4 x 2),
            (4, _) => take!(4 x 1),
            (5, 4..) => take!(5 x 4),
            (5, 2..) => take!(5 x 2),
            (5, _) => take!(5 x 1),
            (_, 4..) => take!(6 x 4),
            (_, 2..) => take!(6 x 2),
            (_, _) => take!(6 x 1),
        }
    }
    while at < cols.end {
        match (rows, (cols.end - at) / S::LANES) {
            (1, 8..) => take!(1 x 8),
            (1, 4..) => take!(1 x 4),
            (1, _) => take!(1 x 2),
            (2, 4..) => take!(2 x 4),
            (2, _) => take!(2 x 2),
            (3, _) => take!(3 x 2),
            (4, _) => take!(4 x 2),
            (5, _) => take!(5 x 2),
            _ => take!(6 x 2),
        }
    }
}

simd_fn! {
    /// Scores: up to [`ROWS`] queries (stored `head_dim` × ROWS) times keys, for the positions
    /// `cols` (both ends multiples of 16), into rows of PAGE.
    ///
    /// # Safety
    /// `q` and `keys` point to `head_dim` rows, `out` to `rows` rows.
    pub(super) unsafe fn scores(
        s, q: *const f32, keys: Stored, out: *mut f32, rows: usize, head_dim: usize,
        cols: Range<usize>,
    ) {
        let c = Out { data: out, stride: PAGE, fresh: true };
        let k = 0..head_dim;
        // SAFETY: handed on.
        unsafe {
            match keys {
                Stored::F32 { data, .. } => {
                    columns::<S, _, 1, ROWS>(s, q, F32(data, PAGE), c, rows, k, cols);
                }
                Stored::F16 { data, .. } => {
                    columns::<S, _, 1, ROWS>(s, q, F16(data, PAGE), c, rows, k, cols);
                }
                Stored::Keys { data, scales } => {
                    columns::<S, _, 1, ROWS>(s, q, Keys(data, scales), c, rows, k, cols);
                }
                Stored::Values { .. } => debug_assert!(false, "these are not keys"),
            }
        }
    }
}

simd_fn! {
    /// Outputs: adds the values of the positions `k` times probabilities (rows of PAGE) to `rows`
    /// rows of `padded` elements.
    ///
    /// # Safety
    /// `p` and `out` point to `rows` rows, `values` to the positions `k`.
    pub(super) unsafe fn outputs(
        s, p: *const f32, values: Stored, out: *mut f32, rows: usize, padded: usize,
        k: Range<usize>,
    ) {
        let c = Out { data: out, stride: padded, fresh: false };
        let cols = 0..padded;
        // SAFETY: handed on.
        unsafe {
            match values {
                Stored::F32 { data, stride } => {
                    columns::<S, _, PAGE, 1>(s, p, F32(data, stride), c, rows, k, cols);
                }
                Stored::F16 { data, stride } => {
                    columns::<S, _, PAGE, 1>(s, p, F16(data, stride), c, rows, k, cols);
                }
                Stored::Values { data, stride, scales, blocks } => {
                    let values = Values(data, stride, scales, blocks);
                    columns::<S, _, PAGE, 1>(s, p, values, c, rows, k, cols);
                }
                Stored::Keys { .. } => debug_assert!(false, "these are not values"),
            }
        }
    }
}

/// # Safety
/// `b` has the rows and columns that `out` has room for.
#[inline(always)]
unsafe fn widen_each<S: Simd, B: Source>(s: S, b: B, cols: usize, out: &mut [f32]) {
    for (k, row) in out.chunks_exact_mut(cols).enumerate() {
        for (c, out) in row.chunks_exact_mut(S::LANES).enumerate() {
            // SAFETY: inside by the caller.
            s.store(out, unsafe { b.load(s, k, c * S::LANES) });
        }
    }
}

simd_fn! {
    /// Writes the rows of B, of `cols` columns, to `out` in 32-bit floats, with the values that
    /// [`scores`] and [`outputs`] see.
    ///
    /// # Safety
    /// `b` points to as many rows and columns as `out` has room for; `cols` is a multiple of 16.
    pub(super) unsafe fn widen(s, b: Stored, cols: usize, out: &mut [f32]) {
        // SAFETY: handed on.
        unsafe {
            match b {
                Stored::F32 { data, stride } => widen_each(s, F32(data, stride), cols, out),
                Stored::F16 { data, stride } => widen_each(s, F16(data, stride), cols, out),
                Stored::Keys { data, scales } => widen_each(s, Keys(data, scales), cols, out),
                Stored::Values { data, stride, scales, blocks } => {
                    widen_each(s, Values(data, stride, scales, blocks), cols, out);
                }
            }
        }
    }
}
