//! The blocks that a voice is built of.

use medley_nn::tensor::activated;
use medley_nn::vision::{Heads, self_attention};
use medley_nn::{
    Activation, DepthwiseConv1d, Device, Embedding, LayerNorm, Linear, Tensor, Weights,
};

use super::embedding;
use crate::{ConfigError, Result};

/// Added to the variance in every norm.
pub(super) const EPS: f32 = 1e-5;
/// Blocks before the attention of an encoder.
const CONVS: usize = 2;
/// Heads of an encoder's attention.
const HEADS: usize = 2;

pub(super) fn gelu(x: Tensor) -> Result<Tensor> {
    Ok(activated(Activation::Gelu, x)?)
}

/// A convolution of each channel, then two layers over all of them, beside the identity (Liu et al. 2022).
pub(super) struct ConvNext {
    dw: DepthwiseConv1d,
    norm: LayerNorm,
    pw1: Linear,
    pw2: Linear,
    gamma: Tensor,
}

impl ConvNext {
    pub(super) fn new(
        weights: &Weights,
        name: &str,
        width: usize,
        taps: usize,
        dilation: usize,
    ) -> Result<Self> {
        let hidden = outputs(weights, &format!("{name}.pw1"))?;
        let dw = format!("{name}.dw");
        Ok(Self {
            dw: DepthwiseConv1d::new(weights, &dw, width, taps, dilation)?,
            norm: weights.layer_norm(&format!("{name}.norm"), width, EPS)?,
            pw1: weights.linear(&format!("{name}.pw1"), hidden, width)?,
            pw2: weights.linear(&format!("{name}.pw2"), width, hidden)?,
            gamma: weights.tensor(&format!("{name}.gamma"), &[width])?,
        })
    }

    /// `[tokens, width]` → the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.norm.forward(&self.dw.forward(x)?)?;
        let y = self.pw2.forward(&gelu(self.pw1.forward(&y)?)?)?;
        Ok((x + y.broadcast_mul(&self.gamma)?)?)
    }
}

/// Attention and two layers, each behind a norm and beside the identity (as `torch.nn.TransformerEncoderLayer` with
/// `norm_first`).
pub(super) struct Layer {
    heads: Heads,
    norm1: LayerNorm,
    in_proj: Linear,
    out_proj: Linear,
    norm2: LayerNorm,
    linear1: Linear,
    linear2: Linear,
}

impl Layer {
    pub(super) fn new(weights: &Weights, name: &str, width: usize, heads: usize) -> Result<Self> {
        // This layer's own names join with an underscore where all others have a dot.
        let weights = &weights
            .clone()
            .with_key_map(|name| name.replace(".in_proj.", ".in_proj_"));
        let hidden = outputs(weights, &format!("{name}.linear1"))?;
        let linear =
            |part: &str, out, inputs| weights.linear(&format!("{name}.{part}"), out, inputs);
        let norm = |part: &str| weights.layer_norm(&format!("{name}.{part}"), width, EPS);
        Ok(Self {
            heads: Heads {
                heads,
                dim: width / heads,
                eps: EPS,
            },
            norm1: norm("norm1")?,
            in_proj: linear("self_attn.in_proj", 3 * width, width)?,
            out_proj: linear("self_attn.out_proj", width, width)?,
            norm2: norm("norm2")?,
            linear1: linear("linear1", hidden, width)?,
            linear2: linear("linear2", width, hidden)?,
        })
    }

    /// `[tokens, width]` → the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let qkv = self
            .in_proj
            .forward(&self.norm1.forward(x)?)?
            .unsqueeze(0)?;
        let mixed = self_attention(&qkv, None, self.heads, None, None, None)?.squeeze(0)?;
        let x = (x + self.out_proj.forward(&mixed)?)?;
        let y = self.linear1.forward(&self.norm2.forward(&x)?)?;
        let y = self.linear2.forward(&gelu(y)?)?;
        Ok((x + y)?)
    }
}

/// Phonemes to states.
pub(super) struct Encoder {
    emb: Embedding,
    convs: Vec<ConvNext>,
    attn: Layer,
    turns: usize,
    norm: LayerNorm,
}

impl Encoder {
    /// `sizes` are the symbols of the alphabet and the width.
    pub(super) fn new(
        weights: &Weights,
        name: &str,
        sizes: [usize; 2],
        turns: usize,
    ) -> Result<Self> {
        let [symbols, width] = sizes;
        let conv = |i: usize| ConvNext::new(weights, &format!("{name}.convs.{i}"), width, 5, 1);
        Ok(Self {
            emb: embedding(weights, &format!("{name}.emb"), symbols, width)?,
            convs: (0..CONVS).map(conv).collect::<Result<_>>()?,
            attn: Layer::new(weights, &format!("{name}.attn"), width, HEADS)?,
            turns,
            norm: weights.layer_norm(&format!("{name}.norm"), width, EPS)?,
        })
    }

    /// `[phonemes]` → `[phonemes, width]`
    pub(super) fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        let mut x = self.emb.forward(ids, &Device::Cpu)?;
        for conv in &self.convs {
            x = conv.forward(&x)?;
        }
        for _ in 0..self.turns {
            x = self.attn.forward(&x)?;
        }
        Ok(self.norm.forward(&x)?)
    }
}

/// Outputs of a layer, of which only its weights tell.
fn outputs(weights: &Weights, name: &str) -> Result<usize> {
    match weights.shape(&format!("{name}.bias"))?.as_slice() {
        &[outputs] => Ok(outputs),
        _ => Err(ConfigError::missing(&format!("{name}.bias, a vector"))),
    }
}
