//! How each block type is taken out of half a panel: quants of 32 columns as bytes, scales as
//! floats. Pointers are to the first of the eight rows.

use std::arch::x86_64::*;

use super::super::layout::ROWS;
use super::dot::{Dot, Halves, Paired, Plain, Signed, Unsigned};
use crate::dequant::{IQ4_VALUES, MXFP4_VALUES};

/// A block type. All functions need AVX2, FMA and F16C, and pointers to one block of a panel.
pub(super) trait Quants {
    /// How its products are added up.
    type Dot: Dot;
    /// Blocks of 32 in a block.
    const SUBS: usize;
    /// What the blocks of 32 have in common.
    type Head: Copy;

    unsafe fn head(words: *const u8, scales: *const u8) -> Self::Head;
    /// The scales of the `J`th 32 columns.
    unsafe fn scales<const J: usize>(head: &Self::Head) -> <Self::Dot as Dot>::Scales;
    /// Columns `4 G ..` of the `J`th 32 columns.
    unsafe fn quants<const J: usize, const G: usize>(words: *const u8) -> __m256i;
}

/// Word `i` of eight rows.
#[inline(always)]
unsafe fn word(words: *const u8, i: usize) -> __m256i {
    // SAFETY: the block has this word, by the caller.
    unsafe { _mm256_loadu_si256(words.add(i * 4 * ROWS).cast()) }
}

/// f16 scale `i` of eight rows.
#[inline(always)]
unsafe fn half(scales: *const u8, i: usize) -> __m256 {
    // SAFETY: the block has this scale, by the caller.
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(scales.add(i * 2 * ROWS).cast())) }
}

#[inline(always)]
unsafe fn times(d: __m256, factor: f32) -> __m256 {
    // SAFETY: AVX2 by the caller.
    unsafe { _mm256_mul_ps(d, _mm256_set1_ps(factor)) }
}

/// The low (`HIGH` 0) or high (1) nibble of every byte.
#[inline(always)]
unsafe fn nibble<const HIGH: usize>(w: __m256i) -> __m256i {
    // SAFETY: AVX2 by the caller.
    unsafe {
        let w = if HIGH == 1 {
            _mm256_srli_epi16::<4>(w)
        } else {
            w
        };
        _mm256_and_si256(w, _mm256_set1_epi8(15))
    }
}

/// Bits `FROM ..` under `mask` of every byte, moved to bits `TO ..`. `mask` holds the bits before
/// the move.
#[inline(always)]
unsafe fn bits<const FROM: usize, const TO: usize>(w: __m256i, mask: u8) -> __m256i {
    // SAFETY: AVX2 by the caller. The shift's count is a constant.
    unsafe {
        let w = _mm256_and_si256(w, _mm256_set1_epi8(mask.cast_signed()));
        if TO >= FROM {
            _mm256_sll_epi16(w, _mm_cvtsi32_si128((TO - FROM) as i32))
        } else {
            _mm256_srl_epi16(w, _mm_cvtsi32_si128((FROM - TO) as i32))
        }
    }
}

/// Bytes of each 32-bit lane picked by `pick`, 0 where that is negative.
#[inline(always)]
unsafe fn pick(w: __m256i, pick: [i8; 4]) -> __m256i {
    let lane = i32::from_le_bytes(pick.map(i8::cast_unsigned));
    // SAFETY: AVX2 by the caller. Adding 4 per lane leaves negative bytes negative.
    unsafe {
        let lanes = _mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c);
        let pick = _mm_add_epi8(_mm_set1_epi32(lane), lanes);
        _mm256_shuffle_epi8(w, _mm256_broadcastsi128_si256(pick))
    }
}

/// A table of sixteen bytes looked up by the low nibble.
#[inline(always)]
unsafe fn look_up(table: &[i8; 16], w: __m256i) -> __m256i {
    // SAFETY: AVX2 by the caller; the table has 16 bytes.
    unsafe {
        let table = _mm_loadu_si128(table.as_ptr().cast());
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), w)
    }
}

