//! Models, embeddings, errors and who is let in.

use crate::common::{self, app, ask, chat, get, good, names, post};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use serde_json::{Value, json};
use tower::ServiceExt;

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn models_are_listed_and_found() {
    let app = app(|_| {});
    let (status, list) = ask(&app, get("/v1/models")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(list["object"], "list");
    let tiny =
        json!({ "id": "tiny", "object": "model", "created": 1_700_000_000, "owned_by": "medley" });
    assert_eq!(list["data"][0], tiny);
    assert_eq!(list["data"].as_array().unwrap().len(), 10);
    assert_eq!(ask(&app, get("/v1/models/tiny")).await.1, tiny);
    let (status, error) = ask(&app, get("/v1/models/hf:none/none")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(names(&error["error"]), ["message", "type", "param", "code"]);
    assert_eq!(error["error"]["code"], "model_not_found");
    assert_eq!(ask(&app, get("/health")).await.1, json!({ "status": "ok" }));
}

#[tokio::test]
async fn embeddings_come_as_numbers_and_as_base64() {
    let app = app(|_| {});
    let body = json!({ "model": "encoder", "input": ["red apple", "a flat icon"] });
    let answer = good(&app, "/v1/embeddings", &body).await;
    assert_eq!(names(&answer), ["object", "data", "model", "usage"]);
    assert_eq!(
        answer["usage"],
        json!({ "prompt_tokens": 9, "total_tokens": 9 })
    );
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    assert_eq!(names(&data[1]), ["object", "index", "embedding"]);
    assert_eq!(data[1]["index"], 1);
    let numbers = |value: &Value| -> Vec<f32> {
        let list = value["embedding"].as_array().unwrap().iter();
        list.map(|x| x.as_f64().unwrap() as f32).collect()
    };
    let first = numbers(&data[0]);
    let length: f32 = first.iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
    // The same as one text, as base64, and as tokens.
    let body = json!({ "model": "encoder", "input": "red apple", "encoding_format": "base64", "dimensions": first.len() });
    let answer = good(&app, "/v1/embeddings", &body).await;
    let text = answer["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap();
    let chunks = bytes.chunks_exact(4);
    let decoded: Vec<f32> = chunks
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!(decoded, first);
    // [CLS] red apple [SEP]
    let body = json!({ "model": "encoder", "input": [[2, 6, 7, 3]] });
    let answer = good(&app, "/v1/embeddings", &body).await;
    assert_eq!(numbers(&answer["data"][0]), first);

    for (change, param, status) in [
        (json!({ "input": "" }), "input", 400),
        (json!({ "input": [] }), "input", 400),
        (json!({ "input": ["a", 1] }), "input", 400),
        (json!({ "input": [[1, -1]] }), "input", 400),
        (json!({ "input": [[2, 96, 3]] }), "input", 400),
        (
            json!({ "input": "a red apple, a flat icon, a red apple" }),
            "input",
            400,
        ),
        (json!({ "dimensions": 3 }), "dimensions", 400),
        (json!({ "encoding_format": "int8" }), "encoding_format", 400),
        (json!({ "model": "tiny" }), "model", 400),
        (json!({ "model": "none" }), "model", 404),
    ] {
        let mut body = json!({ "model": "encoder", "input": "red" });
        let fields = change.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        let (found, error) = ask(&app, post("/v1/embeddings", &body)).await;
        assert_eq!(found.as_u16(), status, "{change}: {error}");
        assert_eq!(error["error"]["param"], param, "{change}: {error}");
    }
}

#[tokio::test]
async fn errors_name_the_field() {
    let app = app(|_| {});
    let image = json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "file:///etc/passwd" } }] }]);
    for (change, param, code) in [
        (
            json!({ "temperature": 3 }),
            "temperature",
            "decimal_above_max_value",
        ),
        (
            json!({ "temperature": "hot" }),
            "temperature",
            "invalid_type",
        ),
        (json!({ "top_p": -0.1 }), "top_p", "decimal_below_min_value"),
        (json!({ "n": 0 }), "n", "integer_below_min_value"),
        (json!({ "n": 1.5 }), "n", "invalid_type"),
        (
            json!({ "max_tokens": 0 }),
            "max_tokens",
            "integer_below_min_value",
        ),
        (
            json!({ "messages": null }),
            "messages",
            "missing_required_parameter",
        ),
        (json!({ "messages": [] }), "messages", "empty_array"),
        (json!({ "messages": "hi" }), "messages", "invalid_type"),
        (
            json!({ "messages": [{ "role": "king", "content": "x" }] }),
            "messages[0].role",
            "invalid_value",
        ),
        (
            json!({ "messages": [{ "role": "user" }] }),
            "messages[0].content",
            "missing_required_parameter",
        ),
        (
            json!({ "messages": image }),
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            json!({ "model": null }),
            "model",
            "missing_required_parameter",
        ),
        (
            json!({ "stop": ["a", "b", "c", "d", "e"] }),
            "stop",
            "invalid_value",
        ),
        (json!({ "stop": "" }), "stop", "invalid_value"),
        (
            json!({ "logit_bias": { "x": 1 } }),
            "logit_bias",
            "invalid_value",
        ),
        (
            json!({ "logit_bias": { "1": 101 } }),
            "logit_bias.1",
            "decimal_above_max_value",
        ),
        (
            json!({ "top_logprobs": 2 }),
            "top_logprobs",
            "invalid_value",
        ),
        (
            json!({ "stream_options": {} }),
            "stream_options",
            "invalid_value",
        ),
        (
            json!({ "tools": [{ "type": "function" }] }),
            "tools[0].function",
            "missing_required_parameter",
        ),
        (
            json!({ "tools": [{ "type": "web_search" }] }),
            "tools[0].type",
            "invalid_value",
        ),
        (
            json!({ "tools": [{ "type": "function", "function": { "name": "a b" } }] }),
            "tools[0].function.name",
            "invalid_value",
        ),
        (
            json!({ "tools": [{ "type": "function", "function": { "name": "f" } }],
                    "tool_choice": { "type": "function", "function": { "name": "g" } } }),
            "tool_choice.function.name",
            "invalid_value",
        ),
        (
            json!({ "reasoning_effort": "vast" }),
            "reasoning_effort",
            "invalid_value",
        ),
        (json!({ "store": true }), "store", "unsupported_parameter"),
        (
            json!({ "modalities": ["text", "audio"] }),
            "modalities",
            "invalid_value",
        ),
        (
            json!({ "response_format": { "type": "xml" } }),
            "response_format.type",
            "invalid_value",
        ),
        (
            json!({ "response_format": { "type": "json_schema" } }),
            "response_format.json_schema",
            "missing_required_parameter",
        ),
    ] {
        let (status, error) = ask(&app, post(CHAT, &chat(change.clone()))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{change}: {error}");
        let error = &error["error"];
        assert_eq!(error["type"], "invalid_request_error", "{change}");
        assert_eq!(error["param"], param, "{change}: {error}");
        assert_eq!(error["code"], code, "{change}: {error}");
    }
    // What asks for nothing, and what nobody knows, is let through.
    let harmless = json!({ "tools": [], "tool_choice": "none", "store": false, "user": "u", "unheard_of": { "x": 1 },
                           "temperature": null, "modalities": ["text"], "response_format": { "type": "text" } });
    good(&app, CHAT, &chat(harmless)).await;
}

