//! `/v1/audio/speech`: a text, said aloud, sentence by sentence as it is made.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event as Sent, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medley_engine::PipelineError;
use medley_engine::serving::{Card, Hear, Purpose, Speaking};
use medley_engine::speech::{
    Origin, Piece, SPEEDS, SoundFormat, SoundStream, Speech, SpeechGenerator, Voices,
};
use medley_types::{Request as Recipe, SpeechRequest};
use serde_json::{Value, json};

use crate::answer::keep_alive;
use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::follow::Followed;
use crate::service::Service;

/// Longest text, in characters, as OpenAI has it.
const INPUT: usize = 4096;

/// Names of OpenAI's voices, which clients send that know no others: they are said by the model's usual voice.
const VENDOR: [&str; 13] = [
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
];

pub(crate) fn routes() -> axum::Router<Arc<Service>> {
    axum::Router::new()
        .route("/v1/audio/speech", post(speak))
        .route("/v1/audio/voices", get(voices))
}

/// How words are sent.
#[derive(Clone, Copy)]
struct Shape {
    /// Raw samples where there is none.
    format: Option<SoundFormat>,
    mime: &'static str,
    /// As events.
    events: bool,
}

fn shape(fields: &Fields) -> Answer<Shape> {
    if fields.text("response_format")? == Some("aac") {
        let why = "cannot be 'aac': its encoders may not be given away with this program; take opus, which is smaller and better";
        return Err(fields.unsupported("response_format", why));
    }
    let names = ["mp3", "opus", "flac", "wav", "pcm"];
    let name = fields.word("response_format", &names)?.unwrap_or("mp3");
    let format = match name {
        "opus" => Some(SoundFormat::Opus),
        "flac" => Some(SoundFormat::Flac),
        "wav" => Some(SoundFormat::Wav),
        "pcm" => None,
        _ => Some(SoundFormat::Mp3),
    };
    Ok(Shape {
        format,
        mime: format.map_or("audio/pcm", SoundFormat::mime),
        events: fields.word("stream_format", &["audio", "sse"])? == Some("sse"),
    })
}

/// The request. `seed`, `pause` and `loudness` are our own.
pub(crate) fn request(fields: &Fields) -> Answer<SpeechRequest> {
    fields.refuse(
        &["instructions"],
        "is not supported: no voice here is told how to speak",
    )?;
    fields.required("input")?;
    let text = fields.text("input")?.unwrap_or_default();
    let length = text.chars().count();
    if length > INPUT {
        let code = Some("string_above_max_length");
        let message = format!(
            "Invalid 'input': string too long. Expected a string with maximum length {INPUT}, but got a string with length {length} instead."
        );
        return Err(ApiError::invalid(code, message).about("input"));
    }
    let voice = match fields.get("voice") {
        // OpenAI's own voices of a user are objects.
        Some(Value::Object(_)) => {
            return Err(fields.wrong_value("voice", "voices of your own are not supported here"));
        }
        _ => fields.text("voice")?,
    };
    let seed = fields.integer("seed", 0..=i64::from(u32::MAX))?;
    let [slowest, fastest] = SPEEDS;
    Ok(SpeechRequest {
        model: crate::ask::model(fields)?,
        text: text.trim().to_owned(),
        voice: voice
            .filter(|voice| !VENDOR.contains(voice))
            .map(str::to_owned),
        speed: fields.number("speed", slowest..=fastest)?,
        pause: fields.number("pause", 0.0..=60.0)?.unwrap_or(0.0),
        loudness: fields.number("loudness", -50.0..=-5.0)?,
        seed: seed.unwrap_or(0).unsigned_abs(),
    })
}

