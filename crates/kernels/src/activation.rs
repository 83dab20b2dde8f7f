//! Element-wise activations and gated products.
#![allow(unsafe_code)] // tasks write disjoint parts of one slice

use crate::isa;
use crate::pool::SharedMut;
use crate::rowwise::{for_ranges, same_len};
use crate::simd::{Simd, math, simd_fn};

/// An element-wise function between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x / 2 * (1 + erf(x / √2))`. Hendrycks and Gimpel, arXiv:1606.08415.
    Gelu,
    /// [`Activation::Gelu`] by its tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `x * sigmoid(1.702 x)`, of CLIP.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    ReluSquared,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Every activation.
    pub const ALL: &'static [Activation] = &[
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::ReluSquared,
        Activation::Sigmoid,
        Activation::Tanh,
    ];
}

/// √(2/π), of the tanh form of GELU.
const GELU_SCALE: f32 = 0.797_884_6;
/// The cubic coefficient of the tanh form of GELU.
const GELU_CUBE: f32 = 0.044_715;
const QUICK: f32 = 1.702;

/// The activation of eight lanes. `act` is known when a loop starts, so the branch is hoisted.
#[inline(always)]
pub(crate) fn apply<S: Simd>(s: S, act: Activation, x: S::V) -> S::V {
    let one = s.splat(1.0);
    match act {
        Activation::Silu => s.mul(x, math::sigmoid(s, x)),
        Activation::Gelu => {
            let erf = math::erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)));
            s.mul(s.mul(x, s.splat(0.5)), s.add(one, erf))
        }
        Activation::GeluTanh => {
            let x2 = s.mul(x, x);
            let inner = s.mul(
                s.mul(x, s.splat(GELU_SCALE)),
                s.fma(x2, s.splat(GELU_CUBE), one),
            );
            s.mul(s.mul(x, s.splat(0.5)), s.add(one, math::tanh(s, inner)))
        }
        Activation::QuickGelu => s.mul(x, math::sigmoid(s, s.mul(x, s.splat(QUICK)))),
        Activation::Relu => s.max(s.zero(), x),
        Activation::ReluSquared => {
            let r = s.max(s.zero(), x);
            s.mul(r, r)
        }
        Activation::Sigmoid => math::sigmoid(s, x),
        Activation::Tanh => math::tanh(s, x),
    }
}

/// d/dx of x sigmoid(a x) = p + a x p (1 - p). No closure: those are compiled without the instruction set.
#[inline(always)]
fn swish_slope<S: Simd>(s: S, x: S::V, a: f32) -> S::V {
    let ax = s.mul(x, s.splat(a));
    let p = math::sigmoid(s, ax);
    s.fma(s.mul(ax, p), s.sub(s.splat(1.0), p), p)
}

/// The derivative of the activation at eight lanes.
#[inline(always)]
fn derivative<S: Simd>(s: S, act: Activation, x: S::V) -> S::V {
    let (zero, one, half) = (s.zero(), s.splat(1.0), s.splat(0.5));
    match act {
        Activation::Silu => swish_slope(s, x, 1.0),
        Activation::QuickGelu => swish_slope(s, x, QUICK),
        Activation::Gelu => {
            let erf = math::erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)));
            let density = math::exp(s, s.mul(s.mul(x, x), s.splat(-0.5)));
            let slope = s.mul(s.mul(x, s.splat(0.5 * GELU_SCALE)), density);
            s.fma(half, s.add(one, erf), slope)
        }
        Activation::GeluTanh => {
            let x2 = s.mul(x, x);
            let inner = s.mul(
                s.mul(x, s.splat(GELU_SCALE)),
                s.fma(x2, s.splat(GELU_CUBE), one),
            );
            let t = math::tanh(s, inner);
            let slope = s.mul(
                s.splat(GELU_SCALE),
                s.fma(x2, s.splat(3.0 * GELU_CUBE), one),
            );
            let rise = s.mul(s.sub(one, s.mul(t, t)), s.mul(s.mul(x, half), slope));
            s.fma(half, s.add(one, t), rise)
        }
        Activation::Relu => s.select_lt(zero, x, one, zero),
        Activation::ReluSquared => {
            let r = s.max(zero, x);
            s.add(r, r)
        }
        Activation::Sigmoid => {
            let p = math::sigmoid(s, x);
            s.mul(p, s.sub(one, p))
        }
        Activation::Tanh => {
            let t = math::tanh(s, x);
            s.sub(one, s.mul(t, t))
        }
    }
}