#[tokio::test]
async fn what_a_model_refuses_is_the_clients_error() {
    let app = app(|_| {});
    let long = "long ".repeat(2000);
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": { "type": "no type" } } });
    for (path, body, param, status) in [
        (
            CHAT,
            chat(json!({ "messages": [{ "role": "user", "content": long }] })),
            json!("messages"),
            400,
        ),
        (CHAT, chat(json!({ "model": "plain" })), json!("model"), 400),
        (
            CHAT,
            chat(json!({ "model": "encoder" })),
            json!("model"),
            400,
        ),
        (
            CHAT,
            chat(json!({ "model": "../../etc/passwd" })),
            json!("model"),
            404,
        ),
        (CHAT, chat(json!({ "model": "broken" })), Value::Null, 500),
        (
            CHAT,
            chat(json!({ "response_format": schema })),
            json!("response_format"),
            400,
        ),
        (
            "/v1/completions",
            json!({ "model": "tiny", "prompt": long }),
            json!("prompt"),
            400,
        ),
        (
            "/v1/completions",
            json!({ "model": "tiny", "prompt": [100_000] }),
            json!("prompt"),
            400,
        ),
        (
            "/v1/completions",
            json!({ "model": "tiny", "prompt": "a", "suffix": "z" }),
            json!("suffix"),
            400,
        ),
        (
            CHAT,
            chat(
                json!({ "tools": [{ "type": "function", "function": { "name": "f",
                "parameters": { "type": "object", "properties": { "x": { "type": "no type" } } } } }] }),
            ),
            json!("tools[0].function.parameters"),
            400,
        ),
        (
            CHAT,
            chat(json!({ "reasoning_effort": "high" })),
            json!("reasoning_effort"),
            400,
        ),
        (
            "/v1/completions",
            json!({ "model": "tiny", "prompt": "a", "best_of": 3 }),
            json!("best_of"),
            400,
        ),
        (
            "/v1/completions",
            json!({ "model": "tiny" }),
            json!("prompt"),
            400,
        ),
    ] {
        let (found, error) = ask(&app, post(path, &body)).await;
        assert_eq!(found.as_u16(), status, "{error}");
        assert_eq!(error["error"]["param"], param, "{error}");
    }
    // Others are served all the same.
    good(&app, CHAT, &chat(json!({}))).await;
}

