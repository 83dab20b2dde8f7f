//! Responses: field for field, as events, kept and gone on from.

use std::sync::Arc;

use crate::common::{self, app, ask, get, good, named_events, names, post};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use medley_engine::Home;
use medley_engine::database::Database;
use medley_engine::responses::{KeptResponse, Responses};
use serde_json::{Value, json};

const RESPONSES: &str = "/v1/responses";

fn body(change: Value) -> Value {
    // With a seed: of other noise the tiny model ends its text early in one of forty.
    let mut body =
        json!({ "model": "tiny", "input": "the river is", "max_output_tokens": 12, "seed": 7 });
    let fields = change.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"]
        .as_str()
        .unwrap()
}

fn function() -> Value {
    json!({ "type": "function", "name": "add", "parameters": { "type": "object", "additionalProperties": false,
            "properties": { "a": { "type": "integer", "maximum": 99, "minimum": 0 } }, "required": ["a"] } })
}

async fn delete(app: &Router, id: &str) -> (axum::http::StatusCode, Value) {
    let request = Request::delete(format!("{RESPONSES}/{id}"));
    ask(app, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_response_has_the_shape_that_clients_know() {
    let app = app(|_| {});
    let response = good(&app, RESPONSES, &body(json!({ "metadata": { "k": "v" } }))).await;
    assert!(response["id"].as_str().unwrap().starts_with("resp_"));
    for (name, value) in [
        ("object", json!("response")),
        ("status", json!("incomplete")),
        (
            "incomplete_details",
            json!({ "reason": "max_output_tokens" }),
        ),
        ("error", Value::Null),
        ("model", json!("tiny")),
        ("metadata", json!({ "k": "v" })),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("parallel_tool_calls", json!(true)),
        (
            "text",
            json!({ "format": { "type": "text" }, "verbosity": "medium" }),
        ),
        ("truncation", json!("disabled")),
        ("previous_response_id", Value::Null),
    ] {
        assert_eq!(response[name], value, "{name}");
    }
    let item = &response["output"][0];
    assert_eq!(names(item), ["id", "type", "status", "content", "role"]);
    assert_eq!(
        (&item["type"], &item["status"]),
        (&json!("message"), &json!("incomplete"))
    );
    assert_eq!(
        names(&item["content"][0]),
        ["type", "text", "annotations", "logprobs"]
    );
    let usage = &response["usage"];
    assert_eq!(usage["output_tokens"], 12);
    let sum = usage["input_tokens"].as_u64().unwrap() + 12;
    assert_eq!(usage["total_tokens"], sum);
}

#[tokio::test]
async fn events_come_in_the_order_that_is_published() {
    let app = app(|_| {});
    let asked = body(
        json!({ "seed": 7, "stream": true, "include": ["message.output_text.logprobs"], "top_logprobs": 1 }),
    );
    let events = named_events(&app, RESPONSES, &asked).await;
    let kinds: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let (first, rest) = kinds.split_at(4);
    assert_eq!(
        first,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added"
        ]
    );
    let (deltas, last) = rest.split_at(rest.len() - 4);
    assert!(
        deltas
            .iter()
            .all(|kind| *kind == "response.output_text.delta")
    );
    assert_eq!(
        last,
        [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete"
        ]
    );
    for (number, (name, event)) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
        assert_eq!(event["type"], *name);
    }
    let of = |kind: &str, field: &str| -> Vec<&Value> {
        events
            .iter()
            .filter(|(name, _)| name == kind)
            .map(|(_, event)| &event[field])
            .collect()
    };
    let said: String = of("response.output_text.delta", "delta")
        .iter()
        .map(|d| d.as_str().unwrap())
        .collect();
    let last = &events.last().unwrap().1["response"];
    assert_eq!(said, text(last));
    let told = of("response.output_text.delta", "logprobs");
    let told: usize = told.iter().map(|l| l.as_array().unwrap().len()).sum();
    assert_eq!(told, 12);
    assert_eq!(
        last["output"][0]["content"][0]["logprobs"]
            .as_array()
            .unwrap()
            .len(),
        12
    );
    let mut whole = asked.clone();
    whole["stream"] = json!(false);
    assert_eq!(text(&good(&app, RESPONSES, &whole).await), said);
}

