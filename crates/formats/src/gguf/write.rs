//! Writing GGUF files.

use std::collections::HashSet;
use std::path::Path;

use super::read::alignment;
use super::value::{Array, Metadata, Value};
use super::{MAGIC, kind, limit};
use crate::atomic::AtomicFile;
use crate::dtype::TensorInfo;
use crate::error::{FormatError, Problem, quote};

/// The header for these pairs and tensors, up to where tensor data starts.
pub(crate) fn encode(metadata: &Metadata, tensors: &[TensorInfo]) -> Result<Vec<u8>, Problem> {
    Ok(header(metadata, tensors, alignment(metadata)?)?.0)
}

/// Writes a GGUF file of version 3, tensor by tensor, with no more than a piece of one in memory.
///
/// The file appears under its name when [`finish`](Self::finish) succeeds, and not before.
///
/// ```no_run
/// use medley_formats::{DType, FormatError, TensorInfo, gguf};
///
/// # fn main() -> Result<(), FormatError> {
/// let mut metadata = gguf::Metadata::default();
/// metadata.insert("general.architecture", "llama");
/// let tensors = [TensorInfo { name: "output_norm.weight".into(), dtype: DType::F32, shape: vec![2] }];
/// let mut writer = gguf::Writer::create("model.gguf".as_ref(), &metadata, &tensors)?;
/// writer.write("output_norm.weight", &[0; 8])?;
/// writer.finish()
/// # }
/// ```
pub struct Writer {
    file: AtomicFile,
    tensors: Vec<Planned>,
    alignment: usize,
    /// The tensor that is being written, and how many of its bytes are.
    current: usize,
    written: usize,
}

struct Planned {
    name: String,
    bytes: usize,
}

impl Writer {
    /// Starts a file: writes the header for these pairs and tensors.
    ///
    /// The alignment is that of `general.alignment` in the metadata, or 32.
    ///
    /// # Errors
    /// [`FormatError`] where the file cannot be created, a name is empty, too long or occurs twice, a
    /// type is not one of GGUF's, a shape has more than four dimensions or rows that are not whole
    /// blocks.
    pub fn create(
        path: &Path,
        metadata: &Metadata,
        tensors: &[TensorInfo],
    ) -> Result<Self, FormatError> {
        let alignment = alignment(metadata).map_err(|p| p.at(path))?;
        let (header, planned) = header(metadata, tensors, alignment).map_err(|p| p.at(path))?;
        let mut file = AtomicFile::create(path)?;
        file.write(&header)?;
        Ok(Self {
            file,
            tensors: planned,
            // At most 1 MiB, as `alignment` has checked.
            alignment: usize::try_from(alignment).unwrap_or(1),
            current: 0,
            written: 0,
        })
    }

    /// Writes data of a tensor: all of it, or the next piece. Tensors come in the order in which they
    /// were announced.
    ///
    /// # Errors
    /// [`FormatError`] where another tensor is due, more bytes come than the tensor has, or the disk
    /// refuses.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), FormatError> {
        let Some(due) = self.tensors.get(self.current) else {
            return Err(self.refuse(quote(name), "nothing; all tensors are written".into()));
        };
        if due.name != name {
            let expected = format!("{}, as announced", quote(&due.name));
            return Err(self.refuse(quote(name), expected));
        }
        let written = self.written.saturating_add(bytes.len());
        if written > due.bytes {
            let expected = format!("{} bytes", due.bytes);
            return Err(self.refuse(format!("{written} bytes of {}", quote(name)), expected));
        }
        self.file.write(bytes)?;
        self.written = written;
        self.end_tensors()
    }

    /// Pads the current tensor once it is complete, and steps over those that have no bytes.
    fn end_tensors(&mut self) -> Result<(), FormatError> {
        while let Some(due) = self.tensors.get(self.current) {
            if self.written < due.bytes {
                break;
            }
            self.file.zeros(padding(due.bytes, self.alignment))?;
            self.current += 1;
            self.written = 0;
        }
        Ok(())
    }

    /// Puts the file into its place.
    ///
    /// # Errors
    /// [`FormatError`] where data of a tensor is missing or the disk refuses. Nothing is left behind.
    pub fn finish(mut self) -> Result<(), FormatError> {
        self.end_tensors()?;
        if let Some(due) = self.tensors.get(self.current) {
            let found = format!(
                "{} of {} bytes of {}",
                self.written,
                due.bytes,
                quote(&due.name)
            );
            return Err(self.refuse(found, "every tensor that was announced".into()));
        }
        self.file.commit()
    }

    fn refuse(&self, found: String, expected: String) -> FormatError {
        Problem::invalid("the data written", found, expected).at(self.file.path())
    }
}

const fn padding(bytes: usize, alignment: usize) -> usize {
    bytes.next_multiple_of(alignment) - bytes
}

