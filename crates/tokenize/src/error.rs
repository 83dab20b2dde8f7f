//! What can go wrong, with the name of what is wrong and what would be right.

use std::path::PathBuf;

/// Errors of tokenizers and chat templates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizeError {
    /// The metadata lacks a key that the tokenizer needs.
    #[error(
        "the model file has no `{key}`, which its tokenizer needs; convert the model again with its vocabulary"
    )]
    MissingKey {
        /// The metadata key.
        key: &'static str,
    },
    /// The tokenizer family is not known.
    #[error("unknown tokenizer `{model}`; known are: {known}")]
    UnknownModel {
        /// Value of `tokenizer.ggml.model`.
        model: String,
        /// The families that are known.
        known: &'static str,
    },
    /// The pre-tokenizer kind is not known.
    #[error(
        "unknown pre-tokenizer `{pre}` (tokenizer.ggml.pre): this model is newer than this program"
    )]
    UnknownPreTokenizer {
        /// Value of `tokenizer.ggml.pre`.
        pre: String,
    },
    /// A list has another length than the vocabulary.
    #[error("`{key}` has {found} entries, but the vocabulary has {expected}")]
    LengthMismatch {
        /// The metadata key.
        key: &'static str,
        /// Entries found.
        found: usize,
        /// Entries of the vocabulary.
        expected: usize,
    },
    /// A value is outside its allowed range or malformed.
    #[error("{what}: {detail}")]
    Invalid {
        /// The thing that is wrong.
        what: &'static str,
        /// Why, and what would be right.
        detail: String,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A `tokenizer.json`, `tokenizer_config.json` or similar is malformed.
    #[error("{} is not usable: {detail}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        detail: String,
    },
    /// The tokenizer could not encode the text.
    #[error("the text could not be tokenized: {detail}")]
    Encode {
        /// The reason.
        detail: String,
    },
    /// The chat template is not valid, or it refused the conversation.
    #[error("chat template: {detail}")]
    Template {
        /// The template engine's message, on one line.
        detail: String,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, TokenizeError>;
