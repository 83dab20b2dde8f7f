//! Edits tried in memory: each is taken whole or dropped with the reason, and nothing is written.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::write::{check_new, check_path};
use super::{Edit, Left, Rename, Repository, diff};

/// An edit, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The edit.
    #[serde(flatten)]
    pub edit: Edit,
    /// Why it was dropped; nothing where it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is there and changes.
    Changed,
    /// It is new.
    New,
    /// It goes.
    Deleted,
}

impl Serialize for ChangeKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Changed => "changed",
            Self::New => "new",
            Self::Deleted => "deleted",
        })
    }
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path below the root.
    pub path: String,
    /// What becomes of it.
    pub kind: ChangeKind,
    /// What it holds before; empty where it is new.
    pub before: String,
    /// What it holds after; empty where it goes.
    pub after: String,
    pub(super) executable: bool,
}

/// The files of a repository as edits would leave them.
#[derive(Debug)]
pub struct Drafts<'r> {
    pub(super) repository: &'r Repository,
    /// Texts of files that were edited; none where a file goes.
    texts: BTreeMap<String, Option<String>>,
    judged: Vec<Judged>,
    left: Vec<Left>,
}

impl<'r> Drafts<'r> {
    /// The files as they are.
    pub fn new(repository: &'r Repository) -> Self {
        Self {
            repository,
            texts: BTreeMap::new(),
            judged: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Takes an edit, or drops it with the reason.
    pub fn take(&mut self, edit: Edit) {
        let problem = match &edit {
            Edit::Replace {
                path,
                find,
                replace,
            } => self.replace(path, find, replace),
            Edit::Create { path, text } => self.create(path, text),
            Edit::Delete { path } => self.text(path).map(|_| {
                self.texts.insert(path.clone(), None);
            }),
            Edit::Rename { from, to } => self.rename(from, to, &[]),
        };
        let problem = problem.err();
        self.judged.push(Judged { edit, problem });
    }

    /// Takes a renaming of what a certain file defines.
    pub fn take_rename(&mut self, rename: &Rename) {
        let problem = self.rename(&rename.from, &rename.to, &rename.files).err();
        let edit = Edit::Rename {
            from: rename.from.clone(),
            to: rename.to.clone(),
        };
        self.judged.push(Judged { edit, problem });
    }

    /// All edits in order, and what became of each.
    pub fn judged(&self) -> &[Judged] {
        &self.judged
    }

    /// Uses of renamed names that were left, because they may be of something else.
    pub fn left(&self) -> &[Left] {
        &self.left
    }

    /// The files that change, in order of their paths.
    pub fn changes(&self) -> Vec<Change> {
        let change = |(path, after): (&String, &Option<String>)| {
            let file = self
                .repository
                .find(path)
                .map(|index| &self.repository.files[index]);
            let before = file.map_or(String::new(), |file| file.stored());
            let form = file.map(|file| file.form).unwrap_or_default();
            let kind = match (file, after) {
                (None, Some(_)) => ChangeKind::New,
                (Some(_), None) => ChangeKind::Deleted,
                (Some(_), Some(_)) => ChangeKind::Changed,
                (None, None) => return None,
            };
            let after = after
                .as_ref()
                .map_or(String::new(), |text| form.written(text));
            (kind != ChangeKind::Changed || before != after).then(|| Change {
                path: path.clone(),
                kind,
                before,
                after,
                executable: file.is_some_and(|file| file.executable),
            })
        };
        self.texts.iter().filter_map(change).collect()
    }

    /// All changes as one unified diff that `git apply` takes.
    pub fn diff(&self) -> String {
        self.changes().iter().map(diff::of_change).collect()
    }

    /// Files whose brackets were even and are not any more, which is hardly meant.
    pub fn uneven(&self) -> Vec<String> {
        let broken = |change: &Change| {
            change.kind != ChangeKind::Deleted && even(&change.before) && !even(&change.after)
        };
        let changes = self.changes().into_iter();
        changes.filter(broken).map(|change| change.path).collect()
    }

    /// The text of a file as it is now.
    fn text(&self, path: &str) -> Result<String, String> {
        match self.texts.get(path) {
            Some(Some(text)) => Ok(text.clone()),
            Some(None) => Err("it was deleted before".into()),
            None => match self.repository.find(path) {
                Some(index) => Ok(self.repository.files[index].text.clone()),
                None => Err("there is no such file".into()),
            },
        }
    }

    fn replace(&mut self, path: &str, find: &str, replace: &str) -> Result<(), String> {
        let text = self.text(path)?;
        let lines: Vec<&str> = text.lines().collect();
        let wanted: Vec<&str> = find.lines().collect();
        if wanted.iter().all(|line| line.trim().is_empty()) {
            return Err("it searches for no line".into());
        }
        let same = |(a, b): (&&str, &&str)| a.trim_end() == b.trim_end();
        let places: Vec<usize> = (0..=lines.len().saturating_sub(wanted.len()))
            .filter(|&at| {
                lines.len() >= wanted.len()
                    && lines[at..at + wanted.len()].iter().zip(&wanted).all(same)
            })
            .collect();
        let at = match places.as_slice() {
            [at] => *at,
            [] => return Err("the lines that it searches for do not stand there".into()),
            many => {
                return Err(format!(
                    "the lines that it searches for stand there {} times, and which are meant is not said",
                    many.len()
                ));
            }
        };
        let new: Vec<&str> = replace.lines().collect();
        if new == lines[at..at + wanted.len()] {
            return Err("it changes nothing".into());
        }
        let all = [&lines[..at], &new, &lines[at + wanted.len()..]].concat();
        let mut after = all.join("\n");
        // A text without an end of its last line keeps none.
        if !after.is_empty() && (text.ends_with('\n') || text.is_empty()) {
            after.push('\n');
        }
        self.texts.insert(path.to_owned(), Some(after));
        Ok(())
    }

    fn create(&mut self, path: &str, text: &str) -> Result<(), String> {
        check_path(path)?;
        if self.texts.contains_key(path) {
            return Err("it was edited before".into());
        }
        check_new(&self.repository.root, path)?;
        if text.trim().is_empty() {
            return Err("it has no text".into());
        }
        self.texts.insert(path.to_owned(), Some(text.to_owned()));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str, files: &[usize]) -> Result<(), String> {
        let now: Vec<(usize, String)> = (0..self.repository.files.len())
            .filter_map(|index| Some((index, self.text(&self.repository.files[index].path).ok()?)))
            .collect();
        let renamed = self.repository.renamed(from, to, files, &now)?;
        for (index, text) in renamed.texts {
            let path = self.repository.files[index].path.clone();
            self.texts.insert(path, Some(text));
        }
        self.left.extend(renamed.left);
        Ok(())
    }
}

/// Whether a text closes as many brackets as it opens.
pub(super) fn even(text: &str) -> bool {
    let count = |sign: char| text.matches(sign).count();
    count('(') == count(')') && count('[') == count(']') && count('{') == count('}')
}
