//! F32, F16 and BF16 matrices: one fused multiply-add chain per output, in column order.
#![allow(unsafe_code)] // one body compiled for each instruction set; pointers into panels

use std::cell::RefCell;

use super::layout::{FLOAT_ROWS, Layout};
use super::output::OutPart;
use crate::BlockType;
use crate::simd::{LANES, Simd, simd_fn};

/// Columns that are widened to f32 before several rows of activations meet them, where registers
/// have eight lanes: 16 kB.
const TILE: usize = 256;
/// Columns that several rows of activations meet before they meet other panels, where registers
/// have sixteen lanes and weights are widened as they are met. Rows of this length do not get in
/// each other's way in the first-level cache, as those of 1024 would.
const LONG_TILE: usize = 1008;
/// Vectors of outputs in a register-blocked step: one panel of eight lanes twice, or two panels of
/// sixteen lanes.
const VECTORS: usize = 2;
/// Rows of activations that share a register-blocked step, with 16 registers and with 32.
const STEP: usize = 6;
const LONG_STEP: usize = 12;
/// Rows of activations that go through all panels together, so that their columns of one tile stay
/// in the second-level cache.
const BATCH: usize = 8 * LONG_STEP;
/// Vectors that one row of activations meets at once, so that enough chains are under way.
const ABREAST: usize = 8;

/// The panel, from the first of a step or run, that vector `v` belongs to, and its begin there.
#[inline(always)]
const fn place<S: Simd>(v: usize) -> (usize, usize) {
    (v * S::LANES / FLOAT_ROWS, v * S::LANES % FLOAT_ROWS)
}

/// A vector of outputs of activations `t` from `row` on.
#[inline(always)]
fn get<S: Simd>(s: S, out: &OutPart<'_>, t: usize, row: usize) -> S::V {
    let high = if S::LANES > LANES {
        out.get(t, row + LANES)
    } else {
        [0.0; LANES]
    };
    s.join(out.get(t, row), high)
}

#[inline(always)]
fn set<S: Simd>(s: S, out: &mut OutPart<'_>, t: usize, row: usize, v: S::V) {
    let (low, high) = s.split(v);
    out.set(t, row, low);
    if S::LANES > LANES {
        out.set(t, row + LANES, high);
    }
}

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
            // Taken out, since the body of a closure would not be compiled for the set.
            let mut near = NEAR.take();
            match layout.ty {
                BlockType::F16 => many::<S, 1>(s, layout, data, (x, &mut near), out),
                BlockType::BF16 => many::<S, 2>(s, layout, data, (x, &mut near), out),
                _ => many::<S, 0>(s, layout, data, (x, &mut near), out),
            }
            NEAR.set(near);
        }
    }
}

thread_local! {
    /// The activations of a batch in the columns of a tile.
    static NEAR: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A vector of weights as f32. `TY` is 0 for F32, 1 for F16, 2 for BF16.
///
/// # Safety
/// `at` is valid for a vector of elements of the type.
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
    let abreast = ABREAST * S::LANES / FLOAT_ROWS;
    let mut panel = range.start;
    while panel + abreast <= range.end {
        run::<S, TY, ABREAST>(s, layout, data, x, out, panel);
        panel += abreast;
    }
    while panel < range.end {
        if S::LANES == FLOAT_ROWS {
            run::<S, TY, 1>(s, layout, data, x, out, panel);
        } else {
            run::<S, TY, 2>(s, layout, data, x, out, panel);
        }
        panel += 1;
    }
}

/// One row of activations with `N` vectors of outputs, straight from the panels.
#[inline(always)]
fn run<S: Simd, const TY: u8, const N: usize>(
    s: S,
    layout: &Layout,
    data: &[u8],
    x: &[f32],
    out: &mut OutPart<'_>,
    panel: usize,
) {
    let size = if TY == 0 { 4 } else { 2 };
    let mut sums = [s.zero(); N];
    let columns: [&[u8]; N] = std::array::from_fn(|v| {
        let (p, lane) = place::<S>(v);
        &data[(panel + p) * layout.panel_bytes..][..layout.panel_bytes][lane * size..]
    });
    for (k, &x) in x[..layout.cols].iter().enumerate() {
        let x = s.splat(x);
        for (sum, columns) in sums.iter_mut().zip(&columns) {
            // SAFETY: a panel holds `cols` columns of sixteen elements.
            let w = unsafe { load::<S, TY>(s, columns.as_ptr().add(k * FLOAT_ROWS * size)) };
            *sum = s.fma(w, x, *sum);
        }
    }
    for (v, sum) in sums.into_iter().enumerate() {
        let (p, lane) = place::<S>(v);
        set(s, out, 0, (panel + p) * FLOAT_ROWS + lane, sum);
    }
}

