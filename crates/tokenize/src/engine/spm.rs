//! SentencePiece's BPE: adjacent pieces join into the token with the best score (`tokenizer.ggml.model` = `llama`).

use std::borrow::Cow;

use super::{SPACE_MARK, unescape_spaces};
use crate::merge::{Merger, Merges, NO_TOKEN, Seen, Symbol};
use crate::unicode::announced_len;
use crate::vocab::Vocab;

pub(crate) struct Spm {
    /// By id: the better the score, the lower.
    ranks: Vec<u32>,
    /// Token of each byte.
    bytes: Box<[Option<u32>; 256]>,
    /// Bytes that some token holds right before a space. Before a space after any other byte the text can be cut, since
    /// no joining reaches across.
    joins_space: Box<[bool; 256]>,
}

/// `ESCAPED`: the text writes a space as U+2581.
struct ByScore<'a, const ESCAPED: bool> {
    vocab: &'a Vocab,
    ranks: &'a [u32],
}

impl<const ESCAPED: bool> ByScore<'_, ESCAPED> {
    #[inline]
    fn find(&self, piece: &[u8]) -> Option<u32> {
        if ESCAPED {
            self.vocab.find(&unescape_spaces(piece))
        } else {
            self.vocab.find(piece)
        }
    }
}

impl<const ESCAPED: bool> Merges for ByScore<'_, ESCAPED> {
    #[inline]
    fn rank(&self, word: &[u8], left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
        let id = self.find(&word[left.start as usize..right.end as usize])?;
        Some((*self.ranks.get(id as usize)?, id))
    }
}

/// Maps scores to integers that order the other way round; NaN ranks last.
pub(crate) fn rank_of_score(score: f32) -> u32 {
    if score.is_nan() {
        return u32::MAX - 1;
    }
    // Adding zero turns -0 into 0, as the two are equal.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    };
    !ascending
}

impl Spm {
    /// `scores` by id; `byte_token` gives the token of each byte.
    pub(crate) fn new(
        vocab: &Vocab,
        scores: impl Iterator<Item = f32>,
        bytes: Box<[Option<u32>; 256]>,
    ) -> Self {
        let mut joins_space = Box::new([false; 256]);
        for id in 0..vocab.len() as u32 {
            for pair in vocab.piece(id).windows(2) {
                if pair[1] == b' ' && pair[0] != b' ' {
                    joins_space[usize::from(pair[0])] = true;
                }
            }
        }
        Self {
            ranks: scores.map(rank_of_score).collect(),
            bytes,
            joins_space,
        }
    }

    pub(crate) fn encode(
        &self,
        vocab: &Vocab,
        text: &[u8],
        prefix: bool,
        merger: &mut Merger,
        out: &mut Vec<u32>,
    ) {
        let mut text = unescape_spaces(text);
        if prefix {
            let mut prefixed = Vec::with_capacity(text.len() + 1);
            prefixed.push(b' ');
            prefixed.extend_from_slice(&text);
            text = Cow::Owned(prefixed);
        }
        // A broken sequence may swallow the start of an escaped space after it. So only well-formed text is cut, and only
        // there a space can stand for itself.
        if std::str::from_utf8(&text).is_err() {
            self.word::<true>(vocab, &escape_spaces(&text), merger, out);
            return;
        }
        let mut seen = Seen::default();
        let mut start = 0;
        for at in memchr::memchr_iter(b' ', &text).chain([text.len()]) {
            let cut = at > start
                && (at == text.len()
                    || text[at - 1] != b' ' && !self.joins_space[usize::from(text[at - 1])]);
            if cut {
                seen.encode(&text, (start, at), out, |word, out| {
                    self.word::<false>(vocab, word, merger, out);
                });
                start = at;
            }
        }
    }

    fn word<const ESCAPED: bool>(
        &self,
        vocab: &Vocab,
        word: &[u8],
        merger: &mut Merger,
        out: &mut Vec<u32>,
    ) {
        merger.symbols.clear();
        let mut at = 0;
        while at < word.len() {
            let end = (at + announced_len(word[at])).min(word.len());
            merger.symbols.push(Symbol {
                start: at as u32,
                end: end as u32,
                id: NO_TOKEN,
            });
            at = end;
        }
        let merges = ByScore::<ESCAPED> {
            vocab,
            ranks: &self.ranks,
        };
        merger.run(word, &merges);
        for symbol in &merger.symbols {
            let piece = &word[symbol.start as usize..symbol.end as usize];
            let id = if symbol.id == NO_TOKEN {
                merges.find(piece)
            } else {
                Some(symbol.id)
            };
            match id {
                Some(id) => out.push(id),
                None => {
                    let spelled = if piece == b" " {
                        SPACE_MARK.as_bytes()
                    } else {
                        piece
                    };
                    out.extend(spelled.iter().filter_map(|&b| self.bytes[usize::from(b)]));
                }
            }
        }
    }
}

fn escape_spaces(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    for &byte in text {
        if byte == b' ' {
            out.extend_from_slice(SPACE_MARK.as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}
