//! The director: makes many works of one brief, each by the model of its medium, in one folder.
//!
//! A brief becomes a [`Plan`] by a kit; the works of the plan are made as soon as what they are made of is there, side
//! by side where the models allow it. The folder knows what was made of what: a second run goes on where the first one stopped,
//! an edited plan or an edited text makes anew only what hangs on it, and what somebody changed by hand is kept.

mod archive;
mod brief;
mod captions;
mod check;
mod creations;
mod folder;
mod kit;
mod make;
mod page;
mod palette;
mod plan;
mod planner;
mod prose;
mod refs;
mod stage;
mod texts;
mod words;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use medley_types::{CreateRequest, ErrorCode, ErrorReport, Event};
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub use archive::zip;
pub use brief::Brief;
pub use creations::{Creation, Creations};
pub use folder::{Folder, MadeWork, PLAN, Standing, State};
pub use kit::{Kit, USUAL_KIT, kit_of, kits};
pub use plan::{Block, BlockKind, FilmScene, Form, Make, Models, Palette, Part, Plan, WorkPlan};
pub use stage::Stage;

use crate::fetch::sha256_hex;
use crate::work_file;
use make::{Files, Maker};
use stage::Made;

/// The MIME type of a work's file, by its ending.
pub fn mime(file: &str) -> &'static str {
    match file.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "md" => "text/markdown",
        "txt" => "text/plain",
        "html" => "text/html",
        "json" => "application/json",
        "vtt" => "text/vtt",
        "mid" => "audio/midi",
        "mp4" => "video/mp4",
        "png" => "image/png",
        "jpg" => "image/jpeg",
        "webp" => "image/webp",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "mp3" => "audio/mpeg",
        "opus" => "audio/ogg",
        _ => "application/octet-stream",
    }
}

/// How a work stands while a plan is carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkState {
    /// What it is made of is not there yet.
    Waiting,
    /// It is being made.
    Running,
    /// It was made in this run.
    Done,
    /// It was there.
    Kept,
    /// It could not be made.
    Failed(ErrorReport),
}

impl WorkState {
    /// As it stands in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Kept => "kept",
            Self::Failed(_) => "failed",
        }
    }
}

/// What happens while a plan is carried out.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The plan is there.
    Planned(Arc<Plan>),
    /// A work stands otherwise than before.
    Work {
        /// Its id.
        id: String,
        /// How it stands.
        state: WorkState,
    },
    /// A work goes on.
    Progress {
        /// Its id.
        id: String,
        /// What is being done: `write`, `step`, `frame` …
        stage: String,
        /// Done so far.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// A file that somebody had changed was put aside, as its work is made anew.
    Aside {
        /// Its name.
        file: String,
        /// Where it is now.
        now: String,
    },
}

/// Who is told what happens; called from several threads.
pub type Watch = Arc<dyn Fn(Happening) + Send + Sync>;

/// Waits for what a director does, on a thread that may wait.
///
/// # Errors
/// What `work` says; [`ErrorCode::Internal`] where the system gives no timer.
pub fn now<T>(work: impl Future<Output = Result<T, ErrorReport>>) -> Result<T, ErrorReport> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime =
        runtime.map_err(|error| ErrorReport::new(ErrorCode::Internal, error.to_string()))?;
    runtime.block_on(work)
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How each work stands, in the order of the plan.
    pub works: Vec<(String, WorkState)>,
}

impl Report {
    /// The first failure, if there was one.
    pub fn failure(&self) -> Option<&ErrorReport> {
        self.works.iter().find_map(|(_, state)| match state {
            WorkState::Failed(report) => Some(report),
            _ => None,
        })
    }
}

/// Makes works.
#[derive(Clone)]
pub struct Director {
    /// The models.
    pub stage: Stage,
    /// Whether files carry how they were made.
    pub recipes: bool,
    /// Told what happens.
    pub watch: Watch,
}

/// What a run knows of the folder.
struct Run {
    folder: Folder,
    plan: Arc<Plan>,
    state: Mutex<State>,
    identities: HashMap<String, String>,
}

impl Director {
    /// Plans a brief.
    ///
    /// # Errors
    /// A brief that says nothing; what the models say.
    pub async fn plan(&self, kit: &Kit, brief: &str, models: &Models, seed: u64) -> Made<Plan> {
        planner::plan(&self.stage, kit, brief, models, seed).await
    }

