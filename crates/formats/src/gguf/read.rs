//! Reading GGUF headers.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::value::{Array, Metadata, StringArray, Value};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, kind, limit};
use crate::cursor::Cursor;
use crate::dtype::{DType, TensorInfo};
use crate::error::{FormatError, Problem, quote, quote_bytes};
use crate::map::Bytes;

/// Everything before the tensor data of a GGUF file, checked against the file's length.
#[derive(Debug)]
pub struct Header {
    /// Format version: 2 or 3.
    pub version: u32,
    /// The key-value pairs.
    pub metadata: Metadata,
    /// The tensors, in file order.
    pub tensors: Vec<TensorInfo>,
    /// Where each tensor's data lies, in bytes from the start of the file.
    pub(crate) ranges: Vec<Range<usize>>,
}

impl Header {
    /// Reads the header from the bytes of a whole file.
    ///
    /// # Errors
    /// [`Problem`] where the bytes are not a GGUF file of version 2 or 3 whose tensors all lie within
    /// `file`, aligned and apart from each other.
    pub fn parse(file: &[u8]) -> Result<Self, Problem> {
        let head = &file[..file.len().min(limit::HEADER_BYTES)];
        let parsed = Parser {
            cursor: Cursor::new(head),
            file_len: file.len(),
            inner_arrays: 0,
        }
        .header();
        match parsed {
            // Cut by our bound rather than by the end of the file.
            Err(Problem::Truncated {
                what, at, needs, ..
            }) if head.len() < file.len() => {
                let left = file.len() as u64 - at;
                if needs > left {
                    return Err(Problem::Truncated {
                        what,
                        at,
                        needs,
                        left,
                    });
                }
                Err(Problem::Limit {
                    what: format!("the length of the header up to {}", quote(&what)),
                    count: at.saturating_add(needs),
                    limit: limit::HEADER_BYTES as u64,
                })
            }
            other => other,
        }
    }
}

/// Where a tensor's bytes lie by the header: name, type, shape, and offset from the data's start.
struct Placed {
    info: TensorInfo,
    offset: u64,
    bytes: usize,
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    file_len: usize,
    inner_arrays: u64,
}

