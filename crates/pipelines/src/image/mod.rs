//! Pictures: denoising models and GANs behind one trait, with what stands around them (text encoder, VAE, upscaler).
//!
//! A model is a folder with `config.json` ([`ImageConfig`], which shows its form) and `model.safetensors`; [`load`]
//! makes a generator of it. What the networks do is hidden behind four small traits, [`Denoise`], [`Synthesize`],
//! [`Autoencode`] and [`Enlarge`]; what they are is the business of `models`.

mod check;
mod clips;
mod config;
pub(crate) mod diffusion;
mod gan;
mod inputs;
mod load;
mod lora;
mod networks;
mod parts;
mod plan;
mod upscale;
mod walk;

use medley_media::Picture;
use medley_types::{ImagePlan, ImageRequest, ImageTimings, ImageWork};

use crate::{PipelineError, Run};

pub use check::validate;
pub use config::{ClipConfig, ImageConfig, Kind, ProcessConfig, SamplerDefaults, SizeRule};
pub use diffusion::DiffusionGenerator;
pub use gan::GanGenerator;
pub use inputs::ImageInputs;
pub use load::{Companion, Sources, companion, load, load_diffusion, load_upscaler, read_config};
pub use parts::{Autoencode, Conditioning, Cost, Denoise, Encode, Enlarge, Synthesize, TextStates};
pub use plan::{Speed, check_memory};
pub use upscale::Upscaler;
pub use walk::circle;

/// Pictures with what is known of them.
#[derive(Clone, Debug)]
pub struct Images {
    /// One for each of `count`, or the frames of a walk in order.
    pub pictures: Vec<Picture>,
    /// Sizes, seeds, times.
    pub work: ImageWork,
}

impl Images {
    /// Pictures of one size, which is 0 where there are none.
    fn new(
        pictures: Vec<Picture>,
        seeds: Vec<u64>,
        evaluations: usize,
        timings: ImageTimings,
    ) -> Self {
        let (width, height) = pictures
            .first()
            .map_or((0, 0), |picture| (picture.width(), picture.height()));
        Self {
            pictures,
            work: ImageWork {
                width,
                height,
                seeds,
                evaluations,
                timings,
            },
        }
    }
}

/// Turns requests for pictures into pictures.
pub trait ImageGenerator: Send + Sync {
    /// What the model is.
    fn config(&self) -> &ImageConfig;

    /// What a completed request will take.
    fn plan(&self, request: &ImageRequest, speed: &Speed) -> ImagePlan;

    /// Runs a request that [`ImageConfig::complete`] gave. Looks at the cancel token before and after every evaluation of
    /// the network; reports progress as `step` (and `upscale`), and previews where `inputs` asks for them.
    ///
    /// # Errors
    /// [`PipelineError::Cancelled`] leaves nothing; [`PipelineError::Diffusion`] for values that are not finite.
    fn generate(
        &self,
        request: &ImageRequest,
        inputs: &ImageInputs,
        run: &mut Run,
    ) -> Result<Images, PipelineError>;
}
