//! Messages in Anthropic's shapes, and documents ranked.

use crate::common::{self, app, ask, get, good, named_events, names, post};
use serde_json::{Value, json};

const MESSAGES: &str = "/v1/messages";

fn body(change: Value) -> Value {
    let mut body = json!({ "model": "tiny", "max_tokens": 12, "seed": 3,
                           "messages": [{ "role": "user", "content": "the river is" }] });
    let fields = change.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

fn tool() -> Value {
    json!({ "name": "add", "description": "Adds.", "input_schema": { "type": "object", "required": ["a"],
            "properties": { "a": { "type": "integer", "minimum": 0, "maximum": 99 } } } })
}

#[tokio::test]
async fn a_message_has_the_shape_that_clients_know() {
    let app = app(|_| {});
    let message = good(
        &app,
        MESSAGES,
        &body(json!({ "system": [{ "type": "text", "text": "be kind" }] })),
    )
    .await;
    assert_eq!(
        names(&message),
        [
            "id",
            "type",
            "role",
            "model",
            "content",
            "stop_reason",
            "stop_sequence",
            "usage"
        ]
    );
    assert_eq!(
        (&message["type"], &message["role"]),
        (&json!("message"), &json!("assistant"))
    );
    assert_eq!(message["stop_reason"], "max_tokens");
    assert_eq!(message["content"][0]["type"], "text");
    assert_eq!(message["usage"]["output_tokens"], 12);
    let text = good(&app, MESSAGES, &body(json!({}))).await["content"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let stop: String = text.chars().skip(4).take(2).collect();
    let stopped = good(
        &app,
        MESSAGES,
        &body(json!({ "stop_sequences": ["never", stop] })),
    )
    .await;
    assert_eq!(
        (&stopped["stop_reason"], &stopped["stop_sequence"]),
        (&json!("stop_sequence"), &json!(stop))
    );
    let counted = good(&app, "/v1/messages/count_tokens", &body(json!({}))).await;
    let usage = &stopped["usage"];
    let read = usage["input_tokens"].as_u64().unwrap()
        + usage["cache_read_input_tokens"].as_u64().unwrap();
    assert_eq!(counted, json!({ "input_tokens": read }));
}

#[tokio::test]
async fn events_say_what_the_whole_message_says() {
    let app = app(|_| {});
    let whole = good(&app, MESSAGES, &body(json!({}))).await;
    let events = named_events(&app, MESSAGES, &body(json!({ "stream": true }))).await;
    let kinds: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(kinds[..3], ["message_start", "ping", "content_block_start"]);
    assert_eq!(
        kinds[kinds.len() - 3..],
        ["content_block_stop", "message_delta", "message_stop"]
    );
    assert_eq!(events[0].1["message"]["content"], json!([]));
    let deltas = events
        .iter()
        .filter(|(name, _)| name == "content_block_delta");
    let text: String = deltas
        .map(|(_, e)| e["delta"]["text"].as_str().unwrap())
        .collect();
    assert_eq!(whole["content"][0]["text"], text);
    let delta = &events[events.len() - 2].1;
    assert_eq!(
        delta["delta"],
        json!({ "stop_reason": "max_tokens", "stop_sequence": null })
    );
    assert_eq!(delta["usage"]["output_tokens"], 12);
}

#[tokio::test]
async fn tools_are_used() {
    let app = app(|_| {});
    let asked = body(json!({ "tools": [tool()], "max_tokens": 90,
        "tool_choice": { "type": "any", "disable_parallel_tool_use": true } }));
    let message = good(&app, MESSAGES, &asked).await;
    assert_eq!(message["stop_reason"], "tool_use", "{message}");
    let block = &message["content"][0];
    assert_eq!(names(block), ["type", "id", "name", "input"]);
    assert!(block["input"]["a"].as_u64().unwrap() <= 99);
    let mut streamed = asked.clone();
    streamed["stream"] = json!(true);
    let events = named_events(&app, MESSAGES, &streamed).await;
    let start = &events
        .iter()
        .find(|(name, _)| name == "content_block_start")
        .unwrap()
        .1;
    assert_eq!(
        (
            &start["content_block"]["type"],
            &start["content_block"]["input"]
        ),
        (&json!("tool_use"), &json!({}))
    );
    let deltas = events
        .iter()
        .filter_map(|(_, e)| e["delta"]["partial_json"].as_str());
    let input: Value = serde_json::from_str(&deltas.collect::<String>()).unwrap();
    assert_eq!(input, block["input"]);
    let user = json!({ "role": "user", "content": "add" });
    let used = json!({ "role": "assistant", "content": [block] });
    let result = json!({ "role": "user", "content": [
        { "type": "tool_result", "tool_use_id": block["id"], "content": [{ "type": "text", "text": "5" }] },
        { "type": "text", "text": "go on" }] });
    good(
        &app,
        MESSAGES,
        &body(json!({ "messages": [user, used, result], "tools": [tool()],
                                       "tool_choice": { "type": "none" } })),
    )
    .await;
    for messages in [
        json!([user, result]),
        json!([user, used, user]),
        json!([used]),
        json!([]),
    ] {
        let (status, error) =
            ask(&app, post(MESSAGES, &body(json!({ "messages": messages })))).await;
        assert_eq!(status.as_u16(), 400, "{messages}");
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn errors_have_their_shape_too() {
    let app = common::app(|settings| settings.api_keys = vec!["key".into()]);
    let with = |change: Value, key: Option<&str>| {
        let mut request = post(MESSAGES, &body(change));
        if let Some(key) = key {
            request
                .headers_mut()
                .insert("x-api-key", key.parse().unwrap());
        }
        request
    };
    for (change, key, status, kind) in [
        (json!({}), None, 401, "authentication_error"),
        (json!({}), Some("other"), 401, "authentication_error"),
        (
            json!({ "model": "none" }),
            Some("key"),
            404,
            "not_found_error",
        ),
        (
            json!({ "max_tokens": null }),
            Some("key"),
            400,
            "invalid_request_error",
        ),
        (
            json!({ "temperature": 1.5 }),
            Some("key"),
            400,
            "invalid_request_error",
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 2000 } }),
            Some("key"),
            400,
            "invalid_request_error",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image", "source": {} }] }] }),
            Some("key"),
            400,
            "invalid_request_error",
        ),
        (
            json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }),
            Some("key"),
            400,
            "invalid_request_error",
        ),
    ] {
        let (found, error) = ask(&app, with(change.clone(), key)).await;
        assert_eq!(found.as_u16(), status, "{change}: {error}");
        assert_eq!(names(&error), ["type", "error"]);
        assert_eq!(error["type"], "error");
        assert_eq!(names(&error["error"]), ["type", "message"]);
        assert_eq!(error["error"]["type"], kind, "{change}: {error}");
    }
    let mut request = get("/v1/models");
    request
        .headers_mut()
        .insert("x-api-key", "key".parse().unwrap());
    assert_eq!(ask(&app, request).await.0.as_u16(), 200);
}

