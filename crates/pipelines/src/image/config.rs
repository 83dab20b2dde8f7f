//! `config.json` of a model of pictures.

use std::path::Path;

use medley_sampling::diffusion::{
    BetaShape, FlowShift, NoiseSchedule, Point, Prediction, Process, Sampler, SchedulerConfig,
    SigmaSpacing, TimestepSpacing,
};
use medley_types::Medium;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::PipelineError;
use crate::text::read_json;

/// What kind of network a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It denoises: `dit`.
    Diffusion,
    /// It makes pictures of latent vectors: `stylegan2`, `dcgan`.
    Gan,
    /// It enlarges pictures: `rrdb`.
    Upscaler,
}

/// `config.json` of a folder whose `model.safetensors` makes pictures: what `medley train image` writes.
///
/// ```
/// # use medley_pipelines::image::ImageConfig;
/// let config = ImageConfig::from_json(serde_json::json!({
///     "medium": "image",
///     "architecture": "dit",                        // dit, stylegan2, dcgan, rrdb
///     "model": { "hidden_size": 256 },              // what that architecture reads
///     "size": [32, 32],                             // width and height it was trained on, in pixels
///     "channels": 3,                                // of the samples; a latent space has others
///     "prediction": "flow",                         // epsilon, v, sample or flow
///     "process": { "kind": "flow", "shift": 1.0 },
///     "text_encoder": "encoder",                    // a folder or GGUF file in this one, or a name of the catalog
///     "text_tokens": 32,                            // longer prompts are cut
///     "upscaler": "icon-upscaler",                  // for --upscale
///     "sampler": { "name": "flow_euler", "steps": 20, "guidance": 3.0, "upscale": 4 }
/// })).unwrap();
/// assert_eq!(config.sampler.steps, 20);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// `image`, or `video` for a model of clips.
    pub medium: Medium,
    /// The module of `models` that reads `model.safetensors`.
    pub architecture: String,
    /// The configuration of that architecture.
    #[serde(default)]
    pub model: Value,
    /// Width and height in pixels that it makes; of an upscaler the size it was trained on.
    #[serde(default = "default_size")]
    pub size: [u32; 2],
    /// Other sizes that it makes as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<SizeRule>,
    /// Channels of the samples: 3 for pixels, those of the latent space with a `vae`.
    #[serde(default = "three")]
    pub channels: usize,
    /// What the denoiser gives: `epsilon`, `v`, `sample` or `flow`.
    #[serde(default = "default_prediction", deserialize_with = "prediction")]
    pub prediction: Prediction,
    /// How data and noise were mixed in training.
    #[serde(default)]
    pub process: ProcessConfig,
    /// Where the encoder of prompts is: a folder or GGUF file in the model's folder, or a name of the catalog. Without it
    /// there is no prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_encoder: Option<String>,
    /// Most tokens of a prompt, its marks included.
    #[serde(default = "default_tokens")]
    pub text_tokens: usize,
    /// What prompts may be where the condition is a class: the names in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Where the autoencoder is, for denoisers of latents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<String>,
    /// Where the upscaler is that fits this model's pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upscaler: Option<String>,
    /// What a model of clips has beside all of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<ClipConfig>,
    /// What is used where a request names nothing.
    #[serde(default)]
    pub sampler: SamplerDefaults,
    /// Whatever else is to be known: data, licence, training. Not read.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub about: Value,
}

/// How a model makes clips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// Frames that it draws.
    pub frames: u32,
    /// How many of them a second are shown where nothing is said.
    #[serde(default = "usual_rate")]
    pub rate: f64,
    /// Times as many frames as it draws that a clip has where nothing is said; those between are made of the drawn ones.
    #[serde(default = "usual_smoothness")]
    pub smooth: u32,
    /// Share of the noise's variance that frames have in common.
    #[serde(default)]
    pub shared_noise: f64,
    /// Whether it learned from captions that say the drawn frames a second.
    #[serde(default)]
    pub rate_in_prompt: bool,
}

fn usual_rate() -> f64 {
    8.0
}

fn usual_smoothness() -> u32 {
    1
}

/// Sizes that a model makes besides the one it was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeRule {
    /// Both sides are multiples of this, in pixels.
    pub multiple: u32,
    /// Shortest side.
    pub min: u32,
    /// Longest side.
    pub max: u32,
}

