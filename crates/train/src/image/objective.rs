//! Denoising: how much noise is mixed in, what the network is to give, and what its error weighs.

use medley_kernels::pool::parallel_chunks;
use medley_models::dit::{Condition, Dit, TextStates};
use medley_nn::Tensor;
use medley_sampling::diffusion::{BetaShape, NoiseSchedule, Point, Prediction, share_noise};
use serde::{Deserialize, Serialize};

use crate::random::{Purpose, normal, normal_at, unit};
use crate::{Error, Result};

/// How data and noise are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Mixing {
    /// Along straight lines, x = (1 - σ)·x₀ + σ·ε, and the network is told 1000·σ
    /// ([Lipman et al. 2022](https://arxiv.org/abs/2210.02747)).
    Flow {
        /// How levels are drawn.
        times: Times,
    },
    /// With a variance that is kept, over [`TIMESTEPS`] that are all as likely.
    Diffusion {
        /// Shape of the schedule, with the usual first and last β.
        betas: BetaShape,
        /// Largest signal-to-noise ratio that counts, γ of
        /// [min-SNR](https://arxiv.org/abs/2303.09556) (Hang et al. 2023).
        min_snr: Option<f64>,
    },
}

/// How noise levels of flows are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Times {
    /// All alike.
    Uniform,
    /// The logistic function of a normal number, more of the middle ([Esser et al. 2024](https://arxiv.org/abs/2403.03206), section 3.1).
    LogitNormal {
        /// Mean of the normal number; above 0 for more noise.
        mean: f64,
        /// Its standard deviation.
        deviation: f64,
    },
}

/// Training timesteps.
pub const TIMESTEPS: usize = 1000;
/// β of the first and the last timestep of schedules that have them.
pub const BETAS: (f64, f64) = (1e-4, 0.02);

/// Pictures or clips with noise, and what is to be found in them.
#[derive(Clone, Debug)]
pub struct NoisyBatch {
    /// `[clips, channels, frames, height, width]`; a picture is a clip of one frame.
    pub shape: [usize; 5],
    /// The pictures with noise.
    pub noisy: Vec<f32>,
    /// What the network is to give.
    pub target: Vec<f32>,
    /// What it is told of the noise, one a picture, 0 … 1000.
    pub timesteps: Vec<f32>,
    /// Which frames of which clips are given without noise; none at all for no frame.
    pub known: Vec<bool>,
    /// What the squared error of a frame weighs, `[clips, frames]`; none for 1.
    pub weights: Option<Vec<f32>>,
    /// Captions as states, `[pictures, tokens, width]`, and how many tokens of each count.
    pub text: Option<(Tensor, Vec<usize>)>,
}

/// The rule by which batches are made and judged.
#[derive(Clone, Debug)]
pub struct Denoising {
    prediction: Prediction,
    mixing: Mixing,
    /// Signal and noise of each timestep, for diffusion.
    points: Vec<Point>,
    /// Share of the noise's variance that the frames of a clip have in common.
    shared: f64,
}

impl Denoising {
    /// # Errors
    /// [`Error::Setting`] for a pair that does not go together, [`Error::Diffusion`] for an impossible schedule.
    pub fn new(prediction: Prediction, mixing: Mixing) -> Result<Self> {
        let points = match mixing {
            Mixing::Flow { times } => {
                if prediction != Prediction::Flow {
                    return Err(Error::Setting(format!(
                        "{prediction} belongs to diffusion; straight lines of flow are learned as flow"
                    )));
                }
                if let Times::LogitNormal { mean, deviation } = times
                    && !(mean.is_finite() && deviation.is_finite() && deviation > 0.0)
                {
                    return Err(Error::Setting(format!(
                        "logit-normal times of mean {mean} and deviation {deviation}: the deviation must be above 0"
                    )));
                }
                Vec::new()
            }
            Mixing::Diffusion { betas, min_snr } => {
                if prediction == Prediction::Flow {
                    return Err(Error::Setting(
                        "flow is learned along straight lines; diffusion predicts epsilon, v or sample".into(),
                    ));
                }
                if min_snr.is_some_and(|gamma| !(gamma.is_finite() && gamma > 0.0)) {
                    return Err(Error::Setting("min-SNR must be above 0".into()));
                }
                NoiseSchedule::new(betas, TIMESTEPS, BETAS.0, BETAS.1)?.points()
            }
        };
        Ok(Self {
            prediction,
            mixing,
            points,
            shared: 0.0,
        })
    }

