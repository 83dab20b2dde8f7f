//! Music without models: what a prompt asks for, chords for a melody, an accompaniment, and sound.
//!
//! - [`Traits`]: style, tempo and motion of a tune;
//! - [`Wish`]: key, metre, tempo, style and mood out of the words of a prompt;
//! - [`harmonise`]: chords for a melody that has none;
//! - [`arrange`]: melody, chords, bass, pad and drums as a score;
//! - [`synth`]: a score as sound, by a small synthesizer or a SoundFont.
//!
//! Nothing here is random but by a seed: the same input gives the same samples.

mod arrange;
mod harmony;
mod noise;
pub mod synth;
mod traits;
mod wish;

pub use arrange::{Band, arrange};
pub use harmony::harmonise;
pub use synth::SynthError;
pub use traits::{Motion, Style, TempoClass, Traits};
pub use wish::{Mood, Wish, WishError, metres_of};
