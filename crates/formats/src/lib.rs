//! Weight containers: GGUF, safetensors, PyTorch checkpoints, ONNX, CTranslate2, and whisper.cpp's.
//!
//! [`WeightFile`] opens any of them and gives out named tensors as bytes in a memory map. Every length,
//! offset and count in a file is checked before it is used: a damaged or hostile file gives a
//! [`FormatError`], never a panic, and allocates no more than a small multiple of its own size.
//!
//! ONNX files hold a graph beside the weights: [`onnx::Graph`].
//!
//! To write: [`gguf::Writer`] and [`safetensors::write`].

mod atomic;
mod ctranslate2;
mod cursor;
mod dtype;
mod error;
mod float8;
pub mod fuzzing;
mod ggml;
pub mod gguf;
mod map;
pub mod onnx;
mod pickle;
pub mod safetensors;
mod weights;

pub use dtype::{DType, TensorInfo};
pub use error::{FormatError, Problem};
pub use medley_kernels::BlockType;
pub use weights::{Container, TypeShare, WeightFile};
