//! Clips over HTTP, field for field.

use std::path::Path;
use std::time::Duration;

use crate::common::{app, ask, get, names, post};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use medley_engine::Home;
use medley_engine::image::{Format, Picture, encode};
use medley_engine::video::clip_of;
use medley_media::Label;
use serde_json::{Value, json};
use tower::ServiceExt;

const VIDEOS: &str = "/v1/videos";

fn open(folder: &Path) -> Router {
    let home = Home::at(folder);
    app(|settings| settings.home = Some(home))
}

async fn begin(app: &Router, body: Value) -> Value {
    let (status, video) = ask(app, post(VIDEOS, &body)).await;
    assert_eq!(status, StatusCode::OK, "{video}");
    video
}

async fn video(app: &Router, id: &str) -> Value {
    let (status, video) = ask(app, get(&format!("{VIDEOS}/{id}"))).await;
    assert_eq!(status, StatusCode::OK, "{video}");
    video
}

async fn ended(app: &Router, video_: &Value) -> Value {
    for _ in 0..500 {
        let found = video(app, video_["id"].as_str().unwrap()).await;
        if ["completed", "failed"].contains(&found["status"].as_str().unwrap()) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the clip does not end");
}

async fn content(app: &Router, id: &str, variant: &str) -> (String, Vec<u8>) {
    let path = format!("{VIDEOS}/{id}/content?variant={variant}");
    let response = app.clone().oneshot(get(&path)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let kind = response.headers()["content-type"].to_str().unwrap();
    let kind = kind.to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (kind, bytes.to_vec())
}

fn still() -> Vec<u8> {
    let picture = Picture::filled(40, 40, [200, 10, 10]).unwrap();
    encode(&picture, Format::Png, None, None).unwrap()
}

fn form(fields: &[(&str, &str)], reference: &[u8]) -> Request<Body> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part =
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = "--x\r\nContent-Disposition: form-data; name=\"input_reference\"; filename=\"a.png\"\r\n\r\n";
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(reference);
    body.extend_from_slice(b"\r\n--x--\r\n");
    Request::post(VIDEOS)
        .header("content-type", "multipart/form-data; boundary=x")
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test]
async fn a_clip_is_made_shown_changed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let body = json!({ "prompt": "a red heart", "seconds": "2", "size": "64x64", "seed": 5 });
    let begun = begin(&app, body).await;
    let fields = [
        "id",
        "object",
        "model",
        "status",
        "progress",
        "created_at",
        "completed_at",
        "expires_at",
        "prompt",
        "size",
        "seconds",
        "quality",
        "remixed_from_video_id",
        "error",
    ];
    assert_eq!(names(&begun), fields);
    assert_eq!(
        (&begun["object"], &begun["model"]),
        (&json!("video"), &json!("clips"))
    );
    assert_eq!(
        (&begun["size"], &begun["seconds"]),
        (&json!("64x64"), &json!("2"))
    );
    let id = begun["id"].as_str().unwrap();
    assert!(id.starts_with("video_"), "{id}");
    let done = ended(&app, &begun).await;
    assert_eq!(
        (&done["status"], &done["progress"]),
        (&json!("completed"), &json!(100))
    );
    assert!(done["completed_at"].is_u64() && done["error"].is_null());
    let (kind, bytes) = content(&app, id, "video").await;
    assert_eq!(kind, "video/mp4");
    let label = Label::of(&bytes);
    assert!(label.synthetic && label.recipe.unwrap().contains("a red heart"));
    let clip = clip_of(&bytes).unwrap();
    assert_eq!(
        (clip.width(), clip.height(), clip.frames().len()),
        (64, 64, 8)
    );
    assert!((clip.seconds() - 2.0).abs() < 1e-6);
    let (kind, small) = content(&app, id, "thumbnail").await;
    assert_eq!((kind.as_str(), &small[1..4]), ("image/png", &b"PNG"[..]));
    let (kind, sheet) = content(&app, id, "spritesheet").await;
    assert_eq!(kind, "image/jpeg");
    let again = content(&app, id, "spritesheet").await.1;
    assert_eq!(again, sheet);
    let kept = std::fs::read_dir(folder.path().join("library/thumbnails")).unwrap();
    let kept: Vec<String> = kept
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        kept.iter().any(|name| name.ends_with(".sheet.jpg")),
        "{kept:?}"
    );
    let sheet = medley_engine::image::decode_input(&sheet).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (6 * 64, 2 * 64));
    // Other words, the rest as it was.
    let path = format!("{VIDEOS}/{id}/remix");
    let (status, remix) = ask(&app, post(&path, &json!({ "prompt": "a blue heart" }))).await;
    assert_eq!(status, StatusCode::OK, "{remix}");
    assert_eq!(
        (&remix["remixed_from_video_id"], &remix["size"]),
        (&json!(id), &json!("64x64"))
    );
    let remix = ended(&app, &remix).await;
    assert_eq!(remix["prompt"], "a blue heart");
    let (_, list) = ask(&app, get("/v1/videos?limit=1")).await;
    assert_eq!(
        (&list["data"][0], &list["has_more"]),
        (&remix, &json!(true))
    );
    let after = format!("{VIDEOS}?after={}", list["last_id"].as_str().unwrap());
    let (_, list) = ask(&app, get(&after)).await;
    assert_eq!(
        (&list["first_id"], &list["has_more"]),
        (&json!(id), &json!(false))
    );
    let gone = Request::delete(format!("{VIDEOS}/{id}")).body(Body::empty());
    let (status, gone) = ask(&app, gone.unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        gone,
        json!({ "id": id, "object": "video.deleted", "deleted": true })
    );
    let (status, error) = ask(&app, get(&format!("{VIDEOS}/{id}"))).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["code"]),
        (404, &json!("video_not_found"))
    );
    let (_, works) = ask(&app, get("/v1/library?medium=video")).await;
    assert_eq!(works["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_first_frame_comes_as_a_form_or_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let fields = [
        ("prompt", "it fades"),
        ("seconds", "4"),
        ("seed", "3"),
        ("fit", "pad"),
    ];
    let (status, begun) = ask(&app, form(&fields, &still())).await;
    assert_eq!(status, StatusCode::OK, "{begun}");
    let first = ended(&app, &begun).await;
    let url = format!("data:image/png;base64,{}", STANDARD.encode(still()));
    let body =
        json!({ "prompt": "it fades", "seconds": 4, "input_reference": { "image_url": url } });
    let second = ended(&app, &begin(&app, body).await).await;
    for video in [first, second] {
        let id = video["id"].as_str().unwrap();
        let clip = clip_of(&content(&app, id, "video").await.1).unwrap();
        assert!(
            clip.frames()[0].pixels()[0] > 240,
            "the first frame was not given"
        );
        assert_eq!(video["seconds"], "4");
        // Its file is still there for another clip.
        let path = format!("{VIDEOS}/{id}/remix");
        let (_, remix) = ask(&app, post(&path, &json!({ "prompt": "slowly" }))).await;
        assert_eq!(ended(&app, &remix).await["status"], "completed");
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    for (body, param) in [
        (json!({}), "prompt"),
        (json!({ "prompt": "x", "model": "tiny" }), "model"),
        (json!({ "prompt": "x", "size": "720x1280" }), "size"),
        (json!({ "prompt": "x", "size": "65x64" }), "size"),
        (json!({ "prompt": "x", "seconds": "900" }), "seconds"),
        (json!({ "prompt": "x", "frames": 7 }), "frames"),
        (
            json!({ "prompt": "x", "input_reference": "http://example.org/a.png" }),
            "input_reference",
        ),
        (
            json!({ "prompt": "x", "input_reference": "data:image/png;base64,AAAA" }),
            "input_reference",
        ),
    ] {
        let (status, error) = ask(&app, post(VIDEOS, &body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {error}");
        assert_eq!(error["error"]["param"], param, "{body}: {error}");
    }
    let (status, error) = ask(&app, form(&[("prompt", "x")], b"no picture")).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["code"]),
        (400, &json!("invalid_image"))
    );
    for path in [
        "/v1/videos/video_0",
        "/v1/videos/job_0",
        "/v1/videos/video_0/content",
    ] {
        assert_eq!(
            ask(&app, get(path)).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_clip_on_its_way_has_no_file_and_can_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let begun = begin(&app, json!({ "prompt": "never" })).await;
    let id = begun["id"].as_str().unwrap();
    for path in [
        format!("{VIDEOS}/{id}/content"),
        format!("{VIDEOS}/{id}/content?variant=thumbnail"),
    ] {
        let (status, error) = ask(&app, get(&path)).await;
        assert_eq!(
            (status.as_u16(), &error["error"]["code"]),
            (409, &json!("video_not_ready"))
        );
    }
    while video(&app, id).await["progress"].as_u64().unwrap() < 80 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(video(&app, id).await["status"], "in_progress");
    let gone = Request::delete(format!("{VIDEOS}/{id}")).body(Body::empty());
    let (status, gone) = ask(&app, gone.unwrap()).await;
    assert_eq!((status, &gone["deleted"]), (StatusCode::OK, &json!(true)));
    assert_eq!(
        ask(&app, get(&format!("{VIDEOS}/{id}"))).await.0,
        StatusCode::NOT_FOUND
    );
}
