//! DDPM, DDIM and LCM: methods that step between whole training timesteps.

use super::error::DiffusionError;
use super::noise::NormalSource;
use super::scheduler::Scheduler;
use super::table::{Table, add_fresh_noise, blend};

/// Denoising diffusion probabilistic models ([Ho et al. 2020](https://arxiv.org/abs/2006.11239),
/// algorithm 2, with the smaller variance β̃).
#[derive(Debug)]
pub(super) struct Ddpm(pub Table);

impl Scheduler for Ddpm {
    fn table(&self) -> &Table {
        &self.0
    }

    fn step(
        &mut self,
        output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn NormalSource,
    ) -> Result<(), DiffusionError> {
        let at = self.0.take_clipped(output, sample)?;
        let (from, to) = (self.0.points[at], self.0.points[at + 1]);
        // Of one step: α_t = ᾱ_t/ᾱ_s and β_t = 1 - α_t.
        let alpha = (from.alpha / to.alpha).powi(2);
        let beta = 1.0 - alpha;
        let variance = from.sigma.powi(2);
        let of_denoised = to.alpha * beta / variance;
        let of_sample = alpha.sqrt() * to.sigma.powi(2) / variance;
        blend(sample, of_sample, &self.0.denoised, of_denoised);
        let deviation = (to.sigma.powi(2) / variance * beta).max(0.0).sqrt();
        add_fresh_noise(sample, deviation, noise);
        Ok(())
    }
}

/// Denoising diffusion implicit models ([Song et al. 2020](https://arxiv.org/abs/2010.02502), equation
/// 12 and 16): without noise at η = 0, as DDPM at η = 1.
#[derive(Debug)]
pub(super) struct Ddim {
    pub table: Table,
    pub eta: f64,
}

impl Scheduler for Ddim {
    fn table(&self) -> &Table {
        &self.table
    }

    fn step(
        &mut self,
        output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn NormalSource,
    ) -> Result<(), DiffusionError> {
        let at = self.table.take(output, sample)?;
        let (from, to) = (self.table.points[at], self.table.points[at + 1]);
        let beta = 1.0 - (from.alpha / to.alpha).powi(2);
        let spread = to.sigma / from.sigma * beta.max(0.0).sqrt();
        let deviation = self.eta * spread;
        let direction = (to.sigma.powi(2) - deviation.powi(2)).max(0.0).sqrt();
        // The direction is that of the model itself, also where its x₀ is clipped.
        let keep = direction / from.sigma;
        blend(sample, keep, &self.table.denoised, -from.alpha * keep);
        self.table.clip_denoised();
        blend(sample, 1.0, &self.table.denoised, to.alpha);
        add_fresh_noise(sample, deviation, noise);
        Ok(())
    }
}

/// Latent consistency models ([Luo et al. 2023](https://arxiv.org/abs/2310.04378), algorithm 3, with the
/// boundary conditions of its appendix).
#[derive(Debug)]
pub(super) struct Lcm(pub Table);

impl Scheduler for Lcm {
    fn table(&self) -> &Table {
        &self.0
    }

    fn step(
        &mut self,
        output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn NormalSource,
    ) -> Result<(), DiffusionError> {
        const DATA_DEVIATION: f64 = 0.5;
        const TIME_SCALE: f64 = 10.0;
        let at = self.0.take_clipped(output, sample)?;
        let time = f64::from(self.0.timesteps[at]) * TIME_SCALE;
        let total = time.powi(2) + DATA_DEVIATION.powi(2);
        let (skip, out) = (DATA_DEVIATION.powi(2) / total, time / total.sqrt());
        let to = self.0.points[at + 1];
        blend(sample, to.alpha * skip, &self.0.denoised, to.alpha * out);
        add_fresh_noise(sample, to.sigma, noise);
        Ok(())
    }
}
