//! Operations as onnxruntime's CPU kernels round them.
//!
//! A model whose activations are quantised on the way amplifies the last bit: where a value lies between two bytes, the
//! order of a sum decides. What is here gives onnxruntime's bits (1.32 on a processor with AVX-512), found operation by
//! operation; the products are [`crate::Int8Matrix`] and [`crate::Conv1d`] with chains of [`chain`].
#![allow(unsafe_code)] // tasks write disjoint rows of one slice

use crate::isa;
use crate::pool::{self, SharedMut};
use crate::rowwise::{rows, same_len};
use crate::simd::{LANES, math, simd_fn};

/// Smallest and largest number, 0 among them.
pub type Bounds = [f32; 2];

/// Weight, bias and what is added to the variance of a layer norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// One number of each channel.
    pub weight: &'a [f32],
    /// One number of each channel.
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

/// Rows of a task.
const ROWS: usize = 16;
/// Columns and depth of the blocks that a product of floats is split into.
const STRIDE: usize = 128;

/// Products in one chain of sums, where `columns` outputs of `depth` products each stand side by side.
pub fn chain(columns: usize, depth: usize) -> usize {
    let (mut n, mut k) = (STRIDE, STRIDE);
    if columns < depth {
        while n > 16 && n / 2 >= columns {
            (n, k) = (n / 2, k * 2);
        }
    }
    k
}

/// Layer norm of each row of `x` (Ba et al., arXiv:1607.06450), with the bounds of the result.
///
/// # Panics
/// When `x` is not whole rows or a slice has another length.
pub fn layer_norm(x: &[f32], norm: &Norm<'_>, out: &mut [f32]) -> Bounds {
    let (isa, width) = (isa(), norm.weight.len());
    check(x, norm, out);
    each_row(x.len() / width.max(1), width, out, |r, out| {
        norm_row(isa, &x[r * width..(r + 1) * width], norm, out)
    })
}

/// Convolution of each channel by itself and then the layer norm of each row. `x` and `out` are `[n, channels]`,
/// `weight` `[taps, channels]`, `bias` `[channels]`; row `t` sees the rows `t + (k - taps / 2) · dilation`, and zeros
/// beyond the ends.
///
/// # Panics
/// As [`layer_norm`].
pub fn depthwise_norm(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    dilation: usize,
    norm: &Norm<'_>,
    out: &mut [f32],
) -> Bounds {
    let (isa, width) = (isa(), norm.weight.len());
    check(x, norm, out);
    same_len("bias", bias.len(), width);
    let (n, taps) = (x.len() / width.max(1), rows("weight", weight.len(), width));
    let reach = taps / 2 * dilation;
    each_row(n, width, out, |t, out| {
        let seen = |k: usize| {
            let from = (t + k * dilation).checked_sub(reach).filter(|&r| r < n)?;
            Some((
                &x[from * width..(from + 1) * width],
                &weight[k * width..(k + 1) * width],
            ))
        };
        // Zeros beyond the ends add nothing, but each tap keeps its place.
        let mut pairs = [(&[][..], &[][..]); 16];
        for (k, pair) in pairs.iter_mut().enumerate().take(taps) {
            *pair = seen(k).unwrap_or_default();
        }
        let count = taps.min(pairs.len());
        let mut row = [0.0; 512];
        match row.get_mut(..width) {
            Some(row) => {
                products(isa, &pairs[..count], bias, row);
                norm_row(isa, row, norm, out)
            }
            None => {
                let mut row = vec![0.0; width];
                products(isa, &pairs[..count], bias, &mut row);
                norm_row(isa, &row, norm, out)
            }
        }
    })
}

