//! Pictures as events: what they look like so far, and what they are.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event as Sent, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medley_engine::image::{Images, encode_rgb};
use medley_types::Event;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::{Wanted, encode};
use crate::answer::keep_alive;
use crate::error::{Answer, ApiError};
use crate::follow::Followed;
use crate::said::now;
use crate::service::Service;

/// What is on its way to a client.
enum News {
    Preview(Event),
    End(Box<Answer<Images>>),
}

/// Pictures that a client listens for.
struct Stream {
    wanted: Arc<Wanted>,
    news: Followed<News>,
    ready: std::collections::VecDeque<(String, Value)>,
    over: bool,
}

pub(super) fn respond(
    service: Arc<Service>,
    mut wanted: Wanted,
    place: OwnedSemaphorePermit,
) -> Response {
    let steps = wanted.request.steps.unwrap_or(1) as usize;
    let partial = wanted.sent.partial;
    wanted.inputs.preview_every = every(partial, steps);
    let (sender, cancel, news) = Followed::begin(place);
    let previews = {
        let sender = sender.clone();
        previews(partial, steps, move |event| {
            drop(sender.send(News::Preview(event)));
        })
    };
    let drawing = wanted.drawing(previews, cancel);
    tokio::spawn(async move {
        let drawn = service.draw(drawing).await;
        drop(sender.send(News::End(Box::new(drawn))));
    });
    let stream = Stream {
        wanted: Arc::new(wanted),
        news,
        ready: std::collections::VecDeque::new(),
        over: false,
    };
    let events = futures_util::stream::unfold(stream, |mut stream| async move {
        let (name, data) = stream.next().await?;
        let sent = Sent::default().event(name).data(data.to_string());
        Some((Ok::<_, Infallible>(sent), stream))
    });
    Sse::new(events).keep_alive(keep_alive()).into_response()
}

/// After how many steps each a picture is shown, to be shown so often.
pub(crate) fn every(partial: usize, steps: usize) -> Option<usize> {
    (partial > 0).then(|| steps.div_ceil(partial + 1).max(1))
}

/// Passes on so many previews of each picture, none of which is the whole picture already.
pub(crate) fn previews(
    partial: usize,
    steps: usize,
    mut tell: impl FnMut(Event) + Send + 'static,
) -> Box<dyn FnMut(Event) + Send> {
    let mut told = (0, 0);
    Box::new(move |event| {
        let Event::Preview { index, done, .. } = &event else {
            return;
        };
        if told.0 != *index {
            told = (*index, 0);
        }
        if told.1 < partial && *done < steps {
            told.1 += 1;
            tell(event);
        }
    })
}

impl Stream {
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            if self.over {
                return None;
            }
            let news = self.news.next().await?;
            self.over = matches!(news, News::End(_));
            let wanted = self.wanted.clone();
            let told = tokio::task::spawn_blocking(move || wanted.events(news)).await;
            let told = told
                .unwrap_or_else(|_| Err(ApiError::internal("the pictures could not be written")));
            match told {
                Ok(events) => self.ready.extend(events),
                Err(error) => {
                    // The status is sent already; clients take this as the error that it is.
                    let mut body = error.body();
                    body["type"] = json!("error");
                    self.ready.push_back(("error".into(), body));
                    self.over = true;
                }
            }
        }
    }
}

impl Wanted {
    /// What is said of the news.
    fn events(&self, news: News) -> Answer<Vec<(String, Value)>> {
        let written = |error: medley_engine::EngineError| ApiError::internal(error.to_string());
        match news {
            News::Preview(Event::Preview {
                done,
                total,
                width,
                height,
                rgb,
                ..
            }) => {
                let bytes = encode_rgb(width, height, rgb, self.sent.format).map_err(written)?;
                let mut event = self.event("partial_image", &bytes, [width, height]);
                // Which of `partial_images` it is.
                let every = self.inputs.preview_every.unwrap_or(1).max(1);
                event.1["partial_image_index"] = json!((done.min(total) / every).saturating_sub(1));
                Ok(vec![event])
            }
            News::Preview(_) => Ok(Vec::new()),
            News::End(images) => {
                let images = (*images)?;
                let size = [images.work.width, images.work.height];
                let files = encode(&images, &self.request, self.sent)?;
                let completed = |bytes: &Vec<u8>| {
                    let mut event = self.event("completed", bytes, size);
                    // Pictures are not counted in tokens here.
                    event.1["usage"] = json!({
                        "total_tokens": 0, "input_tokens": 0, "output_tokens": 0,
                        "input_tokens_details": { "text_tokens": 0, "image_tokens": 0 },
                    });
                    event
                };
                Ok(files.iter().map(completed).collect())
            }
        }
    }

    fn event(&self, what: &str, bytes: &[u8], [width, height]: [u32; 2]) -> (String, Value) {
        let kind = if self.edit {
            "image_edit"
        } else {
            "image_generation"
        };
        let name = format!("{kind}.{what}");
        let data = json!({
            "type": name,
            "b64_json": STANDARD.encode(bytes),
            "created_at": now(),
            "size": format!("{width}x{height}"),
            "quality": self.sent.care,
            "background": "opaque",
            "output_format": self.sent.name,
        });
        (name, data)
    }
}
