//! Element types and shapes of tensors in files.

use medley_kernels::BlockType;

/// How the elements of a tensor in a file are stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DType {
    /// Floats and ggml's quantised blocks.
    Block(BlockType),
    /// IEEE 754 double precision.
    F64,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed byte.
    I8,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned byte.
    U8,
    /// One byte, 0 or 1.
    Bool,
    /// OCP 8-bit float, 4 exponent and 3 mantissa bits, finite only (`float8_e4m3fn`).
    F8E4M3,
    /// OCP 8-bit float, 5 exponent and 2 mantissa bits (`float8_e5m2`).
    F8E5M2,
}

impl DType {
    /// Single precision.
    pub const F32: Self = Self::Block(BlockType::F32);
    /// Half precision.
    pub const F16: Self = Self::Block(BlockType::F16);
    /// bfloat16.
    pub const BF16: Self = Self::Block(BlockType::BF16);

    /// The name people know it by, such as `"F32"`, `"Q4_K"`, `"F8_E4M3"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block(ty) => ty.name(),
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
        }
    }

    /// Elements in the smallest unit of storage: 1, or the elements of a quantised block.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::Block(ty) => ty.block_len(),
            _ => 1,
        }
    }

    /// Bytes of the smallest unit of storage.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Block(ty) => ty.block_bytes(),
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::I32 | Self::U32 => 4,
            Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool | Self::F8E4M3 | Self::F8E5M2 => 1,
        }
    }

    /// Bytes of one element; `None` for quantised blocks.
    #[must_use]
    pub const fn element_bytes(self) -> Option<usize> {
        if self.block_len() == 1 {
            Some(self.block_bytes())
        } else {
            None
        }
    }

    /// Bytes of `n` elements; `None` where they are not whole blocks or the size overflows.
    #[must_use]
    pub const fn bytes_for(self, n: usize) -> Option<usize> {
        if !n.is_multiple_of(self.block_len()) {
            return None;
        }
        (n / self.block_len()).checked_mul(self.block_bytes())
    }

    /// The type with this number in a GGUF file, or `None` for one that is not supported.
    #[must_use]
    pub fn from_ggml(id: u32) -> Option<Self> {
        Some(match id {
            24 => Self::I8,
            25 => Self::I16,
            26 => Self::I32,
            27 => Self::I64,
            28 => Self::F64,
            _ => Self::Block(BlockType::from_ggml(id)?),
        })
    }

    /// The number that GGUF files hold, or `None` for a type that GGUF does not have.
    #[must_use]
    pub const fn ggml_id(self) -> Option<u32> {
        Some(match self {
            Self::Block(ty) => ty.ggml_id(),
            Self::I8 => 24,
            Self::I16 => 25,
            Self::I32 => 26,
            Self::I64 => 27,
            Self::F64 => 28,
            Self::U64 | Self::U32 | Self::U16 | Self::U8 => return None,
            Self::Bool | Self::F8E4M3 | Self::F8E5M2 => return None,
        })
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Name, type and shape of a tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, as the file has it.
    pub name: String,
    /// How elements are stored.
    pub dtype: DType,
    /// Row-major, outermost dimension first (GGUF dimensions reversed). Empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Number of elements; `None` where the product overflows, which no opened file has.
    #[must_use]
    pub fn checked_elements(&self) -> Option<usize> {
        // A zero anywhere makes the product zero, whatever the others are; the partial product may
        // still overflow, so this is stricter than mathematics, as readers of the field are.
        self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
    }

    /// Number of elements, saturating.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.checked_elements().unwrap_or(usize::MAX)
    }

    /// Bytes of the data, contiguous and row-major; `None` where rows are not whole blocks or the
    /// size overflows.
    #[must_use]
    pub fn byte_len(&self) -> Option<usize> {
        let row = self.shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(self.dtype.block_len()) {
            return None;
        }
        self.dtype.bytes_for(self.checked_elements()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ggml_numbers_go_both_ways() {
        let known: Vec<u32> = (0..64)
            .filter(|&id| DType::from_ggml(id).is_some())
            .collect();
        for &id in &known {
            assert_eq!(DType::from_ggml(id).and_then(DType::ggml_id), Some(id));
        }
        assert_eq!(
            known,
            [
                0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 24, 25, 26, 27, 28, 30, 39
            ]
        );
    }

    #[test]
    fn sizes_need_whole_rows_and_do_not_overflow() {
        let tensor = |dtype, shape: &[usize]| TensorInfo {
            name: String::new(),
            dtype,
            shape: shape.to_vec(),
        };
        let q4 = DType::Block(BlockType::Q4_0);
        assert_eq!(tensor(q4, &[3, 64]).byte_len(), Some(3 * 2 * 18));
        assert_eq!(tensor(q4, &[32, 2]).byte_len(), None);
        assert_eq!(tensor(DType::F32, &[]).byte_len(), Some(4));
        assert_eq!(tensor(DType::F32, &[usize::MAX, 2]).byte_len(), None);
        assert_eq!(tensor(DType::F64, &[usize::MAX / 4]).byte_len(), None);
    }
}
