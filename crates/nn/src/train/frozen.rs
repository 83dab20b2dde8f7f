//! Linear layers whose weights do not learn, and low-rank adapters on them that do.
//!
//! Weights stay as they are stored; of a packed matrix, floats exist while one product reads them.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Shape, Tensor};
use medley_kernels::{Matrix, PackedMatrix, cross_entropy_in_place, unspecified};

use super::gradients::gradient_of;
use super::linear::product;
use super::loss::{LOGITS, check, mean, scaled};
use super::{compute, gradient_wanted, numbers, rows_and_width, tensor, values};
use crate::{Error, Result};

/// Numbers of a packed matrix that exist at a time in [`frozen_cross_entropy`], 128 MiB.
const UNPACKED: usize = 1 << 25;

thread_local! {
    /// Where the matrix at hand is unpacked; fresh memory for each would cost more than the unpacking.
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

#[derive(Clone)]
enum Stored {
    Packed(Arc<PackedMatrix>),
    Dense(Tensor),
}

/// A layer that does not learn.
#[derive(Clone)]
pub struct Frozen {
    weight: Stored,
    bias: Option<Arc<[f32]>>,
}

impl Frozen {
    /// A packed matrix `[out, in]`, and a bias `[out]`.
    pub fn packed(weight: &Arc<PackedMatrix>, bias: Option<&Arc<[f32]>>) -> Self {
        Self {
            weight: Stored::Packed(weight.clone()),
            bias: bias.cloned(),
        }
    }

    /// A tensor `[out, in]`, and a bias `[out]`; `None` where one of them learns or is not `f32` on the CPU.
    pub fn dense(weight: &Tensor, bias: Option<&Tensor>) -> Option<Self> {
        let still = |x: &Tensor| crate::tensor::fused(&[x]);
        if !still(weight) || !bias.is_none_or(still) {
            return None;
        }
        let bias = match bias {
            Some(bias) => Some(crate::tensor::slice(bias)?.to_vec().into()),
            None => None,
        };
        Some(Self {
            weight: Stored::Dense(weight.clone()),
            bias,
        })
    }

    /// Outputs and inputs.
    fn dims(&self) -> (usize, usize) {
        match &self.weight {
            Stored::Packed(matrix) => (matrix.rows(), matrix.cols()),
            Stored::Dense(tensor) => (tensor.dims()[0], tensor.dims()[1]),
        }
    }

    /// Hands all numbers of the matrix to `f`.
    fn with<R>(&self, f: impl FnOnce(Matrix<'_, f32>) -> R) -> candle_core::Result<R> {
        let (m, k) = self.dims();
        match &self.weight {
            Stored::Packed(matrix) => {
                // Taken, so that a product within `f` finds it free.
                let mut values = SCRATCH.take();
                values.resize(values.len().max(m * k), 0.0);
                matrix.floats(0..m, &mut values[..m * k]);
                let result = f(Matrix::new(&values[..m * k], m, k));
                SCRATCH.set(values);
                Ok(result)
            }
            Stored::Dense(tensor) => Ok(f(Matrix::new(&numbers(tensor)?, m, k))),
        }
    }

    /// `x Wᵀ + b` of `n` rows.
    fn forward(&self, rounds: bool, x: Matrix<'_, f32>) -> candle_core::Result<Vec<f32>> {
        let (m, _) = self.dims();
        let mut out = unspecified(x.rows() * m);
        if let Some(bias) = &self.bias {
            out.chunks_exact_mut(m)
                .for_each(|row| row.copy_from_slice(bias));
        }
        let add = self.bias.is_some();
        self.with(|w| product(rounds, x, w.t(), &mut out, add))?;
        Ok(out)
    }

    fn fits(&self, x: &Tensor) -> Result<()> {
        let (_, inputs) = self.dims();
        if x.dims().last() == Some(&inputs) {
            return Ok(());
        }
        Err(Error::Config(format!(
            "a layer of {inputs} inputs was given {:?}",
            x.dims()
        )))
    }

    /// Shape of the outputs for inputs of this one.
    fn shape(&self, x: &Layout) -> Shape {
        let mut dims = x.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.dims().0;
        }
        Shape::from(dims)
    }
}

/// `x [.., in]` by a frozen layer: `[.., out]`, with a gradient for `x`.
pub fn frozen_linear(x: &Tensor, layer: &Frozen) -> Result<Tensor> {
    layer.fits(x)?;
    let op = Still {
        rounds: compute().rounds(),
        layer: layer.clone(),
    };
    Ok(x.contiguous()?.apply_op1(op)?)
}

struct Still {
    rounds: bool,
    layer: Frozen,
}

impl CustomOp1 for Still {
    fn name(&self) -> &'static str {
        "frozen linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (xs, (_, k)) = (values(x, xl)?, self.layer.dims());
        let x = Matrix::new(xs, xs.len() / k.max(1), k);
        let out = self.layer.forward(self.rounds, x)?;
        Ok((CpuStorage::F32(out), self.layer.shape(xl)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (m, _) = self.layer.dims();
        let grad = grad.contiguous()?;
        let dy = numbers(&grad)?;
        let dy = Matrix::new(&dy, dy.len() / m.max(1), m);
        self.layer
            .with(|w| gradient_of(x, |dx, add| product(self.rounds, dy, w, dx, add)))?
    }
}

/// A frozen layer with a low-rank adapter: `x Wᵀ + bias + scale · (x Aᵀ) Bᵀ` with `a [rank, in]` and `b [out, rank]`;
/// gradients for `x`, `a` and `b` (Hu et al. 2021). Only the outputs are kept for the backward pass.
pub fn lora_linear(
    x: &Tensor,
    layer: &Frozen,
    a: &Tensor,
    b: &Tensor,
    scale: f32,
) -> Result<Tensor> {
    layer.fits(x)?;
    let ((m, k), (rank, inputs), (out, same_rank)) = (layer.dims(), a.dims2()?, b.dims2()?);
    if (m, k, rank) != (out, inputs, same_rank) {
        return Err(Error::Config(format!(
            "factors of {out} x {same_rank} and {rank} x {inputs} change no matrix of {m} x {k}"
        )));
    }
    let op = Lora {
        rounds: compute().rounds(),
        layer: layer.clone(),
        scale,
    };
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    Ok(x.contiguous()?.apply_op3(&a, &b, op)?)
}

struct Lora {
    rounds: bool,
    layer: Frozen,
    scale: f32,
}

impl Lora {
    /// `scale · x Aᵀ`
    fn low(&self, x: Matrix<'_, f32>, a: Matrix<'_, f32>) -> Vec<f32> {
        let mut low = unspecified(x.rows() * a.rows());
        product(self.rounds, x, a.t(), &mut low, false);
        scaled(low, self.scale)
    }
}

impl CustomOp3 for Lora {
    fn name(&self) -> &'static str {
        "low-rank adapter"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let ((m, k), (rank, _)) = (self.layer.dims(), al.shape().dims2()?);
        let xs = values(x, xl)?;
        let x = Matrix::new(xs, xs.len() / k.max(1), k);
        let mut out = self.layer.forward(self.rounds, x)?;
        let low = self.low(x, Matrix::new(values(a, al)?, rank, k));
        let b = Matrix::new(values(b, bl)?, m, rank);
        let low = Matrix::new(&low, x.rows(), rank);
        product(self.rounds, low, b.t(), &mut out, true);
        Ok((CpuStorage::F32(out), self.layer.shape(xl)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((m, k), rank) = (self.layer.dims(), a.dim(0)?);
        let grad = grad.contiguous()?;
        let (dy, xs) = (numbers(&grad)?, numbers(x)?);
        let n = dy.len() / m.max(1);
        let (dy, rows) = (Matrix::new(&dy, n, m), Matrix::new(&xs, n, k));
        let (a_numbers, b_numbers) = (numbers(a)?, numbers(b)?);
        let a_matrix = Matrix::new(&a_numbers, rank, k);
        let low = self.low(rows, a_matrix);
        // scale · dy B, the gradient of x Aᵀ.
        let mut slopes = unspecified(n * rank);
        let b_matrix = Matrix::new(&b_numbers, m, rank);
        product(self.rounds, dy, b_matrix, &mut slopes, false);
        let slopes = scaled(slopes, self.scale);
        let slopes = Matrix::new(&slopes, n, rank);
        let dx = match x.track_op() {
            true => self.layer.with(|w| {
                gradient_of(x, |dx, add| {
                    product(self.rounds, dy, w, dx, add);
                    product(self.rounds, slopes, a_matrix, dx, true);
                })
            })??,
            false => None,
        };
        let da = gradient_of(a, |da, add| {
            product(self.rounds, slopes.t(), rows, da, add);
        })?;
        let low = Matrix::new(&low, n, rank);
        let db = gradient_of(b, |db, add| product(self.rounds, dy.t(), low, db, add))?;
        Ok((dx, da, db))
    }
}

/// [`super::linear_cross_entropy`] with a head that does not learn and is packed: neither the logits of all rows nor all
/// numbers of a large head exist at a time.
pub fn frozen_cross_entropy(
    x: &Tensor,
    head: &Arc<PackedMatrix>,
    targets: &[u32],
) -> Result<Tensor> {
    let (classes, width) = (head.rows(), head.cols());
    let chunk = (LOGITS / classes.max(1)).max(64);
    let part = (UNPACKED / width.max(1)).clamp(1, classes.max(1));
    frozen_cross_entropy_in(x, head, targets, chunk, part)
}

fn frozen_cross_entropy_in(
    x: &Tensor,
    head: &Arc<PackedMatrix>,
    targets: &[u32],
    chunk: usize,
    part: usize,
) -> Result<Tensor> {
    let (rows, width) = rows_and_width(x)?;
    if width != head.cols() {
        return Err(Error::Config(format!(
            "a head of {} inputs was given rows of {width}",
            head.cols()
        )));
    }
    let op = HeadLoss {
        counted: check(rows, head.rows(), targets)?,
        targets: targets.to_vec(),
        rounds: compute().rounds(),
        wanted: gradient_wanted(&[x]),
        head: head.clone(),
        chunk: rows.div_ceil(rows.div_ceil(chunk).max(1)).max(1),
        part,
        gradient: Mutex::default(),
    };
    Ok(x.contiguous()?.apply_op1(op)?)
}

struct HeadLoss {
    head: Arc<PackedMatrix>,
    targets: Vec<u32>,
    counted: usize,
    rounds: bool,
    wanted: bool,
    /// Rows, and classes, that are computed at a time.
    chunk: usize,
    part: usize,
    /// Of `x`, for a gradient 1 of the loss.
    gradient: Mutex<Option<Vec<f32>>>,
}

/// Some rows of a packed matrix as floats; the last ones are kept.
struct Unpacked<'a> {
    matrix: &'a PackedMatrix,
    held: Range<usize>,
    values: Vec<f32>,
}

impl Unpacked<'_> {
    fn rows(&mut self, rows: Range<usize>) -> Matrix<'_, f32> {
        let cols = self.matrix.cols();
        if self.held != rows {
            self.values.resize(rows.len() * cols, 0.0);
            self.matrix.floats(rows.clone(), &mut self.values);
            self.held = rows.clone();
        }
        Matrix::new(&self.values, rows.len(), cols)
    }
}

