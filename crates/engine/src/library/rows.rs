//! The library's entries in the database.

use std::collections::HashSet;

use medley_types::Work;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, params_from_iter};

use super::Query;
use crate::database::{json, of_word, word};
use crate::{EngineError, Result};

const COLUMNS: &str = "id, medium, model, model_sha256, title, prompt, recipe, created_at, mime, bytes, sha256, width, \
     height, timings, job, (SELECT json_group_array(tag) FROM (SELECT tag FROM tags WHERE work = works.seq ORDER BY tag))";

fn work(row: &Row) -> rusqlite::Result<Work> {
    let text = |column: usize| row.get::<_, String>(column);
    Ok(Work {
        id: text(0)?,
        medium: of_word(1, &text(1)?)?,
        model: text(2)?,
        model_sha256: row.get(3)?,
        title: text(4)?,
        prompt: text(5)?,
        recipe: json(&text(6)?),
        created_at: row.get::<_, i64>(7)?.unsigned_abs(),
        mime: text(8)?,
        bytes: row.get::<_, i64>(9)?.unsigned_abs(),
        sha256: text(10)?,
        width: row.get(11)?,
        height: row.get(12)?,
        timings: json(&text(13)?),
        job: row.get(14)?,
        tags: serde_json::from_str(&text(15)?).unwrap_or_default(),
    })
}

pub(super) fn insert(transaction: &Transaction, work: &Work, text: &str) -> Result<()> {
    let insert = || {
        transaction.execute(
            "INSERT INTO works (id, medium, model, model_sha256, title, prompt, recipe, created_at, mime, bytes, sha256, \
             width, height, timings, job) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                work.id,
                word(&work.medium),
                work.model,
                work.model_sha256,
                work.title,
                work.prompt,
                work.recipe.to_string(),
                work.created_at as i64,
                work.mime,
                work.bytes as i64,
                work.sha256,
                work.width,
                work.height,
                work.timings.to_string(),
                work.job,
            ],
        )?;
        let place = transaction.last_insert_rowid();
        transaction.execute(
            "INSERT INTO words (rowid, title, prompt, tags, text) VALUES (?, ?, ?, '', ?)",
            params![place, work.title, work.prompt, text],
        )
    };
    insert()
        .map(drop)
        .map_err(|source| EngineError::Database { source })
}

pub(super) fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<Work>> {
    let select = format!("SELECT {COLUMNS} FROM works WHERE id = ?");
    connection.query_row(&select, [id], work).optional()
}

/// Where a work stands in the order in which they came.
pub(super) fn place(connection: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    let select = "SELECT seq FROM works WHERE id = ?";
    connection
        .query_row(select, [id], |row| row.get(0))
        .optional()
}

pub(super) fn list(
    connection: &Connection,
    query: &Query,
    before: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Work>> {
    let mut select = format!("SELECT {COLUMNS} FROM works WHERE seq < ?");
    let mut cells = vec![Cell::Integer(before)];
    if let Some(medium) = &query.medium {
        select.push_str(" AND medium = ?");
        cells.push(Cell::Text(word(medium)));
    }
    if let Some(tag) = &query.tag {
        select.push_str(" AND seq IN (SELECT work FROM tags WHERE tag = ?)");
        cells.push(Cell::Text(tag.clone()));
    }
    if let Some(words) = matching(&query.words) {
        select.push_str(" AND seq IN (SELECT rowid FROM words WHERE words MATCH ?)");
        cells.push(Cell::Text(words));
    }
    select.push_str(" ORDER BY seq DESC LIMIT ?");
    cells.push(Cell::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    let mut statement = connection.prepare(&select)?;
    let rows = statement.query_map(params_from_iter(cells), work)?;
    rows.collect()
}

/// What SQLite's full-text search makes of a user's words: all of them, each as a beginning. None of the words means
/// anything to it, as they stand in quotes.
fn matching(words: &str) -> Option<String> {
    let terms = words
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric));
    let terms: Vec<String> = terms
        .map(|word| format!("\"{}\"*", word.replace('"', "")))
        .collect();
    (!terms.is_empty()).then(|| terms.join(" "))
}

pub(super) fn change(
    transaction: &Transaction,
    place: i64,
    title: Option<&str>,
    tags: Option<&[String]>,
) -> rusqlite::Result<()> {
    if let Some(title) = title {
        transaction.execute(
            "UPDATE works SET title = ? WHERE seq = ?",
            params![title, place],
        )?;
        transaction.execute(
            "UPDATE words SET title = ? WHERE rowid = ?",
            params![title, place],
        )?;
    }
    if let Some(tags) = tags {
        transaction.execute("DELETE FROM tags WHERE work = ?", [place])?;
        for tag in tags {
            transaction.execute(
                "INSERT INTO tags (work, tag) VALUES (?, ?)",
                params![place, tag],
            )?;
        }
        let words = tags.join(" ");
        transaction.execute(
            "UPDATE words SET tags = ? WHERE rowid = ?",
            params![words, place],
        )?;
    }
    Ok(())
}

/// Whether it was there.
pub(super) fn remove(transaction: &Transaction, id: &str) -> Result<bool> {
    let remove = || {
        let Some(place) = place(transaction, id)? else {
            return Ok(false);
        };
        transaction.execute("DELETE FROM words WHERE rowid = ?", [place])?;
        transaction.execute("DELETE FROM works WHERE seq = ?", [place])?;
        Ok(true)
    };
    remove().map_err(|source| EngineError::Database { source })
}

/// Whether a work, or a job that was given it, has this content.
pub(super) fn is_named(transaction: &Transaction, sha256: &str) -> Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM works WHERE sha256 = ?1) OR EXISTS (SELECT 1 FROM uploads WHERE sha256 = ?1)";
    let named = transaction.query_row(select, [sha256], |row| row.get(0));
    named.map_err(|source| EngineError::Database { source })
}

/// The type of the file with this content.
pub(super) fn mime_of(connection: &Connection, sha256: &str) -> rusqlite::Result<Option<String>> {
    let select = "SELECT mime FROM works WHERE sha256 = ?1 UNION ALL SELECT mime FROM uploads WHERE sha256 = ?1 LIMIT 1";
    connection
        .query_row(select, [sha256], |row| row.get(0))
        .optional()
}

/// Notes that a job was given a file.
pub(super) fn lend(transaction: &Transaction, job: &str, sha256: &str, mime: &str) -> Result<()> {
    let insert = "INSERT OR IGNORE INTO uploads (job, sha256, mime) VALUES (?, ?, ?)";
    let inserted = transaction.execute(insert, params![job, sha256, mime]);
    inserted
        .map(drop)
        .map_err(|source| EngineError::Database { source })
}

/// The files that a job was given, with their types.
pub(super) fn lent(connection: &Connection, job: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare("SELECT sha256, mime FROM uploads WHERE job = ?")?;
    let rows = statement.query_map([job], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// The contents that works have, or that jobs were given.
pub(super) fn contents(transaction: &Transaction) -> Result<HashSet<String>> {
    let read = || {
        let mut statement =
            transaction.prepare("SELECT sha256 FROM works UNION SELECT sha256 FROM uploads")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect::<rusqlite::Result<_>>()
    };
    read().map_err(|source| EngineError::Database { source })
}
