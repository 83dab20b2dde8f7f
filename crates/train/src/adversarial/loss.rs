//! What the two networks want.

use medley_nn::{Error as NnError, Tensor};
use serde::{Deserialize, Serialize};

use crate::Result;

/// The losses of a pair over scores `[batch]`, high for what looks real.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdversarialLoss {
    /// Non-saturating logistic ([Goodfellow et al. 2014](https://arxiv.org/abs/1406.2661), section 3): the discriminator
    /// minimises softplus(−real) + softplus(made), the generator softplus(−made).
    #[default]
    Logistic,
    /// Hinge ([Lim and Ye 2017](https://arxiv.org/abs/1705.02894)): the discriminator minimises
    /// max(0, 1 − real) + max(0, 1 + made), the generator −made.
    Hinge,
}

impl AdversarialLoss {
    /// The discriminator's, the mean over real and the mean over made pictures added.
    ///
    /// # Errors
    /// [`crate::Error::Nn`] from the tensor library.
    pub fn discriminator(self, real: &Tensor, made: &Tensor) -> Result<Tensor> {
        let sum = || match self {
            Self::Logistic => softplus(&real.neg()?)?.mean_all()? + softplus(made)?.mean_all()?,
            Self::Hinge => {
                let real = (1.0 - real)?.relu()?;
                real.mean_all()? + (made + 1.0)?.relu()?.mean_all()?
            }
        };
        Ok(sum().map_err(NnError::from)?)
    }

    /// The generator's, a mean.
    ///
    /// # Errors
    /// [`crate::Error::Nn`] from the tensor library.
    pub fn generator(self, made: &Tensor) -> Result<Tensor> {
        let mean = match self {
            Self::Logistic => made.neg().and_then(|x| softplus(&x)?.mean_all()),
            Self::Hinge => made.mean_all().and_then(|x| x.neg()),
        };
        Ok(mean.map_err(NnError::from)?)
    }
}

/// ln(1 + eˣ) without overflow.
fn softplus(x: &Tensor) -> std::result::Result<Tensor, medley_nn::TensorError> {
    let rest = (x.abs()?.neg()?.exp()? + 1.0)?.log()?;
    x.relu()? + rest
}

#[cfg(test)]
mod tests {
    use medley_nn::Device;

    use super::*;
    use crate::step::scalar;

    fn scores(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_values_are_those_of_the_formulas() {
        let (real, made) = ([0.5f32, -2.0, 200.0], [-1.5f32, 0.25, 3.0]);
        let plus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let mean = |f: &dyn Fn(f64) -> f64, of: &[f32]| {
            of.iter().map(|&x| f(f64::from(x))).sum::<f64>() / of.len() as f64
        };
        let expected = [
            mean(&|x| plus(-x), &real) + mean(&plus, &made),
            mean(&|x| plus(-x), &made),
            mean(&|x| (1.0 - x).max(0.0), &real) + mean(&|x| (1.0 + x).max(0.0), &made),
            -mean(&|x| x, &made),
        ];
        let (real, made) = (scores(&real), scores(&made));
        let mut found = Vec::new();
        for loss in [AdversarialLoss::Logistic, AdversarialLoss::Hinge] {
            found.push(scalar(&loss.discriminator(&real, &made).unwrap()).unwrap());
            found.push(scalar(&loss.generator(&made).unwrap()).unwrap());
        }
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-6,
                "{found} {expected}"
            );
        }
    }
}