/// How data and noise were mixed in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ProcessConfig {
    /// Along straight lines.
    Flow {
        /// How levels are moved towards noise; 1 leaves them.
        #[serde(default = "one")]
        shift: f64,
        /// Training timesteps; the network is told σ times this.
        #[serde(default = "thousand")]
        timesteps: usize,
    },
    /// With a variance that is kept.
    Diffusion {
        /// Shape of the schedule.
        betas: BetaShape,
        /// Training timesteps.
        #[serde(default = "thousand")]
        timesteps: usize,
        /// First β.
        #[serde(default = "first_beta")]
        start: f64,
        /// Last β.
        #[serde(default = "last_beta")]
        end: f64,
        /// Whether the last timestep is noise alone.
        #[serde(default)]
        zero_terminal_snr: bool,
    },
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self::Flow {
            shift: 1.0,
            timesteps: 1000,
        }
    }
}

/// What is used where a request names nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerDefaults {
    /// The sampler.
    pub name: Sampler,
    /// Its steps.
    pub steps: u32,
    /// Scale of the guidance.
    pub guidance: f64,
    /// How far guided outputs are brought back to their deviation without it, 0 to 1.
    pub rescale: f64,
    /// Part of the run that is guided.
    pub interval: [f64; 2],
    /// How the steps lie over the training timesteps.
    pub timestep_spacing: TimestepSpacing,
    /// Added to leading timesteps.
    pub steps_offset: usize,
    /// How the noise levels lie.
    pub sigma_spacing: SigmaSpacing,
    /// Ends at the noise of the first timestep.
    pub keep_last_noise: bool,
    /// Noise that is added on the way.
    pub eta: Option<f64>,
    /// Estimates of the picture are clipped to ± this.
    pub clip: Option<f32>,
    /// Truncation ψ of a GAN.
    pub truncation: f64,
    /// What a GAN that was trained with captions draws where there is no prompt.
    pub prompt: String,
    /// How many times larger the upscaler makes the sides; 1 for not at all.
    pub upscale: u32,
}

impl Default for SamplerDefaults {
    fn default() -> Self {
        Self {
            name: Sampler::FlowEuler,
            steps: 20,
            guidance: 1.0,
            rescale: 0.0,
            interval: [0.0, 1.0],
            timestep_spacing: TimestepSpacing::Trailing,
            steps_offset: 0,
            sigma_spacing: SigmaSpacing::Native,
            keep_last_noise: false,
            eta: None,
            clip: None,
            truncation: 1.0,
            prompt: String::new(),
            upscale: 1,
        }
    }
}

fn default_size() -> [u32; 2] {
    [0, 0]
}

fn three() -> usize {
    3
}

fn one() -> f64 {
    1.0
}

fn thousand() -> usize {
    1000
}

fn first_beta() -> f64 {
    1e-4
}

fn last_beta() -> f64 {
    0.02
}

fn default_tokens() -> usize {
    64
}

fn default_prediction() -> Prediction {
    Prediction::Flow
}

/// The short names beside the long ones.
fn prediction<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Prediction, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.as_str() {
        "flow" => Ok(Prediction::Flow),
        "v" => Ok(Prediction::V),
        other => other.parse().map_err(serde::de::Error::custom),
    }
}

/// Longest side of a picture that is drawn.
pub(crate) const MAX_SIDE: u32 = 8192;

impl ClipConfig {
    /// Most times that frames are made between the drawn ones.
    pub const SMOOTHEST: u32 = 8;

    fn check(&self) -> Result<(), PipelineError> {
        let right = (2..=1024).contains(&self.frames)
            && (0.1..=240.0).contains(&self.rate)
            && (1..=Self::SMOOTHEST).contains(&self.smooth)
            && (0.0..=1.0).contains(&self.shared_noise);
        match right {
            true => Ok(()),
            false => Err(PipelineError::ModelConfig(
                "clip: frames must be 2 to 1024, rate 0.1 to 240, smooth 1 to 8 and shared_noise 0 to 1".into(),
            )),
        }
    }
}

