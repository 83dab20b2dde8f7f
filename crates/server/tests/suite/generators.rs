//! Generators that a response calls as tools: items, events, and what is refused before anything is written.

use crate::common::{
    self, app, ask, get, good, named_events, names, post, read_events, with_shelf,
};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use medley_engine::Home;
use medley_engine::image::Format;
use medley_engine::keys::{Keys, Scope};
use serde_json::{Value, json};
use tower::ServiceExt;

const RESPONSES: &str = "/v1/responses";

/// `tiny` is small: the user's words decide for it. `other` chooses by itself.
fn body(change: Value) -> Value {
    let mut body = json!({ "model": "other", "input": "the river is", "max_output_tokens": 300, "seed": 3,
                           "tools": [{ "type": "image_generation" }] });
    let fields = change.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

fn must(tool: &str, fields: Value) -> Value {
    let mut tool = json!({ "type": tool });
    let choice = tool.clone();
    let fields = fields.as_object().unwrap().clone();
    tool.as_object_mut().unwrap().extend(fields);
    body(json!({ "tools": [tool], "tool_choice": choice }))
}

fn kinds(response: &Value) -> Vec<&str> {
    let items = response["output"].as_array().unwrap();
    items.iter().map(|i| i["type"].as_str().unwrap()).collect()
}

fn bytes(item: &Value) -> Vec<u8> {
    STANDARD.decode(item["result"].as_str().unwrap()).unwrap()
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[tokio::test]
async fn who_must_draw_draws_and_goes_on() {
    let app = app(|_| {});
    let response = good(
        &app,
        RESPONSES,
        &must("image_generation", json!({ "size": "8x8", "seed": 5 })),
    )
    .await;
    assert_eq!(kinds(&response), ["image_generation_call", "message"]);
    let item = &response["output"][0];
    assert_eq!(
        names(item),
        [
            "id",
            "type",
            "status",
            "result",
            "revised_prompt",
            "size",
            "quality",
            "background",
            "output_format"
        ]
    );
    assert!(item["id"].as_str().unwrap().starts_with("ig_"));
    for (name, value) in [
        ("status", "completed"),
        ("size", "8x8"),
        ("quality", "auto"),
        ("background", "opaque"),
        ("output_format", "png"),
    ] {
        assert_eq!(item[name], value, "{name}");
    }
    let file = bytes(item);
    assert_eq!(Format::of_bytes(&file), Some(Format::Png));
    let prompt = item["revised_prompt"].as_str().unwrap();
    assert!((1..=400).contains(&prompt.chars().count()), "{prompt}");
    // The picture is the one that the same words give elsewhere.
    let same = json!({ "prompt": prompt, "size": "8x8", "seed": 5 });
    let same = good(&app, "/v1/images/generations", &same).await;
    assert_eq!(item["result"], same["data"][0]["b64_json"]);
    // What both texts took is counted.
    let alone = body(json!({ "tools": [] }));
    let alone = good(&app, RESPONSES, &alone).await;
    let input = |response: &Value| response["usage"]["input_tokens"].as_u64().unwrap();
    assert!(input(&response) > 2 * input(&alone));
}

#[tokio::test]
async fn every_medium_comes_as_an_item_of_its_own() {
    let app = app(|_| {});
    for (tool, fields, mime, magic) in [
        (
            "music_generation",
            json!({ "seconds": 4, "seed": 1, "output_format": "flac" }),
            "audio/flac",
            "fLaC",
        ),
        (
            "speech_generation",
            json!({ "voice": "low", "output_format": "wav" }),
            "audio/wav",
            "RIFF",
        ),
        (
            "video_generation",
            json!({ "seconds": 2 }),
            "video/mp4",
            "ftyp",
        ),
    ] {
        let mut asked = must(tool, fields);
        // What it cannot say ("?") the voice of these tests does not.
        asked["input"] = json!("say or play something");
        asked["model"] = json!("tiny");
        let response = good(&app, RESPONSES, &asked).await;
        let call = format!("{tool}_call");
        assert_eq!(
            kinds(&response),
            [call.as_str()],
            "a small model is not asked what it thinks of it"
        );
        let item = &response["output"][0];
        assert_eq!(
            (&item["status"], &item["mime"]),
            (&json!("completed"), &json!(mime))
        );
        assert!(item["seconds"].as_f64().unwrap() > 0.5);
        assert!(has(&bytes(item)[..12], magic), "{tool}");
        assert_eq!(response["status"], "completed");
    }
}

#[tokio::test]
async fn the_words_of_the_user_decide_for_a_small_model() {
    let app = app(|_| {});
    let tools = json!(common::tools_of_all());
    for (input, item, words) in [
        (
            "draw a red apple",
            Some("image_generation_call"),
            "a red apple",
        ),
        (
            "Please say good morning",
            Some("speech_generation_call"),
            "good morning",
        ),
        (
            "a short video of waves",
            Some("video_generation_call"),
            "waves",
        ),
        ("the river is", None, ""),
        ("a red apple", None, ""),
    ] {
        let asked = body(
            json!({ "model": "tiny", "input": input, "tools": tools, "max_output_tokens": 120 }),
        );
        let response = good(&app, RESPONSES, &asked).await;
        assert_eq!(kinds(&response), [item.unwrap_or("message")], "{input}");
        let found = &response["output"][0];
        if item.is_some() {
            if item == Some("speech_generation_call") {
                assert_eq!(found["mime"], "audio/ogg");
            }
            let said = found.get("revised_prompt").or(found.get("text")).unwrap();
            assert_eq!(said, words);
            assert!(item != Some("image_generation_call") || has(&bytes(found), words));
        }
    }
    // Nobody draws who may not.
    let never = body(
        json!({ "model": "tiny", "input": "draw a red apple", "tool_choice": "none", "max_output_tokens": 12 }),
    );
    assert_eq!(kinds(&good(&app, RESPONSES, &never).await), ["message"]);
}

#[tokio::test]
async fn who_may_draw_need_not_and_does_not_without_end() {
    let app = app(|_| {});
    let (mut drew, mut spoke) = (0, 0);
    for seed in 0..12 {
        let asked = body(
            json!({ "seed": seed, "max_output_tokens": 200, "max_tool_calls": 2, "temperature": 1.5 }),
        );
        let response = good(&app, RESPONSES, &asked).await;
        let drawn = kinds(&response)
            .iter()
            .filter(|kind| **kind == "image_generation_call")
            .count();
        assert!(drawn <= 2, "{:?}", kinds(&response));
        assert!(response["usage"]["output_tokens"].as_u64().unwrap() <= 200);
        drew += usize::from(drawn > 0);
        spoke += usize::from(kinds(&response).contains(&"message"));
    }
    assert!(spoke > 0, "{drew} of 12 drew");
    // Words that ask for a picture do so of any model; what else is to be called comes first.
    let asked = body(json!({ "input": "draw a red apple" }));
    assert_eq!(
        kinds(&good(&app, RESPONSES, &asked).await)[0],
        "image_generation_call"
    );
    let mut chosen = std::collections::HashSet::new();
    for seed in 0..8 {
        let tools =
            json!([{ "type": "image_generation" }, { "type": "function", "name": "look_up" }]);
        let required = body(
            json!({ "tools": tools, "tool_choice": "required", "input": "draw a red apple", "seed": seed }),
        );
        let response = good(&app, RESPONSES, &required).await;
        chosen.insert(kinds(&response)[0].to_owned());
        // A function is for the client to carry out before anything more is said.
        let silent = !kinds(&response).contains(&"message");
        assert!(silent || !kinds(&response).contains(&"function_call"));
    }
    let both = ["function_call", "image_generation_call"];
    assert!(
        both.iter().all(|kind| chosen.contains(*kind)) && chosen.len() == 2,
        "{chosen:?}"
    );
}

#[tokio::test]
async fn events_of_a_picture_come_in_order() {
    let app = app(|_| {});
    let mut asked = must(
        "image_generation",
        json!({ "partial_images": 2, "steps": 6, "output_format": "webp" }),
    );
    asked["stream"] = json!(true);
    let events = named_events(&app, RESPONSES, &asked).await;
    for (number, (name, event)) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
        assert_eq!(event["type"], *name);
    }
    let told: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        told[..9],
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.image_generation_call.in_progress",
            "response.image_generation_call.generating",
            "response.image_generation_call.partial_image",
            "response.image_generation_call.partial_image",
            "response.image_generation_call.completed",
            "response.output_item.done",
        ]
    );
    assert_eq!(
        told[9..11],
        ["response.output_item.added", "response.content_part.added"]
    );
    let item = &events[8].1["item"];
    for (at, (_, event)) in events[3..8].iter().enumerate() {
        assert_eq!(
            (&event["item_id"], &event["output_index"]),
            (&item["id"], &json!(0))
        );
        if let 2 | 3 = at {
            assert_eq!(event["partial_image_index"], at - 2);
            let file = STANDARD
                .decode(event["partial_image_b64"].as_str().unwrap())
                .unwrap();
            assert_eq!(Format::of_bytes(&file), Some(Format::WebP));
        }
    }
    assert_eq!(events[2].1["item"]["status"], "in_progress");
    assert_eq!(events[9].1["output_index"], 1);
    let (last, done) = events.last().unwrap();
    assert!(["response.completed", "response.incomplete"].contains(&last.as_str()));
    assert_eq!(done["response"]["output"][0], *item);
    // The words for the generator are in its item, and nobody is told of a function.
    assert!(!told.contains(&"response.function_call_arguments.delta"));
}

