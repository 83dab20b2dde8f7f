//! What jobs report while they run, to whoever listens.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use medley_types::{Job, JobState, Progress};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::CancelToken;
use crate::fetch::CancelFlag;

/// Events that a listener may be behind; one that is further behind is told the present state again.
const BEHIND: usize = 1024;

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEvent {
    /// The job's id.
    pub job: String,
    /// `queued`, `progress`, `preview`, `chunk`, `done`, `failed` or `cancelled`.
    pub name: &'static str,
    /// What is to be said of it, with the job's id as `job`.
    pub data: Value,
}

impl JobEvent {
    fn new(job: &str, name: &'static str, data: Value) -> Self {
        let mut all = json!({ "job": job });
        if let (Some(all), Value::Object(data)) = (all.as_object_mut(), data) {
            all.extend(data);
        }
        Self {
            job: job.to_owned(),
            name,
            data: all,
        }
    }

    /// Whether nothing more comes of the job.
    pub fn is_end(&self) -> bool {
        matches!(self.name, "done" | "failed" | "cancelled")
    }
}

/// Ends what a job does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// What computes looks at this.
    pub(crate) token: CancelToken,
    /// What fetches looks at this.
    pub(crate) flag: CancelFlag,
}

impl Stop {
    fn stop(&self) {
        self.token.cancel();
        self.flag.cancel();
    }
}

/// What a running job has said so far.
#[derive(Clone, Default)]
struct Now {
    progress: Option<Progress>,
    /// The text so far.
    text: String,
    /// What a picture looks like so far.
    preview: Option<JobEvent>,
    stop: Stop,
}

/// The jobs that run in this process, and those who listen to them.
pub(crate) struct Live {
    running: Mutex<HashMap<String, Now>>,
    events: broadcast::Sender<JobEvent>,
    /// Told when there may be a job to begin.
    pub(crate) news: Arc<Notify>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
            events: broadcast::channel(BEHIND).0,
            news: Arc::default(),
        }
    }
}

impl Live {
    fn running(&self) -> MutexGuard<'_, HashMap<String, Now>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, event: JobEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Changes what a running job has said, and says it. Both while the jobs are held, so that who begins to listen has
    /// either heard it or finds it in the state.
    fn say(&self, id: &str, event: JobEvent, change: impl FnOnce(&mut Now)) {
        let mut running = self.running();
        if let Some(now) = running.get_mut(id) {
            change(now);
            self.send(event);
        }
    }

    pub(super) fn queued(&self, id: &str) {
        self.send(JobEvent::new(id, "queued", Value::Null));
        self.news.notify_one();
    }

    pub(crate) fn begin(&self, id: &str) -> Stop {
        let stop = Stop::default();
        let now = Now {
            stop: stop.clone(),
            ..Now::default()
        };
        self.running().insert(id.to_owned(), now);
        stop
    }

    pub(crate) fn progress(&self, id: &str, stage: &str, done: u64, total: u64) {
        let progress = Progress {
            stage: stage.to_owned(),
            done,
            total,
        };
        let event = JobEvent::new(id, "progress", json!(progress));
        self.say(id, event, |now| now.progress = Some(progress));
    }

    pub(crate) fn chunk(&self, id: &str, text: &str) {
        let event = JobEvent::new(id, "chunk", json!({ "text": text }));
        self.say(id, event, |now| now.text.push_str(text));
    }

    pub(crate) fn preview(&self, id: &str, data: Value) {
        let event = JobEvent::new(id, "preview", data);
        self.say(id, event.clone(), |now| now.preview = Some(event));
    }

    pub(super) fn ended(&self, id: &str, name: &'static str, data: Value) {
        self.running().remove(id);
        self.send(JobEvent::new(id, name, data));
    }

    /// Forgets a job that goes back to the queue.
    pub(crate) fn put_back(&self, id: &str) {
        self.running().remove(id);
        self.send(JobEvent::new(id, "queued", Value::Null));
    }

    pub(super) fn stop(&self, id: &str) {
        if let Some(now) = self.running().get(id) {
            now.stop.stop();
        }
    }

    /// Ends all that runs in this process.
    pub(crate) fn stop_all(&self) {
        self.running().values().for_each(|now| now.stop.stop());
    }

    pub(super) fn with_progress(&self, mut job: Job) -> Job {
        if job.state == JobState::Running {
            job.progress = self
                .running()
                .get(&job.id)
                .and_then(|now| now.progress.clone());
        }
        job
    }

    pub(super) fn watch(&self, id: Option<&str>) -> Watch {
        let running = self.running();
        Watch {
            id: id.map(str::to_owned),
            now: running.clone(),
            ready: VecDeque::new(),
            events: self.events.subscribe(),
            over: false,
        }
    }
}

/// What happens to a job, or to all.
pub struct Watch {
    id: Option<String>,
    now: HashMap<String, Now>,
    ready: VecDeque<JobEvent>,
    events: broadcast::Receiver<JobEvent>,
    over: bool,
}

impl Watch {
    /// Says first how these jobs stand.
    pub(super) fn begin(&mut self, jobs: &[Job]) {
        for job in jobs {
            let now = self.now.remove(&job.id);
            self.ready.extend(present(job, now));
        }
        self.now.clear();
    }

    /// The next event; `None` after the end of the one job that is watched, or where the listener fell too far behind and
    /// should begin anew.
    pub async fn next(&mut self) -> Option<JobEvent> {
        if self.over {
            return None;
        }
        let event = loop {
            if let Some(event) = self.ready.pop_front() {
                break event;
            }
            match self.events.recv().await {
                Ok(event) if self.id.as_ref().is_none_or(|id| *id == event.job) => break event,
                Ok(_) => {}
                Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
            }
        };
        self.over = self.id.is_some() && event.is_end();
        Some(event)
    }
}

/// How a job stands, as events.
fn present(job: &Job, now: Option<Now>) -> Vec<JobEvent> {
    let event = |name, data| JobEvent::new(&job.id, name, data);
    match job.state {
        JobState::Queued => vec![event("queued", Value::Null)],
        JobState::Done => vec![event("done", json!({ "works": job.works }))],
        JobState::Failed => vec![event("failed", json!({ "error": job.error }))],
        JobState::Cancelled => vec![event("cancelled", Value::Null)],
        _ => {
            let now = now.unwrap_or_default();
            let begun = Progress {
                stage: "start".into(),
                done: 0,
                total: 0,
            };
            let mut events = vec![event("progress", json!(now.progress.unwrap_or(begun)))];
            events.extend(now.preview);
            if !now.text.is_empty() {
                events.push(event("chunk", json!({ "text": now.text })));
            }
            events
        }
    }
}
