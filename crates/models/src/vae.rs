//! The convolutional variational autoencoder of latent diffusion (Kingma & Welling 2013; Rombach et al. 2022), in the
//! layout and with the names of diffusers' `AutoencoderKL`, so that published checkpoints load.

use medley_nn::vision::{
    Conv2d, GroupNorm, Heads, activation, channels_first, channels_last, self_attention,
    upsample_nearest,
};
use medley_nn::{Activation, Linear, Tensor, Weights};
use serde_json::{Value, json};

use crate::json::{float, size, sizes, switch};
use crate::parameters::{List, Parameter, xavier};
use crate::{ConfigError, Result};

/// Shape of an autoencoder.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Channels of an image.
    pub in_channels: usize,
    /// Channels of what the decoder gives.
    pub out_channels: usize,
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Channels of each level, from the largest images to the smallest; each level but the last halves the sides.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level; the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of the norms; divides the channels of every level.
    pub norm_num_groups: usize,
    /// What diffusion multiplies latents by.
    pub scaling_factor: f32,
    /// What diffusion subtracts from latents before.
    pub shift_factor: f32,
    /// Whether a convolution of one pixel follows the encoder.
    pub use_quant_conv: bool,
    /// Whether one comes before the decoder.
    pub use_post_quant_conv: bool,
    /// Whether pixels of the smallest images look at each other.
    pub mid_block_add_attention: bool,
}

/// Added to variances; the same in all published models.
const EPS: f32 = 1e-6;

impl VaeConfig {
    /// Reads diffusers' `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is missing or cannot be used.
    pub fn from_json(c: &Value) -> Result<Self> {
        let word = |key: &str, known: &str| match c.get(key).and_then(Value::as_str) {
            None => Ok(()),
            Some(found) if found == known => Ok(()),
            Some(found) => Err(ConfigError::invalid(
                key,
                found,
                &format!("it must be {known}"),
            )),
        };
        word("_class_name", "AutoencoderKL")?;
        word("act_fn", "silu")?;
        for (key, known) in [
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ] {
            let list = c.get(key).and_then(Value::as_array);
            if let Some(other) = list.and_then(|l| l.iter().find(|v| v.as_str() != Some(known))) {
                return Err(ConfigError::invalid(
                    key,
                    other,
                    &format!("each must be {known}"),
                ));
            }
        }
        let config = Self {
            in_channels: size(c, "in_channels", 1..=4096)?,
            out_channels: size(c, "out_channels", 1..=4096)?,
            latent_channels: size(c, "latent_channels", 1..=4096)?,
            block_out_channels: sizes(c, "block_out_channels", 1..=1 << 14)?,
            layers_per_block: size(c, "layers_per_block", 1..=64)?,
            norm_num_groups: size(c, "norm_num_groups", 1..=4096)?,
            scaling_factor: float(c, "scaling_factor", 0.18215)?,
            shift_factor: float(c, "shift_factor", 0.0)?,
            use_quant_conv: switch(c, "use_quant_conv", true)?,
            use_post_quant_conv: switch(c, "use_post_quant_conv", true)?,
            mid_block_add_attention: switch(c, "mid_block_add_attention", true)?,
        };
        let groups = config.norm_num_groups;
        if let Some(n) = config
            .block_out_channels
            .iter()
            .find(|n| !n.is_multiple_of(groups))
        {
            return Err(ConfigError::invalid(
                "norm_num_groups",
                groups,
                &format!("it must divide block_out_channels, one of which is {n}"),
            ));
        }
        Ok(config)
    }

    /// diffusers' `config.json`.
    pub fn to_json(&self) -> Value {
        let levels = self.block_out_channels.len();
        json!({
            "_class_name": "AutoencoderKL",
            "act_fn": "silu",
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "latent_channels": self.latent_channels,
            "block_out_channels": self.block_out_channels,
            "down_block_types": vec!["DownEncoderBlock2D"; levels],
            "up_block_types": vec!["UpDecoderBlock2D"; levels],
            "layers_per_block": self.layers_per_block,
            "norm_num_groups": self.norm_num_groups,
            "scaling_factor": self.scaling_factor,
            "shift_factor": self.shift_factor,
            "use_quant_conv": self.use_quant_conv,
            "use_post_quant_conv": self.use_post_quant_conv,
            "mid_block_add_attention": self.mid_block_add_attention,
        })
    }

