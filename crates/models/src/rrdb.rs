//! The upscaler of residual-in-residual dense blocks (Wang et al. 2018, ESRGAN), in the layout and with the names of
//! Real-ESRGAN's `RRDBNet`, so that its published checkpoints load.

use medley_nn::vision::{
    Conv2d, channels_first, channels_last, leaky_relu, pixel_unshuffle, upsample_nearest,
};
use medley_nn::{Tensor, Weights};
use serde_json::{Value, json};

use crate::json::{required, size};
use crate::parameters::{List, Parameter};
use crate::{ConfigError, Result};

/// Shape of an upscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct RrdbConfig {
    /// Channels of an image.
    pub channels: usize,
    /// 1, 2 or 4: how much larger the sides become.
    pub scale: usize,
    /// Channels of the states.
    pub features: usize,
    /// Blocks.
    pub blocks: usize,
    /// Channels that each convolution of a dense block adds.
    pub growth: usize,
}

/// Slope of the activations below 0.
const SLOPE: f32 = 0.2;
/// What the result of a block is multiplied by before it is added.
const SHARE: f64 = 0.2;

impl RrdbConfig {
    /// Name in `config.json`.
    pub const MODEL_TYPE: &str = "rrdb";

    /// Reads `config.json` as [`RrdbConfig::to_json`] writes it.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is missing or cannot be used.
    pub fn from_json(c: &Value) -> Result<Self> {
        required(c, "model_type", Self::MODEL_TYPE)?;
        let config = Self {
            channels: size(c, "channels", 1..=64)?,
            scale: size(c, "scale", 1..=4)?,
            features: size(c, "num_feat", 1..=4096)?,
            blocks: size(c, "num_block", 1..=1024)?,
            growth: size(c, "num_grow_ch", 1..=4096)?,
        };
        config.squeeze()?;
        Ok(config)
    }

    /// `config.json`.
    pub fn to_json(&self) -> Value {
        json!({
            "model_type": Self::MODEL_TYPE,
            "channels": self.channels,
            "scale": self.scale,
            "num_feat": self.features,
            "num_block": self.blocks,
            "num_grow_ch": self.growth,
        })
    }

    /// Reads the shape out of a checkpoint's tensors, which is all that published ones have.
    ///
    /// # Errors
    /// [`ConfigError`] where they are no RRDBNet.
    pub fn from_weights(weights: &Weights) -> Result<Self> {
        let dims = |name: &str| weights.shape(name);
        let (first, last) = (dims("conv_first.weight")?, dims("conv_last.weight")?);
        let growth = dims("body.0.rdb1.conv1.weight")?;
        let (&[features, inputs, ..], &[channels, ..], &[growth, ..]) =
            (first.as_slice(), last.as_slice(), growth.as_slice())
        else {
            return Err(ConfigError::missing("conv_first.weight, a convolution"));
        };
        let scale = match inputs.checked_div(channels) {
            Some(1) => 4,
            Some(4) => 2,
            Some(16) => 1,
            _ => {
                return Err(ConfigError::invalid(
                    "conv_first.weight",
                    inputs,
                    "it must have 1, 4 or 16 times the channels of conv_last.weight",
                ));
            }
        };
        let there = |i: &usize| weights.has(&format!("body.{i}.rdb1.conv1.weight"));
        Ok(Self {
            channels,
            scale,
            features,
            blocks: (0..1024).take_while(there).count(),
            growth,
        })
    }

    /// Sides of the blocks of pixels that become channels.
    fn squeeze(&self) -> Result<usize> {
        match self.scale {
            4 => Ok(1),
            2 => Ok(2),
            1 => Ok(4),
            other => Err(ConfigError::invalid("scale", other, "it must be 1, 2 or 4")),
        }
    }

