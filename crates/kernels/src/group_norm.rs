//! Group normalisation, channels last. Wu and He, arXiv:1803.08494.
//!
//! Sums over pixels are made for chunks of pixels of a fixed size that are added in order, channel
//! by channel, and then over the channels of a group: the same bits for any batch and threads.
#![allow(unsafe_code)] // tasks write disjoint parts of one slice

use std::ops::Range;

use crate::pool::{self, SharedMut};
use crate::rowwise::{for_ranges, rows, same_len, sum_over_rows};
use crate::simd::simd_fn;
use crate::{Isa, isa};

/// Shapes of a group norm: images of any number of pixels, each of `channels` elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupNorm {
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Groups of consecutive channels, of which `channels` is a multiple.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
}

impl GroupNorm {
    /// Pixels of an image.
    ///
    /// # Panics
    /// When the groups do not divide the channels, or `len` is not whole images.
    fn pixels(&self, len: usize) -> usize {
        assert!(
            self.groups > 0 && self.channels.is_multiple_of(self.groups),
            "{} channels are not {} groups of one size",
            self.channels,
            self.groups
        );
        if len == 0 {
            return 0;
        }
        let pixels = rows("x", len, self.channels);
        assert!(
            self.batch > 0 && pixels.is_multiple_of(self.batch),
            "{pixels} pixels are not {} images",
            self.batch
        );
        pixels / self.batch
    }

    /// Replaces the sums of channels by `f` of their group's sum.
    fn over_groups(&self, sums: &mut [f32], f: impl Fn(f32) -> f32) {
        for group in sums.chunks_exact_mut(self.channels / self.groups) {
            let sum: f32 = group.iter().sum();
            group.fill(f(sum));
        }
    }
}

/// Each group of each image of `x` (batch × pixels × channels) becomes
/// `(x - mean) / sqrt(variance + eps) * weight + bias`; weight and bias have one element a channel.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn group_norm(shape: &GroupNorm, x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    let pixels = shape.pixels(x.len());
    same_len("weight", weight.len(), shape.channels);
    same_len("bias", bias.len(), shape.channels);
    same_len("out", out.len(), x.len());
    let (isa, out, width) = (isa(), SharedMut::new(out), shape.channels);
    let len = pixels * width;
    each_image(shape.batch, len, |image| {
        let base = image * len;
        let x = &x[base..base + len];
        let (mean, mut scale) = statistics(isa, shape, x);
        scale.iter_mut().zip(weight).for_each(|(s, w)| *s *= w);
        for_ranges(pixels, width, |range| {
            let at = range.start * width..range.end * width;
            // SAFETY: each pixel is written by one task.
            let out = unsafe { out.slice(base + at.start..base + at.end) };
            apply(isa, &x[at], &mean, &scale, bias, out);
        });
    });
}

/// Calls `f` for every image: in parallel where there are enough of them or they are small, else
/// one after the other, for `f` to split.
fn each_image(batch: usize, len: usize, f: impl Fn(usize) + Sync) {
    if len == 0 {
        return;
    }
    if batch >= pool::threads() {
        pool::parallel_for(batch, f);
    } else {
        (0..batch).for_each(f);
    }
}

/// Mean and reciprocal deviation of an image's groups, for each channel.
fn statistics(isa: Isa, shape: &GroupNorm, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let width = shape.channels;
    let pixels = x.len() / width;
    let count = (pixels * (width / shape.groups)) as f32;
    let part = |range: Range<usize>| &x[range.start * width..range.end * width];
    let mut mean = vec![0.0; width];
    sum_over_rows(pixels, &mut mean, |range, sums| {
        add_pixels(isa, part(range), sums)
    });
    shape.over_groups(&mut mean, |sum| sum / count);
    let mut scale = vec![0.0; width];
    sum_over_rows(pixels, &mut scale, |range, sums| {
        add_squares(isa, part(range), &mean, sums);
    });
    shape.over_groups(&mut scale, |sum| 1.0 / (sum / count + shape.eps).sqrt());
    (mean, scale)
}

simd_fn! {
    fn add_pixels(s, x: &[f32], sums: &mut [f32]) {
        for x in x.chunks_exact(sums.len()) {
            for (x, sum) in x.chunks(S::LANES).zip(sums.chunks_mut(S::LANES)) {
                let total = s.add(s.load_part(sum, 0.0), s.load_part(x, 0.0));
                s.store_part(sum, total);
            }
        }
    }
}

simd_fn! {
    /// Adds `(x - mean)²`.
    fn add_squares(s, x: &[f32], mean: &[f32], sums: &mut [f32]) {
        for x in x.chunks_exact(sums.len()) {
            let parts = x.chunks(S::LANES).zip(mean.chunks(S::LANES));
            for ((x, mean), sum) in parts.zip(sums.chunks_mut(S::LANES)) {
                let d = s.sub(s.load_part(x, 0.0), s.load_part(mean, 0.0));
                s.store_part(sum, s.fma(d, d, s.load_part(sum, 0.0)));
            }
        }
    }
}

