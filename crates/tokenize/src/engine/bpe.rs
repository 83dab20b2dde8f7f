//! Byte-pair encoding with a list of merges (`tokenizer.ggml.model` = `gpt2`).

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::{named_byte, unescape_spaces};
use crate::error::Result;
use crate::merge::{Merger, Merges, Seen, Symbol};
use crate::pre::{Named, PreTokenizer};
use crate::unicode::{SPACE, announced_len, class_of, decode_byte_level, lenient};
use crate::vocab::Vocab;

/// How the vocabulary writes bytes.
pub(crate) enum Alphabet {
    /// GPT-2's: one character per byte, so every symbol starts as one byte.
    ByteLevel { bytes: Box<[u32; 256]> },
    /// Plain characters; what has no token is spelled in `<0xXX>` tokens.
    Plain {
        bytes: Box<[Option<u32>; 256]>,
        /// Runs of line feeds that are a token need no merging (Gemma 4).
        newline_runs: bool,
    },
}

pub(crate) struct Bpe {
    pre: PreTokenizer,
    alphabet: Alphabet,
    ignore_merges: bool,
    /// White space is dropped and only words between are encoded; `Some(true)` also lowers the case.
    words_only: Option<bool>,
    merges: MergeTable,
}

/// Rank and result of joining two symbols. Symbols that are no tokens have numbers beyond the vocabulary.
struct MergeTable {
    pairs: FxHashMap<u64, (u32, u32)>,
    tokens: u32,
}

impl Merges for MergeTable {
    #[inline]
    fn rank(&self, _: &[u8], left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
        self.pairs.get(&pair_key(left.id, right.id)).copied()
    }
}

fn pair_key(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// Numbers for byte strings: the token's id, or one beyond the vocabulary.
struct Numbers<'a> {
    vocab: &'a Vocab,
    beyond: FxHashMap<Vec<u8>, u32>,
}

impl Numbers<'_> {
    fn of(&mut self, piece: &[u8]) -> u32 {
        if let Some(id) = self.vocab.find(piece) {
            return id;
        }
        let next = (self.vocab.len() + self.beyond.len()) as u32;
        *self.beyond.entry(piece.to_vec()).or_insert(next)
    }
}

