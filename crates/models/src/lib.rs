//! Model architectures: configuration, blocks, forward pass and key map of each; no I/O, no sampling, no tokenizing.

pub mod bert;
pub mod contrastive;
pub mod dcgan;
pub mod decoder;
pub mod dit;
mod error;
pub mod hibari;
mod json;
pub mod parameters;
pub mod rrdb;
pub mod stylegan2;
pub mod vae;
pub mod vae3d;
pub mod vits;
pub mod whisper;

pub use error::{ConfigError, Result};
