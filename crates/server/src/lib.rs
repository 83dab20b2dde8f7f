//! The HTTP API, in the shapes that OpenAI's and Anthropic's clients speak.
//!
//! [`Service`] has its models from a shelf and lets [`medley_engine::serving::Compute`] work with them. [`router`] is the API
//! in process, [`serve`] puts it on a socket. A client that reads slowly, or not at all, holds up nobody: what it has not
//! read yet waits for it, and a client that hangs up ends its texts within a step.

mod answer;
mod anthropic;
mod ask;
mod catalog;
mod creations;
mod desk;
mod embeddings;
mod error;
mod fields;
mod files;
mod follow;
mod form;
mod gate;
mod generators;
mod images;
mod inspect;
mod jobs;
mod kept;
mod library;
mod links;
mod loaded;
mod metrics;
mod music;
mod openapi;
mod query;
mod reading;
mod rerank;
mod responses;
mod router;
mod said;
mod schema;
mod serve;
mod service;
mod speech;
mod stores;
mod studio;
mod transcripts;
mod videos;

pub use error::ApiError;
pub use openapi::openapi;
pub use router::router;
pub use serve::serve;
pub use service::{Service, Settings};
