//! A conversation with functions as a template reads it.

use medley_tokenize::{ChatInput, ChatTemplate, Tokenizer, encode_chat};
use medley_types::{Message, Tool, ToolCall, Tools};
use serde_json::{Map, Value, json};

use super::{Calls, Dialect, Given, LLAMA};
use crate::PipelineError;

/// Who is told first where the conversation does not say.
const ASSISTANT: &str = "You are a helpful assistant.";

impl Dialect {
    /// The ids of a conversation's prompt, up to where the answer begins.
    pub(in crate::text) fn encode(
        &self,
        tokenizer: &Tokenizer,
        template: &ChatTemplate,
        messages: &[Message],
        tools: &Tools,
        effort: Option<&str>,
    ) -> Result<Vec<u32>, PipelineError> {
        let extra = self.knobs(effort)?;
        let list = if tools.is_off() { &[] } else { &*tools.list };
        let described: Vec<Value> = list.iter().map(described).collect();
        let given = self.given == Given::Variable && !described.is_empty();
        let encode = |as_text: bool| {
            let messages = self.messages(messages, &described, as_text);
            let input = ChatInput {
                messages: &messages,
                tools: given.then_some(&*described),
                add_generation_prompt: true,
                extra: Some(&extra),
                ..ChatInput::default()
            };
            encode_chat(tokenizer, template, &input)
        };
        // Most templates write arguments down as JSON; a few put together texts.
        let ids = encode(false);
        let calls = messages.iter().any(|m| !m.tool_calls.is_empty());
        Ok(match ids {
            Err(_) if calls => encode(true).or(ids)?,
            ids => ids?,
        })
    }

    /// The variables by which the template is told how much to think.
    fn knobs(&self, effort: Option<&str>) -> Result<Map<String, Value>, PipelineError> {
        let mut extra = Map::new();
        let Some(effort) = effort else {
            return Ok(extra);
        };
        if self.knobs.is_empty() && effort != "none" {
            return Err(PipelineError::InvalidRequest(format!(
                "reasoning effort {effort:?} cannot be honoured: this model's template does not say how much to think"
            )));
        }
        for knob in &self.knobs {
            let value = match *knob {
                "reasoning_effort" if effort == "none" => continue,
                "reasoning_effort" => json!(effort),
                _ => json!(effort != "none"),
            };
            extra.insert((*knob).to_owned(), value);
        }
        Ok(extra)
    }

    /// The messages as JSON.
    fn messages(&self, messages: &[Message], tools: &[Value], as_text: bool) -> Vec<Value> {
        match self.given {
            Given::Described => plain(messages, tools),
            Given::InSystem => {
                let mut list: Vec<Value> = messages.iter().map(|m| self.turn(m, as_text)).collect();
                if !tools.is_empty() {
                    if list.first().is_none_or(|m| m["role"] != "system") {
                        list.insert(0, json!({ "role": "system", "content": ASSISTANT }));
                    }
                    list[0]["tools"] = json!(json!(tools).to_string());
                }
                list
            }
            Given::Variable if self.calls == Calls::Json(LLAMA) => one_at_a_time(messages)
                .iter()
                .map(|m| self.turn(m, as_text))
                .collect(),
            Given::Variable => messages.iter().map(|m| self.turn(m, as_text)).collect(),
        }
    }

    fn turn(&self, message: &Message, as_text: bool) -> Value {
        let mut turn = json!({ "role": message.role, "content": message.content });
        if let Some(reasoning) = &message.reasoning {
            turn["reasoning_content"] = json!(reasoning);
        }
        if !message.tool_calls.is_empty() {
            let call = |call: &ToolCall| {
                let arguments = match as_text {
                    true => json!(call.arguments),
                    false => arguments(call),
                };
                json!({ "id": self.id(&call.id), "type": "function",
                        "function": { "name": call.name, "arguments": arguments } })
            };
            turn["tool_calls"] = message.tool_calls.iter().map(call).collect();
        }
        if let Some(id) = &message.tool_call_id {
            turn["tool_call_id"] = json!(self.id(id));
        }
        turn
    }

    /// An id that the template takes, the same for the same.
    fn id(&self, id: &str) -> String {
        let fits = id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric());
        if !self.short_ids || fits {
            return id.to_owned();
        }
        // FNV-1a, of 64 bits.
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        letters(u128::from(hash), 9)
    }
}

/// A number as `count` letters and digits, the lowest ones.
pub(super) fn letters(mut number: u128, count: usize) -> String {
    const ALL: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut next = || {
        let digit = ALL[(number % 62) as usize];
        number /= 62;
        char::from(digit)
    };
    (0..count).map(|_| next()).collect()
}