#[tokio::test]
async fn what_is_kept_is_gone_on_from_and_changed() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let app = app(|settings| settings.home = Some(home));
    let first = good(
        &app,
        RESPONSES,
        &must("image_generation", json!({ "size": "8x8" })),
    )
    .await;
    let id = first["id"].as_str().unwrap();
    let (_, kept) = ask(&app, get(&format!("{RESPONSES}/{id}"))).await;
    assert_eq!(kept, first);
    let next = json!({ "model": "other", "input": "and now", "previous_response_id": id, "max_output_tokens": 8 });
    let next = good(&app, RESPONSES, &next).await;
    let items = format!(
        "{RESPONSES}/{}/input_items?order=asc",
        next["id"].as_str().unwrap()
    );
    let (_, items) = ask(&app, get(&items)).await;
    assert_eq!(items["data"][1], first["output"][0]);
    // The same items sent by the client, as OpenAI's clients do, with and without what came of the call.
    let call = &first["output"][0];
    for item in [
        call.clone(),
        json!({ "type": "image_generation_call", "id": call["id"] }),
    ] {
        let asked = json!({ "model": "other", "max_output_tokens": 8,
            "input": [{ "role": "user", "content": "draw" }, item, { "role": "user", "content": "and now" }] });
        good(&app, RESPONSES, &asked).await;
    }
    // The last picture is what a change begins with.
    let mut change = must(
        "image_generation",
        json!({ "action": "edit", "strength": 0.3, "size": "8x8", "seed": 9 }),
    );
    change["previous_response_id"] = json!(id);
    let changed = good(&app, RESPONSES, &change).await;
    let item = &changed["output"][0];
    assert_ne!(item["result"], call["result"]);
    assert!(
        has(&bytes(item), "strength"),
        "its recipe names what it began with"
    );
    let mut nothing = change.clone();
    nothing["previous_response_id"] = Value::Null;
    let (status, error) = ask(&app, post(RESPONSES, &nothing)).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["param"]),
        (400, &json!("tools[0].action"))
    );
}