    /// The same, where the frames of a clip have this share of their noise's variance in common
    /// ([Ge et al. 2023](https://arxiv.org/abs/2305.10474), section 3, where it is α²/(1 + α²)).
    ///
    /// # Errors
    /// [`Error::Setting`] for a share that is none.
    pub fn sharing(self, shared: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&shared) {
            return Err(Error::Setting(format!(
                "a share of common noise of {shared} must be 0 to 1"
            )));
        }
        Ok(Self { shared, ..self })
    }

    /// What the network gives.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// A share of (0, 1), as levels are to be drawn, of a share that is drawn evenly and a normal number.
    fn drawn(&self, share: f64, normal: f64) -> f64 {
        match self.mixing {
            Mixing::Flow {
                times: Times::LogitNormal { mean, deviation },
            } => 1.0 / (1.0 + (-(mean + deviation * normal)).exp()),
            _ => share,
        }
    }

    /// Level and timestep at a share of (0, 1).
    fn level(&self, share: f64) -> (Point, f32) {
        match self.mixing {
            Mixing::Flow { .. } => (Point::flow(share), (share * TIMESTEPS as f64) as f32),
            Mixing::Diffusion { .. } => {
                let last = self.points.len().saturating_sub(1);
                let at = ((share * self.points.len() as f64) as usize).min(last);
                (self.points[at], at as f32)
            }
        }
    }

    /// Weight of a squared error at a level, where it is not 1: min(SNR, γ) of the error in x₀, as what is predicted
    /// scales it.
    fn weight(&self, point: Point) -> Option<f32> {
        let Mixing::Diffusion {
            min_snr: Some(gamma),
            ..
        } = self.mixing
        else {
            return None;
        };
        let snr = (point.alpha / point.sigma.max(1e-12)).powi(2);
        let least = snr.min(gamma);
        Some(match self.prediction {
            Prediction::Epsilon => least / snr.max(1e-12),
            Prediction::V => least / (snr + 1.0),
            _ => least,
        } as f32)
    }

    /// Mixes noise into `pictures` of `shape`, clips frame by frame, but for the frames that are `known`. Draws depend on
    /// `seed` and `number` alone. `even` spreads the levels evenly over the batch, for measuring.
    pub fn mix(
        &self,
        pictures: &[f32],
        shape: [usize; 5],
        known: Vec<bool>,
        (seed, number): (u64, u64),
        even: bool,
    ) -> NoisyBatch {
        let each = shape[1..].iter().product::<usize>().max(1);
        let mut draws = normal(seed, Purpose::Time, number, shape[0]);
        let mut batch = NoisyBatch {
            shape,
            noisy: Vec::with_capacity(pictures.len()),
            target: Vec::with_capacity(pictures.len()),
            timesteps: Vec::with_capacity(shape[0]),
            known,
            weights: None,
            text: None,
        };
        let mut points = Vec::with_capacity(shape[0]);
        for i in 0..shape[0] {
            let share = match even {
                true => (i as f64 + 0.5) / shape[0] as f64,
                false => unit(seed, Purpose::Time, number, (shape[0] + i) as u64),
            };
            let draw = draws.next().unwrap_or(0.0);
            let share = if even { share } else { self.drawn(share, draw) };
            let (point, timestep) = self.level(share);
            points.push(point);
            batch.timesteps.push(timestep);
            if let Some(weight) = self.weight(point) {
                let weights = batch.weights.get_or_insert_default();
                weights.extend(std::iter::repeat_n(weight, shape[2]));
            }
        }
        // Noise and target of each, side by side on all threads.
        let mut made: Vec<(Vec<f32>, Vec<f32>)> = vec![Default::default(); points.len()];
        parallel_chunks(&mut made, 1, |i, made| {
            let places = (i * each) as u64..((i + 1) * each) as u64;
            let noise = normal_at(seed, Purpose::Noise, number, places);
            let mut noise: Vec<f32> = noise.map(|n| n as f32).collect();
            self.share(&mut noise, shape, (seed, number, i));
            let (point, picture) = (points[i], &pictures[i * each..(i + 1) * each]);
            let (alpha, sigma) = (point.alpha as f32, point.sigma as f32);
            let mixed = picture
                .iter()
                .zip(&noise)
                .map(|(x, n)| alpha * x + sigma * n);
            let target = self.prediction.target(point, picture, &noise);
            if let [made] = made {
                *made = (mixed.collect(), target);
            }
        });
        for (noisy, target) in made {
            batch.noisy.extend(noisy);
            batch.target.extend(target);
        }
        batch.give(pictures);
        batch
    }

    /// Puts the common part into the noise of a clip, `[channels, frames, height · width]`.
    fn share(&self, noise: &mut [f32], shape: [usize; 5], (seed, number, clip): (u64, u64, usize)) {
        let [_, channels, frames, height, width] = shape;
        if frames == 1 || self.shared == 0.0 {
            return;
        }
        let plane = height * width;
        let place = number
            .wrapping_mul(shape[0] as u64)
            .wrapping_add(clip as u64);
        let common: Vec<f32> = normal(seed, Purpose::SharedNoise, place, channels * plane)
            .map(|n| n as f32)
            .collect();
        share_noise(noise, &common, [frames, plane], self.shared);
    }
}

