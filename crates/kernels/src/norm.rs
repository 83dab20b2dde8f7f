//! Normalisation over the last dimension.
#![allow(unsafe_code)] // tasks write disjoint rows of one slice

use crate::isa;
use crate::pool::SharedMut;
use crate::rowwise::{for_ranges, rows, same_len, sum_over_rows};
use crate::simd::{Simd, simd_fn};

/// Root-mean-square norm: each row of `x` (rows of `weight.len()`) becomes
/// `x / sqrt(mean(x²) + eps) * weight`. Zhang and Sennrich, arXiv:1910.07467.
///
/// # Panics
/// When `x` is not whole rows or `out` is not as long as `x`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    let n = rows("x", x.len(), width);
    same_len("out", out.len(), x.len());
    let (isa, out) = (isa(), SharedMut::new(out));
    for_ranges(n, width, |range| {
        for r in range {
            let span = r * width..(r + 1) * width;
            // SAFETY: each row is written by one task.
            let out = unsafe { out.slice(span.clone()) };
            rms_row(isa, &x[span], weight, eps, out);
        }
    });
}

/// Adds `residual` to `x` in place, then writes the [`rms_norm`] of the sum to `out`.
///
/// # Panics
/// When `x` is not whole rows of `weight.len()`, or `residual` or `out` is not as long as `x`.
pub fn add_rms_norm(x: &mut [f32], residual: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    let n = rows("x", x.len(), width);
    same_len("residual", residual.len(), x.len());
    same_len("out", out.len(), x.len());
    let (isa, x, out) = (isa(), SharedMut::new(x), SharedMut::new(out));
    for_ranges(n, width, |range| {
        for r in range {
            let span = r * width..(r + 1) * width;
            // SAFETY: each row is written by one task.
            let (x, out) = unsafe { (x.slice(span.clone()), out.slice(span.clone())) };
            add_row(isa, x, &residual[span]);
            rms_row(isa, x, weight, eps, out);
        }
    });
}

/// Layer norm: each row of `x` (rows of `weight.len()`) becomes
/// `(x - mean) / sqrt(variance + eps) * weight + bias`. Ba et al., arXiv:1607.06450.
///
/// # Panics
/// When `x` is not whole rows, `bias` is not as long as `weight`, or `out` not as long as `x`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, out: &mut [f32]) {
    let width = weight.len();
    let n = rows("x", x.len(), width);
    same_len("out", out.len(), x.len());
    if let Some(bias) = bias {
        same_len("bias", bias.len(), width);
    }
    let (isa, out) = (isa(), SharedMut::new(out));
    for_ranges(n, width, |range| {
        for r in range {
            let span = r * width..(r + 1) * width;
            // SAFETY: each row is written by one task.
            let out = unsafe { out.slice(span.clone()) };
            layer_row(isa, &x[span], weight, bias, eps, out);
        }
    });
}

/// One more term of [`reduce`]. No closure: those are compiled without the instruction set.
#[inline(always)]
fn term<S: Simd>(s: S, acc: S::V, v: S::V, shift: Option<S::V>) -> S::V {
    match shift {
        None => s.add(acc, v),
        Some(shift) => {
            let d = s.sub(v, shift);
            s.fma(d, d, acc)
        }
    }
}

/// The sum over a row of `(x - shift)²` or of `x`, in four interleaved accumulators.
#[inline(always)]
fn reduce<S: Simd>(s: S, x: &[f32], squares_about: Option<f32>) -> f32 {
    let shift = squares_about.map(|shift| s.splat(shift));
    let mut acc = [s.zero(); 4];
    let mut blocks = x.chunks_exact(4 * S::LANES);
    for block in &mut blocks {
        for (k, acc) in acc.iter_mut().enumerate() {
            *acc = term(s, *acc, s.load(&block[k * S::LANES..]), shift);
        }
    }
    for (k, part) in blocks.remainder().chunks(S::LANES).enumerate() {
        // A lane filled with the shift adds nothing.
        let v = s.load_part(part, squares_about.unwrap_or(0.0));
        acc[k] = term(s, acc[k], v, shift);
    }
    s.sum(s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3])))
}

