//! Latents to samples: HiFi-GAN's generator (Kong et al., arXiv:2010.05646), with its blocks of the first and of the
//! second kind.
//!
//! A stage goes over its rows in chunks that stay near the processor: a task stretches its chunk with the rows around
//! it that the blocks see, and takes it through all of them. What tasks compute of each other's rows is less than what
//! the memory would take.

use std::cell::RefCell;
use std::ops::Range;

use medley_kernels::{Activation, activate, pool};
use medley_nn::Weights;

use super::blocks::{Conv, Part, Upsample, add, add_row};
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
    /// Rows around a chunk that its blocks see.
    reach: usize,
}

/// Numbers of a chunk.
const CHUNK: usize = 48 << 10;
/// Chunks come in fours, so that they are shared out evenly.
const EVEN: usize = 4;

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
        let conv_pre = Conv::for_speed(weights, "dec.conv_pre", (sizes[0], None), 1)?;
        if ups == 0 {
            return Err(ConfigError::missing("dec.ups.0.weight"));
        }
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
            let blocks: Vec<Block> = (0..per).map(block).collect::<Result<_>>()?;
            stages.push(Stage {
                up,
                reach: blocks.iter().map(Block::reach).max().unwrap_or(0),
                blocks,
            });
        }
        Ok(Self {
            cond: match weights.has("dec.cond.weight") {
                true => Some(Conv::new(weights, "dec.cond", (sizes[1], Some(first)), 1)?),
                false => None,
            },
            conv_pre,
            stages,
            conv_post: Conv::for_speed(weights, "dec.conv_post", (width, Some(1)), 1)?,
        })
    }

    /// `[frames, latent]` → samples.
    pub(super) fn forward(&self, x: &[f32], speaker: Option<&[f32]>) -> Vec<f32> {
        let mut x = self.conv_pre.forward(x);
        if let (Some(cond), Some(speaker)) = (&self.cond, speaker) {
            add_row(&mut x, &cond.forward(speaker));
        }
        let mut samples = Vec::new();
        STATES.with_borrow_mut(|next| {
            for (i, stage) in self.stages.iter().enumerate() {
                let last = i + 1 == self.stages.len();
                if last {
                    stage.forward(&x, Some(&self.conv_post), &mut samples);
                } else {
                    stage.forward(&x, None, next);
                    std::mem::swap(&mut x, next);
                }
            }
            if x.capacity() > next.capacity() {
                *next = std::mem::take(&mut x);
            }
            if next.capacity() > KEPT {
                *next = Vec::new();
            }
        });
        samples
    }
}

/// Numbers of a stage that are kept in memory for the next sentence, at most: fresh pages cost as much as a fifth of the
/// work.
const KEPT: usize = 8 << 20;

