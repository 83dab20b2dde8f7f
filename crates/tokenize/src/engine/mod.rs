//! The encoders: one per family of vocabularies.
//!
//! Inside, pieces are what decoding yields: a space is a space (not U+2581 nor U+0120) and a byte a byte, so text
//! needs no escaping before it is looked up.

pub(crate) mod bpe;
pub(crate) mod json;
pub(crate) mod spm;
pub(crate) mod unigram;
pub(crate) mod wordpiece;

use crate::error::Result;
use crate::merge::Merger;
use crate::special::{Fragment, SpecialMatcher};
use crate::vocab::Vocab;

/// U+2581, by which SentencePiece vocabularies write a space.
pub(crate) const SPACE_MARK: &str = "\u{2581}";

/// How text becomes ids.
pub(crate) enum Family {
    Bpe(bpe::Bpe),
    Spm(spm::Spm),
    Unigram(unigram::Unigram),
    WordPiece(wordpiece::WordPiece),
}

/// An encoder made from a model file's metadata.
pub(crate) struct Native {
    pub(crate) family: Family,
    pub(crate) specials: SpecialMatcher,
    /// A space goes before text that starts the input or follows a special token.
    pub(crate) space_prefix: bool,
}

impl Native {
    /// Appends the ids of `text`. Characters of `drop` (if any) are left out of text, after special tokens were found.
    pub(crate) fn encode(
        &self,
        vocab: &Vocab,
        text: &[u8],
        parse_special: bool,
        drop: Option<char>,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let mut merger = Merger::default();
        let mut after_special = true;
        let mut buffer = Vec::new();
        for fragment in self.specials.partition(text, parse_special) {
            let text = match fragment {
                Fragment::Token(id) => {
                    out.push(id);
                    after_special = true;
                    continue;
                }
                Fragment::Text(text) => text,
            };
            let text = match drop {
                Some(drop) => {
                    without(text, drop, &mut buffer);
                    buffer.as_slice()
                }
                None => text,
            };
            match &self.family {
                Family::Bpe(bpe) => bpe.encode(vocab, text, &mut merger, out)?,
                Family::Spm(spm) => {
                    let prefix = self.space_prefix && after_special;
                    spm.encode(vocab, text, prefix, &mut merger, out);
                }
                Family::Unigram(unigram) => unigram.encode(vocab, text, out)?,
                Family::WordPiece(words) => words.encode(vocab, text, out),
            }
            after_special = false;
        }
        Ok(())
    }
}

fn without(text: &[u8], drop: char, buffer: &mut Vec<u8>) {
    let mut encoded = [0; 4];
    let drop = drop.encode_utf8(&mut encoded).as_bytes();
    buffer.clear();
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, drop) {
        buffer.extend_from_slice(&rest[..at]);
        rest = &rest[at + drop.len()..];
    }
    buffer.extend_from_slice(rest);
}

/// Replaces U+2581 by the space it stands for.
pub(crate) fn unescape_spaces(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let [lead, tail @ ..] = SPACE_MARK.as_bytes() else {
        return text.into();
    };
    let Some(first) = memchr::memchr(*lead, text) else {
        return text.into();
    };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut next = Some(first);
    while let Some(at) = next {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix(tail) {
            Some(after) => {
                out.push(b' ');
                rest = after;
            }
            None => out.push(*lead),
        }
        next = memchr::memchr(*lead, rest);
    }
    out.extend_from_slice(rest);
    out.into()
}

/// The byte that `<0xXX>` names.
pub(crate) fn named_byte(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
