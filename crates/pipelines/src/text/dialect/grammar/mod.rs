//! The grammar, in llguidance's form of Lark, that a model's thoughts, calls and answer follow.

mod gemma;

use std::fmt::Write;

use medley_sampling::embedded_schema;
use medley_tokenize::Tokenizer;
use medley_types::{Tool, ToolChoice, Tools};
use serde_json::{Value, json};

use super::{Calls, Dialect, JsonCalls};

/// Most calls of one turn, so that a weak model comes to an end.
const MOST_CALLS: usize = 16;

/// What the answer itself must be, beside thoughts and calls.
#[derive(Clone, Debug)]
pub(in crate::text) enum Answer {
    /// Anything.
    Free,
    /// JSON of this schema.
    Json(Value),
    /// What this regular expression matches.
    Regex(String),
}

/// What is to be written.
pub(in crate::text) struct Shape<'a> {
    pub(in crate::text) tools: &'a Tools,
    pub(in crate::text) answer: Answer,
    /// Whether the prompt ends within thoughts.
    pub(in crate::text) thinking: bool,
}

impl Dialect {
    /// Whether thoughts may come before what a constraint is about.
    pub(in crate::text) fn thinks(&self) -> bool {
        self.thinks
    }

    /// The grammar of a shape; nothing where anything may be written.
    pub(in crate::text) fn grammar(&self, tokenizer: &Tokenizer, shape: &Shape) -> Option<String> {
        let free = matches!(shape.answer, Answer::Free);
        if free && shape.tools.is_off() {
            return None;
        }
        let mut writer = Writer {
            tokenizer,
            rules: String::new(),
        };
        let thoughts = self.thought_rules(&mut writer, shape.thinking);
        let mut ways: Vec<String> = Vec::new();
        let must_call = shape.tools.must_call();
        if !shape.tools.is_off() {
            let calls = writer.calls(self.calls, shape.tools);
            // Words before calls are the model's to choose where calls are.
            match writer.mark(self.first_mark()) {
                Some(Mark::Special(_)) if !must_call && free => {
                    ways.push(format!("FREE? {calls}"));
                }
                Some(Mark::Text(mark)) if !must_call && free => {
                    let _ = writeln!(writer.rules, "before[suffix={mark}]: /(?s:.*)/");
                    // The mark is read with the words before it.
                    let rest = writer.calls_behind_mark(self.calls, shape.tools);
                    ways.push(format!("before {rest}"));
                }
                _ => ways.push(calls),
            }
        }
        if !must_call {
            ways.push(writer.answer(&shape.answer, self.calls, shape.tools));
        }
        let start = format!("start: {thoughts} ({})\n", ways.join(" | "));
        Some(start + &writer.rules)
    }

    fn first_mark(&self) -> &'static str {
        match self.calls {
            Calls::Json(json) => json.open,
            Calls::Named { .. } => "[TOOL_CALLS]",
            Calls::Gemma => "<|tool_call>",
        }
    }

    fn thought_rules(&self, writer: &mut Writer, thinking: bool) -> &'static str {
        if !self.thinks && !thinking {
            return "";
        }
        let (open, close) = self.thoughts;
        let open = writer.literal(open);
        let thought = match writer.mark(close) {
            Some(Mark::Special(id)) => format!("THOUGHT {id}"),
            Some(Mark::Text(text)) => {
                let _ = writeln!(writer.rules, "thought[suffix={text}]: /(?s:.*)/");
                "thought".to_owned()
            }
            None => return "",
        };
        let _ = writeln!(writer.rules, "thoughts: {thought} GAP?");
        let _ = writeln!(writer.rules, "THOUGHT: /(?s:.*)/\nGAP: /[ \\n]{{1,4}}/");
        if thinking {
            return "thoughts";
        }
        let _ = writeln!(writer.rules, "opened: {open} thoughts");
        "opened?"
    }
}

/// A mark in a grammar.
enum Mark {
    /// One token that no text spells.
    Special(String),
    /// A text, quoted.
    Text(String),
}

struct Writer<'a> {
    tokenizer: &'a Tokenizer,
    rules: String,
}

