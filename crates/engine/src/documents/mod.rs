//! Documents in collections: their passages with words and vectors in the one database, searched by both.
//!
//! Every collection has a table of words of its own (`words_N`, FTS5), so that neither texts nor how often words occur
//! pass from one to another. Vectors lie beside their passages and are held in memory from the first question on
//! (`search`).

pub mod answer;
pub(crate) mod by_words;
mod encode;
mod files;
mod filter;
mod folder;
mod material;
pub mod read;
mod resident;
mod rows;
mod search;
mod split;
pub mod words;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::database::{Database, fresh_id, now};
use crate::fetch::sha256_hex;
use crate::{EngineError, Result};

pub use encode::{Encoder, LocalEncoder};
pub use files::{Attached, File, State};
pub use filter::{Compare, Filter};
pub use folder::{Folder, FolderReport, look};
pub use material::{Material, material};
pub use read::child::Readers;
pub use read::{Content, Format};
pub use search::{Hit, Search};
pub use split::UNDER;

/// The collection of who names none.
pub const USUAL: &str = "documents";

/// The encoder of who names none.
pub const USUAL_ENCODER: &str = "minilm";

/// The documents of a database.
pub struct Documents {
    database: Arc<Database>,
    readers: Readers,
    resident: Mutex<HashMap<i64, Arc<resident::Resident>>>,
}

/// Documents that are searched together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collection {
    #[serde(skip)]
    pub(crate) seq: i64,
    /// `vs_…`.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// The model of its vectors.
    pub model: String,
    /// What else its owner says of it.
    pub metadata: Value,
    /// Seconds since 1970.
    pub created_at: u64,
    /// The same, of when it was last added to, or asked.
    pub active_at: u64,
    /// How many documents it has.
    pub documents: u64,
    /// How many passages.
    pub passages: u64,
    /// Bytes of their texts.
    pub bytes: u64,
    #[serde(skip)]
    pub(crate) version: i64,
}

/// A document of a collection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    #[serde(skip)]
    pub(crate) seq: i64,
    /// `file-…`.
    pub id: String,
    /// Where it is from: a path, or the id of an uploaded file.
    pub source: String,
    /// What it is called.
    pub name: String,
    /// What it calls itself.
    pub title: Option<String>,
    /// Its MIME type.
    pub mime: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// SHA-256 of its file.
    pub sha256: String,
    /// What its owner says of it, by which searches can be narrowed.
    pub attributes: Map<String, Value>,
    /// Seconds since 1970.
    pub created_at: u64,
    /// How many passages it has.
    pub passages: u64,
}

/// A document that is to be in a collection.
#[derive(Clone, Debug)]
pub struct NewDocument<'b> {
    /// Its id; a new one where there is none.
    pub id: Option<String>,
    /// Where it is from; a collection has one document from each.
    pub source: String,
    /// What it is called.
    pub name: String,
    /// What it is written in.
    pub format: Format,
    /// Its file.
    pub bytes: &'b [u8],
    /// What its owner says of it.
    pub attributes: Map<String, Value>,
}

/// What became of a document that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Added {
    /// It was not there.
    New,
    /// It was there, with another content.
    Changed,
    /// It was there as it is.
    Same,
}

impl Documents {
    /// The documents of a database, which are read so.
    pub fn new(database: Arc<Database>, readers: Readers) -> Self {
        Self {
            database,
            readers,
            resident: Mutex::default(),
        }
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for a name that is too long, [`EngineError::Database`].
    pub fn create(&self, name: &str, model: &str, metadata: &Value) -> Result<Collection> {
        if name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(EngineError::BadRequest {
                field: "name".into(),
                reason: "it has at most 200 characters, and no line breaks".into(),
            });
        }
        let id = fresh_id("vs");
        let made = self
            .database
            .write(|transaction| rows::create(transaction, &id, name, model, metadata, now()));
        made.and_then(|()| self.collection(&id))
    }

