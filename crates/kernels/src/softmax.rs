//! Softmax over the last dimension.
#![allow(unsafe_code)] // tasks write disjoint rows of one slice

use crate::isa;
use crate::pool::SharedMut;
use crate::rowwise::{for_ranges, rows, same_len};
use crate::simd::{Simd, math, simd_fn};

/// Replaces each row of `width` elements by its softmax, taken about the row's largest element.
///
/// # Panics
/// When `x` is not whole rows.
pub fn softmax(x: &mut [f32], width: usize) {
    let n = rows("x", x.len(), width);
    let (isa, x) = (isa(), SharedMut::new(x));
    for_ranges(n, width, |range| {
        for r in range {
            // SAFETY: each row is written by one task.
            softmax_row(isa, unsafe { x.slice(r * width..(r + 1) * width) });
        }
    });
}

/// The backward pass of [`softmax`]: from its output `p` and the gradient `dp` of that,
/// `dx = p * (dp - Σ p dp)` row by row.
///
/// # Panics
/// When `p` is not whole rows or the lengths differ.
pub fn softmax_backward(p: &[f32], dp: &[f32], width: usize, dx: &mut [f32]) {
    let n = rows("p", p.len(), width);
    same_len("dp", dp.len(), p.len());
    same_len("dx", dx.len(), p.len());
    let (isa, dx) = (isa(), SharedMut::new(dx));
    for_ranges(n, width, |range| {
        for r in range {
            let span = r * width..(r + 1) * width;
            // SAFETY: each row is written by one task.
            let dx = unsafe { dx.slice(span.clone()) };
            softmax_row_backward(isa, &p[span.clone()], &dp[span], dx);
        }
    });
}

/// Cross entropy of rows of logits with one target class each: `losses[r] = log Σ exp(logits) -
/// logits[target]`, and that log-sum to `log_sums[r]` for the backward pass. A target of
/// `u32::MAX` is ignored: its loss is 0.
///
/// # Panics
/// When a slice does not fit, or a target is neither below `classes` nor `u32::MAX`.
pub fn cross_entropy(
    logits: &[f32],
    classes: usize,
    targets: &[u32],
    losses: &mut [f32],
    log_sums: &mut [f32],
) {
    let n = rows("logits", logits.len(), classes);
    check_targets(targets, n, classes);
    same_len("losses", losses.len(), n);
    same_len("log_sums", log_sums.len(), n);
    let (isa, losses, log_sums) = (isa(), SharedMut::new(losses), SharedMut::new(log_sums));
    for_ranges(n, classes, |range| {
        for r in range {
            let row = &logits[r * classes..(r + 1) * classes];
            let log_sum = log_sum_exp(isa, row);
            // A class out of the row is `u32::MAX`.
            let loss = row.get(targets[r] as usize).map_or(0.0, |x| log_sum - x);
            // SAFETY: each row is written by one task.
            unsafe {
                losses.slice(r..r + 1)[0] = loss;
                log_sums.slice(r..r + 1)[0] = log_sum;
            }
        }
    });
}

/// The backward pass of [`cross_entropy`]: `dlogits = (softmax(logits) - target) * dlosses[r]`,
/// 0 in ignored rows.
///
/// # Panics
/// As [`cross_entropy`].
pub fn cross_entropy_backward(
    logits: &[f32],
    classes: usize,
    targets: &[u32],
    log_sums: &[f32],
    dlosses: &[f32],
    dlogits: &mut [f32],
) {
    let n = rows("logits", logits.len(), classes);
    check_targets(targets, n, classes);
    same_len("log_sums", log_sums.len(), n);
    same_len("dlosses", dlosses.len(), n);
    same_len("dlogits", dlogits.len(), logits.len());
    let (isa, dlogits) = (isa(), SharedMut::new(dlogits));
    for_ranges(n, classes, |range| {
        for r in range {
            let span = r * classes..(r + 1) * classes;
            // SAFETY: each row is written by one task.
            let out = unsafe { dlogits.slice(span.clone()) };
            let target = targets[r] as usize;
            if target < classes {
                scaled_softmax(isa, &logits[span], log_sums[r], dlosses[r], out);
                out[target] -= dlosses[r];
            } else {
                out.fill(0.0);
            }
        }
    });
}

