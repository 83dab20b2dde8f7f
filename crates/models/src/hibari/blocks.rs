//! The blocks that a voice is built of, over rows of numbers: a voice runs on the CPU alone, and its values are those of
//! onnxruntime to the last bit as far as they are known (`medley_kernels::onnx`).

use std::sync::Arc;

use medley_kernels::onnx::{self, Bounds, Norm};
use medley_kernels::{
    Activation, Bytes, Conv1d, Conv1dParams, Int8Matrix, PackedMatrix, Then, activate, pool,
};
use medley_nn::{Linear, Weights};

use crate::{ConfigError, Result};

/// Added to the variance in every norm.
const EPS: f32 = 1e-5;
/// Blocks before the attention of an encoder.
const CONVS: usize = 2;
/// Rows that a task gathers.
const SOME: usize = 32;
/// Heads of an encoder's attention.
const HEADS: usize = 2;

/// A matrix with its bias.
pub(super) struct Dense {
    weight: Matrix,
    bias: Arc<[f32]>,
}

enum Matrix {
    Bytes(Arc<Int8Matrix>),
    /// What the published files leave in floats.
    Floats(Arc<PackedMatrix>),
}

impl Dense {
    pub(super) fn new(weights: &Weights, name: &str, sizes: [usize; 2]) -> Result<Self> {
        let (weight, bias) = match weights.linear(name, sizes[1], sizes[0])? {
            Linear::Int8 { weight, bias } => (Matrix::Bytes(weight), bias),
            Linear::Packed { weight, bias } => (Matrix::Floats(weight), bias),
            _ => return Err(ConfigError::missing(&format!("{name} for the CPU"))),
        };
        let bias = bias.ok_or_else(|| ConfigError::missing(&format!("{name}.bias")))?;
        Ok(Self { weight, bias })
    }

    /// `[rows, in]` → `[rows, out]`, in a buffer that is used again; the bounds of the result.
    pub(super) fn forward(
        &self,
        x: &[f32],
        bounds: Option<Bounds>,
        then: Then<'_>,
        out: &mut Vec<f32>,
    ) -> Option<Bounds> {
        let cols = match &self.weight {
            Matrix::Bytes(weight) => weight.cols(),
            Matrix::Floats(weight) => weight.cols(),
        };
        out.resize(x.len() / cols.max(1) * self.bias.len(), 0.0);
        match &self.weight {
            Matrix::Bytes(weight) => {
                let bytes = Bytes::quantize(x, cols, bounds);
                Some(weight.product(&bytes, Some(&self.bias), then, out))
            }
            Matrix::Floats(weight) => {
                weight.matmul(x, out);
                finish(out, &self.bias, then);
                None
            }
        }
    }
}

fn finish(out: &mut [f32], bias: &[f32], then: Then<'_>) {
    for row in out.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
    }
    match then {
        Then::Store => {}
        Then::Gelu => gelu(out),
        Then::Add { to, gain } => {
            for (i, (y, to)) in out.iter_mut().zip(to).enumerate() {
                *y = to + *y * gain.map_or(1.0, |gain| gain[i % bias.len()]);
            }
        }
    }
}

/// The weight and bias of a norm.
pub(super) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LayerNorm {
    pub(super) fn new(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            weight: weights.values(&format!("{name}.weight"), &[width])?,
            bias: weights.values(&format!("{name}.bias"), &[width])?,
        })
    }

    fn norm(&self) -> Norm<'_> {
        Norm {
            weight: &self.weight,
            bias: &self.bias,
            eps: EPS,
        }
    }

    pub(super) fn forward(&self, x: &[f32], out: &mut Vec<f32>) -> Bounds {
        out.resize(x.len(), 0.0);
        onnx::layer_norm(x, &self.norm(), out)
    }
}

/// A convolution in which every output sees every channel; it keeps the length.
pub(super) struct Conv {
    /// Over rows in which each channel's taps stand side by side.
    kernel: Conv1d,
    taps: usize,
    channels: usize,
    bias: Vec<f32>,
}

impl Conv {
    pub(super) fn new(
        weights: &Weights,
        name: &str,
        sizes: [usize; 2],
        taps: usize,
    ) -> Result<Self> {
        let [channels, out] = sizes;
        let stored = weights.values(&format!("{name}.weight"), &[out, channels, taps])?;
        let width = channels * taps;
        Ok(Self {
            kernel: Conv1d::pack([out, width, 1], |o, i, _| stored[o * width + i]),
            taps,
            channels,
            bias: weights.values(&format!("{name}.bias"), &[out])?,
        })
    }

