//! A style-based adversarial pair after StyleGAN2 (Karras et al. 2020): a mapping network with class or text
//! condition, modulated convolutions with demodulation, colours summed over resolutions; a residual discriminator with
//! the deviation of the batch and projection of the condition (Miyato & Koyama 2018).
//!
//! It differs from NVIDIA's in that images grow by bilinear interpolation and shrink by means, and layers add no noise.

mod config;
mod discriminator;
mod generator;

use medley_nn::vision::leaky_relu_bias;
use medley_nn::{Device, Linear, Tensor, Weights};

pub use config::StyleGan2Config;
pub use discriminator::Discriminator;
pub use generator::Generator;

use crate::{ConfigError, Result};

/// Slope of activations below 0.
const SLOPE: f32 = 0.2;
/// What keeps the variance through an activation.
const GAIN: f32 = std::f32::consts::SQRT_2;

/// A dense layer whose weights are of unit variance and scaled when used (equalised learning rate, Karras et al. 2018).
struct Dense {
    weight: Linear,
    bias: Tensor,
    /// Of the weights.
    gain: f64,
    /// Of the bias.
    rate: f64,
}

impl Dense {
    fn new(weights: &Weights, name: &str, [inputs, out]: [usize; 2], rate: f64) -> Result<Self> {
        Ok(Self {
            weight: weights.matrix(
                &format!("{name}.weight"),
                &[out, inputs],
                0..out,
                inputs,
                None,
            )?,
            bias: weights.tensor(&format!("{name}.bias"), &[out])?,
            gain: rate / (inputs as f64).sqrt(),
            rate,
        })
    }

    fn bias(&self) -> Result<Tensor> {
        match self.rate {
            1.0 => Ok(self.bias.clone()),
            rate => Ok((&self.bias * rate)?),
        }
    }

    fn product(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.weight.forward(&(x * self.gain)?)?)
    }

    /// `[batch, in]` → `[batch, out]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.product(x)?.broadcast_add(&self.bias()?)?)
    }

    /// The same, activated.
    fn activated(&self, x: &Tensor) -> Result<Tensor> {
        Ok(leaky_relu_bias(
            &self.product(x)?,
            &self.bias()?,
            SLOPE,
            GAIN,
        )?)
    }
}

/// Rows to a mean square of 1.
fn unit(x: &Tensor) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(1)?;
    Ok(x.broadcast_div(&(mean + 1e-8)?.sqrt()?)?)
}

/// The condition of a model that has one.
fn checked(condition: Option<&Tensor>, width: usize, batch: usize) -> Result<Option<&Tensor>> {
    match condition {
        None if width == 0 => Ok(None),
        Some(c) if width > 0 && c.dims() == [batch, width] => Ok(Some(c)),
        other => Err(medley_nn::Error::Config(format!(
            "a condition of {:?} for {batch} samples of a model whose condition has {width} numbers",
            other.map(Tensor::dims)
        ))
        .into()),
    }
}

/// Classes as conditions, `[classes.len(), count]`: 1 at the class, 0 elsewhere.
///
/// # Errors
/// [`ConfigError::Nn`] for a class that is not below `count`.
pub fn one_hot(classes: &[u32], count: usize, device: &Device) -> Result<Tensor> {
    let mut values = vec![0.0f32; classes.len() * count];
    for (row, &class) in values.chunks_exact_mut(count.max(1)).zip(classes) {
        match row.get_mut(class as usize) {
            Some(value) => *value = 1.0,
            None => {
                return Err(ConfigError::Nn(medley_nn::Error::Config(format!(
                    "class {class} of {count}"
                ))));
            }
        }
    }
    Ok(Tensor::from_vec(values, (classes.len(), count), device)?)
}
