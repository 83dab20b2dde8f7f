//! Optimisers over slices: one step of AdamW and of Muon, and the norm that clipping needs.
//!
//! Loops are plain and vectorised by the compiler for each instruction set; none fuses a product into a sum, so every
//! set gives the same bits.
#![allow(unsafe_code)] // tasks write disjoint parts of one slice

use crate::dense::{Matrix, matmul, matmul_rounded};
use crate::pool::{self, SharedMut};
use crate::rowwise::{for_ranges, same_len};
use crate::simd::simd_fn;
use crate::{isa, memory::unspecified};

/// Settings of [`adamw`]. Loshchilov and Hutter, arXiv:1711.05101; names and order of operations are PyTorch's
/// (`torch.optim.AdamW`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of squared gradients.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub eps: f32,
    /// Share of a parameter that is taken away, times `lr`.
    pub weight_decay: f32,
}

impl Default for AdamW {
    /// PyTorch's defaults.
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 1e-2,
        }
    }
}

/// What the loop over elements needs of [`AdamW`] at one step.
#[derive(Clone, Copy)]
struct Factors {
    keep: f32,
    rate: f32,
    root: f32,
    eps: f32,
    mean: f32,
    square: f32,
    scale: f32,
}

/// One step of AdamW, the `step`th (from 1), over a parameter, its gradient (times `scale`, of clipping and
/// accumulation), and the running means of gradients and of their squares, zeros before the first step.
///
/// # Panics
/// When the lengths differ.
pub fn adamw(
    settings: &AdamW,
    step: u64,
    scale: f32,
    parameter: &mut [f32],
    gradient: &[f32],
    means: &mut [f32],
    squares: &mut [f32],
) {
    let n = parameter.len();
    for (what, len) in [
        ("gradient", gradient.len()),
        ("means", means.len()),
        ("squares", squares.len()),
    ] {
        same_len(what, len, n);
    }
    // Powers of many steps in f64, as PyTorch has them.
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
    let factors = Factors {
        keep: (1.0 - f64::from(settings.lr) * f64::from(settings.weight_decay)) as f32,
        rate: (f64::from(settings.lr) / correction(settings.beta1)) as f32,
        root: correction(settings.beta2).sqrt() as f32,
        eps: settings.eps,
        mean: 1.0 - settings.beta1,
        square: settings.beta2,
        scale,
    };
    let isa = isa();
    let (p, m, v) = (
        SharedMut::new(parameter),
        SharedMut::new(means),
        SharedMut::new(squares),
    );
    for_ranges(n, 1, |range| {
        // SAFETY: the ranges are disjoint.
        let (p, m, v) = unsafe {
            (
                p.slice(range.clone()),
                m.slice(range.clone()),
                v.slice(range.clone()),
            )
        };
        adamw_part(isa, factors, p, &gradient[range], m, v);
    });
}

simd_fn! {
    fn adamw_part(s, f: Factors, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        let rest = 1.0 - f.square;
        for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * f.scale;
            *m += (g - *m) * f.mean;
            *v = *v * f.square + g * g * rest;
            *p = *p * f.keep - f.rate * (*m / (v.sqrt() / f.root + f.eps));
        }
    }
}

/// `average += (x - average) * rate`: an exponential moving average of weights.
///
/// # Panics
/// When the lengths differ.
pub fn lerp(average: &mut [f32], x: &[f32], rate: f32) {
    same_len("x", x.len(), average.len());
    let (isa, n, average) = (isa(), average.len(), SharedMut::new(average));
    for_ranges(n, 1, |range| {
        // SAFETY: the ranges are disjoint.
        let average = unsafe { average.slice(range.clone()) };
        lerp_part(isa, average, &x[range], rate);
    });
}

simd_fn! {
    fn lerp_part(s, average: &mut [f32], x: &[f32], rate: f32) {
        for (average, x) in average.iter_mut().zip(x) {
            *average += (x - *average) * rate;
        }
    }
}

/// `sum += x * factor`, or `sum = x * factor` where `fresh`.
///
/// # Panics
/// When the lengths differ.
pub fn add_scaled(sum: &mut [f32], x: &[f32], factor: f32, fresh: bool) {
    same_len("x", x.len(), sum.len());
    let (isa, n, sum) = (isa(), sum.len(), SharedMut::new(sum));
    for_ranges(n, 1, |range| {
        // SAFETY: the ranges are disjoint.
        let sum = unsafe { sum.slice(range.clone()) };
        add_scaled_part(isa, sum, &x[range], factor, fresh);
    });
}

