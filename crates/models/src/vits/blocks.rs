//! The blocks that a VITS voice is built of, over rows of numbers, channels last.

use std::ops::Range;

use medley_kernels::{Activation, Conv1d, Conv1dParams, activate, layer_norm};
use medley_nn::Weights;

use crate::{ConfigError, Result};

/// Added to the variance in every norm.
const EPS: f32 = 1e-5;

/// A part of a sequence.
#[derive(Clone)]
pub(super) struct Part<'a> {
    /// Its rows.
    pub(super) data: &'a [f32],
    /// Which rows these are.
    pub(super) rows: Range<usize>,
    /// Rows of the whole sequence.
    pub(super) length: usize,
}

impl<'a> Part<'a> {
    /// Some of its rows, of this width.
    pub(super) fn slice(&self, rows: Range<usize>, width: usize) -> &'a [f32] {
        let first = self.rows.start;
        &self.data[(rows.start - first) * width..(rows.end - first) * width]
    }
}

/// A convolution that keeps the length.
pub(super) struct Conv {
    kernel: Conv1d,
    bias: Option<Vec<f32>>,
    dilation: usize,
    padding: usize,
}

impl Conv {
    /// Weight `[out, in, taps]`, and the bias where there is one. `sizes` are the inputs, and the outputs where not any
    /// number will do.
    pub(super) fn new(
        weights: &Weights,
        name: &str,
        sizes: (usize, Option<usize>),
        dilation: usize,
    ) -> Result<Self> {
        Self::packed(weights, name, sizes, dilation, false)
    }

    /// The same for many rows, which have no use for the last bits.
    pub(super) fn for_speed(
        weights: &Weights,
        name: &str,
        sizes: (usize, Option<usize>),
        dilation: usize,
    ) -> Result<Self> {
        Self::packed(weights, name, sizes, dilation, true)
    }

    fn packed(
        weights: &Weights,
        name: &str,
        sizes: (usize, Option<usize>),
        dilation: usize,
        for_speed: bool,
    ) -> Result<Self> {
        let weight = format!("{name}.weight");
        let [out, inputs, taps] = three(weights, &weight)?;
        let other = inputs != sizes.0 || sizes.1.is_some_and(|wanted| out != wanted);
        if other || taps % 2 == 0 {
            let expected = format!("{:?} x {} x an odd number are needed", sizes.1, sizes.0);
            let found = format!("{out} x {inputs} x {taps}");
            return Err(ConfigError::invalid(&weight, found, &expected));
        }
        let stored = weights.values(&weight, &[out, inputs, taps])?;
        let bias = format!("{name}.bias");
        let at = |o: usize, i: usize, k: usize| stored[(o * inputs + i) * taps + k];
        let sizes = [out, inputs, taps];
        Ok(Self {
            kernel: match for_speed {
                true => Conv1d::pack_for_speed(sizes, at),
                false => Conv1d::pack(sizes, at),
            },
            bias: match weights.has(&bias) {
                true => Some(weights.values(&bias, &[out])?),
                false => None,
            },
            dilation,
            padding: taps.saturating_sub(1) * dilation / 2,
        })
    }

    pub(super) fn outputs(&self) -> usize {
        self.kernel.outputs()
    }

    /// Rows that an output sees before and behind its own.
    pub(super) fn reach(&self) -> usize {
        self.padding
    }

    /// Rows `rows` of the result for a sequence, of which `x` is a part that has every row that they see. It is written to
    /// `out`, or added to what stands there.
    pub(super) fn part(
        &self,
        x: &Part<'_>,
        rows: Range<usize>,
        slope: Option<f32>,
        add: bool,
        out: &mut [f32],
    ) {
        let sees = rows.start.saturating_sub(self.padding)..(rows.end + self.padding).min(x.length);
        let params = Conv1dParams {
            padding: [
                self.padding - (rows.start - sees.start),
                self.padding - (sees.end - rows.end),
            ],
            ..self.params(slope, add)
        };
        let seen = x.slice(sees, self.kernel.inputs());
        self.kernel.forward(seen, &params, out);
    }

