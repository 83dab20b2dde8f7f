//! `/v1/vector_stores`: collections of documents, in OpenAI's shapes.

mod files;
mod search;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use medley_engine::EngineError;
use medley_engine::documents::{Attached, Collection, Documents, State as FileState};
use serde_json::{Map, Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::files::page;
use crate::kept::with_kept;
use crate::query::Parameters;
use crate::reading::waited;
use crate::said::now;
use crate::service::Service;

pub(crate) use search::{Searched, look_up};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Items of a list at most.
const MOST: usize = 100;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/vector_stores", get(list).post(create))
        .route(
            "/v1/vector_stores/{id}",
            get(one).post(change).delete(remove),
        )
        .route("/v1/vector_stores/{id}/search", post(search::run))
        .merge(files::routes())
}

/// What is kept with a collection, beside its name.
fn kept_with(fields: &Fields, before: &Value) -> Answer<Value> {
    let mut kept = match before {
        Value::Object(map) => map.clone(),
        _ => Map::new(),
    };
    if let Some(metadata) = fields.object("metadata")? {
        if metadata.iter().count() > 16 || metadata.iter().any(|(_, value)| !value.is_string()) {
            return Err(fields.wrong_value("metadata", "it has at most 16 fields, all strings"));
        }
        kept.insert("metadata".into(), metadata.into_value());
    }
    if let Some(description) = fields.text("description")? {
        kept.insert("description".into(), json!(description));
    }
    if let Some(expires) = fields.object("expires_after")? {
        expires.required("anchor")?;
        expires.word("anchor", &["last_active_at"])?;
        expires.required("days")?;
        let days = expires.count("days", 1..=365)?;
        kept.insert("days".into(), json!(days));
    }
    Ok(Value::Object(kept))
}

/// When a collection goes out of use.
fn expires_at(collection: &Collection) -> Option<u64> {
    let days = collection.metadata["days"].as_u64()?;
    Some(collection.active_at + days * DAY)
}

fn is_expired(collection: &Collection) -> bool {
    expires_at(collection).is_some_and(|at| at < now())
}

/// A collection as clients see it.
fn described(collection: &Collection, files: &[Attached]) -> Value {
    let counts = counts(files);
    let status = match counts["in_progress"] == 0 {
        _ if is_expired(collection) => "expired",
        true => "completed",
        false => "in_progress",
    };
    let expires = collection.metadata["days"].as_u64();
    let expires = expires.map(|days| json!({ "anchor": "last_active_at", "days": days }));
    let metadata = &collection.metadata["metadata"];
    json!({
        "id": collection.id, "object": "vector_store", "created_at": collection.created_at,
        "name": collection.name, "description": collection.metadata["description"],
        "usage_bytes": collection.bytes, "file_counts": counts, "status": status,
        "expires_after": expires, "expires_at": expires_at(collection), "last_active_at": collection.active_at,
        "metadata": if metadata.is_null() { json!({}) } else { metadata.clone() },
    })
}

/// How many files stand how.
fn counts(files: &[Attached]) -> Value {
    let of = |state| files.iter().filter(|file| file.state == state).count();
    json!({
        "in_progress": of(FileState::InProgress), "completed": of(FileState::Completed),
        "failed": of(FileState::Failed), "cancelled": of(FileState::Cancelled), "total": files.len(),
    })
}

fn shown(documents: &Documents, id: &str) -> Result<Value, EngineError> {
    let collection = documents.collection(id)?;
    let files = documents.all_attached(&collection)?;
    Ok(described(&collection, &files))
}

async fn create(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let fields = Fields::of_request(request).await?;
    let name = fields.text("name")?.unwrap_or_default().to_owned();
    let kept = kept_with(&fields, &Value::Null)?;
    files::chunking(&fields)?;
    let ids = files::ids(&fields, "file_ids")?;
    let model = service.usual_encoder().await?;
    let made = with_kept(&service, move |all| {
        all.documents.create(&name, &model, &kept)
    });
    let collection = made.await?;
    let id = collection.id.clone();
    let ids = ids.into_iter().map(|id| (id, Map::new())).collect();
    files::begin(&service, collection, ids, None).await?;
    let answer = with_kept(&service, move |kept| shown(&kept.documents, &id)).await?;
    Ok(Json(answer).into_response())
}

async fn list(State(service): State<Arc<Service>>, uri: Uri) -> Answer {
    let parameters = Parameters::of(&uri)?;
    let all = with_kept(&service, |kept| {
        let documents = &kept.documents;
        let all = documents.collections()?;
        let all = all
            .iter()
            .map(|collection| Ok(described(collection, &documents.all_attached(collection)?)));
        all.collect::<Result<Vec<Value>, EngineError>>()
    });
    page(all.await?, &parameters, "asc", MOST)
}

async fn one(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let answer = with_kept(&service, move |kept| shown(&kept.documents, &id)).await?;
    Ok(Json(answer).into_response())
}

async fn change(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let fields = Fields::of_request(request).await?;
    let documents = service.kept()?.documents.clone();
    let (found, name) = (documents.clone(), id.clone());
    let before = waited(move || found.collection(&name)).await?;
    let kept = kept_with(&fields, &before.metadata)?;
    let name = fields.text("name")?.map(str::to_owned);
    let answer = waited(move || {
        documents.change(&id, name.as_deref(), Some(&kept))?;
        shown(&documents, &id)
    });
    Ok(Json(answer.await?).into_response())
}

async fn remove(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let removed = id.clone();
    with_kept(&service, move |kept| {
        kept.documents.drop_collection(&removed)
    })
    .await?;
    let answer = json!({ "id": id, "object": "vector_store.deleted", "deleted": true });
    Ok(Json(answer).into_response())
}

/// A collection that may be asked.
fn open(documents: &Documents, id: &str) -> Result<Collection, EngineError> {
    let collection = documents.collection(id)?;
    if is_expired(&collection) {
        return Err(EngineError::BadRequest {
            field: "vector_store_id".into(),
            reason: "the vector store has expired".into(),
        });
    }
    Ok(collection)
}

/// What a field that is wrong is answered.
fn wrong(field: &str, problem: &str) -> ApiError {
    let message = format!("Invalid value for '{field}': {problem}.");
    ApiError::invalid(Some("invalid_value"), message).about(field)
}
