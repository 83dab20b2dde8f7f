//! The blocks of a diffusion transformer, and a forward pass through them.

use std::sync::Arc;

use medley_nn::train::checkpoint;
use medley_nn::vision::{
    Angles, Heads, activation, add_gated, cross_attention, modulated_layer_norm, self_attention,
};
use medley_nn::{Activation, Linear, Tensor, Weights};

use super::config::{DitConfig, TextKind, TimeKind};
use super::misfit;
use super::time::TimeMixing;
use crate::Result;

/// Where shift, scale and gate of a block come from.
pub(super) enum Modulation {
    /// `silu(condition)` through a matrix.
    Own(Linear),
    /// Those of all blocks plus a table.
    Shared(Tensor),
}

/// What follows the attention.
struct After {
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
}

/// The weights that tokens of one kind meet in a block.
struct Stream {
    modulation: Modulation,
    qkv: Linear,
    /// `[head_dim]` each: weights of the norms of queries and keys.
    norms: [Tensor; 2],
    after: Option<After>,
}

struct Cross {
    q: Linear,
    kv: Linear,
    norms: [Tensor; 2],
    proj: Linear,
}

pub(super) struct Block {
    image: Stream,
    text: Option<Stream>,
    cross: Option<Cross>,
    time: Option<TimeMixing>,
}

/// One forward pass.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) config: Arc<DitConfig>,
    /// Rows of tokens that are one sample: its frames.
    pub(super) frames: usize,
    /// `silu` of the condition, of each row `[rows, hidden]` and of each sample `[batch, hidden]`.
    pub(super) c: [Tensor; 2],
    /// Modulation of rows, of text, along frames; as many as the model has.
    pub(super) shared: Vec<Tensor>,
    pub(super) angles: Arc<Angles>,
    /// Rotations along frames alone.
    pub(super) time: Option<Arc<Angles>>,
    pub(super) lengths: Option<Arc<[usize]>>,
    /// Text states `[batch, text tokens, hidden]`, which joint blocks change.
    pub(super) text: Option<Tensor>,
}

impl Run {
    fn heads(&self) -> Heads {
        Heads {
            heads: self.config.heads,
            dim: self.config.head_dim(),
            eps: self.config.norm_eps,
        }
    }

    /// The parts of a modulation, `[rows, hidden]` each: shift, scale and gate of the attention, then those of the
    /// feed-forward block. Where it belongs to text, rows are samples.
    fn modulation(&self, from: &Modulation, which: usize, of_text: bool) -> Result<Vec<Tensor>> {
        let h = self.config.hidden_size;
        let all = match from {
            Modulation::Own(linear) => linear.forward(&self.c[usize::from(of_text)])?,
            Modulation::Shared(table) => {
                let shared = self.shared[which].narrow(1, 0, table.dim(0)?)?;
                shared.broadcast_add(table)?
            }
        };
        let part = |i: usize| Ok(all.narrow(1, i * h, h)?.contiguous()?);
        (0..all.dim(1)? / h).map(part).collect()
    }

