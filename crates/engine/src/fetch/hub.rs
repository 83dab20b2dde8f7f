//! The model hub: what a repository holds, which of it is the model, and where its files are.

use std::collections::BTreeMap;
use std::env;

use medley_types::Medium;
use serde::Deserialize;

use super::{Token, Transfer};
use crate::catalog::is_plain_path;
use crate::{EngineError, Result};

const DEFAULT_BASE: &str = "https://huggingface.co";
const MAX_LISTING_BYTES: usize = 32 << 20;

/// `hf:owner/name[:file][@revision]`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubRef {
    /// `owner/name`.
    pub repo: String,
    /// A file, a part of a GGUF file's name such as `Q4_K_M`, or `safetensors`.
    pub file: Option<String>,
    /// Branch, tag or commit; `main` where none is given.
    pub revision: Option<String>,
}

impl HubRef {
    /// Whether a name is meant as a hub reference.
    pub fn is_reference(name: &str) -> bool {
        name.starts_with("hf:")
    }

    /// Takes a reference apart.
    pub fn parse(reference: &str) -> Result<Self> {
        let bad = |reason: String| EngineError::BadReference {
            reference: reference.to_owned(),
            reason,
        };
        let rest = reference
            .strip_prefix("hf:")
            .ok_or_else(|| bad("it does not begin with hf:".to_owned()))?;
        let (rest, revision) = match rest.rsplit_once('@') {
            Some((rest, revision)) => (rest, Some(revision)),
            None => (rest, None),
        };
        let (repo, file) = match rest.split_once(':') {
            Some((repo, file)) => (repo, Some(file)),
            None => (rest, None),
        };
        check_repo(repo).map_err(bad)?;
        if let Some(revision) = revision {
            check_revision(revision).map_err(bad)?;
        }
        if let Some(file) = file.filter(|file| !is_plain_path(file)) {
            return Err(bad(format!("{file:?} is no path in a repository")));
        }
        Ok(Self {
            repo: repo.to_owned(),
            file: file.map(str::to_owned),
            revision: revision.map(str::to_owned),
        })
    }
}

impl std::fmt::Display for HubRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "hf:{}", self.repo)?;
        if let Some(file) = &self.file {
            write!(f, ":{file}")?;
        }
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        Ok(())
    }
}

pub(crate) fn check_repo(repo: &str) -> Result<(), String> {
    let word = |text: &str| {
        !text.is_empty()
            && text.len() <= 96
            && !text.starts_with('.')
            && !text.contains("..")
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match repo.split_once('/') {
        Some((owner, name)) if word(owner) && word(name) => Ok(()),
        _ => Err(format!("{repo:?} is not of the form owner/name")),
    }
}

pub(crate) fn check_revision(revision: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    if revision.is_empty()
        || revision.len() > 200
        || revision.contains("..")
        || !revision.chars().all(plain)
    {
        return Err(format!("{revision:?} is no revision"));
    }
    Ok(())
}

/// The hub, or a mirror of it.
#[derive(Clone, Debug)]
pub struct Hub {
    base: String,
    token: Option<Token>,
}

/// One file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// Path in the repository.
    pub path: String,
    /// Bytes, where the hub says so.
    pub size: Option<u64>,
    /// SHA-256, which the hub knows of large files only.
    pub sha256: Option<String>,
}

/// What a repository holds at one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The commit that the revision stands for.
    pub commit: String,
    /// Licence, by the model card.
    pub licence: Option<String>,
    /// What it makes, by the model card.
    pub medium: Option<Medium>,
    /// All files.
    pub files: Vec<HubFile>,
}

/// The files that are the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The files to fetch.
    pub files: Vec<HubFile>,
    /// The file to open; without it, the folder.
    pub load: Option<String>,
}

#[derive(Deserialize)]
struct ModelInfo {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: Option<serde_json::Value>,
    #[serde(default)]
    pipeline_tag: Option<String>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct TreeItem {
    path: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: String,
    #[serde(default)]
    size: Option<u64>,
}

impl Hub {
    /// The hub that `MEDLEY_HUB` or `HF_ENDPOINT` names, or the public one, with the token in `HF_TOKEN`.
    pub fn from_env() -> Self {
        let set = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let base = set("MEDLEY_HUB")
            .or_else(|| set("HF_ENDPOINT"))
            .unwrap_or_else(|| DEFAULT_BASE.to_owned());
        Self::new(&base, set("HF_TOKEN").as_deref().and_then(Token::new))
    }

    /// A hub at an address, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str, token: Option<Token>) -> Self {
        Self {
            base: base.trim().trim_end_matches('/').to_owned(),
            token,
        }
    }

