//! Losses as candle operations, for every device.

use candle_core::{D, DType, Tensor};

use crate::train::IGNORED;
use crate::{Error, Result};

/// The mean cross entropy, in nats, of rows of `logits [.., classes]` with a target each, over the rows whose target is
/// not [`IGNORED`]; see [`crate::train::cross_entropy`], which is faster on the CPU.
pub fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let classes = logits.dim(D::Minus1)?;
    let rows = logits.elem_count() / classes.max(1);
    if rows != targets.len() {
        return Err(Error::Config(format!(
            "{rows} rows of logits were given {} targets",
            targets.len()
        )));
    }
    let device = logits.device();
    let logits = logits.reshape((rows, classes))?.to_dtype(DType::F32)?;
    let peak = logits.max_keepdim(D::Minus1)?.detach();
    let sums = logits.broadcast_sub(&peak)?.exp()?.sum_keepdim(D::Minus1)?;
    let log_sums = (sums.log()? + peak)?;
    let counts: Vec<f32> = targets
        .iter()
        .map(|&t| f32::from(u8::from(t != IGNORED)))
        .collect();
    let counted = counts.iter().sum::<f32>().max(1.0);
    let index: Vec<u32> = targets
        .iter()
        .map(|&t| if t == IGNORED { 0 } else { t })
        .collect();
    let index = Tensor::from_vec(index, (rows, 1), device)?;
    let counts = Tensor::from_vec(counts, (rows, 1), device)?;
    let losses = ((log_sums - logits.gather(&index, D::Minus1)?)? * counts)?;
    Ok((losses.sum_all()? / f64::from(counted))?)
}
