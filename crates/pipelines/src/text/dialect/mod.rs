//! How a model writes thoughts and calls of functions, found in its chat template.
//!
//! A [`Dialect`] puts functions into the conversation, gives the grammar that the model's calls must follow, and reads
//! thoughts and calls out of the text while it comes ([`Reader`]).

mod grammar;
mod reader;
mod render;
mod watch;

use medley_tokenize::{ChatTemplate, Tokenizer};
use medley_types::{Prompt, TextRequest};

use super::TextModel;

pub(super) use grammar::{Answer, Shape, parameters};
pub use reader::{Piece, Reader};
pub(super) use watch::Watch;

/// How calls are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calls {
    /// JSON objects with `name` and the arguments.
    Json(JsonCalls),
    /// Mistral's later form: `[TOOL_CALLS]name[ARGS]{…}`, with an id between the two where there is a mark for it.
    Named { id: bool },
    /// Gemma 4's: `<|tool_call>call:name{key:value}<tool_call|>`.
    Gemma,
}

/// Marks and names of calls that are JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JsonCalls {
    /// Before the call; empty where a call is all that tells one.
    open: &'static str,
    /// After it.
    close: &'static str,
    /// Whether the marks stand around one list of all calls, and not around each.
    list: bool,
    /// Between mark and JSON.
    gap: &'static str,
    /// What the arguments are called.
    arguments: &'static str,
}

const HERMES: JsonCalls = JsonCalls {
    open: "<tool_call>",
    close: "</tool_call>",
    list: false,
    gap: "\n",
    arguments: "arguments",
};

const LLAMA: JsonCalls = JsonCalls {
    open: "",
    close: "",
    list: false,
    gap: "",
    arguments: "parameters",
};

/// Before calls that Llama 3 was trained to run as code; some fine-tunes write it before JSON.
const PYTHON_TAG: &str = "<|python_tag|>";

const MISTRAL: JsonCalls = JsonCalls {
    open: "[TOOL_CALLS]",
    close: "",
    list: true,
    gap: "",
    arguments: "arguments",
};

const PHI: JsonCalls = JsonCalls {
    open: "<|tool_call|>",
    close: "<|/tool_call|>",
    list: true,
    gap: "",
    arguments: "arguments",
};

const GRANITE: JsonCalls = JsonCalls { close: "", ..PHI };

/// Marks around what a model thinks: opened, closed.
type Thoughts = (&'static str, &'static str);

/// The usual ones, which models write whose template does not name them.
const THINK: Thoughts = ("<think>", "</think>");

/// The others.
const THOUGHTS: [Thoughts; 4] = [
    ("[THINK]", "[/THINK]"),
    ("<|channel>thought", "<channel|>"),
    ("<seed:think>", "</seed:think>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
];

/// How a template wants to be given functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// As its variable `tools`.
    Variable,
    /// As JSON in the field `tools` of the first message.
    InSystem,
    /// It knows of none: described in the system prompt, as Hermes models are told.
    Described,
}

/// How one model writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    calls: Calls,
    given: Given,
    thoughts: Thoughts,
    /// Whether the template names these marks.
    thinks: bool,
    /// Variables by which the template is told how much to think.
    knobs: Vec<&'static str>,
    /// Ids of calls must be nine letters or digits.
    short_ids: bool,
}

impl Dialect {
    /// The one of a template.
    pub fn of(template: &ChatTemplate) -> Self {
        Self::of_source(template.source(), template.tools_source())
    }

    /// The one of a template's source, and of a second one for conversations with functions.
    pub fn of_source(source: &str, with_tools: Option<&str>) -> Self {
        let all = with_tools.unwrap_or(source);
        let has = |text: &str| source.contains(text) || all.contains(text);
        let named = THOUGHTS.into_iter().chain([THINK]);
        let named = named.into_iter().find(|(_, close)| has(close));
        let (given, calls) = Self::calls_of(all);
        let knobs = ["enable_thinking", "thinking", "reasoning_effort"];
        let knobs = knobs
            .into_iter()
            .filter(|k| is_asked(source, k) || is_asked(all, k));
        Self {
            calls,
            given,
            thoughts: named.unwrap_or(THINK),
            thinks: named.is_some(),
            knobs: knobs.collect(),
            short_ids: has("length != 9"),
        }
    }

