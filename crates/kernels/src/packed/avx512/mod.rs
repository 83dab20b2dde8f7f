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
use std::mem::offset_of;

use super::activations::{BLOCK, XBlock, scales_for};
use super::ahead::Next;
use super::layout::Layout;
use super::output::OutPart;
use crate::BlockType;

/// `out[t][r] = x[t] · w[r]` for the rows of `out`. Only for block types, on processors with
/// `Isa::Avx512`.
pub(super) fn matmul(
    layout: &Layout,
    data: &[u8],
    x: &[XBlock],
    next: Next,
    out: &mut OutPart<'_>,
) {
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
    unsafe { run(layout, data, x, next, out) }
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
        let bytes = |v| _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(v, inverse)));
        let q = _mm256_set_m128i(bytes(b), bytes(a));
        // The sums of the halves: products with ones, four by four, then in every lane.
        let s = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), q);
        let s = _mm256_add_epi32(s, _mm256_shuffle_epi32::<0b01_00_11_10>(s));
        let s = _mm256_add_epi32(s, _mm256_shuffle_epi32::<0b10_11_00_01>(s));
        let (h0, h1) = (_mm256_castsi256_si128(s), _mm256_extracti128_si256::<1>(s));
        // Twice the whole sum and the two halves; what stands first is replaced.
        let sums = _mm_mask_mov_epi32(_mm_add_epi32(h0, h1), 0b0100, h0);
        let sums = _mm_mask_mov_epi32(sums, 0b1000, h1);
        let d = _mm_set1_ps(d);
        let floats = _mm_mask_mul_ps(d, 0b1110, _mm_cvtepi32_ps(sums), d);
        let halves = _mm_blend_epi16::<0b1010_1010>(h0, _mm_slli_epi32::<16>(h1));
        let integers = _mm_mask_sub_epi32(halves, 0b1110, _mm_setzero_si128(), sums);
        let rest = _mm256_set_m128i(integers, _mm_castps_si128(floats));
        let out: *mut XBlock = out;
        // SAFETY: a block is the 32 bytes of `q` and eight fields of four bytes in this order.
        unsafe {
            _mm256_store_si256(out.cast(), q);
            _mm256_store_si256(out.cast::<__m256i>().add(1), rest);
        }
    }
}

const _: () = assert!(
    size_of::<XBlock>() == 64
        && offset_of!(XBlock, d) == 32
        && offset_of!(XBlock, half_sums) == 40
        && offset_of!(XBlock, halves) == 48
        && offset_of!(XBlock, minus) == 52
        && offset_of!(XBlock, minus_halves) == 56
);
