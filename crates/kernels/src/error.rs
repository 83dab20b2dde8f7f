//! What can go wrong in a kernel.

/// Error of a kernel call: what was given, and what would have been right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A slice does not have the length that the shapes ask for.
    #[error("{what} holds {got} elements, but its shape needs {expected}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Elements (or bytes, where `what` says so) that the shape needs.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// A row is not a whole number of quantisation blocks.
    #[error("{count} elements are not a whole number of {ty} blocks of {block}")]
    PartialBlock {
        /// Name of the block type.
        ty: &'static str,
        /// Elements given.
        count: usize,
        /// Elements of one block.
        block: usize,
    },
    /// An operation does not exist for this block type.
    #[error("{operation} is not available for {ty}")]
    Unsupported {
        /// The operation.
        operation: &'static str,
        /// Name of the block type.
        ty: &'static str,
    },
    /// A product of sizes does not fit in memory addresses.
    #[error("the size of {what} overflows")]
    Overflow {
        /// Which argument.
        what: &'static str,
    },
    /// The system does not give the memory.
    #[error("no {bytes} bytes of memory for a matrix")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// `MEDLEY_ISA` names no instruction set that Medley has kernels for.
    #[error("MEDLEY_ISA={value} is unknown; use scalar, avx2 or avx512, or leave it unset")]
    UnknownIsa {
        /// The value found.
        value: String,
    },
    /// `MEDLEY_ISA` names an instruction set that this processor lacks.
    #[error(
        "MEDLEY_ISA={value} cannot be used: this processor lacks its instructions; use scalar, or leave it unset"
    )]
    IsaUnavailable {
        /// The value found.
        value: &'static str,
    },
}
