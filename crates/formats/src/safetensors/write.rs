//! Writing safetensors files.

use std::collections::{HashMap, HashSet};
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
    let infos: Vec<TensorInfo> = tensors
        .iter()
        .map(|t| TensorInfo {
            name: t.name.to_owned(),
            dtype: t.dtype,
            shape: t.shape.to_vec(),
        })
        .collect();
    for (info, tensor) in infos.iter().zip(tensors) {
        whole(info, tensor.bytes.len()).map_err(|p| p.at(path))?;
    }
    let bytes: HashMap<&str, &[u8]> = tensors.iter().map(|t| (t.name, t.bytes)).collect();
    write_with(path, &infos, metadata, |info, put| {
        put(bytes.get(info.name.as_str()).copied().unwrap_or_default())
    })
}

/// As [`write()`], with data that comes piece by piece: `each` is asked for one tensor after the other, and hands its
/// elements on, so that no more than a piece lies in memory.
///
/// # Errors
/// As [`write()`], and those of `each`. Nothing is left behind.
pub fn write_with<E: From<FormatError>>(
    path: &Path,
    tensors: &[TensorInfo],
    metadata: &[(&str, &str)],
    mut each: impl FnMut(&TensorInfo, &mut dyn FnMut(&[u8]) -> Result<(), FormatError>) -> Result<(), E>,
) -> Result<(), E> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|t| (std::cmp::Reverse(t.dtype.block_bytes()), &t.name));
    let header = header(&order, metadata).map_err(|p| p.at(path))?;
    let mut file = AtomicFile::create(path)?;
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(header.as_bytes())?;
    for tensor in order {
        let mut written = 0;
        each(tensor, &mut |bytes| {
            written += bytes.len();
            file.write(bytes)
        })?;
        whole(tensor, written).map_err(|p| p.at(path))?;
    }
    Ok(file.commit()?)
}

fn header(order: &[&TensorInfo], metadata: &[(&str, &str)]) -> Result<String, Problem> {
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
        if !names.insert(&tensor.name) || tensor.name == METADATA_KEY {
            return Err(Problem::Duplicate {
                what: "tensor",
                name: tensor.name.clone(),
            });
        }
        let dtype = dtype_name(tensor)?;
        let end = start + tensor.byte_len().unwrap_or(usize::MAX - start);
        json.insert(
            tensor.name.clone(),
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

/// The name of the tensor's type.
fn dtype_name(tensor: &TensorInfo) -> Result<&'static str, Problem> {
    match NAMES.iter().find(|n| n.1 == tensor.dtype) {
        Some((name, _)) => Ok(name),
        None => Err(Problem::unsupported(
            format!(
                "type {} of tensor {} in safetensors",
                tensor.dtype,
                quote(&tensor.name)
            ),
            "write it as F32, F16 or BF16, or write a GGUF file",
        )),
    }
}

/// Refuses data that are not as long as type and shape say.
fn whole(tensor: &TensorInfo, bytes: usize) -> Result<(), Problem> {
    dtype_name(tensor)?;
    if tensor.byte_len() == Some(bytes) {
        return Ok(());
    }
    Err(Problem::invalid(
        format!("the data of tensor {}", quote(&tensor.name)),
        format!("{bytes} bytes"),
        format!("what {:?} of {} takes", tensor.shape, tensor.dtype),
    ))
}
