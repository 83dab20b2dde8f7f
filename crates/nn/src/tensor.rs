//! Access to a tensor's numbers, and operations that choose our kernel where it applies.

use parking_lot::RwLockReadGuard;

use candle_core::{CpuStorage, DType, Device, Layout, Storage, Tensor};
use medley_kernels::Activation;

use crate::Result;

/// A read lock on the numbers of a contiguous `f32` CPU tensor.
pub struct Slice<'a> {
    storage: RwLockReadGuard<'a, Storage>,
    start: usize,
    len: usize,
}

impl std::ops::Deref for Slice<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.start..self.start + self.len],
            _ => &[],
        }
    }
}

/// The numbers of `x`, or `None` where it is not a contiguous `f32` CPU tensor.
pub fn slice(x: &Tensor) -> Option<Slice<'_>> {
    if x.dtype() != DType::F32 || !x.device().is_cpu() {
        return None;
    }
    let (storage, layout): (_, &Layout) = x.storage_and_layout();
    let (start, end) = layout.contiguous_offsets()?;
    Some(Slice {
        storage,
        start,
        len: end - start,
    })
}

/// Whether the kernels may serve these operands: `f32`, on the CPU, contiguous, no gradient tracked
/// (a fused operation has no backward pass and would drop it silently).
pub fn fused(operands: &[&Tensor]) -> bool {
    operands.iter().all(|x| {
        x.dtype() == DType::F32
            && x.device().is_cpu()
            && !x.track_op()
            && x.layout().is_contiguous()
    })
}

/// A CPU tensor that takes `values` over without a copy.
pub fn from_vec(values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// `act(gate) * up`, element by element; both `[.., width]`.
pub fn gated(act: Activation, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if fused(&[gate, up])
        && let (Some(g), Some(u)) = (slice(gate), slice(up))
    {
        let mut out = vec![0.0; g.len()];
        medley_kernels::gated(act, &g, &u, &mut out);
        return from_vec(out, gate.dims());
    }
    if crate::train::serves(&[gate, up]) {
        return crate::train::gated(act, gate, up);
    }
    Ok((activate(act, gate)? * up)?)
}

/// `act(x)` as candle operations, with a gradient.
pub fn activate(act: Activation, x: &Tensor) -> Result<Tensor> {
    Ok(match act {
        Activation::Silu => x.silu()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::Gelu => x.gelu_erf()?,
        Activation::QuickGelu => (x * sigmoid(&(x * 1.702)?)?)?,
        Activation::Relu => x.relu()?,
        Activation::ReluSquared => x.relu()?.sqr()?,
        Activation::Sigmoid => sigmoid(x)?,
        Activation::Tanh => x.tanh()?,
        _ => return Err(crate::Error::Config(format!("{act:?} has no plain form"))),
    })
}

/// `act(x)` by the kernels where they apply, else by candle operations.
pub fn activated(act: Activation, x: Tensor) -> Result<Tensor> {
    if crate::train::serves(&[&x]) {
        return crate::train::activation(act, &x);
    }
    if !fused(&[&x]) {
        return activate(act, &x);
    }
    let mut values = slice(&x).map(|s| s.to_vec()).unwrap_or_default();
    medley_kernels::activate(act, &mut values);
    from_vec(values, x.dims())
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok((x.neg()?.exp()? + 1.0)?.recip()?)
}
