//! Pictures, field for field, and beside texts.

use crate::common::{self, app, ask, chat, good, names, post};
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use medley_engine::image::Format;
use medley_media::{Layout, Picture};
use serde_json::{Value, json};
use tower::ServiceExt;

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
        [
            "created",
            "data",
            "background",
            "output_format",
            "quality",
            "size"
        ]
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
        (json!({ "quality": "ultra" }), "quality"),
        (json!({ "quality": "high", "steps": 3 }), "quality"),
        (json!({ "partial_images": 2 }), "partial_images"),
        (
            json!({ "stream": true, "partial_images": 4 }),
            "partial_images",
        ),
        (json!({ "strength": 0.5 }), "strength"),
        (json!({ "upscale": 3 }), "upscale"),
        (json!({ "background": "transparent" }), "background"),
        (json!({ "output_format": "gif" }), "output_format"),
        (json!({ "output_compression": 50 }), "output_compression"),
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

/// Names and data of the events of an answer.
async fn events(app: &axum::Router, request: Request<Body>) -> Vec<(String, Value)> {
    let response = app.clone().oneshot(request).await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "text/event-stream");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let event = |event: &str| {
        let (name, data) = event.split_once('\n')?;
        let name = name.strip_prefix("event: ")?.to_owned();
        Some((
            name,
            serde_json::from_str(data.strip_prefix("data: ")?).unwrap(),
        ))
    };
    text.split("\n\n").filter_map(event).collect()
}

#[tokio::test]
async fn a_stream_shows_the_picture_as_it_comes() {
    let app = app(|_| {});
    let fields =
        json!({ "stream": true, "partial_images": 2, "steps": 9, "output_format": "jpeg" });
    let heard = events(&app, post(PATH, &body(&fields))).await;
    let kinds: Vec<&str> = heard.iter().map(|(name, _)| name.as_str()).collect();
    let partial = "image_generation.partial_image";
    assert_eq!(kinds, [partial, partial, "image_generation.completed"]);
    let shape = [
        "type",
        "b64_json",
        "created_at",
        "size",
        "quality",
        "background",
        "output_format",
    ];
    assert_eq!(
        names(&heard[0].1),
        [&shape[..], &["partial_image_index"]].concat()
    );
    assert_eq!(names(&heard[2].1), [&shape[..], &["usage"]].concat());
    assert_eq!(
        (
            &heard[0].1["partial_image_index"],
            &heard[1].1["partial_image_index"]
        ),
        (&json!(0), &json!(1))
    );
    assert_eq!(Format::of_bytes(&bytes(&heard[0].1)), Some(Format::Jpeg));
    let whole = good(
        &app,
        PATH,
        &body(&json!({ "steps": 9, "output_format": "jpeg" })),
    )
    .await;
    assert_eq!(heard[2].1["b64_json"], whole["data"][0]["b64_json"]);
    let alone = events(&app, post(PATH, &body(&json!({ "stream": true })))).await;
    assert_eq!(alone.len(), 1, "no partial ones were asked for");
}

#[tokio::test]
async fn care_is_a_matter_of_steps() {
    let app = app(|_| {});
    let steps = async |change: Value| {
        let answer = good(&app, PATH, &body(&change)).await;
        let label = medley_media::Label::of(&bytes(&answer["data"][0]));
        let recipe: Value = serde_json::from_str(&label.recipe.unwrap()).unwrap();
        recipe["steps"].as_u64().unwrap()
    };
    let usual = steps(json!({ "quality": "medium" })).await;
    assert_eq!(steps(json!({ "quality": "high" })).await, usual * 2);
    assert_eq!(steps(json!({ "quality": "low" })).await, usual.div_ceil(2));
}

#[tokio::test]
async fn a_picture_that_is_asked_for_as_an_address_is_kept_and_fetched_without_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let app = app(|settings| {
        settings.home = Some(medley_engine::Home::at(folder.path()));
        settings.api_keys = vec!["secret".into()];
    });
    let keyed = |method: &str, path: &str, body: Value| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", "Bearer secret");
        let request = request
            .header("host", "localhost:8080")
            .header("content-type", "application/json");
        request.body(Body::from(body.to_string())).unwrap()
    };
    let asked = body(&json!({ "response_format": "url", "n": 2 }));
    let (status, answer) = ask(&app, keyed("POST", PATH, asked)).await;
    assert_eq!(status, 200, "{answer}");
    let url = answer["data"][1]["url"].as_str().unwrap();
    let path = url.strip_prefix("http://localhost:8080").unwrap();
    let fetch = async |path: &str| {
        let response = app.clone().oneshot(common::get(path)).await.unwrap();
        (
            response.status(),
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    };
    let (status, file) = fetch(path).await;
    assert_eq!(
        (status, Format::of_bytes(&file)),
        (axum::http::StatusCode::OK, Some(Format::Png))
    );
    let (other, _) = path.split_once('?').unwrap();
    assert_eq!(fetch(other).await.0, 401);
    assert_eq!(fetch(&format!("{other}?signature=00")).await.0, 401);
    let (_, works) = ask(&app, keyed("GET", "/v1/library?q=apple", Value::Null)).await;
    assert_eq!(works["data"].as_array().unwrap().len(), 2);
    assert_eq!(works["data"][0]["job"], Value::Null);
}

