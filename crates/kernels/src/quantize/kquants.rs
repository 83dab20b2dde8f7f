//! Super-blocks of 256: layouts of ggml's `ggml-common.h`, the inverse of the functions in `dequant`.

use super::put_half;
use super::search::{Levels, affine, symmetric};

/// Where element `at` of a `Q2_K` or `Q3_K` block has its two low bits: byte and shift.
fn two_bits(at: usize) -> (usize, usize) {
    (at / 128 * 32 + at % 32, at / 32 % 4 * 2)
}

pub(super) fn q2_k(x: &[f32; 256], b: &mut [u8; 84]) {
    b.fill(0);
    let Some(found) = affine::<3, 16>(x, 15) else {
        return;
    };
    for (b, (scale, min)) in b.iter_mut().zip(found.scales.iter().zip(&found.mins)) {
        *b = scale | min << 4;
    }
    for (at, q) in found.codes.into_iter().enumerate() {
        let (byte, shift) = two_bits(at);
        b[16 + byte] |= q << shift;
    }
    put_half(b, 80, found.d);
    put_half(b, 82, found.dmin);
}

pub(super) fn q3_k(x: &[f32; 256], b: &mut [u8; 110]) {
    b.fill(0);
    let Some(found) = symmetric::<Levels<4>, 16>(x, 32) else {
        // Factors are stored with 32 added.
        b[104..108].fill(0b1010_1010);
        return;
    };
    for (at, q) in found.codes.into_iter().enumerate() {
        let (byte, shift) = two_bits(at);
        b[at % 32] |= (q >> 2) << (at / 32);
        b[32 + byte] |= (q & 3) << shift;
    }
    for s in 0..16 {
        let factor = (found.factors[s] + 32) as u8;
        b[96 + s % 8] |= (factor & 15) << (s / 8 * 4);
        b[104 + s % 4] |= (factor >> 4) << (s / 4 * 2);
    }
    put_half(b, 108, found.d);
}

/// Packs eight pairs of 6-bit scales and minima.
fn put_scales(b: &mut [u8], scales: &[u8; 16], mins: &[u8; 16]) {
    for j in 0..4 {
        b[j] = scales[j] | (scales[j + 4] >> 4) << 6;
        b[j + 4] = mins[j] | (mins[j + 4] >> 4) << 6;
        b[j + 8] = scales[j + 4] & 15 | (mins[j + 4] & 15) << 4;
    }
}

/// Low nibbles: pairs of sub-blocks of 32 share 32 bytes.
fn put_nibbles(b: &mut [u8], codes: &[u8; 256]) {
    for (at, q) in codes.iter().enumerate() {
        b[at / 64 * 32 + at % 32] |= (q & 15) << (at / 32 % 2 * 4);
    }
}

pub(super) fn q4_k(x: &[f32; 256], b: &mut [u8; 144]) {
    b.fill(0);
    let Some(found) = affine::<15, 32>(x, 63) else {
        return;
    };
    put_half(b, 0, found.d);
    put_half(b, 2, found.dmin);
    put_scales(&mut b[4..16], &found.scales, &found.mins);
    put_nibbles(&mut b[16..], &found.codes);
}

pub(super) fn q5_k(x: &[f32; 256], b: &mut [u8; 176]) {
    b.fill(0);
    let Some(found) = affine::<31, 32>(x, 63) else {
        return;
    };
    put_half(b, 0, found.d);
    put_half(b, 2, found.dmin);
    put_scales(&mut b[4..16], &found.scales, &found.mins);
    for (at, q) in found.codes.iter().enumerate() {
        b[16 + at % 32] |= (q >> 4) << (at / 32);
    }
    put_nibbles(&mut b[48..], &found.codes);
}

pub(super) fn q6_k(x: &[f32; 256], b: &mut [u8; 210]) {
    b.fill(0);
    let Some(found) = symmetric::<Levels<32>, 16>(x, 128) else {
        return;
    };
    for (at, q) in found.codes.into_iter().enumerate() {
        // Within a half of 128: sub-blocks 0 and 1 of 32 in the low nibbles, 2 and 3 in the high ones.
        let (half, sub) = (at / 128, at / 32 % 4);
        b[half * 64 + sub % 2 * 32 + at % 32] |= (q & 15) << (sub / 2 * 4);
        b[128 + half * 32 + at % 32] |= (q >> 4) << (sub * 2);
    }
    for s in 0..16 {
        b[192 + s] = (found.factors[s] as i8).cast_unsigned();
    }
    put_half(b, 208, found.d);
}
