//! WordPiece (`tokenizer.ggml.model` = `bert`): words are spelled in the longest tokens that fit, or not at all.

use unicode_normalization::char::decompose_canonical;

use super::bpe::lower_one;
use crate::unicode::{CONTROL, MARK, PUNCTUATION, SPACE, SYMBOL, class_of, lenient};
use crate::vocab::Vocab;

pub(crate) struct WordPiece {
    /// Length of the longest token in bytes.
    pub(crate) longest: usize,
    pub(crate) lowercase: bool,
    pub(crate) strip_accents: bool,
    pub(crate) unknown: Option<u32>,
}

impl WordPiece {
    pub(crate) fn encode(&self, vocab: &Vocab, text: &[u8], out: &mut Vec<u32>) {
        let read = lenient(text);
        // Tokens that start a word are written with a space in front.
        let mut word = String::from(" ");
        for c in read.text.chars() {
            let c = if self.strip_accents { base(c) } else { c };
            let class = class_of(c);
            if class & SPACE != 0 {
                self.word(vocab, &mut word, out);
                continue;
            }
            let dropped = matches!(c, '\0' | '\u{FFFD}')
                || class & CONTROL != 0
                || self.strip_accents && class & MARK != 0;
            if dropped {
                continue;
            }
            let alone =
                class & PUNCTUATION != 0 || c.is_ascii() && class & SYMBOL != 0 || is_ideograph(c);
            if alone {
                self.word(vocab, &mut word, out);
            }
            // U+2581 in text is the very mark of a word's start.
            word.push(match c {
                '\u{2581}' => ' ',
                _ if self.lowercase => lower_one(c),
                _ => c,
            });
            if alone {
                self.word(vocab, &mut word, out);
            }
        }
        self.word(vocab, &mut word, out);
    }

    /// Spells `word` and leaves it empty for the next.
    fn word(&self, vocab: &Vocab, word: &mut String, out: &mut Vec<u32>) {
        if word.len() > 1 && !self.spell(vocab, word.as_bytes(), out) {
            out.extend(self.unknown);
        }
        word.truncate(1);
    }

    fn spell(&self, vocab: &Vocab, word: &[u8], out: &mut Vec<u32>) -> bool {
        let before = out.len();
        let mut at = 0;
        while at < word.len() {
            let most = word.len().min(at + self.longest);
            let Some((id, end)) = (at + 1..=most)
                .rev()
                .find_map(|end| Some((vocab.find(&word[at..end])?, end)))
            else {
                out.truncate(before);
                return false;
            };
            out.push(id);
            at = end;
        }
        true
    }
}

/// The first character of the canonical decomposition, which is what llama.cpp keeps of it (of Hangul syllables
/// too).
fn base(c: char) -> char {
    if c.is_ascii() {
        return c;
    }
    let mut first = None;
    decompose_canonical(c, |part| {
        first.get_or_insert(part);
    });
    first.unwrap_or(c)
}

/// The blocks that BERT's tokenizer sets apart, as the tokenizers crate has them (its extension E starts late).
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF
        | 0x3400..=0x4DBF
        | 0x2_0000..=0x2_A6DF
        | 0x2_A700..=0x2_B73F
        | 0x2_B740..=0x2_B81F
        | 0x2_B920..=0x2_CEAF
        | 0xF900..=0xFAFF
        | 0x2_F800..=0x2_FA1F)
}