/// Copies columns of `whole [.., width]` to `part [.., columns]`, or back.
fn columns(
    whole: &mut [f32],
    part: &mut [f32],
    (width, range): (usize, &Range<usize>),
    copy: impl Fn(&mut [f32], &mut [f32]),
) {
    let rows = whole.chunks_exact_mut(width);
    for (row, part) in rows.zip(part.chunks_exact_mut(range.len())) {
        copy(&mut row[range.clone()], part);
    }
}

impl HeadLoss {
    fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let classes = self.head.rows();
        let starts = (0..classes).step_by(self.part);
        starts.map(move |start| start..(start + self.part).min(classes))
    }

    /// Losses of some rows, and the gradient of theirs.
    fn rows(
        &self,
        x: Matrix<'_, f32>,
        targets: &[u32],
        losses: &mut [f32],
        head: &mut Unpacked<'_>,
        dx: Option<&mut [f32]>,
    ) {
        let (n, classes) = (x.rows(), self.head.rows());
        let mut logits = unspecified(n * classes);
        let mut some = unspecified(n * self.part.min(classes));
        for range in self.parts() {
            let some = &mut some[..n * range.len()];
            product(self.rounds, x, head.rows(range.clone()).t(), some, false);
            columns(&mut logits, some, (classes, &range), |to, from| {
                to.copy_from_slice(from);
            });
        }
        let scale = 1.0 / self.counted.max(1) as f32;
        cross_entropy_in_place(&mut logits, classes, targets, scale, losses);
        let Some(dx) = dx else { return };
        for (i, range) in self.parts().enumerate() {
            let some = &mut some[..n * range.len()];
            columns(&mut logits, some, (classes, &range), |from, to| {
                to.copy_from_slice(from);
            });
            let slopes = Matrix::new(some, n, range.len());
            product(self.rounds, slopes, head.rows(range), dx, i > 0);
        }
    }
}

