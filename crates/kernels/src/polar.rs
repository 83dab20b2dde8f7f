//! Sines, and complex numbers from their size and angle.
#![allow(unsafe_code)] // a form for each instruction set

use crate::isa;
use crate::rowwise::same_len;
use crate::simd::{Simd, math, simd_fn};

/// The sine of each number, within 2e-7 for angles below 10000.
pub fn sin(x: &mut [f32]) {
    sines(isa(), x);
}

/// `e^(min(log, most) + i angle)`, its real part to `re` and its imaginary part to `im`. For angles below 10000.
///
/// # Panics
/// When the slices differ in length.
pub fn polar(logs: &[f32], angles: &[f32], most: f32, re: &mut [f32], im: &mut [f32]) {
    same_len("angles", angles.len(), logs.len());
    same_len("re", re.len(), logs.len());
    same_len("im", im.len(), logs.len());
    numbers(isa(), logs, angles, most, re, im);
}

simd_fn! {
    fn sines(s, x: &mut [f32]) {
        for part in x.chunks_mut(S::LANES) {
            let (sine, _) = sin_cos(s, s.load_part(part, 0.0));
            s.store_part(part, sine);
        }
    }
}

simd_fn! {
    fn numbers(s, logs: &[f32], angles: &[f32], most: f32, re: &mut [f32], im: &mut [f32]) {
        let parts = re.chunks_mut(S::LANES).zip(im.chunks_mut(S::LANES));
        let given = logs.chunks(S::LANES).zip(angles.chunks(S::LANES));
        for ((re, im), (log, angle)) in parts.zip(given) {
            let size = math::exp(s, s.min(s.load_part(log, 0.0), s.splat(most)));
            let (sine, cosine) = sin_cos(s, s.load_part(angle, 0.0));
            s.store_part(re, s.mul(size, cosine));
            s.store_part(im, s.mul(size, sine));
        }
    }
}

/// Sine and cosine: the angle less quarter turns in three parts (Cody and Waite 1980), then the polynomials of
/// [cephes](https://www.netlib.org/cephes/) `sinf`.
#[inline(always)]
fn sin_cos<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let quarters = s.round(s.mul(x, s.splat(std::f32::consts::FRAC_2_PI)));
    let r = s.fma(quarters, s.splat(-1.570_312_5), x);
    let r = s.fma(quarters, s.splat(-4.837_513e-4), r);
    let r = s.fma(quarters, s.splat(-7.549_79e-8), r);
    let z = s.mul(r, r);
    let p = s.splat(-1.951_529_6e-4);
    let p = s.fma(p, z, s.splat(8.332_161e-3));
    let p = s.fma(p, z, s.splat(-1.666_665_5e-1));
    let sine = s.fma(s.mul(p, z), r, r);
    let p = s.splat(2.443_315_7e-5);
    let p = s.fma(p, z, s.splat(-1.388_731_6e-3));
    let p = s.fma(p, z, s.splat(4.166_664_6e-2));
    let cosine = s.fma(s.mul(p, z), z, s.fma(z, s.splat(-0.5), s.splat(1.0)));
    // Which quarter, from -2 to 2.
    let turn = s.round(s.mul(quarters, s.splat(0.25)));
    let quarter = s.fma(turn, s.splat(-4.0), quarters);
    let (far, one, minus) = (s.abs(quarter), s.splat(1.0), s.splat(-1.0));
    let odd = s.abs(s.sub(far, one));
    let (half, large) = (s.splat(0.5), s.splat(1.5));
    let (a, b) = (
        s.select_lt(odd, half, cosine, sine),
        s.select_lt(odd, half, sine, cosine),
    );
    let sign = s.select_lt(quarter, s.splat(-0.5), minus, one);
    let sign = s.select_lt(large, far, minus, sign);
    let other = s.select_lt(half, quarter, minus, one);
    let other = s.select_lt(large, far, minus, other);
    (s.mul(a, sign), s.mul(b, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa};

    #[test]
    fn angles_of_every_quarter_are_right() {
        let mut random = Random::new(5);
        let mut angles = random.normal(1000, 500.0);
        angles.extend((-40..40).map(|i| i as f32 * std::f32::consts::FRAC_PI_4));
        let logs = random.normal(angles.len(), 3.0);
        let want =
            |f: fn(f64) -> f64| -> Vec<f64> { angles.iter().map(|&a| f(f64::from(a))).collect() };
        let size = |i: usize| f64::from(logs[i].min(2.0)).exp();
        let scaled = |f: fn(f64) -> f64| -> Vec<f64> {
            want(f)
                .iter()
                .enumerate()
                .map(|(i, v)| v * size(i))
                .collect()
        };
        each_isa(|| {
            let mut x = angles.clone();
            sin(&mut x);
            assert_close(&x, &want(f64::sin), 0.0, 4e-7);
            let (mut re, mut im) = (vec![0.0; logs.len()], vec![0.0; logs.len()]);
            polar(&logs, &angles, 2.0, &mut re, &mut im);
            assert_close(&re, &scaled(f64::cos), 2e-6, 4e-6);
            assert_close(&im, &scaled(f64::sin), 2e-6, 4e-6);
        });
    }
}