    fn params(&self, slope: Option<f32>, add: bool) -> Conv1dParams<'_> {
        Conv1dParams {
            dilation: self.dilation,
            padding: [self.padding; 2],
            slope,
            bias: self.bias.as_deref(),
            add,
            ..Conv1dParams::default()
        }
    }

    /// `[rows, in]` → `[rows, out]`
    pub(super) fn forward(&self, x: &[f32]) -> Vec<f32> {
        self.after(x, None)
    }

    /// The same of what a leaky rectifier of this slope gives.
    pub(super) fn after(&self, x: &[f32], slope: Option<f32>) -> Vec<f32> {
        let params = self.params(slope, false);
        let rows = x.len() / self.kernel.inputs().max(1);
        let mut out = vec![0.0; self.kernel.length(rows, &params) * self.outputs()];
        self.kernel.forward(x, &params, &mut out);
        out
    }

    /// The same, added to `out`.
    pub(super) fn add(&self, x: &[f32], slope: Option<f32>, out: &mut [f32]) {
        self.kernel.forward(x, &self.params(slope, true), out);
    }
}

/// A convolution that stretches: every row becomes `stride` of them.
pub(super) struct Upsample {
    /// Over the rows that meet at a row of the input; its outputs are `stride` rows.
    kernel: Conv1d,
    bias: Vec<f32>,
    meet: usize,
    stride: usize,
    padding: usize,
}

impl Upsample {
    /// Weight `[in, out, taps]` and bias `[out]`.
    pub(super) fn new(weights: &Weights, name: &str, inputs: usize, stride: usize) -> Result<Self> {
        let weight = format!("{name}.weight");
        let [found, out, taps] = three(weights, &weight)?;
        if found != inputs || taps < stride {
            let expected = format!("it takes {inputs}, with at least {stride} taps");
            let found = format!("{found}, with {taps} taps");
            return Err(ConfigError::invalid(&weight, found, &expected));
        }
        let stored = weights.values(&weight, &[inputs, out, taps])?;
        let bias = weights.values(&format!("{name}.bias"), &[out])?;
        let (stride, meet) = (stride.max(1), taps.div_ceil(stride.max(1)));
        let at = |o: usize, i: usize, k: usize| {
            // Output row `stride · t + phase` sees input row `t - age` at tap `phase + age · stride`.
            let (phase, age) = (o / out, meet - 1 - k);
            let tap = phase + age * stride;
            if tap < taps {
                stored[(i * out + o % out) * taps + tap]
            } else {
                0.0
            }
        };
        Ok(Self {
            kernel: Conv1d::pack_for_speed([stride * out, inputs, meet], at),
            bias: (0..stride).flat_map(|_| bias.iter().copied()).collect(),
            meet,
            stride,
            padding: taps.saturating_sub(stride) / 2,
        })
    }

    pub(super) fn inputs(&self) -> usize {
        self.kernel.inputs()
    }

    pub(super) fn outputs(&self) -> usize {
        self.kernel.outputs() / self.stride
    }

    /// Rows that `rows` of them become.
    pub(super) fn length(&self, rows: usize) -> usize {
        rows * self.stride
    }

    /// Rows `rows` of the result for all of `x`, which a leaky rectifier of this slope goes over first. They stand in
    /// `room`, which is used again, from the number given back on.
    pub(super) fn part(
        &self,
        x: &[f32],
        rows: Range<usize>,
        slope: f32,
        room: &mut Vec<f32>,
    ) -> usize {
        let (inputs, outputs) = (self.kernel.inputs(), self.kernel.outputs());
        // In groups of `stride`, of which each sees the row of its number and those before that it meets.
        let padded = rows.start + self.padding..rows.end + self.padding;
        let groups = padded.start / self.stride..padded.end.div_ceil(self.stride);
        let (n, before) = (x.len() / inputs.max(1), self.meet - 1);
        let sees = groups.start.saturating_sub(before).min(n)..groups.end.min(n);
        let params = Conv1dParams {
            padding: [before.saturating_sub(groups.start), groups.end - sees.end],
            slope: Some(slope),
            bias: Some(&self.bias),
            ..Conv1dParams::default()
        };
        room.resize(groups.len() * outputs, 0.0);
        self.kernel
            .forward(&x[sees.start * inputs..sees.end * inputs], &params, room);
        (padded.start - groups.start * self.stride) * self.outputs()
    }
}