    /// Makes the works of a plan in a folder, those that are there excepted. Works fail one by one; those that hang on them
    /// are left waiting.
    ///
    /// # Errors
    /// [`ErrorCode::Cancelled`], and what keeps the folder from being written.
    pub async fn carry_out(&self, folder: &Folder, plan: Arc<Plan>) -> Made<Report> {
        plan.check().map_err(|error| error.report())?;
        (self.watch)(Happening::Planned(plan.clone()));
        let run = Arc::new(self.run(folder, plan.clone()).await?);
        let all: HashSet<String> = plan.works.iter().map(|work| work.id.clone()).collect();
        let mut states = self.make(&run, &all).await?;
        let state = |work: &WorkPlan| {
            let state = states.remove(&work.id).unwrap_or(WorkState::Waiting);
            (work.id.clone(), state)
        };
        Ok(Report {
            works: plan.works.iter().map(state).collect(),
        })
    }

    async fn run(&self, folder: &Folder, plan: Arc<Plan>) -> Made<Run> {
        Ok(Run {
            folder: folder.clone(),
            identities: self.identities(&plan).await?,
            state: Mutex::new(folder.state()),
            plan,
        })
    }

    /// Makes some works, whose needs are among them or there.
    async fn make(
        &self,
        run: &Arc<Run>,
        wanted: &HashSet<String>,
    ) -> Made<HashMap<String, WorkState>> {
        let mut states: HashMap<String, WorkState> = HashMap::new();
        let mut running: JoinSet<(String, Made<WorkState>)> = JoinSet::new();
        loop {
            if !self.stage.cancel.is_cancelled() {
                for work in ready(&run.plan, wanted, &states) {
                    states.insert(work.id.clone(), WorkState::Running);
                    let (director, run, work) = (self.clone(), run.clone(), work.clone());
                    running.spawn(async move {
                        let made = director.work(&run, &work).await;
                        (work.id, made)
                    });
                }
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let (id, made) =
                ended.map_err(|_| ErrorReport::new(ErrorCode::Internal, "a work failed badly"))?;
            let state = made.unwrap_or_else(WorkState::Failed);
            (self.watch)(Happening::Work {
                id: id.clone(),
                state: state.clone(),
            });
            states.insert(id, state);
        }
        if self.stage.cancel.is_cancelled() {
            return Err(ErrorReport::new(ErrorCode::Cancelled, "it was ended"));
        }
        Ok(states)
    }

    /// SHA-256 of the weights of each model that a work of the plan is made by.
    async fn identities(&self, plan: &Plan) -> Made<HashMap<String, String>> {
        let mut found = HashMap::new();
        for name in plan.works.iter().filter_map(|work| model_of(plan, work)) {
            if !found.contains_key(name) {
                found.insert(name.to_owned(), self.stage.identity(name).await?);
            }
        }
        Ok(found)
    }

    /// Makes a work whose needs are there, or keeps it.
    async fn work(&self, run: &Run, work: &WorkPlan) -> Made<WorkState> {
        let inputs = run.inputs(work);
        let fingerprint = run.fingerprint(work, &inputs);
        let made = run.state().works.get(&work.id).cloned();
        let same = made
            .as_ref()
            .is_some_and(|made| made.fingerprint == fingerprint);
        let standing = run.folder.standing(made.as_ref(), work);
        if same && standing != Standing::Missing {
            return Ok(WorkState::Kept);
        }
        if standing == Standing::Edited {
            self.put_aside(run, work, made.as_ref())?;
        }
        (self.watch)(Happening::Work {
            id: work.id.clone(),
            state: WorkState::Running,
        });
        let maker = Maker {
            stage: self.stage.clone(),
            folder: run.folder.clone(),
            plan: run.plan.clone(),
            recipes: self.recipes,
            inputs,
        };
        let (watch, id) = (self.watch.clone(), work.id.clone());
        let told = Box::new(move |event| {
            if let Event::Progress { stage, done, total } = event {
                let id = id.clone();
                watch(Happening::Progress {
                    id,
                    stage,
                    done,
                    total,
                });
            }
        });
        let files = maker.make(work, told).await?;
        run.keep(work, fingerprint, files)
            .map_err(|error| error.report())?;
        Ok(WorkState::Done)
    }

    fn put_aside(&self, run: &Run, work: &WorkPlan, made: Option<&MadeWork>) -> Made<()> {
        for file in work.files() {
            let known = made.and_then(|made| made.files.get(&file));
            if run.folder.hash(&file).as_ref() == known {
                continue;
            }
            let now = run
                .folder
                .put_aside(&file)
                .map_err(|error| error.report())?;
            (self.watch)(Happening::Aside { file, now });
        }
        Ok(())
    }

    /// Makes one work of a recipe again, with all that it is made of, in a folder of its own; gives the name of its file.
    ///
    /// # Errors
    /// A recipe that cannot be read; a work that was made of files which somebody had changed; what the models say.
    pub async fn remake(&self, folder: &Folder, request: &CreateRequest) -> Made<String> {
        let plan = Plan::read(request.plan.clone()).map_err(|error| error.report())?;
        let plan = Arc::new(plan);
        let Some(work) = plan.work(&request.work) else {
            let reason = format!("the plan has no work {:?}", request.work);
            return Err(plan::wrong("work", reason).report());
        };
        let run = Arc::new(self.run(folder, plan.clone()).await?);
        let mut needed = plan.closure(&work.id);
        needed.remove(&work.id);
        let states = self.make(&run, &needed).await?;
        if let Some(WorkState::Failed(failure)) =
            states.values().find(|s| matches!(s, WorkState::Failed(_)))
        {
            return Err(failure.clone());
        }
        for (name, hash) in &request.inputs {
            if folder.hash(name).as_ref() != Some(hash) {
                let reason = format!(
                    "{} was made of another {name} than this machine and these models make: edited by hand, or made elsewhere",
                    work.file
                );
                return Err(ErrorReport::new(ErrorCode::InvalidRequest, reason)
                    .with_hint("remake it in its folder with `medley create -o FOLDER`"));
            }
        }
        self.work(&run, work).await?;
        Ok(work.file.clone())
    }
}

impl Run {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files that a work is made of, with their hashes.
    fn inputs(&self, work: &WorkPlan) -> BTreeMap<String, String> {
        let needs = self.plan.needs(work);
        let works = needs.iter().filter_map(|id| self.plan.work(id));
        let files = works.flat_map(WorkPlan::files);
        files
            .filter_map(|name| Some((name.clone(), self.folder.hash(&name)?)))
            .collect()
    }

