//! Models at work: one thread that computes for many requests at once, within a limit of memory.
//!
//! [`Compute`] loads models from a [`Shelf`], writes the texts of all requests together step by step, embeds, draws, listens, speaks and plays.
//! Nobody who reads slowly holds up the others: what was not taken yet lies in a [`Mailbox`].

mod error;
mod ledger;
mod mailbox;
mod shelf;
mod sound;
mod texts;
mod worker;

pub use error::ServingError;
pub use ledger::{Held, Memory, Totals};
pub use mailbox::{Mailbox, Part, Reader};
pub use shelf::{Card, Model, Purpose, Shelf, StoreShelf, Subject, load_clips, load_pictures};
pub use sound::{Composing, Filming, Hear, Speaking};
pub use worker::{Compute, Drawing, Limits, Listening, Texts};
