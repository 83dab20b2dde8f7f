//! Files that clients sent, and which collections they were put in.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Added, Collection, Documents, Encoder, Format, NewDocument, missing};
use crate::database::{fresh_id, json, now, of_word, word};
use crate::fetch::sha256_hex;
use crate::{EngineError, Result};

/// A file that a client sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct File {
    /// `file_…`.
    pub id: String,
    /// What the client calls it.
    pub name: String,
    /// What it is for, in OpenAI's words.
    pub purpose: String,
    /// How large it is.
    pub bytes: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    /// When it goes; never where there is nothing.
    pub expires_at: Option<u64>,
}

/// How far a file has come into a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is read.
    InProgress,
    /// It can be found.
    Completed,
    /// It cannot be read.
    Failed,
    /// It was not to be read any more.
    Cancelled,
}

/// A file in a collection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attached {
    /// The file, or the document that was put there by another way.
    pub file: String,
    /// How far it has come.
    pub state: State,
    /// Why it cannot be read.
    pub error: Option<String>,
    /// What its owner says of it.
    pub attributes: Map<String, Value>,
    /// The batch that it came with.
    pub batch: Option<String>,
    /// Bytes of it, once it is read.
    pub bytes: u64,
    /// Seconds since 1970.
    pub created_at: u64,
}

fn failed(source: rusqlite::Error) -> EngineError {
    EngineError::Database { source }
}

