//! Blocks to floats, bit for bit as ggml's reference functions give them.
//!
//! Layouts and arithmetic order follow `dequantize_row_*` of ggml's `ggml-quants.c`: the product of
//! scales first, then the quant, then the minimum, each rounded on its own.

use half::{bf16, f16};

use crate::{BlockType, KernelError, pool};

/// Values of the 4-bit codes of `IQ4_NL` and `IQ4_XS`.
pub(crate) const IQ4_VALUES: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// Twice the values of the E2M1 floats that `MXFP4` holds.
pub(crate) const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Elements that one task of a large tensor turns into floats.
const TASK: usize = 1 << 16;

/// Turns `data`, whole blocks of `ty`, into `out.len()` floats.
///
/// Bit-exact as ggml; parallel when large.
///
/// # Errors
/// [`KernelError::PartialBlock`] where `out` is not whole blocks, [`KernelError::Length`] where
/// `data` does not have the bytes that `out.len()` elements take.
pub fn dequantize(ty: BlockType, data: &[u8], out: &mut [f32]) -> Result<(), KernelError> {
    check_lengths(ty, data.len(), out.len())?;
    let bytes = TASK / ty.block_len() * ty.block_bytes();
    pool::parallel_chunks(out, TASK, |i, part| {
        let from = i * bytes;
        dequantize_blocks(ty, &data[from..(from + bytes).min(data.len())], part);
    });
    Ok(())
}

/// Checks that `bytes` is what `elements` of `ty` take.
pub(crate) fn check_lengths(
    ty: BlockType,
    bytes: usize,
    elements: usize,
) -> Result<(), KernelError> {
    if !elements.is_multiple_of(ty.block_len()) {
        return Err(KernelError::PartialBlock {
            ty: ty.name(),
            count: elements,
            block: ty.block_len(),
        });
    }
    let expected = ty
        .bytes_for(elements)
        .ok_or(KernelError::Overflow { what: "a tensor" })?;
    if bytes != expected {
        return Err(KernelError::Length {
            what: "tensor data in bytes",
            expected,
            got: bytes,
        });
    }
    Ok(())
}

/// As [`dequantize`], for lengths that were checked; on this thread.
pub(crate) fn dequantize_blocks(ty: BlockType, data: &[u8], out: &mut [f32]) {
    match ty {
        BlockType::F32 => each(data, out, 4, 1, |b, y| y[0] = f32_at(b)),
        BlockType::F16 => each(data, out, 2, 1, |b, y| y[0] = f16_at(b, 0)),
        BlockType::BF16 => each(data, out, 2, 1, |b, y| {
            y[0] = bf16::from_bits(u16::from_le_bytes([b[0], b[1]])).to_f32();
        }),
        BlockType::Q4_0 => each(data, out, 18, 32, q4_0),
        BlockType::Q4_1 => each(data, out, 20, 32, q4_1),
        BlockType::Q5_0 => each(data, out, 22, 32, q5_0),
        BlockType::Q5_1 => each(data, out, 24, 32, q5_1),
        BlockType::Q8_0 => each(data, out, 34, 32, q8_0),
        BlockType::Q2K => each(data, out, 84, 256, q2_k),
        BlockType::Q3K => each(data, out, 110, 256, q3_k),
        BlockType::Q4K => each(data, out, 144, 256, q4_k),
        BlockType::Q5K => each(data, out, 176, 256, q5_k),
        BlockType::Q6K => each(data, out, 210, 256, q6_k),
        BlockType::IQ4NL => each(data, out, 18, 32, iq4_nl),
        BlockType::IQ4XS => each(data, out, 136, 256, iq4_xs),
        BlockType::MXFP4 => each(data, out, 17, 32, mxfp4),
    }
}

/// Calls `f` for each block with its bytes and its floats.
#[inline(always)]
fn each(data: &[u8], out: &mut [f32], bytes: usize, len: usize, f: impl Fn(&[u8], &mut [f32])) {
    for (block, y) in data.chunks_exact(bytes).zip(out.chunks_exact_mut(len)) {
        f(block, y);
    }
}

