//! A service over tiny models, asked in process.

#[path = "../../../../pipelines/tests/suite/common/mod.rs"]
mod models;
#[path = "../../../../cli/tests/suite/models/mod.rs"]
mod pictures;

use std::collections::HashMap;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use medley_engine::image::{ImageConfig, ImageGenerator, Picture, Speed};
use medley_engine::music::MusicModel;
use medley_engine::serving::{Card, Limits, Model, Purpose, Shelf, load_pictures};
use medley_engine::speech::{Piece, SpeechGenerator, Voices};
use medley_engine::transcript::load;
use medley_engine::video::{Clip, Rate, Video, VideoGenerator, VideoInputs};
use medley_engine::{Device, EmbeddingModel, PipelineError, Run};
use medley_server::{Service, Settings, router};
use medley_testkit::{Case, wordpiece};
use medley_types::{
    ErrorReport, Event, ImagePlan, SpeechRequest, SpeechTimings, VideoRequest, VideoWork, WordTime,
};
use serde_json::{Value, json};
use tower::ServiceExt;

pub use models::{Kind, chatting, ear};

/// Bytes that each model is said to take.
pub const MEMORY: u64 = 100 << 20;

/// `tiny` and `other` chat, `plain` has no template, `encoder` embeds, `icons` draws, `ear` listens, `hum` hums what
/// it is to say, `tunes` makes music, `clips` makes grey clips, `broken` cannot be loaded.
#[derive(Default)]
pub struct Tiny {
    pub loads: Mutex<HashMap<String, usize>>,
    /// A model that is missing.
    missing: Option<&'static str>,
}

impl Tiny {
    pub fn without(model: &'static str) -> Self {
        Self {
            missing: Some(model),
            ..Self::default()
        }
    }
}

impl Shelf for Tiny {
    fn list(&self) -> Vec<Card> {
        let card = |(id, purpose): (&str, Purpose)| Card {
            id: id.to_owned(),
            created: 1_700_000_000,
            purpose,
            memory: MEMORY,
        };
        let text = ["tiny", "other", "plain", "broken"].map(|id| (id, Purpose::Text));
        let others = [
            ("encoder", Purpose::Embedding),
            ("icons", Purpose::Image),
            ("ear", Purpose::Transcript),
            ("hum", Purpose::Speech),
            ("tunes", Purpose::Music),
            ("clips", Purpose::Video),
        ];
        let all = text.into_iter().chain(others);
        let there = |card: &Card| self.missing != Some(card.id.as_str());
        all.map(card).filter(there).collect()
    }

    fn chats(&self, card: &Card) -> bool {
        ["tiny", "other"].contains(&card.id.as_str())
    }

    fn parameters(&self, card: &Card) -> Option<u64> {
        (card.id == "tiny").then_some(1234)
    }

    fn picture_config(&self, card: &Card) -> Option<ImageConfig> {
        match card.purpose {
            Purpose::Image => Some(icons().config().clone()),
            Purpose::Video => Some(Grey::default().0),
            _ => None,
        }
    }

    fn voices(&self, card: &Card) -> Vec<String> {
        match card.purpose {
            Purpose::Speech => Hum::default().voices().to_vec(),
            _ => Vec::new(),
        }
    }

    fn load(&self, card: &Card) -> Result<Model, ErrorReport> {
        let mut loads = self.loads.lock().unwrap();
        *loads.entry(card.id.clone()).or_default() += 1;
        match card.id.as_str() {
            "encoder" => Ok(Model::Embedding(Arc::new(encoder()))),
            "plain" => Ok(Model::Text(Arc::new(models::model(Kind::Plain, "tiny")))),
            "icons" => Ok(Model::Image(icons())),
            "ear" => {
                let folder = tempfile::tempdir().unwrap();
                ear::write(folder.path());
                Ok(Model::Speech(load(folder.path()).unwrap().into()))
            }
            "hum" => Ok(Model::Voice(Arc::new(Voices::of(Arc::new(Hum::default()))))),
            "tunes" => {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../starter/tunes");
                let model = MusicModel::load(folder.as_ref(), &Device::Cpu).unwrap();
                Ok(Model::Music(Arc::new(model)))
            }
            "clips" => Ok(Model::Video(Arc::new(Grey::default()))),
            "broken" => panic!("this file is damaged"),
            id => Ok(Model::Text(Arc::new(chatting(id)))),
        }
    }
}

fn icons() -> Arc<dyn ImageGenerator> {
    let folder = tempfile::tempdir().unwrap();
    let path = pictures::icons(folder.path());
    load_pictures(&path, &Device::Cpu, &|_| None).unwrap()
}

/// Clips that grow lighter, or darker from their first frame on; "never" does not end by itself.
pub struct Grey(ImageConfig);

impl Default for Grey {
    fn default() -> Self {
        let config = json!({
            "medium": "video", "architecture": "dit", "size": [32, 32], "text_encoder": "encoder",
            "clip": { "frames": 4, "rate": 4.0, "smooth": 2 },
            "sampler": { "steps": 4, "guidance": 2.0, "upscale": 2 },
        });
        Self(ImageConfig::from_json(config).unwrap())
    }
}

impl VideoGenerator for Grey {
    fn config(&self) -> &ImageConfig {
        &self.0
    }

    fn plan(&self, _: &VideoRequest, _: &Speed) -> ImagePlan {
        ImagePlan::default()
    }