    fn calls_of(source: &str) -> (Given, Calls) {
        let has = |text: &str| source.contains(text);
        if has("message['tools']") && has("<|tool|>") {
            return (Given::InSystem, Calls::Json(PHI));
        }
        let calls = if !has("tools") {
            None
        } else if has("[TOOL_CALLS]") && has("[ARGS]") {
            Some(Calls::Named {
                id: has("[CALL_ID]"),
            })
        } else if has("[TOOL_CALLS]") {
            Some(Calls::Json(MISTRAL))
        } else if has("<|tool_call>call:") {
            Some(Calls::Gemma)
        } else if has("<|/tool_call|>") {
            Some(Calls::Json(PHI))
        } else if has("<|tool_call|>") {
            Some(Calls::Json(GRANITE))
        } else if has("<tool_call>") && (has("\"arguments\"") || has("\\\"arguments\\\"")) {
            Some(Calls::Json(HERMES))
        } else if has("<|start_header_id|>") && has("\"parameters\"") {
            Some(Calls::Json(LLAMA))
        } else {
            None
        };
        match calls {
            Some(calls) => (Given::Variable, calls),
            None => (Given::Described, Calls::Json(HERMES)),
        }
    }

    /// Reads what a model writes. `calls` says whether functions may be called, `thinking` whether the prompt ends within
    /// thoughts.
    pub fn reader(&self, calls: bool, thinking: bool) -> Reader {
        Reader::new(self, calls, thinking)
    }

    /// Whether a prompt's end leaves the model in the middle of its thoughts.
    pub(super) fn ends_thinking(&self, prompt: &str) -> bool {
        prompt.trim_end().ends_with(self.thoughts.0)
    }

    /// Special tokens that are part of what is read.
    pub(super) fn visible(&self, tokenizer: &Tokenizer, calls: bool) -> Vec<u32> {
        let mut marks = vec![self.thoughts.0, self.thoughts.1];
        if self.thoughts.0 == "<|channel>thought" {
            marks.push("<|channel>");
        }
        if calls {
            match self.calls {
                Calls::Json(json) if json == LLAMA => marks.push(PYTHON_TAG),
                Calls::Json(json) => marks.extend([json.open, json.close]),
                Calls::Named { .. } => marks.extend(["[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"]),
                Calls::Gemma => marks.extend(["<|tool_call>", "<tool_call|>", reader::QUOTE]),
            }
        }
        let ids = marks.into_iter().filter_map(|m| tokenizer.token_id(m));
        let mut ids: Vec<u32> = ids.filter(|&id| tokenizer.is_special(id)).collect();
        ids.dedup();
        ids
    }

    /// A new id for a call.
    pub fn call_id(&self) -> String {
        // Not guessable, as nothing depends on it; the generator of the text stays untouched.
        use std::hash::{BuildHasher, RandomState};
        let words = [0u8, 1].map(|i| RandomState::new().hash_one(i));
        let text = render::letters(u128::from(words[0]) << 64 | u128::from(words[1]), 24);
        match self.short_ids {
            true => text[..9].to_owned(),
            false => format!("call_{text}"),
        }
    }
}

/// What is to be read out of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Whether it is an answer in a conversation; otherwise nothing is.
    pub(super) chat: bool,
    /// Whether functions may be called.
    pub(super) calls: bool,
    /// Whether the prompt ends within thoughts.
    pub(super) thinking: bool,
}

/// Tokens at a prompt's end that a mark may be spelled by.
const MARK_TOKENS: usize = 16;

impl TextModel {
    /// What is to be read out of the answer to this prompt.
    pub(super) fn reading(&self, request: &TextRequest, prompt: &[u32]) -> Reading {
        let (Prompt::Messages(_), Some(dialect)) = (&request.prompt, &self.dialect) else {
            return Reading::default();
        };
        let tail = &prompt[prompt.len().saturating_sub(MARK_TOKENS)..];
        let bytes: Vec<u8> = tail
            .iter()
            .flat_map(|&id| self.tokenizer.token_bytes(id))
            .collect();
        Reading {
            chat: true,
            calls: !request.tools.is_off(),
            thinking: dialect.ends_thinking(&String::from_utf8_lossy(&bytes)),
        }
    }

    /// A reader of such a text.
    pub(super) fn reader(&self, reading: Reading) -> Reader {
        match &self.dialect {
            Some(dialect) if reading.chat => dialect.reader(reading.calls, reading.thinking),
            _ => Reader::plain(),
        }
    }
}

/// Whether a template looks at a variable.
fn is_asked(source: &str, variable: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '\'' | '"' | '.');
    source.match_indices(variable).any(|(at, _)| {
        let before = source[..at].chars().next_back();
        let after = source[at + variable.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

#[cfg(test)]
mod tests;
