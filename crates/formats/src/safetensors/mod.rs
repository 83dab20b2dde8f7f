//! safetensors: a JSON header, then the tensors' bytes back to back.
//!
//! The format is described in the [safetensors README](https://github.com/huggingface/safetensors).
//! The header is read here and not by the `safetensors` crate because that one reads it into a hash
//! map, where a name that occurs twice silently wins or loses, and because its errors do not name the
//! tensor. The crate serves as the reference in this crate's tests.

mod index;
mod read;
mod write;

pub(crate) use index::{Index, folder_of};
pub use read::Header;
pub use write::{TensorData, write, write_with};

use crate::dtype::DType;

/// Bytes of JSON that are looked at: the bound of the reference implementation.
const MAX_HEADER: u64 = 100_000_000;

/// The key of the header that holds free text pairs.
const METADATA_KEY: &str = "__metadata__";

/// Every type by its name in the header.
const NAMES: [(&str, DType); 15] = [
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("F8_E4M3", DType::F8E4M3),
    ("F8_E5M2", DType::F8E5M2),
    ("F64", DType::F64),
    ("I64", DType::I64),
    ("I32", DType::I32),
    ("I16", DType::I16),
    ("I8", DType::I8),
    ("U64", DType::U64),
    ("U32", DType::U32),
    ("U16", DType::U16),
    ("U8", DType::U8),
    ("BOOL", DType::Bool),
];