impl Writer<'_> {
    fn mark(&self, text: &str) -> Option<Mark> {
        if text.is_empty() {
            return None;
        }
        let special = self.tokenizer.token_id(text);
        Some(match special.filter(|&id| self.tokenizer.is_special(id)) {
            Some(id) => Mark::Special(format!("<[{id}]>")),
            None => Mark::Text(quote(text)),
        })
    }

    /// A mark as it stands in a rule, with what of it is text; nothing where it is empty.
    fn literal(&self, text: &str) -> String {
        // Gemma's marks are followed by a word.
        let split = text.find('>').map_or(text.len(), |at| at + 1);
        let (mark, rest) = text.split_at(split);
        let part = |text| match self.mark(text) {
            Some(Mark::Special(text) | Mark::Text(text)) => text,
            None => String::new(),
        };
        format!("{} {}", part(mark), part(rest))
    }

    fn answer(&mut self, answer: &Answer, calls: Calls, tools: &Tools) -> String {
        match answer {
            Answer::Json(schema) => {
                let _ = writeln!(self.rules, "answer: %json {}", embedded_schema(schema));
                "answer".into()
            }
            Answer::Regex(pattern) => {
                let _ = writeln!(self.rules, "ANSWER: /{}/", pattern.replace('/', "\\/"));
                "ANSWER".into()
            }
            Answer::Free => {
                let open = match calls {
                    Calls::Json(json) => json.open,
                    _ => self::Writer::NONE,
                };
                // What would be a call is none of it, lest the model call what is not there.
                let without = match self.mark(open) {
                    _ if tools.is_off() => String::new(),
                    Some(Mark::Text(_)) => {
                        format!(" & ~/(?s:.*){}(?s:.*)/", escape(open))
                    }
                    Some(Mark::Special(_)) => String::new(),
                    None if matches!(calls, Calls::Json(_)) => {
                        " & ~/\\s*\\{\\s*\"(name|type)\"\\s*:(?s:.*)/".to_owned()
                    }
                    None => String::new(),
                };
                let _ = writeln!(self.rules, "FREE: /(?s:.*)/{without}");
                "FREE".into()
            }
        }
    }

    const NONE: &'static str = "";

    /// The rule of all calls of a turn, its name given back.
    fn calls(&mut self, calls: Calls, tools: &Tools) -> String {
        let opened = match calls {
            Calls::Json(json) => self.literal(json.open),
            Calls::Named { .. } => self.literal("[TOOL_CALLS]"),
            Calls::Gemma => self.literal("<|tool_call>"),
        };
        let behind = self.calls_behind_mark(calls, tools);
        format!("({opened} {behind})")
    }

    /// As [`calls`](Self::calls), without the first mark.
    fn calls_behind_mark(&mut self, calls: Calls, tools: &Tools) -> String {
        let wanted: Vec<&Tool> = match &tools.choice {
            ToolChoice::Named(name) => tools.list.iter().filter(|t| t.name == *name).collect(),
            _ => tools.list.iter().collect(),
        };
        // A bare object leaves no place for a second.
        let several = tools.parallel
            && !matches!(tools.choice, ToolChoice::Named(_))
            && calls != Calls::Json(super::LLAMA);
        if !self.rules.contains("\ncall: ") {
            let one = match calls {
                Calls::Json(json) => self.json_call(json, &wanted),
                Calls::Named { id } => self.named_call(id, &wanted),
                Calls::Gemma => self.gemma_call(&wanted),
            };
            let _ = write!(self.rules, "\ncall: {one}\n");
        }
        let more = MOST_CALLS - 1;
        let (open, close, list, gap) = match calls {
            Calls::Json(json) => (json.open, json.close, json.list, json.gap),
            Calls::Named { .. } => ("[TOOL_CALLS]", "", false, ""),
            Calls::Gemma => ("<|tool_call>", "<tool_call|>", false, ""),
        };
        let (open, close) = (self.literal(open), self.literal(close));
        let gap = if gap.is_empty() {
            String::new()
        } else {
            quote(gap)
        };
        match (list, several) {
            (true, true) => format!("\"[\" call (\", \" call){{0,{more}}} \"]\" {close}"),
            (true, false) => format!("\"[\" call \"]\" {close}"),
            (false, true) => format!(
                "{gap} call {gap} {close} ({gap} {open} {gap} call {gap} {close}){{0,{more}}}"
            ),
            (false, false) => format!("{gap} call {gap} {close}"),
        }
    }

    fn json_call(&mut self, json: JsonCalls, tools: &[&Tool]) -> String {
        let one = |(number, tool): (usize, &&Tool)| {
            let name = json!(tool.name);
            let head = format!("{{\"name\": {name}, \"{}\": ", json.arguments);
            let _ = writeln!(
                self.rules,
                "arguments_{number}: %json {}",
                embedded_schema(&parameters(tool))
            );
            format!("{} arguments_{number} \"}}\"", quote(&head))
        };
        let ways: Vec<String> = tools.iter().enumerate().map(one).collect();
        ways.join(" | ")
    }

    fn named_call(&mut self, id: bool, tools: &[&Tool]) -> String {
        let args = self.literal("[ARGS]");
        let id = match id {
            true => format!("{} /[a-zA-Z0-9]{{9}}/", self.literal("[CALL_ID]")),
            false => String::new(),
        };
        let one = |(number, tool): (usize, &&Tool)| {
            let _ = writeln!(
                self.rules,
                "arguments_{number}: %json {}",
                embedded_schema(&parameters(tool))
            );
            format!("{} {id} {args} arguments_{number}", quote(&tool.name))
        };
        let ways: Vec<String> = tools.iter().enumerate().map(one).collect();
        ways.join(" | ")
    }
}

/// The schema of a function's arguments: always an object.
pub(in crate::text) fn parameters(tool: &Tool) -> Value {
    let mut schema = match &tool.parameters {
        Some(Value::Object(map)) if !map.is_empty() => map.clone(),
        _ => return json!({ "type": "object", "properties": {}, "additionalProperties": false }),
    };
    let says = ["type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"];
    if !says.iter().any(|key| schema.contains_key(*key)) {
        schema.insert("type".into(), json!("object"));
    }
    Value::Object(schema)
}

/// A literal in JSON's syntax, which Lark's is.
fn quote(text: &str) -> String {
    json!(text).to_string()
}

/// Text in a regular expression between slashes.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        // Not all punctuation: an escaped angle is the edge of a word.
        if "\\.+*?()|[]{}^$/".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

#[cfg(test)]
mod tests;
