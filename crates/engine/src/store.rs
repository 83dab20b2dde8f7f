//! The models on this machine: looked up by name, file, folder or hub reference; pulled, listed, verified, removed.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medley_types::Medium;
use serde::Serialize;

use crate::catalog::{Catalog, ModelEntry, similar};
use crate::fetch::hub::{Hub, HubRef};
use crate::fetch::{CancelFlag, Fetch, HttpFetch, Limits, sha256_file};
use crate::home::{Home, folder_name};
use crate::manifest::{self, Manifest};
use crate::pull::{Lock, Pull, PullEvent, PullOptions, Reporter, default_pips, remove_folder};
use crate::{EngineError, Result};

/// Looks models up and fetches them.
///
/// ```no_run
/// use medley_engine::{Home, PullEvent, PullOptions, Store};
///
/// let store = Store::open(Home::from_env()?)?;
/// let model = store.resolve_or_pull("smollm2-135m", &PullOptions::default(), &mut |event| {
///     if let PullEvent::Progress { what, done, total, .. } = event {
///         eprintln!("{what}: {done} of {total:?} bytes");
///     }
/// })?;
/// assert!(model.path.ends_with("SmolLM2-135M-Instruct.Q4_1.gguf"));
/// # Ok::<(), medley_engine::EngineError>(())
/// ```
pub struct Store {
    home: Home,
    catalog: Catalog,
    fetch: Arc<dyn Fetch>,
    hub: Hub,
    pips: Vec<Vec<String>>,
    limits: Limits,
}

/// A model that can be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The catalog's name, the hub reference, or the path as it was given.
    pub name: String,
    /// The file or folder to open.
    pub path: PathBuf,
    /// What it makes, where that is known.
    pub medium: Option<Medium>,
    /// Its catalog entry, if it has one.
    pub entry: Option<ModelEntry>,
    /// Where the models lie that it needs beside it, by name.
    pub companions: Vec<Resolved>,
}

/// A model on this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Installed {
    /// The catalog's name, or the hub reference.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// Bytes of its files.
    pub size: u64,
    /// What it makes, where that is known.
    pub medium: Option<Medium>,
    /// Licence of the weights, where it is known.
    pub licence: Option<String>,
    /// Where it came from.
    pub source: String,
    /// Whether every file had its known hash when it was fetched.
    pub verified: bool,
    /// What is wrong with it: a file that is missing or of another length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// All that is known of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Details {
    /// Its catalog entry, if it has one.
    pub entry: Option<ModelEntry>,
    /// What is on this machine of it.
    pub installed: Option<Installed>,
    /// The record of what was fetched.
    pub manifest: Option<Manifest>,
}

/// What a name stands for.
enum Meaning<'a> {
    Entry(&'a ModelEntry),
    Reference(HubRef),
    Path(PathBuf),
    /// Installed, but no longer in the catalog.
    Kept(Manifest),
}

impl Store {
    /// The models below a home, with its catalog, the hub and pip of the environment.
    pub fn open(home: Home) -> Result<Self> {
        let limits = Limits::default();
        Ok(Self {
            catalog: Catalog::load(&home)?,
            home,
            fetch: Arc::new(HttpFetch::new(&limits)),
            hub: Hub::from_env(),
            pips: default_pips(),
            limits,
        })
    }

