//! Models that can be had by name: the catalog committed with this crate, merged with the user's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use medley_types::Medium;
use serde::{Deserialize, Serialize};

use crate::home::Home;
use crate::{EngineError, Result};

const BUILT_IN: &str = include_str!("../catalog.toml");
const BUILT_IN_NAME: &str = "built-in catalog";
/// A catalog is read whole; nobody writes one of this size by hand.
const MAX_CATALOG_BYTES: u64 = 8 << 20;

/// All models known by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    entries: Vec<ModelEntry>,
}

/// One model of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// What it is called: lower-case letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// What it makes, or works on.
    pub medium: Medium,
    /// The model implementation that reads it.
    pub architecture: String,
    /// Commands whose default model it is: `text`, `embed` …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_for: Vec<String>,
    /// Names under which several models are pulled at once: `starter`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// SPDX identifier or plain name of the licence of the weights.
    pub licence: String,
    /// Terms that must be said to the user when the model is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence_note: Option<String>,
    /// The file to open; without it, the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<String>,
    /// Bytes of memory it takes at most in ordinary use; 0 where that was not measured.
    #[serde(default)]
    pub peak_memory: u64,
    /// Models that it needs beside it: text encoder, VAE, voice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<String>,
    /// Its files; of a model that only comes with the program there may be no list.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// Where it can be had, in the order in which they are tried.
    pub sources: Vec<Source>,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path inside the model's folder, with `/`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
}

/// Where a model can be had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A repository of the model hub.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Branch, tag or commit.
        #[serde(default = "main_branch")]
        revision: String,
        /// Paths in the repository of files that are called differently there.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        paths: BTreeMap<String, String>,
    },
    /// Files inside wheels that `pip download` fetches.
    Python {
        /// The packages.
        packages: Vec<Package>,
        /// Folder in the one package's wheel under which the files have their own names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
        /// For each file the pieces that, one after the other, are the file.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        parts: BTreeMap<String, Vec<Part>>,
    },
    /// A folder that has the files under their own names; they are copied.
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Comes with the program.
    Bundled,
}

/// A Python package at one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Bytes of its wheel, for the progress bar; 0 where unknown.
    #[serde(default)]
    pub size: u64,
}

/// A piece of a file, inside a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Name of one of the source's packages.
    pub package: String,
    /// Path inside the wheel.
    pub path: String,
}

fn main_branch() -> String {
    "main".to_owned()
}

impl Source {
    /// The name that forces this source: `hub`, `python`, `folder` or `bundled`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hub { .. } => "hub",
            Self::Python { .. } => "python",
            Self::Folder { .. } => "folder",
            Self::Bundled => "bundled",
        }
    }

    /// The source in words, for progress and messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Hub { repo, .. } => format!("hub {repo}"),
            Self::Python { packages, .. } => match packages.as_slice() {
                [one] => format!("python package {one}"),
                [first, rest @ ..] => format!("python package {first} and {} more", rest.len()),
                [] => "python package".to_owned(),
            },
            Self::Folder { path } => format!("folder {}", path.display()),
            Self::Bundled => "bundled".to_owned(),
        }
    }
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=={}", self.name, self.version)
    }
}