/// Nibbles where the low ones are columns 0..16; words start at `AT`.
#[inline(always)]
unsafe fn split_nibble<const AT: usize, const G: usize>(words: *const u8) -> __m256i {
    // SAFETY: by the caller.
    unsafe {
        let w = word(words, AT + G % 4);
        if G < 4 {
            nibble::<0>(w)
        } else {
            nibble::<1>(w)
        }
    }
}

/// Types with one block of 32: their head is their scales.
macro_rules! single {
    ($(#[$doc:meta])* $name:ident: $dot:ty, |$words:ident, $scales:ident| $head:expr,
     |$w:ident| <$g:ident> $quants:expr) => {
        $(#[$doc])*
        pub(super) struct $name;
        impl Quants for $name {
            type Dot = $dot;
            const SUBS: usize = 1;
            type Head = Plain;

            #[inline(always)]
            unsafe fn head($words: *const u8, $scales: *const u8) -> Plain {
                let _ = $words;
                // SAFETY: by the trait's contract.
                unsafe { $head }
            }
            #[inline(always)]
            unsafe fn scales<const J: usize>(head: &Plain) -> Plain {
                *head
            }
            #[inline(always)]
            unsafe fn quants<const J: usize, const $g: usize>($w: *const u8) -> __m256i {
                // SAFETY: by the trait's contract.
                unsafe { $quants }
            }
        }
    };
}

#[inline(always)]
unsafe fn plain(d: __m256, m: __m256) -> Plain {
    Plain { d, m }
}

/// A scale and the minimum that makes unsigned quants symmetric.
#[inline(always)]
unsafe fn symmetric(d: __m256, offset: f32) -> Plain {
    // SAFETY: AVX2 by the caller.
    unsafe { plain(d, times(d, -offset)) }
}

#[inline(always)]
unsafe fn five_bits<const G: usize>(words: *const u8) -> __m256i {
    // SAFETY: by the caller.
    unsafe {
        let low = split_nibble::<1, G>(words);
        _mm256_or_si256(low, bit_to_4::<G>(word(words, 0)))
    }
}

/// Bit `FROM` of every byte as bit 4.
#[inline(always)]
unsafe fn bit_to_4<const FROM: usize>(w: __m256i) -> __m256i {
    // SAFETY: by the caller.
    unsafe { bits::<FROM, 4>(w, 1 << FROM) }
}

/// Half the power of two that the exponent byte of each row stands for (see `e8m0_half`).
#[inline(always)]
unsafe fn exponents(scales: *const u8) -> __m256 {
    // SAFETY: eight bytes by the caller.
    unsafe {
        let e = _mm256_cvtepu8_epi32(_mm_loadl_epi64(scales.cast()));
        let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(e, _mm256_set1_epi32(1)));
        let tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x0020_0000), e);
        let is_tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
        _mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, is_tiny))
    }
}

/// [`MXFP4_VALUES`] plus 12.
const MXFP4_UNSIGNED: [i8; 16] = {
    let mut values = MXFP4_VALUES;
    let mut i = 0;
    while i < 16 {
        values[i] += 12;
        i += 1;
    }
    values
};

single! {
    /// Nibbles less 8.
    Q40: Unsigned<8, true>, |words, scales| symmetric(half(scales, 0), 8.0),
    |w| <G> split_nibble::<0, G>(w)
}
single! {
    /// Nibbles and a minimum.
    Q41: Unsigned<8, true>, |words, scales| plain(half(scales, 0), half(scales, 1)),
    |w| <G> split_nibble::<0, G>(w)
}
single! {
    /// Five bits less 16.
    Q50: Unsigned<4, true>, |words, scales| symmetric(half(scales, 0), 16.0),
    |w| <G> five_bits::<G>(w)
}
single! {
    /// Five bits and a minimum.
    Q51: Unsigned<4, true>, |words, scales| plain(half(scales, 0), half(scales, 1)),
    |w| <G> five_bits::<G>(w)
}
single! {
    /// Signed bytes.
    Q80: Signed, |words, scales| plain(half(scales, 0), _mm256_setzero_ps()),
    |w| <G> word(w, G)
}
single! {
    /// Codes of a table of signed bytes.
    Iq4Nl: Signed, |words, scales| plain(half(scales, 0), _mm256_setzero_ps()),
    |w| <G> look_up(&IQ4_VALUES, split_nibble::<0, G>(w))
}
single! {
    /// Codes of small floats.
    MxFp4: Unsigned<4, true>, |words, scales| symmetric(exponents(scales), 12.0),
    |w| <G> look_up(&MXFP4_UNSIGNED, split_nibble::<0, G>(w))
}

