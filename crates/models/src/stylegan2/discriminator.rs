//! From pictures to how real they look.

use medley_nn::vision::{average_pool, channels_first, channels_last, conv2d, leaky_relu_bias};
use medley_nn::{Tensor, Weights};

use super::{Dense, GAIN, SLOPE, StyleGan2Config, checked, unit};
use crate::Result;

/// Samples that are compared with each other.
const GROUP: usize = 4;

/// A convolution whose weights are of unit variance and scaled when used.
struct Conv {
    /// `[out, in, kernel, kernel]`
    weight: Tensor,
    bias: Option<Tensor>,
    gain: f64,
    padding: usize,
}

impl Conv {
    fn new(
        weights: &Weights,
        name: &str,
        [inputs, out]: [usize; 2],
        kernel: usize,
    ) -> Result<Self> {
        Ok(Self {
            weight: weights.tensor(&format!("{name}.weight"), &[out, inputs, kernel, kernel])?,
            bias: weights.optional(&format!("{name}.bias"), &[out])?,
            gain: 1.0 / ((inputs * kernel * kernel) as f64).sqrt(),
            padding: kernel / 2,
        })
    }

    fn forward(&self, x: &Tensor, gain: f32) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => {
                let y = conv2d(x, &(&self.weight * self.gain)?, None, 1, self.padding)?;
                Ok(leaky_relu_bias(&y, bias, SLOPE, gain)?)
            }
            None => {
                let weight = (&self.weight * (self.gain * f64::from(gain)))?;
                Ok(conv2d(x, &weight, None, 1, self.padding)?)
            }
        }
    }
}

struct Block {
    skip: Conv,
    conv0: Conv,
    conv1: Conv,
}

/// From pictures to how real they look.
pub struct Discriminator {
    config: StyleGan2Config,
    fromrgb: Conv,
    blocks: Vec<Block>,
    conv: Conv,
    fc: Dense,
    out: Dense,
    embed: Option<Dense>,
}

impl Discriminator {
    /// Makes every layer of `config` out of `weights`.
    ///
    /// # Errors
    /// [`ConfigError`](crate::ConfigError) where a weight is missing or has another shape.
    pub fn new(config: StyleGan2Config, weights: &Weights) -> Result<Self> {
        let c = &config;
        let last = c.width(4);
        let block = |size: usize| -> Result<Block> {
            let (inputs, out) = (c.width(size), c.width(size / 2));
            let conv = |name: &str, sizes, kernel| {
                Conv::new(weights, &format!("b{size}.{name}"), sizes, kernel)
            };
            Ok(Block {
                skip: conv("skip", [inputs, out], 1)?,
                conv0: conv("conv0", [inputs, inputs], 3)?,
                conv1: conv("conv1", [inputs, out], 3)?,
            })
        };
        let (embed, scores) = match c.condition {
            0 => (None, 1),
            n => (
                Some(Dense::new(weights, "mapping.embed", [n, c.style], 1.0)?),
                c.style,
            ),
        };
        let name = format!("b{}.fromrgb", c.size);
        Ok(Self {
            fromrgb: Conv::new(weights, &name, [c.channels, c.width(c.size)], 1)?,
            blocks: c
                .sizes()
                .rev()
                .filter(|&size| size > 4)
                .map(block)
                .collect::<Result<_>>()?,
            conv: Conv::new(weights, "b4.conv", [last + 1, last], 3)?,
            fc: Dense::new(weights, "b4.fc", [last * 16, last], 1.0)?,
            out: Dense::new(weights, "b4.out", [last, scores], 1.0)?,
            embed,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &StyleGan2Config {
        &self.config
    }

    /// Pictures `[batch, channels, size, size]`, with a condition `[batch, condition]` where the model has one, to
    /// scores `[batch]`: higher for what looks real.
    ///
    /// # Errors
    /// [`ConfigError::Nn`](crate::ConfigError::Nn) where operands do not fit the model.
    pub fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        if [channels, height, width] != [self.config.channels, self.config.size, self.config.size] {
            return Err(medley_nn::Error::Config(format!(
                "pictures of {channels} × {height} × {width} for a discriminator of {0} × {1} × {1}",
                self.config.channels, self.config.size
            ))
            .into());
        }
        let condition = checked(condition, self.config.condition, batch)?;
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let mut x = self.fromrgb.forward(&channels_last(x)?, GAIN)?;
        for block in &self.blocks {
            let skip = block.skip.forward(&average_pool(&x, 2)?, half)?;
            let y = average_pool(&block.conv0.forward(&x, GAIN)?, 2)?;
            x = (skip + block.conv1.forward(&y, GAIN * half)?)?;
        }
        x = self.conv.forward(&with_deviation(&x)?, GAIN)?;
        let x = self
            .fc
            .activated(&channels_first(&x)?.reshape((batch, ()))?)?;
        let scores = self.out.forward(&x)?;
        let (Some(embed), Some(condition)) = (&self.embed, condition) else {
            return Ok(scores.reshape(batch)?);
        };
        let towards = unit(&embed.forward(condition)?)?;
        let scale = 1.0 / (self.config.style as f64).sqrt();
        Ok(((scores * towards)?.sum(1)? * scale)?)
    }
}

/// `[batch, h, w, c]` → `[batch, h, w, c + 1]`: with how much samples of a group differ, one number a group (Karras et
/// al. 2018).
fn with_deviation(x: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let group = match batch.is_multiple_of(GROUP) {
        true => GROUP,
        false => batch,
    };
    let y = x.reshape((group, batch / group, height * width * channels))?;
    let y = y.broadcast_sub(&y.mean_keepdim(0)?)?;
    let deviation = (y.sqr()?.mean(0)? + 1e-8)?.sqrt()?.mean(1)?; // [groups]
    let each = deviation
        .reshape((1, batch / group))?
        .broadcast_as((group, batch / group))?
        .reshape((batch, 1, 1, 1))?;
    let plane = each.broadcast_as((batch, height, width, 1))?.contiguous()?;
    Ok(Tensor::cat(&[x, &plane], 3)?)
}