simd_fn! {
    fn add_scaled_part(s, sum: &mut [f32], x: &[f32], factor: f32, fresh: bool) {
        if fresh {
            for (sum, x) in sum.iter_mut().zip(x) {
                *sum = x * factor;
            }
        } else {
            for (sum, x) in sum.iter_mut().zip(x) {
                *sum += x * factor;
            }
        }
    }
}

/// Elements in one partial sum of squares, whatever the number of threads.
const PART: usize = 1 << 14;

/// The sum of squares, in parts that are added in double precision and in order.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let mut sums = vec![0.0; x.len().div_ceil(PART)];
    let isa = isa();
    pool::parallel_chunks(&mut sums, 4, |i, sums| {
        let parts = x[i * 4 * PART..].chunks(PART);
        for (sum, part) in sums.iter_mut().zip(parts) {
            *sum = f64::from(squares_of(isa, part));
        }
    });
    sums.iter().sum()
}

simd_fn! {
    fn squares_of(s, x: &[f32]) -> f32 {
        let mut sums = [0.0; 32];
        for part in x.chunks(32) {
            for (sum, x) in sums.iter_mut().zip(part) {
                *sum += x * x;
            }
        }
        sums.iter().sum()
    }
}

/// Settings of [`muon`]. Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon>; names, defaults and order of
/// operations are those of `torch.optim.Muon`, which orthogonalises in bf16.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Muon {
    /// Learning rate of this step.
    pub lr: f32,
    /// Share of a parameter that is taken away, times `lr`.
    pub weight_decay: f32,
    /// Decay of the mean of gradients.
    pub momentum: f32,
    /// Whether the gradient is mixed into the momentum once more.
    pub nesterov: bool,
    /// Iterations of Newton and Schulz.
    pub steps: usize,
    /// Whether the update is as large as AdamW's usually is (`match_rms_adamw`): `0.2 √max(rows, cols)` times `lr`, so
    /// that both take the same learning rate. Otherwise `√max(1, rows / cols)` times `lr`.
    pub as_adamw: bool,
    /// Whether products are in bf16.
    pub rounded: bool,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            weight_decay: 0.1,
            momentum: 0.95,
            nesterov: true,
            steps: 5,
            as_adamw: false,
            rounded: true,
        }
    }
}

/// Coefficients of the iteration: singular values go to about 1 in few steps, not exactly.
pub const SCHULZ: (f32, f32, f32) = (3.4445, -4.775, 2.0315);

/// One step of Muon over a matrix of `rows` × `cols`, its gradient (times `scale`) and the running mean of gradients,
/// zeros before the first step.
///
/// # Panics
/// When a slice is not rows × cols.
pub fn muon(
    settings: &Muon,
    scale: f32,
    (rows, cols): (usize, usize),
    parameter: &mut [f32],
    gradient: &[f32],
    means: &mut [f32],
) {
    let orthogonal = |update| {
        Ok::<_, std::convert::Infallible>(orthogonal(
            update,
            (rows, cols),
            settings.steps,
            settings.rounded,
        ))
    };
    let Ok(()) = muon_by(
        settings,
        scale,
        (rows, cols),
        parameter,
        gradient,
        means,
        orthogonal,
    );
}

/// [`muon`], where something else brings the singular values of the update near 1, as another device may. The parameter stays
/// as it was where that fails.
///
/// # Errors
/// That of `orthogonal`.
///
/// # Panics
/// As [`muon`], or when `orthogonal` gives another number of elements.
pub fn muon_by<E>(
    settings: &Muon,
    scale: f32,
    (rows, cols): (usize, usize),
    parameter: &mut [f32],
    gradient: &[f32],
    means: &mut [f32],
    orthogonal: impl FnOnce(Vec<f32>) -> Result<Vec<f32>, E>,
) -> Result<(), E> {
    for (what, len) in [
        ("parameter", parameter.len()),
        ("gradient", gradient.len()),
        ("means", means.len()),
    ] {
        same_len(what, len, rows * cols);
    }
    let mut update: Vec<f32> = gradient.iter().map(|g| g * scale).collect();
    lerp(means, &update, 1.0 - settings.momentum);
    if settings.nesterov {
        lerp(&mut update, means, settings.momentum);
    } else {
        update.copy_from_slice(means);
    }
    let update = orthogonal(update)?;
    same_len("update", update.len(), rows * cols);
    let (r, c) = (rows as f32, cols as f32);
    let size = if settings.as_adamw {
        0.2 * r.max(c).sqrt()
    } else {
        (r / c).max(1.0).sqrt()
    };
    let keep = 1.0 - settings.lr * settings.weight_decay;
    let rate = settings.lr * size;
    for (p, u) in parameter.iter_mut().zip(&update) {
        *p = *p * keep - rate * u;
    }
    Ok(())
}

