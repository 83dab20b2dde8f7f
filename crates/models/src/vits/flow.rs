//! From what was drawn to latents: couplings run backwards (Kim et al. 2021).

use medley_kernels::{Activation, activate};
use medley_nn::Weights;

use super::blocks::{Conv, add, add_row};
use crate::Result;

pub(super) struct Flow {
    /// In the order in which they are run backwards.
    couplings: Vec<Coupling>,
}

struct Coupling {
    pre: Conv,
    layers: Vec<(Conv, Conv)>,
    cond: Option<Conv>,
    post: Conv,
}

impl Flow {
    /// `sizes` are the widths of the latents and of a speaker's vector.
    pub(super) fn new(
        weights: &Weights,
        sizes: [usize; 2],
        dilation: &dyn Fn(&str) -> usize,
    ) -> Result<Self> {
        let there = |i: &usize| weights.has(&format!("flow.flows.{i}.pre.weight"));
        let mut numbers: Vec<usize> = (0..32).step_by(2).take_while(there).collect();
        numbers.reverse();
        let coupling =
            |i: usize| Coupling::new(weights, &format!("flow.flows.{i}"), sizes, dilation);
        Ok(Self {
            couplings: numbers.into_iter().map(coupling).collect::<Result<_>>()?,
        })
    }

    /// `[frames, latent]`, in place.
    pub(super) fn backward(&self, x: &mut [f32], latent: usize, speaker: Option<&[f32]>) {
        for coupling in &self.couplings {
            for row in x.chunks_exact_mut(latent) {
                row.reverse();
            }
            coupling.backward(x, latent, speaker);
        }
    }
}

impl Coupling {
    fn new(
        weights: &Weights,
        name: &str,
        [latent, speaker]: [usize; 2],
        dilation: &dyn Fn(&str) -> usize,
    ) -> Result<Self> {
        let conv = |part: &str, inputs: usize, outputs: Option<usize>| {
            let name = format!("{name}.{part}");
            Conv::for_speed(weights, &name, (inputs, outputs), dilation(&name))
        };
        let half = latent / 2;
        let pre = conv("pre", half, None)?;
        let width = pre.outputs();
        let there = |i: &usize| weights.has(&format!("{name}.enc.in_layers.{i}.weight"));
        let count = (0..32).take_while(there).count();
        let layer = |i: usize| -> Result<_> {
            // The last one has nobody to go on to.
            let out = if i + 1 == count { width } else { 2 * width };
            Ok((
                conv(&format!("enc.in_layers.{i}"), width, Some(2 * width))?,
                conv(&format!("enc.res_skip_layers.{i}"), width, Some(out))?,
            ))
        };
        Ok(Self {
            layers: (0..count).map(layer).collect::<Result<_>>()?,
            cond: match weights.has(&format!("{name}.enc.cond_layer.weight")) {
                true => Some(conv("enc.cond_layer", speaker, Some(2 * width * count))?),
                false => None,
            },
            post: conv("post", width, Some(half))?,
            pre,
        })
    }

    /// Takes off the second half what the first says.
    fn backward(&self, x: &mut [f32], latent: usize, speaker: Option<&[f32]>) {
        let half = latent / 2;
        let first: Vec<f32> = x
            .chunks_exact(latent)
            .flat_map(|row| row[..half].iter().copied())
            .collect();
        let mut h = self.pre.forward(&first);
        let width = self.pre.outputs();
        let mut skipped = vec![0.0; h.len()];
        let cond = match (&self.cond, speaker) {
            (Some(cond), Some(speaker)) => cond.forward(speaker),
            _ => Vec::new(),
        };
        for (i, (input, output)) in self.layers.iter().enumerate() {
            let mut both = input.forward(&h);
            if let Some(cond) = cond.get(i * 2 * width..(i + 1) * 2 * width) {
                add_row(&mut both, cond);
            }
            let out = output.forward(&gated(&both, width));
            if i + 1 == self.layers.len() {
                add(&mut skipped, &out);
                continue;
            }
            let rows = h
                .chunks_exact_mut(width)
                .zip(skipped.chunks_exact_mut(width));
            for ((h, skipped), out) in rows.zip(out.chunks_exact(2 * width)) {
                add(h, &out[..width]);
                add(skipped, &out[width..]);
            }
        }
        let means = self.post.forward(&skipped);
        for (row, means) in x.chunks_exact_mut(latent).zip(means.chunks_exact(half)) {
            row[half..].iter_mut().zip(means).for_each(|(x, m)| *x -= m);
        }
    }
}

/// `tanh(a) · sigmoid(b)` of rows that hold a and b side by side.
fn gated(both: &[f32], width: usize) -> Vec<f32> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for row in both.chunks_exact(2 * width) {
        a.extend_from_slice(&row[..width]);
        b.extend_from_slice(&row[width..]);
    }
    activate(Activation::Tanh, &mut a);
    activate(Activation::Sigmoid, &mut b);
    a.iter_mut().zip(&b).for_each(|(a, b)| *a *= b);
    a
}
