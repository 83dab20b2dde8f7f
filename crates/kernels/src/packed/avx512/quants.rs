//! How each block type is taken out of its panel: quants of 32 columns as unsigned bytes, scales as
//! floats.

use std::arch::x86_64::*;

use super::super::layout::ROWS;
use super::dot::{Dot, HalfMin, HalfOffset, Min, Offset};
use crate::dequant::{IQ4_VALUES, MXFP4_VALUES};

/// A block type. All functions need `Isa::Avx512`, and pointers to one block of a panel.
pub(super) trait Quants {
    /// How its sums are scaled.
    type Dot: Dot;
    /// Blocks of 32 in a block.
    const SUBS: usize;
    /// What the blocks of 32 have in common.
    type Head: Copy;

    unsafe fn head(words: *const u8, scales: *const u8) -> Self::Head;
    /// The scales of the `J`th 32 columns.
    unsafe fn scales<const J: usize>(head: &Self::Head) -> <Self::Dot as Dot>::Scales;
    /// The `J`th 32 columns, four to a vector.
    unsafe fn quants<const J: usize>(words: *const u8) -> [__m512i; 8];
}

/// Word `i` of sixteen rows.
#[inline(always)]
unsafe fn word(words: *const u8, i: usize) -> __m512i {
    // SAFETY: the block has this word, by the caller.
    unsafe { _mm512_loadu_si512(words.add(i * 4 * ROWS).cast()) }
}

/// f16 scale `i` of sixteen rows.
#[inline(always)]
unsafe fn half(scales: *const u8, i: usize) -> __m512 {
    // SAFETY: the block has this scale, by the caller.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(i * 2 * ROWS).cast())) }
}

#[inline(always)]
unsafe fn negative(d: __m512) -> __m512 {
    // SAFETY: by the caller.
    unsafe { _mm512_sub_ps(_mm512_setzero_ps(), d) }
}

/// The low (`HIGH` false) or high nibble of every byte.
#[inline(always)]
unsafe fn nibble(w: __m512i, high: bool) -> __m512i {
    // SAFETY: by the caller.
    unsafe {
        let w = if high { _mm512_srli_epi16::<4>(w) } else { w };
        _mm512_and_si512(w, _mm512_set1_epi8(15))
    }
}

/// Bits `from ..` under `mask` of every byte, moved to bits `to ..`. `mask` holds the bits after
/// the move; the places are constants where this is inlined.
#[inline(always)]
unsafe fn bits(w: __m512i, from: usize, to: usize, mask: u8) -> __m512i {
    // SAFETY: by the caller.
    unsafe {
        let w = if to >= from {
            _mm512_sll_epi16(w, _mm_cvtsi32_si128((to - from) as i32))
        } else {
            _mm512_srl_epi16(w, _mm_cvtsi32_si128((from - to) as i32))
        };
        _mm512_and_si512(w, _mm512_set1_epi8(mask.cast_signed()))
    }
}

/// Bits `from ..` under `mask` of every 32-bit lane as floats, less `offset`.
#[inline(always)]
unsafe fn field(w: __m512i, from: usize, mask: i32, offset: i32) -> __m512 {
    // SAFETY: by the caller.
    unsafe {
        let w = _mm512_srl_epi32(w, _mm_cvtsi32_si128(from as i32));
        let w = _mm512_and_si512(w, _mm512_set1_epi32(mask));
        _mm512_cvtepi32_ps(_mm512_sub_epi32(w, _mm512_set1_epi32(offset)))
    }
}

/// A table of sixteen bytes plus `offset`, looked up by the low nibble of bytes that have no other.
#[inline(always)]
unsafe fn look_up(table: &[u8; 16], codes: __m512i) -> __m512i {
    // SAFETY: by the caller; the table has 16 bytes.
    unsafe {
        let table = _mm_loadu_si128(table.as_ptr().cast());
        _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), codes)
    }
}

/// The values of a table plus `offset`.
const fn unsigned(values: [i8; 16], offset: u8) -> [u8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        table[i] = values[i].cast_unsigned().wrapping_add(offset);
        i += 1;
    }
    table
}

const IQ4_UNSIGNED: [u8; 16] = unsigned(IQ4_VALUES, 128);
const MXFP4_UNSIGNED: [u8; 16] = unsigned(MXFP4_VALUES, 16);

/// Eight vectors from eight expressions with constant numbers.
macro_rules! eight {
    (|$g:ident| $body:expr) => {
        [
            {
                const $g: usize = 0;
                $body
            },
            {
                const $g: usize = 1;
                $body
            },
            {
                const $g: usize = 2;
                $body
            },
            {
                const $g: usize = 3;
                $body
            },
            {
                const $g: usize = 4;
                $body
            },
            {
                const $g: usize = 5;
                $body
            },
            {
                const $g: usize = 6;
                $body
            },
            {
                const $g: usize = 7;
                $body
            },
        ]
    };
}

