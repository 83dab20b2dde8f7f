//! Changes written into the folder: all of them or none, and none over what somebody else has changed.

use std::fs;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use ignore::gitignore::GitignoreBuilder;
use tempfile::NamedTempFile;

use super::{Change, ChangeKind, Drafts};
use crate::{EngineError, Result, work_file};

/// Most characters of a path that a model may make.
const LONGEST: usize = 200;

impl Drafts<'_> {
    /// Writes all changes, each file to a temporary name that is then renamed, with the mode that it has. Gives the
    /// paths that were written or deleted.
    ///
    /// # Errors
    /// [`EngineError::Repository`] where a path leaves the folder, is a link, is ignored, or where its file is not what was
    /// read; without `force` also where git has no copy of what would be written over. [`EngineError::Io`] where
    /// writing fails. Files are as they were then.
    pub fn apply(&self, force: bool) -> Result<Vec<PathBuf>> {
        let (root, changes) = (&self.repository.root, self.changes());
        for change in &changes {
            check(root, change).map_err(|reason| wrong(&change.path, reason))?;
        }
        if !force {
            let old = changes
                .iter()
                .filter(|change| change.kind != ChangeKind::New);
            let paths: Vec<&str> = old.map(|change| change.path.as_str()).collect();
            uncommitted(root, &paths)?;
        }
        let mut made = Vec::new();
        let written = self.write(&changes, &mut made);
        if written.is_err() {
            put_back(root, &changes, &made);
        }
        written?;
        Ok(changes
            .iter()
            .map(|change| root.join(&change.path))
            .collect())
    }

    /// Writes; `made` counts which changes are done, so that they can be undone.
    fn write(&self, changes: &[Change], made: &mut Vec<usize>) -> Result<()> {
        let root = &self.repository.root;
        let mut ready = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            if change.kind != ChangeKind::Deleted {
                ready.push((index, prepared(root, change)?));
            }
        }
        for (index, file) in ready {
            let path = root.join(&changes[index].path);
            let renamed = match changes[index].kind {
                ChangeKind::New => file.persist_noclobber(&path),
                _ => file.persist(&path),
            };
            renamed.map_err(|error| EngineError::io("write", &path)(error.error))?;
            made.push(index);
        }
        for (index, change) in changes.iter().enumerate() {
            if change.kind == ChangeKind::Deleted {
                let path = root.join(&change.path);
                fs::remove_file(&path).map_err(EngineError::io("delete", &path))?;
                made.push(index);
            }
        }
        Ok(())
    }
}

fn wrong(path: &str, reason: String) -> EngineError {
    EngineError::Repository {
        path: path.into(),
        reason,
    }
}

/// What a file shall hold, complete on the disk under a temporary name beside it.
fn prepared(root: &Path, change: &Change) -> Result<NamedTempFile> {
    let path = root.join(&change.path);
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder).map_err(EngineError::io("make", folder))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".medley-").suffix(".tmp");
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        // Less what the user's mask takes away.
        builder.permissions(fs::Permissions::from_mode(0o666))
    };
    let mut file = builder
        .tempfile_in(folder)
        .map_err(EngineError::io("write", &path))?;
    let write = |file: &mut NamedTempFile| {
        file.write_all(change.after.as_bytes())?;
        if change.kind == ChangeKind::Changed {
            file.as_file()
                .set_permissions(fs::metadata(&path)?.permissions())?;
        }
        file.as_file().sync_all()
    };
    write(&mut file).map_err(EngineError::io("write", &path))?;
    Ok(file)
}

/// Undoes what was done of changes that could not all be made.
fn put_back(root: &Path, changes: &[Change], made: &[usize]) {
    for change in made.iter().map(|&index| &changes[index]) {
        let path = root.join(&change.path);
        let undone = match change.kind {
            ChangeKind::New => fs::remove_file(&path).map_err(EngineError::io("delete", &path)),
            _ => {
                let mode = fs::metadata(&path).map(|meta| meta.permissions());
                let written = work_file::write(&path, change.before.as_bytes());
                if let Ok(mode) = mode {
                    let _ = fs::set_permissions(&path, mode);
                }
                written
            }
        };
        if let Err(error) = undone {
            tracing::error!("{} could not be put back: {error}", change.path);
        }
    }
}

