//! Jobs, works and models over HTTP.

use std::path::Path;
use std::time::Duration;

use crate::common::{self, app, ask, get, good, names, post};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use medley_engine::Home;
use serde_json::{Value, json};
use tower::ServiceExt;

const JOBS: &str = "/v1/jobs";

fn open(folder: &Path) -> Router {
    let home = Home::at(folder);
    app(|settings| settings.home = Some(home))
}

fn text(change: Value) -> Value {
    let mut request = json!({ "medium": "text", "model": "tiny", "prompt": "the river is", "max_tokens": 12, "seed": 3 });
    request
        .as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    json!({ "request": request })
}

fn icon(change: Value) -> Value {
    let mut request = json!({ "medium": "image", "prompt": "a red apple", "seed": 7 });
    request
        .as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    json!({ "request": request })
}

async fn fetch(app: &Router, path: &str) -> Value {
    let (status, value) = ask(app, get(path)).await;
    assert_eq!(status, StatusCode::OK, "{path}: {value}");
    value
}

async fn send(app: &Router, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    ask(app, request.body(Body::from(body.to_string())).unwrap()).await
}

async fn bytes(app: &Router, path: &str) -> (String, Vec<u8>) {
    let response = app.clone().oneshot(get(path)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (
        kind,
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
}

/// A job at its end.
async fn ended(app: &Router, id: &str) -> Value {
    for _ in 0..1000 {
        let job = fetch(app, &format!("{JOBS}/{id}")).await;
        if ["done", "failed", "cancelled"].contains(&job["state"].as_str().unwrap()) {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the job does not end");
}

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

/// Names and data of the events of a stream that ends.
async fn events(app: &Router, path: &str) -> Vec<(String, Value)> {
    let (kind, bytes) = bytes(app, path).await;
    assert_eq!(kind, "text/event-stream");
    let text = String::from_utf8(bytes).unwrap();
    let event = |event: &str| {
        let mut lines = event.lines();
        let name = lines.next()?.strip_prefix("event: ")?.to_owned();
        Some((
            name,
            serde_json::from_str(lines.next()?.strip_prefix("data: ")?).unwrap(),
        ))
    };
    text.split("\n\n").filter_map(event).collect()
}

#[tokio::test]
async fn a_job_has_the_agreed_shape_and_ends_with_a_work() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let job = good(&app, JOBS, &text(json!({}))).await;
    assert_eq!(
        names(&job),
        [
            "id",
            "object",
            "medium",
            "kind",
            "state",
            "priority",
            "model",
            "request",
            "created_at",
            "started_at",
            "finished_at",
            "progress",
            "works",
            "error"
        ]
    );
    assert!(id(&job).starts_with("job_"));
    assert_eq!(
        (&job["object"], &job["kind"], &job["medium"]),
        (&json!("job"), &json!("generate"), &json!("text"))
    );
    let job = ended(&app, id(&job)).await;
    assert_eq!(job["state"], "done", "{job}");
    let work = fetch(
        &app,
        &format!("/v1/library/{}", job["works"][0].as_str().unwrap()),
    )
    .await;
    assert_eq!(
        names(&work),
        [
            "id",
            "object",
            "medium",
            "model",
            "model_sha256",
            "title",
            "prompt",
            "recipe",
            "created_at",
            "mime",
            "bytes",
            "sha256",
            "width",
            "height",
            "tags",
            "timings",
            "job"
        ]
    );
    assert_eq!(
        (&work["job"], &work["prompt"]),
        (&job["id"], &json!("the river is"))
    );
    assert_eq!(work["recipe"], job["request"]);
    let (kind, file) = bytes(&app, &format!("/v1/library/{}/file", id(&work))).await;
    assert_eq!(kind, "text/plain; charset=utf-8");
    let chat = common::chat(json!({}));
    let chatted = good(&app, "/v1/chat/completions", &chat).await;
    let said = chatted["choices"][0]["message"]["content"]
        .as_str()
        .unwrap();
    assert_eq!(
        String::from_utf8(file).unwrap(),
        said,
        "a job writes what a chat does"
    );
    let heard = events(&app, &format!("{JOBS}/{}/events", id(&job))).await;
    assert_eq!(
        heard,
        [(
            "done".to_owned(),
            json!({ "job": job["id"], "works": job["works"] })
        )]
    );
}

#[tokio::test]
async fn a_picture_is_watched_kept_found_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let job = good(&app, JOBS, &icon(json!({ "count": 2, "steps": 5 }))).await;
    let heard = events(&app, &format!("{JOBS}/{}/events", id(&job))).await;
    let (last, data) = heard.last().unwrap();
    assert_eq!(
        (last.as_str(), data["works"].as_array().unwrap().len()),
        ("done", 2),
        "{data}"
    );
    let of = |wanted: &str| {
        heard
            .iter()
            .filter(|(name, _)| name == wanted)
            .map(|(_, data)| data.clone())
            .collect::<Vec<_>>()
    };
    let steps = of("progress");
    assert!(
        steps
            .iter()
            .any(|data| data["stage"] == "step" && data["total"].as_u64() > Some(0)),
        "{steps:?}"
    );
    let seen = of("preview").pop().unwrap();
    let fields = "job index done total width height image noisy";
    assert_eq!(names(&seen).join(" "), fields);
    // On the way what the network reads is not what it sees in it; at the end it is.
    let first = of("preview").remove(0);
    assert_ne!(first["image"], first["noisy"]);
    assert_eq!(seen["image"], seen["noisy"]);
    assert!(
        seen["image"]
            .as_str()
            .unwrap()
            .starts_with("data:image/png;base64,")
    );
    let list = fetch(&app, "/v1/library?q=apple&medium=image&limit=1").await;
    assert_eq!(
        (&list["object"], &list["has_more"]),
        (&json!("list"), &json!(true))
    );
    let work = &list["data"][0];
    let alone = json!({ "request": work["recipe"] });
    let again = good(&app, JOBS, &alone).await;
    let again = ended(&app, id(&again)).await;
    let again = fetch(
        &app,
        &format!("/v1/library/{}", again["works"][0].as_str().unwrap()),
    )
    .await;
    assert_eq!(again["sha256"], work["sha256"], "the recipe makes it again");
    let path = format!("/v1/library/{}", id(work));
    let (kind, picture) = bytes(&app, &format!("{path}/file")).await;
    assert_eq!(
        (kind.as_str(), picture.len() as u64),
        ("image/png", work["bytes"].as_u64().unwrap())
    );
    assert_eq!(
        bytes(&app, &format!("{path}/thumbnail")).await.0,
        "image/png"
    );
    let (status, changed) = send(
        &app,
        "PATCH",
        &path,
        json!({ "tags": ["fruit"], "title": "Apple" }),
    )
    .await;
    assert_eq!(
        (status, &changed["tags"], &changed["title"]),
        (StatusCode::OK, &json!(["fruit"]), &json!("Apple"))
    );
    let tagged = fetch(&app, "/v1/library?tag=fruit").await;
    assert_eq!(tagged["data"].as_array().unwrap().len(), 1);
    let (status, gone) = send(&app, "DELETE", &path, Value::Null).await;
    assert_eq!((status, &gone["deleted"]), (StatusCode::OK, &json!(true)));
    assert_eq!(ask(&app, get(&path)).await.0, StatusCode::NOT_FOUND);
    // The other has the same content, and with it goes the file.
    let other = format!("/v1/library/{}", id(&again));
    bytes(&app, &format!("{other}/file")).await;
    send(&app, "DELETE", &other, Value::Null).await;
    let sha256 = work["sha256"].as_str().unwrap();
    let file = folder
        .path()
        .join("library")
        .join(&sha256[..2])
        .join(format!("{sha256}.png"));
    assert!(!file.exists());
}

#[tokio::test]
async fn what_was_queued_survives_and_what_is_cancelled_ends() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let long = good(&app, JOBS, &icon(json!({ "steps": 1000, "count": 200 }))).await;
    let waits = good(&app, JOBS, &icon(json!({ "steps": 2 }))).await;
    while fetch(&app, &format!("{JOBS}/{}", id(&long))).await["state"] == "queued" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let listed = fetch(&app, "/v1/jobs?state=queued").await;
    assert_eq!(listed["data"][0]["id"], waits["id"]);
    let (status, refused) = send(
        &app,
        "DELETE",
        &format!("{JOBS}/{}", id(&long)),
        Value::Null,
    )
    .await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (StatusCode::CONFLICT, &json!("wrong_job_state"))
    );
    drop(app);
    // The next over the same home goes on with both.
    let app = open(folder.path());
    let (status, _) = send(
        &app,
        "POST",
        &format!("{JOBS}/{}/cancel", id(&long)),
        Value::Null,
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(ended(&app, id(&long)).await["state"], "cancelled");
    assert_eq!(ended(&app, id(&waits)).await["state"], "done");
    let (status, _) = send(
        &app,
        "DELETE",
        &format!("{JOBS}/{}", id(&long)),
        Value::Null,
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        ask(&app, get(&format!("{JOBS}/{}", id(&long)))).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_cannot_be_a_job_is_refused_by_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    for (body, status, param) in [
        (json!({}), 400, "request"),
        (
            json!({ "request": { "medium": "smell" } }),
            400,
            "request.medium",
        ),
        (text(json!({ "model": "nobody" })), 404, "request.model"),
        (text(json!({ "model": "icons" })), 400, "request.model"),
        (
            text(json!({ "temperature": 1 })),
            400,
            "request.temperature",
        ),
        (icon(json!({ "steps": 100_000 })), 400, "request"),
        (
            json!({ "request": text(json!({}))["request"], "priority": "high" }),
            400,
            "priority",
        ),
    ] {
        let (found, error) = ask(&app, post(JOBS, &body)).await;
        assert_eq!(found, status, "{body}: {error}");
        assert_eq!(error["error"]["param"], param, "{body}: {error}");
    }
    for path in [
        "/v1/jobs?limit=0",
        "/v1/jobs?state=lost",
        "/v1/library?medium=smell",
        "/v1/library?limit=x",
    ] {
        assert_eq!(
            ask(&app, get(path)).await.0,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
    for path in [
        "/v1/jobs/job_1",
        "/v1/jobs/job_1/events",
        "/v1/library/w/file",
        "/v1/library?after=w",
    ] {
        assert_eq!(
            ask(&app, get(path)).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let job = good(&app, JOBS, &icon(json!({ "sampler": "ddim" }))).await;
    let job = ended(&app, id(&job)).await;
    assert_eq!(
        (&job["state"], &job["error"]["code"]),
        (&json!("failed"), &json!("invalid_request")),
        "{job}"
    );
}

#[tokio::test]
async fn models_are_listed_measured_pulled_and_put_away() {
    let folder = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("m.gguf"), "weights").unwrap();
    let entry = format!(
        "[[model]]\nname = \"here\"\nmedium = \"text\"\narchitecture = \"llama\"\nlicence = \"MIT\"\nload = \"m.gguf\"\n\
         [[model.files]]\nname = \"m.gguf\"\nsize = 7\nsha256 = \"{}\"\n\
         [[model.sources]]\nkind = \"folder\"\npath = {:?}\n",
        medley_engine::keys::hash("weights"),
        source.path()
    );
    std::fs::write(folder.path().join("catalog.toml"), entry).unwrap();
    let app = open(folder.path());
    let of = |catalog: &Value| {
        let all = catalog["data"].as_array().unwrap();
        all.iter()
            .find(|entry| entry["name"] == "here")
            .cloned()
            .unwrap()
    };
    let before = of(&fetch(&app, "/v1/catalog").await);
    assert_eq!(
        names(&before),
        [
            "name",
            "medium",
            "architecture",
            "installed",
            "loaded",
            "memory_bytes",
            "download_bytes",
            "parameters",
            "licence",
            "bundled",
            "served",
            "chats",
            "own"
        ]
    );
    assert_eq!(
        (&before["installed"], &before["download_bytes"]),
        (&json!(false), &json!(7))
    );
    let job = good(&app, "/v1/catalog/here/pull", &json!({})).await;
    assert_eq!(
        (&job["kind"], &job["model"]),
        (&json!("pull"), &json!("here"))
    );
    assert_eq!(ended(&app, id(&job)).await["state"], "done");
    assert_eq!(of(&fetch(&app, "/v1/catalog").await)["installed"], true);
    assert_eq!(
        send(&app, "POST", "/v1/catalog/nobody/pull", json!({}))
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    good(&app, "/v1/chat/completions", &common::chat(json!({}))).await;
    let memory = fetch(&app, "/v1/memory").await;
    assert_eq!(names(&memory), ["budget_bytes", "used_bytes", "models"]);
    let model = &memory["models"][0];
    assert_eq!(
        (&model["id"], &model["idle"]),
        (&json!("tiny"), &json!(true))
    );
    assert!(model["memory_bytes"].as_u64() >= Some(common::MEMORY));
    assert_eq!(
        send(&app, "POST", "/v1/catalog/tiny/evict", json!({}))
            .await
            .0,
        StatusCode::OK
    );
    assert_eq!(
        send(&app, "POST", "/v1/catalog/tiny/evict", json!({}))
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(fetch(&app, "/v1/memory").await["models"], json!([]));
}

#[tokio::test]
async fn the_catalog_says_which_models_chat_the_users_own_among_them() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let catalog = fetch(&app, "/v1/catalog").await;
    let of = |name: &str| {
        let all = catalog["data"].as_array().unwrap();
        let found = all.iter().find(|entry| entry["name"] == name).unwrap();
        ["served", "chats", "own", "medium"].map(|field| found[field].clone())
    };
    let counted = |name: &str| {
        let all = catalog["data"].as_array().unwrap();
        all.iter().find(|entry| entry["name"] == name).unwrap()["parameters"].clone()
    };
    assert_eq!(
        (counted("tiny"), counted("plain")),
        (json!(1234), Value::Null)
    );
    let expected =
        |served, chats, own, medium: &str| [json!(served), json!(chats), json!(own), json!(medium)];
    assert_eq!(of("tiny"), expected(true, true, true, "text"));
    assert_eq!(of("plain"), expected(true, false, true, "text"));
    assert_eq!(of("smollm2-135m"), expected(false, false, false, "text"));
    assert_eq!(of("icons"), expected(true, false, false, "image"));
}

/// A form with the request as JSON, a picture and fields.
fn form(request: &Value, image: &[u8], rest: &[(&str, &str)]) -> Request<Body> {
    let mut body = Vec::new();
    let mut part = |head: &str, bytes: &[u8]| {
        body.extend_from_slice(
            format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"request\"", request.to_string().as_bytes());
    part("name=\"image\"; filename=\"a.png\"", image);
    for (name, text) in rest {
        part(&format!("name=\"{name}\""), text.as_bytes());
    }
    body.extend_from_slice(b"--x--\r\n");
    Request::post(JOBS)
        .header("content-type", "multipart/form-data; boundary=x")
        .body(Body::from(body))
        .unwrap()
}

/// A PNG of one colour, half of it transparent where that is asked for.
fn picture(side: u32, clear: bool) -> Vec<u8> {
    use medley_media::{Format, Layout, Origin, Picture, encode};
    let pixel = |i: u32| {
        [
            200,
            40,
            40,
            if clear && i % side < side / 2 { 0 } else { 255 },
        ]
    };
    let pixels = (0..side * side).flat_map(pixel).collect();
    let picture = Picture::new(side, side, Layout::Rgba, pixels).unwrap();
    encode(&picture, Format::Png, Origin::Collected).unwrap()
}

#[tokio::test]
async fn a_job_brings_the_picture_that_it_begins_with() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let request = icon(json!({ "steps": 2 }))["request"].clone();
    let whole = picture(8, false);
    let (status, job) = ask(&app, form(&request, &whole, &[("strength", "0.5")])).await;
    assert_eq!(status, StatusCode::OK, "{job}");
    assert_eq!(job["request"]["init"]["strength"], 0.5);
    assert!(job["request"].get("mask").is_none());
    let id = job["id"].as_str().unwrap().to_owned();
    let done = ended(&app, &id).await;
    assert_eq!(done["state"], "done", "{done}");
    // Its recipe names the picture, which is there as long as the job is.
    let work = fetch(
        &app,
        &format!("/v1/library/{}", done["works"][0].as_str().unwrap()),
    )
    .await;
    assert_eq!(work["recipe"]["init"], job["request"]["init"]);
    let again = json!({ "request": work["recipe"] });
    let again = good(&app, JOBS, &again).await;
    let again = ended(&app, again["id"].as_str().unwrap()).await;
    assert_eq!(again["state"], "done", "{again}");
    let (status, _) = send(&app, "DELETE", &format!("{JOBS}/{id}"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let lost = good(&app, JOBS, &json!({ "request": work["recipe"] })).await;
    let lost = ended(&app, lost["id"].as_str().unwrap()).await;
    assert_eq!(lost["state"], "failed", "{lost}");

    let (_, masked) = ask(&app, form(&request, &picture(8, true), &[])).await;
    assert_eq!(masked["request"]["init"]["strength"], 1.0);
    assert!(masked["request"]["mask"]["sha256"].is_string(), "{masked}");
    let masked = ended(&app, masked["id"].as_str().unwrap()).await;
    assert_eq!(masked["state"], "done", "{masked}");

    for (request, image, field) in [
        (json!([]), whole.clone(), "request"),
        (request.clone(), b"no picture".to_vec(), "image"),
    ] {
        let (status, error) = ask(&app, form(&request, &image, &[])).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(error["error"]["param"], field, "{error}");
    }
}

#[tokio::test]
async fn a_job_without_pictures_may_not_be_as_large_as_one_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let long = text(json!({ "prompt": "a".repeat(9 << 20) }));
    let (status, error) = ask(&app, post(JOBS, &long)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{error}");
}
