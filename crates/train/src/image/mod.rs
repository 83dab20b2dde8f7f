//! Training of models that draw.

mod objective;
mod sample;
mod settings;
pub mod speed;
mod task;

pub use objective::{BETAS, Denoising, Mixing, NoisyBatch, TIMESTEPS, Times, denoising_loss};
pub use sample::{Draw, draw};
pub use settings::ImageSettings;
pub use task::{ImagePlan, ImageTask, base_model, prepare};