async fn speak(State(service): State<Arc<Service>>, http: Request) -> Answer {
    let fields = Fields::of_request(http).await?;
    let (shape, request) = (shape(&fields)?, request(&fields)?);
    let (voices, place) = service.voices(&request.model).await?;
    let (voice, request) = prepared(voices, request, &fields).await?;
    let recipe = json!(Recipe::Speech(request.clone())).to_string();
    let origin = Origin::Generated {
        recipe: Some(&recipe),
    };
    let begun = SoundStream::begin(shape.format, voice.sample_rate(), origin);
    let (file, first) = begun.map_err(|error| ApiError::internal(error.to_string()))?;
    let (sender, cancel, news) = Followed::begin(place);
    let pieces = sender.clone();
    let heard: Hear = Box::new(move |piece| drop(pieces.send(News::Piece(piece))));
    let rate = voice.sample_rate();
    let speaking = Speaking {
        voice,
        request,
        heard: Some(heard),
        events: Box::new(|_| {}),
        cancel,
    };
    let characters = fields.text("input")?.unwrap_or_default().chars().count();
    tokio::spawn(async move {
        let said = service.speak(speaking).await;
        drop(sender.send(News::End(Box::new(said))));
    });
    let mut stream = Stream {
        news,
        file: Some(file),
        characters,
        first,
        rate,
        moments: 0,
        sentence: 0,
    };
    // What fails before the first sound is told by the status.
    let first = stream.next().await.transpose()?;
    Ok(match shape.events {
        true => events(stream, first),
        false => sound(stream, first, shape.mime, rate),
    })
}

/// The voice that a request names, and the request completed for it.
pub(crate) async fn prepared(
    voices: Arc<Voices>,
    request: SpeechRequest,
    fields: &Fields,
) -> Answer<(Arc<dyn SpeechGenerator>, SpeechRequest)> {
    let preparing = tokio::task::spawn_blocking(move || {
        let voice = voices.voice(request.voice.as_deref())?;
        let request = voice.complete(&request)?;
        Ok::<_, PipelineError>((voice, request))
    });
    let prepared = preparing
        .await
        .map_err(|_| ApiError::internal("the voice could not be loaded"))?;
    prepared.map_err(|error| refusal(&error, fields))
}

/// Refuses a voice that a model has not, which is not loaded for it.
pub(crate) async fn check_voice(service: &Service, fields: &Fields, card: Card) -> Answer<()> {
    let Some(voice) = request(fields)?.voice else {
        return Ok(());
    };
    let names = service.voice_names(card).await?;
    if names.is_empty() || names.contains(&voice) {
        return Ok(());
    }
    let problem = format!("there is no such voice; there are {}", names.join(", "));
    Err(fields.wrong_value("voice", &problem))
}

fn refusal(error: &PipelineError, fields: &Fields) -> ApiError {
    let told = ApiError::of_pipeline(error, "input");
    match error {
        PipelineError::InvalidRequest(message) if message.contains("voice") => {
            fields.wrong_value("voice", message)
        }
        _ => told,
    }
}

/// What is on its way to a client.
enum News {
    Piece(Piece),
    End(Box<Answer<Speech>>),
}

/// Words that a client listens to.
struct Stream {
    news: Followed<News>,
    /// The file that grows; none at its end.
    file: Option<SoundStream>,
    characters: usize,
    /// What the file begins with.
    first: Vec<u8>,
    /// Samples a second, and how many came so far.
    rate: u32,
    moments: usize,
    sentence: usize,
}

impl Stream {
    /// When the words and phonemes of a piece are said, in all of the sound.
    fn times(&mut self, piece: &Piece) -> (Vec<Value>, Vec<Value>) {
        let before = self.moments as f64 / f64::from(self.rate);
        self.moments += piece.samples.len();
        let sentence = self.sentence;
        self.sentence += usize::from(!piece.words.is_empty());
        let time = |seconds: f64| ((seconds + before) * 1000.0).round() / 1000.0;
        let word = |word: &medley_types::WordTime| json!({ "word": word.word, "start": time(word.start), "end": time(word.end), "sentence": sentence });
        let phoneme = |phoneme: &medley_engine::speech::PhonemeTime| json!({ "symbol": phoneme.symbol, "start": time(phoneme.start), "end": time(phoneme.end) });
        let words = piece.words.iter().map(word).collect();
        (words, piece.phonemes.iter().map(phoneme).collect())
    }

