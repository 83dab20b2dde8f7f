//! Files of vector stores, and batches of them.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use medley_engine::EngineError;
use medley_engine::documents::{Attached, Collection, Documents, State as FileState};
use serde_json::{Map, Value, json};

use super::{MOST, counts};
use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::files::page;
use crate::kept::with_kept;
use crate::query::Parameters;
use crate::reading::waited;
use crate::said::new_id;
use crate::service::Service;

/// Files of one batch at most.
const BATCH: usize = 2000;

/// Attributes of one file at most.
const ATTRIBUTES: usize = 16;

pub(super) fn routes() -> Router<Arc<Service>> {
    let of = |path: &str| format!("/v1/vector_stores/{{id}}/{path}");
    Router::new()
        .route(&of("files"), get(list).post(create))
        .route(&of("files/{file}"), get(one).post(change).delete(remove))
        .route(&of("files/{file}/content"), get(content))
        .route(&of("file_batches"), post(create_batch))
        .route(&of("file_batches/{batch}"), get(batch))
        .route(&of("file_batches/{batch}/cancel"), post(cancel))
        .route(&of("file_batches/{batch}/files"), get(batch_files))
}

/// How documents are split here is the splitter's business: it keeps to headings. A static strategy is checked and its
/// size taken as what a client can bear, which ours never exceeds.
pub(super) fn chunking(fields: &Fields) -> Answer<()> {
    let Some(strategy) = fields.object("chunking_strategy")? else {
        return Ok(());
    };
    strategy.required("type")?;
    if strategy.word("type", &["auto", "static"])? == Some("static") {
        strategy.required("static")?;
        if let Some(size) = strategy.object("static")? {
            size.required("max_chunk_size_tokens")?;
            size.count("max_chunk_size_tokens", 400..=4096)?;
            size.count("chunk_overlap_tokens", 0..=2048)?;
        }
    }
    Ok(())
}

/// The ids of a field.
pub(super) fn ids(fields: &Fields, name: &str) -> Answer<Vec<String>> {
    let list = fields.list(name)?.unwrap_or_default();
    if list.len() > BATCH {
        return Err(fields.wrong_value(name, &format!("it has at most {BATCH} files")));
    }
    let id = |value: &Value| {
        let id = value.as_str().map(str::to_owned);
        id.ok_or_else(|| fields.wrong_type(name, "an array of strings"))
    };
    list.iter().map(id).collect()
}

fn attributes(fields: &Fields) -> Answer<Map<String, Value>> {
    let Some(given) = fields.object("attributes")? else {
        return Ok(Map::new());
    };
    let Value::Object(map) = given.into_value() else {
        return Ok(Map::new());
    };
    let plain = |value: &Value| match value {
        Value::String(text) => text.chars().count() <= 512,
        value => value.is_number() || value.is_boolean(),
    };
    if map.len() > ATTRIBUTES || !map.values().all(plain) {
        let problem =
            "it has at most 16 fields: strings of at most 512 characters, numbers or booleans";
        return Err(fields.wrong_value("attributes", problem));
    }
    Ok(map)
}

/// Attaches files and begins to read them, one after the other, while nobody waits.
pub(super) async fn begin(
    service: &Arc<Service>,
    collection: Collection,
    files: Vec<(String, Map<String, Value>)>,
    batch: Option<String>,
) -> Answer<()> {
    if files.is_empty() {
        return Ok(());
    }
    let documents = service.kept()?.documents.clone();
    let encoder = service.reader_of(&collection.model).await?;
    let (attaching, of) = (documents.clone(), collection.clone());
    let ids = waited(move || {
        for (id, _) in &files {
            attaching.file(id)?;
        }
        for (id, attributes) in &files {
            attaching.attach(&of, id, attributes, batch.as_deref())?;
        }
        Ok(files.into_iter().map(|(id, _)| id).collect::<Vec<String>>())
    })
    .await?;
    tokio::task::spawn_blocking(move || {
        for id in ids {
            if let Err(error) = documents.read_attached(&collection, &id, &encoder) {
                tracing::warn!("{id} in {}: {error}", collection.id);
            }
        }
    });
    Ok(())
}

/// A file of a store as clients see it.
fn described(store: &str, attached: &Attached) -> Value {
    let error = attached.error.as_ref();
    let error = error.map(|message| json!({ "code": "invalid_file", "message": message }));
    json!({
        "id": attached.file, "object": "vector_store.file", "usage_bytes": attached.bytes,
        "created_at": attached.created_at, "vector_store_id": store, "status": attached.state,
        "last_error": error, "attributes": attached.attributes,
        "chunking_strategy": { "type": "static",
                               "static": { "max_chunk_size_tokens": 400, "chunk_overlap_tokens": 0 } },
    })
}

/// A store's id, and one of its files.
type Both = Path<(String, String)>;

fn find(documents: &Documents, store: &str, file: &str) -> Result<Value, EngineError> {
    let collection = documents.collection(store)?;
    Ok(described(
        &collection.id,
        &documents.attached(&collection, file)?,
    ))
}

async fn create(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let fields = Fields::of_request(request).await?;
    fields.required("file_id")?;
    chunking(&fields)?;
    let file = fields.text("file_id")?.unwrap_or_default().to_owned();
    let attributes = attributes(&fields)?;
    let collection = with_kept(&service, move |kept| kept.documents.collection(&id)).await?;
    let store = collection.id.clone();
    begin(&service, collection, vec![(file.clone(), attributes)], None).await?;
    let answer = with_kept(&service, move |kept| find(&kept.documents, &store, &file)).await?;
    Ok(Json(answer).into_response())
}

