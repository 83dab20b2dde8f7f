//! Forms with a sound in them.

use axum::extract::Request;
use medley_engine::serving::Purpose;
use medley_engine::transcript::MAX_PROMPT;
use medley_types::{TranscriptRequest, TranscriptTask};
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::form::{self, FIELDS};
use crate::service::Service;

/// Most bytes of a sound that is sent, with all that comes with it.
pub(super) const UPLOAD: usize = 256 << 20;

/// Fields that may come several times, as lists.
const LISTS: [&str; 4] = [
    "timestamp_granularities",
    "include",
    "known_speaker_names",
    "known_speaker_references",
];

/// What an answer looks like.
#[derive(Clone)]
pub(super) struct Shape {
    pub(super) format: &'static str,
    /// Whether an answer in full has its segments.
    pub(super) segments: bool,
    pub(super) stream: bool,
}

/// A form to write a sound down by.
pub(super) struct Form {
    pub(super) fields: Fields,
    pub(super) sound: Vec<u8>,
    /// Without its model.
    pub(super) request: TranscriptRequest,
    pub(super) shape: Shape,
    /// Room that its bytes take.
    pub(super) room: OwnedSemaphorePermit,
}

/// Reads a form.
pub(super) async fn read(
    service: &Service,
    request: Request,
    task: TranscriptTask,
) -> Answer<Form> {
    let mut form = form::open(service, request, UPLOAD).await?;
    let mut words = Map::new();
    let mut sound = None;
    while let Some(field) = form.next().await? {
        let name = field.name();
        if name == "file" {
            sound = Some(field.bytes().await?);
            continue;
        }
        if words.len() >= FIELDS {
            return Err(ApiError::invalid(None, "The form has too many fields."));
        }
        let text = field.text().await?;
        put(&mut words, name.trim_end_matches("[]"), text);
    }
    let fields = Fields::new(words);
    let Some(sound) = sound else {
        return Err(fields.required("file").err().unwrap_or_else(ApiError::gone));
    };
    let (request, shape) = asked(&fields, task)?;
    Ok(Form {
        fields,
        sound,
        request,
        shape,
        room: form.into_room(),
    })
}

/// A word of the form as JSON has it.
fn put(words: &mut Map<String, Value>, name: &str, text: String) {
    if LISTS.contains(&name) {
        let list = words.entry(name).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut().filter(|list| list.len() < FIELDS) {
            list.push(Value::String(text));
        }
        return;
    }
    let value = match (name, text.trim()) {
        ("stream", "true") => json!(true),
        ("stream", "false") => json!(false),
        ("temperature" | "beam" | "seed", number) => serde_json::from_str(number)
            .map(Value::Number)
            .unwrap_or(Value::String(text)),
        _ => Value::String(text),
    };
    words.insert(name.to_owned(), value);
}

fn asked(fields: &Fields, task: TranscriptTask) -> Answer<(TranscriptRequest, Shape)> {
    const FORMATS: [&str; 5] = ["json", "text", "srt", "verbose_json", "vtt"];
    let format = fields.word("response_format", &FORMATS)?.unwrap_or("json");
    if task == TranscriptTask::Translate {
        let why = "is not for translations, whose text is English whatever is spoken";
        fields.refuse(&["language", "stream", "timestamp_granularities"], why)?;
    }
    fields.refuse(
        &["include", "known_speaker_names", "known_speaker_references"],
        "is not supported by any model here",
    )?;
    if fields
        .text("chunking_strategy")?
        .is_some_and(|how| how != "auto")
    {
        let why = "can only be 'auto': the sound is cut where sentences end";
        return Err(fields.unsupported("chunking_strategy", why));
    }
    let (mut words, mut segments) = (false, false);
    for value in fields.list("timestamp_granularities")?.unwrap_or_default() {
        match value.as_str() {
            Some("word") => words = true,
            Some("segment") => segments = true,
            _ => {
                let problem = "supported are 'word' and 'segment'";
                return Err(fields.wrong_value("timestamp_granularities", problem));
            }
        }
    }
    if (words || segments) && format != "verbose_json" {
        let why = "needs response_format 'verbose_json'";
        return Err(fields.unsupported("timestamp_granularities", why));
    }
    let stream = fields.flag("stream")?.unwrap_or(false);
    if stream && !matches!(format, "json" | "text") {
        return Err(fields.unsupported("stream", "needs response_format 'json' or 'text'"));
    }
    let owned = |name: &str| -> Answer<Option<String>> {
        let text = fields.text(name)?.filter(|text| !text.trim().is_empty());
        Ok(text.map(str::to_owned))
    };
    let prompt = owned("prompt")?;
    if prompt.as_ref().is_some_and(|p| p.len() > MAX_PROMPT) {
        let problem = format!("it is longer than {MAX_PROMPT} bytes");
        return Err(fields.wrong_value("prompt", &problem));
    }
    let request = TranscriptRequest {
        model: String::new(),
        task,
        language: owned("language")?,
        prompt,
        // 0 asks for freer draws by itself where the likeliest tokens are nonsense, in OpenAI's API as here.
        temperature: fields
            .number("temperature", 0.0..=1.0)?
            .filter(|t| *t > 0.0),
        beam: fields.count("beam", 1..=16)?,
        words,
        seed: fields.count("seed", 0..=i64::from(u32::MAX))?.unwrap_or(0) as u64,
    };
    let shape = Shape {
        format,
        segments: segments || !words,
        stream,
    };
    Ok((request, shape))
}

/// The model that is named, or the first that listens.
pub(super) async fn model(service: &Service, fields: &Fields) -> Answer<String> {
    if let Some(model) = fields.text("model")? {
        return Ok(model.to_owned());
    }
    let cards = service.cards().await?;
    let card = cards.into_iter().find(|c| c.purpose == Purpose::Transcript);
    let card = card.ok_or_else(|| fields.wrong_value("model", "no model here listens"))?;
    Ok(card.id)
}
