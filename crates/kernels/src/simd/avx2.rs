//! Eight lanes as one AVX2 register.

use std::arch::x86_64::*;

use super::{LANES, Simd};

/// Proof that the processor has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor has AVX2, FMA and F16C, and the call is inlined into a function compiled for
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

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = LANES;

    lanes! {
        fn splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        fn count() -> __m256 = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
        fn first(a: __m256) -> f32 = _mm256_cvtss_f32(a);
        fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fn abs(a: __m256) -> __m256 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        fn copysign(a: __m256, b: __m256) -> __m256 = _mm256_blendv_ps(
            _mm256_andnot_ps(_mm256_set1_ps(-0.0), a),
            _mm256_or_ps(a, _mm256_set1_ps(-0.0)),
            b
        );
        fn round(a: __m256) -> __m256 =
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn pow2(a: __m256) -> __m256 = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(
            _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127))
        ));
        fn select_lt(a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 =
            _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
    }

    #[inline(always)]
    fn join(self, low: [f32; LANES], _: [f32; LANES]) -> __m256 {
        // SAFETY: `self` proves the instructions; the array has eight elements.
        unsafe { _mm256_loadu_ps(low.as_ptr()) }
    }
    #[inline(always)]
    fn split(self, a: __m256) -> ([f32; LANES], [f32; LANES]) {
        let mut low = [0.0; LANES];
        // SAFETY: `self` proves the instructions; the array has eight elements.
        unsafe { _mm256_storeu_ps(low.as_mut_ptr(), a) };
        (low, [0.0; LANES])
    }
    #[inline(always)]
    fn sum(self, a: __m256) -> f32 {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
        }
    }
    #[inline(always)]
    fn hmax(self, a: __m256) -> f32 {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe {
            let half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)))
        }
    }
    #[inline(always)]
    fn transpose(self, row: impl Fn(usize) -> __m256, mut put: impl FnMut(usize, __m256)) {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe {
            let r: [__m256; LANES] = std::array::from_fn(&row);
            // Pairs of rows, then fours, then the two halves.
            let lo = |a, b| _mm256_unpacklo_ps(r[a], r[b]);
            let hi = |a, b| _mm256_unpackhi_ps(r[a], r[b]);
            let two = [
                lo(0, 1),
                hi(0, 1),
                lo(2, 3),
                hi(2, 3),
                lo(4, 5),
                hi(4, 5),
                lo(6, 7),
                hi(6, 7),
            ];
            let even = |a: usize, b: usize| _mm256_shuffle_ps::<0b01_00_01_00>(two[a], two[b]);
            let odd = |a: usize, b: usize| _mm256_shuffle_ps::<0b11_10_11_10>(two[a], two[b]);
            let four = [
                even(0, 2),
                odd(0, 2),
                even(1, 3),
                odd(1, 3),
                even(4, 6),
                odd(4, 6),
                even(5, 7),
                odd(5, 7),
            ];
            for i in 0..4 {
                put(i, _mm256_permute2f128_ps::<0x20>(four[i], four[i + 4]));
            }
            for i in 0..4 {
                put(i + 4, _mm256_permute2f128_ps::<0x31>(four[i], four[i + 4]));
            }
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> __m256 {
        // SAFETY: valid for eight elements by the caller.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: __m256) {
        // SAFETY: valid for eight elements by the caller.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m256 {
        // SAFETY: valid for eight elements by the caller.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m256 {
        // SAFETY: valid for eight elements by the caller.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m256 {
        // SAFETY: valid for eight elements by the caller.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: __m256) {
        // SAFETY: valid for eight elements by the caller.
        unsafe { _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: __m256) {
        // SAFETY: valid for eight elements by the caller.
        unsafe {
            let bits = _mm256_castps_si256(v);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
            let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, up));
            let quiet = _mm256_or_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(0x40));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
            let wide = _mm256_blendv_epi8(rounded, quiet, nan);
            let low = _mm256_castsi256_si128(wide);
            let high = _mm256_extracti128_si256::<1>(wide);
            _mm_storeu_si128(p.cast(), _mm_packus_epi32(low, high));
        }
    }
}
