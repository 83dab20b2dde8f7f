//! CPU kernels on slices.

mod activation;
mod attention;
mod block;
mod conv;
mod dense;
mod dequant;
mod error;
mod group_norm;
mod int8;
mod isa;
mod limits;
mod memory;
mod norm;
pub mod onnx;
pub mod optim;
mod packed;
mod polar;
pub mod pool;
mod quantize;
mod rope;
mod rowwise;
mod sequence;
mod simd;
mod softmax;
#[cfg(test)]
mod testing;

pub use activation::{Activation, activate, activate_backward, gated, gated_backward};
pub use attention::{AttentionParams, KvShape, KvType, PAGE, QueryRow, attention, kv_write};
pub use block::BlockType;
pub use conv::{
    Conv1d, Conv1dParams, Conv2d, conv2d, conv2d_backward_input, conv2d_backward_weight,
};
pub use dense::{Element, Matrix, matmul, matmul_bf16, matmul_f32, matmul_rounded};
pub use dequant::dequantize;
pub use error::KernelError;
pub use group_norm::{GroupNorm, group_norm, group_norm_backward};
pub use int8::{Bytes, Int8Matrix, Then};
pub use isa::{Isa, isa, requested_isa, with_isa};
pub use limits::{Limits, limits};
pub use memory::unspecified;
pub use norm::{add_rms_norm, layer_norm, layer_norm_backward, rms_norm, rms_norm_backward};
pub use packed::{PackedMatrix, matmul_many};
pub use polar::{polar, sin};
pub use quantize::{QuantizeError, quantize};
pub use rope::{RopeStyle, rope, rope_backward};
pub use rowwise::sum_rows;
pub use sequence::{SequenceAttention, sequence_attention, sequence_attention_backward};
pub use softmax::{
    cross_entropy, cross_entropy_backward, cross_entropy_in_place, softmax, softmax_backward,
};
