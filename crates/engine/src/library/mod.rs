//! The works that are kept: what is known of each in the database, its file in a folder, called by its SHA-256.
//!
//! Files that jobs were given lie among them, as long as their job is known: recipes name both by their SHA-256.
//!
//! A file is written before its entry is, and taken away after its last entry is, both while the database is held: what
//! has an entry has its file, whatever comes between. Files that an end in between left without an entry go when the
//! library is opened.

mod files;
mod rows;
mod thumbnail;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use medley_media::Format;
use medley_types::{Medium, Work};
use rusqlite::Transaction;
use serde_json::Value;

use crate::database::{Database, fresh_id, now};
use crate::fetch::sha256_hex;
use crate::{EngineError, Result};
use files::Files;
pub use thumbnail::SIDE as THUMBNAIL_SIDE;

/// Tags of one work at most.
const TAGS: usize = 64;

/// Longest tag and title, in characters.
const WORDS: usize = 200;

/// The works that are kept.
pub struct Library {
    database: Arc<Database>,
    files: Files,
}

/// A work that is to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct NewWork {
    /// What it is.
    pub medium: Medium,
    /// Name of the model that made it.
    pub model: String,
    /// SHA-256 of the model's weights, where it is known.
    pub model_sha256: Option<String>,
    /// What was to be seen or written.
    pub prompt: String,
    /// The request that makes it again.
    pub recipe: Value,
    /// Type of its file.
    pub mime: &'static str,
    /// Its file.
    pub bytes: Vec<u8>,
    /// Width and height in pixels, of what has them.
    pub size: Option<[u32; 2]>,
    /// Where the time went, in seconds.
    pub timings: Value,
    /// The job that made it.
    pub job: Option<String>,
}

/// Which works are asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Words, or their beginnings, that title, prompt, tags or text have.
    pub words: String,
    /// Of this medium alone.
    pub medium: Option<Medium>,
    /// With this tag alone.
    pub tag: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Those after this one, in the order of the list.
    pub after: Option<String>,
}

/// A file that a job is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// Its SHA-256, by which the request names it.
    pub sha256: String,
    /// Its type.
    pub mime: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Upload {
    /// A file of this type.
    pub fn new(mime: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            sha256: sha256_hex(&bytes),
            mime,
            bytes,
        }
    }
}

/// What a work's file is.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its type.
    pub mime: String,
}

impl Library {
    /// The library of a database, its files below `folder`.
    ///
    /// # Errors
    /// [`EngineError::Io`], [`EngineError::Database`].
    pub fn open(database: Arc<Database>, folder: &Path) -> Result<Self> {
        let library = Self {
            files: Files::open(folder)?,
            database,
        };
        library.sweep()?;
        Ok(library)
    }

    /// Takes away files that no entry names.
    fn sweep(&self) -> Result<()> {
        self.database.write(|transaction| {
            let known = rows::contents(transaction)?;
            self.files.keep_only(&known)
        })
    }

    /// Keeps a work.
    ///
    /// # Errors
    /// [`EngineError::Io`], [`EngineError::Database`]; nothing is kept then.
    pub fn add(&self, work: NewWork) -> Result<Work> {
        let mut works = self.add_all(vec![work], |_, _| Ok(()))?;
        works.pop().ok_or(EngineError::NotFound {
            what: "work",
            id: String::new(),
        })
    }

    /// Keeps all of these works, and does `also` with them, or nothing of it.
    pub(crate) fn add_all(
        &self,
        works: Vec<NewWork>,
        also: impl FnOnce(&Transaction, &[Work]) -> Result<()>,
    ) -> Result<Vec<Work>> {
        let works: Vec<(Work, NewWork)> = works.into_iter().map(entry).collect();
        // Made before the database is held.
        let small = |(_, new): &(Work, NewWork)| thumbnail::of(new.medium, new.mime, &new.bytes);
        let thumbnails: Vec<Option<Vec<u8>>> = works.iter().map(small).collect();
        let mut written = Vec::new();
        let kept = self.database.write(|transaction| {
            for ((work, new), thumbnail) in works.iter().zip(&thumbnails) {
                let (sha256, mime) = (&work.sha256, new.mime);
                if self
                    .files
                    .put(sha256, mime, &new.bytes, thumbnail.as_deref())?
                {
                    written.push((sha256.clone(), mime));
                }
                rows::insert(transaction, work, &searched(new))?;
            }
            let works: Vec<Work> = works.iter().map(|(work, _)| work.clone()).collect();
            also(transaction, &works)?;
            Ok(works)
        });
        if kept.is_err() {
            for (sha256, mime) in written {
                self.forget(&sha256, mime);
            }
        }
        kept
    }

