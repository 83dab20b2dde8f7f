//! The two networks and their steps.

use medley_models::stylegan2::{Generator, StyleGan2Config};
use medley_nn::{Device, Error as NnError, Parameter, Parameters, Tensor, Weights};

use crate::adversarial::{AdversarialLoss, Critic, Distortion, Judged, distort};
use crate::random::{self, Purpose};
use crate::{Error, Objective, Result};

/// Real pictures with what is said about them, and all that a step draws.
pub struct GanBatch {
    /// `[batch, 3, size, size]` in [−1, 1]
    pub pixels: Tensor,
    /// `[batch, condition]`, where the model has one.
    pub condition: Option<Tensor>,
    /// `[batch, latent]`: what pictures are made of that the discriminator learns from, and that the generator does.
    pub latents: [Tensor; 2],
    /// What is done to the real pictures, to those that the discriminator learns from, and to those that the generator
    /// does.
    pub distortions: [Vec<Distortion>; 3],
    /// Which batch of the run it is, from 0.
    pub number: u64,
}

impl GanBatch {
    /// Pictures.
    pub fn len(&self) -> usize {
        self.pixels.dims()[0]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A generator and its discriminator, each as it learns and as the other sees it.
pub struct Pair {
    pub(super) generator: Generator,
    pub(super) still_generator: Generator,
    pub(super) critic: Critic,
    average: Parameter,
}

/// What the mean of styles keeps at a step (Karras et al.'s `w_avg_beta`).
const AVERAGE: f64 = 0.998;

/// Latent vectors `[count, width]`, drawn by seed and number.
pub(super) fn latents(seed: u64, number: u64, count: usize, width: usize) -> Result<Tensor> {
    let values = random::normal(seed, Purpose::Latent, number, count * width);
    let values: Vec<f32> = values.map(|x| x as f32).collect();
    Ok(Tensor::from_vec(values, (count, width), &Device::Cpu).map_err(NnError::from)?)
}

impl Pair {
    /// Networks of this shape over parameters in training.
    ///
    /// # Errors
    /// [`Error::Model`] where a parameter is missing or has another shape.
    pub fn new(
        shape: &StyleGan2Config,
        generator: &Parameters,
        discriminator: &Parameters,
    ) -> Result<Self> {
        let weights = |p: &Parameters| Weights::from_vars(p.vars(), &Device::Cpu);
        let average = generator.get("mapping.w_avg").cloned();
        Ok(Self {
            generator: Generator::new(shape.clone(), &weights(generator))?,
            still_generator: Generator::new(shape.clone(), &weights(generator).frozen())?,
            critic: Critic::new(shape, discriminator)?,
            average: average
                .ok_or_else(|| Error::State("the generator has no mean style".into()))?,
        })
    }

    /// Shape.
    pub fn config(&self) -> &StyleGan2Config {
        self.generator.config()
    }

    /// What the generator wants of a batch: that the discriminator takes what it makes for real. Moves the mean style.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Nn`].
    pub fn making(&self, batch: &GanBatch, loss: AdversarialLoss) -> Result<Tensor> {
        let condition = batch.condition.as_ref();
        let w = self.generator.map(&batch.latents[1], condition)?;
        self.remember(&w, batch.number)?;
        let made = distort(&self.generator.synthesize(&w)?, &batch.distortions[2])?;
        self.critic.making(loss, &made, condition)
    }

    /// Moves the mean style towards those of a batch; at first faster, so that the beginning is forgotten.
    fn remember(&self, w: &Tensor, number: u64) -> Result<()> {
        let mean: Vec<f32> = w
            .detach()
            .mean(0)
            .and_then(|w| w.to_vec1())
            .map_err(NnError::from)?;
        let number = number as f64;
        let kept = AVERAGE.min((1.0 + number) / (10.0 + number)) as f32;
        self.average.update(|average| {
            for (average, now) in average.iter_mut().zip(&mean) {
                *average = kept * *average + (1.0 - kept) * now;
            }
        })?;
        Ok(())
    }
}

/// What the discriminator wants of a batch: to tell real pictures from made ones.
pub struct Judge<'a> {
    /// The networks.
    pub pair: &'a Pair,
    /// Of both.
    pub loss: AdversarialLoss,
    /// Weight of the penalty, or none.
    pub penalty: Option<f64>,
    /// What was seen.
    pub seen: Judged,
}

impl Objective for Judge<'_> {
    type Batch = GanBatch;

    fn loss(&mut self, batch: &GanBatch) -> Result<Tensor> {
        let (pair, condition) = (self.pair, batch.condition.as_ref());
        let made = pair.still_generator.forward(&batch.latents[0], condition)?;
        let real = distort(&batch.pixels, &batch.distortions[0])?;
        let made = distort(&made, &batch.distortions[1])?;
        let pictures = [&real, &made];
        let (loss, seen) = pair
            .critic
            .judging(self.loss, pictures, condition, self.penalty)?;
        self.seen = seen;
        Ok(loss)
    }
}