impl Parser<'_> {
    fn header(mut self) -> Result<Header, Problem> {
        let version = self.version()?;
        let tensor_count = self.cursor.u64("the tensor count")?;
        Problem::check_limit("the tensor count", tensor_count, limit::TENSORS)?;
        let pair_count = self.cursor.u64("the metadata count")?;
        Problem::check_limit("the metadata count", pair_count, limit::PAIRS)?;

        let mut metadata = Metadata::default();
        for _ in 0..pair_count {
            let key = self.name("a metadata key", limit::KEY_BYTES)?;
            let value_type = self.cursor.u32("the type of a metadata value")?;
            let value = self.value(&key, value_type)?;
            if metadata.get(&key).is_some() {
                return Err(Problem::Duplicate {
                    what: "metadata key",
                    name: key,
                });
            }
            metadata.insert(key, value);
        }
        let alignment = alignment(&metadata)?;

        let mut placed = Vec::new();
        let mut names = HashSet::new();
        for _ in 0..tensor_count {
            let tensor = self.tensor(alignment)?;
            if !names.insert(tensor.info.name.clone()) {
                return Err(Problem::Duplicate {
                    what: "tensor",
                    name: tensor.info.name,
                });
            }
            placed.push(tensor);
        }
        let data_start = (self.cursor.pos() as u64).next_multiple_of(alignment);
        let ranges = ranges(&placed, data_start, self.file_len)?;
        Ok(Header {
            version,
            metadata,
            tensors: placed.into_iter().map(|p| p.info).collect(),
            ranges,
        })
    }

    fn version(&mut self) -> Result<u32, Problem> {
        let magic = self.cursor.take(4, "the magic number")?;
        if magic != MAGIC {
            return Err(Problem::invalid(
                "the magic number",
                quote_bytes(magic),
                "\"GGUF\"",
            ));
        }
        let version = self.cursor.u32("the version")?;
        match version {
            2 | 3 => Ok(version),
            1 => Err(Problem::unsupported(
                "GGUF version 1",
                "convert the model again with a current llama.cpp, which writes version 3",
            )),
            _ if version.swap_bytes() <= 0xffff && version > 0xffff => Err(Problem::unsupported(
                "big-endian GGUF",
                "fetch the little-endian file, or convert it with gguf_convert_endian.py",
            )),
            _ => Err(Problem::unsupported(
                format!("GGUF version {version}"),
                "versions 2 and 3 are",
            )),
        }
    }

    fn name(&mut self, what: &str, max: u64) -> Result<String, Problem> {
        let len = self.cursor.u64(what)?;
        if len > self.cursor.left() as u64 {
            return Err(self.cursor.truncated(len, what));
        }
        Problem::check_limit(format!("the length of {what}"), len, max)?;
        let bytes = self.cursor.take_u64(len, what)?;
        match std::str::from_utf8(bytes) {
            Ok("") => Err(Problem::invalid(what, "empty", "a name")),
            Ok(name) => Ok(name.to_owned()),
            Err(_) => Err(Problem::invalid(what, quote_bytes(bytes), "UTF-8")),
        }
    }

    fn value(&mut self, key: &str, value_type: u32) -> Result<Value, Problem> {
        let cursor = &mut self.cursor;
        Ok(match value_type {
            kind::U8 => Value::U8(cursor.u8(key)?),
            kind::I8 => Value::I8(cursor.u8(key)?.cast_signed()),
            kind::U16 => Value::U16(cursor.u16(key)?),
            kind::I16 => Value::I16(cursor.u16(key)?.cast_signed()),
            kind::U32 => Value::U32(cursor.u32(key)?),
            kind::I32 => Value::I32(cursor.u32(key)?.cast_signed()),
            kind::U64 => Value::U64(cursor.u64(key)?),
            kind::I64 => Value::I64(cursor.u64(key)?.cast_signed()),
            kind::F32 => Value::F32(f32::from_bits(cursor.u32(key)?)),
            kind::F64 => Value::F64(f64::from_bits(cursor.u64(key)?)),
            kind::BOOL => Value::Bool(boolean(key, cursor.u8(key)?)?),
            kind::STRING => {
                let len = cursor.u64(key)?;
                let bytes = cursor.take_u64(len, key)?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => Value::String(text.to_owned()),
                    Err(_) => Value::Bytes(bytes.to_vec()),
                }
            }
            kind::ARRAY => Value::Array(self.array(key, 1)?),
            _ => return Err(unknown_type(key, value_type)),
        })
    }

    fn array(&mut self, key: &str, depth: usize) -> Result<Array, Problem> {
        Problem::check_limit(
            format!("the depth of arrays in {}", quote(key)),
            depth as u64,
            limit::DEPTH as u64,
        )?;
        let element_type = self.cursor.u32(key)?;
        let count = self.cursor.u64(key)?;
        Ok(match element_type {
            kind::U8 => Array::U8(
                self.elements::<1>(key, count)?
                    .map(u8::from_le_bytes)
                    .collect(),
            ),
            kind::I8 => Array::I8(self.elements(key, count)?.map(i8::from_le_bytes).collect()),
            kind::U16 => Array::U16(self.elements(key, count)?.map(u16::from_le_bytes).collect()),
            kind::I16 => Array::I16(self.elements(key, count)?.map(i16::from_le_bytes).collect()),
            kind::U32 => Array::U32(self.elements(key, count)?.map(u32::from_le_bytes).collect()),
            kind::I32 => Array::I32(self.elements(key, count)?.map(i32::from_le_bytes).collect()),
            kind::U64 => Array::U64(self.elements(key, count)?.map(u64::from_le_bytes).collect()),
            kind::I64 => Array::I64(self.elements(key, count)?.map(i64::from_le_bytes).collect()),
            kind::F32 => Array::F32(self.elements(key, count)?.map(f32::from_le_bytes).collect()),
            kind::F64 => Array::F64(self.elements(key, count)?.map(f64::from_le_bytes).collect()),
            kind::BOOL => {
                let bytes = self.elements(key, count)?;
                Array::Bool(bytes.map(|[b]| boolean(key, b)).collect::<Result<_, _>>()?)
            }
            kind::STRING => Array::Strings(self.strings(key, count)?),
            kind::ARRAY => {
                self.inner_arrays = self.inner_arrays.saturating_add(count);
                Problem::check_limit(
                    format!("the number of arrays in arrays at {}", quote(key)),
                    self.inner_arrays,
                    limit::INNER_ARRAYS,
                )?;
                let mut arrays = Vec::new();
                for _ in 0..count {
                    arrays.push(self.array(key, depth + 1)?);
                }
                Array::Arrays(arrays)
            }
            _ => return Err(unknown_type(key, element_type)),
        })
    }

    /// The raw elements of an array, `N` bytes each, known to be in the file.
    fn elements<const N: usize>(
        &mut self,
        key: &str,
        count: u64,
    ) -> Result<impl Iterator<Item = [u8; N]>, Problem> {
        let bytes = self.cursor.take_u64(count.saturating_mul(N as u64), key)?;
        Ok(bytes.as_chunks::<N>().0.iter().copied())
    }

    /// Two passes, so that nothing grows and nothing is reserved that the file does not hold.
    fn strings(&mut self, key: &str, count: u64) -> Result<StringArray, Problem> {
        const LENGTH_BYTES: u64 = 8;
        let least = count.saturating_mul(LENGTH_BYTES);
        if least > self.cursor.left() as u64 {
            return Err(self.cursor.truncated(least, key));
        }
        let mut again = self.cursor.clone();
        let mut ends = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        let mut total = 0;
        for _ in 0..count {
            let len = self.cursor.u64(key)?;
            total += self.cursor.take_u64(len, key)?.len();
            // The header's bound keeps totals far below 4 GiB.
            ends.push(u32::try_from(total).map_err(|_| Problem::Limit {
                what: format!("the length of all strings of {}", quote(key)),
                count: total as u64,
                limit: u32::MAX.into(),
            })?);
        }
        let mut bytes = Vec::with_capacity(total);
        for _ in 0..count {
            let len = again.u64(key)?;
            bytes.extend_from_slice(again.take_u64(len, key)?);
        }
        Ok(StringArray::new(bytes.into(), ends.into()))
    }

    fn tensor(&mut self, alignment: u64) -> Result<Placed, Problem> {
        let name = self.name("a tensor name", limit::NAME_BYTES)?;
        let what = |field: &str| format!("the {field} of tensor {}", quote(&name));
        let dim_count = self.cursor.u32(&name)?;
        Problem::check_limit(
            what("number of dimensions"),
            dim_count.into(),
            limit::DIMS.into(),
        )?;
        let mut dims = Vec::new();
        for _ in 0..dim_count {
            dims.push(self.cursor.u64(&name)?);
        }
        let type_id = self.cursor.u32(&name)?;
        let offset = self.cursor.u64(&name)?;

        let dtype = DType::from_ggml(type_id).ok_or_else(|| unsupported_type(&name, type_id))?;
        // Fastest dimension first in the file, outermost first in memory.
        let shape: Option<Vec<usize>> = dims
            .iter()
            .rev()
            .map(|&d| usize::try_from(d).ok())
            .collect();
        let info = shape.map(|shape| TensorInfo {
            name: name.clone(),
            dtype,
            shape,
        });
        let sized = info.and_then(|info| Some((info.byte_len()?, info)));
        let Some((bytes, info)) = sized else {
            return Err(Problem::invalid(
                what("shape"),
                format!("{dims:?} of type {dtype}"),
                format!(
                    "rows of whole blocks of {} within memory",
                    dtype.block_len()
                ),
            ));
        };
        if !offset.is_multiple_of(alignment) {
            return Err(Problem::invalid(
                what("offset"),
                offset,
                format!("a multiple of the alignment, {alignment}"),
            ));
        }
        Ok(Placed {
            info,
            offset,
            bytes,
        })
    }
}

