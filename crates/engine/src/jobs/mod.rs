//! Jobs: requests that are kept in the database until they are at their end, whatever happens to the process.
//!
//! A job is queued, runs and ends once: done, failed or cancelled. Its works are kept in the same step as its end, so a
//! process that is killed has either ended it with its works or left it running without any; such a job is queued again
//! when the next process begins. [`Jobs`] is the one line of truth; a [`Runner`] carries jobs out.

mod carry;
mod create;
mod live;
mod request;
mod rows;
mod runner;

use std::sync::Arc;

use medley_types::{ErrorReport, Job, JobKind, JobState, Medium, Request};
use rusqlite::Transaction;
use serde_json::Value;

use crate::database::{Database, fresh_id, now};
use crate::library::{Library, NewWork, Upload};
use crate::{EngineError, Result};
pub use live::{JobEvent, Watch};
pub(crate) use live::{Live, Stop};
pub use request::complete;
pub use runner::{Runner, RunnerHandle, alone};

/// How often a job is begun that takes its process with it.
const STARTS: i64 = 3;

/// The queue, and all jobs that ended.
pub struct Jobs {
    database: Arc<Database>,
    library: Arc<Library>,
    live: Live,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// To carry a request out.
    Generate(Box<Request>),
    /// To fetch a model of this name.
    Pull {
        /// Its name in the catalog.
        model: String,
        /// What it makes.
        medium: Medium,
    },
    /// To make the works of a brief.
    Create {
        /// The creation, which is kept.
        id: String,
    },
}

/// A job that is to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// What it does.
    pub task: Task,
    /// Jobs of a higher priority go first; those of one priority in the order in which they came.
    pub priority: i64,
    /// Whose it is: the name of a key.
    pub owner: Option<String>,
    /// The job whose request it changes.
    pub source: Option<String>,
    /// Files that its request names; they are kept as long as the job is known.
    pub files: Vec<Upload>,
}

/// Which jobs are asked for.
#[derive(Clone, Debug, Default)]
pub struct JobQuery {
    /// In this state alone.
    pub state: Option<JobState>,
    /// Requests for this medium alone.
    pub medium: Option<Medium>,
    /// At most so many.
    pub limit: usize,
    /// Those after this one, in the order of the list.
    pub after: Option<String>,
}

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That wait.
    pub queued: u64,
    /// That are being carried out.
    pub running: u64,
}

/// How a job came to its end.
#[derive(Debug)]
pub(crate) enum End {
    Done(Vec<NewWork>),
    Failed(ErrorReport),
    Cancelled,
}

impl Jobs {
    /// The jobs of a database, whose works go to `library`.
    pub fn new(database: Arc<Database>, library: Arc<Library>) -> Self {
        Self {
            database,
            library,
            live: Live::default(),
        }
    }

    /// The works.
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// Puts a job into the queue; it is there for good when this returns. `limit` is the number of jobs of one owner that
    /// may be on their way.
    ///
    /// # Errors
    /// [`EngineError::TooManyJobs`], [`EngineError::Database`], [`EngineError::Io`] where its files cannot be written.
    pub fn submit(&self, new: NewJob, limit: usize) -> Result<Job> {
        let (kind, medium, model, request) = match &new.task {
            Task::Generate(request) => {
                let (medium, model) = match &**request {
                    Request::Text(text) => (Medium::Text, text.model.clone()),
                    Request::Image(image) => (Medium::Image, image.model.clone()),
                    Request::Speech(speech) => (Medium::Speech, speech.model.clone()),
                    Request::Music(music) => (Medium::Music, music.model.clone()),
                    Request::Video(video) => (Medium::Video, video.model.clone()),
                    _ => return Err(request::unknown_medium()),
                };
                (JobKind::Generate, medium, model, serde_json::json!(request))
            }
            Task::Pull { model, medium } => {
                let request = serde_json::json!({ "model": model });
                (JobKind::Pull, *medium, model.clone(), request)
            }
            Task::Create { id } => {
                let request = serde_json::json!({ "creation": id });
                (JobKind::Create, Medium::Video, String::new(), request)
            }
        };
        let job = Job {
            id: fresh_id("job"),
            medium,
            kind,
            state: JobState::Queued,
            priority: new.priority,
            model,
            request,
            created_at: now(),
            started_at: None,
            finished_at: None,
            progress: None,
            works: Vec::new(),
            error: None,
            source: new.source.clone(),
        };
        self.library.lend(&job.id, &new.files, |transaction| {
            let open = rows::open(transaction, new.owner.as_deref())?;
            if open >= limit {
                return Err(EngineError::TooManyJobs { open, limit });
            }
            rows::insert(transaction, &job, new.owner.as_deref())
        })?;
        self.live.queued(&job.id);
        Ok(job)
    }

