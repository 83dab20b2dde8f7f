//! SentencePiece's unigram model (`tokenizer.ggml.model` = `t5`): of all ways to cut the text into tokens the one
//! with the best sum of scores (Kudo 2018, <https://arxiv.org/abs/1804.10959>).

use super::unescape_spaces;
use crate::error::{Result, TokenizeError};
use crate::unicode::announced_len;
use crate::vocab::Vocab;

/// What an unknown character costs beyond the worst token.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Byte strings in order, walked like a trie.
pub(crate) struct Sorted {
    ids: Vec<u32>,
    /// Where the strings of each first byte start.
    first: Box<[u32; 257]>,
}

impl Sorted {
    pub(crate) fn new(vocab: &Vocab, ids: impl Iterator<Item = u32>) -> Self {
        // Most comparisons are decided by the first eight bytes.
        let mut keyed: Vec<(u64, u32)> = ids
            .filter(|&id| !vocab.piece(id).is_empty())
            .map(|id| {
                let piece = vocab.piece(id);
                let mut key = [0; 8];
                let length = piece.len().min(8);
                key[..length].copy_from_slice(&piece[..length]);
                (u64::from_be_bytes(key), id)
            })
            .collect();
        keyed.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| vocab.piece(a.1).cmp(vocab.piece(b.1)))
                .then_with(|| a.1.cmp(&b.1))
        });
        let ids: Vec<u32> = keyed.into_iter().map(|(_, id)| id).collect();
        let mut first = Box::new([0; 257]);
        for byte in 0..257usize {
            first[byte] = ids.partition_point(|&id| usize::from(vocab.piece(id)[0]) < byte) as u32;
        }
        Self { ids, first }
    }

    /// Calls `found` with every string that `text` starts with, shortest first; returns how deep some string reaches
    /// into `text`.
    fn prefixes(&self, vocab: &Vocab, text: &[u8], mut found: impl FnMut(u32, usize)) -> usize {
        let Some(&byte) = text.first() else { return 0 };
        let byte = usize::from(byte);
        let mut range = &self.ids[self.first[byte] as usize..self.first[byte + 1] as usize];
        let mut depth = 1;
        while !range.is_empty() {
            // Strings that end here come first; of equal ones the last counts.
            let ended = range.partition_point(|&id| vocab.piece(id).len() == depth);
            if let Some(&id) = range[..ended].last() {
                found(id, depth);
            }
            let Some(&byte) = text.get(depth) else {
                return depth;
            };
            range = &range[ended..];
            let from = range.partition_point(|&id| vocab.piece(id)[depth] < byte);
            range = &range[from..];
            range = &range[..range.partition_point(|&id| vocab.piece(id)[depth] == byte)];
            depth += 1;
        }
        depth - 1
    }
}

/// SentencePiece's precompiled normaliser: a double-array trie (darts-clone's layout) from byte strings to replacements.
pub(crate) struct CharsMap {
    trie: Vec<u32>,
    replacements: Vec<u8>,
}

impl CharsMap {
    pub(crate) fn new(blob: &[u8]) -> Result<Self> {
        let bad = |detail: &str| TokenizeError::Invalid {
            what: "tokenizer.ggml.precompiled_charsmap",
            detail: detail.to_owned(),
        };
        let (size, rest) = blob
            .split_first_chunk()
            .ok_or_else(|| bad("too short for its header"))?;
        let size = u32::from_le_bytes(*size) as usize;
        if size >= rest.len() || !size.is_multiple_of(4) {
            return Err(bad("its trie reaches beyond its end"));
        }
        let (trie, replacements) = rest.split_at(size);
        Ok(Self {
            trie: trie
                .chunks_exact(4)
                .map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]))
                .collect(),
            replacements: replacements.to_vec(),
        })
    }

    /// The longest prefix of `text` that has a replacement: its length and the replacement.
    fn longest(&self, text: &[u8]) -> Option<(usize, &[u8])> {
        let offset = |unit: u32| (unit >> 10) << ((unit & 1 << 9) >> 6);
        let mut node = offset(*self.trie.first()?);
        let mut best = None;
        for (at, &byte) in text.iter().enumerate() {
            node ^= u32::from(byte);
            let Some(&unit) = self.trie.get(node as usize) else {
                break;
            };
            if byte == 0 || unit & (1 << 31 | 0xFF) != u32::from(byte) {
                break;
            }
            node ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let value = self.trie.get(node as usize)? & !(1 << 31);
                best = Some((at + 1, value as usize));
            }
        }
        let (length, start) = best?;
        let replacement = self.replacements.get(start..)?;
        let end = memchr::memchr(0, replacement)?;
        Some((length, &replacement[..end]))
    }
}

