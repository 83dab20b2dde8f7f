//! Convolution that reads pixels where they lie: a register block of sums runs over the taps with a pointer to each
//! position's pixel (the indirect convolution of Dukhan, arXiv:1907.02129), so no patches are written. Pixels outside
//! of the image are a row of zeros. An output is one chain of sums over taps and channels in order; a weight's gradient
//! is summed over positions, [`DEPTH`] at a time: the same bits for any batch, position and number of threads.

use std::cell::RefCell;
use std::ops::Range;

use super::{CHANNELS, DEPTH, Patches};
use crate::Isa;
use crate::pool::{self, SharedMut};
use crate::simd::{Simd, simd_fn};

/// Positions of a register block.
pub(super) const fn block_rows(lanes: usize) -> usize {
    if lanes == 16 { 12 } else { 6 }
}

/// Columns of a panel of weights.
pub(super) fn panel_cols(isa: Isa) -> usize {
    if isa == Isa::Avx512 { 32 } else { 16 }
}

/// Weights in panels of [`panel_cols`] outputs: panel, row (tap and input channel), output; zeros behind the last.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    data: Vec<f32>,
    /// Taps times input channels.
    rows: usize,
    /// Outputs.
    width: usize,
}

impl Panels {
    /// Outputs.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Taps times input channels.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.data.len() * 4
    }

    /// Out of a matrix `[rows, width]`.
    pub(super) fn of_rows(isa: Isa, matrix: &[f32], rows: usize, width: usize) -> Self {
        Self::filled(isa, rows, width, |row, columns, to| {
            to.copy_from_slice(&matrix[row * width..][columns]);
        })
    }

    /// Of a matrix `[rows, width]` of which `fill` writes some columns of a row.
    pub(super) fn filled(
        isa: Isa,
        rows: usize,
        width: usize,
        fill: impl Fn(usize, Range<usize>, &mut [f32]) + Sync,
    ) -> Self {
        let cols = panel_cols(isa);
        let mut data = vec![0.0; width.div_ceil(cols) * cols * rows];
        pool::parallel_chunks(&mut data, (rows * cols).max(1), |i, panel| {
            let columns = i * cols..width.min((i + 1) * cols);
            for (row, to) in panel.chunks_exact_mut(cols).enumerate() {
                fill(row, columns.clone(), &mut to[..columns.len()]);
            }
        });
        Self { data, rows, width }
    }

    /// Out of a matrix `[width, rows]`.
    pub(super) fn of_columns(isa: Isa, matrix: &[f32], rows: usize, width: usize) -> Self {
        let cols = panel_cols(isa);
        let mut data = vec![0.0; width.div_ceil(cols) * cols * rows];
        pool::parallel_chunks(&mut data, (rows * cols).max(1), |i, panel| {
            let count = cols.min(width - i * cols);
            let outputs = &matrix[i * cols * rows..(i * cols + count) * rows];
            // Runs of rows that stay in the cache while all columns of them are read.
            for (run, panel) in panel.chunks_mut(16 * cols).enumerate() {
                for (o, output) in outputs.chunks_exact(rows).enumerate() {
                    let values = &output[run * 16..(run * 16 + 16).min(rows)];
                    for (to, &value) in panel[o..].iter_mut().step_by(cols).zip(values) {
                        *to = value;
                    }
                }
            }
        });
        Self { data, rows, width }
    }
}

/// Where the output of a position lies: for position (b, i, j) at pixel `(i · step + first, j · step + first)` of image b.
pub(super) struct Places {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) step: [usize; 2],
    pub(super) first: [usize; 2],
}

/// Position `at` of patches as image, row and column.
fn place(patches: &Patches<'_>, at: usize) -> [usize; 3] {
    let (j, rest) = (at % patches.cols, at / patches.cols);
    [rest / patches.rows, rest % patches.rows, j]
}

impl Patches<'_> {
    /// The pixel of a position at a tap, or `None` outside of the image.
    #[inline(always)]
    pub(super) fn pixel(&self, [b, i, j]: [usize; 3], tap: [isize; 2]) -> Option<usize> {
        let y = (i * self.step[0]).wrapping_add_signed(tap[0]);
        let x = (j * self.step[1]).wrapping_add_signed(tap[1]);
        (y < self.height && x < self.width).then(|| (b * self.height + y) * self.width + x)
    }
}