    /// `[rows, in]` → `[rows, out]`
    pub(super) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (rows, width) = (x.len() / self.channels, self.channels * self.taps);
        let mut seen = Vec::new();
        if self.taps > 1 {
            seen.resize(rows * width, 0.0);
            pool::parallel_chunks(&mut seen, SOME * width, |i, seen| {
                for (t, row) in (i * SOME..).zip(seen.chunks_exact_mut(width)) {
                    for k in 0..self.taps {
                        let from = (t + k).checked_sub(self.taps / 2);
                        let Some(from) = from.filter(|&from| from < rows) else {
                            continue;
                        };
                        let x = &x[from * self.channels..(from + 1) * self.channels];
                        for (to, x) in row[k..].iter_mut().step_by(self.taps).zip(x) {
                            *to = *x;
                        }
                    }
                }
            });
        }
        let params = Conv1dParams {
            bias: Some(&self.bias),
            chain: onnx::chain(rows, width),
            ..Conv1dParams::default()
        };
        let mut out = vec![0.0; rows * self.bias.len()];
        let x = if self.taps > 1 { &seen } else { x };
        self.kernel.forward(x, &params, &mut out);
        out
    }
}

/// Buffers that blocks use one after the other.
#[derive(Default)]
pub(super) struct Room {
    normed: Vec<f32>,
    hidden: Vec<f32>,
    next: Vec<f32>,
}

/// A convolution of each channel, then two layers over all of them, beside the identity (Liu et al. 2022).
pub(super) struct ConvNext {
    /// `[taps, width]`
    dw: Vec<f32>,
    dw_bias: Vec<f32>,
    dilation: usize,
    norm: LayerNorm,
    pw1: Dense,
    pw2: Dense,
    gamma: Vec<f32>,
}

impl ConvNext {
    pub(super) fn new(
        weights: &Weights,
        name: &str,
        width: usize,
        taps: usize,
        dilation: usize,
    ) -> Result<Self> {
        let hidden = outputs(weights, &format!("{name}.pw1"))?;
        let stored = weights.values(&format!("{name}.dw.weight"), &[width, 1, taps])?;
        Ok(Self {
            dw: (0..taps * width)
                .map(|i| stored[i % width * taps + i / width])
                .collect(),
            dw_bias: weights.values(&format!("{name}.dw.bias"), &[width])?,
            dilation,
            norm: LayerNorm::new(weights, &format!("{name}.norm"), width)?,
            pw1: Dense::new(weights, &format!("{name}.pw1"), [width, hidden])?,
            pw2: Dense::new(weights, &format!("{name}.pw2"), [hidden, width])?,
            gamma: weights.values(&format!("{name}.gamma"), &[width])?,
        })
    }

    /// `[rows, width]`, in place.
    pub(super) fn forward(&self, x: &mut Vec<f32>, room: &mut Room) {
        room.normed.resize(x.len(), 0.0);
        let bounds = onnx::depthwise_norm(
            x,
            &self.dw,
            &self.dw_bias,
            self.dilation,
            &self.norm.norm(),
            &mut room.normed,
        );
        let bounds = self
            .pw1
            .forward(&room.normed, Some(bounds), Then::Gelu, &mut room.hidden);
        let then = Then::Add {
            to: x,
            gain: Some(&self.gamma),
        };
        self.pw2.forward(&room.hidden, bounds, then, &mut room.next);
        std::mem::swap(x, &mut room.next);
    }
}

/// Attention and two layers, each behind a norm and beside the identity (as `torch.nn.TransformerEncoderLayer` with
/// `norm_first`).
pub(super) struct Layer {
    heads: usize,
    norm1: LayerNorm,
    in_proj: Dense,
    out_proj: Dense,
    norm2: LayerNorm,
    linear1: Dense,
    linear2: Dense,
}

impl Layer {
    pub(super) fn new(weights: &Weights, name: &str, width: usize, heads: usize) -> Result<Self> {
        if heads == 0 || width == 0 || !width.is_multiple_of(heads) {
            return Err(ConfigError::invalid(name, width, "heads must divide it"));
        }
        // This layer's own names join with an underscore where all others have a dot.
        let weights = &weights
            .clone()
            .with_key_map(|name| name.replace(".in_proj.", ".in_proj_"));
        let hidden = outputs(weights, &format!("{name}.linear1"))?;
        let dense = |part: &str, sizes| Dense::new(weights, &format!("{name}.{part}"), sizes);
        let norm = |part: &str| LayerNorm::new(weights, &format!("{name}.{part}"), width);
        Ok(Self {
            heads,
            norm1: norm("norm1")?,
            in_proj: dense("self_attn.in_proj", [width, 3 * width])?,
            out_proj: dense("self_attn.out_proj", [width, width])?,
            norm2: norm("norm2")?,
            linear1: dense("linear1", [width, hidden])?,
            linear2: dense("linear2", [hidden, width])?,
        })
    }

    /// `[rows, width]`, in place.
    pub(super) fn forward(&self, x: &mut Vec<f32>, room: &mut Room) {
        let width = self.norm1.weight.len();
        let bounds = self.norm1.forward(x, &mut room.normed);
        self.in_proj
            .forward(&room.normed, Some(bounds), Then::Store, &mut room.hidden);
        let mixed = attention(&room.hidden, width, self.heads);
        self.out_proj
            .forward(&mixed, None, beside(x), &mut room.next);
        std::mem::swap(x, &mut room.next);
        let bounds = self.norm2.forward(x, &mut room.normed);
        let bounds = self
            .linear1
            .forward(&room.normed, Some(bounds), Then::Gelu, &mut room.hidden);
        self.linear2
            .forward(&room.hidden, bounds, beside(x), &mut room.next);
        std::mem::swap(x, &mut room.next);
    }
}

