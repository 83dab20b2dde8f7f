//! Frames of clips, which stand one behind the other as images of a batch.

use candle_core::Tensor;

use super::image;
use crate::Result;

/// `[clips · frames, height, width, channels]` → the same with `3 · channels`: those of the frame before, its own and those
/// of the frame after. The first frame follows the last one where the clip is `closed`; else an end stands for the frame that
/// is not there.
///
/// # Errors
/// [`crate::Error::Config`] for other shapes.
pub fn beside(x: &Tensor, frames: usize, closed: bool) -> Result<Tensor> {
    let [rows, ..] = image(x)?;
    #[cfg(feature = "cuda")]
    if crate::gpu::ops::serves(&[x]) {
        return crate::gpu::ops::beside(x, frames, closed);
    }
    let index = |step: usize| -> Vec<u32> {
        let beside = |row: usize| {
            let (clip, frame) = (row / frames * frames, row % frames);
            let moved = frame + step;
            let moved = match closed {
                true => (moved + frames - 1) % frames,
                false => moved.saturating_sub(1).min(frames - 1),
            };
            (clip + moved) as u32
        };
        (0..rows).map(beside).collect()
    };
    let pick = |step| x.index_select(&Tensor::new(index(step), x.device())?, 0);
    Ok(Tensor::cat(&[&pick(0)?, x, &pick(2)?], 3)?)
}

/// `[a, b, c, d]` → `[a, c, b, d]`, contiguous: from tokens of frames to frames of tokens, and back.
///
/// # Errors
/// [`crate::Error::Candle`] for other shapes.
pub fn swapped(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if crate::gpu::ops::serves(&[x]) {
        return crate::gpu::ops::swapped(x);
    }
    Ok(x.transpose(1, 2)?.contiguous()?)
}
