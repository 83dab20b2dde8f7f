//! The answers of `/v1/chat/completions` and `/v1/completions`: whole, and piece by piece.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use medley_engine::Tokenizer;
use medley_engine::serving::Part;
use medley_types::{FinishReason, TokenLogprob, ToolCall};
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::error::Answer;
use crate::said::{self, News, Said, Usage, Voice, new_id, now};
use crate::service::{Running, Service};

/// What every answer and every piece of it says of itself.
pub(crate) const FINGERPRINT: &str = concat!("medley-", env!("CARGO_PKG_VERSION"));

/// A comment is sent this often where nothing else is, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// No logarithm of a probability is told lower than this; JSON has no infinity.
const LEAST: f32 = -9999.0;

/// What keeps a stream of events alive.
pub(crate) fn keep_alive() -> KeepAlive {
    KeepAlive::new().interval(KEEP_ALIVE)
}

/// Carries out a request.
pub(crate) async fn respond(service: &Service, ask: Ask) -> Answer {
    let head = Head::new(&ask);
    let Ask {
        wanted,
        stream,
        usage,
        logprobs,
        echo,
        timings,
        ..
    } = ask;
    let n = wanted.n;
    let mut running = service.write(wanted).await?;
    let texts = running.reader.open;
    let open = |text: usize| Choice {
        index: text,
        logprobs,
        echo: match running.prompts.get(text / n) {
            Some(prompt) if echo => prompt.clone(),
            _ => String::new(),
        },
        offset: 0,
        first: echo,
        waiting: Vec::new(),
    };
    let choices: Vec<Choice> = (0..texts).map(open).collect();
    if stream {
        let voices = Voice::all(&mut running);
        let mut stream = Stream::new(head, running, voices, choices, n, usage);
        stream.timings = timings;
        return Ok(stream.into_response());
    }
    whole(&head, running, choices, n, timings).await
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
        let prefix = if ask.chat { "chatcmpl-" } else { "cmpl-" };
        Self {
            id: new_id(prefix),
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
    /// Whether the next token is the first of the prompt, of which nothing is known.
    first: bool,
    /// Tokens whose text did not come yet.
    waiting: Vec<TokenLogprob>,
}

impl Choice {
    /// The log-probabilities of a piece, as chats or as completions have them.
    fn logprobs(&mut self, chat: bool, tokens: &[TokenLogprob], bytes: &Tokenizer) -> Value {
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
        let unknown = self.first && !tokens.is_empty();
        self.first &= !unknown;
        let known = |values: &mut Vec<Value>| {
            if unknown {
                values[0] = Value::Null;
            }
        };
        let top = |token: &TokenLogprob| -> Value {
            let all = token.top.iter().chain([token]);
            let entry = |t: &TokenLogprob| (t.token.clone(), json!(t.logprob.max(LEAST)));
            Value::Object(all.map(entry).collect::<Map<_, _>>())
        };
        let logprob = |t: &TokenLogprob| json!(t.logprob.max(LEAST));
        let mut logprobs: Vec<Value> = tokens.iter().map(logprob).collect();
        let mut tops: Vec<Value> = tokens.iter().map(top).collect();
        known(&mut logprobs);
        known(&mut tops);
        json!({
            "tokens": tokens.iter().map(|t| t.token.as_str()).collect::<Vec<_>>(),
            "token_logprobs": logprobs,
            "top_logprobs": tops,
            "text_offset": offsets,
        })
    }
}

/// A token as chats and responses tell of it.
pub(crate) fn of_chat(token: &TokenLogprob, bytes: &Tokenizer) -> Value {
    let plain = |t: &TokenLogprob| json!({ "token": t.token, "bytes": bytes.token_bytes(t.id), "logprob": t.logprob.max(LEAST) });
    let mut value = plain(token);
    value["top_logprobs"] = token.top.iter().map(plain).collect();
    value
}

fn reason(said: &Said) -> &'static str {
    match said.reason() {
        Some(FinishReason::Length) => "length",
        _ if !said.calls.is_empty() => "tool_calls",
        _ => "stop",
    }
}

fn usage(count: Usage) -> Value {
    json!({
        "prompt_tokens": count.prompt, "completion_tokens": count.written,
        "total_tokens": count.prompt + count.written,
        "prompt_tokens_details": { "cached_tokens": count.cached, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": count.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0 },
    })
}

/// Where the time of the first text went, in seconds, and the tokens that it went to. Not OpenAI's; told to who asks.
fn timings<'s>(mut said: impl Iterator<Item = &'s Said>) -> Value {
    let Some(work) = said.next().and_then(|said| said.work.as_ref()) else {
        return Value::Null;
    };
    let read = work.prompt_tokens.saturating_sub(work.cached_tokens);
    let seconds = |tokens: usize, rate: f64| {
        if rate > 0.0 {
            tokens as f64 / rate
        } else {
            0.0
        }
    };
    json!({
        "prompt_tokens": work.prompt_tokens,
        "cached_tokens": work.cached_tokens,
        "prefill_s": seconds(read, work.timings.prefill_tok_s),
        "tokens": work.tokens,
        "decode_s": seconds(work.tokens, work.timings.decode_tok_s),
    })
}

