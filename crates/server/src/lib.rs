//! The HTTP API, in the shapes that OpenAI's clients speak.
//!
//! [`Service`] has its models from a [`Shelf`] and one thread that computes: it loads models within a limit of memory, and
//! writes the texts of all requests together, step by step. [`router`] is the API in process, [`serve`] puts it on a
//! socket. A client that reads slowly, or not at all, holds up nobody: what it has not read yet waits for it, and a client
//! that hangs up ends its texts within a step.

mod answer;
mod ask;
mod embeddings;
mod error;
mod fields;
mod images;
mod mailbox;
mod router;
mod serve;
mod service;
mod shelf;
mod worker;

pub use error::ApiError;
pub use router::router;
pub use serve::serve;
pub use service::{Service, Settings};
pub use shelf::{Card, Model, Purpose, Shelf, StoreShelf, load_pictures};
pub use worker::Limits;
