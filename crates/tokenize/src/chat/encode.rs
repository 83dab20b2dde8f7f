//! From a conversation to token ids, such that nobody's words can pass for the template's special tokens.

use serde_json::{Map, Value};

use super::{ChatInput, ChatTemplate};
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Renders a conversation and encodes it. The template's special tokens are special; special tokens that stand in
/// messages, tools or documents stay text.
///
/// They are told apart by a character that no part of the conversation has: it is put into every special token's spelling in
/// the conversation before rendering, and taken out of the text after special tokens were found in it. Templates trim,
/// split and search messages as before, save for special tokens themselves. Where a template does look for those (the
/// end of thinking, say), assistant messages are rendered as they are, for they are what the model wrote.
///
/// # Errors
/// When the template refuses the conversation, or the text cannot be encoded.
pub fn encode_chat(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    input: &ChatInput,
) -> Result<Vec<u32>> {
    let plain = template.render(input)?;
    let guard = Guard::new(tokenizer, input);
    // BOS is the template's to give, as the model's authors wrote it.
    let encode = |text: &str, drop| tokenizer.encode_with(text.as_bytes(), false, true, drop);
    let ids = if guard.finds_any(input) {
        let text = guard.render(template, input, &plain)?;
        encode(&text, Some(guard.mark))?
    } else {
        encode(&plain, None)?
    };
    Ok(ids)
}

/// Breaks special tokens in a conversation.
struct Guard {
    /// Longest first.
    special: Vec<String>,
    mark: char,
}

impl Guard {
    fn new(tokenizer: &Tokenizer, input: &ChatInput) -> Self {
        let mark = ('\u{F0000}'..='\u{FFFFD}')
            .find(|&c| !parts(input).any(|part| contains(part, &|text| text.contains(c))))
            .unwrap_or('\u{FFFFD}');
        Self {
            special: tokenizer.special_texts(),
            mark,
        }
    }

    fn finds_any(&self, input: &ChatInput) -> bool {
        parts(input).any(|part| {
            contains(part, &|text| {
                self.special.iter().any(|s| text.contains(s.as_str()))
            })
        })
    }

    /// Renders with everything broken; if the template then goes another way, with assistant messages as they are.
    fn render(&self, template: &ChatTemplate, input: &ChatInput, plain: &str) -> Result<String> {
        let all = |value: &Value| self.broken(value);
        let except_assistant = |value: &Value| {
            if value["role"] == "assistant" {
                value.clone()
            } else {
                self.broken(value)
            }
        };
        let tools: Option<Vec<Value>> = input.tools.map(|tools| tools.iter().map(all).collect());
        let documents: Option<Vec<Value>> =
            input.documents.map(|list| list.iter().map(all).collect());
        let with = |messages: &[Value]| {
            template.render(&ChatInput {
                messages,
                tools: tools.as_deref(),
                documents: documents.as_deref(),
                ..*input
            })
        };
        let messages: Vec<Value> = input.messages.iter().map(all).collect();
        let text = with(&messages);
        if text
            .as_ref()
            .is_ok_and(|text| text.replace(self.mark, "") == plain)
        {
            return text;
        }
        let messages: Vec<Value> = input.messages.iter().map(except_assistant).collect();
        let gentle = with(&messages);
        if gentle
            .as_ref()
            .is_ok_and(|text| text.replace(self.mark, "") == plain)
        {
            return gentle;
        }
        text
    }

    fn broken(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.broken_text(text)),
            Value::Array(list) => list.iter().map(|item| self.broken(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| (self.broken_text(key), self.broken(value)))
                .collect::<Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    /// Puts the mark after the first character of each special token.
    fn broken_text(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for special in &self.special {
            if out.contains(special.as_str()) {
                let first = special.chars().next().map_or(0, char::len_utf8);
                let broken = format!("{}{}{}", &special[..first], self.mark, &special[first..]);
                out = out.replace(special.as_str(), &broken);
            }
        }
        out
    }
}

/// Everything that people write into a conversation.
fn parts<'a>(input: &ChatInput<'a>) -> impl Iterator<Item = &'a Value> {
    input
        .messages
        .iter()
        .chain(input.tools.into_iter().flatten())
        .chain(input.documents.into_iter().flatten())
}

/// Whether any string of `value` passes `test`.
fn contains(value: &Value, test: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => test(text),
        Value::Array(list) => list.iter().any(|item| contains(item, test)),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| test(key) || contains(value, test)),
        _ => false,
    }
}