    /// More bytes of the file, with the words in them; none at its end.
    async fn next(&mut self) -> Option<Answer<Part>> {
        let (mut words, mut phonemes) = (Vec::new(), Vec::new());
        loop {
            let news = self.news.next().await?;
            if let News::Piece(piece) = &news {
                let (said, sounds) = self.times(piece);
                words.extend(said);
                phonemes.extend(sounds);
            }
            let file = self.file.as_mut()?;
            let grown = match news {
                News::Piece(piece) => file.push(&piece.samples),
                News::End(said) => {
                    let file = self.file.take()?;
                    match *said {
                        Ok(_) => file.finish(),
                        Err(error) => return Some(Err(error)),
                    }
                }
            };
            let mut bytes = std::mem::take(&mut self.first);
            match grown {
                Ok(more) => bytes.extend(more),
                Err(error) => {
                    self.file = None;
                    return Some(Err(ApiError::internal(error.to_string())));
                }
            }
            if !bytes.is_empty() {
                return Some(Ok(Part {
                    bytes,
                    words,
                    phonemes,
                }));
            }
        }
    }
}

/// What came anew.
struct Part {
    bytes: Vec<u8>,
    words: Vec<Value>,
    phonemes: Vec<Value>,
}

/// The file itself, as it grows.
fn sound(stream: Stream, first: Option<Part>, mime: &'static str, rate: u32) -> Response {
    let begun = (stream, first);
    let bytes = futures_util::stream::unfold(begun, |(mut stream, first)| async move {
        let next = match first {
            Some(first) => Ok(first),
            None => stream.next().await?,
        };
        // A connection that breaks off is how a client is told, as the status is sent already.
        let next = next.map(|part| part.bytes);
        let next = next.map_err(|error| std::io::Error::other(error.message));
        Some((next, (stream, None)))
    });
    let mut response = Body::from_stream(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    if mime == "audio/pcm"
        && let Ok(value) = HeaderValue::from_str(&rate.to_string())
    {
        headers.insert("x-sample-rate", value);
    }
    response
}

/// The same as events, the bytes in base64, each with the words that are said in it.
fn events(stream: Stream, first: Option<Part>) -> Response {
    let begun = (Some(stream), first);
    let events = futures_util::stream::unfold(begun, |(stream, first)| async move {
        let mut stream = stream?;
        let next = match first {
            Some(first) => Some(Ok(first)),
            None => stream.next().await,
        };
        let (data, stream) = match next {
            // The times of words and phonemes and the rate are ours.
            Some(Ok(part)) => {
                let delta = json!({
                    "type": "speech.audio.delta", "audio": STANDARD.encode(part.bytes), "words": part.words, "phonemes": part.phonemes,
                    "sample_rate": stream.rate,
                });
                (delta, Some(stream))
            }
            // Tokens are counted as characters: there are no others.
            None => {
                let count = stream.characters;
                let usage =
                    json!({ "input_tokens": count, "output_tokens": 0, "total_tokens": count });
                (json!({ "type": "speech.audio.done", "usage": usage }), None)
            }
            Some(Err(error)) => {
                let mut body = error.body();
                body["type"] = json!("error");
                (body, None)
            }
        };
        let sent = Sent::default().data(data.to_string());
        Some((Ok::<_, std::convert::Infallible>(sent), (stream, None)))
    });
    Sse::new(events).keep_alive(keep_alive()).into_response()
}

/// The voices of every model that speaks here; ours.
async fn voices(State(service): State<Arc<Service>>) -> Answer {
    let cards = service.cards().await?;
    let mut data: Vec<Value> = Vec::new();
    for card in cards.into_iter().filter(|c| c.purpose == Purpose::Speech) {
        let model = card.id.clone();
        let names = service.voice_names(card).await?;
        let named = |name: String| json!({ "id": name, "object": "voice", "model": model });
        data.extend(names.into_iter().map(named));
    }
    Ok(Json(json!({ "object": "list", "data": data })).into_response())
}