simd_fn! {
    fn add_row(s, x: &mut [f32], y: &[f32]) {
        for (x, y) in x.chunks_mut(S::LANES).zip(y.chunks(S::LANES)) {
            let sum = s.add(s.load_part(x, 0.0), s.load_part(y, 0.0));
            s.store_part(x, sum);
        }
    }
}

simd_fn! {
    fn rms_row(s, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let mean = reduce(s, x, Some(0.0)) / x.len() as f32;
        let scale = s.splat(1.0 / (mean + eps).sqrt());
        let rows = x.chunks(S::LANES).zip(weight.chunks(S::LANES)).zip(out.chunks_mut(S::LANES));
        for ((x, w), out) in rows {
            let y = s.mul(s.mul(s.load_part(x, 0.0), scale), s.load_part(w, 0.0));
            s.store_part(out, y);
        }
    }
}

simd_fn! {
    fn layer_row(
        s, x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, out: &mut [f32],
    ) {
        let n = x.len() as f32;
        let mean = reduce(s, x, None) / n;
        let variance = reduce(s, x, Some(mean)) / n;
        let (mean, scale) = (s.splat(mean), s.splat(1.0 / (variance + eps).sqrt()));
        let rows = x.chunks(S::LANES).zip(weight.chunks(S::LANES)).zip(out.chunks_mut(S::LANES));
        for (i, ((x, w), out)) in rows.enumerate() {
            let y = s.mul(s.sub(s.load_part(x, 0.0), mean), scale);
            let y = match bias {
                Some(b) => s.fma(y, s.load_part(w, 0.0), s.load_part(&b[i * S::LANES..], 0.0)),
                None => s.mul(y, s.load_part(w, 0.0)),
            };
            s.store_part(out, y);
        }
    }
}

/// The backward pass of [`rms_norm`]: from the gradient `dy` of its output, writes that of `x` to
/// `dx` and adds that of `weight` to `dweight`.
///
/// # Panics
/// When `x` is not whole rows of `weight.len()` or another slice does not fit.
pub fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
) {
    let width = weight.len();
    let n = rows("x", x.len(), width);
    same_len("dy", dy.len(), x.len());
    same_len("dx", dx.len(), x.len());
    same_len("dweight", dweight.len(), width);
    let (isa, dx) = (isa(), SharedMut::new(dx));
    sum_over_rows(n, dweight, |range, dweight| {
        for r in range {
            let span = r * width..(r + 1) * width;
            // SAFETY: each row is written by one task.
            let dx = unsafe { dx.slice(span.clone()) };
            rms_row_backward(isa, &x[span.clone()], weight, eps, &dy[span], dx, dweight);
        }
    });
}

/// The backward pass of [`layer_norm`]: writes the gradient of `x` to `dx` and adds those of the
/// weight and the bias to `dweight` and `dbias`.
///
/// # Panics
/// When `x` is not whole rows of `weight.len()` or another slice does not fit.
#[allow(clippy::too_many_arguments)]
pub fn layer_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
    dbias: Option<&mut [f32]>,
) {
    let width = weight.len();
    let n = rows("x", x.len(), width);
    same_len("dy", dy.len(), x.len());
    same_len("dx", dx.len(), x.len());
    same_len("dweight", dweight.len(), width);
    let (isa, dx) = (isa(), SharedMut::new(dx));
    let mut sums = vec![0.0; 2 * width];
    sum_over_rows(n, &mut sums, |range, sums| {
        let (dweight, dbias) = sums.split_at_mut(width);
        for r in range {
            let span = r * width..(r + 1) * width;
            // SAFETY: each row is written by one task.
            let dx = unsafe { dx.slice(span.clone()) };
            let (x, dy) = (&x[span.clone()], &dy[span]);
            layer_row_backward(isa, x, weight, eps, dy, dx, dweight, dbias);
        }
    });
    let add = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
    add(dweight, &sums[..width]);
    if let Some(dbias) = dbias {
        same_len("dbias", dbias.len(), width);
        add(dbias, &sums[width..]);
    }
}