    /// Pixels along a side of an image for each of a latent.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    fn first(&self) -> usize {
        self.block_out_channels[0]
    }

    fn last(&self) -> usize {
        self.block_out_channels[self.block_out_channels.len() - 1]
    }

    /// Every parameter, with values to begin training from.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = List::default();
        let conv = |list: &mut List, name: &str, [inputs, out]: [usize; 2], kernel: usize| {
            list.conv(name, out, inputs, kernel, 1.0);
        };
        let (first, last, levels) = (self.first(), self.last(), self.block_out_channels.len());
        conv(&mut list, "encoder.conv_in", [self.in_channels, first], 3);
        let mut inputs = first;
        for (i, &out) in self.block_out_channels.iter().enumerate() {
            let prefix = format!("encoder.down_blocks.{i}");
            self.level(&mut list, &prefix, [inputs, out], self.layers_per_block);
            if i + 1 < levels {
                conv(
                    &mut list,
                    &format!("{prefix}.downsamplers.0.conv"),
                    [out, out],
                    3,
                );
            }
            inputs = out;
        }
        self.middle(&mut list, "encoder.mid_block", last);
        list.norm("encoder.conv_norm_out", last);
        conv(
            &mut list,
            "encoder.conv_out",
            [last, 2 * self.latent_channels],
            3,
        );
        if self.use_quant_conv {
            conv(&mut list, "quant_conv", [2 * self.latent_channels; 2], 1);
        }
        if self.use_post_quant_conv {
            conv(&mut list, "post_quant_conv", [self.latent_channels; 2], 1);
        }
        conv(
            &mut list,
            "decoder.conv_in",
            [self.latent_channels, last],
            3,
        );
        self.middle(&mut list, "decoder.mid_block", last);
        let mut inputs = last;
        for (i, &out) in self.block_out_channels.iter().rev().enumerate() {
            let prefix = format!("decoder.up_blocks.{i}");
            self.level(&mut list, &prefix, [inputs, out], self.layers_per_block + 1);
            if i + 1 < levels {
                conv(
                    &mut list,
                    &format!("{prefix}.upsamplers.0.conv"),
                    [out, out],
                    3,
                );
            }
            inputs = out;
        }
        list.norm("decoder.conv_norm_out", first);
        conv(&mut list, "decoder.conv_out", [first, self.out_channels], 3);
        list.0
    }

    fn level(&self, list: &mut List, prefix: &str, [inputs, out]: [usize; 2], count: usize) {
        for j in 0..count {
            let inputs = if j == 0 { inputs } else { out };
            residual_parameters(list, &format!("{prefix}.resnets.{j}"), [inputs, out]);
        }
    }

    fn middle(&self, list: &mut List, prefix: &str, width: usize) {
        for j in 0..2 {
            residual_parameters(list, &format!("{prefix}.resnets.{j}"), [width, width]);
        }
        if self.mid_block_add_attention {
            let prefix = format!("{prefix}.attentions.0");
            list.norm(&format!("{prefix}.group_norm"), width);
            for name in ["to_q", "to_k", "to_v", "to_out.0"] {
                list.linear(
                    &format!("{prefix}.{name}"),
                    width,
                    width,
                    xavier(width, width),
                );
            }
        }
    }
}

fn residual_parameters(list: &mut List, prefix: &str, [inputs, out]: [usize; 2]) {
    list.norm(&format!("{prefix}.norm1"), inputs);
    list.conv(&format!("{prefix}.conv1"), out, inputs, 3, 1.0);
    list.norm(&format!("{prefix}.norm2"), out);
    list.conv(&format!("{prefix}.conv2"), out, out, 3, 1.0);
    if inputs != out {
        list.conv(&format!("{prefix}.conv_shortcut"), out, inputs, 1, 1.0);
    }
}

/// Norm, activation and convolution twice, beside a shortcut (He et al. 2016).
struct Residual {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
}

