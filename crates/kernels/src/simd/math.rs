//! Elementary functions on lanes. Coefficients are minimax fits made for these intervals.

use super::Simd;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
// ln 2 in two parts; the first has so few bits that n * LN2_HIGH is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// e^x = 2^n p: returns p and the integer n. For |x| < 2^20.
#[inline(always)]
fn exp_parts<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let n = s.round(s.mul(x, s.splat(LOG2_E)));
    let r = s.fma(n, s.splat(-LN2_HIGH), x);
    let r = s.fma(n, s.splat(-LN2_LOW), r);
    // e^r = 1 + r + r^2 p(r) on |r| <= ln(2)/2, relative error 3e-9.
    let p = s.splat(0.001_381_459_8);
    let p = s.fma(p, r, s.splat(0.008_368_717));
    let p = s.fma(p, r, s.splat(0.041_668_39));
    let p = s.fma(p, r, s.splat(0.166_665_21));
    let p = s.fma(p, r, s.splat(0.499_999_93));
    (s.add(s.fma(s.mul(r, r), p, r), s.splat(1.0)), n)
}

/// e^x for x <= 0 within 2 ulp, with 0 for what would not be a normal number; NaN for NaN.
#[inline(always)]
pub(crate) fn exp_negative<S: Simd>(s: S, x: S::V) -> S::V {
    let least = s.splat(-87.0);
    let (p, n) = exp_parts(s, s.max(least, x));
    s.select_lt(x, least, s.zero(), s.mul(p, s.pow2(n)))
}

/// e^x within 2 ulp; 0 below -104, infinity above 88.73, NaN for NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let (p, n) = exp_parts(s, s.min(s.splat(89.0), s.max(s.splat(-104.0), x)));
    // Two factors, since n goes beyond the exponents of normal numbers.
    let half = s.round(s.mul(n, s.splat(0.5)));
    s.mul(s.mul(p, s.pow2(half)), s.pow2(s.sub(n, half)))
}

/// tanh x within 3 ulp.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let a = s.abs(x);
    let z = s.mul(x, x);
    // x + x^3 p(x^2) on |x| < 0.625, relative error 5e-9.
    let p = s.splat(-0.005_666_977);
    let p = s.fma(p, z, s.splat(0.020_606_177));
    let p = s.fma(p, z, s.splat(-0.053_730_007));
    let p = s.fma(p, z, s.splat(0.133_313_31));
    let p = s.fma(p, z, s.splat(-0.333_332_78));
    let small = s.fma(s.mul(p, z), x, x);
    let e = exp(s, s.add(a, a));
    let large = s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))));
    s.select_lt(a, s.splat(0.625), small, s.copysign(large, x))
}

/// The logistic function 1 / (1 + e^-x) within 4 ulp; 0 below -88.73.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.sub(s.zero(), x));
    s.div(s.splat(1.0), s.add(s.splat(1.0), e))
}

/// e^x for x in -87..=88 by these coefficients, the highest power's first. As onnxruntime rounds it (`MlasComputeExp` of
/// MLAS, after N. Juffa): its sums, in its order.
#[inline(always)]
fn exp_by<S: Simd>(s: S, x: S::V, coefficients: [f32; 7]) -> S::V {
    // Adding it leaves no bits behind the point.
    let magic = s.splat(12_582_912.0);
    let n = s.sub(s.fma(x, s.splat(LOG2_E), magic), magic);
    let r = s.fma(n, s.splat(-0.693_145_75), x);
    let r = s.fma(n, s.splat(-1.428_606_8e-6), r);
    let mut p = s.splat(coefficients[0]);
    for &c in &coefficients[1..] {
        p = s.fma(p, r, s.splat(c));
    }
    s.mul(p, s.pow2(n))
}

/// e^x for x <= 0, as onnxruntime's softmax rounds it; 1e-38 for what is smaller.
#[inline(always)]
pub(crate) fn exp_of_softmax<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(-87.0), x);
    let coefficients = [
        0.001_378_059_4,
        0.008_373_124_5,
        0.041_669_536,
        0.166_664_72,
        0.499_999_85,
        1.0,
        1.0,
    ];
    exp_by(s, x, coefficients)
}

