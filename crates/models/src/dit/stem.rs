//! Convolutions around the transformer: from pixels to its tokens and back, in levels that halve the sides, as in a U-Net
//! (Ronneberger et al. 2015) whose innermost level is the transformer (Hoogeboom et al. 2023, "simple diffusion", U-ViT).

use medley_nn::vision::{
    Conv2d, activation, channels_first, channels_last, modulated_layer_norm, pixel_shuffle,
    pixel_unshuffle,
};
use medley_nn::weights::Tensors;
use medley_nn::{Activation, Linear, Tensor, Weights};

use super::config::DitConfig;
use super::time::Neighbours;
use crate::Result;
use crate::parameters::{Init, List, xavier};

/// Norm, activation and convolution twice, beside the states that it adds to; the condition shifts and scales both norms.
struct Residual {
    modulation: Linear,
    conv1: Conv2d,
    conv2: Conv2d,
}

/// Levels from the pixels inwards.
struct Level {
    down: Residual,
    /// After the way down and after the way up, for clips.
    neighbours: [Option<Neighbours>; 2],
    /// Four pixels to one of the next level.
    merge: Linear,
    /// One of the next level to four.
    expand: Linear,
    up: Residual,
}

/// The levels with their convolutions from and to pixels.
pub(super) struct Stem {
    conv_in: Conv2d,
    levels: Vec<Level>,
    modulation: Linear,
    conv_out: Conv2d,
    /// Pixels along a side of a block that is one pixel to the outermost level.
    unshuffle: usize,
    eps: f32,
    /// Whether the first frame of a clip follows the last one.
    closed: bool,
}

/// What the way down leaves for the way up: the states of each level, `[batch, height, width, channels]`.
pub(super) type Skips = Vec<Tensor>;

impl Stem {
    /// The parameters of [`Stem::new`]: what a level adds begins with 0.
    pub(super) fn parameters(c: &DitConfig, list: &mut List) {
        let (h, widths) = (c.hidden_size, &c.stem_channels);
        let residual = |list: &mut List, name: &str, width: usize| {
            list.linear(&format!("{name}.modulation"), 4 * width, h, Init::Zeros);
            list.conv(&format!("{name}.conv1"), width, width, 3, 1.0);
            list.conv(&format!("{name}.conv2"), width, width, 3, 0.0);
        };
        list.conv("stem.conv_in", widths[0], c.block_channels(), 3, 1.0);
        for (i, &width) in widths.iter().enumerate() {
            let next = widths.get(i + 1).copied().unwrap_or(h);
            let name = format!("stem.levels.{i}");
            residual(list, &format!("{name}.down"), width);
            let four = 4 * width;
            list.linear(&format!("{name}.merge"), next, four, xavier(next, four));
            list.linear(&format!("{name}.expand"), four, next, xavier(four, next));
            residual(list, &format!("{name}.up"), width);
            Neighbours::parameters(c, list, &format!("{name}.down.neighbours"), width);
            Neighbours::parameters(c, list, &format!("{name}.up.neighbours"), width);
        }
        list.linear("stem.modulation", 2 * widths[0], h, Init::Zeros);
        list.conv("stem.conv_out", c.block_channels(), widths[0], 3, 0.0);
    }

    pub(super) fn new(c: &DitConfig, weights: &Weights) -> Result<Self> {
        let (h, widths) = (c.hidden_size, &c.stem_channels);
        let conv = |name: &str, sizes| Conv2d::new(weights, name, sizes, 3);
        let residual = |name: &str, width: usize| -> Result<Residual> {
            Ok(Residual {
                modulation: weights.linear(&format!("{name}.modulation"), 4 * width, h)?,
                conv1: conv(&format!("{name}.conv1"), [width, width])?,
                conv2: conv(&format!("{name}.conv2"), [width, width])?,
            })
        };
        let level = |(i, &width): (usize, &usize)| -> Result<Level> {
            let next = widths.get(i + 1).copied().unwrap_or(h);
            let name = format!("stem.levels.{i}");
            Ok(Level {
                down: residual(&format!("{name}.down"), width)?,
                merge: weights.linear(&format!("{name}.merge"), next, 4 * width)?,
                expand: weights.linear(&format!("{name}.expand"), 4 * width, next)?,
                up: residual(&format!("{name}.up"), width)?,
                neighbours: [
                    Neighbours::new(c, weights, &format!("{name}.down.neighbours"), width)?,
                    Neighbours::new(c, weights, &format!("{name}.up.neighbours"), width)?,
                ],
            })
        };
        Ok(Self {
            conv_in: conv("stem.conv_in", [c.block_channels(), widths[0]])?,
            levels: widths
                .iter()
                .enumerate()
                .map(level)
                .collect::<Result<_>>()?,
            modulation: weights.linear("stem.modulation", 2 * widths[0], h)?,
            conv_out: conv("stem.conv_out", [widths[0], c.block_channels()])?,
            unshuffle: c.unshuffle,
            eps: c.norm_eps,
            closed: c.loops,
        })
    }

