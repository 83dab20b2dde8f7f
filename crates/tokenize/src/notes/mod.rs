//! Melodies with chords as tokens: a vocabulary of some three hundred words in which a bar of a reel has about ten.
//!
//! A tune is `end`, a heading (style, metre, tonic, mode, tempo, motion) and its bars. A length holds until another comes, and
//! pitches count from the tonic, so that one melody has the same tokens in every key but for the octave:
//!
//! ```text
//! end  reel 4/4 D major fast busy  opens chord:I 240 +0 +4 +7 +4 … bar  chord:V … repeat  …
//! ```
//!
//! [`encode`] and [`decode`] are each other's inverse on [`canonical`] tunes; [`Grammar`] says which token may follow.

mod code;
mod grammar;
mod word;

pub use code::{canonical, decode, encode};
pub use grammar::{Form, Grammar};
pub use medley_music::{Motion, Style, TempoClass, Traits};
pub use word::{LENGTHS, METRES, Word, reference_pitch, vocabulary_size};

/// Name of this vocabulary in a model's configuration; another number when ids change their meaning.
pub const VOCABULARY: &str = "notes-1";

/// Why a tune has no tokens, or tokens are no tune.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotesError {
    /// A metre that the vocabulary does not have.
    #[error("the metre {0} is none of those that tunes are written in")]
    Metre(String),
    /// A length that the vocabulary does not have, in ticks.
    #[error("a note of {0} ticks is none of those that tunes are written in")]
    Length(u32),
    /// A pitch too far from the tonic.
    #[error("the pitch {0} lies too far from the tonic")]
    Pitch(u8),
    /// An ending beyond the fourth.
    #[error("a part has more endings than are written")]
    Ending,
    /// A token that cannot stand where it does.
    #[error("token {id} cannot stand at place {place}")]
    Token {
        /// The token.
        id: u32,
        /// Where it stands.
        place: usize,
    },
}
