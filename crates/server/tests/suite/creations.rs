//! A brief over HTTP, from its plan to the page, with models that know nothing.

use std::path::Path;
use std::time::Duration;

use crate::common::{app, ask, get, names, post};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use medley_engine::Home;
use serde_json::{Value, json};
use tower::ServiceExt;

const CREATIONS: &str = "/v1/creations";

const KIT: &str = r#"
name = "card"
title = "A card"
about = "A line, a picture, a card and a page"

[[work]]
id = "copy"
title = "Copy"
medium = "text"
file = "copy.md"
[[work.parts]]
id = "line"
heading = "Line"
ask = "Headline"
like = "headline"
words = [3, 9]
fallback = ["{{ name }} for {{ audience }}"]

[[work]]
id = "picture"
title = "Picture"
medium = "image"
file = "picture.png"
prompt = "{{ pictures[0] }}"

[[work]]
id = "card"
title = "Card"
medium = "poster"
file = "card.png"
size = [320, 400]
headline = "@copy.line"
picture = "picture"

[[work]]
id = "page"
title = "Page"
medium = "page"
file = "index.html"
blocks = [{ kind = "hero", show = ["copy.line", "card"] }]
"#;

fn open(folder: &Path) -> Router {
    let home = Home::at(folder);
    std::fs::create_dir_all(folder.join("kits")).unwrap();
    std::fs::write(folder.join("kits/card.toml"), KIT).unwrap();
    app(|settings| settings.home = Some(home))
}

async fn ended(app: &Router, id: &str) -> Value {
    for _ in 0..1500 {
        let (_, found) = ask(app, get(&format!("{CREATIONS}/{id}"))).await;
        if !["queued", "running"].contains(&found["state"].as_str().unwrap()) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the creation does not end");
}

async fn file(app: &Router, id: &str, name: &str) -> (StatusCode, String, Vec<u8>) {
    let path = format!("{CREATIONS}/{id}/files/{name}");
    let response = app.clone().oneshot(get(&path)).await.unwrap();
    let status = response.status();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind, bytes.to_vec())
}

async fn put(app: &Router, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::put(path).header("content-type", "application/json");
    ask(app, request.body(Body::from(body.to_string())).unwrap()).await
}

fn states(creation: &Value) -> Vec<&str> {
    let works = creation["works"].as_array().unwrap();
    works
        .iter()
        .map(|work| work["state"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_brief_becomes_works_that_are_shown_changed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    let (_, kits) = ask(&app, get("/v1/kits")).await;
    let kits: Vec<&str> = kits["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kit| kit["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        kits,
        ["campaign", "product", "social", "lesson", "story", "card"]
    );
    let body = json!({ "brief": "Ember, a campfire for busy parents: <b>warm</b>", "kit": "card", "seed": 4 });
    let (status, begun) = ask(&app, post(CREATIONS, &body)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{begun}");
    let fields = [
        "id",
        "object",
        "state",
        "kit",
        "brief",
        "title",
        "created_at",
        "plan",
        "works",
        "job",
        "error",
    ];
    assert_eq!(names(&begun), fields);
    let id = begun["id"].as_str().unwrap();
    let made = ended(&app, id).await;
    assert_eq!(
        (made["state"].as_str(), &made["error"]),
        (Some("done"), &Value::Null),
        "{made}"
    );
    assert_eq!(states(&made), ["done"; 4]);
    assert_eq!(made["works"][3]["needs"], json!(["card", "copy"]));
    // What the tiny model writes will not do, so that the kit's words stand there.
    let (status, kind, copy) = file(&app, id, "copy.md").await;
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::OK, "text/markdown; charset=utf-8")
    );
    assert!(
        String::from_utf8(copy)
            .unwrap()
            .contains("## Line\n\nEmber for busy parents\n")
    );
    let (_, kind, page) = file(&app, id, "index.html").await;
    assert_eq!(kind, "text/html; charset=utf-8");
    let page = String::from_utf8(page).unwrap();
    assert!(
        page.contains("<h1>Ember for busy parents</h1>") && !page.contains("<b>warm"),
        "{page}"
    );
    for wrong in ["creation.json", ".medley.json", "..%2Fcreation.json"] {
        assert_eq!(
            file(&app, id, wrong).await.0,
            StatusCode::NOT_FOUND,
            "{wrong}"
        );
    }
    // The works that are seen are in the library, with recipes that make them again.
    let (_, works) = ask(&app, get("/v1/library?medium=image")).await;
    assert_eq!(works["data"].as_array().unwrap().len(), 2);
    // An edited plan makes anew what hangs on it.
    let mut plan = made["plan"].clone();
    plan["works"][1]["prompt"] = json!("a star");
    let path = format!("{CREATIONS}/{id}/plan");
    assert_eq!(put(&app, &path, &plan).await.0, StatusCode::OK);
    let (_, again) = ask(&app, post(&format!("{CREATIONS}/{id}/resume"), &json!({}))).await;
    assert_eq!(again["id"], id);
    assert_eq!(ended(&app, id).await["state"], "done");
    let response = app
        .clone()
        .oneshot(get(&format!("{CREATIONS}/{id}/zip")))
        .await
        .unwrap();
    let packed = response.into_body().collect().await.unwrap().to_bytes();
    assert!(packed.starts_with(b"PK"));
    plan["works"][1]["medium"] = json!("smell");
    let (status, error) = put(&app, &path, &plan).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{error}");
    let gone = Request::delete(format!("{CREATIONS}/{id}")).body(Body::empty());
    assert_eq!(ask(&app, gone.unwrap()).await.0, StatusCode::OK);
    assert_eq!(
        ask(&app, get(&format!("{CREATIONS}/{id}"))).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    for (body, named) in [
        (json!({}), "brief"),
        (json!({ "brief": 5 }), "brief"),
        (json!({ "brief": " ?! " }), "brief"),
        (json!({ "brief": "x".repeat(5000) }), "brief"),
        (
            json!({ "brief": "Ember", "kit": "../../etc/passwd" }),
            "kit",
        ),
        (json!({ "brief": "Ember", "kit": "nothing" }), "kit"),
        (json!({ "brief": "Ember", "seed": -1 }), "seed"),
    ] {
        let (status, error) = ask(&app, post(CREATIONS, &body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {error}");
        assert!(
            error["error"]["message"].as_str().unwrap().contains(named),
            "{error}"
        );
    }
    let (_, all) = ask(&app, get(CREATIONS)).await;
    assert_eq!(all["data"], json!([]));
}