fn object(text: &str) -> Map<String, Value> {
    match json(text) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

const FILE: &str = "SELECT id, name, purpose, bytes, created_at, expires_at FROM files";

fn file_of(row: &Row) -> rusqlite::Result<File> {
    Ok(File {
        id: row.get(0)?,
        name: row.get(1)?,
        purpose: row.get(2)?,
        bytes: row.get::<_, i64>(3)?.unsigned_abs(),
        created_at: row.get::<_, i64>(4)?.unsigned_abs(),
        expires_at: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
    })
}

/// Files of a collection by their rows; documents that came by another way are read.
const ATTACHED: &str = "SELECT a.file, a.state, a.error, a.attributes, a.batch, coalesce(d.characters, 0), a.created_at \
     FROM attached a LEFT JOIN documents d ON d.collection = a.collection AND d.id = a.file WHERE a.collection = ?1 \
     UNION ALL SELECT d.id, 'completed', NULL, d.attributes, NULL, d.characters, d.created_at FROM documents d \
     WHERE d.collection = ?1 AND d.id NOT IN (SELECT file FROM attached WHERE collection = ?1)";

fn attached_of(row: &Row) -> rusqlite::Result<Attached> {
    Ok(Attached {
        file: row.get(0)?,
        state: of_word(1, &row.get::<_, String>(1)?)?,
        error: row.get(2)?,
        attributes: object(&row.get::<_, String>(3)?),
        batch: row.get(4)?,
        bytes: row.get::<_, i64>(5)?.unsigned_abs(),
        created_at: row.get::<_, i64>(6)?.unsigned_abs(),
    })
}

fn all_attached(c: &Connection, collection: i64) -> rusqlite::Result<Vec<Attached>> {
    let mut select = c.prepare(&format!("{ATTACHED} ORDER BY 7, 1"))?;
    let rows = select.query_map([collection], attached_of)?;
    rows.collect()
}

/// Sets how far a file has come, if it is still being read.
fn set_state(
    transaction: &Transaction,
    collection: i64,
    file: &str,
    state: State,
    error: Option<&str>,
) -> Result<bool> {
    let update = "UPDATE attached SET state = ?3, error = ?4 WHERE collection = ?1 AND file = ?2 AND state = 'in_progress'";
    let updated = transaction.execute(update, params![collection, file, word(&state), error]);
    Ok(updated.map_err(failed)? > 0)
}

impl Documents {
    /// Keeps a file.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn put_file(
        &self,
        name: &str,
        purpose: &str,
        bytes: &[u8],
        expires_at: Option<u64>,
    ) -> Result<File> {
        let id = fresh_id("file");
        let (hash, size) = (sha256_hex(bytes), bytes.len() as i64);
        let expires = expires_at.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
        self.database.write(|transaction| {
            let gone = "DELETE FROM files WHERE expires_at < ?";
            transaction.execute(gone, [now() as i64]).map_err(failed)?;
            let insert = "INSERT INTO files (id, name, purpose, bytes, sha256, created_at, expires_at, data) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
            let row = params![id, name, purpose, size, hash, now() as i64, expires, bytes];
            transaction.execute(insert, row).map(drop).map_err(failed)
        })?;
        self.file(&id)
    }

    /// The file of this id.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn file(&self, id: &str) -> Result<File> {
        let select = format!("{FILE} WHERE id = ?");
        let found = self
            .database
            .read(|c| c.query_row(&select, [id], file_of).optional())?;
        found.ok_or_else(|| missing("file", id))
    }

    /// All files, the newest first.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn files(&self) -> Result<Vec<File>> {
        self.database.read(|c| {
            let mut select = c.prepare(&format!("{FILE} ORDER BY seq DESC"))?;
            let rows = select.query_map([], file_of)?;
            rows.collect()
        })
    }

    /// What is in a file.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn file_bytes(&self, id: &str) -> Result<Vec<u8>> {
        let select = "SELECT data FROM files WHERE id = ?";
        let found = self
            .database
            .read(|c| c.query_row(select, [id], |row| row.get(0)).optional())?;
        found.ok_or_else(|| missing("file", id))
    }

    /// Deletes a file, and takes it out of the collections that it is in.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn remove_file(&self, id: &str) -> Result<()> {
        self.file(id)?;
        for collection in self.collections()? {
            match self.detach(&collection, id) {
                Ok(()) | Err(EngineError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.database.write(|transaction| {
            let delete = "DELETE FROM files WHERE id = ?";
            transaction.execute(delete, [id]).map(drop).map_err(failed)
        })
    }

    /// Says that a file is to be read into a collection; [`read_attached`](Self::read_attached) does it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a file that is not there, [`EngineError::Database`].
    pub fn attach(
        &self,
        collection: &Collection,
        file: &str,
        attributes: &Map<String, Value>,
        batch: Option<&str>,
    ) -> Result<Attached> {
        self.file(file)?;
        let attributes = Value::Object(attributes.clone()).to_string();
        self.database.write(|transaction| {
            let insert = "INSERT INTO attached (collection, file, batch, state, error, attributes, created_at) \
                 VALUES (?1, ?2, ?3, 'in_progress', NULL, ?4, ?5) ON CONFLICT (collection, file) DO UPDATE \
                 SET batch = ?3, state = 'in_progress', error = NULL, attributes = ?4";
            let row = params![collection.seq, file, batch, attributes, now() as i64];
            transaction.execute(insert, row).map(drop).map_err(failed)
        })?;
        self.attached(collection, file)
    }

    /// Reads a file into its collection, as it was attached.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where it was taken away meanwhile, [`EngineError::Database`]; what is wrong with the file
    /// itself is written down with it.
    pub fn read_attached(
        &self,
        collection: &Collection,
        file: &str,
        encoder: &dyn Encoder,
    ) -> Result<State> {
        let attached = self.attached(collection, file)?;
        let kept = self.file(file)?;
        let bytes = self.file_bytes(file)?;
        let format = Format::of_name(&kept.name);
        let read = match format {
            None => Err(EngineError::Document {
                name: kept.name.clone(),
                reason: "files are txt, md, html, pdf, docx, csv and source code".into(),
            }),
            Some(format) => self.add(
                collection,
                &NewDocument {
                    id: Some(kept.id.clone()),
                    source: kept.id.clone(),
                    name: kept.name.clone(),
                    format,
                    bytes: &bytes,
                    attributes: attached.attributes,
                },
                encoder,
            ),
        };
        let (state, error) = match read {
            Ok(Added::New | Added::Changed | Added::Same) => (State::Completed, None),
            Err(error @ EngineError::Database { .. }) => return Err(error),
            Err(error) => (State::Failed, Some(error.to_string())),
        };
        let there = self.database.write(|transaction| {
            set_state(transaction, collection.seq, file, state, error.as_deref())
        })?;
        if !there && state == State::Completed {
            // It was cancelled or taken away while it was read.
            match self.remove(collection, file) {
                Ok(()) | Err(EngineError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(if there { state } else { State::Cancelled })
    }

    /// Ends what is still to be read of a batch.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn cancel_batch(&self, collection: &Collection, batch: &str) -> Result<()> {
        let files = self.all_attached(collection)?;
        let of = files.iter().filter(|a| a.batch.as_deref() == Some(batch));
        self.database.write(|transaction| {
            for attached in of {
                set_state(
                    transaction,
                    collection.seq,
                    &attached.file,
                    State::Cancelled,
                    None,
                )?;
            }
            Ok(())
        })
    }

    /// Ends what a process that is no more was reading.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn recover_attached(&self) -> Result<()> {
        self.database.write(|transaction| {
            let update = "UPDATE attached SET state = 'failed', error = 'The server ended while this file was read.' \
                 WHERE state = 'in_progress'";
            transaction.execute(update, []).map(drop).map_err(failed)
        })
    }

    /// A file of a collection.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn attached(&self, collection: &Collection, file: &str) -> Result<Attached> {
        let all = self.all_attached(collection)?;
        let found = all.into_iter().find(|attached| attached.file == file);
        found.ok_or_else(|| missing("file", file))
    }

    /// All files of a collection, the oldest first, whatever way they came.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn all_attached(&self, collection: &Collection) -> Result<Vec<Attached>> {
        self.database.read(|c| all_attached(c, collection.seq))
    }

    /// Says other things of a file of a collection.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn set_attached(
        &self,
        collection: &Collection,
        file: &str,
        attributes: &Map<String, Value>,
    ) -> Result<Attached> {
        self.attached(collection, file)?;
        let text = Value::Object(attributes.clone()).to_string();
        self.database.write(|transaction| {
            let update = "UPDATE attached SET attributes = ?3 WHERE collection = ?1 AND file = ?2";
            let row = params![collection.seq, file, text];
            transaction.execute(update, row).map(drop).map_err(failed)
        })?;
        match self.set_attributes(collection, file, attributes) {
            Ok(_) | Err(EngineError::NotFound { .. }) => self.attached(collection, file),
            Err(error) => Err(error),
        }
    }

    /// Takes a file out of a collection; the file itself stays.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Database`].
    pub fn detach(&self, collection: &Collection, file: &str) -> Result<()> {
        self.attached(collection, file)?;
        self.database.write(|transaction| {
            let delete = "DELETE FROM attached WHERE collection = ?1 AND file = ?2";
            let row = params![collection.seq, file];
            transaction.execute(delete, row).map(drop).map_err(failed)
        })?;
        match self.remove(collection, file) {
            Ok(()) | Err(EngineError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