/// Nibbles where the low ones are columns 0..16; words start at `at`.
#[inline(always)]
unsafe fn split_nibbles(words: *const u8, at: usize) -> [__m512i; 8] {
    // SAFETY: by the caller.
    unsafe { eight!(|G| nibble(word(words, at + G % 4), G / 4 == 1)) }
}

/// Nibbles as by [`split_nibbles`], looked up in a table.
#[inline(always)]
unsafe fn split_codes(words: *const u8, at: usize, table: &[u8; 16]) -> [__m512i; 8] {
    // SAFETY: by the caller.
    unsafe {
        let codes = split_nibbles(words, at);
        eight!(|G| look_up(table, codes[G]))
    }
}

#[inline(always)]
unsafe fn five_bits(words: *const u8) -> [__m512i; 8] {
    // SAFETY: by the caller.
    unsafe {
        let (low, plane) = (split_nibbles(words, 1), word(words, 0));
        eight!(|G| _mm512_or_si512(low[G], bits(plane, G, 4, 16)))
    }
}

/// Half the power of two that the exponent byte of each row stands for (see `e8m0_half`).
#[inline(always)]
unsafe fn exponents(scales: *const u8) -> __m512 {
    // SAFETY: sixteen bytes by the caller.
    unsafe {
        let e = _mm512_cvtepu8_epi32(_mm_loadu_si128(scales.cast()));
        let normal = _mm512_slli_epi32::<23>(_mm512_sub_epi32(e, _mm512_set1_epi32(1)));
        let tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x0020_0000), e);
        let is_tiny = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
        _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, is_tiny, tiny))
    }
}

