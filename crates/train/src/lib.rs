//! Training: what models learn from and how.
//!
//! - [`data`]: captioned pictures from folders, lists, tables and archives, in a seeded order that goes on at
//!   the very picture where a run stopped;
//! - [`captions`]: captions as the states of a sentence encoder;
//! - [`step`]: an [`Objective`] gives the loss of a batch; a [`Trainer`] holds parameters, gradients, optimiser and
//!   averages, and makes one step after the other;
//! - [`run`]: the loop over the steps of a [`Task`], with measurements, evaluation, samples and checkpoints from which it
//!   goes on as if it had never stopped;
//! - [`text`]: language models;
//! - [`music`]: models that write tunes;
//! - [`image`]: models that draw;
//! - [`adversarial`], [`gan`]: networks that are trained against each other, and generators that are trained so;
//! - [`upscaler`]: networks that make pictures larger;
//! - [`scorer`], [`fidelity`]: what measures them, and how.

pub mod adversarial;
pub mod captions;
pub mod checkpoint;
pub mod data;
mod ema;
mod error;
pub mod fidelity;
pub mod files;
pub mod gan;
pub mod image;
mod initial;
pub mod metrics;
pub mod music;
pub mod optim;
mod random;
pub mod run;
pub mod schedule;
pub mod scorer;
pub mod speed;
pub mod step;
mod table;
pub mod text;
pub mod upscaler;

pub use ema::Ema;
pub use error::{Error, Result};
pub use optim::{Optimiser, OptimiserKind, OptimiserSettings};
pub use run::{Event, RunEnd, RunSettings, Task};
pub use schedule::Schedule;
pub use step::{Objective, StepReport, StepSettings, Trainer};
