//! Which path leads where, and who is let in.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use medley_engine::serving::Card;
use serde_json::{Value, json};

use crate::answer;
use crate::anthropic;
use crate::ask::Ask;
use crate::catalog;
use crate::embeddings;
use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::gate::with_key;
use crate::images;
use crate::inspect;
use crate::jobs;
use crate::library;
use crate::metrics;
use crate::openapi;
use crate::service::Service;
use crate::{
    creations, desk, files, links, music, rerank, responses, speech, stores, studio, transcripts,
    videos,
};

/// Media whose generators are not there yet, with their methods.
pub(crate) const LATER: &[(&str, &[&str])] = &[("/v1/images/variations", &["post"])];

/// The API of a service.
pub fn router(service: Arc<Service>) -> Router {
    let mut router = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(model))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/embeddings", post(embed))
        .route("/v1/rerank", post(rank))
        .route("/v1/route", post(route));
    router = router
        .merge(jobs::routes())
        .merge(library::routes())
        .merge(catalog::routes())
        .merge(images::routes())
        .merge(inspect::routes())
        .merge(transcripts::routes())
        .merge(speech::routes())
        .merge(music::routes())
        .merge(videos::routes())
        .merge(creations::routes())
        .merge(files::routes())
        .merge(stores::routes())
        .merge(links::routes())
        .merge(metrics::routes());
    for (path, _) in LATER {
        router = router.route(path, any(later));
    }
    let body = DefaultBodyLimit::max(service.settings.body);
    router
        .merge(responses::routes())
        .merge(anthropic::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(service.clone(), with_key))
        .route("/health", get(health))
        .route("/ready", get(metrics::ready))
        .route("/openapi.json", get(openapi::serve))
        .merge(studio::routes())
        .merge(desk::routes())
        .layer(from_fn_with_state(service.clone(), from_here))
        .layer(from_fn_with_state(service.clone(), metrics::watched))
        .layer(body)
        .with_state(service)
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

fn described(card: &Card) -> Value {
    json!({ "id": card.id, "object": "model", "created": card.created, "owned_by": "medley" })
}

async fn models(State(service): State<Arc<Service>>) -> Answer {
    let cards = service.cards().await?;
    let data: Vec<Value> = cards.iter().map(described).collect();
    Ok(Json(json!({ "object": "list", "data": data })).into_response())
}

async fn model(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let card = service.card(&id).await?;
    Ok(Json(described(&card)).into_response())
}

async fn chat(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let ask = Ask::chat(&Fields::of_request(request).await?)?;
    answer::respond(&service, ask).await
}

async fn completions(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let ask = Ask::completion(&Fields::of_request(request).await?)?;
    answer::respond(&service, ask).await
}

async fn embed(State(service): State<Arc<Service>>, request: Request) -> Answer {
    embeddings::respond(&service, &Fields::of_request(request).await?).await
}

async fn rank(State(service): State<Arc<Service>>, request: Request) -> Answer {
    rerank::respond(&service, &Fields::of_request(request).await?).await
}

/// Which generator a prompt asks for, told from its words: for clients with one box for every medium.
async fn route(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let fields = Fields::of_request(request).await?;
    fields.required("prompt")?;
    let prompt = fields.text("prompt")?.unwrap_or_default();
    if prompt.trim().is_empty() {
        return Err(fields.wrong_value("prompt", "it must not be empty"));
    }
    let asked = medley_engine::route::asked(prompt);
    let prompt = prompt.to_owned();
    let told = tokio::task::spawn_blocking(move || service.route(&prompt)).await;
    let route = told.map_err(|_| ApiError::internal("the prompt could not be read"))?;
    let asked = asked.is_some_and(|asked| asked.destination == route.destination);
    let answer =
        json!({ "medium": route.destination.as_str(), "prompt": route.prompt, "asked": asked });
    Ok(Json(answer).into_response())
}

async fn later(uri: Uri) -> ApiError {
    let message = format!("{} is not served yet.", uri.path());
    ApiError::refused(
        StatusCode::NOT_IMPLEMENTED,
        Some("not_implemented"),
        message,
    )
}

async fn unknown(method: Method, uri: Uri) -> ApiError {
    let message = format!("Invalid URL ({method} {})", uri.path());
    ApiError::refused(StatusCode::NOT_FOUND, None, message)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("Not allowed to {method} on {}.", uri.path());
    ApiError::refused(
        StatusCode::METHOD_NOT_ALLOWED,
        Some("method_not_supported"),
        message,
    )
}

/// Refuses what a browser sends from another site, and on a server for this machine alone what calls it by another name:
/// the one drives it with the user's hands, the other under a name that points here.
async fn from_here(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let desk = desk::is_desk(request.uri().path());
    if is_foreign(request.headers(), service.settings.local, desk) {
        let message = "Requests from other sites are not allowed.";
        return ApiError::refused(StatusCode::FORBIDDEN, Some("forbidden"), message)
            .into_response();
    }
    next.run(request).await
}

/// `desk` says that origins are looked at elsewhere: other sites may show desks that name them.
fn is_foreign(headers: &HeaderMap, local: bool, desk: bool) -> bool {
    let text = |name| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap_or_default().to_ascii_lowercase())
    };
    let host = text(header::HOST);
    let site = |origin: &str| origin.split_once("://").map(|(_, host)| host.to_owned());
    let other = text(header::ORIGIN).is_some_and(|origin| site(&origin) != host);
    other && !desk || local && host.is_some_and(|host| !is_this_machine(&host))
}

/// Whether a host, with or without a port, can only be this machine.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = |address: std::net::IpAddr| address.is_loopback();
    name == "localhost" || address.parse().is_ok_and(loopback)
}