/// Types with one block of 32: their head is their scales.
macro_rules! single {
    ($(#[$doc:meta])* $name:ident: $dot:ty, |$scales:ident| $head:expr,
     |$words:ident| $quants:expr) => {
        $(#[$doc])*
        pub(super) struct $name;
        impl Quants for $name {
            type Dot = $dot;
            const SUBS: usize = 1;
            type Head = <$dot as Dot>::Scales;

            #[inline(always)]
            unsafe fn head(_: *const u8, $scales: *const u8) -> Self::Head {
                // SAFETY: by the trait's contract.
                unsafe { $head }
            }
            #[inline(always)]
            unsafe fn scales<const J: usize>(head: &Self::Head) -> Self::Head {
                *head
            }
            #[inline(always)]
            unsafe fn quants<const J: usize>($words: *const u8) -> [__m512i; 8] {
                // SAFETY: by the trait's contract.
                unsafe { $quants }
            }
        }
    };
}

single! {
    /// Nibbles less 8.
    Q40: Offset<3>, |scales| half(scales, 0), |words| split_nibbles(words, 0)
}
single! {
    /// Nibbles and a minimum.
    Q41: Min, |scales| [half(scales, 0), half(scales, 1)], |words| split_nibbles(words, 0)
}
single! {
    /// Five bits less 16.
    Q50: Offset<4>, |scales| half(scales, 0), |words| five_bits(words)
}
single! {
    /// Five bits and a minimum.
    Q51: Min, |scales| [half(scales, 0), half(scales, 1)], |words| five_bits(words)
}
single! {
    /// Signed bytes: with the sign bit flipped, 128 too large.
    Q80: Offset<7>, |scales| half(scales, 0),
    |words| eight!(|G| _mm512_xor_si512(word(words, G), _mm512_set1_epi8(-128)))
}
single! {
    /// Codes of a table of signed bytes.
    Iq4Nl: Offset<7>, |scales| half(scales, 0),
    |words| split_codes(words, 0, &IQ4_UNSIGNED)
}
single! {
    /// Codes of small floats.
    MxFp4: Offset<4>, |scales| exponents(scales),
    |words| split_codes(words, 0, &MXFP4_UNSIGNED)
}

/// Scales of `Q4_K` and `Q5_K`: bytes of the scales and minima of blocks 0..4 and 4..8.
#[derive(Clone, Copy)]
pub(super) struct HeadK4 {
    d: __m512,
    min: __m512,
    scales: [__m512i; 2],
    mins: [__m512i; 2],
}

/// The 6-bit fields lie in three words: the low 6 bits of words 0 and 1 are blocks 0..4; word 2
/// has the low nibbles of blocks 4..8, words 0 and 1 their upper two bits.
#[inline(always)]
unsafe fn head_k4(words: *const u8, scales: *const u8) -> HeadK4 {
    // SAFETY: by the trait's contract.
    unsafe {
        let [w0, w1, w2] = [word(words, 0), word(words, 1), word(words, 2)];
        let upper = |low, w| _mm512_or_si512(low, bits(w, 6, 4, 0x30));
        HeadK4 {
            d: half(scales, 0),
            min: negative(half(scales, 1)),
            scales: [w0, upper(nibble(w2, false), w0)],
            mins: [w1, upper(nibble(w2, true), w1)],
        }
    }
}

#[inline(always)]
unsafe fn scales_k4<const J: usize>(head: &HeadK4) -> [__m512; 2] {
    // SAFETY: by the trait's contract.
    unsafe {
        let byte = |w: [__m512i; 2]| field(w[J / 4], J % 4 * 8, 63, 0);
        [
            _mm512_mul_ps(head.d, byte(head.scales)),
            _mm512_mul_ps(head.min, byte(head.mins)),
        ]
    }
}

/// Super-blocks of nibbles.
pub(super) struct Q4K;
impl Quants for Q4K {
    type Dot = Min;
    const SUBS: usize = 8;
    type Head = HeadK4;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> HeadK4 {
        // SAFETY: by the trait's contract.
        unsafe { head_k4(words, scales) }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &HeadK4) -> [__m512; 2] {
        // SAFETY: by the trait's contract.
        unsafe { scales_k4::<J>(head) }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize>(words: *const u8) -> [__m512i; 8] {
        // SAFETY: by the trait's contract.
        unsafe { eight!(|G| nibble(word(words, 3 + J / 2 * 8 + G), J % 2 == 1)) }
    }
}

/// Super-blocks of five bits.
pub(super) struct Q5K;
impl Quants for Q5K {
    type Dot = Min;
    const SUBS: usize = 8;
    type Head = HeadK4;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> HeadK4 {
        // SAFETY: by the trait's contract.
        unsafe { head_k4(words, scales) }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &HeadK4) -> [__m512; 2] {
        // SAFETY: by the trait's contract.
        unsafe { scales_k4::<J>(head) }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize>(words: *const u8) -> [__m512i; 8] {
        // SAFETY: by the trait's contract.
        unsafe {
            eight!(|G| {
                let low = nibble(word(words, 11 + J / 2 * 8 + G), J % 2 == 1);
                _mm512_or_si512(low, bits(word(words, 3 + G), J, 4, 16))
            })
        }
    }
}

/// Super-blocks of table codes.
pub(super) struct Iq4Xs;
#[derive(Clone, Copy)]
pub(super) struct HeadIq4Xs {
    d: __m512,
    /// Nibbles of the eight scales, and their upper bits in pairs.
    low: __m512i,
    high: __m512i,
}
impl Quants for Iq4Xs {
    type Dot = Offset<7>;
    const SUBS: usize = 8;
    type Head = HeadIq4Xs;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> HeadIq4Xs {
        // SAFETY: by the trait's contract.
        unsafe {
            HeadIq4Xs {
                d: half(scales, 0),
                low: word(words, 0),
                high: _mm512_cvtepu16_epi32(_mm256_loadu_si256(scales.add(2 * ROWS).cast())),
            }
        }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &HeadIq4Xs) -> __m512 {
        // SAFETY: by the trait's contract. The shifts' counts are constants.
        unsafe {
            let shift = |w, by: usize| _mm512_srl_epi32(w, _mm_cvtsi32_si128(by as i32));
            let low = _mm512_and_si512(shift(head.low, 4 * J), _mm512_set1_epi32(15));
            let high = _mm512_and_si512(shift(head.high, 2 * J), _mm512_set1_epi32(3));
            let scale = _mm512_or_si512(low, _mm512_slli_epi32::<4>(high));
            let scale = _mm512_sub_epi32(scale, _mm512_set1_epi32(32));
            _mm512_mul_ps(head.d, _mm512_cvtepi32_ps(scale))
        }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize>(words: *const u8) -> [__m512i; 8] {
        // SAFETY: by the trait's contract.
        unsafe { split_codes(words, 1 + J * 4, &IQ4_UNSIGNED) }
    }
}

/// Scales of the types with sixteen sub-blocks: bytes of sub-blocks `4 i ..`.
#[derive(Clone, Copy)]
pub(super) struct Head16 {
    d: __m512,
    scales: [__m512i; 4],
}

/// Two bits of columns `4 g ..` of block `j`; words start at `at`.
#[inline(always)]
unsafe fn two_bits(words: *const u8, at: usize, j: usize, g: usize) -> __m512i {
    // SAFETY: by the trait's contract.
    unsafe { bits(word(words, at + j / 4 * 8 + g), j % 4 * 2, 0, 3) }
}

/// Super-blocks of two bits.
pub(super) struct Q2K;
#[derive(Clone, Copy)]
pub(super) struct HeadQ2K {
    d: __m512,
    min: __m512,
    /// Bytes of sub-blocks `4 i ..`: the scale below, the minimum above.
    scales: [__m512i; 4],
}
impl Quants for Q2K {
    type Dot = HalfMin;
    const SUBS: usize = 8;
    type Head = HeadQ2K;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> HeadQ2K {
        // SAFETY: by the trait's contract.
        unsafe {
            HeadQ2K {
                d: half(scales, 0),
                min: negative(half(scales, 1)),
                scales: [
                    word(words, 0),
                    word(words, 1),
                    word(words, 2),
                    word(words, 3),
                ],
            }
        }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &HeadQ2K) -> [__m512; 4] {
        // SAFETY: by the trait's contract.
        unsafe {
            let (w, at) = (head.scales[J / 2], J % 2 * 16);
            [
                _mm512_mul_ps(head.d, field(w, at, 15, 0)),
                _mm512_mul_ps(head.d, field(w, at + 8, 15, 0)),
                _mm512_mul_ps(head.min, field(w, at + 4, 15, 0)),
                _mm512_mul_ps(head.min, field(w, at + 12, 15, 0)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize>(words: *const u8) -> [__m512i; 8] {
        // SAFETY: by the trait's contract.
        unsafe { eight!(|G| two_bits(words, 4, J, G)) }
    }
}

/// Super-blocks of three bits less 4.
pub(super) struct Q3K;
impl Quants for Q3K {
    type Dot = HalfOffset<2>;
    const SUBS: usize = 8;
    type Head = Head16;

    /// Nibbles of sub-blocks 0..8 are the low, of 8..16 the high ones of words 0 and 1; word 2 has
    /// the upper two bits, those of sub-blocks `4 i ..` at bit `2 i`.
    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> Head16 {
        // SAFETY: by the trait's contract.
        unsafe {
            let [w0, w1, w2] = [word(words, 24), word(words, 25), word(words, 26)];
            let with = |low, from| _mm512_or_si512(low, bits(w2, from, 4, 0x30));
            Head16 {
                d: half(scales, 0),
                scales: [
                    with(nibble(w0, false), 0),
                    with(nibble(w1, false), 2),
                    with(nibble(w0, true), 4),
                    with(nibble(w1, true), 6),
                ],
            }
        }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &Head16) -> [__m512; 2] {
        // SAFETY: by the trait's contract.
        unsafe {
            let (w, at) = (head.scales[J / 2], J % 2 * 16);
            [
                _mm512_mul_ps(head.d, field(w, at, 63, 32)),
                _mm512_mul_ps(head.d, field(w, at + 8, 63, 32)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize>(words: *const u8) -> [__m512i; 8] {
        // SAFETY: by the trait's contract.
        unsafe {
            eight!(|G| {
                let high = bits(word(words, G), J, 2, 4);
                _mm512_or_si512(two_bits(words, 8, J, G), high)
            })
        }
    }
}

/// Super-blocks of six bits less 32.
pub(super) struct Q6K;
impl Quants for Q6K {
    type Dot = HalfOffset<5>;
    const SUBS: usize = 8;
    type Head = Head16;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> Head16 {
        // SAFETY: by the trait's contract.
        unsafe {
            Head16 {
                d: half(scales, 0),
                scales: [
                    word(words, 48),
                    word(words, 49),
                    word(words, 50),
                    word(words, 51),
                ],
            }
        }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &Head16) -> [__m512; 2] {
        // SAFETY: by the trait's contract.
        unsafe {
            // Signed bytes: to the top of the lane, and back with their signs.
            let signed = |up: usize| {
                let w = _mm512_sll_epi32(head.scales[J / 2], _mm_cvtsi32_si128(up as i32));
                _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(w))
            };
            let up = 24 - J % 2 * 16;
            [
                _mm512_mul_ps(head.d, signed(up)),
                _mm512_mul_ps(head.d, signed(up - 8)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize>(words: *const u8) -> [__m512i; 8] {
        // SAFETY: by the trait's contract.
        unsafe {
            eight!(|G| {
                let w = word(words, J / 4 * 16 + J % 2 * 8 + G);
                let high = bits(word(words, 32 + J / 4 * 8 + G), J % 4 * 2, 4, 0x30);
                _mm512_or_si512(nibble(w, J % 4 >= 2), high)
            })
        }
    }
}
