//! `/v1/videos`: clips, in OpenAI's shape. Each is a job that makes one, and is called after it.

pub(crate) mod ask;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use medley_engine::EngineError;
use medley_engine::jobs::{JobQuery, NewJob, Task};
use medley_engine::library::Upload;
use medley_types::{Job, JobState, Medium, Request as Recipe, VideoRequest};
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::gate::Caller;
use crate::kept::with_kept;
use crate::library::sent;
use crate::query::Parameters;
use crate::service::Service;
use ask::UPLOAD;

/// What a clip's name begins with, and its job's.
const VIDEO: &str = "video_";
const JOB: &str = "job_";

/// How long a job that is cancelled may take to its end, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn routes() -> Router<Arc<Service>> {
    let all = get(list).merge(post(create).layer(DefaultBodyLimit::max(UPLOAD)));
    Router::new()
        .route("/v1/videos", all)
        .route("/v1/videos/{id}", get(one).delete(remove))
        .route("/v1/videos/{id}/content", get(content))
        .route("/v1/videos/{id}/remix", post(remix))
}

/// A clip as clients see it; none of a job that makes something else.
fn described(job: &Job) -> Option<Value> {
    let Ok(Recipe::Video(request)) = serde_json::from_value(job.request.clone()) else {
        return None;
    };
    let (status, progress) = match job.state {
        JobState::Queued => ("queued", 0),
        JobState::Running => ("in_progress", percent(job)),
        JobState::Done => ("completed", 100),
        _ => ("failed", percent(job)),
    };
    let error = match (&job.error, job.state) {
        (Some(error), _) => json!({ "code": error.code, "message": error.message }),
        (None, JobState::Cancelled) => {
            json!({ "code": "cancelled", "message": "The clip was cancelled." })
        }
        _ => Value::Null,
    };
    let done = (job.state == JobState::Done).then_some(job.finished_at);
    let [width, height] = request.size.unwrap_or_default();
    let times = request.upscale.unwrap_or(1);
    let seconds = f64::from(request.frames.unwrap_or(0)) / f64::from(request.fps.unwrap_or(1));
    Some(json!({
        "id": name(&job.id),
        "object": "video",
        "model": job.model,
        "status": status,
        "progress": progress,
        "created_at": job.created_at,
        "completed_at": done.flatten(),
        "expires_at": null,
        "prompt": request.prompt,
        "size": format!("{}x{}", width * times, height * times),
        "seconds": format!("{}", (seconds * 100.0).round() / 100.0),
        "quality": "standard",
        "remixed_from_video_id": job.source.as_deref().map(name),
        "error": error,
    }))
}

/// A clip's name by its job's.
fn name(job: &str) -> String {
    format!("{VIDEO}{}", job.strip_prefix(JOB).unwrap_or(job))
}

/// How far a job is, of 100: the steps are nearly all of it.
fn percent(job: &Job) -> u64 {
    let Some(progress) = &job.progress else {
        return 0;
    };
    let (from, to) = match progress.stage.as_str() {
        "load" => (0, 2),
        "step" => (2, 85),
        "upscale" => (85, 95),
        _ => (95, 99),
    };
    let share = (to - from) * progress.done.min(progress.total) / progress.total.max(1);
    from + share
}

/// The job of a clip.
async fn job(service: &Arc<Service>, id: &str) -> Answer<Job> {
    let missing = || {
        let message = format!("Video with id '{id}' not found.");
        ApiError::refused(StatusCode::NOT_FOUND, Some("video_not_found"), message).about("id")
    };
    let Some(digits) = id.strip_prefix(VIDEO) else {
        service.kept()?;
        return Err(missing());
    };
    let job = format!("{JOB}{digits}");
    let found = with_kept(service, move |kept| match kept.jobs.get(&job) {
        Err(EngineError::NotFound { .. }) => Ok(None),
        found => found.map(Some),
    });
    let found = found.await?.filter(|job| job.medium == Medium::Video);
    found
        .filter(|job| described(job).is_some())
        .ok_or_else(missing)
}

fn shown(job: &Job) -> Answer {
    let video = described(job).ok_or_else(|| ApiError::internal("the job makes no clip"))?;
    Ok(Json(video).into_response())
}

async fn create(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let asked = ask::read(&service, request).await?;
    let (request, files) = ask::request(&service, asked).await?;
    submit(&service, caller, request, files, None).await
}