    /// Rows of a sample one behind the other, `[batch, frames · tokens, width]`.
    fn whole(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, tokens, width) = x.dims3()?;
        Ok(x.reshape((rows / self.frames, self.frames * tokens, width))?)
    }

    /// The way back.
    fn rows(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        Ok(x.reshape((batch * self.frames, tokens / self.frames, width))?)
    }

    /// Queries, keys and values of normed tokens.
    fn project(&self, stream: &Stream, x: &Tensor, m: &[Tensor]) -> Result<Tensor> {
        let x = modulated_layer_norm(x, &m[0], &m[1], self.config.norm_eps)?;
        Ok(stream.qkv.forward(&x)?)
    }

    /// Adds what the attention gave, and the feed-forward block.
    fn finish(&self, after: &After, x: &Tensor, mixed: &Tensor, m: &[Tensor]) -> Result<Tensor> {
        let x = add_gated(x, &after.proj.forward(mixed)?, &m[2])?;
        self.feed_forward(after, x, m)
    }

    fn feed_forward(&self, after: &After, x: Tensor, m: &[Tensor]) -> Result<Tensor> {
        let y = modulated_layer_norm(&x, &m[3], &m[4], self.config.norm_eps)?;
        let y = activation(Activation::GeluTanh, &after.fc1.forward(&y)?)?;
        Ok(add_gated(&x, &after.fc2.forward(&y)?, &m[5])?)
    }

    /// [`Run::block`] that keeps nothing for its gradients.
    pub(super) fn again(&mut self, block: &Arc<Block>, x: &Tensor) -> Result<Tensor> {
        let joint = block.text.is_some();
        // Text alone reads the second condition; an input that is not read would have no gradient.
        let own = 1 + usize::from(joint);
        let mut inputs = vec![x];
        inputs.extend(&self.c[..own]);
        inputs.extend(&self.shared);
        inputs.extend(&self.text);
        let (whole, base, shared) = (block.clone(), self.clone(), self.shared.len());
        let f = move |t: &[Tensor]| -> Result<Tensor> {
            let mut run = Self {
                c: [t[1].clone(), t[own].clone()],
                shared: t[1 + own..1 + own + shared].to_vec(),
                text: t.get(1 + own + shared).cloned(),
                ..base.clone()
            };
            let x = run.block(&whole, t[0].clone())?;
            Ok(match run.text {
                Some(ref text) if joint => Tensor::cat(&[&run.whole(&x)?, text], 1)?,
                _ => x,
            })
        };
        let made = checkpoint(&inputs, f)?;
        if !joint {
            return Ok(made);
        }
        let (images, all) = (x.dim(1)? * self.frames, made.dim(1)?);
        self.text = Some(made.narrow(1, images, all - images)?.contiguous()?);
        self.rows(&made.narrow(1, 0, images)?.contiguous()?)
    }

    pub(super) fn block(&mut self, block: &Block, x: Tensor) -> Result<Tensor> {
        let Some(after) = &block.image.after else {
            return Err(misfit("a block without its feed-forward part".into()));
        };
        let m = self.modulation(&block.image.modulation, 0, false)?;
        let qkv = self.project(&block.image, &x, &m)?;
        if let Some(stream) = &block.text
            && let Some(text) = self.text.take()
        {
            return self.joint(block, stream, (x, qkv, m), text);
        }
        let angles = Some(&self.angles);
        let norms = Tensor::stack(&block.image.norms, 0)?;
        let mixed = match self.config.time {
            TimeKind::Full => {
                let qkv = self.whole(&qkv)?;
                let mixed = self_attention(&qkv, Some(&norms), self.heads(), angles, None, None)?;
                self.rows(&mixed)?
            }
            _ => self_attention(&qkv, Some(&norms), self.heads(), angles, None, None)?,
        };
        if block.cross.is_none() && block.time.is_none() {
            return self.finish(after, &x, &mixed, &m);
        }
        let mut x = add_gated(&x, &after.proj.forward(&mixed)?, &m[2])?;
        if let (Some(mixing), Some(angles)) = (&block.time, &self.time) {
            let m = self.modulation(&mixing.modulation, self.shared.len().max(1) - 1, false)?;
            x = mixing.forward(&x, &m, (self.heads(), angles), self.frames)?;
        }
        if let (Some(cross), Some(text)) = (&block.cross, &self.text) {
            let (q, kv) = (self.whole(&cross.q.forward(&x)?)?, cross.kv.forward(text)?);
            let norms = Tensor::stack(&cross.norms, 0)?;
            let lengths = self.lengths.as_deref();
            let seen = cross_attention(&q, &kv, Some(&norms), self.heads(), lengths)?;
            x = (x + self.rows(&cross.proj.forward(&seen)?)?)?;
        }
        self.feed_forward(after, x, &m)
    }

    /// Image tokens first, then text tokens, of which the last may not count.
    fn joint(
        &mut self,
        block: &Block,
        stream: &Stream,
        (x, qkv, m): (Tensor, Tensor, Vec<Tensor>),
        text: Tensor,
    ) -> Result<Tensor> {
        let text_m = self.modulation(&stream.modulation, 1, true)?;
        let text_qkv = self.project(stream, &text, &text_m)?;
        let qkv = self.whole(&qkv)?;
        let (images, texts) = (qkv.dim(1)?, text.dim(1)?);
        let norms = [&block.image.norms, &stream.norms].map(|n| n.each_ref());
        let norms = Tensor::stack(norms.as_flattened(), 0)?;
        let lengths: Option<Vec<usize>> = self
            .lengths
            .as_deref()
            .map(|lengths| lengths.iter().map(|n| images + n).collect());
        let mixed = self_attention(
            &Tensor::cat(&[qkv, text_qkv], 1)?,
            Some(&norms),
            self.heads(),
            Some(&self.angles),
            Some(images),
            lengths.as_deref(),
        )?;
        let mine = |first: usize, count: usize| mixed.narrow(1, first, count)?.contiguous();
        self.text = match &stream.after {
            Some(after) => Some(self.finish(after, &text, &mine(images, texts)?, &text_m)?),
            None => Some(text),
        };
        match &block.image.after {
            Some(after) => self.finish(after, &x, &self.rows(&mine(0, images)?)?, &m),
            None => Ok(x),
        }
    }
}

