//! Finding special tokens in text before anything else is done to it.

use memchr::memmem;
use rustc_hash::{FxHashMap, FxHashSet};

/// A stretch of input: a special token, or text to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment<'a> {
    /// A special token that was found.
    Token(u32),
    /// Text between special tokens; never empty.
    Text(&'a [u8]),
}

#[derive(Clone, Debug)]
struct Special {
    text: Box<[u8]>,
    id: u32,
    /// Found only where special tokens are asked for.
    hidden: bool,
    /// Takes the white space before (after) it along.
    strip: (bool, bool),
}

/// All special tokens of a vocabulary.
///
/// The rule is llama.cpp's: the longest token claims all its occurrences from the left, then the next longest
/// searches what is left of the text. Only tokens that occur are searched for, so a vocabulary with thousands
/// of special tokens costs no more than one with three.
#[derive(Default)]
pub(crate) struct SpecialMatcher {
    /// Longest first.
    specials: Vec<Special>,
    by_text: FxHashMap<Box<[u8]>, u32>,
    /// Lengths in use, by first byte.
    lengths: Vec<Vec<u32>>,
}

impl SpecialMatcher {
    /// `entries`: text, id, whether it is hidden from ordinary text, and whether it strips left and right.
    pub(crate) fn new(entries: impl Iterator<Item = (Vec<u8>, u32, bool, (bool, bool))>) -> Self {
        let mut specials: Vec<Special> = entries
            .filter(|(text, ..)| !text.is_empty())
            .map(|(text, id, hidden, strip)| Special {
                text: text.into_boxed_slice(),
                id,
                hidden,
                strip,
            })
            .collect();
        specials.sort_by_key(|s| std::cmp::Reverse(s.text.len()));
        let mut by_text = FxHashMap::with_capacity_and_hasher(specials.len(), Default::default());
        let mut lengths = vec![Vec::new(); 256];
        for (index, special) in specials.iter().enumerate() {
            by_text.insert(special.text.clone(), index as u32);
            let known: &mut Vec<u32> = &mut lengths[usize::from(special.text[0])];
            let length = special.text.len() as u32;
            if known.last() != Some(&length) {
                known.push(length);
            }
        }
        Self {
            specials,
            by_text,
            lengths,
        }
    }

    /// Indices of the special tokens that occur in `text`, in search order.
    fn present(&self, text: &[u8], parse_special: bool) -> Vec<u32> {
        let mut found = FxHashSet::default();
        for (at, &byte) in text.iter().enumerate() {
            for &length in &self.lengths[usize::from(byte)] {
                if let Some(candidate) = text.get(at..at + length as usize)
                    && let Some(&index) = self.by_text.get(candidate)
                    && (parse_special || !self.specials[index as usize].hidden)
                {
                    found.insert(index);
                }
            }
        }
        let mut found: Vec<u32> = found.into_iter().collect();
        found.sort_unstable();
        found
    }

    /// The special token that is spelled so.
    pub(crate) fn id(&self, text: &[u8]) -> Option<u32> {
        let index = *self.by_text.get(text)?;
        Some(self.specials[index as usize].id)
    }

    /// Cuts `text` at its special tokens; hidden ones (control, unknown) count only with `parse_special`.
    pub(crate) fn partition<'a>(&self, text: &'a [u8], parse_special: bool) -> Vec<Fragment<'a>> {
        if text.is_empty() {
            return Vec::new();
        }
        let mut fragments = vec![Fragment::Text(text)];
        if self.specials.is_empty() {
            return fragments;
        }
        for index in self.present(text, parse_special) {
            let special = &self.specials[index as usize];
            let finder = memmem::Finder::new(&special.text);
            let mut next = Vec::with_capacity(fragments.len() + 2);
            for fragment in fragments {
                match fragment {
                    Fragment::Token(_) => next.push(fragment),
                    Fragment::Text(text) => cut(text, special, &finder, &mut next),
                }
            }
            fragments = next;
        }
        fragments
    }
}

fn cut<'a>(
    mut text: &'a [u8],
    special: &Special,
    finder: &memmem::Finder,
    out: &mut Vec<Fragment<'a>>,
) {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    while let Some(at) = finder.find(text) {
        let mut before = &text[..at];
        if special.strip.0 {
            while let Some((last, rest)) = before.split_last()
                && space(last)
            {
                before = rest;
            }
        }
        if !before.is_empty() {
            out.push(Fragment::Text(before));
        }
        out.push(Fragment::Token(special.id));
        text = &text[at + special.text.len()..];
        if special.strip.1 {
            while let Some((first, rest)) = text.split_first()
                && space(first)
            {
                text = rest;
            }
        }
    }
    if !text.is_empty() {
        out.push(Fragment::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(entries: &[(&str, u32, bool, (bool, bool))]) -> SpecialMatcher {
        SpecialMatcher::new(
            entries
                .iter()
                .map(|&(text, id, hidden, strip)| (text.as_bytes().to_vec(), id, hidden, strip)),
        )
    }

    #[test]
    fn longest_token_claims_first() {
        let m = matcher(&[
            ("abc", 1, false, (false, false)),
            ("bcde", 2, false, (false, false)),
        ]);
        assert_eq!(
            m.partition(b"abcdeabc", true),
            [Fragment::Text(b"a"), Fragment::Token(2), Fragment::Token(1)]
        );
    }

    #[test]
    fn hidden_tokens_need_asking_for() {
        let m = matcher(&[
            ("<s>", 1, true, (false, false)),
            ("\n\n", 2, false, (false, false)),
        ]);
        assert_eq!(
            m.partition(b"<s>\n\n\n", false),
            [
                Fragment::Text(b"<s>"),
                Fragment::Token(2),
                Fragment::Text(b"\n")
            ]
        );
        assert_eq!(
            m.partition(b"<s>\n\n\n", true),
            [
                Fragment::Token(1),
                Fragment::Token(2),
                Fragment::Text(b"\n")
            ]
        );
    }

    #[test]
    fn white_space_is_taken_along() {
        let m = matcher(&[
            ("<m>", 1, false, (true, false)),
            ("<e>", 2, false, (false, true)),
        ]);
        assert_eq!(
            m.partition(b"a \t<m> b<e>\n c", true),
            [
                Fragment::Text(b"a"),
                Fragment::Token(1),
                Fragment::Text(b" b"),
                Fragment::Token(2),
                Fragment::Text(b"c")
            ]
        );
        assert_eq!(m.partition(b"", true), []);
    }
}
