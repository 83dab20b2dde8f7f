//! Bringing a model onto this machine.
//!
//! A pull is prepared in `partial/<name>` under a lock, source by source until one delivers, and becomes visible by one
//! rename once every file has the length and the hash that it should have. What an interrupted pull leaves there is
//! used by the next one.

mod folder;
mod package;
mod stage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::{FileEntry, ModelEntry, Source};
use crate::fetch::hub::{Hub, HubFile, HubRef, Selection};
use crate::fetch::{CancelFlag, Download, Fetch, Limits, Transfer};
use crate::home::{Home, folder_name};
use crate::manifest::{InstalledFile, Manifest};
use crate::{EngineError, Result};

pub use package::default_pips;
use stage::Stage;
pub(crate) use stage::{Lock, remove_folder};

const EVENT_EVERY: Duration = Duration::from_millis(100);

/// What a pull is to do.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// The one source to use: `hub`, `python`, `folder`, or the path of a folder that has the files.
    pub source: Option<String>,
    /// Fetch afresh what is already there.
    pub force: bool,
    /// Set by another thread to end the pull; what has come is kept for the next.
    pub cancel: CancelFlag,
}

/// What a pull reports, in the order in which it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullEvent {
    /// Another process pulls the same model; this one waits for it.
    Waiting {
        /// The model.
        name: String,
    },
    /// A source is tried.
    Started {
        /// The model.
        name: String,
        /// The source in words.
        source: String,
        /// Bytes of the model, where that is known.
        size: Option<u64>,
    },
    /// Under which terms the model comes. To be shown, always.
    Licence {
        /// The model.
        name: String,
        /// Its licence.
        licence: String,
        /// What must be said about it.
        note: Option<String>,
    },
    /// Bytes that are done with, at most ten times a second and at the end.
    Progress {
        /// What is being done.
        stage: PullStage,
        /// File or package.
        what: String,
        /// Bytes so far.
        done: u64,
        /// Of so many, where that is known.
        total: Option<u64>,
    },
    /// A source failed; the next is tried.
    SourceFailed {
        /// The model.
        name: String,
        /// The source in words.
        source: String,
        /// Why, in one line.
        reason: String,
    },
    /// The model is there.
    Installed {
        /// The model.
        name: String,
        /// Its folder.
        path: PathBuf,
    },
}

/// What is being done to a file or package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStage {
    /// It comes over the network.
    Download,
    /// It is taken out of a package.
    Unpack,
    /// It is copied.
    Copy,
    /// What was there already is checked.
    Verify,
}

/// One pull: what it works with, and whom it tells.
pub(crate) struct Pull<'a> {
    pub home: &'a Home,
    pub fetch: &'a Arc<dyn Fetch>,
    pub hub: &'a Hub,
    pub pips: &'a [Vec<String>],
    pub limits: &'a Limits,
    pub options: &'a PullOptions,
    pub reporter: Reporter<'a>,
}

/// Passes events on, and not too many of them.
pub(crate) struct Reporter<'a> {
    events: &'a mut dyn FnMut(PullEvent),
    last: Option<Instant>,
}

impl<'a> Reporter<'a> {
    pub fn new(events: &'a mut dyn FnMut(PullEvent)) -> Self {
        Self { events, last: None }
    }

    /// The same for a while.
    pub fn again(&mut self) -> Reporter<'_> {
        Reporter {
            events: &mut *self.events,
            last: None,
        }
    }

    fn send(&mut self, event: PullEvent) {
        self.last = None;
        (self.events)(event);
    }

    fn progress(&mut self, stage: PullStage, what: &str, done: u64, total: Option<u64>) {
        if total != Some(done) && self.last.is_some_and(|last| last.elapsed() < EVENT_EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        (self.events)(PullEvent::Progress {
            stage,
            what: what.to_owned(),
            done,
            total,
        });
    }
}

