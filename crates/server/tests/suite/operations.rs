//! What operators look at.

use crate::common::{app, ask, chat, get, good};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use medley_engine::Home;
use serde_json::json;
use tower::ServiceExt;

#[tokio::test]
async fn metrics_tell_requests_queues_tokens_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let app = app(|settings| settings.home = Some(Home::at(folder.path())));
    assert_eq!(
        ask(&app, get("/ready")).await,
        (StatusCode::OK, json!({ "status": "ready" }))
    );
    good(&app, "/v1/chat/completions", &chat(json!({ "n": 2 }))).await;
    ask(&app, get("/v1/jobs/job_1")).await;
    ask(&app, get("/nothing/here")).await;
    let response = app.clone().oneshot(get("/metrics")).await.unwrap();
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in [
        "medley_requests_total{path=\"/v1/chat/completions\",method=\"POST\",status=\"200\"} 1",
        "medley_requests_total{path=\"/v1/jobs/{id}\",method=\"GET\",status=\"404\"} 1",
        "medley_requests_total{path=\"other\",method=\"GET\",status=\"404\"} 1",
        "medley_request_seconds_count{path=\"/v1/chat/completions\"} 1",
        "medley_jobs{state=\"queued\"} 0",
        "medley_queue 0",
        "medley_tokens_total{model=\"tiny\"} 24",
        "medley_memory_budget_bytes 1048576000",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line:?} is not in\n{text}"
        );
    }
    assert!(
        text.contains("medley_model_memory_bytes{model=\"tiny\"}"),
        "{text}"
    );
}

#[tokio::test]
async fn keys_are_taken_as_both_kinds_of_clients_send_them() {
    let app = app(|settings| settings.api_keys = vec!["secret".into()]);
    for (name, value, status) in [
        ("authorization", "Bearer secret", 200),
        ("x-api-key", "secret", 200),
        ("x-api-key", "guess", 401),
        ("x-other", "secret", 401),
    ] {
        let request = Request::get("/v1/models")
            .header(name, value)
            .body(Body::empty());
        let found = app
            .clone()
            .oneshot(request.unwrap())
            .await
            .unwrap()
            .status();
        assert_eq!(found, status, "{name}: {value}");
    }
    let open = ["/health", "/ready"];
    for path in open {
        assert_eq!(ask(&app, get(path)).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(ask(&app, get("/metrics")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn media_that_are_still_to_come_say_so() {
    let app = app(|_| {});
    for (method, path) in [("POST", "/v1/images/variations")] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty());
        let (status, error) = ask(&app, request.unwrap()).await;
        assert_eq!(
            (status.as_u16(), &error["error"]["code"]),
            (501, &json!("not_implemented")),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_server_that_keeps_nothing_says_so() {
    let app = app(|_| {});
    for path in [
        "/v1/jobs",
        "/v1/library",
        "/v1/catalog",
        "/v1/jobs/events",
        "/v1/videos",
    ] {
        let (status, error) = ask(&app, get(path)).await;
        assert_eq!(
            (status.as_u16(), &error["error"]["code"]),
            (503, &json!("nothing_kept")),
            "{path}"
        );
    }
}
