//! `/v1/audio/transcriptions` and `/v1/audio/translations`.

mod ask;
mod stream;

use std::sync::Arc;

use axum::Json;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use medley_engine::CancelToken;
use medley_engine::serving::Listening;
use medley_engine::transcript::{self, LANGUAGES, Listener, TranscriptFormat};
use medley_types::{Event, Transcript, TranscriptRequest, TranscriptTask};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{Answer, ApiError};
use crate::service::Service;
use ask::{Form, Shape, UPLOAD};

pub(crate) fn routes() -> axum::Router<Arc<Service>> {
    axum::Router::new()
        .route("/v1/audio/transcriptions", post(transcribe))
        .route("/v1/audio/translations", post(translate))
        .layer(DefaultBodyLimit::max(UPLOAD))
}

/// A sound to be written down.
struct Wanted {
    listener: Arc<dyn Listener>,
    samples: Vec<f32>,
    /// What they take of the room for uploads; it is let go of with them.
    room: OwnedSemaphorePermit,
    /// Completed for its model.
    request: TranscriptRequest,
    shape: Shape,
}

async fn transcribe(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let form = ask::read(&service, request, TranscriptTask::Transcribe).await?;
    respond(&service, form).await
}

async fn translate(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let form = ask::read(&service, request, TranscriptTask::Translate).await?;
    respond(&service, form).await
}

async fn respond(service: &Arc<Service>, form: Form) -> Answer {
    let name = ask::model(service, &form.fields).await?;
    let (listener, place) = service.listener(&name).await?;
    let request = TranscriptRequest {
        model: name,
        ..form.request
    };
    let request = listener.complete(&request).map_err(|error| {
        let named = request.language.as_ref().map_or("model", |_| "language");
        ApiError::invalid(Some("invalid_value"), format!("{error}.")).about(named)
    })?;
    let bytes = form.sound;
    let reading = tokio::task::spawn_blocking(move || transcript::decode_sound(bytes));
    let samples = reading
        .await
        .map_err(|_| ApiError::internal("the sound could not be read"))?;
    let samples = samples.map_err(|error| {
        let message = format!("Invalid value for 'file': {error}.");
        ApiError::invalid(Some("invalid_audio"), message).about("file")
    })?;
    let wanted = Wanted {
        listener,
        samples,
        room: form.room,
        request,
        shape: form.shape,
    };
    if wanted.shape.stream {
        return Ok(stream::respond(service.clone(), wanted, place));
    }
    let (request, shape) = (wanted.request.clone(), wanted.shape.clone());
    let heard = service
        .listen(wanted.listening(|_| {}, CancelToken::default()))
        .await?;
    drop(place);
    Ok(answer(&heard, &request, &shape))
}

impl Wanted {
    fn listening(
        self,
        mut events: impl FnMut(Event) + Send + 'static,
        cancel: CancelToken,
    ) -> Listening {
        let room = self.room;
        Listening {
            listener: self.listener,
            samples: self.samples,
            request: self.request,
            events: Box::new(move |event| {
                let _held = &room;
                events(event);
            }),
            cancel,
        }
    }
}

fn answer(heard: &Transcript, request: &TranscriptRequest, shape: &Shape) -> Response {
    let plain = |format| {
        let kind = format!("{}; charset=utf-8", transcript::mime(format));
        (
            [(header::CONTENT_TYPE, kind)],
            transcript::written(heard, format),
        )
            .into_response()
    };
    match shape.format {
        "text" => {
            let kind = "text/plain; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], format!("{}\n", heard.text)).into_response()
        }
        "srt" => plain(TranscriptFormat::Srt),
        "vtt" => plain(TranscriptFormat::Vtt),
        "verbose_json" => Json(verbose(heard, request, shape)).into_response(),
        _ => Json(json!({ "text": heard.text, "usage": usage(heard) })).into_response(),
    }
}

/// Sound is counted in seconds, as begun.
fn usage(heard: &Transcript) -> Value {
    json!({ "type": "duration", "seconds": heard.duration.ceil() as u64 })
}

fn verbose(heard: &Transcript, request: &TranscriptRequest, shape: &Shape) -> Value {
    let name = LANGUAGES.iter().find(|(code, _)| *code == heard.language);
    let task = match request.task {
        TranscriptTask::Transcribe => "transcribe",
        TranscriptTask::Translate => "translate",
    };
    let mut value = json!({
        "task": task,
        "language": name.map_or(heard.language.as_str(), |(_, name)| name),
        "duration": heard.duration,
        "text": heard.text,
    });
    if shape.segments {
        value["segments"] = json!(heard.segments);
    }
    if request.words {
        let word =
            |w: &medley_types::HeardWord| json!({ "word": w.word, "start": w.start, "end": w.end });
        value["words"] = heard.words.iter().map(word).collect();
    }
    value["usage"] = usage(heard);
    value
}
