//! Calls of functions, field for field.

use crate::common::{app, ask, chat, events, good, names, post};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// Two functions, with what their arguments must be.
fn tools() -> Value {
    json!([
        { "type": "function", "function": { "name": "get_weather", "description": "The weather of a city.", "strict": true,
          "parameters": { "type": "object", "additionalProperties": false, "required": ["city", "days"],
            "properties": { "city": { "type": "string" }, "days": { "type": "integer", "minimum": 1, "maximum": 9 } } } } },
        { "type": "function", "function": { "name": "now" } },
    ])
}

fn check_call(call: &Value) {
    assert_eq!(names(call), ["id", "type", "function"]);
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    let arguments = call["function"]["arguments"].as_str().unwrap();
    let arguments: Value =
        serde_json::from_str(arguments).unwrap_or_else(|e| panic!("{arguments}: {e}"));
    match call["function"]["name"].as_str().unwrap() {
        "get_weather" => {
            assert_eq!(names(&arguments), ["city", "days"]);
            assert!(arguments["city"].is_string());
            assert!((1..=9).contains(&arguments["days"].as_u64().unwrap()));
        }
        "now" => assert_eq!(arguments, json!({})),
        other => panic!("nobody declared {other}"),
    }
}

#[tokio::test]
async fn who_must_call_calls_rightly() {
    let app = app(|_| {});
    for seed in 0..12 {
        for (choice, most) in [
            (json!("required"), 120),
            (
                json!({ "type": "function", "function": { "name": "get_weather" } }),
                100,
            ),
            (
                json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required",
               "tools": [{ "type": "function", "function": { "name": "now" } }] } }),
                60,
            ),
        ] {
            let fields = json!({ "tools": tools(), "tool_choice": choice, "seed": seed, "max_tokens": most, "temperature": 1.5 });
            let answer = good(&app, CHAT, &chat(fields)).await;
            let first = &answer["choices"][0];
            assert_eq!(
                first["finish_reason"], "tool_calls",
                "{seed} {choice}: {first}"
            );
            let message = &first["message"];
            assert_eq!(
                names(message),
                ["role", "content", "refusal", "annotations", "tool_calls"]
            );
            assert_eq!(message["content"], Value::Null);
            let calls = message["tool_calls"].as_array().unwrap();
            assert!(!calls.is_empty());
            calls.iter().for_each(check_call);
            let ids: std::collections::HashSet<&str> =
                calls.iter().map(|c| c["id"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), calls.len());
            match choice["type"].as_str() {
                Some("function") => assert_eq!(
                    (calls.len(), &calls[0]["function"]["name"]),
                    (1, &json!("get_weather"))
                ),
                Some("allowed_tools") => {
                    assert!(calls.iter().all(|c| c["function"]["name"] == "now"))
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn calls_stream_as_they_are_written() {
    let app = app(|_| {});
    let mut several = false;
    for (seed, parallel) in (0..6).flat_map(|seed| [(seed, true), (seed, false)]) {
        let fields = json!({ "tools": tools(), "tool_choice": "required", "seed": seed, "max_tokens": 600,
                             // It does not end by itself.
                             "logit_bias": { "2": if parallel { -100 } else { 0 } },
                             "parallel_tool_calls": parallel });
        let whole = good(&app, CHAT, &chat(fields.clone())).await;
        let mut fields = fields;
        fields["stream"] = json!(true);
        let chunks = events(&app, CHAT, &chat(fields)).await;
        let mut calls: Vec<(String, String)> = Vec::new();
        for chunk in &chunks {
            let delta = &chunk["choices"][0]["delta"];
            assert!(
                delta["content"].as_str().unwrap_or("").is_empty(),
                "{delta}"
            );
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let index = call["index"].as_u64().unwrap() as usize;
                if index == calls.len() {
                    assert_eq!(names(call), ["index", "id", "type", "function"]);
                    assert_eq!(call["function"]["arguments"], "");
                    calls.push((
                        call["function"]["name"].as_str().unwrap().to_owned(),
                        String::new(),
                    ));
                } else {
                    assert_eq!(names(call), ["index", "function"]);
                    calls[index]
                        .1
                        .push_str(call["function"]["arguments"].as_str().unwrap());
                }
            }
        }
        let expected = whole["choices"][0]["message"]["tool_calls"]
            .as_array()
            .unwrap();
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|c| {
                let of = |name: &str| c["function"][name].as_str().unwrap().to_owned();
                (of("name"), of("arguments"))
            })
            .collect();
        assert_eq!(calls, expected);
        assert!(parallel || calls.len() == 1);
        several |= calls.len() > 1;
        assert_eq!(
            chunks.last().unwrap()["choices"][0]["finish_reason"],
            "tool_calls"
        );
    }
    assert!(several, "some answer has several calls");
}

#[tokio::test]
async fn results_go_back_and_nobody_has_to_call() {
    let app = app(|_| {});
    let call = json!({ "id": "call_1", "type": "function", "function": { "name": "now", "arguments": "{}" } });
    let asked = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
    let result = json!({ "role": "tool", "tool_call_id": "call_1", "content": [{ "type": "text", "text": "noon" }] });
    let user = json!({ "role": "user", "content": "what time is it" });
    let all = json!([user, asked, result]);
    let without = good(&app, CHAT, &chat(json!({ "messages": all }))).await;
    assert!(without["choices"][0]["message"].get("tool_calls").is_none());
    for choice in ["auto", "none"] {
        let fields =
            json!({ "messages": all, "tools": tools(), "tool_choice": choice, "max_tokens": 400 });
        let answer = good(&app, CHAT, &chat(fields)).await;
        let first = &answer["choices"][0];
        let calls = first["message"].get("tool_calls");
        assert!(calls.is_none() || choice == "auto", "{first}");
        for call in calls.into_iter().filter_map(Value::as_array).flatten() {
            assert!(["now", "get_weather"].contains(&call["function"]["name"].as_str().unwrap()));
        }
    }
    for (messages, param) in [
        (json!([user, result]), "messages[1].role"),
        (json!([user, asked]), "messages[2].role"),
        (json!([user, asked, user]), "messages[2].role"),
        (
            json!([user, { "role": "tool", "content": "x" }]),
            "messages[1].tool_call_id",
        ),
        (
            json!([user, { "role": "assistant", "tool_calls": [{ "id": "a", "type": "function" }] }]),
            "messages[1].tool_calls[0].function",
        ),
    ] {
        let (status, error) = ask(&app, post(CHAT, &chat(json!({ "messages": messages })))).await;
        assert_eq!(status, 400);
        assert_eq!(error["error"]["param"], param, "{error}");
    }
}
