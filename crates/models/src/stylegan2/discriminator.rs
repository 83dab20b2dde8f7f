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

    fn forward(&self, x: &Along, gain: f32) -> Result<Along> {
        let scale = match self.bias {
            Some(_) => self.gain,
            None => self.gain * f64::from(gain),
        };
        let weight = (&self.weight * scale)?;
        let y = x.linear(|x| Ok(conv2d(x, &weight, None, 1, self.padding)?))?;
        match &self.bias {
            Some(bias) => y.activated(bias, gain),
            None => Ok(y),
        }
    }
}

/// States and, where that is asked for, how they change along a direction of the pictures: their derivative by forward
/// differentiation (the R operator of Pearlmutter 1994), which gradients flow back from once more.
struct Along {
    x: Tensor,
    change: Option<Tensor>,
}

impl Along {
    /// The result of what is linear, which is linear in the change too.
    fn linear(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self {
            x: f(&self.x)?,
            change: self.change.as_ref().map(f).transpose()?,
        })
    }

    fn activated(&self, bias: &Tensor, gain: f32) -> Result<Self> {
        let x = leaky_relu_bias(&self.x, bias, SLOPE, gain)?;
        let change = match &self.change {
            Some(change) => {
                let (high, low) = (f64::from(gain), f64::from(gain * SLOPE));
                let positive = x.detach().gt(0f32)?.to_dtype(x.dtype())?;
                Some((change * positive.affine(high - low, low)?)?)
            }
            None => None,
        };
        Ok(Self { x, change })
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        Ok(Self {
            x: (&self.x + &other.x)?,
            change: match (&self.change, &other.change) {
                (Some(a), Some(b)) => Some((a + b)?),
                _ => None,
            },
        })
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
        Ok(self.along(x, None, condition)?.x)
    }

    /// Scores `[batch]`, and the derivative of each as pictures go along `direction`, which has their shape. Gradients flow
    /// back from both; those of the derivative are second derivatives of the scores.
    ///
    /// # Errors
    /// As [`Discriminator::forward`].
    pub fn forward_along(
        &self,
        x: &Tensor,
        direction: &Tensor,
        condition: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let Along { x: scores, change } = self.along(x, Some(direction), condition)?;
        let change = change.map_or_else(|| scores.zeros_like(), Ok)?;
        Ok((scores, change))
    }

    fn along(
        &self,
        x: &Tensor,
        direction: Option<&Tensor>,
        condition: Option<&Tensor>,
    ) -> Result<Along> {
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
        let pooled = |x: &Tensor| Ok(average_pool(x, 2)?);
        let x = Along {
            x: channels_last(x)?,
            change: direction.map(channels_last).transpose()?,
        };
        let mut x = self.fromrgb.forward(&x, GAIN)?;
        for block in &self.blocks {
            let skip = block.skip.forward(&x.linear(pooled)?, half)?;
            let y = block.conv0.forward(&x, GAIN)?.linear(pooled)?;
            x = skip.plus(&block.conv1.forward(&y, GAIN * half)?)?;
        }
        x = self.conv.forward(&with_deviation(&x)?, GAIN)?;
        let flat = x.linear(|x| Ok(channels_first(x)?.reshape((batch, ()))?))?;
        let x = flat.linear(|x| self.fc.product(x))?;
        let x = x.activated(&self.fc.bias()?, GAIN)?;
        let bias = self.out.bias()?;
        let mut scores = x.linear(|x| self.out.product(x))?;
        scores.x = scores.x.broadcast_add(&bias)?;
        let (Some(embed), Some(condition)) = (&self.embed, condition) else {
            return scores.linear(|s| Ok(s.reshape(batch)?));
        };
        let towards = unit(&embed.forward(condition)?)?;
        let scale = 1.0 / (self.config.style as f64).sqrt();
        scores.linear(|s| Ok(((s * &towards)?.sum(1)? * scale)?))
    }
}

/// `[batch, h, w, c]` → `[batch, h, w, c + 1]`: with how much samples of a group differ, one number a group (Karras et
/// al. 2018).
fn with_deviation(x: &Along) -> Result<Along> {
    let (batch, height, width, channels) = x.x.dims4()?;
    let group = match batch.is_multiple_of(GROUP) {
        true => GROUP,
        false => batch,
    };
    let centred = |x: &Tensor| -> Result<Tensor> {
        let y = x.reshape((group, batch / group, height * width * channels))?;
        Ok(y.broadcast_sub(&y.mean_keepdim(0)?)?)
    };
    // One number a group as a channel beside the others.
    let beside = |x: &Tensor, number: &Tensor| -> Result<Tensor> {
        let each = number
            .reshape((1, batch / group))?
            .broadcast_as((group, batch / group))?
            .reshape((batch, 1, 1, 1))?;
        let plane = each.broadcast_as((batch, height, width, 1))?.contiguous()?;
        Ok(Tensor::cat(&[x, &plane], 3)?)
    };
    let y = centred(&x.x)?;
    let deviation = (y.sqr()?.mean(0)? + 1e-8)?.sqrt()?; // [groups, values]
    let change = match &x.change {
        Some(change) => {
            let along = (&y * centred(change)?)?.mean(0)?;
            Some(beside(change, &(along / &deviation)?.mean(1)?)?)
        }
        None => None,
    };
    Ok(Along {
        x: beside(&x.x, &deviation.mean(1)?)?,
        change,
    })
}