simd_fn! {
    fn rms_row_backward(
        s, x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32], dweight: &mut [f32],
    ) {
        let n = x.len() as f32;
        let scale = 1.0 / (reduce(s, x, Some(0.0)) / n + eps).sqrt();
        let scales = s.splat(scale);
        let mut dot = s.zero();
        let parts = x.chunks(S::LANES).zip(weight.chunks(S::LANES)).zip(dy.chunks(S::LANES));
        for (((x, w), dy), dw) in parts.zip(dweight.chunks_mut(S::LANES)) {
            let (x, dy) = (s.load_part(x, 0.0), s.load_part(dy, 0.0));
            let xdy = s.mul(x, dy);
            dot = s.fma(xdy, s.load_part(w, 0.0), dot);
            let sum = s.fma(xdy, scales, s.load_part(dw, 0.0));
            s.store_part(dw, sum);
        }
        // d/dx of x r w with r = (mean x^2 + eps)^(-1/2), which is itself a function of x.
        let pull = s.splat(-(s.sum(dot) * scale * scale * scale / n));
        let parts = x.chunks(S::LANES).zip(weight.chunks(S::LANES)).zip(dy.chunks(S::LANES));
        for (((x, w), dy), dx) in parts.zip(dx.chunks_mut(S::LANES)) {
            let g = s.mul(s.mul(s.load_part(dy, 0.0), s.load_part(w, 0.0)), scales);
            s.store_part(dx, s.fma(s.load_part(x, 0.0), pull, g));
        }
    }
}