    /// Keeps the files that a job is given, with what `also` does, or nothing of it.
    pub(crate) fn lend(
        &self,
        job: &str,
        files: &[Upload],
        also: impl FnOnce(&Transaction) -> Result<()>,
    ) -> Result<()> {
        let mut written = Vec::new();
        let kept = self.database.write(|transaction| {
            also(transaction)?;
            for file in files {
                if self.files.put(&file.sha256, file.mime, &file.bytes, None)? {
                    written.push(file);
                }
                rows::lend(transaction, job, &file.sha256, file.mime)?;
            }
            Ok(())
        });
        if kept.is_err() {
            for file in written {
                self.forget(&file.sha256, file.mime);
            }
        }
        kept
    }

    /// The files that a job was given.
    pub(crate) fn lent(&self, job: &str) -> Result<Vec<(String, String)>> {
        self.database.read(|c| rows::lent(c, job))
    }

    /// Takes a file away that no entry names; what fails here is swept up later.
    pub(crate) fn forget(&self, sha256: &str, mime: &str) {
        let _ = self.database.write(|transaction| {
            if !rows::is_named(transaction, sha256)? {
                self.files.remove(sha256, mime)?;
            }
            Ok(())
        });
    }

    /// One work.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn get(&self, id: &str) -> Result<Work> {
        self.database
            .read(|c| rows::get(c, id))?
            .ok_or_else(|| missing(id))
    }

    /// Works, the newest first, and whether there are more.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for an `after` that is not there, [`EngineError::Database`].
    pub fn list(&self, query: &Query) -> Result<(Vec<Work>, bool)> {
        let before = match &query.after {
            None => i64::MAX,
            Some(id) => {
                let place = self.database.read(|c| rows::place(c, id))?;
                place.ok_or_else(|| missing(id))?
            }
        };
        let limit = query.limit;
        let mut works = self
            .database
            .read(|c| rows::list(c, query, before, limit + 1))?;
        let more = works.len() > limit;
        works.truncate(limit);
        Ok((works, more))
    }

    /// Calls a work otherwise, or files it under other tags.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::BadRequest`] for what is too long, [`EngineError::Database`].
    pub fn change(&self, id: &str, title: Option<&str>, tags: Option<&[String]>) -> Result<Work> {
        let title = title.map(str::trim);
        if title.is_some_and(|title| title.chars().count() > WORDS) {
            return Err(too_long("title"));
        }
        let tags = tags.map(tidy).transpose()?;
        self.database.write(|transaction| {
            let failed = |source| EngineError::Database { source };
            let place = rows::place(transaction, id).map_err(failed)?;
            let place = place.ok_or_else(|| missing(id))?;
            rows::change(transaction, place, title, tags.as_deref()).map_err(failed)
        })?;
        self.get(id)
    }

    /// Takes a work away, and its file where no other work has the same.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`], [`EngineError::Io`] where the file cannot be taken away.
    pub fn remove(&self, id: &str) -> Result<()> {
        let work = self.get(id)?;
        let gone = self
            .database
            .write(|transaction| rows::remove(transaction, id))?;
        if !gone {
            return Err(missing(id));
        }
        // A second hold, so that the entry is gone for good before its file is; a work that is added in between keeps it.
        self.database.write(|transaction| {
            if !rows::is_named(transaction, &work.sha256)? {
                self.files.remove(&work.sha256, &work.mime)?;
            }
            Ok(())
        })
    }

    /// The file of a work.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn file(&self, id: &str) -> Result<WorkFile> {
        let work = self.get(id)?;
        Ok(WorkFile {
            path: self.files.path(&work.sha256, &work.mime),
            mime: work.mime,
        })
    }

    /// A small picture of a work, with its type: at most [`THUMBNAIL_SIDE`] pixels wide and high.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`], [`EngineError::Io`].
    pub fn thumbnail(&self, id: &str) -> Result<(Vec<u8>, &'static str)> {
        let work = self.get(id)?;
        let path = self.files.thumbnail(&work.sha256);
        if path.is_file() {
            let bytes = std::fs::read(&path).map_err(EngineError::io("read", &path))?;
            return Ok((bytes, "image/png"));
        }
        let path = self.files.path(&work.sha256, &work.mime);
        let bytes = std::fs::read(&path).map_err(EngineError::io("read", &path))?;
        if work.medium == Medium::Text {
            let text = String::from_utf8_lossy(&bytes);
            return Ok((thumbnail::page(&text).into_bytes(), "image/svg+xml"));
        }
        if matches!(work.medium, Medium::Speech | Medium::Music) {
            return Ok((thumbnail::wave(bytes).into_bytes(), "image/svg+xml"));
        }
        Ok((
            bytes,
            if work.mime == "image/png" {
                "image/png"
            } else {
                "application/octet-stream"
            },
        ))
    }

    /// Frames of a clip side by side, as JPEG; made when they are first asked for, and kept.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`], [`EngineError::Io`], [`EngineError::Media`] for what is no clip.
    pub fn spritesheet(&self, id: &str) -> Result<Vec<u8>> {
        let work = self.get(id)?;
        let path = self.files.sheet(&work.sha256);
        if path.is_file() {
            return std::fs::read(&path).map_err(EngineError::io("read", &path));
        }
        let file = self.files.path(&work.sha256, &work.mime);
        let bytes = std::fs::read(&file).map_err(EngineError::io("read", &file))?;
        let sheet = crate::video::spritesheet(&crate::video::clip_of(&bytes)?)?;
        let sheet = crate::image::encode(&sheet, Format::Jpeg, None, None)?;
        // It can be made again: where there is no room it is not kept.
        if let Err(error) = (self.files.write)(&path, &sheet) {
            tracing::warn!("the sheet of {id} is not kept: {error}");
        }
        Ok(sheet)
    }

    /// The bytes of a kept file with this SHA-256; none where no work has it, and no job was given it.
    ///
    /// # Errors
    /// [`EngineError::Database`], [`EngineError::Io`].
    pub fn content(&self, sha256: &str) -> Result<Option<Vec<u8>>> {
        let Some(mime) = self.database.read(|c| rows::mime_of(c, sha256))? else {
            return Ok(None);
        };
        let path = self.files.path(sha256, &mime);
        let bytes = std::fs::read(&path).map_err(EngineError::io("read", &path))?;
        Ok(Some(bytes))
    }

    #[cfg(test)]
    fn with_writer(mut self, write: files::Write) -> Self {
        self.files.write = write;
        self
    }
}

