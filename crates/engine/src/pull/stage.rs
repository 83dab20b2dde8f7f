//! The folder in which a pull is prepared, and the lock on it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::Digest;

use crate::catalog::FileEntry;
use crate::fetch::{CancelFlag, Hasher, hex, sha256_file};
use crate::home::Home;
use crate::manifest::InstalledFile;
use crate::{EngineError, Result};

const POLL: Duration = Duration::from_millis(100);
const INDEX: &str = "model.safetensors.index.json";
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Keeps a second process from pulling or removing the same model. Released when dropped, or when the process ends.
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its lock, never read")] File);

impl Lock {
    /// Waits until the lock is free; `on_wait` is called once if that is not at once.
    pub fn acquire(
        home: &Home,
        folder: &str,
        cancel: &CancelFlag,
        on_wait: &mut dyn FnMut(),
    ) -> Result<Self> {
        let partial = home.partial_folder();
        fs::create_dir_all(&partial).map_err(EngineError::io("create", &partial))?;
        let path = partial.join(format!("{folder}.lock"));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(EngineError::io("write", &path))?;
        let mut waiting = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => {
                    if !waiting {
                        waiting = true;
                        on_wait();
                    }
                    cancel.sleep(POLL)?;
                }
                // Some network file systems have no locks; there, two pulls at once are the user's business.
                Err(TryLockError::Error(error))
                    if error.kind() == std::io::ErrorKind::Unsupported =>
                {
                    return Ok(Self(file));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(EngineError::io("lock", &path)(error));
                }
            }
        }
    }
}

/// The folder in which a pull is prepared.
pub(crate) struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// Opens the folder; what an earlier pull left is still there.
    pub fn open(home: &Home, folder: &str) -> Result<Self> {
        let folder = home.partial_folder().join(folder);
        fs::create_dir_all(&folder).map_err(EngineError::io("create", &folder))?;
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file is to be; its folder is made.
    pub fn prepare(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(EngineError::io("create", parent))?;
        }
        Ok(path)
    }

    /// Whether a file is there with the right length and hash. A wrong one is removed.
    pub fn has(
        &self,
        file: &FileEntry,
        cancel: &CancelFlag,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool> {
        let path = self.folder.join(&file.name);
        if !path.is_file() {
            return Ok(false);
        }
        let (size, sha256) = sha256_file(&path, cancel, progress)?;
        if size == file.size && sha256 == file.sha256 {
            return Ok(true);
        }
        fs::remove_file(&path).map_err(EngineError::io("remove", &path))?;
        Ok(false)
    }

    /// Refuses weights in several files of which the index names others than came.
    pub fn check_shards(&self, name: &str, files: &[InstalledFile]) -> Result<()> {
        let Some(index) = files.iter().find(|file| file.name == INDEX) else {
            return Ok(());
        };
        let wrong = |reason: String| EngineError::WrongMix {
            name: name.to_owned(),
            reason,
        };
        if index.size > MAX_INDEX_BYTES {
            return Err(wrong(format!("{INDEX} is {} bytes long", index.size)));
        }
        let path = self.folder.join(INDEX);
        let text = fs::read(&path).map_err(EngineError::io("read", &path))?;
        let index: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("{INDEX} cannot be read: {error}")))?;
        let Some(map) = index.get("weight_map").and_then(|map| map.as_object()) else {
            return Err(wrong(format!("{INDEX} has no weight_map")));
        };
        let named: BTreeSet<&str> = map.values().filter_map(|shard| shard.as_str()).collect();
        match named
            .iter()
            .find(|shard| !files.iter().any(|file| file.name == **shard))
        {
            Some(shard) => Err(wrong(format!(
                "{INDEX} names {shard:?}, which the repository does not have"
            ))),
            None => Ok(()),
        }
    }

    /// Removes all but these files.
    pub fn prune(&self, keep: &BTreeSet<&str>) -> Result<()> {
        prune_folder(&self.folder, "", keep)
    }

    /// Makes the folder the model's folder, in place of any that is there.
    pub fn publish(&self, home: &Home, folder: &str) -> Result<PathBuf> {
        let models = home.models_folder();
        fs::create_dir_all(&models).map_err(EngineError::io("create", &models))?;
        let target = home.model_folder(folder);
        let old = home.partial_folder().join(format!("{folder}.old"));
        remove_folder(&old)?;
        let replaced = target.exists();
        if replaced {
            fs::rename(&target, &old).map_err(EngineError::io("move", &target))?;
        }
        if let Err(error) = fs::rename(&self.folder, &target) {
            if replaced {
                // The model that was there is better than none; the first error is the one to report.
                let _ = fs::rename(&old, &target);
            }
            return Err(EngineError::io("write", &target)(error));
        }
        remove_folder(&old)?;
        Ok(target)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Only an empty folder is removed so: one in which nothing has come.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Removes a folder with everything in it, if it is there.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn prune_folder(folder: &Path, prefix: &str, keep: &BTreeSet<&str>) -> Result<()> {
    for item in fs::read_dir(folder).map_err(EngineError::io("read", folder))? {
        let item = item.map_err(EngineError::io("read", folder))?;
        let path = item.path();
        let name = format!("{prefix}{}", item.file_name().to_string_lossy());
        let is_folder = item
            .file_type()
            .map_err(EngineError::io("read", &path))?
            .is_dir();
        let below = format!("{name}/");
        if is_folder && keep.iter().any(|kept| kept.starts_with(&below)) {
            prune_folder(&path, &below, keep)?;
        } else if is_folder {
            remove_folder(&path)?;
        } else if !keep.contains(name.as_str()) {
            fs::remove_file(&path).map_err(EngineError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// A file that is written piece by piece under a `.part` name, and gets its own once it is known to be right.
pub(crate) struct Writing {
    target: PathBuf,
    part: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Writing {
    pub fn create(target: PathBuf) -> Result<Self> {
        let mut part = target.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(EngineError::io("write", &part))?;
        Ok(Self {
            target,
            part,
            file,
            hasher: Hasher::new(),
            length: 0,
        })
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn append(&mut self, data: &[u8]) -> Result<()> {
        self.file
            .write_all(data)
            .map_err(EngineError::io("write", &self.part))?;
        self.hasher.update(data);
        self.length += data.len() as u64;
        Ok(())
    }

    /// Checks length and hash and gives the file its name.
    pub fn finish(self, expected: &FileEntry, from: &str) -> Result<()> {
        let Self {
            target,
            part,
            file,
            hasher,
            length,
        } = self;
        let (name, from) = (expected.name.clone(), from.to_owned());
        let actual = hex(&hasher.finalize());
        if length != expected.size || actual != expected.sha256 {
            drop(file);
            fs::remove_file(&part).map_err(EngineError::io("remove", &part))?;
            return Err(if length != expected.size {
                EngineError::SizeMismatch {
                    file: name,
                    from,
                    expected: expected.size,
                    actual: length,
                }
            } else {
                EngineError::HashMismatch {
                    file: name,
                    from,
                    expected: expected.sha256.clone(),
                    actual,
                }
            });
        }
        file.sync_all().map_err(EngineError::io("write", &part))?;
        drop(file);
        fs::rename(&part, &target).map_err(EngineError::io("write", &target))
    }
}
