//! What a run that learns to draw is asked for.

use medley_media::Limits;
use medley_media::film::film_limits;
use medley_models::dit::DitConfig;
use medley_sampling::diffusion::{Prediction, Sampler};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::clips::ClipSettings;
use super::objective::{BETAS, Mixing, TIMESTEPS};
use crate::data::{LoaderSpec, Side, Split, Transform};
use crate::{Error, OptimiserKind, OptimiserSettings, Result, Schedule, StepSettings};
use medley_nn::train::Compute;

/// What a run is asked for; with the data, it says all of the model that comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageSettings {
    /// Shape of the transformer, as its `config.json` says it. Its `text_width` is that of the encoder.
    pub model: Value,
    /// How pictures become numbers; their size is that of the model.
    pub transform: Transform,
    /// What the network gives.
    pub prediction: Prediction,
    /// How noise is mixed in.
    pub mixing: Mixing,
    /// Share of captions that are left out, so that the model knows pictures without a prompt too, which guidance needs
    /// ([Ho and Salimans 2022](https://arxiv.org/abs/2207.12598)).
    pub drop_captions: f64,
    /// Most tokens of a caption, its marks included.
    pub text_tokens: usize,
    /// Steps.
    pub steps: u64,
    /// Pictures of a batch.
    pub batch: usize,
    /// Batches of a step.
    pub accumulate: usize,
    /// Largest learning rate.
    pub rate: f64,
    /// Steps until it is reached.
    pub warm_up: u64,
    /// Which rule moves the parameters.
    pub optimiser: OptimiserKind,
    /// Share of matrices that is taken away at each step, times the rate.
    pub weight_decay: f32,
    /// Largest norm of gradients.
    pub clip: f64,
    /// Decay of averaged weights, or none.
    pub ema: Option<f64>,
    /// Whether products are in bf16.
    pub bf16: bool,
    /// Whether blocks are run again for their gradients instead of keeping what they need: less memory, a third more work.
    #[serde(default)]
    pub recompute: bool,
    /// Share of groups of pictures that is kept for evaluation.
    pub hold_out: f64,
    /// Most pictures of a group in an epoch; all without it.
    pub per_group: Option<usize>,
    /// Pictures that are shuffled at a time.
    pub shuffle: usize,
    /// Draws first weights, order, noise and samples.
    pub seed: u64,
    /// Scale of the guidance in samples, and where a request names none.
    pub guidance: f64,
    /// What samples are drawn of; captions of the data where there are none.
    pub prompts: Vec<String>,
    /// What of clips; pictures without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clips: Option<ClipSettings>,
}

impl ImageSettings {
    /// Refuses what no run can be.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("batch", self.batch),
            ("accumulate", self.accumulate),
            ("shuffle", self.shuffle),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(Error::Setting(format!("{name} must be at least 1")));
        }
        let sides = [self.transform.width, self.transform.height];
        if sides.iter().any(|side| !(1..=8192).contains(side)) {
            return Err(Error::Setting(format!(
                "pictures of {}x{} pixels: a side has 1 to 8192",
                sides[0], sides[1]
            )));
        }
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return Err(Error::Setting(format!(
                "a learning rate of {} must be above 0",
                self.rate
            )));
        }
        let shares = [
            ("share of captions that are left out", self.drop_captions),
            ("held-out share", self.hold_out),
        ];
        for (name, share) in shares {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::Setting(format!(
                    "a {name} of {share} must be at least 0 and below 1"
                )));
            }
        }
        match &self.clips {
            Some(clips) => clips.check(self.process().get("kind") == Some(&json!("flow"))),
            None => Ok(()),
        }
    }

    /// The transformer for captions of this width of states.
    pub fn shape(&self, text_width: usize) -> Result<DitConfig> {
        let mut model = self.model.clone();
        model["model_type"] = json!(DitConfig::MODEL_TYPE);
        model["text_width"] = json!(text_width);
        model["channels"] = json!(3);
        model["sample_height"] = json!(self.transform.height);
        model["sample_width"] = json!(self.transform.width);
        if let Some(clips) = &self.clips {
            model["time"] = json!(clips.time);
            model["sample_frames"] = json!(clips.frames);
            model["frame_patch_size"] = json!(clips.frame_patch);
            model["loop"] = json!(clips.loops);
        }
        let shape = DitConfig::from_json(&model);
        // The sides come from the command line: say which ones the patch divides.
        if let (Err(_), Some(patch)) = (&shape, model["patch_size"].as_u64().filter(|&p| p > 0)) {
            let near = |side: u32| {
                let side = u64::from(side);
                (side / patch * patch).max(patch)
            };
            let (w, h) = (self.transform.width, self.transform.height);
            if !u64::from(w).is_multiple_of(patch) || !u64::from(h).is_multiple_of(patch) {
                return Err(Error::Setting(format!(
                    "patches of {patch} pixels do not divide {w}x{h}; near it are {}x{} and {}x{}",
                    near(w),
                    near(h),
                    near(w) + patch,
                    near(h) + patch
                )));
            }
        }
        Ok(shape?)
    }

    pub(super) fn step(&self) -> StepSettings {
        StepSettings {
            optimiser: OptimiserSettings {
                kind: self.optimiser,
                weight_decay: self.weight_decay,
                ..OptimiserSettings::default()
            },
            schedule: Schedule {
                peak: self.rate,
                warm_up: self.warm_up,
                steps: self.steps,
                floor: 0.05,
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
        Ok(Split::new(self.hold_out)?)
    }

    pub(super) fn loader(&self) -> Result<LoaderSpec> {
        Ok(LoaderSpec {
            buffer: self.shuffle,
            split: self.split()?,
            per_group: self.per_group,
            frames: self.clips.map_or(1, |clips| clips.frames),
            limits: match self.clips {
                Some(_) => film_limits(),
                None => Limits::default(),
            },
            ..LoaderSpec::new(self.transform, self.batch, self.seed)
        })
    }

    /// The pictures that clips are learned with: as they are, and set in motion.
    pub(super) fn stills(&self) -> Result<Vec<LoaderSpec>> {
        let Some(clips) = self.clips else {
            return Ok(Vec::new());
        };
        // Each in an order of its own.
        let spec = |batch, offset| -> Result<LoaderSpec> {
            Ok(LoaderSpec {
                batch,
                limits: Limits::default(),
                seed: Some(self.seed.wrapping_add(offset)),
                ..self.loader()?
            })
        };
        let mut specs = Vec::new();
        if clips.pictures > 0 {
            specs.push(LoaderSpec {
                frames: 1,
                ..spec(clips.pictures, 1)?
            });
        }
        if clips.moved > 0 {
            specs.push(LoaderSpec {
                set_in_motion: true,
                ..spec(clips.moved, 2)?
            });
        }
        Ok(specs)
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

    /// The `process` of the model's `config.json`.
    pub(super) fn process(&self) -> Value {
        match self.mixing {
            Mixing::Flow { .. } => json!({ "kind": "flow", "shift": 1.0, "timesteps": TIMESTEPS }),
            Mixing::Diffusion { betas, .. } => json!({
                "kind": "diffusion", "betas": betas, "timesteps": TIMESTEPS,
                "start": BETAS.0, "end": BETAS.1,
            }),
        }
    }

    /// The sampler that fits.
    pub(super) fn sampler(&self) -> Sampler {
        match self.mixing {
            Mixing::Flow { .. } => Sampler::FlowEuler,
            Mixing::Diffusion { .. } => Sampler::Dpmpp2m,
        }
    }
}
