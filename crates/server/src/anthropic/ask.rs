//! What `/v1/messages` asks for, read out of its fields.

use medley_types::{Constraint, Message, Prompt, TextRequest, ToolCall};
use serde_json::Value;

use crate::ask::messages::unseen;
use crate::ask::request;
use crate::ask::tools::{Style, tools};
use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::service::{Names, Wanted};

const NAMES: Names = Names {
    prompt: "messages",
    format: "output_config.format",
    effort: "thinking",
    schema: "input_schema",
};

/// Stop sequences of one request at most.
const STOPS: usize = 64;

/// A request for a message.
pub(super) struct Ask {
    pub(super) wanted: Wanted,
    pub(super) stream: bool,
}

impl Ask {
    /// The body of a request; `counts` says that its tokens are to be counted and no more.
    pub(super) fn read(fields: &Fields, counts: bool) -> Answer<Self> {
        fields.refuse(&["container", "mcp_servers"], "is not supported here")?;
        fields.word("service_tier", &["auto", "standard_only"])?;
        if !counts {
            fields.required("max_tokens")?;
        }
        let max_tokens = fields.count("max_tokens", 1..=i64::MAX)?;
        fields.number("temperature", 0.0..=1.0)?;
        let output = fields.object("output_config")?;
        let request = TextRequest {
            max_tokens,
            stop: stops(fields)?,
            constraint: match &output {
                Some(output) => format(output)?,
                None => None,
            },
            tools: tools(fields, Style::Anthropic)?,
            effort: effort(fields, output.as_ref())?,
            ..request(fields)?
        };
        Ok(Self {
            stream: fields.flag("stream")?.unwrap_or(false),
            wanted: Wanted {
                request,
                prompts: vec![Prompt::Messages(messages(fields)?)],
                n: 1,
                names: NAMES,
            },
        })
    }
}

fn stops(fields: &Fields) -> Answer<Vec<String>> {
    let list = fields.list("stop_sequences")?.unwrap_or_default();
    let one = |value: &Value| match value.as_str() {
        Some("") => Err(fields.wrong_value("stop_sequences", "a stop sequence must not be empty")),
        Some(text) => Ok(text.to_owned()),
        None => Err(fields.wrong_type("stop_sequences", "an array of strings")),
    };
    if list.len() > STOPS {
        return Err(fields.wrong_value("stop_sequences", &format!("at most {STOPS} may be given")));
    }
    list.iter().map(one).collect()
}

fn format(output: &Fields) -> Answer<Option<Constraint>> {
    let Some(format) = output.object("format")? else {
        return Ok(None);
    };
    format.required("type")?;
    format.word("type", &["json_schema"])?;
    format.required("schema")?;
    Ok(Some(Constraint::JsonSchema(crate::ask::schema(&format)?)))
}

/// How much the model shall think.
fn effort(fields: &Fields, output: Option<&Fields>) -> Answer<Option<String>> {
    let efforts = ["low", "medium", "high", "xhigh", "max"];
    let wanted = match output {
        Some(output) => output.word("effort", &efforts)?,
        None => None,
    };
    let Some(thinking) = fields.object("thinking")? else {
        return Ok(wanted.map(str::to_owned));
    };
    thinking.required("type")?;
    let kind = thinking.word("type", &["enabled", "disabled", "adaptive"])?;
    Ok(match kind {
        Some("disabled") => Some("none".to_owned()),
        // As the model thinks right.
        Some("adaptive") => wanted.map(str::to_owned),
        _ => {
            thinking.required("budget_tokens")?;
            thinking.count("budget_tokens", 1024..=i64::MAX)?;
            Some(wanted.unwrap_or("medium").to_owned())
        }
    })
}

fn messages(fields: &Fields) -> Answer<Vec<Message>> {
    let mut list: Vec<Message> = Vec::new();
    if fields.get("system").is_some() {
        list.push(Message::new("system", plain(fields, "system")?));
    }
    fields.required("messages")?;
    let given = fields.list("messages")?.unwrap_or_default();
    if given.is_empty() {
        return Err(fields.wrong_value("messages", "at least one message is required"));
    }
    for (index, value) in given.iter().enumerate() {
        let message = fields.item("messages", index, value)?;
        message.required("role")?;
        message.required("content")?;
        match message.word("role", &["user", "assistant", "system"])? {
            Some("assistant") => list.push(assistant(&message)?),
            Some("system") => list.push(Message::new("system", plain(&message, "content")?)),
            _ => user(&message, &mut list)?,
        }
    }
    if list
        .last()
        .is_some_and(|message| message.role == "assistant")
    {
        let problem =
            "the last message must be the user's: answers that are begun are not gone on with here";
        return Err(fields.wrong_value("messages", problem));
    }
    check_results(&list)?;
    Ok(list)
}

