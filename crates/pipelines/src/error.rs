use medley_media::MediaError;
use medley_sampling::diffusion::DiffusionError;
use medley_tokenize::TokenizeError;
use medley_types::{ErrorCode, ErrorReport};

/// Why a generator gave no work.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The prompt has more tokens than the context holds.
    #[error("the prompt has {prompt} tokens, but the context of {model} holds {context}")]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that fit.
        context: usize,
        /// Name of the model.
        model: String,
    },
    /// Nothing was asked.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The model has no chat template and the prompt is a conversation.
    #[error("{model} has no chat template")]
    NoTemplate {
        /// Name of the model.
        model: String,
    },
    /// A draft model that writes other tokens than the model it shall help.
    #[error("the draft model {draft} has another vocabulary than {model}: token {id} differs")]
    DraftVocabulary {
        /// Name of the draft model.
        draft: String,
        /// Name of the model.
        model: String,
        /// The first token that is not the same.
        id: usize,
    },
    /// A decoding step of several requests that failed, with the reason.
    #[error("{0}")]
    Step(String),
    /// A value of the request that cannot be used.
    #[error("{0}")]
    InvalidRequest(String),
    /// A file that cannot be read.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A function whose arguments' schema cannot be followed.
    #[error("the function {name}: {problem}")]
    ToolSchema {
        /// Number of the function in the request.
        index: usize,
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: medley_sampling::SamplingError,
    },
    /// The user ended the run.
    #[error("the run was ended")]
    Cancelled,
    /// A run that does not fit into memory.
    #[error("this needs about {} of memory, but {} is free", gib(*needed), gib(*available))]
    TooLarge {
        /// Bytes that it would take.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// A model's configuration that cannot be used.
    #[error("the model's configuration: {0}")]
    ModelConfig(String),
    /// An error of schedules, samplers or guidance.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// An error of pictures.
    #[error(transparent)]
    Media(#[from] medley_media::MediaError),
    /// An error of the weight containers.
    #[error(transparent)]
    Format(#[from] medley_formats::FormatError),
    /// An error of the tokenizer or the chat template.
    #[error(transparent)]
    Tokenize(#[from] medley_tokenize::TokenizeError),
    /// An error of the sampler or the constraint.
    #[error(transparent)]
    Sampling(#[from] medley_sampling::SamplingError),
    /// An error of the model.
    #[error(transparent)]
    Model(#[from] medley_models::ConfigError),
}

impl PipelineError {
    /// As users and programs see it.
    pub fn report(&self) -> ErrorReport {
        let (code, hint) = match self {
            Self::PromptTooLong { .. } => (
                ErrorCode::ContextLength,
                Some("shorten the prompt, or take a model with a longer context"),
            ),
            Self::EmptyPrompt => (
                ErrorCode::InvalidRequest,
                Some("give a prompt, or pipe one in with -"),
            ),
            Self::NoTemplate { .. } => (
                ErrorCode::InvalidRequest,
                Some("use --raw to continue plain text"),
            ),
            Self::DraftVocabulary { .. } => (
                ErrorCode::InvalidRequest,
                Some("take a smaller model of the same family"),
            ),
            Self::InvalidRequest(_)
            | Self::ToolSchema { .. }
            | Self::Sampling(_)
            | Self::Tokenize(TokenizeError::Template { .. }) => (ErrorCode::InvalidRequest, None),
            Self::File { .. } => (ErrorCode::File, None),
            Self::Cancelled => (ErrorCode::Cancelled, None),
            Self::TooLarge { .. } => (
                ErrorCode::InvalidRequest,
                Some("ask for a smaller size, or close other programs"),
            ),
            Self::Diffusion(DiffusionError::NotFinite { .. })
            | Self::Media(MediaError::NotFinite { .. }) => (
                ErrorCode::InvalidModel,
                Some("the weights are damaged, or the guidance scale is beyond what they bear"),
            ),
            Self::Diffusion(_) => (ErrorCode::InvalidRequest, None),
            Self::Media(_) => (ErrorCode::File, None),
            Self::ModelConfig(_) => (ErrorCode::InvalidModel, None),
            Self::Format(_) | Self::Tokenize(_) | Self::Model(_) | Self::Step(_) => {
                (ErrorCode::InvalidModel, None)
            }
        };
        let report = ErrorReport::new(code, self.to_string());
        match hint {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }
}

/// Bytes for people.
fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