impl ImageConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`PipelineError::ModelConfig`] in one line.
    pub fn from_json(value: Value) -> Result<Self, PipelineError> {
        let config: Self =
            serde_json::from_value(value).map_err(|e| PipelineError::ModelConfig(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Reads `config.json` of a model's folder.
    ///
    /// # Errors
    /// [`PipelineError::File`] if it is not there, is not JSON, or is no configuration of pictures.
    pub fn open(folder: &Path) -> Result<Self, PipelineError> {
        let path = folder.join("config.json");
        let value = read_json(&path)?;
        Self::from_json(value).map_err(|e| PipelineError::File {
            path,
            problem: e.to_string(),
        })
    }

    fn check(&self) -> Result<(), PipelineError> {
        let wrong = |text: String| Err(PipelineError::ModelConfig(text));
        let kind = self.kind()?;
        match (&self.clip, self.medium) {
            (None, Medium::Image) => {}
            (Some(clip), Medium::Video) if kind == Kind::Diffusion => clip.check()?,
            (None, Medium::Video) => return wrong("a model of clips needs a \"clip\"".into()),
            (Some(_), _) => return wrong("clips are drawn by a dit with the medium video".into()),
            _ => return wrong("medium is not image".into()),
        }
        let sides = 1..=MAX_SIDE;
        if kind != Kind::Upscaler && !self.size.iter().all(|side| sides.contains(side)) {
            let [w, h] = self.size;
            return wrong(format!(
                "size is {w}x{h}, but sides must be 1 to {MAX_SIDE}"
            ));
        }
        if let Some(rule) = self.sizes
            && (rule.multiple == 0
                || rule.min == 0
                || rule.max > MAX_SIDE
                || rule.min.div_ceil(rule.multiple) > rule.max / rule.multiple)
        {
            return wrong(format!(
                "sizes allows no size: multiples of {} from {} to {}",
                rule.multiple, rule.min, rule.max
            ));
        }
        if !(1..=1024).contains(&self.channels) || !(1..=4096).contains(&self.text_tokens) {
            return wrong("channels must be 1 to 1024 and text_tokens 1 to 4096".into());
        }
        if self.channels != 3 && self.vae.is_none() && kind == Kind::Diffusion {
            return wrong(format!("{} channels need a vae", self.channels));
        }
        if !(1..=8).contains(&self.sampler.upscale) {
            return wrong(format!(
                "sampler.upscale is {}, but it must be 1 to 8",
                self.sampler.upscale
            ));
        }
        if kind == Kind::Diffusion {
            let steps = self.sampler.steps as usize;
            self.scheduler(self.sampler.name)
                .and_then(|scheduler| Ok(scheduler.build(steps)?))
                .map_err(|e| PipelineError::ModelConfig(format!("sampler: {e}")))?;
        }
        Ok(())
    }

    /// What kind of network this is.
    ///
    /// # Errors
    /// [`PipelineError::ModelConfig`] for an architecture that is not known.
    pub fn kind(&self) -> Result<Kind, PipelineError> {
        match self.architecture.as_str() {
            "dit" => Ok(Kind::Diffusion),
            "stylegan2" | "dcgan" => Ok(Kind::Gan),
            "rrdb" => Ok(Kind::Upscaler),
            other => Err(PipelineError::ModelConfig(format!(
                "architecture is {other:?}; for pictures there are dit, stylegan2, dcgan and rrdb"
            ))),
        }
    }

    /// Whether its clips begin again where they end.
    pub fn loops(&self) -> bool {
        self.clip.is_some() && self.model["loop"] == Value::Bool(true)
    }

    /// Whether a prompt means anything to it.
    pub fn has_prompt(&self) -> bool {
        self.text_encoder.is_some() || !self.classes.is_empty()
    }

    /// Signal and noise at each evaluation of the usual run, its last `strength` alone.
    ///
    /// # Errors
    /// [`PipelineError::Diffusion`].
    pub fn points(&self, strength: f64) -> Result<Vec<Point>, PipelineError> {
        let scheduler = self.scheduler(self.sampler.name)?;
        let run = scheduler.build_from(self.sampler.steps as usize, strength)?;
        Ok(run.table().points().to_vec())
    }

    /// The run of a sampler: the configured one as it is configured, another with its own defaults.
    ///
    /// # Errors
    /// [`PipelineError::Diffusion`].
    pub(crate) fn scheduler(&self, sampler: Sampler) -> Result<SchedulerConfig, PipelineError> {
        let process = match &self.process {
            ProcessConfig::Flow { shift, timesteps } => Process::Flow {
                shift: FlowShift::Static(*shift),
                timesteps: *timesteps,
            },
            ProcessConfig::Diffusion {
                betas,
                timesteps,
                start,
                end,
                zero_terminal_snr,
            } => {
                let schedule = NoiseSchedule::new(*betas, *timesteps, *start, *end)?;
                Process::Diffusion(if *zero_terminal_snr {
                    schedule.with_zero_terminal_snr()
                } else {
                    schedule
                })
            }
        };
        let defaults = &self.sampler;
        let mut config = SchedulerConfig::new(sampler, self.prediction, process);
        config.clip = defaults.clip;
        if sampler == defaults.name {
            config.timestep_spacing = defaults.timestep_spacing;
            config.steps_offset = defaults.steps_offset;
            config.sigma_spacing = defaults.sigma_spacing;
            config.keep_last_noise = defaults.keep_last_noise;
            config.eta = defaults.eta;
        }
        Ok(config)
    }
}
