//! What a run of two networks is asked for.

use medley_models::stylegan2::StyleGan2Config;
use medley_nn::train::Compute;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::adversarial::{AdversarialLoss, Augmentation};
use crate::data::{LoaderSpec, Side, Split, Transform};
use crate::{Error, OptimiserSettings, Result, Schedule, StepSettings};

/// What a run is asked for; with the data, it says all of the model that comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GanSettings {
    /// Shape of the pair, as its `config.json` says it. Its size is that of the pictures, its condition that of the encoder.
    pub model: Value,
    /// How pictures become numbers; square, and a power of two from 8 on.
    pub transform: Transform,
    /// Whether the generator reads captions.
    pub text: bool,
    /// Most tokens of a caption, its marks included.
    pub text_tokens: usize,
    /// Steps.
    pub steps: u64,
    /// Pictures of a batch.
    pub batch: usize,
    /// Learning rate of both networks.
    pub rate: f64,
    /// What the two networks want.
    pub loss: AdversarialLoss,
    /// γ, the weight of the penalty on the discriminator's gradient.
    pub penalty: f64,
    /// Steps from one penalty to the next; each counts as many times
    /// ([Karras et al. 2020](https://arxiv.org/abs/1912.04958), section 3.1).
    pub penalty_every: u64,
    /// How often pictures are distorted.
    pub augmentation: Augmentation,
    /// Decay of averaged weights of the generator.
    pub ema: f64,
    /// Truncation of the model where a request names none, and of samples.
    pub truncation: f64,
    /// Share of groups of pictures that is kept for evaluation.
    pub hold_out: f64,
    /// Most pictures of a group in an epoch; all without it.
    pub per_group: Option<usize>,
    /// Pictures that are shuffled at a time.
    pub shuffle: usize,
    /// Draws first weights, order, latent vectors, distortions and samples.
    pub seed: u64,
    /// What samples are drawn of; captions of the data where there are none.
    pub prompts: Vec<String>,
}

/// Adam as StyleGAN2 has it.
const BETAS: (f32, f32) = (0.0, 0.99);

/// Sides that the pair can have.
const SIDES: std::ops::RangeInclusive<u32> = 8..=1024;

impl GanSettings {
    /// Refuses what no run can be.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("batch", self.batch as u64),
            ("shuffle", self.shuffle as u64),
            (
                "the number of steps from one penalty to the next",
                self.penalty_every,
            ),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(Error::Setting(format!("{name} must be at least 1")));
        }
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return Err(Error::Setting(format!(
                "a learning rate of {} must be above 0",
                self.rate
            )));
        }
        if !(self.penalty.is_finite() && self.penalty >= 0.0) {
            return Err(Error::Setting(format!(
                "a weight of the penalty of {} must be at least 0",
                self.penalty
            )));
        }
        let fixed = match self.augmentation {
            Augmentation::Fixed(p) => p,
            Augmentation::Adaptive => 0.0,
        };
        let shares = [
            ("probability of distortions", fixed),
            ("held-out share", self.hold_out),
        ];
        for (name, share) in shares {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::Setting(format!(
                    "a {name} of {share} must be at least 0 and below 1"
                )));
            }
        }
        if !(0.0..=2.0).contains(&self.truncation) {
            return Err(Error::Setting(format!(
                "a truncation of {} must be 0 to 2",
                self.truncation
            )));
        }
        self.check_size()
    }

    fn check_size(&self) -> Result<()> {
        let (w, h) = (self.transform.width, self.transform.height);
        if w == h && SIDES.contains(&w) && w.is_power_of_two() {
            return Ok(());
        }
        let within = |side: u32| side.clamp(*SIDES.start(), *SIDES.end());
        let below = 1u32 << within(w.min(h)).ilog2();
        let above = within(w.max(h)).next_power_of_two();
        let near = match below == above {
            true => format!("near it is {below}x{below}"),
            false => format!("near it are {below}x{below} and {above}x{above}"),
        };
        Err(Error::Setting(format!(
            "a size of {w}x{h}: the generator makes square pictures whose side is a power of two from 8 to 1024; {near}"
        )))
    }

    /// The pair for a condition of this width; 0 for none.
    ///
    /// # Errors
    /// [`Error::Model`] for a shape that cannot be.
    pub fn shape(&self, condition: usize) -> Result<StyleGan2Config> {
        let mut model = self.model.clone();
        model["model_type"] = json!(StyleGan2Config::MODEL_TYPE);
        model["condition"] = json!(condition);
        model["channels"] = json!(3);
        model["size"] = json!(self.transform.width);
        Ok(StyleGan2Config::from_json(&model)?)
    }

    /// Steps of the generator, or of the discriminator, which has no averages.
    pub(super) fn step(&self, generator: bool) -> StepSettings {
        StepSettings {
            optimiser: OptimiserSettings {
                beta1: BETAS.0,
                beta2: BETAS.1,
                weight_decay: 0.0,
                ..OptimiserSettings::default()
            },
            schedule: Schedule::constant(self.rate),
            clip: None,
            compute: Compute::F32,
            ema: generator.then_some(self.ema),
        }
    }

    pub(super) fn split(&self) -> Result<Split> {
        Ok(Split::new(self.hold_out)?)
    }

    pub(super) fn loader(&self) -> Result<LoaderSpec> {
        Ok(LoaderSpec {
            buffer: self.shuffle,
            split: self.split()?,
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
