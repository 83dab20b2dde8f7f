//! Phonemes to the mean and deviation of what is drawn for each.

use medley_kernels::{Activation, Conv1d, Conv1dParams, activate, softmax};
use medley_nn::Weights;

use super::VitsConfig;
use super::blocks::{Conv, Norm, add};
use crate::{ConfigError, Result};

/// A transformer that sees how far phonemes are from each other (Shaw et al. 2018).
pub(super) struct TextEncoder {
    /// `[symbols, width]`
    emb: Vec<f32>,
    width: usize,
    layers: Vec<Layer>,
    proj: Conv,
}

struct Layer {
    attention: Attention,
    norm1: Norm,
    conv1: Conv,
    conv2: Conv,
    norm2: Norm,
}

impl TextEncoder {
    pub(super) fn new(weights: &Weights, config: &VitsConfig) -> Result<Self> {
        let (symbols, width) = (config.symbols, config.width);
        let layer = |i: usize| Layer::new(weights, i, config);
        Ok(Self {
            emb: weights.values("enc_p.emb.weight", &[symbols, width])?,
            width,
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            proj: Conv::new(weights, "enc_p.proj", (width, Some(2 * config.latent)), 1)?,
        })
    }

    /// States `[phonemes, width]`, means and logarithms of deviations `[phonemes, latent]`.
    pub(super) fn forward(&self, ids: &[u32]) -> Result<(Vec<f32>, Vec<f32>, Vec<f32>)> {
        let (width, scale) = (self.width, (self.width as f32).sqrt());
        let mut x = Vec::with_capacity(ids.len() * width);
        for &id in ids {
            let start = (id as usize).saturating_mul(width);
            let row = self.emb.get(start..start.saturating_add(width));
            let expected = || format!("there are {}", self.emb.len() / width.max(1));
            let row = row.ok_or_else(|| ConfigError::invalid("a symbol", id, &expected()))?;
            x.extend(row.iter().map(|v| v * scale));
        }
        for layer in &self.layers {
            x = layer.forward(x);
        }
        let latent = self.proj.outputs() / 2;
        let (mut means, mut logs) = (Vec::new(), Vec::new());
        for row in self.proj.forward(&x).chunks_exact(2 * latent) {
            means.extend_from_slice(&row[..latent]);
            logs.extend_from_slice(&row[latent..]);
        }
        Ok((x, means, logs))
    }
}

impl Layer {
    fn new(weights: &Weights, i: usize, config: &VitsConfig) -> Result<Self> {
        let conv = |name: &str, sizes| {
            Conv::for_speed(
                weights,
                &format!("enc_p.encoder.ffn_layers.{i}.{name}"),
                sizes,
                1,
            )
        };
        let conv1 = conv("conv_1", (config.width, None))?;
        let norm =
            |kind: &str| Norm::new(weights, &format!("enc_p.encoder.{kind}.{i}"), config.width);
        Ok(Self {
            attention: Attention::new(weights, i, config)?,
            norm1: norm("norm_layers_1")?,
            conv2: conv("conv_2", (conv1.outputs(), Some(config.width)))?,
            conv1,
            norm2: norm("norm_layers_2")?,
        })
    }

    fn forward(&self, mut x: Vec<f32>) -> Vec<f32> {
        let mixed = self.attention.forward(&x);
        add(&mut x, &mixed);
        let mut x = self.norm1.forward(&x);
        let mut hidden = self.conv1.forward(&x);
        activate(Activation::Relu, &mut hidden);
        self.conv2.add(&hidden, None, &mut x);
        self.norm2.forward(&x)
    }
}

struct Attention {
    query: Conv,
    key: Conv,
    value: Conv,
    out: Conv,
    /// `[2 · window + 1, dim]`, for keys and for values.
    distance_keys: Vec<f32>,
    distance_values: Vec<f32>,
    heads: usize,
    dim: usize,
}

impl Attention {
    fn new(weights: &Weights, i: usize, config: &VitsConfig) -> Result<Self> {
        let name = format!("enc_p.encoder.attn_layers.{i}");
        let sizes = (config.width, Some(config.width));
        let conv = |part: &str| Conv::new(weights, &format!("{name}.{part}"), sizes, 1);
        let relative = |part: &str| {
            let shape = [1, 2 * config.window + 1, config.width / config.heads];
            weights.values(&format!("{name}.{part}"), &shape)
        };
        Ok(Self {
            query: conv("conv_q")?,
            key: conv("conv_k")?,
            value: conv("conv_v")?,
            out: conv("conv_o")?,
            distance_keys: relative("emb_rel_k")?,
            distance_values: relative("emb_rel_v")?,
            heads: config.heads,
            dim: config.width / config.heads,
        })
    }

    /// `[rows, width]` → the same shape.
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (q, k, v) = (
            self.query.forward(x),
            self.key.forward(x),
            self.value.forward(x),
        );
        let (dim, width) = (self.dim, self.dim * self.heads);
        let rows = x.len() / width;
        let mut mixed = vec![0.0; x.len()];
        let (mut scores, mut out) = (vec![0.0; rows * rows], vec![0.0; rows * dim]);
        let params = Conv1dParams::default();
        for head in 0..self.heads {
            let at = |row: usize, i: usize| row * width + head * dim + i;
            let scale = 1.0 / (dim as f32).sqrt();
            let queries: Vec<f32> = (0..rows * dim)
                .map(|i| q[at(i / dim, i % dim)] * scale)
                .collect();
            Conv1d::pack([rows, dim, 1], |row, i, _| k[at(row, i)]).forward(
                &queries,
                &params,
                &mut scores,
            );
            self.each_near(rows, |i, j, near| {
                let query = &queries[i * dim..(i + 1) * dim];
                let key = &self.distance_keys[near * dim..(near + 1) * dim];
                scores[i * rows + j] += query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>();
            });
            softmax(&mut scores, rows);
            Conv1d::pack([dim, rows, 1], |i, row, _| v[at(row, i)])
                .forward(&scores, &params, &mut out);
            self.each_near(rows, |i, j, near| {
                let p = scores[i * rows + j];
                let value = &self.distance_values[near * dim..(near + 1) * dim];
                for (out, value) in out[i * dim..(i + 1) * dim].iter_mut().zip(value) {
                    *out += p * value;
                }
            });
            for (mixed, out) in mixed.chunks_exact_mut(width).zip(out.chunks_exact(dim)) {
                mixed[head * dim..(head + 1) * dim].copy_from_slice(out);
            }
        }
        self.out.forward(&mixed)
    }

    /// Calls `f` with each pair of rows that are near enough, and the row of their distance.
    fn each_near(&self, rows: usize, mut f: impl FnMut(usize, usize, usize)) {
        let window = self.distance_keys.len() / self.dim / 2;
        for i in 0..rows {
            for j in i.saturating_sub(window)..(i + window + 1).min(rows) {
                f(i, j, j + window - i);
            }
        }
    }
}
