//! Operations of picture models, with gradients.
//!
//! Images are channels last: `[batch, height, width, channels]`. Where every operand is `f32` on the CPU an operation
//! is one call of our kernels, forward and backward, whether gradients are tracked or not; elsewhere it is the plain
//! composition of candle operations (`plain_*`), which is also its test.

mod attend;
mod conv;
mod frames;
mod layers;
mod norm;
mod pointwise;
mod resize;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, DType, Device, Layout, Tensor};

pub use attend::{Angles, Axis, Heads, cross_attention, self_attention};
pub use conv::{conv_transpose2d, conv2d};
pub use frames::{beside, swapped};
pub use layers::{BatchNorm, BatchStatistics, Conv2d, ConvTranspose2d, GroupNorm, move_statistics};
pub use norm::{batch_norm, group_norm, modulated_layer_norm};
pub use pointwise::{activation, add_gated, leaky_relu, leaky_relu_bias, scale_channels};
pub use resize::{
    average_pool, pixel_shuffle, pixel_unshuffle, upsample_bilinear, upsample_nearest,
};

use medley_kernels::optim::add_scaled;

use crate::tensor::{Slice, slice};
use crate::train::gradient_of;
use crate::{Error, Result};

pub(crate) type Candle<T> = candle_core::Result<T>;

/// Whether our kernels serve these operands; gradients are no hindrance.
fn ours(operands: &[&Tensor]) -> bool {
    operands
        .iter()
        .all(|x| x.dtype() == DType::F32 && x.device().is_cpu())
}

/// The numbers of an operand of a custom operation.
fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Candle<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => candle_core::bail!("a vision operation was given numbers that are not contiguous f32"),
    }
}

/// The numbers of a tensor of a backward pass.
fn read(x: &Tensor) -> Candle<Slice<'_>> {
    match slice(x) {
        Some(values) => Ok(values),
        None => candle_core::bail!("a gradient is not contiguous f32 on the CPU"),
    }
}

/// The gradient of an operand: into the buffer of the running backward pass where the operand is a parameter.
fn gradient(values: Vec<f32>, operand: &Tensor) -> Candle<Option<Tensor>> {
    if operand.is_variable() {
        return gradient_of(operand, |sum, add| {
            add_scaled(sum, &values, 1.0, !add);
        });
    }
    if !operand.track_op() {
        return Ok(None);
    }
    Tensor::from_vec(values, operand.shape(), &Device::Cpu).map(Some)
}

/// A result that a custom operation hands to candle.
fn result(values: Vec<f32>, shape: &[usize]) -> Candle<(CpuStorage, candle_core::Shape)> {
    Ok((CpuStorage::F32(values), shape.into()))
}

/// `[batch, height, width, channels]` of an image.
fn image(x: &Tensor) -> Result<[usize; 4]> {
    x.dims().try_into().map_err(|_| {
        Error::Config(format!(
            "an image must have 4 dimensions, not {:?}",
            x.dims()
        ))
    })
}

/// Fails unless `x` has this shape.
fn expect(what: &str, x: &Tensor, shape: &[usize]) -> Result<()> {
    if x.dims() == shape {
        return Ok(());
    }
    Err(Error::Shape {
        name: what.to_owned(),
        found: x.dims().to_vec(),
        expected: shape.to_vec(),
    })
}

/// Images with channels first, as files and samplers have them, `[b, c, h, w]` → `[b, h, w, c]`.
pub fn channels_last(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 2, 3, 1))?.contiguous()?)
}

/// `[b, h, w, c]` → `[b, c, h, w]`.
pub fn channels_first(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 3, 1, 2))?.contiguous()?)
}
