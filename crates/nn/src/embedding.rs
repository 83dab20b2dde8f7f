//! Token embeddings, and the output head that may share their weights.

use candle_core::{Device, Tensor};

use crate::tensor::from_vec;
use crate::{Error, Linear, Result, train};

/// Rows of a `[vocab, width]` matrix by token id. The matrix is a [`Linear`], so that a tied head is the same weights.
#[derive(Clone)]
pub struct Embedding {
    /// `[vocab, width]`
    pub table: Linear,
}

impl Embedding {
    /// `n` ids → `[n, width]` in `f32`, on `device`.
    pub fn forward(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        let (vocab, width) = (self.table.out_features(), self.table.in_features());
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(Error::Config(format!(
                "token id {id} is outside the vocabulary of {vocab}"
            )));
        }
        match &self.table {
            Linear::Packed { weight, .. } => {
                let mut out = vec![0.0; ids.len() * width];
                for (row, &id) in out.chunks_exact_mut(width).zip(ids) {
                    weight.row(id as usize, row);
                }
                from_vec(out, &[ids.len(), width])
            }
            Linear::Int8 { weight, .. } => {
                let mut out = vec![0.0; ids.len() * width];
                for (row, &id) in out.chunks_exact_mut(width).zip(ids) {
                    weight.row(id as usize, row);
                }
                from_vec(out, &[ids.len(), width])
            }
            Linear::Dense { weight, .. } => {
                if train::serves(&[weight]) {
                    return train::embedding(weight, ids);
                }
                let index = Tensor::new(ids, device)?;
                Ok(weight
                    .index_select(&index, 0)?
                    .to_dtype(candle_core::DType::F32)?)
            }
            Linear::Lora { base, .. } => Self {
                table: (**base).clone(),
            }
            .forward(ids, device),
        }
    }
}
