//! Music: files that go in, files that come out.

use std::path::{Path, PathBuf};

pub use medley_media::audio::SoundFormat;
pub use medley_media::score::ScoreFormat;
use medley_media::score::Tune;
use medley_media::{MediaError, Origin, abc, midi};
pub use medley_pipelines::music::{
    Choice, LONGEST_S, Music, MusicGenerator, MusicInputs, MusicModel, complete,
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
    Sound(SoundFormat),
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
        None => match SoundFormat::from_path(path) {
            Ok(format) => Target::Sound(format),
            Err(_) => {
                return Err(EngineError::Output {
                    path: path.to_owned(),
                    reason: "music is written to .wav, .flac, .opus, .mp3, .mid or .abc".into(),
                });
            }
        },
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
    let target = check_output(path)?;
    let bytes = encoded(music, target, recipe.as_deref())?;
    medley_media::write_file(path, &bytes)?;
    Ok(json!({ "path": path, "mime": target.mime(), "seconds": music.work.seconds }))
}

impl Target {
    /// Its MIME type.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Sound(format) => format.mime(),
            Self::Score(format) => format.mime(),
        }
    }
}

/// Music as the bytes of a file, with its mark and, where one is given, its recipe.
///
/// # Errors
/// [`EngineError::Media`], [`EngineError::BadRequest`] for sound where none was made.
pub fn encoded(music: &Music, target: Target, recipe: Option<&str>) -> Result<Vec<u8>> {
    let origin = Origin::Generated { recipe };
    Ok(match target {
        Target::Score(ScoreFormat::Abc) => abc::write(&music.tune, origin),
        Target::Score(ScoreFormat::Midi) => midi::write(&music.score, origin)?,
        Target::Sound(format) => {
            let sound = music
                .sound
                .as_ref()
                .ok_or_else(|| EngineError::BadRequest {
                    field: "format".into(),
                    reason: "no sound was made".into(),
                })?;
            sound.encode(format, origin)?
        }
    })
}

/// A note as it is heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlayedNote {
    /// Its beginning in seconds.
    pub start: f64,
    /// Its end in seconds.
    pub end: f64,
    /// Pitch as in MIDI; of drums the instrument.
    pub pitch: u8,
    /// How hard it is struck, 1 to 127.
    pub velocity: u8,
    /// Which note of the written melody it is, of those that have a pitch.
    pub written: Option<usize>,
}

/// The notes of an instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct PlayedTrack {
    /// Its name.
    pub name: String,
    /// Whether they are drums.
    pub drums: bool,
    /// The notes, in order.
    pub notes: Vec<PlayedNote>,
}

/// Notes that are looked over for the one that is played, as ornaments and ties have no note of their own.
const AHEAD: usize = 4;

/// All that is played, at its times; of the melody, the first of the tracks, each note with the one that was written.
pub fn played(music: &Music) -> Vec<PlayedTrack> {
    let mut numbers = Vec::new();
    let mut count = 0;
    for bar in &music.tune.bars {
        let pitched = bar.events.iter().filter_map(|event| event.pitch);
        let bar: Vec<(usize, u8)> = pitched.enumerate().map(|(i, p)| (count + i, p)).collect();
        count += bar.len();
        numbers.push(bar);
    }
    let order = music.tune.order();
    let heard: Vec<(usize, u8)> = order.iter().flat_map(|&bar| numbers[bar].clone()).collect();
    let mut at = 0;
    let mut written = |pitch: u8| {
        let next = (at..at + AHEAD).find(|i| {
            heard
                .get(i % heard.len().max(1))
                .is_some_and(|n| n.1 == pitch)
        })?;
        at = next + 1;
        Some(heard[next % heard.len()].0)
    };
    let mut track = |(number, track): (usize, &medley_media::score::Track)| {
        let note = |note: &medley_media::score::Note| PlayedNote {
            start: music.score.seconds_at(note.start),
            end: music
                .score
                .seconds_at(note.start.saturating_add(note.length)),
            pitch: note.pitch,
            velocity: note.velocity,
            written: if number == 0 {
                written(note.pitch)
            } else {
                None
            },
        };
        PlayedTrack {
            name: track.name.clone(),
            drums: track.drums,
            notes: track.notes.iter().map(note).collect(),
        }
    };
    let tracks = music.score.tracks.iter().enumerate();
    tracks.map(&mut track).collect()
}

/// Whether the model in a folder makes music.
pub fn plays(folder: &Path) -> bool {
    let text = std::fs::read_to_string(folder.join("config.json"));
    let config = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    config.is_some_and(|config: Value| config["vocabulary"] == medley_tokenize::notes::VOCABULARY)
}
