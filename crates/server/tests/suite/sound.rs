//! Speech and music over HTTP.

use crate::common::{app, ask, get, good, names, post};
use axum::Router;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use medley_engine::Home;
use medley_media::audio::{SoundFormat, SoundLimits, decode};
use medley_media::{Label, midi};
use serde_json::{Value, json};
use tower::ServiceExt;

const SPEECH: &str = "/v1/audio/speech";
const MUSIC: &str = "/v1/music";

fn said(change: Value) -> Value {
    let mut body = json!({ "model": "hum", "voice": "alloy", "input": "One. Two." });
    let fields = change.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

fn tune(change: Value) -> Value {
    let mut body = json!({ "prompt": "a jig in G", "seed": 7, "seconds": 6 });
    let fields = change.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

async fn file(app: &Router, path: &str, body: &Value) -> (String, Vec<u8>) {
    let response = app.clone().oneshot(post(path, body)).await.unwrap();
    let status = response.status();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let bytes = response
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec();
    assert_eq!(
        status,
        StatusCode::OK,
        "{}",
        String::from_utf8_lossy(&bytes)
    );
    (kind, bytes)
}

#[tokio::test]
async fn words_come_in_every_format_with_their_recipe() {
    let app = app(|_| {});
    for (format, kind, of) in [
        (None, "audio/mpeg", SoundFormat::Mp3),
        (Some("wav"), "audio/wav", SoundFormat::Wav),
        (Some("flac"), "audio/flac", SoundFormat::Flac),
        (Some("opus"), "audio/ogg", SoundFormat::Opus),
    ] {
        let asked = said(json!({ "response_format": format }));
        let (found, bytes) = file(&app, SPEECH, &asked).await;
        assert_eq!(found, kind);
        assert_eq!(SoundFormat::of_bytes(&bytes), Some(of), "{format:?}");
        let label = Label::of(&bytes);
        assert!(label.synthetic, "{format:?}");
        let recipe: Value = serde_json::from_str(&label.recipe.unwrap()).unwrap();
        assert_eq!(
            (&recipe["medium"], &recipe["text"]),
            (&json!("speech"), &json!("One. Two."))
        );
        let sound = decode(bytes, SoundLimits::default()).unwrap();
        assert!(
            (sound.seconds() - 2.0).abs() < 0.2,
            "{format:?}: {}",
            sound.seconds()
        );
        let peak = sound.samples().iter().fold(0.0f32, |m, s| m.max(s.abs()));
        assert!((0.1..=1.0).contains(&peak), "{format:?}: {peak}");
    }
    let (kind, bytes) = file(&app, SPEECH, &said(json!({ "response_format": "pcm" }))).await;
    assert_eq!((kind.as_str(), bytes.len()), ("audio/pcm", 2 * 2 * 24_000));
}

#[tokio::test]
async fn sentences_are_sent_one_by_one_with_their_words() {
    let app = app(|_| {});
    let asked = said(json!({ "stream_format": "sse", "response_format": "pcm", "pause": 0.5 }));
    let (kind, bytes) = file(&app, SPEECH, &asked).await;
    assert_eq!(kind, "text/event-stream");
    let text = String::from_utf8(bytes).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let (last, deltas) = events.split_last().unwrap();
    assert_eq!(last["type"], "speech.audio.done");
    assert_eq!(
        last["usage"],
        json!({ "input_tokens": 9, "output_tokens": 0, "total_tokens": 9 })
    );
    let length = |event: &Value| {
        STANDARD
            .decode(event["audio"].as_str().unwrap())
            .unwrap()
            .len()
    };
    let lengths: Vec<usize> = deltas.iter().map(length).collect();
    assert_eq!(lengths, [48_000, 24_000, 48_000]);
    let words = deltas
        .iter()
        .flat_map(|event| event["words"].as_array().unwrap().clone());
    let words: Vec<Value> = words.collect();
    assert_eq!(
        words[0],
        json!({ "word": "One.", "start": 0.25, "end": 0.75, "sentence": 0 })
    );
    assert_eq!(
        words[1],
        json!({ "word": "Two.", "start": 1.75, "end": 2.25, "sentence": 1 })
    );
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_by_its_field() {
    let app = app(|_| {});
    for (change, param) in [
        (json!({ "input": "" }), "input"),
        (json!({ "input": null }), "input"),
        (json!({ "input": "a ".repeat(3000) }), "input"),
        (json!({ "response_format": "aac" }), "response_format"),
        (json!({ "response_format": "ogg" }), "response_format"),
        (json!({ "stream_format": "chunks" }), "stream_format"),
        (json!({ "speed": 5 }), "speed"),
        (json!({ "instructions": "whisper" }), "instructions"),
        (json!({ "voice": "nobody" }), "voice"),
        (json!({ "voice": { "id": "voice_1" } }), "voice"),
        (json!({ "model": "tiny" }), "model"),
    ] {
        let (status, error) = ask(&app, post(SPEECH, &said(change.clone()))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{change}: {error}");
        assert_eq!(error["error"]["param"], param, "{change}: {error}");
    }
    let (status, _) = ask(&app, post(SPEECH, &said(json!({ "model": "gone" })))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // What fails before the first sound is an answer of its own; what fails later breaks off.
    let (status, _) = ask(&app, post(SPEECH, &said(json!({ "input": "Why?" })))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let cut = said(json!({ "input": "One. Why?", "stream_format": "sse" }));
    let (_, bytes) = file(&app, SPEECH, &cut).await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.contains("speech.audio.delta") && text.contains("\"type\":\"error\""),
        "{text}"
    );
}

#[tokio::test]
async fn voices_are_listed() {
    let app = app(|_| {});
    let (status, list) = ask(&app, get("/v1/audio/voices")).await;
    assert_eq!(status, StatusCode::OK);
    let low = json!({ "id": "low", "object": "voice", "model": "hum" });
    assert_eq!(list["data"][0], low);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn music_comes_as_sound_and_as_notes_and_the_same_seed_is_the_same_tune() {
    let app = app(|_| {});
    let (kind, wav) = file(&app, MUSIC, &tune(json!({}))).await;
    assert_eq!(kind, "audio/wav");
    assert!(Label::of(&wav).synthetic);
    let sound = decode(wav, SoundLimits::default()).unwrap();
    assert!((sound.seconds() - 6.0).abs() < 0.1, "{}", sound.seconds());
    let (kind, abc) = file(&app, MUSIC, &tune(json!({ "format": "abc" }))).await;
    assert_eq!(kind, "text/vnd.abc");
    let text = String::from_utf8(abc).unwrap();
    assert!(text.contains("\nM:6/8") && text.contains("\nK:G"), "{text}");
    let (kind, bytes) = file(&app, MUSIC, &tune(json!({ "format": "midi" }))).await;
    assert_eq!(kind, "audio/midi");
    assert!(midi::read(&bytes).unwrap().tracks.len() > 1);

    let all = good(&app, MUSIC, &tune(json!({ "format": "json" }))).await;
    let fields = [
        "object", "created", "model", "seed", "recipe", "seconds", "bars", "abc", "midi", "audio",
        "tracks", "melody", "timings",
    ];
    assert_eq!(names(&all), fields);
    assert_eq!((&all["abc"], &all["seed"]), (&json!(text), &json!(7)));
    assert_eq!(
        STANDARD.decode(all["midi"].as_str().unwrap()).unwrap(),
        bytes
    );
    let melody = all["melody"].as_array().unwrap();
    assert!(melody.len() > 20);
    for note in melody {
        let p = note["probability"].as_f64().unwrap();
        assert!(p > 0.0 && p <= 1.0 + 1e-6, "{note}");
        let sum: f64 = note["others"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["probability"].as_f64().unwrap())
            .sum();
        assert!(sum <= 1.0 + 1e-4, "{note}");
    }
    // Every note of the melody that is heard is one that was written.
    let heard = all["tracks"][0]["notes"].as_array().unwrap();
    let linked = heard.iter().filter(|note| {
        let written = note["written"]
            .as_u64()
            .map(|at| &melody[at as usize]["pitch"]);
        written == Some(&note["pitch"])
    });
    assert!(linked.count() * 10 >= heard.len() * 8, "{heard:?}");
    let bars = good(
        &app,
        MUSIC,
        &tune(json!({ "format": "json", "seconds": null, "bars": 8 })),
    )
    .await;
    let tempo = bars["recipe"]["tempo"].as_f64().unwrap();
    let expected = 8.0 * 3.0 * 60.0 / tempo + 1.8;
    assert!(
        (bars["seconds"].as_f64().unwrap() - expected).abs() < 0.2,
        "{bars}"
    );
}

#[tokio::test]
async fn music_that_cannot_be_made_is_refused_by_its_field() {
    let app = app(|_| {});
    for (change, param) in [
        (json!({ "prompt": "" }), "prompt"),
        (json!({ "prompt": null }), "prompt"),
        (json!({ "seconds": 0.1 }), "seconds"),
        (json!({ "bars": 4 }), "bars"),
        (json!({ "format": "aiff" }), "format"),
        (json!({ "key": "H flat" }), "key"),
        (json!({ "metre": "13/7" }), "metre"),
        (json!({ "temperature": 9 }), "temperature"),
        (json!({ "soundfont": { "sha256": "0" } }), "soundfont"),
        (json!({ "model": "hum" }), "model"),
    ] {
        let (status, error) = ask(&app, post(MUSIC, &tune(change.clone()))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{change}: {error}");
        assert_eq!(error["error"]["param"], param, "{change}: {error}");
    }
}

#[tokio::test]
async fn jobs_speak_and_play_and_their_works_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let app = app(|settings| settings.home = Some(Home::at(folder.path())));
    for (request, prompt) in [
        (
            json!({ "medium": "speech", "model": "hum", "text": "One. Two." }),
            "One. Two.",
        ),
        (
            json!({ "medium": "music", "prompt": "a reel in D", "seconds": 4, "seed": 3 }),
            "a reel in D",
        ),
    ] {
        let job = good(&app, "/v1/jobs", &json!({ "request": request })).await;
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        let mut done = job.clone();
        for _ in 0..1000 {
            done = ask(&app, get(&path)).await.1;
            if !["queued", "running"].contains(&done["state"].as_str().unwrap()) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(done["state"], "done", "{done}");
        let path = format!("/v1/library/{}", done["works"][0].as_str().unwrap());
        let (_, work) = ask(&app, get(&path)).await;
        assert_eq!(
            (&work["mime"], &work["prompt"]),
            (&json!("audio/flac"), &json!(prompt))
        );
        let response = app
            .clone()
            .oneshot(get(&format!("{path}/file")))
            .await
            .unwrap();
        let bytes = response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec();
        assert_eq!(Label::of(&bytes).recipe, Some(work["recipe"].to_string()));
        assert!(decode(bytes, SoundLimits::default()).unwrap().seconds() > 1.0);
        let small = app
            .clone()
            .oneshot(get(&format!("{path}/thumbnail")))
            .await
            .unwrap();
        assert_eq!(small.headers()["content-type"], "image/svg+xml");
    }
}
