//! CPU kernels on slices.

mod block;
mod error;
mod isa;
pub mod pool;

pub use block::BlockType;
pub use error::KernelError;
pub use isa::{Isa, isa, requested_isa, with_isa};
