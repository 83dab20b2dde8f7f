//! Block types with AVX2, FMA and F16C.
//!
//! One row of activations meets the packed form itself; more rows meet a tile of one byte per
//! quant that is taken out of two panels once. Both add up the same integers and scale them in the
//! same order.
#![allow(unsafe_code)] // intrinsics and pointers into panels

mod dot;
mod product;
mod quants;

use std::arch::x86_64::*;

use super::activations::{BLOCK, XBlock, scales_for};
use super::layout::Layout;
use super::output::OutPart;
use crate::BlockType;

/// `out[t][r] = x[t] · w[r]` for the rows of `out`. Only for block types, on processors with AVX2,
/// FMA and F16C.
pub(super) fn matmul(layout: &Layout, data: &[u8], x: &[XBlock], out: &mut OutPart<'_>) {
    let run = match layout.ty {
        BlockType::F32 | BlockType::F16 | BlockType::BF16 => return,
        BlockType::Q4_0 => product::run::<quants::Q40>,
        BlockType::Q4_1 => product::run::<quants::Q41>,
        BlockType::Q5_0 => product::run::<quants::Q50>,
        BlockType::Q5_1 => product::run::<quants::Q51>,
        BlockType::Q8_0 => product::run::<quants::Q80>,
        BlockType::Q2K => product::run::<quants::Q2K>,
        BlockType::Q3K => product::run::<quants::Q3K>,
        BlockType::Q4K => product::run::<quants::Q4K>,
        BlockType::Q5K => product::run::<quants::Q5K>,
        BlockType::Q6K => product::run::<quants::Q6K>,
        BlockType::IQ4NL => product::run::<quants::Iq4Nl>,
        BlockType::IQ4XS => product::run::<quants::Iq4Xs>,
        BlockType::MXFP4 => product::run::<quants::MxFp4>,
    };
    // SAFETY: `Isa::Avx2` reaches a kernel only where the processor has the three sets.
    unsafe { run(layout, data, x, out) }
}

/// The twin of the scalar quantiser: the same blocks. For processors with AVX2.
pub(super) fn quantize_rows(x: &[f32], out: &mut [XBlock]) {
    // SAFETY: `Isa::Avx2` reaches a kernel only where the processor has AVX2.
    unsafe { quantize(x, out) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn quantize(x: &[f32], out: &mut [XBlock]) {
    let (chunks, _) = x.as_chunks::<BLOCK>();
    for (x, out) in chunks.iter().zip(out) {
        // SAFETY: a block has four vectors.
        let v: [__m256; 4] =
            std::array::from_fn(|i| unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * i)) });
        let bits = |v| {
            let mask = _mm256_set1_epi32(0x7fff_ffff);
            _mm256_and_si256(_mm256_castps_si256(v), mask)
        };
        let a = _mm256_max_epi32(bits(v[0]), bits(v[1]));
        let b = _mm256_max_epi32(bits(v[2]), bits(v[3]));
        let m = _mm256_max_epi32(a, b);
        let m = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256::<1>(m));
        let m = _mm_max_epi32(m, _mm_shuffle_epi32::<0b01_00_11_10>(m));
        let m = _mm_max_epi32(m, _mm_shuffle_epi32::<0b10_11_00_01>(m));
        let (d, inverse) = scales_for(f32::from_bits(_mm_cvtsi128_si32(m).cast_unsigned()));
        let inverse = _mm256_set1_ps(inverse);
        let q = |v| _mm256_cvtps_epi32(_mm256_mul_ps(v, inverse));
        // Packing interleaves the halves of the registers; the last permutation undoes it.
        let low = _mm256_packs_epi32(q(v[0]), q(v[1]));
        let high = _mm256_packs_epi32(q(v[2]), q(v[3]));
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
        let pairs = |v| _mm256_madd_epi16(v, _mm256_set1_epi16(1));
        let sum = |v: __m256i| {
            let v = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            let v = _mm_add_epi32(v, _mm_shuffle_epi32::<0b01_00_11_10>(v));
            let v = _mm_add_epi32(v, _mm_shuffle_epi32::<0b10_11_00_01>(v));
            _mm_cvtsi128_si32(v)
        };
        let halves = [sum(pairs(low)), sum(pairs(high))];
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_si256(out.q.as_mut_ptr().cast(), bytes) };
        out.finish(d, halves);
    }
}