impl Pull<'_> {
    /// Installs a model of the catalog, unless it is there already.
    pub fn entry(&mut self, entry: &ModelEntry) -> Result<()> {
        let folder = folder_name(&entry.name);
        if entry.is_bundled()
            && self.options.source.is_none()
            && self.home.bundled(&folder).is_some()
        {
            return Ok(());
        }
        if entry.sources == [Source::Bundled] && self.options.source.is_none() {
            return Err(EngineError::BundleMissing {
                name: entry.name.clone(),
            });
        }
        let sources = self.sources(entry)?;
        let _lock = self.lock(&entry.name, &folder)?;
        if !self.wanted_afresh() && self.is_installed(&folder, |manifest| manifest.describes(entry))
        {
            return Ok(());
        }
        self.reporter.send(PullEvent::Licence {
            name: entry.name.clone(),
            licence: entry.licence.clone(),
            note: entry.licence_note.clone(),
        });
        let stage = Stage::open(self.home, &folder)?;
        let mut causes = Vec::new();
        for source in &sources {
            let described = source.describe();
            let size = Some(entry.size());
            self.reporter.send(PullEvent::Started {
                name: entry.name.clone(),
                source: described.clone(),
                size,
            });
            match self.via_source(entry, source, &stage) {
                Ok(()) => {
                    return self.install(&stage, &folder, Manifest::of_entry(entry, described));
                }
                Err(error) if !error.is_fault_of_source() => return Err(error),
                Err(error) => {
                    if causes.len() + 1 < sources.len() {
                        let reason = error.to_string();
                        let (name, source) = (entry.name.clone(), described.clone());
                        self.reporter.send(PullEvent::SourceFailed {
                            name,
                            source,
                            reason,
                        });
                    }
                    causes.push((described, error));
                }
            }
        }
        match causes.len() {
            0 => Err(EngineError::NoSource {
                name: entry.name.clone(),
            }),
            1 => causes.pop().map_or_else(|| Ok(()), |(_, error)| Err(error)),
            _ => Err(EngineError::AllSources {
                name: entry.name.clone(),
                causes,
            }),
        }
    }

    /// Installs a model of the hub that no catalog lists, unless it is there already.
    pub fn reference(&mut self, reference: &HubRef) -> Result<()> {
        let name = reference.to_string();
        if let Some(source) = self
            .options
            .source
            .as_deref()
            .filter(|source| *source != "hub")
        {
            let available = vec!["hub".to_owned()];
            return Err(EngineError::UnknownSource {
                name,
                wanted: source.to_owned(),
                available,
            });
        }
        let folder = folder_name(&name);
        let _lock = self.lock(&name, &folder)?;
        if !self.wanted_afresh() && self.is_installed(&folder, |_| true) {
            return Ok(());
        }
        let repo = reference.repo.as_str();
        let transfer = self.transfer();
        let listing = self.hub.listing(
            &transfer,
            repo,
            reference.revision.as_deref().unwrap_or("main"),
        )?;
        let selection = listing.select(repo, reference.file.as_deref())?;
        let licence = listing
            .licence
            .clone()
            .unwrap_or_else(|| "not stated".to_owned());
        self.reporter.send(PullEvent::Licence {
            name: name.clone(),
            licence,
            note: None,
        });
        let source = format!("hub {repo} at {}", listing.commit);
        let size = selection
            .files
            .iter()
            .try_fold(0u64, |sum, file| sum.checked_add(file.size?));
        self.reporter.send(PullEvent::Started {
            name: name.clone(),
            source: source.clone(),
            size,
        });
        let stage = Stage::open(self.home, &folder)?;
        let files = self.via_hub(repo, &listing.commit, &selection, &stage, &source)?;
        stage.check_shards(&name, &files)?;
        let manifest = Manifest {
            version: Manifest::VERSION,
            name,
            medium: listing.medium,
            architecture: None,
            licence: listing.licence,
            source,
            load: selection.load,
            files,
        };
        self.install(&stage, &folder, manifest)
    }

    fn via_hub(
        &mut self,
        repo: &str,
        commit: &str,
        selection: &Selection,
        stage: &Stage,
        from: &str,
    ) -> Result<Vec<InstalledFile>> {
        let mut files = Vec::new();
        for HubFile { path, size, sha256 } in &selection.files {
            if let Some(known) = size.zip(sha256.clone()) {
                let file = FileEntry {
                    name: path.clone(),
                    size: known.0,
                    sha256: known.1,
                };
                self.hub_file(repo, commit, path, &file, stage, from)?;
                files.push(InstalledFile {
                    name: file.name,
                    size: file.size,
                    sha256: file.sha256,
                    verified: true,
                });
                continue;
            }
            let url = self.hub.file_url(repo, commit, path);
            let target = stage.prepare(path)?;
            let download = Download {
                name: path,
                from,
                url: &url,
                token: self.hub.token(),
                target: &target,
                size: *size,
                sha256: sha256.as_deref(),
            };
            let checked = self.download(&download)?;
            let verified = sha256.is_some();
            files.push(InstalledFile {
                name: path.clone(),
                size: checked.size,
                sha256: checked.sha256,
                verified,
            });
        }
        Ok(files)
    }

    fn hub_file(
        &mut self,
        repo: &str,
        revision: &str,
        path: &str,
        file: &FileEntry,
        stage: &Stage,
        from: &str,
    ) -> Result<()> {
        if self.is_staged(stage, file)? {
            return Ok(());
        }
        let url = self.hub.file_url(repo, revision, path);
        let target = stage.prepare(&file.name)?;
        let download = Download {
            name: &file.name,
            from,
            url: &url,
            token: self.hub.token(),
            target: &target,
            size: Some(file.size),
            sha256: Some(&file.sha256),
        };
        self.download(&download).map(drop)
    }

    fn download(&mut self, download: &Download) -> Result<crate::fetch::Checked> {
        let transfer = Transfer {
            fetch: self.fetch,
            limits: self.limits,
            cancel: &self.options.cancel,
        };
        let reporter = &mut self.reporter;
        transfer.download(download, &mut |done, total| {
            reporter.progress(PullStage::Download, download.name, done, total)
        })
    }

    fn transfer(&self) -> Transfer<'_> {
        Transfer {
            fetch: self.fetch,
            limits: self.limits,
            cancel: &self.options.cancel,
        }
    }

    fn via_source(&mut self, entry: &ModelEntry, source: &Source, stage: &Stage) -> Result<()> {
        match source {
            Source::Hub {
                repo,
                revision,
                paths,
            } => entry.files.iter().try_for_each(|file| {
                let path = paths.get(&file.name).unwrap_or(&file.name);
                self.hub_file(repo, revision, path, file, stage, &source.describe())
            }),
            Source::Python {
                packages,
                folder,
                parts,
            } => self.via_packages(entry, packages, folder.as_deref(), parts, stage),
            Source::Folder { path } => self.via_folder(entry, path, stage),
            Source::Bundled => Err(EngineError::BundleMissing {
                name: entry.name.clone(),
            }),
        }
    }

    /// The sources to try: all, or the one that is forced.
    fn sources(&self, entry: &ModelEntry) -> Result<Vec<Source>> {
        let Some(wanted) = self.options.source.as_deref() else {
            return Ok(entry.sources.clone());
        };
        let kind = if wanted == "pip" { "python" } else { wanted };
        let found: Vec<Source> = entry
            .sources
            .iter()
            .filter(|source| source.kind() == kind)
            .cloned()
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
        if Path::new(wanted).is_dir() {
            return Ok(vec![Source::Folder {
                path: PathBuf::from(wanted),
            }]);
        }
        let mut available: Vec<String> = entry
            .sources
            .iter()
            .map(|source| source.kind().to_owned())
            .collect();
        available.dedup();
        available.push("the path of a folder".to_owned());
        Err(EngineError::UnknownSource {
            name: entry.name.clone(),
            wanted: wanted.to_owned(),
            available,
        })
    }

    fn lock(&mut self, name: &str, folder: &str) -> Result<Lock> {
        let reporter = &mut self.reporter;
        Lock::acquire(self.home, folder, &self.options.cancel, &mut || {
            reporter.send(PullEvent::Waiting {
                name: name.to_owned(),
            });
        })
    }

    fn wanted_afresh(&self) -> bool {
        self.options.force || self.options.source.is_some()
    }

    fn is_installed(&self, folder: &str, accept: impl Fn(&Manifest) -> bool) -> bool {
        let path = self.home.model_folder(folder);
        // A manifest that cannot be read is replaced like one that is not there.
        Manifest::read(&path)
            .ok()
            .flatten()
            .is_some_and(|manifest| accept(&manifest) && manifest.first_fault(&path).is_none())
    }

    /// Whether an earlier pull has left this file whole and right.
    fn is_staged(&mut self, stage: &Stage, file: &FileEntry) -> Result<bool> {
        let reporter = &mut self.reporter;
        stage.has(file, &self.options.cancel, &mut |done| {
            reporter.progress(PullStage::Verify, &file.name, done, Some(file.size));
        })
    }

    fn install(&mut self, stage: &Stage, folder: &str, manifest: Manifest) -> Result<()> {
        let keep: BTreeSet<&str> = manifest
            .files
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        stage.prune(&keep)?;
        manifest.write(stage.folder())?;
        let path = stage.publish(self.home, folder)?;
        self.reporter.send(PullEvent::Installed {
            name: manifest.name,
            path,
        });
        Ok(())
    }
}

impl Manifest {
    /// The manifest of a model whose files have just been verified against its entry.
    fn of_entry(entry: &ModelEntry, source: String) -> Self {
        let installed = |file: &FileEntry| InstalledFile {
            name: file.name.clone(),
            size: file.size,
            sha256: file.sha256.clone(),
            verified: true,
        };
        Self {
            version: Self::VERSION,
            name: entry.name.clone(),
            medium: Some(entry.medium),
            architecture: Some(entry.architecture.clone()),
            licence: Some(entry.licence.clone()),
            source,
            load: entry.load.clone(),
            files: entry.files.iter().map(installed).collect(),
        }
    }

    /// Whether these are the files of the entry.
    pub(crate) fn describes(&self, entry: &ModelEntry) -> bool {
        let mine: BTreeSet<(&str, &str)> = self
            .files
            .iter()
            .map(|f| (f.name.as_str(), f.sha256.as_str()))
            .collect();
        let theirs: BTreeSet<(&str, &str)> = entry
            .files
            .iter()
            .map(|f| (f.name.as_str(), f.sha256.as_str()))
            .collect();
        mine == theirs
    }
}