/// A message as the assistant's answers have it.
fn message(said: &Said) -> Value {
    let silent = said.text.is_empty() && !said.calls.is_empty();
    let content = (!silent).then_some(&said.text);
    let mut message =
        json!({ "role": "assistant", "content": content, "refusal": null, "annotations": [] });
    if !said.reasoning.is_empty() {
        message["reasoning_content"] = json!(said.reasoning);
    }
    if !said.calls.is_empty() {
        let call = |call: &ToolCall| {
            json!({ "id": call.id, "type": "function",
                    "function": { "name": call.name, "arguments": call.arguments } })
        };
        message["tool_calls"] = said.calls.iter().map(call).collect();
    }
    message
}

/// The answer at once.
async fn whole(
    head: &Head,
    mut running: Running,
    mut choices: Vec<Choice>,
    n: usize,
    timed: bool,
) -> Answer {
    let texts = said::whole(&mut running, head.field()).await?;
    let mut list = Vec::new();
    for (choice, (said, tokens)) in choices.iter_mut().zip(&texts) {
        let logprobs = choice.logprobs(head.chat, tokens, &running.tokenizer);
        let mut value =
            json!({ "index": choice.index, "logprobs": logprobs, "finish_reason": reason(said) });
        if head.chat {
            value["message"] = message(said);
        } else {
            value["text"] = json!(std::mem::take(&mut choice.echo) + &said.text);
        }
        list.push(value);
    }
    let mut answer = head.object(false, json!(list));
    answer["usage"] = usage(Usage::of(&running, texts.iter().map(|(said, _)| said), n));
    if timed {
        answer["timings"] = timings(texts.iter().map(|(said, _)| said));
    }
    Ok(Json(answer).into_response())
}

/// The answer piece by piece.
struct Stream {
    head: Head,
    running: Running,
    voices: Vec<Voice>,
    choices: Vec<Choice>,
    /// Texts of each prompt.
    n: usize,
    /// Whether the count of tokens comes at the end, and `null` before it.
    usage: bool,
    /// Whether it is told at the end where the time went.
    timings: bool,
    ready: VecDeque<String>,
    over: bool,
}

impl Stream {
    fn new(
        head: Head,
        running: Running,
        voices: Vec<Voice>,
        choices: Vec<Choice>,
        n: usize,
        usage: bool,
    ) -> Self {
        let mut stream = Self {
            head,
            running,
            voices,
            choices,
            n,
            usage,
            timings: false,
            ready: VecDeque::new(),
            over: false,
        };
        for index in 0..stream.choices.len() {
            if stream.head.chat {
                let delta = json!({ "role": "assistant", "content": "", "refusal": null });
                stream.send(json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": null }));
            } else if !stream.choices[index].echo.is_empty() && !stream.choices[index].logprobs {
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
        let taken = self.voices[index].take(part, self.head.field());
        let (news, tokens) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                // The status is sent already; clients take this as the error that it is.
                self.ready.push_back(error.body().to_string());
                self.over = true;
                return;
            }
        };
        self.choices[index].waiting.extend(tokens);
        for news in news {
            self.tell(index, news);
        }
        if self.voices[index].said.work.is_some() {
            if self.choices[index].logprobs && !self.choices[index].waiting.is_empty() {
                self.tell(index, News::Text(String::new()));
            }
            let reason = reason(&self.voices[index].said);
            let mut value = json!({ "index": index, "logprobs": null, "finish_reason": reason });
            if self.head.chat {
                value["delta"] = json!({});
            } else {
                value["text"] = json!("");
            }
            self.send(value);
        }
    }

    fn tell(&mut self, index: usize, news: News) {
        let choice = &mut self.choices[index];
        let tokens = std::mem::take(&mut choice.waiting);
        let logprobs = choice.logprobs(self.head.chat, &tokens, &self.running.tokenizer);
        let mut value = json!({ "index": index, "logprobs": logprobs, "finish_reason": null });
        if self.head.chat {
            value["delta"] = delta(news, &self.voices[index].said);
        } else if let News::Text(text) = news {
            value["text"] = json!(std::mem::take(&mut choice.echo) + &text);
        }
        self.send(value);
    }

    fn close(&mut self) {
        if self.usage {
            let said = self.voices.iter().map(|voice| &voice.said);
            let usage = usage(Usage::of(&self.running, said, self.n));
            self.send_all(json!([]), usage);
        }
        if self.timings {
            let mut chunk = self.head.object(true, json!([]));
            chunk["timings"] = timings(self.voices.iter().map(|voice| &voice.said));
            self.ready.push_back(chunk.to_string());
        }
        self.ready.push_back("[DONE]".into());
        self.over = true;
    }

    fn into_response(self) -> Response {
        let events = futures_util::stream::unfold(self, |mut stream| async move {
            let data = stream.next().await?;
            Some((Ok::<_, Infallible>(Event::default().data(data)), stream))
        });
        Sse::new(events).keep_alive(keep_alive()).into_response()
    }
}

/// What a piece adds to a message.
fn delta(news: News, said: &Said) -> Value {
    match news {
        News::Text(text) => json!({ "content": text }),
        News::Reasoning(text) => json!({ "reasoning_content": text }),
        News::Call(index) => {
            let call = said.calls.get(index);
            let function = json!({ "name": call.map(|call| &call.name), "arguments": "" });
            json!({ "tool_calls": [{ "index": index, "id": call.map(|call| &call.id),
                                     "type": "function", "function": function }] })
        }
        News::Arguments(index, text) => {
            json!({ "tool_calls": [{ "index": index, "function": { "arguments": text } }] })
        }
    }
}
