//! Tunes to train on: files of ABC and MIDI, harmonised, as tokens in any key.

use std::path::Path;

use medley_media::score::Tune;
use medley_media::{MediaError, abc, midi};
use medley_tokenize::notes::{self, NotesError, Traits};

use crate::data::{Side, Split};
use crate::random::{Purpose, below, bits};
use crate::{Error, Result};

/// Most bytes of a file.
const MOST_BYTES: u64 = 32 << 20;

/// Names that are kept of what cannot be used.
const NAMED: usize = 20;

/// Pitches that melodies may be moved to: below the violin's lowest string, above what a whistle plays.
const RANGE: std::ops::RangeInclusive<u8> = 50..=91;

/// A tune with its group: what has one group is on one side of the split.
#[derive(Clone, Debug)]
pub struct Piece {
    /// As the vocabulary has it, with chords.
    pub tune: Tune,
    /// What its heading says.
    pub traits: Traits,
    /// Its title in small letters, so that two versions of a tune are not on both sides.
    pub group: String,
}

impl Piece {
    /// A tune made ready; `Err` says why it cannot be used.
    fn new(tune: &Tune) -> Result<Self, NotesError> {
        let mut tune = notes::canonical(tune);
        medley_music::harmonise(&mut tune);
        let traits = Traits::of(&tune);
        notes::encode(&tune, &traits)?;
        let letters = tune.title.chars().filter(|c| c.is_alphanumeric());
        let group = letters.flat_map(char::to_lowercase).collect();
        Ok(Self {
            tune,
            traits,
            group,
        })
    }

    /// The tokens in the tune's own key.
    pub fn tokens(&self) -> Vec<u32> {
        notes::encode(&self.tune, &self.traits).unwrap_or_default()
    }

    /// The tokens in a key that a draw chooses among those where the melody stays within reach.
    pub fn transposed(&self, seed: u64, epoch: u64, place: u64) -> Vec<u32> {
        let drawn = bits(seed, Purpose::Augment, epoch, place);
        let pitches = || {
            self.tune
                .bars
                .iter()
                .flat_map(|b| &b.events)
                .filter_map(|e| e.pitch)
        };
        let (low, high) = (pitches().min().unwrap_or(60), pitches().max().unwrap_or(60));
        let down = i32::from(*RANGE.start()) - i32::from(low);
        let up = i32::from(*RANGE.end()) - i32::from(high);
        let (down, up) = (down.clamp(-6, 0), up.clamp(0, 5));
        let semitones = down + below((up - down + 1) as u64, drawn) as i32;
        let moved = self.tune.transposed(semitones);
        let tokens = moved.and_then(|tune| notes::encode(&tune, &self.traits).ok());
        tokens.unwrap_or_else(|| self.tokens())
    }
}

/// The tunes of a folder.
#[derive(Clone, Debug, Default)]
pub struct TuneSource {
    /// What can be used, in order of files.
    pub pieces: Vec<Piece>,
    /// Files that were read.
    pub files: usize,
    /// Tunes that cannot be used.
    pub left_out: usize,
    /// The first of them with the reason.
    pub names: Vec<String>,
}

impl TuneSource {
    /// Reads every `.abc`, `.mid` and `.midi` file below a folder, or one file. Of tunes with the same bars one is kept.
    ///
    /// # Errors
    /// [`Error::Text`] where there is nothing to train on.
    pub fn open(path: &Path) -> Result<Self> {
        let mut source = Self::default();
        let mut seen = std::collections::HashSet::new();
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.map_err(|e| Error::Text {
                path: path.to_owned(),
                reason: e.to_string(),
            })?;
            let ending = entry
                .path()
                .extension()
                .and_then(|e| e.to_str())
                .unwrap_or("");
            let ending = ending.to_ascii_lowercase();
            if !entry.file_type().is_file() || !matches!(ending.as_str(), "abc" | "mid" | "midi") {
                continue;
            }
            source.files += 1;
            let read = read(entry.path(), &ending);
            source.take(entry.path(), read, &mut seen);
        }
        if source.pieces.is_empty() {
            return Err(Error::Text {
                path: path.to_owned(),
                reason: "it holds no tunes: .abc and .mid files are read".into(),
            });
        }
        Ok(source)
    }

    fn take(
        &mut self,
        path: &Path,
        tunes: Result<Vec<Result<Tune, MediaError>>, String>,
        seen: &mut std::collections::HashSet<Vec<u32>>,
    ) {
        let tunes = match tunes {
            Ok(tunes) => tunes,
            Err(why) => return self.leave_out(path, &why),
        };
        for tune in tunes {
            let piece = tune
                .map_err(|e| e.to_string())
                .and_then(|t| Piece::new(&t).map_err(|e| format!("{}: {e}", t.title)));
            match piece {
                Ok(piece) => {
                    if seen.insert(piece.tokens()) {
                        self.pieces.push(piece);
                    }
                }
                Err(why) => self.leave_out(path, &why),
            }
        }
    }

    fn leave_out(&mut self, path: &Path, why: &str) {
        self.left_out += 1;
        if self.names.len() < NAMED {
            let name = path.file_name().unwrap_or(path.as_os_str());
            self.names
                .push(format!("{}: {why}", name.to_string_lossy()));
        }
    }

    /// Places of the pieces to train on, and of those that are held out.
    ///
    /// # Errors
    /// [`Error::Data`] for a share beyond 0 to 1.
    pub fn split(&self, held_out: f64) -> Result<(Vec<usize>, Vec<usize>)> {
        let split = Split::new(held_out)?;
        let places = 0..self.pieces.len();
        Ok(places.partition(|&i| split.side(&self.pieces[i].group) == Side::Train))
    }
}

/// The tunes of a file.
fn read(path: &Path, ending: &str) -> Result<Vec<Result<Tune, MediaError>>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MOST_BYTES {
        return Err(format!("it has {size} bytes, more than {MOST_BYTES}"));
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    if ending == "abc" {
        return abc::tunes(&bytes).map_err(|e| e.to_string());
    }
    let score = midi::read(&bytes).map_err(|e| e.to_string())?;
    let mut tune = score.melody().ok_or("it has no melody")?;
    if tune.title.is_empty() {
        tune.title = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
    }
    Ok(vec![Ok(tune)])
}