fn missing(id: &str) -> EngineError {
    EngineError::NotFound {
        what: "work",
        id: id.to_owned(),
    }
}

fn too_long(field: &str) -> EngineError {
    EngineError::BadRequest {
        field: field.to_owned(),
        reason: format!("it has more than {WORDS} characters"),
    }
}

/// Each tag once, without space around it.
fn tidy(tags: &[String]) -> Result<Vec<String>> {
    let mut tidied: Vec<String> = Vec::new();
    for tag in tags {
        let tag = tag.trim();
        if tag.chars().count() > WORDS {
            return Err(too_long("tags"));
        }
        if !tag.is_empty() && !tidied.iter().any(|known| known == tag) {
            tidied.push(tag.to_owned());
        }
    }
    if tidied.len() > TAGS {
        return Err(EngineError::BadRequest {
            field: "tags".into(),
            reason: format!("at most {TAGS} tags can be given"),
        });
    }
    Ok(tidied)
}

/// What is known of a new work.
fn entry(new: NewWork) -> (Work, NewWork) {
    let work = Work {
        id: fresh_id("work"),
        medium: new.medium,
        model: new.model.clone(),
        model_sha256: new.model_sha256.clone(),
        title: String::new(),
        prompt: new.prompt.clone(),
        recipe: new.recipe.clone(),
        created_at: now(),
        mime: new.mime.to_owned(),
        bytes: new.bytes.len() as u64,
        sha256: sha256_hex(&new.bytes),
        width: new.size.map(|[width, _]| width),
        height: new.size.map(|[_, height]| height),
        tags: Vec::new(),
        timings: new.timings.clone(),
        job: new.job.clone(),
    };
    (work, new)
}

/// The text of a work that is one.
fn searched(new: &NewWork) -> String {
    match new.medium {
        Medium::Text => String::from_utf8_lossy(&new.bytes).into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