/// Several rows of activations: some columns of a panel or two are met by a few rows at once.
#[inline(always)]
fn many<S: Simd, const TY: u8>(
    s: S,
    layout: &Layout,
    data: &[u8],
    (x, near): (&[f32], &mut Vec<f32>),
    out: &mut OutPart<'_>,
) {
    let size = layout.ty.block_bytes();
    let mut tile = [0f32; TILE * FLOAT_ROWS];
    let wide = S::LANES == FLOAT_ROWS;
    let most = if wide { LONG_TILE } else { TILE };
    for start in (0..out.n()).step_by(BATCH) {
        let count = BATCH.min(out.n() - start);
        for first in (0..layout.cols).step_by(most) {
            let columns = most.min(layout.cols - first);
            near.resize(near.len().max(count * columns), 0.0);
            for (i, near) in near.chunks_exact_mut(columns).take(count).enumerate() {
                near.copy_from_slice(&x[(start + i) * layout.cols + first..][..columns]);
            }
            let panels = out.panels(FLOAT_ROWS);
            let last = panels.end.saturating_sub(1);
            let step = VECTORS * S::LANES / FLOAT_ROWS;
            for panel in panels.step_by(step) {
                let bytes = |panel: usize| {
                    let panel = &data[panel * layout.panel_bytes..][..layout.panel_bytes];
                    &panel[first * FLOAT_ROWS * size..][..columns * FLOAT_ROWS * size]
                };
                let rows = Rows {
                    x: &near[..count * columns],
                    start,
                    panel,
                    chained: first > 0,
                };
                if wide {
                    // Where there is no second panel its sums are those of the first, and dropped.
                    let panels = [bytes(panel), bytes((panel + 1).min(last))];
                    rows.meet::<S, TY>(s, panels, count, out);
                } else {
                    let tile = &mut tile[..columns * FLOAT_ROWS];
                    widen::<S, TY>(s, bytes(panel), tile);
                    rows.meet::<S, 0>(s, [as_bytes(tile); 2], count, out);
                }
            }
        }
    }
}

fn as_bytes(x: &[f32]) -> &[u8] {
    // SAFETY: floats have no padding, and bytes any alignment.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), size_of_val(x)) }
}

/// Columns of some rows of activations that meet the same columns of a panel or two.
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
    fn meet<S: Simd, const TY: u8>(
        &self,
        s: S,
        panels: [&[u8]; 2],
        count: usize,
        out: &mut OutPart<'_>,
    ) {
        let mut t = 0;
        macro_rules! take {
            ($($rows:literal)*) => {
                match count - t {
                    $($rows => self.step::<S, TY, $rows>(s, panels, count, t, out),)*
                    _ => {}
                }
            };
        }
        if S::LANES == FLOAT_ROWS {
            while t + LONG_STEP <= count {
                self.step::<S, TY, LONG_STEP>(s, panels, count, t, out);
                t += LONG_STEP;
            }
            take!(1 2 3 4 5 6 7 8 9 10 11);
        } else {
            while t + STEP <= count {
                self.step::<S, TY, STEP>(s, panels, count, t, out);
                t += STEP;
            }
            take!(1 2 3 4 5);
        }
    }

    /// Rows `t .. t + T` of `count`.
    #[inline(always)]
    fn step<S: Simd, const TY: u8, const T: usize>(
        &self,
        s: S,
        panels: [&[u8]; 2],
        count: usize,
        t: usize,
        out: &mut OutPart<'_>,
    ) {
        let columns = self.x.len() / count;
        let size = if TY == 0 { 4 } else { 2 };
        let x: [&[f32]; T] = std::array::from_fn(|i| &self.x[(t + i) * columns..][..columns]);
        let w: [&[u8]; VECTORS] = std::array::from_fn(|v| {
            let (p, lane) = place::<S>(v);
            &panels[p][..columns * FLOAT_ROWS * size][lane * size..]
        });
        let t = self.start + t;
        let row = |v: usize| {
            let (p, lane) = place::<S>(v);
            (self.panel + p) * FLOAT_ROWS + lane
        };
        let mut sums = [[s.zero(); VECTORS]; T];
        if self.chained {
            for (i, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = get(s, out, t + i, row(v));
                }
            }
        }
        for k in 0..columns {
            // SAFETY: panels have `columns` columns of sixteen elements, each of `x` has `columns`.
            unsafe {
                let w: [S::V; VECTORS] = std::array::from_fn(|v| {
                    load::<S, TY>(s, w[v].as_ptr().add(k * FLOAT_ROWS * size))
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
                set(s, out, t + i, row(v), sum);
            }
        }
    }
}

/// Columns of a panel as f32.
#[inline(always)]
fn widen<S: Simd, const TY: u8>(s: S, panel: &[u8], tile: &mut [f32]) {
    let size = if TY == 0 { 4 } else { 2 };
    let lanes = tile.chunks_exact_mut(S::LANES);
    for (from, to) in panel.chunks_exact(S::LANES * size).zip(lanes) {
        // SAFETY: a vector of elements of `size` bytes by the chunking; any alignment.
        s.store(to, unsafe { load::<S, TY>(s, from.as_ptr()) });
    }
}