/// White space and prefix rules.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpaceRules {
    pub(crate) prefix: bool,
    pub(crate) as_suffix: bool,
    pub(crate) merge: bool,
}

pub(crate) struct Unigram {
    pub(crate) tokens: Sorted,
    pub(crate) user_defined: Sorted,
    /// By id; 0 for user-defined tokens.
    pub(crate) scores: Vec<f32>,
    pub(crate) unknown: Option<u32>,
    pub(crate) unknown_score: f32,
    pub(crate) charsmap: Option<CharsMap>,
    pub(crate) spaces: SpaceRules,
}

#[derive(Clone, Copy)]
struct Best {
    id: Option<u32>,
    start: u32,
    score: f64,
}

impl Unigram {
    /// Score of an unknown character, from the worst score of a normal token.
    pub(crate) fn unknown_score(worst: f32) -> f32 {
        worst - UNKNOWN_PENALTY
    }

    pub(crate) fn encode(&self, vocab: &Vocab, text: &[u8], out: &mut Vec<u32>) -> Result<()> {
        let normalized = self.normalize(vocab, text);
        let text = unescape_spaces(&normalized);
        if text.is_empty() {
            return Ok(());
        }
        let none = Best {
            id: self.unknown,
            start: 0,
            score: f64::MIN,
        };
        let mut best = vec![none; text.len() + 1];
        best[0].score = 0.0;
        let mut at = 0;
        while at < text.len() {
            let character = announced_len(text[at]).min(text.len() - at);
            let here = best[at].score;
            let mut known = false;
            self.tokens.prefixes(vocab, &text[at..], |id, length| {
                known |= length == character;
                let score = here + f64::from(self.scores[id as usize]);
                let champion = &mut best[at + length];
                if score > champion.score {
                    *champion = Best {
                        id: Some(id),
                        start: at as u32,
                        score,
                    };
                }
            });
            if !known {
                let score = here + f64::from(self.unknown_score);
                let champion = &mut best[at + character];
                if score > champion.score {
                    *champion = Best {
                        id: self.unknown,
                        start: at as u32,
                        score,
                    };
                }
            }
            at += character;
        }
        let first = out.len();
        let mut step = best[text.len()];
        let mut after_unknown = false;
        loop {
            let unknown = step.id == self.unknown;
            if !(unknown && after_unknown) {
                out.extend(step.id);
            }
            if step.start == 0 {
                break;
            }
            after_unknown = unknown;
            step = best[step.start as usize];
        }
        out[first..].reverse();
        Ok(())
    }

    fn normalize(&self, vocab: &Vocab, text: &[u8]) -> Vec<u8> {
        let rules = self.spaces;
        let prefix = rules.prefix && !rules.as_suffix;
        let mut out = Vec::with_capacity(text.len() + 8);
        let mut prefixed = false;
        let mut in_word = false;
        let mut rest = text;
        while !rest.is_empty() {
            let (used, replacement) = self.next(vocab, rest);
            for &byte in replacement {
                if byte != b' ' {
                    if !in_word {
                        in_word = true;
                        if prefix && !prefixed || rules.merge {
                            out.push(b' ');
                            prefixed = true;
                        }
                    }
                    out.push(byte);
                } else {
                    in_word = false;
                    if !rules.merge {
                        out.push(b' ');
                    }
                }
            }
            rest = &rest[used..];
        }
        if rules.prefix && rules.as_suffix {
            out.push(b' ');
        }
        out
    }

    /// How much of `rest` the next step takes, and what it becomes.
    fn next<'a>(&'a self, vocab: &Vocab, rest: &'a [u8]) -> (usize, &'a [u8]) {
        let user = self.user_defined.prefixes(vocab, rest, |_, _| ());
        if user > 0 {
            return (user, &rest[..user]);
        }
        if let Some(found) = self.charsmap.as_ref().and_then(|map| map.longest(rest)) {
            return found;
        }
        let length = announced_len(rest[0]);
        let valid = rest[0] < 0x80
            || (length > 1
                && rest[0] < 0xF8
                && rest
                    .get(1..length)
                    .is_some_and(|tail| tail.iter().all(|b| b & 0xC0 == 0x80)));
        if valid {
            (length, &rest[..length])
        } else {
            (1, "\u{FFFD}".as_bytes())
        }
    }
}