fn f32_at(b: &[u8]) -> f32 {
    f32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

fn f16_at(b: &[u8], at: usize) -> f32 {
    f16::from_bits(u16::from_le_bytes([b[at], b[at + 1]])).to_f32()
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn q4_0(b: &[u8], y: &mut [f32]) {
    let d = f16_at(b, 0);
    for (j, &q) in b[2..18].iter().enumerate() {
        y[j] = (i32::from(q & 15) - 8) as f32 * d;
        y[j + 16] = (i32::from(q >> 4) - 8) as f32 * d;
    }
}

fn q4_1(b: &[u8], y: &mut [f32]) {
    let (d, m) = (f16_at(b, 0), f16_at(b, 2));
    for (j, &q) in b[4..20].iter().enumerate() {
        y[j] = f32::from(q & 15) * d + m;
        y[j + 16] = f32::from(q >> 4) * d + m;
    }
}

/// The two 5-bit quants `j` and `j + 16`: nibbles of `q`, fifth bits from `high`.
fn five_bits(q: u8, high: u32, j: usize) -> (i32, i32) {
    let low = i32::from(q & 15) | ((high >> j & 1) << 4) as i32;
    let upper = i32::from(q >> 4) | ((high >> (j + 16) & 1) << 4) as i32;
    (low, upper)
}

fn q5_0(b: &[u8], y: &mut [f32]) {
    let (d, high) = (f16_at(b, 0), u32_at(b, 2));
    for (j, &q) in b[6..22].iter().enumerate() {
        let (q0, q1) = five_bits(q, high, j);
        y[j] = (q0 - 16) as f32 * d;
        y[j + 16] = (q1 - 16) as f32 * d;
    }
}

fn q5_1(b: &[u8], y: &mut [f32]) {
    let (d, m, high) = (f16_at(b, 0), f16_at(b, 2), u32_at(b, 4));
    for (j, &q) in b[8..24].iter().enumerate() {
        let (q0, q1) = five_bits(q, high, j);
        y[j] = q0 as f32 * d + m;
        y[j + 16] = q1 as f32 * d + m;
    }
}

fn q8_0(b: &[u8], y: &mut [f32]) {
    let d = f16_at(b, 0);
    for (y, &q) in y.iter_mut().zip(&b[2..34]) {
        *y = f32::from(q.cast_signed()) * d;
    }
}

fn q2_k(b: &[u8], y: &mut [f32]) {
    let (scales, qs) = (&b[..16], &b[16..80]);
    let (d, dmin) = (f16_at(b, 80), f16_at(b, 82));
    for (s, y) in y.chunks_exact_mut(16).enumerate() {
        let (dl, ml) = (
            d * f32::from(scales[s] & 15),
            dmin * f32::from(scales[s] >> 4),
        );
        let (at, shift) = (s / 8 * 32 + s % 2 * 16, s / 2 % 4 * 2);
        for (y, &q) in y.iter_mut().zip(&qs[at..at + 16]) {
            *y = dl * f32::from(q >> shift & 3) - ml;
        }
    }
}

/// The sixteen 6-bit scales of a `Q3_K` block, offset removed.
pub(crate) fn q3_k_scales(b: &[u8]) -> [i8; 16] {
    std::array::from_fn(|s| {
        let low = if s < 8 { b[s] & 15 } else { b[s - 8] >> 4 };
        let high = b[8 + s % 4] >> (s / 4 * 2) & 3;
        (low | high << 4).cast_signed() - 32
    })
}

fn q3_k(b: &[u8], y: &mut [f32]) {
    let (high, qs) = (&b[..32], &b[32..96]);
    let scales = q3_k_scales(&b[96..108]);
    let d = f16_at(b, 108);
    for (s, y) in y.chunks_exact_mut(16).enumerate() {
        let dl = d * f32::from(scales[s]);
        let (at, shift) = (s / 8 * 32 + s % 2 * 16, s / 2 % 4 * 2);
        for (l, y) in y.iter_mut().enumerate() {
            let low = i32::from(qs[at + l] >> shift & 3);
            let offset = if high[s % 2 * 16 + l] >> (s / 2) & 1 != 0 {
                0
            } else {
                4
            };
            *y = dl * (low - offset) as f32;
        }
    }
}

/// The 6-bit scale and minimum of sub-block `j` of `Q4_K` and `Q5_K`.
pub(crate) fn k4_scale_min(j: usize, b: &[u8]) -> (u8, u8) {
    if j < 4 {
        (b[j] & 63, b[j + 4] & 63)
    } else {
        (
            b[j + 4] & 15 | b[j - 4] >> 6 << 4,
            b[j + 4] >> 4 | b[j] >> 6 << 4,
        )
    }
}

fn q4_k(b: &[u8], y: &mut [f32]) {
    let (d, dmin) = (f16_at(b, 0), f16_at(b, 2));
    let (scales, qs) = (&b[4..16], &b[16..144]);
    for (s, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, min) = k4_scale_min(s, scales);
        let (dl, ml) = (d * f32::from(scale), dmin * f32::from(min));
        let (at, shift) = (s / 2 * 32, s % 2 * 4);
        for (y, &q) in y.iter_mut().zip(&qs[at..at + 32]) {
            *y = dl * f32::from(q >> shift & 15) - ml;
        }
    }
}

fn q5_k(b: &[u8], y: &mut [f32]) {
    let (d, dmin) = (f16_at(b, 0), f16_at(b, 2));
    let (scales, high, qs) = (&b[4..16], &b[16..48], &b[48..176]);
    for (s, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, min) = k4_scale_min(s, scales);
        let (dl, ml) = (d * f32::from(scale), dmin * f32::from(min));
        let (at, shift) = (s / 2 * 32, s % 2 * 4);
        for (l, y) in y.iter_mut().enumerate() {
            let q = qs[at + l] >> shift & 15 | (high[l] >> s & 1) << 4;
            *y = dl * f32::from(q) - ml;
        }
    }
}