simd_fn! {
    /// `(x - mean) * scale + bias`, channel by channel.
    fn apply(s, x: &[f32], mean: &[f32], scale: &[f32], bias: &[f32], out: &mut [f32]) {
        let width = mean.len();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let channels = mean.chunks(S::LANES).zip(scale.chunks(S::LANES));
            let channels = channels.zip(bias.chunks(S::LANES));
            let parts = x.chunks(S::LANES).zip(out.chunks_mut(S::LANES));
            for ((x, out), ((mean, scale), bias)) in parts.zip(channels) {
                let d = s.sub(s.load_part(x, 0.0), s.load_part(mean, 0.0));
                let y = s.fma(d, s.load_part(scale, 0.0), s.load_part(bias, 0.0));
                s.store_part(out, y);
            }
        }
    }
}

/// The backward pass of [`group_norm`]: from the gradient `dy` of its output, writes that of `x`
/// to `dx` and adds those of the weight and the bias to `dweight` and `dbias`.
///
/// # Panics
/// When a slice does not fit the shape.
#[allow(clippy::too_many_arguments)]
pub fn group_norm_backward(
    shape: &GroupNorm,
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let (pixels, width) = (shape.pixels(x.len()), shape.channels);
    for (what, len) in [("dy", dy.len()), ("dx", dx.len())] {
        same_len(what, len, x.len());
    }
    for (what, len) in [
        ("weight", weight.len()),
        ("dweight", dweight.len()),
        ("dbias", dbias.len()),
    ] {
        same_len(what, len, width);
    }
    let mut sums = vec![0.0; shape.batch * 2 * width];
    let (isa, dx, all) = (isa(), SharedMut::new(dx), SharedMut::new(&mut sums));
    let (len, count) = (pixels * width, (pixels * (width / shape.groups)) as f32);
    each_image(shape.batch, len, |image| {
        let at = image * len..(image + 1) * len;
        let (x, dy) = (&x[at.clone()], &dy[at.clone()]);
        let (mean, scale) = statistics(isa, shape, x);
        // SAFETY: each image has sums of its own.
        let sums = unsafe { all.slice(image * 2 * width..(image + 1) * 2 * width) };
        sum_over_rows(pixels, sums, |range, sums| {
            let at = range.start * width..range.end * width;
            gradient_sums(isa, &x[at.clone()], &dy[at], &mean, &scale, sums);
        });
        let weighted = |sums: &[f32]| -> Vec<f32> {
            let mut means: Vec<f32> = sums.iter().zip(weight).map(|(s, w)| s * w).collect();
            shape.over_groups(&mut means, |sum| sum / count);
            means
        };
        let (dweight, dbias) = sums.split_at(width);
        let (along, shift) = (weighted(dweight), weighted(dbias));
        for_ranges(pixels, width, |range| {
            let part = range.start * width..range.end * width;
            // SAFETY: each pixel is written by one task.
            let dx = unsafe { dx.slice(at.start + part.start..at.start + part.end) };
            let channels = Channels {
                weight,
                mean: &mean,
                scale: &scale,
                along: &along,
                shift: &shift,
            };
            pixels_backward(isa, &x[part.clone()], &dy[part], channels, dx);
        });
    });
    for sums in sums.chunks_exact(2 * width.max(1)) {
        let (weights, biases) = sums.split_at(width);
        dweight.iter_mut().zip(weights).for_each(|(d, s)| *d += s);
        dbias.iter_mut().zip(biases).for_each(|(d, s)| *d += s);
    }
}

/// One number for each channel.
#[derive(Clone, Copy)]
struct Channels<'a> {
    weight: &'a [f32],
    mean: &'a [f32],
    scale: &'a [f32],
    /// The group's mean of the weighted gradient times the normalised input, and of the first.
    along: &'a [f32],
    shift: &'a [f32],
}

simd_fn! {
    /// Adds the sums of `dy` times the normalised input, then of `dy`.
    fn gradient_sums(s, x: &[f32], dy: &[f32], mean: &[f32], scale: &[f32], sums: &mut [f32]) {
        let width = mean.len();
        let (dweight, dbias) = sums.split_at_mut(width);
        for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
            let parts = x.chunks(S::LANES).zip(dy.chunks(S::LANES));
            let parts = parts.zip(mean.chunks(S::LANES).zip(scale.chunks(S::LANES)));
            let sums = dweight.chunks_mut(S::LANES).zip(dbias.chunks_mut(S::LANES));
            for (((x, dy), (mean, scale)), (dw, db)) in parts.zip(sums) {
                let (x, dy) = (s.load_part(x, 0.0), s.load_part(dy, 0.0));
                let unit = s.mul(s.sub(x, s.load_part(mean, 0.0)), s.load_part(scale, 0.0));
                s.store_part(dw, s.fma(dy, unit, s.load_part(dw, 0.0)));
                s.store_part(db, s.add(s.load_part(db, 0.0), dy));
            }
        }
    }
}