/// Writes the outputs of all positions: sums over taps and channels, and the bias.
pub(super) fn forward(
    isa: Isa,
    patches: &Patches<'_>,
    positions: usize,
    weights: &Panels,
    bias: Option<&[f32]>,
    places: &Places,
    out: &SharedMut<'_, f32>,
) {
    let rows = block_rows(if isa == Isa::Avx512 { 16 } else { 8 });
    debug_assert_eq!(weights.rows, patches.taps.len() * patches.channels);
    let zeros = vec![0.0; patches.channels];
    // Several tasks for each thread, of whole blocks.
    let blocks = positions.div_ceil(rows);
    let each = blocks.div_ceil(8 * pool::threads()).clamp(1, 64) * rows;
    pool::parallel_for(positions.div_ceil(each), |task| {
        let range = task * each..((task + 1) * each).min(positions);
        // Outside of what is compiled for an instruction set: closures are not.
        POINTERS.with_borrow_mut(|pixels| {
            pixels.clear();
            pixels.resize(patches.taps.len() * rows, zeros.as_ptr());
            forward_range(isa, patches, range, weights, bias, places, pixels, out);
        });
    });
}

thread_local! {
    static POINTERS: RefCell<Vec<*const f32>> = const { RefCell::new(Vec::new()) };
}

/// What a register block of outputs is made of.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// Pixels tap by tap, `stride` of them for each.
    pub(super) pixels: &'a [*const f32],
    pub(super) stride: usize,
    /// Channels of a pixel.
    pub(super) channels: usize,
}

simd_fn! {
    fn forward_range(
        s,
        patches: &Patches<'_>,
        range: Range<usize>,
        weights: &Panels,
        bias: Option<&[f32]>,
        places: &Places,
        pixels: &mut [*const f32],
        out: &SharedMut<'_, f32>,
    ) {
        let most = block_rows(S::LANES);
        let width = weights.width;
        let zeros = pixels.first().copied().unwrap_or(std::ptr::null());
            let mut outputs = [0usize; 12];
            for start in range.clone().step_by(most) {
                let count = most.min(range.end - start);
                for r in 0..count {
                    let at = place(patches, start + r);
                    let row = at[1] * places.step[0] + places.first[0];
                    let col = at[2] * places.step[1] + places.first[1];
                    outputs[r] = ((at[0] * places.height + row) * places.width + col) * width;
                    for (t, &tap) in patches.taps.iter().enumerate() {
                        pixels[t * most + r] = match patches.pixel(at, tap) {
                            Some(pixel) => patches.image[pixel * patches.channels..].as_ptr(),
                            None => zeros,
                        };
                    }
                }
                let block = Block { pixels, stride: most, channels: patches.channels };
                // SAFETY: pixels have `channels` elements each, the panels one row for each of them at each tap, and each
                // position's output is written by one task.
                unsafe { all_columns(s, block, weights, bias, &outputs[..count], out) };
            }
    }
}

/// Writes all columns of the outputs of a block.
///
/// # Safety
/// The pixels have `channels` elements, the panels as many rows as there are of them; nobody else touches these
/// outputs.
#[inline(always)]
pub(super) unsafe fn all_columns<S: Simd>(
    s: S,
    block: Block<'_>,
    weights: &Panels,
    bias: Option<&[f32]>,
    outputs: &[usize],
    out: &SharedMut<'_, f32>,
) {
    let (cols, width) = (2 * S::LANES, weights.width);
    for (p, from) in (0..width).step_by(cols).enumerate() {
        let panel = &weights.data[p * weights.rows * cols..(p + 1) * weights.rows * cols];
        let columns = from..width.min(from + cols);
        let bias = bias.map(|bias| &bias[columns.clone()]);
        macro_rules! take {
            ($rows:literal) => {
                // SAFETY: handed on.
                unsafe {
                    if columns.len() > S::LANES {
                        outputs_of::<S, $rows, 2>(s, block, panel, bias, outputs, columns, out)
                    } else {
                        outputs_of::<S, $rows, 1>(s, block, panel, bias, outputs, columns, out)
                    }
                }
            };
        }
        match outputs.len() {
            1 => take!(1),
            2 => take!(2),
            3..5 => take!(4),
            _ if S::LANES == 8 => take!(6),
            5..9 => take!(8),
            _ => take!(12),
        }
    }
}