fn boolean(key: &str, byte: u8) -> Result<bool, Problem> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Problem::invalid(
            format!("the boolean {}", quote(key)),
            byte,
            "0 or 1",
        )),
    }
}

fn unknown_type(key: &str, value_type: u32) -> Problem {
    Problem::invalid(
        format!("the type of metadata value {}", quote(key)),
        value_type,
        "one of 0 to 12",
    )
}

/// ggml's names for types that are read by llama.cpp but not here.
fn unsupported_type(tensor: &str, id: u32) -> Problem {
    let name = match id {
        4 | 5 | 31..=33 | 36..=38 => "a type that ggml has removed",
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        40 => "NVFP4",
        _ => "unknown",
    };
    Problem::unsupported(
        format!("type {id} ({name}) of tensor {}", quote(tensor)),
        "take a file with F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS or MXFP4",
    )
}

pub(super) fn alignment(metadata: &Metadata) -> Result<u64, Problem> {
    let found = match metadata.get(ALIGNMENT_KEY) {
        None => return Ok(DEFAULT_ALIGNMENT),
        Some(Value::U32(alignment)) => u64::from(*alignment),
        Some(_) => {
            return Err(Problem::invalid(
                ALIGNMENT_KEY,
                "of another type",
                "an unsigned 32-bit integer",
            ));
        }
    };
    if !found.is_power_of_two() || found > limit::ALIGNMENT {
        return Err(Problem::invalid(
            ALIGNMENT_KEY,
            found,
            format!("a power of two up to {}", limit::ALIGNMENT),
        ));
    }
    Ok(found)
}

