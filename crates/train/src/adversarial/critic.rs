//! The discriminator as it learns and as the other network sees it.

use medley_models::stylegan2::{Discriminator, StyleGan2Config};
use medley_nn::{Device, Error as NnError, Parameters, Tensor, Weights};

use super::{AdversarialLoss, input_gradient, r1};
use crate::Result;
use crate::step::scalar;

/// A discriminator over parameters in training.
pub struct Critic {
    learning: Discriminator,
    still: Discriminator,
}

/// What a step of the discriminator saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// Scores of the real pictures.
    pub real: Vec<f32>,
    /// The loss without the penalty.
    pub loss: f64,
    /// E‖∇ₓD(x)‖², where the penalty was taken.
    pub squared_slope: Option<f64>,
}

impl Critic {
    /// A discriminator of this shape.
    ///
    /// # Errors
    /// [`crate::Error::Model`] where a parameter is missing or has another shape.
    pub fn new(shape: &StyleGan2Config, parameters: &Parameters) -> Result<Self> {
        let weights = || Weights::from_vars(parameters.vars(), &Device::Cpu);
        Ok(Self {
            learning: Discriminator::new(shape.clone(), &weights())?,
            still: Discriminator::new(shape.clone(), &weights().frozen())?,
        })
    }

    /// It without gradients for its parameters.
    pub fn still(&self) -> &Discriminator {
        &self.still
    }

    /// What it wants of real and made pictures: to tell them apart, and where the penalty has a weight, without its scores
    /// being steep at the real ones.
    ///
    /// # Errors
    /// [`crate::Error::Model`], [`crate::Error::Nn`].
    pub fn judging(
        &self,
        wants: AdversarialLoss,
        [real, made]: [&Tensor; 2],
        condition: Option<&Tensor>,
        penalty: Option<f64>,
    ) -> Result<(Tensor, Judged)> {
        let made = self.learning.forward(made, condition)?;
        let judged = |scores: &Tensor| -> Result<(Tensor, Judged)> {
            let loss = wants.discriminator(scores, &made)?;
            let judged = Judged {
                real: scores.to_vec1().map_err(NnError::from)?,
                loss: f64::from(scalar(&loss)?),
                squared_slope: None,
            };
            Ok((loss, judged))
        };
        let Some(weight) = penalty else {
            return judged(&self.learning.forward(real, condition)?);
        };
        let frozen = |x: &Tensor| Ok(self.still.forward(x, condition)?);
        let gradient = input_gradient(&frozen, real)?;
        let (scores, slopes) = self.learning.forward_along(real, &gradient, condition)?;
        let (loss, mut judged) = judged(&scores)?;
        let (penalty, square) = r1(&gradient, &slopes)?;
        judged.squared_slope = Some(square);
        let penalty = (penalty * weight).map_err(NnError::from)?;
        Ok(((penalty + loss).map_err(NnError::from)?, judged))
    }

    /// What the other network wants: that its pictures are taken for real.
    ///
    /// # Errors
    /// [`crate::Error::Model`], [`crate::Error::Nn`].
    pub fn making(
        &self,
        wants: AdversarialLoss,
        made: &Tensor,
        condition: Option<&Tensor>,
    ) -> Result<Tensor> {
        wants.generator(&self.still.forward(made, condition)?)
    }
}
