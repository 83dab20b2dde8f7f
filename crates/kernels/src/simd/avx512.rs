//! Sixteen lanes as one AVX-512 register.

use std::arch::x86_64::*;

use super::{LANES, Simd};

/// Proof that the processor has AVX-512 F, BW, DQ and VL, beside AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The processor has these instructions, and the call is inlined into a function compiled for
    /// them (otherwise it is only slow).
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// The operations that are one or a few intrinsics.
macro_rules! lanes {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {
        $(
            $(#[$meta])*
            #[inline(always)]
            fn $name(self, $($arg: $ty),*) -> $ret {
                // SAFETY: `self` proves that the processor has the instructions.
                unsafe { $body }
            }
        )*
    };
}

/// The first `n` lanes.
#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    ((1u32 << n.min(16)) - 1) as __mmask16
}

/// The sum (or maximum) of the halves.
macro_rules! fold {
    ($a:expr, $op:ident) => {
        $op(_mm512_castps512_ps256($a), _mm512_extractf32x8_ps::<1>($a))
    };
}

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;

    lanes! {
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn count() -> __m512 = _mm512_cvtepi32_ps(_mm512_setr_epi32(
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        ));
        fn first(a: __m512) -> f32 = _mm512_cvtss_f32(a);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn abs(a: __m512) -> __m512 = _mm512_abs_ps(a);
        fn copysign(a: __m512, b: __m512) -> __m512 = _mm512_or_ps(
            _mm512_abs_ps(a),
            _mm512_and_ps(b, _mm512_set1_ps(-0.0))
        );
        fn round(a: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn pow2(a: __m512) -> __m512 = _mm512_castsi512_ps(_mm512_slli_epi32::<23>(
            _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127))
        ));
        fn select_lt(a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 =
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes);
    }

    #[inline(always)]
    fn join(self, low: [f32; LANES], high: [f32; LANES]) -> __m512 {
        // SAFETY: `self` proves the instructions; the arrays have eight elements.
        unsafe {
            let low = _mm512_castps256_ps512(_mm256_loadu_ps(low.as_ptr()));
            _mm512_insertf32x8::<1>(low, _mm256_loadu_ps(high.as_ptr()))
        }
    }
    #[inline(always)]
    fn split(self, a: __m512) -> ([f32; LANES], [f32; LANES]) {
        let (mut low, mut high) = ([0.0; LANES], [0.0; LANES]);
        // SAFETY: `self` proves the instructions; the arrays have eight elements.
        unsafe {
            _mm256_storeu_ps(low.as_mut_ptr(), _mm512_castps512_ps256(a));
            _mm256_storeu_ps(high.as_mut_ptr(), _mm512_extractf32x8_ps::<1>(a));
        }
        (low, high)
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe {
            let a = fold!(a, _mm256_add_ps);
            let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
        }
    }
    #[inline(always)]
    fn hmax(self, a: __m512) -> f32 {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe {
            let a = fold!(a, _mm256_max_ps);
            let half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)))
        }
    }
    #[inline(always)]
    fn transpose(self, row: impl Fn(usize) -> __m512, mut put: impl FnMut(usize, __m512)) {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe {
            // Pairs of rows, fours, then the quarters of the registers among four fours.
            let mut fours = [_mm512_setzero_ps(); 16];
            for i in 0..4 {
                let (a, b) = (row(4 * i), row(4 * i + 1));
                let (c, d) = (row(4 * i + 2), row(4 * i + 3));
                let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
                let (ab_high, cd_high) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
                fours[4 * i] = _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd);
                fours[4 * i + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd);
                fours[4 * i + 2] = _mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high);
                fours[4 * i + 3] = _mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high);
            }
            let mut columns = [_mm512_setzero_ps(); 16];
            for i in 0..4 {
                let (a, b, c, d) = (fours[i], fours[4 + i], fours[8 + i], fours[12 + i]);
                let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                let odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                let even_low = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
                let odd_low = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
                columns[i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(even, even_low);
                columns[4 + i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd, odd_low);
                columns[8 + i] = _mm512_shuffle_f32x4::<0b11_01_11_01>(even, even_low);
                columns[12 + i] = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd, odd_low);
            }
            for (j, column) in columns.into_iter().enumerate() {
                put(j, column);
            }
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> __m512 {
        // SAFETY: valid for sixteen elements by the caller.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: __m512) {
        // SAFETY: valid for sixteen elements by the caller.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m512 {
        // SAFETY: valid for sixteen elements by the caller.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m512 {
        // SAFETY: valid for sixteen elements by the caller.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m512 {
        // SAFETY: valid for sixteen elements by the caller.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: __m512) {
        // SAFETY: valid for sixteen elements by the caller.
        unsafe {
            _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: __m512) {
        // SAFETY: valid for sixteen elements by the caller.
        unsafe {
            let bits = _mm512_castps_si512(v);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, up));
            let quiet = _mm512_or_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(0x40));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let wide = _mm512_mask_blend_epi32(nan, rounded, quiet);
            _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(wide));
        }
    }

    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> __m512 {
        // SAFETY: `self` proves the instructions; lanes beyond the slice are masked.
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask(x.len()), x.as_ptr()) }
    }
    #[inline(always)]
    fn store_part(self, x: &mut [f32], v: __m512) {
        // SAFETY: `self` proves the instructions; lanes beyond the slice are masked.
        unsafe { _mm512_mask_storeu_ps(x.as_mut_ptr(), mask(x.len()), v) }
    }
}
