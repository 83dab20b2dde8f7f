//! Requests, events, job states and error codes: what the command line, HTTP, recipes and job rows have in common.
//! No behaviour lives here.

mod error;
mod text;

use serde::{Deserialize, Serialize};

pub use error::{ErrorCode, ErrorReport};
pub use text::{
    Constraint, FinishReason, Message, Prompt, Sampling, Speculation, TextRequest, TextTimings,
    TextWork, TokenLogprob,
};

/// What a request asks for; the recipe of a work is its JSON form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "medium", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Request {
    /// Text or code.
    Text(TextRequest),
}

/// A kind of work, and of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Medium {
    /// Text and code.
    Text,
    /// Pictures.
    Image,
    /// Spoken words.
    Speech,
    /// Music.
    Music,
    /// Film.
    Video,
}

/// What a running request reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Event {
    /// It waits for its turn.
    Queued,
    /// Steps that are done, of how many.
    Progress {
        /// What is being done: `load`, `prefill`, `step` …
        stage: String,
        /// Done so far.
        done: usize,
        /// Of so many; 0 where that is not known.
        total: usize,
    },
    /// A piece of text, in order.
    Chunk {
        /// Whole characters.
        text: String,
    },
    /// It is complete.
    Done,
    /// It was ended by the user.
    Cancelled,
}
