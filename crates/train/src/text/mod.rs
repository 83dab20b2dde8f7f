//! Training of language models.

pub mod data;
mod lora;
pub mod measure;
pub mod ngram;
mod objective;
mod shape;
pub mod speed;
mod task;
pub mod vocabulary;

pub use lora::{ADAPTER, LoraSettings};
pub use objective::{NextToken, TokenBatch};
pub use shape::DecoderShape;
pub(crate) use task::published;
pub use task::{TextPlan, TextSettings, TextTask, prepare};