impl Residual {
    fn new(
        c: &VaeConfig,
        weights: &Weights,
        prefix: &str,
        [inputs, out]: [usize; 2],
    ) -> Result<Self> {
        let conv = |name: &str, sizes, kernel| {
            Conv2d::new(weights, &format!("{prefix}.{name}"), sizes, kernel)
        };
        let norm = |name: &str, width| {
            GroupNorm::new(
                weights,
                &format!("{prefix}.{name}"),
                width,
                c.norm_num_groups,
                EPS,
            )
        };
        let shortcut = match inputs == out {
            true => None,
            false => Some(conv("conv_shortcut", [inputs, out], 1)?),
        };
        Ok(Self {
            norm1: norm("norm1", inputs)?,
            conv1: conv("conv1", [inputs, out], 3)?,
            norm2: norm("norm2", out)?,
            conv2: conv("conv2", [out, out], 3)?,
            shortcut,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.conv1.forward(&silu(&self.norm1.forward(x)?)?)?;
        let y = self.conv2.forward(&silu(&self.norm2.forward(&y)?)?)?;
        Ok(match &self.shortcut {
            Some(conv) => (conv.forward(x)? + y)?,
            None => (x + y)?,
        })
    }
}

fn silu(x: &Tensor) -> Result<Tensor> {
    Ok(activation(Activation::Silu, x)?)
}

/// Attention of all pixels with one head.
struct PixelAttention {
    norm: GroupNorm,
    to_qkv: [Linear; 3],
    to_out: Linear,
}

impl PixelAttention {
    fn new(c: &VaeConfig, weights: &Weights, prefix: &str, width: usize) -> Result<Self> {
        // The names of the first published checkpoints.
        let old = weights.has(&format!("{prefix}.query.weight"));
        let names = match old {
            true => ["query", "key", "value", "proj_attn"],
            false => ["to_q", "to_k", "to_v", "to_out.0"],
        };
        let linear = |name: &str| weights.linear(&format!("{prefix}.{name}"), width, width);
        let name = format!("{prefix}.group_norm");
        Ok(Self {
            norm: GroupNorm::new(weights, &name, width, c.norm_num_groups, EPS)?,
            to_qkv: [linear(names[0])?, linear(names[1])?, linear(names[2])?],
            to_out: linear(names[3])?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let rows = self
            .norm
            .forward(x)?
            .reshape((batch, height * width, channels))?;
        let [q, k, v] = &self.to_qkv;
        let qkv = [q.forward(&rows)?, k.forward(&rows)?, v.forward(&rows)?];
        let heads = Heads {
            heads: 1,
            dim: channels,
            eps: EPS,
        };
        let mixed = self_attention(&Tensor::cat(&qkv, 2)?, None, heads, None, None, None)?;
        Ok((x + self.to_out.forward(&mixed)?.reshape(x.shape())?)?)
    }
}

struct Middle {
    resnets: [Residual; 2],
    attention: Option<PixelAttention>,
}

impl Middle {
    fn new(c: &VaeConfig, weights: &Weights, prefix: &str) -> Result<Self> {
        let width = c.last();
        let residual =
            |j: usize| Residual::new(c, weights, &format!("{prefix}.resnets.{j}"), [width, width]);
        let name = format!("{prefix}.attentions.0");
        let attention = match c.mid_block_add_attention {
            true => Some(PixelAttention::new(c, weights, &name, width)?),
            false => None,
        };
        Ok(Self {
            resnets: [residual(0)?, residual(1)?],
            attention,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.resnets[0].forward(x)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x)?;
        }
        self.resnets[1].forward(&x)
    }
}

/// Residual blocks at one size, and the convolution on the way to the next.
struct Level {
    resnets: Vec<Residual>,
    resize: Option<Conv2d>,
}

/// One half of the autoencoder.
struct Half {
    conv_in: Conv2d,
    levels: Vec<Level>,
    middle: Middle,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Half {
    fn new(c: &VaeConfig, weights: &Weights, encoder: bool) -> Result<Self> {
        let (prefix, blocks, resize) = match encoder {
            true => ("encoder", "down_blocks", "downsamplers"),
            false => ("decoder", "up_blocks", "upsamplers"),
        };
        let mut widths = c.block_out_channels.clone();
        let (count, [inputs, outputs]) = match encoder {
            true => (c.layers_per_block, [c.in_channels, 2 * c.latent_channels]),
            false => {
                widths.reverse();
                (c.layers_per_block + 1, [c.latent_channels, c.out_channels])
            }
        };
        let conv = |name: &str, sizes| Conv2d::new(weights, &format!("{prefix}.{name}"), sizes, 3);
        let level = |i: usize| -> Result<Level> {
            let name = format!("{prefix}.{blocks}.{i}");
            let (before, out) = (widths[i.saturating_sub(1)], widths[i]);
            let resnets = (0..count)
                .map(|j| {
                    let inputs = if j == 0 { before } else { out };
                    Residual::new(c, weights, &format!("{name}.resnets.{j}"), [inputs, out])
                })
                .collect::<Result<_>>()?;
            let resize = match i + 1 < widths.len() {
                true => Some(conv(&format!("{blocks}.{i}.{resize}.0.conv"), [out, out])?),
                false => None,
            };
            Ok(Level { resnets, resize })
        };
        let end = widths[widths.len() - 1];
        let norm = format!("{prefix}.conv_norm_out");
        Ok(Self {
            conv_in: conv("conv_in", [inputs, widths[0]])?,
            levels: (0..widths.len()).map(level).collect::<Result<_>>()?,
            middle: Middle::new(c, weights, &format!("{prefix}.mid_block"))?,
            conv_norm_out: GroupNorm::new(weights, &norm, end, c.norm_num_groups, EPS)?,
            conv_out: conv("conv_out", [end, outputs])?,
        })
    }

    fn finish(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self
            .conv_out
            .forward(&silu(&self.conv_norm_out.forward(x)?)?)?)
    }
}

/// An autoencoder with its weights.
pub struct Vae {
    config: VaeConfig,
    encoder: Half,
    decoder: Half,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
}

/// A normal distribution over latents, `[batch, latent channels, height, width]` both.
pub struct Posterior {
    /// Its mean, which is also its mode.
    pub mean: Tensor,
    /// The logarithm of its variance, between −30 and 20.
    pub log_variance: Tensor,
}

impl Posterior {
    /// A latent out of standard normal noise of the mean's shape.
    ///
    /// # Errors
    /// Where the noise has another shape.
    pub fn sample(&self, noise: &Tensor) -> Result<Tensor> {
        Ok((&self.mean + ((&self.log_variance * 0.5)?.exp()? * noise)?)?)
    }

    /// The Kullback-Leibler divergence from the standard normal distribution in nats, one a sample: `[batch]`.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn kl(&self) -> Result<Tensor> {
        let sum = ((self.mean.sqr()? + self.log_variance.exp()?)? - &self.log_variance)?;
        Ok(((sum - 1.0)? * 0.5)?.flatten_from(1)?.sum(1)?)
    }
}

impl Vae {
    /// Makes every layer of `config` out of `weights`.
    ///
    /// # Errors
    /// [`ConfigError`] where a weight is missing or has another shape.
    pub fn new(config: VaeConfig, weights: &Weights) -> Result<Self> {
        let c = &config;
        let conv = |there: bool, name: &str, width: usize| -> Result<Option<Conv2d>> {
            Ok(match there {
                true => Some(Conv2d::new(weights, name, [width, width], 1)?),
                false => None,
            })
        };
        Ok(Self {
            encoder: Half::new(c, weights, true)?,
            decoder: Half::new(c, weights, false)?,
            quant_conv: conv(c.use_quant_conv, "quant_conv", 2 * c.latent_channels)?,
            post_quant_conv: conv(c.use_post_quant_conv, "post_quant_conv", c.latent_channels)?,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Images `[batch, channels, height, width]`, −1 … 1, to latents of sides smaller by [`VaeConfig::factor`].
    ///
    /// # Errors
    /// [`ConfigError::Nn`] where the sides are no multiples of the factor.
    pub fn encode(&self, x: &Tensor) -> Result<Posterior> {
        let (_, channels, height, width) = x.dims4()?;
        let factor = self.config.factor();
        if channels != self.config.in_channels
            || height == 0
            || width == 0
            || !height.is_multiple_of(factor)
            || !width.is_multiple_of(factor)
        {
            return Err(medley_nn::Error::Config(format!(
                "images of {channels} × {height} × {width}; this encoder takes {} channels and sides that are multiples of {factor}",
                self.config.in_channels
            ))
            .into());
        }
        let mut x = self.encoder.conv_in.forward(&channels_last(x)?)?;
        for level in &self.encoder.levels {
            for block in &level.resnets {
                x = block.forward(&x)?;
            }
            if let Some(conv) = &level.resize {
                // Zeros to the right and below only.
                x = x.pad_with_zeros(1, 0, 1)?.pad_with_zeros(2, 0, 1)?;
                x = conv.clone().stepping(2, 0).forward(&x)?;
            }
        }
        x = self.encoder.finish(&self.encoder.middle.forward(&x)?)?;
        if let Some(conv) = &self.quant_conv {
            x = conv.forward(&x)?;
        }
        let x = channels_first(&x)?;
        let half = self.config.latent_channels;
        Ok(Posterior {
            mean: x.narrow(1, 0, half)?,
            log_variance: x.narrow(1, half, half)?.clamp(-30f32, 20f32)?,
        })
    }

    /// Latents `[batch, latent channels, height, width]` to images, sides larger by [`VaeConfig::factor`].
    ///
    /// # Errors
    /// Where the latents have other channels.
    pub fn decode(&self, z: &Tensor) -> Result<Tensor> {
        let mut x = channels_last(z)?;
        if let Some(conv) = &self.post_quant_conv {
            x = conv.forward(&x)?;
        }
        x = self
            .decoder
            .middle
            .forward(&self.decoder.conv_in.forward(&x)?)?;
        for level in &self.decoder.levels {
            for block in &level.resnets {
                x = block.forward(&x)?;
            }
            if let Some(conv) = &level.resize {
                x = conv.forward(&upsample_nearest(&x, 2)?)?;
            }
        }
        Ok(channels_first(&self.decoder.finish(&x)?)?)
    }

    /// A latent as diffusion sees it.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn scaled(&self, z: &Tensor) -> Result<Tensor> {
        let c = &self.config;
        Ok(((z - f64::from(c.shift_factor))? * f64::from(c.scaling_factor))?)
    }

    /// The way back of [`Vae::scaled`].
    ///
    /// # Errors
    /// Where the device fails.
    pub fn unscaled(&self, z: &Tensor) -> Result<Tensor> {
        let c = &self.config;
        Ok(((z / f64::from(c.scaling_factor))? + f64::from(c.shift_factor))?)
    }
}
