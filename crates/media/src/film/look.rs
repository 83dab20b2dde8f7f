//! What an MP4 file is, out of its head alone: also of films whose pictures are not read here.

use std::fs::File;
use std::path::Path;

use super::mp4::Movie;
use super::rate::Rate;
use super::read::{Times, film_limits, rate_of};
use crate::error::MediaError;
use crate::label::Label;

/// What the head of a film says.
#[derive(Clone, Debug, PartialEq)]
pub struct FilmInfo {
    /// Width in pixels, as it is shown.
    pub width: u32,
    /// Height in pixels, as it is shown.
    pub height: u32,
    /// Coded frames.
    pub frames: usize,
    /// Frames a second; the mean where they are shown unevenly.
    pub rate: Rate,
    /// How long the pictures last.
    pub seconds: f64,
    /// How the pictures are coded: `H.264`, or four letters.
    pub pictures: String,
    /// How the sound is coded: `AAC`, or four letters.
    pub sound: Option<String>,
    /// What it says of its making.
    pub label: Label,
}

impl FilmInfo {
    /// Reads the head of an MP4 file; none of a file that is no MP4.
    ///
    /// # Errors
    /// [`MediaError::Io`], or [`MediaError::InFile`] around [`MediaError::DamagedFilm`], [`MediaError::FilmUnsupported`],
    /// [`MediaError::TooLarge`].
    pub fn read(path: &Path) -> Result<Option<Self>, MediaError> {
        let Some(label) = Label::of_mp4(path)? else {
            return Ok(None);
        };
        let mut file = File::open(path).map_err(|e| MediaError::io(path, "read", e))?;
        let said = Movie::read(&mut file, &film_limits()).and_then(|movie| Self::of(movie, label));
        said.map(Some).map_err(|e| e.in_file(path))
    }

    fn of(movie: Movie, label: Label) -> Result<Self, MediaError> {
        let track = &movie.pictures;
        let times = Times::of(track, movie.sound.is_some())?;
        let (width, height) = track.turn.size((movie.size.0.into(), movie.size.1.into()));
        let named = |coded: Result<Vec<u8>, String>, ours: &str| match coded {
            Ok(_) => ours.to_owned(),
            Err(letters) => letters,
        };
        Ok(Self {
            width,
            height,
            frames: track.samples.len(),
            rate: rate_of(track)?,
            seconds: times.end + times.delay,
            pictures: named(movie.config, "H.264"),
            sound: movie.sound.map(|sound| named(sound.config, "AAC")),
            label,
        })
    }
}
