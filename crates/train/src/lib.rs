//! Training: objectives, optimisers, schedules and the step that brings them together.

mod ema;
mod error;
pub mod optim;
pub mod schedule;
pub mod step;

pub use ema::Ema;
pub use error::{Error, Result};
pub use optim::{Optimiser, OptimiserKind, OptimiserSettings};
pub use schedule::Schedule;
pub use step::{Objective, StepReport, StepSettings, Trainer};
