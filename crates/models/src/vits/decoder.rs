//! Latents to samples: HiFi-GAN's generator (Kong et al., arXiv:2010.05646), with its blocks of the first and of the
//! second kind.

use medley_kernels::{Activation, activate, pool};
use medley_nn::Weights;

use super::blocks::{Conv, Upsample, add, add_row};
use crate::{ConfigError, Result};

/// Slope of the rectifiers below 0, and of the last one.
const SLOPE: f32 = 0.1;
const LAST_SLOPE: f32 = 0.01;

pub(super) struct Decoder {
    conv_pre: Conv,
    cond: Option<Conv>,
    stages: Vec<Stage>,
    conv_post: Conv,
}

struct Stage {
    up: Upsample,
    blocks: Vec<Block>,
}

/// Most samples of a frame: what a step of the strides together makes of it.
const MOST_HOP: usize = 4096;

/// Convolutions beside the identity, one or two at a time.
struct Block {
    convs: Vec<(Conv, Option<Conv>)>,
}

impl Decoder {
    /// `sizes` are the widths of the latents and of a speaker's vector; `shape` gives the dilation and the stride of a
    /// convolution.
    pub(super) fn new(
        weights: &Weights,
        sizes: [usize; 2],
        shape: &dyn Fn(&str) -> [usize; 2],
    ) -> Result<Self> {
        let there = |i: &usize| weights.has(&format!("dec.ups.{i}.weight"));
        let ups = (0..16).take_while(there).count();
        let block =
            |i: &usize| weights.has(&format!("dec.resblocks.{i}.{}.weight", kind(weights, *i)));
        let blocks = (0..64).take_while(block).count();
        let per = blocks / ups.max(1);
        let conv_pre = Conv::new(weights, "dec.conv_pre", (sizes[0], None), 1)?;
        let first = conv_pre.outputs();
        let mut hop = 1usize;
        let mut width = first;
        let mut stages = Vec::with_capacity(ups);
        for i in 0..ups {
            let name = format!("dec.ups.{i}");
            let stride = shape(&name)[1];
            hop = hop.saturating_mul(stride);
            if hop > MOST_HOP {
                let what = format!("a frame is at most {MOST_HOP} samples");
                return Err(ConfigError::invalid("dec.ups", hop, &what));
            }
            let up = Upsample::new(weights, &name, width, stride)?;
            width = up.outputs();
            let block = |j: usize| Block::new(weights, i * per + j, width, shape);
            let blocks = (0..per).map(block).collect::<Result<_>>()?;
            stages.push(Stage { up, blocks });
        }
        Ok(Self {
            cond: match weights.has("dec.cond.weight") {
                true => Some(Conv::new(weights, "dec.cond", (sizes[1], Some(first)), 1)?),
                false => None,
            },
            conv_pre,
            stages,
            conv_post: Conv::new(weights, "dec.conv_post", (width, Some(1)), 1)?,
        })
    }

    /// `[frames, latent]` → samples.
    pub(super) fn forward(&self, x: &[f32], speaker: Option<&[f32]>) -> Vec<f32> {
        let mut x = self.conv_pre.forward(x);
        if let (Some(cond), Some(speaker)) = (&self.cond, speaker) {
            add_row(&mut x, &cond.forward(speaker));
        }
        for stage in &self.stages {
            x = stage.up.after(&x, SLOPE);
            if stage.blocks.is_empty() {
                continue;
            }
            let mut sum = Vec::new();
            for block in &stage.blocks {
                let y = block.forward(&x);
                match sum.is_empty() {
                    true => sum = y,
                    false => pool::parallel_chunks(&mut sum, CHUNK, |i, sum| {
                        add(sum, &y[i * CHUNK..]);
                    }),
                }
            }
            let by = 1.0 / stage.blocks.len().max(1) as f32;
            pool::parallel_chunks(&mut sum, CHUNK, |_, sum| {
                sum.iter_mut().for_each(|v| *v *= by);
            });
            x = sum;
        }
        let mut samples = self.conv_post.after(&x, Some(LAST_SLOPE));
        activate(Activation::Tanh, &mut samples);
        samples
    }
}

/// Numbers that a task adds.
const CHUNK: usize = 1 << 14;

/// The name of a block's first convolution tells its kind.
fn kind(weights: &Weights, i: usize) -> &'static str {
    match weights.has(&format!("dec.resblocks.{i}.convs1.0.weight")) {
        true => "convs1.0",
        false => "convs.0",
    }
}

impl Block {
    fn new(
        weights: &Weights,
        i: usize,
        width: usize,
        shape: &dyn Fn(&str) -> [usize; 2],
    ) -> Result<Self> {
        let name = |part: &str, j: usize| format!("dec.resblocks.{i}.{part}.{j}");
        let conv = |name: &str| Conv::new(weights, name, (width, Some(width)), shape(name)[0]);
        let two = kind(weights, i) == "convs1.0";
        let first = if two { "convs1" } else { "convs" };
        let there = |j: &usize| weights.has(&format!("{}.weight", name(first, *j)));
        let pair = |j: usize| -> Result<_> {
            let second = match two {
                true => Some(conv(&name("convs2", j))?),
                false => None,
            };
            Ok((conv(&name(first, j))?, second))
        };
        Ok(Self {
            convs: (0..16).take_while(there).map(pair).collect::<Result<_>>()?,
        })
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut x = x.to_vec();
        for (first, second) in &self.convs {
            let mut next = x.clone();
            match second {
                None => first.add(&x, Some(SLOPE), &mut next),
                Some(second) => {
                    second.add(&first.after(&x, Some(SLOPE)), Some(SLOPE), &mut next);
                }
            }
            x = next;
        }
        x
    }
}
