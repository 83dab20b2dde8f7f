//! Collections, documents and passages as rows.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::{Map, Value};

use super::resident::blob;
use super::split::Split;
use super::{Collection, Document, NewDocument, by_words, read};
use crate::database::json;
use crate::{EngineError, Result};

/// What is looked at before a document is read.
pub(super) struct Known {
    pub(super) seq: i64,
    pub(super) sha256: String,
    pub(super) reader: i64,
    pub(super) attributes: Map<String, Value>,
}

/// A document with all that is kept of it.
pub(super) struct NewRow<'d> {
    pub(super) id: String,
    pub(super) document: &'d NewDocument<'d>,
    pub(super) title: Option<&'d str>,
    pub(super) sha256: &'d str,
    pub(super) split: &'d Split,
    pub(super) vectors: &'d [Vec<f32>],
}

/// A passage as it is found.
pub(super) struct Found {
    pub(super) document: i64,
    pub(super) place: i64,
    pub(super) heading: String,
    pub(super) page: Option<u32>,
    pub(super) line: Option<u32>,
    pub(super) at: usize,
    pub(super) text: String,
}

fn failed(source: rusqlite::Error) -> EngineError {
    EngineError::Database { source }
}

/// The table of a collection's words.
pub(super) fn words(collection: i64) -> String {
    format!("words_{collection}")
}

fn object(text: &str) -> Map<String, Value> {
    match json(text) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

pub(super) fn create(
    transaction: &Transaction,
    id: &str,
    name: &str,
    model: &str,
    metadata: &Value,
    now: u64,
) -> Result<()> {
    let create = || {
        transaction.execute(
            "INSERT INTO collections (id, name, model, metadata, created_at, active_at) VALUES (?, ?, ?, ?, ?5, ?5)",
            params![id, name, model, metadata.to_string(), now as i64],
        )?;
        let table = words(transaction.last_insert_rowid());
        by_words::create(transaction, &table)
    };
    create().map_err(failed)
}

const COLLECTION: &str = "SELECT c.seq, c.id, c.name, c.model, c.metadata, c.created_at, c.active_at, c.version, \
     count(d.seq), coalesce(sum(d.passages), 0), coalesce(sum(d.characters), 0) \
     FROM collections c LEFT JOIN documents d ON d.collection = c.seq";

fn collection_of(row: &Row) -> rusqlite::Result<Collection> {
    Ok(Collection {
        seq: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        model: row.get(3)?,
        metadata: json(&row.get::<_, String>(4)?),
        created_at: row.get::<_, i64>(5)?.unsigned_abs(),
        active_at: row.get::<_, i64>(6)?.unsigned_abs(),
        version: row.get(7)?,
        documents: row.get::<_, i64>(8)?.unsigned_abs(),
        passages: row.get::<_, i64>(9)?.unsigned_abs(),
        bytes: row.get::<_, i64>(10)?.unsigned_abs(),
    })
}

pub(super) fn collection(c: &Connection, id: &str) -> rusqlite::Result<Option<Collection>> {
    let select = format!(
        "{COLLECTION} WHERE c.id = ?1 OR c.name = ?1 GROUP BY c.seq ORDER BY c.id <> ?1, c.seq LIMIT 1"
    );
    c.query_row(&select, [id], collection_of).optional()
}

pub(super) fn collections(c: &Connection) -> rusqlite::Result<Vec<Collection>> {
    let mut select = c.prepare(&format!("{COLLECTION} GROUP BY c.seq ORDER BY c.seq"))?;
    let rows = select.query_map([], collection_of)?;
    rows.collect()
}

pub(super) fn change(
    transaction: &Transaction,
    collection: i64,
    name: Option<&str>,
    metadata: Option<&Value>,
) -> Result<()> {
    let changed = transaction.execute(
        "UPDATE collections SET name = coalesce(?2, name), metadata = coalesce(?3, metadata) WHERE seq = ?1",
        params![collection, name, metadata.map(Value::to_string)],
    );
    changed.map(drop).map_err(failed)
}

pub(super) fn drop_collection(transaction: &Transaction, collection: i64) -> Result<()> {
    let drop_all = || {
        transaction.execute("DELETE FROM collections WHERE seq = ?", [collection])?;
        transaction.execute_batch(&format!("DROP TABLE IF EXISTS {}", words(collection)))
    };
    drop_all().map_err(failed)
}

pub(super) fn touch(transaction: &Transaction, collection: i64, now: u64) -> Result<()> {
    let touch = "UPDATE collections SET active_at = ?2 WHERE seq = ?1";
    let touched = transaction.execute(touch, params![collection, now as i64]);
    touched.map(drop).map_err(failed)
}

pub(super) fn known(
    c: &Connection,
    collection: i64,
    source: &str,
) -> rusqlite::Result<Option<Known>> {
    let select =
        "SELECT seq, sha256, reader, attributes FROM documents WHERE collection = ? AND source = ?";
    let found = c.query_row(select, params![collection, source], |row| {
        Ok(Known {
            seq: row.get(0)?,
            sha256: row.get(1)?,
            reader: row.get(2)?,
            attributes: object(&row.get::<_, String>(3)?),
        })
    });
    found.optional()
}

pub(super) fn add(
    transaction: &Transaction,
    collection: i64,
    row: &NewRow<'_>,
    now: u64,
) -> Result<()> {
    let (document, split) = (row.document, row.split);
    let add = || {
        transaction.execute(
            "INSERT INTO documents (id, collection, source, name, title, mime, bytes, sha256, reader, attributes, \
             created_at, passages, characters) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                collection,
                document.source,
                document.name,
                row.title,
                document.format.mime(),
                document.bytes.len() as i64,
                row.sha256,
                read::VERSION,
                Value::Object(document.attributes.clone()).to_string(),
                now as i64,
                split.pieces.len() as i64,
                split.text.len() as i64,
            ],
        )?;
        let seq = transaction.last_insert_rowid();
        transaction.execute(
            "INSERT INTO texts (document, text) VALUES (?, ?)",
            params![seq, split.text.as_bytes()],
        )?;
        let mut passage = transaction.prepare(
            "INSERT INTO passages (document, place, heading, page, line, start, bytes, at, vector) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        let mut index = transaction.prepare(&format!(
            "INSERT INTO {} (rowid, heading, text) VALUES (?, ?, ?)",
            words(collection)
        ))?;
        for (place, (piece, vector)) in split.pieces.iter().zip(row.vectors).enumerate() {
            passage.execute(params![
                seq,
                place as i64,
                piece.heading,
                piece.page,
                piece.line,
                piece.start as i64,
                piece.bytes as i64,
                piece.at as i64,
                blob(vector),
            ])?;
            let heading = format!("{} {}", row.title.unwrap_or_default(), piece.heading);
            let text = &split.text[piece.start..piece.start + piece.bytes];
            index.execute(params![transaction.last_insert_rowid(), heading, text])?;
        }
        changed(transaction, collection, now)
    };
    add().map_err(failed)
}

