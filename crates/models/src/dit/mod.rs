//! The diffusion transformer (Peebles & Xie 2022, DiT): patches as tokens, adaLN-zero modulation by time and
//! condition, rotary positions along two axes, norm on queries and keys, text by cross-attention or beside the image.

mod config;
mod stem;

use std::sync::Arc;

use medley_nn::train::checkpoint;
use medley_nn::vision::{
    Angles, Heads, activation, add_gated, cross_attention, modulated_layer_norm, self_attention,
};
use medley_nn::{Activation, Linear, Tensor, Weights};

pub use config::{DitConfig, TextKind};

use crate::{ConfigError, Result};
use config::TIME_WIDTH;
use stem::Stem;

/// States of a text encoder.
pub struct TextStates<'a> {
    /// `[batch, tokens, text_width]`
    pub states: &'a Tensor,
    /// Tokens of each sample that count, from the first on; 0 stands for no text.
    pub lengths: &'a [usize],
}

/// What a sample is to show.
#[derive(Default)]
pub struct Condition<'a> {
    /// Where the model reads text.
    pub text: Option<TextStates<'a>>,
    /// Where the model knows classes: one a sample; the number of classes stands for none.
    pub classes: Option<&'a [u32]>,
}

/// Where shift, scale and gate of a block come from.
enum Modulation {
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

struct Block {
    image: Stream,
    text: Option<Stream>,
    cross: Option<Cross>,
}

struct TextEmbedder {
    fc1: Linear,
    fc2: Linear,
    pool: Linear,
}

/// A diffusion transformer with its weights.
pub struct Dit {
    config: Arc<DitConfig>,
    /// Whether blocks are made again for their gradients.
    forgets: bool,
    pixels: Pixels,
    t_embedder: [Linear; 2],
    /// `[classes + 1, hidden]`
    y_embedder: Option<Tensor>,
    text_embedder: Option<TextEmbedder>,
    /// Of image and of text.
    shared: Vec<Linear>,
    blocks: Vec<Arc<Block>>,
    final_modulation: Linear,
}

/// The way between pixels and tokens.
enum Pixels {
    /// One matrix from a patch to a token, another one back.
    Patches(Linear, Linear),
    /// Convolutions.
    Stem(Stem),
}

impl Dit {
    /// Makes every block of `config` out of `weights`.
    ///
    /// # Errors
    /// [`ConfigError`] where the configuration is impossible or a weight is missing or has another shape.
    pub fn new(config: DitConfig, weights: &Weights) -> Result<Self> {
        config.check()?;
        let (c, h) = (&config, config.hidden_size);
        let linear = |name: &str, out, inputs| weights.linear(name, out, inputs);
        let text_embedder = match c.text {
            TextKind::None => None,
            _ => Some(TextEmbedder {
                fc1: linear("text_embedder.fc1", h, c.text_width)?,
                fc2: linear("text_embedder.fc2", h, h)?,
                pool: linear("pool_embedder", h, c.text_width)?,
            }),
        };
        let y_embedder = match c.classes {
            0 => None,
            n => Some(weights.tensor("y_embedder.weight", &[n + 1, h])?),
        };
        let mut shared = Vec::new();
        if c.shared_modulation {
            shared.push(linear("adaLN_modulation", 6 * h, h)?);
            if c.text == TextKind::Joint {
                shared.push(linear("text.adaLN_modulation", 6 * h, h)?);
            }
        }
        Ok(Self {
            pixels: match c.stem_channels.is_empty() {
                true => Pixels::Patches(
                    linear("x_embedder", h, c.patch_len())?,
                    linear("final.linear", c.patch_len(), h)?,
                ),
                false => Pixels::Stem(Stem::new(c, weights)?),
            },
            t_embedder: [
                linear("t_embedder.fc1", h, TIME_WIDTH)?,
                linear("t_embedder.fc2", h, h)?,
            ],
            y_embedder,
            text_embedder,
            shared,
            blocks: (0..c.layers)
                .map(|i| Ok(Arc::new(block(c, i, weights)?)))
                .collect::<Result<_>>()?,
            final_modulation: linear("final.adaLN_modulation", 2 * h, h)?,
            forgets: false,
            config: Arc::new(config),
        })
    }

    /// The same model, whose blocks keep nothing for their gradients and are run again for them: less memory in training,
    /// a third more work. Gradients then come by `medley_nn::train::backward` only.
    #[must_use]
    pub fn forgetting(self, forgets: bool) -> Self {
        Self { forgets, ..self }
    }

