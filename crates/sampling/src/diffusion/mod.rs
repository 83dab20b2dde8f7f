//! Denoising: noise schedules, samplers, guidance and reproducible noise, on plain slices.
//!
//! A [`SchedulerConfig`] names a [`Sampler`], what the model predicts and how it was trained, and builds
//! a run of some number of steps: a [`Scheduler`], whose loop is shown there. Nothing here knows the
//! network.
//!
//! Tables and trajectories are held to diffusers (`golden/diffusion`); where this differs from it:
//! - DDIM steps to the next timestep of the table, not by a fixed stride; the two are the same for
//!   leading spacing, and for trailing spacing where the number of steps divides that of timesteps.
//! - The multistep solvers round the timesteps of Karras, exponential and beta levels; diffusers cuts
//!   off the fraction of the latter two. DPM2 does not round those of Karras levels.
//! - A run from a picture takes the last part of the steps for LCM too, where diffusers chooses other
//!   timesteps below the strength.
//! - No noise is drawn where none is added, in the last step.

mod ancestral;
mod clip;
mod dpmpp;
mod error;
mod euler;
mod guidance;
mod names;
mod noise;
mod prediction;
mod schedule;
mod scheduler;
mod spacing;
mod table;
mod unipc;

pub use clip::share_noise;
pub use error::DiffusionError;
pub use guidance::Guidance;
pub use noise::{NormalSource, TorchRng};
pub use prediction::Prediction;
pub use schedule::{BetaShape, FlowShift, NoiseSchedule};
pub use scheduler::{Process, Sampler, Scheduler, SchedulerConfig};
pub use spacing::{SigmaSpacing, TimestepSpacing};
pub use table::{Point, Table};
