//! A response while it is written: its events, in the order that OpenAI documents, and what it comes to.

use std::collections::VecDeque;

use medley_engine::Tokenizer;
use medley_engine::serving::Part;
use medley_types::{FinishReason, TokenLogprob};
use serde_json::{Value, json};

use super::chain::{Chain, Making};
use super::lookup::Lookup;
use super::store::Ending;
use crate::answer::of_chat;
use crate::error::ApiError;
use crate::said::{News, Usage, Voice, new_id, now};
use crate::service::Running;

/// A response on its way.
pub(super) struct Run {
    pub(super) response: Value,
    /// Why it failed.
    pub(super) failure: Option<ApiError>,
    /// Its items so far.
    pub(super) output: Vec<Value>,
    pub(super) stage: Stage,
    /// What ends it.
    pub(super) ending: Ending,
    /// How it goes on after generators were called; none where it has no such tools.
    pub(super) chain: Option<Chain>,
    tokenizer: Tokenizer,
    /// Why the last of its texts ended.
    pub(super) reason: Option<FinishReason>,
    /// Tokens of its texts so far.
    pub(super) usage: Usage,
    logprobs: bool,
    sequence: u64,
    /// The item that is being written.
    open: Option<Open>,
    /// Tokens whose text did not come yet.
    waiting: Vec<TokenLogprob>,
    ready: VecDeque<Value>,
    /// What was found for it, which its text is cited from.
    pub(super) found: Option<Lookup>,
}

/// What is being done for a response.
pub(super) enum Stage {
    /// A text is written.
    Writing(Box<Writing>),
    /// A generator makes something.
    Making(Making),
    Over,
}

/// A text on its way.
pub(super) struct Writing {
    pub(super) running: Running,
    pub(super) voice: Voice,
}

impl Writing {
    pub(super) fn new(mut running: Running) -> Self {
        let mut voices = Voice::all(&mut running);
        Self {
            voice: voices.remove(0),
            running,
        }
    }
}

/// An item that is being written, the last of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Thought,
    Message,
    Call,
}

impl Run {
    pub(super) fn new(response: Value, running: Running, background: bool, logprobs: bool) -> Self {
        let ending = Ending::default();
        ending.follow(running.cancel.clone());
        let mut run = Self {
            response,
            failure: None,
            output: Vec::new(),
            tokenizer: running.tokenizer.clone(),
            stage: Stage::Writing(Box::new(Writing::new(running))),
            ending,
            chain: None,
            reason: None,
            usage: Usage::default(),
            logprobs,
            sequence: 0,
            open: None,
            waiting: Vec::new(),
            ready: VecDeque::new(),
            found: None,
        };
        run.tell_response("response.created");
        if background {
            run.tell_response("response.queued");
            run.response["status"] = json!("in_progress");
        }
        run.tell_response("response.in_progress");
        run
    }

    /// The same after a search, which is told first.
    pub(super) fn after(mut self, found: Option<Lookup>) -> Self {
        let Some(found) = found else { return self };
        let mut begun = found.item.clone();
        (begun["status"], begun["results"]) = (json!("in_progress"), Value::Null);
        let index = self.output.len();
        self.output.push(found.item.clone());
        self.tell(
            "response.output_item.added",
            json!({ "output_index": index, "item": begun }),
        );
        for state in ["in_progress", "searching", "completed"] {
            self.tell_here(&format!("response.file_search_call.{state}"), json!({}));
        }
        self.tell(
            "response.output_item.done",
            json!({ "output_index": index, "item": found.item }),
        );
        self.found = Some(found);
        self
    }