    /// Shape.
    pub fn config(&self) -> &DitConfig {
        &self.config
    }

    /// The prediction (velocity or noise, as trained) for noisy samples `x` `[batch, channels, height, width]` at times
    /// `t`, one a sample, on the scale 0 … 1000; of the shape of `x`.
    ///
    /// # Errors
    /// [`ConfigError::Nn`] where the patch does not divide the sides, or the condition is not the one that the model
    /// was made for.
    pub fn forward(&self, x: &Tensor, t: &[f32], condition: &Condition) -> Result<Tensor> {
        let (batch, _, height, width) = x.dims4().map_err(medley_nn::Error::from)?;
        self.fits(x)?;
        if t.len() != batch {
            return Err(misfit(format!("{} times for {batch} samples", t.len())));
        }
        let context = self.context(condition, batch)?;
        let c = self.condition(t, condition, x)?; // [batch, hidden]
        let c = activation(Activation::Silu, &c)?;
        let (mut x, skips) = match &self.pixels {
            Pixels::Patches(embedder, _) => (embedder.forward(&self.patches(x)?)?, Vec::new()),
            Pixels::Stem(stem) => stem.down(x, &c)?,
        }; // [batch, tokens, hidden]
        let shared: Vec<Tensor> = self
            .shared
            .iter()
            .map(|l| l.forward(&c))
            .collect::<medley_nn::Result<_>>()?;
        let p = self.config.patch_size;
        let joined = match (self.config.text, &context) {
            (TextKind::Joint, Some(context)) => context.dim(1)?,
            _ => 0,
        };
        let (dim, theta) = (self.config.head_dim(), self.config.rope_theta);
        let angles = Arc::new(Angles::grid(height / p, width / p, joined, dim, theta)?);
        let lengths = condition.text.as_ref().map(|text| text.lengths.into());
        let mut run = Run {
            config: self.config.clone(),
            c: c.clone(),
            shared,
            angles,
            lengths,
            text: context,
        };
        for block in &self.blocks {
            x = match self.forgets && x.track_op() {
                true => run.again(block, &x)?,
                false => run.block(block, x)?,
            };
        }
        let modulation = self.final_modulation.forward(&c)?;
        let part =
            |i: usize| modulation.narrow(1, i * self.config.hidden_size, self.config.hidden_size);
        let x = modulated_layer_norm(&x, &part(0)?, &part(1)?, self.config.norm_eps)?;
        match &self.pixels {
            Pixels::Patches(_, linear) => self.unpatched(&linear.forward(&x)?, height, width),
            Pixels::Stem(stem) => stem.up(&x, skips, &c),
        }
    }

    /// Fails for samples that are no whole patches.
    fn fits(&self, x: &Tensor) -> Result<()> {
        let (_, channels, height, width) = x.dims4()?;
        let p = self.config.patch_size;
        if channels != self.config.channels
            || height == 0
            || width == 0
            || !height.is_multiple_of(p)
            || !width.is_multiple_of(p)
        {
            return Err(misfit(format!(
                "samples of {channels} × {height} × {width}; this model takes {} channels and sides that are multiples of {p}",
                self.config.channels
            )));
        }
        Ok(())
    }

    /// `[batch, channels, height, width]` → `[batch, tokens, channels · patch²]`, each in the order of a convolution's
    /// weight.
    fn patches(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let p = self.config.patch_size;
        Ok(
            x.reshape(vec![batch, channels, height / p, p, width / p, p])?
                .permute(vec![0, 2, 4, 1, 3, 5])?
                .reshape((batch, (height / p) * (width / p), self.config.patch_len()))?,
        )
    }

    /// The way back.
    fn unpatched(&self, x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
        let (batch, p, channels) = (x.dim(0)?, self.config.patch_size, self.config.channels);
        Ok(
            x.reshape(vec![batch, height / p, width / p, channels, p, p])?
                .permute(vec![0, 3, 1, 4, 2, 5])?
                .reshape((batch, channels, height, width))?,
        )
    }

