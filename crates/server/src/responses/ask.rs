//! What `/v1/responses` asks for, read out of its fields.

use std::sync::Arc;

use medley_engine::route::{self, Route};
use medley_types::{Constraint, Prompt, TextRequest, Tool, ToolChoice};
use serde_json::{Value, json};

use super::items;
use crate::ask::tools::{Style, tools};
use crate::ask::{effort, request, schema};
use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::generators::Generator;
use crate::service::{Names, Wanted};

const NAMES: Names = Names {
    prompt: "input",
    format: "text.format",
    effort: "reasoning.effort",
    schema: "parameters",
};

/// A request for a response.
pub(super) struct Ask {
    pub(super) wanted: Wanted,
    /// The response as it is before anything is written.
    pub(super) response: Value,
    /// The items that it goes on from, and its own.
    pub(super) context: Vec<Value>,
    pub(super) stream: bool,
    pub(super) background: bool,
    pub(super) store: bool,
    /// Whether log-probabilities are told.
    pub(super) logprobs: bool,
    /// What stands before the items.
    pub(super) instructions: Option<String>,
    /// Calls of generators at most.
    pub(super) most_calls: usize,
    /// Whether the user's words say what is called, and all that is answered is what came of it.
    pub(super) by_words: bool,
}

/// Calls of generators in one response where it does not say, so that a weak model comes to an end.
const CALLS: usize = 4;

impl Ask {
    /// The body of a request; `earlier` are the items that the response before it has come to, where there is one.
    pub(super) fn read(fields: &Fields, earlier: Option<Vec<Value>>) -> Answer<Self> {
        refuse(fields)?;
        let store = fields.flag("store")?.unwrap_or(true);
        let background = fields.flag("background")?.unwrap_or(false);
        if background && !store {
            return Err(fields.wrong_value("background", "it goes with 'store': true"));
        }
        let input = items::input(fields)?;
        let mut context = match fields.text("previous_response_id")? {
            None => Vec::new(),
            Some(id) => earlier.ok_or_else(|| {
                let shown: String = id.chars().take(80).collect();
                ApiError::invalid(
                    Some("previous_response_not_found"),
                    format!("Previous response with id '{shown}' not found."),
                )
                .about("previous_response_id")
            })?,
        };
        context.extend(input);
        let messages = items::messages(fields.text("instructions")?, &context)?;
        let logprobs = logprobs(fields)?;
        let reasoning = fields.object("reasoning")?;
        let effort = match &reasoning {
            Some(reasoning) => effort(reasoning, "effort")?,
            None => None,
        };
        let request = TextRequest {
            max_tokens: fields.count("max_output_tokens", 1..=i64::MAX)?,
            logprobs,
            constraint: format(fields)?,
            tools: tools(fields, Style::Responses)?,
            effort,
            ..request(fields)?
        };
        let most_calls = fields.count("max_tool_calls", 1..=i64::MAX)?;
        Ok(Self {
            instructions: fields.text("instructions")?.map(str::to_owned),
            most_calls: most_calls.unwrap_or(CALLS),
            by_words: false,
            response: skeleton(fields, &request, background, store),
            context,
            stream: fields.flag("stream")?.unwrap_or(false),
            background,
            store,
            logprobs: logprobs.is_some(),
            wanted: Wanted {
                request,
                prompts: vec![Prompt::Messages(messages)],
                n: 1,
                names: NAMES,
            },
        })
    }
}

impl Ask {
    /// Has the generator called that the user's words ask for. A `small` model is not left to choose: it is offered none
    /// where the words ask for none, and what it gives one are the words. A larger one finds its own words, and calls as
    /// it thinks right where the user's tell nothing. Where there are functions to call, they are free to come first.
    pub(super) fn choose(&mut self, generators: &[Arc<Generator>], small: bool) {
        let tools = &mut self.wanted.request.tools;
        let ours = |tool: &Tool| generators.iter().any(|g| g.kind.tool == tool.name);
        let [Prompt::Messages(messages)] = self.wanted.prompts.as_slice() else {
            return;
        };
        let last = messages.last().filter(|last| last.role == "user");
        let Some(last) = last.filter(|_| tools.list.iter().all(ours) && !tools.is_off()) else {
            return;
        };
        if tools.choice == ToolChoice::Auto {
            let asked = route::asked(&last.content);
            let makes = |asked: Route| generators.iter().find(|g| g.kind.makes(asked.destination));
            match asked.and_then(makes) {
                Some(wanted) => tools.choice = ToolChoice::Named(wanted.kind.tool.to_owned()),
                None if small => tools.choice = ToolChoice::None,
                None => {}
            }
        }
        self.by_words = small;
        if small {
            tools.list = generators
                .iter()
                .map(|g| g.kind.function_of(&last.content))
                .collect();
        }
    }
}