/// The sums of one register block: the first `R` positions and `N` vectors of columns.
///
/// # Safety
/// The pixels have `channels` elements, the panel has as many rows as there are of them.
#[inline(always)]
unsafe fn sums<S: Simd, const R: usize, const N: usize>(
    s: S,
    block: Block<'_>,
    panel: &[f32],
    mut acc: [[S::V; N]; R],
) -> [[S::V; N]; R] {
    let mut b = panel.as_ptr();
    for pixels in block.pixels.chunks_exact(block.stride) {
        let pixels: [*const f32; R] = std::array::from_fn(|r| pixels[r]);
        for c in 0..block.channels {
            // SAFETY: inside of the pixels and the panel by the caller.
            unsafe {
                let columns: [S::V; N] = std::array::from_fn(|v| s.load_ptr(b.add(v * S::LANES)));
                for (acc, pixel) in acc.iter_mut().zip(pixels) {
                    let x = s.splat(*pixel.add(c));
                    for (acc, &column) in acc.iter_mut().zip(&columns) {
                        *acc = s.fma(x, column, *acc);
                    }
                }
                b = b.add(2 * S::LANES);
            }
        }
    }
    acc
}

/// Writes some columns of the outputs of a block.
///
/// # Safety
/// As [`sums`]; nobody else touches these outputs.
#[inline(always)]
unsafe fn outputs_of<S: Simd, const R: usize, const N: usize>(
    s: S,
    block: Block<'_>,
    panel: &[f32],
    bias: Option<&[f32]>,
    outputs: &[usize],
    columns: Range<usize>,
    out: &SharedMut<'_, f32>,
) {
    let start: [S::V; N] = std::array::from_fn(|v| match bias {
        Some(bias) => s.load_part(bias.get(v * S::LANES..).unwrap_or(&[]), 0.0),
        None => s.zero(),
    });
    // SAFETY: handed on.
    let acc = unsafe { sums::<S, R, N>(s, block, panel, [start; R]) };
    for (&at, acc) in outputs.iter().zip(acc) {
        // SAFETY: this position's output, which one task writes.
        let row = unsafe { out.slice(at + columns.start..at + columns.end) };
        for (to, v) in row.chunks_mut(S::LANES).zip(acc) {
            s.store_part(to, v);
        }
    }
}

/// Adds to `dweight` `[outputs, taps, channels]` the gradients of weights, from those of the outputs `dy`
/// `[positions, outputs]`.
pub(super) fn weight_gradient(
    isa: Isa,
    patches: &Patches<'_>,
    dy: &[f32],
    outputs: usize,
    dweight: &mut [f32],
) {
    let (k, taps) = (patches.channels, patches.taps.len());
    let lanes = if isa == Isa::Avx512 { 16 } else { 8 };
    // Pixels of whole vectors.
    let padded = k.next_multiple_of(lanes);
    let copy;
    let image = if padded == k {
        patches.image
    } else {
        let mut wide = vec![0.0; patches.image.len() / k * padded];
        pool::parallel_chunks(&mut wide, padded * 256, |i, wide| {
            let from = &patches.image[i * 256 * k..];
            for (to, from) in wide.chunks_exact_mut(padded).zip(from.chunks_exact(k)) {
                to[..k].copy_from_slice(from);
            }
        });
        copy = wide;
        &copy
    };
    let zeros = vec![0.0; padded];
    let part = CHANNELS.min((padded / lanes).div_ceil(2).div_ceil(pool::threads()) * 2 * lanes);
    let parts = padded.div_ceil(part);
    let dweight = SharedMut::new(dweight);
    pool::parallel_for(taps * parts, |task| {
        let (tap, part_at) = (task / parts, task % parts * part);
        let columns = part_at..(part_at + part).min(padded);
        let gradient = Gradient {
            patches,
            image,
            padded,
            dy,
            outputs,
            tap,
        };
        POINTERS.with_borrow_mut(|pixels| {
            gradient_of_tap(isa, &gradient, &zeros, columns, pixels, &dweight);
        });
    });
}