/// Replaces each element by its activation.
pub fn activate(act: Activation, x: &mut [f32]) {
    let (isa, n) = (isa(), x.len());
    let x = SharedMut::new(x);
    for_ranges(n, 1, |range| {
        // SAFETY: the ranges are disjoint.
        activate_part(isa, act, unsafe { x.slice(range) });
    });
}

/// `out = act(gate) * up`, element by element: the gated product of GLU variants.
/// Shazeer, arXiv:2002.05202.
///
/// # Panics
/// When the lengths differ.
pub fn gated(act: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
    same_len("up", up.len(), gate.len());
    same_len("out", out.len(), gate.len());
    let (isa, out) = (isa(), SharedMut::new(out));
    for_ranges(gate.len(), 1, |range| {
        // SAFETY: the ranges are disjoint.
        let out = unsafe { out.slice(range.clone()) };
        gated_part(isa, act, &gate[range.clone()], &up[range], out);
    });
}

/// The backward pass of [`activate`]: `dx = dy * act'(x)`, of the input `x` before it was replaced.
///
/// # Panics
/// When the lengths differ.
pub fn activate_backward(act: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    same_len("dy", dy.len(), x.len());
    same_len("dx", dx.len(), x.len());
    let (isa, dx) = (isa(), SharedMut::new(dx));
    for_ranges(x.len(), 1, |range| {
        // SAFETY: the ranges are disjoint.
        let dx = unsafe { dx.slice(range.clone()) };
        activate_part_backward(isa, act, &x[range.clone()], &dy[range], dx);
    });
}

/// The backward pass of [`gated`]: `dgate = dy * up * act'(gate)` and `dup = dy * act(gate)`.
///
/// # Panics
/// When the lengths differ.
pub fn gated_backward(
    act: Activation,
    gate: &[f32],
    up: &[f32],
    dy: &[f32],
    dgate: &mut [f32],
    dup: &mut [f32],
) {
    for (what, len) in [
        ("up", up.len()),
        ("dy", dy.len()),
        ("dgate", dgate.len()),
        ("dup", dup.len()),
    ] {
        same_len(what, len, gate.len());
    }
    let (isa, dgate, dup) = (isa(), SharedMut::new(dgate), SharedMut::new(dup));
    for_ranges(gate.len(), 1, |range| {
        let (gate, up, dy) = (&gate[range.clone()], &up[range.clone()], &dy[range.clone()]);
        // SAFETY: the ranges are disjoint.
        let (dgate, dup) = unsafe { (dgate.slice(range.clone()), dup.slice(range)) };
        gated_part_backward(isa, act, gate, up, dy, dgate, dup);
    });
}

/// A loop per activation, so that each is compiled without the branch.
macro_rules! per_activation {
    ($act:expr, $each:ident => $body:block) => {
        match $act {
            Activation::Silu => {
                let $each = Activation::Silu;
                $body
            }
            Activation::Gelu => {
                let $each = Activation::Gelu;
                $body
            }
            Activation::GeluTanh => {
                let $each = Activation::GeluTanh;
                $body
            }
            Activation::QuickGelu => {
                let $each = Activation::QuickGelu;
                $body
            }
            Activation::Relu => {
                let $each = Activation::Relu;
                $body
            }
            Activation::ReluSquared => {
                let $each = Activation::ReluSquared;
                $body
            }
            Activation::Sigmoid => {
                let $each = Activation::Sigmoid;
                $body
            }
            Activation::Tanh => {
                let $each = Activation::Tanh;
                $body
            }
        }
    };
}

simd_fn! {
    fn activate_part(s, act: Activation, x: &mut [f32]) {
        per_activation!(act, act => {
            for x in x.chunks_mut(S::LANES) {
                let y = apply(s, act, s.load_part(x, 0.0));
                s.store_part(x, y);
            }
        });
    }
}

simd_fn! {
    fn gated_part(s, act: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
        per_activation!(act, act => {
            let parts = gate.chunks(S::LANES).zip(up.chunks(S::LANES)).zip(out.chunks_mut(S::LANES));
            for ((gate, up), out) in parts {
                let y = apply(s, act, s.load_part(gate, 0.0));
                s.store_part(out, s.mul(y, s.load_part(up, 0.0)));
            }
        });
    }
}

simd_fn! {
    fn activate_part_backward(s, act: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        per_activation!(act, act => {
            let parts = x.chunks(S::LANES).zip(dy.chunks(S::LANES)).zip(dx.chunks_mut(S::LANES));
            for ((x, dy), dx) in parts {
                let slope = derivative(s, act, s.load_part(x, 0.0));
                s.store_part(dx, s.mul(slope, s.load_part(dy, 0.0)));
            }
        });
    }
}