#[tokio::test]
async fn responses_are_kept_gone_on_from_and_deleted() {
    let app = app(|_| {});
    let fixed = json!({ "seed": 1, "instructions": "be kind" });
    let first = good(&app, RESPONSES, &body(fixed)).await;
    let id = first["id"].as_str().unwrap();
    let (status, found) = ask(&app, get(&format!("{RESPONSES}/{id}"))).await;
    assert_eq!((status.as_u16(), &found), (200, &first));
    // The same as with the conversation written out, save for the instructions, which are not kept.
    let next = body(json!({ "seed": 2, "previous_response_id": id, "input": "and then" }));
    let next = good(&app, RESPONSES, &next).await;
    let spoken = json!([{ "role": "user", "content": "the river is" }, { "role": "assistant", "content": text(&first) },
                        { "role": "user", "content": [{ "type": "input_text", "text": "and then" }] }]);
    let written_out = good(
        &app,
        RESPONSES,
        &body(json!({ "seed": 2, "input": spoken })),
    )
    .await;
    assert_eq!(text(&next), text(&written_out));
    assert_eq!(next["previous_response_id"], id);

    let next_id = next["id"].as_str().unwrap();
    let path = format!("{RESPONSES}/{next_id}/input_items");
    let (_, items) = ask(&app, get(&format!("{path}?order=asc&limit=2"))).await;
    assert_eq!(
        names(&items),
        ["object", "first_id", "last_id", "has_more", "data"]
    );
    assert_eq!(
        (items["data"].as_array().unwrap().len(), &items["has_more"]),
        (2, &json!(true))
    );
    let after = items["last_id"].as_str().unwrap();
    let (_, rest) = ask(&app, get(&format!("{path}?order=asc&after={after}"))).await;
    assert_eq!(rest["data"][0]["content"][0]["text"], "and then");
    assert_eq!(rest["has_more"], false);

    let (_, gone) = delete(&app, id).await;
    assert_eq!(
        gone,
        json!({ "id": id, "object": "response", "deleted": true })
    );
    assert_eq!(
        ask(&app, get(&format!("{RESPONSES}/{id}")))
            .await
            .0
            .as_u16(),
        404
    );
    assert_eq!(delete(&app, id).await.0.as_u16(), 404);
    let (status, error) = ask(
        &app,
        post(RESPONSES, &body(json!({ "previous_response_id": id }))),
    )
    .await;
    assert_eq!(
        (status.as_u16(), &error["error"]["code"]),
        (400, &json!("previous_response_not_found"))
    );
    let unkept = good(&app, RESPONSES, &body(json!({ "store": false }))).await;
    let id = unkept["id"].as_str().unwrap();
    assert_eq!(
        ask(&app, get(&format!("{RESPONSES}/{id}")))
            .await
            .0
            .as_u16(),
        404
    );
}

