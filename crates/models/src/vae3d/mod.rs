//! The causal variational autoencoder of clips, in the layout and with the names of diffusers' `AutoencoderKLWan` (Wan 2.1,
//! [Wan et al. 2025](https://arxiv.org/abs/2503.20314)), so that published checkpoints load.
//!
//! Convolutions look at earlier frames only, and norms at one place of one frame. So a clip is decoded in chunks of time,
//! each layer keeping the last frames that it saw, and, without attention, in tiles of space with margins, as if it were
//! decoded whole. The first frame stands alone: one frame of latents is a picture, and each further one stands for
//! [`Vae3dConfig::time_factor`] frames.

mod blocks;
mod config;
mod convolution;

use medley_nn::{Tensor, Weights};

use blocks::{Middle, Normed, Residual};
use config::Step;
use convolution::{CausalConv, Down, Past, Up};

pub use config::Vae3dConfig;

use crate::Result;
use crate::parameters::{List, Parameter};
use crate::vae::Posterior;

/// An autoencoder of clips with its weights.
pub struct Vae3d {
    config: Vae3dConfig,
    encoder: Half,
    decoder: Half,
    quant_conv: CausalConv,
    post_quant_conv: CausalConv,
}

enum Layer {
    Residual(Residual),
    Down(Down),
    Up(Up),
}

/// One half of the autoencoder.
struct Half {
    conv_in: CausalConv,
    layers: Vec<Layer>,
    middle: Middle,
    /// Whether the middle comes before the layers.
    middle_first: bool,
    norm_out: Normed,
    conv_out: CausalConv,
}

/// Where a half's parameters are and how many channels it has.
struct Plan {
    name: &'static str,
    steps: Vec<(String, Step)>,
    /// Of the first convolution and of the last.
    ends: [[usize; 2]; 2],
    middle: usize,
}

impl Plan {
    fn new(c: &Vae3dConfig, encoder: bool) -> Self {
        let widths = c.widths();
        let middle = widths[widths.len() - 1];
        match encoder {
            true => Self {
                name: "encoder",
                steps: c.downwards(),
                ends: [[c.in_channels, c.base_dim], [middle, 2 * c.z_dim]],
                middle,
            },
            false => Self {
                name: "decoder",
                steps: c.upwards(),
                ends: [[c.z_dim, middle], [widths[0], c.out_channels]],
                middle,
            },
        }
    }

    fn parameters(&self, c: &Vae3dConfig, list: &mut List) {
        let name = |part: &str| format!("{}.{part}", self.name);
        CausalConv::parameters(list, &name("conv_in"), self.ends[0], [3; 2]);
        for (name, step) in &self.steps {
            match *step {
                Step::Residual(sizes) => Residual::parameters(list, name, sizes),
                Step::Down { width, time } => Down::parameters(list, name, width, time),
                Step::Up { width, time } => Up::parameters(list, name, width, time),
            }
        }
        Middle::parameters(c, list, &name("mid_block"), self.middle);
        Normed::parameters(list, &name("norm_out"), self.ends[1][0]);
        CausalConv::parameters(list, &name("conv_out"), self.ends[1], [3; 2]);
    }
}

fn parameters(c: &Vae3dConfig) -> Vec<Parameter> {
    let mut list = List::default();
    for encoder in [true, false] {
        Plan::new(c, encoder).parameters(c, &mut list);
    }
    CausalConv::parameters(&mut list, "quant_conv", [2 * c.z_dim; 2], [1; 2]);
    CausalConv::parameters(&mut list, "post_quant_conv", [c.z_dim; 2], [1; 2]);
    list.0
}

impl Half {
    fn new(c: &Vae3dConfig, weights: &Weights, encoder: bool) -> Result<Self> {
        let plan = Plan::new(c, encoder);
        let name = |part: &str| format!("{}.{part}", plan.name);
        let layer = |(name, step): &(String, Step)| -> Result<Layer> {
            Ok(match *step {
                Step::Residual(sizes) => Layer::Residual(Residual::new(weights, name, sizes)?),
                Step::Down { width, time } => Layer::Down(Down::new(weights, name, width, time)?),
                Step::Up { width, time } => Layer::Up(Up::new(weights, name, width, time)?),
            })
        };
        let conv = |part: &str, sizes| CausalConv::new(weights, &name(part), sizes, [3; 2]);
        Ok(Self {
            conv_in: conv("conv_in", plan.ends[0])?,
            layers: plan.steps.iter().map(layer).collect::<Result<_>>()?,
            middle: Middle::new(c, weights, &name("mid_block"), plan.middle)?,
            middle_first: !encoder,
            norm_out: Normed::new(weights, &name("norm_out"), plan.ends[1][0])?,
            conv_out: conv("conv_out", plan.ends[1])?,
        })
    }

