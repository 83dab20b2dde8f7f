//! Tensors, weights and the neural blocks that several models share.
//!
//! This is the one crate that names candle. A block offers one forward call and chooses the path by itself: where
//! every operand is `f32` on the CPU it runs our kernels on slices, with a backward pass (module [`train`]) where
//! gradients are tracked; otherwise it is the plain composition of candle operations, which is also its test.

pub mod attention;
pub mod cache;
pub mod embedding;
mod error;
pub mod gpu;
pub mod linear;
pub mod loss;
pub mod mlp;
pub mod norm;
mod parameters;
pub mod rope;
pub mod tensor;
pub mod train;
pub mod vision;
pub mod weights;

pub use attention::{Attention, AttentionSpec, QkNorm, Rows};
pub use cache::{Cache, CacheSpec};
pub use candle_core::{DType, Device, Error as TensorError, Tensor, Var};
pub use embedding::Embedding;
pub use error::{Error, Result};
pub use linear::Linear;
pub use medley_kernels::pool::{set_threads, threads};
pub use medley_kernels::{Activation, KvType, RopeStyle};
pub use mlp::{GatedMlp, MixtureOfExperts, MoeSpec};
pub use norm::{LayerNorm, RmsNorm};
pub use parameters::{Parameter, Parameters};
pub use rope::{Rope, RopeScaling, RopeSpec};
pub use weights::Weights;
