//! Blocks that keep the size of clips.

use medley_nn::vision::{Conv2d, Heads, activation, self_attention};
use medley_nn::{Activation, RmsNorm, Tensor, Weights};

use super::config::Vae3dConfig;
use super::convolution::{CausalConv, Past, clips, pictures};
use crate::Result;
use crate::parameters::{Init, List};

/// Added to the mean square, so that channels that are all 0 stay so.
const EPS: f32 = 1e-12;

/// Root-mean-square norm over the channels of each place, and SiLU.
pub(super) struct Normed {
    /// `[channels]` and as many dimensions of 1 as the checkpoint has.
    gamma: Tensor,
}

impl Normed {
    pub(super) fn parameters(list: &mut List, name: &str, width: usize) {
        list.push(format!("{name}.gamma"), &[width, 1, 1, 1], Init::Ones);
    }

    pub(super) fn new(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            gamma: weights.tensor(&format!("{name}.gamma"), &[width, 1, 1, 1])?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(activation(Activation::Silu, &norm(&self.gamma, x)?)?)
    }
}

fn norm(gamma: &Tensor, x: &Tensor) -> Result<Tensor> {
    let norm = RmsNorm {
        weight: gamma.flatten_all()?,
        eps: EPS,
    };
    Ok(norm.forward(x)?)
}

/// Norm, activation and convolution twice, beside a shortcut (He et al. 2016).
pub(super) struct Residual {
    norm1: Normed,
    conv1: CausalConv,
    norm2: Normed,
    conv2: CausalConv,
    shortcut: Option<CausalConv>,
}

impl Residual {
    pub(super) fn parameters(list: &mut List, name: &str, [inputs, out]: [usize; 2]) {
        Normed::parameters(list, &format!("{name}.norm1"), inputs);
        CausalConv::parameters(list, &format!("{name}.conv1"), [inputs, out], [3; 2]);
        Normed::parameters(list, &format!("{name}.norm2"), out);
        CausalConv::parameters(list, &format!("{name}.conv2"), [out; 2], [3; 2]);
        if inputs != out {
            let name = format!("{name}.conv_shortcut");
            CausalConv::parameters(list, &name, [inputs, out], [1; 2]);
        }
    }

    pub(super) fn new(weights: &Weights, name: &str, [inputs, out]: [usize; 2]) -> Result<Self> {
        let conv = |part: &str, sizes, kernel: usize| {
            CausalConv::new(weights, &format!("{name}.{part}"), sizes, [kernel; 2])
        };
        let shortcut = (inputs != out).then(|| conv("conv_shortcut", [inputs, out], 1));
        Ok(Self {
            norm1: Normed::new(weights, &format!("{name}.norm1"), inputs)?,
            conv1: conv("conv1", [inputs, out], 3)?,
            norm2: Normed::new(weights, &format!("{name}.norm2"), out)?,
            conv2: conv("conv2", [out; 2], 3)?,
            shortcut: shortcut.transpose()?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, past: &mut Past) -> Result<Tensor> {
        let y = self.conv1.forward(&self.norm1.forward(x)?, past)?;
        let y = self.conv2.forward(&self.norm2.forward(&y)?, past)?;
        Ok(match &self.shortcut {
            Some(conv) => (conv.forward(x, past)? + y)?,
            None => (x + y)?,
        })
    }
}

/// Attention of all places of a frame with one head.
struct FrameAttention {
    gamma: Tensor,
    to_qkv: Conv2d,
    proj: Conv2d,
}

impl FrameAttention {
    fn parameters(list: &mut List, name: &str, width: usize) {
        list.push(format!("{name}.norm.gamma"), &[width, 1, 1], Init::Ones);
        list.conv(&format!("{name}.to_qkv"), 3 * width, width, 1, 1.0);
        list.conv(&format!("{name}.proj"), width, width, 1, 1.0);
    }

    fn new(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        let conv = |part: &str, sizes| Conv2d::new(weights, &format!("{name}.{part}"), sizes, 1);
        Ok(Self {
            gamma: weights.tensor(&format!("{name}.norm.gamma"), &[width, 1, 1])?,
            to_qkv: conv("to_qkv", [width, 3 * width])?,
            proj: conv("proj", [width; 2])?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let frames = pictures(x)?;
        let (count, height, width, channels) = frames.dims4()?;
        let qkv = self.to_qkv.forward(&norm(&self.gamma, &frames)?)?;
        let qkv = qkv.reshape((count, height * width, 3 * channels))?;
        let heads = Heads {
            heads: 1,
            dim: channels,
            eps: EPS,
        };
        let mixed = self_attention(&qkv, None, heads, None, None, None)?;
        let y = self.proj.forward(&mixed.reshape(frames.shape())?)?;
        Ok((x + clips(&y, x.dim(0)?)?)?)
    }
}

/// The blocks between the encoder's or decoder's levels and the latents.
pub(super) struct Middle {
    resnets: [Residual; 2],
    attention: Option<FrameAttention>,
}

impl Middle {
    pub(super) fn parameters(c: &Vae3dConfig, list: &mut List, name: &str, width: usize) {
        for j in 0..2 {
            Residual::parameters(list, &format!("{name}.resnets.{j}"), [width; 2]);
        }
        if c.attention {
            FrameAttention::parameters(list, &format!("{name}.attentions.0"), width);
        }
    }

    pub(super) fn new(
        c: &Vae3dConfig,
        weights: &Weights,
        name: &str,
        width: usize,
    ) -> Result<Self> {
        let residual = |j| Residual::new(weights, &format!("{name}.resnets.{j}"), [width; 2]);
        let attention = || FrameAttention::new(weights, &format!("{name}.attentions.0"), width);
        Ok(Self {
            resnets: [residual(0)?, residual(1)?],
            attention: c.attention.then(attention).transpose()?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, past: &mut Past) -> Result<Tensor> {
        let mut x = self.resnets[0].forward(x, past)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x)?;
        }
        self.resnets[1].forward(&x, past)
    }
}
