//! Models of CTranslate2 (`model.bin`).
//!
//! The layout is that of its
//! [converter](https://github.com/OpenNMT/CTranslate2/blob/master/python/ctranslate2/specs/model_spec.py)
//! (`ModelSpec._serialize`): the kind of model, then each variable with its shape, type and bytes, then names that
//! stand for another variable.

use std::collections::HashMap;
use std::ops::Range;

use crate::cursor::Cursor;
use crate::dtype::{DType, TensorInfo};
use crate::error::{Problem, quote};

/// Versions that are read; before the fourth, variables had no type.
const VERSIONS: std::ops::RangeInclusive<u32> = 4..=6;
/// Longest name of a kind of model.
const MAX_KIND: usize = 64;
const MAX_NAME: u64 = 1024;
const MAX_VARIABLES: u64 = 1 << 16;
const MAX_DIMS: u64 = 8;

/// What is in a file.
pub(crate) struct Contents {
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) ranges: Vec<Range<usize>>,
    /// The kind of model and its revision.
    pub(crate) notes: Vec<(String, String)>,
}

/// Whether a file begins as these do: a version, and the name of a kind of model, such as `WhisperSpec`.
pub(crate) fn is_model(file: &[u8]) -> bool {
    let mut cursor = Cursor::new(file);
    let version = cursor.u32("the version");
    let Ok(kind) = text(&mut cursor, "the kind of model") else {
        return false;
    };
    version.is_ok_and(|v| (1..64).contains(&v))
        && (1..=MAX_KIND).contains(&kind.len())
        && kind.bytes().all(|b| b.is_ascii_alphanumeric())
        && kind.ends_with("Spec")
}

/// Reads where everything is.
pub(crate) fn parse(file: &[u8]) -> Result<Contents, Problem> {
    let mut cursor = Cursor::new(file);
    let version = cursor.u32("the version")?;
    if !VERSIONS.contains(&version) {
        return Err(Problem::unsupported(
            format!("version {version} of CTranslate2's models"),
            "convert the model again with CTranslate2 2.0 or later",
        ));
    }
    let kind = text(&mut cursor, "the kind of model")?;
    let revision = cursor.u32("the revision")?;
    let count = cursor.u32("the number of variables")?;
    Problem::check_limit("the number of variables", count.into(), MAX_VARIABLES)?;
    let mut contents = Contents {
        tensors: Vec::new(),
        ranges: Vec::new(),
        notes: vec![
            ("spec".into(), kind),
            ("revision".into(), revision.to_string()),
        ],
    };
    let mut index = HashMap::new();
    for number in 0..count as usize {
        let (info, range) = variable(&mut cursor)?;
        index.insert(info.name.clone(), number);
        contents.tensors.push(info);
        contents.ranges.push(range);
    }
    let aliases = cursor.u32("the number of aliases")?;
    Problem::check_limit("the number of aliases", aliases.into(), MAX_VARIABLES)?;
    for _ in 0..aliases {
        let name = text(&mut cursor, "an alias")?;
        let meant = text(&mut cursor, "what an alias stands for")?;
        let Some(&number) = index.get(&meant) else {
            return Err(Problem::invalid(
                format!("the alias {}", quote(&name)),
                quote(&meant),
                "the name of a variable",
            ));
        };
        contents.tensors.push(TensorInfo {
            name,
            ..contents.tensors[number].clone()
        });
        contents.ranges.push(contents.ranges[number].clone());
    }
    Ok(contents)
}

/// One variable, and where its bytes are.
fn variable(cursor: &mut Cursor<'_>) -> Result<(TensorInfo, Range<usize>), Problem> {
    let name = text(cursor, "the name of a variable")?;
    let rank = cursor.u8("the number of dimensions")?;
    Problem::check_limit("the number of dimensions", rank.into(), MAX_DIMS)?;
    let shape = (0..rank)
        .map(|_| Ok(cursor.u32("a dimension")? as usize))
        .collect::<Result<Vec<usize>, Problem>>()?;
    let dtype = match cursor.u8("the type of a variable")? {
        0 => DType::F32,
        1 => DType::I8,
        2 => DType::I16,
        3 => DType::I32,
        4 => DType::F16,
        5 => DType::BF16,
        other => {
            return Err(Problem::unsupported(
                format!("type {other} of variable {}", quote(&name)),
                "convert the model to float16 or int8",
            ));
        }
    };
    let bytes = cursor.u32("the size of a variable")?;
    let info = TensorInfo { name, dtype, shape };
    if info.byte_len() != Some(bytes as usize) {
        return Err(Problem::invalid(
            format!("the size of variable {}", quote(&info.name)),
            bytes,
            "that of its shape and type",
        ));
    }
    let start = cursor.pos();
    cursor.take(bytes as usize, "a variable")?;
    Ok((info, start..cursor.pos()))
}

/// A name: its length with the zero behind it, then both.
fn text(cursor: &mut Cursor<'_>, what: &str) -> Result<String, Problem> {
    let length = cursor.u16(what)?;
    Problem::check_limit(format!("the length of {what}"), length.into(), MAX_NAME)?;
    let bytes = cursor.take(length.into(), what)?;
    match bytes
        .split_last()
        .map(|(zero, text)| (zero, std::str::from_utf8(text)))
    {
        Some((0, Ok(text))) => Ok(text.to_owned()),
        _ => Err(Problem::invalid(
            what,
            crate::error::quote_bytes(bytes),
            "text that ends in a zero",
        )),
    }
}
