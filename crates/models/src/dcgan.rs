//! The deep convolutional adversarial pair (Radford et al. 2015), with the names of PyTorch's example, so that
//! checkpoints of it load. Beside its 64 pixels, any power of two from 16 on.

use medley_nn::vision::{
    BatchNorm, BatchStatistics, Conv2d, ConvTranspose2d, activation, channels_first, channels_last,
    leaky_relu,
};
use medley_nn::{Activation, Tensor, Weights};
use serde_json::{Value, json};

use crate::json::{required, size};
use crate::parameters::{Init, List, Parameter};
use crate::{ConfigError, Result};

/// Shape of a generator and its discriminator.
#[derive(Clone, Debug, PartialEq)]
pub struct DcganConfig {
    /// Numbers that a picture is made from.
    pub latent: usize,
    /// Channels of a picture.
    pub channels: usize,
    /// Height and width of a picture: a power of two from 16 on.
    pub size: usize,
    /// Channels of the generator's last states; they double with every halving of the sides.
    pub generator_features: usize,
    /// Channels of the discriminator's first states.
    pub discriminator_features: usize,
}

/// Slope of the discriminator's activations below 0.
const SLOPE: f32 = 0.2;
/// Added to variances.
const EPS: f32 = 1e-5;

impl DcganConfig {
    /// Name in `config.json`.
    pub const MODEL_TYPE: &str = "dcgan";

    /// Reads `config.json` as [`DcganConfig::to_json`] writes it.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is missing or cannot be used.
    pub fn from_json(c: &Value) -> Result<Self> {
        required(c, "model_type", Self::MODEL_TYPE)?;
        let config = Self {
            latent: size(c, "latent", 1..=1 << 16)?,
            channels: size(c, "channels", 1..=64)?,
            size: size(c, "size", 16..=1024)?,
            generator_features: size(c, "generator_features", 1..=4096)?,
            discriminator_features: size(c, "discriminator_features", 1..=4096)?,
        };
        if !config.size.is_power_of_two() {
            return Err(ConfigError::invalid(
                "size",
                config.size,
                "it must be a power of two",
            ));
        }
        Ok(config)
    }

    /// `config.json`.
    pub fn to_json(&self) -> Value {
        json!({
            "model_type": Self::MODEL_TYPE,
            "latent": self.latent,
            "channels": self.channels,
            "size": self.size,
            "generator_features": self.generator_features,
            "discriminator_features": self.discriminator_features,
        })
    }

    /// Reads the shape out of a generator's tensors, which is all that published checkpoints have. The discriminator is
    /// taken to be as wide.
    ///
    /// # Errors
    /// [`ConfigError`] where they are no DCGAN generator.
    pub fn from_generator(weights: &Weights) -> Result<Self> {
        let count = (0..16)
            .take_while(|i| weights.has(&format!("main.{}.weight", 3 * i)))
            .count();
        let dims = |i: usize| weights.shape(&format!("main.{}.weight", 3 * i));
        let (first, last) = (dims(0)?, dims(count.max(1) - 1)?);
        let (&[latent, _, _, _], &[features, channels, 4, 4]) = (first.as_slice(), last.as_slice())
        else {
            return Err(ConfigError::missing(
                "main.0.weight, a transposed convolution of 4 × 4",
            ));
        };
        if !(3..=9).contains(&count) {
            return Err(ConfigError::invalid(
                "main",
                format!("{count} convolutions"),
                "it must have from 3 to 9",
            ));
        }
        Ok(Self {
            latent,
            channels,
            size: 2 << count,
            generator_features: features,
            discriminator_features: features,
        })
    }

    /// Halvings from the picture to 4 × 4.
    fn levels(&self) -> usize {
        self.size.ilog2() as usize - 2
    }

    /// Channels of the generator's states, from 4 × 4 on.
    fn generator_widths(&self) -> Vec<usize> {
        let levels = (0..self.levels()).rev();
        levels.map(|i| self.generator_features << i).collect()
    }

    /// Channels of the discriminator's states, down to 4 × 4.
    fn discriminator_widths(&self) -> Vec<usize> {
        (0..self.levels())
            .map(|i| self.discriminator_features << i)
            .collect()
    }