    /// `[rows, channels, height, width]` → tokens `[rows, tokens, hidden]` and what the way back needs; so many rows are the
    /// frames of one clip. `c` is `silu` of the condition, `[rows, hidden]`.
    pub(super) fn down(&self, x: &Tensor, c: &Tensor, frames: usize) -> Result<(Tensor, Skips)> {
        let mut x = channels_last(x)?;
        if self.unshuffle > 1 {
            x = pixel_unshuffle(&x, self.unshuffle)?;
        }
        let mut x = self.conv_in.forward(&x)?;
        let mut skips = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            x = self.residual(&level.down, x, c)?;
            x = self.beside(&level.neighbours[0], x, frames)?;
            let merged = level.merge.forward(&pixel_unshuffle(&x, 2)?)?;
            skips.push(std::mem::replace(&mut x, merged));
        }
        let (batch, height, width, hidden) = x.dims4()?;
        Ok((x.reshape((batch, height * width, hidden))?, skips))
    }

    /// The way back.
    pub(super) fn up(
        &self,
        tokens: &Tensor,
        mut skips: Skips,
        c: &Tensor,
        frames: usize,
    ) -> Result<Tensor> {
        let mut x = tokens.clone();
        for level in self.levels.iter().rev() {
            let four = level.expand.forward(&x)?;
            let Some(skip) = skips.pop() else { break };
            let (batch, height, width, channels) = skip.dims4()?;
            let expanded = pixel_shuffle(
                &four.reshape((batch, height / 2, width / 2, 4 * channels))?,
                2,
            )?;
            x = self.residual(&level.up, (expanded + skip)?, c)?;
            x = self.beside(&level.neighbours[1], x, frames)?;
        }
        let m = self.modulation.forward(c)?;
        let width = m.dim(1)? / 2;
        let part = |i: usize| m.narrow(1, i * width, width);
        let x = self.normed(&x, &part(0)?, &part(1)?)?;
        let mut x = self.conv_out.forward(&x)?;
        if self.unshuffle > 1 {
            x = pixel_shuffle(&x, self.unshuffle)?;
        }
        Ok(channels_first(&x)?)
    }

    fn beside(&self, mixing: &Option<Neighbours>, x: Tensor, frames: usize) -> Result<Tensor> {
        match mixing {
            Some(mixing) if frames > 1 => mixing.forward(x, frames, self.closed),
            _ => Ok(x),
        }
    }

    fn residual(&self, block: &Residual, x: Tensor, c: &Tensor) -> Result<Tensor> {
        let m = block.modulation.forward(c)?;
        let width = m.dim(1)? / 4;
        let part = |i: usize| m.narrow(1, i * width, width);
        let y = self.normed(&x, &part(0)?, &part(1)?)?;
        let y = block.conv1.forward(&y)?;
        let y = self.normed(&y, &part(2)?, &part(3)?)?;
        Ok((x + block.conv2.forward(&y)?)?)
    }

    /// Each pixel's channels, normed, modulated and activated.
    fn normed(&self, x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let rows = x.reshape((batch, height * width, channels))?;
        let normed = modulated_layer_norm(&rows, shift, scale, self.eps)?;
        let active = activation(Activation::Silu, &normed)?;
        Ok(active.reshape((batch, height, width, channels))?)
    }
}

/// Makes the convolutions from and to pixels take blocks of so many pixels.
pub(super) fn refine(tensors: &mut Tensors, block: usize) {
    if let Some((shape, values)) = tensors.get_mut("stem.conv_in.weight")
        && let [out, inputs, kernel @ ..] = shape.as_slice()
    {
        let taps: usize = kernel.iter().product();
        let channels = values.chunks_exact(taps.max(1));
        let share = 1.0 / block as f32;
        let spread = channels.flat_map(|channel| {
            let mean: Vec<f32> = channel.iter().map(|w| w * share).collect();
            mean.repeat(block)
        });
        let (spread, shape_now) = (spread.collect(), [&[*out, inputs * block], kernel].concat());
        (*shape, *values) = (shape_now, spread);
    }
    for name in ["stem.conv_out.weight", "stem.conv_out.bias"] {
        let Some((shape, values)) = tensors.get_mut(name) else {
            continue;
        };
        let channels = shape.first().copied().unwrap_or(1).max(1);
        let each = (values.len() / channels).max(1);
        *values = values
            .chunks_exact(each)
            .flat_map(|channel| channel.repeat(block))
            .collect();
        if let Some(first) = shape.first_mut() {
            *first *= block;
        }
    }
}
