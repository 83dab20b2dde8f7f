//! 8-bit floats of the Open Compute Project (OFP8 specification, revision 1.0).

/// Every value of E4M3 in its finite-only form: bias 7, no infinities, NaN where all bits but the
/// sign are set.
pub(crate) static E4M3: [f32; 256] = table(4, 7, true);

/// Every value of E5M2: bias 15, infinities and NaN as in IEEE 754.
pub(crate) static E5M2: [f32; 256] = table(5, 15, false);

const fn table(exponent_bits: u32, bias: i32, finite: bool) -> [f32; 256] {
    let mut out = [0.0; 256];
    let mut i = 0u32;
    while i < 256 {
        out[i as usize] = value(i, exponent_bits, bias, finite);
        i += 1;
    }
    out
}

const fn value(bits: u32, exponent_bits: u32, bias: i32, finite: bool) -> f32 {
    let mantissa_bits = 7 - exponent_bits;
    let mantissa = bits & ((1 << mantissa_bits) - 1);
    let exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    let sign = if bits & 0x80 == 0 { 1.0 } else { -1.0 };
    let top = (1 << exponent_bits) - 1;
    if finite && bits & 0x7f == 0x7f || !finite && exponent == top && mantissa != 0 {
        return f32::NAN;
    }
    if !finite && exponent == top {
        return sign * f32::INFINITY;
    }
    // Subnormals have the exponent of the smallest normals and no leading one.
    let (leading, exponent) = if exponent == 0 { (0, 1) } else { (1, exponent) };
    let significand = (leading << mantissa_bits) + mantissa;
    sign * significand as f32
        * power_of_two(exponent.cast_signed() - bias - mantissa_bits.cast_signed())
}

/// 2 to the power of a small exponent, exactly.
const fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent + 127).cast_unsigned() << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landmarks_of_the_specification() {
        assert_eq!(E4M3[0x08], 2f32.powi(-6)); // smallest normal
        assert_eq!(E4M3[0x01], 2f32.powi(-9)); // smallest subnormal
        assert_eq!(E4M3[0x7e], 448.0); // largest
        assert_eq!(E4M3[0xb8], -1.0);
        assert!(E4M3[0x7f].is_nan() && E4M3[0xff].is_nan());
        assert_eq!(E5M2[0x04], 2f32.powi(-14));
        assert_eq!(E5M2[0x01], 2f32.powi(-16));
        assert_eq!(E5M2[0x7b], 57344.0);
        assert_eq!(E5M2[0xfc], f32::NEG_INFINITY);
        assert!(E5M2[0x7d].is_nan());
        assert!(E5M2[0x80].is_sign_negative() && E5M2[0x80] == 0.0);
    }
}
