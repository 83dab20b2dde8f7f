//! Training of language models.

mod objective;
mod shape;
pub mod speed;

pub use objective::{NextToken, TokenBatch};
pub use shape::DecoderShape;