fn header(
    metadata: &Metadata,
    tensors: &[TensorInfo],
    alignment: u64,
) -> Result<(Vec<u8>, Vec<Planned>), Problem> {
    Problem::check_limit("the tensor count", tensors.len() as u64, limit::TENSORS)?;
    Problem::check_limit("the metadata count", metadata.len() as u64, limit::PAIRS)?;
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&3u32.to_le_bytes());
    out.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    out.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        check_name("a metadata key", key, limit::KEY_BYTES)?;
        put_bytes(&mut out, key.as_bytes());
        put_value(&mut out, value);
    }
    let mut names = HashSet::new();
    let mut offset = 0u64;
    let mut planned = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let name = &tensor.name;
        check_name("a tensor name", name, limit::NAME_BYTES)?;
        if !names.insert(name) {
            return Err(Problem::Duplicate {
                what: "tensor",
                name: name.clone(),
            });
        }
        let bytes = put_tensor(&mut out, tensor, offset)?;
        let end = offset.checked_add(bytes as u64);
        let next = end.and_then(|end| end.checked_next_multiple_of(alignment));
        offset = next.ok_or_else(|| Problem::Limit {
            what: "the length of all tensors".into(),
            count: u64::MAX,
            limit: i64::MAX.cast_unsigned(),
        })?;
        planned.push(Planned {
            name: name.clone(),
            bytes,
        });
    }
    let padded = (out.len() as u64).next_multiple_of(alignment);
    out.resize(usize::try_from(padded).unwrap_or(out.len()), 0);
    Ok((out, planned))
}

fn check_name(what: &str, name: &str, max: u64) -> Result<(), Problem> {
    if name.is_empty() {
        return Err(Problem::invalid(what, "empty", "a name"));
    }
    Problem::check_limit(format!("the length of {what}"), name.len() as u64, max)
}

/// Describes the tensor at `offset` of the data; returns its bytes.
fn put_tensor(out: &mut Vec<u8>, tensor: &TensorInfo, offset: u64) -> Result<usize, Problem> {
    let what = |field: &str| format!("the {field} of tensor {}", quote(&tensor.name));
    let Some(id) = tensor.dtype.ggml_id() else {
        return Err(Problem::unsupported(
            format!(
                "type {} of tensor {} in GGUF",
                tensor.dtype,
                quote(&tensor.name)
            ),
            "convert it to F32, F16 or BF16 first",
        ));
    };
    let rank = u32::try_from(tensor.shape.len()).unwrap_or(u32::MAX);
    Problem::check_limit(
        what("number of dimensions"),
        rank.into(),
        limit::DIMS.into(),
    )?;
    let Some(bytes) = tensor.byte_len() else {
        return Err(Problem::invalid(
            what("shape"),
            format!("{:?} of type {}", tensor.shape, tensor.dtype),
            format!("rows of whole blocks of {}", tensor.dtype.block_len()),
        ));
    };
    put_bytes(out, tensor.name.as_bytes());
    out.extend_from_slice(&rank.to_le_bytes());
    for &dim in tensor.shape.iter().rev() {
        out.extend_from_slice(&(dim as u64).to_le_bytes());
    }
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
    Ok(bytes)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    macro_rules! number {
        ($kind:ident, $x:expr) => {{
            out.extend_from_slice(&kind::$kind.to_le_bytes());
            out.extend_from_slice(&$x.to_le_bytes());
        }};
    }
    match value {
        Value::U8(x) => number!(U8, x),
        Value::I8(x) => number!(I8, x),
        Value::U16(x) => number!(U16, x),
        Value::I16(x) => number!(I16, x),
        Value::U32(x) => number!(U32, x),
        Value::I32(x) => number!(I32, x),
        Value::U64(x) => number!(U64, x),
        Value::I64(x) => number!(I64, x),
        Value::F32(x) => number!(F32, x),
        Value::F64(x) => number!(F64, x),
        Value::Bool(x) => number!(BOOL, u8::from(*x)),
        Value::String(text) => {
            out.extend_from_slice(&kind::STRING.to_le_bytes());
            put_bytes(out, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.extend_from_slice(&kind::STRING.to_le_bytes());
            put_bytes(out, bytes);
        }
        Value::Array(array) => {
            out.extend_from_slice(&kind::ARRAY.to_le_bytes());
            put_array(out, array);
        }
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    let mut start = |kind: u32| {
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&(array.len() as u64).to_le_bytes());
    };
    macro_rules! numbers {
        ($kind:ident, $v:expr) => {{
            start(kind::$kind);
            out.extend($v.iter().flat_map(|x| x.to_le_bytes()));
        }};
    }
    match array {
        Array::U8(v) => numbers!(U8, v),
        Array::I8(v) => numbers!(I8, v),
        Array::U16(v) => numbers!(U16, v),
        Array::I16(v) => numbers!(I16, v),
        Array::U32(v) => numbers!(U32, v),
        Array::I32(v) => numbers!(I32, v),
        Array::U64(v) => numbers!(U64, v),
        Array::I64(v) => numbers!(I64, v),
        Array::F32(v) => numbers!(F32, v),
        Array::F64(v) => numbers!(F64, v),
        Array::Bool(v) => {
            start(kind::BOOL);
            out.extend(v.iter().map(|&x| u8::from(x)));
        }
        Array::Strings(v) => {
            start(kind::STRING);
            for string in v.iter() {
                put_bytes(out, string);
            }
        }
        Array::Arrays(v) => {
            start(kind::ARRAY);
            for inner in v {
                put_array(out, inner);
            }
        }
    }
}
