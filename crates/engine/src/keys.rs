//! Keys that clients of a server must bring: kept as hashes, with what each may do and how much.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fetch::sha256_hex;
use crate::{EngineError, Result};

/// What a key lets do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To ask models: chats, texts, embeddings, pictures.
    Generate,
    /// To queue jobs and see those of all.
    Jobs,
    /// To see and change the library.
    Library,
    /// To pull models and to put them away.
    Models,
    /// To send files, to search documents and to have them read.
    Documents,
    /// To read the server's measurements.
    Metrics,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Generate,
        Self::Jobs,
        Self::Library,
        Self::Models,
        Self::Documents,
        Self::Metrics,
    ];

    /// The scope as it stands in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Jobs => "jobs",
            Self::Library => "library",
            Self::Models => "models",
            Self::Documents => "documents",
            Self::Metrics => "metrics",
        }
    }

    /// The scope of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A key, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Whose it is.
    pub name: String,
    /// SHA-256 of the key, which is as random as the hash: no slower one protects it better.
    pub sha256: String,
    /// What it lets do.
    pub scopes: Vec<Scope>,
    /// Requests that it lets through in a minute; absent for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Jobs of it that may be on their way at once; absent for the server's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<usize>,
    /// Seconds since 1970.
    pub created_at: u64,
}

/// The keys of a home.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// In the order in which they were made.
    pub keys: Vec<Key>,
}

/// SHA-256 of a key, as it is kept.
pub fn hash(key: &str) -> String {
    sha256_hex(key.as_bytes())
}

impl Keys {
    /// The keys of this file; none where it is not there.
    ///
    /// # Errors
    /// [`EngineError::Io`], [`EngineError::Output`] for a file that is damaged: who lost his keys is not to be open to all.
    pub fn load(path: &Path) -> Result<Self> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(EngineError::io("read", path)(error)),
        };
        serde_json::from_slice(&text).map_err(|error| EngineError::Output {
            path: path.to_owned(),
            reason: format!("it is no list of keys: {error}"),
        })
    }

    /// Adds a key and gives it: it is told this once, and kept nowhere.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for a name that is empty or taken.
    pub fn add(
        &mut self,
        name: &str,
        scopes: Vec<Scope>,
        requests_per_minute: Option<u32>,
        jobs: Option<usize>,
    ) -> Result<String> {
        let wrong = |reason: &str| EngineError::BadRequest {
            field: "name".into(),
            reason: reason.into(),
        };
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(wrong("it must not be empty"));
        }
        if self.keys.iter().any(|key| key.name == name) {
            return Err(wrong(
                "there is a key of this name already; remove it first",
            ));
        }
        let key = format!(
            "mk-{:032x}{:032x}",
            rand::random::<u128>(),
            rand::random::<u128>()
        );
        self.keys.push(Key {
            name: name.to_owned(),
            sha256: hash(&key),
            scopes,
            requests_per_minute,
            jobs,
            created_at: crate::database::now(),
        });
        Ok(key)
    }

    /// Takes the key of this name away; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.keys.len();
        self.keys.retain(|key| key.name != name);
        self.keys.len() < before
    }

    /// Writes the file, which only its owner may read.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(EngineError::io("create", folder))?;
        }
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        crate::work_file::write(path, &text)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path, private).map_err(EngineError::io("protect", path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_once_and_kept_as_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home/keys.json");
        assert_eq!(Keys::load(&path).unwrap(), Keys::default());
        let mut keys = Keys::default();
        let key = keys
            .add("ada", vec![Scope::Generate], Some(60), None)
            .unwrap();
        assert!(keys.add("ada", Vec::new(), None, None).is_err());
        assert!(keys.add(" ", Vec::new(), None, None).is_err());
        keys.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&key) && text.contains(&hash(&key)), "{text}");
        let mut again = Keys::load(&path).unwrap();
        assert_eq!(again, keys);
        assert!(again.remove("ada") && !again.remove("ada"));
        std::fs::write(&path, "{").unwrap();
        assert!(Keys::load(&path).is_err());
    }
}
