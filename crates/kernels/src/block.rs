//! Element types of weight tensors: names, numbers and block sizes of the GGUF format.

/// How the elements of a weight tensor are stored.
///
/// Names, numbers and layouts are those of the GGUF format (ggml's `ggml-common.h`). A row of a
/// tensor is a sequence of blocks of [`block_len`](Self::block_len) elements, each
/// [`block_bytes`](Self::block_bytes) bytes, without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BlockType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16: the upper half of a single.
    BF16,
    /// 4-bit, symmetric: f16 scale and 32 nibbles, value `(q - 8) * d`.
    Q4_0,
    /// 4-bit with minimum: f16 scale, f16 minimum and 32 nibbles, value `q * d + m`.
    Q4_1,
    /// 5-bit, symmetric: f16 scale, 32 high bits and 32 nibbles, value `(q - 16) * d`.
    Q5_0,
    /// 5-bit with minimum: value `q * d + m`.
    Q5_1,
    /// 8-bit, symmetric: f16 scale and 32 signed bytes.
    Q8_0,
    /// 2-bit super-blocks of 16 × 16 with 4-bit scales and minima.
    Q2K,
    /// 3-bit super-blocks of 16 × 16 with 6-bit scales.
    Q3K,
    /// 4-bit super-blocks of 8 × 32 with 6-bit scales and minima.
    Q4K,
    /// 5-bit super-blocks of 8 × 32 with 6-bit scales and minima.
    Q5K,
    /// 6-bit super-blocks of 16 × 16 with 8-bit scales.
    Q6K,
    /// 4-bit codes into a fixed non-linear table, f16 scale for 32.
    IQ4NL,
    /// [`IQ4NL`](Self::IQ4NL) codes in super-blocks of 8 × 32 with 6-bit scales.
    IQ4XS,
    /// OCP microscaling: 4-bit floats (E2M1) with one 8-bit exponent for 32.
    MXFP4,
}

/// One line of the type table: ggml number, name, elements and bytes of a block.
struct Entry(BlockType, u32, &'static str, usize, usize);

/// Ordered as the enum, so that `ty as usize` is the index.
const TABLE: [Entry; 16] = [
    Entry(BlockType::F32, 0, "F32", 1, 4),
    Entry(BlockType::F16, 1, "F16", 1, 2),
    Entry(BlockType::BF16, 30, "BF16", 1, 2),
    Entry(BlockType::Q4_0, 2, "Q4_0", 32, 18),
    Entry(BlockType::Q4_1, 3, "Q4_1", 32, 20),
    Entry(BlockType::Q5_0, 6, "Q5_0", 32, 22),
    Entry(BlockType::Q5_1, 7, "Q5_1", 32, 24),
    Entry(BlockType::Q8_0, 8, "Q8_0", 32, 34),
    Entry(BlockType::Q2K, 10, "Q2_K", 256, 84),
    Entry(BlockType::Q3K, 11, "Q3_K", 256, 110),
    Entry(BlockType::Q4K, 12, "Q4_K", 256, 144),
    Entry(BlockType::Q5K, 13, "Q5_K", 256, 176),
    Entry(BlockType::Q6K, 14, "Q6_K", 256, 210),
    Entry(BlockType::IQ4NL, 20, "IQ4_NL", 32, 18),
    Entry(BlockType::IQ4XS, 23, "IQ4_XS", 256, 136),
    Entry(BlockType::MXFP4, 39, "MXFP4", 32, 17),
];

impl BlockType {
    /// Every type, in the order of the enum.
    pub const ALL: &[BlockType] = &[
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::IQ4NL,
        Self::IQ4XS,
        Self::MXFP4,
    ];

    const fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// The type with this `ggml_type` number, or `None` for one that is not supported.
    #[must_use]
    pub fn from_ggml(id: u32) -> Option<Self> {
        TABLE.iter().find(|e| e.1 == id).map(|e| e.0)
    }

    /// The `ggml_type` number that GGUF files hold.
    #[must_use]
    pub const fn ggml_id(self) -> u32 {
        self.entry().1
    }

    /// The name that ggml's tools print, such as `"Q4_K"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.entry().2
    }

    /// The type of this [`name`](Self::name), upper or lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|e| e.2.eq_ignore_ascii_case(name))
            .map(|e| e.0)
    }

    /// Elements in one block.
    #[must_use]
    pub const fn block_len(self) -> usize {
        self.entry().3
    }

    /// Bytes of one block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        self.entry().4
    }

    /// Bytes of `n` elements; `None` where they are not whole blocks or the size overflows.
    #[must_use]
    pub const fn bytes_for(self, n: usize) -> Option<usize> {
        let len = self.block_len();
        if !n.is_multiple_of(len) {
            return None;
        }
        (n / len).checked_mul(self.block_bytes())
    }

    /// Whether elements are stored one by one as floats, without blocks.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }
}

impl std::fmt::Display for BlockType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_ordered_as_the_enum() {
        assert_eq!(BlockType::ALL.len(), TABLE.len());
        for (i, &ty) in BlockType::ALL.iter().enumerate() {
            assert_eq!(TABLE[i].0, ty);
            assert_eq!(ty as usize, i);
            assert_eq!(BlockType::from_ggml(ty.ggml_id()), Some(ty));
            assert_eq!(BlockType::from_name(ty.name()), Some(ty));
        }
        assert_eq!(BlockType::from_ggml(4), None);
        assert_eq!(BlockType::from_name("q4_k"), Some(BlockType::Q4K));
        assert_eq!(BlockType::from_name("Q4K"), None);
    }

    #[test]
    fn bytes_of_whole_blocks_only() {
        assert_eq!(BlockType::Q4K.bytes_for(512), Some(288));
        assert_eq!(BlockType::Q4K.bytes_for(511), None);
        assert_eq!(BlockType::F32.bytes_for(usize::MAX), None);
        assert_eq!(BlockType::MXFP4.bytes_for(0), Some(0));
    }
}
