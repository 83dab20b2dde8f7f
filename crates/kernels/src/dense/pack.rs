//! Copies of the operands in the order in which the register block reads them.

use std::ops::Range;

use half::bf16;

use super::Matrix;
use super::kernel::{COLS, ROWS};
use crate::simd::{LANES, Simd, simd_fn};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
}

/// A number that dense products read and write: f32 or bf16.
pub trait Element: Copy + Send + Sync + sealed::Sealed + 'static {
    #[doc(hidden)]
    const ZERO: Self;
    #[doc(hidden)]
    fn as_f32(p: *mut Self) -> Option<*mut f32>;
    /// # Safety
    /// Eight elements are there.
    #[doc(hidden)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V;
    /// # Safety
    /// There is room for eight elements.
    #[doc(hidden)]
    unsafe fn store<S: Simd>(s: S, p: *mut Self, v: S::V);
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    fn as_f32(p: *mut Self) -> Option<*mut f32> {
        Some(p)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V {
        // SAFETY: handed on.
        unsafe { s.load_ptr(p) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut Self, v: S::V) {
        // SAFETY: handed on.
        unsafe { s.store_ptr(p, v) }
    }
}

impl Element for bf16 {
    const ZERO: Self = bf16::ZERO;
    fn as_f32(_: *mut Self) -> Option<*mut f32> {
        None
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V {
        // SAFETY: handed on; bf16 is a transparent u16.
        unsafe { s.load_bf16(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut Self, v: S::V) {
        // SAFETY: handed on; bf16 is a transparent u16.
        unsafe { s.store_bf16(p.cast(), v) }
    }
}

/// Up to eight elements; the others are 0.
#[inline(always)]
pub(super) fn load_part<S: Simd, T: Element>(s: S, x: &[T]) -> S::V {
    if x.len() >= LANES {
        // SAFETY: eight elements by the check.
        return unsafe { T::load(s, x.as_ptr()) };
    }
    let mut lanes = [T::ZERO; LANES];
    lanes[..x.len()].copy_from_slice(x);
    // SAFETY: an array of eight.
    unsafe { T::load(s, lanes.as_ptr()) }
}

/// As many lanes as there is room for.
#[inline(always)]
pub(super) fn store_part<S: Simd, T: Element>(s: S, out: &mut [T], v: S::V) {
    if out.len() >= LANES {
        // SAFETY: room for eight by the check.
        return unsafe { T::store(s, out.as_mut_ptr(), v) };
    }
    let mut lanes = [T::ZERO; LANES];
    // SAFETY: an array of eight.
    unsafe { T::store(s, lanes.as_mut_ptr(), v) };
    let n = out.len();
    out.copy_from_slice(&lanes[..n]);
}

/// Length of a panel of A: vectors of eight are stored every ROWS elements, the last of them over
/// the end.
pub(super) fn a_panel_len(depth: usize) -> usize {
    depth * ROWS + (LANES - ROWS)
}

/// Fills a panel of A (depth × ROWS): rows `rows` (at most ROWS), columns `depth`.
pub(super) fn a_panel<T: Element>(
    isa: crate::Isa,
    a: Matrix<'_, T>,
    rows: Range<usize>,
    depth: Range<usize>,
    panel: &mut [f32],
) {
    if a.transposed {
        copied(isa, a.data, a.rows, rows.start, depth, panel, ROWS);
    } else {
        crossed(isa, a.data, a.cols, rows, depth, panel, ROWS);
    }
}

/// Fills a panel of B (depth × COLS): columns `cols` (at most COLS), rows `depth`.
pub(super) fn b_panel<T: Element>(
    isa: crate::Isa,
    b: Matrix<'_, T>,
    cols: Range<usize>,
    depth: Range<usize>,
    panel: &mut [f32],
) {
    if b.transposed {
        for (half, panel_at) in [(0, 0), (LANES, LANES)] {
            let cols = (cols.start + half).min(cols.end)..(cols.start + half + LANES).min(cols.end);
            crossed(
                isa,
                b.data,
                b.rows,
                cols,
                depth.clone(),
                &mut panel[panel_at..],
                COLS,
            );
        }
    } else {
        copied(isa, b.data, b.cols, cols.start, depth, panel, COLS);
    }
}

// Lanes of a panel behind the matrix's rows or columns may hold anything: their sums are dropped.

simd_fn! {
    /// A panel out of a matrix whose rows run along the panel's width: the columns from `across`
    /// on of the rows `depth`, every `every` elements.
    fn copied[T: Element](
        s, data: &[T], stride: usize, across: usize, depth: Range<usize>, panel: &mut [f32],
        every: usize,
    ) {
        for (i, k) in depth.enumerate() {
            let row = &data[k * stride + across..];
            let panel = &mut panel[i * every..];
            for v in (0..every).step_by(LANES) {
                let lanes = load_part(s, row.get(v..).unwrap_or(&[]));
                s.store(&mut panel[v..], lanes);
            }
        }
    }
}

simd_fn! {
    /// A panel out of a matrix whose rows run along the panel's depth: up to eight rows `across`
    /// are transposed, every `every` elements.
    fn crossed[T: Element](
        s, data: &[T], stride: usize, across: Range<usize>, depth: Range<usize>,
        panel: &mut [f32], every: usize,
    ) {
        let (count, height) = (depth.len(), across.len().min(LANES));
        if height == 0 || count == 0 {
            return;
        }
        let rows = &data[across.start * stride + depth.start..];
        assert!(rows.len() >= (height - 1) * stride + count, "whole rows");
        assert!(panel.len() >= (count - 1) * every + LANES, "a whole panel");
        let mut done = 0;
        while done + LANES <= count {
            // SAFETY: rows and panel are long enough by the assertions.
            unsafe {
                let from = rows.as_ptr().add(done);
                let mut block = [s.zero(); LANES];
                for (r, block) in block.iter_mut().enumerate() {
                    *block = T::load(s, from.add(r.min(height - 1) * stride));
                }
                let to = panel.as_mut_ptr().add(done * every);
                for (i, &lanes) in s.transpose(block).iter().enumerate() {
                    s.store_ptr(to.add(i * every), lanes);
                }
            }
            done += LANES;
        }
        if done < count {
            let mut block = [s.zero(); LANES];
            for (r, block) in block.iter_mut().enumerate().take(height) {
                *block = load_part(s, &rows[r * stride + done..r * stride + count]);
            }
            for (i, &lanes) in s.transpose(block).iter().enumerate().take(count - done) {
                s.store(&mut panel[(done + i) * every..], lanes);
            }
        }
    }
}

simd_fn! {
    /// Rounds a row of sums into (or adds it to) the output.
    pub(super) fn round[T: Element](s, sums: &[f32], out: &mut [T], accumulate: bool) {
        for (sums, out) in sums.chunks(LANES).zip(out.chunks_mut(LANES)) {
            let mut v = s.load_part(sums, 0.0);
            if accumulate {
                v = s.add(v, load_part(s, out));
            }
            store_part(s, out, v);
        }
    }
}