/// Added to what stands beside.
fn beside(to: &[f32]) -> Then<'_> {
    Then::Add { to, gain: None }
}

/// Queries, keys and values `[rows, 3 · width]` to mixed values `[rows, width]`.
fn attention(qkv: &[f32], width: usize, heads: usize) -> Vec<f32> {
    let (rows, dim) = (qkv.len() / (3 * width), width / heads);
    let chained = |columns, depth| Conv1dParams {
        chain: onnx::chain(columns, depth),
        ..Conv1dParams::default()
    };
    // One head behind the other, each of them a task.
    let mut outs = vec![0.0; rows * width];
    pool::parallel_chunks(&mut outs, (rows * dim).max(1), |head, out| {
        let at = |row: usize, part: usize, i: usize| {
            qkv[row * 3 * width + part * width + head * dim + i]
        };
        let queries: Vec<f32> = (0..rows * dim).map(|i| at(i / dim, 0, i % dim)).collect();
        let keys = Conv1d::pack([rows, dim, 1], |row, i, _| at(row, 1, i));
        let mut scores = vec![0.0; rows * rows];
        keys.forward(&queries, &chained(rows, dim), &mut scores);
        onnx::softmax(&mut scores, rows, (dim as f32).sqrt());
        let values = Conv1d::pack([dim, rows, 1], |i, row, _| at(row, 2, i));
        values.forward(&scores, &chained(dim, rows), out);
    });
    let mut mixed = vec![0.0; rows * width];
    for (head, out) in outs.chunks_exact((rows * dim).max(1)).enumerate() {
        let rows = mixed.chunks_exact_mut(width);
        for (mixed, out) in rows.zip(out.chunks_exact(dim)) {
            mixed[head * dim..(head + 1) * dim].copy_from_slice(out);
        }
    }
    mixed
}

/// Phonemes to states.
pub(super) struct Encoder {
    emb: Table,
    convs: Vec<ConvNext>,
    attn: Layer,
    turns: usize,
    norm: LayerNorm,
}

impl Encoder {
    /// `sizes` are the symbols of the alphabet and the width.
    pub(super) fn new(
        weights: &Weights,
        name: &str,
        sizes: [usize; 2],
        turns: usize,
    ) -> Result<Self> {
        let [_, width] = sizes;
        let conv = |i: usize| ConvNext::new(weights, &format!("{name}.convs.{i}"), width, 5, 1);
        Ok(Self {
            emb: Table::new(weights, &format!("{name}.emb.weight"), sizes)?,
            convs: (0..CONVS).map(conv).collect::<Result<_>>()?,
            attn: Layer::new(weights, &format!("{name}.attn"), width, HEADS)?,
            turns,
            norm: LayerNorm::new(weights, &format!("{name}.norm"), width)?,
        })
    }

    /// `[phonemes]` → `[phonemes, width]`
    pub(super) fn forward(&self, ids: &[u32], room: &mut Room) -> Result<Vec<f32>> {
        let mut x = self.emb.rows(ids)?;
        for conv in &self.convs {
            conv.forward(&mut x, room);
        }
        for _ in 0..self.turns {
            self.attn.forward(&mut x, room);
        }
        let mut out = vec![0.0; x.len()];
        onnx::skip_norm(&x, &self.norm.norm(), &mut out);
        Ok(out)
    }
}

/// Rows by number.
pub(super) struct Table {
    values: Vec<f32>,
    width: usize,
}

impl Table {
    pub(super) fn new(weights: &Weights, name: &str, sizes: [usize; 2]) -> Result<Self> {
        Ok(Self {
            values: weights.values(name, &sizes)?,
            width: sizes[1],
        })
    }

    /// `[count]` → `[count, width]`
    pub(super) fn rows(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let mut out = Vec::with_capacity(ids.len() * self.width);
        for &id in ids {
            let start = (id as usize).saturating_mul(self.width);
            let row = self.values.get(start..start.saturating_add(self.width));
            let count = self.values.len() / self.width.max(1);
            let expected = || format!("there are {count}");
            out.extend_from_slice(
                row.ok_or_else(|| ConfigError::invalid("a symbol", id, &expected()))?,
            );
        }
        Ok(out)
    }
}

pub(super) fn gelu(x: &mut [f32]) {
    activate(Activation::Gelu, x);
}

/// Outputs of a layer, of which only its weights tell.
fn outputs(weights: &Weights, name: &str) -> Result<usize> {
    match weights.shape(&format!("{name}.bias"))?.as_slice() {
        &[outputs] => Ok(outputs),
        _ => Err(ConfigError::missing(&format!("{name}.bias, a vector"))),
    }
}
