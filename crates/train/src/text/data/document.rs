//! One document.

use serde_json::{Map, Value};

/// What is learned from as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// Text, all of which is to be predicted.
    Text(String),
    /// Messages with `role` and `content`; the assistant's are to be predicted.
    Chat(Vec<Value>),
}

impl Document {
    /// A line of a JSONL file: an object with `text`, or with `messages`.
    pub(super) fn from_json(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
        match value {
            Value::Object(fields) => Self::from_fields(fields),
            _ => Err("an object was expected".into()),
        }
    }

    /// The fields of such a line, or of a row of a table.
    pub(super) fn from_fields(mut fields: Map<String, Value>) -> Result<Self, String> {
        if let Some(Value::String(text)) = fields.remove("text") {
            return Ok(Self::Text(text));
        }
        let Some(Value::Array(messages)) = fields.remove("messages") else {
            return Err("an object with \"text\" or \"messages\" was expected".into());
        };
        for message in &messages {
            if !message["role"].is_string() || message["content"].is_null() {
                return Err("a message has a \"role\" and a \"content\"".into());
            }
        }
        if !messages.iter().any(|m| m["role"] == "assistant") {
            return Err("no message is the assistant's, so there is nothing to learn".into());
        }
        Ok(Self::Chat(messages))
    }
}