/// Layer norm of the sum of two values, which onnxruntime joins into one operation and counts otherwise (Welford 1962):
/// of `x`, that sum.
///
/// # Panics
/// As [`layer_norm`].
pub fn skip_norm(x: &[f32], norm: &Norm<'_>, out: &mut [f32]) -> Bounds {
    let width = norm.weight.len();
    check(x, norm, out);
    each_row(x.len() / width.max(1), width, out, |r, out| {
        let x = &x[r * width..(r + 1) * width];
        let (mut mean, mut squares) = (0.0f32, 0.0f32);
        for (i, &v) in x.iter().enumerate() {
            let far = v - mean;
            mean += far / (i + 1) as f32;
            squares += far * (v - mean);
        }
        let deviation = (squares / width as f32 + norm.eps).sqrt();
        let mut bounds = [0.0f32; 2];
        for (((out, &v), w), b) in out.iter_mut().zip(x).zip(norm.weight).zip(norm.bias) {
            *out = (v - mean) / deviation * w + b;
            bounds = [bounds[0].min(*out), bounds[1].max(*out)];
        }
        bounds
    })
}

/// Replaces each row of `width` numbers, divided by `divisor`, by its softmax.
///
/// # Panics
/// When `x` is not whole rows.
pub fn softmax(x: &mut [f32], width: usize, divisor: f32) {
    let n = rows("x", x.len(), width);
    let (isa, x) = (isa(), SharedMut::new(x));
    pool::parallel_for(n.div_ceil(ROWS), |task| {
        for r in task * ROWS..((task + 1) * ROWS).min(n) {
            // SAFETY: each row is written by one task.
            softmax_row(isa, unsafe { x.slice(r * width..(r + 1) * width) }, divisor);
        }
    });
}

/// Replaces each number by its natural logarithm, four at a time by the quotient of two polynomials that onnxruntime's
/// tensor library takes ([Eigen](https://eigen.tuxfamily.org) `plog_float`), without fused sums; what is left by the
/// system's function.
pub fn logs(x: &mut [f32]) {
    let whole = x.len() / 4 * 4;
    let (fours, rest) = x.split_at_mut(whole);
    fours.iter_mut().for_each(|x| *x = log(*x));
    rest.iter_mut().for_each(|x| *x = x.ln());
}

fn log(x: f32) -> f32 {
    if x < f32::MIN_POSITIVE || !x.is_finite() {
        return x.ln();
    }
    // x = m 2^e with m in [1/2, 1), moved so that it lies about 1.
    let mut e = ((x.to_bits() >> 23) as i32 - 126) as f32;
    let mut m = f32::from_bits(x.to_bits() & 0x007F_FFFF | 0x3F00_0000);
    if m < std::f32::consts::FRAC_1_SQRT_2 {
        e -= 1.0;
        m += m;
    }
    let r = m - 1.0;
    let p = (((r * 0.182_562_96 + 1.0) * r) + 1.0) * r;
    let q = ((r * 0.049_616_247 + 0.599_232_5) * r + 1.5) * r + 1.0;
    e * std::f32::consts::LN_2 + p / q
}

fn check(x: &[f32], norm: &Norm<'_>, out: &[f32]) {
    rows("x", x.len(), norm.weight.len());
    same_len("a norm's bias", norm.bias.len(), norm.weight.len());
    same_len("out", out.len(), x.len());
}

/// Calls `f` with each row of `out`; the bounds of all.
fn each_row(
    n: usize,
    width: usize,
    out: &mut [f32],
    f: impl Fn(usize, &mut [f32]) -> Bounds + Sync,
) -> Bounds {
    let tasks = n.div_ceil(ROWS);
    let mut bounds = vec![[0.0; 2]; tasks];
    let (shared, out) = (SharedMut::new(&mut bounds), SharedMut::new(out));
    pool::parallel_for(tasks, |task| {
        let mut all = [0.0f32; 2];
        for r in task * ROWS..((task + 1) * ROWS).min(n) {
            // SAFETY: each row is written by one task.
            let [low, high] = f(r, unsafe { out.slice(r * width..(r + 1) * width) });
            all = [all[0].min(low), all[1].max(high)];
        }
        // SAFETY: each task has its own element.
        unsafe { shared.slice(task..task + 1)[0] = all };
    });
    joined(&bounds)
}

/// The bounds of several parts.
pub(crate) fn joined(parts: &[Bounds]) -> Bounds {
    parts.iter().fold([0.0; 2], |all: Bounds, part| {
        [all[0].min(part[0]), all[1].max(part[1])]
    })
}

