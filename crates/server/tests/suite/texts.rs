//! Chats and completions, field for field.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{self, Tiny, app, ask, chat, events, good, names, post, with_shelf};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

fn joined(events: &[Value], index: u64, of: impl Fn(&Value) -> Option<&str>) -> String {
    let choices = events.iter().flat_map(|e| e["choices"].as_array().unwrap());
    let mine = choices.filter(|c| c["index"] == index);
    mine.filter_map(|c| of(c).map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_chat_has_the_shape_that_clients_know() {
    let app = app(|_| {});
    let answer = good(&app, CHAT, &chat(json!({}))).await;
    assert_eq!(
        names(&answer),
        [
            "id",
            "object",
            "created",
            "model",
            "choices",
            "system_fingerprint",
            "usage"
        ]
    );
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "tiny");
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    let choice = &answer["choices"][0];
    assert_eq!(
        names(choice),
        ["index", "logprobs", "finish_reason", "message"]
    );
    assert_eq!(choice["index"], 0);
    assert_eq!(choice["logprobs"], Value::Null);
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(
        names(&choice["message"]),
        ["role", "content", "refusal", "annotations"]
    );
    assert_eq!(choice["message"]["role"], "assistant");
    let usage = &answer["usage"];
    assert_eq!(usage["completion_tokens"], 12);
    let sum = usage["prompt_tokens"].as_u64().unwrap() + 12;
    assert_eq!(usage["total_tokens"], sum);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    let again = good(&app, CHAT, &chat(json!({}))).await;
    assert_eq!(again["choices"], answer["choices"], "the seed is the same");
    let cached = again["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
    assert_eq!(
        cached.unwrap() + 1,
        usage["prompt_tokens"].as_u64().unwrap(),
        "all but the last was read before"
    );
    let other = good(&app, CHAT, &chat(json!({ "seed": 4 }))).await;
    assert_ne!(other["choices"], answer["choices"]);
}

#[tokio::test]
async fn who_asks_is_told_where_the_time_went() {
    let app = app(|_| {});
    let whole = good(&app, CHAT, &chat(json!({ "timings": true }))).await;
    let fields = [
        "prompt_tokens",
        "cached_tokens",
        "prefill_s",
        "tokens",
        "decode_s",
    ];
    assert_eq!(names(&whole["timings"]), fields);
    assert_eq!(whole["timings"]["tokens"], 12);
    assert!(whole["timings"]["decode_s"].as_f64().unwrap() > 0.0);
    let streamed = chat(json!({ "timings": true, "stream": true }));
    let events = events(&app, CHAT, &streamed).await;
    let last = events.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["timings"]["tokens"], 12);
    assert!(
        good(&app, CHAT, &chat(json!({})))
            .await
            .get("timings")
            .is_none()
    );
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let app = app(|_| {});
    let fields = json!({ "n": 3, "logprobs": true, "top_logprobs": 2 });
    let whole = good(&app, CHAT, &chat(fields.clone())).await;
    let mut fields = fields;
    fields["stream"] = json!(true);
    fields["stream_options"] = json!({ "include_usage": true });
    let events = events(&app, CHAT, &chat(fields)).await;
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    for name in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(last["usage"][name], whole["usage"][name]);
    }
    for chunk in chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], last["id"]);
        assert_eq!(chunk["usage"], Value::Null);
        assert_eq!(
            names(chunk),
            [
                "id",
                "object",
                "created",
                "model",
                "choices",
                "system_fingerprint",
                "usage"
            ]
        );
    }
    let mut texts = Vec::new();
    for index in 0..3u64 {
        let text = joined(chunks, index, |c| c["delta"]["content"].as_str());
        let expected = &whole["choices"][index as usize];
        assert_eq!(expected["message"]["content"], text);
        let of_choice = chunks.iter().flat_map(|e| e["choices"].as_array().unwrap());
        let of_choice: Vec<&Value> = of_choice.filter(|c| c["index"] == index).collect();
        assert_eq!(
            of_choice[0]["delta"],
            json!({ "role": "assistant", "content": "", "refusal": null })
        );
        let end = of_choice.last().unwrap();
        assert_eq!(end["delta"], json!({}));
        assert_eq!(end["finish_reason"], expected["finish_reason"]);
        let tokens: Vec<&Value> = of_choice
            .iter()
            .filter_map(|c| c["logprobs"]["content"].as_array())
            .flatten()
            .collect();
        assert_eq!(json!(tokens), expected["logprobs"]["content"]);
        texts.push(text);
    }
    assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    let alone = good(&app, CHAT, &chat(json!({ "seed": 4 }))).await;
    assert_eq!(
        alone["choices"][0]["message"]["content"], texts[1],
        "the second of several is the one of the next seed"
    );
}

