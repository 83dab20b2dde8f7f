//! What a clip autoencoder is built from, and the sizes that follow.

use serde_json::{Value, json};

use crate::json::{required, size, sizes, switch};
use crate::parameters::Parameter;
use crate::{ConfigError, Result};

/// Shape of an autoencoder of clips.
#[derive(Clone, Debug, PartialEq)]
pub struct Vae3dConfig {
    /// Channels of a frame.
    pub in_channels: usize,
    /// Channels of what the decoder gives.
    pub out_channels: usize,
    /// What the multiples of [`dim_mult`](Self::dim_mult) count.
    pub base_dim: usize,
    /// Channels of a latent.
    pub z_dim: usize,
    /// Channels of each level in multiples of [`base_dim`](Self::base_dim), from the largest frames to the smallest; each
    /// level but the last halves the sides.
    pub dim_mult: Vec<usize>,
    /// Residual blocks of a level; the decoder has one more.
    pub num_res_blocks: usize,
    /// Which of the levels but the last also make one frame of two, the first frame apart.
    pub temporal_downsample: Vec<bool>,
    /// What diffusion subtracts from each channel of latents.
    pub latents_mean: Vec<f32>,
    /// What it divides each channel by after.
    pub latents_std: Vec<f32>,
    /// Whether places of the smallest frames look at each other, frame by frame. Without, tiles of space are exact.
    pub attention: bool,
}

/// One after the other in the encoder or decoder.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// Channels in and out.
    Residual([usize; 2]),
    /// Half the sides, and half the frames where `time` is true; keeps the channels.
    Down { width: usize, time: bool },
    /// Twice the sides, and twice the frames where `time` is true; halves the channels.
    Up { width: usize, time: bool },
}

