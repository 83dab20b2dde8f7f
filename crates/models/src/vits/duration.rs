//! How long each phoneme is: a flow that is run backwards from noise (Kim et al. 2021, the stochastic duration
//! predictor), with splines of rational quadratics (Durkan et al., arXiv:1906.04032).

use medley_nn::Weights;

use super::blocks::{Conv, Separable, add, add_row};
use crate::Result;

/// Bins of a spline.
const BINS: usize = 10;
/// Splines reach from −5 to 5; beyond that nothing changes.
const REACH: f32 = 5.0;
/// Smallest width, height and slope of a bin.
const LEAST: f32 = 1e-3;

pub(super) struct Durations {
    pre: Conv,
    cond: Option<Conv>,
    convs: Separable,
    proj: Conv,
    /// The splines in the order in which they are run backwards.
    flows: Vec<Spline>,
    /// What is taken off and multiplied by at the end, for both channels.
    shift: [f32; 2],
    scale: [f32; 2],
}

struct Spline {
    pre: Conv,
    convs: Separable,
    proj: Conv,
    width: usize,
}

impl Durations {
    pub(super) fn new(weights: &Weights, input: usize, speaker: usize) -> Result<Self> {
        let conv = |name: &str, sizes| Conv::new(weights, name, sizes, 1);
        let pre = conv("dp.pre", (input, None))?;
        let width = pre.outputs();
        let pair = |name: &str| -> Result<[f32; 2]> {
            let values = weights.values(name, &[2, 1])?;
            Ok([values[0], values[1]])
        };
        // The first spline is left out: it has no use backwards.
        let there = |i: &usize| weights.has(&format!("dp.flows.{i}.pre.weight"));
        let mut flows: Vec<usize> = (3..32).step_by(2).take_while(there).collect();
        flows.reverse();
        let spline = |i: usize| Spline::new(weights, &format!("dp.flows.{i}"), width);
        Ok(Self {
            cond: match weights.has("dp.cond.weight") {
                true => Some(conv("dp.cond", (speaker, Some(width)))?),
                false => None,
            },
            convs: Separable::new(weights, "dp.convs", width)?,
            proj: conv("dp.proj", (width, Some(width)))?,
            pre,
            flows: flows.into_iter().map(spline).collect::<Result<_>>()?,
            shift: pair("dp.flows.0.m")?,
            scale: pair("dp.flows.0.scale")?,
        })
    }

    /// The logarithm of each phoneme's length in frames. `noise` holds two numbers of each phoneme.
    pub(super) fn forward(
        &self,
        x: &[f32],
        speaker: Option<&[f32]>,
        noise: &[[f32; 2]],
    ) -> Vec<f32> {
        let mut x = self.pre.forward(x);
        if let (Some(cond), Some(speaker)) = (&self.cond, speaker) {
            add_row(&mut x, &cond.forward(speaker));
        }
        self.convs.forward(&mut x);
        let x = self.proj.forward(&x);
        let mut z = noise.to_vec();
        for flow in &self.flows {
            z.iter_mut().for_each(|z| z.swap(0, 1));
            flow.backward(&x, &mut z);
        }
        z.iter_mut().for_each(|z| z.swap(0, 1));
        z.iter()
            .map(|z| (z[0] - self.shift[0]) * self.scale[0])
            .collect()
    }
}

impl Spline {
    fn new(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            pre: Conv::new(weights, &format!("{name}.pre"), (1, Some(width)), 1)?,
            convs: Separable::new(weights, &format!("{name}.convs"), width)?,
            proj: Conv::new(
                weights,
                &format!("{name}.proj"),
                (width, Some(3 * BINS - 1)),
                1,
            )?,
            width,
        })
    }

    fn backward(&self, x: &[f32], z: &mut [[f32; 2]]) {
        let first: Vec<f32> = z.iter().map(|z| z[0]).collect();
        let mut h = self.pre.forward(&first);
        add(&mut h, x);
        self.convs.forward(&mut h);
        let by = 1.0 / (self.width as f32).sqrt();
        let h = self.proj.forward(&h);
        for (z, h) in z.iter_mut().zip(h.chunks_exact(3 * BINS - 1)) {
            let scaled = |part: &[f32]| -> [f32; BINS] { std::array::from_fn(|i| part[i] * by) };
            let (widths, heights) = (scaled(&h[..BINS]), scaled(&h[BINS..2 * BINS]));
            z[1] = inverse(z[1], &widths, &heights, &h[2 * BINS..]);
        }
    }
}

