//! Element-wise activations and the gated product.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use medley_kernels::{Activation, pool, unspecified};

use super::{block_rows, numbers, tensor, values};
use crate::{Error, Result};

/// `act(gate) · up` of rows that hold a gate and then its factor: `[.., 2 width]` → `[.., width]`.
pub fn gated_halves(act: Activation, x: &Tensor) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or(0);
    if width == 0 || !width.is_multiple_of(2) {
        return Err(Error::Config(format!(
            "rows of {width} numbers have no two halves"
        )));
    }
    Ok(x.contiguous()?.apply_op1(Halves(act))?)
}

/// `act(gate) · up`, element by element.
pub fn gated(act: Activation, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.dims() != up.dims() {
        return Err(Error::Config(format!(
            "a gate of {:?} and a factor of {:?}",
            gate.dims(),
            up.dims()
        )));
    }
    Ok(gate.contiguous()?.apply_op2(&up.contiguous()?, Pair(act))?)
}

/// `act(x)`, element by element.
pub fn activation(act: Activation, x: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op1(Each(act))?)
}

struct Halves(Activation);

impl CustomOp1 for Halves {
    fn name(&self) -> &'static str {
        "gated halves"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = values(x, xl)?;
        let mut dims = xl.dims().to_vec();
        let Some(last) = dims.last_mut() else {
            candle_core::bail!("a gated product needs rows");
        };
        *last /= 2;
        let (width, block) = (*last, block_rows(*last));
        let mut out = unspecified(x.len() / 2);
        pool::parallel_chunks(&mut out, block * width, |i, out| {
            let rows = x[i * block * 2 * width..].chunks_exact(2 * width);
            for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                let (gate, up) = row.split_at(width);
                medley_kernels::gated(self.0, gate, up, out);
            }
        });
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (xs, dy) = (numbers(x)?, numbers(&grad)?);
        let width = x.dim(candle_core::D::Minus1)? / 2;
        let block = block_rows(width);
        let (xs, dy): (&[f32], &[f32]) = (&xs, &dy);
        let mut dx = unspecified(xs.len());
        pool::parallel_chunks(&mut dx, block * 2 * width, |i, dx| {
            let rows = xs[i * block * 2 * width..].chunks_exact(2 * width);
            let dy = dy[i * block * width..].chunks_exact(width);
            for ((row, dy), dx) in rows.zip(dy).zip(dx.chunks_exact_mut(2 * width)) {
                let (gate, up) = row.split_at(width);
                let (dgate, dup) = dx.split_at_mut(width);
                medley_kernels::gated_backward(self.0, gate, up, dy, dgate, dup);
            }
        });
        tensor(dx, x.dims()).map(Some)
    }
}

struct Pair(Activation);

impl CustomOp2 for Pair {
    fn name(&self) -> &'static str {
        "gated product"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gl: &Layout,
        up: &CpuStorage,
        ul: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (gate, up) = (values(gate, gl)?, values(up, ul)?);
        let mut out = unspecified(gate.len());
        medley_kernels::gated(self.0, gate, up, &mut out);
        Ok((CpuStorage::F32(out), gl.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (gates, ups, dy) = (numbers(gate)?, numbers(up)?, numbers(&grad)?);
        let (mut dgate, mut dup) = (unspecified(dy.len()), unspecified(dy.len()));
        medley_kernels::gated_backward(self.0, &gates, &ups, &dy, &mut dgate, &mut dup);
        let give = |x: &Tensor, values| x.track_op().then(|| tensor(values, x.dims())).transpose();
        Ok((give(gate, dgate)?, give(up, dup)?))
    }
}

struct Each(Activation);

impl CustomOp1 for Each {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut out = values(x, xl)?.to_vec();
        medley_kernels::activate(self.0, &mut out);
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (xs, dy) = (numbers(x)?, numbers(&grad)?);
        let mut dx = unspecified(xs.len());
        medley_kernels::activate_backward(self.0, &xs, &dy, &mut dx);
        tensor(dx, x.dims()).map(Some)
    }
}