/// The matrix with its singular values brought near 1 by Newton–Schulz iteration.
fn orthogonal(x: Vec<f32>, (rows, cols): (usize, usize), steps: usize, rounded: bool) -> Vec<f32> {
    let tall = rows > cols;
    // Products of the smaller side: x or its transpose is read as few × many.
    let (few, many) = if tall { (cols, rows) } else { (rows, cols) };
    let norm = sum_of_squares(&x).sqrt().max(1e-7) as f32;
    let mut x: Vec<f32> = x.iter().map(|x| x / norm).collect();
    let view = |x: &'_ [f32]| -> (usize, usize) {
        debug_assert_eq!(x.len(), few * many);
        if tall { (many, few) } else { (few, many) }
    };
    let product = |a: Matrix<'_, f32>, b: Matrix<'_, f32>, out: &mut [f32], accumulate: bool| {
        if rounded {
            matmul_rounded(a, b, out, accumulate);
        } else {
            matmul(a, b, out, accumulate);
        }
    };
    let (a, b, c) = SCHULZ;
    let (mut gram, mut update) = (unspecified(few * few), unspecified(few * few));
    for _ in 0..steps {
        let (r, k) = view(&x);
        let whole = Matrix::new(&x, r, k);
        let wide = if tall { whole.t() } else { whole };
        product(wide, wide.t(), &mut gram, false);
        let square = Matrix::new(&gram, few, few);
        product(square, square, &mut update, false);
        for (u, g) in update.iter_mut().zip(&gram) {
            *u = b * g + c * *u;
        }
        let update = Matrix::new(&update, few, few);
        let mut next: Vec<f32> = x.iter().map(|x| a * x).collect();
        if tall {
            // (u xᵀ)ᵀ = x u, for u is symmetric.
            product(whole, update, &mut next, true);
        } else {
            product(update, wide, &mut next, true);
        }
        x = next;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, each_isa};

    #[test]
    fn every_set_and_split_gives_the_same_bits() {
        let mut random = Random::new(1);
        let n = 70_001;
        let (p, g) = (random.normal(n, 1.0), random.normal(n, 1.0));
        let run = || {
            let (mut p, mut m, mut v) = (p.clone(), vec![0.0; n], vec![0.0; n]);
            for step in 1..4 {
                adamw(&AdamW::default(), step, 0.5, &mut p, &g, &mut m, &mut v);
            }
            (p, m, v, sum_of_squares(&g))
        };
        let want = run();
        each_isa(|| assert!(run() == want));
        let exact: f64 = g.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
        assert!((want.3 / exact - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_step_of_adamw_is_the_formula() {
        let mut random = Random::new(2);
        let n = 100;
        let (start, g) = (random.normal(n, 1.0), random.normal(n, 1e-3));
        let settings = AdamW {
            weight_decay: 0.1,
            ..AdamW::default()
        };
        let (mut p, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
        adamw(&settings, 1, 1.0, &mut p, &g, &mut m, &mut v);
        for ((p, start), g) in p.iter().zip(&start).zip(&g) {
            // The first step is a whole learning rate in the direction of the gradient's sign.
            let want = start * (1.0 - 1e-4) - 1e-3 * g / (g.abs() + 1e-8);
            assert!((p - want).abs() < 1e-6, "{p} {want}");
        }
    }

    #[test]
    fn newton_and_schulz_bring_singular_values_near_one() {
        let mut random = Random::new(3);
        for (rows, cols) in [(20, 30), (30, 20), (1, 5), (16, 16)] {
            let x = random.normal(rows * cols, 3.0);
            let y = orthogonal(x, (rows, cols), 5, false);
            // The squared norm is the sum of the squared singular values.
            let mean = sum_of_squares(&y) / rows.min(cols) as f64;
            assert!((0.4..1.4).contains(&mean), "{rows}x{cols}: {mean}");
        }
    }
}
