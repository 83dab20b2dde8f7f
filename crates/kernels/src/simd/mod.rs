//! Eight or sixteen lanes of f32, written once and compiled for each instruction set.
//!
//! A kernel is a `simd_fn!`: its body is generic over [`Simd`] and is compiled once with the
//! features of each instruction set. Values of the implementing types are proof that the
//! processor has the features, so arithmetic is safe; only pointer loads and stores are not.
//! Scalar and AVX2 have eight lanes and add them in the same order, so their results differ only
//! by the rounding of products that AVX2 fuses into sums. AVX-512 has sixteen.
#![allow(unsafe_code)] // loads and stores through pointers

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod math;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use scalar::Scalar;

/// Lanes of the plain forms; kernels go by [`Simd::LANES`].
pub(crate) const LANES: usize = 8;
/// Lanes of the widest form.
pub(crate) const MOST_LANES: usize = 16;

/// Arithmetic on f32 lanes. Public only for the sealed traits that it appears in.
#[allow(clippy::missing_safety_doc)] // pointer functions: valid for LANES elements, any alignment
#[doc(hidden)]
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`Simd::LANES`] numbers.
    type V: Copy;
    /// Numbers in a vector, at most [`MOST_LANES`].
    const LANES: usize;

    fn splat(self, x: f32) -> Self::V;
    /// 0, 1, 2 and so on.
    fn count(self) -> Self::V;
    /// The lanes from two runs of eight, the second of which only sixteen lanes have room for.
    fn join(self, low: [f32; LANES], high: [f32; LANES]) -> Self::V;
    /// The lanes as two runs of eight, the second zeros where there are no more.
    fn split(self, a: Self::V) -> ([f32; LANES], [f32; LANES]);
    /// The first lane.
    fn first(self, a: Self::V) -> f32;
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

    /// Transposes LANES vectors: lane `j` of `row(i)` is lane `i` of the vector put at `j`.
    /// `put` is called in order of `j`.
    fn transpose(self, row: impl Fn(usize) -> Self::V, put: impl FnMut(usize, Self::V));

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

    /// The first LANES elements.
    #[inline(always)]
    fn load(self, x: &[f32]) -> Self::V {
        assert!(x.len() >= Self::LANES, "a whole vector");
        // SAFETY: as many elements by the assertion.
        unsafe { self.load_ptr(x.as_ptr()) }
    }

    /// Into the first LANES elements.
    #[inline(always)]
    fn store(self, x: &mut [f32], v: Self::V) {
        assert!(x.len() >= Self::LANES, "a whole vector");
        // SAFETY: as many elements by the assertion.
        unsafe { self.store_ptr(x.as_mut_ptr(), v) }
    }

    /// Up to LANES elements; lanes beyond them hold `fill`.
    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> Self::V {
        if x.len() >= Self::LANES {
            return self.load(x);
        }
        let mut lanes = [fill; MOST_LANES];
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane = x;
        }
        self.load(&lanes)
    }

    /// As many lanes as `x` has room for.
    #[inline(always)]
    fn store_part(self, x: &mut [f32], v: Self::V) {
        if x.len() >= Self::LANES {
            return self.store(x, v);
        }
        let mut lanes = [0.0; MOST_LANES];
        self.store(&mut lanes, v);
        for (x, lane) in x.iter_mut().zip(lanes) {
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
            if isa == $crate::Isa::Avx512 {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                fn avx512<$($gen)*>($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: this function is compiled for, and so only called with, AVX-512.
                    let s = unsafe { $crate::simd::Avx512::new() };
                    body(s $(, $arg)*)
                }
                // SAFETY: this set reaches a kernel only through `isa()` and `with_isa`, which
                // return it only where the processor has these instructions.
                return unsafe { avx512($($arg),*) };
            }
            #[cfg(target_arch = "x86_64")]
            if isa == $crate::Isa::Avx2 {
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                fn avx2<$($gen)*>($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: this function is compiled for, and so only called with, AVX2.
                    let s = unsafe { $crate::simd::Avx2::new() };
                    body(s $(, $arg)*)
                }
                // SAFETY: this set reaches a kernel only through `isa()` and `with_isa`, which
                // return it only where the processor has AVX2, FMA and F16C.
                return unsafe { avx2($($arg),*) };
            }
            body($crate::simd::Scalar $(, $arg)*)
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis unsafe fn $name:ident[$($gen:tt)*]($s:ident $(, $arg:ident: $ty:ty)* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name<$($gen)*>(isa: $crate::Isa $(, $arg: $ty)*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            unsafe fn body<S: $crate::simd::Simd, $($gen)*>($s: S $(, $arg: $ty)*) $body

            #[cfg(target_arch = "x86_64")]
            if isa == $crate::Isa::Avx512 {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx512<$($gen)*>($($arg: $ty),*) {
                    // SAFETY: this function is compiled for, and so only called with, AVX-512;
                    // the rest is handed on.
                    unsafe { body($crate::simd::Avx512::new() $(, $arg)*) }
                }
                // SAFETY: this set reaches a kernel only through `isa()` and `with_isa`, which
                // return it only where the processor has these instructions. The rest is handed on.
                return unsafe { avx512($($arg),*) };
            }
            #[cfg(target_arch = "x86_64")]
            if isa == $crate::Isa::Avx2 {
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2<$($gen)*>($($arg: $ty),*) {
                    // SAFETY: this function is compiled for, and so only called with, AVX2; the
                    // rest is handed on.
                    unsafe { body($crate::simd::Avx2::new() $(, $arg)*) }
                }
                // SAFETY: this set reaches a kernel only through `isa()` and `with_isa`, which
                // return it only where the processor has AVX2, FMA and F16C. The rest is handed on.
                return unsafe { avx2($($arg),*) };
            }
            // SAFETY: handed on.
            unsafe { body($crate::simd::Scalar $(, $arg)*) }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis unsafe fn $name:ident($($rest:tt)*) $body:block
    ) => {
        $crate::simd::simd_fn! { $(#[$meta])* $vis unsafe fn $name[]($($rest)*) $body }
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
        fn each(s, x: &[f32; 16], y: &[f32; 16]) -> Vec<[f32; 16]> {
            let mut out = vec![[0.0; 16]; 12];
            for at in (0..16).step_by(S::LANES) {
                let (a, b) = (s.load(&x[at..]), s.load(&y[at..]));
                let mut half = [0u16; 16];
                let mut brain = [0u16; 16];
                // SAFETY: arrays of sixteen.
                let (f16, bf16) = unsafe {
                    s.store_f16(half.as_mut_ptr(), a);
                    s.store_bf16(brain.as_mut_ptr(), a);
                    (s.load_f16(half.as_ptr()), s.load_bf16(brain.as_ptr()))
                };
                let v = [
                    s.add(a, b), s.sub(a, b), s.mul(a, b), s.div(a, b), s.max(a, b), s.min(a, b),
                    s.abs(a), s.copysign(a, b), s.select_lt(a, b, a, b), f16, bf16,
                    s.add(s.count(), s.splat(at as f32)),
                ];
                for (out, v) in out.iter_mut().zip(v) {
                    s.store(&mut out[at..], v);
                }
            }
            out
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
    fn all_sets_agree_lane_by_lane() {
        for i in 0..SPECIAL.len() {
            for j in 0..SPECIAL.len() {
                let x: [f32; 16] = std::array::from_fn(|k| SPECIAL[(i + k) % SPECIAL.len()]);
                let y: [f32; 16] = std::array::from_fn(|k| SPECIAL[(j + k * 5) % SPECIAL.len()]);
                let scalar = each(Isa::Scalar, &x, &y);
                for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
                    let other = each(isa, &x, &y);
                    for (op, (a, b)) in scalar.iter().zip(&other).enumerate() {
                        for k in 0..16 {
                            let same =
                                a[k].to_bits() == b[k].to_bits() || a[k].is_nan() && b[k].is_nan();
                            assert!(same, "op {op}: {} and {} for {} {}", a[k], b[k], x[k], y[k]);
                        }
                    }
                }
            }
        }
    }

    simd_fn! {
        fn transposed(s, x: &[f32]) -> (usize, Vec<f32>) {
            let mut out = vec![0.0; S::LANES * S::LANES];
            s.transpose(
                |i| s.load(&x[i * S::LANES..]),
                |j, column| s.store(&mut out[j * S::LANES..], column),
            );
            (S::LANES, out)
        }
    }

    simd_fn! {
        fn over_lanes(s, x: &[f32]) -> (f32, f32, f32, Vec<f32>) {
            let a = s.load(x);
            let (low, high) = s.split(a);
            let joined = s.sub(s.join(low, high), a);
            assert_eq!((s.hmax(joined), s.sum(s.abs(joined))), (0.0, 0.0));
            assert_eq!(low, x[..8]);
            assert!(if S::LANES == 16 { high == x[8..] } else { high == [0.0; 8] });
            let mut parts = vec![9.0; S::LANES * S::LANES];
            for (n, out) in parts.chunks_mut(S::LANES).enumerate() {
                s.store_part(&mut out[..n], s.load_part(&x[..n], 0.0));
                let filled = s.load_part(&x[..n], 3.0);
                assert_eq!(s.sum(filled), x[..n].iter().sum::<f32>() + 3.0 * (S::LANES - n) as f32);
            }
            (s.sum(a), s.hmax(a), s.first(a), parts)
        }
    }

    #[test]
    fn sums_largest_lanes_and_parts() {
        let x: Vec<f32> = (0..16).map(|i| ((i * 7) % 16) as f32 - 4.0).collect();
        for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
            let (sum, largest, first, parts) = over_lanes(isa, &x);
            let lanes = if isa == Isa::Avx512 { 16 } else { 8 };
            assert_eq!(sum, x[..lanes].iter().sum());
            assert_eq!(largest, x[..lanes].iter().copied().fold(f32::MIN, f32::max));
            assert_eq!(first, x[0]);
            for (n, part) in parts.chunks(lanes).enumerate() {
                for (i, &p) in part.iter().enumerate() {
                    assert_eq!(p, if i < n { x[i] } else { 9.0 });
                }
            }
        }
    }

    #[test]
    fn transposition() {
        let x: Vec<f32> = (0..256).map(|i| i as f32).collect();
        for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
            let (lanes, out) = transposed(isa, &x);
            for (at, &y) in out.iter().enumerate() {
                assert_eq!(y, (at % lanes * lanes + at / lanes) as f32);
            }
        }
    }

    #[test]
    fn sixteen_bit_floats_round_as_half_does() {
        for start in 0..SPECIAL.len() {
            let x: [f32; 16] = std::array::from_fn(|k| SPECIAL[(start + k) % SPECIAL.len()]);
            for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
                let out = each(isa, &x, &x);
                for k in 0..16 {
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
