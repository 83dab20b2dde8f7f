//! Model architectures: configuration, blocks, forward pass and key map of each; no I/O, no sampling, no tokenizing.

pub mod bert;
pub mod decoder;
mod error;

pub use error::{ConfigError, Result};