/// A function as OpenAI describes it.
fn described(tool: &Tool) -> Value {
    let none = json!({ "type": "object", "properties": {} });
    json!({ "type": "function", "function": {
        "name": tool.name,
        "description": tool.description.as_deref().unwrap_or_default(),
        "parameters": tool.parameters.as_ref().unwrap_or(&none),
    }})
}

/// The arguments as an object, or as the text that they are.
fn arguments(call: &ToolCall) -> Value {
    match serde_json::from_str(&call.arguments) {
        Ok(object @ Value::Object(_)) => object,
        _ if call.arguments.trim().is_empty() => json!({}),
        _ => json!(call.arguments),
    }
}

/// Several calls in one turn as turns of one call, each with its result behind it.
fn one_at_a_time(messages: &[Message]) -> Vec<Message> {
    let mut list: Vec<Message> = Vec::new();
    let mut answered = vec![false; messages.len()];
    for (at, message) in messages.iter().enumerate() {
        if answered[at] {
            continue;
        }
        if message.tool_calls.len() < 2 {
            list.push(message.clone());
            continue;
        }
        for (number, call) in message.tool_calls.iter().enumerate() {
            list.push(Message {
                content: if number == 0 {
                    message.content.clone()
                } else {
                    String::new()
                },
                tool_calls: vec![call.clone()],
                ..message.clone()
            });
            let result = (at + 1..messages.len())
                .take_while(|&i| messages[i].role == "tool")
                .find(|&i| messages[i].tool_call_id.as_deref() == Some(&call.id));
            if let Some(result) = result {
                answered[result] = true;
                list.push(messages[result].clone());
            }
        }
    }
    list
}

/// A conversation for a template that knows of no functions, in the words that Hermes models are told them in (Nous
/// Research, Hermes 2 Pro): described in the system prompt, called between marks, answered by the user.
fn plain(messages: &[Message], tools: &[Value]) -> Vec<Value> {
    let mut list: Vec<(String, String)> = Vec::new();
    for message in messages {
        let (role, text) = match message.role.as_str() {
            "tool" => {
                let text = format!("<tool_response>\n{}\n</tool_response>", message.content);
                ("user", text)
            }
            role => (role, with_calls(message)),
        };
        match list.last_mut() {
            // Templates want the roles to alternate.
            Some((last, before)) if message.role == "tool" && last == role => {
                before.push('\n');
                before.push_str(&text);
            }
            _ => list.push((role.to_owned(), text)),
        }
    }
    if !tools.is_empty() {
        let told = description(tools);
        match list.first_mut() {
            Some((role, system)) if role == "system" => {
                *system = format!("{system}\n\n{told}");
            }
            _ => list.insert(0, ("system".into(), format!("{ASSISTANT}\n\n{told}"))),
        }
    }
    let turn = |(role, content)| json!({ "role": role, "content": content });
    list.into_iter().map(turn).collect()
}

fn with_calls(message: &Message) -> String {
    let mut text = message.content.clone();
    for call in &message.tool_calls {
        if !text.is_empty() {
            text.push('\n');
        }
        let call = json!({ "name": call.name, "arguments": arguments(call) });
        text.push_str(&format!("<tool_call>\n{}\n</tool_call>", spaced(&call)));
    }
    text
}

fn description(tools: &[Value]) -> String {
    let mut told = String::from(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n\
         You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
    );
    for tool in tools {
        told.push('\n');
        told.push_str(&spaced(tool));
    }
    told.push_str(
        "\n</tools>\n\nFor each function call, return a json object with function name and arguments within \
         <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": \
         <args-json-object>}\n</tool_call>",
    );
    told
}

/// JSON as Python writes it, which is what models have read most of.
fn spaced(value: &Value) -> String {
    use serde_json::ser::Formatter;
    use std::io::{self, Write};
    struct Spaced;
    impl Formatter for Spaced {
        fn begin_array_value<W: ?Sized + Write>(
            &mut self,
            w: &mut W,
            first: bool,
        ) -> io::Result<()> {
            w.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_key<W: ?Sized + Write>(
            &mut self,
            w: &mut W,
            first: bool,
        ) -> io::Result<()> {
            w.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
            w.write_all(b": ")
        }
    }
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Spaced);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => value.to_string(),
    }
}

#[cfg(test)]
pub(super) fn plain_for_tests(messages: &[Message], tools: &Tools) -> Vec<Value> {
    let described: Vec<Value> = tools.list.iter().map(described).collect();
    plain(messages, &described)
}
