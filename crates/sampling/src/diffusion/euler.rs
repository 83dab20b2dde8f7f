//! One-step and two-evaluation methods along the noise level.

use super::error::DiffusionError;
use super::noise::NormalSource;
use super::scheduler::Scheduler;
use super::table::{Point, Table, add_fresh_noise, blend};

/// Where an ancestral step goes down to and how much noise it adds there, so that both together have
/// the level `to` ([k-diffusion](https://github.com/crowsonkb/k-diffusion), `get_ancestral_step`; the
/// variance is that of [Ho et al. 2020](https://arxiv.org/abs/2006.11239)).
pub(super) fn ancestral(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let spread = to * ((from * from - to * to).max(0.0)).sqrt() / from;
    let up = (eta * spread).min(to);
    ((to * to - up * up).max(0.0).sqrt(), up)
}

/// Euler's method for diffusion ([Karras et al. 2022](https://arxiv.org/abs/2206.00364), algorithm 2
/// without its second half) and for flows ([Lipman et al. 2022](https://arxiv.org/abs/2210.02747)): in
/// terms of x₀ it is one formula.
#[derive(Debug)]
pub(super) struct Euler(pub Table);

impl Scheduler for Euler {
    fn table(&self) -> &Table {
        &self.0
    }

    fn step(
        &mut self,
        output: &[f32],
        sample: &mut [f32],
        _: &mut dyn NormalSource,
    ) -> Result<(), DiffusionError> {
        let at = self.0.take_clipped(output, sample)?;
        let (from, to) = (self.0.points[at], self.0.points[at + 1]);
        self.0.move_towards_denoised(sample, from, to);
        Ok(())
    }
}

/// Euler's method with fresh noise after each step ([`ancestral`]).
#[derive(Debug)]
pub(super) struct EulerAncestral {
    pub table: Table,
    pub eta: f64,
}

impl Scheduler for EulerAncestral {
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
        let (down, up) = ancestral(from.sigma, to.sigma, self.eta);
        let down = Point::exploding(down);
        self.table.move_towards_denoised(sample, from, down);
        add_fresh_noise(sample, up, noise);
        Ok(())
    }
}

/// Heun's method ([Karras et al. 2022](https://arxiv.org/abs/2206.00364), algorithm 1), for diffusion and
/// for flows. Evaluations in turn: at the step's start, at its provisional end; the last step is Euler's.
#[derive(Debug)]
pub(super) struct Heun {
    pub table: Table,
    /// The sample at the step's start, and the slope there.
    pub start: Vec<f32>,
    pub slope: Vec<f32>,
}

impl Scheduler for Heun {
    fn table(&self) -> &Table {
        &self.table
    }

    fn step(
        &mut self,
        output: &[f32],
        sample: &mut [f32],
        _: &mut dyn NormalSource,
    ) -> Result<(), DiffusionError> {
        let at = self.table.take_clipped(output, sample)?;
        if at % 2 == 0 {
            let (from, to) = (self.table.points[at], self.table.points[at + 1]);
            slope(sample, &self.table.denoised, from.sigma, &mut self.slope);
            self.start.clear();
            self.start.extend_from_slice(sample);
            self.table.move_towards_denoised(sample, from, to);
            return Ok(());
        }
        let (from, to) = (self.table.points[at - 1], self.table.points[at]);
        let half = 0.5 * (to.sigma - from.sigma);
        let mut second = Vec::new();
        slope(sample, &self.table.denoised, to.sigma, &mut second);
        sample.copy_from_slice(&self.start);
        blend(sample, 1.0, &self.slope, half);
        blend(sample, 1.0, &second, half);
        Ok(())
    }
}

/// dx/dσ = (x - x₀)/σ, for unit signal and for flows.
fn slope(sample: &[f32], denoised: &[f32], sigma: f64, out: &mut Vec<f32>) {
    let of = |(&x, &d): (&f32, &f32)| ((f64::from(x) - f64::from(d)) / sigma) as f32;
    out.clear();
    out.extend(sample.iter().zip(denoised).map(of));
}

/// DPM-Solver-2 ([Lu et al. 2022](https://arxiv.org/abs/2206.00927), algorithm 1) in the form of
/// [k-diffusion](https://github.com/crowsonkb/k-diffusion)'s `sample_dpm_2`: the slope at the geometric
/// middle of a step carries over the whole of it. The last step is Euler's.
#[derive(Debug)]
pub(super) struct Dpm2 {
    pub table: Table,
    /// The sample at the step's start.
    pub start: Vec<f32>,
}

impl Scheduler for Dpm2 {
    fn table(&self) -> &Table {
        &self.table
    }

    fn step(
        &mut self,
        output: &[f32],
        sample: &mut [f32],
        _: &mut dyn NormalSource,
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
        let rate = (next.sigma - from.sigma) / here.sigma;
        for (x, (&start, &d)) in sample
            .iter_mut()
            .zip(self.start.iter().zip(&self.table.denoised))
        {
            *x = (f64::from(start) + rate * (f64::from(*x) - f64::from(d))) as f32;
        }
        Ok(())
    }
}