impl CustomOp1 for HeadLoss {
    fn name(&self) -> &'static str {
        "frozen cross entropy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, width) = (values(x, xl)?, self.head.cols());
        let mut losses = vec![0.0; self.targets.len()];
        let mut dx = self.wanted.then(|| unspecified(x.len()));
        let mut head = Unpacked {
            matrix: &self.head,
            held: 0..0,
            values: Vec::new(),
        };
        let each = x.chunks(self.chunk * width);
        let each = each.zip(self.targets.chunks(self.chunk));
        let each = each.zip(losses.chunks_mut(self.chunk));
        for (i, ((x, targets), losses)) in each.enumerate() {
            let (n, first) = (targets.len(), i * self.chunk * width);
            let dx = dx.as_mut().map(|dx| &mut dx[first..][..n * width]);
            let rows = Matrix::new(x, n, width);
            self.rows(rows, targets, losses, &mut head, dx);
        }
        *self.gradient.lock().unwrap_or_else(PoisonError::into_inner) = dx;
        let loss = mean(&losses, self.counted);
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let factor = grad.to_scalar::<f32>()?;
        let mut gradient = self.gradient.lock().unwrap_or_else(PoisonError::into_inner);
        match gradient.take() {
            Some(values) => tensor(scaled(values, factor), x.dims()).map(Some),
            None => candle_core::bail!("a loss has one backward pass, and none while evaluating"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Var;
    use candle_core::Device;
    use medley_kernels::BlockType;

    #[test]
    fn parts_change_rounding_only() {
        let x: Vec<f32> = (0..30 * 8).map(|i| (i as f32 * 0.37).sin()).collect();
        let w: Vec<f32> = (0..21 * 8).map(|i| (i as f32 * 0.71).cos()).collect();
        let bytes: Vec<u8> = w.iter().flat_map(|v| v.to_le_bytes()).collect();
        let head = Arc::new(PackedMatrix::pack(BlockType::F32, 21, 8, &bytes).unwrap());
        let x = Var::from_vec(x, (30, 8), &Device::Cpu).unwrap();
        let w = Tensor::from_vec(w, (21, 8), &Device::Cpu).unwrap();
        let targets: Vec<u32> = (0..30)
            .map(|i| {
                if i % 7 == 0 {
                    super::super::IGNORED
                } else {
                    i % 21
                }
            })
            .collect();
        let both = |loss: Tensor| -> (f32, Vec<f32>) {
            let grads = loss.backward().unwrap();
            let dx = grads.get(&x).unwrap().flatten_all().unwrap();
            (loss.to_scalar().unwrap(), dx.to_vec1().unwrap())
        };
        let (loss, dx) = both(super::super::linear_cross_entropy(&x, &w, &targets).unwrap());
        for (chunk, part) in [(1000, 100), (7, 21), (10, 4), (1, 1)] {
            let found = frozen_cross_entropy_in(&x, &head, &targets, chunk, part).unwrap();
            let (other, gradient) = both(found);
            assert!((loss - other).abs() < 1e-6, "{loss} {other}");
            let near = dx.iter().zip(&gradient).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near, "{chunk} {part}");
        }
    }
}
