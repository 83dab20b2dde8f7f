//! Integer products of 32 columns, four at a time, in the lanes of eight rows.
//!
//! `vpmaddubsw` multiplies unsigned by signed bytes and adds neighbours into 16 bits, which
//! saturate: each way of adding up below says why its sums fit.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::activations::XBlock;

/// Scales of one block of 32 of eight rows: element `q` is worth `q * d + m`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Plain {
    pub(super) d: __m256,
    pub(super) m: __m256,
}

/// Scales where each half of a block of 32 has its own integer scale.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Paired {
    pub(super) d: __m256,
    /// What the integer `correction` counts, where it has a scale of its own.
    pub(super) m: __m256,
    /// The scales of the first and the second half, twice in each 32-bit lane.
    pub(super) scales: [__m256i; 2],
    /// 16-bit factors of the two halves' sums of activations.
    pub(super) correction: __m256i,
}

/// A sum on its way: 16-bit lanes, two to a row, and 32-bit lanes.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    narrow: __m256i,
    wide: __m256i,
}

/// One way of adding up 32 products. All functions need AVX2, FMA and F16C.
pub(super) trait Dot {
    /// What goes with the quants.
    type Scales: Copy;
    /// Four quants of eight rows, ready for any number of activations.
    type Weights: Copy;

    unsafe fn zero() -> Sum {
        // SAFETY: AVX2 by the trait's contract.
        unsafe {
            Sum {
                narrow: _mm256_setzero_si256(),
                wide: _mm256_setzero_si256(),
            }
        }
    }
    unsafe fn weights(w: __m256i) -> Self::Weights;
    /// Adds the products of columns `4 G ..` with the activations `x`, four bytes in every lane.
    unsafe fn step<const G: usize>(
        sum: Sum,
        w: Self::Weights,
        x: __m256i,
        scales: &Self::Scales,
    ) -> Sum;
    /// Adds the block to the float of each row.
    unsafe fn finish(sum: Sum, scales: &Self::Scales, x: *const XBlock, acc: __m256) -> __m256;
}

/// `narrow += w * x` in 16 bits, or `= w * x` for the first.
///
/// Written as instructions because the compiler, left to itself, reorders the sums of a tile into
/// trees and spills most of them.
#[inline]
#[target_feature(enable = "avx2")]
fn add_narrow<const FIRST: bool>(mut narrow: __m256i, w: __m256i, x: __m256i) -> __m256i {
    // SAFETY: arithmetic on registers.
    unsafe {
        if FIRST {
            asm!("vpmaddubsw {s}, {w}, {x}", s = lateout(ymm_reg) narrow, w = in(ymm_reg) w,
                 x = in(ymm_reg) x, options(nomem, nostack, preserves_flags));
        } else {
            asm!("vpmaddubsw {p}, {w}, {x}", "vpaddw {s}, {s}, {p}", s = inout(ymm_reg) narrow,
                 w = in(ymm_reg) w, x = in(ymm_reg) x, p = out(ymm_reg) _,
                 options(nomem, nostack, preserves_flags));
        }
    }
    narrow
}

/// `wide += |w| * (x with the sign of w)` in 32 bits, or `=` for the first.
#[inline]
#[target_feature(enable = "avx2")]
fn add_signed<const FIRST: bool>(
    mut wide: __m256i,
    (magnitude, w): (__m256i, __m256i),
    x: __m256i,
) -> __m256i {
    // SAFETY: arithmetic on registers.
    unsafe {
        let one = ones();
        if FIRST {
            asm!("vpsignb {s}, {x}, {w}", "vpmaddubsw {s}, {m}, {s}", "vpmaddwd {s}, {s}, {one}",
                 s = out(ymm_reg) wide, w = in(ymm_reg) w, m = in(ymm_reg) magnitude,
                 x = in(ymm_reg) x, one = in(ymm_reg) one,
                 options(nomem, nostack, preserves_flags));
        } else {
            asm!("vpsignb {p}, {x}, {w}", "vpmaddubsw {p}, {m}, {p}", "vpmaddwd {p}, {p}, {one}",
                 "vpaddd {s}, {s}, {p}", p = out(ymm_reg) _, s = inout(ymm_reg) wide,
                 w = in(ymm_reg) w, m = in(ymm_reg) magnitude, x = in(ymm_reg) x,
                 one = in(ymm_reg) one, options(nomem, nostack, preserves_flags));
        }
    }
    wide
}

#[inline(always)]
unsafe fn ones() -> __m256i {
    // SAFETY: AVX2 by the caller.
    unsafe { _mm256_set1_epi16(1) }
}

#[inline(always)]
unsafe fn scaled(sum: __m256i, d: __m256, x: *const XBlock, acc: __m256) -> __m256 {
    // SAFETY: AVX2 and a valid block by the caller.
    unsafe {
        let d = _mm256_mul_ps(d, _mm256_set1_ps((*x).d));
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), d, acc)
    }
}