simd_fn! {
    fn gated_part_backward(
        s, act: Activation, gate: &[f32], up: &[f32], dy: &[f32], dgate: &mut [f32],
        dup: &mut [f32],
    ) {
        per_activation!(act, act => {
            let inputs = gate.chunks(S::LANES).zip(up.chunks(S::LANES)).zip(dy.chunks(S::LANES));
            let outputs = dgate.chunks_mut(S::LANES).zip(dup.chunks_mut(S::LANES));
            for (((gate, up), dy), (dgate, dup)) in inputs.zip(outputs) {
                let (x, dy) = (s.load_part(gate, 0.0), s.load_part(dy, 0.0));
                let slope = s.mul(derivative(s, act, x), s.load_part(up, 0.0));
                s.store_part(dgate, s.mul(slope, dy));
                s.store_part(dup, s.mul(apply(s, act, x), dy));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa, gradient};

    /// erf by numerical integration of its derivative (Simpson).
    fn erf(x: f64) -> f64 {
        let n = 2000;
        let h = x.clamp(-6.0, 6.0) / f64::from(n);
        let d = |i: i32| (-(h * f64::from(i)).powi(2)).exp();
        let sum: f64 = (0..n)
            .step_by(2)
            .map(|i| d(i) + 4.0 * d(i + 1) + d(i + 2))
            .sum();
        sum * h / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
    }

    pub(crate) fn reference(act: Activation, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match act {
            Activation::Silu => x * sigmoid(x),
            Activation::Gelu => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Activation::QuickGelu => x * sigmoid(1.702 * x),
            Activation::Relu => x.max(0.0),
            Activation::ReluSquared => x.max(0.0).powi(2),
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => x.tanh(),
        }
    }

    #[test]
    fn activations_match_double_precision() {
        let mut random = Random::new(1);
        for n in [0, 1, 7, 8, 9, 1000] {
            for scale in [0.0, 1e-30, 1e-3, 1.0, 10.0, 1e3] {
                let (x, up) = (random.normal(n, scale), random.normal(n, 1.0));
                for &act in Activation::ALL {
                    let want: Vec<f64> = x.iter().map(|&x| reference(act, f64::from(x))).collect();
                    let product: Vec<f64> = want
                        .iter()
                        .zip(&up)
                        .map(|(y, &u)| y * f64::from(u))
                        .collect();
                    each_isa(|| {
                        let mut got = x.clone();
                        activate(act, &mut got);
                        assert_close(&got, &want, 2e-6, 1e-6);
                        let mut got = vec![0.0; n];
                        gated(act, &x, &up, &mut got);
                        assert_close(&got, &product, 2e-6, 2e-6);
                    });
                }
            }
        }
    }

    #[test]
    fn parts_do_not_change_the_result() {
        let mut random = Random::new(2);
        let (x, up) = (random.normal(100_003, 2.0), random.normal(100_003, 1.0));
        let mut all = vec![0.0; x.len()];
        gated(Activation::Silu, &x, &up, &mut all);
        let mut one = [0.0];
        for i in 0..x.len() {
            gated(Activation::Silu, &x[i..=i], &up[i..=i], &mut one);
            assert_eq!(one[0].to_bits(), all[i].to_bits());
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let mut random = Random::new(3);
        // No input so close to 0 that a difference would straddle the corner of relu.
        let x: Vec<f32> = random
            .normal(40, 2.0)
            .iter()
            .map(|x| x + x.signum() * 0.01)
            .collect();
        let (up, dy) = (random.normal(40, 1.0), random.normal(40, 1.0));
        for &act in Activation::ALL {
            let loss = |x: &[f32], up: &[f32]| -> f64 {
                let terms = x.iter().zip(up).zip(&dy);
                terms
                    .map(|((&x, &u), &d)| reference(act, x.into()) * f64::from(u) * f64::from(d))
                    .sum()
            };
            let want_x = gradient(&x, |x| loss(x, &[1.0; 40]));
            let want_gate = gradient(&x, |x| loss(x, &up));
            let want_up = gradient(&up, |up| loss(&x, up));
            each_isa(|| {
                let (mut a, mut b) = (vec![0.0; 40], vec![0.0; 40]);
                activate_backward(act, &x, &dy, &mut a);
                assert_close(&a, &want_x, 1e-4, 1e-4);
                gated_backward(act, &x, &up, &dy, &mut a, &mut b);
                assert_close(&a, &want_gate, 1e-4, 1e-4);
                assert_close(&b, &want_up, 1e-4, 1e-4);
            });
        }
    }
}
