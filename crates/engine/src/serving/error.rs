use std::sync::Arc;

use medley_pipelines::PipelineError;
use medley_types::{ErrorCode, ErrorReport};

/// Why a model at work gave no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServingError {
    /// The thread that computes has ended.
    #[error("the engine is shutting down")]
    Gone,
    /// A model that no eviction makes room for.
    #[error(
        "{model} needs about {} MiB of memory, but all models together may take {} MiB here",
        needed >> 20, limit >> 20
    )]
    TooLarge {
        /// The model's name.
        model: String,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that all may take.
        limit: u64,
    },
    /// Texts whose keys and values no eviction makes room for.
    #[error(
        "{tokens} tokens of {model} need about {} MiB of memory beside the model, and all models together may take {} MiB \
         here: ask for fewer tokens", needed >> 20, limit >> 20
    )]
    TextTooLarge {
        /// The model's name.
        model: String,
        /// Tokens of prompts and texts together, at most.
        tokens: usize,
        /// Bytes that they take.
        needed: u64,
        /// Bytes that all may take.
        limit: u64,
    },
    /// A model that could not be loaded.
    #[error("{0}")]
    Load(ErrorReport),
    /// What a generator says of a request.
    #[error("{0}")]
    Pipeline(Arc<PipelineError>),
    /// A fault of the engine's own.
    #[error("{0}")]
    Failed(String),
}

impl ServingError {
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed(what.into())
    }

    /// The error as users and programs see it.
    pub fn report(&self) -> ErrorReport {
        match self {
            Self::Load(report) => report.clone(),
            Self::Pipeline(error) => error.report(),
            Self::TooLarge { .. } | Self::TextTooLarge { .. } => {
                ErrorReport::new(ErrorCode::Memory, self.to_string())
            }
            Self::Gone | Self::Failed(_) => ErrorReport::new(ErrorCode::Internal, self.to_string()),
        }
    }
}

impl From<PipelineError> for ServingError {
    fn from(error: PipelineError) -> Self {
        Self::Pipeline(Arc::new(error))
    }
}
