//! `/v1/creations`: every medium from one brief. Each is a folder of the home, and a job makes its works.

use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use medley_engine::director::{self, Creation, Kit, PLAN, Plan, WorkPlan};
use medley_engine::jobs::{NewJob, Task};
use medley_engine::{EngineError, Result as Engine};
use medley_types::{Job, JobState};
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::gate::Caller;
use crate::kept::{Kept, with_kept};
use crate::library::sent;
use crate::service::Service;

/// What a page of works may do: show what it holds itself.
const PAGE: &str =
    "sandbox; default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'";

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/kits", get(kits))
        .route("/v1/creations", get(list).merge(post(create)))
        .route("/v1/creations/{id}", get(one).delete(remove))
        .route("/v1/creations/{id}/cancel", post(cancel))
        .route("/v1/creations/{id}/resume", post(resume))
        .route("/v1/creations/{id}/plan", put(plan))
        .route("/v1/creations/{id}/files/{name}", get(file))
        .route("/v1/creations/{id}/zip", get(zip))
}

async fn kits(State(service): State<Arc<Service>>) -> Answer {
    let kits = with_kept(&service, |kept| director::kits(kept.store.home())).await?;
    let described = |kit: &Kit| json!({ "id": kit.name, "object": "kit", "title": kit.title, "about": kit.about, "example": kit.example });
    let data: Vec<Value> = kits.iter().map(described).collect();
    Ok(Json(json!({ "object": "list", "data": data })).into_response())
}

/// The job that makes a creation, if it is known still.
fn job_of(kept: &Kept, creation: &Creation) -> Option<Job> {
    kept.jobs.get(&creation.job).ok()
}

fn described(kept: &Kept, creation: &Creation) -> Engine<Value> {
    kept.creations
        .described(creation, job_of(kept, creation).as_ref())
}

async fn list(State(service): State<Arc<Service>>) -> Answer {
    let data = with_kept(&service, |kept| {
        let all = kept.creations.list();
        // One whose plan somebody has broken is no reason to show none.
        Ok(all
            .iter()
            .filter_map(|creation| described(kept, creation).ok())
            .collect::<Vec<_>>())
    });
    Ok(Json(json!({ "object": "list", "data": data.await? })).into_response())
}

async fn create(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let fields = Fields::of_request(request).await?;
    let brief = fields.required("brief")?.as_str();
    let brief = brief
        .ok_or_else(|| fields.wrong_type("brief", "a string"))?
        .trim()
        .to_owned();
    if !brief.chars().any(char::is_alphanumeric) || brief.chars().count() > 4000 {
        return Err(fields.wrong_value(
            "brief",
            "it must say what it is about, in up to 4000 characters",
        ));
    }
    let kit = fields
        .text("kit")?
        .unwrap_or_else(|| director::kit_of(&brief))
        .to_owned();
    // Requests name kits, never files.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if kit.is_empty() || !kit.chars().all(plain) {
        return Err(fields.wrong_value("kit", "it must be the name of a kit"));
    }
    let seed = fields.integer("seed", 0..=i64::from(u32::MAX))?;
    let seed = seed.map_or_else(rand::random::<u32>, |seed| u32::try_from(seed).unwrap_or(0));
    let limit = caller.jobs.unwrap_or(service.settings.jobs);
    let value = with_kept(&service, move |kept| {
        Kit::find(kept.store.home(), &kit)?;
        let creation = kept.creations.add(&brief, &kit, u64::from(seed))?;
        match begin(kept, &creation, caller.name, limit) {
            Ok(value) => Ok(value),
            Err(error) => {
                kept.creations.remove(&creation.id)?;
                Err(error)
            }
        }
    });
    Ok((StatusCode::ACCEPTED, Json(value.await?)).into_response())
}

/// Puts the job of a creation into the queue.
fn begin(kept: &Kept, creation: &Creation, owner: Option<String>, limit: usize) -> Engine<Value> {
    let new = NewJob {
        task: Task::Create {
            id: creation.id.clone(),
        },
        priority: 0,
        owner,
        source: None,
        files: Vec::new(),
    };
    let creation = Creation {
        job: kept.jobs.submit(new, limit)?.id,
        ..creation.clone()
    };
    kept.creations.write(&creation)?;
    described(kept, &creation)
}