    /// Text states in the model's width.
    fn context(&self, condition: &Condition, batch: usize) -> Result<Option<Tensor>> {
        let (Some(embedder), Some(text)) = (&self.text_embedder, &condition.text) else {
            if self.text_embedder.is_some() || condition.text.is_some() {
                return Err(misfit(format!(
                    "a condition with{} text for a model with{}",
                    if condition.text.is_some() { "" } else { "out" },
                    if self.text_embedder.is_some() {
                        ""
                    } else {
                        "out"
                    }
                )));
            }
            return Ok(None);
        };
        let (rows, tokens, width) = text.states.dims3()?;
        if rows != batch
            || tokens == 0
            || width != self.config.text_width
            || text.lengths.len() != batch
            || text.lengths.iter().any(|&n| n > tokens)
        {
            return Err(misfit(format!(
                "text states of {rows} × {tokens} × {width} with lengths {:?} for {batch} samples of a model that takes width {}",
                text.lengths, self.config.text_width
            )));
        }
        let x = embedder.fc1.forward(text.states)?;
        Ok(Some(
            embedder
                .fc2
                .forward(&activation(Activation::GeluTanh, &x)?)?,
        ))
    }

    /// Time, class and the mean of the text in one vector a sample.
    fn condition(&self, t: &[f32], condition: &Condition, like: &Tensor) -> Result<Tensor> {
        let time = Tensor::from_vec(sinusoids(t), (t.len(), TIME_WIDTH), like.device())?;
        let [fc1, fc2] = &self.t_embedder;
        let mut c = fc2.forward(&activation(Activation::Silu, &fc1.forward(&time)?)?)?;
        match (&self.y_embedder, condition.classes) {
            (Some(table), Some(classes)) => {
                if classes.len() != t.len()
                    || classes.iter().any(|&y| y as usize > self.config.classes)
                {
                    return Err(misfit(format!(
                        "classes {classes:?} for {} samples of a model with {} classes",
                        t.len(),
                        self.config.classes
                    )));
                }
                let rows = table.index_select(&Tensor::new(classes, like.device())?, 0)?;
                c = (c + rows)?;
            }
            (None, None) => {}
            (Some(_), None) => return Err(misfit("no class for a model with classes".into())),
            (None, Some(_)) => return Err(misfit("a class for a model without classes".into())),
        }
        if let (Some(embedder), Some(text)) = (&self.text_embedder, &condition.text) {
            c = (c + embedder.pool.forward(&mean(text)?)?)?;
        }
        Ok(c)
    }
}

fn misfit(what: String) -> ConfigError {
    medley_nn::Error::Config(what).into()
}

/// `[cos, sin]` of the times under frequencies from 1 to 1/10000 (Vaswani et al. 2017), `[times, TIME_WIDTH]`.
fn sinusoids(t: &[f32]) -> Vec<f32> {
    let half = TIME_WIDTH / 2;
    let mut out = Vec::with_capacity(t.len() * TIME_WIDTH);
    for &t in t {
        let angle = |i: usize| f64::from(t) * (-(10000f64.ln()) * i as f64 / half as f64).exp();
        out.extend((0..half).map(|i| angle(i).cos() as f32));
        out.extend((0..half).map(|i| angle(i).sin() as f32));
    }
    out
}

/// The mean of the states that count, `[batch, text_width]`; 0 where none does.
fn mean(text: &TextStates) -> Result<Tensor> {
    let (batch, tokens, _) = text.states.dims3()?;
    let shares: Vec<f32> = text
        .lengths
        .iter()
        .flat_map(|&n| (0..tokens).map(move |i| if i < n { 1.0 / n as f32 } else { 0.0 }))
        .collect();
    let shares = Tensor::from_vec(shares, (batch, tokens, 1), text.states.device())?;
    Ok(text.states.broadcast_mul(&shares)?.sum(1)?)
}

/// One forward pass.
#[derive(Clone)]
struct Run {
    config: Arc<DitConfig>,
    /// `silu` of the condition, `[batch, hidden]`.
    c: Tensor,
    shared: Vec<Tensor>,
    angles: Arc<Angles>,
    lengths: Option<Arc<[usize]>>,
    /// Text states `[batch, text tokens, hidden]`, which joint blocks change.
    text: Option<Tensor>,
}

impl Run {
    fn heads(&self) -> Heads {
        Heads {
            heads: self.config.heads,
            dim: self.config.head_dim(),
            eps: self.config.norm_eps,
        }
    }

