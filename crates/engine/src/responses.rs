//! Answers that are kept for who comes back for them: what a conversation goes on from, and what is written while
//! nobody waits for it.
//!
//! An answer that is being written lies in the database as it began. Its process tells the rest from its own memory and
//! writes it down once, at its end; one whose process ended before is marked by [`Responses::recover`].

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use crate::database::{Database, json, now};
use crate::{EngineError, Result};

/// Bytes of all answers together, about; the oldest go.
const ROOM: i64 = 256 << 20;

/// The answers of a database.
pub struct Responses {
    database: Arc<Database>,
    room: i64,
}

/// An answer as it is kept. What its parts look like is the business of who keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeptResponse {
    /// The answer.
    pub response: Value,
    /// All that it was written from.
    pub input: Value,
    /// What was told of it while it was written, in order; none of one that nobody was to follow.
    pub events: Option<Value>,
    /// Whether it is still being written.
    pub open: bool,
}

impl Responses {
    /// The answers of `database`.
    pub fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            room: ROOM,
        }
    }

    /// Keeps an answer under its id, in place of what was there; the oldest go where there is no room.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn put(&self, id: &str, kept: &KeptResponse) -> Result<()> {
        self.write(id, kept, false).map(|_| ())
    }

    /// The same in one transaction, if `again` only in place of what is there; whether it was done.
    fn write(&self, id: &str, kept: &KeptResponse, again: bool) -> Result<bool> {
        let (response, input) = (kept.response.to_string(), kept.input.to_string());
        let events = kept.events.as_ref().map(Value::to_string);
        let bytes = response.len() + input.len() + events.as_ref().map_or(0, String::len);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.database.write(|transaction| {
            let put = || {
                let there = "SELECT EXISTS (SELECT 1 FROM responses WHERE id = ?)";
                if again && !transaction.query_row(there, [id], |row| row.get::<_, bool>(0))? {
                    return Ok(false);
                }
                transaction.execute(
                    "INSERT INTO responses (id, bytes, created_at, open, response, input, events) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO UPDATE SET bytes = ?2, open = ?4, \
                     response = ?5, input = ?6, events = ?7",
                    params![id, bytes, now() as i64, kept.open, response, input, events],
                )?;
                let sum = "SELECT sum(bytes) FROM responses";
                let mut all: i64 = transaction.query_row(sum, [], |row| row.get(0))?;
                while all > self.room {
                    let oldest = "DELETE FROM responses WHERE seq = (SELECT min(seq) FROM responses WHERE id <> ?) \
                         RETURNING bytes";
                    let freed = transaction.query_row(oldest, [id], |row| row.get::<_, i64>(0));
                    let Some(freed) = freed.optional()? else { break };
                    all -= freed;
                }
                Ok(true)
            };
            put().map_err(|source| EngineError::Database { source })
        })
    }

    /// Writes down how an answer that was being written came to its end; false where it was deleted meanwhile.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn finish(&self, id: &str, kept: &KeptResponse) -> Result<bool> {
        self.write(id, kept, true)
    }

    /// The answer with this id.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn get(&self, id: &str) -> Result<Option<KeptResponse>> {
        let select = "SELECT response, input, events, open FROM responses WHERE id = ?";
        self.database.read(|connection| {
            let found = connection.query_row(select, [id], |row| {
                let events: Option<String> = row.get(2)?;
                Ok(KeptResponse {
                    response: json(&row.get::<_, String>(0)?),
                    input: json(&row.get::<_, String>(1)?),
                    events: events.map(|events| json(&events)),
                    open: row.get(3)?,
                })
            });
            found.optional()
        })
    }

    /// Forgets an answer; false where there is none.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn remove(&self, id: &str) -> Result<bool> {
        let remove = "DELETE FROM responses WHERE id = ?";
        self.database.write(|transaction| {
            let removed = transaction.execute(remove, [id]);
            Ok(removed.map_err(|source| EngineError::Database { source })? > 0)
        })
    }

    /// Ends what a process that is no more left unfinished, as `ended` says.
    ///
    /// # Errors
    /// [`EngineError::Database`].
    pub fn recover(&self, ended: impl Fn(Value) -> Value) -> Result<()> {
        self.database.write(|transaction| {
            let recover = || {
                let mut open =
                    transaction.prepare("SELECT seq, response FROM responses WHERE open")?;
                let rows = open.query_map([], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                })?;
                for (seq, response) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
                    let response = ended(json(&response)).to_string();
                    transaction.execute(
                        "UPDATE responses SET open = 0, response = ? WHERE seq = ?",
                        params![response, seq],
                    )?;
                }
                Ok(())
            };
            recover().map_err(|source| EngineError::Database { source })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(text: &str, open: bool) -> KeptResponse {
        KeptResponse {
            response: json!({ "status": if open { "queued" } else { "completed" }, "text": text }),
            input: json!([1]),
            events: None,
            open,
        }
    }

    #[test]
    fn answers_outlive_the_process_and_those_it_left_are_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("medley.db");
        let open = || Responses::new(Arc::new(Database::open(&path).unwrap()));
        let responses = open();
        responses.put("a", &kept("done", false)).unwrap();
        responses.put("b", &kept("", true)).unwrap();
        responses.put("c", &kept("", true)).unwrap();
        let told = KeptResponse {
            events: Some(json!(["x"])),
            ..kept("told", false)
        };
        assert!(responses.finish("c", &told).unwrap());
        drop(responses);
        let responses = open();
        let fail = |mut response: Value| {
            response["status"] = json!("failed");
            response
        };
        responses.recover(fail).unwrap();
        assert_eq!(responses.get("a").unwrap().unwrap(), kept("done", false));
        let left = responses.get("b").unwrap().unwrap();
        assert_eq!(
            (&left.response["status"], left.open),
            (&json!("failed"), false)
        );
        assert_eq!(responses.get("c").unwrap().unwrap(), told);
        assert!(responses.remove("a").unwrap() && !responses.remove("a").unwrap());
        assert!(responses.get("a").unwrap().is_none());
        // What is deleted while it is written does not come back with its end.
        assert!(!responses.finish("a", &told).unwrap());
        assert!(responses.get("a").unwrap().is_none());
    }

    #[test]
    fn the_oldest_go_where_there_is_no_room_and_the_newest_never() {
        let database = Arc::new(Database::in_memory().unwrap());
        let responses = Responses {
            database,
            room: 300,
        };
        let long = "x".repeat(100);
        for id in ["a", "b", "c"] {
            responses.put(id, &kept(&long, false)).unwrap();
        }
        let there = |id: &str| responses.get(id).unwrap().is_some();
        assert_eq!(["a", "b", "c"].map(there), [false, true, true]);
        responses.put("d", &kept(&"x".repeat(1000), false)).unwrap();
        assert_eq!(["b", "c", "d"].map(there), [false, false, true]);
    }
}
