//! The tokenizer that the other crates see.

use std::path::Path;
use std::sync::Arc;

use medley_formats::gguf::Metadata;

use crate::engine::{Family, Native, json::Json};
use crate::error::Result;
use crate::vocab::Vocab;

/// The tokens with a role, and whether text gets them without being asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpecialTokens {
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) unknown: Option<u32>,
    pub(crate) separator: Option<u32>,
    pub(crate) padding: Option<u32>,
    pub(crate) add_bos: bool,
    pub(crate) add_eos: bool,
    pub(crate) wordpiece: bool,
}

// One of it exists per tokenizer: its size matters to nobody.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Engine {
    Native(Native),
    Json(Json),
}

pub(crate) struct Inner {
    pub(crate) vocab: Vocab,
    pub(crate) special: SpecialTokens,
    pub(crate) end_of_generation: Vec<u32>,
    /// Encoding put a space in front, so decoding takes one away.
    pub(crate) strip_space: bool,
    pub(crate) engine: Engine,
}

/// Text to token ids and back. Cheap to clone; clones share the vocabulary.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("special", &self.inner.special)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// The tokenizer that a GGUF file carries; ids are those of llama.cpp.
    ///
    /// # Errors
    /// When keys are missing or of the wrong length, or the family or pre-tokenizer is unknown.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self> {
        Ok(Self {
            inner: Arc::new(crate::gguf::load(metadata)?),
        })
    }

    /// The tokenizer of a `tokenizer.json`, or of a folder that holds one; the special tokens' roles come from
    /// `tokenizer_config.json`, `config.json` and `generation_config.json` beside it.
    ///
    /// # Errors
    /// When a file cannot be read or is malformed.
    pub fn from_file(path: &Path) -> Result<Self> {
        Ok(Self {
            inner: Arc::new(crate::hub::load(path)?),
        })
    }

    /// Ids of `text`. `add_special` adds the tokens that the model expects around a text (as the file says: BOS, EOS,
    /// separators); `parse_special` reads special tokens in the text as such, else they are spelled like any text.
    ///
    /// # Errors
    /// When a pattern of the pre-tokenizer gives up on the text, which takes thousands of repetitions.
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<u32>> {
        self.encode_with(text.as_bytes(), add_special, parse_special, None)
    }

    /// Like [`encode`](Self::encode) for bytes that need not be UTF-8. SentencePiece vocabularies spell them byte by
    /// byte; the others read every byte that starts no character as U+FFFD.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_bytes(
        &self,
        text: &[u8],
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<u32>> {
        self.encode_with(text, add_special, parse_special, None)
    }

    /// `drop` is a character that is left out of the text after its special tokens were found.
    pub(crate) fn encode_with(
        &self,
        text: &[u8],
        add_special: bool,
        parse_special: bool,
        drop: Option<char>,
    ) -> Result<Vec<u32>> {
        let Inner {
            vocab,
            special,
            engine,
            ..
        } = &*self.inner;
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        match engine {
            Engine::Json(json) => {
                json.encode(
                    &String::from_utf8_lossy(text),
                    add_special,
                    parse_special,
                    drop,
                    &mut ids,
                )?;
            }
            Engine::Native(native) => {
                if add_special && (special.add_bos || special.wordpiece) {
                    ids.extend(special.bos);
                }
                native.encode(vocab, text, parse_special, drop, &mut ids)?;
                if add_special && special.wordpiece {
                    ids.extend(special.separator);
                } else if add_special && special.add_eos {
                    ids.extend(special.eos);
                }
            }
        }
        Ok(ids)
    }

    /// Text of `ids`: special tokens are left out, bytes that form no character become U+FFFD, and a space that encoding
    /// puts in front of a text is taken away.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &id in ids {
            if !self.is_special(id) {
                bytes.extend_from_slice(self.inner.vocab.piece(id));
            }
        }
        let text = if self.inner.strip_space && bytes.first() == Some(&b' ') {
            &bytes[1..]
        } else {
            &bytes
        };
        String::from_utf8_lossy(text).into_owned()
    }

    /// The bytes that a token stands for, in the middle of a text. A special token's are its spelling; an id outside
    /// the vocabulary has none.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        self.inner.vocab.piece(id).to_vec()
    }

    /// [`token_bytes`](Self::token_bytes) as text, with U+FFFD for bytes that form no character.
    #[must_use]
    pub fn token_text(&self, id: u32) -> String {
        String::from_utf8_lossy(self.inner.vocab.piece(id)).into_owned()
    }

    pub(crate) fn piece(&self, id: u32) -> &[u8] {
        self.inner.vocab.piece(id)
    }

    /// The bytes of every token, by id, as constrained decoding needs them.
    #[must_use]
    pub fn vocabulary_bytes(&self) -> Vec<Vec<u8>> {
        (0..self.inner.vocab.len() as u32)
            .map(|id| self.token_bytes(id))
            .collect()
    }

    /// Id of the token that is spelled exactly so, special or not.
    #[must_use]
    pub fn token_id(&self, text: &str) -> Option<u32> {
        match &self.inner.engine {
            Engine::Json(json) => json
                .id(text)
                .or_else(|| self.inner.vocab.find(text.as_bytes())),
            Engine::Native(native) => native
                .specials
                .id(text.as_bytes())
                .or_else(|| self.inner.vocab.find(text.as_bytes())),
        }
    }

    /// Number of tokens.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab.len()
    }

    /// The token that begins a text.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.inner.special.bos
    }

    /// The token that ends a text.
    #[must_use]
    pub fn eos(&self) -> Option<u32> {
        self.inner.special.eos
    }

    /// The token for what cannot be spelled.
    #[must_use]
    pub fn unknown(&self) -> Option<u32> {
        self.inner.special.unknown
    }

    /// The token that fills batches up.
    #[must_use]
    pub fn padding(&self) -> Option<u32> {
        self.inner.special.padding
    }

    /// Whether `encode(…, add_special: true, …)` starts with BOS.
    #[must_use]
    pub fn adds_bos(&self) -> bool {
        self.inner.special.add_bos
    }

    /// Every token that ends a turn, in ascending order.
    #[must_use]
    pub fn end_of_generation(&self) -> &[u32] {
        &self.inner.end_of_generation
    }

    /// Whether the token steers the model and is no text.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.inner.vocab.kind(id).is_hidden()
    }

    /// Spellings of the tokens that only a template may give, longest first.
    pub(crate) fn special_texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = (0..self.inner.vocab.len() as u32)
            .filter(|&id| self.is_reserved(id))
            .map(|id| self.token_text(id))
            .filter(|text| text.chars().count() > 1)
            .collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts
    }

    /// Special tokens, and those by which gpt-oss structures its answers, which are shown but no less powerful.
    fn is_reserved(&self, id: u32) -> bool {
        self.is_special(id)
            || self.inner.vocab.kind(id) == crate::vocab::TokenKind::UserDefined
                && crate::gguf::STEERING
                    .iter()
                    .chain(&["<|end|>"])
                    .any(|text| text.as_bytes() == self.piece(id))
    }

    /// Name of the family, for people: `byte-level BPE`, `SentencePiece BPE`, …
    #[must_use]
    pub fn family(&self) -> &'static str {
        match &self.inner.engine {
            Engine::Json(_) => "tokenizer.json",
            Engine::Native(native) => match native.family {
                Family::Bpe(_) => "byte-level BPE",
                Family::Spm(_) => "SentencePiece BPE",
                Family::Unigram(_) => "SentencePiece unigram",
                Family::WordPiece(_) => "WordPiece",
            },
        }
    }
}
