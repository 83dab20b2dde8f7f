//! How sums of 32 products are started and scaled.

use std::arch::x86_64::*;

use super::super::activations::XBlock;

/// A kind of scales. All functions need `Isa::Avx512` and a valid block of activations.
///
/// Sums of 32 columns come in one part, or in two where each half has its own scale. A part is
/// started, takes its products and is finished.
pub(super) trait Dot {
    /// What goes with the quants of 32 columns of sixteen rows.
    type Scales: Copy;
    const PARTS: usize;

    unsafe fn start<const PART: usize>(x: *const XBlock) -> __m512i;
    /// Adds the part to the float of each row.
    unsafe fn finish<const PART: usize>(
        sum: __m512i,
        scales: &Self::Scales,
        x: *const XBlock,
        acc: __m512,
    ) -> __m512;
}

/// `acc + sum * (d * factor)`.
#[inline(always)]
unsafe fn scaled(sum: __m512i, d: __m512, factor: f32, acc: __m512) -> __m512 {
    // SAFETY: by the caller.
    unsafe {
        let d = _mm512_mul_ps(d, _mm512_set1_ps(factor));
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), d, acc)
    }
}

/// Quants that are `2^LOG` too large.
pub(super) struct Offset<const LOG: u32>;

impl<const LOG: u32> Dot for Offset<LOG> {
    type Scales = __m512;
    const PARTS: usize = 1;

    #[inline(always)]
    unsafe fn start<const PART: usize>(x: *const XBlock) -> __m512i {
        // SAFETY: by the trait's contract.
        unsafe { _mm512_slli_epi32::<LOG>(_mm512_set1_epi32((*x).minus)) }
    }
    #[inline(always)]
    unsafe fn finish<const PART: usize>(
        sum: __m512i,
        scales: &__m512,
        x: *const XBlock,
        acc: __m512,
    ) -> __m512 {
        // SAFETY: by the trait's contract.
        unsafe { scaled(sum, *scales, (*x).d, acc) }
    }
}

/// Quants with a scale and a minimum that is added.
pub(super) struct Min;

impl Dot for Min {
    type Scales = [__m512; 2];
    const PARTS: usize = 1;

    #[inline(always)]
    unsafe fn start<const PART: usize>(_: *const XBlock) -> __m512i {
        // SAFETY: by the trait's contract.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn finish<const PART: usize>(
        sum: __m512i,
        [d, m]: &[__m512; 2],
        x: *const XBlock,
        acc: __m512,
    ) -> __m512 {
        // SAFETY: by the trait's contract.
        unsafe {
            let acc = scaled(sum, *d, (*x).d, acc);
            _mm512_fmadd_ps(*m, _mm512_set1_ps((*x).sum), acc)
        }
    }
}

/// Quants that are `2^LOG` too large, with a scale for each half.
pub(super) struct HalfOffset<const LOG: u32>;

impl<const LOG: u32> Dot for HalfOffset<LOG> {
    type Scales = [__m512; 2];
    const PARTS: usize = 2;

    #[inline(always)]
    unsafe fn start<const PART: usize>(x: *const XBlock) -> __m512i {
        // SAFETY: by the trait's contract.
        unsafe { _mm512_slli_epi32::<LOG>(_mm512_set1_epi32((*x).minus_halves[PART])) }
    }
    #[inline(always)]
    unsafe fn finish<const PART: usize>(
        sum: __m512i,
        scales: &[__m512; 2],
        x: *const XBlock,
        acc: __m512,
    ) -> __m512 {
        // SAFETY: by the trait's contract.
        unsafe { scaled(sum, scales[PART], (*x).d, acc) }
    }
}

/// Quants with a scale and a minimum for each half: both scales, then both minima.
pub(super) struct HalfMin;

impl Dot for HalfMin {
    type Scales = [__m512; 4];
    const PARTS: usize = 2;

    #[inline(always)]
    unsafe fn start<const PART: usize>(_: *const XBlock) -> __m512i {
        // SAFETY: by the trait's contract.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn finish<const PART: usize>(
        sum: __m512i,
        scales: &[__m512; 4],
        x: *const XBlock,
        acc: __m512,
    ) -> __m512 {
        // SAFETY: by the trait's contract.
        unsafe {
            let acc = scaled(sum, scales[PART], (*x).d, acc);
            _mm512_fmadd_ps(scales[2 + PART], _mm512_set1_ps((*x).half_sums[PART]), acc)
        }
    }
}
