//! Weight containers: GGUF, safetensors, PyTorch checkpoints.

mod cursor;
mod dtype;
mod error;
pub mod gguf;
mod map;

pub use dtype::{DType, TensorInfo};
pub use error::{FormatError, Problem};