/// Scales of `Q4_K` and `Q5_K`: bytes of the scales and minima of blocks 0..4 and 4..8.
#[derive(Clone, Copy)]
pub(super) struct HeadK4 {
    d: __m256,
    min: __m256,
    scales: [__m256i; 2],
    mins: [__m256i; 2],
}

/// The 6-bit fields lie in three words: the low 6 bits of words 0 and 1 are blocks 0..4; word 2
/// has the low nibbles of blocks 4..8, words 0 and 1 their upper two bits.
#[inline(always)]
unsafe fn head_k4(words: *const u8, scales: *const u8) -> HeadK4 {
    // SAFETY: by the trait's contract.
    unsafe {
        let [w0, w1, w2] = [word(words, 0), word(words, 1), word(words, 2)];
        let low6 = |w| _mm256_and_si256(w, _mm256_set1_epi8(63));
        let upper = |w| bits::<6, 4>(w, 0xc0);
        HeadK4 {
            d: half(scales, 0),
            min: times(half(scales, 1), -1.0),
            scales: [low6(w0), _mm256_or_si256(nibble::<0>(w2), upper(w0))],
            mins: [low6(w1), _mm256_or_si256(nibble::<1>(w2), upper(w1))],
        }
    }
}

#[inline(always)]
unsafe fn scales_k4<const J: usize>(head: &HeadK4) -> Plain {
    // SAFETY: by the trait's contract.
    unsafe {
        let byte =
            |w: [__m256i; 2]| _mm256_cvtepi32_ps(pick(w[J / 4], [(J % 4) as i8, -128, -128, -128]));
        plain(
            _mm256_mul_ps(head.d, byte(head.scales)),
            _mm256_mul_ps(head.min, byte(head.mins)),
        )
    }
}