#[tokio::test]
async fn a_picture_in_the_middle_is_cancelled() {
    let app = app(|_| {});
    let mut slow = must(
        "image_generation",
        json!({ "steps": 1000, "size": "64x64" }),
    );
    slow["background"] = json!(true);
    let begun = good(&app, RESPONSES, &slow).await;
    let path = format!("{RESPONSES}/{}", begun["id"].as_str().unwrap());
    let watched = app.clone().oneshot(get(&format!("{path}?stream=true")));
    let mut body = watched.await.unwrap().into_body();
    let mut told = String::new();
    while !told.contains("response.image_generation_call.generating") {
        let frame = body.frame().await.unwrap().unwrap();
        told += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
    }
    let cancelled = good(&app, &format!("{path}/cancel"), &json!({})).await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(kinds(&cancelled), ["image_generation_call"]);
    let item = &cancelled["output"][0];
    assert_eq!(
        (&item["status"], &item["result"]),
        (&json!("failed"), &Value::Null)
    );
    let events = read_events(&app, get(&format!("{path}?stream=true"))).await;
    let done = events
        .iter()
        .find(|(name, _)| name == "response.output_item.done");
    assert_eq!(done.unwrap().1["item"], *item);
    // Nothing of it is left in the way.
    let after = good(&app, RESPONSES, &must("image_generation", json!({}))).await;
    assert_eq!(after["output"][0]["status"], "completed");
}