#[inline(always)]
unsafe fn with_min<const MIN: bool>(scales: &Plain, x: *const XBlock, acc: __m256) -> __m256 {
    if !MIN {
        return acc;
    }
    // SAFETY: AVX2 and a valid block by the caller.
    unsafe { _mm256_fmadd_ps(scales.m, _mm256_set1_ps((*x).sum), acc) }
}

/// Quants of at most `15 * 8 / GROUPS`, added in 16 bits over `GROUPS` groups of four columns:
/// 2 · 15 · 127 · 8 = 30480, 2 · 31 · 127 · 4 = 31496.
pub(super) struct Unsigned<const GROUPS: usize, const MIN: bool>;

impl<const GROUPS: usize, const MIN: bool> Dot for Unsigned<GROUPS, MIN> {
    type Scales = Plain;
    type Weights = __m256i;

    #[inline(always)]
    unsafe fn weights(w: __m256i) -> __m256i {
        w
    }

    #[inline(always)]
    unsafe fn step<const G: usize>(mut sum: Sum, w: __m256i, x: __m256i, _: &Plain) -> Sum {
        // SAFETY: AVX2 by the trait's contract.
        unsafe {
            sum.narrow = if G.is_multiple_of(GROUPS) {
                add_narrow::<true>(sum.narrow, w, x)
            } else {
                add_narrow::<false>(sum.narrow, w, x)
            };
            if G % GROUPS == GROUPS - 1 {
                let wide = _mm256_madd_epi16(sum.narrow, ones());
                sum.wide = if G < GROUPS {
                    wide
                } else {
                    _mm256_add_epi32(sum.wide, wide)
                };
            }
        }
        sum
    }

    #[inline(always)]
    unsafe fn finish(sum: Sum, scales: &Plain, x: *const XBlock, acc: __m256) -> __m256 {
        // SAFETY: by the trait's contract.
        unsafe { with_min::<MIN>(scales, x, scaled(sum.wide, scales.d, x, acc)) }
    }
}

/// Signed quants of 8 bits: magnitudes times activations with the quants' signs. One product is
/// at most 2 · 128 · 127 = 32512, so every one is widened.
pub(super) struct Signed;

impl Dot for Signed {
    type Scales = Plain;
    type Weights = (__m256i, __m256i);

    #[inline(always)]
    unsafe fn weights(w: __m256i) -> (__m256i, __m256i) {
        // SAFETY: AVX2 by the trait's contract.
        unsafe { (_mm256_abs_epi8(w), w) }
    }

    #[inline(always)]
    unsafe fn step<const G: usize>(
        mut sum: Sum,
        w: (__m256i, __m256i),
        x: __m256i,
        _: &Plain,
    ) -> Sum {
        // SAFETY: AVX2 by the trait's contract.
        unsafe {
            sum.wide = if G == 0 {
                add_signed::<true>(sum.wide, w, x)
            } else {
                add_signed::<false>(sum.wide, w, x)
            };
        }
        sum
    }

    #[inline(always)]
    unsafe fn finish(sum: Sum, scales: &Plain, x: *const XBlock, acc: __m256) -> __m256 {
        // SAFETY: by the trait's contract.
        unsafe { scaled(sum.wide, scales.d, x, acc) }
    }
}

/// Unsigned quants with a scale for each half: up to 6 bits with `GROUPS` 2 (2 · 63 · 127 · 2 =
/// 32004), up to 4 with 4. The correction is an offset in units of `d`, or (`MIN`) a minimum in
/// units of `m`.
pub(super) struct Halves<const GROUPS: usize, const MIN: bool>;

impl<const GROUPS: usize, const MIN: bool> Dot for Halves<GROUPS, MIN> {
    type Scales = Paired;
    type Weights = __m256i;

    #[inline(always)]
    unsafe fn weights(w: __m256i) -> __m256i {
        w
    }

    #[inline(always)]
    unsafe fn step<const G: usize>(mut sum: Sum, w: __m256i, x: __m256i, scales: &Paired) -> Sum {
        // SAFETY: AVX2 by the trait's contract.
        unsafe {
            sum.narrow = if G.is_multiple_of(GROUPS) {
                add_narrow::<true>(sum.narrow, w, x)
            } else {
                add_narrow::<false>(sum.narrow, w, x)
            };
            if G % GROUPS == GROUPS - 1 {
                let wide = _mm256_madd_epi16(sum.narrow, scales.scales[G / 4]);
                sum.wide = if G < GROUPS {
                    wide
                } else {
                    _mm256_add_epi32(sum.wide, wide)
                };
            }
        }
        sum
    }

    #[inline(always)]
    unsafe fn finish(sum: Sum, scales: &Paired, x: *const XBlock, acc: __m256) -> __m256 {
        // SAFETY: by the trait's contract.
        unsafe {
            let halves = _mm256_set1_epi32((&raw const (*x).halves).cast::<i32>().read_unaligned());
            let correction = _mm256_madd_epi16(scales.correction, halves);
            if MIN {
                let acc = scaled(sum.wide, scales.d, x, acc);
                scaled(correction, scales.m, x, acc)
            } else {
                scaled(_mm256_add_epi32(sum.wide, correction), scales.d, x, acc)
            }
        }
    }
}
