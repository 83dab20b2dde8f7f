//! Operations with backward passes on the CPU kernels, for training.
//!
//! Each is a custom operation of candle with its own `bwd`, so that it mixes with candle's operations in one graph.
//! Blocks of this crate choose them where operands are `f32` on the CPU and gradients are tracked; the composition of
//! candle operations that they stand for is their test, and serves every other device. [`with_compute`] says how they
//! multiply, or that they are not to be used.
//!
//! Gradients are had by [`backward`]: those of parameters ([`candle_core::Var`]) are added into buffers that live from
//! step to step, without the zeros and sums of candle's store. `loss.backward()` works as well.

mod attention;
mod checkpoint;
mod embedding;
mod frozen;
mod gated;
mod gradients;
mod linear;
mod loss;
mod norm;

use std::cell::Cell;

use candle_core::{CpuStorage, DType, Layout, Tensor};

pub use attention::{Angles, AttentionShape, attention, joint_attention};
pub use checkpoint::checkpoint;
pub use embedding::embedding;
pub use frozen::{Frozen, frozen_cross_entropy, frozen_linear, lora_linear};
pub use gated::{activation, gated, gated_halves};
pub(crate) use gradients::gradient_of;
pub use gradients::{Gradients, backward};
pub use linear::{joint_linear, linear};
pub use loss::{IGNORED, cross_entropy, linear_cross_entropy};
pub use norm::{layer_norm, rms_norm};

use crate::Result;

/// How tracked operations on the CPU are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compute {
    /// As candle's own operations.
    Plain,
    /// By our kernels in `f32`.
    #[default]
    F32,
    /// By our kernels; factors of large products are rounded to bf16 as they are read, sums, weights and activations
    /// stay `f32`.
    Bf16,
}

impl Compute {
    /// Whether products round their factors.
    pub(crate) fn rounds(self) -> bool {
        self == Self::Bf16
    }
}

thread_local! {
    static COMPUTE: Cell<Compute> = const { Cell::new(Compute::F32) };
    static EVALUATING: Cell<bool> = const { Cell::new(false) };
    static TRACKING: Cell<bool> = const { Cell::new(true) };
}

/// Sets a cell back when it goes.
struct Restore<T: Copy + 'static>(&'static std::thread::LocalKey<Cell<T>>, T);

impl<T: Copy + 'static> Drop for Restore<T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Runs `f` with this setting on this thread. Backward passes keep the setting of their forward pass.
pub fn with_compute<R>(compute: Compute, f: impl FnOnce() -> R) -> R {
    let _restore = Restore(&COMPUTE, COMPUTE.replace(compute));
    f()
}

/// Runs `f`, whose losses nobody will ask gradients of: they prepare none.
pub fn evaluating<R>(f: impl FnOnce() -> R) -> R {
    let _restore = Restore(&EVALUATING, EVALUATING.replace(true));
    f()
}

/// Runs `f`, of whose results nobody will ask gradients: layers whose adapters learn serve as all others do.
pub fn without_gradients<R>(f: impl FnOnce() -> R) -> R {
    let _restore = Restore(&TRACKING, TRACKING.replace(false));
    f()
}

/// Whether gradients of what learns may be asked for on this thread.
pub(crate) fn tracking() -> bool {
    TRACKING.get()
}

/// The setting of this thread.
pub fn compute() -> Compute {
    COMPUTE.get()
}

/// Whether training operations serve these operands: `f32` on the CPU, with a gradient tracked for one of them.
pub fn serves(operands: &[&Tensor]) -> bool {
    compute() != Compute::Plain
        && operands
            .iter()
            .all(|x| x.dtype() == DType::F32 && x.device().is_cpu())
        && operands.iter().any(|x| x.track_op())
}

fn gradient_wanted(operands: &[&Tensor]) -> bool {
    !EVALUATING.get() && operands.iter().any(|x| x.track_op())
}

/// The numbers of an operand of a custom operation.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => candle_core::bail!("a training operation needs contiguous f32 operands on the CPU"),
    }
}

/// Those of a tensor.
fn numbers(x: &Tensor) -> candle_core::Result<crate::tensor::Slice<'_>> {
    match crate::tensor::slice(x) {
        Some(slice) => Ok(slice),
        None => candle_core::bail!("a training operation needs contiguous f32 tensors on the CPU"),
    }
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> candle_core::Result<Tensor> {
    Tensor::from_vec(values, shape, &candle_core::Device::Cpu)
}

fn rows_and_width(x: &Tensor) -> Result<(usize, usize)> {
    let width = x.dims().last().copied().unwrap_or(1);
    Ok((x.elem_count() / width.max(1), width))
}

/// Rows that one task of a row-wise operation takes.
fn block_rows(width: usize) -> usize {
    ((1 << 14) / width.max(1)).max(1)
}