    /// Cites what the open message says.
    fn cite(&mut self) {
        let Some(found) = &self.found else { return };
        let text = self
            .output
            .last()
            .and_then(|item| item.pointer("/content/0/text"));
        let annotations = found
            .searched
            .annotations(text.and_then(Value::as_str).unwrap_or_default());
        for (number, annotation) in annotations.iter().enumerate() {
            self.tell_here(
                "response.output_text.annotation.added",
                json!({ "content_index": 0, "annotation_index": number, "annotation": annotation }),
            );
        }
        if let Some(place) = self
            .output
            .last_mut()
            .and_then(|i| i.pointer_mut("/content/0/annotations"))
        {
            *place = json!(annotations);
        }
    }

    /// The next event; nothing after the last.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            match &mut self.stage {
                Stage::Over => return None,
                Stage::Writing(writing) => match writing.running.reader.next().await {
                    Some(parts) => {
                        for (_, part) in parts {
                            self.read(part).await;
                        }
                    }
                    None => self.stage = Stage::Over,
                },
                Stage::Making(making) => {
                    let news = making.news.next().await;
                    self.heard(news).await;
                }
            }
        }
    }

    /// Takes in what came of a text.
    async fn read(&mut self, part: Part) {
        let Stage::Writing(writing) = &mut self.stage else {
            return;
        };
        match writing.voice.take(part, "input") {
            Ok((news, tokens)) => {
                self.waiting.extend(tokens);
                for news in news {
                    self.take(news);
                }
                self.written().await;
            }
            Err(error) => self.fail(&error),
        }
    }

    pub(super) fn tell(&mut self, kind: &str, mut event: Value) {
        event["type"] = json!(kind);
        event["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        self.ready.push_back(event);
    }

    fn tell_response(&mut self, kind: &str) {
        let response = self.response.clone();
        self.tell(kind, json!({ "response": response }));
    }

    /// Where events of the open item belong.
    fn place(&self) -> Value {
        let index = self.output.len().saturating_sub(1);
        let id = self
            .output
            .last()
            .map_or(Value::Null, |item| item["id"].clone());
        json!({ "item_id": id, "output_index": index })
    }

    fn tell_here(&mut self, kind: &str, fields: Value) {
        let mut event = self.place();
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        self.tell(kind, event);
    }

    fn begin(&mut self, open: Open, item: Value) {
        self.close("completed");
        let index = self.output.len();
        self.output.push(item.clone());
        self.open = Some(open);
        self.tell(
            "response.output_item.added",
            json!({ "output_index": index, "item": item }),
        );
        let part = match open {
            Open::Thought => json!({ "type": "reasoning_text", "text": "" }),
            Open::Message => {
                json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] })
            }
            Open::Call => return,
        };
        self.tell_here(
            "response.content_part.added",
            json!({ "content_index": 0, "part": part }),
        );
        if let Some(item) = self.output.last_mut() {
            item["content"] = json!([part]);
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Reasoning(text) => {
                if self.open != Some(Open::Thought) {
                    let item = json!({ "id": new_id("rs_"), "type": "reasoning", "status": "in_progress",
                                       "summary": [], "content": [] });
                    self.begin(Open::Thought, item);
                }
                self.add(&text, "/content/0/text");
                self.tell_here(
                    "response.reasoning_text.delta",
                    json!({ "content_index": 0, "delta": text }),
                );
            }
            News::Text(text) => {
                self.message();
                self.add(&text, "/content/0/text");
                let logprobs = self.new_logprobs();
                self.tell_here(
                    "response.output_text.delta",
                    json!({ "content_index": 0, "delta": text, "logprobs": logprobs }),
                );
            }
            News::Call(index) => {
                if self.calls_generator(index) {
                    return;
                }
                let call = self.call(index);
                let item = json!({ "id": new_id("fc_"), "type": "function_call", "status": "in_progress",
                    "arguments": "", "call_id": call.map(|c| &c.id), "name": call.map(|c| &c.name) });
                self.begin(Open::Call, item);
            }
            // The words for a generator are not the client's to read.
            News::Arguments(..) if self.open != Some(Open::Call) => {}
            News::Arguments(_, text) => {
                self.add(&text, "/arguments");
                self.tell_here(
                    "response.function_call_arguments.delta",
                    json!({ "delta": text }),
                );
            }
        }
    }

    fn message(&mut self) {
        if self.open != Some(Open::Message) {
            let item = json!({ "id": new_id("msg_"), "type": "message", "status": "in_progress",
                               "content": [], "role": "assistant" });
            self.begin(Open::Message, item);
        }
    }

    /// Adds to a text of the open item.
    fn add(&mut self, text: &str, place: &str) {
        let item = self.output.last_mut();
        if let Some(Value::String(all)) = item.and_then(|item| item.pointer_mut(place)) {
            all.push_str(text);
        }
    }

    /// The log-probabilities of the tokens that came since.
    fn new_logprobs(&mut self) -> Vec<Value> {
        let tokens = std::mem::take(&mut self.waiting);
        if !self.logprobs {
            return Vec::new();
        }
        let of = |token: &TokenLogprob| of_chat(token, &self.tokenizer);
        let new: Vec<Value> = tokens.iter().map(of).collect();
        let item = self.output.last_mut();
        if let Some(Value::Array(all)) = item.and_then(|i| i.pointer_mut("/content/0/logprobs")) {
            all.extend(new.iter().cloned());
        }
        new
    }

    /// Ends the open item.
    pub(super) fn close(&mut self, status: &str) {
        let Some(open) = self.open.take() else {
            return;
        };
        if open == Open::Message {
            self.cite();
        }
        let Some(item) = self.output.last_mut() else {
            return;
        };
        item["status"] = json!(status);
        let item = item.clone();
        let part = item["content"][0].clone();
        match open {
            Open::Thought => self.tell_here(
                "response.reasoning_text.done",
                json!({ "content_index": 0, "text": part["text"] }),
            ),
            Open::Message => self.tell_here(
                "response.output_text.done",
                json!({ "content_index": 0, "text": part["text"], "logprobs": part["logprobs"] }),
            ),
            Open::Call => self.tell_here(
                "response.function_call_arguments.done",
                json!({ "name": item["name"], "arguments": item["arguments"] }),
            ),
        }
        if open != Open::Call {
            self.tell_here(
                "response.content_part.done",
                json!({ "content_index": 0, "part": part }),
            );
        }
        let index = self.output.len() - 1;
        self.tell(
            "response.output_item.done",
            json!({ "output_index": index, "item": item }),
        );
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        let reason = self.reason;
        if self.output.len() == usize::from(self.found.is_some()) {
            // An answer without a word is an answer.
            self.message();
        }
        let (status, kind) = match reason {
            Some(FinishReason::Length) => ("incomplete", "response.incomplete"),
            Some(FinishReason::Cancelled) => ("cancelled", "response.incomplete"),
            _ => ("completed", "response.completed"),
        };
        self.close(if status == "completed" {
            "completed"
        } else {
            "incomplete"
        });
        self.response["status"] = json!(status);
        self.response["output"] = json!(self.output);
        match status {
            "completed" => self.response["completed_at"] = json!(now()),
            "incomplete" => {
                self.response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
            }
            _ => {}
        }
        let count = self.usage;
        self.response["usage"] = json!({
            "input_tokens": count.prompt,
            "input_tokens_details": { "cached_tokens": count.cached, "cache_write_tokens": 0 },
            "output_tokens": count.written,
            "output_tokens_details": { "reasoning_tokens": count.reasoning },
            "total_tokens": count.prompt + count.written,
        });
        self.tell_response(kind);
        self.stage = Stage::Over;
    }

    pub(super) fn fail(&mut self, error: &ApiError) {
        self.close("incomplete");
        self.drop_calls();
        self.failure = Some(error.clone());
        self.response["status"] = json!("failed");
        self.response["output"] = json!(self.output);
        self.response["error"] = json!({ "code": "server_error", "message": error.message });
        self.tell_response("response.failed");
        self.stage = Stage::Over;
    }
}
