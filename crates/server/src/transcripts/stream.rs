//! A transcript as events: what was said so far, and all of it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event as Sent, Sse};
use axum::response::{IntoResponse, Response};
use medley_types::{Event, Transcript};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::{Wanted, usage};
use crate::answer::keep_alive;
use crate::error::Answer;
use crate::follow::Followed;
use crate::service::Service;

/// What is on its way to a client.
enum News {
    Chunk(String),
    End(Box<Answer<Transcript>>),
}

/// A transcript that a client reads.
struct Stream {
    news: Followed<News>,
    /// Whether something was said, so that the first chunk begins without a space.
    begun: bool,
    over: bool,
}

pub(super) fn respond(
    service: Arc<Service>,
    wanted: Wanted,
    place: OwnedSemaphorePermit,
) -> Response {
    let (sender, cancel, news) = Followed::begin(place);
    let chunks = sender.clone();
    let events = move |event| {
        if let Event::Chunk { text } = event {
            drop(chunks.send(News::Chunk(text)));
        }
    };
    let listening = wanted.listening(events, cancel);
    tokio::spawn(async move {
        let heard = service.listen(listening).await;
        drop(sender.send(News::End(Box::new(heard))));
    });
    let stream = Stream {
        news,
        begun: false,
        over: false,
    };
    let events = futures_util::stream::unfold(stream, |mut stream| async move {
        let data = stream.next().await?;
        let name = data["type"].as_str().unwrap_or("error").to_owned();
        let sent = Sent::default().event(name).data(data.to_string());
        Some((Ok::<_, Infallible>(sent), stream))
    });
    Sse::new(events).keep_alive(keep_alive()).into_response()
}

impl Stream {
    async fn next(&mut self) -> Option<Value> {
        if self.over {
            return None;
        }
        Some(match self.news.next().await? {
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