#[tokio::test]
async fn log_probabilities_are_told_as_each_endpoint_tells_them() {
    let app = app(|_| {});
    let fields = json!({ "logprobs": true, "top_logprobs": 2, "temperature": 0 });
    let answer = good(&app, CHAT, &chat(fields)).await;
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(names(logprobs), ["content", "refusal"]);
    let tokens = logprobs["content"].as_array().unwrap();
    assert_eq!(tokens.len(), 12);
    let mut bytes = Vec::new();
    for token in tokens {
        assert_eq!(names(token), ["token", "bytes", "logprob", "top_logprobs"]);
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 2);
        assert_eq!(names(&top[0]), ["token", "bytes", "logprob"]);
        assert_eq!(top[0]["bytes"], token["bytes"], "the likeliest is taken");
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
        let token = token["bytes"].as_array().unwrap().iter();
        bytes.extend(token.map(|b| b.as_u64().unwrap() as u8));
    }
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&bytes).trim_start(),
        content.trim_start()
    );

    let body =
        json!({ "model": "tiny", "prompt": "the", "max_tokens": 5, "logprobs": 1, "seed": 1 });
    let answer = good(&app, COMPLETIONS, &body).await;
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(
        names(logprobs),
        ["tokens", "token_logprobs", "top_logprobs", "text_offset"]
    );
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[list].as_array().unwrap().len(), 5, "{list}");
    }
    assert_eq!(logprobs["text_offset"][0], 0);
    let first = logprobs["tokens"][0].as_str().unwrap();
    assert_eq!(logprobs["text_offset"][1], first.chars().count());
    assert!(logprobs["top_logprobs"][0].get(first).is_some());

    // The prompt's own, which are those that it would be written with.
    let body = json!({ "model": "tiny", "prompt": "the river", "max_tokens": 3, "logprobs": 2, "seed": 1, "echo": true });
    let answer = good(&app, COMPLETIONS, &body).await;
    let choice = &answer["choices"][0];
    let logprobs = &choice["logprobs"];
    let tokens = logprobs["tokens"].as_array().unwrap();
    let count = answer["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
    assert_eq!(tokens.len(), count + 3);
    assert_eq!(logprobs["token_logprobs"][0], Value::Null);
    assert_eq!(logprobs["top_logprobs"][0], Value::Null);
    for at in 1..count {
        let logprob = logprobs["token_logprobs"][at].as_f64().unwrap();
        let tops = logprobs["top_logprobs"][at].as_object().unwrap();
        let best = tops
            .values()
            .map(|p| p.as_f64().unwrap())
            .fold(f64::MIN, f64::max);
        assert!(logprob < 0.0 && logprob <= best, "{at}");
    }
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let chunks = events(&app, COMPLETIONS, &streamed).await;
    assert_eq!(
        json!(joined(&chunks, 0, |c| c["text"].as_str())),
        choice["text"]
    );
    let lists = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["logprobs"]["token_logprobs"].as_array());
    let all: Vec<&Value> = lists.flatten().collect();
    assert_eq!(json!(all), logprobs["token_logprobs"]);
}

