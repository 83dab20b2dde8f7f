//! What a file is: a work with its recipe, or a model.

use std::path::Path;

use medley_formats::WeightFile;
use medley_formats::gguf::{Metadata, Value as GgufValue};
use serde_json::{Map, Value, json};

use crate::{EngineError, Result, work_file};

/// Longest list or text of metadata that is shown.
const SHOWN: usize = 200;

/// Describes a file or a model's folder.
///
/// # Errors
/// One line where it cannot be read, is damaged, or is of no known kind.
pub fn file(path: &Path) -> Result<Value> {
    if !path.exists() {
        return Err(EngineError::NoSuchPath {
            path: path.to_owned(),
        });
    }
    if path.is_file()
        && let Some(mark) = work_file::mark(path)?
    {
        return Ok(
            json!({ "path": path, "kind": "text", "made_by": "medley", "recipe": mark.get("recipe"), "digitalSourceType": mark.get("digitalSourceType") }),
        );
    }
    let weights = WeightFile::open(path)?;
    let mut value = json!({
        "path": path,
        "kind": "model",
        "container": weights.kind().name(),
        "tensors": weights.tensors().len(),
        "parameters": weights.parameter_count(),
        "bytes": weights.total_bytes(),
        "type": weights.type_name(),
    });
    if let Some(metadata) = weights.metadata() {
        value["metadata"] = metadata_value(metadata);
    }
    Ok(value)
}

fn metadata_value(metadata: &Metadata) -> Value {
    let shown = metadata.iter().map(|(key, value)| {
        let value = match value {
            GgufValue::Array(array) => json!(format!("[{} entries]", array.len())),
            GgufValue::String(text) if text.len() > SHOWN => {
                json!(format!("[{} characters]", text.chars().count()))
            }
            GgufValue::String(text) => json!(text),
            GgufValue::Bytes(bytes) => json!(format!("[{} bytes]", bytes.len())),
            GgufValue::Bool(flag) => json!(flag),
            GgufValue::F32(number) => json!(number),
            GgufValue::F64(number) => json!(number),
            _ => metadata
                .i64(key)
                .map_or_else(|| json!(metadata.u64(key)), |n| json!(n)),
        };
        (key.to_owned(), value)
    });
    Value::Object(shown.collect::<Map<_, _>>())
}

/// A description as lines for people.
pub fn describe(value: &Value) -> String {
    let mut out = String::new();
    lines(value, "", &mut out);
    out
}

fn lines(value: &Value, prefix: &str, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                lines(value, &name, out);
            }
        }
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                lines(value, &format!("{prefix}[{i}]"), out);
            }
        }
        Value::Null => {}
        Value::String(text) => out.push_str(&format!("{prefix}: {text}\n")),
        other => out.push_str(&format!("{prefix}: {other}\n")),
    }
}