simd_fn! {
    fn pixels_backward(s, x: &[f32], dy: &[f32], c: Channels<'_>, dx: &mut [f32]) {
        let width = c.mean.len();
        let pixels = x.chunks_exact(width).zip(dy.chunks_exact(width));
        for ((x, dy), dx) in pixels.zip(dx.chunks_exact_mut(width)) {
            for (i, dx) in dx.chunks_mut(S::LANES).enumerate() {
                let part = |x: &[f32]| s.load_part(&x[i * S::LANES..], 0.0);
                let scale = part(c.scale);
                let unit = s.mul(s.sub(part(x), part(c.mean)), scale);
                let g = s.mul(part(dy), part(c.weight));
                let d = s.sub(s.sub(g, part(c.shift)), s.mul(unit, part(c.along)));
                s.store_part(dx, s.mul(d, scale));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa, gradient};

    fn reference(c: &GroupNorm, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let (mut out, len) = (vec![0.0; x.len()], x.len() / c.batch);
        let size = c.channels / c.groups;
        for image in 0..c.batch {
            for group in 0..c.groups {
                let inside = |&at: &usize| at % c.channels / size == group;
                let of: Vec<usize> = (image * len..(image + 1) * len).filter(inside).collect();
                let count = of.len() as f64;
                let mean = of.iter().map(|&i| f64::from(x[i])).sum::<f64>() / count;
                let squares = of.iter().map(|&i| (f64::from(x[i]) - mean).powi(2));
                let scale = 1.0 / (squares.sum::<f64>() / count + f64::from(c.eps)).sqrt();
                for i in of {
                    let (w, b) = (weight[i % c.channels], bias[i % c.channels]);
                    out[i] = (f64::from(x[i]) - mean) * scale * f64::from(w) + f64::from(b);
                }
            }
        }
        out
    }

    fn shape(batch: usize, channels: usize, groups: usize) -> GroupNorm {
        GroupNorm {
            batch,
            channels,
            groups,
            eps: 1e-5,
        }
    }

    #[test]
    fn matches_double_precision() {
        let mut random = Random::new(1);
        for (c, pixels) in [
            (shape(1, 1, 1), 1),
            (shape(2, 6, 3), 5),
            (shape(3, 64, 32), 70),
            (shape(1, 40, 4), 300),
            (shape(2, 33, 1), 65),
        ] {
            for (scale, offset) in [
                (1.0, 0.0),
                (1e-20, 0.0),
                (1e4, 0.0),
                (0.0, 3.0),
                (1.0, 20.0),
            ] {
                let mut x = random.normal(c.batch * pixels * c.channels, scale);
                x.iter_mut().for_each(|x| *x += offset);
                let (w, b) = (
                    random.normal(c.channels, 1.0),
                    random.normal(c.channels, 1.0),
                );
                let want = reference(&c, &x, &w, &b);
                each_isa(|| {
                    let mut out = vec![f32::NAN; x.len()];
                    group_norm(&c, &x, &w, &b, &mut out);
                    assert_close(&out, &want, 1e-5, 2e-5);
                });
            }
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let mut random = Random::new(2);
        for (c, pixels) in [
            (shape(1, 4, 2), 3),
            (shape(2, 6, 2), 70),
            (shape(3, 20, 1), 2),
        ] {
            let c = GroupNorm { eps: 1e-2, ..c };
            let x = random.normal(c.batch * pixels * c.channels, 1.0);
            let (w, b) = (
                random.normal(c.channels, 1.0),
                random.normal(c.channels, 1.0),
            );
            let dy = random.normal(x.len(), 1.0);
            let loss = |x: &[f32], w: &[f32], b: &[f32]| -> f64 {
                let y = reference(&c, x, w, b);
                y.iter().zip(&dy).map(|(y, &d)| y * f64::from(d)).sum()
            };
            let want_dx = gradient(&x, |x| loss(x, &w, &b));
            let once: Vec<f64> = gradient(&w, |w| loss(&x, w, &b));
            let want_dw: Vec<f64> = once.iter().map(|d| d + 0.5).collect();
            let want_db = gradient(&b, |b| loss(&x, &w, b));
            each_isa(|| {
                let mut dx = vec![f32::NAN; x.len()];
                let (mut dw, mut db) = (vec![0.5; c.channels], vec![0.0; c.channels]);
                group_norm_backward(&c, &x, &w, &dy, &mut dx, &mut dw, &mut db);
                assert_close(&dx, &want_dx, 1e-4, 1e-5);
                assert_close(&dw, &want_dw, 1e-4, 2e-5);
                assert_close(&db, &want_db, 1e-4, 2e-5);
            });
        }
    }

    #[test]
    fn an_image_does_not_depend_on_the_others() {
        let mut random = Random::new(3);
        let (c, pixels) = (shape(5, 48, 8), 1000);
        let len = pixels * c.channels;
        let x = random.normal(c.batch * len, 1.0);
        let (w, b) = (
            random.normal(c.channels, 1.0),
            random.normal(c.channels, 1.0),
        );
        each_isa(|| {
            let mut all = vec![0.0; x.len()];
            group_norm(&c, &x, &w, &b, &mut all);
            for (x, want) in x.chunks(len).zip(all.chunks(len)) {
                let mut one = vec![0.0; len];
                group_norm(&GroupNorm { batch: 1, ..c }, x, &w, &b, &mut one);
                assert_eq!(one, want);
            }
        });
    }
}