    /// Every parameter of the generator, with the values of the paper before training.
    pub fn generator_parameters(&self) -> Vec<Parameter> {
        let (mut list, mut inputs) = (List::default(), self.latent);
        let mut widths = self.generator_widths();
        widths.push(self.channels);
        for (i, &out) in widths.iter().enumerate() {
            let name = format!("main.{}.weight", 3 * i);
            list.push(name, &[inputs, out, 4, 4], Init::Normal(0.02));
            if i + 1 < widths.len() {
                batch_norm(&mut list, &format!("main.{}", 3 * i + 1), out);
            }
            inputs = out;
        }
        list.0
    }

    /// Every parameter of the discriminator.
    pub fn discriminator_parameters(&self) -> Vec<Parameter> {
        let (mut list, mut inputs) = (List::default(), self.channels);
        let mut widths = self.discriminator_widths();
        widths.push(1);
        for (i, &out) in widths.iter().enumerate() {
            let name = format!("main.{}.weight", discriminator_index(i));
            list.push(name, &[out, inputs, 4, 4], Init::Normal(0.02));
            if i > 0 && i + 1 < widths.len() {
                batch_norm(
                    &mut list,
                    &format!("main.{}", discriminator_index(i) + 1),
                    out,
                );
            }
            inputs = out;
        }
        list.0
    }
}

/// The example numbers layers through: convolution, norm (but for the first), activation.
fn discriminator_index(i: usize) -> usize {
    if i == 0 { 0 } else { 3 * i - 1 }
}

fn batch_norm(list: &mut List, name: &str, width: usize) {
    list.push(
        format!("{name}.weight"),
        &[width],
        Init::NormalAroundOne(0.02),
    );
    list.push(format!("{name}.bias"), &[width], Init::Zeros);
    list.statistic(format!("{name}.running_mean"), &[width], Init::Zeros);
    list.statistic(format!("{name}.running_var"), &[width], Init::Ones);
}

/// Applies a norm by running statistics, or by those of the batch, which are kept.
fn normed(norm: &BatchNorm, x: &Tensor, seen: Option<&mut Vec<BatchStatistics>>) -> Result<Tensor> {
    let Some(seen) = seen else {
        return Ok(norm.forward(x)?);
    };
    let (y, statistics) = norm.forward_train(x)?;
    seen.push(statistics);
    Ok(y)
}

/// From numbers to pictures.
pub struct Generator {
    config: DcganConfig,
    layers: Vec<(ConvTranspose2d, Option<BatchNorm>)>,
}

impl Generator {
    /// Makes every layer of `config` out of `weights`.
    ///
    /// # Errors
    /// [`ConfigError`] where a weight is missing or has another shape.
    pub fn new(config: DcganConfig, weights: &Weights) -> Result<Self> {
        let mut widths = config.generator_widths();
        widths.push(config.channels);
        let mut inputs = config.latent;
        let mut layers = Vec::with_capacity(widths.len());
        for (i, &out) in widths.iter().enumerate() {
            let (name, norm) = (format!("main.{}", 3 * i), format!("main.{}", 3 * i + 1));
            let (stride, padding) = if i == 0 { (1, 0) } else { (2, 1) };
            let conv = ConvTranspose2d::new(weights, &name, [inputs, out], 4, stride, padding)?;
            let norm = match i + 1 < widths.len() {
                true => Some(BatchNorm::new(weights, &norm, out, EPS)?),
                false => None,
            };
            layers.push((conv, norm));
            inputs = out;
        }
        Ok(Self { config, layers })
    }

    /// Shape.
    pub fn config(&self) -> &DcganConfig {
        &self.config
    }

    /// Standard normal numbers `[batch, latent]` to pictures `[batch, channels, size, size]`, −1 … 1.
    ///
    /// # Errors
    /// Where there are more or fewer numbers.
    pub fn forward(&self, z: &Tensor) -> Result<Tensor> {
        self.run(z, None)
    }

