//! DPM-Solver++ ([Lu et al. 2022](https://arxiv.org/abs/2211.01095)): exponential integrators over the
//! estimate of x₀, in λ = ln(α/σ).

use super::error::DiffusionError;
use super::euler::ancestral;
use super::noise::NormalSource;
use super::scheduler::Scheduler;
use super::table::{Point, Table, add_fresh_noise, blend};

/// 2S with ancestral noise (the paper's algorithm 1 with its middle at r = 1/2, in the form of
/// [k-diffusion](https://github.com/crowsonkb/k-diffusion)'s `sample_dpmpp_2s_ancestral`). The last step
/// is Euler's.
#[derive(Debug)]
pub(super) struct SinglestepAncestral {
    pub table: Table,
    pub eta: f64,
    /// The sample at the step's start.
    pub start: Vec<f32>,
}

impl Scheduler for SinglestepAncestral {
    fn table(&self) -> &Table {
        &self.table
    }

    fn step(
        &mut self,
        output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn NormalSource,
    ) -> Result<(), DiffusionError> {
        let at = self.table.take_clipped(output, sample)?;
        let (here, next) = (self.table.points[at], self.table.points[at + 1]);
        if at % 2 == 0 {
            self.start.clear();
            self.start.extend_from_slice(sample);
            self.table.move_towards_denoised(sample, here, next);
            return Ok(());
        }
        let from = self.table.points[at - 1];
        let (down, up) = ancestral(from.sigma, next.sigma, self.eta);
        sample.copy_from_slice(&self.start);
        let down = Point::exploding(down);
        self.table.move_towards_denoised(sample, from, down);
        add_fresh_noise(sample, up, noise);
        Ok(())
    }
}

/// 2M (the paper's algorithm 2), and with `noisy` its form for the reverse-time stochastic equation (the
/// paper's section 5). First order at both ends.
#[derive(Debug)]
pub(super) struct Multistep {
    pub table: Table,
    pub noisy: bool,
    /// Steps of the whole run, dropped ones included.
    pub steps: usize,
    /// The estimate of x₀ one step before.
    pub before: Vec<f32>,
}

impl Multistep {
    /// How much of the difference between this x₀ and the one before counts: 1/(2r), r the ratio of the
    /// last step to this one in λ.
    fn correction(&self, at: usize) -> f64 {
        let points = &self.table.points;
        let (from, to) = (points[at], points[at + 1]);
        let last = at + 1 == self.table.timesteps.len();
        // In runs of fewer than 15 steps the end is too coarse for a second order.
        if at == 0 || to.sigma == 0.0 || (last && self.steps < 15) {
            return 0.0;
        }
        let this = to.lambda() - from.lambda();
        let previous = from.lambda() - points[at - 1].lambda();
        0.5 * this / previous
    }
}

impl Scheduler for Multistep {
    fn table(&self) -> &Table {
        &self.table
    }

    fn step(
        &mut self,
        output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn NormalSource,
    ) -> Result<(), DiffusionError> {
        let at = self.table.take_clipped(output, sample)?;
        let (from, to) = (self.table.points[at], self.table.points[at + 1]);
        let correction = self.correction(at);
        // e^-h with h the step in λ.
        let decay = from.alpha * to.sigma / (from.sigma * to.alpha);
        let (keep, gain, deviation) = if self.noisy {
            let rest = 1.0 - decay * decay;
            (
                to.sigma / from.sigma * decay,
                to.alpha * rest,
                to.sigma * rest.sqrt(),
            )
        } else {
            (to.sigma / from.sigma, to.alpha * (1.0 - decay), 0.0)
        };
        blend(
            sample,
            keep,
            &self.table.denoised,
            gain * (1.0 + correction),
        );
        if correction != 0.0 {
            blend(sample, 1.0, &self.before, -gain * correction);
        }
        add_fresh_noise(sample, deviation, noise);
        self.before.clear();
        self.before.extend_from_slice(&self.table.denoised);
        Ok(())
    }
}
