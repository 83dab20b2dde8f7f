//! Catalog, pull, and everything that keeps works and models.
//!
//! [`Store`] finds models by name, file, folder or hub reference and fetches those of the [`Catalog`]; [`Home`] says
//! where they are kept. Errors carry a machine-readable code and a hint: [`EngineError`].

pub mod catalog;
mod error;
pub mod fetch;
pub mod home;
pub mod manifest;
pub mod pull;
pub mod store;

#[cfg(feature = "generators")]
pub mod convert;
#[cfg(feature = "generators")]
pub mod database;
#[cfg(feature = "generators")]
pub mod desk;
#[cfg(feature = "generators")]
pub mod director;
#[cfg(feature = "generators")]
pub mod doctor;
#[cfg(feature = "generators")]
pub mod documents;
#[cfg(feature = "generators")]
pub mod fidelity;
#[cfg(feature = "generators")]
pub mod image;
#[cfg(feature = "generators")]
pub mod inspect;
#[cfg(feature = "generators")]
pub mod jobs;
#[cfg(feature = "generators")]
pub mod keys;
#[cfg(feature = "generators")]
pub mod library;
#[cfg(feature = "generators")]
mod machine;
#[cfg(feature = "generators")]
pub mod music;
#[cfg(feature = "generators")]
pub mod repository;
#[cfg(feature = "generators")]
pub mod responses;
/// Which medium a prompt asks for.
pub mod route;
#[cfg(feature = "generators")]
pub mod serving;
#[cfg(feature = "generators")]
pub mod speech;
#[cfg(feature = "generators")]
pub mod transcript;
/// Film: models by name, files that go in, files that come out.
#[cfg(feature = "generators")]
pub mod video;
#[cfg(feature = "generators")]
/// Files of works.
pub mod work_file;

pub use machine::{
    Device, MachineLimits, available_memory, device, limits, only_this_pool, requested_isa,
    set_threads, threads,
};
#[cfg(feature = "generators")]
pub use medley_nn::KvType;
#[cfg(feature = "generators")]
pub use medley_nn::train::Compute;
#[cfg(feature = "generators")]
pub use medley_pipelines::embed::EmbeddingModel;
/// Many requests through one language model at the same time.
#[cfg(feature = "generators")]
pub use medley_pipelines::text::batch;
/// How models write thoughts and calls of functions.
#[cfg(feature = "generators")]
pub use medley_pipelines::text::dialect;
/// Tasks over texts that are longer than the context.
#[cfg(feature = "generators")]
pub use medley_pipelines::text::long;
#[cfg(feature = "generators")]
pub use medley_pipelines::text::{LoadOptions, Session, Task, TextModel, Watched, adapter_file};
#[cfg(feature = "generators")]
pub use medley_pipelines::{CancelToken, PipelineError, Run, TextGenerator};
#[cfg(feature = "generators")]
pub use medley_tokenize::Tokenizer;
/// Training, as the command line drives it.
#[cfg(feature = "generators")]
pub use medley_train as train;

pub use catalog::{Catalog, ModelEntry};
pub use error::{EngineError, Result};
pub use fetch::hub::Hub;
pub use fetch::{CancelFlag, Limits};
pub use home::Home;
pub use pull::{PullEvent, PullOptions, PullStage};
pub use store::{Details, Installed, Resolved, Store};
