//! GGUF, the container of llama.cpp: typed metadata, tensor descriptions, aligned tensor data.
//!
//! Versions 2 and 3, little endian, as specified in ggml's `docs/gguf.md`. The header is copied into
//! owned values; tensor data stays in the memory map.

mod read;
mod value;
mod write;

pub use read::{Gguf, Header};
pub use value::{Array, Metadata, StringArray, Value};
pub use write::Writer;
pub(crate) use write::encode;

/// The first four bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Where tensor data is aligned unless the metadata says otherwise, in bytes.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// The metadata key that overrides [`DEFAULT_ALIGNMENT`].
pub const ALIGNMENT_KEY: &str = "general.alignment";

/// Type numbers of metadata values.
mod kind {
    pub(super) const U8: u32 = 0;
    pub(super) const I8: u32 = 1;
    pub(super) const U16: u32 = 2;
    pub(super) const I16: u32 = 3;
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const F32: u32 = 6;
    pub(super) const BOOL: u32 = 7;
    pub(super) const STRING: u32 = 8;
    pub(super) const ARRAY: u32 = 9;
    pub(super) const U64: u32 = 10;
    pub(super) const I64: u32 = 11;
    pub(super) const F64: u32 = 12;
}

/// Bounds on what a header may hold. Each is far beyond any published file, and keeps what a hostile
/// header can make the reader allocate within a small multiple of the file's own size.
mod limit {
    /// Bytes of header that are looked at. The largest published vocabularies take 20 MiB.
    pub(super) const HEADER_BYTES: usize = 256 << 20;
    pub(super) const PAIRS: u64 = 1 << 16;
    pub(super) const TENSORS: u64 = 1 << 18;
    /// The format allows keys of 65535 bytes.
    pub(super) const KEY_BYTES: u64 = 65_535;
    /// ggml stops at 63; other writers do not.
    pub(super) const NAME_BYTES: u64 = 1024;
    pub(super) const DIMS: u32 = 4;
    /// Arrays within arrays. ggml takes none.
    pub(super) const DEPTH: usize = 4;
    /// Arrays that are elements of arrays, over the whole file.
    pub(super) const INNER_ARRAYS: u64 = 1 << 16;
    pub(super) const ALIGNMENT: u64 = 1 << 20;
}

/// The recipe of quantisation that `general.file_type` stands for, such as `"Q4_K_M"` for 15; numbers
/// of llama.cpp's `llama_ftype`.
#[must_use]
pub fn file_type_name(file_type: u32) -> Option<&'static str> {
    // llama.cpp sets this bit where it has guessed the type from the tensors.
    const GUESSED: u32 = 1024;
    Some(match file_type & !GUESSED {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        21 => "Q2_K_S",
        25 => "IQ4_NL",
        30 => "IQ4_XS",
        32 => "BF16",
        38 => "MXFP4_MOE",
        _ => return None,
    })
}
