//! What can be wrong with a picture or a sound, each in one line that says what would be right.

use std::path::{Path, PathBuf};

use crate::format::Format;

/// Why a picture or a sound could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "read", "create" …
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something is wrong with a file's contents.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<MediaError>,
    },
    /// The first bytes are those of no format that is read.
    #[error("this is no PNG, JPEG, WebP or GIF picture")]
    UnknownFormat,
    /// A file name whose ending stands for no format that is written.
    #[error("{name:?} ends in no picture format; use .png, .jpg, .webp or .gif")]
    UnknownExtension {
        /// The name that was given.
        name: String,
    },
    /// The contents are damaged or hostile.
    #[error("the {format} picture is damaged: {reason}")]
    Damaged {
        /// The format it claims to be.
        format: Format,
        /// What the decoder stumbled over.
        reason: String,
    },
    /// More pixels, frames or bytes than the limits allow.
    #[error("the picture has {got}, but at most {allowed} are read")]
    TooLarge {
        /// What it has, with its unit.
        got: String,
        /// What is allowed, with its unit.
        allowed: String,
    },
    /// A width, height, cell or region that cannot be.
    #[error("{what} is {got}, but it must be {allowed}")]
    Size {
        /// What was given.
        what: &'static str,
        /// Its value.
        got: String,
        /// What would be right.
        allowed: String,
    },
    /// A value that no pixel can have: the model's output is broken.
    #[error("value {index} of the picture is {value}: it must be finite")]
    NotFinite {
        /// Where.
        index: usize,
        /// `NaN`, `inf` or `-inf`.
        value: String,
    },
    /// This format cannot hold the picture.
    #[error("the picture cannot be written as {format}: {reason}")]
    Encode {
        /// The format.
        format: Format,
        /// Why not.
        reason: String,
    },
    /// The bytes are those of no sound format that is read.
    #[error("this is no sound that can be read: use WAV, FLAC, MP3, Ogg (Vorbis or Opus) or AAC")]
    UnknownSound,
    /// A file name whose ending stands for no sound format that is written.
    #[error("{name:?} ends in no sound format that is written; use .wav, .flac, .opus or .mp3")]
    UnknownSoundExtension {
        /// The name that was given.
        name: String,
    },
    /// A sound file's contents are damaged or hostile.
    #[error("the sound is damaged: {reason}")]
    DamagedSound {
        /// What the decoder stumbled over.
        reason: String,
    },
    /// A sample that no loudspeaker can play: the model's output is broken.
    #[error("sample {index} of the sound is {value}: it must be finite")]
    SampleNotFinite {
        /// Where, counted over all channels.
        index: usize,
        /// `NaN`, `inf` or `-inf`.
        value: String,
    },
    /// An encoder that gave up.
    #[error("the sound cannot be written as {format}: {reason}")]
    EncodeSound {
        /// `FLAC`, `Opus` or `MP3`.
        format: &'static str,
        /// Why not.
        reason: String,
    },
    /// Written music that cannot be read or written.
    #[error("the {kind} file cannot be used: {reason}")]
    Notation {
        /// `ABC` or `MIDI`.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes are those of no film that is read.
    #[error(
        "this is no film that can be read: use MP4 (H.264), GIF, animated WebP or PNG, or a folder of pictures"
    )]
    UnknownFilm,
    /// A file name whose ending stands for no form of film that is written.
    #[error("{name:?} ends in no film format; use .mp4, .gif, .webp, .png or a folder")]
    UnknownFilmExtension {
        /// The name that was given.
        name: String,
    },
    /// A film's contents are damaged or hostile.
    #[error("the film is damaged: {reason}")]
    DamagedFilm {
        /// What the reader stumbled over.
        reason: String,
    },
    /// A film that is whole, but of a kind that is not read or written.
    #[error("the film cannot be used: {reason}")]
    FilmUnsupported {
        /// What it has.
        reason: String,
    },
    /// An encoder of films failed.
    #[error("the film's {part} cannot be encoded: {reason}")]
    EncodeFilm {
        /// `picture` or `sound`.
        part: &'static str,
        /// Why not.
        reason: String,
    },
    /// A timeline that cannot be followed.
    #[error("{at}: {reason}")]
    Timeline {
        /// Which part of it, as in `scenes[2]`.
        at: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// It was asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A recipe longer than any request.
    #[error("the recipe has {bytes} bytes, but at most {allowed} are written into a file")]
    RecipeTooLong {
        /// Its length.
        bytes: usize,
        /// The most that is written.
        allowed: usize,
    },
}

impl MediaError {
    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }

    pub(crate) fn damaged(format: Format, reason: impl ToString) -> Self {
        Self::Damaged {
            format,
            reason: one_line(&reason.to_string()),
        }
    }

    pub(crate) fn damaged_sound(reason: impl ToString) -> Self {
        Self::DamagedSound {
            reason: one_line(&reason.to_string()),
        }
    }

    pub(crate) fn damaged_film(reason: impl ToString) -> Self {
        Self::DamagedFilm {
            reason: one_line(&reason.to_string()),
        }
    }

    pub(crate) fn film_unsupported(reason: impl ToString) -> Self {
        Self::FilmUnsupported {
            reason: one_line(&reason.to_string()),
        }
    }

    pub(crate) fn encode_film(part: &'static str, reason: impl ToString) -> Self {
        Self::EncodeFilm {
            part,
            reason: one_line(&reason.to_string()),
        }
    }

    /// The same, with the file in which it was found.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            told @ (Self::Io { .. } | Self::InFile { .. } | Self::Cancelled) => told,
            source => Self::InFile {
                path: path.to_owned(),
                source: Box::new(source),
            },
        }
    }

    pub(crate) fn encode(format: Format, reason: impl ToString) -> Self {
        Self::Encode {
            format,
            reason: one_line(&reason.to_string()),
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// [`MediaError::Size`] unless `valid`.
pub(crate) fn size(
    valid: bool,
    what: &'static str,
    got: impl ToString,
    allowed: impl Into<String>,
) -> Result<(), MediaError> {
    if valid {
        return Ok(());
    }
    Err(MediaError::Size {
        what,
        got: got.to_string(),
        allowed: allowed.into(),
    })
}
