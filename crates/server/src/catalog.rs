//! `/v1/catalog` and `/v1/memory`: models that can be had, and those that are loaded.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use medley_engine::ModelEntry;
use medley_engine::jobs::{NewJob, Task};
use medley_engine::serving::{Card, Held, Memory, Purpose};
use medley_types::Medium;
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::gate::Caller;
use crate::jobs;
use crate::kept::with_kept;
use crate::service::Service;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/catalog", get(list))
        .route("/v1/catalog/{name}/pull", post(pull))
        .route("/v1/catalog/{name}/evict", post(evict))
        .route("/v1/memory", get(memory))
}

async fn list(State(service): State<Arc<Service>>) -> Answer {
    let loaded: HashSet<String> = {
        let memory = service.memory().await?;
        memory.models.into_iter().map(|model| model.id).collect()
    };
    let cards = service.cards().await?;
    let chatting = service.chatting(&cards).await?;
    let parameters = service.parameters(&cards).await?;
    let data = with_kept(&service, move |kept| {
        let installed = kept.store.installed()?;
        let here: HashSet<String> = installed
            .into_iter()
            .filter(|model| model.fault.is_none())
            .map(|model| model.name)
            .collect();
        let entries = kept.store.catalog().entries().iter();
        let described = |entry: &ModelEntry| {
            let card = cards.iter().find(|card| card.id == entry.name);
            let known = card.map_or(entry.peak_memory, |card| card.memory);
            json!({
                "name": entry.name,
                "medium": entry.medium,
                "architecture": entry.architecture,
                "installed": here.contains(&entry.name),
                "loaded": loaded.contains(&entry.name),
                "memory_bytes": if known == 0 { entry.size() / 4 * 5 } else { known },
                "download_bytes": entry.size(),
                "parameters": parameters.get(&entry.name),
                "licence": entry.licence,
                "bundled": entry.is_bundled(),
                "served": card.is_some(),
                "chats": chatting.contains(&entry.name),
                "own": false,
            })
        };
        let named = |card: &&Card| kept.store.catalog().get(&card.id).is_none();
        // The user's own, of which the catalog knows nothing.
        let own = cards.iter().filter(named).map(|card| {
            json!({
                "name": card.id,
                "medium": medium(card.purpose),
                "architecture": architecture(card.purpose),
                "installed": true,
                "loaded": loaded.contains(&card.id),
                "memory_bytes": card.memory,
                "download_bytes": 0,
                "parameters": parameters.get(&card.id),
                "licence": "",
                "bundled": false,
                "served": true,
                "chats": chatting.contains(&card.id),
                "own": true,
            })
        });
        Ok(entries.map(described).chain(own).collect::<Vec<Value>>())
    });
    Ok(Json(json!({ "object": "list", "data": data.await? })).into_response())
}

/// What pages know models by that the catalog does not have.
fn architecture(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Embedding => "bert",
        Purpose::Transcript => "whisper",
        Purpose::Text | Purpose::Image | Purpose::Speech | Purpose::Music | Purpose::Video => "",
    }
}

/// What a model of this purpose makes.
fn medium(purpose: Purpose) -> Medium {
    match purpose {
        Purpose::Image => Medium::Image,
        Purpose::Transcript | Purpose::Speech => Medium::Speech,
        Purpose::Music => Medium::Music,
        Purpose::Video => Medium::Video,
        Purpose::Text | Purpose::Embedding => Medium::Text,
    }
}

async fn pull(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    let limit = caller.jobs.unwrap_or(service.settings.jobs);
    let job = with_kept(&service, move |kept| {
        let Some(entry) = kept.store.catalog().get(&name) else {
            return Ok(Err(ApiError::no_model(&name)));
        };
        // Who asks twice gets the same.
        if let Some(open) = kept.jobs.open_pull(&name)? {
            return Ok(Ok(open));
        }
        let new = NewJob {
            task: Task::Pull {
                model: name,
                medium: entry.medium,
            },
            priority: 0,
            owner: caller.name,
            source: None,
            files: Vec::new(),
        };
        kept.jobs.submit(new, limit).map(Ok)
    });
    Ok(Json(jobs::described(&job.await??)).into_response())
}

async fn evict(State(service): State<Arc<Service>>, Path(name): Path<String>) -> Answer {
    if service.evict(&name).await? {
        return Ok(Json(json!({ "name": name, "loaded": false })).into_response());
    }
    let loaded = service
        .memory()
        .await?
        .models
        .iter()
        .any(|model| model.id == name);
    if loaded {
        let message = format!("The model '{name}' is in use; try again when it is idle.");
        return Err(ApiError::refused(
            StatusCode::CONFLICT,
            Some("model_in_use"),
            message,
        ));
    }
    let message = format!("The model '{name}' is not loaded.");
    Err(ApiError::refused(
        StatusCode::NOT_FOUND,
        Some("model_not_loaded"),
        message,
    ))
}

async fn memory(State(service): State<Arc<Service>>) -> Answer {
    let Memory {
        budget,
        used,
        models,
        ..
    } = service.memory().await?;
    let model = |model: &Held| {
        json!({
            "id": model.id, "memory_bytes": model.memory, "idle": model.idle, "last_used": model.last_used,
        })
    };
    let models: Vec<Value> = models.iter().map(model).collect();
    // Without a limit there is no number that JSON could hold.
    let budget = (budget < u64::MAX).then_some(budget);
    let answer = json!({ "budget_bytes": budget, "used_bytes": used, "models": models });
    Ok(Json(answer).into_response())
}
