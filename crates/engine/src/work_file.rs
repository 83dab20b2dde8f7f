//! Files that works are written to, and the recipes inside them.
//!
//! Texts go to `.txt` (the text alone), `.md` (recipe and mark in a comment at the end) or `.json`.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use medley_media::audio::SoundFormat;
use medley_media::score::ScoreFormat;
use medley_media::{Format, Label};
use medley_types::{Request, TextWork};
use serde_json::{Value, json};

use crate::{EngineError, Result};

/// IPTC's term for what a model has made.
pub const SYNTHETIC: &str =
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

const COMMENT: &str = "<!-- medley ";

/// What stands before the recipe of a page.
pub(crate) const SCRIPT: &str = "<script type=\"application/json\" id=\"medley-recipe\">";

/// Writes a file whole or not at all: to a temporary name in the same folder, then renamed.
///
/// # Errors
/// [`EngineError::Io`] where the folder is missing or cannot be written to.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let partial = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = fs::File::create(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&partial, path));
    renamed.map_err(|error| {
        let _ = fs::remove_file(&partial);
        EngineError::io("write", path)(error)
    })
}

/// Refuses a file for a text before the text is made.
///
/// # Errors
/// [`EngineError::Output`] for an extension that texts are not written to or a folder that cannot take the file.
pub fn check_text_output(path: &Path) -> Result<()> {
    let refuse = |reason: &str| EngineError::Output {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    match path.extension().and_then(|e| e.to_str()) {
        Some("txt" | "md" | "json") => {}
        _ => return Err(refuse("texts are written to .txt, .md or .json")),
    }
    check_writable(path)
}

/// Refuses a file that cannot be written before its work is made.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(EngineError::Output {
            path: path.to_owned(),
            reason: "it is a folder".to_owned(),
        });
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let probe = folder.join(format!(".medley-{}.tmp", std::process::id()));
    fs::File::create(&probe).map_err(EngineError::io("write", path))?;
    let _ = fs::remove_file(&probe);
    Ok(())
}

/// Mark and recipe as the comment at the end of a Markdown file, with an empty line before it.
pub(crate) fn comment(recipe: Option<&Request>) -> String {
    let mut mark = json!({ "digitalSourceType": SYNTHETIC });
    if let Some(recipe) = recipe {
        mark["recipe"] = json!(recipe);
    }
    // `--` would end the comment; JSON can spell it otherwise.
    let mark = mark.to_string().replace("--", "-\\u002d");
    format!("\n{COMMENT}{mark} -->\n")
}

/// Writes a text, with its recipe where one is given, and describes the file.
///
/// # Errors
/// [`EngineError::Io`] where the file cannot be written.
pub fn write_text(path: &Path, work: &TextWork, recipe: Option<&Request>) -> Result<Value> {
    let mut mark = json!({ "digitalSourceType": SYNTHETIC });
    if let Some(recipe) = recipe {
        mark["recipe"] = json!(recipe);
    }
    let (mime, text) = match path.extension().and_then(|e| e.to_str()) {
        Some("json") => {
            mark["text"] = json!(work.text);
            mark["finish_reason"] = json!(work.finish_reason);
            ("application/json", format!("{mark:#}\n"))
        }
        Some("md") => (
            "text/markdown",
            format!("{}\n{}", work.text, comment(recipe)),
        ),
        _ => ("text/plain", format!("{}\n", work.text)),
    };
    write(path, text.as_bytes())?;
    Ok(json!({ "path": path, "mime": mime }))
}

/// Largest file that is looked into.
const LIMIT: u64 = 256 << 20;

/// The bytes of a picture, a sound or written music; none where a file is something else.
pub(crate) fn media_bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    let io = || EngineError::io("read", path);
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(io())?;
    file.take(16).read_to_end(&mut head).map_err(io())?;
    let sounds = SoundFormat::of_bytes(&head).is_some() || ScoreFormat::of_bytes(&head).is_some();
    if Format::of_bytes(&head).is_none() && !sounds {
        return Ok(None);
    }
    crate::image::read_limited(path, LIMIT).map(Some)
}

/// What a file of media says about its making; none where a file is something else.
fn media_label(path: &Path) -> Result<Option<Label>> {
    if let Some(label) = Label::of_mp4(path)? {
        return Ok(Some(label));
    }
    Ok(media_bytes(path)?.map(|bytes| Label::of(&bytes)))
}

/// What medley wrote into a file besides the work: mark and recipe.
pub(crate) fn mark(path: &Path) -> Result<Option<Value>> {
    const LIMIT: u64 = 64 << 20;
    let size = fs::metadata(path)
        .map_err(EngineError::io("read", path))?
        .len();
    if size > LIMIT {
        return Ok(None);
    }
    let bytes = fs::read(path).map_err(EngineError::io("read", path))?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(None);
    };
    if let Some(at) = text.rfind(SCRIPT) {
        let inside = text[at + SCRIPT.len()..].split("</script>").next();
        let recipe: Option<Value> = inside.and_then(|text| serde_json::from_str(text).ok());
        return Ok(recipe.map(|recipe| json!({ "recipe": recipe, "digitalSourceType": SYNTHETIC })));
    }
    let inside = match text.rfind(COMMENT) {
        Some(at) => text[at + COMMENT.len()..]
            .trim_end()
            .strip_suffix("-->")
            .map(str::to_owned),
        None => Some(text),
    };
    let value: Option<Value> = inside.and_then(|t| serde_json::from_str(&t).ok());
    Ok(value.filter(|v| v.get("digitalSourceType").is_some() || v.get("recipe").is_some()))
}

/// The recipe inside a file.
///
/// # Errors
/// [`EngineError::Output`] for a file that holds none.
pub fn recipe(path: &Path) -> Result<Request> {
    if let Some(label) = media_label(path)? {
        let reason = match label.synthetic {
            true => "its recipe was left out when it was written",
            false => "it holds no recipe",
        };
        let recipe = label.recipe.ok_or_else(|| EngineError::Output {
            path: path.to_owned(),
            reason: reason.to_owned(),
        })?;
        return serde_json::from_str(&recipe).map_err(|e| EngineError::Output {
            path: path.to_owned(),
            reason: format!("its recipe cannot be read: {e}"),
        });
    }
    let none = |reason: String| EngineError::Output {
        path: path.to_owned(),
        reason,
    };
    let mark = mark(path)?.ok_or_else(|| none("it holds no recipe".into()))?;
    let recipe = mark
        .get("recipe")
        .ok_or_else(|| none("its recipe was left out when it was written".into()))?;
    serde_json::from_value(recipe.clone())
        .map_err(|e| none(format!("its recipe cannot be read: {e}")))
}