simd_fn! {
    fn layer_row_backward(
        s, x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32],
        dweight: &mut [f32], dbias: &mut [f32],
    ) {
        let n = x.len() as f32;
        let mean = reduce(s, x, None) / n;
        let scale = 1.0 / (reduce(s, x, Some(mean)) / n + eps).sqrt();
        let (mean, scales) = (s.splat(mean), s.splat(scale));
        let (mut sum, mut dot) = (s.zero(), s.zero());
        let parts = x.chunks(S::LANES).zip(weight.chunks(S::LANES)).zip(dy.chunks(S::LANES));
        let sums = dweight.chunks_mut(S::LANES).zip(dbias.chunks_mut(S::LANES));
        for (((x, w), dy), (dw, db)) in parts.zip(sums) {
            // Lanes beyond the row: dy and w are 0.
            let (x, dy) = (s.load_part(x, 0.0), s.load_part(dy, 0.0));
            let unit = s.mul(s.sub(x, mean), scales);
            let g = s.mul(dy, s.load_part(w, 0.0));
            sum = s.add(sum, g);
            dot = s.fma(g, unit, dot);
            let (weight, bias) = (s.load_part(dw, 0.0), s.load_part(db, 0.0));
            s.store_part(dw, s.fma(dy, unit, weight));
            s.store_part(db, s.add(bias, dy));
        }
        let (sum, dot) = (s.splat(s.sum(sum) / n), s.splat(s.sum(dot) / n));
        let parts = x.chunks(S::LANES).zip(weight.chunks(S::LANES)).zip(dy.chunks(S::LANES));
        for (((x, w), dy), dx) in parts.zip(dx.chunks_mut(S::LANES)) {
            let unit = s.mul(s.sub(s.load_part(x, 0.0), mean), scales);
            let g = s.mul(s.load_part(dy, 0.0), s.load_part(w, 0.0));
            let d = s.sub(s.sub(g, sum), s.mul(unit, dot));
            s.store_part(dx, s.mul(d, scales));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa, gradient};

    fn reference(x: &[f32], w: &[f32], b: Option<&[f32]>, eps: f32, centre: bool) -> Vec<f64> {
        let n = w.len() as f64;
        x.chunks(w.len())
            .flat_map(|row| {
                let mean = if centre {
                    row.iter().map(|&x| f64::from(x)).sum::<f64>() / n
                } else {
                    0.0
                };
                let var = row
                    .iter()
                    .map(|&x| (f64::from(x) - mean).powi(2))
                    .sum::<f64>()
                    / n;
                let scale = 1.0 / (var + f64::from(eps)).sqrt();
                row.iter()
                    .enumerate()
                    .map(|(i, &x)| {
                        (f64::from(x) - mean) * scale * f64::from(w[i])
                            + b.map_or(0.0, |b| f64::from(b[i]))
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn norms_match_double_precision() {
        let mut random = Random::new(1);
        for width in [1, 2, 7, 8, 9, 31, 32, 33, 100, 576, 1001] {
            for (rows, scale) in [(1, 1.0), (3, 1e-3), (5, 1e4), (2, 1e-20), (2, 0.0)] {
                let x = random.normal(rows * width, scale);
                let (w, b) = (random.normal(width, 1.0), random.normal(width, 1.0));
                let eps = 1e-6;
                each_isa(|| {
                    let mut out = vec![0.0; x.len()];
                    rms_norm(&x, &w, eps, &mut out);
                    assert_close(&out, &reference(&x, &w, None, eps, false), 2e-6, 1e-7);
                    layer_norm(&x, &w, Some(&b), eps, &mut out);
                    assert_close(&out, &reference(&x, &w, Some(&b), eps, true), 1e-5, 2e-6);
                    layer_norm(&x, &w, None, eps, &mut out);
                    assert_close(&out, &reference(&x, &w, None, eps, true), 1e-5, 2e-6);
                });
            }
        }
    }

    #[test]
    fn adding_first_is_the_same_as_adding_in_the_norm() {
        let mut random = Random::new(2);
        for width in [5, 64, 577] {
            let (x, y) = (random.normal(3 * width, 1.0), random.normal(3 * width, 1.0));
            let w = random.normal(width, 1.0);
            each_isa(|| {
                let sum: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
                let (mut want, mut got) = (vec![0.0; sum.len()], vec![0.0; sum.len()]);
                rms_norm(&sum, &w, 1e-5, &mut want);
                let mut inplace = x.clone();
                add_rms_norm(&mut inplace, &y, &w, 1e-5, &mut got);
                assert_eq!((inplace, got), (sum, want));
            });
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let mut random = Random::new(3);
        let (x, w) = (random.normal(300 * 577, 1.0), random.normal(577, 1.0));
        let (mut all, mut one) = (vec![0.0; x.len()], vec![0.0; 577]);
        rms_norm(&x, &w, 1e-5, &mut all);
        for (x, want) in x.chunks(577).zip(all.chunks(577)) {
            rms_norm(x, &w, 1e-5, &mut one);
            assert_eq!(one, want);
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let mut random = Random::new(4);
        for (rows, width) in [(1, 1), (3, 7), (5, 16), (130, 19)] {
            let x = random.normal(rows * width, 1.0);
            let (w, dy) = (random.normal(width, 1.0), random.normal(rows * width, 1.0));
            let eps = 1e-2;
            for centre in [false, true] {
                let loss = |x: &[f32], w: &[f32]| -> f64 {
                    let y = reference(x, w, None, eps, centre);
                    y.iter().zip(&dy).map(|(y, &d)| y * f64::from(d)).sum()
                };
                let want_dx = gradient(&x, |x| loss(x, &w));
                let want_dw = gradient(&w, |w| loss(&x, w));
                let mut want_db = vec![0.5; width];
                dy.chunks(width).for_each(|dy| {
                    want_db
                        .iter_mut()
                        .zip(dy)
                        .for_each(|(b, &d)| *b += f64::from(d));
                });
                each_isa(|| {
                    let (mut dx, mut dw, mut db) =
                        (vec![9.0; x.len()], vec![0.0; width], vec![0.5; width]);
                    if centre {
                        layer_norm_backward(&x, &w, eps, &dy, &mut dx, &mut dw, Some(&mut db));
                        assert_close(&db, &want_db, 1e-5, 1e-5);
                    } else {
                        rms_norm_backward(&x, &w, eps, &dy, &mut dx, &mut dw);
                    }
                    assert_close(&dx, &want_dx, 2e-3, 2e-3);
                    assert_close(&dw, &want_dw, 2e-3, 2e-3);
                });
            }
        }
    }
}
