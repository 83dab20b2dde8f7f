//! Shape of a style-based pair.

use serde_json::{Value, json};

use crate::json::{required, size};
use crate::parameters::{Init, List, Parameter};
use crate::{ConfigError, Result};

/// Shape of a generator and its discriminator.
#[derive(Clone, Debug, PartialEq)]
pub struct StyleGan2Config {
    /// Numbers that a picture is made from.
    pub latent: usize,
    /// Width of styles.
    pub style: usize,
    /// Layers of the mapping network.
    pub mapping_layers: usize,
    /// Width of the condition: classes as [`super::one_hot`], or an embedding of text; 0 for none.
    pub condition: usize,
    /// Channels of a picture.
    pub channels: usize,
    /// Height and width of a picture: a power of two from 8 on.
    pub size: usize,
    /// Channels of states times their height, as far as `channel_max` allows.
    pub channel_base: usize,
    /// Most channels of states.
    pub channel_max: usize,
}

/// Weights of the mapping network learn more slowly by this.
pub(super) const MAPPING_RATE: f64 = 0.01;

impl StyleGan2Config {
    /// Name in `config.json`.
    pub const MODEL_TYPE: &str = "stylegan2";

    /// Reads `config.json` as [`StyleGan2Config::to_json`] writes it.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is missing or cannot be used.
    pub fn from_json(c: &Value) -> Result<Self> {
        required(c, "model_type", Self::MODEL_TYPE)?;
        let config = Self {
            latent: size(c, "latent", 1..=1 << 16)?,
            style: size(c, "style", 1..=1 << 16)?,
            mapping_layers: size(c, "mapping_layers", 1..=64)?,
            condition: size(c, "condition", 0..=1 << 16)?,
            channels: size(c, "channels", 1..=64)?,
            size: size(c, "size", 8..=1024)?,
            channel_base: size(c, "channel_base", 1..=1 << 20)?,
            channel_max: size(c, "channel_max", 1..=1 << 14)?,
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
            "style": self.style,
            "mapping_layers": self.mapping_layers,
            "condition": self.condition,
            "channels": self.channels,
            "size": self.size,
            "channel_base": self.channel_base,
            "channel_max": self.channel_max,
        })
    }

    /// Channels of states of a height.
    pub fn width(&self, size: usize) -> usize {
        (self.channel_base / size.max(1)).clamp(1, self.channel_max)
    }

    /// Heights of states from 4 on.
    pub(super) fn sizes(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        (2..=self.size.ilog2()).map(|n| 1 << n)
    }

    /// Inputs of the mapping network's first layer.
    pub(super) fn mapping_inputs(&self) -> usize {
        self.latent + if self.condition > 0 { self.style } else { 0 }
    }

    /// Every parameter of the generator, with the values of the paper before training.
    pub fn generator_parameters(&self) -> Vec<Parameter> {
        let (mut list, unit) = (List::default(), Init::Normal(1.0));
        if self.condition > 0 {
            list.linear("mapping.embed", self.style, self.condition, unit);
        }
        for i in 0..self.mapping_layers {
            let inputs = if i == 0 {
                self.mapping_inputs()
            } else {
                self.style
            };
            let slow = Init::Normal(1.0 / MAPPING_RATE as f32);
            list.linear(&format!("mapping.fc{i}"), self.style, inputs, slow);
        }
        list.statistic("mapping.w_avg".into(), &[self.style], Init::Zeros);
        let first = self.width(4);
        list.push("synthesis.b4.const".into(), &[first, 4, 4], unit);
        let mut inputs = first;
        for size in self.sizes() {
            let (out, prefix) = (self.width(size), format!("synthesis.b{size}"));
            if size > 4 {
                self.styled(&mut list, &format!("{prefix}.conv0"), [inputs, out], 3);
            }
            self.styled(&mut list, &format!("{prefix}.conv1"), [out, out], 3);
            self.styled(
                &mut list,
                &format!("{prefix}.torgb"),
                [out, self.channels],
                1,
            );
            inputs = out;
        }
        list.0
    }

    fn styled(&self, list: &mut List, name: &str, [inputs, out]: [usize; 2], kernel: usize) {
        let unit = Init::Normal(1.0);
        list.push(format!("{name}.affine.weight"), &[inputs, self.style], unit);
        list.push(format!("{name}.affine.bias"), &[inputs], Init::Ones);
        list.push(
            format!("{name}.weight"),
            &[out, inputs, kernel, kernel],
            unit,
        );
        list.push(format!("{name}.bias"), &[out], Init::Zeros);
    }

    /// Every parameter of the discriminator.
    pub fn discriminator_parameters(&self) -> Vec<Parameter> {
        let (mut list, unit) = (List::default(), Init::Normal(1.0));
        let conv = |list: &mut List, name: &str, [inputs, out]: [usize; 2], kernel: usize| {
            list.push(
                format!("{name}.weight"),
                &[out, inputs, kernel, kernel],
                unit,
            );
            list.push(format!("{name}.bias"), &[out], Init::Zeros);
        };
        let name = format!("b{}.fromrgb", self.size);
        conv(&mut list, &name, [self.channels, self.width(self.size)], 1);
        for size in self.sizes().rev().filter(|&size| size > 4) {
            let (inputs, out) = (self.width(size), self.width(size / 2));
            let name = format!("b{size}.skip.weight");
            list.push(name, &[out, inputs, 1, 1], unit);
            conv(&mut list, &format!("b{size}.conv0"), [inputs, inputs], 3);
            conv(&mut list, &format!("b{size}.conv1"), [inputs, out], 3);
        }
        let last = self.width(4);
        conv(&mut list, "b4.conv", [last + 1, last], 3);
        list.linear("b4.fc", last, last * 16, unit);
        let scores = if self.condition > 0 { self.style } else { 1 };
        list.linear("b4.out", scores, last, unit);
        if self.condition > 0 {
            list.linear("mapping.embed", self.style, self.condition, unit);
        }
        list.0
    }
}
