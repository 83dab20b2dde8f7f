//! What a run that learns to enlarge is asked for.

use medley_models::rrdb::RrdbConfig;
use medley_models::stylegan2::StyleGan2Config;
use medley_nn::train::Compute;
use serde::{Deserialize, Serialize};

use crate::data::{LoaderSpec, Side, Split, Transform};
use crate::{Error, OptimiserSettings, Result, Schedule, StepSettings};

/// What a run is asked for; with the data, it says all of the model that comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpscalerSettings {
    /// How much larger the sides become: 2 or 4.
    pub scale: usize,
    /// Channels of the states.
    pub features: usize,
    /// Blocks.
    pub blocks: usize,
    /// Channels that each convolution of a dense block adds.
    pub growth: usize,
    /// How pictures become the large ones that are learned.
    pub transform: Transform,
    /// Side of the parts of them that a step learns from.
    pub patch: usize,
    /// Largest deviation of noise on the small ones, where values span 1.
    pub noise: f64,
    /// Weight of the adversarial loss beside the pixels'; 0 for no discriminator.
    pub adversarial: f64,
    /// Weight of how differently a scorer sees pictures, beside the pixels'; 0 for none.
    #[serde(default)]
    pub perceptual: f64,
    /// γ of the penalty on the discriminator's gradient, taken at each eighth step.
    pub penalty: f64,
    /// Steps.
    pub steps: u64,
    /// Parts of a batch.
    pub batch: usize,
    /// Largest learning rate.
    pub rate: f64,
    /// Steps until it is reached.
    pub warm_up: u64,
    /// Decay of averaged weights.
    pub ema: f64,
    /// Share of groups of pictures that is kept for evaluation.
    pub hold_out: f64,
    /// Most pictures of a group in an epoch; all without it.
    pub per_group: Option<usize>,
    /// Pictures that are shuffled at a time.
    pub shuffle: usize,
    /// Draws first weights, order, parts and noise.
    pub seed: u64,
}

/// Most channels of the discriminator's states.
const CRITIC_WIDTH: usize = 64;

impl UpscalerSettings {
    /// Refuses what no run can be.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<()> {
        if ![2, 4].contains(&self.scale) {
            return Err(Error::Setting(format!(
                "a scale of {}: 2 and 4 can be trained",
                self.scale
            )));
        }
        let counts = [("batch", self.batch), ("shuffle", self.shuffle)];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(Error::Setting(format!("{name} must be at least 1")));
        }
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return Err(Error::Setting(format!(
                "a learning rate of {} must be above 0",
                self.rate
            )));
        }
        let weights = [
            ("weight of the adversarial loss", self.adversarial),
            ("weight of the perceptual loss", self.perceptual),
            ("weight of the penalty", self.penalty),
        ];
        for (name, weight) in weights {
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(Error::Setting(format!(
                    "a {name} of {weight} must be at least 0"
                )));
            }
        }
        let shares = [("held-out share", self.hold_out), ("noise", self.noise)];
        for (name, share) in shares {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::Setting(format!(
                    "a {name} of {share} must be at least 0 and below 1"
                )));
            }
        }
        self.check_sizes()
    }

    fn check_sizes(&self) -> Result<()> {
        let (width, height) = (self.transform.width, self.transform.height);
        // The network takes blocks of two by two pixels at scale 2: sides are multiples of 4 either way.
        let near = |side: u32| (side / 4 * 4).max(8);
        if ![width, height]
            .iter()
            .all(|&s| s >= 8 && s.is_multiple_of(4))
        {
            return Err(Error::Setting(format!(
                "a size of {width}x{height}: sides are multiples of 4 from 8 on; near it is {}x{}",
                near(width),
                near(height)
            )));
        }
        let most = width.min(height) as usize;
        if !(8..=most).contains(&self.patch) || !self.patch.is_multiple_of(4) {
            return Err(Error::Setting(format!(
                "parts of {} pixels a side: they are multiples of 4 from 8 to {most}; near it is {}",
                self.patch,
                (self.patch / 4 * 4).clamp(8, most)
            )));
        }
        if self.adversarial > 0.0 && !self.patch.is_power_of_two() {
            return Err(Error::Setting(format!(
                "parts of {} pixels a side: the discriminator takes powers of two; near it is {}",
                self.patch,
                1usize << self.patch.ilog2()
            )));
        }
        Ok(())
    }

    /// The network.
    pub fn shape(&self) -> RrdbConfig {
        RrdbConfig {
            channels: 3,
            scale: self.scale,
            features: self.features,
            blocks: self.blocks,
            growth: self.growth,
        }
    }

    /// The discriminator.
    pub(super) fn critic(&self) -> StyleGan2Config {
        StyleGan2Config {
            latent: 1,
            style: 1,
            mapping_layers: 1,
            condition: 0,
            channels: 3,
            size: self.patch,
            channel_base: CRITIC_WIDTH * self.patch / 4,
            channel_max: CRITIC_WIDTH,
        }
    }

    /// Steps of the network, or of the discriminator.
    pub(super) fn step(&self, network: bool) -> StepSettings {
        let (beta1, beta2) = if network { (0.9, 0.99) } else { (0.0, 0.99) };
        StepSettings {
            optimiser: OptimiserSettings {
                beta1,
                beta2,
                weight_decay: 0.0,
                ..OptimiserSettings::default()
            },
            schedule: match network {
                true => Schedule {
                    peak: self.rate,
                    warm_up: self.warm_up,
                    steps: self.steps,
                    floor: 0.05,
                },
                false => Schedule::constant(1e-3),
            },
            clip: network.then_some(1.0),
            compute: Compute::F32,
            ema: network.then_some(self.ema),
        }
    }

    pub(super) fn loader(&self) -> Result<LoaderSpec> {
        Ok(LoaderSpec {
            buffer: self.shuffle,
            split: Split::new(self.hold_out)?,
            per_group: self.per_group,
            ..LoaderSpec::new(self.transform, self.batch, self.seed)
        })
    }

    /// Held-out pictures as they are.
    pub(super) fn held_out(&self, batch: usize) -> Result<LoaderSpec> {
        Ok(LoaderSpec {
            batch,
            seed: None,
            per_group: Some(1),
            side: Side::HeldOut,
            ..self.loader()?
        })
    }
}
