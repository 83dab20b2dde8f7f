//! Panels of bf16 pairs out of f32 matrices, by the instruction that rounds. Like it, denormal numbers become zero.

use std::arch::x86_64::*;
use std::ops::Range;

use super::kernel::prefetch;
use super::pack::{AHEAD, Panels};
use crate::simd::{Avx512, Simd};

/// As `pack::fill`: rows of the matrix run along the depth of panels (`along`) or across them.
///
/// # Safety
/// The processor has AVX-512 with BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
pub(super) unsafe fn fill(
    data: &[f32],
    stride: usize,
    along: bool,
    across: Range<usize>,
    depth: Range<usize>,
    to: Panels<'_>,
) {
    let Panels {
        panels,
        size,
        width,
    } = to;
    if !along {
        return paired(data, stride, across, depth, (panels, size, width));
    }
    for (first, panel) in across.clone().step_by(width).zip(panels.chunks_mut(size)) {
        let across = first..(first + width).min(across.end);
        crossed(data, stride, across, depth.clone(), panel, width);
    }
}

/// Sixteen numbers, or as many as there are and zeros behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
fn load(x: &[f32]) -> __m512 {
    let mask = if x.len() >= 16 {
        u16::MAX
    } else {
        (1 << x.len()) - 1
    };
    // SAFETY: lanes behind the slice are not touched.
    unsafe { _mm512_maskz_loadu_ps(mask, x.as_ptr()) }
}

/// Two rows of the matrix become one of the panel, the last with zeros where it is alone.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
fn paired(
    data: &[f32],
    stride: usize,
    across: Range<usize>,
    depth: Range<usize>,
    (panels, size, width): (&mut [f32], usize, usize),
) {
    // The lanes of low and high numbers in turn.
    let mut order = [0u16; 32];
    for (i, order) in order.iter_mut().enumerate() {
        *order = (i / 2 + i % 2 * 16) as u16;
    }
    // SAFETY: an array of 64 bytes.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    for (i, k) in depth.clone().step_by(2).enumerate() {
        for at in across.clone().step_by(16) {
            prefetch(data.as_ptr().wrapping_add((k + AHEAD) * stride + at));
            prefetch(data.as_ptr().wrapping_add((k + AHEAD + 1) * stride + at));
        }
        let low = &data[k * stride..][..across.end];
        let high = if k + 1 < depth.end {
            &data[(k + 1) * stride..][..across.end]
        } else {
            &[]
        };
        let firsts = across.clone().step_by(width);
        for (first, panel) in firsts.zip(panels.chunks_mut(size)) {
            for v in (0..width.min(across.end - first)).step_by(16) {
                let at = first + v;
                let low = load(low.get(at..).unwrap_or(&[]));
                let high = load(high.get(at..).unwrap_or(&[]));
                let both = _mm512_cvtne2ps_pbh(high, low);
                // SAFETY: both are 512 bits.
                let both = unsafe { std::mem::transmute::<__m512bh, __m512i>(both) };
                let pairs = _mm512_permutexvar_epi16(order, both);
                let out = &mut panel[i * width + v..];
                assert!(out.len() >= 16, "a whole panel");
                // SAFETY: sixteen elements by the assertion.
                unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), pairs) };
            }
        }
    }
}

/// Rows of the matrix are transposed sixteen at a time, pairs of numbers of each.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
fn crossed(
    data: &[f32],
    stride: usize,
    across: Range<usize>,
    depth: Range<usize>,
    panel: &mut [f32],
    every: usize,
) {
    // SAFETY: compiled for AVX-512, and so only called with it.
    let s = unsafe { Avx512::new() };
    let pairs = depth.len().div_ceil(2);
    for first in across.clone().step_by(16) {
        let height = 16.min(across.end - first);
        let panel = &mut panel[first - across.start..];
        assert!(panel.len() >= (pairs - 1) * every + 16, "a whole panel");
        for from in depth.clone().step_by(32) {
            let end = (from + 32).min(depth.end);
            let mut rows = [_mm512_setzero_ps(); 16];
            for (r, row) in rows.iter_mut().enumerate().take(height) {
                let numbers = &data[(first + r) * stride..][from..end];
                let low = load(numbers);
                let high = load(numbers.get(16..).unwrap_or(&[]));
                let both = _mm512_cvtne2ps_pbh(high, low);
                // SAFETY: both are 512 bits.
                *row = unsafe { std::mem::transmute::<__m512bh, __m512>(both) };
            }
            let done = (from - depth.start) / 2;
            let left = (end - from).div_ceil(2);
            s.transpose(
                |r| rows[r],
                |i, lanes| {
                    if i < left {
                        // SAFETY: a vector within the panel by the assertion above.
                        unsafe { s.store_ptr(panel.as_mut_ptr().add((done + i) * every), lanes) };
                    }
                },
            );
        }
    }
}
