//! Texts to train on: what is there, in which order it comes, and as which tokens.

mod document;
mod pack;
mod source;
mod tokens;

pub use document::Document;
pub use pack::{Packer, Place};
pub use source::{Bad, HoldOut, Kinds, TextSource};
pub use tokens::{Encoder, Tokens};
