//! Tokenizers and chat templates.
//!
//! [`Tokenizer`] turns text into token ids and back, from the metadata of a GGUF file (ids as llama.cpp gives them) or from
//! a `tokenizer.json` (ids as the tokenizers crate gives them). [`StreamDecoder`] gives text while ids come in.
//! [`ChatTemplate`] renders a conversation as transformers' `apply_chat_template` does, and [`encode_chat`] encodes it so
//! that special tokens which somebody typed stay text. [`notes`] are melodies as tokens.

mod chat;
mod engine;
pub mod english;
mod error;
mod gguf;
mod hub;
mod merge;
pub mod notes;
mod pre;
mod special;
mod stream;
mod tokenizer;
mod unicode;
mod vocab;
pub mod whisper;

pub use chat::{ChatInput, ChatTemplate, encode_chat};
pub use error::{Result, TokenizeError};
pub use stream::StreamDecoder;
pub use tokenizer::Tokenizer;
pub use vocab::TokenKind;
pub use whisper::WhisperTokenizer;
