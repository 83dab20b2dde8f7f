//! Cross entropy, alone and together with the layer that makes the logits.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use medley_kernels::optim::add_scaled;
use medley_kernels::{Matrix, cross_entropy_in_place, unspecified};

use super::gradients::gradient_of;
use super::linear::product;
use super::{compute, gradient_wanted, rows_and_width, tensor, values};
use crate::{Error, Result};

/// A target that no loss is taken of.
pub const IGNORED: u32 = u32::MAX;

/// Numbers of logits that exist at a time in [`linear_cross_entropy`], 128 MiB.
pub(super) const LOGITS: usize = 1 << 25;

pub(super) fn check(rows: usize, classes: usize, targets: &[u32]) -> Result<usize> {
    if targets.len() != rows {
        return Err(Error::Config(format!(
            "{rows} rows of logits were given {} targets",
            targets.len()
        )));
    }
    let counted = targets.iter().filter(|&&t| t != IGNORED);
    if let Some(t) = counted.clone().find(|&&t| t as usize >= classes) {
        return Err(Error::Config(format!(
            "the target {t} is outside of {classes} classes"
        )));
    }
    Ok(counted.count())
}

pub(super) fn mean(losses: &[f32], counted: usize) -> f32 {
    let sum: f64 = losses.iter().map(|&l| f64::from(l)).sum();
    (sum / counted.max(1) as f64) as f32
}

/// The mean cross entropy, in nats, of rows of `logits [rows, classes]` with a target each, over the rows whose target
/// is not [`IGNORED`]; 0 where all are. A tensor of no dimension.
pub fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (rows, classes) = rows_and_width(logits)?;
    let counted = check(rows, classes, targets)?;
    let op = Loss {
        targets: targets.to_vec(),
        counted,
        wanted: gradient_wanted(&[logits]),
        gradient: Mutex::default(),
    };
    Ok(logits.contiguous()?.apply_op1(op)?)
}

