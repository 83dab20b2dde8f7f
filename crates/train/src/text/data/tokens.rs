//! Documents as tokens.

use medley_tokenize::{ChatInput, ChatTemplate, Tokenizer, encode_chat};
use serde_json::Value;

use super::Document;

/// Tokens of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Ids.
    pub ids: Vec<u32>,
    /// For each, whether it is to be predicted.
    pub counted: Vec<bool>,
    /// Bytes of text behind the tokens that are to be predicted; 0 for chats.
    pub bytes: usize,
}

/// Turns documents into tokens.
#[derive(Clone)]
pub struct Encoder {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
}

impl Encoder {
    /// With the tokenizer of a model, and its template for chats.
    pub fn new(tokenizer: Tokenizer, template: Option<ChatTemplate>) -> Self {
        Self {
            tokenizer,
            template,
        }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokens of a document, the end of text behind it; `Err` says why it cannot be used.
    pub fn encode(&self, document: &Document) -> Result<Tokens, String> {
        match document {
            Document::Text(text) => {
                let mut ids = Vec::new();
                if self.tokenizer.adds_bos() {
                    ids.extend(self.tokenizer.bos());
                }
                let encoded = self.tokenizer.encode(text, false, false);
                ids.extend(encoded.map_err(|e| e.to_string())?);
                ids.extend(self.tokenizer.eos());
                Ok(Tokens {
                    counted: vec![true; ids.len()],
                    bytes: text.len(),
                    ids,
                })
            }
            Document::Chat(messages) => self.chat(messages),
        }
    }

    /// A chat as its template writes it. Answers count from where the model would begin to write to where the template
    /// ends the turn.
    fn chat(&self, messages: &[Value]) -> Result<Tokens, String> {
        let template = self
            .template
            .as_ref()
            .ok_or("the model has no chat template for \"messages\"")?;
        let render = |messages: &[Value], open: bool| {
            let input = ChatInput {
                messages,
                add_generation_prompt: open,
                ..ChatInput::default()
            };
            encode_chat(&self.tokenizer, template, &input).map_err(|e| e.to_string())
        };
        let ids = render(messages, false)?;
        let mut counted = vec![false; ids.len()];
        for (i, message) in messages.iter().enumerate() {
            if message["role"] != "assistant" {
                continue;
            }
            let (from, to) = (
                render(&messages[..i], true)?,
                render(&messages[..=i], false)?,
            );
            if !to.starts_with(&from) || !ids.starts_with(&to) {
                return Err("the chat template writes earlier turns anew".into());
            }
            counted[from.len()..to.len()].fill(true);
        }
        Ok(Tokens {
            ids,
            counted,
            bytes: 0,
        })
    }
}