    /// The collection of this id or name; of several with one name, the oldest.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn collection(&self, id: &str) -> Result<Collection> {
        let found = self.database.read(|c| rows::collection(c, id))?;
        found.ok_or_else(|| missing("collection", id))
    }

    /// The collection of this name, made where it is not there.
    ///
    /// # Errors
    /// Those of [`create`](Self::create).
    pub fn collection_or_new(&self, name: &str, model: &str) -> Result<Collection> {
        match self.collection(name) {
            Err(EngineError::NotFound { .. }) => self.create(name, model, &Value::Null),
            found => found,
        }
    }

    /// All collections, the oldest first.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn collections(&self) -> Result<Vec<Collection>> {
        self.database.read(rows::collections)
    }

    /// Calls a collection otherwise, or says other things of it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn change(
        &self,
        id: &str,
        name: Option<&str>,
        metadata: Option<&Value>,
    ) -> Result<Collection> {
        let seq = self.collection(id)?.seq;
        self.database
            .write(|transaction| rows::change(transaction, seq, name, metadata))?;
        self.collection(id)
    }

    /// Takes a collection away with all that is in it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn drop_collection(&self, id: &str) -> Result<()> {
        let seq = self.collection(id)?.seq;
        self.database
            .write(|transaction| rows::drop_collection(transaction, seq))?;
        self.held().remove(&seq);
        Ok(())
    }

    /// Puts a document into a collection, in the place of the one from the same source. One whose file is the same is not
    /// read again.
    ///
    /// # Errors
    /// [`EngineError::Document`] for one that cannot be read, [`EngineError::BadRequest`] for an encoder that is not the
    /// collection's, [`EngineError::Encoding`], [`EngineError::Database`].
    pub fn add(
        &self,
        collection: &Collection,
        document: &NewDocument<'_>,
        encoder: &dyn Encoder,
    ) -> Result<Added> {
        same_encoder(collection, encoder)?;
        let sha256 = sha256_hex(document.bytes);
        let before = self
            .database
            .read(|c| rows::known(c, collection.seq, &document.source))?;
        let same = |known: &rows::Known| known.sha256 == sha256 && known.reader == read::VERSION;
        if let Some(known) = before.as_ref().filter(|known| same(known)) {
            if known.attributes != document.attributes {
                self.database
                    .write(|t| rows::set_attributes(t, known.seq, &document.attributes))?;
            }
            return Ok(Added::Same);
        }
        let wrong = |reason| EngineError::Document {
            name: document.name.clone(),
            reason,
        };
        let content = self
            .readers
            .read(document.format, document.bytes)
            .map_err(wrong)?;
        let split = split::split(&content);
        if split.pieces.is_empty() {
            return Err(EngineError::Document {
                name: document.name.clone(),
                reason: "there is no text in it".into(),
            });
        }
        let vectors = encoder.encode(&split.encoded(content.title.as_deref()))?;
        let row = rows::NewRow {
            id: document.id.clone().unwrap_or_else(|| fresh_id("file")),
            document,
            title: content.title.as_deref(),
            sha256: &sha256,
            split: &split,
            vectors: &vectors,
        };
        self.database.write(|transaction| {
            if let Some(known) = &before {
                rows::remove(transaction, collection.seq, known.seq)?;
            }
            rows::add(transaction, collection.seq, &row, now())
        })?;
        Ok(match before {
            Some(_) => Added::Changed,
            None => Added::New,
        })
    }

    /// The documents of a collection, in order of their sources.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn list(&self, collection: &Collection) -> Result<Vec<Document>> {
        self.database.read(|c| rows::documents(c, collection.seq))
    }

    /// The document of this id or source.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn document(&self, collection: &Collection, id: &str) -> Result<Document> {
        let found = self
            .database
            .read(|c| rows::document(c, collection.seq, id))?;
        found.ok_or_else(|| missing("document", id))
    }

    /// The text of a document, which spans count in.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn text(&self, collection: &Collection, id: &str) -> Result<String> {
        let document = self.document(collection, id)?;
        self.database.read(|c| rows::text(c, document.seq))
    }

    /// Says other things of a document.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn set_attributes(
        &self,
        collection: &Collection,
        id: &str,
        attributes: &Map<String, Value>,
    ) -> Result<Document> {
        let document = self.document(collection, id)?;
        self.database
            .write(|t| rows::set_attributes(t, document.seq, attributes))?;
        self.document(collection, id)
    }

    /// Takes a document out of a collection.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn remove(&self, collection: &Collection, id: &str) -> Result<()> {
        let document = self.document(collection, id)?;
        self.database
            .write(|transaction| rows::remove(transaction, collection.seq, document.seq))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Arc<resident::Resident>>> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl split::Split {
    /// What is encoded of each passage: where it stands, and its text.
    fn encoded(&self, title: Option<&str>) -> Vec<String> {
        let text = |piece: &split::Piece| {
            let text = &self.text[piece.start..piece.start + piece.bytes];
            let heading = match piece.heading.is_empty() {
                true => title.unwrap_or_default(),
                false => piece.heading.as_str(),
            };
            match heading.is_empty() {
                true => text.to_owned(),
                false => format!("{heading}\n{text}"),
            }
        };
        self.pieces.iter().map(text).collect()
    }
}

fn missing(what: &'static str, id: &str) -> EngineError {
    EngineError::NotFound {
        what,
        id: id.to_owned(),
    }
}

fn same_encoder(collection: &Collection, encoder: &dyn Encoder) -> Result<()> {
    if collection.model == encoder.name() {
        return Ok(());
    }
    Err(EngineError::BadRequest {
        field: "model".into(),
        reason: format!(
            "the vectors of {} are {}'s, not {}'s",
            collection.name,
            collection.model,
            encoder.name()
        ),
    })
}

#[cfg(test)]
mod tests;
