//! The inner product of attention: a few rows times a block of a page.
//!
//! Both products of attention have the form `C[r][c] += Σ_k A[r][k] · B[k][c]` with `B` read in
//! vectors of columns: scores with A = queries, k = dimension, c = position; outputs with
//! A = probabilities, k = position, c = dimension. Every element of C is one chain over k.

use std::ops::Range;

use super::page::{PAGE, SCALED};
use crate::simd::{LANES, Simd, simd_fn};

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

/// Loads eight columns of a row of B.
trait Source: Copy {
    /// # Safety
    /// Row `k` and columns `c..c + 8` are inside of what the source was made from.
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

/// Where the other two matrices of a product are.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub(super) a: *const f32,
    pub(super) a_stride: usize,
    pub(super) c: *mut f32,
    pub(super) c_stride: usize,
    /// Whether C starts from 0 instead of what it holds.
    pub(super) fresh: bool,
}

/// `R` rows by `N` vectors of columns from column `at`.
///
/// # Safety
/// `p` has R rows, of A over `k` and of C over the columns; B has rows `k` and the columns.
#[inline(always)]
unsafe fn block<S: Simd, B: Source, const R: usize, const N: usize>(
    s: S,
    p: Product,
    b: B,
    k: Range<usize>,
    at: usize,
) {
    let mut acc = [[s.zero(); N]; R];
    // SAFETY: all pointers stay in the rows and columns that the caller vouches for.
    unsafe {
        if !p.fresh {
            for (r, acc) in acc.iter_mut().enumerate() {
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = s.load_ptr(p.c.add(r * p.c_stride + at + n * LANES));
                }
            }
        }
        for k in k {
            let mut column = [s.zero(); N];
            for (n, column) in column.iter_mut().enumerate() {
                *column = b.load(s, k, at + n * LANES);
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let a = s.splat(*p.a.add(r * p.a_stride + k));
                for (acc, &column) in acc.iter_mut().zip(&column) {
                    *acc = s.fma(a, column, *acc);
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            for (n, &acc) in acc.iter().enumerate() {
                s.store_ptr(p.c.add(r * p.c_stride + at + n * LANES), acc);
            }
        }
    }
}

/// `rows` (1 to [`ROWS`]) rows by the columns `cols`, both ends multiples of 16.
///
/// # Safety
/// As [`block`].
#[inline(always)]
unsafe fn columns<S: Simd, B: Source>(
    s: S,
    p: Product,
    b: B,
    rows: usize,
    k: Range<usize>,
    cols: Range<usize>,
) {
    let mut at = cols.start;
    // SAFETY: each step takes columns inside `cols`; the rest is the caller's word.
    unsafe {
        // As many chains as hide the latency of a sum, in no more than the registers there are.
        while at < cols.end {
            let left = (cols.end - at) / LANES;
            let (k, took) = (k.clone(), |n: usize| n * LANES);
            at += match (rows, left) {
                (1, 8..) => {
                    block::<S, B, 1, 8>(s, p, b, k, at);
                    took(8)
                }
                (1, 4..) => {
                    block::<S, B, 1, 4>(s, p, b, k, at);
                    took(4)
                }
                (1, _) => {
                    block::<S, B, 1, 2>(s, p, b, k, at);
                    took(2)
                }
                (2, 4..) => {
                    block::<S, B, 2, 4>(s, p, b, k, at);
                    took(4)
                }
                (2, _) => {
                    block::<S, B, 2, 2>(s, p, b, k, at);
                    took(2)
                }
                (3, 4..) => {
                    block::<S, B, 3, 4>(s, p, b, k, at);
                    took(4)
                }
                (3, _) => {
                    block::<S, B, 3, 2>(s, p, b, k, at);
                    took(2)
                }
                (4, _) => {
                    block::<S, B, 4, 2>(s, p, b, k, at);
                    took(2)
                }
                (5, _) => {
                    block::<S, B, 5, 2>(s, p, b, k, at);
                    took(2)
                }
                _ => {
                    block::<S, B, 6, 2>(s, p, b, k, at);
                    took(2)
                }
            };
        }
    }
}

simd_fn! {
    /// The product of `rows` rows over `k` into the columns `cols` (both ends multiples of 16).
    ///
    /// # Safety
    /// `p` has `rows` (1 to [`ROWS`]) rows, of A over `k` and of C over `cols`; `b` points to
    /// rows `k` and columns `cols`.
    pub(super) unsafe fn multiply(
        s, p: Product, b: Stored, rows: usize, k: Range<usize>, cols: Range<usize>,
    ) {
        debug_assert!((1..=ROWS).contains(&rows) && cols.start % 16 == 0 && cols.end % 16 == 0);
        // SAFETY: handed on.
        unsafe {
            match b {
                Stored::F32 { data, stride } => columns(s, p, F32(data, stride), rows, k, cols),
                Stored::F16 { data, stride } => columns(s, p, F16(data, stride), rows, k, cols),
                Stored::Keys { data, scales } => columns(s, p, Keys(data, scales), rows, k, cols),
                Stored::Values { data, stride, scales, blocks } => {
                    columns(s, p, Values(data, stride, scales, blocks), rows, k, cols);
                }
            }
        }
    }
}

/// # Safety
/// `b` has the rows and columns that `out` has room for.
#[inline(always)]
unsafe fn widen_each<S: Simd, B: Source>(s: S, b: B, cols: usize, out: &mut [f32]) {
    for (k, row) in out.chunks_exact_mut(cols).enumerate() {
        for (c, out) in row.chunks_exact_mut(LANES).enumerate() {
            // SAFETY: inside by the caller.
            s.store(out, unsafe { b.load(s, k, c * LANES) });
        }
    }
}

simd_fn! {
    /// Writes the rows of B, of `cols` columns, to `out` in 32-bit floats, with the values that
    /// [`multiply`] sees.
    ///
    /// # Safety
    /// `b` points to as many rows and columns as `out` has room for; `cols` is a multiple of 8.
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