    /// A hash of all that a work is made of: how it is made, its inputs, its model, and what it takes from the plan.
    fn fingerprint(&self, work: &WorkPlan, inputs: &BTreeMap<String, String>) -> String {
        let plan = &self.plan;
        let model = model_of(plan, work).and_then(|name| self.identities.get(name));
        let taken: Value = match &work.make {
            Make::Text { .. } => json!([
                plan.name,
                plan.what,
                plan.audience,
                plan.tone,
                plan.message,
                plan.brief
            ]),
            Make::Poster { .. } | Make::Film { .. } => json!([plan.palette]),
            Make::Page { .. } => json!([plan.name, plan.what, plan.brief, plan.palette]),
            _ => Value::Null,
        };
        sha256_hex(
            json!([plan::VERSION, work, inputs, model, taken])
                .to_string()
                .as_bytes(),
        )
    }

    /// Writes the files of a work, and that it was made.
    fn keep(&self, work: &WorkPlan, fingerprint: String, files: Files) -> crate::Result<()> {
        for (name, bytes) in &files {
            work_file::write(&self.folder.file(name), bytes)?;
        }
        let hashes = work.files().into_iter();
        let hashes = hashes.filter_map(|name| Some((name.clone(), self.folder.hash(&name)?)));
        let made = MadeWork {
            fingerprint,
            files: hashes.collect(),
        };
        let mut state = self.state();
        state.works.insert(work.id.clone(), made);
        self.folder.write_state(&state)
    }
}

/// The model that a work is made by, if one is.
fn model_of<'p>(plan: &'p Plan, work: &WorkPlan) -> Option<&'p str> {
    let models = &plan.models;
    Some(match &work.make {
        Make::Text { .. } => &models.text,
        Make::Image { .. } => &models.image,
        Make::Music { .. } => &models.music,
        Make::Speech { .. } => &models.speech,
        Make::Video { .. } => &models.video,
        Make::Poster { .. } | Make::Film { .. } | Make::Page { .. } => return None,
    })
}

/// The works that can be begun: not begun yet, and all that they are made of is there.
fn ready<'p>(
    plan: &'p Plan,
    wanted: &HashSet<String>,
    states: &HashMap<String, WorkState>,
) -> Vec<&'p WorkPlan> {
    let there: HashSet<&str> = states
        .iter()
        .filter(|(_, state)| matches!(state, WorkState::Done | WorkState::Kept))
        .map(|(id, _)| id.as_str())
        .collect();
    let can = |work: &&WorkPlan| {
        wanted.contains(&work.id)
            && !states.contains_key(&work.id)
            && plan
                .needs(work)
                .iter()
                .all(|id| there.contains(id.as_str()))
    };
    plan.works.iter().filter(can).collect()
}
