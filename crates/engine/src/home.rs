//! Where models, temporary files and the user's own catalog are kept.
//!
//! ```text
//! MEDLEY_HOME (or the platform's data folder for `medley`)
//! ├── catalog.toml           the user's own entries
//! ├── models/<name>/         the files of one model and its manifest, medley.json
//! ├── keys.json              hashes of the keys of a server's clients
//! ├── desks.json             support desks
//! ├── medley.db              jobs, and what the library knows of its works
//! ├── library/               the works' files by their SHA-256, and pictures of them
//! └── partial/<name>/        a pull that is under way: *.part files; <name>.lock beside it
//! ```

use std::env;
use std::path::{Path, PathBuf};

use crate::{EngineError, Result};

/// The folder in which everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    bundles: Vec<PathBuf>,
}

impl Home {
    /// `MEDLEY_HOME`, or the platform's data folder (`~/.local/share/medley` on Linux).
    pub fn from_env() -> Result<Self> {
        let root = match env::var_os("MEDLEY_HOME") {
            Some(root) if !root.is_empty() => absolute(PathBuf::from(root)),
            _ => data_folder()?.join("medley"),
        };
        Ok(Self {
            root,
            bundles: bundle_folders(),
        })
    }

    /// A home at a given folder, without bundled models.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: absolute(root.into()),
            bundles: Vec::new(),
        }
    }

    /// The same with these folders looked through, in order, for bundled models.
    pub fn with_bundles(mut self, folders: Vec<PathBuf>) -> Self {
        self.bundles = folders;
        self
    }

    /// The folder itself. It need not exist yet.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The user's own catalog.
    pub fn catalog_file(&self) -> PathBuf {
        self.root.join("catalog.toml")
    }

    /// The file of jobs and works.
    pub fn database_file(&self) -> PathBuf {
        self.root.join("medley.db")
    }

    /// The file of keys that clients of a server must bring.
    pub fn keys_file(&self) -> PathBuf {
        self.root.join("keys.json")
    }

    /// The file of support desks.
    pub fn desks_file(&self) -> PathBuf {
        self.root.join("desks.json")
    }

    /// The folder of the works' files.
    pub fn library_folder(&self) -> PathBuf {
        self.root.join("library")
    }

    /// The folder of all installed models.
    pub fn models_folder(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The folder of one installed model; `folder` is the model's folder name, see [`folder_name`].
    pub fn model_folder(&self, folder: &str) -> PathBuf {
        self.models_folder().join(folder)
    }

    /// Where pulls are prepared. On the same file system as the models, so that a finished one is moved by a rename.
    pub fn partial_folder(&self) -> PathBuf {
        self.root.join("partial")
    }

    /// The folder of a model that came with the program: among the installed ones, then in `../share/medley` beside the
    /// executable, then in `starter/` of the source tree.
    pub fn bundled(&self, folder: &str) -> Option<PathBuf> {
        let own = Some(self.model_folder(folder)).filter(|path| path.is_dir());
        own.or_else(|| self.shipped(folder))
    }

    /// The folder of a model that lies beside the executable, or in the source tree.
    pub fn shipped(&self, folder: &str) -> Option<PathBuf> {
        let shared = self.bundles.iter().map(|bundle| bundle.join(folder));
        shared.into_iter().find(|path| path.is_dir())
    }
}

/// The folder name of a model: its name, with what a file system may not like written as `-`.
///
/// Names of the catalog stay as they are. A name that had to be changed gets eight digits of its hash appended, so that
/// two names never share a folder.
pub fn folder_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.starts_with('.') && name.chars().all(plain) {
        return name.to_owned();
    }
    let safe: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .take(80)
        .collect();
    let hash = crate::fetch::sha256_hex(name.as_bytes());
    format!(
        "{}-{}",
        safe.trim_start_matches('.'),
        hash.get(..8).unwrap_or_default()
    )
}

fn data_folder() -> Result<PathBuf> {
    use etcetera::BaseStrategy;
    let folders =
        etcetera::base_strategy::choose_native_strategy().map_err(|_| EngineError::NoHome)?;
    // Windows copies the data folder from machine to machine with the user's profile: not for gigabytes of weights.
    Ok(if cfg!(windows) {
        folders.cache_dir()
    } else {
        folders.data_dir()
    })
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn bundle_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    // Where no /proc is mounted the system does not tell, but the command line does.
    let called = || {
        env::args_os()
            .next()
            .map(PathBuf::from)
            .filter(|path| path.components().count() > 1)
    };
    let exe = env::current_exe().ok().or_else(called);
    let exe = exe.and_then(|exe| exe.canonicalize().ok());
    if let Some(bin) = exe.as_deref().and_then(Path::parent) {
        if let Some(prefix) = bin.parent() {
            folders.push(prefix.join("share").join("medley"));
        }
        // target/release/medley and target/release/deps/test-… lie two and three levels below the source tree.
        folders.extend(
            bin.ancestors()
                .skip(2)
                .take(2)
                .map(|above| above.join("starter")),
        );
    }
    // A target folder elsewhere: the tree this program was built from.
    if let Some(tree) = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2) {
        folders.push(tree.join("starter"));
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_catalog_are_their_own_folder_names() {
        assert_eq!(folder_name("smollm2-135m"), "smollm2-135m");
    }

    #[test]
    fn other_names_become_safe_and_stay_distinct() {
        let a = folder_name("hf:owner/name:file.gguf");
        let b = folder_name("hf:owner/name/file.gguf");
        assert!(a.starts_with("hf-owner-name-file.gguf-"), "{a}");
        assert_ne!(a, b);
        assert_eq!(a, folder_name("hf:owner/name:file.gguf"));
        for name in ["..", ".hidden", "a/../../b", "C:\\x", "ä"] {
            let folder = folder_name(name);
            assert!(
                !folder.starts_with('.') && !folder.contains(['/', '\\', ':']),
                "{folder}"
            );
        }
    }

    #[test]
    fn a_bundled_model_is_found_in_the_first_folder_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("share"), dir.path().join("starter"));
        std::fs::create_dir_all(second.join("icons")).unwrap();
        let home =
            Home::at(dir.path().join("home")).with_bundles(vec![first.clone(), second.clone()]);
        assert_eq!(home.bundled("icons"), Some(second.join("icons")));
        std::fs::create_dir_all(first.join("icons")).unwrap();
        assert_eq!(home.bundled("icons"), Some(first.join("icons")));
        let own = dir.path().join("home/models/icons");
        std::fs::create_dir_all(&own).unwrap();
        assert_eq!(home.bundled("icons"), Some(own));
        assert_eq!(home.bundled("tunes"), None);
    }
}
