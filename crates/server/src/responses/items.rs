//! The items of a response's input and output, and the messages that a model reads of them.

use medley_types::{Message, ToolCall};
use serde_json::{Value, json};

use crate::ask::messages::unseen;
use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::generators::Kind;
use crate::said::new_id;

/// The field `input` as items, each with an id.
pub(super) fn input(fields: &Fields) -> Answer<Vec<Value>> {
    match fields.required("input")? {
        Value::String(text) => Ok(vec![message_item("user", "input_text", text)]),
        Value::Array(list) => {
            let one = |(index, value)| item(&fields.item("input", index, value)?);
            list.iter().enumerate().map(one).collect()
        }
        _ => Err(fields.wrong_type("input", "a string or an array of items")),
    }
}

fn message_item(role: &str, kind: &str, text: &str) -> Value {
    json!({ "id": new_id("msg_"), "type": "message", "status": "completed", "role": role,
            "content": [{ "type": kind, "text": text }] })
}

/// One item of the input, its fields checked.
fn item(item: &Fields) -> Answer<Value> {
    let id = |prefix: &str| -> Answer<String> {
        Ok(item
            .text("id")?
            .map_or_else(|| new_id(prefix), str::to_owned))
    };
    let text = |name: &str| -> Answer<String> {
        item.required(name)?;
        Ok(item.text(name)?.unwrap_or_default().to_owned())
    };
    match item.text("type")? {
        None | Some("message") => {
            item.required("role")?;
            let roles = ["user", "assistant", "system", "developer"];
            let role = item.word("role", &roles)?.unwrap_or("user");
            let kind = if role == "assistant" {
                "output_text"
            } else {
                "input_text"
            };
            item.required("content")?;
            let content = parts(item, "content", kind)?;
            Ok(
                json!({ "id": id("msg_")?, "type": "message", "status": "completed", "role": role,
                       "content": content }),
            )
        }
        Some("function_call") => Ok(json!({
            "id": id("fc_")?, "type": "function_call", "status": "completed",
            "arguments": text("arguments")?, "call_id": text("call_id")?, "name": text("name")?,
        })),
        Some("function_call_output") => {
            item.required("output")?;
            let output = match item.get("output") {
                Some(Value::String(text)) => json!(text),
                _ => json!(parts(item, "output", "input_text")?),
            };
            Ok(
                json!({ "id": id("fco_")?, "type": "function_call_output", "status": "completed",
                       "call_id": text("call_id")?, "output": output }),
            )
        }
        Some("reasoning") => {
            let parts = |name: &str| item.get(name).cloned().unwrap_or_else(|| json!([]));
            Ok(
                json!({ "id": id("rs_")?, "type": "reasoning", "summary": parts("summary"),
                       "content": parts("content") }),
            )
        }
        // What was found stands in the answer that came of it.
        Some("file_search_call") => {
            let queries = item.list("queries")?.unwrap_or_default();
            Ok(
                json!({ "id": id("fs_")?, "type": "file_search_call", "status": "completed",
                       "queries": queries, "results": null }),
            )
        }
        Some(kind) => {
            if let Some(kind) = Kind::of_item(Some(kind)) {
                return generated(item, kind);
            }
            let shown: String = kind.chars().take(80).collect();
            let known = "'message', 'file_search_call', 'function_call', 'function_call_output', 'reasoning' and calls of generators such as 'image_generation_call'";
            Err(item.wrong_value("type", &format!("'{shown}'; supported are {known}")))
        }
    }
}

/// What came of a call of a generator, or its name alone.
fn generated(item: &Fields, kind: &Kind) -> Answer<Value> {
    let id = item.text("id")?;
    Ok(json!({
        "id": id.map_or_else(|| new_id(kind.id), str::to_owned),
        "type": kind.item,
        "status": item.text("status")?.unwrap_or("completed"),
        kind.words: item.text(kind.words)?,
        "result": item.text("result")?,
    }))
}

