//! The messages of a chat.

use medley_types::{Message, ToolCall};
use serde_json::Value;

use crate::error::{Answer, ApiError};
use crate::fields::Fields;

/// The field `messages`.
pub(crate) fn messages(fields: &Fields) -> Answer<Vec<Message>> {
    fields.required("messages")?;
    let list = fields.list("messages")?.unwrap_or_default();
    if list.is_empty() {
        return Err(ApiError::invalid(
            Some("empty_array"),
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        )
        .about("messages"));
    }
    let one = |(index, value)| message(&fields.item("messages", index, value)?);
    let messages: Vec<Message> = list.iter().enumerate().map(one).collect::<Answer<_>>()?;
    check_calls(&messages)?;
    Ok(messages)
}

/// Every call is answered right behind the message that makes it, and nothing else is.
fn check_calls(messages: &[Message]) -> Answer<()> {
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        if message.role == "tool" {
            let id = message.tool_call_id.as_deref().unwrap_or_default();
            match open.iter().position(|call| *call == id) {
                Some(at) => {
                    open.remove(at);
                    continue;
                }
                None => {
                    return Err(ApiError::invalid(
                        None,
                        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
                    )
                    .about(format!("messages[{index}].role")));
                }
            }
        }
        if !open.is_empty() {
            return Err(unanswered(&open, index));
        }
        open = message.tool_calls.iter().map(|c| c.id.as_str()).collect();
    }
    match open.is_empty() {
        true => Ok(()),
        false => Err(unanswered(&open, messages.len())),
    }
}

fn unanswered(open: &[&str], index: usize) -> ApiError {
    ApiError::invalid(
        None,
        format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            open.join(", ")
        ),
    )
    .about(format!("messages[{index}].role"))
}

fn message(message: &Fields) -> Answer<Message> {
    message.required("role")?;
    let roles = [
        "system",
        "developer",
        "user",
        "assistant",
        "tool",
        "function",
    ];
    let role = match message.word("role", &roles)? {
        // The newer name of the same.
        Some("developer") => "system",
        Some("function") => {
            return Err(message.unsupported("role", "'function' is the older form of 'tool'"));
        }
        Some(role) => role,
        None => "user",
    };
    message.refuse(
        &["function_call", "audio"],
        "is not supported here; the newer form is 'tool_calls'",
    )?;
    let tool_calls = match role {
        "assistant" => tool_calls(message)?,
        _ => Vec::new(),
    };
    if tool_calls.is_empty() {
        message.required("content")?;
    }
    let tool_call_id = match role {
        "tool" => {
            message.required("tool_call_id")?;
            message.text("tool_call_id")?.map(str::to_owned)
        }
        _ => None,
    };
    Ok(Message {
        reasoning: message.text("reasoning_content")?.map(str::to_owned),
        tool_calls,
        tool_call_id,
        ..Message::new(role, content(message, role)?)
    })
}

fn content(message: &Fields, role: &str) -> Answer<String> {
    match message.get("content") {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let mut text = String::new();
            for (index, part) in parts.iter().enumerate() {
                let part = message.item("content", index, part)?;
                part.required("type")?;
                match part.text("type")? {
                    Some("text") => {
                        part.required("text")?;
                        text.push_str(part.text("text")?.unwrap_or_default());
                    }
                    Some("refusal") if role == "assistant" => {
                        text.push_str(part.text("refusal")?.unwrap_or_default());
                    }
                    kind => return Err(unseen(&part, kind)),
                }
            }
            Ok(text)
        }
        Some(_) => Err(message.wrong_type("content", "a string or an array of parts")),
    }
}

/// A part that no model here can take in.
pub(crate) fn unseen(part: &Fields, kind: Option<&str>) -> ApiError {
    match kind {
        Some("image_url" | "input_image" | "image") => {
            part.wrong_value("type", "this model cannot see pictures")
        }
        Some("input_audio") => part.wrong_value("type", "this model cannot hear"),
        _ => part.wrong_value("type", "only text is supported here"),
    }
}

fn tool_calls(message: &Fields) -> Answer<Vec<ToolCall>> {
    let list = message.list("tool_calls")?.unwrap_or_default();
    let one = |(index, value)| {
        let call = message.item("tool_calls", index, value)?;
        for name in ["id", "function"] {
            call.required(name)?;
        }
        call.word("type", &["function"])?;
        let function = call.object("function")?;
        let function = function.ok_or_else(|| call.wrong_type("function", "an object"))?;
        for name in ["name", "arguments"] {
            function.required(name)?;
        }
        let text = |fields: &Fields, name: &str| -> Answer<String> {
            Ok(fields.text(name)?.unwrap_or_default().to_owned())
        };
        Ok(ToolCall {
            id: text(&call, "id")?,
            name: text(&function, "name")?,
            arguments: text(&function, "arguments")?,
        })
    };
    list.iter().enumerate().map(one).collect()
}