/// Another state of a collection: what is held of it in memory is of the one before.
fn changed(transaction: &Transaction, collection: i64, now: u64) -> rusqlite::Result<()> {
    let update = "UPDATE collections SET version = version + 1, active_at = ?2 WHERE seq = ?1";
    transaction.execute(update, params![collection, now as i64])?;
    Ok(())
}

pub(super) fn remove(transaction: &Transaction, collection: i64, document: i64) -> Result<()> {
    let remove = || {
        let words = words(collection);
        transaction.execute(
            &format!(
                "DELETE FROM {words} WHERE rowid IN (SELECT seq FROM passages WHERE document = ?)"
            ),
            [document],
        )?;
        transaction.execute("DELETE FROM documents WHERE seq = ?", [document])?;
        changed(transaction, collection, crate::database::now())
    };
    remove().map_err(failed)
}

pub(super) fn set_attributes(
    transaction: &Transaction,
    document: i64,
    attributes: &Map<String, Value>,
) -> Result<()> {
    let update = "UPDATE documents SET attributes = ?2 WHERE seq = ?1";
    let text = Value::Object(attributes.clone()).to_string();
    let updated = transaction.execute(update, params![document, text]);
    updated.map(drop).map_err(failed)
}

const DOCUMENT: &str = "SELECT seq, id, source, name, title, mime, bytes, sha256, attributes, created_at, passages \
     FROM documents WHERE collection = ?1";

fn document_of(row: &Row) -> rusqlite::Result<Document> {
    Ok(Document {
        seq: row.get(0)?,
        id: row.get(1)?,
        source: row.get(2)?,
        name: row.get(3)?,
        title: row.get(4)?,
        mime: row.get(5)?,
        bytes: row.get::<_, i64>(6)?.unsigned_abs(),
        sha256: row.get(7)?,
        attributes: object(&row.get::<_, String>(8)?),
        created_at: row.get::<_, i64>(9)?.unsigned_abs(),
        passages: row.get::<_, i64>(10)?.unsigned_abs(),
    })
}

pub(super) fn documents(c: &Connection, collection: i64) -> rusqlite::Result<Vec<Document>> {
    let mut select = c.prepare(&format!("{DOCUMENT} ORDER BY source"))?;
    let rows = select.query_map([collection], document_of)?;
    rows.collect()
}

pub(super) fn document(
    c: &Connection,
    collection: i64,
    id: &str,
) -> rusqlite::Result<Option<Document>> {
    let select = format!("{DOCUMENT} AND (id = ?2 OR source = ?2) LIMIT 1");
    c.query_row(&select, params![collection, id], document_of)
        .optional()
}

pub(super) fn text(c: &Connection, document: i64) -> rusqlite::Result<String> {
    let select = "SELECT text FROM texts WHERE document = ?";
    let bytes: Vec<u8> = c.query_row(select, [document], |row| row.get(0))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A passage with its text, of which no more than it is read.
pub(super) fn passage(c: &Connection, seq: i64) -> rusqlite::Result<Found> {
    let mut select = c.prepare(
        "SELECT document, place, heading, page, line, start, bytes, at FROM passages WHERE seq = ?",
    )?;
    let (start, bytes, mut found) = select.query_row([seq], |row| {
        let found = Found {
            document: row.get(0)?,
            place: row.get(1)?,
            heading: row.get(2)?,
            page: row.get(3)?,
            line: row.get(4)?,
            at: usize::try_from(row.get::<_, i64>(7)?).unwrap_or(0),
            text: String::new(),
        };
        let size = |column| -> rusqlite::Result<usize> {
            Ok(usize::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
        };
        Ok((size(5)?, size(6)?, found))
    })?;
    let texts = c.blob_open("main", "texts", "text", found.document, true)?;
    let mut text = vec![0; bytes.min(texts.len())];
    texts.read_at_exact(&mut text, start)?;
    found.text = String::from_utf8_lossy(&text).into_owned();
    Ok(found)
}

/// A document by its row.
pub(super) fn document_at(c: &Connection, collection: i64, seq: i64) -> rusqlite::Result<Document> {
    let select = format!("{DOCUMENT} AND seq = ?2");
    c.query_row(&select, params![collection, seq], document_of)
}