#[tokio::test]
async fn one_place_in_the_queue_is_enough() {
    let app = app(|settings| settings.queue = 1);
    let response = good(&app, RESPONSES, &must("image_generation", json!({}))).await;
    assert_eq!(response["output"][0]["status"], "completed");
    let tools = json!([{ "type": "image_generation" }, { "type": "video_generation" }]);
    let several = body(json!({ "tools": tools, "tool_choice": "required" }));
    good(&app, RESPONSES, &several).await;
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_before_anything_is_written() {
    let app = app(|_| {});
    for (tool, status, param) in [
        (
            json!({ "type": "image_generation", "size": "large" }),
            400,
            "tools[0].size",
        ),
        (
            json!({ "type": "image_generation", "size": "1024x1024" }),
            400,
            "tools[0].size",
        ),
        (
            json!({ "type": "image_generation", "quality": "ultra" }),
            400,
            "tools[0].quality",
        ),
        (
            json!({ "type": "image_generation", "background": "transparent" }),
            400,
            "tools[0].background",
        ),
        (
            json!({ "type": "image_generation", "partial_images": 9 }),
            400,
            "tools[0].partial_images",
        ),
        (
            json!({ "type": "image_generation", "output_format": "bmp" }),
            400,
            "tools[0].output_format",
        ),
        (
            json!({ "type": "image_generation", "output_compression": 5 }),
            400,
            "tools[0].output_compression",
        ),
        (
            json!({ "type": "image_generation", "action": "paint" }),
            400,
            "tools[0].action",
        ),
        (
            json!({ "type": "image_generation", "input_image_mask": { "image_url": "x" } }),
            400,
            "tools[0].input_image_mask",
        ),
        (
            json!({ "type": "image_generation", "n": 2 }),
            400,
            "tools[0].n",
        ),
        (
            json!({ "type": "image_generation", "model": "gpt-image-1" }),
            404,
            "tools[0].model",
        ),
        (
            json!({ "type": "image_generation", "model": "tunes" }),
            400,
            "tools[0].model",
        ),
        (
            json!({ "type": "music_generation", "seconds": 9999 }),
            400,
            "tools[0].seconds",
        ),
        (
            json!({ "type": "music_generation", "metre": "what" }),
            400,
            "tools[0].metre",
        ),
        (
            json!({ "type": "music_generation", "output_format": "midi" }),
            400,
            "tools[0].output_format",
        ),
        (
            json!({ "type": "speech_generation", "voice": "nobody" }),
            400,
            "tools[0].voice",
        ),
        (
            json!({ "type": "speech_generation", "speed": 99 }),
            400,
            "tools[0].speed",
        ),
        (
            json!({ "type": "video_generation", "seconds": "500" }),
            400,
            "tools[0].seconds",
        ),
        (
            json!({ "type": "video_generation", "output_format": "gif" }),
            400,
            "tools[0].output_format",
        ),
        (json!({ "type": "web_search" }), 400, "tools[0].type"),
    ] {
        let (code, error) = ask(&app, post(RESPONSES, &body(json!({ "tools": [tool] })))).await;
        assert_eq!(
            (code.as_u16(), &error["error"]["param"]),
            (status, &json!(param)),
            "{tool}: {error}"
        );
    }
    for (fields, param) in [
        (
            json!({ "tool_choice": { "type": "music_generation" } }),
            "tool_choice",
        ),
        (
            json!({ "tools": [{ "type": "image_generation" }, { "type": "image_generation" }] }),
            "tools",
        ),
    ] {
        let (code, error) = ask(&app, post(RESPONSES, &body(fields.clone()))).await;
        assert_eq!(
            (code.as_u16(), &error["error"]["param"]),
            (400, &json!(param)),
            "{fields}: {error}"
        );
    }
    // The other shapes of chats have functions alone.
    let chat = common::chat(json!({ "tools": [{ "type": "image_generation" }] }));
    assert_eq!(
        ask(&app, post("/v1/chat/completions", &chat))
            .await
            .0
            .as_u16(),
        400
    );
}

#[tokio::test]
async fn a_medium_without_a_model_is_told_of_at_once() {
    let app = with_shelf(std::sync::Arc::new(common::Tiny::without("icons")), |_| {});
    let (status, error) = ask(&app, post(RESPONSES, &must("image_generation", json!({})))).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["param"]),
        (400, &json!("tools[0].type"))
    );
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no model here draws pictures"),
        "{error}"
    );
}

async fn with_key(app: &Router, key: &str, body: &Value) -> (u16, Value) {
    let request = Request::post(RESPONSES)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"))
        .body(Body::from(body.to_string()))
        .unwrap();
    let (status, value) = ask(app, request).await;
    (status.as_u16(), value)
}

#[tokio::test]
async fn keys_say_who_may_have_something_made_and_how_often() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let mut keys = Keys::default();
    let reader = keys
        .add("reader", vec![Scope::Library], None, None)
        .unwrap();
    let once = keys
        .add("once", vec![Scope::Generate], Some(1), None)
        .unwrap();
    let twice = keys
        .add("twice", vec![Scope::Generate], Some(2), None)
        .unwrap();
    keys.save(&home.keys_file()).unwrap();
    let app = app(|settings| settings.home = Some(home));
    let asked = must("image_generation", json!({}));
    let (status, error) = with_key(&app, &reader, &asked).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (403, &json!("insufficient_permissions"))
    );
    // What a response has made counts as another request, as if it were asked for by itself.
    let (status, error) = with_key(&app, &once, &asked).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (429, &json!("rate_limit_exceeded"))
    );
    assert_eq!(with_key(&app, &twice, &asked).await.0, 200);
}
