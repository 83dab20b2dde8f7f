//! What a file is: a work with its recipe, or a model.

use std::path::Path;
use std::time::Duration;

use medley_formats::WeightFile;
use medley_formats::gguf::{Metadata, Value as GgufValue};
use medley_media::audio::{SoundFormat, SoundLimits};
use medley_media::film::{FilmFormat, FilmInfo};
use medley_media::score::ScoreFormat;
use medley_media::{Format, Frame, Label, Limits, MediaError};
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
        && let Some(info) = FilmInfo::read(path)?
    {
        return film(path, info);
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

/// Numbers in the weights of a model's file or folder.
///
/// # Errors
/// One line where it cannot be read, is damaged, or is of no known kind.
pub fn parameters(path: &Path) -> Result<u64> {
    Ok(WeightFile::open(path)?.parameter_count())
}

/// Size, length, codecs, and what is written inside.
fn film(path: &Path, info: FilmInfo) -> Result<Value> {
    let bytes = std::fs::metadata(path).map_err(EngineError::io("read", path))?;
    let mut value = json!({
        "path": path,
        "kind": "video",
        "mime": FilmFormat::Mp4.mime(),
        "width": info.width,
        "height": info.height,
        "frames": info.frames,
        "rate": info.rate.per_second(),
        "seconds": info.seconds,
        "pictures": info.pictures,
        "sound": info.sound,
    });
    say_origin(&mut value, bytes.len(), info.label);
    Ok(value)
}

/// Format, size, frames, and what is written inside.
fn picture(path: &Path, bytes: &[u8]) -> Result<Value> {
    let limits = Limits::default();
    let frames = match medley_media::decode_frames(bytes, &limits) {
        // Of a long animation the first frame says enough.
        Err(MediaError::TooLarge { .. }) => medley_media::decode(bytes, &limits).map(|picture| {
            vec![Frame {
                picture,
                delay: Duration::ZERO,
            }]
        }),
        frames => frames,
    };
    let frames = frames.map_err(|source| MediaError::InFile {
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
    say_origin(&mut value, bytes.len() as u64, Label::of(bytes));
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
            say_origin(&mut value, bytes.len() as u64, Label::of(bytes));
            return Ok(value);
        }
    };
    value["title"] = json!(score.title);
    value["seconds"] = json!(score.seconds());
    value["key"] = json!(score.key.map(|k| k.to_string()));
    value["metre"] = json!(score.metre.to_string());
    value["tracks"] = json!(score.tracks.len());
    value["notes"] = json!(score.tracks.iter().map(|t| t.notes.len()).sum::<usize>());
    say_origin(&mut value, bytes.len() as u64, Label::of(bytes));
    Ok(value)
}

/// Size, mark and recipe of a file.
fn say_origin(value: &mut Value, bytes: u64, label: Label) {
    value["bytes"] = json!(bytes);
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

#[cfg(test)]
mod tests {
    use medley_media::film::{Clip, FilmOptions, Rate, write_clip};
    use medley_media::{Origin, Picture};

    use super::*;

    #[test]
    fn clips_say_what_they_are_and_how_they_were_made() {
        let folder = tempfile::tempdir().unwrap();
        let frame = |level| Picture::filled(32, 16, [level; 3]).unwrap();
        let rate = Rate::new(10, 1).unwrap();
        let clip = Clip::new((0..4).map(|i| frame(60 * i)).collect(), rate, None).unwrap();
        let origin = Origin::Generated {
            recipe: Some(r#"{"prompt": "grey"}"#),
        };
        for (name, kind) in [
            ("clip.mp4", "video"),
            ("clip.gif", "picture"),
            ("clip.webp", "picture"),
            ("clip.png", "picture"),
        ] {
            let path = folder.path().join(name);
            let format = FilmFormat::from_path(&path).unwrap();
            write_clip(&path, &clip, format, FilmOptions::QUALITY, origin).unwrap();
            let said = file(&path).unwrap();
            assert_eq!(said["kind"], kind, "{said}");
            assert_eq!(
                (&said["width"], &said["height"], &said["frames"]),
                (&json!(32), &json!(16), &json!(4)),
                "{said}"
            );
            assert_eq!(said["recipe"]["prompt"], "grey", "{said}");
            assert_eq!(said["digitalSourceType"], work_file::SYNTHETIC);
            assert!(
                (said["seconds"].as_f64().unwrap() - 0.4).abs() < 1e-6,
                "{said}"
            );
        }
    }

    #[test]
    fn long_animations_are_described_by_their_first_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.gif");
        let frames = vec![Picture::filled(2, 2, [9; 3]).unwrap(); Limits::default().frames + 1];
        let clip = Clip::new(frames, Rate::new(50, 1).unwrap(), None).unwrap();
        let origin = Origin::Generated { recipe: None };
        write_clip(&path, &clip, FilmFormat::Gif, 80, origin).unwrap();
        let said = file(&path).unwrap();
        assert_eq!((&said["width"], &said["frames"]), (&json!(2), &Value::Null));
        assert_eq!(said["digitalSourceType"], work_file::SYNTHETIC);
    }
}
