//! Writing safetensors files.

use std::collections::HashSet;
use std::path::Path;

use super::{METADATA_KEY, NAMES};
use crate::atomic::AtomicFile;
use crate::dtype::{DType, TensorInfo};
use crate::error::{FormatError, Problem, quote};

/// A tensor to be written.
#[derive(Clone, Copy, Debug)]
pub struct TensorData<'a> {
    /// The name, unique in the file.
    pub name: &'a str,
    /// How elements are stored.
    pub dtype: DType,
    /// Row-major, outermost dimension first.
    pub shape: &'a [usize],
    /// The elements, little endian, row-major.
    pub bytes: &'a [u8],
}

/// Writes a file with these tensors and free text pairs. The file appears whole or not at all.
///
/// Tensors are laid out as the reference implementation does: wide element types first, then by name,
/// so that each starts at a multiple of its element size.
///
/// # Errors
/// [`FormatError`] where a name occurs twice, a type is quantised (safetensors has no such types), the
/// bytes do not fit the shape, or the file cannot be written.
pub fn write(
    path: &Path,
    tensors: &[TensorData<'_>],
    metadata: &[(&str, &str)],
) -> Result<(), FormatError> {
    let mut order: Vec<&TensorData<'_>> = tensors.iter().collect();
    order.sort_by_key(|t| (std::cmp::Reverse(t.dtype.block_bytes()), t.name));
    let header = header(&order, metadata).map_err(|p| p.at(path))?;
    let mut file = AtomicFile::create(path)?;
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(header.as_bytes())?;
    for tensor in order {
        file.write(tensor.bytes)?;
    }
    file.commit()
}

fn header(order: &[&TensorData<'_>], metadata: &[(&str, &str)]) -> Result<String, Problem> {
    let mut json = serde_json::Map::new();
    if !metadata.is_empty() {
        let mut pairs = serde_json::Map::new();
        for &(key, value) in metadata {
            if pairs.insert(key.to_owned(), value.into()).is_some() {
                return Err(Problem::Duplicate {
                    what: "metadata key",
                    name: key.to_owned(),
                });
            }
        }
        json.insert(METADATA_KEY.to_owned(), pairs.into());
    }
    let mut names = HashSet::new();
    let mut start = 0usize;
    for tensor in order {
        if !names.insert(tensor.name) || tensor.name == METADATA_KEY {
            return Err(Problem::Duplicate {
                what: "tensor",
                name: tensor.name.to_owned(),
            });
        }
        let dtype = dtype_name(tensor)?;
        let end = start + tensor.bytes.len();
        json.insert(
            tensor.name.to_owned(),
            serde_json::json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]}),
        );
        start = end;
    }
    let mut text = serde_json::Value::from(json).to_string();
    // Padded with spaces, so that data starts at a multiple of 8 in the file.
    let padded = text.len().next_multiple_of(8);
    text.extend(std::iter::repeat_n(' ', padded - text.len()));
    Ok(text)
}

/// The name of the tensor's type, once type, shape and bytes go together.
fn dtype_name(tensor: &TensorData<'_>) -> Result<&'static str, Problem> {
    let Some((name, _)) = NAMES.iter().find(|n| n.1 == tensor.dtype) else {
        return Err(Problem::unsupported(
            format!(
                "type {} of tensor {} in safetensors",
                tensor.dtype,
                quote(tensor.name)
            ),
            "write it as F32, F16 or BF16, or write a GGUF file",
        ));
    };
    let info = TensorInfo {
        name: String::new(),
        dtype: tensor.dtype,
        shape: tensor.shape.to_vec(),
    };
    if info.byte_len() != Some(tensor.bytes.len()) {
        return Err(Problem::invalid(
            format!("the data of tensor {}", quote(tensor.name)),
            format!("{} bytes", tensor.bytes.len()),
            format!("what {:?} of {} takes", tensor.shape, tensor.dtype),
        ));
    }
    Ok(name)
}