pub(super) fn norms(c: &DitConfig, prefix: &str, weights: &Weights) -> Result<[Tensor; 2]> {
    let part = |name: &str| weights.tensor(&format!("{prefix}.{name}.weight"), &[c.head_dim()]);
    Ok([part("q_norm")?, part("k_norm")?])
}

impl Modulation {
    /// So many parts of it.
    pub(super) fn new(
        c: &DitConfig,
        weights: &Weights,
        prefix: &str,
        parts: usize,
    ) -> Result<Self> {
        let h = c.hidden_size;
        Ok(if c.shared_modulation {
            let name = format!("{prefix}.modulation_table");
            Self::Shared(weights.tensor(&name, &[parts * h])?)
        } else {
            let name = format!("{prefix}.adaLN_modulation");
            Self::Own(weights.linear(&name, parts * h, h)?)
        })
    }
}

fn stream(c: &DitConfig, prefix: &str, whole: bool, weights: &Weights) -> Result<Stream> {
    let (h, wide) = (c.hidden_size, c.intermediate_size);
    let linear = |name: &str, out, inputs| weights.linear(&format!("{prefix}.{name}"), out, inputs);
    let after = match whole {
        true => Some(After {
            proj: linear("attn.proj", h, h)?,
            fc1: linear("mlp.fc1", wide, h)?,
            fc2: linear("mlp.fc2", h, wide)?,
        }),
        false => None,
    };
    Ok(Stream {
        modulation: Modulation::new(c, weights, prefix, if whole { 6 } else { 2 })?,
        qkv: linear("attn.qkv", 3 * h, h)?,
        norms: norms(c, &format!("{prefix}.attn"), weights)?,
        after,
    })
}

pub(super) fn block(c: &DitConfig, index: usize, weights: &Weights) -> Result<Block> {
    let (h, prefix) = (c.hidden_size, format!("blocks.{index}"));
    let text = match c.text {
        TextKind::Joint => Some(stream(
            c,
            &format!("{prefix}.text"),
            index + 1 < c.layers,
            weights,
        )?),
        _ => None,
    };
    let cross = match c.text {
        TextKind::Cross => {
            let linear =
                |name: &str, out| weights.linear(&format!("{prefix}.cross.{name}"), out, h);
            Some(Cross {
                q: linear("q", h)?,
                kv: linear("kv", 2 * h)?,
                norms: norms(c, &format!("{prefix}.cross"), weights)?,
                proj: linear("proj", h)?,
            })
        }
        _ => None,
    };
    Ok(Block {
        image: stream(c, &prefix, true, weights)?,
        text,
        cross,
        time: match c.time {
            TimeKind::Factorised => Some(TimeMixing::new(c, weights, &format!("{prefix}.time"))?),
            _ => None,
        },
    })
}