/// Every use of a tool has its result in the next message, and nothing else has one.
fn check_results(list: &[Message]) -> Answer<()> {
    let mut open: Vec<&str> = Vec::new();
    for message in list {
        if let Some(id) = message.tool_call_id.as_deref() {
            let Some(at) = open.iter().position(|call| *call == id) else {
                let problem = format!(
                    "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                );
                return Err(ApiError::invalid(None, problem).about("messages"));
            };
            open.remove(at);
            continue;
        }
        if !open.is_empty() {
            let problem = format!(
                "`tool_use` ids were found without `tool_result` blocks immediately after: {}.",
                open.join(", ")
            );
            return Err(ApiError::invalid(None, problem).about("messages"));
        }
        open = message.tool_calls.iter().map(|c| c.id.as_str()).collect();
    }
    Ok(())
}

/// A text, or the text of a list of blocks.
fn plain(fields: &Fields, name: &str) -> Answer<String> {
    match fields.get(name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(blocks)) => {
            let mut texts = Vec::new();
            for (index, block) in blocks.iter().enumerate() {
                let block = fields.item(name, index, block)?;
                block.required("type")?;
                match block.text("type")? {
                    Some("text") => texts.push(text(&block)?),
                    kind => return Err(unseen(&block, kind)),
                }
            }
            Ok(texts.join("\n"))
        }
        Some(_) => Err(fields.wrong_type(name, "a string or an array of blocks")),
    }
}

fn text(block: &Fields) -> Answer<String> {
    block.required("text")?;
    Ok(block.text("text")?.unwrap_or_default().to_owned())
}

fn blocks(message: &Fields) -> Answer<Vec<Fields>> {
    let list = message.list("content")?.unwrap_or_default();
    let block = |(index, value)| {
        let block = message.item("content", index, value)?;
        block.required("type")?;
        block.text("type")?;
        Ok(block)
    };
    list.iter().enumerate().map(block).collect()
}

fn assistant(message: &Fields) -> Answer<Message> {
    if let Some(Value::String(text)) = message.get("content") {
        return Ok(Message::new("assistant", text.clone()));
    }
    let mut turn = Message::new("assistant", "");
    let mut texts = Vec::new();
    for block in blocks(message)? {
        match block.text("type")? {
            Some("text") => texts.push(text(&block)?),
            Some("thinking") => {
                let thought = block.text("thinking")?.unwrap_or_default();
                turn.reasoning.get_or_insert_default().push_str(thought);
            }
            Some("redacted_thinking") => {}
            Some("tool_use") => {
                for name in ["id", "name", "input"] {
                    block.required(name)?;
                }
                let input = block.object("input")?.map(Fields::into_value);
                turn.tool_calls.push(ToolCall {
                    id: block.text("id")?.unwrap_or_default().to_owned(),
                    name: block.text("name")?.unwrap_or_default().to_owned(),
                    arguments: input.unwrap_or_default().to_string(),
                });
            }
            kind => return Err(unseen(&block, kind)),
        }
    }
    turn.content = texts.join("\n");
    Ok(turn)
}

fn user(message: &Fields, list: &mut Vec<Message>) -> Answer<()> {
    if let Some(Value::String(text)) = message.get("content") {
        list.push(Message::new("user", text.clone()));
        return Ok(());
    }
    let mut texts = Vec::new();
    for block in blocks(message)? {
        match block.text("type")? {
            Some("text") => texts.push(text(&block)?),
            Some("tool_result") => {
                block.required("tool_use_id")?;
                block.flag("is_error")?;
                list.push(Message {
                    tool_call_id: block.text("tool_use_id")?.map(str::to_owned),
                    ..Message::new("tool", plain(&block, "content")?)
                });
            }
            kind => return Err(unseen(&block, kind)),
        }
    }
    if !texts.is_empty() {
        list.push(Message::new("user", texts.join("\n")));
    }
    Ok(())
}
