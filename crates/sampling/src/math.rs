//! Exponential and logarithm from basic arithmetic only.
//!
//! The system's `exp` and `ln` differ between platforms in the last bit, which is enough to change
//! a sampled text. These give the same bits everywhere, and the f32 form vectorises.

/// [`exp2`] takes anything below this for this: 2^-125 is next to nothing.
pub(crate) const EXP2_FLOOR: f32 = -125.0;

/// 2^x for x ≤ 0 within 3e-7 relative; below -125 it stays at 2^-125. Vectorises well.
#[inline(always)]
pub(crate) fn exp2(x: f32) -> f32 {
    // 1.5·2^23: adding it rounds to the nearest whole number, which then sits in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > EXP2_FLOOR { x } else { EXP2_FLOOR };
    let rounded = clamped + ROUND;
    let f = clamped - (rounded - ROUND);
    let f2 = f * f;
    // Polynomial of least relative error (1e-7) for 2^f on [-1/2, 1/2], given
    // its value and slope at 0.
    let low = 1.0 + f * std::f32::consts::LN_2;
    let middle = 0.240_222_81 + f * 0.055_505_6;
    let high = 0.009_669_708 + f * 0.001_330_026_4;
    let mantissa = low + f2 * (middle + f2 * high);
    // The whole part goes straight into the exponent's bits.
    f32::from_bits(mantissa.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// As [`exp2`], but 0 from -125 down.
#[inline(always)]
pub(crate) fn exp2_or_zero(x: f32) -> f32 {
    if x > EXP2_FLOOR { exp2(x) } else { 0.0 }
}

/// 1/0! to 1/15!.
const INVERSE_FACTORIALS: [f64; 16] = {
    let mut table = [1.0; 16];
    let mut i = 2;
    while i < 16 {
        table[i] = table[i - 1] / i as f64;
        i += 1;
    }
    table
};

/// e^x for x ≤ 0 within 1e-15 relative; 0 below -700.
pub(crate) fn exp(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    if x < -700.0 {
        return 0.0;
    }
    let whole = (x * std::f64::consts::LOG2_E).round();
    let r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    // Taylor's series to r^14 with |r| ≤ ln(2)/2, even and odd powers side by side.
    let r2 = r * r;
    let (mut even, mut odd) = (0.0, 0.0);
    for pair in INVERSE_FACTORIALS.as_chunks::<2>().0.iter().rev() {
        even = even * r2 + pair[0];
        odd = odd * r2 + pair[1];
    }
    let mantissa = even + r * odd;
    mantissa * f64::from_bits(((whole as i64 + 1023) as u64) << 52)
}

/// Natural logarithm of a positive normal number within 1e-15 relative; -∞ for 0 and below.
pub(crate) fn ln(x: f64) -> f64 {
    if x < f64::MIN_POSITIVE {
        return f64::NEG_INFINITY;
    }
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2·atanh((m-1)/(m+1)).
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let mut series = 0.0;
    for odd in (0..12).rev() {
        series = series * s2 + 1.0 / f64::from(2 * odd + 1);
    }
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_agree_with_the_system() {
        for i in 0..200_000 {
            let x = -f64::from(i) * 4.3e-4;
            let want = x.exp();
            assert!((exp(x) - want).abs() <= 4e-15 * want, "exp({x})");
            let x32 = x as f32;
            let want = f64::from(x32).exp2();
            assert!(
                (f64::from(exp2(x32)) - want).abs() <= 3e-7 * want,
                "exp2({x32})"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((exp2(0.0), exp2(-0.0), exp2(-7.0)), (1.0, 1.0, 1.0 / 128.0));
        for x in [-125.0f32, -1e30, f32::NEG_INFINITY] {
            assert_eq!(exp2_or_zero(x), 0.0);
            assert_eq!(exp2(x), 2f32.powi(-125));
        }
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn logarithm_agrees_with_the_system() {
        for i in 1..100_000 {
            for x in [
                f64::from(i) * 0.37,
                1.0 / f64::from(i),
                f64::from(i) * 1e-30,
            ] {
                let want = x.ln();
                assert!(
                    (ln(x) - want).abs() <= 1e-15 * want.abs().max(1.0),
                    "ln({x})"
                );
            }
        }
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
    }
}
