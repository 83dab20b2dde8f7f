//! Tokenizers and chat templates.

mod engine;
mod error;
mod gguf;
mod hub;
mod merge;
mod pre;
mod special;
mod stream;
mod tokenizer;
mod unicode;
mod vocab;

pub use error::{Result, TokenizeError};
pub use stream::StreamDecoder;
pub use tokenizer::Tokenizer;
pub use vocab::TokenKind;
