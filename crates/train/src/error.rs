use std::path::{Path, PathBuf};

use medley_types::{ErrorCode, ErrorReport};

/// What can end a training run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A loss or a gradient is no number.
    #[error(
        "step {step}: the {what} is {value}; a smaller learning rate or a longer warm-up may help"
    )]
    NotFinite {
        /// The step that was given up.
        step: u64,
        /// Loss or norm of the gradient.
        what: &'static str,
        /// What it was.
        value: f64,
    },
    /// The operating system refused.
    #[error("{}: cannot {action} it: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Text that cannot be trained on.
    #[error("{}: {reason}", path.display())]
    Text {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Saved state that does not fit this run.
    #[error("{0}")]
    State(String),
    /// A setting that no run can have.
    #[error("{0}")]
    Setting(String),
    /// Pictures that cannot be trained on.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// Captions that cannot be encoded.
    #[error(transparent)]
    Caption(Box<crate::captions::CaptionError>),
    /// A noise schedule or a sampler that cannot be.
    #[error(transparent)]
    Diffusion(#[from] medley_sampling::diffusion::DiffusionError),
    /// A picture that cannot be made or written.
    #[error(transparent)]
    Media(#[from] medley_media::MediaError),
    /// An error of a weight file.
    #[error(transparent)]
    Format(#[from] medley_formats::FormatError),
    /// An error of a tokenizer or a chat template.
    #[error(transparent)]
    Tokenize(#[from] medley_tokenize::TokenizeError),
    /// An error of tensors and blocks.
    #[error(transparent)]
    Nn(#[from] medley_nn::Error),
    /// An error of a model.
    #[error(transparent)]
    Model(#[from] medley_models::ConfigError),
}

impl From<crate::captions::CaptionError> for Error {
    fn from(error: crate::captions::CaptionError) -> Self {
        Self::Caption(Box::new(error))
    }
}

impl Error {
    /// As users and programs see it.
    pub fn report(&self) -> ErrorReport {
        let code = match self {
            Self::Data(error) => return error.report(),
            Self::Caption(error) => return error.report(),
            Self::Io { .. } | Self::Text { .. } | Self::Format(_) => ErrorCode::File,
            Self::NotFinite { .. } => ErrorCode::Internal,
            _ => ErrorCode::InvalidRequest,
        };
        ErrorReport::new(code, self.to_string())
    }

    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
