//! Programs in a folder: which files there are, which of them a request is about, and what a language model changes in them.
//!
//! The folder is walked as git would ([`Repository::open`]). Its files are ranked by the words of the request
//! ([`Repository::rank`]), and a map of them, the likeliest first, is kept within a budget ([`Repository::map`]). What fits
//! the context is shown to the model ([`Repository::choose`]), whose answer a grammar holds to edits of lines that are
//! there ([`ask`]); a small model is asked about one definition at a time ([`Repository::blocks`]). Edits are tried in memory ([`Drafts`]), and are one unified diff; only [`Drafts::apply`] writes.

mod answer;
pub mod ask;
mod blocks;
mod choose;
mod comments;
pub mod diff;
mod drafts;
mod grammar;
mod map;
mod outline;
mod rank;
mod rename;
mod source;
mod walk;
mod write;

use std::path::{Path, PathBuf};

use crate::{EngineError, Result};

pub use answer::{Answer, Edit};
pub use blocks::{Block, BlockQuestion, Named};
pub use choose::{Asked, Choice, LeftOut, Shown, Why};
pub use drafts::{Change, ChangeKind, Drafts, Judged};
pub use map::{Entry, Map};
pub use outline::Definition;
pub use rank::Ranking;
pub use rename::{Left, Rename};
pub use source::SourceFile;
pub use walk::Skipped;

/// The source files of a folder.
#[derive(Debug)]
pub struct Repository {
    root: PathBuf,
    files: Vec<SourceFile>,
    skipped: Vec<(String, Skipped)>,
}

impl Repository {
    /// Reads the files below a folder that git would keep: what `.gitignore` names, hidden files and links are passed
    /// over; what is no text in UTF-8, too large or written by a program is left out and listed.
    ///
    /// # Errors
    /// [`EngineError::Repository`] where there is no such folder, or no file in it that can be worked on.
    pub fn open(root: &Path) -> Result<Self> {
        let wrong = |reason: String| EngineError::Repository {
            path: root.to_owned(),
            reason,
        };
        let found = root.canonicalize().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => wrong("there is no such folder".into()),
            _ => wrong(error.to_string()),
        })?;
        if !found.is_dir() {
            return Err(wrong("it is no folder".into()));
        }
        let (files, skipped) = walk::walk(&found);
        if files.is_empty() {
            let reason = match skipped.as_slice() {
                [] => {
                    "there are no files in it, those that git ignores and hidden ones apart".into()
                }
                some => format!("none of its files is source text: {}", summary(some)),
            };
            return Err(wrong(reason));
        }
        Ok(Self {
            root: found,
            files,
            skipped,
        })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its files in order of their paths.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Files that are left out, and why.
    pub fn skipped(&self) -> &[(String, Skipped)] {
        &self.skipped
    }

    /// What is left out, in a few words; nothing where all is there.
    pub fn skipped_summary(&self) -> Option<String> {
        (!self.skipped.is_empty()).then(|| summary(&self.skipped))
    }

    /// The place among [`files`](Self::files) of a file, by its path below the root.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()
    }

    /// The files that a user means by a path: one from the folder or from where the user is, or all below a folder.
    ///
    /// # Errors
    /// [`EngineError::Repository`] for a path outside, or one of no file that can be worked on.
    pub fn named(&self, path: &Path) -> Result<Vec<usize>> {
        let wrong = |reason: &str| EngineError::Repository {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let inside = self.root.join(path);
        let inside = match inside.symlink_metadata() {
            Ok(_) => inside,
            Err(_) => path.to_owned(),
        };
        let meta = inside
            .symlink_metadata()
            .map_err(|_| wrong("it does not exist"))?;
        if meta.is_symlink() {
            return Err(wrong("it is a link, and links are not followed"));
        }
        let full = inside.canonicalize().map_err(|e| wrong(&e.to_string()))?;
        let Ok(below) = full.strip_prefix(&self.root) else {
            return Err(wrong("it lies outside of the folder"));
        };
        let name = below.to_string_lossy().replace('\\', "/");
        if meta.is_dir() {
            let prefix = match name.is_empty() {
                true => name,
                false => format!("{name}/"),
            };
            let all = (0..self.files.len()).filter(|&i| self.files[i].path.starts_with(&prefix));
            let all: Vec<usize> = all.collect();
            return match all.is_empty() {
                true => Err(wrong("it holds no source files that git would keep")),
                false => Ok(all),
            };
        }
        if let Some(index) = self.find(&name) {
            return Ok(vec![index]);
        }
        match self.skipped.iter().find(|(path, _)| *path == name) {
            Some((_, why)) => Err(wrong(&format!("it is left out: {why}"))),
            None => Err(wrong("it is hidden or git ignores it, so it is left alone")),
        }
    }
}

fn summary(skipped: &[(String, Skipped)]) -> String {
    let mut counts: Vec<(&'static str, usize)> = Vec::new();
    for (_, why) in skipped {
        let words = why.words();
        match counts.iter_mut().find(|(known, _)| *known == words) {
            Some((_, count)) => *count += 1,
            None => counts.push((words, 1)),
        }
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(words, n)| format!("{n} {words}"))
        .collect();
    parts.join(", ")
}
