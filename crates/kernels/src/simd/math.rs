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

/// The error function within 2e-7.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let a = s.abs(x);
    let z = s.mul(x, x);
    // x + x p(x^2) on |x| < 0.93.
    let p = s.splat(-0.000_595_376_1);
    let p = s.fma(p, z, s.splat(0.004_985_945_3));
    let p = s.fma(p, z, s.splat(-0.026_761_724));
    let p = s.fma(p, z, s.splat(0.112_816_83));
    let p = s.fma(p, z, s.splat(-0.376_124_8));
    let p = s.fma(p, z, s.splat(0.128_379_15));
    let small = s.fma(p, x, x);
    // 1 - e^p(|x|) up to 4, beyond which erf is 1 in f32.
    let t = s.min(s.splat(4.0), a);
    let p = s.splat(-2.109_496_6e-5);
    let p = s.fma(p, t, s.splat(4.344_617e-4));
    let p = s.fma(p, t, s.splat(-0.004_171_059));
    let p = s.fma(p, t, s.splat(0.025_119_416));
    let p = s.fma(p, t, s.splat(-0.108_280_07));
    let p = s.fma(p, t, s.splat(-0.633_346_9));
    let p = s.fma(p, t, s.splat(-1.129_514_9));
    let p = s.fma(p, t, s.splat(1.746_832_2e-4));
    let large = s.sub(s.splat(1.0), exp(s, p));
    s.select_lt(a, s.splat(0.925), small, s.copysign(large, x))
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
