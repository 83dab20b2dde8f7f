//! The one file in which jobs, the library's entries and answers are kept: SQLite with a write-ahead log.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::{EngineError, Result};

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// What each version added to the file, in order; the file knows how many it has.
const VERSIONS: &[&str] = &["
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        medium TEXT NOT NULL,
        model TEXT NOT NULL,
        state TEXT NOT NULL,
        priority INTEGER NOT NULL,
        owner TEXT,
        request TEXT NOT NULL,
        starts INTEGER NOT NULL DEFAULT 0,
        cancel INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        error TEXT
    );
    CREATE INDEX jobs_by_state ON jobs (state, priority DESC, seq);
    CREATE TABLE works (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        medium TEXT NOT NULL,
        model TEXT NOT NULL,
        model_sha256 TEXT,
        title TEXT NOT NULL,
        prompt TEXT NOT NULL,
        recipe TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        mime TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        width INTEGER,
        height INTEGER,
        timings TEXT NOT NULL,
        job TEXT
    );
    CREATE INDEX works_by_content ON works (sha256);
    CREATE INDEX works_by_job ON works (job);
    CREATE TABLE tags (
        work INTEGER NOT NULL REFERENCES works (seq) ON DELETE CASCADE,
        tag TEXT NOT NULL,
        PRIMARY KEY (work, tag)
    ) WITHOUT ROWID;
    CREATE INDEX works_by_tag ON tags (tag);
    CREATE VIRTUAL TABLE words USING fts5 (title, prompt, tags, text, tokenize = 'unicode61 remove_diacritics 2');
", "
    CREATE TABLE responses (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        bytes INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        open INTEGER NOT NULL,
        response TEXT NOT NULL,
        input TEXT NOT NULL,
        events TEXT
    );
    CREATE INDEX responses_by_size ON responses (bytes);
    CREATE INDEX responses_open ON responses (seq) WHERE open;
    CREATE TABLE uploads (
        job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        sha256 TEXT NOT NULL,
        mime TEXT NOT NULL,
        PRIMARY KEY (job, sha256)
    ) WITHOUT ROWID;
    CREATE INDEX uploads_by_content ON uploads (sha256);
", "
    CREATE TABLE collections (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        model TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        active_at INTEGER NOT NULL,
        version INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX collections_by_name ON collections (name);
    CREATE TABLE documents (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        collection INTEGER NOT NULL REFERENCES collections (seq) ON DELETE CASCADE,
        source TEXT NOT NULL,
        name TEXT NOT NULL,
        title TEXT,
        mime TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        reader INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        passages INTEGER NOT NULL,
        characters INTEGER NOT NULL,
        UNIQUE (collection, source),
        UNIQUE (collection, id)
    );
    CREATE TABLE texts (
        document INTEGER PRIMARY KEY REFERENCES documents (seq) ON DELETE CASCADE,
        text BLOB NOT NULL
    );
    CREATE TABLE passages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        document INTEGER NOT NULL REFERENCES documents (seq) ON DELETE CASCADE,
        place INTEGER NOT NULL,
        heading TEXT NOT NULL,
        page INTEGER,
        line INTEGER,
        start INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        at INTEGER NOT NULL,
        vector BLOB NOT NULL
    );
    CREATE INDEX passages_by_document ON passages (document, place);
", "
    ALTER TABLE jobs ADD COLUMN source TEXT;
", "
    CREATE TABLE files (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        purpose TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        data BLOB NOT NULL
    );
    CREATE TABLE attached (
        collection INTEGER NOT NULL REFERENCES collections (seq) ON DELETE CASCADE,
        file TEXT NOT NULL,
        batch TEXT,
        state TEXT NOT NULL,
        error TEXT,
        attributes TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (collection, file)
    ) WITHOUT ROWID;
    CREATE TABLE turns (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        desk TEXT NOT NULL,
        session TEXT NOT NULL,
        at INTEGER NOT NULL,
        question TEXT NOT NULL,
        understood TEXT NOT NULL,
        answered INTEGER NOT NULL,
        confidence REAL NOT NULL,
        answer TEXT NOT NULL,
        citations TEXT NOT NULL
    );
    CREATE INDEX turns_by_desk ON turns (desk, at);
    CREATE INDEX turns_by_session ON turns (desk, session, seq);
"];

/// Jobs and the library's entries.
pub struct Database(Mutex<Connection>);

impl Database {
    /// Opens the file, which is made where it is not there, and brings it to this program's version.
    ///
    /// # Errors
    /// [`EngineError::Io`] where the folder cannot be made; [`EngineError::Database`] for a file that is none, or was
    /// written by a later program.
    pub fn open(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(EngineError::io("create", folder))?;
        }
        let failed = |source| EngineError::Database { source };
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        let settings =
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
        connection.execute_batch(settings).map_err(failed)?;
        migrate(&mut connection, path)?;
        Ok(Self(Mutex::new(connection)))
    }

    /// A database that is gone with the process.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn in_memory() -> Result<Self> {
        let failed = |source| EngineError::Database { source };
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        let settings = "PRAGMA foreign_keys = ON;";
        connection.execute_batch(settings).map_err(failed)?;
        migrate(&mut connection, Path::new(":memory:"))?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        work(&self.connection()).map_err(|source| EngineError::Database { source })
    }

    /// Changes all or nothing. Other processes wait, from before the first look to the end.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Transaction) -> Result<T>) -> Result<T> {
        let mut connection = self.connection();
        let failed = |source| EngineError::Database { source };
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let value = work(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let failed = |source| EngineError::Database { source };
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let has: i64 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    let has = usize::try_from(has).unwrap_or(usize::MAX);
    if has > VERSIONS.len() {
        return Err(EngineError::Output {
            path: path.to_owned(),
            reason: format!(
                "it has version {has}, and this program knows up to {}: use the later program",
                VERSIONS.len()
            ),
        });
    }
    for version in VERSIONS.iter().skip(has) {
        transaction.execute_batch(version).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "user_version", VERSIONS.len() as i64)
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// A name that nothing else has.
pub(crate) fn fresh_id(prefix: &str) -> String {
    format!("{prefix}_{:024x}", rand::random::<u128>() >> 32)
}

/// A value in a text column: JSON that this program wrote.
pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// One of a type's words, as serde has them: `done`, `image` …
pub(crate) fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// The value that such a word stands for.
pub(crate) fn of_word<T: serde::de::DeserializeOwned>(
    column: usize,
    word: &str,
) -> rusqlite::Result<T> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_later_program_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/medley.db");
        drop(Database::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        let mode: String = connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = Database::open(&path).err().unwrap().to_string();
        assert!(error.contains("version 99"), "{error}");
        std::fs::write(&path, "this is no database, but a text of some length").unwrap();
        assert!(Database::open(&path).is_err());
    }
}
