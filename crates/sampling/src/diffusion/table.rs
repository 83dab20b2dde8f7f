//! The stops of a run and what every sampler does at each of them.

use super::error::{DiffusionError, in_range, same_length};
use super::noise::NormalSource;
use super::prediction::Prediction;

/// Signal and noise in a sample: x = α·x₀ + σ·ε.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Factor α of the clean data.
    pub alpha: f64,
    /// Factor σ of the noise.
    pub sigma: f64,
}

impl Point {
    /// The clean data.
    pub const CLEAN: Self = Self {
        alpha: 1.0,
        sigma: 0.0,
    };

    /// Unit variance: α² + σ² = 1, at the ratio `sigma` of noise over signal.
    pub fn preserving(sigma: f64) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self {
            alpha,
            sigma: sigma * alpha,
        }
    }

    /// Unit signal: α = 1.
    pub fn exploding(sigma: f64) -> Self {
        Self { alpha: 1.0, sigma }
    }

    /// A straight line between data and noise: α = 1 - σ.
    pub fn flow(sigma: f64) -> Self {
        Self {
            alpha: 1.0 - sigma,
            sigma,
        }
    }

    /// √(α² + σ²).
    pub fn norm(self) -> f64 {
        self.alpha.hypot(self.sigma)
    }

    /// α·`original` + σ·`noise`.
    ///
    /// # Errors
    /// [`DiffusionError::Length`] if the two differ in length.
    pub fn mix(self, original: &[f32], noise: &[f32]) -> Result<Vec<f32>, DiffusionError> {
        same_length("the noise", noise.len(), original.len())?;
        let mut mixed = original.to_vec();
        blend(&mut mixed, self.alpha, noise, self.sigma);
        Ok(mixed)
    }

    /// Half the logarithm of the signal-to-noise ratio, λ = ln(α/σ).
    pub fn lambda(self) -> f64 {
        self.alpha.ln() - self.sigma.ln()
    }
}

/// The timesteps and noise levels of one run, and where the run is in them.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) timesteps: Vec<f32>,
    /// One more than timesteps: the last is where the run ends.
    pub(super) points: Vec<Point>,
    pub(super) prediction: Prediction,
    pub(super) clip: Option<f32>,
    pub(super) scales_input: bool,
    pub(super) initial_scale: f64,
    /// Model evaluations in a step, but for the last step, which has one.
    pub(super) per_step: usize,
    pub(super) done: usize,
    pub(super) denoised: Vec<f32>,
}

impl Table {
    /// What the network is told at each evaluation of the run, in order: training timesteps, which
    /// need not be whole; for flow models σ times the number of training timesteps.
    pub fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    /// Signal and noise of the sample at each evaluation, and at the end.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Evaluations done so far.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Steps of the run.
    pub fn steps(&self) -> usize {
        self.timesteps.len().div_ceil(self.per_step)
    }

    /// Whether a whole number of steps is done. Within a step of a sampler that evaluates twice, the
    /// sample is provisional: what inpainting puts into it would be lost.
    pub fn is_between_steps(&self) -> bool {
        self.done.is_multiple_of(self.per_step) || self.done == self.timesteps.len()
    }

    /// The timestep of the next evaluation; none when the run is over.
    pub fn timestep(&self) -> Option<f32> {
        self.timesteps.get(self.done).copied()
    }

    /// The last estimate of the clean data x₀, for previews; empty before the first step.
    pub fn denoised(&self) -> &[f32] {
        &self.denoised
    }

    /// Turns standard normal noise into the sample a run from pure noise starts with.
    pub fn scale_initial(&self, noise: &mut [f32]) {
        for value in noise {
            *value = (f64::from(*value) * self.initial_scale) as f32;
        }
    }

    /// The network's input at the next evaluation: `sample`, brought to unit variance where the
    /// sampler keeps it otherwise.
    pub fn scale_input(&self, sample: &[f32]) -> Vec<f32> {
        let mut input = sample.to_vec();
        let point = self.points[self.done.min(self.points.len() - 1)];
        if self.scales_input && point.norm() != 1.0 {
            let norm = point.norm();
            for value in &mut input {
                *value = (f64::from(*value) / norm) as f32;
            }
        }
        input
    }

