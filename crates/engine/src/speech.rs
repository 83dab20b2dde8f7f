//! Speech: voices by name, files that come out.

use std::path::{Path, PathBuf};

use medley_media::Origin;
use medley_media::audio::{Depth, SoundFormat, encode_wav};
pub use medley_pipelines::speech::captions::{CaptionFormat, captions};
pub use medley_pipelines::speech::{
    MAX_TEXT, Piece, SPEEDS, Speech, SpeechGenerator, load, validate,
};
use medley_types::{Medium, Request, SpeechRequest};
use serde_json::{Value, json};

use crate::store::Store;
use crate::{EngineError, Result};

/// Longest name that is made of a text.
const NAME_LENGTH: usize = 40;

/// Refuses a model of the catalog that makes something else, before it is fetched.
///
/// # Errors
/// [`EngineError::WrongMedium`].
pub fn check_medium(store: &Store, model: &str) -> Result<()> {
    match store.catalog().get(model) {
        Some(entry) if entry.medium != Medium::Speech => Err(EngineError::WrongMedium {
            name: model.to_owned(),
            medium: format!("{:?}", entry.medium).to_lowercase(),
            wanted: "speech",
        }),
        _ => Ok(()),
    }
}

/// Refuses a file for a sound before it is made.
///
/// # Errors
/// [`EngineError::Media`] for an ending that stands for no sound, [`EngineError::Output`], [`EngineError::Io`].
pub fn check_output(path: &Path) -> Result<SoundFormat> {
    let format = SoundFormat::from_path(path)?;
    crate::work_file::check_writable(path)?;
    Ok(format)
}

/// Refuses a file for captions before they are made.
///
/// # Errors
/// [`EngineError::Output`] for an ending that stands for none, [`EngineError::Io`].
pub fn check_captions(path: &Path) -> Result<CaptionFormat> {
    let format = CaptionFormat::from_path(path).ok_or_else(|| EngineError::Output {
        path: path.to_owned(),
        reason: "captions are written to .srt or .vtt".into(),
    })?;
    crate::work_file::check_writable(path)?;
    Ok(format)
}

/// The file that a request without one is written to: the first words of the text.
pub fn default_output(request: &SpeechRequest) -> PathBuf {
    let mut name = String::new();
    for word in request.text.split(|c: char| !c.is_alphanumeric()) {
        if word.is_empty() {
            continue;
        }
        if name.chars().count() + word.chars().count() >= NAME_LENGTH {
            break;
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(&word.to_lowercase());
    }
    if name.is_empty() {
        name.push_str("speech");
    }
    PathBuf::from(format!("{name}.wav"))
}

/// Writes what a completed request gave, whole or not at all, with its mark and, where asked for, its recipe; describes
/// the file.
///
/// # Errors
/// [`EngineError::Media`].
pub fn write(
    path: &Path,
    request: &SpeechRequest,
    speech: &Speech,
    with_recipe: bool,
) -> Result<Value> {
    let format = SoundFormat::from_path(path)?;
    let recipe = with_recipe.then(|| json!(Request::Speech(request.clone())).to_string());
    let origin = Origin::Generated {
        recipe: recipe.as_deref(),
    };
    let bytes = encode_wav(&speech.audio, Depth::Int16, origin)?;
    medley_media::write_file(path, &bytes)?;
    Ok(json!({
        "path": path,
        "mime": format.mime(),
        "seconds": speech.audio.seconds(),
        "sample_rate": speech.audio.rate(),
        "channels": speech.audio.channels(),
    }))
}

/// Writes captions and describes the file.
///
/// # Errors
/// [`EngineError::Output`], [`EngineError::Media`].
pub fn write_captions(path: &Path, speech: &Speech) -> Result<Value> {
    let format = check_captions(path)?;
    let mime = match format {
        CaptionFormat::Srt => "application/x-subrip",
        CaptionFormat::Vtt => "text/vtt",
    };
    let text = captions(&speech.work.words, format);
    medley_media::write_file(path, text.as_bytes())?;
    Ok(json!({ "path": path, "mime": mime }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_the_text() {
        for (text, name) in [
            ("Hello there!", "hello-there.wav"),
            ("../etc", "etc.wav"),
            ("…", "speech.wav"),
            (
                &"word ".repeat(50),
                "word-word-word-word-word-word-word-word.wav",
            ),
        ] {
            let request = SpeechRequest {
                text: text.into(),
                ..SpeechRequest::default()
            };
            assert_eq!(default_output(&request), Path::new(name));
        }
    }
}