#[tokio::test]
async fn functions_and_formats_hold() {
    let app = app(|_| {});
    let asked = body(
        json!({ "tools": [function()], "tool_choice": "required", "parallel_tool_calls": false,
                             "max_output_tokens": 90 }),
    );
    let response = good(&app, RESPONSES, &asked).await;
    assert_eq!(response["status"], "completed", "{response}");
    let call = &response["output"][0];
    assert_eq!(
        names(call),
        ["id", "type", "status", "arguments", "call_id", "name"]
    );
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["a"].as_u64().unwrap() <= 99);
    let result =
        json!([{ "type": "function_call_output", "call_id": call["call_id"], "output": "4" }]);
    let id = response["id"].as_str().unwrap();
    let next = good(
        &app,
        RESPONSES,
        &body(json!({ "previous_response_id": id, "input": result })),
    )
    .await;
    assert_eq!(next["output"][0]["type"], "message");
    // Without its call a result is refused, and a call without its result.
    for (fields, message) in [
        (json!({ "input": result }), "No tool call found"),
        (
            json!({ "previous_response_id": id }),
            "No tool output found",
        ),
    ] {
        let (status, error) = ask(&app, post(RESPONSES, &body(fields))).await;
        assert_eq!(status.as_u16(), 400);
        assert!(
            error["error"]["message"]
                .as_str()
                .unwrap()
                .contains(message),
            "{error}"
        );
    }
    let mut streamed = asked.clone();
    streamed["stream"] = json!(true);
    let events = named_events(&app, RESPONSES, &streamed).await;
    let kinds: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(kinds[2], "response.output_item.added");
    assert_eq!(
        &kinds[kinds.len() - 3..],
        [
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed"
        ]
    );
    let deltas = events
        .iter()
        .filter(|(name, _)| name == "response.function_call_arguments.delta");
    let all: String = deltas
        .map(|(_, event)| event["delta"].as_str().unwrap())
        .collect();
    assert_eq!(events[events.len() - 3].1["arguments"], all);

    let schema = json!({ "type": "object", "properties": { "n": { "enum": [1, 2] } }, "required": ["n"], "additionalProperties": false });
    let format = json!({ "format": { "type": "json_schema", "name": "n", "schema": schema, "strict": true } });
    let response = good(
        &app,
        RESPONSES,
        &body(json!({ "text": format, "max_output_tokens": 40 })),
    )
    .await;
    let value: Value = serde_json::from_str(text(&response)).unwrap();
    assert!([1, 2].contains(&value["n"].as_u64().unwrap()));
    for (fields, param) in [
        (
            json!({ "text": { "format": { "type": "json_schema", "name": "n" } } }),
            "text.format.schema",
        ),
        (
            json!({ "tools": [{ "type": "web_search" }] }),
            "tools[0].type",
        ),
        (json!({ "truncation": "auto" }), "truncation"),
        (
            json!({ "input": [{ "type": "computer_call" }] }),
            "input[0].type",
        ),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "image_url": "x" }] }] }),
            "input[0].content[0].type",
        ),
        (json!({ "input": null }), "input"),
        (
            json!({ "include": ["computer_call_output.output.image_url"] }),
            "include",
        ),
        (json!({ "background": true, "store": false }), "background"),
        (
            json!({ "reasoning": { "effort": "high" } }),
            "reasoning.effort",
        ),
        (json!({ "conversation": "c" }), "conversation"),
    ] {
        let (status, error) = ask(&app, post(RESPONSES, &body(fields.clone()))).await;
        assert_eq!(status.as_u16(), 400, "{fields}");
        assert_eq!(error["error"]["param"], param, "{fields}: {error}");
    }
}

#[tokio::test]
async fn what_is_written_in_the_background_is_followed_and_cancelled() {
    let app = app(|_| {});
    let begun = good(
        &app,
        RESPONSES,
        &body(json!({ "background": true, "seed": 7 })),
    )
    .await;
    assert_eq!(
        (&begun["status"], &begun["output"]),
        (&json!("queued"), &json!([]))
    );
    let id = begun["id"].as_str().unwrap();
    let path = format!("{RESPONSES}/{id}");
    let events = common::read_events(&app, get(&format!("{path}?stream=true"))).await;
    assert_eq!(events[1].0, "response.queued");
    assert_eq!(events.last().unwrap().0, "response.incomplete");
    let (_, found) = ask(&app, get(&path)).await;
    assert_eq!(found, events.last().unwrap().1["response"]);
    let rest =
        common::read_events(&app, get(&format!("{path}?stream=true&starting_after=4"))).await;
    assert_eq!(rest[0].1["sequence_number"], 5);
    assert_eq!(rest.len(), events.len() - 5);

    let endless =
        body(json!({ "background": true, "max_output_tokens": 3000, "logit_bias": { "2": -100 } }));
    let begun = good(&app, RESPONSES, &endless).await;
    let id = begun["id"].as_str().unwrap();
    let cancelled = good(&app, &format!("{RESPONSES}/{id}/cancel"), &json!({})).await;
    assert_eq!(cancelled["status"], "cancelled");
    let again = good(&app, &format!("{RESPONSES}/{id}/cancel"), &json!({})).await;
    assert_eq!(again, cancelled);
    let plain = good(&app, RESPONSES, &body(json!({}))).await;
    let path = format!("{RESPONSES}/{}/cancel", plain["id"].as_str().unwrap());
    assert_eq!(ask(&app, post(&path, &json!({}))).await.0.as_u16(), 400);

    let counted = good(&app, "/v1/responses/input_tokens", &body(json!({}))).await;
    assert_eq!(counted["input_tokens"], plain["usage"]["input_tokens"]);
}

