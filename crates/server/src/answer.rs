//! The answers of `/v1/chat/completions` and `/v1/completions`: whole, and piece by piece.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use medley_engine::serving::Part;
use medley_types::{FinishReason, TextWork, TokenLogprob};
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::error::{Answer, ApiError};
use crate::service::{Running, Service, TokenBytes};

/// What every answer and every piece of it says of itself.
pub(crate) const FINGERPRINT: &str = concat!("medley-", env!("CARGO_PKG_VERSION"));

/// A comment is sent this often where nothing else is, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// No logarithm of a probability is told lower than this; JSON has no infinity.
const LEAST: f32 = -9999.0;

/// Carries out a request.
pub(crate) async fn respond(service: &Service, ask: Ask) -> Answer {
    let head = Head::new(&ask);
    let Ask {
        wanted,
        stream,
        usage,
        logprobs,
        echo,
        ..
    } = ask;
    let n = wanted.n;
    let running = service.write(wanted).await?;
    let texts = running.reader.open;
    let open = |text: usize| Choice {
        index: text,
        logprobs,
        echo: match running.prompts.get(text / n) {
            Some(prompt) if echo => prompt.clone(),
            _ => String::new(),
        },
        offset: 0,
    };
    let choices: Vec<Choice> = (0..texts).map(open).collect();
    if stream {
        return Ok(Stream::new(head, running, choices, usage).into_response());
    }
    whole(&head, running, choices).await
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed();
    now.map_or(0, |since| since.as_secs())
}

/// What all pieces of an answer have in common.
struct Head {
    id: String,
    chat: bool,
    created: u64,
    model: String,
}

impl Head {
    fn new(ask: &Ask) -> Self {
        let prefix = if ask.chat { "chatcmpl" } else { "cmpl" };
        Self {
            id: format!("{prefix}-{:032x}", rand::random::<u128>()),
            chat: ask.chat,
            created: now(),
            model: ask.wanted.request.model.clone(),
        }
    }

    /// The field that the prompt came in.
    fn field(&self) -> &'static str {
        if self.chat { "messages" } else { "prompt" }
    }

    fn object(&self, chunk: bool, choices: Value) -> Value {
        let object = match (self.chat, chunk) {
            (true, true) => "chat.completion.chunk",
            (true, false) => "chat.completion",
            (false, _) => "text_completion",
        };
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model,
            "choices": choices, "system_fingerprint": FINGERPRINT,
        })
    }
}

/// One text of an answer.
struct Choice {
    index: usize,
    logprobs: bool,
    /// What stands before the text.
    echo: String,
    /// Characters that were sent.
    offset: usize,
}

impl Choice {
    /// The log-probabilities of a piece, as chats or as completions have them.
    fn logprobs(&mut self, chat: bool, tokens: &[TokenLogprob], bytes: &TokenBytes) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        if chat {
            let content: Vec<Value> = tokens.iter().map(|token| of_chat(token, bytes)).collect();
            return json!({ "content": content, "refusal": null });
        }
        let mut offsets = Vec::new();
        for token in tokens {
            offsets.push(self.offset);
            self.offset += token.token.chars().count();
        }
        let top = |token: &TokenLogprob| -> Value {
            let all = token.top.iter().chain([token]);
            let entry = |t: &TokenLogprob| (t.token.clone(), json!(t.logprob.max(LEAST)));
            Value::Object(all.map(entry).collect::<Map<_, _>>())
        };
        json!({
            "tokens": tokens.iter().map(|t| t.token.as_str()).collect::<Vec<_>>(),
            "token_logprobs": tokens.iter().map(|t| t.logprob.max(LEAST)).collect::<Vec<_>>(),
            "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
            "text_offset": offsets,
        })
    }
}

fn of_chat(token: &TokenLogprob, bytes: &TokenBytes) -> Value {
    let plain = |t: &TokenLogprob| json!({ "token": t.token, "bytes": bytes(t.id), "logprob": t.logprob.max(LEAST) });
    let mut value = plain(token);
    value["top_logprobs"] = token.top.iter().map(plain).collect();
    value
}

fn reason(work: &TextWork) -> &'static str {
    match work.finish_reason {
        FinishReason::Length => "length",
        FinishReason::Stop | FinishReason::Cancelled => "stop",
    }
}

