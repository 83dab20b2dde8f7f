//! Floats to blocks of every type.
//!
//! `F16`, `BF16`, `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1` and `Q8_0` are bit for bit what ggml's reference quantisers
//! (`quantize_row_*_ref` in ggml's `ggml-quants.c`) make. The other types leave the choice of scales to the
//! quantiser; here it is a search for the least weighted squared error, described in `search`.
//!
//! Whatever finite floats come in, the blocks give back finite floats: scales saturate at the largest half.

mod codes;
mod kquants;
mod plain;
mod search;

use std::sync::atomic::{AtomicUsize, Ordering};

use half::f16;

use crate::dequant::check_lengths;
use crate::{BlockType, KernelError, pool};

/// Elements that one task turns into blocks.
const TASK: usize = 1 << 14;

/// Why floats cannot be turned into blocks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// Lengths that do not fit together.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A value that no block can hold.
    #[error("element {index} is not a finite number, and cannot be quantised")]
    NotFinite {
        /// The first such element.
        index: usize,
    },
}

/// Turns `values` into `out`, whole blocks of `ty`; rows are whole blocks, so a matrix may come whole.
///
/// Parallel over the pool; the result does not depend on the number of threads.
///
/// # Errors
/// [`QuantizeError::Kernel`] where `values` is not whole blocks or `out` has not the bytes they take,
/// [`QuantizeError::NotFinite`] for a NaN or an infinity; `out` is then left as it was.
pub fn quantize(ty: BlockType, values: &[f32], out: &mut [u8]) -> Result<(), QuantizeError> {
    check_lengths(ty, out.len(), values.len())?;
    if let Some(index) = first_not_finite(values) {
        return Err(QuantizeError::NotFinite { index });
    }
    let bytes = TASK / ty.block_len() * ty.block_bytes();
    pool::parallel_chunks(out, bytes, |i, part| {
        let from = i * TASK;
        quantize_blocks(ty, &values[from..(from + TASK).min(values.len())], part);
    });
    Ok(())
}

fn first_not_finite(values: &[f32]) -> Option<usize> {
    let first = AtomicUsize::new(usize::MAX);
    pool::parallel_for(values.len().div_ceil(TASK), |i| {
        let from = i * TASK;
        let part = &values[from..(from + TASK).min(values.len())];
        // One pass that vectorises; the search is for the rare case.
        if !part.iter().fold(true, |all, v| all & v.is_finite())
            && let Some(at) = part.iter().position(|v| !v.is_finite())
        {
            first.fetch_min(from + at, Ordering::Relaxed);
        }
    });
    Some(first.into_inner()).filter(|&at| at != usize::MAX)
}

fn quantize_blocks(ty: BlockType, values: &[f32], out: &mut [u8]) {
    match ty {
        BlockType::F32 => each::<1, 4>(values, out, |x, b| *b = x[0].to_le_bytes()),
        BlockType::F16 => each::<1, 2>(values, out, |x, b| *b = half(x[0]).to_le_bytes()),
        BlockType::BF16 => each::<1, 2>(values, out, |x, b| *b = plain::bf16(x[0]).to_le_bytes()),
        BlockType::Q4_0 => each(values, out, plain::q4_0),
        BlockType::Q4_1 => each(values, out, plain::q4_1),
        BlockType::Q5_0 => each(values, out, plain::q5_0),
        BlockType::Q5_1 => each(values, out, plain::q5_1),
        BlockType::Q8_0 => each(values, out, plain::q8_0),
        BlockType::Q2K => each(values, out, kquants::q2_k),
        BlockType::Q3K => each(values, out, kquants::q3_k),
        BlockType::Q4K => each(values, out, kquants::q4_k),
        BlockType::Q5K => each(values, out, kquants::q5_k),
        BlockType::Q6K => each(values, out, kquants::q6_k),
        BlockType::IQ4NL => each(values, out, codes::iq4_nl),
        BlockType::IQ4XS => each(values, out, codes::iq4_xs),
        BlockType::MXFP4 => each(values, out, codes::mxfp4),
    }
}

/// Calls `f` for each block with its floats and its bytes.
#[inline(always)]
fn each<const LEN: usize, const BYTES: usize>(
    values: &[f32],
    out: &mut [u8],
    f: impl Fn(&[f32; LEN], &mut [u8; BYTES]),
) {
    let (values, out) = (values.as_chunks().0, out.as_chunks_mut().0);
    values.iter().zip(out).for_each(|(x, b)| f(x, b));
}

/// The bits of the nearest finite half.
fn half(x: f32) -> u16 {
    let max = f16::MAX.to_f32();
    f16::from_f32(x.clamp(-max, max)).to_bits()
}

/// Writes `x` as a half at `at`.
fn put_half(b: &mut [u8], at: usize, x: f32) {
    b[at..at + 2].copy_from_slice(&half(x).to_le_bytes());
}
