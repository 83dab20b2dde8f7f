//! Pictures, field for field, and beside texts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{app, ask, chat, good, names, post};
use medley_engine::image::Format;
use serde_json::{Value, json};

const PATH: &str = "/v1/images/generations";

fn body(change: &Value) -> Value {
    let mut body = json!({ "model": "icons", "prompt": "a red apple", "seed": 7 });
    let fields = change.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

fn bytes(item: &Value) -> Vec<u8> {
    STANDARD.decode(item["b64_json"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn pictures_come_as_files_of_every_format() {
    let app = app(|_| {});
    let answer = good(&app, PATH, &body(&json!({ "n": 2 }))).await;
    assert_eq!(
        names(&answer),
        ["created", "data", "background", "output_format", "size"]
    );
    assert_eq!(answer["size"], "32x32", "8 pixels, enlarged fourfold");
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    assert_eq!(names(&data[0]), ["b64_json"]);
    assert_ne!(data[0], data[1]);
    let first = bytes(&data[0]);
    let recipe = b"a red apple";
    assert!(first.windows(recipe.len()).any(|w| w == recipe));
    // The next seed alone is the second of two; a size that the model draws itself is not enlarged.
    let alone = good(&app, PATH, &body(&json!({ "seed": 8 }))).await;
    assert_eq!(alone["data"][0], data[1]);
    let small = good(&app, PATH, &body(&json!({ "size": "8x8" }))).await;
    assert_eq!(small["size"], "8x8");
    for (name, format) in [
        ("png", Format::Png),
        ("jpeg", Format::Jpeg),
        ("webp", Format::WebP),
    ] {
        let fields = json!({ "output_format": name, "model": null, "output_compression": if name == "png" { 100 } else { 50 } });
        let answer = good(&app, PATH, &body(&fields)).await;
        assert_eq!(answer["output_format"], name);
        assert_eq!(Format::of_bytes(&bytes(&answer["data"][0])), Some(format));
    }
}

#[tokio::test]
async fn what_is_not_drawn_is_refused_by_its_name() {
    let app = app(|_| {});
    for (change, param) in [
        (json!({ "prompt": null }), "prompt"),
        (json!({ "prompt": 1 }), "prompt"),
        (json!({ "prompt": "" }), "prompt"),
        (json!({ "n": 11 }), "n"),
        (json!({ "size": "large" }), "size"),
        (json!({ "size": "1024x1024" }), "size"),
        (json!({ "response_format": "url" }), "response_format"),
        (json!({ "quality": "high" }), "quality"),
        (json!({ "background": "transparent" }), "background"),
        (json!({ "output_format": "gif" }), "output_format"),
        (json!({ "output_compression": 50 }), "output_compression"),
        (json!({ "stream": true }), "stream"),
        (json!({ "style": "vivid" }), "style"),
        (json!({ "model": "tiny" }), "model"),
    ] {
        let (status, error) = ask(&app, post(PATH, &body(&change))).await;
        assert_eq!(status, 400, "{change}: {error}");
        assert_eq!(error["error"]["param"], param, "{change}: {error}");
    }
}

#[tokio::test]
async fn texts_are_written_while_pictures_are_drawn() {
    let app = app(|_| {});
    let chatted = "/v1/chat/completions";
    let (text, picture) = (chat(json!({})), body(&json!({})));
    let alone = (
        good(&app, chatted, &text).await["choices"].clone(),
        good(&app, PATH, &picture).await["data"].clone(),
    );
    let drawing = {
        let (app, long) = (app.clone(), body(&json!({ "steps": 200 })));
        tokio::spawn(async move { good(&app, PATH, &long).await })
    };
    tokio::task::yield_now().await;
    assert_eq!(good(&app, chatted, &text).await["choices"], alone.0);
    drawing.await.unwrap();
    assert_eq!(good(&app, PATH, &picture).await["data"], alone.1);
}