/// A form of these words and files.
fn form(words: &[(&str, &str)], files: &[(&str, Vec<u8>)]) -> Request<Body> {
    let mut body = Vec::new();
    for (name, word) in words {
        body.extend(
            format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{word}\r\n")
                .bytes(),
        );
    }
    for (name, file) in files {
        let head = format!(
            "--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"f.png\"\r\n\r\n"
        );
        body.extend(head.bytes());
        body.extend(file);
        body.extend(b"\r\n");
    }
    body.extend(b"--b--\r\n");
    let request =
        Request::post("/v1/images/edits").header("content-type", "multipart/form-data; boundary=b");
    request.body(Body::from(body)).unwrap()
}

/// A picture of 8 × 8 pixels whose right half has this opacity.
fn half(opacity: u8) -> Vec<u8> {
    let pixel = |i: usize| [200, 40, 40, if i % 8 < 4 { 255 } else { opacity }];
    let pixels = (0..64).flat_map(pixel).collect();
    let picture = Picture::new(8, 8, Layout::Rgba, pixels).unwrap();
    medley_media::encode(&picture, Format::Png, medley_media::Origin::Collected).unwrap()
}

#[tokio::test]
async fn what_is_transparent_is_painted_anew_and_the_rest_stays() {
    let app = app(|_| {});
    let words = [
        ("model", "icons"),
        ("prompt", "a pear"),
        ("seed", "4"),
        ("size", "8x8"),
        ("n", "1"),
    ];
    let picture = |answer: &Value| {
        let limits = medley_media::Limits::default();
        medley_media::decode(&bytes(&answer["data"][0]), &limits).unwrap()
    };
    let (status, masked) = ask(
        &app,
        form(&words, &[("image", half(255)), ("mask", half(0))]),
    )
    .await;
    assert_eq!(status, 200, "{masked}");
    let masked = picture(&masked);
    let pixel = |picture: &Picture, x: usize| picture.pixels()[x * 3..x * 3 + 3].to_vec();
    assert_eq!(pixel(&masked, 1), [200, 40, 40]);
    assert_ne!(pixel(&masked, 6), [200, 40, 40]);
    let (_, own) = ask(&app, form(&words, &[("image[]", half(0))])).await;
    assert_eq!(
        pixel(&picture(&own), 1),
        [200, 40, 40],
        "its own transparency is a mask"
    );
    let whole = [&words[..], &[("strength", "0.9")]].concat();
    let (_, all) = ask(&app, form(&whole, &[("image", half(255))])).await;
    assert_ne!(pixel(&picture(&all), 1), [200, 40, 40]);
    let streamed = [&words[..], &[("stream", "true"), ("partial_images", "1")]].concat();
    let heard = events(
        &app,
        form(&streamed, &[("image", half(255)), ("mask", half(0))]),
    )
    .await;
    assert_eq!(heard.last().unwrap().0, "image_edit.completed");
    assert_eq!(heard[0].0, "image_edit.partial_image");
    for (extra, files, param) in [
        (("n", "1"), vec![], "image"),
        (("n", "many"), vec![("image", half(255))], "n"),
        (("strength", "0"), vec![("image", half(255))], "strength"),
        (
            ("n", "1"),
            vec![("image", half(255)), ("image", half(255))],
            "image",
        ),
        (("n", "1"), vec![("image", b"no picture".to_vec())], "image"),
        (
            ("n", "1"),
            vec![("image", half(255)), ("mask", half(255))],
            "mask",
        ),
        (
            ("input_fidelity", "high"),
            vec![("image", half(255))],
            "input_fidelity",
        ),
    ] {
        let words = [&words[..4], &[extra]].concat();
        let (status, error) = ask(&app, form(&words, &files)).await;
        assert_eq!(
            (status.as_u16(), &error["error"]["param"]),
            (400, &json!(param)),
            "{error}"
        );
    }
}