impl Vae3dConfig {
    /// Reads a `config.json` with `"model_type": "vae3d"`, or diffusers' of an `AutoencoderKLWan`. The keys are diffusers';
    /// `attention` is ours: without it, it is there in published models and not in others.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is missing or cannot be used.
    pub fn from_json(c: &Value) -> Result<Self> {
        let published = c.get("_class_name").and_then(Value::as_str) == Some("AutoencoderKLWan");
        if !published {
            required(c, "model_type", "vae3d")?;
        }
        let absent = |key: &str, fine: &[Value]| match c.get(key) {
            Some(value) if !value.is_null() && !fine.contains(value) => Err(ConfigError::invalid(
                key,
                value,
                "autoencoders that need it are not implemented",
            )),
            _ => Ok(()),
        };
        absent("is_residual", &[json!(false)])?;
        absent("patch_size", &[json!(1)])?;
        absent("attn_scales", &[json!([])])?;
        let base = c.get("base_dim").map_or(&[][..], std::slice::from_ref);
        absent("decoder_base_dim", base)?;
        let channels = |key: &str| match c.get(key) {
            None => Ok(3),
            Some(_) => size(c, key, 1..=4096),
        };
        let z_dim = size(c, "z_dim", 1..=4096)?;
        let config = Self {
            in_channels: channels("in_channels")?,
            out_channels: channels("out_channels")?,
            base_dim: size(c, "base_dim", 1..=4096)?,
            z_dim,
            dim_mult: sizes(c, "dim_mult", 1..=64)?,
            num_res_blocks: size(c, "num_res_blocks", 1..=64)?,
            temporal_downsample: switches(c, "temperal_downsample")?,
            latents_mean: numbers(c, "latents_mean", z_dim, 0.0)?,
            latents_std: numbers(c, "latents_std", z_dim, 1.0)?,
            attention: switch(c, "attention", published)?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let levels = self.dim_mult.len();
        if levels > 8 {
            return Err(ConfigError::invalid(
                "dim_mult",
                levels,
                "it must have at most 8 levels",
            ));
        }
        if self.temporal_downsample.len() + 1 != levels {
            return Err(ConfigError::invalid(
                "temperal_downsample",
                format!("{:?}", self.temporal_downsample),
                &format!("it must have one less than the {levels} levels of dim_mult"),
            ));
        }
        // The way up halves the channels of every level but the first.
        if let Some(odd) = self.widths()[1..].iter().find(|w| !w.is_multiple_of(2)) {
            return Err(ConfigError::invalid(
                "base_dim",
                self.base_dim,
                &format!("the channels of a level, one of which is {odd}, must be even"),
            ));
        }
        if let Some(wrong) = self.latents_std.iter().find(|s| **s <= 0.0) {
            return Err(ConfigError::invalid(
                "latents_std",
                wrong,
                "each must be above 0",
            ));
        }
        Ok(())
    }

    /// The `config.json` that [`from_json`](Self::from_json) reads.
    pub fn to_json(&self) -> Value {
        json!({
            "model_type": "vae3d",
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "base_dim": self.base_dim,
            "z_dim": self.z_dim,
            "dim_mult": self.dim_mult,
            "num_res_blocks": self.num_res_blocks,
            "temperal_downsample": self.temporal_downsample,
            "latents_mean": self.latents_mean,
            "latents_std": self.latents_std,
            "attention": self.attention,
        })
    }

    /// Pixels along a side of a frame for each of a latent.
    pub fn factor(&self) -> usize {
        1 << (self.dim_mult.len() - 1)
    }

    /// Frames for each frame of latents after the first, which stands for one frame.
    pub fn time_factor(&self) -> usize {
        1 << self.temporal_downsample.iter().filter(|t| **t).count()
    }

    /// Frames of a clip of so many frames of latents.
    pub fn frames(&self, latents: usize) -> usize {
        latents.saturating_sub(1) * self.time_factor() + latents.min(1)
    }

    /// Frames of latents of a clip, where the encoder takes so many frames.
    pub fn latent_frames(&self, frames: usize) -> Option<usize> {
        let after = frames.checked_sub(1)?;
        (after.is_multiple_of(self.time_factor())).then(|| 1 + after / self.time_factor())
    }

    /// How many latents on every side of one reach its pixels in the decoder, attention aside.
    pub fn margin(&self) -> usize {
        let levels = self.dim_mult.len();
        // From the pixels inwards: each convolution of space looks one place further, each enlargement halves the way.
        let level = |reach: usize, inner: usize| {
            let reach = reach + 2 * (self.num_res_blocks + 1);
            match inner + 1 < levels {
                true => (reach + 1).div_ceil(2),
                false => reach,
            }
        };
        // The two residual blocks of the middle, and the first convolution.
        (0..levels).fold(1, level) + 4 + 1
    }

    pub(super) fn widths(&self) -> Vec<usize> {
        self.dim_mult.iter().map(|m| m * self.base_dim).collect()
    }

    /// The encoder between its first convolution and its middle.
    pub(super) fn downwards(&self) -> Vec<(String, Step)> {
        let mut steps = Vec::new();
        let mut inputs = self.base_dim;
        for (level, out) in self.widths().into_iter().enumerate() {
            for _ in 0..self.num_res_blocks {
                steps.push(Step::Residual([inputs, out]));
                inputs = out;
            }
            if let Some(&time) = self.temporal_downsample.get(level) {
                steps.push(Step::Down { width: out, time });
            }
        }
        let name = |at: usize| format!("encoder.down_blocks.{at}");
        steps
            .into_iter()
            .enumerate()
            .map(|(at, step)| (name(at), step))
            .collect()
    }

    /// The decoder between its middle and its last convolution.
    pub(super) fn upwards(&self) -> Vec<(String, Step)> {
        let mut steps = Vec::new();
        let widths = self.widths();
        let mut inputs = widths[widths.len() - 1];
        for (i, (level, &out)) in widths.iter().enumerate().rev().enumerate() {
            let name = format!("decoder.up_blocks.{i}");
            for j in 0..=self.num_res_blocks {
                let step = Step::Residual([inputs, out]);
                steps.push((format!("{name}.resnets.{j}"), step));
                inputs = out;
            }
            if level > 0 {
                let time = self.temporal_downsample[level - 1];
                let step = Step::Up { width: out, time };
                steps.push((format!("{name}.upsamplers.0"), step));
                inputs = out / 2;
            }
        }
        steps
    }

    /// Every parameter, with values to begin training from.
    pub fn parameters(&self) -> Vec<Parameter> {
        super::parameters(self)
    }
}

fn switches(c: &Value, key: &str) -> Result<Vec<bool>> {
    let value = c.get(key).ok_or_else(|| ConfigError::missing(key))?;
    let found = value
        .as_array()
        .and_then(|list| list.iter().map(Value::as_bool).collect());
    found.ok_or_else(|| ConfigError::invalid(key, value, "it must be a list of true and false"))
}

/// `count` finite numbers, or `default` for each where there are none.
fn numbers(c: &Value, key: &str, count: usize, default: f32) -> Result<Vec<f32>> {
    let Some(value) = c.get(key).filter(|value| !value.is_null()) else {
        return Ok(vec![default; count]);
    };
    let found: Option<Vec<f32>> = value.as_array().and_then(|list| {
        let number = |x: &Value| x.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
        list.iter().map(number).collect()
    });
    found.filter(|list| list.len() == count).ok_or_else(|| {
        ConfigError::invalid(key, value, &format!("it must be a list of {count} numbers"))
    })
}