impl ModelEntry {
    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Whether it comes with the program.
    pub fn is_bundled(&self) -> bool {
        self.sources.contains(&Source::Bundled)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogFile {
    #[serde(default)]
    model: Vec<ModelEntry>,
}

impl Catalog {
    /// The catalog committed with this crate.
    pub fn built_in() -> Result<Self> {
        let catalog = Self {
            entries: parse(BUILT_IN, BUILT_IN_NAME)?,
        };
        catalog.check_companions(BUILT_IN_NAME)?;
        Ok(catalog)
    }

    /// The built-in catalog with the user's own entries, which replace those of the same name.
    pub fn load(home: &Home) -> Result<Self> {
        let path = home.catalog_file();
        let size = match fs::metadata(&path) {
            Ok(found) => found.len(),
            // A home that cannot be is told when something is to be written to it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Self::built_in();
            }
            Err(error) => return Err(EngineError::io("read", &path)(error)),
        };
        if size > MAX_CATALOG_BYTES {
            let reason =
                format!("{size} bytes are too many for a catalog; {MAX_CATALOG_BYTES} are allowed");
            return Err(EngineError::Catalog {
                catalog: path.display().to_string(),
                reason,
            });
        }
        let text = fs::read_to_string(&path).map_err(EngineError::io("read", &path))?;
        Self::built_in()?.merged(&text, &path.display().to_string())
    }

    /// This catalog with the entries of a TOML text, which replace those of the same name. `origin` names the text in errors.
    pub fn merged(mut self, text: &str, origin: &str) -> Result<Self> {
        for own in parse(text, origin)? {
            for other in &mut self.entries {
                other
                    .default_for
                    .retain(|command| !own.default_for.contains(command));
            }
            match self.entries.iter_mut().find(|entry| entry.name == own.name) {
                Some(entry) => *entry = own,
                None => self.entries.push(own),
            }
        }
        self.check_companions(origin)?;
        Ok(self)
    }

    /// All entries: the built-in ones in their order, then the user's.
    pub fn entries(&self) -> &[ModelEntry] {
        &self.entries
    }

    /// The entry of a name.
    pub fn get(&self, name: &str) -> Option<&ModelEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The default model of a command, `text` or `embed` say.
    pub fn default_for(&self, command: &str) -> Option<&ModelEntry> {
        self.entries
            .iter()
            .find(|entry| entry.default_for.iter().any(|c| c == command))
    }

    /// The models of a group; none where there is no such group.
    pub fn group(&self, group: &str) -> Vec<&ModelEntry> {
        self.entries
            .iter()
            .filter(|entry| entry.groups.iter().any(|g| g == group))
            .collect()
    }

    /// The names of all groups.
    pub fn groups(&self) -> BTreeSet<&str> {
        self.entries
            .iter()
            .flat_map(|entry| entry.groups.iter().map(String::as_str))
            .collect()
    }

    /// Up to three names that look like `name`, best first.
    pub fn similar(&self, name: &str) -> Vec<String> {
        let names = self
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .chain(self.groups());
        similar(name, names)
    }

    fn check_companions(&self, origin: &str) -> Result<()> {
        for entry in &self.entries {
            for companion in &entry.companions {
                if companion == &entry.name || self.get(companion).is_none() {
                    return Err(EngineError::Catalog {
                        catalog: origin.to_owned(),
                        reason: format!(
                            "model {:?} names the companion {companion:?}, which is no other entry",
                            entry.name
                        ),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Up to three of the names that look like `name`, best first.
pub(crate) fn similar<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(f64, &str)> = names
        .map(|known| {
            let score = strsim::jaro_winkler(&wanted, known);
            let inside = wanted.len() >= 3 && (known.contains(&wanted) || wanted.contains(known));
            // Letters that changed places weigh too much in short names.
            let slip = strsim::damerau_levenshtein(&wanted, known) <= (known.len() / 4).max(1);
            (
                if inside || slip {
                    score.max(0.9)
                } else {
                    score
                },
                known,
            )
        })
        .filter(|(score, _)| *score >= 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored
        .into_iter()
        .take(3)
        .map(|(_, known)| known.to_owned())
        .collect()
}

fn parse(text: &str, origin: &str) -> Result<Vec<ModelEntry>> {
    let fail = |reason: String| EngineError::Catalog {
        catalog: origin.to_owned(),
        reason,
    };
    let file: CatalogFile = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| {
            text.get(..span.start)
                .unwrap_or_default()
                .matches('\n')
                .count()
                + 1
        });
        let message = error.message().replace('\n', " ");
        fail(line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}")))
    })?;
    let mut names = BTreeSet::new();
    for entry in &file.model {
        check_entry(entry).map_err(|reason| fail(format!("model {:?}: {reason}", entry.name)))?;
        if !names.insert(&entry.name) {
            return Err(fail(format!("model {:?} is listed twice", entry.name)));
        }
    }
    Ok(file.model)
}

/// Whether this can be a file's path below a folder: relative, with `/`, and never upwards.
pub(crate) fn is_plain_path(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '\0', ':'])
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        && !path.ends_with('/')
}

fn check_entry(entry: &ModelEntry) -> Result<(), String> {
    let plain =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let starts_well = entry
        .name
        .starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !starts_well || entry.name.len() > 64 || !entry.name.chars().all(plain) {
        return Err("a name has up to 64 lower-case letters, digits, '-', '_' or '.', and starts with a letter or digit".into());
    }
    for (field, value) in [
        ("architecture", &entry.architecture),
        ("licence", &entry.licence),
    ] {
        if value.trim().is_empty() {
            return Err(format!("{field} is empty"));
        }
    }
    // What only comes with the program is as the program's own files are, with no list to hold it against.
    let only_bundled = entry.sources == [Source::Bundled];
    if entry.files.is_empty() && !only_bundled {
        return Err("it has no files".into());
    }
    if entry.sources.is_empty() {
        return Err("it has no sources".into());
    }
    let mut names = BTreeSet::new();
    for file in &entry.files {
        check_file(file)?;
        if !names.insert(file.name.as_str()) {
            return Err(format!("file {:?} is listed twice", file.name));
        }
    }
    if let Some(load) = &entry.load
        && !names.contains(load.as_str())
    {
        return Err(format!("load names {load:?}, which is none of its files"));
    }
    entry
        .sources
        .iter()
        .try_for_each(|source| check_source(source, &names))
}

fn check_file(file: &FileEntry) -> Result<(), String> {
    let name = &file.name;
    if !is_plain_path(name) {
        return Err(format!(
            "file {name:?} is no relative path below the model's folder"
        ));
    }
    if name.ends_with(".part") || name == crate::manifest::FILE_NAME {
        return Err(format!(
            "file {name:?} has a name that is kept for the pull itself"
        ));
    }
    if file.size == 0 {
        return Err(format!("file {name:?} has the size 0"));
    }
    let digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if file.sha256.len() != 64 || !file.sha256.chars().all(digit) {
        return Err(format!(
            "file {name:?}: sha256 is {:?}, not 64 lower-case hexadecimal digits",
            file.sha256
        ));
    }
    Ok(())
}

fn check_source(source: &Source, files: &BTreeSet<&str>) -> Result<(), String> {
    match source {
        Source::Hub {
            repo,
            revision,
            paths,
        } => {
            crate::fetch::hub::check_repo(repo)?;
            crate::fetch::hub::check_revision(revision)?;
            for (file, path) in paths {
                if !files.contains(file.as_str()) {
                    return Err(format!(
                        "hub source: paths names {file:?}, which is none of its files"
                    ));
                }
                if !is_plain_path(path) {
                    return Err(format!("hub source: {path:?} is no path in a repository"));
                }
            }
            Ok(())
        }
        Source::Python {
            packages,
            folder,
            parts,
        } => check_python(packages, folder.as_deref(), parts, files),
        Source::Folder { path } if path.as_os_str().is_empty() => {
            Err("folder source: path is empty".into())
        }
        Source::Folder { .. } | Source::Bundled => Ok(()),
    }
}

fn check_python(
    packages: &[Package],
    folder: Option<&str>,
    parts: &BTreeMap<String, Vec<Part>>,
    files: &BTreeSet<&str>,
) -> Result<(), String> {
    // Names and versions go on a command line: nothing that could be read as an option, a path or an address.
    let plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '!'))
    };
    if packages.is_empty() {
        return Err("python source: it has no packages".into());
    }
    if let Some(bad) = packages
        .iter()
        .find(|p| !plain(&p.name) || !plain(&p.version))
    {
        return Err(format!(
            "python source: \"{bad}\" is no package name with a version"
        ));
    }
    match folder {
        Some(folder) if packages.len() == 1 && parts.is_empty() => {
            if !folder.is_empty() && !is_plain_path(folder) {
                return Err(format!(
                    "python source: {folder:?} is no folder inside a wheel"
                ));
            }
            return Ok(());
        }
        Some(_) => {
            return Err(
                "python source: folder goes with exactly one package and without parts".into(),
            );
        }
        None => {}
    }
    for file in files {
        if parts.get(*file).is_none_or(Vec::is_empty) {
            return Err(format!("python source: parts lacks the file {file:?}"));
        }
    }
    for (file, pieces) in parts {
        if !files.contains(file.as_str()) {
            return Err(format!(
                "python source: parts names {file:?}, which is none of its files"
            ));
        }
        for piece in pieces {
            if !packages.iter().any(|p| p.name == piece.package) {
                return Err(format!(
                    "python source: a part of {file:?} names the package {:?}, which is not listed",
                    piece.package
                ));
            }
            if !is_plain_path(&piece.path) {
                return Err(format!(
                    "python source: {:?} is no path inside a wheel",
                    piece.path
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