async fn one(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let value = with_kept(&service, move |kept| {
        described(kept, &kept.creations.get(&id)?)
    });
    Ok(Json(value.await?).into_response())
}

/// Refuses to touch what is being made.
fn at_rest(kept: &Kept, creation: &Creation, reason: &'static str) -> Engine<()> {
    match job_of(kept, creation).map(|job| job.state) {
        Some(state @ (JobState::Queued | JobState::Running)) => Err(EngineError::JobState {
            id: creation.id.clone(),
            state,
            reason,
        }),
        _ => Ok(()),
    }
}

async fn remove(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let removed = id.clone();
    with_kept(&service, move |kept| {
        at_rest(kept, &kept.creations.get(&removed)?, "cancel it first")?;
        kept.creations.remove(&removed)
    })
    .await?;
    Ok(Json(json!({ "id": id, "object": "creation.deleted", "deleted": true })).into_response())
}

async fn cancel(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let value = with_kept(&service, move |kept| {
        let creation = kept.creations.get(&id)?;
        if job_of(kept, &creation).is_some() {
            kept.jobs.cancel(&creation.job)?;
        }
        described(kept, &creation)
    });
    Ok(Json(value.await?).into_response())
}

/// Makes what is missing or changed.
async fn resume(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let limit = caller.jobs.unwrap_or(service.settings.jobs);
    let value = with_kept(&service, move |kept| {
        let creation = kept.creations.get(&id)?;
        at_rest(kept, &creation, "it is being made already")?;
        begin(kept, &creation, caller.name, limit)
    });
    Ok((StatusCode::ACCEPTED, Json(value.await?)).into_response())
}

/// Takes an edited plan in.
async fn plan(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let fields = Fields::of_request(request).await?;
    let plan = Plan::read(fields.into_value()).map_err(|error| match &error {
        EngineError::Plan { field, .. } => {
            ApiError::invalid(Some("invalid_value"), error.to_string()).about(field)
        }
        _ => ApiError::of_engine(&error),
    })?;
    let value = with_kept(&service, move |kept| {
        let creation = kept.creations.get(&id)?;
        at_rest(kept, &creation, "cancel it, or wait until it is made")?;
        kept.creations.folder(&id)?.write_plan(&plan)?;
        described(kept, &creation)
    });
    Ok(Json(value.await?).into_response())
}

async fn file(
    State(service): State<Arc<Service>>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let mime = director::mime(&name);
    let found = with_kept(&service, move |kept| {
        let folder = kept.creations.folder(&id)?;
        let files = folder.plan()?.map(|plan| {
            plan.works
                .iter()
                .flat_map(WorkPlan::files)
                .collect::<Vec<_>>()
        });
        // Only what the plan names is given away.
        let known = name == PLAN || files.unwrap_or_default().contains(&name);
        let path = folder.file(&name);
        if !known || !path.is_file() {
            return Err(EngineError::NotFound {
                what: "file",
                id: name,
            });
        }
        let hash = folder.hash(&name).unwrap_or_default();
        let bytes = std::fs::read(&path).map_err(EngineError::io("read", &path))?;
        Ok((bytes, hash))
    });
    let (bytes, hash) = found.await?;
    let mut response = sent(bytes, mime, &hash, &headers);
    let set = response.headers_mut();
    // Made anew under the same name when the plan is changed.
    set.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if mime == "text/html" {
        set.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(PAGE),
        );
    }
    Ok(response)
}

async fn zip(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let named = id.clone();
    let packed = with_kept(&service, move |kept| {
        let folder = kept.creations.folder(&named)?;
        let plan = folder.plan()?.ok_or(EngineError::NotFound {
            what: "plan of",
            id: named,
        })?;
        let name = medley_engine::image::words_of(&plan.name).unwrap_or_else(|| "works".into());
        Ok((director::zip(&folder, &plan, &name)?, name))
    });
    let (bytes, name) = packed.await?;
    let name = name.chars().filter(char::is_ascii).collect::<String>();
    let attached = format!("attachment; filename=\"{name}.zip\"");
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, attached),
    ];
    Ok((headers, bytes).into_response())
}