thread_local! {
    static STATES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Memory of a task.
#[derive(Default)]
struct Room {
    stretched: Vec<f32>,
    rows: Vec<f32>,
    next: Vec<f32>,
    between: Vec<f32>,
    /// What the last convolution sees.
    last: Vec<f32>,
}

thread_local! {
    /// Kept for the next chunk.
    static ROOM: RefCell<Room> = RefCell::default();
}

impl Stage {
    /// `[rows, in]` → `[rows · stride, out]`, or to samples where the convolution that gives them is here.
    fn forward(&self, x: &[f32], post: Option<&Conv>, out: &mut Vec<f32>) {
        let length = self.up.length(x.len() / self.up.inputs());
        let parts = (length * self.up.outputs())
            .div_ceil(CHUNK)
            .next_multiple_of(EVEN)
            .min(length);
        let each = length.div_ceil(parts.max(1)).max(1);
        let width = post.map_or(self.up.outputs(), Conv::outputs);
        out.resize(length * width, 0.0);
        pool::parallel_chunks(out, each * width, |i, out| {
            let rows = i * each..i * each + out.len() / width;
            ROOM.with_borrow_mut(|room| match post {
                Some(post) => self.samples(post, x, rows, length, room, out),
                None => self.chunk(x, rows, length, room, out),
            });
        });
    }

    /// Samples `rows` of `length`.
    fn samples(
        &self,
        post: &Conv,
        x: &[f32],
        rows: Range<usize>,
        length: usize,
        room: &mut Room,
        out: &mut [f32],
    ) {
        let seen = widened(&rows, post.reach(), length);
        let mut last = std::mem::take(&mut room.last);
        last.resize(seen.len() * self.up.outputs(), 0.0);
        self.chunk(x, seen.clone(), length, room, &mut last);
        let part = Part {
            data: &last,
            rows: seen,
            length,
        };
        post.part(&part, rows, Some(LAST_SLOPE), false, out);
        activate(Activation::Tanh, out);
        room.last = last;
    }

    /// Rows `rows` of `length`.
    fn chunk(
        &self,
        x: &[f32],
        rows: Range<usize>,
        length: usize,
        room: &mut Room,
        out: &mut [f32],
    ) {
        let width = self.up.outputs();
        let around = widened(&rows, self.reach, length);
        let mut stretched = std::mem::take(&mut room.stretched);
        let at = self.up.part(x, around.clone(), SLOPE, &mut stretched);
        let part = Part {
            data: &stretched[at..at + around.len() * width],
            rows: around,
            length,
        };
        if self.blocks.is_empty() {
            out.copy_from_slice(part.slice(rows.clone(), width));
        }
        for (i, block) in self.blocks.iter().enumerate() {
            block.part(&part, rows.clone(), i > 0, room, out);
        }
        room.stretched = stretched;
        let by = 1.0 / self.blocks.len().max(1) as f32;
        out.iter_mut().for_each(|v| *v *= by);
    }
}

/// With so many rows before and behind, as far as there are some.
fn widened(rows: &Range<usize>, by: usize, length: usize) -> Range<usize> {
    rows.start.saturating_sub(by)..(rows.end + by).min(length)
}

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
        let conv =
            |name: &str| Conv::for_speed(weights, name, (width, Some(width)), shape(name)[0]);
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

    /// Rows before and behind that a row sees.
    fn reach(&self) -> usize {
        self.convs.iter().map(pair_reach).sum()
    }

    /// Rows `rows` of the result, written to `out` or added to it. `x` has all rows that they see.
    fn part(&self, x: &Part<'_>, rows: Range<usize>, adds: bool, room: &mut Room, out: &mut [f32]) {
        let width = out.len() / rows.len().max(1);
        let mut reach = self.reach();
        let Room {
            rows: kept,
            next,
            between,
            ..
        } = room;
        let mut now = x.rows.clone();
        for (i, pair) in self.convs.iter().enumerate() {
            let part = Part {
                data: if i == 0 { x.data } else { kept },
                rows: now.clone(),
                length: x.length,
            };
            reach -= pair_reach(pair);
            let then = widened(&rows, reach, x.length);
            let beside = part.slice(then.clone(), width);
            if i + 1 == self.convs.len() {
                match adds {
                    true => add(out, beside),
                    false => out.copy_from_slice(beside),
                }
                pair_part(pair, &part, then, between, out);
            } else {
                next.clear();
                next.extend_from_slice(beside);
                pair_part(pair, &part, then.clone(), between, next);
                std::mem::swap(kept, next);
                now = then;
            }
        }
    }
}

fn pair_reach((first, second): &(Conv, Option<Conv>)) -> usize {
    first.reach() + second.as_ref().map_or(0, Conv::reach)
}

/// Adds rows `rows` of what one convolution, or two, make of `x` to `out`.
fn pair_part(
    (first, second): &(Conv, Option<Conv>),
    x: &Part<'_>,
    rows: Range<usize>,
    between: &mut Vec<f32>,
    out: &mut [f32],
) {
    let Some(second) = second else {
        return first.part(x, rows, Some(SLOPE), true, out);
    };
    let seen = widened(&rows, second.reach(), x.length);
    between.resize(seen.len() * first.outputs(), 0.0);
    first.part(x, seen.clone(), Some(SLOPE), false, between);
    let part = Part {
        data: between,
        rows: seen,
        length: x.length,
    };
    second.part(&part, rows, Some(SLOPE), true, out);
}
