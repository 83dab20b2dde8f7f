//! Convolutions along sequences, which are channels last: `[tokens, channels]`. They keep the length; what lies beyond
//! the ends is zero.

use candle_core::Tensor;

use crate::tensor::{from_vec, slice};
use crate::weights::pack_f32;
use crate::{Error, Linear, Result, Weights};

/// Every output channel sees every input channel.
#[derive(Clone)]
pub struct Conv1d {
    /// `[out, taps · in]`
    linear: Linear,
    taps: usize,
    channels: usize,
}

/// Each channel is seen by itself alone.
#[derive(Clone)]
pub struct DepthwiseConv1d {
    /// `[taps, channels]`
    weight: Vec<f32>,
    bias: Vec<f32>,
    dilation: usize,
}

impl Conv1d {
    /// Weight `[out, in, taps]` and bias `[out]`; `taps` is odd.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::Shape`].
    pub fn new(weights: &Weights, name: &str, sizes: [usize; 2], taps: usize) -> Result<Self> {
        let [channels, out] = sizes;
        let stored = weights.values(&format!("{name}.weight"), &[out, channels, taps])?;
        let bias = weights.values(&format!("{name}.bias"), &[out])?;
        let mut rows = vec![0.0; stored.len()];
        for (row, stored) in rows
            .chunks_exact_mut(taps * channels)
            .zip(stored.chunks_exact(taps * channels))
        {
            for (i, &value) in stored.iter().enumerate() {
                row[i % taps * channels + i / taps] = value;
            }
        }
        let weight = pack_f32(&rows, out, taps * channels)?;
        Ok(Self {
            linear: Linear::Packed {
                weight: weight.into(),
                bias: Some(bias.into()),
            },
            taps,
            channels,
        })
    }

    /// `[tokens, in]` → `[tokens, out]`
    ///
    /// # Errors
    /// [`Error::Config`] where `x` has other channels or is no `f32` tensor of the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.taps == 1 {
            return self.linear.forward(x);
        }
        let tokens = check(x, self.channels)?;
        let x = x.contiguous()?;
        let x = slice(&x).ok_or_else(on_cpu)?;
        let (reach, width) = (self.taps / 2, self.channels);
        let mut seen = vec![0.0; tokens * self.taps * width];
        for (t, row) in seen.chunks_exact_mut(self.taps * width).enumerate() {
            for (k, part) in row.chunks_exact_mut(width).enumerate() {
                if let Some(from) = (t + k).checked_sub(reach).filter(|&from| from < tokens) {
                    part.copy_from_slice(&x[from * width..(from + 1) * width]);
                }
            }
        }
        self.linear
            .forward(&from_vec(seen, &[tokens, self.taps * width])?)
    }
}

impl DepthwiseConv1d {
    /// Weight `[channels, 1, taps]` and bias `[channels]`; `taps` is odd.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::Shape`].
    pub fn new(
        weights: &Weights,
        name: &str,
        channels: usize,
        taps: usize,
        dilation: usize,
    ) -> Result<Self> {
        let stored = weights.values(&format!("{name}.weight"), &[channels, 1, taps])?;
        let weight = (0..taps * channels)
            .map(|i| stored[i % channels * taps + i / channels])
            .collect();
        Ok(Self {
            weight,
            bias: weights.values(&format!("{name}.bias"), &[channels])?,
            dilation,
        })
    }

    /// `[tokens, channels]` → the same shape.
    ///
    /// # Errors
    /// As [`Conv1d::forward`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        check(x, self.bias.len())?;
        let contiguous = x.contiguous()?;
        let input = slice(&contiguous).ok_or_else(on_cpu)?;
        let mut out = vec![0.0; input.len()];
        medley_kernels::depthwise_conv1d(&input, &self.weight, &self.bias, self.dilation, &mut out);
        from_vec(out, x.dims())
    }
}

/// The number of tokens.
fn check(x: &Tensor, channels: usize) -> Result<usize> {
    match x.dims() {
        &[tokens, found] if found == channels => Ok(tokens),
        other => Err(Error::Config(format!(
            "a convolution over {channels} channels was given {other:?}"
        ))),
    }
}

fn on_cpu() -> Error {
    Error::Config("convolutions along sequences need f32 on the CPU".into())
}