/// A norm over the channels of each row, as VITS names it.
pub(super) struct Norm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Norm {
    pub(super) fn new(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            gamma: weights.values(&format!("{name}.gamma"), &[width])?,
            beta: weights.values(&format!("{name}.beta"), &[width])?,
        })
    }

    pub(super) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        layer_norm(x, &self.gamma, Some(&self.beta), EPS, &mut out);
        out
    }
}

/// Dilated convolutions of each channel with layers between (`DDSConv`).
pub(super) struct Separable {
    layers: Vec<SeparableLayer>,
}

struct SeparableLayer {
    /// `[taps, width]`
    sep: Vec<f32>,
    sep_bias: Vec<f32>,
    dilation: usize,
    norm1: Norm,
    pointwise: Conv,
    norm2: Norm,
}

impl Separable {
    pub(super) fn new(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        let there = |i: &usize| weights.has(&format!("{name}.convs_sep.{i}.weight"));
        let layer = |i: usize| SeparableLayer::new(weights, name, i, width);
        Ok(Self {
            layers: (0..16)
                .take_while(there)
                .map(layer)
                .collect::<Result<_>>()?,
        })
    }

    /// `[rows, width]`, in place.
    pub(super) fn forward(&self, x: &mut [f32]) {
        for layer in &self.layers {
            let y = layer.norm1.forward(&layer.each_channel(x));
            let y = layer.pointwise.forward(&gelu(y));
            add(x, &gelu(layer.norm2.forward(&y)));
        }
    }
}

impl SeparableLayer {
    fn new(weights: &Weights, name: &str, i: usize, width: usize) -> Result<Self> {
        let weight = format!("{name}.convs_sep.{i}.weight");
        let [_, _, taps] = three(weights, &weight)?;
        let stored = weights.values(&weight, &[width, 1, taps])?;
        let pointwise = format!("{name}.convs_1x1.{i}");
        let norm = |kind: &str| Norm::new(weights, &format!("{name}.{kind}.{i}"), width);
        Ok(Self {
            sep: (0..taps * width)
                .map(|j| stored[j % width * taps + j / width])
                .collect(),
            sep_bias: weights.values(&format!("{name}.convs_sep.{i}.bias"), &[width])?,
            dilation: taps.saturating_pow(i as u32),
            norm1: norm("norms_1")?,
            pointwise: Conv::new(weights, &pointwise, (width, Some(width)), 1)?,
            norm2: norm("norms_2")?,
        })
    }

    fn each_channel(&self, x: &[f32]) -> Vec<f32> {
        let width = self.sep_bias.len();
        let (rows, taps) = (x.len() / width, self.sep.len() / width);
        let mut out = Vec::with_capacity(x.len());
        for t in 0..rows {
            out.extend_from_slice(&self.sep_bias);
            let row = &mut out[t * width..];
            for (k, weight) in self.sep.chunks_exact(width).enumerate() {
                let from = (t + k * self.dilation).checked_sub(taps / 2 * self.dilation);
                let Some(from) = from.filter(|&from| from < rows) else {
                    continue;
                };
                let x = &x[from * width..(from + 1) * width];
                for ((y, x), w) in row.iter_mut().zip(x).zip(weight) {
                    *y += x * w;
                }
            }
        }
        out
    }
}

pub(super) fn gelu(mut x: Vec<f32>) -> Vec<f32> {
    activate(Activation::Gelu, &mut x);
    x
}

pub(super) fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// Adds one row to every row.
pub(super) fn add_row(x: &mut [f32], row: &[f32]) {
    for x in x.chunks_exact_mut(row.len().max(1)) {
        add(x, row);
    }
}

/// The shape of a kernel: three dimensions, none of which is 0.
fn three(weights: &Weights, name: &str) -> Result<[usize; 3]> {
    let shape = weights.shape(name)?;
    let found: Option<[usize; 3]> = shape.as_slice().try_into().ok();
    found.filter(|shape| !shape.contains(&0)).ok_or_else(|| {
        let expected = "it has three dimensions, none of them 0";
        ConfigError::invalid(name, format!("of shape {shape:?}"), expected)
    })
}
