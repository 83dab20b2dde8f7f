//! Block types with AVX-512 and VNNI.
//!
//! A vector holds four quants of each of a panel's sixteen rows, as unsigned bytes; `vpdpbusd`
//! multiplies them by four activations that a broadcast brings from memory and adds up in 32 bits,
//! exactly. An offset of the quants is subtracted before the first product, as a multiple of the
//! sum of the activations. A few rows of activations meet the packed form itself; more rows meet
//! tiles of one byte per quant. Both scale the same integers in the same order.
#![allow(unsafe_code)] // intrinsics and pointers into panels

mod dot;
mod product;
mod quants;

use std::arch::x86_64::*;

use super::activations::{BLOCK, XBlock, scales_for};
use super::layout::Layout;
use super::output::OutPart;
use crate::BlockType;

/// `out[t][r] = x[t] · w[r]` for the rows of `out`. Only for block types, on processors with
/// `Isa::Avx512`.
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
    // SAFETY: `Isa::Avx512` reaches a kernel only where the processor has its sets.
    unsafe { run(layout, data, x, out) }
}

/// The twin of the scalar quantiser: the same blocks. For processors with `Isa::Avx512`.
pub(super) fn quantize_rows(x: &[f32], out: &mut [XBlock]) {
    // SAFETY: `Isa::Avx512` reaches a kernel only where the processor has its sets.
    unsafe { quantize(x, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn quantize(x: &[f32], out: &mut [XBlock]) {
    let (chunks, _) = x.as_chunks::<BLOCK>();
    for (x, out) in chunks.iter().zip(out) {
        // SAFETY: a block has two vectors.
        let (a, b) = unsafe {
            (
                _mm512_loadu_ps(x.as_ptr()),
                _mm512_loadu_ps(x.as_ptr().add(16)),
            )
        };
        let bits = |v| _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fff_ffff));
        let m = _mm512_max_epi32(bits(a), bits(b));
        let m = _mm256_max_epi32(_mm512_castsi512_si256(m), _mm512_extracti64x4_epi64::<1>(m));
        let m = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256::<1>(m));
        let m = _mm_max_epi32(m, _mm_shuffle_epi32::<0b01_00_11_10>(m));
        let m = _mm_max_epi32(m, _mm_shuffle_epi32::<0b10_11_00_01>(m));
        let (d, inverse) = scales_for(f32::from_bits(_mm_cvtsi128_si32(m).cast_unsigned()));
        let inverse = _mm512_set1_ps(inverse);
        // Sixteen bytes, and their sum: products with ones, four by four.
        let half = |v| {
            let q = _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse));
            let q = _mm512_cvtsepi32_epi8(q);
            let s = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), q);
            let s = _mm_add_epi32(s, _mm_shuffle_epi32::<0b01_00_11_10>(s));
            let s = _mm_add_epi32(s, _mm_shuffle_epi32::<0b10_11_00_01>(s));
            (q, _mm_cvtsi128_si32(s))
        };
        let ((q0, s0), (q1, s1)) = (half(a), half(b));
        // SAFETY: 32 bytes.
        unsafe {
            _mm_storeu_si128(out.q.as_mut_ptr().cast(), q0);
            _mm_storeu_si128(out.q.as_mut_ptr().add(16).cast(), q1);
        }
        out.finish(d, [s0, s1]);
    }
}
