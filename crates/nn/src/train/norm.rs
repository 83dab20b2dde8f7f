//! Norms.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use medley_kernels::optim::add_scaled;
use medley_kernels::unspecified;

use super::gradients::gradient_of;
use super::{numbers, values};
use crate::Result;

/// Root-mean-square norm of the rows of `x [.., width]` times `weight [width]` (see [`crate::RmsNorm`]).
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    Ok(x.contiguous()?
        .apply_op2(&weight.contiguous()?, Rms { eps })?)
}

/// Layer norm of the rows of `x [.., width]` with `weight` and `bias [width]` (see [`crate::LayerNorm`]).
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f32) -> Result<Tensor> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    Ok(match bias {
        None => x.apply_op2(&weight, Layer { eps })?,
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Layer { eps })?,
    })
}

/// Gradients of the input and of what is summed over rows: `run` writes the first and adds the others to zeros.
fn split_gradients(
    x: &Tensor,
    parameters: &[&Tensor],
    run: impl FnOnce(&mut [f32], &mut [Vec<f32>]),
) -> candle_core::Result<(Option<Tensor>, Vec<Option<Tensor>>)> {
    let mut dx = unspecified(x.elem_count());
    let mut sums: Vec<Vec<f32>> = parameters
        .iter()
        .map(|p| vec![0.0; p.elem_count()])
        .collect();
    run(&mut dx, &mut sums);
    let write = |values: &[f32], sum: &mut [f32], add: bool| add_scaled(sum, values, 1.0, !add);
    let others = parameters
        .iter()
        .zip(&sums)
        .map(|(p, values)| gradient_of(p, |sum, add| write(values, sum, add)))
        .collect::<candle_core::Result<_>>()?;
    let dx = if x.is_variable() {
        gradient_of(x, |sum, add| write(&dx, sum, add))?
    } else {
        x.track_op()
            .then(|| super::tensor(dx, x.dims()))
            .transpose()?
    };
    Ok((dx, others))
}

struct Rms {
    eps: f32,
}

impl CustomOp2 for Rms {
    fn name(&self) -> &'static str {
        "rms norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = values(x, xl)?;
        let mut out = unspecified(x.len());
        medley_kernels::rms_norm(x, values(w, wl)?, self.eps, &mut out);
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (xs, ws, dy) = (numbers(x)?, numbers(w)?, numbers(&grad)?);
        let run = |dx: &mut [f32], sums: &mut [Vec<f32>]| {
            medley_kernels::rms_norm_backward(&xs, &ws, self.eps, &dy, dx, &mut sums[0]);
        };
        let (dx, mut others) = split_gradients(x, &[w], run)?;
        Ok((dx, others.remove(0)))
    }
}

struct Layer {
    eps: f32,
}

impl Layer {
    fn forward(
        &self,
        x: (&CpuStorage, &Layout),
        w: &[f32],
        b: Option<&[f32]>,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let xs = values(x.0, x.1)?;
        let mut out = unspecified(xs.len());
        medley_kernels::layer_norm(xs, w, b, self.eps, &mut out);
        Ok((CpuStorage::F32(out), x.1.shape().clone()))
    }

    fn backward(
        &self,
        x: &Tensor,
        parameters: &[&Tensor],
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Vec<Option<Tensor>>)> {
        let grad = grad.contiguous()?;
        let (xs, ws, dy) = (numbers(x)?, numbers(parameters[0])?, numbers(&grad)?);
        split_gradients(x, parameters, |dx, sums| {
            let (dw, db) = sums.split_at_mut(1);
            let db = db.first_mut().map(Vec::as_mut_slice);
            medley_kernels::layer_norm_backward(&xs, &ws, self.eps, &dy, dx, &mut dw[0], db);
        })
    }
}

impl CustomOp2 for Layer {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward((x, xl), values(w, wl)?, None)
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> PairResult {
        let (dx, mut others) = self.backward(x, &[w], grad)?;
        Ok((dx, others.remove(0)))
    }
}

type PairResult = candle_core::Result<(Option<Tensor>, Option<Tensor>)>;

impl CustomOp3 for Layer {
    fn name(&self) -> &'static str {
        "layer norm with bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward((x, xl), values(w, wl)?, Some(values(b, bl)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, mut others) = self.backward(x, &[w, b], grad)?;
        let db = others.pop().flatten();
        Ok((dx, others.remove(0), db))
    }
}
