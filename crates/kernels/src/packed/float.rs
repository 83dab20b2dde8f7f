//! F32, F16 and BF16 matrices: one fused multiply-add chain per output, in column order.
#![allow(unsafe_code)] // one body compiled for each instruction set; pointers into panels

use super::layout::{FLOAT_ROWS, Layout};
use super::output::OutPart;
use crate::BlockType;
use crate::simd::{LANES, Simd, simd_fn};

/// Columns that are widened to f32 before several rows of activations meet them: 16 kB.
const TILE: usize = 256;
/// Rows of activations that share a register-blocked step.
const STEP: usize = 6;
/// Rows of activations that go through all panels together, so that their columns of one tile stay
/// in the second-level cache: 48 kB.
const BATCH: usize = 8 * STEP;
/// Panels that one row of activations meets at once, so that enough chains are under way.
const ABREAST: usize = 4;
/// Vectors in a panel's column.
const VECTORS: usize = FLOAT_ROWS / LANES;

simd_fn! {
    /// `out[t][r] = x[t] · w[r]` for the rows of `out`.
    pub(super) fn matmul(s, layout: &Layout, data: &[u8], x: &[f32], out: &mut OutPart<'_>) {
        assert!(data.len() >= layout.bytes() && x.len() == out.n() * layout.cols);
        if out.n() == 1 {
            match layout.ty {
                BlockType::F16 => one::<S, 1>(s, layout, data, x, out),
                BlockType::BF16 => one::<S, 2>(s, layout, data, x, out),
                _ => one::<S, 0>(s, layout, data, x, out),
            }
        } else {
            many(s, layout, data, x, out);
        }
    }
}

/// Eight weights as f32. `TY` is 0 for F32, 1 for F16, 2 for BF16.
///
/// # Safety
/// `at` is valid for eight elements of the type.
#[inline(always)]
unsafe fn load<S: Simd, const TY: u8>(s: S, at: *const u8) -> S::V {
    // SAFETY: by this function's contract.
    unsafe {
        match TY {
            0 => s.load_ptr(at.cast()),
            1 => s.load_f16(at.cast()),
            _ => s.load_bf16(at.cast()),
        }
    }
}

#[inline(always)]
fn one<S: Simd, const TY: u8>(
    s: S,
    layout: &Layout,
    data: &[u8],
    x: &[f32],
    out: &mut OutPart<'_>,
) {
    let range = out.panels(FLOAT_ROWS);
    let mut panel = range.start;
    while panel + ABREAST <= range.end {
        abreast::<S, TY, ABREAST>(s, layout, data, x, out, panel);
        panel += ABREAST;
    }
    while panel < range.end {
        abreast::<S, TY, 1>(s, layout, data, x, out, panel);
        panel += 1;
    }
}

/// One row of activations with `P` panels, straight from the panels.
#[inline(always)]
fn abreast<S: Simd, const TY: u8, const P: usize>(
    s: S,
    layout: &Layout,
    data: &[u8],
    x: &[f32],
    out: &mut OutPart<'_>,
    panel: usize,
) {
    let size = if TY == 0 { 4 } else { 2 };
    let mut sums = [[s.zero(); VECTORS]; P];
    let panels: [&[u8]; P] =
        std::array::from_fn(|p| &data[(panel + p) * layout.panel_bytes..][..layout.panel_bytes]);
    for (k, &x) in x[..layout.cols].iter().enumerate() {
        let x = s.splat(x);
        for (sums, panel) in sums.iter_mut().zip(&panels) {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a panel holds `cols` columns of sixteen elements.
                let w = unsafe {
                    load::<S, TY>(s, panel.as_ptr().add((k * FLOAT_ROWS + v * LANES) * size))
                };
                *sum = s.fma(w, x, *sum);
            }
        }
    }
    for (p, sums) in sums.into_iter().enumerate() {
        for (v, sum) in sums.into_iter().enumerate() {
            out.set(0, (panel + p) * FLOAT_ROWS + v * LANES, s.to_array(sum));
        }
    }
}

