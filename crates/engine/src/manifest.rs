//! What lies in a model's folder beside its files: where they came from, and what they must be.

use std::fs;
use std::path::Path;

use medley_types::Medium;
use serde::{Deserialize, Serialize};

use crate::catalog::is_plain_path;
use crate::{EngineError, Result};

/// The manifest's file name.
pub const FILE_NAME: &str = "medley.json";
const VERSION: u32 = 1;
const MAX_BYTES: u64 = 4 << 20;

/// The record of an installed model. It is written last: a folder without it is no model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub version: u32,
    /// The catalog's name, or the full `hf:` reference.
    pub name: String,
    /// What it makes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
    /// The model implementation that reads it, where the catalog says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Licence of the weights, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Where the files came from.
    pub source: String,
    /// The file to open; without it, the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<String>,
    /// The files.
    pub files: Vec<InstalledFile>,
}

/// A file of an installed model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledFile {
    /// Path inside the model's folder, with `/`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of what was written.
    pub sha256: String,
    /// Whether the hash was known beforehand, from the catalog or the hub, and so the content was verified.
    pub verified: bool,
}

impl Manifest {
    pub(crate) const VERSION: u32 = VERSION;

    /// Reads the manifest of a model's folder; none where there is no manifest.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE_NAME);
        let size = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(EngineError::io("read", &path)(error)),
        };
        let name = || {
            folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let damaged = |reason: String| EngineError::Damaged {
            name: name(),
            reason,
        };
        if size > MAX_BYTES {
            return Err(damaged(format!("its {FILE_NAME} is {size} bytes long")));
        }
        let text = fs::read(&path).map_err(EngineError::io("read", &path))?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("its {FILE_NAME} cannot be read: {error}")))?;
        if manifest.version > VERSION {
            return Err(damaged(format!(
                "its {FILE_NAME} has version {}, and this program knows up to {VERSION}",
                manifest.version
            )));
        }
        let names = manifest
            .files
            .iter()
            .map(|file| &file.name)
            .chain(&manifest.load);
        if let Some(bad) = names.into_iter().find(|name| !is_plain_path(name)) {
            return Err(damaged(format!(
                "its {FILE_NAME} names {bad:?}, which is no path below its folder"
            )));
        }
        Ok(Some(manifest))
    }

    /// Writes the manifest into a model's folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE_NAME);
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| EngineError::Io {
            action: "write",
            path: path.clone(),
            source: error.into(),
        })?;
        text.push(b'\n');
        fs::write(&path, text).map_err(EngineError::io("write", &path))
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Whether the content of every file was verified when it was fetched.
    pub fn verified(&self) -> bool {
        self.files.iter().all(|file| file.verified)
    }

    /// The first file that is missing or of another length, in words. Contents are not read.
    pub fn first_fault(&self, folder: &Path) -> Option<String> {
        self.files
            .iter()
            .find_map(|file| match fs::metadata(folder.join(&file.name)) {
                Err(_) => Some(format!("{} is missing", file.name)),
                Ok(found) if found.len() != file.size => Some(format!(
                    "{} is {} bytes long, not {}",
                    file.name,
                    found.len(),
                    file.size
                )),
                Ok(_) => None,
            })
    }
}
