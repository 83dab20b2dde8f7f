//! Element-wise activations and gated products.
#![allow(unsafe_code)] // tasks write disjoint parts of one slice

use crate::isa;
use crate::pool::SharedMut;
use crate::rowwise::{for_ranges, same_len};
use crate::simd::{LANES, Simd, math, simd_fn};

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
            for x in x.chunks_mut(LANES) {
                let y = apply(s, act, s.load_part(x, 0.0));
                s.store_part(x, y);
            }
        });
    }
}

simd_fn! {
    fn gated_part(s, act: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
        per_activation!(act, act => {
            let parts = gate.chunks(LANES).zip(up.chunks(LANES)).zip(out.chunks_mut(LANES));
            for ((gate, up), out) in parts {
                let y = apply(s, act, s.load_part(gate, 0.0));
                s.store_part(out, s.mul(y, s.load_part(up, 0.0)));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa};

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
}