/// Super-blocks of nibbles.
pub(super) struct Q4K;
impl Quants for Q4K {
    type Dot = Unsigned<8, true>;
    const SUBS: usize = 8;
    type Head = HeadK4;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> HeadK4 {
        // SAFETY: by the trait's contract.
        unsafe { head_k4(words, scales) }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &HeadK4) -> Plain {
        // SAFETY: by the trait's contract.
        unsafe { scales_k4::<J>(head) }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize, const G: usize>(words: *const u8) -> __m256i {
        // SAFETY: by the trait's contract.
        unsafe {
            let w = word(words, 3 + J / 2 * 8 + G);
            if J.is_multiple_of(2) {
                nibble::<0>(w)
            } else {
                nibble::<1>(w)
            }
        }
    }
}

/// Super-blocks of five bits.
pub(super) struct Q5K;
impl Quants for Q5K {
    type Dot = Unsigned<4, true>;
    const SUBS: usize = 8;
    type Head = HeadK4;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> HeadK4 {
        // SAFETY: by the trait's contract.
        unsafe { head_k4(words, scales) }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &HeadK4) -> Plain {
        // SAFETY: by the trait's contract.
        unsafe { scales_k4::<J>(head) }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize, const G: usize>(words: *const u8) -> __m256i {
        // SAFETY: by the trait's contract.
        unsafe {
            let w = word(words, 11 + J / 2 * 8 + G);
            let low = if J.is_multiple_of(2) {
                nibble::<0>(w)
            } else {
                nibble::<1>(w)
            };
            _mm256_or_si256(low, bit_to_4::<J>(word(words, 3 + G)))
        }
    }
}

/// Super-blocks of table codes.
pub(super) struct Iq4Xs;
#[derive(Clone, Copy)]
pub(super) struct HeadIq4Xs {
    d: __m256,
    /// Nibbles of the eight scales, and their upper bits in pairs.
    low: __m256i,
    high: __m256i,
}
impl Quants for Iq4Xs {
    type Dot = Signed;
    const SUBS: usize = 8;
    type Head = HeadIq4Xs;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> HeadIq4Xs {
        // SAFETY: by the trait's contract.
        unsafe {
            HeadIq4Xs {
                d: half(scales, 0),
                low: word(words, 0),
                high: _mm256_cvtepu16_epi32(_mm_loadu_si128(scales.add(2 * ROWS).cast())),
            }
        }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &HeadIq4Xs) -> Plain {
        // SAFETY: by the trait's contract. The shifts' counts are constants.
        unsafe {
            let shift = |w, by: usize| _mm256_srl_epi32(w, _mm_cvtsi32_si128(by as i32));
            let low = _mm256_and_si256(shift(head.low, 4 * J), _mm256_set1_epi32(15));
            let high = _mm256_and_si256(shift(head.high, 2 * J), _mm256_set1_epi32(3));
            let scale = _mm256_or_si256(low, _mm256_slli_epi32::<4>(high));
            let scale = _mm256_sub_epi32(scale, _mm256_set1_epi32(32));
            let d = _mm256_mul_ps(head.d, _mm256_cvtepi32_ps(scale));
            plain(d, _mm256_setzero_ps())
        }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize, const G: usize>(words: *const u8) -> __m256i {
        // SAFETY: by the trait's contract.
        unsafe {
            look_up(
                &IQ4_VALUES,
                split_nibble::<1, G>(words.add(J * 4 * 4 * ROWS)),
            )
        }
    }
}

/// Scales of the types with sixteen sub-blocks: bytes of sub-blocks `4 i ..`.
#[derive(Clone, Copy)]
pub(super) struct Head16 {
    d: __m256,
    m: __m256,
    scales: [__m256i; 4],
    corrections: [__m256i; 4],
}

/// Signed scale bytes of both halves of block `J`, and the correction for quants that are
/// `2^LOG_OFFSET` too large.
#[inline(always)]
unsafe fn paired_offset<const J: usize, const LOG_OFFSET: i32>(head: &Head16) -> Paired {
    // SAFETY: AVX2 by the trait's contract. Bytes are picked into upper halves, that is times 256.
    unsafe {
        let (w, b) = (head.scales[J / 2], (J % 2 * 2) as i8);
        let scale = |b| _mm256_srai_epi16::<8>(pick(w, [-128, b, -128, b]));
        let both = pick(w, [-128, b, -128, b + 1]);
        let count = _mm_cvtsi32_si128(8 - LOG_OFFSET);
        let offset = _mm256_sra_epi16(both, count);
        Paired {
            d: head.d,
            m: head.m,
            scales: [scale(b), scale(b + 1)],
            correction: _mm256_sub_epi16(_mm256_setzero_si256(), offset),
        }
    }
}

/// Two bits of columns `4 G ..` of block `J`; words start at `AT`.
#[inline(always)]
unsafe fn two_bits<const AT: usize, const J: usize, const G: usize>(words: *const u8) -> __m256i {
    // SAFETY: by the trait's contract.
    unsafe {
        let w = word(words, AT + J / 4 * 8 + G);
        match J % 4 {
            0 => bits::<0, 0>(w, 0x03),
            1 => bits::<2, 0>(w, 0x0c),
            2 => bits::<4, 0>(w, 0x30),
            _ => bits::<6, 0>(w, 0xc0),
        }
    }
}

/// Super-blocks of two bits.
pub(super) struct Q2K;
impl Quants for Q2K {
    type Dot = Halves<4, true>;
    const SUBS: usize = 8;
    type Head = Head16;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> Head16 {
        // SAFETY: by the trait's contract.
        unsafe {
            let w = [
                word(words, 0),
                word(words, 1),
                word(words, 2),
                word(words, 3),
            ];
            Head16 {
                d: half(scales, 0),
                m: times(half(scales, 1), -1.0),
                scales: [
                    nibble::<0>(w[0]),
                    nibble::<0>(w[1]),
                    nibble::<0>(w[2]),
                    nibble::<0>(w[3]),
                ],
                corrections: [
                    nibble::<1>(w[0]),
                    nibble::<1>(w[1]),
                    nibble::<1>(w[2]),
                    nibble::<1>(w[3]),
                ],
            }
        }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &Head16) -> Paired {
        // SAFETY: by the trait's contract.
        unsafe {
            let (w, b) = (head.scales[J / 2], (J % 2 * 2) as i8);
            Paired {
                d: head.d,
                m: head.m,
                scales: [
                    pick(w, [b, -128, b, -128]),
                    pick(w, [b + 1, -128, b + 1, -128]),
                ],
                correction: pick(head.corrections[J / 2], [b, -128, b + 1, -128]),
            }
        }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize, const G: usize>(words: *const u8) -> __m256i {
        // SAFETY: by the trait's contract.
        unsafe { two_bits::<4, J, G>(words) }
    }
}

/// Super-blocks of three bits less 4.
pub(super) struct Q3K;
impl Quants for Q3K {
    type Dot = Halves<4, false>;
    const SUBS: usize = 8;
    type Head = Head16;

