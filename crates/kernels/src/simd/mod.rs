//! Eight lanes of f32, written once and compiled for each instruction set.
//!
//! A kernel is a `simd_fn!`: its body is generic over [`Simd`] and is compiled once with the
//! features of each instruction set. Values of the implementing types are proof that the
//! processor has the features, so arithmetic is safe; only pointer loads and stores are not.
//! The lanes, and the order in which [`Simd::sum`] adds them, are the same everywhere; scalar
//! results differ from AVX2 only by the rounding of products that AVX2 fuses into sums.
#![allow(unsafe_code)] // loads and stores through pointers

#[cfg(target_arch = "x86_64")]
mod avx2;
pub(crate) mod math;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
pub(crate) use scalar::Scalar;

/// Lanes of a vector.
pub(crate) const LANES: usize = 8;

/// Arithmetic on eight f32 lanes. Public only for the sealed traits that it appears in.
#[allow(clippy::missing_safety_doc)] // pointer functions: valid for 8 elements, any alignment
#[doc(hidden)]
pub trait Simd: Copy + Send + Sync + 'static {
    /// Eight f32 lanes.
    type V: Copy;

    fn splat(self, x: f32) -> Self::V;
    fn set(self, x: [f32; LANES]) -> Self::V;
    fn to_array(self, x: Self::V) -> [f32; LANES];
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the processor can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    /// The magnitude of `a` with the sign of `b`.
    fn copysign(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer, ties to even. For |a| < 2^22.
    fn round(self, a: Self::V) -> Self::V;
    /// 2^a for integers a in -126..=127.
    fn pow2(self, a: Self::V) -> Self::V;
    /// `a < b ? yes : no` per lane; `no` where either is NaN.
    fn select_lt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// The sum of the lanes: halves, then quarters, then the last pair.
    fn sum(self, a: Self::V) -> f32;
    /// The largest lane, for lanes without NaN.
    fn hmax(self, a: Self::V) -> f32;

    /// Lane `j` of vector `i` becomes lane `i` of vector `j`.
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES];

    unsafe fn load_ptr(self, p: *const f32) -> Self::V;
    unsafe fn store_ptr(self, p: *mut f32, v: Self::V);
    /// Half precision, as bits.
    unsafe fn load_f16(self, p: *const u16) -> Self::V;
    /// bfloat16, as bits.
    unsafe fn load_bf16(self, p: *const u16) -> Self::V;
    unsafe fn load_i8(self, p: *const i8) -> Self::V;
    /// Rounds to half precision, ties to even.
    unsafe fn store_f16(self, p: *mut u16, v: Self::V);
    /// Rounds to bfloat16, ties to even; NaN stays NaN.
    unsafe fn store_bf16(self, p: *mut u16, v: Self::V);

    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// The first eight elements.
    #[inline(always)]
    fn load(self, x: &[f32]) -> Self::V {
        assert!(x.len() >= LANES, "a whole vector");
        // SAFETY: eight elements by the assertion.
        unsafe { self.load_ptr(x.as_ptr()) }
    }

    /// Into the first eight elements.
    #[inline(always)]
    fn store(self, x: &mut [f32], v: Self::V) {
        assert!(x.len() >= LANES, "a whole vector");
        // SAFETY: eight elements by the assertion.
        unsafe { self.store_ptr(x.as_mut_ptr(), v) }
    }

    /// Up to eight elements; lanes beyond them hold `fill`.
    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> Self::V {
        if x.len() >= LANES {
            return self.load(x);
        }
        let mut lanes = [fill; LANES];
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane = x;
        }
        self.set(lanes)
    }

    /// As many lanes as `x` has room for.
    #[inline(always)]
    fn store_part(self, x: &mut [f32], v: Self::V) {
        if x.len() >= LANES {
            return self.store(x, v);
        }
        for (x, lane) in x.iter_mut().zip(self.to_array(v)) {
            *x = lane;
        }
    }
}

