//! The files of a folder that git would keep.

use std::fmt;
use std::path::Path;

use ignore::WalkBuilder;

use super::SourceFile;

/// Bytes of a file at most: larger ones are data.
const LARGEST: u64 = 1 << 20;

/// Files of a folder at most.
const FILES: usize = 20_000;

/// Bytes of all files together at most.
const BYTES: u64 = 64 << 20;

/// How deep folders are gone into.
const DEPTH: usize = 64;

/// Files that tools write, though they look like source.
const WRITTEN: [&str; 10] = [
    "Cargo.lock",
    "Gemfile.lock",
    "Pipfile.lock",
    "composer.lock",
    "go.sum",
    "package-lock.json",
    "pnpm-lock.yaml",
    "poetry.lock",
    "uv.lock",
    "yarn.lock",
];

/// Why a file is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// It is no text in UTF-8.
    Binary,
    /// It has more bytes than sources have.
    Large,
    /// A program has written it: minified scripts, lock files.
    Written,
    /// The folder has more files, or more bytes, than are read.
    Beyond,
    /// It cannot be read.
    Unreadable,
}

impl Skipped {
    /// What such files are.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Large => "over 1 MiB",
            Self::Written => "written by programs",
            Self::Beyond => "beyond 20,000 files or 64 MiB",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// A walk as git would make it, of a folder or of what lies at one path in it.
pub(super) fn walker(root: &Path) -> WalkBuilder {
    let mut builder = WalkBuilder::new(root);
    builder
        .follow_links(false)
        .ignore(false)
        // A folder that is no work tree yet may have its .gitignore already.
        .require_git(false)
        .max_depth(Some(DEPTH))
        .sort_by_file_path(Ord::cmp);
    builder
}

/// The sources below a folder in order of their paths, and what is left out.
pub(super) fn walk(root: &Path) -> (Vec<SourceFile>, Vec<(String, Skipped)>) {
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for entry in walker(root).build().flatten() {
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let Some(path) = name(entry.path(), root) else {
            continue;
        };
        let size = entry.metadata().map_or(0, |meta| meta.len());
        let read = match files.len() >= FILES || bytes + size > BYTES {
            true => Err(Skipped::Beyond),
            false => read(entry.path(), &path, size),
        };
        match read {
            Ok(file) => {
                bytes += size;
                files.push(file);
            }
            Err(why) => skipped.push((path, why)),
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    (files, skipped)
}

/// A path below the root with slashes; nothing where it is no text.
fn name(path: &Path, root: &Path) -> Option<String> {
    let below = path.strip_prefix(root).ok()?.to_str()?;
    Some(match cfg!(windows) {
        true => below.replace('\\', "/"),
        false => below.to_owned(),
    })
}

fn read(path: &Path, name: &str, size: u64) -> Result<SourceFile, Skipped> {
    let last = name.rsplit('/').next().unwrap_or_default();
    if WRITTEN.contains(&last) {
        return Err(Skipped::Written);
    }
    if size > LARGEST {
        return Err(Skipped::Large);
    }
    let bytes = crate::image::read_limited(path, LARGEST).map_err(|_| Skipped::Unreadable)?;
    // Control characters are in no source, and would be no text in a prompt.
    if bytes.contains(&0) {
        return Err(Skipped::Binary);
    }
    let text = String::from_utf8(bytes).map_err(|_| Skipped::Binary)?;
    SourceFile::new(name.to_owned(), &text, is_executable(path)).ok_or(Skipped::Written)
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
    false
}
