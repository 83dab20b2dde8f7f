//! Feed-forward blocks: the gated one and a mixture of them.

use candle_core::Tensor;
use medley_kernels::Activation;

use crate::linear::{forward_many, joint};
use crate::tensor::{from_vec, gated, slice};
use crate::{Error, Linear, Result, train};

/// `down(act(gate(x)) · up(x))` (Shazeer 2020).
#[derive(Clone)]
pub struct GatedMlp {
    /// `[intermediate, hidden]`
    pub gate_proj: Linear,
    /// `[intermediate, hidden]`
    pub up_proj: Linear,
    /// `[hidden, intermediate]`
    pub down_proj: Linear,
    /// Applied to the gate.
    pub act: Activation,
}

impl GatedMlp {
    /// `[.., hidden]` → the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(weights) = joint(x, &[&self.gate_proj, &self.up_proj])
            && self.gate_proj.out_features() == self.up_proj.out_features()
        {
            let both = train::joint_linear(x, &weights)?;
            return self
                .down_proj
                .forward(&train::gated_halves(self.act, &both)?);
        }
        let both = forward_many(x, &[&self.gate_proj, &self.up_proj])?;
        self.down_proj
            .forward(&gated(self.act, &both[0], &both[1])?)
    }
}

/// How a mixture routes its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct MoeSpec {
    /// Number of experts.
    pub experts: usize,
    /// Experts that serve a row.
    pub top_k: usize,
    /// Whether the weights of the chosen experts are scaled to a sum of 1.
    pub normalise: bool,
    /// Width of an expert.
    pub intermediate: usize,
}

/// A sparse mixture of gated blocks (Jiang et al. 2024).
#[derive(Clone)]
pub struct MixtureOfExperts {
    /// Routing.
    pub spec: MoeSpec,
    /// `[experts, hidden]`
    pub gate: Linear,
    /// One block per expert.
    pub experts: Vec<GatedMlp>,
}

impl MixtureOfExperts {
    /// `[rows, hidden]` → the same shape. Rows are gathered per expert; each row sums its experts in the order of
    /// their rank, so that the rows beside it do not change it.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let dims = x.dims().to_vec();
        let hidden = dims[dims.len() - 1];
        let x = x.reshape(((), hidden))?;
        let rows = x.dim(0)?;
        let scores: Vec<Vec<f32>> = self.gate.forward(&x)?.to_vec2()?;
        let routes: Vec<Vec<(usize, f32)>> =
            scores.into_iter().map(|row| self.route(row)).collect();
        let input = slice(&x)
            .ok_or_else(|| Error::Config("a mixture of experts runs in f32 on the CPU".into()))?;
        let top_k = self.spec.top_k;
        let mut parts = vec![0.0f32; rows * top_k * hidden];
        for (index, expert) in self.experts.iter().enumerate() {
            let mine: Vec<(usize, usize)> = (0..rows)
                .filter_map(|row| {
                    routes[row]
                        .iter()
                        .position(|&(e, _)| e == index)
                        .map(|rank| (row, rank))
                })
                .collect();
            if mine.is_empty() {
                continue;
            }
            let gathered: Vec<f32> = mine
                .iter()
                .flat_map(|&(row, _)| input[row * hidden..(row + 1) * hidden].iter().copied())
                .collect();
            let out = expert.forward(&from_vec(gathered, &[mine.len(), hidden])?)?;
            let out =
                slice(&out).ok_or_else(|| Error::Config("an expert gave no f32 rows".into()))?;
            for (&(row, rank), values) in mine.iter().zip(out.chunks_exact(hidden)) {
                parts[(row * top_k + rank) * hidden..][..hidden].copy_from_slice(values);
            }
        }
        let mut sum = vec![0.0f32; rows * hidden];
        for (row, out) in sum.chunks_exact_mut(hidden).enumerate() {
            for (rank, &(_, weight)) in routes[row].iter().enumerate() {
                let part = &parts[(row * top_k + rank) * hidden..][..hidden];
                out.iter_mut().zip(part).for_each(|(y, p)| *y += weight * p);
            }
        }
        from_vec(sum, &dims)
    }

    /// The chosen experts of a row with their weights, best first; the lower index wins a tie.
    fn route(&self, mut scores: Vec<f32>) -> Vec<(usize, f32)> {
        let width = scores.len();
        medley_kernels::softmax(&mut scores, width);
        let mut ranked: Vec<(usize, f32)> = scores.into_iter().enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked.truncate(self.spec.top_k);
        if self.spec.normalise {
            let sum: f32 = ranked.iter().map(|r| r.1).sum();
            ranked.iter_mut().for_each(|r| r.1 /= sum);
        }
        ranked
    }
}
