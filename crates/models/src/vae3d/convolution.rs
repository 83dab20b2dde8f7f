//! Convolutions of clips that look at earlier frames only, and what halves and doubles clips in space and time.
//!
//! Clips are channels last: `[batch, frames, height, width, channels]`.

use medley_nn::vision::{Conv2d, conv2d, upsample_nearest};
use medley_nn::{Tensor, Weights};

use crate::Result;
use crate::parameters::{Init, List};

/// What layers keep of the frames before those that they are given, one place for each layer in the order of the pass.
#[derive(Default)]
pub(super) struct Past {
    kept: Vec<Option<Tensor>>,
    at: usize,
}

impl Past {
    /// Begins the next pass.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    /// The place of the next layer; empty before the first frame.
    fn next(&mut self) -> &mut Option<Tensor> {
        if self.at == self.kept.len() {
            self.kept.push(None);
        }
        self.at += 1;
        &mut self.kept[self.at - 1]
    }
}

/// The last frames in memory of their own, so that the others can go.
fn last(clip: &Tensor, count: usize) -> Result<Tensor> {
    let from = clip.dim(1)? - count;
    Ok(clip.narrow(1, from, count)?.force_contiguous()?)
}

/// All frames as pictures, `[batch · frames, height, width, channels]`.
pub(super) fn pictures(clip: &Tensor) -> Result<Tensor> {
    let (batch, frames, height, width, channels) = clip.dims5()?;
    Ok(clip.reshape((batch * frames, height, width, channels))?)
}

/// The way back of [`pictures`].
pub(super) fn clips(pictures: &Tensor, batch: usize) -> Result<Tensor> {
    let (rows, height, width, channels) = pictures.dims4()?;
    Ok(pictures.reshape((batch, rows / batch, height, width, channels))?)
}

/// A convolution over frames, rows and columns. Before the first frame there are zeros, as around each frame.
pub(super) struct CausalConv {
    /// `[out, in, frames, kernel, kernel]`
    weight: Tensor,
    /// `[out]`
    bias: Option<Tensor>,
}

impl CausalConv {
    /// The parameters of [`CausalConv::new`] as PyTorch begins them.
    pub(super) fn parameters(
        list: &mut List,
        name: &str,
        [inputs, out]: [usize; 2],
        [frames, kernel]: [usize; 2],
    ) {
        let count = inputs * frames * kernel * kernel;
        let init = Init::Uniform(1.0 / (count.max(1) as f32).sqrt());
        let shape = [out, inputs, frames, kernel, kernel];
        list.push(format!("{name}.weight"), &shape, init);
        list.push(format!("{name}.bias"), &[out], init);
    }

    /// `name.weight` and, where it is there, `name.bias`.
    pub(super) fn new(
        weights: &Weights,
        name: &str,
        [inputs, out]: [usize; 2],
        [frames, kernel]: [usize; 2],
    ) -> Result<Self> {
        let shape = [out, inputs, frames, kernel, kernel];
        Ok(Self {
            weight: weights.tensor(&format!("{name}.weight"), &shape)?,
            bias: weights.optional(&format!("{name}.bias"), &[out])?,
        })
    }

    /// As many frames as it is given.
    pub(super) fn forward(&self, x: &Tensor, past: &mut Past) -> Result<Tensor> {
        let before = self.weight.dim(2)? - 1;
        if before == 0 {
            return self.over(x, 1);
        }
        let kept = past.next();
        let frames = match kept.take() {
            Some(kept) => Tensor::cat(&[&kept, x], 1)?,
            None => x.pad_with_zeros(1, before, 0)?,
        };
        *kept = Some(last(&frames, before)?);
        self.over(&frames, 1)
    }

    /// The same of frames that have those before them already, `step` frames apart: a sum of convolutions of pictures.
    fn over(&self, frames: &Tensor, step: usize) -> Result<Tensor> {
        let (batch, count, ..) = frames.dims5()?;
        let (_, _, taps, kernel, _) = self.weight.dims5()?;
        let out = (count - taps) / step + 1;
        let mut sum: Option<Tensor> = None;
        for tap in 0..taps {
            let seen = match step {
                1 => frames.narrow(1, tap, out)?,
                _ => {
                    let at: Vec<u32> = (0..out).map(|i| (tap + i * step) as u32).collect();
                    frames.index_select(&Tensor::new(at, frames.device())?, 1)?
                }
            };
            let weight = self.weight.narrow(2, tap, 1)?.squeeze(2)?.contiguous()?;
            let bias = self.bias.as_ref().filter(|_| tap == 0);
            let y = conv2d(&pictures(&seen)?, &weight, bias, 1, kernel / 2)?;
            sum = Some(match sum {
                Some(sum) => (sum + y)?,
                None => y,
            });
        }
        match sum {
            Some(sum) => clips(&sum, batch),
            None => Ok(frames.clone()),
        }
    }
}