/// What no model here can honour.
fn refuse(fields: &Fields) -> Answer<()> {
    fields.refuse(
        &["conversation", "prompt", "context_management", "moderation"],
        "is not supported here",
    )?;
    if fields.text("truncation")?.is_some_and(|t| t != "disabled") {
        let why = "must be 'disabled': nothing is left out of a conversation here";
        return Err(fields.unsupported("truncation", why));
    }
    fields.word("service_tier", &["auto", "default"])?;
    if let Some(text) = fields.object("text")?
        && text.text("verbosity")?.is_some_and(|v| v != "medium")
    {
        return Err(text.unsupported("verbosity", "is not supported here"));
    }
    Ok(())
}

/// Alternatives of each token, where their log-probabilities are to be told.
fn logprobs(fields: &Fields) -> Answer<Option<usize>> {
    let top = fields.count("top_logprobs", 0..=20)?;
    let mut wanted = top.is_some_and(|top| top > 0);
    // Thoughts are not encrypted here, so there is no such content to be included.
    let known = [
        "message.output_text.logprobs",
        "reasoning.encrypted_content",
        "file_search_call.results",
    ];
    for value in fields.list("include")?.unwrap_or_default() {
        match value.as_str() {
            Some(name) if name == known[0] => wanted = true,
            Some(name) if known.contains(&name) => {}
            _ => {
                return Err(fields.wrong_value(
                    "include",
                    "only 'message.output_text.logprobs' and 'file_search_call.results' can be included here",
                ));
            }
        }
    }
    Ok(wanted.then_some(top.unwrap_or(0)))
}

fn format(fields: &Fields) -> Answer<Option<Constraint>> {
    let Some(text) = fields.object("text")? else {
        return Ok(None);
    };
    let Some(format) = text.object("format")? else {
        return Ok(None);
    };
    format.required("type")?;
    let schema = match format.word("type", &["text", "json_object", "json_schema"])? {
        Some("json_object") => json!({ "type": "object" }),
        Some("json_schema") => {
            format.required("schema")?;
            schema(&format)?
        }
        _ => return Ok(None),
    };
    Ok(Some(Constraint::JsonSchema(schema)))
}

/// The response before anything is written, with all that was asked.
fn skeleton(fields: &Fields, request: &TextRequest, background: bool, store: bool) -> Value {
    let given = |name: &str, usual: Value| fields.get(name).cloned().unwrap_or(usual);
    let text = fields.get("text").and_then(|text| text.get("format"));
    let reasoning = fields.get("reasoning").cloned().unwrap_or_default();
    json!({
        "id": crate::said::new_id("resp_"),
        "object": "response",
        "created_at": crate::said::now(),
        "status": if background { "queued" } else { "in_progress" },
        "background": background,
        "completed_at": null,
        "error": null,
        "incomplete_details": null,
        "instructions": given("instructions", Value::Null),
        "max_output_tokens": given("max_output_tokens", Value::Null),
        "max_tool_calls": given("max_tool_calls", Value::Null),
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.tools.parallel,
        "previous_response_id": given("previous_response_id", Value::Null),
        "prompt_cache_key": given("prompt_cache_key", Value::Null),
        "reasoning": { "effort": request.effort, "summary": reasoning["summary"] },
        "safety_identifier": given("safety_identifier", Value::Null),
        "service_tier": "default",
        "store": store,
        "temperature": request.sampling.temperature,
        "text": { "format": text.cloned().unwrap_or_else(|| json!({ "type": "text" })),
                  "verbosity": "medium" },
        "tool_choice": given("tool_choice", json!("auto")),
        "tools": given("tools", json!([])),
        "top_logprobs": request.logprobs.unwrap_or(0),
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "usage": null,
        "user": given("user", Value::Null),
        "metadata": given("metadata", json!({})),
    })
}
