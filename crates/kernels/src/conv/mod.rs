//! Convolution, channels last: in two dimensions forward and backward, along sequences ([`sequence`]) forward.
//!
//! Pixels are read where they lie ([`direct`]); kernels of 3 × 3 taps one step apart take fewer products ([`winograd`]);
//! those of one tap are matrix products. Every output is reduced over the taps and channels, and every weight's gradient
//! over the positions, in one order.
#![allow(unsafe_code)] // tasks write disjoint parts of one slice

mod direct;
mod sequence;
mod winograd;

use crate::dense::{Matrix, product};
use crate::pool::{self, SharedMut};
use crate::rowwise::{for_ranges, same_len, sum_over_rows};
use crate::simd::simd_fn;
use crate::{Isa, isa};
pub use sequence::{Conv1d, Conv1dParams};

/// Positions and channels that a task of the gradient of weights takes at a time. The first makes
/// the order of sums.
const DEPTH: usize = 384;
const CHANNELS: usize = 512;

/// Shapes of a convolution. Images are batch × height × width × channels, weights
/// `out_channels` × kernel height × kernel width × `in_channels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps down and to the right, at least 1.
    pub stride: [usize; 2],
    /// Zeros above and below, left and right of the image.
    pub padding: [usize; 2],
}

impl Conv2d {
    /// Rows of an output image; 0 where the kernel is higher than the padded image.
    pub fn out_height(&self) -> usize {
        self.out_size(0, self.height)
    }

    /// Columns of an output image.
    pub fn out_width(&self) -> usize {
        self.out_size(1, self.width)
    }

    fn out_size(&self, axis: usize, size: usize) -> usize {
        assert!(
            self.stride[axis] > 0 && self.kernel[axis] > 0,
            "a stride or kernel of 0"
        );
        match (size + 2 * self.padding[axis]).checked_sub(self.kernel[axis]) {
            Some(room) => room / self.stride[axis] + 1,
            None => 0,
        }
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn positions(&self) -> usize {
        self.batch * self.out_height() * self.out_width()
    }

    /// Whether the patches are the image.
    fn pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// # Panics
    /// When a slice has another length.
    fn check(&self, x: usize, weight: usize, y: usize) {
        same_len(
            "x",
            x,
            self.batch * self.height * self.width * self.in_channels,
        );
        same_len(
            "weight",
            weight,
            self.out_channels * self.taps() * self.in_channels,
        );
        same_len("y", y, self.positions() * self.out_channels);
    }
}

/// Where patches come from: for position (b, i, j) of `rows` × `cols` and tap (u, v), the element
/// `(i * step[0] + u.0, j * step[1] + v.1)` of image b, or zeros outside of it.
struct Patches<'a> {
    image: &'a [f32],
    height: usize,
    width: usize,
    channels: usize,
    rows: usize,
    cols: usize,
    step: [usize; 2],
    /// Rows and columns of the image from where a position's patch is counted.
    taps: &'a [[isize; 2]],
}

/// The taps of a kernel, row by row, from the first row and column of a position's patch.
fn kernel_taps(shape: &Conv2d) -> Vec<[isize; 2]> {
    let each = |t: usize| {
        let (u, v) = (t / shape.kernel[1], t % shape.kernel[1]);
        [
            u as isize - shape.padding[0] as isize,
            v as isize - shape.padding[1] as isize,
        ]
    };
    (0..shape.taps()).map(each).collect()
}

/// `y = x * weight + bias`: correlation, as the field calls convolution.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn conv2d(shape: &Conv2d, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    shape.check(x.len(), weight.len(), y.len());
    if let Some(bias) = bias {
        same_len("bias", bias.len(), shape.out_channels);
    }
    let (n, m) = (shape.positions(), shape.out_channels);
    if y.is_empty() {
        return;
    }
    let per = shape.taps() * shape.in_channels;
    let weights = Matrix::new(weight, m, per).t();
    let isa = isa();
    if shape.pointwise() {
        product(isa, Matrix::new(x, n, per), weights, y, false);
        if let Some(bias) = bias {
            let y = SharedMut::new(y);
            for_ranges(n, m, |range| {
                // SAFETY: each row is written by one task.
                add_rows(
                    isa,
                    unsafe { y.slice(range.start * m..range.end * m) },
                    bias,
                );
            });
        }
        return;
    }
    let taps = kernel_taps(shape);
    let patches = Patches {
        image: x,
        height: shape.height,
        width: shape.width,
        channels: shape.in_channels,
        rows: shape.out_height(),
        cols: shape.out_width(),
        step: shape.stride,
        taps: &taps,
    };
    let places = direct::Places {
        height: shape.out_height(),
        width: shape.out_width(),
        step: [1, 1],
        first: [0, 0],
    };
    let (batch, y) = (shape.batch, SharedMut::new(y));
    if winograd::serves(&patches, m) {
        let taps = by_tap(weight, shape.taps(), shape.in_channels);
        let kernels = winograd::Kernels::new(isa, &taps, shape.in_channels, m);
        return winograd::forward(isa, &patches, batch, &kernels, bias, &places, &y);
    }
    let panels = direct::Panels::of_columns(isa, weight, per, m);
    direct::forward(isa, &patches, n, &panels, bias, &places, &y);
}