#[tokio::test]
async fn paths_methods_and_bodies_that_cannot_be_are_told_so() {
    let app = app(|settings| settings.body = 2000);
    let send = |method: &str, path: &str, body: &'static [u8]| {
        let request = Request::builder().method(method).uri(path);
        request.body(Body::from(body)).unwrap()
    };
    static LARGE: [u8; 3000] = [b' '; 3000];
    static DEEP: [u8; 1900] = [b'['; 1900];
    for (method, path, body, status) in [
        ("GET", "/v1/nothing", &b""[..], 404),
        ("GET", CHAT, b"", 405),
        ("POST", "/v1/models", b"{}", 405),
        ("POST", "/v1/audio/speech", b"{}", 400),
        ("POST", "/v1/images/variations", b"{}", 501),
        ("POST", CHAT, b"", 400),
        ("POST", CHAT, b"[]", 400),
        ("POST", CHAT, b"{\"model\": ", 400),
        ("POST", CHAT, b"\xff\xfe", 400),
        ("POST", CHAT, &DEEP, 400),
        ("POST", CHAT, &LARGE, 413),
    ] {
        let (found, error) = ask(&app, send(method, path, body)).await;
        assert_eq!(found.as_u16(), status, "{method} {path}: {error}");
        assert_eq!(names(&error), ["error"]);
        assert_eq!(names(&error["error"]), ["message", "type", "param", "code"]);
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn only_who_brings_a_key_is_let_in() {
    let app = app(|settings| settings.api_keys = vec!["first".into(), "second".into()]);
    let with = |value: Option<&str>| {
        let mut request = get("/v1/models");
        if let Some(value) = value {
            request
                .headers_mut()
                .insert("authorization", value.parse().unwrap());
        }
        request
    };
    for value in [Some("Bearer first"), Some("bearer second")] {
        assert_eq!(ask(&app, with(value)).await.0, StatusCode::OK);
    }
    for value in [
        None,
        Some("Bearer "),
        Some("Bearer firs"),
        Some("Basic first"),
        Some("first"),
    ] {
        let (status, error) = ask(&app, with(value)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{value:?}");
        assert_eq!(error["error"]["code"], "invalid_api_key");
        assert_eq!(error["error"]["param"], Value::Null);
    }
    // Whether it lives may be known.
    assert_eq!(ask(&app, get("/health")).await.0, StatusCode::OK);
    assert_eq!(
        ask(&app, get("/v1/nothing")).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn another_site_in_a_browser_cannot_drive_it() {
    let app = app(|_| {});
    let open = common::app(|settings| settings.local = false);
    for (host, origin, here, anywhere) in [
        ("localhost:8080", None, true, true),
        ("127.0.0.1:8080", None, true, true),
        ("[::1]:8080", None, true, true),
        ("localhost", Some("http://localhost"), true, true),
        ("evil.example", None, false, true),
        ("127.0.0.1.evil.example", None, false, true),
        ("localhost:8080", Some("https://evil.example"), false, false),
        ("localhost:8080", Some("http://localhost:9"), false, false),
        ("localhost:8080", Some("null"), false, false),
    ] {
        for (app, allowed) in [(&app, here), (&open, anywhere)] {
            let mut request = get("/health");
            request.headers_mut().insert("host", host.parse().unwrap());
            if let Some(origin) = origin {
                request
                    .headers_mut()
                    .insert("origin", origin.parse().unwrap());
            }
            let status = app.clone().oneshot(request).await.unwrap().status();
            let expected = if allowed {
                StatusCode::OK
            } else {
                StatusCode::FORBIDDEN
            };
            assert_eq!(status, expected, "{host} {origin:?}");
        }
    }
}