    /// The key that is sent along.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Where a file is.
    pub fn file_url(&self, repo: &str, revision: &str, path: &str) -> String {
        format!(
            "{}/{repo}/resolve/{}/{}",
            self.base,
            encode(revision, false),
            encode(path, true)
        )
    }

    /// What a repository holds.
    pub(crate) fn listing(
        &self,
        transfer: &Transfer,
        repo: &str,
        revision: &str,
    ) -> Result<Listing> {
        let what = format!("{repo} at {revision}");
        let url = format!(
            "{}/api/models/{repo}/revision/{}?blobs=true",
            self.base,
            encode(revision, false)
        );
        let info: ModelInfo = self.json(transfer, &url, &what)?;
        check_revision(&info.sha).map_err(|_| self.nonsense(&what, "its commit is none"))?;
        let mut files: Vec<HubFile> = info.siblings.into_iter().map(HubFile::from).collect();
        // A mirror may list names only; the tree has the sizes and hashes.
        if !files.is_empty() && files.iter().all(|file| file.size.is_none()) {
            let url = format!(
                "{}/api/models/{repo}/tree/{}?recursive=true",
                self.base,
                encode(&info.sha, false)
            );
            let tree: Vec<TreeItem> = self.json(transfer, &url, &what)?;
            let mut known: BTreeMap<String, TreeItem> = tree
                .into_iter()
                .map(|item| (item.path.clone(), item))
                .collect();
            for file in &mut files {
                if let Some(item) = known.remove(&file.path) {
                    *file = HubFile::new(item.path, item.size, item.lfs);
                }
            }
        }
        Ok(Listing {
            commit: info.sha,
            licence: info.card.as_ref().and_then(licence_of),
            medium: info.pipeline_tag.as_deref().and_then(medium_of),
            files,
        })
    }

    fn json<T: serde::de::DeserializeOwned>(
        &self,
        transfer: &Transfer,
        url: &str,
        what: &str,
    ) -> Result<T> {
        let text = transfer.text(url, what, self.token.as_ref(), MAX_LISTING_BYTES)?;
        serde_json::from_slice(&text).map_err(|error| self.nonsense(what, &error.to_string()))
    }

    fn nonsense(&self, what: &str, reason: &str) -> EngineError {
        EngineError::Network {
            server: super::server_of(&self.base),
            reason: format!("its answer for {what} is no list of a hub: {reason}"),
        }
    }
}

impl From<Sibling> for HubFile {
    fn from(sibling: Sibling) -> Self {
        Self::new(sibling.rfilename, sibling.size, sibling.lfs)
    }
}

impl HubFile {
    fn new(path: String, size: Option<u64>, lfs: Option<Lfs>) -> Self {
        let size = lfs.as_ref().and_then(|lfs| lfs.size).or(size);
        let sha256 = lfs.map(|lfs| lfs.sha256.to_ascii_lowercase());
        let sha256 =
            sha256.filter(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
        Self { path, size, sha256 }
    }
}

impl Listing {
    /// The files that are the model: the named one; or the only GGUF file; or the safetensors weights with their
    /// configuration and tokenizer; or a PyTorch checkpoint with those.
    pub fn select(&self, repo: &str, wanted: Option<&str>) -> Result<Selection> {
        let choice = |reason: String, choices: Vec<String>| EngineError::HubChoice {
            repo: repo.to_owned(),
            reason,
            choices,
        };
        if let Some(bad) = self.files.iter().find(|file| !is_plain_path(&file.path)) {
            return Err(choice(
                format!("it lists {:?}, which is no path below a folder", bad.path),
                Vec::new(),
            ));
        }
        let ggufs: Vec<&HubFile> = self
            .files
            .iter()
            .filter(|file| has_extension(&file.path, "gguf"))
            .collect();
        let folder = self.folder();
        let mut choices: Vec<String> = ggufs.iter().map(|file| file.path.clone()).collect();
        if folder.is_some() {
            choices.push("safetensors".to_owned());
        }
        match wanted {
            Some("safetensors") => {
                folder.ok_or_else(|| choice("it has no safetensors weights".into(), choices))
            }
            Some(wanted) => {
                let exact = self.files.iter().find(|file| file.path == wanted);
                match exact
                    .map(|file| vec![file])
                    .unwrap_or_else(|| matching(&ggufs, wanted))
                    .as_slice()
                {
                    [file] => single(repo, file),
                    [] => Err(choice(format!("it has no file {wanted:?}"), choices)),
                    several => {
                        let names = several.iter().map(|file| file.path.clone()).collect();
                        Err(choice(
                            format!("{wanted:?} stands for several of its files"),
                            names,
                        ))
                    }
                }
            }
            None => match (ggufs.as_slice(), folder) {
                ([file], None) => single(repo, file),
                ([], Some(folder)) => Ok(folder),
                ([], None) => Err(choice(
                    "it has neither a GGUF file nor safetensors weights".into(),
                    choices,
                )),
                _ => Err(choice("it holds several models".into(), choices)),
            },
        }
    }