/// [`cross_entropy`] with its backward pass in one go, while a row is near: the loss of each row goes to `losses`, and
/// its logits become `(softmax(logits) - target) * scale`, 0 in ignored rows.
///
/// # Panics
/// As [`cross_entropy`].
pub fn cross_entropy_in_place(
    logits: &mut [f32],
    classes: usize,
    targets: &[u32],
    scale: f32,
    losses: &mut [f32],
) {
    let n = rows("logits", logits.len(), classes);
    check_targets(targets, n, classes);
    same_len("losses", losses.len(), n);
    let (isa, losses, logits) = (isa(), SharedMut::new(losses), SharedMut::new(logits));
    for_ranges(n, classes, |range| {
        for r in range {
            // SAFETY: each row is written by one task.
            let (row, loss) = unsafe {
                let row = logits.slice(r * classes..(r + 1) * classes);
                (row, &mut losses.slice(r..r + 1)[0])
            };
            let target = targets[r] as usize;
            if target >= classes {
                *loss = 0.0;
                row.fill(0.0);
                continue;
            }
            let log_sum = log_sum_exp(isa, row);
            *loss = log_sum - row[target];
            row_gradient(isa, row, log_sum, scale);
            row[target] -= scale;
        }
    });
}

fn check_targets(targets: &[u32], n: usize, classes: usize) {
    same_len("targets", targets.len(), n);
    let wrong = targets
        .iter()
        .find(|&&t| t != u32::MAX && t as usize >= classes);
    assert!(wrong.is_none(), "target {wrong:?} of {classes} classes");
}

/// The largest element of a row.
#[inline(always)]
pub(crate) fn row_max<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut largest = s.splat(f32::NEG_INFINITY);
    for part in x.chunks(S::LANES) {
        largest = s.max(largest, s.load_part(part, f32::NEG_INFINITY));
    }
    s.hmax(largest)
}

simd_fn! {
    fn softmax_row(s, x: &mut [f32]) {
        let largest = s.splat(row_max(s, x));
        let mut sum = s.zero();
        for part in x.chunks_mut(S::LANES) {
            let e = math::exp(s, s.sub(s.load_part(part, f32::NEG_INFINITY), largest));
            sum = s.add(sum, e);
            s.store_part(part, e);
        }
        let scale = s.splat(1.0 / s.sum(sum));
        for part in x.chunks_mut(S::LANES) {
            let p = s.mul(s.load_part(part, 0.0), scale);
            s.store_part(part, p);
        }
    }
}

simd_fn! {
    fn softmax_row_backward(s, p: &[f32], dp: &[f32], dx: &mut [f32]) {
        let mut dot = s.zero();
        for (p, dp) in p.chunks(S::LANES).zip(dp.chunks(S::LANES)) {
            dot = s.fma(s.load_part(p, 0.0), s.load_part(dp, 0.0), dot);
        }
        let dot = s.splat(s.sum(dot));
        let parts = p.chunks(S::LANES).zip(dp.chunks(S::LANES)).zip(dx.chunks_mut(S::LANES));
        for ((p, dp), dx) in parts {
            let d = s.sub(s.load_part(dp, 0.0), dot);
            s.store_part(dx, s.mul(s.load_part(p, 0.0), d));
        }
    }
}

simd_fn! {
    fn log_sum_exp(s, x: &[f32]) -> f32 {
        let largest = row_max(s, x);
        let shift = s.splat(largest);
        let mut sum = s.zero();
        for part in x.chunks(S::LANES) {
            let x = s.load_part(part, f32::NEG_INFINITY);
            sum = s.add(sum, math::exp_negative(s, s.sub(x, shift)));
        }
        largest + s.sum(sum).ln()
    }
}

simd_fn! {
    fn scaled_softmax(s, x: &[f32], log_sum: f32, scale: f32, out: &mut [f32]) {
        let (log_sum, scale) = (s.splat(log_sum), s.splat(scale));
        for (x, out) in x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
            let p = math::exp_negative(s, s.sub(s.load_part(x, 0.0), log_sum));
            s.store_part(out, s.mul(p, scale));
        }
    }
}

