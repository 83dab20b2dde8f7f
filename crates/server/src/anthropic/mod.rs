//! `/v1/messages`, in the shapes that Anthropic's clients speak.

mod answer;
mod ask;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::answer::keep_alive;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::said;
use crate::service::Service;
use answer::Run;
use ask::Ask;

/// Whether a path is one of these.
pub(crate) fn is_theirs(path: &str) -> bool {
    path == "/v1/messages" || path.starts_with("/v1/messages/")
}

/// The paths of messages.
pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/messages", post(create))
        .route("/v1/messages/count_tokens", post(count))
}

/// An error as Anthropic's clients read it: `{"type": "error", "error": {"type", "message"}}`.
pub(crate) struct Refusal(pub(crate) ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl Refusal {
    /// The body.
    pub(crate) fn body(&self) -> Value {
        let kind = match self.0.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        };
        let message = match &self.0.param {
            Some(param) if !self.0.message.contains(param.as_str()) => {
                format!("{param}: {}", self.0.message)
            }
            _ => self.0.message.clone(),
        };
        json!({ "type": "error", "error": { "type": kind, "message": message } })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = self.body();
        let mut response = self.0.into_response();
        let json = Json(body).into_response();
        let (parts, body) = json.into_parts();
        *response.body_mut() = body;
        response.headers_mut().extend(parts.headers);
        response
            .headers_mut()
            .remove(axum::http::header::CONTENT_LENGTH);
        response
    }
}

async fn create(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Refusal> {
    let Ask { wanted, stream } = Ask::read(&Fields::of_request(request).await?, false)?;
    let model = wanted.request.model.clone();
    let mut running = service.write(wanted).await?;
    if !stream {
        let texts = said::whole(&mut running, "messages").await?;
        let said = texts
            .into_iter()
            .next()
            .map(|(said, _)| said)
            .unwrap_or_default();
        return Ok(Json(answer::whole(&running, &said, &model)).into_response());
    }
    let run = Run::new(running, &model);
    let events = futures_util::stream::unfold(run, |mut run| async move {
        let event = run.next().await?;
        let name = event["type"].as_str().unwrap_or("error").to_owned();
        let sent = Event::default().event(name).data(event.to_string());
        Some((Ok::<_, Infallible>(sent), run))
    });
    Ok(Sse::new(events).keep_alive(keep_alive()).into_response())
}

async fn count(State(service): State<Arc<Service>>, request: Request) -> Result<Response, Refusal> {
    let ask = Ask::read(&Fields::of_request(request).await?, true)?;
    let tokens = service.count(ask.wanted).await?;
    Ok(Json(json!({ "input_tokens": tokens })).into_response())
}
