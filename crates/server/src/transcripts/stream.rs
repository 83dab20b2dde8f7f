//! A transcript as events: what was said so far, and all of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use medley_engine::CancelToken;
use medley_types::{Event, Transcript};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Wanted, usage};
use crate::error::Answer;
use crate::service::Service;

/// A comment is sent this often where nothing else is, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is on its way to a client.
enum News {
    Chunk(String),
    End(Box<Answer<Transcript>>),
}

/// A transcript that a client reads; dropped with the connection, which ends it.
struct Stream {
    news: UnboundedReceiver<News>,
    cancel: CancelToken,
    /// Whether something was said, so that the first chunk begins without a space.
    begun: bool,
    over: bool,
    _place: OwnedSemaphorePermit,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(super) fn respond(
    service: Arc<Service>,
    wanted: Wanted,
    place: OwnedSemaphorePermit,
) -> Response {
    let (sender, news) = unbounded_channel();
    let cancel = CancelToken::default();
    let chunks = sender.clone();
    let events = Box::new(move |event| {
        if let Event::Chunk { text } = event {
            drop(chunks.send(News::Chunk(text)));
        }
    });
    let listening = wanted.listening(events, cancel.clone());
    tokio::spawn(async move {
        let heard = service.listen(listening).await;
        drop(sender.send(News::End(Box::new(heard))));
    });
    let stream = Stream {
        news,
        cancel,
        begun: false,
        over: false,
        _place: place,
    };
    let events = futures_util::stream::unfold(stream, |mut stream| async move {
        let data = stream.next().await?;
        let name = data["type"].as_str().unwrap_or("error").to_owned();
        let sent = Sent::default().event(name).data(data.to_string());
        Some((Ok::<_, Infallible>(sent), stream))
    });
    let alive = KeepAlive::new().interval(KEEP_ALIVE);
    Sse::new(events).keep_alive(alive).into_response()
}

impl Stream {
    async fn next(&mut self) -> Option<Value> {
        if self.over {
            return None;
        }
        Some(match self.news.recv().await? {
            News::Chunk(text) => {
                let text = if self.begun {
                    text.as_str()
                } else {
                    text.trim_start()
                };
                self.begun = true;
                json!({ "type": "transcript.text.delta", "delta": text })
            }
            News::End(heard) => {
                self.over = true;
                match *heard {
                    Ok(heard) => json!({
                        "type": "transcript.text.done", "text": heard.text, "usage": usage(&heard),
                    }),
                    Err(error) => {
                        // The status is sent already; clients take this as the error that it is.
                        let mut body = error.body();
                        body["type"] = json!("error");
                        body
                    }
                }
            }
        })
    }
}