simd_fn! {
    fn row_gradient(s, x: &mut [f32], log_sum: f32, scale: f32) {
        let (log_sum, scale) = (s.splat(log_sum), s.splat(scale));
        for x in x.chunks_mut(S::LANES) {
            let p = math::exp_negative(s, s.sub(s.load_part(x, 0.0), log_sum));
            s.store_part(x, s.mul(p, scale));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa, gradient};

    #[test]
    fn matches_double_precision() {
        let mut random = Random::new(1);
        for width in [1, 3, 8, 17, 49_152] {
            for scale in [0.0, 1e-30, 1.0, 30.0, 1e30] {
                let mut x = random.normal(2 * width, scale);
                if width > 3 {
                    x[2] = f32::NEG_INFINITY;
                }
                let want: Vec<f64> = x
                    .chunks(width)
                    .flat_map(|row| {
                        let m = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                        let e: Vec<f64> = row
                            .iter()
                            .map(|&x| (f64::from(x) - f64::from(m)).exp())
                            .collect();
                        let sum: f64 = e.iter().sum();
                        e.into_iter().map(move |e| e / sum).collect::<Vec<_>>()
                    })
                    .collect();
                each_isa(|| {
                    let mut got = x.clone();
                    softmax(&mut got, width);
                    // Beside 1e30 every distance is rounded to a multiple of 1e22.
                    assert_close(&got, &want, 1e-5, 1e-7);
                });
            }
        }
    }

    fn log_sum(row: &[f32]) -> f64 {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row
            .iter()
            .map(|&x| (f64::from(x) - f64::from(max)).exp())
            .sum();
        f64::from(max) + sum.ln()
    }

    #[test]
    fn softmax_gradient_matches_finite_differences() {
        let mut random = Random::new(2);
        for width in [1, 5, 8, 19] {
            let (x, dp) = (random.normal(3 * width, 1.0), random.normal(3 * width, 1.0));
            let want = gradient(&x, |x| {
                let rows = x.chunks(width).zip(dp.chunks(width));
                rows.flat_map(|(x, dp)| {
                    let sum = log_sum(x);
                    x.iter()
                        .zip(dp)
                        .map(move |(&x, &d)| (f64::from(x) - sum).exp() * f64::from(d))
                })
                .sum()
            });
            each_isa(|| {
                let (mut p, mut dx) = (x.clone(), vec![0.0; x.len()]);
                softmax(&mut p, width);
                softmax_backward(&p, &dp, width, &mut dx);
                assert_close(&dx, &want, 1e-4, 1e-5);
            });
        }
    }

    #[test]
    fn cross_entropy_and_its_gradient() {
        let mut random = Random::new(3);
        for (classes, scale) in [(1, 1.0), (2, 1.0), (17, 3.0), (100, 30.0)] {
            let targets: Vec<u32> = (0..9)
                .map(|i| {
                    if i == 4 {
                        u32::MAX
                    } else {
                        random.below(classes) as u32
                    }
                })
                .collect();
            let x = random.normal(9 * classes, scale);
            let weights = random.normal(9, 1.0);
            let loss = |x: &[f32], r: usize| match targets[r] {
                u32::MAX => 0.0,
                t => {
                    let row = &x[r * classes..(r + 1) * classes];
                    log_sum(row) - f64::from(row[t as usize])
                }
            };
            let want: Vec<f64> = (0..9).map(|r| loss(&x, r)).collect();
            let want_dx = gradient(&x, |x| {
                (0..9).map(|r| loss(x, r) * f64::from(weights[r])).sum()
            });
            each_isa(|| {
                let (mut losses, mut sums) = (vec![9.0; 9], vec![0.0; 9]);
                let mut dx = vec![9.0; x.len()];
                cross_entropy(&x, classes, &targets, &mut losses, &mut sums);
                assert_close(&losses, &want, 1e-6, 1e-5);
                cross_entropy_backward(&x, classes, &targets, &sums, &weights, &mut dx);
                assert_close(&dx, &want_dx, 1e-3, 1e-4);
            });
        }
    }

    #[test]
    #[should_panic(expected = "of 3 classes")]
    fn a_class_that_is_not_there() {
        cross_entropy(&[0.0; 3], 3, &[3], &mut [0.0], &mut [0.0]);
    }

    #[test]
    fn in_place_is_forward_and_backward() {
        let mut random = Random::new(9);
        for (n, classes) in [(1, 1), (5, 7), (70, 1000)] {
            let logits = random.normal(n * classes, 3.0);
            let targets: Vec<u32> = (0..n)
                .map(|i| {
                    if i % 4 == 3 {
                        u32::MAX
                    } else {
                        (i * 31 % classes) as u32
                    }
                })
                .collect();
            each_isa(|| {
                let (mut losses, mut sums) = (vec![0.0; n], vec![0.0; n]);
                cross_entropy(&logits, classes, &targets, &mut losses, &mut sums);
                let mut want = vec![0.0; logits.len()];
                cross_entropy_backward(
                    &logits,
                    classes,
                    &targets,
                    &sums,
                    &vec![0.25; n],
                    &mut want,
                );
                let (mut got, mut again) = (logits.clone(), vec![9.0; n]);
                cross_entropy_in_place(&mut got, classes, &targets, 0.25, &mut again);
                assert_eq!((got, again), (want, losses));
            });
        }
    }
}