#[tokio::test]
async fn responses_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let open = || app(|settings| settings.home = Some(home.clone()));
    let app = open();
    let first = good(&app, RESPONSES, &body(json!({ "seed": 1 }))).await;
    let streamed = body(json!({ "seed": 1, "stream": true }));
    let streamed = named_events(&app, RESPONSES, &streamed).await;
    let streamed = streamed.last().unwrap().1["response"].clone();
    let begun = body(json!({ "background": true, "seed": 7 }));
    let begun = good(&app, RESPONSES, &begun).await;
    let path = |response: &Value| format!("{RESPONSES}/{}", response["id"].as_str().unwrap());
    let follow = format!("{}?stream=true", path(&begun));
    let events = common::read_events(&app, get(&follow)).await;
    let gone = good(&app, RESPONSES, &body(json!({}))).await;
    assert_eq!(delete(&app, gone["id"].as_str().unwrap()).await.0, 200);
    let items = ask(&app, get(&format!("{}/input_items", path(&first)))).await;
    drop(app);
    // The lock goes with the first server's last thread.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while medley_engine::jobs::alone(&home).unwrap().is_none() {
        assert!(std::time::Instant::now() < until, "the first server stays");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // As a server that was killed leaves one that it was writing.
    let lost = json!({ "id": "resp_lost", "object": "response", "status": "in_progress", "background": true, "output": [] });
    let database = Arc::new(Database::open(&home.database_file()).unwrap());
    let row = KeptResponse {
        response: lost.clone(),
        input: json!([]),
        events: None,
        open: true,
    };
    Responses::new(database).put("resp_lost", &row).unwrap();

    let app = open();
    for response in [&first, &streamed] {
        assert_eq!(ask(&app, get(&path(response))).await.1, *response);
    }
    assert_eq!(ask(&app, get(&path(&gone))).await.0, 404);
    assert_eq!(common::read_events(&app, get(&follow)).await, events);
    let again = ask(&app, get(&format!("{}/input_items", path(&first)))).await;
    assert_eq!(again, items);
    let next = json!({ "seed": 2, "previous_response_id": first["id"], "input": "and then" });
    let next = good(&app, RESPONSES, &body(next)).await;
    let spoken = json!([{ "role": "user", "content": "the river is" }, { "role": "assistant", "content": text(&first) },
                        { "role": "user", "content": "and then" }]);
    let whole = body(json!({ "seed": 2, "input": spoken }));
    assert_eq!(text(&next), text(&good(&app, RESPONSES, &whole).await));

    let (_, found) = ask(&app, get(&path(&lost))).await;
    assert_eq!(
        (&found["status"], &found["error"]["code"]),
        (&json!("failed"), &json!("server_error"))
    );
    let told = format!("{}?stream=true&starting_after=3", path(&lost));
    let told = common::read_events(&app, get(&told)).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "response.failed");
    assert_eq!(told[0].1["sequence_number"], 4);
    assert_eq!(delete(&app, "resp_lost").await.0, 200);
}
