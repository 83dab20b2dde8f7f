//! `/v1/music`, which is ours: a prompt, and the tune that it asks for, as sound, as notes, or as both with what the model
//! thought of each note.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medley_engine::CancelToken;
use medley_engine::music::{
    self, Music, MusicGenerator, MusicInputs, ScoreFormat, SoundFormat, Target,
};
use medley_engine::serving::{Composing, Purpose};
use medley_types::{MusicRequest, Request as Recipe};
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::service::Service;

/// Longest prompt, in characters.
const PROMPT: usize = 4096;

/// Most bars that are asked for.
const BARS: i64 = 400;

/// Seconds behind the last note in which the room falls silent.
const TAIL_S: f64 = 1.8;

pub(crate) fn routes() -> axum::Router<Arc<Service>> {
    axum::Router::new().route("/v1/music", post(compose))
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A file.
    File(Target),
    /// JSON with sound, notes and what is known of them.
    All,
}

fn shape(fields: &Fields) -> Answer<Shape> {
    let names = ["wav", "mp3", "flac", "opus", "midi", "abc", "json"];
    let name = fields.word("format", &names)?.unwrap_or("wav");
    let file = match name {
        "mp3" => Target::Sound(SoundFormat::Mp3),
        "flac" => Target::Sound(SoundFormat::Flac),
        "opus" => Target::Sound(SoundFormat::Opus),
        "midi" => Target::Score(ScoreFormat::Midi),
        "abc" => Target::Score(ScoreFormat::Abc),
        "json" => return Ok(Shape::All),
        _ => Target::Sound(SoundFormat::Wav),
    };
    Ok(Shape::File(file))
}

/// The request, completed.
pub(crate) async fn request(service: &Service, fields: &Fields) -> Answer<MusicRequest> {
    fields.required("prompt")?;
    let prompt = fields.text("prompt")?.unwrap_or_default().trim();
    if prompt.chars().count() > PROMPT {
        return Err(fields.wrong_value("prompt", &format!("it has more than {PROMPT} characters")));
    }
    fields.refuse(
        &["init", "soundfont"],
        "is a file, which no request can name here",
    )?;
    let (least, most) = (2.0, music::LONGEST_S);
    let seconds = fields.number("seconds", least..=most)?;
    let bars = fields.count("bars", 1..=BARS)?;
    if seconds.is_some() && bars.is_some() {
        return Err(fields.wrong_value("bars", "it says what 'seconds' says; give one of them"));
    }
    let text = |name: &str| -> Answer<Option<String>> { Ok(fields.text(name)?.map(str::to_owned)) };
    let seed = fields.integer("seed", 0..=i64::from(u32::MAX))?;
    let asked = MusicRequest {
        model: model(service, fields).await?,
        prompt: prompt.to_owned(),
        seconds,
        seed: seed.map_or_else(|| u64::from(rand::random::<u32>()), i64::unsigned_abs),
        temperature: fields.number("temperature", 0.0..=2.0)?,
        key: text("key")?,
        metre: text("metre")?,
        tempo: fields.number("tempo", 20.0..=400.0)?,
        style: text("style")?,
        ..MusicRequest::default()
    };
    let complete = |request: &MusicRequest| {
        music::complete(request, None).map_err(|error| refusal(&error, fields))
    };
    let request = complete(&asked)?;
    let Some(bars) = bars else {
        return Ok(request);
    };
    let seconds = seconds_of(&request, bars).clamp(least, most);
    complete(&MusicRequest {
        seconds: Some(seconds),
        ..request
    })
}

/// How long so many bars of a complete request are.
fn seconds_of(request: &MusicRequest, bars: usize) -> f64 {
    let metre = request.metre.as_deref().and_then(|metre| {
        let (beats, unit) = metre.split_once('/')?;
        Some(4.0 * beats.parse::<f64>().ok()? / unit.parse::<f64>().ok()?)
    });
    let quarters = metre.unwrap_or(4.0) * bars as f64;
    quarters * 60.0 / request.tempo.unwrap_or(120.0) + TAIL_S
}

