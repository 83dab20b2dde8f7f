//! Training of generators against a discriminator.

mod pair;
mod settings;
mod task;

pub use pair::{GanBatch, Judge, Pair};
pub use settings::GanSettings;
pub use task::{GanPlan, GanTask, base_model, prepare};
