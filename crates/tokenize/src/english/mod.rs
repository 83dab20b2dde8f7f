//! English text to phonemes.
//!
//! ```text
//! text ─> sentences ─> as it is said (numbers, dates, signs …) ─> tokens with parts of speech
//!                                       ─> phonemes: dictionaries, endings, letters to sounds
//! ```
//!
//! Words are said from the last to the first, because some sound otherwise before a vowel or a pause. The way of
//! [misaki](https://github.com/hexgrad/misaki), whose alphabet and dictionaries voices use, without its dependencies.

mod lexicon;
mod normalize;
mod numbers;
mod sentences;
mod stress;
mod tables;
mod tagger;
mod tokens;

pub use lexicon::Lexicon;
pub use normalize::normalize;
pub use sentences::sentences;
pub use tagger::Tagger;

use lexicon::Ahead;
use stress::{PRIMARY, Stress, apply, is_consonant, is_vowel, weight};
use tokens::{Token, tokens};

/// Letters to phonemes, for words that no dictionary has.
pub trait Unknown {
    /// How `word` is said; none where it cannot be said at all.
    fn say(&self, word: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Unknown for F {
    fn say(&self, word: &str) -> Option<String> {
        self(word)
    }
}

/// A word or a mark as it is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// As it stands in the text that is said, which has no digits or signs.
    pub text: String,
    /// Its phonemes; of marks, the pause.
    pub phonemes: String,
    /// Whether a space follows.
    pub space: bool,
}

/// What is spoken in one breath.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Utterance {
    /// The text that it was made of.
    pub text: String,
    /// Its words and marks.
    pub words: Vec<Spoken>,
    /// Characters that nothing is known to say for.
    pub skipped: Vec<char>,
}

impl Utterance {
    /// All phonemes, with a space between words.
    pub fn phonemes(&self) -> String {
        let mut out = String::new();
        for word in &self.words {
            out += &word.phonemes;
            if word.space && !out.ends_with(' ') {
                out.push(' ');
            }
        }
        out.trim_end().to_owned()
    }
}

/// The reader of an accent.
pub struct English {
    lexicon: Lexicon,
    tagger: Tagger,
    unknown: Box<dyn Unknown + Send + Sync>,
}

impl English {
    /// A reader with these dictionaries, this tagger, and what says the rest.
    pub fn new(lexicon: Lexicon, tagger: Tagger, unknown: Box<dyn Unknown + Send + Sync>) -> Self {
        Self {
            lexicon,
            tagger,
            unknown,
        }
    }

    /// One sentence, as [`sentences`] cuts them.
    pub fn speak(&self, sentence: &str) -> Utterance {
        let said = normalize(sentence);
        let mut tokens = tokens(&said);
        let texts: Vec<&str> = tokens.iter().map(|t| t.text.as_str()).collect();
        let tags = self.tagger.tag(&texts);
        for (token, tag) in tokens.iter_mut().zip(tags) {
            token.tag = tag;
        }
        let mut skipped = Vec::new();
        let mut words = Vec::new();
        let mut ahead = Ahead::default();
        let mut end = tokens.len();
        while end > 0 {
            let mut start = end - 1;
            if tokens[start].mark.is_none() {
                // A cluster: what is written without spaces.
                while start > 0 && !tokens[start - 1].space && tokens[start - 1].mark.is_none() {
                    start -= 1;
                }
            }
            let cluster = &tokens[start..end];
            let text: String = cluster.iter().map(|t| t.text.as_str()).collect();
            let phonemes = match &cluster[0].mark {
                Some(pause) => pause.clone(),
                None => self.cluster(cluster, ahead),
            };
            if phonemes.is_empty() {
                skipped.extend(text.chars().rev().filter(|c| !is_silent(*c)));
            }
            ahead = next(ahead, &phonemes, &text, &cluster[0].tag);
            words.push(Spoken {
                text,
                phonemes: phonemes.replace('ɾ', "T").replace('ʔ', "t"),
                space: cluster.last().is_some_and(|t| t.space),
            });
            end = start;
        }
        words.reverse();
        skipped.reverse();
        Utterance {
            text: sentence.to_owned(),
            words,
            skipped,
        }
    }

    /// What is written together: as one word if it is known, else part by part from the end.
    fn cluster(&self, tokens: &[Token], ahead: Ahead) -> String {
        let mut parts: Vec<(usize, usize, String)> = Vec::new();
        let (mut right, mut ahead) = (tokens.len(), ahead);
        while right > 0 {
            let found = (0..right).find_map(|left| {
                let (text, tag) = merged(&tokens[left..right]);
                Some((left, self.lexicon.say(&text, &tag, ahead)?, text, tag))
            });
            if let Some((left, phonemes, text, tag)) = found {
                ahead = next(ahead, &phonemes, &text, &tag);
                parts.push((left, right, phonemes));
                right = left;
            } else if tokens[right - 1].text.chars().all(is_silent) {
                right -= 1;
            } else {
                return self.unknown(tokens);
            }
        }
        parts.reverse();
        joined(tokens, parts)
    }

    /// By the letters: of each run of them, of what else can be said by itself.
    fn unknown(&self, tokens: &[Token]) -> String {
        let mut said = Vec::new();
        for token in tokens {
            for piece in token
                .text
                .split(|c: char| !(c.is_alphabetic() || c == '\''))
            {
                let piece = piece.trim_matches('\'');
                if piece.is_empty() {
                    continue;
                }
                let known = self.lexicon.say(piece, &token.tag, Ahead::default());
                said.extend(known.or_else(|| self.unknown.say(piece)));
            }
        }
        said.join(" ")
    }
}