    /// Nibbles of sub-blocks 0..8 are the low, of 8..16 the high ones of words 0 and 1; word 2 has
    /// the upper two bits, those of sub-blocks `4 i ..` at bit `2 i`.
    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> Head16 {
        // SAFETY: by the trait's contract.
        unsafe {
            let [w0, w1, w2] = [word(words, 24), word(words, 25), word(words, 26)];
            let signed =
                |low, high| _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
            let scales8 = [
                signed(nibble::<0>(w0), bits::<0, 4>(w2, 0x03)),
                signed(nibble::<0>(w1), bits::<2, 4>(w2, 0x0c)),
                signed(nibble::<1>(w0), bits::<4, 4>(w2, 0x30)),
                signed(nibble::<1>(w1), bits::<6, 4>(w2, 0xc0)),
            ];
            Head16 {
                d: half(scales, 0),
                m: _mm256_setzero_ps(),
                scales: scales8,
                corrections: scales8,
            }
        }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &Head16) -> Paired {
        // SAFETY: by the trait's contract.
        unsafe { paired_offset::<J, 2>(head) }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize, const G: usize>(words: *const u8) -> __m256i {
        // SAFETY: by the trait's contract.
        unsafe {
            let high = bits::<J, 2>(word(words, G), 1 << J);
            _mm256_or_si256(two_bits::<8, J, G>(words), high)
        }
    }
}

/// Super-blocks of six bits less 32.
pub(super) struct Q6K;
impl Quants for Q6K {
    type Dot = Halves<2, false>;
    const SUBS: usize = 8;
    type Head = Head16;

    #[inline(always)]
    unsafe fn head(words: *const u8, scales: *const u8) -> Head16 {
        // SAFETY: by the trait's contract.
        unsafe {
            let w = [
                word(words, 48),
                word(words, 49),
                word(words, 50),
                word(words, 51),
            ];
            Head16 {
                d: half(scales, 0),
                m: _mm256_setzero_ps(),
                scales: w,
                corrections: w,
            }
        }
    }
    #[inline(always)]
    unsafe fn scales<const J: usize>(head: &Head16) -> Paired {
        // SAFETY: by the trait's contract.
        unsafe { paired_offset::<J, 5>(head) }
    }
    #[inline(always)]
    unsafe fn quants<const J: usize, const G: usize>(words: *const u8) -> __m256i {
        // SAFETY: by the trait's contract.
        unsafe {
            let w = word(words, J / 4 * 16 + J % 2 * 8 + G);
            let low = if J % 4 < 2 {
                nibble::<0>(w)
            } else {
                nibble::<1>(w)
            };
            let h = word(words, 32 + J / 4 * 8 + G);
            let high = match J % 4 {
                0 => bits::<0, 4>(h, 0x03),
                1 => bits::<2, 4>(h, 0x0c),
                2 => bits::<4, 4>(h, 0x30),
                _ => bits::<6, 4>(h, 0xc0),
            };
            _mm256_or_si256(low, high)
        }
    }
}
