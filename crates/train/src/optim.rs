//! Optimisers over named parameters.

use std::collections::BTreeMap;

use medley_kernels::optim::{AdamW, Muon, adamw, muon, muon_by, sum_of_squares};
use medley_nn::train::Gradients;
use medley_nn::{Parameter, Parameters};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which rule moves the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserKind {
    /// AdamW for all.
    #[default]
    AdamW,
    /// Muon for the matrices within the model; AdamW for embeddings, heads, norms and biases.
    Muon,
}

/// Settings that do not change during a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimiserSettings {
    /// Which rule moves the parameters.
    pub kind: OptimiserKind,
    /// Decay of the mean of gradients (AdamW).
    pub beta1: f32,
    /// Decay of the mean of squared gradients (AdamW).
    pub beta2: f32,
    /// Added to the root of the mean square (AdamW).
    pub eps: f32,
    /// Share of a matrix that is taken away at each step, times the learning rate. Norms and biases keep theirs.
    pub weight_decay: f32,
    /// Decay of the mean of gradients (Muon).
    pub momentum: f32,
    /// Whether Muon multiplies in bf16.
    pub rounded: bool,
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        Self {
            kind: OptimiserKind::AdamW,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            momentum: 0.95,
            rounded: true,
        }
    }
}

/// What an optimiser remembers of a parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Running mean of gradients.
    pub means: Vec<f32>,
    /// Running mean of squared gradients; empty for Muon.
    pub squares: Vec<f32>,
}

/// An optimiser with what it remembers.
pub struct Optimiser {
    settings: OptimiserSettings,
    step: u64,
    moments: BTreeMap<String, Moments>,
}

/// Whether Muon moves this parameter: a matrix that is no table of a vocabulary.
fn is_inner_matrix(parameter: &Parameter) -> bool {
    let dims = parameter.var.dims();
    let table = ["embed", "lm_head"]
        .iter()
        .any(|w| parameter.name.contains(w));
    dims.len() == 2 && dims.iter().all(|&d| d > 1) && !table
}

impl Optimiser {
    /// An optimiser that has seen nothing.
    pub fn new(settings: OptimiserSettings) -> Self {
        Self {
            settings,
            step: 0,
            moments: BTreeMap::new(),
        }
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// What it remembers, by the names of the parameters.
    pub fn moments(&self) -> &BTreeMap<String, Moments> {
        &self.moments
    }

    /// Goes on from a saved state.
    pub fn restore(&mut self, step: u64, moments: BTreeMap<String, Moments>) {
        self.step = step;
        self.moments = moments;
    }

    /// Bytes that it holds for parameters once it has made a step.
    pub fn bytes_for(settings: &OptimiserSettings, parameters: &Parameters) -> usize {
        let each = parameters.all().iter().map(|p| {
            let moments = match settings.kind {
                OptimiserKind::Muon if is_inner_matrix(p) => 1,
                _ => 2,
            };
            4 * moments * p.var.elem_count()
        });
        each.sum()
    }

    /// One step with this learning rate. Gradients are multiplied by `scale` first. Parameters without a gradient stay
    /// as they are.
    pub fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        rate: f64,
        scale: f64,
    ) -> Result<()> {
        self.step += 1;
        for parameter in parameters.all() {
            let Some(gradient) = gradients.get(&parameter.var) else {
                continue;
            };
            let moments = self.moments.entry(parameter.name.clone()).or_default();
            let muon = self.settings.kind == OptimiserKind::Muon && is_inner_matrix(parameter);
            if moments.means.is_empty() {
                moments.means = vec![0.0; gradient.len()];
                if !muon {
                    moments.squares = vec![0.0; gradient.len()];
                }
            }
            let squares = if muon { 0 } else { gradient.len() };
            if (moments.means.len(), moments.squares.len()) != (gradient.len(), squares) {
                return Err(Error::State(format!(
                    "the saved state of {} does not fit it; was it made by another optimiser?",
                    parameter.name
                )));
            }
            self.settings
                .apply(self.step, parameter, muon, gradient, moments, rate, scale)?;
        }
        Ok(())
    }
}

impl OptimiserSettings {
    #[allow(clippy::too_many_arguments)]
    fn apply(
        &self,
        step: u64,
        parameter: &Parameter,
        by_muon: bool,
        gradient: &[f32],
        moments: &mut Moments,
        rate: f64,
        scale: f64,
    ) -> Result<()> {
        let dims = parameter.var.dims().to_vec();
        let Moments { means, squares } = moments;
        let weight_decay = if dims.len() < 2 {
            0.0
        } else {
            self.weight_decay
        };
        if by_muon {
            let settings = Muon {
                lr: rate as f32,
                weight_decay,
                momentum: self.momentum,
                as_adamw: true,
                rounded: self.rounded,
                ..Muon::default()
            };
            let size = (dims[0], dims[1]);
            let (scale, device) = (scale as f32, parameter.var.device());
            if device.is_cpu() {
                parameter.update(|p| muon(&settings, scale, size, p, gradient, means))?;
                return Ok(());
            }
            let orthogonal = |x| medley_nn::gpu::orthogonal(x, size, settings.steps, device);
            let mut done = Ok(());
            parameter.update(|p| {
                done = muon_by(&settings, scale, size, p, gradient, means, orthogonal);
            })?;
            return Ok(done?);
        }
        let settings = AdamW {
            lr: rate as f32,
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            weight_decay,
        };
        parameter.update(|p| adamw(&settings, step, scale as f32, p, gradient, means, squares))?;
        Ok(())
    }
}

/// The norm of all gradients together, as `torch.nn.utils.clip_grad_norm_` takes it.
pub fn global_norm(parameters: &Parameters, gradients: &Gradients) -> f64 {
    let squares = parameters
        .all()
        .iter()
        .filter_map(|p| gradients.get(&p.var))
        .map(sum_of_squares);
    squares.sum::<f64>().sqrt()
}

/// The factor that brings a norm down to `limit` where it is above it; PyTorch's, with its small term.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}