/// The gradient of the weights of one tap.
struct Gradient<'a> {
    patches: &'a Patches<'a>,
    /// With pixels of `padded` channels.
    image: &'a [f32],
    padded: usize,
    dy: &'a [f32],
    outputs: usize,
    tap: usize,
}

simd_fn! {
    fn gradient_of_tap(
        s,
        g: &Gradient<'_>,
        zeros: &[f32],
        columns: Range<usize>,
        pixels: &mut Vec<*const f32>,
        dweight: &SharedMut<'_, f32>,
    ) {
        let (patches, m, wide) = (g.patches, g.outputs, columns.len());
        let positions = g.dy.len() / m;
        let mut all = vec![0.0f32; m * wide];
            for start in (0..positions).step_by(DEPTH) {
                let end = positions.min(start + DEPTH);
                pixels.clear();
                pixels.extend((start..end).map(|at| {
                    match patches.pixel(place(patches, at), patches.taps[g.tap]) {
                        Some(pixel) => g.image[pixel * g.padded + columns.start..].as_ptr(),
                        None => zeros.as_ptr(),
                    }
                }));
                let dy = &g.dy[start * m..end * m];
                let mut o = 0;
                while o < m {
                    let mut c = 0;
                    let rows = match m - o {
                        12.. if S::LANES == 16 => 12,
                        8.. if S::LANES == 16 => 8,
                        6.. if S::LANES == 8 => 6,
                        4.. => 4,
                        2.. => 2,
                        _ => 1,
                    };
                    while c < wide {
                        let vectors = if c + 2 * S::LANES <= wide { 2 } else { 1 };
                        let to = &mut all[o * wide + c..];
                        macro_rules! take {
                            ($rows:literal) => {
                                // SAFETY: rows of `dy` have `$rows` elements from `o` on, pixels whole vectors from `c` on.
                                unsafe {
                                    if vectors == 2 {
                                        add_outer::<S, $rows, 2>(s, pixels, c, dy, m, o, to, wide)
                                    } else {
                                        add_outer::<S, $rows, 1>(s, pixels, c, dy, m, o, to, wide)
                                    }
                                }
                            };
                        }
                        match rows {
                            12 => take!(12),
                            8 => take!(8),
                            6 => take!(6),
                            4 => take!(4),
                            2 => take!(2),
                            _ => take!(1),
                        }
                        c += vectors * S::LANES;
                    }
                    o += rows;
                }
            }
        let (k, taps) = (patches.channels, patches.taps.len());
        let count = wide.min(k.saturating_sub(columns.start));
        for (o, sums) in all.chunks_exact(wide).enumerate() {
            let at = (o * taps + g.tap) * k + columns.start;
            // SAFETY: each tap and channel belongs to one task.
            let to = unsafe { dweight.slice(at..at + count) };
            to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
        }
    }
}

/// Adds the sum over positions of `R` elements of `dy` times `N` vectors of the pixels to `to`, rows `wide` apart.
///
/// # Safety
/// There are that many elements in each row of `dy` from `o` on and in each pixel from `c` on.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn add_outer<S: Simd, const R: usize, const N: usize>(
    s: S,
    pixels: &[*const f32],
    c: usize,
    dy: &[f32],
    m: usize,
    o: usize,
    to: &mut [f32],
    wide: usize,
) {
    let mut acc = [[s.zero(); N]; R];
    let mut row = dy.as_ptr().wrapping_add(o);
    for &pixel in pixels {
        // SAFETY: inside of the pixels and of `dy` by the caller.
        unsafe {
            let columns: [S::V; N] =
                std::array::from_fn(|v| s.load_ptr(pixel.add(c + v * S::LANES)));
            for (r, acc) in acc.iter_mut().enumerate() {
                let d = s.splat(*row.add(r));
                for (acc, &column) in acc.iter_mut().zip(&columns) {
                    *acc = s.fma(d, column, *acc);
                }
            }
        }
        row = row.wrapping_add(m);
    }
    for (to, acc) in to.chunks_mut(wide).zip(acc) {
        for (v, acc) in acc.into_iter().enumerate() {
            let to = &mut to[v * S::LANES..(v + 1) * S::LANES];
            let sum = s.add(s.load(to), acc);
            s.store(to, sum);
        }
    }
}
