//! Images made larger and smaller.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use medley_kernels::pool;

use super::{Candle, gradient, image, numbers, ours, read, result};
use crate::{Error, Result};

/// Every pixel of `[batch, height, width, channels]` becomes `factor × factor` of them.
pub fn upsample_nearest(x: &Tensor, factor: usize) -> Result<Tensor> {
    let [batch, height, width, channels] = image(x)?;
    if factor == 0 {
        return Err(Error::Config(
            "an image cannot be made 0 times as large".into(),
        ));
    }
    let sides = [height, width].map(|size| {
        let taps = (0..size * factor)
            .map(|i| vec![(i / factor, 1.0)])
            .collect();
        Side { from: size, taps }
    });
    resample(x, sides, [batch, channels])
}

/// Means of `factor × factor` pixels; rows and columns that do not fill a square are left out.
pub fn average_pool(x: &Tensor, factor: usize) -> Result<Tensor> {
    let [batch, height, width, channels] = image(x)?;
    if factor == 0 || height < factor || width < factor {
        return Err(Error::Config(format!(
            "squares of {factor} do not fit into an image of {height} × {width}"
        )));
    }
    let share = 1.0 / factor as f32;
    let sides = [height, width].map(|size| Side {
        from: size,
        taps: (0..size / factor)
            .map(|i| {
                (i * factor..(i + 1) * factor)
                    .map(|at| (at, share))
                    .collect()
            })
            .collect(),
    });
    resample(x, sides, [batch, channels])
}

/// Twofold bilinear interpolation between pixel centres, edges repeated
/// (PyTorch's `interpolate(mode="bilinear", align_corners=False)`).
pub fn upsample_bilinear(x: &Tensor, factor: usize) -> Result<Tensor> {
    let [batch, height, width, channels] = image(x)?;
    if factor == 0 {
        return Err(Error::Config(
            "an image cannot be made 0 times as large".into(),
        ));
    }
    resample(x, bilinear([height, width], factor), [batch, channels])
}

fn bilinear(sides: [usize; 2], factor: usize) -> [Side; 2] {
    sides.map(|size| {
        let tap = |i: usize| {
            let at = ((i as f32 + 0.5) / factor as f32 - 0.5).max(0.0);
            let low = (at as usize).min(size - 1);
            let high = (low + 1).min(size - 1);
            let part = at - low as f32;
            vec![(low, 1.0 - part), (high, part)]
        };
        Side {
            from: size,
            taps: (0..size * factor).map(tap).collect(),
        }
    })
}

#[cfg(test)]
pub(super) fn plain_bilinear(x: &Tensor, factor: usize) -> Result<Tensor> {
    plain(x, &bilinear([x.dim(1)?, x.dim(2)?], factor))
}

/// Blocks of `factor × factor` pixels become channels: `[b, h, w, c]` → `[b, h / factor, w / factor, c · factor²]`, in
/// PyTorch's order (channel, row, column).
///
/// # Errors
/// [`Error::Config`] where `factor` does not divide the sides.
pub fn pixel_unshuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    let [batch, height, width, channels] = image(x)?;
    if factor == 0 || !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
        return Err(Error::Config(format!(
            "{factor} does not divide the sides of an image of {height} × {width}"
        )));
    }
    #[cfg(feature = "cuda")]
    if crate::gpu::ops::serves(&[x]) {
        return crate::gpu::ops::shuffled(x, factor, false);
    }
    let (rows, cols) = (height / factor, width / factor);
    Ok(
        x.reshape(vec![batch, rows, factor, cols, factor, channels])?
            .permute(vec![0, 1, 3, 5, 2, 4])?
            .reshape((batch, rows, cols, channels * factor * factor))?,
    )
}

/// The way back of [`pixel_unshuffle`]: `[b, h, w, c · factor²]` → `[b, h · factor, w · factor, c]`.
///
/// # Errors
/// [`Error::Config`] where `factor²` does not divide the channels.
pub fn pixel_shuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    let [batch, height, width, channels] = image(x)?;
    let block = factor * factor;
    if block == 0 || !channels.is_multiple_of(block) {
        return Err(Error::Config(format!(
            "{channels} channels are no pixels of blocks of {factor} × {factor}"
        )));
    }
    #[cfg(feature = "cuda")]
    if crate::gpu::ops::serves(&[x]) {
        return crate::gpu::ops::shuffled(x, factor, true);
    }
    let channels = channels / block;
    Ok(
        x.reshape(vec![batch, height, width, channels, factor, factor])?
            .permute(vec![0, 1, 4, 2, 5, 3])?
            .reshape((batch, height * factor, width * factor, channels))?,
    )
}

