//! Carries jobs out, a few at a time, in a thread of its own.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use medley_types::{Job, JobKind, Medium};
use tokio::task::JoinSet;

use super::carry::Tools;
use super::{End, Jobs, Stop};
use crate::director::Creations;
use crate::serving::{Compute, Shelf};
use crate::{Home, Store};

/// How often the queue is looked at for jobs that another process put there, and the lock for whether it is free.
const LOOK: Duration = Duration::from_millis(500);

/// How long is waited before the end of a job is written down again, where it could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// What is carried out beside what: so many texts, which are written in one batch, one picture, one text that is said, one
/// tune, one clip, one pull, and the works of one brief.
const LANES: [(JobKind, Option<Medium>, usize); 7] = [
    (JobKind::Generate, Some(Medium::Text), 4),
    (JobKind::Generate, Some(Medium::Image), 1),
    (JobKind::Generate, Some(Medium::Speech), 1),
    (JobKind::Generate, Some(Medium::Music), 1),
    (JobKind::Generate, Some(Medium::Video), 1),
    (JobKind::Pull, None, 1),
    (JobKind::Create, None, 1),
];

/// Carries jobs out.
pub struct Runner {
    tools: Tools,
    lock: PathBuf,
    stopped: Arc<AtomicBool>,
}

/// The runner's thread. When it is dropped the runner begins nothing more, and puts back what runs.
pub struct RunnerHandle {
    jobs: Arc<Jobs>,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Runner {
    /// Starts to carry out `jobs` with models of `shelf`, and to pull into `store`. Of several processes over one home one
    /// does so at a time; the next goes on when it ends.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        jobs: Arc<Jobs>,
        compute: Arc<Compute>,
        shelf: Arc<dyn Shelf>,
        store: Arc<Store>,
        creations: Arc<Creations>,
    ) -> std::io::Result<RunnerHandle> {
        let stopped = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let runner = Self {
            lock: lock_file(store.home()),
            stopped: stopped.clone(),
            tools: Tools {
                jobs: jobs.clone(),
                compute,
                shelf,
                store,
                creations,
            },
        };
        let thread = std::thread::Builder::new()
            .name("medley-jobs".into())
            .spawn(move || {
                runtime.block_on(runner.run());
                runtime.shutdown_timeout(Duration::from_secs(1));
            })?;
        Ok(RunnerHandle {
            jobs,
            stopped,
            thread,
        })
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    async fn run(self) {
        let Some(_lock) = self.only().await else {
            return;
        };
        while let Err(error) = self.tools.jobs.recover() {
            report("jobs cannot be taken up", &error);
            tokio::time::sleep(AGAIN).await;
            if self.is_stopped() {
                return;
            }
        }
        let news = self.tools.jobs.live().news.clone();
        let mut running: JoinSet<usize> = JoinSet::new();
        let mut free = LANES.map(|(.., places)| places);
        while !self.is_stopped() {
            for (lane, free) in free.iter_mut().enumerate() {
                while *free > 0 && self.begin(lane, &mut running) {
                    *free -= 1;
                }
            }
            tokio::select! {
                () = news.notified() => {}
                Some(ended) = running.join_next() => {
                    if let Ok(lane) = ended {
                        free[lane] += 1;
                    }
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        self.tools.jobs.live().stop_all();
        while running.join_next().await.is_some() {}
    }

    /// Waits until this process alone carries jobs out; `None` where it is told to end before.
    async fn only(&self) -> Option<File> {
        loop {
            match locked(&self.lock) {
                Ok(Some(lock)) => return Some(lock),
                Ok(None) => {}
                Err(error) => report("jobs cannot be taken up", &error),
            }
            if self.is_stopped() {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Begins the next job of a lane; whether there was one.
    fn begin(&self, lane: usize, running: &mut JoinSet<usize>) -> bool {
        let (kind, medium, _) = LANES[lane];
        let job = match self.tools.jobs.claim(kind, medium) {
            Ok(Some(job)) => job,
            Ok(None) => return false,
            Err(error) => {
                report("no job can be begun", &error);
                return false;
            }
        };
        let stop = self.tools.jobs.live().begin(&job.id);
        let (tools, stopped) = (self.tools.clone(), self.stopped.clone());
        running.spawn(async move {
            run_one(&tools, &job, stop, &stopped).await;
            lane
        });
        true
    }
}

async fn run_one(tools: &Tools, job: &Job, stop: Stop, stopped: &AtomicBool) {
    let carried = tokio::spawn({
        let (tools, job, stop) = (tools.clone(), job.clone(), stop.clone());
        async move { tools.carry(&job, &stop).await }
    });
    let end = carried.await.unwrap_or_else(|_| {
        let code = medley_types::ErrorCode::Internal;
        End::Failed(medley_types::ErrorReport::new(code, "the job failed badly"))
    });
    if stopped.load(Ordering::Acquire) && !matches!(end, End::Done(_)) {
        // It was ended with the process, not by its user.
        match tools.jobs.put_back(&job.id) {
            Ok(()) => tools.jobs.live().put_back(&job.id),
            Err(error) => report("a job cannot be put back", &error),
        }
        return;
    }
    conclude(tools, &job.id, end, stopped).await;
}

/// Writes down how a job ended, again and again where the disk has no room even for that.
async fn conclude(tools: &Tools, id: &str, end: End, stopped: &AtomicBool) {
    let mut end = end;
    loop {
        let failed = match &end {
            End::Failed(error) => Some(error.clone()),
            _ => None,
        };
        let error = match tools.jobs.finish(id, end) {
            Ok(()) => return,
            // Its row is gone, or ended elsewhere.
            Err(crate::EngineError::NotFound { .. }) => return,
            Err(error) => error,
        };
        report("the end of a job cannot be written down", &error);
        if stopped.load(Ordering::Acquire) {
            return;
        }
        end = End::Failed(failed.unwrap_or_else(|| error.report()));
        tokio::time::sleep(AGAIN).await;
    }
}

fn lock_file(home: &Home) -> PathBuf {
    home.root().join("jobs.lock")
}

/// Holds off other processes over one home as long as what is given is held; nothing where another process carries out
/// the jobs of this home.
///
/// # Errors
/// [`EngineError::Io`](crate::EngineError::Io) where the lock cannot be had.
pub fn alone(home: &Home) -> Result<Option<File>, crate::EngineError> {
    locked(&lock_file(home))
}

/// The lock, if no other process has it.
fn locked(path: &Path) -> Result<Option<File>, crate::EngineError> {
    let io = |source| crate::EngineError::io("lock", path)(source);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        // Some network file systems have no locks; there, two servers over one home are the user's business.
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
            Ok(Some(file))
        }
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

fn report(what: &str, error: &crate::EngineError) {
    tracing::error!(code = error.code().as_str(), "{what}: {error}");
}

impl RunnerHandle {
    /// Ends the runner within about this time: nothing more is begun, and what runs goes back to the queue.
    pub fn stop(&self, patience: Duration) {
        self.tell();
        let until = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn tell(&self) {
        self.stopped.store(true, Ordering::Release);
        self.jobs.live().news.notify_one();
        self.jobs.live().stop_all();
    }
}

impl Drop for RunnerHandle {
    fn drop(&mut self) {
        self.tell();
    }
}