struct Loss {
    targets: Vec<u32>,
    counted: usize,
    wanted: bool,
    gradient: Mutex<Option<Vec<f32>>>,
}

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "cross entropy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut logits = values(x, xl)?.to_vec();
        let classes = logits.len() / self.targets.len().max(1);
        let mut losses = vec![0.0; self.targets.len()];
        let scale = 1.0 / self.counted.max(1) as f32;
        cross_entropy_in_place(&mut logits, classes, &self.targets, scale, &mut losses);
        if self.wanted {
            *lock(&self.gradient) = Some(logits);
        }
        let loss = mean(&losses, self.counted);
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let factor = grad.to_scalar::<f32>()?;
        match lock(&self.gradient).take() {
            Some(values) => tensor(scaled(values, factor), x.dims()).map(Some),
            None => candle_core::bail!("a loss has one backward pass, and none while evaluating"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn scaled(mut values: Vec<f32>, factor: f32) -> Vec<f32> {
    if factor != 1.0 {
        values.iter_mut().for_each(|v| *v *= factor);
    }
    values
}

/// [`cross_entropy`] of the logits `x · weightᵀ` (`x [.., width]`, `weight [classes, width]`), whose logits exist for
/// some rows at a time only: they are made, turned into their gradient and multiplied back while they are there, so
/// that the backward pass has nothing left to compute.
pub fn linear_cross_entropy(x: &Tensor, weight: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let classes = weight.dim(0)?;
    linear_cross_entropy_in(x, weight, targets, (LOGITS / classes.max(1)).max(64))
}

fn linear_cross_entropy_in(
    x: &Tensor,
    weight: &Tensor,
    targets: &[u32],
    chunk: usize,
) -> Result<Tensor> {
    let (rows, width) = rows_and_width(x)?;
    let (classes, inputs) = weight.dims2()?;
    if width != inputs {
        return Err(Error::Config(format!(
            "a head of {inputs} inputs was given rows of {width}"
        )));
    }
    let op = LinearLoss {
        counted: check(rows, classes, targets)?,
        targets: targets.to_vec(),
        rounds: compute().rounds(),
        wanted: [gradient_wanted(&[x]), gradient_wanted(&[weight])],
        // Chunks of like size, so that the last is not a sliver.
        chunk: rows.div_ceil(rows.div_ceil(chunk).max(1)).max(1),
        gradients: Mutex::default(),
    };
    Ok(x.contiguous()?.apply_op2(&weight.contiguous()?, op)?)
}

struct LinearLoss {
    targets: Vec<u32>,
    counted: usize,
    rounds: bool,
    wanted: [bool; 2],
    chunk: usize,
    /// Of `x` and of the weight, for a gradient 1 of the loss.
    gradients: Mutex<[Option<Vec<f32>>; 2]>,
}

impl CustomOp2 for LinearLoss {
    fn name(&self) -> &'static str {
        "linear cross entropy"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (classes, width) = wl.shape().dims2()?;
        let (x, w) = (values(x, xl)?, values(w, wl)?);
        let weight = Matrix::new(w, classes, width);
        let mut losses = vec![0.0; self.targets.len()];
        let mut dx = self.wanted[0].then(|| unspecified(x.len()));
        let mut dw = self.wanted[1].then(|| unspecified(w.len()));
        let mut logits = unspecified(self.chunk * classes);
        let scale = 1.0 / self.counted.max(1) as f32;
        let rows = x.chunks(self.chunk * width);
        let targets = self.targets.chunks(self.chunk);
        let each = rows.zip(targets).zip(losses.chunks_mut(self.chunk));
        for (i, ((x, targets), losses)) in each.enumerate() {
            let n = targets.len();
            let logits = &mut logits[..n * classes];
            let rows = Matrix::new(x, n, width);
            product(self.rounds, rows, weight.t(), logits, false);
            cross_entropy_in_place(logits, classes, targets, scale, losses);
            let slopes = Matrix::new(logits, n, classes);
            if let Some(dx) = &mut dx {
                let dx = &mut dx[i * self.chunk * width..][..n * width];
                product(self.rounds, slopes, weight, dx, false);
            }
            if let Some(dw) = &mut dw {
                product(self.rounds, slopes.t(), rows, dw, i > 0);
            }
        }
        if let (Some(dw), true) = (&mut dw, self.targets.is_empty()) {
            dw.fill(0.0);
        }
        *lock(&self.gradients) = [dx, dw];
        let loss = mean(&losses, self.counted);
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let factor = grad.to_scalar::<f32>()?;
        let [dx, dw] = std::mem::take(&mut *lock(&self.gradients));
        if dx.is_none() && dw.is_none() {
            candle_core::bail!("a loss has one backward pass, and none while evaluating");
        }
        let give = |operand: &Tensor, values: Option<Vec<f32>>| {
            let Some(values) = values else {
                return Ok(None);
            };
            if !operand.is_variable() {
                return tensor(scaled(values, factor), operand.dims()).map(Some);
            }
            gradient_of(operand, |sum, add| add_scaled(sum, &values, factor, !add))
        };
        Ok((give(x, dx)?, give(w, dw)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn chunks_change_rounding_only() {
        let x: Vec<f32> = (0..30 * 5).map(|i| (i as f32 * 0.37).sin()).collect();
        let w: Vec<f32> = (0..11 * 5).map(|i| (i as f32 * 0.71).cos()).collect();
        let x = Var::from_vec(x, (30, 5), &Device::Cpu).unwrap();
        let w = Var::from_vec(w, (11, 5), &Device::Cpu).unwrap();
        let targets: Vec<u32> = (0..30)
            .map(|i| if i % 7 == 0 { IGNORED } else { i % 11 })
            .collect();
        let run = |chunk| {
            let loss = linear_cross_entropy_in(&x, &w, &targets, chunk).unwrap();
            let grads = loss.backward().unwrap();
            let of = |v: &Var| -> Vec<f32> {
                grads
                    .get(v)
                    .unwrap()
                    .flatten_all()
                    .unwrap()
                    .to_vec1()
                    .unwrap()
            };
            (loss.to_scalar::<f32>().unwrap(), of(&x), of(&w))
        };
        let (loss, dx, dw) = run(1000);
        for chunk in [1, 7, 10, 29] {
            let other = run(chunk);
            assert!((loss - other.0).abs() < 1e-6);
            let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near(&dx, &other.1) && near(&dw, &other.2));
        }
    }
}