    /// A pull of this model that is on its way, if there is one.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn open_pull(&self, model: &str) -> Result<Option<Job>> {
        self.database.read(|c| rows::open_pull(c, model))
    }

    /// One job.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn get(&self, id: &str) -> Result<Job> {
        let job = self.database.read(|c| rows::get(c, id))?;
        let job = job.ok_or_else(|| missing(id))?;
        Ok(self.live.with_progress(job))
    }

    /// Jobs, the newest first, and whether there are more.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for an `after` that is not there, [`EngineError::Database`].
    pub fn list(&self, query: &JobQuery) -> Result<(Vec<Job>, bool)> {
        let before = match &query.after {
            None => i64::MAX,
            Some(id) => {
                let place = self.database.read(|c| rows::place(c, id))?;
                place.ok_or_else(|| missing(id))?
            }
        };
        let limit = query.limit;
        let jobs = self
            .database
            .read(|c| rows::list(c, query.state, query.medium, before, limit + 1))?;
        let more = jobs.len() > limit;
        let jobs = jobs.into_iter().take(limit);
        Ok((jobs.map(|job| self.live.with_progress(job)).collect(), more))
    }

    /// How many are on their way.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn counts(&self) -> Result<Counts> {
        self.database.read(rows::counts)
    }

    /// Ends a job: one that waits at once, one that runs within a step; an ended one stays as it is.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn cancel(&self, id: &str) -> Result<Job> {
        let waited = self
            .database
            .write(|transaction| rows::cancel(transaction, id, now()))?;
        if waited {
            self.live.ended(id, "cancelled", Value::Null);
        }
        self.live.stop(id);
        self.get(id)
    }

    /// Forgets a job that is at its end, and the files that it was given; its works stay.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::JobState`] for one that is not, [`EngineError::Database`].
    pub fn remove(&self, id: &str) -> Result<()> {
        let job = self.get(id)?;
        let files = self.library.lent(id)?;
        let removed = self
            .database
            .write(|transaction| rows::remove(transaction, id))?;
        if removed {
            for (sha256, mime) in files {
                self.library.forget(&sha256, &mime);
            }
            return Ok(());
        }
        Err(EngineError::JobState {
            id: id.to_owned(),
            state: job.state,
            reason: "cancel it first",
        })
    }

    /// What happens to a job, or to all: the present state first, then what comes.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn watch(&self, id: Option<&str>) -> Result<Watch> {
        // Listening begins before the state is read, so that nothing falls in between.
        let mut watch = self.live.watch(id);
        match id {
            Some(id) => watch.begin(&[self.get(id)?]),
            None => {
                let mut open = Vec::new();
                for state in [JobState::Running, JobState::Queued] {
                    open.extend(
                        self.database
                            .read(|c| rows::list(c, Some(state), None, i64::MAX, 1000))?,
                    );
                }
                watch.begin(&open);
            }
        }
        Ok(watch)
    }

    /// Queues again what a process that is no more left running.
    pub(crate) fn recover(&self) -> Result<()> {
        let ended = "the process ended each time that this job was begun";
        let error = ErrorReport::new(medley_types::ErrorCode::Internal, ended);
        self.database
            .write(|transaction| rows::recover(transaction, STARTS, &error, now()))
    }

    /// Begins the next job of this kind and medium.
    pub(crate) fn claim(&self, kind: JobKind, medium: Option<Medium>) -> Result<Option<Job>> {
        // A look first, so that an idle queue writes nothing.
        if !self.database.read(|c| rows::waits(c, kind, medium))? {
            return Ok(None);
        }
        self.database
            .write(|transaction| rows::claim(transaction, kind, medium, now()))
    }

    /// Puts a job back whose process is told to end.
    pub(crate) fn put_back(&self, id: &str) -> Result<()> {
        self.database
            .write(|transaction| rows::put_back(transaction, id, now()))
    }

    /// Ends a job that runs, its works kept in the same step. Works that cannot be kept make it fail.
    pub(crate) fn finish(&self, id: &str, end: End) -> Result<()> {
        let end = match end {
            End::Done(works) => {
                let close = |transaction: &Transaction, _: &[medley_types::Work]| {
                    rows::end(transaction, id, JobState::Done, None, now())
                };
                match self.library.add_all(works, close) {
                    Ok(works) => {
                        let ids: Vec<&str> = works.iter().map(|work| work.id.as_str()).collect();
                        self.live
                            .ended(id, "done", serde_json::json!({ "works": ids }));
                        return Ok(());
                    }
                    Err(error) => End::Failed(error.report()),
                }
            }
            end => end,
        };
        let (state, error) = match &end {
            End::Failed(report) => (JobState::Failed, Some(report)),
            _ => (JobState::Cancelled, None),
        };
        self.database
            .write(|transaction| rows::end(transaction, id, state, error, now()))?;
        let data = match error {
            Some(error) => serde_json::json!({ "error": error }),
            None => Value::Null,
        };
        self.live.ended(id, state.as_str(), data);
        Ok(())
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }
}

fn missing(id: &str) -> EngineError {
    EngineError::NotFound {
        what: "job",
        id: id.to_owned(),
    }
}

#[cfg(test)]
mod tests;
