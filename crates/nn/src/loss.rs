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

/// The loss of CLIP (Radford et al. 2021), in nats: the mean of the cross entropies of finding each image's caption among
/// those of the batch and each caption's image. `images` and `captions` are `[batch, width]` of length 1, `scale` `[1]`
/// multiplies their similarities. What has the same number in `groups` may well belong together, and is no negative.
///
/// # Errors
/// Where there are not as many of each.
pub fn contrastive(
    images: &Tensor,
    captions: &Tensor,
    scale: &Tensor,
    groups: &[u64],
) -> Result<Tensor> {
    let batch = groups.len();
    if images.dim(0)? != batch || captions.dim(0)? != batch {
        return Err(Error::Config(format!(
            "{} images and {} captions of {batch} groups",
            images.dim(0)?,
            captions.dim(0)?
        )));
    }
    let mask = |i: usize, j: usize| match i != j && groups[i] == groups[j] {
        true => -1e9,
        false => 0.0f32,
    };
    let mask: Vec<f32> = (0..batch * batch)
        .map(|at| mask(at / batch, at % batch))
        .collect();
    let mask = Tensor::from_vec(mask, (batch, batch), images.device())?;
    let logits = images.matmul(&captions.t()?)?.broadcast_mul(scale)?;
    let logits = (logits + mask)?;
    let own: Vec<u32> = (0..batch as u32).collect();
    let by_image = cross_entropy(&logits, &own)?;
    let by_caption = cross_entropy(&logits.t()?.contiguous()?, &own)?;
    Ok(((by_image + by_caption)? * 0.5)?)
}