/// Several rows of activations: columns of a panel are widened, then met by a few rows at once.
#[inline(always)]
fn many<S: Simd>(s: S, layout: &Layout, data: &[u8], x: &[f32], out: &mut OutPart<'_>) {
    let mut tile = [0f32; TILE * FLOAT_ROWS];
    let mut near = [0f32; TILE * BATCH];
    for start in (0..out.n()).step_by(BATCH) {
        let count = BATCH.min(out.n() - start);
        for first in (0..layout.cols).step_by(TILE) {
            let columns = TILE.min(layout.cols - first);
            for (i, near) in near.chunks_exact_mut(columns).take(count).enumerate() {
                near.copy_from_slice(&x[(start + i) * layout.cols + first..][..columns]);
            }
            let tile = &mut tile[..columns * FLOAT_ROWS];
            for panel in out.panels(FLOAT_ROWS) {
                let bytes = &data[panel * layout.panel_bytes..][..layout.panel_bytes];
                widen(s, layout.ty, bytes, first, tile);
                let rows = Rows {
                    x: &near[..count * columns],
                    start,
                    panel,
                    chained: first > 0,
                };
                rows.meet(s, tile, count, out);
            }
        }
    }
}

/// Columns of some rows of activations that meet the same columns of a panel.
struct Rows<'a> {
    x: &'a [f32],
    /// The first row's number in the output.
    start: usize,
    panel: usize,
    /// Whether columns before these are already in the output.
    chained: bool,
}

impl Rows<'_> {
    #[inline(always)]
    fn meet<S: Simd>(&self, s: S, tile: &[f32], count: usize, out: &mut OutPart<'_>) {
        let mut t = 0;
        while t + STEP <= count {
            self.step::<S, STEP>(s, tile, t, out);
            t += STEP;
        }
        match count - t {
            1 => self.step::<S, 1>(s, tile, t, out),
            2 => self.step::<S, 2>(s, tile, t, out),
            3 => self.step::<S, 3>(s, tile, t, out),
            4 => self.step::<S, 4>(s, tile, t, out),
            5 => self.step::<S, 5>(s, tile, t, out),
            _ => {}
        }
    }

    /// Rows `t .. t + T`.
    #[inline(always)]
    fn step<S: Simd, const T: usize>(&self, s: S, tile: &[f32], t: usize, out: &mut OutPart<'_>) {
        let count = tile.len() / FLOAT_ROWS;
        let x: [&[f32]; T] = std::array::from_fn(|i| &self.x[(t + i) * count..][..count]);
        let t = self.start + t;
        let row = |v: usize| self.panel * FLOAT_ROWS + v * LANES;
        let mut sums = [[s.zero(); VECTORS]; T];
        if self.chained {
            for (i, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = s.set(out.get(t + i, row(v)));
                }
            }
        }
        for k in 0..count {
            // SAFETY: the tile has `count` columns of sixteen elements, each of `x` has `count`.
            unsafe {
                let w: [S::V; VECTORS] = std::array::from_fn(|v| {
                    s.load_ptr(tile.as_ptr().add(k * FLOAT_ROWS + v * LANES))
                });
                for (sums, x) in sums.iter_mut().zip(&x) {
                    let x = s.splat(*x.get_unchecked(k));
                    for (sum, &w) in sums.iter_mut().zip(&w) {
                        *sum = s.fma(w, x, *sum);
                    }
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                out.set(t + i, row(v), s.to_array(sum));
            }
        }
    }
}

/// Columns `first ..` of a panel as f32.
#[inline(always)]
fn widen<S: Simd>(s: S, ty: BlockType, panel: &[u8], first: usize, tile: &mut [f32]) {
    let size = ty.block_bytes();
    let bytes = &panel[first * FLOAT_ROWS * size..][..tile.len() * size];
    let lanes = tile.chunks_exact_mut(LANES);
    for (from, to) in bytes.chunks_exact(LANES * size).zip(lanes) {
        // SAFETY: eight elements of `size` bytes by the chunking; any alignment.
        let w = unsafe {
            match ty {
                BlockType::F16 => load::<S, 1>(s, from.as_ptr()),
                BlockType::BF16 => load::<S, 2>(s, from.as_ptr()),
                _ => load::<S, 0>(s, from.as_ptr()),
            }
        };
        s.store(to, w);
    }
}
