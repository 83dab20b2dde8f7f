//! Forms, as pictures and sounds are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::error::{Answer, ApiError};
use crate::fields::{ARRIVAL, late};
use crate::service::Service;

/// Fields of a form at most.
pub(crate) const FIELDS: usize = 40;

/// Bytes that must arrive in a second, in the mean.
const SLOWEST: u64 = 16 << 10;

/// The bytes of a `data:` address in base64.
pub(crate) fn data_url(url: &str) -> Option<Vec<u8>> {
    let (_, text) = url.strip_prefix("data:")?.split_once(";base64,")?;
    STANDARD.decode(text.trim()).ok()
}

/// The form of a request, which must keep coming.
pub(crate) struct Form {
    multipart: Multipart,
    late: Arc<AtomicBool>,
    room: OwnedSemaphorePermit,
}

/// A field of it.
pub(crate) struct Part<'a> {
    field: Field<'a>,
    late: Arc<AtomicBool>,
}

/// Opens the form of a request, whose body has at most so many bytes, where there is room for them.
pub(crate) async fn open(service: &Service, request: Request, most: usize) -> Answer<Form> {
    let room = service.upload(announced(request.headers(), most))?;
    let late = Arc::new(AtomicBool::new(false));
    let request = watched(request, late.clone());
    let multipart = Multipart::from_request(request, &()).await.map_err(|_| {
        ApiError::invalid(
            None,
            "The request must be a form: 'Content-Type: multipart/form-data'.",
        )
    })?;
    Ok(Form {
        multipart,
        late,
        room,
    })
}

/// The bytes that a request says it has, or may have.
fn announced(headers: &HeaderMap, most: usize) -> usize {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.map_or(most, |length: usize| length.min(most))
}

/// The request with a body that ends, and says so in `late`, when it is too slow.
fn watched(request: Request, late: Arc<AtomicBool>) -> Request {
    let begun = Instant::now();
    request.map(|body| {
        let parts = (body.into_data_stream(), 0u64);
        let stream = futures_util::stream::unfold(Some(parts), move |parts| {
            let late = late.clone();
            async move {
                let (mut body, got) = parts?;
                let allowed = ARRIVAL + Duration::from_secs(got / SLOWEST);
                let left = allowed.saturating_sub(begun.elapsed());
                let Ok(next) = tokio::time::timeout(left.min(ARRIVAL), body.next()).await else {
                    late.store(true, Ordering::Relaxed);
                    return Some((Err(axum::Error::new("it is too slow")), None));
                };
                let next = next?;
                let got = got + next.as_ref().map_or(0, |bytes| bytes.len() as u64);
                Some((next, Some((body, got))))
            }
        });
        Body::from_stream(stream)
    })
}

impl Form {
    /// The next field; none behind the last.
    pub(crate) async fn next(&mut self) -> Answer<Option<Part<'_>>> {
        let late = self.late.clone();
        let field = self.multipart.next_field().await;
        let field = field.map_err(|error| unreadable(&error, &late))?;
        Ok(field.map(|field| Part { field, late }))
    }

    /// The room that its bytes take, to be held as long as they are.
    pub(crate) fn into_room(self) -> OwnedSemaphorePermit {
        self.room
    }
}

impl Part<'_> {
    pub(crate) fn name(&self) -> String {
        self.field.name().unwrap_or_default().to_owned()
    }

    /// The name that its file has with the client.
    pub(crate) fn file_name(&self) -> Option<String> {
        self.field.file_name().map(str::to_owned)
    }

    pub(crate) async fn bytes(self) -> Answer<Vec<u8>> {
        let bytes = self.field.bytes().await;
        let bytes = bytes.map_err(|error| unreadable(&error, &self.late))?;
        Ok(bytes.to_vec())
    }

    pub(crate) async fn text(self) -> Answer<String> {
        let text = self.field.text().await;
        text.map_err(|error| unreadable(&error, &self.late))
    }
}

/// What a form that breaks off, is too slow or too large, is answered.
fn unreadable(error: &MultipartError, too_slow: &AtomicBool) -> ApiError {
    if too_slow.load(Ordering::Relaxed) {
        return late();
    }
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            Some("request_too_large"),
            "The request's body is too large.",
        ),
        _ => ApiError::invalid(None, "The form could not be read."),
    }
}
