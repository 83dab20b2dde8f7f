//! Tokenizers from `tokenizer.json`, encoded by the tokenizers crate.

use std::sync::OnceLock;

use serde_json::Value;
use tokenizers::normalizers::{NormalizerWrapper, Replace, Sequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use crate::error::{Result, TokenizeError};
use crate::vocab::{TokenKind, Vocab};

use super::{named_byte, unescape_spaces};

pub(crate) struct Json {
    plain: tokenizers::Tokenizer,
    /// Special tokens in text stay text.
    literal: OnceLock<tokenizers::Tokenizer>,
    /// Drops a mark character after special tokens were found.
    marked: OnceLock<(char, tokenizers::Tokenizer)>,
}

/// How a vocabulary spells bytes, told from its decoder.
#[derive(Clone, Copy, PartialEq)]
enum Spelling {
    ByteLevel,
    Spaces,
    WordPiece,
    Plain,
}

fn encode_error(e: impl std::fmt::Display) -> TokenizeError {
    TokenizeError::Encode {
        detail: e.to_string(),
    }
}

impl Json {
    /// Reads `tokenizer.json`; also gives the vocabulary.
    pub(crate) fn parse(bytes: &[u8]) -> std::result::Result<(Self, Vocab), String> {
        let mut plain = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| e.to_string())?;
        // A file may be saved with the settings of some training run; what is encoded here must be whole.
        plain.with_padding(None);
        plain.with_truncation(None).map_err(|e| e.to_string())?;
        let vocab = vocabulary(&plain, bytes).map_err(|e| e.to_string())?;
        let json = Self {
            plain,
            literal: OnceLock::new(),
            marked: OnceLock::new(),
        };
        Ok((json, vocab))
    }

    pub(crate) fn encode(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
        drop: Option<char>,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let encoding = match drop {
            Some(mark) => {
                if self.marked.get().is_none() {
                    let _ = self.marked.set((mark, with_dropped(&self.plain, mark)?));
                }
                match self.marked.get() {
                    Some((known, tokenizer)) if *known == mark => {
                        tokenizer.encode(text, add_special)
                    }
                    _ => with_dropped(&self.plain, mark)?.encode(text, add_special),
                }
            }
            None if parse_special => self.plain.encode(text, add_special),
            None => self
                .literal
                .get_or_init(|| {
                    let mut tokenizer = self.plain.clone();
                    tokenizer.set_encode_special_tokens(true);
                    tokenizer
                })
                .encode(text, add_special),
        }
        .map_err(encode_error)?;
        out.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.plain.token_to_id(token)
    }

    /// Whether a space goes before the first word, which decoding takes away again.
    pub(crate) fn space_prefix(&self, spelled: &Value) -> bool {
        let prepends = spelled["normalizer"]
            .to_string()
            .contains(r#""type":"Prepend""#);
        prepends
            || match self.plain.get_pre_tokenizer() {
                Some(PreTokenizerWrapper::Metaspace(_)) => {
                    spelled["pre_tokenizer"]["prepend_scheme"] != "never"
                }
                _ => spelled["decoder"]["type"] == "WordPiece",
            }
    }
}

/// The same tokenizer with `mark` removed from all text that is not a special token.
fn with_dropped(plain: &tokenizers::Tokenizer, mark: char) -> Result<tokenizers::Tokenizer> {
    let mut tokenizer = plain.clone();
    let replace = Replace::new(mark.to_string(), "").map_err(encode_error)?;
    let mut steps = vec![NormalizerWrapper::Replace(replace)];
    steps.extend(plain.get_normalizer().cloned());
    tokenizer
        .with_normalizer(Some(NormalizerWrapper::Sequence(Sequence::new(steps))))
        .map_err(encode_error)?;
    Ok(tokenizer)
}

fn vocabulary(tokenizer: &tokenizers::Tokenizer, bytes: &[u8]) -> Result<Vocab> {
    let spelled: Value = serde_json::from_slice(bytes).map_err(encode_error)?;
    let spelling = spelling(&spelled);
    let added = tokenizer.get_added_tokens_decoder();
    let by_text = tokenizer.get_vocab(true);
    // Ids may have holes; those get empty tokens. A hostile id must not size the table.
    let count = by_text.values().max().map_or(0, |&id| id as usize + 1);
    if count > 16 * by_text.len() + 1024 {
        return Err(TokenizeError::Invalid {
            what: "tokenizer.json",
            detail: format!("{} tokens have ids up to {}", by_text.len(), count - 1),
        });
    }
    let mut texts = vec![""; count];
    for (text, &id) in &by_text {
        texts[id as usize] = text;
    }
    let total = texts.iter().map(|t| t.len()).sum();
    let mut vocab = Vocab::with_capacity(count, total)?;
    let mut piece = Vec::new();
    for (id, text) in (0u32..).zip(texts) {
        piece.clear();
        let kind = match added.get(&id) {
            Some(token) if token.special => TokenKind::Control,
            Some(_) => TokenKind::UserDefined,
            None if text.is_empty() => TokenKind::Unused,
            None => TokenKind::Normal,
        };
        let kind = if kind == TokenKind::Normal {
            spell(spelling, text, &mut piece)
        } else {
            piece.extend_from_slice(text.as_bytes());
            kind
        };
        vocab.push(&piece, kind, !piece.is_empty());
    }
    Ok(vocab)
}

fn spelling(spelled: &Value) -> Spelling {
    let decoder = spelled["decoder"].to_string();
    let has = |kind: &str| decoder.contains(&format!(r#""type":"{kind}""#));
    if has("ByteLevel") {
        Spelling::ByteLevel
    } else if has("Metaspace") || has("ByteFallback") || decoder.contains('\u{2581}') {
        Spelling::Spaces
    } else if has("WordPiece") {
        Spelling::WordPiece
    } else if spelled["pre_tokenizer"]
        .to_string()
        .contains(r#""type":"ByteLevel""#)
    {
        Spelling::ByteLevel
    } else {
        Spelling::Plain
    }
}

/// Appends the bytes of an ordinary token.
fn spell(spelling: Spelling, text: &str, piece: &mut Vec<u8>) -> TokenKind {
    match spelling {
        Spelling::ByteLevel => {
            if !crate::unicode::decode_byte_level(text.as_bytes(), piece) {
                piece.extend_from_slice(text.as_bytes());
            }
        }
        Spelling::Spaces => match named_byte(text.as_bytes()) {
            Some(byte) => {
                piece.push(byte);
                return TokenKind::Byte;
            }
            None => piece.extend_from_slice(&unescape_spaces(text.as_bytes())),
        },
        Spelling::WordPiece => match text.strip_prefix("##") {
            Some(rest) => piece.extend_from_slice(rest.as_bytes()),
            None => {
                piece.push(b' ');
                piece.extend_from_slice(text.as_bytes());
            }
        },
        Spelling::Plain => piece.extend_from_slice(text.as_bytes()),
    }
    TokenKind::Normal
}