async fn submit(
    service: &Arc<Service>,
    caller: Caller,
    request: VideoRequest,
    files: Vec<Upload>,
    source: Option<String>,
) -> Answer {
    let limit = caller.jobs.unwrap_or(service.settings.jobs);
    let new = NewJob {
        task: Task::Generate(Box::new(Recipe::Video(request))),
        priority: 0,
        owner: caller.name,
        source,
        files,
    };
    let job = with_kept(service, move |kept| kept.jobs.submit(new, limit)).await?;
    shown(&job)
}

async fn list(State(service): State<Arc<Service>>, uri: Uri) -> Answer {
    let parameters = Parameters::of(&uri)?;
    if parameters
        .text("order")
        .is_some_and(|order| order != "desc")
    {
        return Err(parameters.wrong("order", "clips are listed newest first, 'desc'"));
    }
    let after = parameters.text("after");
    let query = JobQuery {
        state: None,
        medium: Some(Medium::Video),
        limit: parameters.limit()?,
        after: after.map(|id| id.replacen(VIDEO, JOB, 1)),
    };
    let (jobs, more) = with_kept(&service, move |kept| kept.jobs.list(&query)).await?;
    let data: Vec<Value> = jobs.iter().filter_map(described).collect();
    let id = |video: Option<&Value>| video.map_or(Value::Null, |video| video["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    let list = json!({
        "object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more,
    });
    Ok(Json(list).into_response())
}

async fn one(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    shown(&job(&service, &id).await?)
}

/// Takes a clip away with its file; one that is being made is ended first.
async fn remove(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let found = job(&service, &id).await?;
    let removed = found.id.clone();
    if !found.state.is_ended() {
        let cancelled = removed.clone();
        with_kept(&service, move |kept| kept.jobs.cancel(&cancelled)).await?;
        let begun = tokio::time::Instant::now();
        while !job(&service, &id).await?.state.is_ended() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK).await;
        }
    }
    with_kept(&service, move |kept| {
        let works = kept.jobs.get(&removed)?.works;
        kept.jobs.remove(&removed)?;
        works.iter().try_for_each(|work| kept.library.remove(work))
    })
    .await?;
    Ok(Json(json!({ "id": id, "object": "video.deleted", "deleted": true })).into_response())
}

async fn content(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let parameters = Parameters::of(&uri)?;
    let variant = parameters.text("variant").unwrap_or("video".into());
    if !["video", "thumbnail", "spritesheet"].contains(&variant.as_str()) {
        let problem = "it must be video, thumbnail or spritesheet";
        return Err(parameters.wrong("variant", problem));
    }
    let job = job(&service, &id).await?;
    let Some(work) = job.works.first().cloned() else {
        let message = match job.state {
            JobState::Done => "The clip was deleted from the library.".to_owned(),
            state => format!("The clip is not there: it is {}.", state.as_str()),
        };
        let code = Some("video_not_ready");
        return Err(ApiError::refused(StatusCode::CONFLICT, code, message));
    };
    let (bytes, mime, tag) = with_kept(&service, move |kept| {
        let entry = kept.library.get(&work)?;
        if variant == "thumbnail" {
            let (bytes, mime) = kept.library.thumbnail(&work)?;
            return Ok((bytes, mime.to_owned(), format!("{}-small", entry.sha256)));
        }
        if variant == "spritesheet" {
            let tag = format!("{}-sheet", entry.sha256);
            return Ok((
                kept.library.spritesheet(&work)?,
                "image/jpeg".to_owned(),
                tag,
            ));
        }
        let file = kept.library.file(&work)?;
        let bytes = std::fs::read(&file.path).map_err(EngineError::io("read", &file.path))?;
        Ok((bytes, file.mime, entry.sha256))
    })
    .await?;
    Ok(sent(bytes, &mime, &tag, &headers))
}

/// The same clip from other words: seed, size and first frame stay.
async fn remix(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let fields = Fields::of_request(request).await?;
    let prompt = ask::prompt(&fields)?;
    let source = job(&service, &id).await?;
    if source.state != JobState::Done {
        let message = "Only a clip that is completed can be changed.";
        let code = Some("video_not_ready");
        return Err(ApiError::refused(StatusCode::CONFLICT, code, message));
    }
    let Ok(Recipe::Video(old)) = serde_json::from_value(source.request.clone()) else {
        return Err(ApiError::internal("the job makes no clip"));
    };
    let request = VideoRequest { prompt, ..old };
    let init = request.init.as_ref().map(|init| init.file.sha256.clone());
    let files = with_kept(&service, move |kept| {
        let bytes = init
            .map(|sha256| kept.library.content(&sha256))
            .transpose()?;
        Ok(bytes.flatten().map(ask::upload).into_iter().collect())
    });
    let files = files.await?;
    submit(&service, caller, request, files, Some(source.id)).await
}
