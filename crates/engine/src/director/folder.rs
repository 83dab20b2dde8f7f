//! The folder that the works lie in: what was made of what, so that a second run makes only what is missing or changed, and
//! nothing that somebody wrote is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::{Plan, WorkPlan, wrong};
use crate::fetch::{CancelFlag, sha256_file};
use crate::image::read_limited;
use crate::work_file;
use crate::{EngineError, Result};

/// The plan, which people may edit.
pub const PLAN: &str = "plan.json";

/// What was made, which they need not.
const STATE: &str = ".medley.json";

/// Bytes of the largest plan.
const MOST: u64 = 8 << 20;

/// A folder of works.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// By the works' ids.
    pub works: BTreeMap<String, MadeWork>,
}

/// A work that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeWork {
    /// Of all that it was made of.
    pub fingerprint: String,
    /// SHA-256 of its files by their names.
    pub files: BTreeMap<String, String>,
}

/// How a work stands before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it was made.
    Made,
    /// Somebody has changed its file since.
    Edited,
    /// A file of it is not there, or it was never made.
    Missing,
}

impl Folder {
    /// A folder, which is made where it is not there.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(EngineError::io("create", path))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Its plan, if it has one.
    ///
    /// # Errors
    /// [`EngineError::Io`], [`EngineError::Plan`].
    pub fn plan(&self) -> Result<Option<Plan>> {
        let path = self.file(PLAN);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_limited(&path, MOST)?;
        let named = path.display().to_string();
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(&named, format!("not valid JSON: {error}")))?;
        Plan::read(value).map(Some)
    }

    /// Writes its plan.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub fn write_plan(&self, plan: &Plan) -> Result<()> {
        let text = serde_json::to_string_pretty(plan).map_err(|error| wrong(PLAN, error))?;
        work_file::write(&self.file(PLAN), format!("{text}\n").as_bytes())
    }

    /// What was made here; nothing where that is not known.
    pub fn state(&self) -> State {
        let bytes = read_limited(&self.file(STATE), MOST);
        let state = bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        state.unwrap_or_default()
    }

    /// Writes down what was made.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub fn write_state(&self, state: &State) -> Result<()> {
        let text = serde_json::to_string(state).map_err(|error| wrong(STATE, error))?;
        work_file::write(&self.file(STATE), text.as_bytes())
    }

    /// Refuses to write over files that no run of a plan has made.
    ///
    /// # Errors
    /// [`EngineError::Output`] names the first.
    pub fn check_free(&self, plan: &Plan) -> Result<()> {
        let state = self.state();
        let files = plan.works.iter().flat_map(WorkPlan::files);
        let foreign = files.into_iter().find(|name| {
            let known = state
                .works
                .values()
                .any(|made| made.files.contains_key(name));
            !known && self.file(name).exists()
        });
        match foreign {
            None => Ok(()),
            Some(name) => Err(EngineError::Output {
                path: self.file(&name),
                reason: "it is there already and not made by a plan: choose another folder".into(),
            }),
        }
    }

    /// How a work stands, by what the state says of it.
    pub fn standing(&self, made: Option<&MadeWork>, work: &WorkPlan) -> Standing {
        let Some(made) = made else {
            return Standing::Missing;
        };
        let mut standing = Standing::Made;
        for name in work.files() {
            match (made.files.get(&name), self.hash(&name)) {
                (Some(known), Some(hash)) if *known == hash => {}
                (Some(_), Some(_)) => standing = Standing::Edited,
                _ => return Standing::Missing,
            }
        }
        standing
    }

    /// SHA-256 of a file; none where it is not there.
    pub fn hash(&self, name: &str) -> Option<String> {
        let hashed = sha256_file(&self.file(name), &CancelFlag::new(), &mut |_| {});
        Some(hashed.ok()?.1)
    }

    /// Puts what somebody has changed aside: `copy.md` becomes `copy.yours.md`, or `copy.yours-2.md` … Gives the new name.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub fn put_aside(&self, name: &str) -> Result<String> {
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        let mut number = 1;
        loop {
            let more = if number == 1 {
                String::new()
            } else {
                format!("-{number}")
            };
            let aside = format!("{stem}.yours{more}.{ending}");
            if !self.file(&aside).exists() {
                let from = self.file(name);
                std::fs::rename(&from, self.file(&aside))
                    .map_err(EngineError::io("rename", &from))?;
                return Ok(aside);
            }
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_changed_is_seen_and_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("deep/er")).unwrap();
        let work: WorkPlan = serde_json::from_value(serde_json::json!({
            "id": "a", "title": "A", "file": "a.png", "medium": "image", "prompt": "x", "seed": 1
        }))
        .unwrap();
        assert_eq!(folder.standing(None, &work), Standing::Missing);
        std::fs::write(folder.file("a.png"), b"one").unwrap();
        let made = MadeWork {
            fingerprint: "f".into(),
            files: [("a.png".to_owned(), folder.hash("a.png").unwrap())].into(),
        };
        assert_eq!(folder.standing(Some(&made), &work), Standing::Made);
        std::fs::write(folder.file("a.png"), b"two").unwrap();
        assert_eq!(folder.standing(Some(&made), &work), Standing::Edited);
        assert_eq!(folder.put_aside("a.png").unwrap(), "a.yours.png");
        assert_eq!(folder.standing(Some(&made), &work), Standing::Missing);
        std::fs::write(folder.file("a.png"), b"three").unwrap();
        assert_eq!(folder.put_aside("a.png").unwrap(), "a.yours-2.png");
        let state = State {
            works: [("a".to_owned(), made)].into(),
        };
        folder.write_state(&state).unwrap();
        assert_eq!(folder.state(), state);
        std::fs::write(folder.file(STATE), b"{broken").unwrap();
        assert_eq!(folder.state(), State::default());
    }
}