    fn generate(
        &self,
        request: &VideoRequest,
        inputs: &VideoInputs,
        run: &mut Run,
    ) -> Result<Video, PipelineError> {
        let steps = request.steps.unwrap() as usize;
        for done in 0.. {
            run.check()?;
            run.emit(Event::Progress {
                stage: "step".into(),
                done: done.min(steps),
                total: steps,
            });
            if done >= steps && !request.prompt.contains("never") {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let [width, height] = request
            .size
            .unwrap()
            .map(|side| side * request.upscale.unwrap());
        let count = request.frames.unwrap();
        let frames = (0..count).map(|i| {
            let light = (255 * i / count) as u8;
            let light = inputs.init.as_ref().map_or(light, |_| 255 - light);
            Picture::filled(width, height, [light; 3]).unwrap()
        });
        let clip = Clip::new(frames.collect(), Rate::new(request.fps.unwrap(), 1)?, None)?;
        Ok(Video {
            work: VideoWork {
                seconds: clip.seconds(),
                ..VideoWork::default()
            },
            clip,
        })
    }
}

/// Hums a second of a tone for every sentence; it cannot say "?".
pub struct Hum(Vec<String>);

impl Default for Hum {
    fn default() -> Self {
        Self(vec!["low".into(), "high".into()])
    }
}

impl SpeechGenerator for Hum {
    fn voices(&self) -> &[String] {
        &self.0
    }

    fn sample_rate(&self) -> u32 {
        24_000
    }

    fn load_s(&self) -> f64 {
        0.0
    }

    fn stream(
        &self,
        request: &SpeechRequest,
        run: &mut Run,
        _: &mut SpeechTimings,
        heard: &mut dyn FnMut(Piece) -> Result<(), PipelineError>,
    ) -> Result<(), PipelineError> {
        for sentence in request.text.split_inclusive('.') {
            run.check()?;
            if sentence.contains('?') {
                return Err(PipelineError::ModelConfig("it cannot ask".into()));
            }
            let wave = |i: i32| (i as f32 * 0.05).sin() * 0.3;
            let word = WordTime {
                word: sentence.trim().to_owned(),
                start: 0.25,
                end: 0.75,
                sentence: 0,
            };
            heard(Piece {
                samples: (0..24_000).map(wave).collect(),
                words: vec![word],
                ..Piece::default()
            })?;
        }
        Ok(())
    }

    fn complete(&self, request: &SpeechRequest) -> Result<SpeechRequest, PipelineError> {
        medley_engine::speech::validate(request)?;
        Ok(SpeechRequest {
            voice: Some("low".into()),
            loudness: request.loudness.or(Some(-18.0)),
            speed: request.speed.or(Some(1.0)),
            ..request.clone()
        })
    }
}

/// The golden encoder of 9 tokens.
fn encoder() -> EmbeddingModel {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::open("bert/minilm").unwrap();
    case.write_checkpoint(folder.path()).unwrap();
    let write = |name: &str, value: Value| {
        std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    };
    write("tokenizer.json", wordpiece());
    write(
        "tokenizer_config.json",
        json!({ "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]" }),
    );
    write("sentence_bert_config.json", json!({ "max_seq_length": 9 }));
    EmbeddingModel::load(folder.path()).unwrap()
}

pub fn limits() -> Limits {
    Limits {
        memory: 10 * MEMORY,
        slots: 8,
        prefix_bytes: 16 << 20,
    }
}

pub fn app(change: impl FnOnce(&mut Settings)) -> Router {
    with_shelf(Arc::new(Tiny::default()), change)
}

pub fn with_shelf(shelf: Arc<Tiny>, change: impl FnOnce(&mut Settings)) -> Router {
    let mut settings = Settings {
        limits: limits(),
        ..Settings::default()
    };
    change(&mut settings);
    router(Service::new(shelf, settings).unwrap())
}

pub fn post(path: &str, body: &Value) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

pub fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// Status and JSON of an answer.
pub async fn ask(app: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let value = serde_json::from_slice(&bytes);
    (
        status,
        value.unwrap_or_else(|_| panic!("no JSON: {bytes:?}")),
    )
}

/// The JSON of an answer that is well.
pub async fn good(app: &Router, path: &str, body: &Value) -> Value {
    let (status, value) = ask(app, post(path, body)).await;
    assert_eq!(status, StatusCode::OK, "{value}");
    value
}

/// The `data:` lines of a stream but the last, which is `[DONE]`.
pub async fn events(app: &Router, path: &str, body: &Value) -> Vec<Value> {
    let response = app.clone().oneshot(post(path, body)).await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "text/event-stream");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    let mut data: Vec<&str> = lines.map(|l| l.strip_prefix("data: ").unwrap()).collect();
    assert_eq!(data.pop(), Some("[DONE]"));
    let parse = |data: &&str| serde_json::from_str(data).unwrap();
    data.iter().map(parse).collect()
}

/// The events of a stream, each with its name.
pub async fn named_events(app: &Router, path: &str, body: &Value) -> Vec<(String, Value)> {
    read_events(app, post(path, body)).await
}

/// As [`named_events`], of any request.
pub async fn read_events(app: &Router, request: Request<Body>) -> Vec<(String, Value)> {
    let response = app.clone().oneshot(request).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        let data = data.strip_prefix("data: ").unwrap();
        (name, serde_json::from_str(data).unwrap())
    };
    text.split("\n\n")
        .filter(|b| !b.is_empty())
        .map(event)
        .collect()
}

/// A request for a short chat with `tiny`, the same each time.
pub fn chat(change: Value) -> Value {
    let mut body = json!({ "model": "tiny", "seed": 3, "max_tokens": 12,
                           "messages": [{ "role": "user", "content": "the river is" }] });
    let fields = change.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

/// The tools of responses that make something, each as it is by itself.
pub fn tools_of_all() -> Vec<Value> {
    let media = ["image", "music", "speech", "video"];
    let tool = |medium| json!({ "type": format!("{medium}_generation") });
    media.map(tool).to_vec()
}

/// The names of an object's fields.
pub fn names(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}