    /// The weights of the repository's first level in their best form, with what is needed to read them.
    fn folder(&self) -> Option<Selection> {
        let top: Vec<&HubFile> = self
            .files
            .iter()
            .filter(|file| !file.path.contains('/'))
            .collect();
        let weights = |stem: &str, extension: &str| -> Vec<&HubFile> {
            let whole = format!("{stem}.{extension}");
            let shard = |name: &str| name.starts_with(&format!("{stem}-")) && name.contains("-of-");
            let found = |test: &dyn Fn(&str) -> bool| -> Vec<&HubFile> {
                top.iter()
                    .copied()
                    .filter(|file| has_extension(&file.path, extension) && test(&file.path))
                    .collect()
            };
            let one = found(&|name| name == whole);
            if one.is_empty() {
                found(&|name| shard(name))
            } else {
                one
            }
        };
        let mut files = weights("model", "safetensors");
        if files.is_empty() {
            files = weights("pytorch_model", "bin");
        }
        if files.is_empty() {
            return None;
        }
        let needed = |path: &str| {
            ["json", "jinja", "txt"]
                .iter()
                .any(|e| has_extension(path, e))
                && !path.contains('/')
                || matches!(path, "tokenizer.model" | "1_Pooling/config.json")
        };
        files.extend(self.files.iter().filter(|file| needed(&file.path)));
        Some(Selection {
            files: files.into_iter().cloned().collect(),
            load: None,
        })
    }
}

fn single(repo: &str, file: &HubFile) -> Result<Selection> {
    if is_shard(&file.path) {
        return Err(EngineError::HubChoice {
            repo: repo.to_owned(),
            reason: format!(
                "{:?} is one piece of a model that was split over several GGUF files, which is not read",
                file.path
            ),
            choices: Vec::new(),
        });
    }
    Ok(Selection {
        load: Some(file.path.clone()),
        files: vec![file.clone()],
    })
}

/// `…-00001-of-00003.gguf`.
fn is_shard(path: &str) -> bool {
    let stem = path.strip_suffix(".gguf").unwrap_or(path);
    let mut words = stem.rsplit('-');
    let number = |word: Option<&str>| {
        word.is_some_and(|w| w.len() == 5 && w.bytes().all(|b| b.is_ascii_digit()))
    };
    number(words.next()) && words.next() == Some("of") && number(words.next())
}

/// The files whose name ends as wanted, or has it as one of its words: `Q4_K_M` is not `Q4_K`.
fn matching<'a>(files: &[&'a HubFile], wanted: &str) -> Vec<&'a HubFile> {
    let wanted = wanted.to_lowercase();
    files
        .iter()
        .copied()
        .filter(|file| {
            let path = file.path.to_lowercase();
            let stem = path.strip_suffix(".gguf").unwrap_or(&path);
            let word = stem.match_indices(&wanted).any(|(at, _)| {
                let edge = |c: Option<char>| c.is_none_or(|c| matches!(c, '-' | '.' | '/'));
                edge(stem.get(..at).and_then(|s| s.chars().last()))
                    && edge(stem.get(at + wanted.len()..).and_then(|s| s.chars().next()))
            });
            word || path == format!("{wanted}.gguf") || path.ends_with(&format!("/{wanted}"))
        })
        .collect()
}

fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(stem, found)| !stem.is_empty() && found.eq_ignore_ascii_case(extension))
}

fn licence_of(card: &serde_json::Value) -> Option<String> {
    let name = |key: &str| match card.get(key)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(list) => list.first()?.as_str().map(str::to_owned),
        _ => None,
    };
    match name("license") {
        Some(other) if other == "other" => name("license_name").or(Some(other)),
        found => found,
    }
}

/// The medium behind the hub's word for a task.
fn medium_of(task: &str) -> Option<Medium> {
    Some(match task {
        "text-generation"
        | "text2text-generation"
        | "feature-extraction"
        | "sentence-similarity" => Medium::Text,
        "text-to-image" | "image-to-image" | "unconditional-image-generation" => Medium::Image,
        "text-to-speech" | "automatic-speech-recognition" => Medium::Speech,
        "text-to-audio" => Medium::Music,
        "text-to-video" | "image-to-video" => Medium::Video,
        _ => return None,
    })
}

/// Percent-encodes a path, or one segment of a path.
fn encode(text: &str, keep_slashes: bool) -> String {
    use std::fmt::Write;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            if byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'_' | b'.' | b'~')
                || (keep_slashes && byte == b'/')
            {
                out.push(byte as char);
            } else {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
}

#[cfg(test)]
mod tests;
