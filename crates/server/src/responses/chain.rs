//! Generators that a response calls: what they make becomes items, and the model then goes on.

use std::collections::VecDeque;
use std::sync::Arc;

use medley_types::{FinishReason, Prompt, TextRequest, ToolCall, ToolChoice};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::items;
use super::run::{Run, Stage, Writing};
use crate::error::{Answer, ApiError};
use crate::follow::Followed;
use crate::gate::Caller;
use crate::generators::{self, Generator, Made, News};
use crate::said::{Usage, new_id};
use crate::service::{Names, Service, Wanted};

/// What a response with generators goes on from.
pub(super) struct Chain {
    pub(super) service: Arc<Service>,
    pub(super) caller: Option<Caller>,
    pub(super) generators: Vec<Arc<Generator>>,
    /// What is asked of the model, the prompt aside.
    pub(super) request: TextRequest,
    pub(super) names: Names,
    pub(super) instructions: Option<String>,
    /// The items before those of the response.
    pub(super) context: Vec<Value>,
    /// Whether anybody looks at what is not done yet.
    pub(super) previews: bool,
    /// Calls that may still be carried out.
    pub(super) left: usize,
    /// Calls that wait.
    pub(super) waiting: VecDeque<Call>,
    /// Whether the works are all that is answered.
    pub(super) by_words: bool,
    /// Whether the text that is written calls a generator.
    pub(super) called: bool,
    /// Whether the model writes on when its calls are carried out.
    pub(super) goes_on: bool,
}

/// A call of a generator.
pub(super) struct Call {
    generator: Arc<Generator>,
    /// The number of its item in the output.
    item: usize,
    /// Its number in the text that makes it.
    number: usize,
    /// What it gives the generator; none before the text is whole, or where it is not.
    words: Option<String>,
}

/// A generator at work.
pub(super) struct Making {
    pub(super) news: Followed<News>,
    call: Call,
    /// Previews that were told.
    shown: usize,
}

impl Run {
    /// A call of the text that is written, as far as it is read.
    pub(super) fn call(&self, number: usize) -> Option<&ToolCall> {
        match &self.stage {
            Stage::Writing(writing) => writing.voice.said.calls.get(number),
            _ => None,
        }
    }

    /// Whether the call of this number is one of a generator; if so its item begins. One too many is left out.
    pub(super) fn calls_generator(&mut self, number: usize) -> bool {
        let name = self.call(number).map(|call| call.name.clone());
        let Some(chain) = &mut self.chain else {
            return false;
        };
        let named = |generator: &&Arc<Generator>| Some(generator.kind.tool) == name.as_deref();
        let Some(generator) = chain.generators.iter().find(named).cloned() else {
            return false;
        };
        chain.called = true;
        let allowed = chain.left > 0;
        chain.left = chain.left.saturating_sub(1);
        self.close("completed");
        if !allowed {
            return true;
        }
        let kind = generator.kind;
        let item = json!({ "id": new_id(kind.id), "type": kind.item, "status": "in_progress", "result": null });
        let index = self.output.len();
        self.output.push(item.clone());
        self.tell(
            "response.output_item.added",
            json!({ "output_index": index, "item": item }),
        );
        self.tell_of(index, "in_progress", json!({}));
        if let Some(chain) = &mut self.chain {
            chain.waiting.push_back(Call {
                generator,
                item: index,
                number,
                words: None,
            });
        }
        true
    }

    /// An event of a generator's item.
    fn tell_of(&mut self, index: usize, what: &str, mut event: Value) {
        let item = &self.output[index];
        event["item_id"] = item["id"].clone();
        event["output_index"] = json!(index);
        let kind = format!(
            "response.{}.{what}",
            item["type"].as_str().unwrap_or_default()
        );
        self.tell(&kind, event);
    }

    fn item_is_done(&mut self, index: usize) {
        let item = self.output[index].clone();
        self.tell(
            "response.output_item.done",
            json!({ "output_index": index, "item": item }),
        );
    }

