//! Norms of pictures and of conditioned transformers.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Shape, Tensor};
use medley_kernels as kernels;
use medley_kernels::pool;

use super::{Candle, expect, gradient, numbers, ours, read, result};
use crate::{Error, Result};

/// Group norm (Wu & He 2018) of images `[batch, .., channels]`: each group of consecutive channels of each image
/// becomes `(x − mean) / sqrt(variance + eps) · weight + bias`, both `[channels]`.
///
/// # Errors
/// [`Error::Config`] where the groups do not divide the channels.
pub fn group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: usize,
    eps: f32,
) -> Result<Tensor> {
    let channels = x.dim(D::Minus1)?;
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(Error::Config(format!(
            "{channels} channels are not {groups} groups of one size"
        )));
    }
    expect("a group norm's weight", weight, &[channels])?;
    expect("a group norm's bias", bias, &[channels])?;
    let shape = kernels::GroupNorm {
        batch: x.dim(0)?,
        channels,
        groups,
        eps,
    };
    if ours(&[x, weight, bias]) {
        let op = GroupNorm { shape };
        return Ok(x
            .contiguous()?
            .apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?);
    }
    plain_group_norm(x, weight, bias, &shape)
}

/// Batch norm (Ioffe & Szegedy 2015) by the statistics of the batch itself, as in training: every channel of
/// `[batch, .., channels]` becomes `(x − mean) / sqrt(variance + eps) · weight + bias` over all images.
pub fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    // One image of all pixels, with a group for each channel.
    let channels = x.dim(D::Minus1)?;
    let rows = x.reshape((1, (), channels))?;
    Ok(group_norm(&rows, weight, bias, channels, eps)?.reshape(x.shape())?)
}

/// The same as candle operations.
pub(super) fn plain_group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    shape: &kernels::GroupNorm,
) -> Result<Tensor> {
    let (groups, each) = (shape.groups, shape.channels / shape.groups);
    let grouped = x.reshape((shape.batch, (), groups, each))?;
    let mean = grouped.mean_keepdim(3)?.mean_keepdim(1)?;
    let centred = grouped.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim(3)?.mean_keepdim(1)?;
    let unit = centred.broadcast_div(&(variance + f64::from(shape.eps))?.sqrt()?)?;
    Ok(unit
        .reshape(x.shape())?
        .broadcast_mul(weight)?
        .broadcast_add(bias)?)
}

struct GroupNorm {
    shape: kernels::GroupNorm,
}

impl CustomOp3 for GroupNorm {
    fn name(&self) -> &'static str {
        "group_norm"
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
        let x = numbers(x, xl)?;
        let mut out = kernels::unspecified(x.len());
        kernels::group_norm(&self.shape, x, numbers(w, wl)?, numbers(b, bl)?, &mut out);
        result(out, xl.dims())
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (xs, ws, dy) = (read(x)?, read(w)?, read(&grad)?);
        let (mut dx, mut dw, mut db) = (
            kernels::unspecified(xs.len()),
            vec![0.0; ws.len()],
            vec![0.0; ws.len()],
        );
        kernels::group_norm_backward(&self.shape, &xs, &ws, &dy, &mut dx, &mut dw, &mut db);
        Ok((gradient(dx, x)?, gradient(dw, w)?, gradient(db, b)?))
    }
}

/// Layer norm without weights, then scaled and shifted by each sample's condition (Peebles & Xie 2022, adaLN):
/// `x` `[batch, tokens, width]`, `shift` and `scale` `[batch, width]`; gives `norm(x) · (1 + scale) + shift`.
pub fn modulated_layer_norm(
    x: &Tensor,
    shift: &Tensor,
    scale: &Tensor,
    eps: f32,
) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    expect("a shift", shift, &[batch, width])?;
    expect("a scale", scale, &[batch, width])?;
    if ours(&[x, shift, scale]) && x.elem_count() > 0 {
        let op = Modulated { tokens, width, eps };
        return Ok(x
            .contiguous()?
            .apply_op3(&shift.contiguous()?, &scale.contiguous()?, op)?);
    }
    #[cfg(feature = "cuda")]
    if crate::gpu::ops::serves(&[x, shift, scale]) {
        return crate::gpu::ops::modulated_layer_norm(x, shift, scale, eps);
    }
    plain_modulated(x, shift, scale, eps)
}

/// The same as candle operations.
pub(super) fn plain_modulated(
    x: &Tensor,
    shift: &Tensor,
    scale: &Tensor,
    eps: f32,
) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let unit = centred.broadcast_div(&(variance + f64::from(eps))?.sqrt()?)?;
    Ok(unit
        .broadcast_mul(&(scale + 1.0)?.unsqueeze(1)?)?
        .broadcast_add(&shift.unsqueeze(1)?)?)
}

struct Modulated {
    tokens: usize,
    width: usize,
    eps: f32,
}

impl Modulated {
    /// The weight of sample `i`.
    fn weight(&self, scale: &[f32], i: usize) -> Vec<f32> {
        scale[i * self.width..(i + 1) * self.width]
            .iter()
            .map(|s| 1.0 + s)
            .collect()
    }
}

impl CustomOp3 for Modulated {
    fn name(&self) -> &'static str {
        "modulated_layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        shift: &CpuStorage,
        shift_l: &Layout,
        scale: &CpuStorage,
        scale_l: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        let (x, shift, scale) = (
            numbers(x, xl)?,
            numbers(shift, shift_l)?,
            numbers(scale, scale_l)?,
        );
        let (len, width) = (self.tokens * self.width, self.width);
        let mut out = kernels::unspecified(x.len());
        pool::parallel_chunks(&mut out, len, |i, out| {
            let bias = &shift[i * width..(i + 1) * width];
            let x = &x[i * len..(i + 1) * len];
            kernels::layer_norm(x, &self.weight(scale, i), Some(bias), self.eps, out);
        });
        result(out, xl.dims())
    }

    fn bwd(
        &self,
        x: &Tensor,
        shift: &Tensor,
        scale: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (xs, scales, dy) = (read(x)?, read(scale)?, read(&grad)?);
        let (len, width) = (self.tokens * self.width, self.width);
        let batch = xs.len() / len;
        // What a sample's task writes: its gradient and the sums for its scale and shift.
        let mut parts: Vec<(Vec<f32>, Vec<f32>, Vec<f32>)> = vec![Default::default(); batch];
        pool::parallel_chunks(&mut parts, 1, |i, part| {
            let (mut dx, mut dscale, mut dshift) = (
                kernels::unspecified(len),
                vec![0.0; width],
                vec![0.0; width],
            );
            let at = i * len..(i + 1) * len;
            let weight = self.weight(&scales, i);
            let (x, dy) = (&xs[at.clone()], &dy[at]);
            kernels::layer_norm_backward(
                x,
                &weight,
                self.eps,
                dy,
                &mut dx,
                &mut dscale,
                Some(&mut dshift),
            );
            part[0] = (dx, dscale, dshift);
        });
        let mut joined = (
            Vec::with_capacity(xs.len()),
            Vec::with_capacity(scales.len()),
            Vec::with_capacity(scales.len()),
        );
        for (dx, dscale, dshift) in parts {
            joined.0.extend(dx);
            joined.1.extend(dscale);
            joined.2.extend(dshift);
        }
        Ok((
            gradient(joined.0, x)?,
            gradient(joined.2, shift)?,
            gradient(joined.1, scale)?,
        ))
    }
}
