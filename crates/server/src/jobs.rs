//! `/v1/jobs`: requests that are kept until they are at their end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::{Uri, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::Limited;
use medley_engine::image;
use medley_engine::jobs::{JobQuery, NewJob, Task, Watch, complete};
use medley_engine::library::Upload;
use medley_engine::serving::{Card, Purpose};
use medley_types::{Job, JobState, Medium, Request as Recipe};
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::gate::Caller;
use crate::images::upload::{self, Form};
use crate::images::{self, UPLOAD};
use crate::kept::with_kept;
use crate::query::Parameters;
use crate::service::Service;

/// A comment is sent this often where nothing else is, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Farthest that a priority may be from 0.
const PRIORITY: i64 = 1000;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route(
            "/v1/jobs",
            get(list).merge(post(submit).layer(DefaultBodyLimit::max(UPLOAD))),
        )
        .route("/v1/jobs/events", get(all_events))
        .route("/v1/jobs/{id}", get(one).delete(remove))
        .route("/v1/jobs/{id}/cancel", post(cancel))
        .route("/v1/jobs/{id}/events", get(events))
}

/// A job as clients see it.
pub(crate) fn described(job: &Job) -> Value {
    let error = job.error.as_ref();
    json!({
        "id": job.id,
        "object": "job",
        "medium": job.medium,
        "kind": job.kind,
        "state": job.state,
        "priority": job.priority,
        "model": job.model,
        "request": job.request,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "progress": job.progress,
        "works": job.works,
        "error": error.map(|error| json!({ "code": error.code, "message": error.message })),
    })
}

/// The first model of a medium.
pub(crate) fn usual(cards: &[Card], medium: Medium) -> Option<String> {
    let purpose = purpose(medium);
    let card = cards.iter().find(|card| card.purpose == purpose);
    card.map(|card| card.id.clone())
}

fn purpose(medium: Medium) -> Purpose {
    match medium {
        Medium::Image => Purpose::Image,
        Medium::Speech => Purpose::Speech,
        Medium::Music => Purpose::Music,
        Medium::Video => Purpose::Video,
        _ => Purpose::Text,
    }
}

async fn submit(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let Asked {
        fields,
        recipe,
        files,
    } = match is_form(&request) {
        true => with_pictures(upload::read(&service, request).await?)?,
        false => {
            let most = service.settings.body;
            let request = request.map(|body| Body::new(Limited::new(body, most)));
            let fields = Fields::of_request(request).await?;
            let recipe = fields.required("request")?.clone();
            Asked {
                fields,
                recipe,
                files: Vec::new(),
            }
        }
    };
    let priority = fields
        .integer("priority", -PRIORITY..=PRIORITY)?
        .unwrap_or(0);
    let cards = service.cards().await?;
    let request = complete(&recipe, |medium| usual(&cards, medium));
    let request = request.map_err(|error| ApiError::of_engine(&error).within("request"))?;
    let (medium, model) = match &request {
        Recipe::Text(text) => (Medium::Text, &text.model),
        Recipe::Image(image) => (Medium::Image, &image.model),
        Recipe::Speech(speech) => (Medium::Speech, &speech.model),
        Recipe::Music(music) => (Medium::Music, &music.model),
        Recipe::Video(video) => (Medium::Video, &video.model),
        _ => return Err(fields.wrong_value("request", "no such medium is made here")),
    };
    let card = cards.iter().find(|card| card.id == *model);
    let card = card.ok_or_else(|| ApiError::no_model(model).within("request"))?;
    if card.purpose != purpose(medium) {
        let what = "does not make what is asked for";
        return Err(crate::service::wrong_purpose(model, what).within("request"));
    }
    let limit = caller.jobs.unwrap_or(service.settings.jobs);
    let new = NewJob {
        task: Task::Generate(Box::new(request)),
        priority,
        owner: caller.name,
        source: None,
        files,
    };
    let job = with_kept(&service, move |kept| kept.jobs.submit(new, limit)).await?;
    Ok(Json(described(&job)).into_response())
}

/// A job that is asked for.
struct Asked {
    fields: Fields,
    recipe: Value,
    files: Vec<Upload>,
}

pub(crate) fn is_form(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("multipart/form-data")
}

/// A request with the picture that it begins with, and perhaps a mask: `request` is its JSON, and `image`, `mask` and
/// `strength` are as `/v1/images/edits` has them. The recipe names the files that are kept, the mask in black and white.
fn with_pictures(form: Form) -> Answer<Asked> {
    let Form { fields, init, mask } = form;
    fields.required("request")?;
    let text = fields.text("request")?.unwrap_or_default();
    let mut recipe: Value = serde_json::from_str(text)
        .map_err(|error| fields.wrong_value("request", &format!("it is no JSON: {error}")))?;
    let Value::Object(map) = &mut recipe else {
        return Err(fields.wrong_value("request", "it must be an object, a recipe"));
    };
    let begun = images::ask::init(&fields, init.sha256, mask.is_some())?;
    map.insert("init".into(), json!(begun));
    let mime = image::Format::of_bytes(&init.bytes).map_or("image/png", image::Format::mime);
    let mut files = vec![Upload::new(mime, init.bytes)];
    if let Some(mask) = mask {
        let png = image::encode(&mask.picture, image::Format::Png, None, None);
        let png = png.map_err(|error| ApiError::of_engine(&error))?;
        let mask = Upload::new("image/png", png);
        map.insert("mask".into(), json!({ "sha256": mask.sha256 }));
        files.push(mask);
    }
    Ok(Asked {
        fields,
        recipe,
        files,
    })
}

async fn list(State(service): State<Arc<Service>>, uri: Uri) -> Answer {
    let parameters = Parameters::of(&uri)?;
    let state = match parameters.text("state") {
        None => None,
        Some(name) => Some(JobState::of(&name).ok_or_else(|| {
            parameters.wrong(
                "state",
                "it must be queued, running, done, failed or cancelled",
            )
        })?),
    };
    let query = JobQuery {
        state,
        medium: parameters.medium()?,
        limit: parameters.limit()?,
        after: parameters.text("after"),
    };
    let (jobs, more) = with_kept(&service, move |kept| kept.jobs.list(&query)).await?;
    let data: Vec<Value> = jobs.iter().map(described).collect();
    Ok(Json(json!({ "object": "list", "data": data, "has_more": more })).into_response())
}

async fn one(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let job = with_kept(&service, move |kept| kept.jobs.get(&id)).await?;
    Ok(Json(described(&job)).into_response())
}

async fn cancel(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let job = with_kept(&service, move |kept| kept.jobs.cancel(&id)).await?;
    Ok(Json(described(&job)).into_response())
}

async fn remove(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let removed = id.clone();
    with_kept(&service, move |kept| kept.jobs.remove(&removed)).await?;
    Ok(Json(json!({ "id": id, "object": "job", "deleted": true })).into_response())
}

async fn events(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let watch = with_kept(&service, move |kept| kept.jobs.watch(Some(&id))).await?;
    Ok(told(watch))
}

async fn all_events(State(service): State<Arc<Service>>) -> Answer {
    let watch = with_kept(&service, |kept| kept.jobs.watch(None)).await?;
    Ok(told(watch))
}

fn told(watch: Watch) -> axum::response::Response {
    let events = futures_util::stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        let sent = Event::default()
            .event(event.name)
            .data(event.data.to_string());
        Some((Ok::<_, Infallible>(sent), watch))
    });
    let alive = KeepAlive::new().interval(KEEP_ALIVE);
    Sse::new(events).keep_alive(alive).into_response()
}