/// Places every tensor in the file and checks that all lie within it, apart from each other.
fn ranges(
    placed: &[Placed],
    data_start: u64,
    file_len: usize,
) -> Result<Vec<Range<usize>>, Problem> {
    let mut ranges = Vec::with_capacity(placed.len());
    for tensor in placed {
        let start = data_start.saturating_add(tensor.offset);
        let end = start.saturating_add(tensor.bytes as u64);
        let inside = usize::try_from(end).is_ok_and(|end| end <= file_len);
        // An end within the file is not saturated, and bounds the start.
        let (true, Ok(start_at)) = (inside, usize::try_from(start)) else {
            return Err(Problem::OutOfFile {
                name: tensor.info.name.clone(),
                start,
                end,
                len: file_len as u64,
            });
        };
        ranges.push(start_at..start_at + tensor.bytes);
    }
    let mut order: Vec<usize> = (0..placed.len())
        .filter(|&i| !ranges[i].is_empty())
        .collect();
    order.sort_unstable_by_key(|&i| ranges[i].start);
    for pair in order.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        if ranges[second].start < ranges[first].end {
            return Err(Problem::Overlap {
                first: placed[first].info.name.clone(),
                second: placed[second].info.name.clone(),
            });
        }
    }
    Ok(ranges)
}

/// An open GGUF file.
pub struct Gguf {
    path: PathBuf,
    bytes: Bytes,
    header: Header,
    index: HashMap<String, usize>,
}

impl Gguf {
    /// Maps the file and reads its header.
    ///
    /// # Errors
    /// [`FormatError`] where the file cannot be mapped or [`Header::parse`] refuses it.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        Self::new(path, Bytes::map(path)?)
    }

    pub(crate) fn new(path: &Path, bytes: Bytes) -> Result<Self, FormatError> {
        let header = Header::parse(&bytes).map_err(|problem| problem.at(path))?;
        let names = header.tensors.iter().enumerate();
        let index = names.map(|(i, tensor)| (tensor.name.clone(), i)).collect();
        Ok(Self {
            path: path.to_owned(),
            bytes,
            header,
            index,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Format version: 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// The key-value pairs.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.header.metadata
    }

    /// The tensors, in file order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// The data of a tensor, row-major, or `None` where there is no such tensor.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let i = *self.index.get(name)?;
        self.bytes.get(self.header.ranges[i].clone())
    }
}
