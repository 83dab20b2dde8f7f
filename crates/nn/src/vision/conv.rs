//! Convolution and transposed convolution.

use std::borrow::Cow;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use medley_kernels as kernels;
use medley_kernels::pool;

use super::{
    Candle, channels_first, channels_last, expect, gradient, image, numbers, ours, read, result,
};
use crate::{Error, Result};

/// How far an image may grow through padding and kernels, so that sizes cannot overflow.
const LARGEST: usize = 1 << 20;

/// Convolution (correlation) of `[batch, height, width, in]` with `weight` `[out, in, kernel, kernel]` as published
/// checkpoints hold it, `stride` steps apart, `padding` zeros on every side, plus `bias` `[out]`; gives
/// `[batch, (height + 2·padding − kernel) / stride + 1, .., out]`.
///
/// # Errors
/// [`Error::Config`] where a kernel is larger than the padded image, [`Error::Shape`] where operands do not fit.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let [batch, height, width, inputs] = image(x)?;
    let [out, _, kh, kw] = image(weight)?;
    expect("a convolution's weight", weight, &[out, inputs, kh, kw])?;
    let shape = kernels::Conv2d {
        batch,
        height,
        width,
        in_channels: inputs,
        out_channels: out,
        kernel: [kh, kw],
        stride: [stride; 2],
        padding: [padding; 2],
    };
    check(&shape, bias, out)?;
    apply(x, weight, bias, shape, false)
}

/// The transposed convolution of `[batch, height, width, in]` with `weight` `[in, out, kernel, kernel]`: gives
/// `[batch, (height − 1)·stride − 2·padding + kernel, .., out]`.
///
/// # Errors
/// As [`conv2d`].
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let [batch, height, width, inputs] = image(x)?;
    let [_, out, kh, kw] = image(weight)?;
    expect(
        "a transposed convolution's weight",
        weight,
        &[inputs, out, kh, kw],
    )?;
    let grown = |size: usize, kernel: usize| {
        (size.max(1) - 1)
            .checked_mul(stride)
            .map(|n| n + kernel)
            .and_then(|n| n.checked_sub(2 * padding))
            .filter(|&n| n > 0 && n <= LARGEST)
            .ok_or_else(|| {
                Error::Config(format!(
                    "a transposed convolution of {size} with kernel {kernel}, stride {stride} and padding {padding} has no size"
                ))
            })
    };
    // The convolution whose input gradient this is.
    let shape = kernels::Conv2d {
        batch,
        height: grown(height, kh)?,
        width: grown(width, kw)?,
        in_channels: out,
        out_channels: inputs,
        kernel: [kh, kw],
        stride: [stride; 2],
        padding: [padding; 2],
    };
    check(&shape, bias, out)?;
    apply(x, weight, bias, shape, true)
}

fn check(shape: &kernels::Conv2d, bias: Option<&Tensor>, out: usize) -> Result<()> {
    if shape.stride[0] == 0 || shape.kernel.contains(&0) {
        return Err(Error::Config(
            "a convolution has a stride or kernel of 0".into(),
        ));
    }
    if [
        shape.height,
        shape.width,
        shape.kernel[0],
        shape.kernel[1],
        shape.padding[0],
    ]
    .iter()
    .any(|&n| n > LARGEST)
    {
        return Err(Error::Config(
            "a convolution is larger than any image".into(),
        ));
    }
    if shape.out_height() == 0 || shape.out_width() == 0 {
        return Err(Error::Config(format!(
            "a kernel of {:?} does not fit into an image of {} × {} padded by {}",
            shape.kernel, shape.height, shape.width, shape.padding[0]
        )));
    }
    match bias {
        Some(bias) => expect("a convolution's bias", bias, &[out]),
        None => Ok(()),
    }
}

fn apply(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    shape: kernels::Conv2d,
    transposed: bool,
) -> Result<Tensor> {
    let mut operands = vec![x, weight];
    operands.extend(bias);
    if !ours(&operands) {
        #[cfg(feature = "cuda")]
        if crate::gpu::ops::serves(&operands) && !transposed && keeps_size(&shape) {
            let side = shape.kernel[0];
            let rows = crate::gpu::ops::seen(x, side)?;
            let columns = side * side * shape.in_channels;
            let matrix = weight
                .permute((0, 2, 3, 1))?
                .reshape((shape.out_channels, columns))?;
            let y = crate::gpu::ops::linear(&rows, &matrix, bias)?;
            let dims = (shape.batch, shape.height, shape.width, shape.out_channels);
            return Ok(y.reshape(dims)?);
        }
        // candle's backward pass of a convolution is very slow on other devices; products are fast everywhere.
        return match !transposed && shape.stride == [1, 1] && !x.device().is_cpu() {
            true => as_product(x, weight, bias, &shape),
            false => plain(x, weight, bias, &shape, transposed),
        };
    }
    let op = Conv { shape, transposed };
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    Ok(match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, op)?,
        None => x.apply_op2(&weight, op)?,
    })
}

/// Whether every pixel has a result, out of a square of odd side around it.
#[cfg(feature = "cuda")]
fn keeps_size(shape: &kernels::Conv2d) -> bool {
    let side = shape.kernel[0];
    shape.kernel == [side; 2]
        && side % 2 == 1
        && shape.padding == [side / 2; 2]
        && shape.stride == [1, 1]
}

