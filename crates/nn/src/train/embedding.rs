//! Rows of a table by id.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use medley_kernels::unspecified;

use super::gradients::gradient_of;
use super::{numbers, values};
use crate::{Error, Result};

/// `n` ids → their rows `[n, width]` of `table [vocab, width]`.
pub fn embedding(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    let vocab = table.dim(0)?;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
        return Err(Error::Config(format!(
            "token id {id} is outside the vocabulary of {vocab}"
        )));
    }
    Ok(table.contiguous()?.apply_op1(Rows(ids.to_vec()))?)
}

struct Rows(Vec<u32>);

impl CustomOp1 for Rows {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, t: &CpuStorage, tl: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, width) = tl.shape().dims2()?;
        let table = values(t, tl)?;
        let mut out = unspecified(self.0.len() * width);
        for (&id, out) in self.0.iter().zip(out.chunks_exact_mut(width)) {
            out.copy_from_slice(&table[id as usize * width..][..width]);
        }
        Ok((CpuStorage::F32(out), Shape::from((self.0.len(), width))))
    }

    fn bwd(
        &self,
        table: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let (_, width) = table.dims2()?;
        let grad = grad.contiguous()?;
        let dy = numbers(&grad)?;
        gradient_of(table, |sum, add| {
            if !add {
                sum.fill(0.0);
            }
            // In order of the rows: one sum, whatever the number of threads.
            for (&id, dy) in self.0.iter().zip(dy.chunks_exact(width)) {
                let row = &mut sum[id as usize * width..][..width];
                row.iter_mut().zip(dy).for_each(|(s, d)| *s += d);
            }
        })
    }
}
