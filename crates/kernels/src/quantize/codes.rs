//! Types whose codes stand for the values of a table.

use super::put_half;
use super::search::{Iq4, single, symmetric};
use crate::dequant::{MXFP4_VALUES, e8m0_half};

pub(super) fn iq4_nl(x: &[f32; 32], b: &mut [u8; 18]) {
    b.fill(0);
    let Some((d, codes)) = single::<Iq4>(x) else {
        return;
    };
    put_half(b, 0, d);
    put_codes(&codes, &mut b[2..]);
}

/// Two halves of 16 codes each, the first in the low nibbles.
fn put_codes(codes: &[u8], out: &mut [u8]) {
    for (j, out) in out.iter_mut().enumerate() {
        *out = codes[j] | codes[j + 16] << 4;
    }
}

pub(super) fn iq4_xs(x: &[f32; 256], b: &mut [u8; 136]) {
    b.fill(0);
    let Some(found) = symmetric::<Iq4, 32>(x, 32) else {
        return;
    };
    put_half(b, 0, found.d);
    let mut high = 0u16;
    for s in 0..8 {
        let factor = (found.factors[s] + 32) as u8;
        b[4 + s / 2] |= (factor & 15) << (s % 2 * 4);
        high |= u16::from(factor >> 4) << (2 * s);
        put_codes(&found.codes[s * 32..][..32], &mut b[8 + s * 16..][..16]);
    }
    b[2..4].copy_from_slice(&high.to_le_bytes());
}

/// The largest exponent whose largest value, 6, is a finite single.
const MAX_EXPONENT: i32 = 252;

/// The code whose value, times `step`, is nearest to `v`; with the squared error.
fn nearest_mx(v: f32, step: f64) -> (u8, f64) {
    let magnitude = f64::from(v.abs()) / step;
    // Middles between neighbours of the doubled values 0 1 2 3 4 6 8 12; ties go to the even code.
    const MIDDLES: [f64; 7] = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0];
    let mut code = 0u8;
    for (i, middle) in MIDDLES.into_iter().enumerate() {
        code += u8::from(magnitude > middle || (magnitude == middle && i % 2 == 1));
    }
    let error = (magnitude - f64::from(MXFP4_VALUES[usize::from(code)])) * step;
    let sign = u8::from(v < 0.0 && code != 0) << 3;
    (code | sign, error * error)
}

/// The exponent of the OCP microscaling specification, section 6.3 (largest power of two of the block less 2, that
/// of the largest E2M1 value), or the one above it where that errs less.
/// <https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf>
pub(super) fn mxfp4(x: &[f32; 32], b: &mut [u8; 17]) {
    b.fill(0);
    let max = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    if max == 0.0 {
        return;
    }
    let power = (max.to_bits() >> 23) as i32;
    let first = (power - 2).clamp(0, MAX_EXPONENT);
    let mut best = (f64::INFINITY, [0; 32], 0);
    for exponent in first..=(first + 1).min(MAX_EXPONENT) {
        let exponent = exponent as u8;
        let step = f64::from(e8m0_half(exponent));
        let mut total = 0.0;
        let codes = x.map(|v| {
            let (code, error) = nearest_mx(v, step);
            total += error;
            code
        });
        if total < best.0 {
            best = (total, codes, exponent);
        }
    }
    b[0] = best.2;
    put_codes(&best.1, &mut b[1..]);
}
