//! Training of networks that make pictures larger.

mod pairs;
mod settings;
mod task;

pub use pairs::{UpscalerBatch, psnr, smaller};
pub use settings::UpscalerSettings;
pub use task::{Perceive, UpscalerPlan, UpscalerTask, prepare};
