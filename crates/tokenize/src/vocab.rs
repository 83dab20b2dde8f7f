//! The vocabulary: what bytes each token stands for, and which token stands for given bytes.

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::hash::Hasher;

use crate::error::{Result, TokenizeError};

/// What a token is for; the numbers are those of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// No kind given.
    Undefined,
    /// Ordinary text.
    Normal,
    /// Stands for what the vocabulary cannot spell.
    Unknown,
    /// Steers the model; never part of text.
    Control,
    /// Added to the vocabulary afterwards; found in text before anything else.
    UserDefined,
    /// A place that training never used.
    Unused,
    /// One raw byte.
    Byte,
}

impl TokenKind {
    pub(crate) fn from_gguf(value: i32) -> Self {
        match value {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Undefined,
        }
    }

    /// Whether decoding to plain text leaves the token out.
    pub(crate) fn is_hidden(self) -> bool {
        matches!(self, Self::Control | Self::Unknown)
    }
}

/// Byte strings in one allocation, with a reverse index.
#[derive(Default)]
pub(crate) struct Vocab {
    arena: Vec<u8>,
    ends: Vec<u32>,
    kinds: Vec<TokenKind>,
    index: HashTable<u32>,
}

pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

impl Vocab {
    pub(crate) fn with_capacity(tokens: usize, bytes: usize) -> Result<Self> {
        if u32::try_from(bytes).is_err() || u32::try_from(tokens).is_err() {
            return Err(TokenizeError::Invalid {
                what: "vocabulary",
                detail: format!(
                    "{tokens} tokens of {bytes} bytes in all; at most 4 GiB can be held"
                ),
            });
        }
        Ok(Self {
            arena: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(tokens),
            kinds: Vec::with_capacity(tokens),
            index: HashTable::with_capacity(tokens),
        })
    }

    /// Adds the next token; `indexed` makes it findable by its bytes (a later equal token wins).
    pub(crate) fn push(&mut self, piece: &[u8], kind: TokenKind, indexed: bool) {
        let id = self.ends.len() as u32;
        self.arena.extend_from_slice(piece);
        self.ends.push(self.arena.len() as u32);
        self.kinds.push(kind);
        if indexed {
            self.insert_index(id);
        }
    }

    fn insert_index(&mut self, id: u32) {
        let Self {
            arena, ends, index, ..
        } = self;
        let piece = slice(arena, ends, id);
        let entry = index.entry(
            hash_bytes(piece),
            |&other| slice(arena, ends, other) == piece,
            |&other| hash_bytes(slice(arena, ends, other)),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(mut found) => *found.get_mut() = id,
            hashbrown::hash_table::Entry::Vacant(free) => {
                free.insert(id);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The token's bytes; empty for ids outside the vocabulary.
    pub(crate) fn piece(&self, id: u32) -> &[u8] {
        if (id as usize) < self.ends.len() {
            slice(&self.arena, &self.ends, id)
        } else {
            &[]
        }
    }

    pub(crate) fn kind(&self, id: u32) -> TokenKind {
        self.kinds
            .get(id as usize)
            .copied()
            .unwrap_or(TokenKind::Undefined)
    }

    pub(crate) fn set_kind(&mut self, id: u32, kind: TokenKind) {
        if let Some(entry) = self.kinds.get_mut(id as usize) {
            *entry = kind;
        }
    }

    pub(crate) fn find(&self, piece: &[u8]) -> Option<u32> {
        self.index
            .find(hash_bytes(piece), |&id| {
                slice(&self.arena, &self.ends, id) == piece
            })
            .copied()
    }
}

fn slice<'a>(arena: &'a [u8], ends: &[u32], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] as usize };
    &arena[start..ends[id] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_indexed() {
        let mut vocab = Vocab::with_capacity(4, 16).unwrap();
        vocab.push(b"a", TokenKind::Normal, true);
        vocab.push(b"", TokenKind::Unused, false);
        vocab.push(b"bc", TokenKind::Control, false);
        vocab.push(b"a", TokenKind::UserDefined, true);
        assert_eq!(vocab.find(b"a"), Some(3));
        assert_eq!(vocab.find(b"bc"), None);
        assert_eq!(vocab.piece(2), b"bc");
        assert_eq!(vocab.piece(1), b"");
        assert_eq!(vocab.piece(9), b"");
        assert_eq!(vocab.kind(2), TokenKind::Control);
    }
}
