//! Reading safetensors headers.

use std::collections::HashSet;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{MAX_HEADER, METADATA_KEY, NAMES};
use crate::cursor::Cursor;
use crate::dtype::TensorInfo;
use crate::error::{Problem, one_line, quote};

/// PyTorch stops at 64 dimensions.
const MAX_RANK: u64 = 64;

/// The header of a safetensors file, checked against the file's length.
#[derive(Debug)]
pub struct Header {
    /// The free text pairs of `__metadata__`, in file order.
    pub metadata: Vec<(String, String)>,
    /// The tensors, by their place in the file.
    pub tensors: Vec<TensorInfo>,
    /// Where each tensor's data lies, in bytes from the start of the file.
    pub(crate) ranges: Vec<Range<usize>>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// A JSON object as the list of its members, so that none hides another.
pub(super) struct Members<V>(pub(super) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Collect<V> {
            type Value = Members<V>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect(std::marker::PhantomData))
    }
}

/// The header's object: tensors by name, and `__metadata__` among them.
struct Json {
    metadata: Vec<(String, String)>,
    tensors: Vec<(String, Entry)>,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Json;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut metadata: Option<Members<String>> = None;
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name != METADATA_KEY {
                        tensors.push((name, map.next_value()?));
                    } else if metadata.is_none() {
                        metadata = Some(map.next_value()?);
                    } else {
                        return Err(serde::de::Error::custom("__metadata__ occurs twice"));
                    }
                }
                Ok(Json {
                    metadata: metadata.map(|m| m.0).unwrap_or_default(),
                    tensors,
                })
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl Header {
    /// Reads the header from the bytes of a whole file.
    ///
    /// # Errors
    /// [`Problem`] where the bytes are not a safetensors file whose tensors fill the part after the
    /// header exactly, without gaps and overlaps, as the format asks.
    pub fn parse(file: &[u8]) -> Result<Self, Problem> {
        let mut cursor = Cursor::new(file);
        let len = cursor.u64("the header's length")?;
        if len > cursor.left() as u64 {
            return Err(cursor.truncated(len, "the header"));
        }
        Problem::check_limit("the header's length", len, MAX_HEADER)?;
        let json = cursor.take_u64(len, "the header")?;
        if json.first() != Some(&b'{') {
            return Err(Problem::invalid(
                "the header",
                "something else",
                "a JSON object that starts at byte 8",
            ));
        }
        let json: Json = serde_json::from_slice(json).map_err(|error| {
            Problem::invalid(
                "the header",
                format!("unreadable ({})", one_line(&error.to_string())),
                "a JSON object of tensors with dtype, shape and data_offsets",
            )
        })?;
        place(json, cursor.pos(), file.len())
    }
}

fn place(json: Json, data_start: usize, file_len: usize) -> Result<Header, Problem> {
    let mut keys = HashSet::new();
    for (key, _) in &json.metadata {
        if !keys.insert(key) {
            return Err(Problem::Duplicate {
                what: "metadata key",
                name: key.clone(),
            });
        }
    }
    let mut names = HashSet::new();
    let mut placed = Vec::with_capacity(json.tensors.len());
    for (name, entry) in json.tensors {
        if !names.insert(name.clone()) {
            return Err(Problem::Duplicate {
                what: "tensor",
                name,
            });
        }
        placed.push(tensor(name, &entry, data_start, file_len)?);
    }
    // Empty tensors share their start with the next one and come first.
    placed.sort_by_key(|(_, range)| (range.start, range.end));
    let mut end = data_start;
    let mut before = None;
    for (info, range) in &placed {
        match (range.start.cmp(&end), before) {
            (std::cmp::Ordering::Less, Some(first)) => {
                return Err(Problem::Overlap {
                    first: String::clone(first),
                    second: info.name.clone(),
                });
            }
            (std::cmp::Ordering::Equal, _) => {}
            _ => {
                return Err(Problem::invalid(
                    format!("the start of tensor {}", quote(&info.name)),
                    format!("byte {}", range.start - data_start),
                    format!("byte {}, where the tensor before it ends", end - data_start),
                ));
            }
        }
        end = range.end;
        before = Some(&info.name);
    }
    if end != file_len {
        return Err(Problem::invalid(
            "the length of the file",
            format!("{file_len} bytes"),
            format!("{end}, where its last tensor ends"),
        ));
    }
    let (tensors, ranges) = placed.into_iter().unzip();
    Ok(Header {
        metadata: json.metadata,
        tensors,
        ranges,
    })
}

fn tensor(
    name: String,
    entry: &Entry,
    data_start: usize,
    file_len: usize,
) -> Result<(TensorInfo, Range<usize>), Problem> {
    let what = |field: &str| format!("the {field} of tensor {}", quote(&name));
    let Some(&(_, dtype)) = NAMES.iter().find(|(known, _)| *known == entry.dtype) else {
        let known: Vec<&str> = NAMES.iter().map(|n| n.0).collect();
        return Err(Problem::unsupported(
            format!("{}, {},", what("type"), quote(&entry.dtype)),
            format!("{} are", known.join(", ")),
        ));
    };
    Problem::check_limit(what("rank"), entry.shape.len() as u64, MAX_RANK)?;
    let (start, end) = entry.data_offsets;
    let dims = entry.shape.iter().map(|&d| usize::try_from(d).ok());
    let info = dims
        .collect::<Option<Vec<usize>>>()
        .map(|shape| TensorInfo {
            name: name.clone(),
            dtype,
            shape,
        });
    let sized = info.and_then(|info| Some((info.byte_len()?, info)));
    let Some((bytes, info)) = sized else {
        return Err(Problem::invalid(
            what("shape"),
            format!("{:?}", entry.shape),
            "a number of elements that fits into memory",
        ));
    };
    let len = end.checked_sub(start);
    if len != Some(bytes as u64) {
        return Err(Problem::invalid(
            what("place"),
            format!("bytes {start}..{end}"),
            format!("{bytes} bytes long, for {:?} of {dtype}", info.shape),
        ));
    }
    let absolute = end.checked_add(data_start as u64);
    let inside = absolute.and_then(|end| usize::try_from(end).ok().filter(|&end| end <= file_len));
    let Some(end_at) = inside else {
        return Err(Problem::OutOfFile {
            name,
            start: start.saturating_add(data_start as u64),
            end: end.saturating_add(data_start as u64),
            len: file_len as u64,
        });
    };
    Ok((info, end_at - bytes..end_at))
}