/// Borders of bins whose sizes are these numbers' softmax.
fn borders(sizes: &[f32; BINS]) -> [f32; BINS + 1] {
    let most = sizes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let e = sizes.map(|v| (v - most).exp());
    let sum: f32 = e.iter().sum();
    let mut at = [-REACH; BINS + 1];
    let mut total = 0.0;
    for (i, e) in e.iter().enumerate() {
        total += LEAST + (1.0 - LEAST * BINS as f32) * e / sum;
        at[i + 1] = 2.0 * REACH * total - REACH;
    }
    at[BINS] = REACH;
    at
}

/// Where a spline of these bins and inner slopes takes the value `y`.
fn inverse(y: f32, widths: &[f32; BINS], heights: &[f32; BINS], slopes: &[f32]) -> f32 {
    if !(-REACH..=REACH).contains(&y) {
        return y;
    }
    let (x, h) = (borders(widths), borders(heights));
    // The slope is 1 at both ends.
    let slope = |i: usize| match i {
        0 | BINS => 1.0,
        i => LEAST + softplus(slopes[i - 1]),
    };
    let bin = (1..BINS).take_while(|&i| y >= h[i]).count();
    let (width, height) = (x[bin + 1] - x[bin], h[bin + 1] - h[bin]);
    let (mean, from, to) = (height / width, slope(bin), slope(bin + 1));
    let up = y - h[bin];
    let bend = up * (from + to - 2.0 * mean);
    let (a, b, c) = (
        bend + height * (mean - from),
        height * from - bend,
        -mean * up,
    );
    let root = 2.0 * c / (-b - (b * b - 4.0 * a * c).max(0.0).sqrt());
    root * width + x[bin]
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spline forward, after the paper.
    fn forward(x: f32, widths: &[f32; BINS], heights: &[f32; BINS], slopes: &[f32]) -> f32 {
        let (xs, hs) = (borders(widths), borders(heights));
        let slope = |i: usize| match i {
            0 | BINS => 1.0,
            i => LEAST + softplus(slopes[i - 1]),
        };
        let bin = (1..BINS).take_while(|&i| x >= xs[i]).count();
        let (width, height) = (xs[bin + 1] - xs[bin], hs[bin + 1] - hs[bin]);
        let t = (x - xs[bin]) / width;
        let (mean, from, to) = (height / width, slope(bin), slope(bin + 1));
        let up = height * (mean * t * t + from * t * (1.0 - t));
        hs[bin] + up / (mean + (from + to - 2.0 * mean) * t * (1.0 - t))
    }

    #[test]
    fn splines_are_undone_and_end_at_their_borders() {
        let some = |k: usize| std::array::from_fn(|i| ((i * 7 + k) % 5) as f32 * 0.4 - 0.8);
        let (widths, heights) = (some(0), some(3));
        let slopes: Vec<f32> = (0..BINS - 1).map(|i| i as f32 * 0.3 - 1.0).collect();
        for i in -49..50 {
            let x = i as f32 * 0.1;
            let y = forward(x, &widths, &heights, &slopes);
            let back = inverse(y, &widths, &heights, &slopes);
            assert!((back - x).abs() < 1e-4, "{x} {y} {back}");
        }
        for y in [-7.0, 5.5] {
            assert_eq!(inverse(y, &widths, &heights, &slopes), y);
        }
    }
}
