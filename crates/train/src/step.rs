//! One step of training.

use medley_nn::train::{Compute, Gradients, backward, with_compute};
use medley_nn::{Parameters, Tensor};

use crate::optim::{Optimiser, OptimiserSettings, clip_factor, global_norm};
use crate::schedule::Schedule;
use crate::{Ema, Error, Result};

/// What a model is trained for.
pub trait Objective {
    /// What one loss is taken of.
    type Batch;

    /// The loss of a batch, a tensor of one element that gradients flow back from.
    fn loss(&mut self, batch: &Self::Batch) -> Result<Tensor>;
}

/// Settings of steps.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings {
    /// Optimiser.
    pub optimiser: OptimiserSettings,
    /// Learning rates.
    pub schedule: Schedule,
    /// Largest norm of all gradients together; they are shrunk to it. None for no limit.
    pub clip: Option<f64>,
    /// How products are computed.
    pub compute: Compute,
    /// Decay of averaged weights, or none.
    pub ema: Option<f64>,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// Mean loss over its batches.
    pub loss: f64,
    /// Norm of the gradients before they were shrunk.
    pub norm: f64,
    /// Learning rate.
    pub rate: f64,
}

/// Parameters on their way.
pub struct Trainer {
    settings: StepSettings,
    parameters: Parameters,
    gradients: Gradients,
    optimiser: Optimiser,
    ema: Option<Ema>,
}

impl Trainer {
    /// A trainer at its first step.
    pub fn new(parameters: Parameters, settings: StepSettings) -> Result<Self> {
        let ema = settings
            .ema
            .map(|decay| Ema::new(&parameters, decay))
            .transpose()?;
        Ok(Self {
            optimiser: Optimiser::new(settings.optimiser),
            gradients: Gradients::of(parameters.all().iter().map(|p| &p.var)),
            settings,
            parameters,
            ema,
        })
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.optimiser.steps()
    }

    /// Settings.
    pub fn settings(&self) -> &StepSettings {
        &self.settings
    }

    /// What is trained.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The optimiser.
    pub fn optimiser(&self) -> &Optimiser {
        &self.optimiser
    }

    /// The optimiser, to be restored.
    pub fn optimiser_mut(&mut self) -> &mut Optimiser {
        &mut self.optimiser
    }

    /// Averaged weights.
    pub fn ema(&self) -> Option<&Ema> {
        self.ema.as_ref()
    }

    /// Averaged weights, to be restored.
    pub fn ema_mut(&mut self) -> Option<&mut Ema> {
        self.ema.as_mut()
    }

    /// Exchanges parameters and averaged weights, where there are any; a second call puts them back.
    pub fn swap_averages(&mut self) -> Result<()> {
        match &mut self.ema {
            Some(ema) => ema.swap(&self.parameters),
            None => Ok(()),
        }
    }

    /// One step over the mean loss of `batches`, whose gradients are added up one batch after the other. Where the loss
    /// or a gradient is no number, nothing is changed and [`Error::NotFinite`] says so.
    pub fn step<O: Objective>(
        &mut self,
        objective: &mut O,
        batches: &[O::Batch],
    ) -> Result<StepReport> {
        let step = self.steps() + 1;
        let not_finite = |what, value| Error::NotFinite { step, what, value };
        self.gradients.clear();
        let mut sum = 0.0;
        for batch in batches {
            let loss = with_compute(self.settings.compute, || -> Result<f64> {
                let loss = objective.loss(batch)?;
                let value = f64::from(scalar(&loss)?);
                if value.is_finite() {
                    backward(&loss, &mut self.gradients)?;
                }
                Ok(value)
            })?;
            if !loss.is_finite() {
                return Err(not_finite("loss", loss));
            }
            sum += loss;
        }
        let share = 1.0 / batches.len().max(1) as f64;
        let norm = global_norm(&self.parameters, &self.gradients) * share;
        if !norm.is_finite() {
            return Err(not_finite("norm of the gradients", norm));
        }
        let shrink = self
            .settings
            .clip
            .map_or(1.0, |limit| clip_factor(norm, limit));
        let rate = self.settings.schedule.rate(step);
        self.optimiser
            .step(&self.parameters, &self.gradients, rate, share * shrink)?;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.parameters, step)?;
        }
        Ok(StepReport {
            step,
            loss: sum * share,
            norm,
            rate,
        })
    }
}

/// The number in a tensor of one element.
pub fn scalar(x: &Tensor) -> Result<f32> {
    let values = x.flatten_all().and_then(|x| x.to_vec1::<f32>());
    let values = values.map_err(medley_nn::Error::from)?;
    match values.as_slice() {
        [value] => Ok(*value),
        _ => Err(Error::Setting(format!(
            "a loss has one element, not {:?}",
            x.dims()
        ))),
    }
}