/// Text and tag of several tokens as one: the tag of the longest, capitals counting double.
fn merged(tokens: &[Token]) -> (String, String) {
    let size = |token: &&Token| -> usize {
        let each = token.text.chars();
        each.map(|c| if c.is_uppercase() { 2 } else { 1 }).sum()
    };
    let text = tokens.iter().map(|t| t.text.as_str()).collect();
    // The first of several that are equally long.
    let longest = tokens.iter().rev().max_by_key(size);
    (text, longest.map(|t| t.tag.clone()).unwrap_or_default())
}

/// Parts of a compound: said as one word, in which not every part has the main stress.
fn joined(tokens: &[Token], mut parts: Vec<(usize, usize, String)>) -> String {
    let apart = tokens.iter().any(|t| t.text.contains('/'));
    if !apart {
        let mut stressed: Vec<(bool, usize, usize)> = parts
            .iter()
            .enumerate()
            .filter(|(_, (.., p))| !p.is_empty())
            .map(|(i, (.., p))| (p.contains(PRIMARY), weight(p), i))
            .collect();
        let loud = stressed.iter().filter(|(primary, ..)| *primary).count();
        let letter =
            |i: usize| parts[i].1 - parts[i].0 == 1 && tokens[parts[i].0].text.chars().count() == 1;
        let quiet: Vec<usize> = if stressed.len() == 2 && letter(stressed[0].2) {
            vec![stressed[1].2]
        } else if stressed.len() < 2 || loud <= stressed.len().div_ceil(2) {
            Vec::new()
        } else {
            stressed.sort_unstable();
            stressed[..stressed.len() / 2].iter().map(|s| s.2).collect()
        };
        for i in quiet {
            parts[i].2 = apply(&parts[i].2, Some(Stress::Reduced));
        }
    }
    let parts: Vec<String> = parts.into_iter().map(|(.., p)| p).collect();
    parts.join(if apart { " " } else { "" })
}

/// What a word is to the one before it.
fn next(before: Ahead, phonemes: &str, text: &str, tag: &str) -> Ahead {
    let pause = |c: char| ";:,.!?—…".contains(c);
    let sound = phonemes
        .chars()
        .find(|&c| is_vowel(c) || is_consonant(c) || pause(c));
    Ahead {
        vowel: match sound {
            Some(c) if pause(c) => None,
            Some(c) => Some(is_vowel(c)),
            None => before.vowel,
        },
        to: matches!(text, "to" | "To") || text == "TO" && matches!(tag, "TO" | "IN"),
    }
}

/// Marks that are passed over without a word.
fn is_silent(c: char) -> bool {
    c.is_whitespace() || c.is_ascii_punctuation() || "‘’“”«»–—…".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> English {
        let first = r#"{"the": "ðə", "cat": "kˈæt", "apple": "ˈæpᵊl", "read": {"DEFAULT": "ɹˈid", "VBD": "ɹˈɛd"},
            "to": "tˈu", "walk": "wˈɔk", "well": "wˈɛl", "known": "nˈOn", "don't": "dˈOnt", "twenty": "twˈɛnti",
            "two": "tˈu", "A": "ˈA", "B": "bˈi", "C": "sˈi", "bus": "bˈʌs", "carry": "kˈæɹi", "stop": "stˈɑp",
            "make": "mˈAk", "wait": "wˈAt", "nato": "nˈATO"}"#;
        let lexicon = Lexicon::from_json(first.as_bytes(), b"{}", false).unwrap();
        let tagger = Tagger::from_json(
            br#"{"tagdict": {"the": "DT", "to": "TO", "read": "VBD", "A": "NN"}, "tags": ["NN"], "weights": {}}"#,
        )
        .unwrap();
        let unknown = |word: &str| word.is_ascii().then(|| format!("[{word}]"));
        English::new(lexicon, tagger, Box::new(unknown))
    }

    #[test]
    fn words_are_found_bent_spelled_or_sounded_out() {
        let reader = reader();
        for (text, want) in [
            ("the cat, the apple.", "ðə kˈæt, ði ˈæpᵊl."),
            ("read", "ɹˈɛd"),
            ("cats buses carries", "kˈæts bˈʌsᵻz kˈæɹiz"),
            (
                "walked waited stopping making",
                "wˈɔkt wˈATᵻd stˈɑpɪŋ mˈAkɪŋ",
            ),
            ("to walk to", "tə wˈɔk tˈu"),
            ("well-known", "wˌɛlnˈOn"),
            ("don't", "dˈOnt"),
            ("ABC", "ˌAbˌisˈi"),
            ("A.B.", "ˌAbˈi."),
            ("NATO", "nˈATO"),
            ("22", "twˈɛnti tˈu"),
            ("blorp-cat", "[blorp] kˈæt"),
            ("\"cat\" (cat)!", "“kˈæt” (kˈæt)!"),
            ("cat - cat", "kˈæt — kˈæt"),
        ] {
            assert_eq!(reader.speak(text).phonemes(), want, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_told() {
        let spoken = reader().speak("cat 🍎 漢字");
        assert_eq!(spoken.phonemes(), "kˈæt");
        assert_eq!(spoken.skipped, ['🍎', '漢', '字']);
        assert!(reader().speak("").words.is_empty());
    }
}