    /// The same with norms by the statistics of the batch, which are given beside, one for each norm in order.
    ///
    /// # Errors
    /// As [`Generator::forward`].
    pub fn forward_train(&self, z: &Tensor) -> Result<(Tensor, Vec<BatchStatistics>)> {
        let mut seen = Vec::new();
        let x = self.run(z, Some(&mut seen))?;
        Ok((x, seen))
    }

    fn run(&self, z: &Tensor, mut seen: Option<&mut Vec<BatchStatistics>>) -> Result<Tensor> {
        let mut x = z.reshape((z.dim(0)?, 1, 1, ()))?;
        for (conv, norm) in &self.layers {
            x = conv.forward(&x)?;
            x = match norm {
                Some(norm) => {
                    activation(Activation::Relu, &normed(norm, &x, seen.as_deref_mut())?)?
                }
                None => activation(Activation::Tanh, &x)?,
            };
        }
        Ok(channels_first(&x)?)
    }

    /// Names of the norms, in order, for those who move running statistics.
    pub fn norms(&self) -> Vec<String> {
        (0..self.layers.len() - 1)
            .map(|i| format!("main.{}", 3 * i + 1))
            .collect()
    }
}

/// From pictures to how real they look.
pub struct Discriminator {
    config: DcganConfig,
    layers: Vec<(Conv2d, Option<BatchNorm>)>,
}

impl Discriminator {
    /// Makes every layer of `config` out of `weights`.
    ///
    /// # Errors
    /// [`ConfigError`] where a weight is missing or has another shape.
    pub fn new(config: DcganConfig, weights: &Weights) -> Result<Self> {
        let mut widths = config.discriminator_widths();
        widths.push(1);
        let mut inputs = config.channels;
        let mut layers = Vec::with_capacity(widths.len());
        for (i, &out) in widths.iter().enumerate() {
            let index = discriminator_index(i);
            let (name, norm) = (format!("main.{index}"), format!("main.{}", index + 1));
            let last = i + 1 == widths.len();
            let (stride, padding) = if last { (1, 0) } else { (2, 1) };
            let conv = Conv2d::new(weights, &name, [inputs, out], 4)?.stepping(stride, padding);
            let norm = match i > 0 && !last {
                true => Some(BatchNorm::new(weights, &norm, out, EPS)?),
                false => None,
            };
            layers.push((conv, norm));
            inputs = out;
        }
        Ok(Self { config, layers })
    }

    /// Shape.
    pub fn config(&self) -> &DcganConfig {
        &self.config
    }

    /// Pictures `[batch, channels, size, size]`, −1 … 1, to scores `[batch]`, whose sigmoid is the chance of being real.
    ///
    /// # Errors
    /// Where the pictures have another size.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, None)
    }

    /// The same with norms by the statistics of the batch, which are given beside, one for each norm in order.
    ///
    /// # Errors
    /// As [`Discriminator::forward`].
    pub fn forward_train(&self, x: &Tensor) -> Result<(Tensor, Vec<BatchStatistics>)> {
        let mut seen = Vec::new();
        let y = self.run(x, Some(&mut seen))?;
        Ok((y, seen))
    }

    fn run(&self, x: &Tensor, mut seen: Option<&mut Vec<BatchStatistics>>) -> Result<Tensor> {
        let (batch, _, height, width) = x.dims4()?;
        if [height, width] != [self.config.size; 2] {
            return Err(medley_nn::Error::Config(format!(
                "pictures of {height} × {width} for a discriminator of {0} × {0}",
                self.config.size
            ))
            .into());
        }
        let mut x = channels_last(x)?;
        for (i, (conv, norm)) in self.layers.iter().enumerate() {
            x = conv.forward(&x)?;
            if let Some(norm) = norm {
                x = normed(norm, &x, seen.as_deref_mut())?;
            }
            if i + 1 < self.layers.len() {
                x = leaky_relu(&x, SLOPE)?;
            }
        }
        Ok(x.reshape(batch)?)
    }

    /// Names of the norms, in order, for those who move running statistics.
    pub fn norms(&self) -> Vec<String> {
        let inner = 1..self.layers.len() - 1;
        inner
            .map(|i| format!("main.{}", discriminator_index(i) + 1))
            .collect()
    }
}
