//! Convolution with 3 × 3 kernels one step apart by fewer products: F(2 × 2, 3 × 3) of Winograd (Lavin and Gray,
//! arXiv:1509.09308). A tile of 2 × 2 outputs comes from 4 × 4 pixels; both and the kernels are turned into sixteen
//! points, each of which is a product over channels: 16 products where there were 36. Tiles begin at the image's corner,
//! so an output has the same bits for any batch and number of threads.

use std::cell::RefCell;
use std::ops::Range;

use super::Patches;
use super::direct::{self, Block, Panels, Places};
use crate::Isa;
use crate::memory::unspecified;
use crate::pool::{self, SharedMut};
use crate::simd::{Simd, simd_fn};

/// Points of a tile.
const POINTS: usize = 16;
/// Numbers of a task's tiles that stay in the L2 cache.
const NEAR: usize = 80 << 10;

/// A kernel's three taps at the four points of one axis.
const POINTS_OF_TAPS: [[f32; 3]; 4] = [
    [1.0, 0.0, 0.0],
    [0.5, 0.5, 0.5],
    [0.5, -0.5, 0.5],
    [0.0, 0.0, 1.0],
];

/// Kernels at each point.
pub(super) struct Kernels {
    points: Vec<Panels>,
    inputs: usize,
    outputs: usize,
}

impl Kernels {
    /// Out of a matrix `[inputs, outputs]` for each tap, row by row.
    pub(super) fn new(isa: Isa, taps: &[f32], inputs: usize, outputs: usize) -> Self {
        let each = inputs * outputs;
        let mut all = vec![0.0; POINTS * each];
        pool::parallel_chunks(&mut all, each.max(1), |point, all| {
            for tap in 0..9 {
                let share = POINTS_OF_TAPS[point / 4][tap / 3] * POINTS_OF_TAPS[point % 4][tap % 3];
                if share != 0.0 {
                    let from = &taps[tap * each..(tap + 1) * each];
                    all.iter_mut()
                        .zip(from)
                        .for_each(|(to, x)| *to += share * x);
                }
            }
        });
        let points = all.chunks_exact(each.max(1));
        Self {
            points: points
                .map(|point| Panels::of_rows(isa, point, inputs, outputs))
                .collect(),
            inputs,
            outputs,
        }
    }
}

/// Whether it is worth its turns: a kernel of nine taps one step apart, channels enough, and an image that is not small
/// (of any batch: an image's bits do not depend on the others).
pub(super) fn serves(patches: &Patches<'_>, outputs: usize) -> bool {
    let first = patches.taps.first().copied().unwrap_or_default();
    let square = patches.taps.len() == 9
        && patches.step == [1, 1]
        && patches
            .taps
            .iter()
            .enumerate()
            .all(|(i, tap)| *tap == [first[0] + (i / 3) as isize, first[1] + (i % 3) as isize]);
    square && patches.channels >= 16 && outputs >= 16 && patches.rows * patches.cols >= 64
}

#[derive(Default)]
struct Scratch {
    /// Pixels at the points: point, tile, channel.
    inputs: Vec<f32>,
    /// Outputs at the points.
    outputs: Vec<f32>,
    rows: Vec<*const f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What all tasks share.
struct Work<'a> {
    patches: &'a Patches<'a>,
    kernels: &'a Kernels,
    bias: Option<&'a [f32]>,
    places: &'a Places,
    zeros: &'a [f32],
    /// Tiles down and across an image.
    tiles: [usize; 2],
}

/// Writes the outputs of all images: sums over taps and channels, and the bias.
pub(super) fn forward(
    isa: Isa,
    patches: &Patches<'_>,
    batch: usize,
    kernels: &Kernels,
    bias: Option<&[f32]>,
    places: &Places,
    out: &SharedMut<'_, f32>,
) {
    let zeros = vec![0.0; patches.channels];
    let work = Work {
        patches,
        kernels,
        bias,
        places,
        zeros: &zeros,
        tiles: [patches.rows.div_ceil(2), patches.cols.div_ceil(2)],
    };
    let total = batch * work.tiles[0] * work.tiles[1];
    let (inputs, outputs) = (kernels.inputs, kernels.outputs);
    by_points(
        isa,
        &kernels.points,
        [inputs, outputs],
        total,
        |range, to| turn_pixels(isa, &work, range, to),
        |range, from| turn_outputs(isa, &work, range, from, out),
    );
}