/// A function whose body is compiled once for each instruction set. Its first parameter names the
/// [`Simd`] value of the body; callers pass an [`crate::Isa`] there.
macro_rules! simd_fn {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident[$($gen:tt)*]($s:ident $(, $arg:ident: $ty:ty)* $(,)?) $(-> $ret:ty)?
        $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<$($gen)*>(isa: $crate::Isa $(, $arg: $ty)*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, unused_variables)]
            fn body<S: $crate::simd::Simd, $($gen)*>($s: S $(, $arg: $ty)*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            if isa.has_avx2() {
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                fn avx2<$($gen)*>($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: this function is compiled for, and so only called with, AVX2.
                    let s = unsafe { $crate::simd::Avx2::new() };
                    body(s $(, $arg)*)
                }
                // SAFETY: both sets with AVX2 reach a kernel only through `isa()` and `with_isa`, which
                // return them only where the processor has AVX2, FMA and F16C.
                return unsafe { avx2($($arg),*) };
            }
            body($crate::simd::Scalar $(, $arg)*)
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis unsafe fn $name:ident($s:ident $(, $arg:ident: $ty:ty)* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name(isa: $crate::Isa $(, $arg: $ty)*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            unsafe fn body<S: $crate::simd::Simd>($s: S $(, $arg: $ty)*) $body

            #[cfg(target_arch = "x86_64")]
            if isa.has_avx2() {
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2($($arg: $ty),*) {
                    // SAFETY: this function is compiled for, and so only called with, AVX2; the
                    // rest is handed on.
                    unsafe { body($crate::simd::Avx2::new() $(, $arg)*) }
                }
                // SAFETY: both sets with AVX2 reach a kernel only through `isa()` and `with_isa`, which
                // return them only where the processor has AVX2, FMA and F16C. The rest is handed on.
                return unsafe { avx2($($arg),*) };
            }
            // SAFETY: handed on.
            unsafe { body($crate::simd::Scalar $(, $arg)*) }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($rest:tt)*) $(-> $ret:ty)? $body:block
    ) => {
        $crate::simd::simd_fn! { $(#[$meta])* $vis fn $name[]($($rest)*) $(-> $ret)? $body }
    };
}
pub(crate) use simd_fn;

#[cfg(test)]
mod tests {
    use crate::Isa;

    simd_fn! {
        fn each(s, x: &[f32; 8], y: &[f32; 8]) -> Vec<[f32; 8]> {
            let (a, b) = (s.load(x), s.load(y));
            let mut half = [0u16; 8];
            let mut brain = [0u16; 8];
            // SAFETY: arrays of eight.
            let (f16, bf16) = unsafe {
                s.store_f16(half.as_mut_ptr(), a);
                s.store_bf16(brain.as_mut_ptr(), a);
                (s.load_f16(half.as_ptr()), s.load_bf16(brain.as_ptr()))
            };
            let v = [
                s.add(a, b), s.sub(a, b), s.mul(a, b), s.div(a, b), s.max(a, b), s.min(a, b),
                s.abs(a), s.copysign(a, b), s.select_lt(a, b, a, b), f16, bf16,
                s.splat(s.sum(a)),
            ];
            v.map(|v| s.to_array(v)).to_vec()
        }
    }

    const SPECIAL: [f32; 24] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1e-45,
        -1e-40,
        3.4e38,
        -3.4e38,
        65504.0,
        65519.9,
        65520.0,
        1e-7,
        6.1e-5,
        5.9e-8,
        2.9e-8,
        3.0e-8,
        1.000_488_3,
        1.001_464_8,
        1.003_906_3,
        1.011_718_8,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        0.333_333_34,
    ];

    #[test]
    fn both_sets_agree_lane_by_lane() {
        for i in 0..SPECIAL.len() {
            for j in 0..SPECIAL.len() {
                let x: [f32; 8] = std::array::from_fn(|k| SPECIAL[(i + k) % SPECIAL.len()]);
                let y: [f32; 8] = std::array::from_fn(|k| SPECIAL[(j + k * 5) % SPECIAL.len()]);
                let scalar = each(Isa::Scalar, &x, &y);
                let best = each(Isa::best(), &x, &y);
                for (op, (a, b)) in scalar.iter().zip(&best).enumerate() {
                    for k in 0..8 {
                        let same =
                            a[k].to_bits() == b[k].to_bits() || a[k].is_nan() && b[k].is_nan();
                        assert!(same, "op {op}: {} and {} for {} {}", a[k], b[k], x[k], y[k]);
                    }
                }
            }
        }
    }

    simd_fn! {
        fn transposed(s, x: &[[f32; 8]; 8]) -> Vec<[f32; 8]> {
            s.transpose(x.map(|row| s.set(row))).map(|v| s.to_array(v)).to_vec()
        }
    }

    #[test]
    fn transposition() {
        let x: [[f32; 8]; 8] = std::array::from_fn(|i| std::array::from_fn(|j| (i * 8 + j) as f32));
        for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
            for (j, column) in transposed(isa, &x).iter().enumerate() {
                assert_eq!(*column, std::array::from_fn(|i| (i * 8 + j) as f32));
            }
        }
    }

    #[test]
    fn sixteen_bit_floats_round_as_half_does() {
        for start in 0..SPECIAL.len() {
            let x: [f32; 8] = std::array::from_fn(|k| SPECIAL[(start + k) % SPECIAL.len()]);
            for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
                let out = each(isa, &x, &x);
                for k in 0..8 {
                    let f16 = half::f16::from_f32(x[k]).to_f32();
                    let bf16 = half::bf16::from_f32(x[k]).to_f32();
                    let eq =
                        |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                    assert!(
                        eq(out[9][k], f16),
                        "{} as f16: {} not {f16}",
                        x[k],
                        out[9][k]
                    );
                    assert!(
                        eq(out[10][k], bf16),
                        "{} as bf16: {} not {bf16}",
                        x[k],
                        out[10][k]
                    );
                }
            }
        }
    }
}
