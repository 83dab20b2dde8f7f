//! Linear layers, alone and several over one input.

use std::sync::{MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use medley_kernels::optim::add_scaled;
use medley_kernels::{Matrix, matmul, matmul_rounded, sum_rows, unspecified};

use super::gradients::{Left, gradient_of, handle};
use super::{compute, numbers, tensor, values};
use crate::{Error, Result};

/// `out = a · b` or `out += a · b`.
pub(super) fn product(
    rounds: bool,
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
    out: &mut [f32],
    accumulate: bool,
) {
    if rounds {
        matmul_rounded(a, b, out, accumulate);
    } else {
        matmul(a, b, out, accumulate);
    }
}

/// `x [.., in]` by `weight [out, in]`, and `bias [out]` added: `[.., out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let inputs = weight.dim(1)?;
    if x.dims().last() != Some(&inputs) {
        return Err(Error::Config(format!(
            "a layer of {inputs} inputs was given {:?}",
            x.dims()
        )));
    }
    let op = Linear {
        rounds: compute().rounds(),
    };
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    Ok(match bias {
        None => x.apply_op2(&weight, op)?,
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, op)?,
    })
}

struct Linear {
    rounds: bool,
}

impl Linear {
    fn forward(
        &self,
        x: (&CpuStorage, &Layout),
        w: (&CpuStorage, &Layout),
        bias: Option<&[f32]>,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (m, k) = w.1.shape().dims2()?;
        let (xs, ws) = (values(x.0, x.1)?, values(w.0, w.1)?);
        let n = xs.len() / k.max(1);
        let mut out = unspecified(n * m);
        if let Some(bias) = bias {
            out.chunks_exact_mut(m)
                .for_each(|row| row.copy_from_slice(bias));
        }
        let (x_rows, w_rows) = (Matrix::new(xs, n, k), Matrix::new(ws, m, k));
        product(self.rounds, x_rows, w_rows.t(), &mut out, bias.is_some());
        let mut dims = x.1.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = m;
        }
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }

    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (m, k) = w.dims2()?;
        let grad = grad.contiguous()?;
        let dy = numbers(&grad)?;
        let n = dy.len() / m.max(1);
        let dy = Matrix::new(&dy, n, m);
        let dx = gradient_of(x, |dx, add| {
            if let Ok(w) = numbers(w) {
                product(self.rounds, dy, Matrix::new(&w, m, k), dx, add);
            }
        })?;
        let x = numbers(x)?;
        let dw = gradient_of(w, |dw, add| {
            product(self.rounds, dy.t(), Matrix::new(&x, n, k), dw, add);
        })?;
        Ok((dx, dw))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward((x, xl), (w, wl), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, w, grad)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear with bias"
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
        self.forward((x, xl), (w, wl), Some(values(b, bl)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.backward(x, w, grad)?;
        let grad = grad.contiguous()?;
        let dy = numbers(&grad)?;
        let db = gradient_of(b, |db, add| {
            if !add {
                db.fill(0.0);
            }
            sum_rows(&dy, db);
        })?;
        Ok((dx, dw, db))
    }
}

/// Several layers without bias over one input `x [.., in]`: `[.., sum of outs]`, one layer's outputs after the other's.
/// The input is read once for all of them, and its gradient is made at once.
pub fn joint_linear(x: &Tensor, weights: &[&Tensor]) -> Result<Tensor> {
    if let [weight] = weights {
        return linear(x, weight, None);
    }
    let inputs = x.dims().last().copied().unwrap_or(0);
    if let Some(weight) = weights.iter().find(|w| w.dims().get(1) != Some(&inputs)) {
        return Err(Error::Config(format!(
            "a layer of shape {:?} was given {:?}",
            weight.dims(),
            x.dims()
        )));
    }
    let weights = weights
        .iter()
        .map(|w| w.contiguous())
        .collect::<candle_core::Result<Vec<_>>>()?;
    let (handle, left) = handle(&weights.iter().collect::<Vec<_>>())?;
    let op = Joint {
        rounds: compute().rounds(),
        weights,
        left,
    };
    Ok(x.contiguous()?.apply_op2(&handle, op)?)
}

struct Joint {
    rounds: bool,
    weights: Vec<Tensor>,
    left: Left,
}

impl Joint {
    /// All weights, one below the other.
    fn stacked(&self) -> candle_core::Result<Vec<f32>> {
        let mut all = Vec::with_capacity(self.weights.iter().map(Tensor::elem_count).sum());
        for weight in &self.weights {
            all.extend_from_slice(&numbers(weight)?);
        }
        Ok(all)
    }

    fn left(&self) -> MutexGuard<'_, std::collections::HashMap<candle_core::TensorId, Tensor>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CustomOp2 for Joint {
    fn name(&self) -> &'static str {
        "joint linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let weights = self.stacked()?;
        let mut dims = xl.dims().to_vec();
        let Some(last) = dims.last_mut() else {
            candle_core::bail!("a linear layer needs rows");
        };
        let k = *last;
        let m = weights.len() / k.max(1);
        *last = m;
        let x = values(x, xl)?;
        let n = x.len() / k.max(1);
        let mut out = unspecified(n * m);
        let w = Matrix::new(&weights, m, k);
        product(self.rounds, Matrix::new(x, n, k), w.t(), &mut out, false);
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        handle: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (k, m) = (
            x.dim(candle_core::D::Minus1)?,
            res.dim(candle_core::D::Minus1)?,
        );
        let grad = grad.contiguous()?;
        let dy = numbers(&grad)?;
        let n = dy.len() / m.max(1);
        let dy = Matrix::new(&dy, n, m);
        let weights = self.stacked()?;
        let dx = gradient_of(x, |dx, add| {
            product(self.rounds, dy, Matrix::new(&weights, m, k), dx, add);
        })?;
        // Nobody reads the weights any more: their gradients take the memory.
        let mut all = weights;
        if self.weights.iter().any(Tensor::track_op) {
            let x = numbers(x)?;
            product(self.rounds, dy.t(), Matrix::new(&x, n, k), &mut all, false);
        }
        let mut rest: &[f32] = &all;
        for weight in &self.weights {
            let (mine, others) = rest.split_at(weight.elem_count());
            rest = others;
            let gradient = gradient_of(weight, |sum, add| add_scaled(sum, mine, 1.0, !add))?;
            if let Some(gradient) = gradient {
                self.left().insert(weight.id(), gradient);
            }
        }
        let token = handle.track_op().then(|| tensor(vec![0.0], &[1]));
        Ok((dx, token.transpose()?))
    }
}