    /// `original` with as much of `noise` as belongs to the next evaluation: what a run from a picture
    /// starts with, and what inpainting puts back outside its mask after each step.
    ///
    /// # Errors
    /// [`DiffusionError::Length`] if the two differ in length.
    pub fn add_noise(&self, original: &[f32], noise: &[f32]) -> Result<Vec<f32>, DiffusionError> {
        let point = self.points[self.done.min(self.points.len() - 1)];
        point.mix(original, noise)
    }

    /// Leaves out the first steps, so that a run does the last `strength` (0 to 1) of them, at least one.
    pub(super) fn keep(&mut self, strength: f64) -> Result<(), DiffusionError> {
        let valid = 0.0 < strength && strength <= 1.0;
        in_range(valid, "the strength", strength, "above 0, at most 1")?;
        let steps = self.steps();
        let kept = ((steps as f64 * strength) as usize).clamp(1, steps);
        let dropped = (steps - kept) * self.per_step;
        self.timesteps.drain(..dropped);
        self.points.drain(..dropped);
        Ok(())
    }

    /// Takes in the model's output at the next evaluation: `denoised` is then the estimate of x₀.
    /// Gives the evaluation's index.
    pub(super) fn take(&mut self, output: &[f32], sample: &[f32]) -> Result<usize, DiffusionError> {
        let at = self.done;
        if at == self.timesteps.len() {
            return Err(DiffusionError::Finished { evaluations: at });
        }
        same_length("the model's output", output.len(), sample.len())?;
        if let Some(index) = output.iter().position(|value| !value.is_finite()) {
            return Err(DiffusionError::NotFinite {
                evaluation: at + 1,
                index,
                value: output[index].to_string(),
            });
        }
        let (of_sample, of_output) = self.prediction.weights(self.points[at]);
        self.denoised.clear();
        self.denoised.extend(
            sample
                .iter()
                .zip(output)
                .map(|(&x, &o)| (of_sample * f64::from(x) + of_output * f64::from(o)) as f32),
        );
        self.done += 1;
        Ok(at)
    }

    /// Clips the estimate of x₀, where that is asked for.
    pub(super) fn clip_denoised(&mut self) {
        if let Some(limit) = self.clip {
            for value in &mut self.denoised {
                *value = value.clamp(-limit, limit);
            }
        }
    }

    /// [`take`](Self::take), clipped.
    pub(super) fn take_clipped(
        &mut self,
        output: &[f32],
        sample: &[f32],
    ) -> Result<usize, DiffusionError> {
        let at = self.take(output, sample)?;
        self.clip_denoised();
        Ok(at)
    }

    /// Moves `sample` from one point to another along the straight line to the estimate of x₀: the exact
    /// solution where that estimate is constant. It is Euler's step in noise over signal, DDIM's step
    /// without noise and DPM-Solver++'s first-order step at once.
    pub(super) fn move_towards_denoised(&self, sample: &mut [f32], from: Point, to: Point) {
        let keep = to.sigma / from.sigma;
        blend(sample, keep, &self.denoised, to.alpha - from.alpha * keep);
    }
}

/// sample = keep·sample + add·other.
pub(super) fn blend(sample: &mut [f32], keep: f64, other: &[f32], add: f64) {
    for (x, &o) in sample.iter_mut().zip(other) {
        *x = (keep * f64::from(*x) + add * f64::from(o)) as f32;
    }
}

/// Adds `scale` times fresh noise; draws none where `scale` is 0.
pub(super) fn add_fresh_noise(sample: &mut [f32], scale: f64, noise: &mut dyn NormalSource) {
    if scale == 0.0 {
        return;
    }
    let mut fresh = vec![0.0; sample.len()];
    noise.fill_normal(&mut fresh);
    blend(sample, 1.0, &fresh, scale);
}
