//! Jobs in the database.

use medley_types::{ErrorReport, Job, JobKind, JobState, Medium};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::Counts;
use crate::database::{json, of_word, word};
use crate::{EngineError, Result};

const COLUMNS: &str = "id, kind, medium, model, state, priority, request, created_at, started_at, finished_at, error, \
     (SELECT json_group_array(id) FROM (SELECT id FROM works WHERE job = jobs.id ORDER BY seq)), source";

fn failed(source: rusqlite::Error) -> EngineError {
    EngineError::Database { source }
}

fn job(row: &Row) -> rusqlite::Result<Job> {
    let text = |column: usize| row.get::<_, String>(column);
    let time = |column: usize| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(i64::unsigned_abs))
    };
    let error: Option<String> = row.get(10)?;
    Ok(Job {
        id: text(0)?,
        kind: of_word(1, &text(1)?)?,
        medium: of_word(2, &text(2)?)?,
        model: text(3)?,
        state: of_word(4, &text(4)?)?,
        priority: row.get(5)?,
        request: json(&text(6)?),
        created_at: time(7)?.unwrap_or_default(),
        started_at: time(8)?,
        finished_at: time(9)?,
        progress: None,
        works: serde_json::from_str(&text(11)?).unwrap_or_default(),
        error: error.and_then(|error| serde_json::from_str(&error).ok()),
        source: row.get(12)?,
    })
}

pub(super) fn insert(transaction: &Transaction, job: &Job, owner: Option<&str>) -> Result<()> {
    let inserted = transaction.execute(
        "INSERT INTO jobs (id, kind, medium, model, state, priority, owner, request, created_at, source) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            job.id,
            word(&job.kind),
            word(&job.medium),
            job.model,
            job.state.as_str(),
            job.priority,
            owner,
            job.request.to_string(),
            job.created_at as i64,
            job.source,
        ],
    );
    inserted.map(drop).map_err(failed)
}

/// Jobs of an owner that are on their way.
pub(super) fn open(transaction: &Transaction, owner: Option<&str>) -> Result<usize> {
    let select = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND owner IS ?";
    let count = transaction.query_row(select, [owner], |row| row.get::<_, i64>(0));
    Ok(usize::try_from(count.map_err(failed)?).unwrap_or(usize::MAX))
}

pub(super) fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<Job>> {
    let select = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?");
    connection.query_row(&select, [id], job).optional()
}

pub(super) fn open_pull(connection: &Connection, model: &str) -> rusqlite::Result<Option<Job>> {
    let select = format!(
        "SELECT {COLUMNS} FROM jobs WHERE kind = 'pull' AND model = ? AND state IN ('queued', 'running') LIMIT 1"
    );
    connection.query_row(&select, [model], job).optional()
}

/// Where a job stands in the order in which they came.
pub(super) fn place(connection: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    let select = "SELECT seq FROM jobs WHERE id = ?";
    connection
        .query_row(select, [id], |row| row.get(0))
        .optional()
}

