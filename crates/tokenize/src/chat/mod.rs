//! Chat templates: from a list of messages to the text a model was trained on, as transformers'
//! `apply_chat_template` renders it.

mod encode;
mod json;
mod python;

use std::path::Path;
use std::sync::Arc;

use jiff::civil::DateTime;
use medley_formats::gguf::Metadata;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value};
use serde_json::{Map, Value as Json};

use crate::error::{Result, TokenizeError};
use crate::hub;
use crate::tokenizer::Tokenizer;

pub use encode::encode_chat;

/// What a template may do before it is stopped; published ones need a thousandth of it.
const FUEL: u64 = 20_000_000;

/// A conversation to be rendered.
///
/// ```
/// # use medley_tokenize::ChatInput;
/// let messages = [serde_json::json!({"role": "user", "content": "Hello"})];
/// let input = ChatInput { messages: &messages, add_generation_prompt: true, ..ChatInput::default() };
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatInput<'a> {
    /// The messages, each an object with `role` and `content`, in the shape of OpenAI's chat completions.
    pub messages: &'a [Json],
    /// Tools as JSON schemas (`{"type": "function", "function": {…}}`); none is not the same as an empty list.
    pub tools: Option<&'a [Json]>,
    /// Documents to answer from: objects with `title` and `text`.
    pub documents: Option<&'a [Json]>,
    /// Ends the text where the model's answer begins.
    pub add_generation_prompt: bool,
    /// Further variables for the template (`enable_thinking`, …).
    pub extra: Option<&'a Map<String, Json>>,
    /// The time that `strftime_now` tells; the clock's if `None`.
    pub now: Option<DateTime>,
}

/// A compiled chat template. Cheap to clone.
#[derive(Clone)]
pub struct ChatTemplate {
    inner: Arc<Inner>,
}

struct Inner {
    environment: Environment<'static>,
    special: Map<String, Json>,
    source: String,
    /// The template for conversations with tools, where the model has one of its own.
    tools: Option<String>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate")
            .field("special", &self.inner.special)
            .field("source", &self.inner.source)
            .finish_non_exhaustive()
    }
}

const MAIN: &str = "chat";
const TOOLS: &str = "chat with tools";

