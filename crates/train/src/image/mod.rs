//! Training of models that draw, pictures and clips.

mod clips;
mod objective;
mod sample;
mod settings;
pub mod speed;
mod task;

pub use clips::{ClipSettings, Time};
pub use objective::{BETAS, Denoising, Mixing, NoisyBatch, TIMESTEPS, Times, denoising_loss};
pub use sample::{Draw, draw, draw_clips};
pub use settings::ImageSettings;
pub use task::{ImagePlan, ImageTask, base_model, prepare};
