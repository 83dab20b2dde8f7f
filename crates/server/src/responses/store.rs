//! Responses that are kept: in the database, and beside it those that are being written in the background.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use medley_engine::database::Database;
use medley_engine::responses::{KeptResponse, Responses};
use medley_engine::{CancelToken, EngineError};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::error::{Answer, ApiError};

/// The responses of one server.
pub(crate) struct Store {
    kept: Arc<Responses>,
    /// Those that this process writes in the background.
    live: Mutex<HashMap<String, Arc<Kept>>>,
}

/// Ends a response, whatever is done for it at that moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<Mutex<Now>>);

#[derive(Debug, Default)]
struct Now {
    ended: bool,
    doing: CancelToken,
}

impl Ending {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn end(&self) {
        let mut now = self.now();
        now.ended = true;
        now.doing.cancel();
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.now().ended
    }

    /// What `doing` ends is done from now on.
    pub(crate) fn follow(&self, doing: CancelToken) {
        let mut now = self.now();
        if now.ended {
            doing.cancel();
        }
        now.doing = doing;
    }
}

/// A response that is kept.
pub(crate) struct Kept {
    /// All items that it was written from, those before it included.
    pub(crate) input: Vec<Value>,
    /// Whether it was asked for to be written in the background.
    pub(crate) background: bool,
    /// Ends it where it is written in the background, by this process.
    pub(crate) ending: Ending,
    state: Mutex<State>,
    news: Notify,
}

struct State {
    response: Value,
    /// Events so far, of one in the background.
    events: Vec<Value>,
}

/// Whether nothing more comes of a response.
fn is_over(response: &Value) -> bool {
    !matches!(response["status"].as_str(), Some("queued" | "in_progress"))
}

impl Kept {
    pub(crate) fn new(response: Value, input: Vec<Value>, background: bool) -> Self {
        Self {
            input,
            background,
            ending: Ending::default(),
            state: Mutex::new(State {
                response,
                events: Vec::new(),
            }),
            news: Notify::new(),
        }
    }

    /// The same, which this ends.
    pub(crate) fn ended_by(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    fn of_row(row: KeptResponse) -> Self {
        let list = |value| match value {
            Value::Array(list) => list,
            _ => Vec::new(),
        };
        Self {
            input: list(row.input),
            background: row.response["background"] == true,
            ending: Ending::default(),
            state: Mutex::new(State {
                response: row.response,
                events: row.events.map(list).unwrap_or_default(),
            }),
            news: Notify::new(),
        }
    }

    fn row(&self) -> KeptResponse {
        let state = self.state();
        let open = !is_over(&state.response);
        KeptResponse {
            response: state.response.clone(),
            input: json!(self.input),
            events: (self.background && !open).then(|| json!(state.events)),
            open,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn response(&self) -> Value {
        self.state().response.clone()
    }

    /// It went on: this event came, and so it stands.
    pub(crate) fn put(&self, event: Value, response: &Value) {
        let mut state = self.state();
        state.events.push(event);
        state.response = response.clone();
        drop(state);
        self.news.notify_waiters();
    }

    /// The event of this number; nothing where it has not so many and is at its end. The events of one whose process
    /// ended are lost: its end alone is told.
    pub(crate) async fn event(&self, number: usize, first: bool) -> Option<Value> {
        loop {
            let news = self.news.notified();
            {
                let state = self.state();
                if let Some(event) = state.events.get(number) {
                    return Some(event.clone());
                }
                if is_over(&state.response) {
                    let lost = first && state.events.is_empty();
                    return lost.then(|| {
                        json!({ "type": "response.failed", "sequence_number": number, "response": state.response })
                    });
                }
            }
            news.await;
        }
    }
}

impl Store {
    /// The responses of a database; without one they are gone with the process.
    pub(crate) fn new(database: Option<Arc<Database>>) -> Result<Self, EngineError> {
        let database = match database {
            Some(database) => database,
            None => Arc::new(Database::in_memory()?),
        };
        Ok(Self {
            kept: Arc::new(Responses::new(database)),
            live: Mutex::default(),
        })
    }

    fn live(&self) -> MutexGuard<'_, HashMap<String, Arc<Kept>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Responses) -> Result<T, EngineError> + Send + 'static,
    ) -> Answer<T> {
        let kept = self.kept.clone();
        let done = tokio::task::spawn_blocking(move || work(&kept)).await;
        done.map_err(|_| ApiError::internal("what is kept could not be read"))?
            .map_err(|error| ApiError::of_engine(&error))
    }

    /// Keeps a response under its id; it is there for good when this returns.
    pub(crate) async fn keep(&self, id: &str, kept: Kept) -> Answer<Arc<Kept>> {
        let (row, name) = (kept.row(), id.to_owned());
        let kept = Arc::new(kept);
        if row.open {
            self.live().insert(id.to_owned(), kept.clone());
        }
        let put = self.with(move |responses| responses.put(&name, &row)).await;
        if put.is_err() {
            self.live().remove(id);
        }
        put.map(|()| kept)
    }

    /// Writes down that a response in the background is at its end.
    pub(crate) async fn finish(&self, id: &str) {
        let Some(kept) = self.live().get(id).cloned() else {
            return;
        };
        let (row, name) = (kept.row(), id.to_owned());
        let ended = self
            .with(move |responses| responses.finish(&name, &row))
            .await;
        match ended {
            Ok(_) => drop(self.live().remove(id)),
            // It stays in memory, where it can be had as long as the process lasts.
            Err(error) => tracing::error!(
                "the response {id} cannot be written down: {}",
                error.message
            ),
        }
    }

    pub(crate) async fn get(&self, id: &str) -> Answer<Option<Arc<Kept>>> {
        if let Some(kept) = self.live().get(id) {
            return Ok(Some(kept.clone()));
        }
        let name = id.to_owned();
        let row = self.with(move |responses| responses.get(&name)).await?;
        Ok(row.map(|row| Arc::new(Kept::of_row(row))))
    }

    /// Forgets a response; false where there is none.
    pub(crate) async fn remove(&self, id: &str) -> Answer<bool> {
        if let Some(kept) = self.live().remove(id) {
            kept.ending.end();
        }
        let name = id.to_owned();
        self.with(move |responses| responses.remove(&name)).await
    }

    /// All items that a response has come to: what another goes on from.
    pub(crate) async fn context(&self, id: &str) -> Answer<Option<Vec<Value>>> {
        let kept = self.get(id).await?;
        Ok(kept.map(|kept| {
            let mut items = kept.input.clone();
            if let Value::Array(output) = &kept.response()["output"] {
                items.extend(output.iter().cloned());
            }
            items
        }))
    }
}

/// What becomes of a response whose process ended while it was written.
pub(crate) fn abandoned(mut response: Value) -> Value {
    response["status"] = json!("failed");
    response["error"] = json!({
        "code": "server_error", "message": "The server ended while this response was written; ask again.",
    });
    response
}