impl NoisyBatch {
    /// Puts back the frames that are known, and leaves them out of the error.
    fn give(&mut self, pictures: &[f32]) {
        if self.known.is_empty() {
            return;
        }
        let [clips, channels, frames, height, width] = self.shape;
        let plane = height * width;
        let weights = self
            .weights
            .get_or_insert_with(|| vec![1.0; clips * frames]);
        for (clip, known) in self.known.chunks_exact(frames).enumerate() {
            let weights = &mut weights[clip * frames..][..frames];
            let unknown = known.iter().filter(|known| !**known).count();
            for (frame, known) in known.iter().enumerate() {
                if !known {
                    // Each clip counts alike, whatever is known of it.
                    weights[frame] *= frames as f32 / unknown as f32;
                    continue;
                }
                weights[frame] = 0.0;
                for channel in 0..channels {
                    let at = ((clip * channels + channel) * frames + frame) * plane;
                    self.noisy[at..at + plane].copy_from_slice(&pictures[at..at + plane]);
                }
            }
        }
    }
}

/// The mean squared error of `network` on a batch, weighted as the batch says.
///
/// # Errors
/// [`Error::Model`] where the batch does not fit the network.
pub fn denoising_loss(network: &Dit, batch: &NoisyBatch) -> Result<Tensor> {
    let device = network.device();
    let tensor = |values: &[f32]| {
        Tensor::from_slice(values, &batch.shape[..], device).map_err(medley_nn::Error::from)
    };
    let text = batch
        .text
        .as_ref()
        .map(|(states, lengths)| TextStates { states, lengths });
    let condition = Condition {
        text,
        classes: None,
    };
    let output = network.forward_clips(
        &tensor(&batch.noisy)?,
        &batch.timesteps,
        &batch.known,
        &condition,
    )?;
    let target = tensor(&batch.target)?;
    let loss = || {
        let error = (output - target)?.sqr()?;
        match &batch.weights {
            None => error.mean_all(),
            Some(weights) => {
                let dims = (batch.shape[0], 1, batch.shape[2], 1, 1);
                let weights = Tensor::from_vec(weights.clone(), dims, device)?;
                error.broadcast_mul(&weights)?.mean_all()
            }
        }
    };
    Ok(loss().map_err(medley_nn::Error::from)?)
}
