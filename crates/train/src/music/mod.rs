//! Training of decoders on tunes.

mod data;
mod measure;
mod task;

pub use data::{Piece, TuneSource};
pub use measure::{Card, Likeness, measure};
pub use task::{MusicPlan, MusicSettings, MusicTask, prepare};