fn q6_k(b: &[u8], y: &mut [f32]) {
    let (low, high, scales) = (&b[..128], &b[128..192], &b[192..208]);
    let d = f16_at(b, 208);
    for (s, y) in y.chunks_exact_mut(16).enumerate() {
        let dl = d * f32::from(scales[s].cast_signed());
        // Sub-blocks of 32 within a half of 128: 0 and 1 in the low nibbles, 2 and 3 in the high.
        let (half, sub, l0) = (s / 8, s / 2 % 4, s % 2 * 16);
        let at = half * 64 + sub % 2 * 32 + l0;
        for (l, y) in y.iter_mut().enumerate() {
            let q = low[at + l] >> (sub / 2 * 4) & 15
                | (high[half * 32 + l0 + l] >> (sub * 2) & 3) << 4;
            *y = dl * f32::from(q.cast_signed() - 32);
        }
    }
}

/// Two halves of 16 codes each, low nibbles first, times `d`.
fn coded(d: f32, values: &[i8; 16], qs: &[u8], y: &mut [f32]) {
    for (j, &q) in qs.iter().enumerate() {
        y[j] = d * f32::from(values[usize::from(q & 15)]);
        y[j + 16] = d * f32::from(values[usize::from(q >> 4)]);
    }
}

fn iq4_nl(b: &[u8], y: &mut [f32]) {
    coded(f16_at(b, 0), &IQ4_VALUES, &b[2..18], y);
}

fn iq4_xs(b: &[u8], y: &mut [f32]) {
    let d = f16_at(b, 0);
    let high = u16::from_le_bytes([b[2], b[3]]);
    for (s, y) in y.chunks_exact_mut(32).enumerate() {
        let low = i32::from(b[4 + s / 2] >> (s % 2 * 4) & 15);
        let scale = low | i32::from(high >> (2 * s) & 3) << 4;
        let qs = &b[8 + s * 16..24 + s * 16];
        coded(d * (scale - 32) as f32, &IQ4_VALUES, qs, y);
    }
}

/// Half of 2^(e - 127): the values of the table are doubled.
pub(crate) fn e8m0_half(e: u8) -> f32 {
    f32::from_bits(match e {
        0 | 1 => 0x0020_0000 << e,
        _ => u32::from(e - 1) << 23,
    })
}

fn mxfp4(b: &[u8], y: &mut [f32]) {
    coded(e8m0_half(b[0]), &MXFP4_VALUES, &b[1..17], y);
}
