//! Layers with weights, by the names and layouts of PyTorch's modules.

use candle_core::Tensor;

use super::{batch_norm, conv_transpose2d, conv2d, group_norm};
use crate::weights::Vars;
use crate::{Result, Weights};

/// A convolution of images with channels last; see [`conv2d`].
#[derive(Clone)]
pub struct Conv2d {
    /// `[out, in, kernel, kernel]`
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
    /// Steps between positions.
    pub stride: usize,
    /// Zeros on every side.
    pub padding: usize,
}

impl Conv2d {
    /// `name.weight` and, where it is there, `name.bias`; padded so that a stride of 1 keeps the size.
    pub fn new(
        weights: &Weights,
        name: &str,
        [inputs, out]: [usize; 2],
        kernel: usize,
    ) -> Result<Self> {
        Ok(Self {
            weight: weights.tensor(&format!("{name}.weight"), &[out, inputs, kernel, kernel])?,
            bias: weights.optional(&format!("{name}.bias"), &[out])?,
            stride: 1,
            padding: kernel / 2,
        })
    }

    /// The same with another stride and padding.
    pub fn stepping(self, stride: usize, padding: usize) -> Self {
        Self {
            stride,
            padding,
            ..self
        }
    }

    /// `[batch, height, width, in]` → `[batch, .., .., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv2d(
            x,
            &self.weight,
            self.bias.as_ref(),
            self.stride,
            self.padding,
        )
    }
}

/// A transposed convolution; see [`conv_transpose2d`].
#[derive(Clone)]
pub struct ConvTranspose2d {
    /// `[in, out, kernel, kernel]`
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
    /// Steps between positions of the output.
    pub stride: usize,
    /// Rows and columns taken off every side.
    pub padding: usize,
}

impl ConvTranspose2d {
    /// `name.weight` and, where it is there, `name.bias`.
    pub fn new(
        weights: &Weights,
        name: &str,
        [inputs, out]: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        Ok(Self {
            weight: weights.tensor(&format!("{name}.weight"), &[inputs, out, kernel, kernel])?,
            bias: weights.optional(&format!("{name}.bias"), &[out])?,
            stride,
            padding,
        })
    }

    /// `[batch, height, width, in]` → `[batch, .., .., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv_transpose2d(
            x,
            &self.weight,
            self.bias.as_ref(),
            self.stride,
            self.padding,
        )
    }
}

/// Group norm with its weights; see [`group_norm`].
#[derive(Clone)]
pub struct GroupNorm {
    /// `[channels]`
    pub weight: Tensor,
    /// `[channels]`
    pub bias: Tensor,
    /// Groups of consecutive channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
}

impl GroupNorm {
    /// `name.weight` and `name.bias`.
    pub fn new(
        weights: &Weights,
        name: &str,
        channels: usize,
        groups: usize,
        eps: f32,
    ) -> Result<Self> {
        Ok(Self {
            weight: weights.tensor(&format!("{name}.weight"), &[channels])?,
            bias: weights.tensor(&format!("{name}.bias"), &[channels])?,
            groups,
            eps,
        })
    }

    /// `[batch, .., channels]` → the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        group_norm(x, &self.weight, &self.bias, self.groups, self.eps)
    }
}

/// Batch norm with its weights and the statistics of training (Ioffe & Szegedy 2015).
#[derive(Clone)]
pub struct BatchNorm {
    /// `[channels]`
    pub weight: Tensor,
    /// `[channels]`
    pub bias: Tensor,
    /// `[channels]`: a running mean, no parameter.
    pub running_mean: Tensor,
    /// `[channels]`: a running variance, no parameter.
    pub running_var: Tensor,
    /// Added to the variance.
    pub eps: f32,
}

/// Mean and variance (divided by one less than the pixels, as running statistics are) of a batch, `[channels]` each.
pub type BatchStatistics = (Tensor, Tensor);

impl BatchNorm {
    /// `name.weight`, `name.bias`, `name.running_mean` and `name.running_var`.
    pub fn new(weights: &Weights, name: &str, channels: usize, eps: f32) -> Result<Self> {
        let part = |part: &str| weights.tensor(&format!("{name}.{part}"), &[channels]);
        Ok(Self {
            weight: part("weight")?,
            bias: part("bias")?,
            running_mean: part("running_mean")?.detach(),
            running_var: part("running_var")?.detach(),
            eps,
        })
    }

    /// `[batch, .., channels]` → the same shape, by the running statistics.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let scale = (&self.running_var + f64::from(self.eps))?.sqrt()?;
        let scale = (&self.weight / scale)?;
        let shift = (&self.bias - (&self.running_mean * &scale)?)?;
        Ok(x.broadcast_mul(&scale)?.broadcast_add(&shift)?)
    }

    /// The same by the batch's own statistics, which are given beside, for the caller to move the running ones by.
    pub fn forward_train(&self, x: &Tensor) -> Result<(Tensor, BatchStatistics)> {
        let channels = self.weight.dim(0)?;
        let rows = x.detach().reshape(((), channels))?;
        let count = rows.dim(0)? as f64;
        let mean = rows.mean(0)?;
        let spread = rows.broadcast_sub(&mean)?.sqr()?.sum(0)?;
        let variance = (spread / (count - 1.0).max(1.0))?;
        let y = batch_norm(x, &self.weight, &self.bias, self.eps)?;
        Ok((y, (mean, variance)))
    }
}

/// Moves the running statistics of `norms` (names of layers) a part of `momentum` of the way to those of a batch.
///
/// # Errors
/// [`Error::MissingTensor`](crate::Error::MissingTensor) where there is no such norm.
pub fn move_statistics(
    vars: &Vars,
    norms: &[String],
    seen: &[BatchStatistics],
    momentum: f64,
) -> Result<()> {
    for (norm, (mean, variance)) in norms.iter().zip(seen) {
        for (end, batch) in [("running_mean", mean), ("running_var", variance)] {
            let name = format!("{norm}.{end}");
            let Some(var) = vars.get(&name) else {
                return Err(crate::Error::MissingTensor {
                    path: "(training)".into(),
                    name,
                });
            };
            let old = (var.as_detached_tensor() * (1.0 - momentum))?;
            var.set(&(old + (batch.detach() * momentum)?)?)?;
        }
    }
    Ok(())
}