/// How the pixels along one side are made of others.
#[derive(Clone, Debug)]
struct Side {
    /// Pixels there were.
    from: usize,
    /// For each new pixel, the old ones and their shares.
    taps: Vec<Vec<(usize, f32)>>,
}

impl Side {
    fn len(&self) -> usize {
        self.taps.len()
    }

    /// The transposed matrix: how gradients of the old pixels are made.
    fn transposed(&self) -> Self {
        let mut taps = vec![Vec::new(); self.from];
        for (i, old) in self.taps.iter().enumerate() {
            for &(at, share) in old {
                taps[at].push((i, share));
            }
        }
        Self {
            from: self.len(),
            taps,
        }
    }
}

struct Resample {
    sides: [Side; 2],
    batch: usize,
    channels: usize,
}

fn resample(x: &Tensor, sides: [Side; 2], [batch, channels]: [usize; 2]) -> Result<Tensor> {
    if !ours(&[x]) {
        return plain(x, &sides);
    }
    let op = Resample {
        sides,
        batch,
        channels,
    };
    Ok(x.contiguous()?.apply_op1(op)?)
}

/// The same as candle operations: a product with a matrix along each side.
fn plain(x: &Tensor, sides: &[Side; 2]) -> Result<Tensor> {
    let matrix = |side: &Side| -> Candle<Tensor> {
        let mut values = vec![0.0f32; side.len() * side.from];
        for (row, taps) in values.chunks_exact_mut(side.from.max(1)).zip(&side.taps) {
            taps.iter().for_each(|&(at, share)| row[at] += share);
        }
        Tensor::from_vec(values, (side.len(), side.from), x.device())?.to_dtype(x.dtype())
    };
    let (batch, height, width, channels) = x.dims4()?;
    let [down, across] = [matrix(&sides[0])?, matrix(&sides[1])?];
    let y = x.reshape((batch, height, width * channels))?;
    let y = down.broadcast_matmul(&y)?;
    let y = y.reshape((batch * sides[0].len(), width, channels))?;
    let y = across.broadcast_matmul(&y)?;
    Ok(y.reshape((batch, sides[0].len(), sides[1].len(), channels))?)
}

/// Applies a matrix along each side to images of `channels`.
fn apply(x: &[f32], sides: &[Side; 2], channels: usize, batch: usize) -> Vec<f32> {
    let [down, across] = sides;
    let (row, old_row) = (across.len() * channels, across.from * channels);
    let mut out = vec![0.0; batch * down.len() * row];
    if out.is_empty() {
        return out;
    }
    pool::parallel_chunks(&mut out, row, |i, out| {
        let (image, y) = (i / down.len(), i % down.len());
        for &(from, share) in &down.taps[y] {
            let at = (image * down.from + from) * old_row;
            let old = &x[at..at + old_row];
            for (to, taps) in out.chunks_exact_mut(channels).zip(&across.taps) {
                for &(from, part) in taps {
                    let weight = share * part;
                    let pixel = &old[from * channels..(from + 1) * channels];
                    to.iter_mut().zip(pixel).for_each(|(y, x)| *y += weight * x);
                }
            }
        }
    });
    out
}

impl CustomOp1 for Resample {
    fn name(&self) -> &'static str {
        "resample"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Candle<(CpuStorage, Shape)> {
        let y = apply(numbers(x, xl)?, &self.sides, self.channels, self.batch);
        let [rows, cols] = [self.sides[0].len(), self.sides[1].len()];
        result(y, &[self.batch, rows, cols, self.channels])
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Candle<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let sides = [self.sides[0].transposed(), self.sides[1].transposed()];
        let dx = apply(&read(&grad)?, &sides, self.channels, self.batch);
        gradient(dx, x)
    }
}
