//! What can be wrong with a dataset, each in one line, with a hint.

use std::path::{Path, PathBuf};

use medley_media::MediaError;
use medley_types::{ErrorCode, ErrorReport};

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: "read", "list" …
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// There is nothing of this name.
    #[error("{}: there is no such file or folder", path.display())]
    Missing {
        /// What was asked for.
        path: PathBuf,
    },
    /// A file that is none of the kinds of lists and archives.
    #[error("{}: this is no dataset", path.display())]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// A compressed archive, in which no place can be reached at once.
    #[error("{}: the archive is compressed, and training reads its pictures in any order", path.display())]
    Compressed {
        /// The archive.
        path: PathBuf,
    },
    /// Nothing to learn from.
    #[error("{}: no pictures are there", path.display())]
    NoPictures {
        /// The folder, list or archive.
        path: PathBuf,
    },
    /// Pictures that nothing is said about.
    #[error("{}: {pictures} pictures are there, but no captions", path.display())]
    NoCaptions {
        /// The folder.
        path: PathBuf,
        /// How many pictures there are.
        pictures: usize,
    },
    /// A list none of whose lines can be used, or a table without the columns.
    #[error("{}: {reason}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A damaged archive.
    #[error("{}: the archive is damaged: {reason}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What the reader stumbled over.
        reason: String,
    },
    /// Not one picture could be read.
    #[error("{}: none of {pictures} pictures could be read; the first: {first}", path.display())]
    AllBad {
        /// The dataset.
        path: PathBuf,
        /// How many were tried.
        pictures: usize,
        /// Name and reason of the first.
        first: String,
    },
    /// A side of the split is empty.
    #[error("{}: no picture is {side} at a held-out share of {share}", path.display())]
    EmptySplit {
        /// The dataset.
        path: PathBuf,
        /// "held out" or "left to train on".
        side: &'static str,
        /// The share that was asked for.
        share: f64,
    },
    /// A setting that cannot be.
    #[error("{what} is {got}, but it must be {allowed}")]
    Setting {
        /// Which.
        what: &'static str,
        /// Its value.
        got: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// A place in the order that this dataset has not.
    #[error("{}: the run stopped at picture {position} of {recorded}, but now there are {pictures}", path.display())]
    Resume {
        /// The dataset.
        path: PathBuf,
        /// Where the run stopped.
        position: u64,
        /// How many pictures there were.
        recorded: u64,
        /// How many there are.
        pictures: u64,
    },
    /// A sheet of pictures that could not be made.
    #[error(transparent)]
    Media(#[from] MediaError),
}

impl DataError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                Self::Missing {
                    path: path.to_owned(),
                }
            } else {
                Self::Io {
                    path: path.to_owned(),
                    action,
                    source,
                }
            }
        }
    }

    pub(crate) fn list(path: &Path, reason: impl Into<String>) -> Self {
        Self::List {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// What would be right, in one line.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => {
                Some("give --data a folder, a metadata.jsonl, a .csv or a .tar that exists")
            }
            Self::UnknownKind { .. } => Some(
                "give a folder of pictures, a metadata.jsonl, a .csv or .tsv table, or a WebDataset .tar",
            ),
            Self::Compressed { .. } => {
                Some("unpack it to a plain .tar first (gunzip, zstd -d or xz -d)")
            }
            Self::NoPictures { .. } => {
                Some("put .png, .jpg, .webp or .gif files there, or name the folder that has them")
            }
            Self::NoCaptions { .. } => Some(
                "write a .txt beside each picture, a metadata.jsonl with file_name and text, or name the files by what they show",
            ),
            Self::List { .. } => Some(
                "a metadata.jsonl line is {\"file_name\": \"a.png\", \"text\": \"an apple\"}; a table's first line is file,caption",
            ),
            Self::Archive { .. } => Some("pack it anew, or leave it out"),
            Self::AllBad { .. } => Some(
                "open one of them with another program: they may be of another format, or damaged",
            ),
            Self::EmptySplit { .. } => {
                Some("give another share, or more pictures of different groups")
            }
            Self::Resume { .. } => {
                Some("resume with the pictures that the run began with, or begin a new run")
            }
            Self::Io { .. } | Self::Setting { .. } | Self::Media(_) => None,
        }
    }

    /// As users and programs see it.
    pub fn report(&self) -> ErrorReport {
        let code = match self {
            Self::Setting { .. } | Self::EmptySplit { .. } => ErrorCode::InvalidRequest,
            _ => ErrorCode::File,
        };
        let report = ErrorReport::new(code, self.to_string());
        match self.hint() {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }
}

pub(crate) fn setting(
    valid: bool,
    what: &'static str,
    got: impl ToString,
    allowed: &'static str,
) -> Result<(), DataError> {
    if valid {
        return Ok(());
    }
    Err(DataError::Setting {
        what,
        got: got.to_string(),
        allowed,
    })
}