#[tokio::test]
async fn completions_take_prompts_of_every_kind() {
    let app = app(|_| {});
    // The model does not end its text by itself.
    let base = json!({ "model": "plain", "seed": 5, "logit_bias": { "2": -100 } });
    let with = |change: Value| {
        let mut body = base.clone();
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        body
    };
    let one = good(&app, COMPLETIONS, &with(json!({ "prompt": "a river" }))).await;
    assert_eq!(one["object"], "text_completion");
    assert!(one["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(
        names(&one["choices"][0]),
        ["index", "logprobs", "finish_reason", "text"]
    );
    assert_eq!(
        one["usage"]["completion_tokens"], 16,
        "as many as OpenAI writes unasked"
    );
    let two = with(json!({ "prompt": ["a river", "of"], "n": 2, "echo": true }));
    let two = good(&app, COMPLETIONS, &two).await;
    let choices = two["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    let text = one["choices"][0]["text"].as_str().unwrap();
    assert_eq!(choices[0]["text"], format!("a river{text}"));
    assert!(choices[3]["text"].as_str().unwrap().starts_with("of"));
    let indices: Vec<&Value> = choices.iter().map(|c| &c["index"]).collect();
    assert_eq!(indices, [0, 1, 2, 3]);

    let tokens = with(json!({ "prompt": [3 + 97, 3 + 98], "max_tokens": 0, "echo": true }));
    let tokens = good(&app, COMPLETIONS, &tokens).await;
    assert_eq!(tokens["choices"][0]["text"], "ab");
    let usage = &tokens["usage"];
    for (name, count) in [
        ("prompt_tokens", 2),
        ("completion_tokens", 0),
        ("total_tokens", 2),
    ] {
        assert_eq!(usage[name], count, "{name}");
    }
    let streamed = with(json!({ "prompt": "a river", "echo": true, "stream": true }));
    let streamed = events(&app, COMPLETIONS, &streamed).await;
    assert!(
        streamed
            .iter()
            .all(|e| e.get("usage").is_none() && e["object"] == "text_completion")
    );
    assert_eq!(
        joined(&streamed, 0, |c| c["text"].as_str()),
        format!("a river{text}")
    );
}

#[tokio::test]
async fn stop_strings_and_schemas_hold() {
    let app = app(|_| {});
    let free = good(&app, CHAT, &chat(json!({}))).await;
    let text = free["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    let stop: String = text.chars().skip(4).take(2).collect();
    let stopped = good(&app, CHAT, &chat(json!({ "stop": [stop.clone()] }))).await;
    let choice = &stopped["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(
        choice["message"]["content"].as_str().unwrap(),
        &text[..text.find(&stop).unwrap()]
    );
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer", "maximum": 99, "minimum": 0 } },
                         "required": ["n"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "number", "strict": true, "schema": schema } });
    let fields = json!({ "response_format": format, "max_tokens": 60, "temperature": 0 });
    let answer = good(&app, CHAT, &chat(fields)).await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "stop", "{choice}");
    let value: Value =
        serde_json::from_str(choice["message"]["content"].as_str().unwrap()).unwrap();
    assert!(value["n"].as_u64().unwrap() <= 99);
    assert_eq!(names(&value), ["n"]);
    let fields = json!({ "response_format": { "type": "json_object" } });
    let answer = good(&app, CHAT, &chat(fields)).await;
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.trim_start().starts_with('{'), "{content}");
}

#[tokio::test]
async fn what_is_not_read_holds_nobody_up_and_ends_when_it_is_dropped() {
    let app = app(|settings| settings.queue = 2);
    let long = chat(json!({ "stream": true, "max_tokens": 900, "logit_bias": { "2": -100 } }));
    let unread = app.clone().oneshot(post(CHAT, &long)).await.unwrap();
    // Another is served from its beginning to its end while nobody reads the first.
    good(&app, CHAT, &chat(json!({}))).await;
    let second = app.clone().oneshot(post(CHAT, &long)).await.unwrap();
    let (status, refused) = ask(&app, post(CHAT, &chat(json!({})))).await;
    assert_eq!(status, 429);
    assert_eq!(
        refused["error"],
        json!({ "message": "Too many requests are waiting; try again in a moment.",
                "type": "rate_limit_error", "param": null, "code": "queue_full" })
    );
    drop(second);
    let answer = good(&app, CHAT, &chat(json!({}))).await;
    assert_eq!(answer["usage"]["completion_tokens"], 12);
    let bytes = unread.into_body().collect().await.unwrap().to_bytes();
    assert!(
        bytes.ends_with(b"data: [DONE]\n\n"),
        "what waited is all there"
    );
}

