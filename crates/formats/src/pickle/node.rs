//! Values of the stack machine. They refer to each other by number, so that a value that contains
//! itself is harmless, and dropping a deep one does not recurse.

use super::globals::Global;
use crate::dtype::DType;

/// A value's place in the machine's table.
pub(super) type Id = u32;

/// A value.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits: two's complement, little endian.
    BigInt(Box<[u8]>),
    Float(f64),
    Str(Box<str>),
    /// Bytes, whose contents no tensor needs.
    Bytes,
    List(Vec<Id>),
    Tuple(Box<[Id]>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// Index of a [`StorageRecord`].
    Storage(u32),
    /// Index of a [`TensorRecord`].
    Tensor(u32),
}

impl Node {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::BigInt(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::Bytes => "bytes",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
            Self::Global(_) => "a name of Python",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// A stretch of elements that tensors are views of.
#[derive(Debug)]
pub(super) struct StorageRecord {
    pub(super) key: String,
    pub(super) dtype: DType,
    /// Elements of `dtype`.
    pub(super) numel: u64,
}

impl StorageRecord {
    pub(super) fn bytes(&self) -> Option<u64> {
        let width = self.dtype.element_bytes()? as u64;
        self.numel.checked_mul(width)
    }
}

/// A view of a storage; offset and strides in elements of `dtype`.
#[derive(Clone, Debug)]
pub(super) struct TensorRecord {
    pub(super) storage: u32,
    pub(super) dtype: DType,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}
