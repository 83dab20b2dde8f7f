//! The scorer: a small contrastive model of pictures and captions that measures generators and is none of them. It has a
//! text tower of its own, and a split of its own: what it holds out has nothing to do with what they hold out. Its
//! numbers compare only with numbers of the same scorer.

mod augment;
mod open;
mod perceptual;
mod reader;
mod settings;
mod task;

pub use open::{Features, Scorer};
pub use perceptual::Perceptual;
pub use reader::CaptionReader;
pub use settings::{SALT, ScorerSettings};
pub use task::{ScorerBatch, ScorerPlan, ScorerTask, prepare};