    /// Every parameter, with values to begin training from: small ones, so that blocks begin near the identity.
    pub fn parameters(&self) -> Vec<Parameter> {
        let (mut list, f) = (List::default(), self.features);
        let squeeze = self.squeeze().unwrap_or(1);
        list.conv("conv_first", f, self.channels * squeeze * squeeze, 3, 1.0);
        for block in 0..self.blocks {
            for dense in 1..=3 {
                for i in 1..=5 {
                    let name = format!("body.{block}.rdb{dense}.conv{i}");
                    let out = if i == 5 { f } else { self.growth };
                    list.conv(&name, out, f + (i - 1) * self.growth, 3, 0.25);
                }
            }
        }
        for name in ["conv_body", "conv_up1", "conv_up2", "conv_hr"] {
            list.conv(name, f, f, 3, 1.0);
        }
        list.conv("conv_last", self.channels, f, 3, 1.0);
        list.0
    }
}

/// Convolutions that each see all that came before (Huang et al. 2017), beside the identity.
struct Dense {
    convs: Vec<Conv2d>,
}

impl Dense {
    fn new(c: &RrdbConfig, weights: &Weights, prefix: &str) -> Result<Self> {
        let conv = |i: usize| {
            let out = if i == 5 { c.features } else { c.growth };
            let inputs = c.features + (i - 1) * c.growth;
            Conv2d::new(weights, &format!("{prefix}.conv{i}"), [inputs, out], 3)
        };
        Ok(Self {
            convs: (1..=5).map(conv).collect::<medley_nn::Result<_>>()?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut seen = x.clone();
        for (i, conv) in self.convs.iter().enumerate() {
            let y = conv.forward(&seen)?;
            if i + 1 == self.convs.len() {
                return Ok(((y * SHARE)? + x)?);
            }
            seen = Tensor::cat(&[seen, leaky_relu(&y, SLOPE)?], 3)?;
        }
        Ok(seen)
    }
}

/// An upscaler with its weights.
pub struct Rrdb {
    config: RrdbConfig,
    squeeze: usize,
    conv_first: Conv2d,
    body: Vec<[Dense; 3]>,
    conv_body: Conv2d,
    conv_up1: Conv2d,
    conv_up2: Conv2d,
    conv_hr: Conv2d,
    conv_last: Conv2d,
}

impl Rrdb {
    /// Makes every layer of `config` out of `weights`.
    ///
    /// # Errors
    /// [`ConfigError`] where a weight is missing or has another shape.
    pub fn new(config: RrdbConfig, weights: &Weights) -> Result<Self> {
        let (c, f, squeeze) = (&config, config.features, config.squeeze()?);
        let conv = |name: &str, sizes| Conv2d::new(weights, name, sizes, 3);
        let body = |i: usize| -> Result<[Dense; 3]> {
            let dense = |j: usize| Dense::new(c, weights, &format!("body.{i}.rdb{j}"));
            Ok([dense(1)?, dense(2)?, dense(3)?])
        };
        Ok(Self {
            squeeze,
            conv_first: conv("conv_first", [c.channels * squeeze * squeeze, f])?,
            body: (0..c.blocks).map(body).collect::<Result<_>>()?,
            conv_body: conv("conv_body", [f, f])?,
            conv_up1: conv("conv_up1", [f, f])?,
            conv_up2: conv("conv_up2", [f, f])?,
            conv_hr: conv("conv_hr", [f, f])?,
            conv_last: conv("conv_last", [f, c.channels])?,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &RrdbConfig {
        &self.config
    }

    /// Images `[batch, channels, height, width]`, 0 … 1, to images with sides larger by the scale. Sides must be even
    /// for scale 2 and multiples of 4 for scale 1.
    ///
    /// # Errors
    /// [`ConfigError::Nn`] where they are not, or channels differ.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = pixel_unshuffle(&channels_last(x)?, self.squeeze)?;
        let first = self.conv_first.forward(&x)?;
        let mut x = first.clone();
        for block in &self.body {
            let mut y = x.clone();
            for dense in block {
                y = dense.forward(&y)?;
            }
            x = ((y * SHARE)? + x)?;
        }
        let mut x = (first + self.conv_body.forward(&x)?)?;
        for conv in [&self.conv_up1, &self.conv_up2] {
            x = leaky_relu(&conv.forward(&upsample_nearest(&x, 2)?)?, SLOPE)?;
        }
        let x = leaky_relu(&self.conv_hr.forward(&x)?, SLOPE)?;
        Ok(channels_first(&self.conv_last.forward(&x)?)?)
    }
}
