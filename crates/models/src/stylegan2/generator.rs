//! From numbers to styles to pictures.

use medley_nn::vision::{
    channels_first, conv2d, leaky_relu_bias, scale_channels, upsample_bilinear,
};
use medley_nn::{Tensor, Weights};

use super::config::MAPPING_RATE;
use super::{Dense, GAIN, SLOPE, StyleGan2Config, checked, unit};
use crate::Result;

/// A convolution whose inputs are scaled by a style.
struct Styled {
    affine: Dense,
    /// `[out, in, kernel, kernel]`
    weight: Tensor,
    bias: Tensor,
    padding: usize,
}

impl Styled {
    fn new(
        c: &StyleGan2Config,
        weights: &Weights,
        name: &str,
        [inputs, out]: [usize; 2],
        kernel: usize,
    ) -> Result<Self> {
        let affine = format!("{name}.affine");
        Ok(Self {
            affine: Dense::new(weights, &affine, [c.style, inputs], 1.0)?,
            weight: weights.tensor(&format!("{name}.weight"), &[out, inputs, kernel, kernel])?,
            bias: weights.tensor(&format!("{name}.bias"), &[out])?,
            padding: kernel / 2,
        })
    }

    /// With every output of unit variance for inputs of unit variance: scaling inputs by the style and outputs by the
    /// norm of the scaled weights is the convolution with modulated and demodulated weights.
    fn activated(&self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        let style = self.affine.forward(w)?; // [batch, in]
        let y = conv2d(
            &scale_channels(x, &style)?,
            &self.weight,
            None,
            1,
            self.padding,
        )?;
        let squares = self.weight.sqr()?.sum((2, 3))?; // [out, in]
        let norms = (style.sqr()?.matmul(&squares.t()?)? + 1e-8)?.sqrt()?;
        let y = scale_channels(&y, &norms.recip()?)?;
        Ok(leaky_relu_bias(&y, &self.bias, SLOPE, GAIN)?)
    }

    /// To colours, neither demodulated nor activated.
    fn colours(&self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        let gain = 1.0 / (self.weight.dim(1)? as f64).sqrt();
        let style = (self.affine.forward(w)? * gain)?;
        let y = conv2d(
            &scale_channels(x, &style)?,
            &self.weight,
            None,
            1,
            self.padding,
        )?;
        Ok(y.broadcast_add(&self.bias)?)
    }
}

struct Block {
    /// From the states of half the height; not at 4.
    conv0: Option<Styled>,
    conv1: Styled,
    torgb: Styled,
}

/// From numbers to pictures.
pub struct Generator {
    config: StyleGan2Config,
    embed: Option<Dense>,
    mapping: Vec<Dense>,
    /// `[style]`: the mean style, which truncation draws towards.
    w_avg: Tensor,
    /// `[width, 4, 4]`
    constant: Tensor,
    blocks: Vec<Block>,
}

impl Generator {
    /// Makes every layer of `config` out of `weights`.
    ///
    /// # Errors
    /// [`ConfigError`](crate::ConfigError) where a weight is missing or has another shape.
    pub fn new(config: StyleGan2Config, weights: &Weights) -> Result<Self> {
        let c = &config;
        let embed = match c.condition {
            0 => None,
            n => Some(Dense::new(weights, "mapping.embed", [n, c.style], 1.0)?),
        };
        let mapping = |i: usize| {
            let inputs = if i == 0 { c.mapping_inputs() } else { c.style };
            Dense::new(
                weights,
                &format!("mapping.fc{i}"),
                [inputs, c.style],
                MAPPING_RATE,
            )
        };
        let mut blocks = Vec::new();
        let first = c.width(4);
        let mut inputs = first;
        for size in c.sizes() {
            let out = c.width(size);
            let styled = |name: &str, sizes, kernel| {
                Styled::new(
                    c,
                    weights,
                    &format!("synthesis.b{size}.{name}"),
                    sizes,
                    kernel,
                )
            };
            blocks.push(Block {
                conv0: match size {
                    4 => None,
                    _ => Some(styled("conv0", [inputs, out], 3)?),
                },
                conv1: styled("conv1", [out, out], 3)?,
                torgb: styled("torgb", [out, c.channels], 1)?,
            });
            inputs = out;
        }
        Ok(Self {
            embed,
            mapping: (0..c.mapping_layers).map(mapping).collect::<Result<_>>()?,
            w_avg: weights.tensor("mapping.w_avg", &[c.style])?.detach(),
            constant: weights.tensor("synthesis.b4.const", &[first, 4, 4])?,
            blocks,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &StyleGan2Config {
        &self.config
    }

    /// Standard normal numbers `[batch, latent]`, with a condition `[batch, condition]` where the model has one, to
    /// styles `[batch, style]`.
    ///
    /// # Errors
    /// [`ConfigError::Nn`](crate::ConfigError::Nn) where operands do not fit the model.
    pub fn map(&self, z: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let condition = checked(condition, self.config.condition, z.dim(0)?)?;
        let mut w = unit(z)?;
        if let (Some(embed), Some(condition)) = (&self.embed, condition) {
            w = Tensor::cat(&[w, unit(&embed.forward(condition)?)?], 1)?;
        }
        for layer in &self.mapping {
            w = layer.activated(&w)?;
        }
        Ok(w)
    }

    /// Styles drawn towards their mean: 1 leaves them, 0 gives the mean picture (Brock et al. 2018).
    ///
    /// # Errors
    /// Where the styles have another width.
    pub fn truncate(&self, w: &Tensor, truncation: f64) -> Result<Tensor> {
        let away = w.broadcast_sub(&self.w_avg)?;
        Ok((away * truncation)?.broadcast_add(&self.w_avg)?)
    }

    /// Styles `[batch, style]` to pictures `[batch, channels, size, size]`, around −1 … 1.
    ///
    /// # Errors
    /// Where the styles have another width.
    pub fn synthesize(&self, w: &Tensor) -> Result<Tensor> {
        let batch = w.dim(0)?;
        let constant = self.constant.permute((1, 2, 0))?.unsqueeze(0)?;
        let mut x = constant
            .broadcast_as((batch, 4, 4, self.config.width(4)))?
            .contiguous()?;
        let mut picture: Option<Tensor> = None;
        for block in &self.blocks {
            if let Some(conv0) = &block.conv0 {
                x = conv0.activated(&upsample_bilinear(&x, 2)?, w)?;
            }
            x = block.conv1.activated(&x, w)?;
            let colours = block.torgb.colours(&x, w)?;
            picture = Some(match picture {
                Some(smaller) => (upsample_bilinear(&smaller, 2)? + colours)?,
                None => colours,
            });
        }
        match picture {
            Some(picture) => Ok(channels_first(&picture)?),
            None => Err(medley_nn::Error::Config("a generator without blocks".into()).into()),
        }
    }

    /// [`Generator::map`] and [`Generator::synthesize`].
    ///
    /// # Errors
    /// As those.
    pub fn forward(&self, z: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        self.synthesize(&self.map(z, condition)?)
    }
}
