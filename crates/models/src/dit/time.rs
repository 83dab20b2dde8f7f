//! What a diffusion transformer adds for clips: tokens of one place look along the frames (Ho et al. 2022, video
//! diffusion), and the levels of the stem look at the frames before and after.

use std::sync::Arc;

use medley_nn::vision::{
    Angles, Axis, Heads, add_gated, beside, modulated_layer_norm, self_attention, swapped,
};
use medley_nn::{Linear, Tensor, Weights};

use super::block::Modulation;
use super::config::{DitConfig, TimeKind};
use crate::Result;
use crate::parameters::{Init, List, xavier};

/// Attention along the frames, of each place by itself.
pub(super) struct TimeMixing {
    pub(super) modulation: Modulation,
    qkv: Linear,
    norms: [Tensor; 2],
    proj: Linear,
}

/// Rotations of one axis for the frames of a clip.
fn frames(c: &DitConfig, count: usize, pairs: usize) -> Axis {
    Axis {
        count,
        pairs,
        closed: c.loops,
    }
}

/// Rotations along the frames alone.
pub(super) fn line(c: &DitConfig, count: usize) -> Angles {
    Angles::along(&[frames(c, count, c.head_dim() / 2)], 0, c.rope_theta)
}

/// Rotations for all tokens of a clip together, frame by frame, and `still` ones after them: a third of a head's pairs for
/// rows and for columns each, the others for frames.
pub(super) fn space_time(c: &DitConfig, size: [usize; 3], still: usize) -> Angles {
    let [count, rows, columns] = size;
    let third = c.head_dim() / 6;
    let side = |count| Axis {
        count,
        pairs: third,
        closed: false,
    };
    let time = frames(c, count, c.head_dim() / 2 - 2 * third);
    Angles::along(&[time, side(rows), side(columns)], still, c.rope_theta)
}

impl TimeMixing {
    /// The parameters of [`TimeMixing::new`], which begins as the identity.
    pub(super) fn parameters(c: &DitConfig, list: &mut List, prefix: &str) {
        let h = c.hidden_size;
        if c.shared_modulation {
            let name = format!("{prefix}.modulation_table");
            list.push(name, &[3 * h], Init::Zeros);
        } else {
            list.linear(&format!("{prefix}.adaLN_modulation"), 3 * h, h, Init::Zeros);
        }
        list.linear(&format!("{prefix}.qkv"), 3 * h, h, xavier(h, h));
        c.norms(list, prefix);
        list.linear(&format!("{prefix}.proj"), h, h, xavier(h, h));
    }

    pub(super) fn new(c: &DitConfig, weights: &Weights, prefix: &str) -> Result<Self> {
        let h = c.hidden_size;
        Ok(Self {
            modulation: Modulation::new(c, weights, prefix, 3)?,
            qkv: weights.linear(&format!("{prefix}.qkv"), 3 * h, h)?,
            norms: super::block::norms(c, prefix, weights)?,
            proj: weights.linear(&format!("{prefix}.proj"), h, h)?,
        })
    }

    /// `x` `[batch · frames, tokens, hidden]`; `m` are shift, scale and gate, `[batch · frames, hidden]` each.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        m: &[Tensor],
        (heads, angles): (Heads, &Arc<Angles>),
        frames: usize,
    ) -> Result<Tensor> {
        let (rows, tokens, hidden) = x.dims3()?;
        let batch = rows / frames;
        let y = modulated_layer_norm(x, &m[0], &m[1], heads.eps)?;
        let y = swapped(&y.reshape((batch, frames, tokens, hidden))?)?.reshape((
            batch * tokens,
            frames,
            hidden,
        ))?;
        let norms = Tensor::stack(&self.norms, 0)?;
        let qkv = self.qkv.forward(&y)?;
        let mixed = self_attention(&qkv, Some(&norms), heads, Some(angles), None, None)?;
        let y = self
            .proj
            .forward(&mixed)?
            .reshape((batch, tokens, frames, hidden))?;
        let y = swapped(&y)?.reshape((rows, tokens, hidden))?;
        Ok(add_gated(x, &y, &m[2])?)
    }
}

/// A convolution over three frames at each pixel, beside the states that it adds to. At the ends of a clip that does not
/// repeat, the end stands for the frame that is not there.
pub(super) struct Neighbours(Linear);

impl Neighbours {
    pub(super) fn parameters(c: &DitConfig, list: &mut List, name: &str, width: usize) {
        if c.time != TimeKind::None {
            list.linear(name, width, 3 * width, Init::Zeros);
        }
    }

    pub(super) fn new(
        c: &DitConfig,
        weights: &Weights,
        name: &str,
        width: usize,
    ) -> Result<Option<Self>> {
        Ok(match c.time {
            TimeKind::None => None,
            _ => Some(Self(weights.linear(name, width, 3 * width)?)),
        })
    }

    /// `x` `[batch · frames, height, width, channels]`
    pub(super) fn forward(&self, x: Tensor, frames: usize, closed: bool) -> Result<Tensor> {
        Ok((&x + self.0.forward(&beside(&x, frames, closed)?)?)?)
    }
}
