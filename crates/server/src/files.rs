//! `/v1/files`: files that clients send, to be put into vector stores.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use medley_engine::documents::File;
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::form::{self, FIELDS};
use crate::kept::with_kept;
use crate::query::Parameters;
use crate::said::now;
use crate::service::Service;

/// What files may be for; they are all kept alike.
const PURPOSES: [&str; 6] = [
    "assistants",
    "batch",
    "fine-tune",
    "vision",
    "user_data",
    "evals",
];

/// Seconds that a file may be told to last.
const LASTS: std::ops::RangeInclusive<u64> = 3600..=2_592_000;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/files", get(list).post(create))
        .route("/v1/files/{id}", get(one).delete(remove))
        .route("/v1/files/{id}/content", get(content))
}

fn described(file: &File) -> Value {
    json!({
        "id": file.id, "object": "file", "bytes": file.bytes, "created_at": file.created_at,
        "expires_at": file.expires_at, "filename": file.name, "purpose": file.purpose,
        "status": "processed", "status_details": null,
    })
}

async fn create(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let mut form = form::open(&service, request, service.settings.body).await?;
    let (mut file, mut purpose, mut seconds, mut fields) = (None, None, None, 0);
    while let Some(field) = form.next().await? {
        fields += 1;
        if fields > FIELDS {
            return Err(ApiError::invalid(None, "The form has too many fields."));
        }
        match field.name().as_str() {
            "file" => {
                let name = field.file_name().unwrap_or("file".into());
                file = Some((name, field.bytes().await?));
            }
            "purpose" => purpose = Some(field.text().await?),
            "expires_after[seconds]" => {
                let text = field.text().await?;
                let lasts = text.trim().parse().ok().filter(|n| LASTS.contains(n));
                seconds = Some(lasts.ok_or_else(|| {
                    wrong("expires_after", "its seconds must be from 3600 to 2592000")
                })?);
            }
            _ => {}
        }
    }
    let missing = |name: &str| {
        let message = format!("Missing required parameter: '{name}'.");
        ApiError::invalid(Some("missing_required_parameter"), message).about(name)
    };
    let (name, bytes) = file.ok_or_else(|| missing("file"))?;
    let purpose = purpose.ok_or_else(|| missing("purpose"))?;
    if !PURPOSES.contains(&purpose.as_str()) {
        return Err(wrong(
            "purpose",
            &format!("it must be one of {}", PURPOSES.join(", ")),
        ));
    }
    // A name is what stands behind the last slash, whatever system it is from.
    let name = name.rsplit(['/', '\\']).next().unwrap_or("file").to_owned();
    let expires = seconds.map(|seconds: u64| now() + seconds);
    let file = with_kept(&service, move |kept| {
        kept.documents.put_file(&name, &purpose, &bytes, expires)
    })
    .await?;
    Ok(Json(described(&file)).into_response())
}

fn wrong(field: &str, problem: &str) -> ApiError {
    let message = format!("Invalid value for '{field}': {problem}.");
    ApiError::invalid(Some("invalid_value"), message).about(field)
}

async fn list(State(service): State<Arc<Service>>, uri: Uri) -> Answer {
    let parameters = Parameters::of(&uri)?;
    let purpose = parameters.text("purpose");
    let files = with_kept(&service, |kept| kept.documents.files()).await?;
    let files = files
        .iter()
        .filter(|file| purpose.as_ref().is_none_or(|p| *p == file.purpose));
    page(files.map(described).collect(), &parameters, "desc", 10_000)
}

/// A page of a list whose items stand in the order that `usual` names.
pub(crate) fn page(
    mut items: Vec<Value>,
    parameters: &Parameters,
    usual: &str,
    most: usize,
) -> Answer {
    let order = parameters.text("order").unwrap_or_else(|| "desc".into());
    if !matches!(order.as_str(), "asc" | "desc") {
        return Err(parameters.wrong("order", "it must be asc or desc"));
    }
    if order != usual {
        items.reverse();
    }
    let place = |id: &str| items.iter().position(|item| item["id"] == id);
    let at = |name: &str| match parameters.text(name) {
        None => Ok(None),
        Some(id) => match place(&id) {
            Some(at) => Ok(Some(at)),
            None => Err(parameters.wrong(name, "no item has this id")),
        },
    };
    let (after, before) = (at("after")?, at("before")?);
    if let Some(before) = before {
        items.truncate(before);
    }
    if let Some(after) = after {
        items.drain(..items.len().min(after + 1));
    }
    let limit = match parameters.text("limit") {
        None => most.min(20),
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=most).contains(n))
            .ok_or_else(|| {
                parameters.wrong("limit", &format!("it must be a number from 1 to {most}"))
            })?,
    };
    let more = items.len() > limit;
    items.truncate(limit);
    let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    let answer = json!({
        "object": "list", "first_id": id(items.first()), "last_id": id(items.last()),
        "has_more": more, "data": items,
    });
    Ok(Json(answer).into_response())
}

async fn one(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let file = with_kept(&service, move |kept| kept.documents.file(&id)).await?;
    Ok(Json(described(&file)).into_response())
}

async fn remove(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let removed = id.clone();
    with_kept(&service, move |kept| kept.documents.remove_file(&removed)).await?;
    Ok(Json(json!({ "id": id, "object": "file", "deleted": true })).into_response())
}

/// The file as it came; no browser shows it.
async fn content(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let bytes = with_kept(&service, move |kept| kept.documents.file_bytes(&id)).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_DISPOSITION, "attachment"),
    ];
    Ok((StatusCode::OK, headers, bytes).into_response() as Response)
}
