//! Sounds to texts over HTTP, field for field.

use crate::common::{app, ask, chat, ear, get, good, names, read_events};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

const PATH: &str = "/v1/audio/transcriptions";
const TO_ENGLISH: &str = "/v1/audio/translations";

fn form(path: &str, sound: Option<&[u8]>, fields: &[(&str, &str)]) -> Request<Body> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part =
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    if let Some(sound) = sound {
        body.extend_from_slice(
            b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n",
        );
        body.extend_from_slice(sound);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--x--\r\n");
    let request = Request::post(path).header("content-type", "multipart/form-data; boundary=x");
    request.body(Body::from(body)).unwrap()
}

fn sound() -> Vec<u8> {
    ear::wav(&ear::sound())
}

async fn heard(app: &Router, fields: &[(&str, &str)]) -> Value {
    let (status, value) = ask(app, form(PATH, Some(&sound()), fields)).await;
    assert_eq!(status, StatusCode::OK, "{value}");
    value
}

async fn text(app: &Router, fields: &[(&str, &str)]) -> (String, String) {
    let response = app
        .clone()
        .oneshot(form(PATH, Some(&sound()), fields))
        .await
        .unwrap();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (kind, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn every_format_has_its_shape() {
    let app = app(|_| {});
    let plain = heard(&app, &[("model", "ear")]).await;
    assert_eq!(names(&plain), ["text", "usage"]);
    assert_eq!(plain["usage"]["seconds"], 2);
    let said = plain["text"].as_str().unwrap();
    assert!(!said.is_empty());
    // Without a name, the first that listens.
    assert_eq!(heard(&app, &[]).await, plain);
    let full = heard(&app, &[("response_format", "verbose_json")]).await;
    assert_eq!(
        names(&full),
        ["task", "language", "duration", "text", "segments", "usage"]
    );
    assert_eq!(full["text"], plain["text"]);
    assert_eq!(full["duration"], 2.0);
    assert!(["english", "german"].contains(&full["language"].as_str().unwrap()));
    let segment = &full["segments"][0];
    for name in [
        "id",
        "seek",
        "start",
        "end",
        "text",
        "tokens",
        "temperature",
        "avg_logprob",
        "compression_ratio",
        "no_speech_prob",
    ] {
        assert!(!segment[name].is_null(), "{name} in {segment}");
    }
    let words = [
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "word"),
    ];
    let full = heard(&app, &words).await;
    assert_eq!(
        names(&full),
        ["task", "language", "duration", "text", "words", "usage"]
    );
    assert_eq!(names(&full["words"][0]), ["word", "start", "end"]);
    let (kind, srt) = text(&app, &[("response_format", "srt")]).await;
    assert!(
        kind.starts_with("application/x-subrip") && srt.starts_with("1\n00:00:0"),
        "{kind} {srt}"
    );
    let (kind, vtt) = text(&app, &[("response_format", "vtt")]).await;
    assert!(
        kind.starts_with("text/vtt") && vtt.starts_with("WEBVTT\n\n00:"),
        "{kind} {vtt}"
    );
    let (kind, whole) = text(&app, &[("response_format", "text")]).await;
    assert_eq!(
        (kind.as_str(), whole),
        ("text/plain; charset=utf-8", format!("{said}\n"))
    );
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_does() {
    let app = app(|_| {});
    let whole = heard(&app, &[("language", "en")]).await;
    let fields = [("language", "en"), ("stream", "true")];
    let events = read_events(&app, form(PATH, Some(&sound()), &fields)).await;
    let (last, deltas) = events.split_last().unwrap();
    assert_eq!(last.0, "transcript.text.done");
    assert_eq!(last.1["text"], whole["text"]);
    assert!(!deltas.is_empty());
    let told: String = deltas
        .iter()
        .map(|(name, data)| {
            assert_eq!(name, "transcript.text.delta");
            assert_eq!(data["type"], *name);
            data["delta"].as_str().unwrap()
        })
        .collect();
    assert_eq!(told.trim_end(), whole["text"]);
}

#[tokio::test]
async fn translations_are_in_english() {
    let app = app(|_| {});
    let fields = [("response_format", "verbose_json"), ("model", "ear")];
    let (status, value) = ask(&app, form(TO_ENGLISH, Some(&sound()), &fields)).await;
    assert_eq!(
        (status, &value["task"]),
        (StatusCode::OK, &Value::from("translate"))
    );
    for field in [
        ("language", "de"),
        ("stream", "true"),
        ("timestamp_granularities[]", "word"),
    ] {
        let (status, error) = ask(&app, form(TO_ENGLISH, Some(&sound()), &[field])).await;
        assert_eq!(status, 400, "{error}");
        assert_eq!(error["error"]["param"], field.0.trim_end_matches("[]"));
    }
}

#[tokio::test]
async fn what_cannot_be_heard_is_refused_by_its_name() {
    let app = app(|_| {});
    for (fields, param) in [
        (vec![("model", "tiny")], "model"),
        (vec![("language", "klingon")], "language"),
        (
            vec![("response_format", "diarized_json")],
            "response_format",
        ),
        (vec![("temperature", "2")], "temperature"),
        (vec![("temperature", "warm")], "temperature"),
        (
            vec![("timestamp_granularities[]", "word")],
            "timestamp_granularities",
        ),
        (
            vec![
                ("response_format", "verbose_json"),
                ("timestamp_granularities[]", "letter"),
            ],
            "timestamp_granularities",
        ),
        (vec![("include[]", "logprobs")], "include"),
        (
            vec![("chunking_strategy", "{\"type\": \"server_vad\"}")],
            "chunking_strategy",
        ),
        (
            vec![("stream", "true"), ("response_format", "srt")],
            "stream",
        ),
        (
            vec![("known_speaker_names[]", "Joe")],
            "known_speaker_names",
        ),
    ] {
        let (status, error) = ask(&app, form(PATH, Some(&sound()), &fields)).await;
        assert_eq!(status, 400, "{fields:?}: {error}");
        assert_eq!(error["error"]["param"], param, "{fields:?}: {error}");
    }
    let (status, error) = ask(&app, form(PATH, None, &[("model", "ear")])).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["param"]),
        (400, &Value::from("file"))
    );
    let (status, error) = ask(&app, form(PATH, Some(b"no sound"), &[])).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["param"]),
        (400, &Value::from("file"))
    );
    let (status, error) = ask(&app, form(PATH, Some(&sound()), &[("model", "nobody")])).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["code"]),
        (404, &Value::from("model_not_found"))
    );
    let json = Request::post(PATH)
        .header("content-type", "application/json")
        .body(Body::from("{}"));
    assert_eq!(ask(&app, json.unwrap()).await.0, 400);
    let silent = ear::wav(&[0.0; 16_000]);
    let (_, value) = ask(&app, form(PATH, Some(&silent), &[])).await;
    assert_eq!(value["text"], "");
}