    /// The same with other limits on waiting.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.fetch = Arc::new(HttpFetch::new(&limits));
        self.limits = limits;
        self
    }

    /// The same with another way to get bytes; [`with_limits`](Self::with_limits) would replace it again.
    pub fn with_fetch(mut self, fetch: Arc<dyn Fetch>) -> Self {
        self.fetch = fetch;
        self
    }

    /// The same with another hub.
    pub fn with_hub(mut self, hub: Hub) -> Self {
        self.hub = hub;
        self
    }

    /// The same with other commands that may be pip, in the order in which they are tried.
    pub fn with_pips(mut self, pips: Vec<Vec<String>>) -> Self {
        self.pips = pips;
        self
    }

    /// The same with another catalog.
    pub fn with_catalog(mut self, catalog: Catalog) -> Self {
        self.catalog = catalog;
        self
    }

    /// Where everything is kept.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// All models known by name.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Finds a model that is on this machine: by catalog name, by file or folder, or by hub reference. Nothing is
    /// fetched; contents are not read, but lengths are checked.
    ///
    /// # Errors
    /// [`EngineError::UnknownModel`] with names that look alike, [`EngineError::NotInstalled`] for a model that could
    /// be pulled, [`EngineError::Damaged`] and [`EngineError::WrongMix`] for one that should be pulled again.
    pub fn resolve(&self, name: &str) -> Result<Resolved> {
        match self.meaning(name)? {
            Meaning::Entry(entry) => self.resolve_entry(entry),
            Meaning::Reference(reference) => {
                let name = reference.to_string();
                let folder = self.home.model_folder(&folder_name(&name));
                let manifest = Manifest::read(&folder)?
                    .ok_or_else(|| EngineError::NotInstalled { name: name.clone() })?;
                resolve_manifest(&name, &folder, &manifest)
            }
            Meaning::Kept(manifest) => resolve_manifest(
                &manifest.name,
                &self.home.model_folder(&folder_name(&manifest.name)),
                &manifest,
            ),
            Meaning::Path(path) => resolve_path(name, path),
        }
    }

    /// Finds a model, and pulls it first if it is not here, or not whole.
    pub fn resolve_or_pull(
        &self,
        name: &str,
        options: &PullOptions,
        events: &mut dyn FnMut(PullEvent),
    ) -> Result<Resolved> {
        let meaning = self.meaning(name)?;
        if !options.force && options.source.is_none() {
            match self.resolve(name) {
                Err(
                    EngineError::NotInstalled { .. }
                    | EngineError::Damaged { .. }
                    | EngineError::WrongMix { .. },
                ) => {}
                other => return other,
            }
        }
        let mut reporter = Reporter::new(events);
        match meaning {
            Meaning::Entry(entry) => self.pull_entry(entry, options, &mut reporter)?,
            Meaning::Reference(reference) => {
                self.puller(options, &mut reporter).reference(&reference)?
            }
            Meaning::Path(_) | Meaning::Kept(_) => {}
        }
        self.resolve(name)
    }

    /// Pulls a model, or all models of a group such as `starter`. What is here and whole is left alone, unless the
    /// options force it or name a source.
    pub fn pull(
        &self,
        name: &str,
        options: &PullOptions,
        events: &mut dyn FnMut(PullEvent),
    ) -> Result<Vec<Resolved>> {
        let group = self.catalog.group(name);
        if group.is_empty() || self.catalog.get(name).is_some() {
            return Ok(vec![self.resolve_or_pull(name, options, events)?]);
        }
        let mut resolved = Vec::new();
        for entry in group {
            resolved.push(self.resolve_or_pull(&entry.name, options, events)?);
        }
        Ok(resolved)
    }

    /// All models on this machine, by name; those that came with the program last.
    pub fn installed(&self) -> Result<Vec<Installed>> {
        let folder = self.home.models_folder();
        let mut models = Vec::new();
        match fs::read_dir(&folder) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(EngineError::io("read", &folder)(error)),
            Ok(items) => {
                for item in items {
                    let path = item.map_err(EngineError::io("read", &folder))?.path();
                    models.extend(installed_at(&path));
                }
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in self.catalog.entries() {
            if models.iter().all(|model| model.name != entry.name) {
                let path = self.came_with(entry);
                models.extend(path.map(|path| bundled_at(entry, path)));
            }
        }
        Ok(models)
    }

    /// Where a model is that came with the program: those that always do, and those that an archive of it holds.
    fn came_with(&self, entry: &ModelEntry) -> Option<PathBuf> {
        let folder = folder_name(&entry.name);
        match entry.is_bundled() {
            true => self.home.bundled(&folder),
            false => self.home.shipped(&folder),
        }
    }

    /// All that is known of a model, whether it is here or not.
    pub fn show(&self, name: &str) -> Result<Details> {
        let (name, entry) = match self.meaning(name)? {
            Meaning::Entry(entry) => (entry.name.clone(), Some(entry)),
            Meaning::Reference(reference) => (reference.to_string(), None),
            Meaning::Kept(manifest) => (manifest.name, None),
            Meaning::Path(path) => {
                let manifest = Manifest::read(&path)?;
                return Ok(Details {
                    entry: None,
                    installed: installed_at(&path),
                    manifest,
                });
            }
        };
        let folder = self.home.model_folder(&folder_name(&name));
        let installed = installed_at(&folder)
            .or_else(|| entry.and_then(|entry| Some(bundled_at(entry, self.came_with(entry)?))));
        Ok(Details {
            entry: entry.cloned(),
            installed,
            manifest: Manifest::read(&folder)?,
        })
    }

    /// Removes a model from this machine, with what an interrupted pull of it has left, and returns the bytes that its
    /// files took. Files outside the home, and models that came with the program, are never touched.
    pub fn remove(&self, name: &str) -> Result<u64> {
        let name = match self.meaning(name)? {
            Meaning::Entry(entry) => entry.name.clone(),
            Meaning::Reference(reference) => reference.to_string(),
            Meaning::Kept(manifest) => manifest.name,
            Meaning::Path(path) => {
                return Err(EngineError::NotInstalled {
                    name: path.display().to_string(),
                });
            }
        };
        let folder = folder_name(&name);
        let (target, partial) = (
            self.home.model_folder(&folder),
            self.home.partial_folder().join(&folder),
        );
        if !target.exists() && !partial.exists() {
            return Err(EngineError::NotInstalled { name });
        }
        let _lock = Lock::acquire(&self.home, &folder, &CancelFlag::new(), &mut || {})?;
        let size = installed_at(&target).map_or(0, |model| model.size);
        // Out of sight first: a removal that is interrupted leaves no half a model.
        let old = self.home.partial_folder().join(format!("{folder}.old"));
        remove_folder(&old)?;
        if target.exists() {
            fs::rename(&target, &old).map_err(EngineError::io("remove", &target))?;
        }
        remove_folder(&old)?;
        remove_folder(&partial)?;
        Ok(size)
    }

    /// Reads every file of a model on this machine and compares its hash with the manifest's. `progress` is told the
    /// file and the bytes read of it.
    pub fn verify(
        &self,
        name: &str,
        cancel: &CancelFlag,
        progress: &mut dyn FnMut(&str, u64),
    ) -> Result<()> {
        let resolved = self.resolve(name)?;
        let folder = if resolved.path.is_dir() {
            Some(resolved.path.as_path())
        } else {
            model_root(&resolved.path)
        };
        let manifest = match folder {
            Some(folder) => Manifest::read(folder)?.map(|manifest| (folder, manifest)),
            None => None,
        };
        let Some((folder, manifest)) = manifest else {
            return Err(EngineError::Damaged {
                name: name.to_owned(),
                reason: format!(
                    "it has no {}, so nothing is known of what it should be",
                    manifest::FILE_NAME
                ),
            });
        };
        for file in &manifest.files {
            let (_, actual) = sha256_file(&folder.join(&file.name), cancel, &mut |done| {
                progress(&file.name, done)
            })?;
            if actual != file.sha256 {
                return Err(EngineError::HashMismatch {
                    file: file.name.clone(),
                    from: folder.display().to_string(),
                    expected: file.sha256.clone(),
                    actual,
                });
            }
        }
        Ok(())
    }

    fn pull_entry(
        &self,
        entry: &ModelEntry,
        options: &PullOptions,
        reporter: &mut Reporter,
    ) -> Result<()> {
        for companion in &entry.companions {
            // Companions have sources of their own; a forced one is the model's alone.
            let options = PullOptions {
                source: None,
                ..options.clone()
            };
            if let Some(companion) = self.catalog.get(companion) {
                self.puller(&options, reporter).entry(companion)?;
            }
        }
        self.puller(options, reporter).entry(entry)
    }

    fn puller<'a>(&'a self, options: &'a PullOptions, reporter: &'a mut Reporter<'_>) -> Pull<'a> {
        Pull {
            home: &self.home,
            fetch: &self.fetch,
            hub: &self.hub,
            pips: &self.pips,
            limits: &self.limits,
            options,
            reporter: reporter.again(),
        }
    }

    /// A name of the catalog goes before a file of the same name in the current folder: `./name` means the file.
    fn meaning(&self, name: &str) -> Result<Meaning<'_>> {
        if HubRef::is_reference(name) {
            return Ok(Meaning::Reference(HubRef::parse(name)?));
        }
        if let Some(entry) = self.catalog.get(name) {
            return Ok(Meaning::Entry(entry));
        }
        let path = PathBuf::from(name);
        if !name.is_empty() && path.exists() {
            return Ok(Meaning::Path(path));
        }
        let weights = ["gguf", "safetensors", "bin", "pt", "ckpt"];
        let has_extension = path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| weights.contains(&e));
        if name.starts_with('.') || name.contains(['/', '\\']) || has_extension {
            return Err(EngineError::NoSuchPath { path });
        }
        if let Some(manifest) = Manifest::read(&self.home.model_folder(&folder_name(name)))? {
            return Ok(Meaning::Kept(manifest));
        }
        let mut alike = self.catalog.similar(name);
        let installed = self.installed().unwrap_or_default();
        alike.extend(similar(
            name,
            installed.iter().map(|model| model.name.as_str()),
        ));
        alike.dedup();
        Err(EngineError::UnknownModel {
            name: name.to_owned(),
            similar: alike,
        })
    }

    fn resolve_entry(&self, entry: &ModelEntry) -> Result<Resolved> {
        let folder = folder_name(&entry.name);
        let installed = self.home.model_folder(&folder);
        let mut resolved = match Manifest::read(&installed)? {
            Some(manifest) if !manifest.describes(entry) => {
                return Err(EngineError::WrongMix {
                    name: entry.name.clone(),
                    reason: "those on this machine are of another version than the catalog's"
                        .to_owned(),
                });
            }
            Some(manifest) => resolve_manifest(&entry.name, &installed, &manifest)?,
            None => match self.came_with(entry) {
                Some(bundled) => Resolved::at(&entry.name, &bundled, entry.load.as_deref()),
                None => {
                    return Err(EngineError::NotInstalled {
                        name: entry.name.clone(),
                    });
                }
            },
        };
        resolved.medium = Some(entry.medium);
        for companion in entry
            .companions
            .iter()
            .filter_map(|name| self.catalog.get(name))
        {
            resolved.companions.push(self.resolve_entry(companion)?);
        }
        resolved.entry = Some(entry.clone());
        Ok(resolved)
    }
}

