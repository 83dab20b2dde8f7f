//! Briefs that a server carries out: each a folder of its own in the home, made by a job.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use medley_types::{Job, JobState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::folder::Folder;
use super::plan::Plan;
use super::{Happening, WorkState};
use crate::database::{fresh_id, now};
use crate::image::read_limited;
use crate::{EngineError, Home, Result, work_file};

/// What is asked for, beside the works.
const ABOUT: &str = "creation.json";

/// The folder of the works within.
const WORKS: &str = "works";

/// Bytes of the largest such file.
const MOST: u64 = 1 << 20;

/// A brief with what is to be made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// `create_` and 24 hexadecimal digits.
    pub id: String,
    /// As the user wrote it.
    pub brief: String,
    /// Name of the kit.
    pub kit: String,
    /// Of all draws.
    pub seed: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    /// The job that makes it, or made it last.
    #[serde(default)]
    pub job: String,
}

/// How the works of a creation that is being made stand.
type Live = HashMap<String, (WorkState, Option<f64>)>;

/// The creations of a home.
pub struct Creations {
    root: PathBuf,
    live: Mutex<HashMap<String, Live>>,
}

impl Creations {
    /// Those of a home.
    pub fn new(home: &Home) -> Self {
        Self {
            root: home.root().join("creations"),
            live: Mutex::default(),
        }
    }

    /// Keeps a new one, of which nothing is made yet.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub fn add(&self, brief: &str, kit: &str, seed: u64) -> Result<Creation> {
        let creation = Creation {
            id: fresh_id("create"),
            brief: brief.to_owned(),
            kit: kit.to_owned(),
            seed,
            created_at: now(),
            job: String::new(),
        };
        let folder = self.root.join(&creation.id);
        std::fs::create_dir_all(folder.join(WORKS)).map_err(EngineError::io("create", &folder))?;
        self.write(&creation)?;
        Ok(creation)
    }

    /// Writes down what changed.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub fn write(&self, creation: &Creation) -> Result<()> {
        let path = self.root.join(&creation.id).join(ABOUT);
        work_file::write(&path, json!(creation).to_string().as_bytes())
    }

    /// One of them.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub fn get(&self, id: &str) -> Result<Creation> {
        let missing = || EngineError::NotFound {
            what: "creation",
            id: id.to_owned(),
        };
        // Nothing else is a name of a folder here.
        let digits = id.strip_prefix("create_").ok_or_else(missing)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let bytes = read_limited(&self.root.join(id).join(ABOUT), MOST).map_err(|_| missing())?;
        serde_json::from_slice(&bytes).map_err(|_| missing())
    }

    /// All of them, the newest first.
    pub fn list(&self) -> Vec<Creation> {
        let folders = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten();
        let named = folders.filter_map(|entry| entry.file_name().into_string().ok());
        let mut all: Vec<Creation> = named.filter_map(|id| self.get(&id).ok()).collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        all
    }

    /// Where its works are.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Io`].
    pub fn folder(&self, id: &str) -> Result<Folder> {
        self.get(id)?;
        Folder::open(&self.root.join(id).join(WORKS))
    }

    /// Forgets one with all of its works.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Io`].
    pub fn remove(&self, id: &str) -> Result<()> {
        self.get(id)?;
        let folder = self.root.join(id);
        self.lock().remove(id);
        std::fs::remove_dir_all(&folder).map_err(EngineError::io("remove", &folder))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what happens while one is made.
    pub(crate) fn happens(&self, id: &str, happening: &Happening) {
        let mut all = self.lock();
        let live = all.entry(id.to_owned()).or_default();
        match happening {
            Happening::Planned(_) => live.clear(),
            Happening::Work { id, state } => {
                live.insert(id.clone(), (state.clone(), None));
            }
            Happening::Progress {
                id, done, total, ..
            } => {
                let share = *done as f64 / (*total).max(1) as f64;
                live.insert(
                    id.clone(),
                    (WorkState::Running, Some(share.clamp(0.0, 1.0))),
                );
            }
            Happening::Aside { .. } => {}
        }
    }

    /// Ends what is known of it beside its folder.
    pub(crate) fn ended(&self, id: &str) {
        if let Some(live) = self.lock().get_mut(id) {
            live.retain(|_, (state, _)| matches!(state, WorkState::Failed(_)));
        }
    }

    /// A creation as clients see it. `job` is the one that makes it, if that is known still.
    ///
    /// # Errors
    /// [`EngineError::Plan`] for a plan that somebody has broken.
    pub fn described(&self, creation: &Creation, job: Option<&Job>) -> Result<Value> {
        let folder = self.folder(&creation.id)?;
        let plan = folder.plan()?;
        let works = plan
            .as_ref()
            .map(|plan| self.works(&creation.id, &folder, plan));
        let works = works.unwrap_or_default();
        let there = works
            .iter()
            .all(|work| ["done", "kept"].contains(&work["state"].as_str().unwrap_or("")));
        let state = match job.map(|job| job.state) {
            Some(state) => state.as_str(),
            None if plan.is_some() && there => JobState::Done.as_str(),
            None => JobState::Cancelled.as_str(),
        };
        let title = match &plan {
            Some(plan) => plan.name.clone(),
            None => super::Brief::read(&creation.brief).name,
        };
        let error = job.and_then(|job| job.error.as_ref());
        Ok(json!({
            "id": creation.id, "object": "creation", "state": state, "kit": creation.kit, "brief": creation.brief,
            "title": title, "created_at": creation.created_at, "plan": plan, "works": works, "job": creation.job,
            "error": error.map(|e| json!({ "code": e.code, "message": e.message, "hint": e.hint })),
        }))
    }

    fn works(&self, id: &str, folder: &Folder, plan: &Plan) -> Vec<Value> {
        let state = folder.state();
        let live = self.lock().get(id).cloned().unwrap_or_default();
        let of_work = |work: &super::WorkPlan| {
            // Whether the files are as they were made is looked at when works are made, not on every look.
            let made = state.works.contains_key(&work.id);
            let there = made && work.files().iter().all(|name| folder.file(name).is_file());
            let (state, progress) = live.get(&work.id).cloned().unwrap_or_else(|| {
                let state = match there {
                    true => WorkState::Done,
                    false => WorkState::Waiting,
                };
                (state, None)
            });
            let error = match &state {
                WorkState::Failed(e) => {
                    json!({ "code": e.code, "message": e.message, "hint": e.hint })
                }
                _ => Value::Null,
            };
            json!({
                "id": work.id, "medium": work.make.medium(), "title": work.title, "file": work.file,
                "files": work.files(), "state": state.as_str(), "progress": progress, "error": error,
                "needs": plan.needs(work),
            })
        };
        plan.works.iter().map(of_work).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creations_are_kept_and_named_by_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let creations = Creations::new(&Home::at(dir.path()));
        let one = creations.add("Ember, a campfire", "campaign", 7).unwrap();
        assert_eq!(creations.get(&one.id).unwrap(), one);
        for id in ["", "create_", "create_../../x", "../creations", "create_zz"] {
            assert!(creations.get(id).is_err(), "{id}");
        }
        let described = creations.described(&one, None).unwrap();
        assert_eq!(
            (&described["state"], &described["title"]),
            (&json!("cancelled"), &json!("Ember"))
        );
        assert_eq!(creations.list(), std::slice::from_ref(&one));
        creations.remove(&one.id).unwrap();
        assert!(creations.list().is_empty() && creations.remove(&one.id).is_err());
    }
}