#[tokio::test]
async fn texts_are_written_while_a_sound_is_heard() {
    let app = app(|_| {});
    let alone = heard(&app, &[]).await;
    let (text, fields) = (chat(serde_json::json!({})), []);
    let listening = heard(&app, &fields);
    let writing = good(&app, "/v1/chat/completions", &text);
    let (heard, written) = tokio::join!(listening, writing);
    assert_eq!(heard, alone);
    assert_eq!(written["object"], "chat.completion");
    let (_, memory) = ask(&app, get("/v1/memory")).await;
    let held = memory["models"].as_array().unwrap();
    assert!(
        held.iter().any(|m| m["id"] == "ear" && m["idle"] == true),
        "{memory}"
    );
}

/// A form of which nothing comes, however long it is said to be.
fn stalled(length: usize) -> Request<Body> {
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    Request::post(PATH)
        .header("content-type", "multipart/form-data; boundary=x")
        .header("content-length", length)
        .body(Body::from_stream(never))
        .unwrap()
}

#[tokio::test]
async fn uploads_that_would_not_fit_are_refused_and_others_are_heard() {
    let app = app(|_| {});
    // A gigabyte in all; small ones still fit beside three of the largest.
    let begin = |app: &Router| tokio::spawn(app.clone().oneshot(stalled(256 << 20)));
    let mut waiting: Vec<_> = (0..3).map(|_| begin(&app)).collect();
    tokio::task::yield_now().await;
    heard(&app, &[("model", "ear")]).await;
    waiting.push(begin(&app));
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let (status, value) = ask(&app, form(PATH, Some(&sound()), &[])).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{value}");
    assert_eq!(value["error"]["type"], "rate_limit_error");
    // Who goes gives the room back.
    waiting.pop().unwrap().abort();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    heard(&app, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn forms_that_do_not_come_are_given_up() {
    let app = app(|_| {});
    let (status, value) = ask(&app, stalled(1000)).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{value}");
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_blamed_itself() {
    let app = app(|_| {});
    let long = "a".repeat((1 << 16) + 1);
    let fields = [("prompt", long.as_str()), ("language", "en")];
    let (status, value) = ask(&app, form(PATH, Some(&sound()), &fields)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(value["error"]["param"], "prompt", "{value}");
}