/// Refuses a change of what is not as it was read.
fn check(root: &Path, change: &Change) -> Result<(), String> {
    if change.kind == ChangeKind::New {
        check_path(&change.path)?;
        return check_new(root, &change.path);
    }
    no_links(root, &change.path)?;
    let path = root.join(&change.path);
    let now = fs::read(&path).map_err(|_| "it cannot be read any more".to_owned())?;
    match now == change.before.as_bytes() {
        true => Ok(()),
        false => Err("it has changed since it was read; nothing was written".into()),
    }
}

/// Refuses a path that a model has made and that leads out of the folder, is hidden, or is no path of a file.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    let plain = |c: char| c.is_alphanumeric() || "._-+ @()[]/".contains(c);
    if path.is_empty() || path.len() > LONGEST || !path.chars().all(plain) || path.contains("//") {
        return Err("it is no path of a source file".into());
    }
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) if name.to_string_lossy().starts_with('.') => {
                return Err("hidden files are left alone".into());
            }
            Component::Normal(_) => {}
            _ => return Err("it leads out of the folder".into()),
        }
    }
    match path.ends_with(['/', ' ']) {
        true => Err("it is no path of a source file".into()),
        false => Ok(()),
    }
}

/// Refuses a new file where something is already, behind a link, or where git would ignore it.
pub(super) fn check_new(root: &Path, path: &str) -> Result<(), String> {
    no_links(root, path)?;
    if root.join(path).symlink_metadata().is_ok() {
        return Err("there is such a file already".into());
    }
    match is_ignored(root, path) {
        true => Err("git ignores it".into()),
        false => Ok(()),
    }
}

/// Refuses a path of which a part is a link, or where a folder would lie in a file.
fn no_links(root: &Path, path: &str) -> Result<(), String> {
    let mut at = root.to_owned();
    let mut parts = Path::new(path).components().peekable();
    while let Some(part) = parts.next() {
        at.push(part);
        let Ok(meta) = at.symlink_metadata() else {
            return Ok(());
        };
        if meta.is_symlink() {
            return Err("it is a link, or lies behind one".into());
        }
        if parts.peek().is_some() && !meta.is_dir() {
            return Err("it would lie in a file".into());
        }
    }
    Ok(())
}

/// Whether git would ignore a file that is not there yet.
fn is_ignored(root: &Path, path: &str) -> bool {
    let file = root.join(path);
    let top = root
        .ancestors()
        .find(|folder| folder.join(".git").exists())
        .unwrap_or(root);
    let mut lists: Vec<(PathBuf, PathBuf)> = file
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(top))
        .map(|folder| (folder.to_owned(), folder.join(".gitignore")))
        .collect();
    lists.push((top.to_owned(), top.join(".git/info/exclude")));
    for (folder, list) in lists {
        let mut builder = GitignoreBuilder::new(&folder);
        if !list.is_file() || builder.add(&list).is_some() {
            continue;
        }
        let Ok(rules) = builder.build() else { continue };
        // The nearest list has the last word.
        let matched = rules.matched_path_or_any_parents(&file, false);
        if !matched.is_none() {
            return matched.is_ignore();
        }
    }
    false
}

/// Refuses to write over what git has no copy of.
fn uncommitted(root: &Path, paths: &[&str]) -> Result<()> {
    let tracked = root.ancestors().any(|folder| folder.join(".git").exists());
    if !tracked || paths.is_empty() {
        return Ok(());
    }
    let mut git = Command::new("git");
    git.args([
        "--literal-pathspecs",
        "--no-optional-locks",
        "-c",
        "core.fsmonitor=false",
        "-C",
    ])
    .arg(root)
    .args([
        "status",
        "--porcelain=v1",
        "-z",
        "--no-renames",
        "--untracked-files=all",
        "--",
    ])
    .args(paths);
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(variable);
    }
    let unknown = |reason: &str| EngineError::Uncommitted {
        path: root.to_owned(),
        reason: format!("git cannot say whether all is committed ({reason})"),
    };
    let output = git.output().map_err(|error| unknown(&error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(unknown(said.lines().next().unwrap_or("it failed")));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let changed: Vec<&str> = said
        .split('\0')
        .filter_map(|entry| entry.get(3..))
        .collect();
    match changed.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => Err(EngineError::Uncommitted {
            path: first.into(),
            reason: match rest.len() {
                0 => "it has changes that are not committed".to_owned(),
                more => format!("it and {more} more have changes that are not committed"),
            },
        }),
    }
}
