//! Files and folders as the documents of a collection, brought to what they are now.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use super::read::LIMIT;
use super::{Added, Collection, Documents, Encoder, Format, NewDocument};
use crate::{EngineError, Result};

/// How deep folders are gone into.
const DEPTH: usize = 32;

/// Files of one call at most.
const FILES: usize = 200_000;

/// Files and folders that are kept in a collection.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// What was named.
    pub roots: Vec<PathBuf>,
    /// What is said of each of their documents.
    pub attributes: Map<String, Value>,
}

/// What became of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FolderReport {
    /// Documents that were not there.
    pub new: usize,
    /// Documents with another content.
    pub changed: usize,
    /// Documents that were there as they are.
    pub same: usize,
    /// Documents whose file is gone.
    pub removed: usize,
    /// Files of kinds that are not read.
    pub skipped: usize,
    /// Files that cannot be read, and why.
    pub failed: Vec<(String, String)>,
}

/// The files below some roots, with their time and size: what is there to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    files: BTreeMap<PathBuf, (SystemTime, u64)>,
    skipped: usize,
}

/// Looks for files: those that are named themselves, and those of kinds that are read below named folders. Hidden ones
/// and links are passed over.
///
/// # Errors
/// [`EngineError::NoSuchPath`], [`EngineError::Io`] for a root that cannot be read.
pub fn look(roots: &[PathBuf]) -> Result<Seen> {
    let mut seen = Seen::default();
    for root in roots {
        let root = std::path::absolute(root).map_err(EngineError::io("find", root))?;
        let meta = std::fs::metadata(&root).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => EngineError::Document {
                name: root.display().to_string(),
                reason: "it does not exist".into(),
            },
            _ => EngineError::io("read", &root)(error),
        })?;
        if meta.is_dir() {
            walk(&root, DEPTH, &mut seen)?;
        } else if Format::of_name(&root.to_string_lossy()).is_none() {
            return Err(EngineError::Document {
                name: root.display().to_string(),
                reason: "documents are txt, md, html, pdf, docx, csv and source code".into(),
            });
        } else {
            put(&mut seen, root, &meta);
        }
    }
    Ok(seen)
}

fn put(seen: &mut Seen, path: PathBuf, meta: &std::fs::Metadata) {
    let time = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    seen.files.insert(path, (time, meta.len()));
}

fn walk(folder: &Path, depth: usize, seen: &mut Seen) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(EngineError::io("read", folder))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if name.starts_with('.') || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            if depth > 0 {
                walk(&entry.path(), depth - 1, seen)?;
            }
        } else if Format::of_name(&name).is_none() || seen.files.len() >= FILES {
            seen.skipped += 1;
        } else if let Ok(meta) = entry.metadata() {
            put(seen, entry.path(), &meta);
        }
    }
    Ok(())
}

impl Documents {
    /// Brings the documents below some roots to what `seen` has; with `before`, files that have not changed since are not
    /// opened. `progress` is told what is done, and how much there is, and says whether to go on.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`], [`EngineError::Encoding`], [`EngineError::Database`]. A file that cannot be read is no
    /// error: the report names it.
    pub fn sync(
        &self,
        collection: &Collection,
        folder: &Folder,
        seen: &Seen,
        before: Option<&Seen>,
        encoder: &dyn Encoder,
        progress: &mut dyn FnMut(&Path, usize, usize) -> bool,
    ) -> Result<FolderReport> {
        let mut report = FolderReport {
            skipped: seen.skipped,
            ..FolderReport::default()
        };
        for (index, (path, state)) in seen.files.iter().enumerate() {
            if !progress(path, index, seen.files.len()) {
                return Err(EngineError::Cancelled);
            }
            if before.is_some_and(|before| before.files.get(path) == Some(state)) {
                report.same += 1;
                continue;
            }
            match self.add_file(collection, folder, path, encoder) {
                Ok(Added::New) => report.new += 1,
                Ok(Added::Changed) => report.changed += 1,
                Ok(Added::Same) => report.same += 1,
                Err(error @ (EngineError::Document { .. } | EngineError::Io { .. })) => {
                    let reason = match error {
                        EngineError::Document { reason, .. } => reason,
                        other => other.to_string(),
                    };
                    report.failed.push((path.display().to_string(), reason));
                }
                Err(error) => return Err(error),
            }
        }
        report.removed = self.remove_gone(collection, folder, seen)?;
        Ok(report)
    }

    fn add_file(
        &self,
        collection: &Collection,
        folder: &Folder,
        path: &Path,
        encoder: &dyn Encoder,
    ) -> Result<Added> {
        let source = path.to_string_lossy().into_owned();
        let wrong = |reason: String| EngineError::Document {
            name: source.clone(),
            reason,
        };
        let format = Format::of_name(&source).ok_or_else(|| wrong("of no known kind".into()))?;
        let size = std::fs::metadata(path)
            .map_err(EngineError::io("read", path))?
            .len();
        if size > LIMIT {
            return Err(wrong(format!(
                "it has {size} bytes, and {LIMIT} are the limit"
            )));
        }
        let bytes = std::fs::read(path).map_err(EngineError::io("read", path))?;
        let document = NewDocument {
            id: None,
            name: name_below(path, &folder.roots),
            source: source.clone(),
            format,
            bytes: &bytes,
            attributes: folder.attributes.clone(),
        };
        self.add(collection, &document, encoder)
    }

    /// Takes away documents of files that were below a root and are no more.
    fn remove_gone(&self, collection: &Collection, folder: &Folder, seen: &Seen) -> Result<usize> {
        let mut roots = HashMap::new();
        for root in &folder.roots {
            if let Ok(root) = std::path::absolute(root) {
                roots.insert(root.clone(), root.is_dir());
            }
        }
        let mut removed = 0;
        for document in self.list(collection)? {
            let path = Path::new(&document.source);
            let below = roots
                .iter()
                .any(|(root, dir)| *dir && path.starts_with(root));
            if below && !seen.files.contains_key(path) {
                self.remove(collection, &document.id)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// What a file is called: its path from the folder that was named.
fn name_below(path: &Path, roots: &[PathBuf]) -> String {
    let below = roots.iter().filter_map(|root| {
        let root = std::path::absolute(root).ok()?;
        let rest = path.strip_prefix(&root).ok()?;
        (!rest.as_os_str().is_empty()).then(|| rest.to_path_buf())
    });
    let shortest = below.min_by_key(|rest| rest.components().count());
    let name = shortest.or_else(|| path.file_name().map(PathBuf::from));
    name.unwrap_or_default()
        .to_string_lossy()
        .replace('\\', "/")
}
