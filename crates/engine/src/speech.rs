//! Speech: voices by name, files that come out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use medley_media::Origin;
pub use medley_media::audio::{SoundFormat, SoundStream};
use medley_media::{Audio, MediaError};
pub use medley_pipelines::speech::captions::{CaptionFormat, captions};
pub use medley_pipelines::speech::{
    Level, MAX_TEXT, PhonemeTime, Piece, SPEEDS, Speech, SpeechGenerator, names, validate,
};
use medley_types::{Medium, Request, SpeechRequest};
use serde_json::{Value, json};

use crate::store::Store;
use crate::{EngineError, Home, PipelineError, Result};

/// The voices of a model: the usual one, and each other once it is asked for.
pub struct Voices {
    folder: PathBuf,
    usual: Arc<dyn SpeechGenerator>,
    others: Mutex<HashMap<String, Arc<dyn SpeechGenerator>>>,
}

impl Voices {
    /// The voices in a folder.
    ///
    /// # Errors
    /// As [`load`].
    pub fn open(folder: &Path) -> Result<Self, PipelineError> {
        Ok(Self {
            folder: folder.to_owned(),
            usual: load(folder, None)?.into(),
            others: Mutex::default(),
        })
    }

    /// One voice alone.
    pub fn of(voice: Arc<dyn SpeechGenerator>) -> Self {
        Self {
            folder: PathBuf::new(),
            usual: voice,
            others: Mutex::default(),
        }
    }

    /// Their names, the usual one first.
    pub fn names(&self) -> &[String] {
        self.usual.voices()
    }

    /// The voice of this name, or the usual one; may read its files.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] lists the voices there are; otherwise as [`load`].
    pub fn voice(&self, name: Option<&str>) -> Result<Arc<dyn SpeechGenerator>, PipelineError> {
        let usual = self.names().first().map(String::as_str);
        let Some(name) = name.filter(|name| Some(*name) != usual) else {
            return Ok(self.usual.clone());
        };
        if self.names().iter().all(|known| known != name) {
            return Err(PipelineError::InvalidRequest(format!(
                "there is no voice {name:?}; there are: {}",
                self.names().join(", ")
            )));
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(name) {
            return Ok(known.clone());
        }
        let voice: Arc<dyn SpeechGenerator> = load(&self.folder, Some(name))?.into();
        others.insert(name.to_owned(), voice.clone());
        Ok(voice)
    }

    /// Whether none of them speaks.
    pub(crate) fn is_silent(&self) -> bool {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |voice: &Arc<dyn SpeechGenerator>| Arc::strong_count(voice) <= 1;
        silent(&self.usual) && others.values().all(silent)
    }
}

/// Whether the model in a folder speaks.
pub fn speaks(folder: &Path) -> bool {
    let hibari = folder.join(medley_pipelines::speech::hibari::MARK);
    let piper = medley_pipelines::speech::piper::find(folder);
    hibari.is_file() || piper.is_ok_and(|file| file.is_some())
}

/// Longest name that is made of a text.
const NAME_LENGTH: usize = 40;

/// The model whose dictionaries say English for voices that have none.
const ENGLISH: &str = "hibari";

/// The generator of a model in a folder or a file.
///
/// # Errors
/// [`PipelineError`] where it holds no voice that is known, or none of this name.
pub fn load(path: &Path, voice: Option<&str>) -> Result<Box<dyn SpeechGenerator>, PipelineError> {
    let store = Home::from_env().and_then(Store::open);
    let english = store.and_then(|store| store.resolve(ENGLISH));
    let english = english.as_ref().ok().map(|english| english.path.as_path());
    medley_pipelines::speech::load(path, voice, english)
}

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
    let bytes = encoded(&speech.audio, format, recipe.as_deref())?;
    medley_media::write_file(path, &bytes)?;
    Ok(json!({
        "path": path,
        "mime": format.mime(),
        "seconds": speech.audio.seconds(),
        "sample_rate": speech.audio.rate(),
        "channels": speech.audio.channels(),
    }))
}

/// A sound as the bytes of a file, with its mark and, where one is given, its recipe.
///
/// # Errors
/// [`EngineError::Media`].
pub fn encoded(audio: &Audio, format: SoundFormat, recipe: Option<&str>) -> Result<Vec<u8>> {
    Ok(audio.encode(format, Origin::Generated { recipe })?)
}

/// The same words at another sample rate; those of the voice where none is asked for.
///
/// # Errors
/// [`EngineError::Media`] for a rate that no sound has.
pub fn at_rate(speech: Speech, rate: Option<u32>) -> Result<Speech> {
    let Some(rate) = rate else { return Ok(speech) };
    check_rate(rate)?;
    let audio = speech.audio.resampled(rate)?;
    let mut work = speech.work;
    work.sample_rate = rate;
    Ok(Speech { audio, work })
}

/// Refuses a sample rate that files are not written at.
///
/// # Errors
/// [`EngineError::Media`].
pub fn check_rate(rate: u32) -> Result<()> {
    if (RATES.0..=RATES.1).contains(&rate) {
        return Ok(());
    }
    Err(EngineError::Media(MediaError::Size {
        what: "the sample rate",
        got: rate.to_string(),
        allowed: format!("{} to {} samples a second", RATES.0, RATES.1),
    }))
}

/// The least and most samples a second that files are written with.
const RATES: (u32, u32) = (8_000, 192_000);

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