/// The field that is to blame, where the words say so.
fn refusal(error: &medley_engine::PipelineError, fields: &Fields) -> ApiError {
    let told = ApiError::of_pipeline(error, "prompt");
    let message = error.to_string();
    let blamed = |name: &&str| {
        let given = fields.get(name).and_then(Value::as_str);
        given.is_some_and(|given| message.contains(given))
    };
    match ["metre", "key", "style"].into_iter().find(blamed) {
        Some(name) => fields.wrong_value(name, &message),
        None => told,
    }
}

/// The model that is named, or the first that makes music.
async fn model(service: &Service, fields: &Fields) -> Answer<String> {
    if let Some(model) = fields.text("model")? {
        return Ok(model.to_owned());
    }
    let cards = service.cards().await?;
    let card = cards.into_iter().find(|c| c.purpose == Purpose::Music);
    let card = card.ok_or_else(|| fields.wrong_value("model", "no model here makes music"))?;
    Ok(card.id)
}

async fn compose(State(service): State<Arc<Service>>, http: Request) -> Answer {
    let fields = Fields::of_request(http).await?;
    let shape = shape(&fields)?;
    let request = request(&service, &fields).await?;
    let (generator, place) = service.musician(&request.model).await?;
    let sound = !matches!(shape, Shape::File(Target::Score(_)));
    let cancel = CancelToken::default();
    let made = service
        .compose(composing(generator, &request, sound, cancel))
        .await?;
    drop(place);
    let writing = tokio::task::spawn_blocking(move || answer(&request, &made, shape));
    writing
        .await
        .map_err(|_| ApiError::internal("the music could not be written"))?
}

/// Music that is to be made, and to be heard where there is `sound`.
pub(crate) fn composing(
    generator: Arc<dyn MusicGenerator>,
    request: &MusicRequest,
    sound: bool,
    cancel: CancelToken,
) -> Composing {
    Composing {
        generator,
        request: request.clone(),
        inputs: MusicInputs {
            sound,
            ..MusicInputs::default()
        },
        events: Box::new(|_| {}),
        cancel,
    }
}

fn answer(request: &MusicRequest, music: &Music, shape: Shape) -> Answer {
    let recipe = json!(Recipe::Music(request.clone()));
    let text = recipe.to_string();
    let file = |target| {
        let bytes = music::encoded(music, target, Some(&text));
        bytes.map_err(|error| ApiError::of_engine(&error))
    };
    if let Shape::File(target) = shape {
        let mut response = file(target)?.into_response();
        let mime = HeaderValue::from_static(target.mime());
        response.headers_mut().insert(header::CONTENT_TYPE, mime);
        return Ok(response);
    }
    let sound = Target::Sound(SoundFormat::Flac);
    let abc = file(Target::Score(ScoreFormat::Abc))?;
    let answer = json!({
        "object": "music",
        "created": crate::said::now(),
        "model": request.model,
        "seed": request.seed,
        "recipe": recipe,
        "seconds": music.work.seconds,
        "bars": music.work.bars,
        "abc": String::from_utf8_lossy(&abc),
        "midi": STANDARD.encode(file(Target::Score(ScoreFormat::Midi))?),
        "audio": { "format": "flac", "data": STANDARD.encode(file(sound)?) },
        "tracks": tracks(music),
        "melody": music.choices.iter().map(choice).collect::<Vec<Value>>(),
        "timings": music.work.timings,
    });
    Ok(Json(answer).into_response())
}

/// What is played: notes of every track at their times.
fn tracks(music: &Music) -> Vec<Value> {
    let told = |track: music::PlayedTrack| {
        let note = |note: &music::PlayedNote| {
            json!({ "start": note.start, "end": note.end, "pitch": note.pitch, "velocity": note.velocity,
                    "written": note.written })
        };
        let notes: Vec<Value> = track.notes.iter().map(note).collect();
        json!({ "name": track.name, "drums": track.drums, "notes": notes })
    };
    music::played(music).into_iter().map(told).collect()
}

/// How sure the model was of a note of the melody, and what it thought of besides.
fn choice(choice: &music::Choice) -> Value {
    let other = |(pitch, p): &(Option<u8>, f32)| json!({ "pitch": pitch, "probability": p });
    let others: Vec<Value> = choice.others.iter().map(other).collect();
    json!({ "pitch": choice.pitch, "probability": choice.probability, "others": others })
}
