//! Forms, as both pictures and sounds are sent.

use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;

use crate::error::{Answer, ApiError};

/// Fields of a form at most.
pub(crate) const FIELDS: usize = 40;

/// What a form that breaks off, or is too large, is answered.
pub(crate) fn unreadable(error: &MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            Some("request_too_large"),
            "The request's body is too large.",
        ),
        _ => ApiError::invalid(None, "The form could not be read."),
    }
}

/// The form of a request.
pub(crate) async fn open(request: Request) -> Answer<Multipart> {
    let form = Multipart::from_request(request, &()).await;
    form.map_err(|_| {
        ApiError::invalid(
            None,
            "The request must be a form: 'Content-Type: multipart/form-data'.",
        )
    })
}