/// A text, or a list of parts that are text.
fn parts(item: &Fields, name: &str, kind: &str) -> Answer<Vec<Value>> {
    match item.get(name) {
        Some(Value::String(text)) => Ok(vec![json!({ "type": kind, "text": text })]),
        Some(Value::Array(list)) => {
            let one = |(index, value)| {
                let part = item.item(name, index, value)?;
                part.required("type")?;
                let field = match part.text("type")? {
                    Some("input_text" | "output_text" | "text") => "text",
                    Some("refusal") => "refusal",
                    kind => return Err(unseen(&part, kind)),
                };
                part.required(field)?;
                let text = part.text(field)?.unwrap_or_default();
                Ok(json!({ "type": kind, "text": text }))
            };
            list.iter().enumerate().map(one).collect()
        }
        _ => Err(item.wrong_type(name, "a string or an array of parts")),
    }
}

/// The text of a list of parts, or the text that it is.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

/// A call, in what the assistant said last or in a message of its own.
fn called(list: &mut Vec<Message>, call: ToolCall, thought: &mut Option<String>) {
    match list.last_mut().filter(|m| m.role == "assistant") {
        Some(message) => message.tool_calls.push(call),
        None => list.push(Message {
            reasoning: thought.take(),
            tool_calls: vec![call],
            ..Message::new("assistant", "")
        }),
    }
}

/// A generator that was called, with what the model is told of it.
fn made(list: &mut Vec<Message>, item: &Value, thought: &mut Option<String>) {
    let Some(kind) = Kind::of_item(item["type"].as_str()) else {
        return;
    };
    let id = item["id"].as_str().unwrap_or_default().to_owned();
    let call = ToolCall {
        id: id.clone(),
        name: kind.tool.to_owned(),
        arguments: kind.arguments(item[kind.words].as_str().unwrap_or_default()),
    };
    called(list, call, thought);
    let shown = match item["status"].as_str() {
        Some("failed") => "It could not be made.",
        _ => kind.shown,
    };
    list.push(Message {
        tool_call_id: Some(id),
        ..Message::new("tool", shown)
    });
}

/// The conversation that items come to.
pub(super) fn messages(instructions: Option<&str>, items: &[Value]) -> Answer<Vec<Message>> {
    let mut list: Vec<Message> = Vec::new();
    list.extend(instructions.map(|text| Message::new("system", text)));
    let mut thought: Option<String> = None;
    // Calls without a result so far.
    let mut open: Vec<String> = Vec::new();
    for item in items {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        match item["type"].as_str() {
            Some("reasoning") => {
                let content = text_of(&item["content"]);
                let summary = text_of(&item["summary"]);
                thought = Some(if content.is_empty() { summary } else { content });
            }
            Some("file_search_call") => {}
            Some("function_call") => {
                open.push(text("call_id"));
                let call = ToolCall {
                    id: text("call_id"),
                    name: text("name"),
                    arguments: text("arguments"),
                };
                called(&mut list, call, &mut thought);
            }
            Some(kind) if Kind::of_item(Some(kind)).is_some() => {
                made(&mut list, item, &mut thought);
            }
            Some("function_call_output") => {
                let id = text("call_id");
                let Some(at) = open.iter().position(|call| *call == id) else {
                    return Err(ApiError::invalid(
                        None,
                        format!("No tool call found for function call output with call_id {id}."),
                    )
                    .about("input"));
                };
                open.remove(at);
                list.push(Message {
                    tool_call_id: Some(id),
                    ..Message::new("tool", text_of(&item["output"]))
                });
            }
            _ => {
                let role = match text("role").as_str() {
                    "developer" => "system".to_owned(),
                    role => role.to_owned(),
                };
                let assistant = role == "assistant";
                list.push(Message {
                    reasoning: thought.take().filter(|_| assistant),
                    ..Message::new(&role, text_of(&item["content"]))
                });
            }
        }
    }
    match open.first() {
        Some(id) => Err(ApiError::invalid(
            None,
            format!("No tool output found for function call {id}."),
        )
        .about("input")),
        None => Ok(list),
    }
}