/// Does `total` tiles of `[inputs, outputs]` channels in tasks that stay near the processor: `turn` writes what a range
/// of tiles sees at the points (point, tile, channel), `back` takes the products with `points` there.
pub(super) fn by_points(
    isa: Isa,
    points: &[Panels],
    [inputs, outputs]: [usize; 2],
    total: usize,
    turn: impl Fn(Range<usize>, &mut [f32]) + Sync,
    back: impl Fn(Range<usize>, &[f32]) + Sync,
) {
    let rows = direct::block_rows(if isa == Isa::Avx512 { 16 } else { 8 });
    let most = NEAR / (points.len() * inputs.max(outputs)).max(1);
    let each = (most.clamp(rows, 8 * rows) / rows * rows).min(total.div_ceil(rows) * rows);
    pool::parallel_for(total.div_ceil(each), |task| {
        let range = task * each..((task + 1) * each).min(total);
        SCRATCH.with_borrow_mut(|scratch| {
            let [seen, made] = [inputs, outputs].map(|width| points.len() * each * width);
            if scratch.inputs.len() < seen {
                scratch.inputs = unspecified(seen);
            }
            if scratch.outputs.len() < made {
                scratch.outputs = unspecified(made);
            }
            turn(range.clone(), &mut scratch.inputs);
            let out = SharedMut::new(&mut scratch.outputs);
            products(
                isa,
                points,
                range.len(),
                &scratch.inputs,
                &mut scratch.rows,
                &out,
            );
            back(range, &scratch.outputs);
        });
    });
}

/// Image, row and column of a tile's first output.
fn corner(work: &Work<'_>, tile: usize) -> [usize; 3] {
    let [down, across] = work.tiles;
    let (j, rest) = (tile % across, tile / across);
    [rest / down, rest % down * 2, j * 2]
}

/// `d0 − d2`, `d1 + d2`, `d2 − d1`, `d1 − d3`.
#[inline(always)]
fn in_turn<S: Simd>(s: S, d: [S::V; 4]) -> [S::V; 4] {
    [
        s.sub(d[0], d[2]),
        s.add(d[1], d[2]),
        s.sub(d[2], d[1]),
        s.sub(d[1], d[3]),
    ]
}

/// `m0 + m1 + m2`, `m1 − m2 − m3`.
#[inline(always)]
fn out_turn<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 2] {
    [
        s.add(s.add(m[0], m[1]), m[2]),
        s.sub(s.sub(m[1], m[2]), m[3]),
    ]
}

simd_fn! {
    /// Writes the pixels of tiles at the points.
    fn turn_pixels(s, work: &Work<'_>, tiles: Range<usize>, to: &mut [f32]) {
        let (patches, k) = (work.patches, work.patches.channels);
        let count = tiles.len();
        assert!(to.len() >= POINTS * count * k, "room for all tiles");
        for (t, tile) in tiles.enumerate() {
            let at = corner(work, tile);
            let mut pixels = [work.zeros; POINTS];
            for (i, pixel) in pixels.iter_mut().enumerate() {
                let tap = [
                    patches.taps[0][0] + (i / 4) as isize,
                    patches.taps[0][1] + (i % 4) as isize,
                ];
                if let Some(found) = patches.pixel(at, tap) {
                    *pixel = &patches.image[found * k..(found + 1) * k];
                }
            }
            for c in (0..k).step_by(S::LANES) {
                let whole = c + S::LANES <= k;
                let mut d = [[s.zero(); 4]; 4];
                for (i, row) in d.iter_mut().enumerate() {
                    for (j, v) in row.iter_mut().enumerate() {
                        let pixel = pixels[4 * i + j];
                        *v = if whole {
                            // SAFETY: pixels have `k` elements, of which a vector is left.
                            unsafe { s.load_ptr(pixel.as_ptr().add(c)) }
                        } else {
                            s.load_part(&pixel[c..], 0.0)
                        };
                    }
                }
                // Down, then across.
                for j in 0..4 {
                    let turned = in_turn(s, [d[0][j], d[1][j], d[2][j], d[3][j]]);
                    for (row, v) in d.iter_mut().zip(turned) {
                        row[j] = v;
                    }
                }
                for (i, row) in d.iter().enumerate() {
                    for (j, v) in in_turn(s, *row).into_iter().enumerate() {
                        let from = ((4 * i + j) * count + t) * k;
                        if whole {
                            // SAFETY: inside of `to` by the assertion above.
                            unsafe { s.store_ptr(to.as_mut_ptr().add(from + c), v) };
                        } else {
                            s.store_part(&mut to[from + c..from + k], v);
                        }
                    }
                }
            }
        }
    }
}