#[tokio::test]
async fn models_share_a_budget_and_are_loaded_once() {
    let shelf = Arc::new(Tiny::default());
    let app = with_shelf(shelf.clone(), |settings| {
        settings.limits.memory = common::MEMORY * 3 / 2
    });
    let of = |model: &str| chat(json!({ "model": model }));
    let all = async {
        let bodies = [of("tiny"), of("other"), of("tiny"), of("tiny"), of("other")];
        let asked: Vec<_> = bodies
            .into_iter()
            .map(|body| {
                let app = app.clone();
                tokio::spawn(async move { good(&app, CHAT, &body).await })
            })
            .collect();
        for answer in asked {
            answer.await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .unwrap();
    let before = shelf.loads.lock().unwrap().clone();
    assert!(before["tiny"] <= 3 && before["other"] <= 2, "{before:?}");
    let first = good(&app, CHAT, &of("tiny")).await;
    let again = good(&app, CHAT, &of("tiny")).await;
    assert_eq!(first["choices"], again["choices"]);
    let loads = shelf.loads.lock().unwrap()["tiny"];
    assert!(loads <= before["tiny"] + 1, "it is loaded once for both");

    let small = with_shelf(shelf, |settings| {
        settings.limits.memory = common::MEMORY - 1
    });
    let (status, refused) = ask(&small, post(CHAT, &of("tiny"))).await;
    assert_eq!(status, 400);
    assert_eq!(refused["error"]["code"], "insufficient_memory");
    assert_eq!(refused["error"]["param"], "model");
}

#[tokio::test]
async fn a_model_is_looked_into() {
    let app = app(|_| {});
    let asked =
        json!({ "model": "plain", "prompt": "the sea", "attention": true, "candidates": 5 });
    let seen = good(&app, "/v1/inspect/text", &asked).await;
    assert_eq!(
        names(&seen),
        ["object", "model", "shape", "tokens", "next", "attention"]
    );
    let (shape, tokens) = (&seen["shape"], seen["tokens"].as_array().unwrap());
    let length = |value: &Value| value.as_array().unwrap().len();
    assert_eq!(length(&seen["attention"]) as u64, shape["layers"]);
    for layer in seen["attention"].as_array().unwrap() {
        assert_eq!(length(layer) as u64, shape["heads"]);
        for head in layer.as_array().unwrap() {
            assert_eq!(length(head), tokens.len());
            for (at, row) in head.as_array().unwrap().iter().enumerate() {
                let weights = row.as_array().unwrap().iter();
                let sum: f64 = weights.map(|weight| weight.as_f64().unwrap()).sum();
                assert!(length(row) == at + 1 && (sum - 1.0).abs() < 2e-3, "{row}");
            }
        }
    }
    // The candidates are those that a completion names, with the same probabilities, and the rest is what is left.
    let candidates = seen["next"]["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 5);
    let written = json!({ "model": "plain", "prompt": "the sea", "max_tokens": 1, "logprobs": 5, "temperature": 0 });
    let written = good(&app, COMPLETIONS, &written).await;
    let first = &written["choices"][0]["logprobs"]["token_logprobs"][0];
    let gap = candidates[0]["logprob"].as_f64().unwrap() - first.as_f64().unwrap();
    assert!(gap.abs() < 1e-3, "{gap}");
    let mass = |value: &Value| value.as_f64().unwrap().exp();
    let named: f64 = candidates.iter().map(|one| mass(&one["logprob"])).sum();
    let rest = seen["next"]["rest"].as_array().unwrap().iter();
    let rest: f64 = rest
        .map(|class| mass(&class[0]) * class[1].as_f64().unwrap())
        .sum();
    assert!((named + rest - 1.0).abs() < 1e-6, "{named} {rest}");
    let quiet = json!({ "model": "plain", "prompt": "the sea" });
    let quiet = good(&app, "/v1/inspect/text", &quiet).await;
    assert!(quiet.get("attention").is_none());
}

#[tokio::test]
async fn what_cannot_be_looked_into_is_refused() {
    let app = app(|_| {});
    let path = "/v1/inspect/text";
    for (body, param) in [
        (json!({ "model": "plain" }), "prompt"),
        (json!({ "model": "plain", "prompt": "" }), "prompt"),
        (
            json!({ "model": "plain", "prompt": "sea ".repeat(100) }),
            "prompt",
        ),
        (json!({ "model": "icons", "prompt": "sea" }), "model"),
        (
            json!({ "model": "plain", "prompt": "sea", "candidates": 0 }),
            "candidates",
        ),
        (
            json!({ "model": "plain", "prompt": "sea", "attention": "yes" }),
            "attention",
        ),
    ] {
        let (status, answer) = ask(&app, post(path, &body)).await;
        assert_eq!(
            (status.as_u16(), &answer["error"]["param"]),
            (400, &json!(param)),
            "{answer}"
        );
    }
}
