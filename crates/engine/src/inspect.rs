//! What a file is: a work with its recipe, or a model.

use std::path::Path;

use medley_formats::WeightFile;
use medley_formats::gguf::{Metadata, Value as GgufValue};
use medley_media::audio::{SoundFormat, SoundLimits};
use medley_media::score::ScoreFormat;
use medley_media::{Format, Label, Limits, MediaError};
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
        && let Some(bytes) = work_file::media_bytes(path)?
    {
        return match Format::of_bytes(&bytes) {
            Some(_) => picture(path, &bytes),
            None => music(path, &bytes),
        };
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
    // Of folders without one of ours nothing more is known.
    if let Ok(config) = crate::image::read_config(path) {
        value["medium"] = json!("image");
        value["architecture"] = json!(config.architecture);
        value["config"] = json!(config);
    }
    Ok(value)
}

/// Format, size, frames, and what is written inside.
fn picture(path: &Path, bytes: &[u8]) -> Result<Value> {
    let limits = Limits::default();
    let frames =
        medley_media::decode_frames(bytes, &limits).map_err(|source| MediaError::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
    let mut value = json!({ "path": path, "kind": "picture" });
    if let Some(format) = Format::of_bytes(bytes) {
        value["format"] = json!(format.to_string());
        value["mime"] = json!(format.mime());
    }
    if let Some(first) = frames.first() {
        value["width"] = json!(first.picture.width());
        value["height"] = json!(first.picture.height());
    }
    if frames.len() > 1 {
        value["frames"] = json!(frames.len());
        let seconds: f64 = frames.iter().map(|frame| frame.delay.as_secs_f64()).sum();
        value["seconds"] = json!(seconds);
    }
    say_origin(&mut value, bytes);
    Ok(value)
}

/// Format, length, and what is written inside.
fn music(path: &Path, bytes: &[u8]) -> Result<Value> {
    let in_file = |source| MediaError::InFile {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let mut value = json!({ "path": path, "kind": "sound" });
    let score = match ScoreFormat::of_bytes(bytes) {
        Some(format) => {
            (value["kind"], value["mime"]) = (json!("music"), json!(format.mime()));
            match format {
                ScoreFormat::Midi => medley_media::midi::read(bytes),
                ScoreFormat::Abc => medley_media::abc::read(bytes).map(|tune| tune.play()),
            }
            .map_err(in_file)?
        }
        None => {
            let sound = medley_media::audio::decode(bytes.to_vec(), SoundLimits::default());
            let sound = sound.map_err(in_file)?;
            value["mime"] = json!(SoundFormat::of_bytes(bytes).map(SoundFormat::mime));
            value["seconds"] = json!(sound.seconds());
            value["sample_rate"] = json!(sound.rate());
            value["channels"] = json!(sound.channels());
            say_origin(&mut value, bytes);
            return Ok(value);
        }
    };
    value["title"] = json!(score.title);
    value["seconds"] = json!(score.seconds());
    value["key"] = json!(score.key.map(|k| k.to_string()));
    value["metre"] = json!(score.metre.to_string());
    value["tracks"] = json!(score.tracks.len());
    value["notes"] = json!(score.tracks.iter().map(|t| t.notes.len()).sum::<usize>());
    say_origin(&mut value, bytes);
    Ok(value)
}

/// Size, mark and recipe of a file.
fn say_origin(value: &mut Value, bytes: &[u8]) {
    let label = Label::of(bytes);
    value["bytes"] = json!(bytes.len());
    if label.synthetic {
        value["digitalSourceType"] = json!(work_file::SYNTHETIC);
    }
    if let Some(recipe) = label.recipe {
        value["made_by"] = json!("medley");
        // A recipe that is no JSON is shown as it stands.
        value["recipe"] = serde_json::from_str(&recipe).unwrap_or_else(|_| json!(recipe));
    }
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