fn template_error(e: &minijinja::Error) -> TokenizeError {
    let mut detail = match (e.kind(), e.detail()) {
        // What the template itself refuses needs no engine's preface.
        (ErrorKind::InvalidOperation, Some(detail)) if detail.starts_with(REFUSED) => {
            detail[REFUSED.len()..].to_owned()
        }
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    if let Some(line) = e.line() {
        detail.push_str(&format!(" (line {line})"));
    }
    TokenizeError::Template {
        detail: detail.replace('\n', " "),
    }
}

/// Marks messages of `raise_exception`.
const REFUSED: &str = "the template refuses the conversation: ";

impl ChatTemplate {
    /// Compiles a template. `special` holds the variables with the special tokens' texts (`bos_token`, `eos_token`, …).
    ///
    /// # Errors
    /// When the template has a syntax error; the message gives its line.
    pub fn new(source: &str, special: &[(&str, &str)]) -> Result<Self> {
        Self::with_tools(source, None, special)
    }

    /// Like [`new`](Self::new) with a second template for conversations that have tools.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_tools(source: &str, tools: Option<&str>, special: &[(&str, &str)]) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|e| template_error(&e))?;
        environment.set_syntax(syntax);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        python::install(&mut environment);
        for (name, source) in [(MAIN, Some(source)), (TOOLS, tools)] {
            if let Some(source) = source {
                environment
                    .add_template_owned(name, without_generation_tags(source))
                    .map_err(|e| template_error(&e))?;
            }
        }
        Ok(Self {
            inner: Arc::new(Inner {
                environment,
                special: special
                    .iter()
                    .map(|&(name, text)| (name.to_owned(), text.into()))
                    .collect(),
                source: source.to_owned(),
                tools: tools.map(str::to_owned),
            }),
        })
    }

    /// The template that a GGUF file carries, if any.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_gguf(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let Some(source) = metadata.str("tokenizer.chat_template") else {
            return Ok(None);
        };
        let tools = metadata.str("tokenizer.chat_template.tool_use");
        let tokens = [
            ("bos_token", tokenizer.bos()),
            ("eos_token", tokenizer.eos()),
            ("unk_token", tokenizer.unknown()),
            ("pad_token", tokenizer.padding()),
        ]
        .map(|(name, id)| {
            (
                name,
                id.map(|id| tokenizer.token_text(id)).unwrap_or_default(),
            )
        });
        let special: Vec<(&str, &str)> = tokens
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        Self::with_tools(source, tools, &special).map(Some)
    }

    /// The template of a model folder: `chat_template.jinja`, or `chat_template` in `chat_template.json` or
    /// `tokenizer_config.json`; `None` if there is none. `path` may also be a file in that folder.
    ///
    /// # Errors
    /// When a file cannot be read or is malformed, or as [`new`](Self::new).
    pub fn from_folder(path: &Path) -> Result<Option<Self>> {
        let folder = hub::folder_of(path);
        let config = hub::read_json(&folder.join("tokenizer_config.json"))?;
        let special: Vec<(&str, &str)> = config
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| key.ends_with("_token"))
            .filter_map(|(key, value)| Some((key.as_str(), hub::token_text(value)?)))
            .collect();
        let file = folder.join("chat_template.jinja");
        if file.exists() {
            let source =
                String::from_utf8(hub::read(&file)?).map_err(|e| TokenizeError::BadFile {
                    path: file.clone(),
                    detail: e.to_string(),
                })?;
            return Self::new(&source, &special).map(Some);
        }
        let other = hub::read_json(&folder.join("chat_template.json"))?;
        let template = if other["chat_template"].is_null() {
            &config["chat_template"]
        } else {
            &other["chat_template"]
        };
        match template {
            Json::String(source) => Self::new(source, &special).map(Some),
            Json::Array(list) => {
                let named = |name: &str| {
                    list.iter()
                        .find(|entry| entry["name"] == name)
                        .and_then(|entry| entry["template"].as_str())
                };
                match named("default").or_else(|| list.first()?["template"].as_str()) {
                    Some(source) => Self::with_tools(source, named("tool_use"), &special).map(Some),
                    None => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    /// The template's source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// The source of the template for conversations with tools, where the model has one of its own.
    #[must_use]
    pub fn tools_source(&self) -> Option<&str> {
        self.inner.tools.as_deref()
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// When the template refuses the conversation (`raise_exception`), or does what it cannot do.
    pub fn render(&self, input: &ChatInput) -> Result<String> {
        let name =
            if self.inner.tools.is_some() && input.tools.is_some_and(|tools| !tools.is_empty()) {
                TOOLS
            } else {
                MAIN
            };
        let mut context: Vec<(&str, Value)> = Vec::new();
        for (key, text) in &self.inner.special {
            context.push((key, json::to_value(text)));
        }
        for (key, value) in input.extra.into_iter().flatten() {
            context.push((key, json::to_value(value)));
        }
        let messages: Vec<Value> = input
            .messages
            .iter()
            .map(|message| json::to_value(&with_reasoning(message)))
            .collect();
        let list = |list: &[Json]| list.iter().map(json::to_value).collect::<Vec<Value>>();
        let now = input.now;
        context.extend([
            ("messages", messages.into()),
            ("tools", input.tools.map(list).into()),
            ("documents", input.documents.map(list).into()),
            ("add_generation_prompt", input.add_generation_prompt.into()),
            (
                "strftime_now",
                Value::from_function(move |format: String| python::strftime(now, &format)),
            ),
        ]);
        let template = self
            .inner
            .environment
            .get_template(name)
            .map_err(|e| template_error(&e))?;
        template
            .render(Value::from_pairs(context))
            .map_err(|e| template_error(&e))
    }
}

/// Reasoning goes by three names; a template may read any of them.
fn with_reasoning(message: &Json) -> Json {
    let Some(fields) = message.as_object() else {
        return message.clone();
    };
    let Some(reasoning) = ["reasoning_content", "thinking", "reasoning"]
        .iter()
        .find_map(|key| fields.get(*key).filter(|value| !value.is_null()))
    else {
        return message.clone();
    };
    let mut all = Map::new();
    if !fields.contains_key("thinking") {
        all.insert("thinking".to_owned(), reasoning.clone());
    }
    all.extend(fields.clone());
    all.insert("reasoning_content".to_owned(), reasoning.clone());
    Json::Object(all)
}

/// `{% generation %}` marks what a model is trained on; rendering passes it through in a scope of its own.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let inner = &tag[2..end];
        let word = inner.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '+'));
        match word {
            "generation" => out.push_str(&format!("{{%{}%}}", inner.replace(word, "with"))),
            "endgeneration" => out.push_str(&format!("{{%{}%}}", inner.replace(word, "endwith"))),
            _ => out.push_str(&tag[..end + 2]),
        }
        rest = &tag[end + 2..];
    }
    out.push_str(rest);
    out
}