/// A convolution of stride 1 as one product: what a kernel sees at each pixel becomes a row.
pub(super) fn as_product(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    shape: &kernels::Conv2d,
) -> Result<Tensor> {
    let ([kh, kw], [down, across]) = (shape.kernel, shape.padding);
    let (height, width) = (shape.out_height(), shape.out_width());
    let padded = x
        .pad_with_zeros(1, down, down)?
        .pad_with_zeros(2, across, across)?;
    let seen = |tap: usize| {
        padded
            .narrow(1, tap / kw, height)?
            .narrow(2, tap % kw, width)?
            .contiguous()
    };
    let rows: Vec<Tensor> = (0..kh * kw).map(seen).collect::<Candle<_>>()?;
    let columns = kh * kw * shape.in_channels;
    let rows = Tensor::cat(&rows, 3)?.reshape(((), columns))?;
    let matrix = weight
        .permute((2, 3, 1, 0))?
        .reshape((columns, shape.out_channels))?;
    let dims = (shape.batch, height, width, shape.out_channels);
    let y = rows.matmul(&matrix)?.reshape(dims)?;
    Ok(match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    })
}

/// The same as candle operations.
pub(super) fn plain(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    shape: &kernels::Conv2d,
    transposed: bool,
) -> Result<Tensor> {
    let x = channels_first(x)?;
    let (stride, padding) = (shape.stride[0], shape.padding[0]);
    let y = if transposed {
        x.conv_transpose2d(weight, padding, 0, stride, 1)?
    } else {
        x.conv2d(weight, padding, stride, 1, 1)?
    };
    let y = channels_last(&y)?;
    Ok(match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    })
}

struct Conv {
    /// Of the convolution, or of that whose input gradient this is.
    shape: kernels::Conv2d,
    transposed: bool,
}

impl Conv {
    fn taps(&self) -> usize {
        self.shape.kernel[0] * self.shape.kernel[1]
    }

    /// `[out, in, taps]` → `[out, taps, in]`, as kernels take it.
    fn turned<'a>(&self, weight: &'a [f32]) -> Cow<'a, [f32]> {
        turn(weight, self.shape.in_channels, self.taps())
    }

    fn forward(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Candle<(CpuStorage, Shape)> {
        let (s, weight) = (&self.shape, self.turned(weight));
        if self.transposed {
            let dims = [s.batch, s.height, s.width, s.in_channels];
            let mut y = kernels::unspecified(dims.iter().product());
            kernels::conv2d_backward_input(s, &weight, x, &mut y);
            if let Some(bias) = bias {
                add_rows(&mut y, bias);
            }
            return result(y, &dims);
        }
        let dims = [s.batch, s.out_height(), s.out_width(), s.out_channels];
        let mut y = kernels::unspecified(dims.iter().product());
        kernels::conv2d(s, x, &weight, bias, &mut y);
        result(y, &dims)
    }

    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        grad: &Tensor,
    ) -> Candle<[Option<Tensor>; 3]> {
        let grad = grad.contiguous()?;
        let (xs, ws, dy) = (read(x)?, read(weight)?, read(&grad)?);
        let mut dx = None;
        if x.track_op() {
            let weight = self.turned(&ws);
            let mut out = kernels::unspecified(xs.len());
            if self.transposed {
                kernels::conv2d(&self.shape, &dy, &weight, None, &mut out);
            } else {
                kernels::conv2d_backward_input(&self.shape, &weight, &dy, &mut out);
            }
            dx = gradient(out, x)?;
        }
        let (mut dweight, mut dbias) = (None, None);
        if weight.track_op() || bias.is_some_and(Tensor::track_op) {
            let mut sums = vec![0.0; ws.len()];
            let mut bias_sums = bias.map(|b| vec![0.0; b.elem_count()]);
            if self.transposed {
                kernels::conv2d_backward_weight(&self.shape, &dy, &xs, &mut sums, None);
                if let Some(to) = &mut bias_sums {
                    kernels::sum_rows(&dy, to);
                }
            } else {
                let to = bias_sums.as_deref_mut();
                kernels::conv2d_backward_weight(&self.shape, &xs, &dy, &mut sums, to);
            }
            let sums = match turn(&sums, self.taps(), self.shape.in_channels) {
                Cow::Borrowed(_) => sums,
                Cow::Owned(turned) => turned,
            };
            dweight = gradient(sums, weight)?;
            if let (Some(bias), Some(sums)) = (bias, bias_sums) {
                dbias = gradient(sums, bias)?;
            }
        }
        Ok([dx, dweight, dbias])
    }
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        self.forward(numbers(x, xl)?, numbers(w, wl)?, None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.backward(x, w, None, grad)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        self.forward(numbers(x, xl)?, numbers(w, wl)?, Some(numbers(b, bl)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.backward(x, w, Some(b), grad)?;
        Ok((dx, dw, db))
    }
}

/// `[.., rows, cols]` → `[.., cols, rows]`; nothing moves where one of them is 1.
fn turn(values: &[f32], rows: usize, cols: usize) -> Cow<'_, [f32]> {
    let each = rows * cols;
    if rows <= 1 || cols <= 1 || values.is_empty() {
        return Cow::Borrowed(values);
    }
    let mut out = kernels::unspecified(values.len());
    pool::parallel_chunks(&mut out, each, |i, out| {
        let part = &values[i * each..(i + 1) * each];
        for (c, out) in out.chunks_exact_mut(rows).enumerate() {
            for (r, out) in out.iter_mut().enumerate() {
                *out = part[r * cols + c];
            }
        }
    });
    Cow::Owned(out)
}

/// Adds `row` to every row.
fn add_rows(rows: &mut [f32], row: &[f32]) {
    for rows in rows.chunks_exact_mut(row.len().max(1)) {
        rows.iter_mut().zip(row).for_each(|(y, b)| *y += b);
    }
}
