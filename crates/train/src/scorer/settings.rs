//! What a run that trains a scorer is asked for.

use medley_models::contrastive::ContrastiveConfig;
use medley_nn::train::Compute;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::data::{LoaderSpec, Side, Split, Transform};
use crate::{Error, OptimiserSettings, Result, Schedule, StepSettings};

/// Salt of the scorer's split.
pub const SALT: u64 = 0x5C0_4E4;

/// What a run is asked for; with the data, it says all of the model that comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorerSettings {
    /// How pictures become numbers.
    pub transform: Transform,
    /// Channels of the image tower's stages.
    pub widths: Vec<usize>,
    /// Residual blocks of each.
    pub blocks: Vec<usize>,
    /// Most tokens of the vocabulary, which is made of the captions.
    pub vocab: usize,
    /// Most tokens of a caption.
    pub text_tokens: usize,
    /// Width of the text tower.
    pub text_width: usize,
    /// Layers of the text tower.
    pub text_layers: usize,
    /// Width of the common space.
    pub embed: usize,
    /// Steps.
    pub steps: u64,
    /// Pictures of a batch, each of which is told from all the others.
    pub batch: usize,
    /// Largest learning rate.
    pub rate: f64,
    /// Steps until it is reached.
    pub warm_up: u64,
    /// Share of matrices that is taken away at each step, times the rate.
    pub weight_decay: f32,
    /// Largest norm of gradients.
    pub clip: f64,
    /// Decay of averaged weights, or none.
    pub ema: Option<f64>,
    /// Whether products are in bf16.
    pub bf16: bool,
    /// Share of groups of pictures that is kept for evaluation.
    pub hold_out: f64,
    /// Most pictures of a group in an epoch; all without it.
    pub per_group: Option<usize>,
    /// Pictures that are shuffled at a time.
    pub shuffle: usize,
    /// How much pictures are changed before they are looked at, 0 for not at all, 1 for up to an eighth of a side.
    pub augment: f64,
    /// Draws first weights, order and changes.
    pub seed: u64,
}

impl ScorerSettings {
    /// Refuses what no run can be.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Setting(what));
        if self.batch < 2 || self.shuffle == 0 {
            return wrong(
                "a batch must hold at least 2 pictures to tell apart, and be shuffled".into(),
            );
        }
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return wrong(format!("a learning rate of {} must be above 0", self.rate));
        }
        if !(0.0..1.0).contains(&self.hold_out) {
            return wrong(format!(
                "a held-out share of {} must be at least 0 and below 1",
                self.hold_out
            ));
        }
        if !(0.0..=2.0).contains(&self.augment) {
            return wrong(format!(
                "pictures can be changed by 0 to 2, not by {}",
                self.augment
            ));
        }
        Ok(())
    }

    /// The model for a vocabulary of this size.
    pub fn shape(&self, vocab: usize) -> Result<ContrastiveConfig> {
        Ok(ContrastiveConfig::from_json(&json!({
            "model_type": ContrastiveConfig::MODEL_TYPE,
            "channels": 3,
            "image_widths": self.widths,
            "image_blocks": self.blocks,
            "norm_groups": 8,
            "vocab_size": vocab,
            "text_tokens": self.text_tokens,
            "text_width": self.text_width,
            "text_layers": self.text_layers,
            "text_heads": (self.text_width / 32).max(1),
            "embed_dim": self.embed,
        }))?)
    }

    pub(super) fn step(&self) -> StepSettings {
        StepSettings {
            optimiser: OptimiserSettings {
                weight_decay: self.weight_decay,
                ..OptimiserSettings::default()
            },
            schedule: Schedule {
                peak: self.rate,
                warm_up: self.warm_up,
                steps: self.steps,
                floor: 0.01,
            },
            clip: Some(self.clip),
            compute: if self.bf16 {
                Compute::Bf16
            } else {
                Compute::F32
            },
            ema: self.ema,
        }
    }

    pub(super) fn split(&self) -> Result<Split> {
        Ok(Split::apart(self.hold_out, SALT)?)
    }

    pub(super) fn loader(&self) -> Result<LoaderSpec> {
        Ok(LoaderSpec {
            buffer: self.shuffle,
            split: self.split()?,
            per_group: self.per_group,
            ..LoaderSpec::new(self.transform, self.batch, self.seed)
        })
    }

    /// Held-out pictures, one of each group, always the same ones.
    pub(super) fn held_out(&self, batch: usize) -> Result<LoaderSpec> {
        Ok(LoaderSpec {
            batch,
            seed: Some(0),
            per_group: Some(1),
            side: Side::HeldOut,
            transform: Transform {
                flip: 0.0,
                ..self.transform
            },
            ..self.loader()?
        })
    }
}