simd_fn! {
    /// Sums of rounded products, four taps in order, then two, then one, and the bias behind.
    fn products(s, pairs: &[(&[f32], &[f32])], bias: &[f32], out: &mut [f32]) {
        for (at, out) in (0..).step_by(S::LANES).zip(out.chunks_mut(S::LANES)) {
            let mut sum = s.zero();
            let mut rest = pairs;
            while !rest.is_empty() {
                let (group, after) = rest.split_at(match rest.len() {
                    4.. => 4,
                    2.. => 2,
                    _ => 1,
                });
                let mut part = s.zero();
                for (x, w) in group {
                    if let (Some(x), Some(w)) = (x.get(at..), w.get(at..)) {
                        part = s.add(part, s.mul(s.load_part(x, 0.0), s.load_part(w, 0.0)));
                    }
                }
                sum = s.add(sum, part);
                rest = after;
            }
            s.store_part(out, s.add(sum, s.load_part(&bias[at..], 0.0)));
        }
    }
}

simd_fn! {
    /// The mean in double precision, squares in eight chains.
    fn norm_row(s, x: &[f32], norm: &Norm<'_>, out: &mut [f32]) -> Bounds {
        let (blocks, rest) = x.as_chunks::<LANES>();
        let mut sums = [0.0f64; LANES];
        for block in blocks {
            for (sum, &v) in sums.iter_mut().zip(block) {
                *sum += f64::from(v);
            }
        }
        let sum = sums.iter().chain(&rest.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()).sum::<f64>();
        let mean = (sum / x.len() as f64) as f32;
        let mut squares = [0.0f32; LANES];
        for block in blocks {
            for (sum, &v) in squares.iter_mut().zip(block) {
                let far = v - mean;
                *sum = far.mul_add(far, *sum);
            }
        }
        let half: [f32; 4] = std::array::from_fn(|i| squares[i] + squares[i + 4]);
        let mut variance = (half[0] + half[2]) + (half[1] + half[3]);
        for &v in rest {
            variance += (v - mean) * (v - mean);
        }
        let scale = s.splat(1.0 / (variance / x.len() as f32 + norm.eps).sqrt());
        let mean = s.splat(mean);
        let (mut low, mut high) = (s.zero(), s.zero());
        for (at, (x, out)) in (0..).step_by(S::LANES).zip(x.chunks(S::LANES).zip(out.chunks_mut(S::LANES))) {
            let y = s.mul(s.sub(s.load_part(x, 0.0), mean), scale);
            let y = s.fma(y, s.load_part(&norm.weight[at..], 0.0), s.load_part(&norm.bias[at..], 0.0));
            s.store_part(out, y);
            // Lanes beyond the row hold zeros, times a weight of zero.
            low = s.min(low, y);
            high = s.max(high, y);
        }
        [-s.hmax(s.sub(s.zero(), low)), s.hmax(high)]
    }
}

