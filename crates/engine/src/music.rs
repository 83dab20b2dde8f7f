//! Music: files that go in, files that come out.

use std::path::{Path, PathBuf};

use medley_media::audio::{Depth, encode_wav};
use medley_media::score::{ScoreFormat, Tune};
use medley_media::{MediaError, Origin, abc, midi};
pub use medley_pipelines::music::{
    LONGEST_S, Music, MusicGenerator, MusicInputs, MusicModel, complete,
};
use medley_types::{InputFile, Medium, MusicRequest, Request};
use serde_json::{Value, json};

use crate::fetch::sha256_hex;
use crate::image::read_limited;
use crate::store::Store;
use crate::{EngineError, Result};

/// Most bytes of a tune, and of a SoundFont.
const TUNE_BYTES: u64 = 32 << 20;
const FONT_BYTES: u64 = 1 << 30;

/// What music is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Sound.
    Wav,
    /// Notes.
    Score(ScoreFormat),
}

/// Refuses a model of the catalog that makes something else, before it is fetched.
///
/// # Errors
/// [`EngineError::WrongMedium`].
pub fn check_medium(store: &Store, model: &str) -> Result<()> {
    match store.catalog().get(model) {
        Some(entry) if entry.medium != Medium::Music => Err(EngineError::WrongMedium {
            name: model.to_owned(),
            medium: format!("{:?}", entry.medium).to_lowercase(),
            wanted: "music",
        }),
        _ => Ok(()),
    }
}

/// Refuses a file for music before it is made.
///
/// # Errors
/// [`EngineError::Output`] for an ending that music is not written to, [`EngineError::Io`] for a folder that cannot be
/// written to.
pub fn check_output(path: &Path) -> Result<Target> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    let target = match ScoreFormat::of_extension(ending) {
        Some(format) => Target::Score(format),
        None if matches!(ending.to_ascii_lowercase().as_str(), "wav" | "wave") => Target::Wav,
        None => {
            return Err(EngineError::Output {
                path: path.to_owned(),
                reason: "music is written to .wav, .mid or .abc".into(),
            });
        }
    };
    crate::work_file::check_writable(path)?;
    Ok(target)
}

/// The file that a request without one is written to: words of the prompt and the seed.
pub fn default_output(request: &MusicRequest) -> PathBuf {
    let name = crate::image::words_of(&request.prompt).unwrap_or_else(|| "music".into());
    PathBuf::from(format!("{name}-{}.wav", request.seed))
}

/// A tune that is gone on with, with what the recipe keeps of it.
///
/// # Errors
/// [`EngineError::Io`], and [`EngineError::Media`] for what is neither ABC nor MIDI, is damaged, or has no melody.
pub fn read_tune(path: &Path) -> Result<(Tune, InputFile)> {
    let bytes = read_limited(path, TUNE_BYTES)?;
    let tune = if bytes.starts_with(b"MThd") {
        midi::read(&bytes).and_then(|score| {
            score.melody().ok_or(MediaError::Notation {
                kind: "MIDI",
                reason: "it has no melody: all its notes are drums".into(),
            })
        })
    } else {
        abc::read(&bytes)
    };
    let tune = tune.map_err(|source| MediaError::InFile {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let file = InputFile {
        sha256: sha256_hex(&bytes),
    };
    Ok((tune, file))
}

/// A SoundFont, with what the recipe keeps of it.
///
/// # Errors
/// [`EngineError::Io`], and [`EngineError::Output`] for what is none.
pub fn read_soundfont(path: &Path) -> Result<(Vec<u8>, InputFile)> {
    let bytes = read_limited(path, FONT_BYTES)?;
    if !(bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"sfbk")) {
        return Err(EngineError::Output {
            path: path.to_owned(),
            reason: "it is no SoundFont (.sf2)".into(),
        });
    }
    let file = InputFile {
        sha256: sha256_hex(&bytes),
    };
    Ok((bytes, file))
}

/// Writes what a completed request gave, whole or not at all, and describes the file.
///
/// # Errors
/// [`EngineError::Media`], [`EngineError::Io`].
pub fn write(
    path: &Path,
    request: &MusicRequest,
    music: &Music,
    with_recipe: bool,
) -> Result<Value> {
    let recipe = with_recipe.then(|| json!(Request::Music(request.clone())).to_string());
    let origin = Origin::Generated {
        recipe: recipe.as_deref(),
    };
    let (bytes, mime) = match check_output(path)? {
        Target::Score(format @ ScoreFormat::Abc) => {
            (abc::write(&music.tune, origin), format.mime())
        }
        Target::Score(format @ ScoreFormat::Midi) => {
            (midi::write(&music.score, origin)?, format.mime())
        }
        Target::Wav => {
            let sound = music.sound.as_ref().ok_or_else(|| EngineError::Output {
                path: path.to_owned(),
                reason: "no sound was made".into(),
            })?;
            (encode_wav(sound, Depth::Int16, origin)?, "audio/wav")
        }
    };
    medley_media::write_file(path, &bytes)?;
    Ok(json!({ "path": path, "mime": mime, "seconds": music.work.seconds }))
}