impl Resolved {
    fn at(name: &str, folder: &Path, load: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            path: load.map_or_else(|| folder.to_owned(), |load| folder.join(load)),
            medium: None,
            entry: None,
            companions: Vec::new(),
        }
    }
}

fn resolve_manifest(name: &str, folder: &Path, manifest: &Manifest) -> Result<Resolved> {
    if let Some(reason) = manifest.first_fault(folder) {
        return Err(EngineError::Damaged {
            name: name.to_owned(),
            reason,
        });
    }
    let mut resolved = Resolved::at(name, folder, manifest.load.as_deref());
    resolved.medium = manifest.medium;
    Ok(resolved)
}

fn resolve_path(name: &str, path: PathBuf) -> Result<Resolved> {
    match Manifest::read(&path)? {
        Some(manifest) => resolve_manifest(name, &path, &manifest),
        None => Ok(Resolved::at(name, &path, None)),
    }
}

/// The folder above a file that has the manifest which lists it.
fn model_root(file: &Path) -> Option<&Path> {
    file.ancestors()
        .skip(1)
        .take(4)
        .find(|folder| folder.join(manifest::FILE_NAME).is_file())
}

/// The model in a folder; none where there is no manifest. One that cannot be read is a fault of the model.
fn installed_at(path: &Path) -> Option<Installed> {
    match Manifest::read(path) {
        Ok(None) => None,
        Ok(Some(manifest)) => Some(Installed {
            path: path.to_owned(),
            size: manifest.size(),
            verified: manifest.verified(),
            fault: manifest.first_fault(path),
            name: manifest.name,
            medium: manifest.medium,
            licence: manifest.licence,
            source: manifest.source,
        }),
        Err(error) => Some(Installed {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            path: path.to_owned(),
            size: 0,
            medium: None,
            licence: None,
            source: "unknown".to_owned(),
            verified: false,
            fault: Some(error.to_string()),
        }),
    }
}

fn bundled_at(entry: &ModelEntry, path: PathBuf) -> Installed {
    let size = match entry.size() {
        0 => folder_size(&path),
        size => size,
    };
    Installed {
        name: entry.name.clone(),
        path,
        size,
        medium: Some(entry.medium),
        licence: Some(entry.licence.clone()),
        source: "bundled".to_owned(),
        verified: false,
        fault: None,
    }
}

/// Bytes of the files in a folder and in those inside it.
fn folder_size(path: &Path) -> u64 {
    let items = fs::read_dir(path).into_iter().flatten().flatten();
    let size = |item: fs::DirEntry| match item.file_type() {
        Ok(kind) if kind.is_dir() => folder_size(&item.path()),
        Ok(kind) if kind.is_file() => item.metadata().map_or(0, |found| found.len()),
        _ => 0,
    };
    items.map(size).sum()
}
