//! The answers of `/v1/messages`: whole, and as events.

use std::collections::VecDeque;

use medley_types::FinishReason;
use serde_json::{Value, json};

use super::Refusal;
use crate::said::{News, Said, Usage, Voice, new_id};
use crate::service::Running;

/// A message as it is before anything is written.
fn message(model: &str, content: &[Value], usage: Value) -> Value {
    json!({
        "id": new_id("msg_"), "type": "message", "role": "assistant", "model": model,
        "content": content, "stop_reason": null, "stop_sequence": null, "usage": usage,
    })
}

fn usage(count: Usage) -> Value {
    json!({
        "input_tokens": count.prompt - count.cached.min(count.prompt),
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": count.cached,
        "output_tokens": count.written,
    })
}

/// Why it ended, and the stop sequence that did it.
fn reason(said: &Said) -> (&'static str, Option<&str>) {
    let stop = said
        .work
        .as_ref()
        .and_then(|work| work.stopped_by.as_deref());
    match said.reason() {
        Some(FinishReason::Length) => ("max_tokens", None),
        _ if stop.is_some() => ("stop_sequence", stop),
        _ if !said.calls.is_empty() => ("tool_use", None),
        _ => ("end_turn", None),
    }
}

/// The answer at once.
pub(super) fn whole(running: &Running, said: &Said, model: &str) -> Value {
    let mut content = Vec::new();
    if !said.reasoning.is_empty() {
        content.push(json!({ "type": "thinking", "thinking": said.reasoning, "signature": "" }));
    }
    if !said.text.is_empty() {
        content.push(json!({ "type": "text", "text": said.text }));
    }
    for call in &said.calls {
        // What was cut off is no object.
        let input = serde_json::from_str(&call.arguments)
            .ok()
            .filter(Value::is_object);
        let input = input.unwrap_or_else(|| json!({}));
        content
            .push(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input }));
    }
    let count = Usage::of(running, std::iter::once(said), 1);
    let mut message = message(model, &content, usage(count));
    let (reason, stop) = reason(said);
    message["stop_reason"] = json!(reason);
    message["stop_sequence"] = json!(stop);
    message
}

/// A message on its way.
pub(super) struct Run {
    running: Running,
    voice: Voice,
    /// What is being written, and its number.
    open: Option<&'static str>,
    index: usize,
    ready: VecDeque<Value>,
    over: bool,
}

impl Run {
    pub(super) fn new(mut running: Running, model: &str) -> Self {
        let mut voices = Voice::all(&mut running);
        let count = Usage {
            prompt: running.prompt_tokens,
            ..Usage::default()
        };
        let message = message(model, &[], usage(count));
        Self {
            running,
            voice: voices.remove(0),
            open: None,
            index: 0,
            ready: VecDeque::from([
                json!({ "type": "message_start", "message": message }),
                json!({ "type": "ping" }),
            ]),
            over: false,
        }
    }

    /// The next event; nothing after the last.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            if self.over {
                return None;
            }
            let Some(parts) = self.running.reader.next().await else {
                self.over = true;
                continue;
            };
            for (_, part) in parts {
                match self.voice.take(part, "messages") {
                    Ok((news, _)) => {
                        news.into_iter().for_each(|news| self.take(news));
                        if self.voice.said.work.is_some() {
                            self.end();
                        }
                    }
                    Err(error) => {
                        self.ready.push_back(Refusal(error).body());
                        self.over = true;
                    }
                }
            }
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Text(text) => {
                self.begin("text", || json!({ "type": "text", "text": "" }));
                self.add(json!({ "type": "text_delta", "text": text }));
            }
            News::Reasoning(text) => {
                let block = || json!({ "type": "thinking", "thinking": "", "signature": "" });
                self.begin("thinking", block);
                self.add(json!({ "type": "thinking_delta", "thinking": text }));
            }
            News::Call(index) => {
                self.close();
                let call = self.voice.said.calls.get(index);
                let block = json!({ "type": "tool_use", "id": call.map(|c| &c.id),
                                    "name": call.map(|c| &c.name), "input": {} });
                self.begin("tool_use", || block);
            }
            News::Arguments(_, text) => {
                self.add(json!({ "type": "input_json_delta", "partial_json": text }));
            }
        }
    }

    fn begin(&mut self, kind: &'static str, block: impl FnOnce() -> Value) {
        if self.open == Some(kind) {
            return;
        }
        self.close();
        self.open = Some(kind);
        self.ready
            .push_back(json!({ "type": "content_block_start", "index": self.index,
                                     "content_block": block() }));
    }

    fn add(&mut self, delta: Value) {
        self.ready.push_back(
            json!({ "type": "content_block_delta", "index": self.index, "delta": delta }),
        );
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            self.ready
                .push_back(json!({ "type": "content_block_stop", "index": self.index }));
            self.index += 1;
        }
    }

    fn end(&mut self) {
        self.close();
        let said = &self.voice.said;
        let (reason, stop) = reason(said);
        let count = Usage::of(&self.running, std::iter::once(said), 1);
        self.ready.push_back(json!({
            "type": "message_delta", "usage": usage(count),
            "delta": { "stop_reason": reason, "stop_sequence": stop },
        }));
        self.ready.push_back(json!({ "type": "message_stop" }));
        self.over = true;
    }
}
