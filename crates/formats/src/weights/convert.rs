//! Elements of any type as singles.

use half::bf16;

use crate::dtype::DType;
use crate::error::{Problem, quote};
use crate::float8;

/// Converts the data of a tensor of `elements` elements; `bytes` has been checked to be theirs.
pub(super) fn to_f32(
    name: &str,
    dtype: DType,
    elements: usize,
    bytes: &[u8],
) -> Result<Vec<f32>, Problem> {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    // rounding is the contract
    Ok(match dtype {
        DType::F32 => each(bytes, f32::from_le_bytes),
        DType::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        DType::Block(ty) => {
            let mut out = vec![0.0; elements];
            medley_kernels::dequantize(ty, bytes, &mut out).map_err(|error| {
                Problem::invalid(
                    format!("the data of tensor {}", quote(name)),
                    error,
                    format!("whole blocks of {dtype}"),
                )
            })?;
            out
        }
        DType::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        DType::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
        DType::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
        DType::I16 => each(bytes, |b| i16::from_le_bytes(b).into()),
        DType::I8 => each(bytes, |b| i8::from_le_bytes(b).into()),
        DType::U64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
        DType::U32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
        DType::U16 => each(bytes, |b| u16::from_le_bytes(b).into()),
        DType::U8 => each(bytes, |[b]: [u8; 1]| b.into()),
        DType::Bool => each(bytes, |[b]: [u8; 1]| f32::from(u8::from(b != 0))),
        DType::F8E4M3 => each(bytes, |[b]: [u8; 1]| float8::E4M3[usize::from(b)]),
        DType::F8E5M2 => each(bytes, |[b]: [u8; 1]| float8::E5M2[usize::from(b)]),
    })
}

fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().map(|&element| convert(element)).collect()
}