fn usage(prompt: usize, written: usize) -> Value {
    json!({ "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written })
}

/// The answer at once.
async fn whole(head: &Head, mut running: Running, mut choices: Vec<Choice>) -> Answer {
    let mut parts: Vec<Part> = choices.iter().map(|_| Part::default()).collect();
    while let Some(news) = running.reader.next().await {
        for (text, news) in news {
            let part = &mut parts[text];
            part.text.push_str(&news.text);
            part.tokens.extend(news.tokens);
            part.end = news.end.or(part.end.take());
        }
    }
    let mut written = 0;
    let mut list = Vec::new();
    for (choice, part) in choices.iter_mut().zip(parts) {
        let Some(end) = part.end else { continue };
        let work = end.map_err(|error| ApiError::of_serving(&error, head.field()))?;
        written += work.tokens;
        let logprobs = choice.logprobs(head.chat, &part.tokens, &running.bytes);
        let text = std::mem::take(&mut choice.echo) + &part.text;
        let mut value =
            json!({ "index": choice.index, "logprobs": logprobs, "finish_reason": reason(&work) });
        if head.chat {
            value["message"] =
                json!({ "role": "assistant", "content": text, "refusal": null, "annotations": [] });
        } else {
            value["text"] = json!(text);
        }
        list.push(value);
    }
    let mut answer = head.object(false, json!(list));
    answer["usage"] = usage(running.prompt_tokens, written);
    Ok(Json(answer).into_response())
}

/// The answer piece by piece.
struct Stream {
    head: Head,
    running: Running,
    choices: Vec<Choice>,
    /// Whether the count of tokens comes at the end, and `null` before it.
    usage: bool,
    written: usize,
    ready: VecDeque<String>,
    over: bool,
}

impl Stream {
    fn new(head: Head, running: Running, choices: Vec<Choice>, usage: bool) -> Self {
        let mut stream = Self {
            head,
            running,
            choices,
            usage,
            written: 0,
            ready: VecDeque::new(),
            over: false,
        };
        for index in 0..stream.choices.len() {
            if stream.head.chat {
                let delta = json!({ "role": "assistant", "content": "", "refusal": null });
                stream.send(json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": null }));
            } else if !stream.choices[index].echo.is_empty() {
                let echo = std::mem::take(&mut stream.choices[index].echo);
                stream.send(json!({ "index": index, "text": echo, "logprobs": null, "finish_reason": null }));
            }
        }
        stream
    }

    fn send(&mut self, choice: Value) {
        self.send_all(json!([choice]), Value::Null);
    }

    fn send_all(&mut self, choices: Value, usage: Value) {
        let mut chunk = self.head.object(true, choices);
        if self.usage {
            chunk["usage"] = usage;
        }
        self.ready.push_back(chunk.to_string());
    }

    /// What the next event says; `None` after the last.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            if self.over {
                return None;
            }
            match self.running.reader.next().await {
                Some(parts) => {
                    for (text, part) in parts {
                        self.take(text, part);
                    }
                }
                None => self.close(),
            }
        }
    }

    fn take(&mut self, index: usize, part: Part) {
        let choice = &mut self.choices[index];
        let logprobs = choice.logprobs(self.head.chat, &part.tokens, &self.running.bytes);
        if !part.text.is_empty() || (choice.logprobs && !part.tokens.is_empty()) {
            let mut value = json!({ "index": index, "logprobs": logprobs, "finish_reason": null });
            if self.head.chat {
                value["delta"] = json!({ "content": part.text });
            } else {
                value["text"] = json!(part.text);
            }
            self.send(value);
        }
        match part.end {
            None => {}
            Some(Ok(work)) => {
                self.written += work.tokens;
                let mut value =
                    json!({ "index": index, "logprobs": null, "finish_reason": reason(&work) });
                if self.head.chat {
                    value["delta"] = json!({});
                } else {
                    value["text"] = json!("");
                }
                self.send(value);
            }
            Some(Err(error)) => {
                // The status is sent already; clients take this as the error that it is.
                let error = ApiError::of_serving(&error, self.head.field());
                self.ready.push_back(error.body().to_string());
                self.over = true;
            }
        }
    }

    fn close(&mut self) {
        if self.usage {
            let usage = usage(self.running.prompt_tokens, self.written);
            self.send_all(json!([]), usage);
        }
        self.ready.push_back("[DONE]".into());
        self.over = true;
    }

    fn into_response(self) -> Response {
        let events = futures_util::stream::unfold(self, |mut stream| async move {
            let data = stream.next().await?;
            Some((Ok::<_, Infallible>(Event::default().data(data)), stream))
        });
        Sse::new(events)
            .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
            .into_response()
    }
}