    fn forward(&self, x: &Tensor, past: &mut Past) -> Result<Tensor> {
        past.rewind();
        let mut x = self.conv_in.forward(x, past)?;
        if self.middle_first {
            x = self.middle.forward(&x, past)?;
        }
        for layer in &self.layers {
            x = match layer {
                Layer::Residual(block) => block.forward(&x, past)?,
                Layer::Down(down) => down.forward(&x, past)?,
                Layer::Up(up) => up.forward(&x, past)?,
            };
        }
        if !self.middle_first {
            x = self.middle.forward(&x, past)?;
        }
        self.conv_out.forward(&self.norm_out.forward(&x)?, past)
    }
}

/// Clips with channels first, as samplers have them, `[b, c, t, h, w]` → `[b, t, h, w, c]`.
fn channels_last(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 2, 3, 4, 1))?.contiguous()?)
}

/// `[b, t, h, w, c]` → `[b, c, t, h, w]`.
fn channels_first(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 4, 1, 2, 3))?.contiguous()?)
}

fn refused<T>(problem: String) -> Result<T> {
    Err(medley_nn::Error::Config(problem).into())
}

impl Vae3d {
    /// Makes every layer of `config` out of `weights`.
    ///
    /// # Errors
    /// [`ConfigError`](crate::ConfigError) where a weight is missing or has another shape.
    pub fn new(config: Vae3dConfig, weights: &Weights) -> Result<Self> {
        let conv = |name: &str, width: usize| CausalConv::new(weights, name, [width; 2], [1; 2]);
        Ok(Self {
            encoder: Half::new(&config, weights, true)?,
            decoder: Half::new(&config, weights, false)?,
            quant_conv: conv("quant_conv", 2 * config.z_dim)?,
            post_quant_conv: conv("post_quant_conv", config.z_dim)?,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &Vae3dConfig {
        &self.config
    }

    /// Clips `[batch, channels, frames, height, width]`, −1 … 1, to latents
    /// `[batch, z_dim, 1 + (frames − 1) / time factor, height / factor, width / factor]`.
    ///
    /// # Errors
    /// [`ConfigError::Nn`](crate::ConfigError::Nn) where the sides are no multiples of the factor, or the frames after the
    /// first no multiple of the time factor.
    pub fn encode(&self, x: &Tensor) -> Result<Posterior> {
        let (_, channels, frames, height, width) = x.dims5()?;
        let c = &self.config;
        let (factor, along) = (c.factor(), c.time_factor());
        let fits = |side: usize| side > 0 && side.is_multiple_of(factor);
        if channels != c.in_channels || !fits(height) || !fits(width) {
            return refused(format!(
                "frames of {channels} × {height} × {width}; this encoder takes {} channels and sides that are multiples of {factor}",
                c.in_channels
            ));
        }
        if c.latent_frames(frames).is_none() {
            let below = c.frames(frames.saturating_sub(1) / along + 1);
            return refused(format!(
                "clips of {frames} frames; this encoder takes one and multiples of {along} after it, the nearest being {below} and {}",
                below + along
            ));
        }
        let x = self
            .encoder
            .forward(&channels_last(x)?, &mut Past::default())?;
        let x = self.quant_conv.forward(&x, &mut Past::default())?;
        let x = channels_first(&x)?;
        Ok(Posterior {
            mean: x.narrow(1, 0, c.z_dim)?,
            log_variance: x.narrow(1, c.z_dim, c.z_dim)?.clamp(-30f32, 20f32)?,
        })
    }

    /// Latents `[batch, z_dim, t, height, width]` to clips of 1 + (t − 1) · time factor frames, about −1 … 1, with sides
    /// larger by [`Vae3dConfig::factor`].
    ///
    /// # Errors
    /// [`ConfigError::Nn`](crate::ConfigError::Nn) where the latents have other channels or no frames.
    pub fn decode(&self, z: &Tensor) -> Result<Tensor> {
        self.check_latents(z)?;
        channels_first(&self.decode_frames(z, &mut Past::default())?)
    }

    /// What [`decode`](Self::decode) gives, with no more than `frames_at_once` frames of latents and squares of `tile`
    /// latents a side at once, margins of [`Vae3dConfig::margin`] not counted; `None` takes all of space. Takes less memory,
    /// and for tiles more time, since margins are decoded again.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and where one of them is 0 or attention forbids tiles.
    pub fn decode_chunked(
        &self,
        z: &Tensor,
        frames_at_once: usize,
        tile: Option<usize>,
    ) -> Result<Tensor> {
        let [height, width] = self.check_latents(z)?;
        let side = tile.unwrap_or(height.max(width));
        if frames_at_once == 0 || side == 0 {
            return refused("chunks and tiles must have at least one latent".into());
        }
        if self.config.attention && side < height.max(width) {
            return refused(
                "this decoder's attention looks at whole frames, so that tiles would change them"
                    .into(),
            );
        }
        let mut rows = Vec::with_capacity(height.div_ceil(side));
        for top in (0..height).step_by(side) {
            let rows_of = self.tile(height, top, side);
            let band = z.narrow(3, rows_of.outer, rows_of.len)?;
            let mut tiles = Vec::with_capacity(width.div_ceil(side));
            for left in (0..width).step_by(side) {
                let columns = self.tile(width, left, side);
                let z = band.narrow(4, columns.outer, columns.len)?;
                tiles.push(self.decode_tile(&z, frames_at_once, [&rows_of, &columns])?);
            }
            rows.push(Tensor::cat(&tiles, 3)?);
        }
        channels_first(&Tensor::cat(&rows, 2)?)
    }

    /// One tile with all its frames, channels last, its margins cut off.
    fn decode_tile(&self, z: &Tensor, at_once: usize, cut: [&Span; 2]) -> Result<Tensor> {
        let frames = z.dim(2)?;
        let mut past = Past::default();
        let mut chunks = Vec::with_capacity(frames.div_ceil(at_once));
        for from in (0..frames).step_by(at_once) {
            let chunk = z.narrow(2, from, at_once.min(frames - from))?;
            let decoded = self.decode_frames(&chunk, &mut past)?;
            let [rows, columns] = cut;
            // In memory of its own, so that the margins can go.
            let kept = decoded
                .narrow(2, rows.skip, rows.keep)?
                .narrow(3, columns.skip, columns.keep)?
                .force_contiguous()?;
            chunks.push(kept);
        }
        Ok(Tensor::cat(&chunks, 1)?)
    }

    /// A tile along one side of `size` latents.
    fn tile(&self, size: usize, from: usize, side: usize) -> Span {
        let (margin, factor) = (self.config.margin(), self.config.factor());
        let to = (from + side).min(size);
        let outer = from.saturating_sub(margin);
        Span {
            outer,
            len: (to + margin).min(size) - outer,
            skip: (from - outer) * factor,
            keep: (to - from) * factor,
        }
    }

    /// Latents with channels first to frames with channels last.
    fn decode_frames(&self, z: &Tensor, past: &mut Past) -> Result<Tensor> {
        let x = channels_last(z)?;
        // One frame and one place at a time, so it keeps nothing.
        let x = self.post_quant_conv.forward(&x, &mut Past::default())?;
        self.decoder.forward(&x, past)
    }

    /// Height and width of latents that can be decoded.
    fn check_latents(&self, z: &Tensor) -> Result<[usize; 2]> {
        let expected = self.config.z_dim;
        match *z.dims() {
            [_, channels, frames, height, width]
                if channels == expected && frames.min(height).min(width) > 0 =>
            {
                Ok([height, width])
            }
            ref other => refused(format!(
                "latents of shape {other:?}; this decoder takes batch × {expected} channels × frames × height × width"
            )),
        }
    }

    /// Latents as diffusion sees them: each channel around 0 with a deviation of 1.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn scaled(&self, z: &Tensor) -> Result<Tensor> {
        let [mean, deviation] = self.statistics(z)?;
        Ok(z.broadcast_sub(&mean)?.broadcast_div(&deviation)?)
    }

    /// The way back of [`Vae3d::scaled`].
    ///
    /// # Errors
    /// Where the device fails.
    pub fn unscaled(&self, z: &Tensor) -> Result<Tensor> {
        let [mean, deviation] = self.statistics(z)?;
        Ok(z.broadcast_mul(&deviation)?.broadcast_add(&mean)?)
    }

    fn statistics(&self, z: &Tensor) -> Result<[Tensor; 2]> {
        let c = &self.config;
        let of = |values: &[f32]| -> Result<Tensor> {
            Ok(Tensor::from_slice(
                values,
                (1, values.len(), 1, 1, 1),
                z.device(),
            )?)
        };
        Ok([of(&c.latents_mean)?, of(&c.latents_std)?])
    }
}

/// What of one side a tile takes and gives.
struct Span {
    /// First latent, margin included.
    outer: usize,
    /// Latents, margins included.
    len: usize,
    /// Pixels of the margin before.
    skip: usize,
    /// Pixels that are its own.
    keep: usize,
}
