use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ErrorReport, Medium};

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// It is being carried out.
    Running,
    /// Its works are there.
    Done,
    /// It ended with an error.
    Failed,
    /// It was ended by the user.
    Cancelled,
}

impl JobState {
    /// The state as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of this name.
    pub fn of(name: &str) -> Option<Self> {
        [
            Self::Queued,
            Self::Running,
            Self::Done,
            Self::Failed,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|state| state.as_str() == name)
    }

    /// Whether nothing more comes of the job.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobKind {
    /// Carries out a request.
    Generate,
    /// Fetches a model.
    Pull,
    /// Makes the works of a brief.
    Create,
}

/// How far what is being done is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done: `load`, `step`, `download` …
    pub stage: String,
    /// Done so far.
    pub done: u64,
    /// Of so many; 0 where that is not known.
    pub total: u64,
}

/// A request on its way, or at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// `job_` and 24 hexadecimal digits.
    pub id: String,
    /// What it makes.
    pub medium: Medium,
    /// What it does.
    pub kind: JobKind,
    /// How far it is.
    pub state: JobState,
    /// Jobs of a higher priority go first.
    pub priority: i64,
    /// Name of the model.
    pub model: String,
    /// The request; of a pull, the model's name.
    pub request: Value,
    /// Seconds since 1970.
    pub created_at: u64,
    /// When it was begun last, in seconds since 1970.
    pub started_at: Option<u64>,
    /// When it ended, in seconds since 1970.
    pub finished_at: Option<u64>,
    /// How far what is being done is, of a running job.
    pub progress: Option<Progress>,
    /// Ids of its works.
    pub works: Vec<String>,
    /// Why it failed.
    pub error: Option<ErrorReport>,
    /// The job whose request it changes.
    pub source: Option<String>,
}

/// A result that is kept in the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// `work_` and 24 hexadecimal digits.
    pub id: String,
    /// What it is.
    pub medium: Medium,
    /// Name of the model that made it.
    pub model: String,
    /// SHA-256 of the model's weights, where it is known.
    pub model_sha256: Option<String>,
    /// What the user calls it.
    pub title: String,
    /// What was to be seen or written.
    pub prompt: String,
    /// The request that makes it again.
    pub recipe: Value,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Type of its file.
    pub mime: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Width in pixels, of what has one.
    pub width: Option<u32>,
    /// Height in pixels, of what has one.
    pub height: Option<u32>,
    /// What the user files it under.
    pub tags: Vec<String>,
    /// Where the time went, in seconds.
    pub timings: Value,
    /// The job that made it.
    pub job: Option<String>,
}