/// The error function within 2e-7, by N. Juffa's two polynomials and as onnxruntime rounds them.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let a = s.min(s.splat(3.925), s.abs(x));
    let z = s.mul(a, a);
    let mut p = s.splat(-5.991_049_7e-4);
    for c in [
        4.993_396e-3,
        -2.676_673_4e-2,
        1.128_180_25e-1,
        -3.761_248_6e-1,
        1.283_791_5e-1,
    ] {
        p = s.fma(p, z, s.splat(c));
    }
    let small = s.fma(p, a, a);
    let mut p = s.splat(1.729_489_3e-5);
    for c in [
        -3.832_086_8e-4,
        3.883_934_4e-3,
        -2.425_456e-2,
        1.067_778_5e-1,
        6.348_467e-1,
        1.287_175_1e-1,
    ] {
        p = s.fma(p, a, s.splat(c));
    }
    let p = s.sub(s.zero(), s.fma(p, a, a));
    let coefficients = [
        1.383_198_1e-3,
        8.375_5e-3,
        4.166_895e-2,
        1.666_644_7e-1,
        4.999_998_5e-1,
        1.0,
        1.0,
    ];
    let large = s.sub(s.splat(1.0), exp_by(s, p, coefficients));
    s.copysign(s.select_lt(s.splat(0.921_875), a, large, small), x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::simd::simd_fn;

    simd_fn! {
        fn run(s, which: usize, x: &[f32; 8]) -> [f32; 8] {
            let mut out = [0.0; 8];
            let v = s.load_part(x, 0.0);
            s.store_part(&mut out, match which {
                0 => exp(s, v),
                1 => tanh(s, v),
                2 => sigmoid(s, v),
                3 => erf(s, v),
                _ => exp_negative(s, v),
            });
            out
        }
    }

    /// erf by its series or continued fraction in f64.
    fn erf64(x: f64) -> f64 {
        let a = x.abs();
        if a < 3.0 {
            let (mut term, mut sum, mut n) = (a, a, 0.0);
            while term.abs() > 1e-18 * sum {
                n += 1.0;
                term *= -a * a / n;
                sum += term / (2.0 * n + 1.0);
                if n > 200.0 {
                    break;
                }
            }
            return (2.0 / std::f64::consts::PI.sqrt() * sum).copysign(x);
        }
        let mut f = a;
        for k in (1..60).rev() {
            f = a + f64::from(k) / 2.0 / f;
        }
        (1.0 - (-a * a).exp() / f / std::f64::consts::PI.sqrt()).copysign(x)
    }

    fn ulp(x: f64) -> f64 {
        let x = (x.abs() as f32).max(f32::MIN_POSITIVE);
        f64::from(f32::from_bits(x.to_bits() + 1)) - f64::from(x)
    }

    #[test]
    fn close_to_double_precision() {
        let reference: [fn(f64) -> f64; 4] =
            [f64::exp, f64::tanh, |x| 1.0 / (1.0 + (-x).exp()), erf64];
        let (bounds, limits) = ([2.0, 3.0, 4.0, 4.0], [88.7, 20.0, 88.0, 6.0]);
        for which in 0..4 {
            for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
                let mut worst = (0.0, 0.0);
                for i in 0..40_000 {
                    let t = f64::from(i) / 20_000.0 - 1.0;
                    let x = std::array::from_fn(|k| match k {
                        0..4 => (t * limits[which] / f64::from(1 << (2 * k))) as f32,
                        _ => (t * 10f64.powi(-(k as i32))) as f32,
                    });
                    for (x, y) in x.into_iter().zip(run(isa, which, &x)) {
                        let want = reference[which](f64::from(x));
                        let error = (f64::from(y) - want).abs() / ulp(want);
                        if error > worst.0 {
                            worst = (error, x);
                        }
                    }
                }
                println!("{which} {}: {:.2} ulp at {}", isa.name(), worst.0, worst.1);
                assert!(worst.0 <= bounds[which], "{which}: {worst:?}");
            }
        }
    }

    #[test]
    fn ends_of_the_range() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
            let y = run(isa, 0, &[-inf, -200.0, -103.0, 0.0, 88.7, 89.0, inf, nan]);
            assert_eq!((y[0], y[1], y[3], y[5], y[6]), (0.0, 0.0, 1.0, inf, inf));
            assert!(y[2] > 0.0 && y[2] < 1e-44 && y[4] < inf && y[7].is_nan());
            let y = run(
                isa,
                4,
                &[-inf, -200.0, -87.1, 0.0, -0.0, -1e-30, -86.9, nan],
            );
            assert_eq!((&y[..3], &y[3..6]), (&[0.0; 3][..], &[1.0; 3][..]));
            assert!(y[6] > 1.8e-38 && y[6] < 1.9e-38 && y[7].is_nan());
            let y = run(isa, 1, &[-inf, -30.0, -0.0, 0.0, 30.0, inf, 1e-40, nan]);
            assert_eq!(y[..7], [-1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 1e-40]);
            assert!(y[7].is_nan());
            let y = run(isa, 2, &[-inf, -200.0, 0.0, 200.0, inf, 1.0, -1.0, nan]);
            assert_eq!(y[..5], [0.0, 0.0, 0.5, 1.0, 1.0]);
            assert!(y[7].is_nan() && (y[5] + y[6] - 1.0).abs() < 1e-6);
            let y = run(isa, 3, &[-inf, -5.0, -0.0, 0.0, 5.0, inf, 1e-40, nan]);
            assert_eq!(
                (y[0], y[1], y[2], y[3], y[4], y[5]),
                (-1.0, -1.0, 0.0, 0.0, 1.0, 1.0)
            );
            assert!(y[7].is_nan() && y[6] > 1.1e-40 && y[6] < 1.2e-40);
        }
    }
}