pub(super) fn list(
    connection: &Connection,
    state: Option<JobState>,
    medium: Option<Medium>,
    before: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Job>> {
    let select = format!(
        "SELECT {COLUMNS} FROM jobs WHERE seq < ?1 AND (?2 IS NULL OR state = ?2) \
         AND (?4 IS NULL OR medium = ?4 AND kind = 'generate') ORDER BY seq DESC LIMIT ?3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare(&select)?;
    let rows = statement.query_map(
        params![
            before,
            state.map(JobState::as_str),
            limit,
            medium.map(|medium| word(&medium)),
        ],
        job,
    )?;
    rows.collect()
}

pub(super) fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    let count = |state: &str| {
        let select = "SELECT count(*) FROM jobs WHERE state = ?";
        connection
            .query_row(select, [state], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    };
    Ok(Counts {
        queued: count("queued")?,
        running: count("running")?,
    })
}

/// Ends a job that waits, and marks one that runs; whether it waited.
pub(super) fn cancel(transaction: &Transaction, id: &str, now: u64) -> Result<bool> {
    let waited =
        "UPDATE jobs SET state = 'cancelled', finished_at = ? WHERE id = ? AND state = 'queued'";
    let waited = transaction
        .execute(waited, params![now as i64, id])
        .map_err(failed)?;
    let marked = "UPDATE jobs SET cancel = 1 WHERE id = ? AND state = 'running'";
    transaction.execute(marked, [id]).map_err(failed)?;
    Ok(waited > 0)
}

/// Whether it was there, and at its end.
pub(super) fn remove(transaction: &Transaction, id: &str) -> Result<bool> {
    let remove = "DELETE FROM jobs WHERE id = ? AND state NOT IN ('queued', 'running')";
    let removed = transaction.execute(remove, [id]).map_err(failed)?;
    Ok(removed > 0)
}

/// Queues what ran again; but ends what was to be ended, and what was begun `starts` times.
pub(super) fn recover(
    transaction: &Transaction,
    starts: i64,
    error: &ErrorReport,
    now: u64,
) -> Result<()> {
    let cancelled = "UPDATE jobs SET state = 'cancelled', finished_at = ? WHERE state = 'running' AND cancel = 1";
    transaction
        .execute(cancelled, [now as i64])
        .map_err(failed)?;
    let lost = "UPDATE jobs SET state = 'failed', finished_at = ?, error = ? WHERE state = 'running' AND starts >= ?";
    let error = serde_json::json!(error).to_string();
    transaction
        .execute(lost, params![now as i64, error, starts])
        .map_err(failed)?;
    let again = "UPDATE jobs SET state = 'queued', started_at = NULL WHERE state = 'running'";
    transaction.execute(again, []).map(drop).map_err(failed)
}

const NEXT: &str = "SELECT seq FROM jobs WHERE state = 'queued' AND kind = ?1 AND (?2 IS NULL OR medium = ?2) \
     ORDER BY priority DESC, seq LIMIT 1";

pub(super) fn waits(
    connection: &Connection,
    kind: JobKind,
    medium: Option<Medium>,
) -> rusqlite::Result<bool> {
    let select = format!("SELECT EXISTS ({NEXT})");
    connection.query_row(
        &select,
        params![word(&kind), medium.map(|m| word(&m))],
        |row| row.get(0),
    )
}

pub(super) fn claim(
    transaction: &Transaction,
    kind: JobKind,
    medium: Option<Medium>,
    now: u64,
) -> Result<Option<Job>> {
    let claim = format!(
        "UPDATE jobs SET state = 'running', started_at = ?3, starts = starts + 1 WHERE seq = ({NEXT}) RETURNING {COLUMNS}"
    );
    let medium = medium.map(|medium| word(&medium));
    let claimed = transaction.query_row(&claim, params![word(&kind), medium, now as i64], job);
    claimed.optional().map_err(failed)
}

/// Queues a job again that ran, as if it had not been begun; one that was to be ended is ended.
pub(super) fn put_back(transaction: &Transaction, id: &str, now: u64) -> Result<()> {
    let back = "UPDATE jobs SET state = iif(cancel, 'cancelled', 'queued'), finished_at = iif(cancel, ?2, NULL), \
         started_at = iif(cancel, started_at, NULL), starts = starts - 1 WHERE id = ?1 AND state = 'running'";
    transaction
        .execute(back, params![id, now as i64])
        .map(drop)
        .map_err(failed)
}

/// Ends a job that runs.
pub(super) fn end(
    transaction: &Transaction,
    id: &str,
    state: JobState,
    error: Option<&ErrorReport>,
    now: u64,
) -> Result<()> {
    let error = error.map(|error| serde_json::json!(error).to_string());
    let end =
        "UPDATE jobs SET state = ?, finished_at = ?, error = ? WHERE id = ? AND state = 'running'";
    let ended = transaction.execute(end, params![state.as_str(), now as i64, error, id]);
    match ended.map_err(failed)? {
        // Somebody else ended it: what was to be kept with this end is not kept.
        0 => Err(super::missing(id)),
        _ => Ok(()),
    }
}