impl Bpe {
    /// `merges`: each `left right`, best first, in the vocabulary's own spelling.
    pub(crate) fn new<'a>(
        vocab: &Vocab,
        named: Named,
        merges: impl ExactSizeIterator<Item = &'a [u8]>,
        words_only: Option<bool>,
    ) -> Result<Self> {
        let plain = named.plain || words_only.is_some();
        let mut numbers = Numbers {
            vocab,
            beyond: FxHashMap::default(),
        };
        let mut pairs = FxHashMap::with_capacity_and_hasher(merges.len(), Default::default());
        let mut joined = Vec::new();
        for (rank, merge) in merges.enumerate() {
            let Some((left, right)) = halves(merge) else {
                continue;
            };
            joined.clear();
            let Some(cut) = spell(left, plain, &mut joined) else {
                continue;
            };
            if spell(right, plain, &mut joined).is_none() {
                continue;
            }
            let (left, right) = (numbers.of(&joined[..cut]), numbers.of(&joined[cut..]));
            let whole = numbers.of(&joined);
            pairs
                .entry(pair_key(left, right))
                .or_insert((rank as u32, whole));
        }
        let alphabet = if plain {
            Alphabet::Plain {
                bytes: Box::new(std::array::from_fn(|_| None)),
                newline_runs: named.newline_runs,
            }
        } else {
            Alphabet::ByteLevel {
                bytes: Box::new(std::array::from_fn(|b| numbers.of(&[b as u8]))),
            }
        };
        Ok(Self {
            pre: PreTokenizer::new(named.kind)?,
            alphabet,
            ignore_merges: named.ignore_merges,
            words_only,
            merges: MergeTable {
                pairs,
                tokens: vocab.len() as u32,
            },
        })
    }

    /// Tells which token stands for the byte it names (`<0x0A>`).
    pub(crate) fn set_byte_token(&mut self, text: &[u8], id: u32) {
        if let (Alphabet::Plain { bytes, .. }, Some(byte)) = (&mut self.alphabet, named_byte(text))
        {
            bytes[usize::from(byte)] = Some(id);
        }
    }

    pub(crate) fn encode(
        &self,
        vocab: &Vocab,
        text: &[u8],
        merger: &mut Merger,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let text = match self.alphabet {
            Alphabet::Plain { .. } => unescape_spaces(text),
            Alphabet::ByteLevel { .. } => Cow::Borrowed(text),
        };
        let read = lenient(&text);
        if let Some(lower) = self.words_only {
            for word in read.text.split(|c| class_of(c) & SPACE != 0) {
                let lowered: String;
                let word = if lower {
                    lowered = word.chars().map(lower_one).collect();
                    &lowered
                } else {
                    word
                };
                self.word(vocab, word.as_bytes(), merger, out);
            }
            return Ok(());
        }
        let mut ends = Vec::with_capacity(read.text.len() / 4);
        self.pre.split(&read.text, &mut ends)?;
        let mut seen = Seen::default();
        let mut start = 0;
        for end in ends {
            seen.encode(&read.bytes, (start, end), out, |word, out| {
                self.word(vocab, word, merger, out);
            });
            start = end;
        }
        Ok(())
    }

    fn word(&self, vocab: &Vocab, word: &[u8], merger: &mut Merger, out: &mut Vec<u32>) {
        let whole = self.ignore_merges
            || matches!(self.alphabet, Alphabet::Plain { newline_runs: true, .. } if word.iter().all(|&b| b == b'\n'));
        if whole && let Some(id) = vocab.find(word) {
            out.push(id);
            return;
        }
        merger.symbols.clear();
        match &self.alphabet {
            Alphabet::ByteLevel { bytes } => {
                let symbols = word.iter().zip(0u32..).map(|(&byte, at)| Symbol {
                    start: at,
                    end: at + 1,
                    id: bytes[usize::from(byte)],
                });
                merger.symbols.extend(symbols);
            }
            Alphabet::Plain { .. } => {
                let mut at = 0;
                while at < word.len() {
                    let end = (at + announced_len(word[at])).min(word.len());
                    merger.symbols.push(Symbol {
                        start: at as u32,
                        end: end as u32,
                        id: vocab.find(&word[at..end]).unwrap_or(u32::MAX),
                    });
                    at = end;
                }
            }
        }
        merger.run(word, &self.merges);
        for symbol in &merger.symbols {
            if symbol.id < self.merges.tokens {
                out.push(symbol.id);
            } else {
                self.spell_out(
                    vocab,
                    &word[symbol.start as usize..symbol.end as usize],
                    out,
                );
            }
        }
    }

    /// What no token stands for: byte by byte as far as there are tokens, else nothing.
    fn spell_out(&self, vocab: &Vocab, bytes: &[u8], out: &mut Vec<u32>) {
        match &self.alphabet {
            // Of GPT-2's alphabet only ASCII is spelled in one byte; llama.cpp looks up no other.
            Alphabet::ByteLevel { .. } => out.extend(
                bytes
                    .iter()
                    .filter(|b| b.is_ascii_graphic())
                    .filter_map(|&b| vocab.find(&[b])),
            ),
            Alphabet::Plain { bytes: tokens, .. } => {
                let spelled = if bytes == b" " && self.words_only.is_none() {
                    super::SPACE_MARK.as_bytes()
                } else {
                    bytes
                };
                out.extend(spelled.iter().filter_map(|&b| tokens[usize::from(b)]));
            }
        }
    }
}

/// Lower case where it is one character, else the character itself.
pub(crate) fn lower_one(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// A merge's two sides: they part at the first space that is not the first character.
fn halves(merge: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b' ', merge.get(1..)?)? + 1;
    Some((&merge[..at], &merge[at + 1..]))
}

/// Appends the bytes that a side of a merge stands for; the length of `out` then, or `None` if it stands for none.
fn spell(side: &[u8], plain: bool, out: &mut Vec<u8>) -> Option<usize> {
    if plain {
        out.extend_from_slice(&unescape_spaces(side));
    } else if !decode_byte_level(side, out) {
        return None;
    }
    Some(out.len())
}