#[tokio::test]
async fn documents_are_ranked() {
    let app = app(|_| {});
    let documents = json!(["a flat icon", { "text": "red apple" }, "apple"]);
    let asked = json!({ "model": "encoder", "query": "red apple", "documents": documents, "return_documents": true });
    let answer = good(&app, "/v1/rerank", &asked).await;
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(results[0]["index"], 1);
    assert!((results[0]["relevance_score"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert_eq!(results[0]["document"], json!({ "text": "red apple" }));
    let scores: Vec<f64> = results
        .iter()
        .map(|r| r["relevance_score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b));
    for (change, param) in [
        (json!({ "top_n": 0 }), "top_n"),
        (json!({ "documents": [] }), "documents"),
        (json!({ "documents": [5] }), "documents[0]"),
        (json!({ "query": "" }), "query"),
        (json!({ "model": "tiny" }), "model"),
    ] {
        let mut asked = asked.clone();
        asked
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let (status, error) = ask(&app, post("/v1/rerank", &asked)).await;
        assert_eq!(
            (status.as_u16(), &error["error"]["param"]),
            (400, &json!(param)),
            "{error}"
        );
    }
    let mut two = asked.clone();
    two["top_n"] = json!(2);
    assert_eq!(
        good(&app, "/v1/rerank", &two).await["results"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn prompts_are_routed_by_their_words() {
    let app = app(|_| {});
    for (prompt, medium, left) in [
        ("draw me a red apple", "image", "a red apple"),
        ("read this aloud: Hello", "speech", "Hello"),
        (
            "launch campaign for a tea",
            "create",
            "launch campaign for a tea",
        ),
    ] {
        let answer = good(&app, "/v1/route", &json!({ "prompt": prompt })).await;
        let told = json!({ "medium": medium, "prompt": left, "asked": true });
        assert_eq!(answer, told);
    }
    let thing = good(&app, "/v1/route", &json!({ "prompt": "a red apple" })).await;
    assert_eq!(
        (&thing["medium"], &thing["asked"]),
        (&json!("image"), &json!(false))
    );
    for asked in [json!({}), json!({ "prompt": " " }), json!({ "prompt": 5 })] {
        let (status, error) = ask(&app, post("/v1/route", &asked)).await;
        let told = (status.as_u16(), &error["error"]["param"]);
        assert_eq!(told, (400, &json!("prompt")), "{error}");
    }
}
