//! The diffusion transformer (Peebles & Xie 2022, DiT): patches as tokens, adaLN-zero modulation by time and
//! condition, rotary positions along two axes, norm on queries and keys, text by cross-attention or beside the image; and
//! with time, for clips.

mod block;
mod config;
mod stem;
mod time;

use std::sync::Arc;

use medley_nn::vision::{Angles, activation, modulated_layer_norm};
use medley_nn::{Activation, Linear, Tensor, Weights};

pub use config::{DitConfig, TextKind, TimeKind};

use crate::{ConfigError, Result};
use block::{Block, Run, block};
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
    /// Of image, of text and along frames; as many as there are.
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
            if c.time == TimeKind::Factorised {
                shared.push(linear("time.adaLN_modulation", 3 * h, h)?);
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

    /// Where its weights are, and samples have to be.
    pub fn device(&self) -> &medley_nn::Device {
        self.t_embedder[0].device()
    }

    /// The prediction (velocity or noise, as trained) for noisy samples `x` `[batch, channels, height, width]` at times
    /// `t`, one a sample, on the scale 0 … 1000; of the shape of `x`. A model of clips takes them as clips of one frame.
    ///
    /// # Errors
    /// [`ConfigError::Nn`] where the patch does not divide the sides, or the condition is not the one that the model
    /// was made for.
    pub fn forward(&self, x: &Tensor, t: &[f32], condition: &Condition) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let clips = x.reshape((batch, channels, 1, height, width))?;
        let made = self.forward_clips(&clips, t, &[], condition)?;
        Ok(made.reshape(x.shape())?)
    }

    /// The same for clips `x` `[batch, channels, frames, height, width]`. `known`, one for each frame of each sample or
    /// none at all, says which frames are given without noise: the model is told the time 0 of them, and what it predicts
    /// there means nothing.
    ///
    /// # Errors
    /// As [`Dit::forward`]; a model of pictures takes clips of one frame only.
    pub fn forward_clips(
        &self,
        x: &Tensor,
        t: &[f32],
        known: &[bool],
        condition: &Condition,
    ) -> Result<Tensor> {
        let (batch, _, frames, height, width) = x.dims5()?;
        self.fits(x, t, known)?;
        let (p, together) = (self.config.patch_size, self.config.frame_patch);
        let (rows, [h, w]) = (frames / together, [height / p, width / p]);
        let context = self.context(condition, batch)?;
        let silu = |c: &Tensor| activation(Activation::Silu, c);
        let of_samples = silu(&self.condition(t, condition, x)?)?; // [batch, hidden]
        // [batch · rows, hidden]
        let c = match rows {
            1 if known.is_empty() => of_samples.clone(),
            _ => silu(&self.condition(&of_rows(t, known, together, rows), condition, x)?)?,
        };
        let (mut x, skips) = match &self.pixels {
            Pixels::Patches(embedder, _) => (embedder.forward(&self.patches(x)?)?, Vec::new()),
            Pixels::Stem(stem) => stem.down(&frames_first(x)?, &c, frames)?,
        }; // [batch · rows, tokens, hidden]
        let mut run = Run {
            shared: self.shared(&c, &of_samples)?,
            c: [c.clone(), of_samples],
            frames: rows,
            angles: Arc::new(self.angles([rows, h, w], context.as_ref())?),
            time: (self.config.time == TimeKind::Factorised && rows > 1)
                .then(|| Arc::new(time::line(&self.config, rows))),
            lengths: condition.text.as_ref().map(|text| text.lengths.into()),
            text: context,
            config: self.config.clone(),
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
            Pixels::Patches(_, linear) => {
                self.unpatched(&linear.forward(&x)?, [batch, frames, height, width])
            }
            Pixels::Stem(stem) => {
                let made = stem.up(&x, skips, &c, frames)?;
                let dims = [batch, frames, self.config.channels, height, width];
                Ok(made.reshape(&dims[..])?.transpose(1, 2)?.contiguous()?)
            }
        }
    }

    /// Modulation that all blocks share.
    fn shared(&self, rows: &Tensor, samples: &Tensor) -> Result<Vec<Tensor>> {
        let one = |(i, linear): (usize, &Linear)| {
            let of_text = i == 1 && self.config.text == TextKind::Joint;
            Ok(linear.forward(if of_text { samples } else { rows })?)
        };
        self.shared.iter().enumerate().map(one).collect()
    }

    /// Rotations for attention over the tokens of a frame, or of a clip where all look at all.
    fn angles(&self, size: [usize; 3], context: Option<&Tensor>) -> Result<Angles> {
        let joined = match (self.config.text, context) {
            (TextKind::Joint, Some(context)) => context.dim(1)?,
            _ => 0,
        };
        let c = &self.config;
        Ok(match c.time {
            TimeKind::Full => time::space_time(c, size, joined),
            _ => Angles::grid(size[1], size[2], joined, c.head_dim(), c.rope_theta)?,
        })
    }

    /// Fails for samples that are no whole patches, and times that are not theirs.
    fn fits(&self, x: &Tensor, t: &[f32], known: &[bool]) -> Result<()> {
        let (batch, channels, frames, height, width) = x.dims5()?;
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
        let together = self.config.frame_patch;
        let still = self.config.time == TimeKind::None && frames != 1;
        if still || frames == 0 || !frames.is_multiple_of(together) {
            return Err(misfit(format!(
                "clips of {frames} frames; this model takes {}",
                match self.config.time {
                    TimeKind::None => "pictures".to_owned(),
                    _ => format!("multiples of {together}"),
                }
            )));
        }
        if t.len() != batch {
            return Err(misfit(format!("{} times for {batch} samples", t.len())));
        }
        if !known.is_empty() && known.len() != batch * frames {
            let told = known.len();
            return Err(misfit(format!(
                "{told} frames known or not in {batch} clips of {frames}"
            )));
        }
        Ok(())
    }

    /// `[batch, channels, frames, height, width]` → `[batch · rows, tokens, patch_len]`, each in the order of a
    /// convolution's weight.
    fn patches(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, frames, height, width) = x.dims5()?;
        let (p, t) = (self.config.patch_size, self.config.frame_patch);
        let (f, h, w) = (frames / t, height / p, width / p);
        Ok(x.reshape(vec![batch, channels, f, t, h, p, w, p])?
            .permute(vec![0, 2, 4, 6, 1, 3, 5, 7])?
            .reshape((batch * f, h * w, self.config.patch_len()))?)
    }

    /// The way back to `[batch, channels, frames, height, width]`.
    fn unpatched(&self, x: &Tensor, dims: [usize; 4]) -> Result<Tensor> {
        let [batch, frames, height, width] = dims;
        let (p, t, channels) = (
            self.config.patch_size,
            self.config.frame_patch,
            self.config.channels,
        );
        Ok(x.reshape(vec![
            batch,
            frames / t,
            height / p,
            width / p,
            channels,
            t,
            p,
            p,
        ])?
        .permute(vec![0, 4, 1, 5, 2, 6, 3, 7])?
        .reshape((batch, channels, frames, height, width))?)
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

    /// Time, class and the mean of the text in one vector for each time, of which every sample has as many, `[times,
    /// hidden]`.
    fn condition(&self, t: &[f32], condition: &Condition, like: &Tensor) -> Result<Tensor> {
        let time = Tensor::from_vec(sinusoids(t), (t.len(), TIME_WIDTH), like.device())?;
        let [fc1, fc2] = &self.t_embedder;
        let mut c = fc2.forward(&activation(Activation::Silu, &fc1.forward(&time)?)?)?;
        let (batch, hidden) = (like.dim(0)?, self.config.hidden_size);
        let add = |c: Tensor, rows: &Tensor| -> Result<Tensor> {
            if t.len() == batch {
                return Ok((c + rows)?);
            }
            let each = c.reshape((batch, t.len() / batch, hidden))?;
            let sum = each.broadcast_add(&rows.unsqueeze(1)?)?;
            Ok(sum.reshape((t.len(), hidden))?)
        };
        match (&self.y_embedder, condition.classes) {
            (Some(table), Some(classes)) => {
                if classes.len() != batch
                    || classes.iter().any(|&y| y as usize > self.config.classes)
                {
                    return Err(misfit(format!(
                        "classes {classes:?} for {batch} samples of a model with {} classes",
                        self.config.classes
                    )));
                }
                let rows = table.index_select(&Tensor::new(classes, like.device())?, 0)?;
                c = add(c, &rows)?;
            }
            (None, None) => {}
            (Some(_), None) => return Err(misfit("no class for a model with classes".into())),
            (None, Some(_)) => return Err(misfit("a class for a model without classes".into())),
        }
        if let (Some(embedder), Some(text)) = (&self.text_embedder, &condition.text) {
            c = add(c, &embedder.pool.forward(&mean(text)?)?)?;
        }
        Ok(c)
    }
}

/// The time of each row of frames: 0 where all of them are known.
fn of_rows(t: &[f32], known: &[bool], together: usize, rows: usize) -> Vec<f32> {
    let clean = |row: usize| {
        let frames = known.get(row * together..(row + 1) * together);
        frames.is_some_and(|frames| frames.iter().all(|known| *known))
    };
    (0..t.len() * rows)
        .map(|row| if clean(row) { 0.0 } else { t[row / rows] })
        .collect()
}

/// `[batch, channels, frames, height, width]` → `[batch · frames, channels, height, width]`
fn frames_first(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, frames, height, width) = x.dims5()?;
    let dims = (batch * frames, channels, height, width);
    Ok(x.transpose(1, 2)?.reshape(dims)?)
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
