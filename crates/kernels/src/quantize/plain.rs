//! The types whose scales follow from the extremes of a block: ggml's `quantize_row_*_ref`, bit for bit.

use half::bf16 as Bf16;

use super::put_half;

/// The largest scale and minimum that a half holds.
const MAX_HALF: f32 = 65_504.0;

/// The bits of the nearest bfloat16, ties to even; the largest finite one where that would be infinite.
pub(super) fn bf16(x: f32) -> u16 {
    let bits = Bf16::from_f32(x).to_bits();
    // Infinity's bits, one less, are the largest finite number's.
    if bits & 0x7fff == 0x7f80 {
        bits - 1
    } else {
        bits
    }
}

/// `1 / d`, or 0 where that is no number: the block is then all zeros to a half's precision.
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The first element of largest magnitude, with its sign.
fn extreme(x: &[f32; 32]) -> f32 {
    let mut max = 0.0f32;
    for &v in x {
        if v.abs() > max.abs() {
            max = v;
        }
    }
    max
}

/// Quants 0 to `top` of a block of the symmetric types, and its scale.
fn symmetric(x: &[f32; 32], zero: f32, top: u8) -> (f32, [u8; 32]) {
    let d = (extreme(x) / -zero).clamp(-MAX_HALF, MAX_HALF);
    let id = inverse(d);
    // The addition is rounded by itself, as in the reference; `as` truncates and saturates.
    let q = x.map(|v| ((v * id + (zero + 0.5)) as u8).min(top));
    (d, q)
}

/// Quants 0 to `top` of a block of the types with a minimum, its scale and its minimum.
fn affine(x: &[f32; 32], top: u8) -> (f32, f32, [u8; 32]) {
    let min = x.iter().copied().fold(f32::INFINITY, f32::min);
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = ((max - min) / f32::from(top)).min(MAX_HALF);
    let id = inverse(d);
    let min = if min.abs() > MAX_HALF {
        min.clamp(-MAX_HALF, MAX_HALF)
    } else {
        min
    };
    (d, min, x.map(|v| (((v - min) * id + 0.5) as u8).min(top)))
}

/// Low nibbles of both halves of a block.
fn nibbles(q: &[u8; 32], out: &mut [u8]) {
    for (j, out) in out.iter_mut().enumerate() {
        *out = q[j] & 15 | (q[j + 16] & 15) << 4;
    }
}

/// The fifth bits of a block.
fn fifth_bits(q: &[u8; 32]) -> [u8; 4] {
    let bits = (0..32).fold(0u32, |bits, j| bits | u32::from(q[j] >> 4 & 1) << j);
    bits.to_le_bytes()
}

pub(super) fn q4_0(x: &[f32; 32], b: &mut [u8; 18]) {
    let (d, q) = symmetric(x, 8.0, 15);
    put_half(b, 0, d);
    nibbles(&q, &mut b[2..]);
}

pub(super) fn q4_1(x: &[f32; 32], b: &mut [u8; 20]) {
    let (d, min, q) = affine(x, 15);
    put_half(b, 0, d);
    put_half(b, 2, min);
    nibbles(&q, &mut b[4..]);
}

pub(super) fn q5_0(x: &[f32; 32], b: &mut [u8; 22]) {
    let (d, q) = symmetric(x, 16.0, 31);
    put_half(b, 0, d);
    b[2..6].copy_from_slice(&fifth_bits(&q));
    nibbles(&q, &mut b[6..]);
}

pub(super) fn q5_1(x: &[f32; 32], b: &mut [u8; 24]) {
    let (d, min, q) = affine(x, 31);
    put_half(b, 0, d);
    put_half(b, 2, min);
    b[4..8].copy_from_slice(&fifth_bits(&q));
    nibbles(&q, &mut b[8..]);
}

pub(super) fn q8_0(x: &[f32; 32], b: &mut [u8; 34]) {
    let d = (extreme(x).abs() / 127.0).min(MAX_HALF);
    let id = inverse(d);
    put_half(b, 0, d);
    for (b, &v) in b[2..].iter_mut().zip(x) {
        *b = (away_from_zero(v * id).clamp(-127, 127) as i8).cast_unsigned();
    }
}

/// The nearest integer, halves away from zero; exact, unlike truncating `v + 0.5`.
fn away_from_zero(v: f32) -> i32 {
    let whole = v as i32;
    let rest = v - whole as f32;
    whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5)
}