simd_fn! {
    fn softmax_row(s, x: &mut [f32], divisor: f32) {
        let least = f32::NEG_INFINITY;
        let (by, mut most) = (s.splat(divisor), s.splat(least));
        for part in x.chunks_mut(S::LANES) {
            let v = s.div(s.load_part(part, least), by);
            s.store_part(part, v);
            most = s.max(most, v);
        }
        let most = s.splat(s.hmax(most));
        for part in x.chunks_mut(S::LANES) {
            let v = math::exp_of_softmax(s, s.sub(s.load_part(part, least), most));
            s.store_part(part, v);
        }
        // Sixteen chains, whatever the vectors are.
        let mut sums = [0.0f32; 16];
        for part in x.chunks(16) {
            for (sum, v) in sums.iter_mut().zip(part) {
                *sum += v;
            }
        }
        let e: [f32; 8] = std::array::from_fn(|i| sums[i] + sums[i + 8]);
        let sum = ((e[0] + e[1]) + (e[2] + e[3])) + ((e[4] + e[5]) + (e[6] + e[7]));
        let scale = s.splat(1.0 / sum);
        for part in x.chunks_mut(S::LANES) {
            s.store_part(part, s.mul(s.load_part(part, 0.0), scale));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa};

    fn normed(x: &[f32], w: &[f32], b: &[f32]) -> Vec<f64> {
        let (width, mut out) = (w.len(), Vec::new());
        for row in x.chunks(width) {
            let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / width as f64;
            let square = |&v: &f32| (f64::from(v) - mean).powi(2);
            let variance = row.iter().map(square).sum::<f64>() / width as f64;
            let scaled = |((v, w), b): ((&f32, &f32), &f32)| {
                (f64::from(*v) - mean) / (variance + 1e-5).sqrt() * f64::from(*w) + f64::from(*b)
            };
            out.extend(row.iter().zip(w).zip(b).map(scaled));
        }
        out
    }

    #[test]
    fn norms_and_convolutions_are_what_they_are_called() {
        let mut random = Random::new(12);
        for (n, width, taps, dilation) in [(1, 8, 5, 1), (40, 67, 7, 4), (33, 192, 5, 1)] {
            let x = random.normal(n * width, 2.0);
            let (w, b) = (random.normal(width, 1.0), random.normal(width, 1.0));
            let (kernel, shift) = (random.normal(taps * width, 1.0), random.normal(width, 1.0));
            let norm = Norm {
                weight: &w,
                bias: &b,
                eps: 1e-5,
            };
            let mut seen = Vec::new();
            for t in 0..n {
                for c in 0..width {
                    let mut sum = f64::from(shift[c]);
                    for k in 0..taps {
                        let at = (t + k * dilation).wrapping_sub(taps / 2 * dilation);
                        if at < n {
                            sum += f64::from(kernel[k * width + c]) * f64::from(x[at * width + c]);
                        }
                    }
                    seen.push(sum as f32);
                }
            }
            each_isa(|| {
                let mut out = vec![0.0; x.len()];
                let bounds = layer_norm(&x, &norm, &mut out);
                assert_close(&out, &normed(&x, &w, &b), 1e-4, 1e-4);
                assert_eq!(
                    bounds,
                    out.iter()
                        .fold([0.0; 2], |m, &v| [v.min(m[0]), v.max(m[1])])
                );
                skip_norm(&x, &norm, &mut out);
                assert_close(&out, &normed(&x, &w, &b), 1e-4, 1e-4);
                depthwise_norm(&x, &kernel, &shift, dilation, &norm, &mut out);
                assert_close(&out, &normed(&seen, &w, &b), 1e-3, 1e-3);
            });
        }
    }

    #[test]
    fn rows_of_softmax_sum_to_one_and_keep_their_order() {
        let mut random = Random::new(13);
        for width in [1, 7, 100, 131] {
            let x = random.normal(5 * width, 9.0);
            let want: Vec<f64> = x
                .chunks(width)
                .flat_map(|row| {
                    let e: Vec<f64> = row.iter().map(|&v| (f64::from(v) / 3.0).exp()).collect();
                    let sum: f64 = e.iter().sum();
                    e.into_iter().map(move |e| e / sum)
                })
                .collect();
            each_isa(|| {
                let mut x = x.clone();
                softmax(&mut x, width, 3.0);
                assert_close(&x, &want, 2e-6, 1e-7);
            });
        }
    }

    #[test]
    fn logarithms_and_chains() {
        for i in 1..2000 {
            let x = i as f32 * 0.37;
            assert!(
                (log(x) - x.ln()).abs() <= 1e-6 * x.ln().abs().max(1.0),
                "{x}"
            );
        }
        let mut some = [1.0, -1.0, 0.0, f32::INFINITY];
        logs(&mut some);
        assert!(some[0] == 0.0 && some[1].is_nan());
        assert_eq!(some[2..], [f32::NEG_INFINITY, f32::INFINITY]);
        assert_eq!(
            [
                chain(480, 910),
                chain(64, 910),
                chain(20, 910),
                chain(20, 8)
            ],
            [128, 256, 512, 128]
        );
    }
}