/// Half the sides by a convolution of pictures, then half the frames after the first one.
pub(super) struct Down {
    resample: Conv2d,
    time: Option<CausalConv>,
}

/// Frames, and rows and columns, that the convolutions along time see.
const ALONG: [usize; 2] = [3, 1];

impl Down {
    pub(super) fn parameters(list: &mut List, name: &str, width: usize, time: bool) {
        list.conv(&format!("{name}.resample.1"), width, width, 3, 1.0);
        if time {
            CausalConv::parameters(list, &format!("{name}.time_conv"), [width; 2], ALONG);
        }
    }

    pub(super) fn new(weights: &Weights, name: &str, width: usize, time: bool) -> Result<Self> {
        let conv = || CausalConv::new(weights, &format!("{name}.time_conv"), [width; 2], ALONG);
        let resample = Conv2d::new(weights, &format!("{name}.resample.1"), [width; 2], 3)?;
        Ok(Self {
            resample: resample.stepping(2, 0),
            time: time.then(conv).transpose()?,
        })
    }

    /// Any odd number of frames at first, even numbers after where it halves them.
    pub(super) fn forward(&self, x: &Tensor, past: &mut Past) -> Result<Tensor> {
        // Zeros to the right and below only.
        let padded = pictures(x)?
            .pad_with_zeros(1, 0, 1)?
            .pad_with_zeros(2, 0, 1)?;
        let x = clips(&self.resample.forward(&padded)?, x.dim(0)?)?;
        let Some(conv) = &self.time else {
            return Ok(x);
        };
        let kept = past.next();
        let before = kept.replace(last(&x, 1)?);
        let Some(before) = before else {
            let first = x.narrow(1, 0, 1)?;
            return match x.dim(1)? {
                1 | 2 => Ok(first),
                _ => Ok(Tensor::cat(&[first, conv.over(&x, 2)?], 1)?),
            };
        };
        conv.over(&Tensor::cat(&[&before, &x], 1)?, 2)
    }
}

/// Twice the frames after the first one, then twice the sides and half the channels.
pub(super) struct Up {
    resample: Conv2d,
    time: Option<CausalConv>,
}

impl Up {
    pub(super) fn parameters(list: &mut List, name: &str, width: usize, time: bool) {
        list.conv(&format!("{name}.resample.1"), width / 2, width, 3, 1.0);
        if time {
            let sizes = [width, 2 * width];
            CausalConv::parameters(list, &format!("{name}.time_conv"), sizes, ALONG);
        }
    }

    pub(super) fn new(weights: &Weights, name: &str, width: usize, time: bool) -> Result<Self> {
        let sizes = [width, 2 * width];
        let conv = || CausalConv::new(weights, &format!("{name}.time_conv"), sizes, ALONG);
        let sizes = [width, width / 2];
        Ok(Self {
            resample: Conv2d::new(weights, &format!("{name}.resample.1"), sizes, 3)?,
            time: time.then(conv).transpose()?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, past: &mut Past) -> Result<Tensor> {
        let x = match &self.time {
            Some(conv) => twice(conv, x, past)?,
            None => x.clone(),
        };
        let large = upsample_nearest(&pictures(&x)?, 2)?;
        clips(&self.resample.forward(&large)?, x.dim(0)?)
    }
}

/// Two frames of every frame but the first, which `conv` does not see: before the second there are zeros.
fn twice(conv: &CausalConv, x: &Tensor, past: &mut Past) -> Result<Tensor> {
    let (batch, frames, height, width, channels) = x.dims5()?;
    let before = ALONG[0] - 1;
    let kept = past.next();
    let (first, seen) = match kept.take() {
        Some(kept) => (None, Tensor::cat(&[&kept, x], 1)?),
        None => {
            let rest = x.narrow(1, 1, frames - 1)?;
            let zeros = Tensor::zeros(
                (batch, before, height, width, channels),
                x.dtype(),
                x.device(),
            )?;
            let seen = match frames {
                1 => zeros,
                _ => Tensor::cat(&[&zeros, &rest], 1)?,
            };
            (Some(x.narrow(1, 0, 1)?), seen)
        }
    };
    *kept = Some(last(&seen, before)?);
    let count = seen.dim(1)? - before;
    let doubled = match count {
        0 => None,
        // The first half of the channels is the earlier of both frames.
        _ => Some(
            conv.over(&seen, 1)?
                .reshape(vec![batch, count, height, width, 2, channels])?
                .permute(vec![0, 1, 4, 2, 3, 5])?
                .reshape((batch, 2 * count, height, width, channels))?,
        ),
    };
    Ok(match (first, doubled) {
        (Some(first), Some(doubled)) => Tensor::cat(&[first, doubled], 1)?,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => x.clone(),
    })
}