    /// Goes on where a text is at its end.
    pub(super) async fn written(&mut self) {
        let Stage::Writing(writing) = &self.stage else {
            return;
        };
        let said = &writing.voice.said;
        let Some(reason) = said.reason() else {
            return;
        };
        self.usage += Usage::of(&writing.running, std::iter::once(said), 1);
        self.reason = Some(reason);
        let calls = said.calls.clone();
        let Some(chain) = &mut self.chain else {
            return self.end();
        };
        for call in &mut chain.waiting {
            let arguments = calls.get(call.number).map(|call| call.arguments.as_str());
            call.words = arguments.and_then(|text| call.generator.kind.words_of(text));
        }
        // Functions are the client's to carry out.
        let ours = |call: &ToolCall| chain.generators.iter().any(|g| g.kind.tool == call.name);
        let goes_on = std::mem::take(&mut chain.called) && calls.iter().all(ours);
        if reason == FinishReason::Cancelled || !goes_on && chain.waiting.is_empty() {
            self.drop_calls();
            return self.end();
        }
        chain.goes_on = goes_on && !chain.by_words;
        self.close("completed");
        let Stage::Writing(writing) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return;
        };
        self.proceed(Some(writing.running.places)).await;
    }

    /// Carries out the next call, or has the model write on.
    async fn proceed(&mut self, place: Option<OwnedSemaphorePermit>) {
        let Some(place) = place else {
            return self.fail(&ApiError::internal("the place in the queue is lost"));
        };
        while let Some(call) = self
            .chain
            .as_mut()
            .and_then(|chain| chain.waiting.pop_front())
        {
            match call.words.clone() {
                Some(words) => return self.make(place, call, words),
                None => self.call_failed(call.item),
            }
        }
        let Some(chain) = &self.chain else {
            return self.end();
        };
        if !chain.goes_on {
            return self.end();
        }
        let left = chain
            .request
            .max_tokens
            .map(|most| most.saturating_sub(self.usage.written));
        if left == Some(0) {
            self.reason = Some(FinishReason::Length);
            return self.end();
        }
        match self.write_on(place, left).await {
            Ok(writing) => self.stage = Stage::Writing(Box::new(writing)),
            Err(error) => self.fail(&error),
        }
    }

    /// The model's next text, of so many tokens at most: it reads what it called and what came of it.
    async fn write_on(
        &mut self,
        place: OwnedSemaphorePermit,
        left: Option<usize>,
    ) -> Answer<Writing> {
        let chain = self.chain.as_mut().ok_or_else(ApiError::gone)?;
        let mut all = chain.context.clone();
        all.extend(self.output.iter().cloned());
        let mut messages = items::messages(chain.instructions.as_deref(), &all)?;
        if let Some(found) = &self.found {
            found.show(&mut messages);
        }
        let mut request = TextRequest {
            max_tokens: left,
            ..chain.request.clone()
        };
        // Who was told to call has called.
        request.tools.choice = match request.tools.choice {
            ToolChoice::Auto | ToolChoice::Required if chain.left > 0 => ToolChoice::Auto,
            _ => ToolChoice::None,
        };
        let wanted = Wanted {
            request,
            prompts: vec![Prompt::Messages(messages)],
            n: 1,
            names: chain.names,
        };
        let running = chain.service.write_in(place, wanted).await?;
        self.ending.follow(running.cancel.clone());
        Ok(Writing::new(running))
    }

    /// Begins to make what a call asks for.
    fn make(&mut self, place: OwnedSemaphorePermit, call: Call, words: String) {
        let Some(chain) = &self.chain else { return };
        let charged = match &chain.caller {
            Some(caller) => chain.service.gate.charge(caller),
            None => Ok(()),
        };
        let (service, previews) = (chain.service.clone(), chain.previews);
        let item = &mut self.output[call.item];
        (item["status"], item[call.generator.kind.words]) = (json!("generating"), json!(words));
        if let Err(error) = charged {
            self.call_failed(call.item);
            return self.fail(&error);
        }
        self.tell_of(call.item, "generating", json!({}));
        let (sender, cancel, news) = Followed::begin(place);
        self.ending.follow(cancel.clone());
        let generator = call.generator.clone();
        tokio::spawn(async move {
            let made = generators::make(service, generator, words, previews, &sender, cancel).await;
            drop(sender.send(News::End(Box::new(made))));
        });
        self.stage = Stage::Making(Making {
            news,
            call,
            shown: 0,
        });
    }

    /// Takes in what is told of a work.
    pub(super) async fn heard(&mut self, news: Option<News>) {
        let Stage::Making(making) = &mut self.stage else {
            return;
        };
        let index = making.call.item;
        match news {
            Some(News::Partial(file)) => {
                let number = making.shown;
                making.shown += 1;
                let event = json!({ "partial_image_b64": file, "partial_image_index": number });
                self.tell_of(index, "partial_image", event);
            }
            Some(News::End(made)) => {
                let place = making.news.take_place();
                match *made {
                    Ok(made) => {
                        self.call_done(index, made);
                        self.proceed(place).await;
                    }
                    Err(error) => {
                        self.call_failed(index);
                        self.stop(&error);
                    }
                }
            }
            None => {
                self.call_failed(index);
                self.stop(&ApiError::internal("the generator failed"));
            }
        }
    }

    /// Ends where a work could not be made.
    fn stop(&mut self, error: &ApiError) {
        if self.ending.is_ended() {
            self.drop_calls();
            self.reason = Some(FinishReason::Cancelled);
            return self.end();
        }
        self.fail(error);
    }

    fn call_done(&mut self, index: usize, Made(made): Made) {
        let item = &mut self.output[index];
        item["status"] = json!("completed");
        if let (Some(item), Value::Object(made)) = (item.as_object_mut(), made) {
            item.extend(made);
        }
        self.tell_of(index, "completed", json!({}));
        self.item_is_done(index);
    }

    fn call_failed(&mut self, index: usize) {
        self.output[index]["status"] = json!("failed");
        self.item_is_done(index);
    }

    /// Leaves out the calls that wait.
    pub(super) fn drop_calls(&mut self) {
        let waiting = self
            .chain
            .as_mut()
            .map(|chain| std::mem::take(&mut chain.waiting));
        for call in waiting.into_iter().flatten() {
            self.call_failed(call.item);
        }
    }
}
