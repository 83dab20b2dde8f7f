use serde::{Deserialize, Serialize};

/// Codes of errors that programs may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// A flag, a field or a value that cannot be used.
    InvalidRequest,
    /// A file that cannot be read or written.
    File,
    /// A disk that has no room for what is to be written.
    DiskFull,
    /// A work or a job that is not there.
    NotFound,
    /// Too much at once.
    Busy,
    /// A model that needs more memory than it may have.
    Memory,
    /// A model that is not there and cannot be had.
    ModelNotFound,
    /// A model file that is damaged or of an unknown kind.
    InvalidModel,
    /// A prompt that does not fit the context.
    ContextLength,
    /// No network, or a server that does not answer.
    Network,
    /// A file whose hash is not the one it should have.
    HashMismatch,
    /// Ended by the user.
    Cancelled,
    /// Anything else.
    Internal,
}

impl ErrorCode {
    /// The code as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::File => "file",
            Self::DiskFull => "disk_full",
            Self::NotFound => "not_found",
            Self::Busy => "busy",
            Self::Memory => "insufficient_memory",
            Self::ModelNotFound => "model_not_found",
            Self::InvalidModel => "invalid_model",
            Self::ContextLength => "context_length",
            Self::Network => "network",
            Self::HashMismatch => "hash_mismatch",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// An error as users and programs see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorReport {
    /// For programs.
    pub code: String,
    /// One line: what was wrong, and where.
    pub message: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ErrorReport {
    /// A report without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    /// The same with a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