/// The product over channels at each point.
fn products(
    isa: Isa,
    points: &[Panels],
    tiles: usize,
    inputs: &[f32],
    rows: &mut Vec<*const f32>,
    out: &SharedMut<'_, f32>,
) {
    for (point, panels) in points.iter().enumerate() {
        let (k, first) = (panels.rows(), point * tiles);
        rows.clear();
        rows.extend((first..first + tiles).map(|row| inputs[row * k..(row + 1) * k].as_ptr()));
        product(isa, panels, rows, k, first * panels.width(), out);
    }
}

simd_fn! {
    /// Writes rows of outputs from `at` on.
    fn product(
        s,
        panels: &Panels,
        rows: &[*const f32],
        channels: usize,
        at: usize,
        out: &SharedMut<'_, f32>,
    ) {
        let most = direct::block_rows(S::LANES);
        let mut pixels = [rows[0]; 12];
        let mut outputs = [0; 12];
        for (b, rows) in rows.chunks(most).enumerate() {
            pixels[..rows.len()].copy_from_slice(rows);
            for (r, output) in outputs.iter_mut().enumerate() {
                *output = at + (b * most + r) * panels.width();
            }
            let block = Block { pixels: &pixels[..most], stride: most, channels };
            // SAFETY: rows have `channels` elements, the panels as many rows, and each output is written once.
            unsafe { direct::all_columns(s, block, panels, None, &outputs[..rows.len()], out) };
        }
    }
}

simd_fn! {
    /// Writes the outputs of tiles from those at the points.
    fn turn_outputs(
        s,
        work: &Work<'_>,
        tiles: Range<usize>,
        from: &[f32],
        out: &SharedMut<'_, f32>,
    ) {
        let (patches, places, m) = (work.patches, work.places, work.kernels.outputs);
        let count = tiles.len();
        assert!(from.len() >= POINTS * count * m, "all tiles");
        for (t, tile) in tiles.enumerate() {
            let [image, row, col] = corner(work, tile);
            for c in (0..m).step_by(S::LANES) {
                let end = m.min(c + S::LANES);
                let mut points = [[s.zero(); 4]; 4];
                for (i, row) in points.iter_mut().enumerate() {
                    for (j, v) in row.iter_mut().enumerate() {
                        let at = ((4 * i + j) * count + t) * m;
                        *v = if end - c == S::LANES {
                            // SAFETY: inside of `from` by the assertion above.
                            unsafe { s.load_ptr(from.as_ptr().add(at + c)) }
                        } else {
                            s.load_part(&from[at + c..at + end], 0.0)
                        };
                    }
                }
                let bias = match work.bias {
                    Some(bias) => s.load_part(&bias[c..end], 0.0),
                    None => s.zero(),
                };
                let mut down = [[s.zero(); 4]; 2];
                for j in 0..4 {
                    let turned = out_turn(s, [points[0][j], points[1][j], points[2][j], points[3][j]]);
                    down[0][j] = turned[0];
                    down[1][j] = turned[1];
                }
                for (i, row_of) in down.iter().enumerate() {
                    for (j, v) in out_turn(s, *row_of).into_iter().enumerate() {
                        if row + i >= patches.rows || col + j >= patches.cols {
                            continue;
                        }
                        let y = (row + i) * places.step[0] + places.first[0];
                        let x = (col + j) * places.step[1] + places.first[1];
                        let at = ((image * places.height + y) * places.width + x) * m;
                        // SAFETY: each output is written by one task.
                        let to = unsafe { out.slice(at + c..at + end) };
                        s.store_part(to, s.add(v, bias));
                    }
                }
            }
        }
    }
}
