//! Chat templates, and prompts whose special tokens only the template can write.

use std::path::Path;

use medley_formats::gguf::Metadata;
use medley_tokenize::Tokenizer;
use medley_types::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use super::load::read_json;
use crate::PipelineError;

/// Stands inside whatever a user's text has in common with a special token, so that it is none.
const SENTINEL: char = '\u{F8FF}';

/// A model's chat template in the Jinja dialect of published files.
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    fn new(source: String, tokenizer: &Tokenizer) -> Result<Self, PipelineError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|e| wrong(&e))?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment
            .add_template_owned("chat", source)
            .map_err(|e| wrong(&e))?;
        let text = |id: Option<u32>| id.map(|id| tokenizer.token_text(id)).unwrap_or_default();
        Ok(Self {
            environment,
            bos: text(tokenizer.bos()),
            eos: text(tokenizer.eos()),
        })
    }

    /// The template in a GGUF file's metadata.
    pub fn from_gguf(
        metadata: &Metadata,
        tokenizer: &Tokenizer,
    ) -> Result<Option<Self>, PipelineError> {
        metadata
            .str("tokenizer.chat_template")
            .map(|t| Self::new(t.to_owned(), tokenizer))
            .transpose()
    }

    /// The template beside a published checkpoint.
    pub fn from_folder(
        folder: &Path,
        tokenizer: &Tokenizer,
    ) -> Result<Option<Self>, PipelineError> {
        let file = folder.join("chat_template.jinja");
        if let Ok(source) = std::fs::read_to_string(&file) {
            return Self::new(source, tokenizer).map(Some);
        }
        let settings = folder.join("tokenizer_config.json");
        if !settings.exists() {
            return Ok(None);
        }
        let settings = read_json(&settings)?;
        settings
            .get("chat_template")
            .and_then(|t| t.as_str())
            .map(|t| Self::new(t.to_owned(), tokenizer))
            .transpose()
    }

    /// The conversation as text, ready for the assistant's turn.
    pub fn render(&self, messages: &[Message]) -> Result<String, PipelineError> {
        let template = self
            .environment
            .get_template("chat")
            .map_err(|e| wrong(&e))?;
        let turn = |m: &Message| {
            Value::from_pairs([("role", m.role.clone()), ("content", m.content.clone())])
        };
        let values: Vec<Value> = messages.iter().map(turn).collect();
        template
            .render(context! { messages => values, add_generation_prompt => true, bos_token => self.bos.clone(), eos_token => self.eos.clone() })
            .map_err(|e| wrong(&e))
    }

    /// The ids of a conversation. Special tokens that stand in a message stay text.
    pub fn encode(
        &self,
        messages: &[Message],
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>, PipelineError> {
        let specials: Vec<String> = (0..tokenizer.vocab_size() as u32)
            .filter(|&id| tokenizer.is_special(id))
            .map(|id| tokenizer.token_text(id))
            .filter(|text| text.chars().count() > 1)
            .collect();
        let broken = |text: &str| -> String {
            specials.iter().filter(|s| text.contains(s.as_str())).fold(
                text.replace(SENTINEL, ""),
                |text, special| {
                    let mut parts = special.chars();
                    let first = parts.next().unwrap_or_default();
                    text.replace(
                        special.as_str(),
                        &format!("{first}{SENTINEL}{}", parts.as_str()),
                    )
                },
            )
        };
        let messages: Vec<Message> = messages
            .iter()
            .map(|m| Message::new(&m.role, broken(&m.content)))
            .collect();
        let text = self.render(&messages)?;
        if !text.contains(SENTINEL) {
            return Ok(tokenizer.encode(&text, false, true)?);
        }
        let mut ids = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let next = specials
                .iter()
                .filter_map(|s| rest.find(s.as_str()).map(|at| (at, s.len())))
                .min_by_key(|&(at, len)| (at, usize::MAX - len));
            let (plain, special) = match next {
                Some((at, len)) => (&rest[..at], &rest[at..at + len]),
                None => (rest, ""),
            };
            if !plain.is_empty() {
                ids.extend(tokenizer.encode(&plain.replace(SENTINEL, ""), false, false)?);
            }
            if !special.is_empty() {
                ids.extend(tokenizer.encode(special, false, true)?);
            }
            rest = &rest[plain.len() + special.len()..];
        }
        Ok(ids)
    }
}

fn wrong(error: &minijinja::Error) -> PipelineError {
    PipelineError::Template(error.to_string().replace('\n', " "))
}
