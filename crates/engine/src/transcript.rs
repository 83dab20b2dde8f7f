//! Speech to text: models by name, sounds that are heard, files that come out.

use std::path::Path;

use medley_media::audio::{self, Audio, MEL_RATE, SoundLimits};
pub use medley_pipelines::transcript::write::{TranscriptFormat, written};
pub use medley_pipelines::transcript::{Listener, MAX_PROMPT, load, validate};
pub use medley_tokenize::whisper::LANGUAGES;
use medley_types::Transcript;
use serde_json::{Value, json};

use crate::store::Store;
use crate::{EngineError, Result};

/// The architecture of the models that listen.
const ARCHITECTURE: &str = "whisper";

/// Refuses a model of the catalog that does not listen, before it is fetched.
///
/// # Errors
/// [`EngineError::WrongMedium`].
pub fn check_model(store: &Store, model: &str) -> Result<()> {
    match store.catalog().get(model) {
        Some(entry) if entry.architecture != ARCHITECTURE => Err(EngineError::WrongMedium {
            name: model.to_owned(),
            medium: format!("{:?}", entry.medium).to_lowercase(),
            wanted: "transcripts",
        }),
        _ => Ok(()),
    }
}

/// Whether the model at a folder or file is one that listens.
pub fn listens(path: &Path) -> bool {
    let config = if path.is_dir() {
        path.join("config.json")
    } else {
        path.to_owned()
    };
    let is_ggml = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("ggml-") && name.ends_with(".bin") && path.is_file()
    };
    let mut inside = std::fs::read_dir(path).into_iter().flatten().flatten();
    if is_ggml(path) || inside.any(|entry| is_ggml(&entry.path())) {
        return true;
    }
    let is_config = config.extension().is_some_and(|e| e == "json");
    let text = is_config
        .then(|| std::fs::read_to_string(&config).ok())
        .flatten();
    let said: Option<Value> = text.and_then(|text| serde_json::from_str(&text).ok());
    // CTranslate2 writes no kind of model, but the heads that times of words come from.
    said.is_some_and(|c| {
        c["model_type"] == ARCHITECTURE
            || !c["alignment_heads"].is_null() && !c["lang_ids"].is_null()
    })
}

/// The samples of a sound file as models hear them: one channel, 16000 a second.
///
/// # Errors
/// [`EngineError::Media`].
pub fn read_sound(path: &Path) -> Result<Vec<f32>> {
    heard(audio::read(path, SoundLimits::default())?)
}

/// The same of the bytes of a file.
///
/// # Errors
/// [`EngineError::Media`].
pub fn decode_sound(bytes: Vec<u8>) -> Result<Vec<f32>> {
    heard(audio::decode(bytes, SoundLimits::default())?)
}

fn heard(sound: Audio) -> Result<Vec<f32>> {
    Ok(sound.to_mono().resampled(MEL_RATE)?.into_samples())
}

/// The form of a transcript's file.
///
/// # Errors
/// [`EngineError::Output`] for an ending that stands for none, [`EngineError::Io`].
pub fn check_output(path: &Path) -> Result<TranscriptFormat> {
    let ending = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    let format = TranscriptFormat::from_name(ending).ok_or_else(|| EngineError::Output {
        path: path.to_owned(),
        reason: "transcripts are written to .txt, .json, .srt, .vtt or .tsv".into(),
    })?;
    crate::work_file::check_writable(path)?;
    Ok(format)
}

/// Writes a transcript, whole or not at all, and describes the file.
///
/// # Errors
/// [`EngineError::Media`].
pub fn write(path: &Path, transcript: &Transcript, format: TranscriptFormat) -> Result<Value> {
    medley_media::write_file(path, written(transcript, format).as_bytes())?;
    Ok(json!({ "path": path, "mime": mime(format) }))
}

/// MIME type of a form.
pub fn mime(format: TranscriptFormat) -> &'static str {
    match format {
        TranscriptFormat::Text => "text/plain",
        TranscriptFormat::Json => "application/json",
        TranscriptFormat::Srt => "application/x-subrip",
        TranscriptFormat::Vtt => "text/vtt",
        TranscriptFormat::Tsv => "text/tab-separated-values",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_whisper_cpp_listens_in_its_folder_too() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!listens(folder.path()));
        let file = folder.path().join("ggml-tiny.bin");
        std::fs::write(&file, b"ggml").unwrap();
        assert!(listens(&file) && listens(folder.path()));
    }
}
