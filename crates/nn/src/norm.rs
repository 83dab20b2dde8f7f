//! Normalisation layers.

use candle_core::{D, Tensor};

use crate::tensor::{from_vec, fused, slice};
use crate::{Result, train};

/// Root-mean-square norm (Zhang & Sennrich 2019): `x / sqrt(mean(x²) + eps) · weight`.
#[derive(Clone)]
pub struct RmsNorm {
    /// `[width]`
    pub weight: Tensor,
    /// Added to the mean square.
    pub eps: f32,
}

impl RmsNorm {
    /// `[.., width]` → the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if fused(&[x, &self.weight])
            && let (Some(input), Some(weight)) = (slice(x), slice(&self.weight))
        {
            let mut out = vec![0.0; input.len()];
            medley_kernels::rms_norm(&input, &weight, self.eps, &mut out);
            return from_vec(out, x.dims());
        }
        if train::serves(&[x, &self.weight]) {
            return train::rms_norm(x, &self.weight, self.eps);
        }
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        let scaled = x.broadcast_div(&(mean + f64::from(self.eps))?.sqrt()?)?;
        Ok(scaled.broadcast_mul(&self.weight)?)
    }

    /// `x + residual`, and the norm of it: the step between two blocks of a transformer.
    pub fn add_forward(&self, x: Tensor, residual: &Tensor) -> Result<(Tensor, Tensor)> {
        if fused(&[&x, residual, &self.weight])
            && let (Some(a), Some(b), Some(weight)) =
                (slice(&x), slice(residual), slice(&self.weight))
        {
            let mut sum = a.to_vec();
            let mut out = vec![0.0; sum.len()];
            medley_kernels::add_rms_norm(&mut sum, &b, &weight, self.eps, &mut out);
            return Ok((from_vec(sum, x.dims())?, from_vec(out, x.dims())?));
        }
        let sum = (x + residual)?;
        let normed = self.forward(&sum)?;
        Ok((sum, normed))
    }
}

/// Layer norm (Ba et al. 2016) with weight and optional bias.
#[derive(Clone)]
pub struct LayerNorm {
    /// `[width]`
    pub weight: Tensor,
    /// `[width]`
    pub bias: Option<Tensor>,
    /// Added to the variance.
    pub eps: f32,
}

impl LayerNorm {
    /// `[.., width]` → the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut operands = vec![x, &self.weight];
        operands.extend(&self.bias);
        if fused(&operands)
            && let (Some(input), Some(weight)) = (slice(x), slice(&self.weight))
        {
            let bias = self.bias.as_ref().and_then(slice);
            let mut out = vec![0.0; input.len()];
            medley_kernels::layer_norm(&input, &weight, bias.as_deref(), self.eps, &mut out);
            return from_vec(out, x.dims());
        }
        if train::serves(&operands) {
            return train::layer_norm(x, &self.weight, self.bias.as_ref(), self.eps);
        }
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let scaled = centred
            .broadcast_div(&(variance + f64::from(self.eps))?.sqrt()?)?
            .broadcast_mul(&self.weight)?;
        match &self.bias {
            Some(bias) => Ok(scaled.broadcast_add(bias)?),
            None => Ok(scaled),
        }
    }
}
