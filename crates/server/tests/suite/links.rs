//! Links that open files without the key.

use crate::common::{app, ask};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use medley_engine::Home;
use medley_engine::keys::{Keys, Scope};
use serde_json::{Value, json};
use tower::ServiceExt;

const LINKS: &str = "/v1/links";

fn request(method: &str, path: &str, key: Option<&str>, body: &Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.header("content-type", "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

async fn fetch(app: &Router, path: &str, range: Option<&str>) -> (u16, Vec<u8>) {
    let mut request = Request::get(path);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, bytes.to_vec())
}

#[tokio::test]
async fn frames_and_players_open_files_by_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let mut keys = Keys::default();
    let own = keys.add("own", Scope::ALL.to_vec(), None, None).unwrap();
    let maker = keys
        .add("maker", vec![Scope::Generate], None, None)
        .unwrap();
    keys.save(&home.keys_file()).unwrap();
    let app = app(|settings| settings.home = Some(home));
    let brief = json!({ "brief": "Ember, a lamp", "kit": "story" });
    let (status, made) = ask(&app, request("POST", "/v1/creations", Some(&own), &brief)).await;
    assert_eq!(status.as_u16(), 202, "{made}");
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/creations/{id}/files/plan.json");
    for _ in 0..500 {
        if ask(&app, request("GET", &path, Some(&own), &Value::Null))
            .await
            .0
            == 200
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    ask(
        &app,
        request(
            "POST",
            &format!("/v1/creations/{id}/cancel"),
            Some(&own),
            &json!({}),
        ),
    )
    .await;
    assert_eq!(fetch(&app, &path, None).await.0, 401);

    let asked = json!({ "path": path, "seconds": 60 });
    let (_, link) = ask(&app, request("POST", LINKS, Some(&own), &asked)).await;
    assert_eq!(link["object"], "link", "{link}");
    let url = link["url"].as_str().unwrap();
    let (status, whole) = fetch(&app, url, None).await;
    assert_eq!(status, 200);
    let stamped = format!("{url}&v=17");
    assert_eq!(
        fetch(&app, &stamped, Some("bytes=1-3")).await,
        (206, whole[1..=3].to_vec())
    );
    for other in [
        url.replace("plan.json", "copy.md"),
        url.replace("expires=", "expires=9"),
        format!("/v1/creations/{id}?{}", url.split_once('?').unwrap().1),
    ] {
        assert_eq!(fetch(&app, &other, None).await.0, 401, "{other}");
    }
    // It is for reading alone.
    assert_eq!(
        ask(&app, request("DELETE", url, None, &Value::Null))
            .await
            .0,
        401
    );

    let library = json!({ "path": "/v1/library/work_1/file" });
    let (status, error) = ask(&app, request("POST", LINKS, Some(&maker), &library)).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["code"]),
        (403, &json!("insufficient_permissions"))
    );
    for path in [
        "/v1/library",
        "/v1/jobs/job_1/events",
        "v1/library/a/file",
        "/v1/library/a/file?x=1",
        "",
    ] {
        let (status, error) = ask(
            &app,
            request("POST", LINKS, Some(&own), &json!({ "path": path })),
        )
        .await;
        assert_eq!(
            (status.as_u16(), &error["error"]["param"]),
            (400, &json!("path")),
            "{path}"
        );
    }
    let long = json!({ "path": "/v1/library/a/file", "seconds": 9_999_999 });
    let (status, error) = ask(&app, request("POST", LINKS, Some(&own), &long)).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["param"]),
        (400, &json!("seconds"))
    );
    assert_eq!(ask(&app, request("POST", LINKS, None, &long)).await.0, 401);
}
