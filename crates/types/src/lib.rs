//! Requests, events, job states and error codes: what the command line, HTTP, recipes and job rows have in common.
//! No behaviour lives here.

mod create;
mod error;
mod image;
mod job;
mod music;
mod speech;
mod text;
mod tools;
mod transcript;
mod video;

use serde::{Deserialize, Serialize};

pub use create::CreateRequest;
pub use error::{ErrorCode, ErrorReport};
pub use image::{
    ImagePlan, ImageRequest, ImageTimings, ImageWork, InitPicture, InputFile, LatentShare, LoraUse,
};
pub use job::{Job, JobKind, JobState, Progress, Work};
pub use music::{MusicRequest, MusicTimings, MusicWork};
pub use speech::{SpeechRequest, SpeechTimings, SpeechWork, WordTime};
pub use text::{
    Constraint, FinishReason, LongTask, Message, Prompt, Sampling, Speculation, TextRequest,
    TextTimings, TextWork, TokenLogprob,
};
pub use tools::{Tool, ToolCall, ToolChoice, Tools};
pub use transcript::{HeardWord, Transcript, TranscriptRequest, TranscriptSegment, TranscriptTask};
pub use video::{ClipInit, VideoCodec, VideoRequest, VideoTimings, VideoWork};

/// What a request asks for; the recipe of a work is its JSON form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "medium", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Request {
    /// Text or code.
    Text(TextRequest),
    /// Pictures.
    Image(ImageRequest),
    /// Music.
    Music(MusicRequest),
    /// Spoken words.
    Speech(SpeechRequest),
    /// Film.
    Video(VideoRequest),
    /// One of the works of a brief.
    Create(CreateRequest),
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
    /// A token of the text with its log-probability, where asked for; before the chunk that it brings.
    Token(TokenLogprob),
    /// What a picture looks like so far, or a clip, whose frames lie side by side.
    Preview {
        /// Which of several pictures, counted from 0.
        index: usize,
        /// Steps that are done.
        done: usize,
        /// Of so many.
        total: usize,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Height × width × 3 bytes; whoever sends the event on gives them a form of their own.
        #[serde(skip)]
        rgb: Vec<u8>,
        /// What the network reads next, noise and all, in the same form; empty where its samples are no pixels.
        #[serde(skip)]
        noisy: Vec<u8>,
    },
    /// It is complete.
    Done,
    /// It was ended by the user.
    Cancelled,
}
