//! Responses that are kept: those that were asked to be, as long as there is room for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use medley_engine::CancelToken;
use serde_json::Value;
use tokio::sync::Notify;

/// Bytes of all responses together, about; the oldest go.
const ROOM: usize = 64 << 20;

/// The responses of one server, in memory.
#[derive(Default)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    kept: HashMap<String, Arc<Kept>>,
    /// Oldest first, each with its bytes.
    order: Vec<(String, usize)>,
}

/// A response that is kept.
pub(crate) struct Kept {
    /// All items that it was written from, those before it included.
    pub(crate) input: Vec<Value>,
    /// Ends it where it is written in the background.
    pub(crate) cancel: Option<CancelToken>,
    state: Mutex<State>,
    news: Notify,
}

struct State {
    response: Value,
    /// Events so far, of one in the background.
    events: Vec<Value>,
}

impl Kept {
    pub(crate) fn new(response: Value, input: Vec<Value>, cancel: Option<CancelToken>) -> Self {
        Self {
            input,
            cancel,
            state: Mutex::new(State {
                response,
                events: Vec::new(),
            }),
            news: Notify::new(),
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

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state();
        !matches!(
            state.response["status"].as_str(),
            Some("queued" | "in_progress")
        )
    }

    /// The event of this number; nothing where it has not so many and is at its end.
    pub(crate) async fn event(&self, number: usize) -> Option<Value> {
        loop {
            let news = self.news.notified();
            if let Some(event) = self.state().events.get(number) {
                return Some(event.clone());
            }
            if self.is_over() {
                return None;
            }
            news.await;
        }
    }
}

impl Store {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a response under its id.
    pub(crate) fn keep(&self, id: &str, kept: Kept) -> Arc<Kept> {
        let size = |values: &[Value]| values.iter().map(|v| v.to_string().len()).sum::<usize>();
        let bytes = size(&kept.input) + size(&[kept.response()]);
        let kept = Arc::new(kept);
        let mut inner = self.inner();
        inner.kept.insert(id.to_owned(), kept.clone());
        inner.order.push((id.to_owned(), bytes));
        let mut all: usize = inner.order.iter().map(|(_, bytes)| bytes).sum();
        while all > ROOM && inner.order.len() > 1 {
            let (oldest, bytes) = inner.order.remove(0);
            inner.kept.remove(&oldest);
            all -= bytes;
        }
        kept
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Kept>> {
        self.inner().kept.get(id).cloned()
    }

    /// Forgets a response; false where there is none.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let mut inner = self.inner();
        inner.order.retain(|(other, _)| other != id);
        let removed = inner.kept.remove(id);
        if let Some(cancel) = removed.as_ref().and_then(|kept| kept.cancel.as_ref()) {
            cancel.cancel();
        }
        removed.is_some()
    }

    /// All items that a response has come to: what another goes on from.
    pub(crate) fn context(&self, id: &str) -> Option<Vec<Value>> {
        let kept = self.get(id)?;
        let mut items = kept.input.clone();
        if let Value::Array(output) = &kept.response()["output"] {
            items.extend(output.iter().cloned());
        }
        Some(items)
    }
}