    /// Shift, scale and gate of the attention, then those of the feed-forward block, `[batch, hidden]` each.
    fn modulation(&self, stream: &Stream, which: usize) -> Result<Vec<Tensor>> {
        let h = self.config.hidden_size;
        let all = match &stream.modulation {
            Modulation::Own(linear) => linear.forward(&self.c)?,
            Modulation::Shared(table) => {
                let shared = self.shared[which].narrow(1, 0, table.dim(0)?)?;
                shared.broadcast_add(table)?
            }
        };
        let part = |i: usize| Ok(all.narrow(1, i * h, h)?.contiguous()?);
        (0..all.dim(1)? / h).map(part).collect()
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
    fn again(&mut self, block: &Arc<Block>, x: &Tensor) -> Result<Tensor> {
        let joint = block.text.is_some();
        let mut inputs = vec![x, &self.c];
        inputs.extend(&self.shared);
        inputs.extend(&self.text);
        let (whole, base, shared) = (block.clone(), self.clone(), self.shared.len());
        let f = move |t: &[Tensor]| -> Result<Tensor> {
            let mut run = Self {
                c: t[1].clone(),
                shared: t[2..2 + shared].to_vec(),
                text: t.get(2 + shared).cloned(),
                ..base.clone()
            };
            let x = run.block(&whole, t[0].clone())?;
            Ok(match run.text {
                Some(text) if joint => Tensor::cat(&[x, text], 1)?,
                _ => x,
            })
        };
        let made = checkpoint(&inputs, f)?;
        if !joint {
            return Ok(made);
        }
        let (images, all) = (x.dim(1)?, made.dim(1)?);
        self.text = Some(made.narrow(1, images, all - images)?.contiguous()?);
        Ok(made.narrow(1, 0, images)?.contiguous()?)
    }

    fn block(&mut self, block: &Block, x: Tensor) -> Result<Tensor> {
        let Some(after) = &block.image.after else {
            return Err(misfit("a block without its feed-forward part".into()));
        };
        let m = self.modulation(&block.image, 0)?;
        let qkv = self.project(&block.image, &x, &m)?;
        if let Some(stream) = &block.text
            && let Some(text) = self.text.take()
        {
            return self.joint(block, stream, (x, qkv, m), text);
        }
        let angles = Some(&self.angles);
        let norms = Tensor::stack(&block.image.norms, 0)?;
        let mixed = self_attention(&qkv, Some(&norms), self.heads(), angles, None, None)?;
        let (Some(cross), Some(text)) = (&block.cross, &self.text) else {
            return self.finish(after, &x, &mixed, &m);
        };
        let x = add_gated(&x, &after.proj.forward(&mixed)?, &m[2])?;
        let (q, kv) = (cross.q.forward(&x)?, cross.kv.forward(text)?);
        let norms = Tensor::stack(&cross.norms, 0)?;
        let seen = cross_attention(&q, &kv, Some(&norms), self.heads(), self.lengths.as_deref())?;
        let x = (x + cross.proj.forward(&seen)?)?;
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
        let text_m = self.modulation(stream, 1)?;
        let text_qkv = self.project(stream, &text, &text_m)?;
        let (images, texts) = (x.dim(1)?, text.dim(1)?);
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
            Some(after) => self.finish(after, &x, &mine(0, images)?, &m),
            None => Ok(x),
        }
    }
}

fn norms(c: &DitConfig, prefix: &str, weights: &Weights) -> Result<[Tensor; 2]> {
    let part = |name: &str| weights.tensor(&format!("{prefix}.{name}.weight"), &[c.head_dim()]);
    Ok([part("q_norm")?, part("k_norm")?])
}

fn stream(c: &DitConfig, prefix: &str, whole: bool, weights: &Weights) -> Result<Stream> {
    let (h, wide) = (c.hidden_size, c.intermediate_size);
    let linear = |name: &str, out, inputs| weights.linear(&format!("{prefix}.{name}"), out, inputs);
    let parts = if whole { 6 } else { 2 };
    let modulation = if c.shared_modulation {
        let name = format!("{prefix}.modulation_table");
        Modulation::Shared(weights.tensor(&name, &[parts * h])?)
    } else {
        Modulation::Own(linear("adaLN_modulation", parts * h, h)?)
    };
    let after = match whole {
        true => Some(After {
            proj: linear("attn.proj", h, h)?,
            fc1: linear("mlp.fc1", wide, h)?,
            fc2: linear("mlp.fc2", h, wide)?,
        }),
        false => None,
    };
    Ok(Stream {
        modulation,
        qkv: linear("attn.qkv", 3 * h, h)?,
        norms: norms(c, &format!("{prefix}.attn"), weights)?,
        after,
    })
}

fn block(c: &DitConfig, index: usize, weights: &Weights) -> Result<Block> {
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
    })
}