/// The files of a store, of one batch or of all, as a page.
async fn listed(service: &Arc<Service>, id: String, batch: Option<String>, uri: &Uri) -> Answer {
    let parameters = Parameters::of(uri)?;
    let filter = parameters.text("filter");
    let (collection, files) = with_kept(service, move |kept| {
        let collection = kept.documents.collection(&id)?;
        let files = kept.documents.all_attached(&collection)?;
        Ok((collection, files))
    })
    .await?;
    let shown = files
        .iter()
        .filter(|file| batch.is_none() || file.batch == batch)
        .map(|file| described(&collection.id, file))
        .filter(|file| {
            filter
                .as_ref()
                .is_none_or(|state| file["status"] == state.as_str())
        });
    page(shown.collect(), &parameters, "asc", MOST)
}

async fn list(State(service): State<Arc<Service>>, Path(id): Path<String>, uri: Uri) -> Answer {
    listed(&service, id, None, &uri).await
}

async fn one(State(service): State<Arc<Service>>, Path((id, file)): Both) -> Answer {
    let answer = with_kept(&service, move |kept| find(&kept.documents, &id, &file)).await?;
    Ok(Json(answer).into_response())
}

async fn change(
    State(service): State<Arc<Service>>,
    Path((id, file)): Both,
    request: Request,
) -> Answer {
    let fields = Fields::of_request(request).await?;
    let attributes = attributes(&fields)?;
    let answer = with_kept(&service, move |kept| {
        let collection = kept.documents.collection(&id)?;
        kept.documents
            .set_attached(&collection, &file, &attributes)?;
        find(&kept.documents, &id, &file)
    });
    Ok(Json(answer.await?).into_response())
}

async fn remove(State(service): State<Arc<Service>>, Path((id, file)): Both) -> Answer {
    let removed = file.clone();
    with_kept(&service, move |kept| {
        let collection = kept.documents.collection(&id)?;
        kept.documents.detach(&collection, &removed)
    })
    .await?;
    let answer = json!({ "id": file, "object": "vector_store.file.deleted", "deleted": true });
    Ok(Json(answer).into_response())
}

async fn content(State(service): State<Arc<Service>>, Path((id, file)): Both) -> Answer {
    let text = with_kept(&service, move |kept| {
        let collection = kept.documents.collection(&id)?;
        kept.documents.text(&collection, &file)
    })
    .await?;
    let answer = json!({
        "object": "vector_store.file_content.page", "data": [{ "type": "text", "text": text }],
        "has_more": false, "next_page": null,
    });
    Ok(Json(answer).into_response())
}

async fn create_batch(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let fields = Fields::of_request(request).await?;
    chunking(&fields)?;
    let shared = attributes(&fields)?;
    let mut files: Vec<(String, Map<String, Value>)> = Vec::new();
    for file in ids(&fields, "file_ids")? {
        files.push((file, shared.clone()));
    }
    for (index, value) in fields
        .list("files")?
        .unwrap_or_default()
        .iter()
        .take(BATCH)
        .enumerate()
    {
        let item = fields.item("files", index, value)?;
        item.required("file_id")?;
        chunking(&item)?;
        let file = item.text("file_id")?.unwrap_or_default().to_owned();
        files.push((file, attributes(&item)?));
    }
    if files.is_empty() {
        fields.required("file_ids")?;
        return Err(fields.wrong_value("file_ids", "it has at least one file"));
    }
    let collection = with_kept(&service, move |kept| kept.documents.collection(&id)).await?;
    let (store, batch) = (collection.id.clone(), new_id("vsfb_"));
    begin(&service, collection, files, Some(batch.clone())).await?;
    batch_shown(&service, store, batch).await
}

async fn batch_shown(service: &Arc<Service>, id: String, batch: String) -> Answer {
    let name = batch.clone();
    let (store, files) = with_kept(service, move |kept| {
        let collection = kept.documents.collection(&id)?;
        let mut files = kept.documents.all_attached(&collection)?;
        files.retain(|file| file.batch.as_ref() == Some(&name));
        Ok((collection.id, files))
    })
    .await?;
    let Some(first) = files.first() else {
        let message = format!("There is no batch '{batch}' in this vector store.");
        return Err(ApiError::refused(
            axum::http::StatusCode::NOT_FOUND,
            None,
            message,
        ));
    };
    let any = |state| files.iter().any(|file| file.state == state);
    let status = match any(FileState::InProgress) {
        true => "in_progress",
        false if any(FileState::Cancelled) => "cancelled",
        false if any(FileState::Completed) => "completed",
        false => "failed",
    };
    let answer = json!({
        "id": batch, "object": "vector_store.files_batch", "created_at": first.created_at,
        "vector_store_id": store, "status": status, "file_counts": counts(&files),
    });
    Ok(Json(answer).into_response())
}

async fn batch(State(service): State<Arc<Service>>, Path((id, batch)): Both) -> Answer {
    batch_shown(&service, id, batch).await
}

async fn cancel(State(service): State<Arc<Service>>, Path((id, batch)): Both) -> Answer {
    let (store, name) = (id.clone(), batch.clone());
    with_kept(&service, move |kept| {
        let collection = kept.documents.collection(&store)?;
        kept.documents.cancel_batch(&collection, &name)
    })
    .await?;
    batch_shown(&service, id, batch).await
}

async fn batch_files(
    State(service): State<Arc<Service>>,
    Path((id, batch)): Both,
    uri: Uri,
) -> Answer {
    listed(&service, id, Some(batch), &uri).await
}
