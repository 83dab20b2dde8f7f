//! CPU kernels on slices.

mod block;
mod error;

pub use block::BlockType;
pub use error::KernelError;