/// Weights `[outputs, taps, inputs]` as a matrix `[inputs, outputs]` for each tap.
fn by_tap(weight: &[f32], taps: usize, inputs: usize) -> Vec<f32> {
    let outputs = weight.len() / (taps * inputs).max(1);
    let mut all = vec![0.0; weight.len()];
    pool::parallel_chunks(&mut all, (inputs * outputs).max(1), |tap, matrix| {
        for (o, weight) in weight.chunks_exact(taps * inputs).enumerate() {
            let weight = &weight[tap * inputs..(tap + 1) * inputs];
            for (to, &w) in matrix[o..].iter_mut().step_by(outputs).zip(weight) {
                *to = w;
            }
        }
    });
    all
}

simd_fn! {
    /// Adds a row to each of the rows.
    fn add_rows(s, rows: &mut [f32], row: &[f32]) {
        for rows in rows.chunks_exact_mut(row.len()) {
            for (to, x) in rows.chunks_mut(S::LANES).zip(row.chunks(S::LANES)) {
                let sum = s.add(s.load_part(to, 0.0), s.load_part(x, 0.0));
                s.store_part(to, sum);
            }
        }
    }
}

/// The gradient of the input of [`conv2d`]: writes it to `dx`, from that of the output.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn conv2d_backward_input(shape: &Conv2d, weight: &[f32], dy: &[f32], dx: &mut [f32]) {
    shape.check(dx.len(), weight.len(), dy.len());
    if dx.is_empty() {
        return;
    }
    if shape.pointwise() {
        let (n, m, k) = (shape.positions(), shape.out_channels, shape.in_channels);
        let weights = Matrix::new(weight, m, k);
        return product(isa(), Matrix::new(dy, n, m), weights, dx, false);
    }
    // Input rows that are the same modulo the stride meet the same rows of the kernel.
    let (isa, dx) = (isa(), SharedMut::new(dx));
    for first_row in 0..shape.stride[0].min(shape.height) {
        for first_col in 0..shape.stride[1].min(shape.width) {
            phase(isa, shape, weight, dy, &dx, [first_row, first_col]);
        }
    }
}

/// The gradient of the input at the rows and columns `first`, `first + stride` and so on.
fn phase(
    isa: Isa,
    shape: &Conv2d,
    weight: &[f32],
    dy: &[f32],
    dx: &SharedMut<'_, f32>,
    first: [usize; 2],
) {
    let (m, k) = (shape.out_channels, shape.in_channels);
    let [rows, cols] = [
        (shape.height - first[0]).div_ceil(shape.stride[0]),
        (shape.width - first[1]).div_ceil(shape.stride[1]),
    ];
    // Row y of the input is row (y + padding - u) / stride of the output at tap u.
    let along = |axis: usize| {
        let stride = shape.stride[axis];
        let start = first[axis] + shape.padding[axis];
        (0..shape.kernel[axis])
            .rev()
            .filter(move |u| u % stride == start % stride)
            .map(move |u| (u, (start as isize - u as isize) / stride as isize))
    };
    let (mut taps, mut kernel) = (Vec::new(), Vec::new());
    for (u, row) in along(0) {
        for (v, col) in along(1) {
            taps.push([row, col]);
            kernel.push(u * shape.kernel[1] + v);
        }
    }
    // The weights of these taps, tap by tap.
    let mut turned = vec![0.0; taps.len() * m * k];
    pool::parallel_chunks(&mut turned, (m * k).max(1), |i, turned| {
        for (o, to) in turned.chunks_exact_mut(k).enumerate() {
            let at = (o * shape.taps() + kernel[i]) * k;
            to.copy_from_slice(&weight[at..at + k]);
        }
    });
    let per = taps.len() * m;
    let patches = Patches {
        image: dy,
        height: shape.out_height(),
        width: shape.out_width(),
        channels: m,
        rows,
        cols,
        step: [1, 1],
        taps: &taps,
    };
    let places = direct::Places {
        height: shape.height,
        width: shape.width,
        step: shape.stride,
        first,
    };
    let (batch, n) = (shape.batch, shape.batch * rows * cols);
    if winograd::serves(&patches, k) {
        let kernels = winograd::Kernels::new(isa, &turned, m, k);
        return winograd::forward(isa, &patches, batch, &kernels, None, &places, dx);
    }
    let panels = direct::Panels::of_rows(isa, &turned, per, k);
    direct::forward(isa, &patches, n, &panels, None, &places, dx);
}

/// The gradients of weight and bias of [`conv2d`]: adds them to `dweight` and `dbias`.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn conv2d_backward_weight(
    shape: &Conv2d,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
    dbias: Option<&mut [f32]>,
) {
    shape.check(x.len(), dweight.len(), dy.len());
    let (n, m, k) = (shape.positions(), shape.out_channels, shape.in_channels);
    let isa = isa();
    if let Some(dbias) = dbias {
        same_len("dbias", dbias.len(), m);
        sum_over_rows(n, dbias, |range, sums| {
            for dy in dy[range.start * m..range.end * m].chunks_exact(m) {
                add_rows(isa, sums, dy);
            }
        });
    }
    if dweight.is_empty() || n == 0 {
        return;
    }
    if shape.pointwise() {
        let dy = Matrix::new(dy, n, m).t();
        return product(isa, dy, Matrix::new(x, n, k), dweight, true);
    }
    let taps = kernel_taps(shape);
    let patches = Patches {
        image: x,
        height: shape.height,
        width: shape.width,
        channels: k,
        rows: shape.out_height(),
        cols: shape.out_width(),
        step: shape.stride,
        taps: &taps,
    };
    direct::weight_gradient(isa, &patches, dy, m, dweight);
}

#[cfg(test)]
mod tests;
