//! Words to phonemes: dictionaries, and the endings that words take.
//!
//! Phonemes are written in the alphabet of [misaki](https://github.com/hexgrad/misaki/blob/main/EN_PHONES.md), one
//! character each, and the rules here are what its dictionaries expect of their reader: capitalised twins, parts of
//! speech, stress by case, and the sounds that "-s", "-ed" and "-ing" add.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::stress::{PRIMARY, SECONDARY, Stress, apply};

/// Vowels after which an American t is a tap.
const TAPPING: &str = "AIOWYiuæɑəɛɪɹʊʌ";

/// How a word is said: always so, or by its part of speech.
enum Entry {
    One(String),
    ByTag(HashMap<String, Option<String>>),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("phonemes, or phonemes by part of speech")
            }

            fn visit_str<E>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry::One(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let mut tags = HashMap::new();
                while let Some((tag, phonemes)) = map.next_entry()? {
                    tags.insert(tag, phonemes);
                }
                Ok(Entry::ByTag(tags))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

type Words = HashMap<String, Entry>;

/// What is known of the words that follow.
#[derive(Clone, Copy, Default)]
pub(super) struct Ahead {
    /// Whether the next sound is a vowel; none before a pause.
    pub vowel: Option<bool>,
    /// Whether the next word is "to".
    pub to: bool,
}

/// The dictionaries of an accent.
pub struct Lexicon {
    /// Checked by hand.
    first: Words,
    /// Less sure.
    second: Words,
    british: bool,
}

impl Lexicon {
    /// Reads two dictionaries (JSON objects from words to phonemes), the surer one first.
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn from_json(
        first: &[u8],
        second: &[u8],
        british: bool,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            first: serde_json::from_slice(first)?,
            second: serde_json::from_slice(second)?,
            british,
        })
    }

    /// How `word` is said; none where neither dictionary nor endings know it.
    pub(super) fn say(&self, word: &str, tag: &str, ahead: Ahead) -> Option<String> {
        let lower = word.to_lowercase();
        let stress = match () {
            () if word == lower => None,
            () if word == word.to_uppercase() => Some(Stress::Strong),
            () => Some(Stress::Light),
        };
        if let Some(phonemes) = self.special(word, tag, stress, ahead) {
            return Some(phonemes);
        }
        let word = if self.decapitalised(word, tag, ahead) {
            lower.as_str()
        } else {
            word
        };
        if self.knows(word) {
            return self.look_up(word, tag, stress, ahead);
        }
        // Possessives of plurals.
        if let Some(stem) = word.strip_suffix("s'") {
            let singular = format!("{stem}'s");
            if self.knows(&singular) {
                return self.look_up(&singular, tag, stress, ahead);
            }
        }
        if let Some(stem) = word.strip_suffix('\'').filter(|stem| self.knows(stem)) {
            return self.look_up(stem, tag, stress, ahead);
        }
        self.with_s(word, tag, stress, ahead)
            .or_else(|| self.with_ed(word, tag, stress, ahead))
            .or_else(|| self.with_ing(word, tag, Some(stress.unwrap_or(Stress::Light)), ahead))
    }

    /// Letters by their names; none where a character has none.
    pub(super) fn spell(&self, word: &str) -> Option<String> {
        let mut phonemes = String::new();
        for letter in word.chars().filter(|c| c.is_alphabetic()) {
            match entry(&self.first, &letter.to_uppercase().to_string())? {
                Entry::One(name) => phonemes += name,
                Entry::ByTag(names) => phonemes += names.get("DEFAULT")?.as_ref()?,
            }
        }
        let phonemes = apply(&phonemes, Some(Stress::Secondary));
        // The last letter is the loudest.
        Some(match phonemes.rsplit_once(SECONDARY) {
            Some((before, last)) => format!("{before}{PRIMARY}{last}"),
            None => phonemes,
        })
    }

    /// Small words whose sound depends on what follows.
    fn special(
        &self,
        word: &str,
        tag: &str,
        stress: Option<Stress>,
        ahead: Ahead,
    ) -> Option<String> {
        let inner = word.trim_matches('.');
        let dotted = inner.contains('.')
            && word.chars().all(|c| c == '.' || c.is_alphabetic())
            && word.split('.').all(|part| part.chars().count() < 3);
        if dotted {
            return self.spell(word);
        }
        let plain = |text: &str| Some(text.to_owned());
        match word {
            "a" | "A" => plain(if tag == "DT" { "ɐ" } else { "ˈA" }),
            "am" | "Am" | "AM" if tag.starts_with("NN") => self.spell(word),
            "am" if ahead.vowel.is_some() && stress.is_none() => plain("ɐm"),
            "am" | "Am" | "AM" => self.look_up("am", tag, None, ahead),
            "AN" if tag.starts_with("NN") => self.spell(word),
            "an" | "An" | "AN" => plain("ɐn"),
            "I" if tag == "PRP" => plain("ˌI"),
            "by" | "By" | "BY" if parent(tag) == "ADV" => plain("bˈI"),
            "TO" if !matches!(tag, "TO" | "IN") => None,
            "to" | "To" | "TO" => match ahead.vowel {
                None => self.look_up("to", tag, None, ahead),
                Some(vowel) => plain(if vowel { "tʊ" } else { "tə" }),
            },
            "IN" if tag == "NNP" => None,
            "in" | "In" | "IN" => {
                let weak = ahead.vowel.is_some() && tag == "IN";
                plain(if weak { "ɪn" } else { "ˈɪn" })
            }
            "THE" if tag != "DT" => None,
            "the" | "The" | "THE" => plain(if ahead.vowel == Some(true) {
                "ði"
            } else {
                "ðə"
            }),
            "used" | "Used" | "USED" => {
                let habit = matches!(tag, "VBD" | "JJ") && ahead.to;
                let Entry::ByTag(ways) = entry(&self.first, "used")? else {
                    return None;
                };
                ways.get(if habit { "VBD" } else { "DEFAULT" })?.clone()
            }
            _ => None,
        }
    }

    /// Whether a word in capitals, or with one, is only known without.
    fn decapitalised(&self, word: &str, tag: &str, ahead: Ahead) -> bool {
        let lower = word.to_lowercase();
        let mut letters = word.chars();
        letters.next();
        let rest = letters.as_str();
        let cased = word == word.to_uppercase() || rest == rest.to_lowercase();
        word.chars().count() > 1
            && word.chars().all(|c| c == '\'' || c.is_alphabetic())
            && word != lower
            && (tag != "NNP" || word.chars().count() > 7)
            && !self.has(word)
            && cased
            && (self.has(&lower)
                || self.with_s(&lower, tag, None, ahead).is_some()
                || self.with_ed(&lower, tag, None, ahead).is_some()
                || self.with_ing(&lower, tag, None, ahead).is_some())
    }

    fn has(&self, word: &str) -> bool {
        entry(&self.first, word).is_some() || entry(&self.second, word).is_some()
    }

    /// Whether [`look_up`](Self::look_up) has something for it: an entry, or letters to spell.
    fn knows(&self, word: &str) -> bool {
        if self.has(word) {
            return true;
        }
        if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphabetic()) {
            return false;
        }
        let rest = &word[1..];
        word.len() == 1
            || word == word.to_uppercase() && entry(&self.first, &word.to_lowercase()).is_some()
            || rest == rest.to_uppercase()
    }

    fn look_up(
        &self,
        word: &str,
        tag: &str,
        stress: Option<Stress>,
        ahead: Ahead,
    ) -> Option<String> {
        let lower;
        let (mut word, mut name) = (word, false);
        if word == word.to_uppercase() && entry(&self.first, word).is_none() {
            lower = word.to_lowercase();
            word = &lower;
            name = tag == "NNP";
        }
        let mut found = entry(&self.first, word);
        if found.is_none() && !name {
            found = entry(&self.second, word);
        }
        let phonemes = match found {
            Some(Entry::One(phonemes)) => Some(phonemes.clone()),
            Some(Entry::ByTag(ways)) => {
                let pause = ahead.vowel.is_none() && ways.contains_key("None");
                let tag = match () {
                    () if pause => "None",
                    () if ways.contains_key(tag) => tag,
                    () => parent(tag),
                };
                ways.get(tag)
                    .or_else(|| ways.get("DEFAULT"))
                    .cloned()
                    .flatten()
            }
            None => None,
        };
        match phonemes {
            Some(phonemes) if !name || phonemes.contains(PRIMARY) => Some(apply(&phonemes, stress)),
            other => self.spell(word).or(other.map(|p| apply(&p, stress))),
        }
    }

    /// Plurals, possessives and third persons.
    fn with_s(
        &self,
        word: &str,
        tag: &str,
        stress: Option<Stress>,
        ahead: Ahead,
    ) -> Option<String> {
        let shorter = word.strip_suffix('s').filter(|_| word.len() > 2)?;
        let stem = if !word.ends_with("ss") && self.knows(shorter) {
            shorter.to_owned()
        } else if let Some(stem) = word
            .strip_suffix("'s")
            .or(word
                .strip_suffix("es")
                .filter(|_| word.len() > 4 && !word.ends_with("ies")))
            .filter(|stem| self.knows(stem))
        {
            stem.to_owned()
        } else {
            let stem = format!("{}y", word.strip_suffix("ies").filter(|_| word.len() > 4)?);
            self.knows(&stem).then_some(stem)?
        };
        let phonemes = self.look_up(&stem, tag, stress, ahead)?;
        let last = phonemes.chars().last()?;
        Some(match last {
            'p' | 't' | 'k' | 'f' | 'θ' => phonemes + "s",
            's' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ' => phonemes + self.reduced() + "z",
            _ => phonemes + "z",
        })
    }

    /// Past forms.
    fn with_ed(
        &self,
        word: &str,
        tag: &str,
        stress: Option<Stress>,
        ahead: Ahead,
    ) -> Option<String> {
        let shorter = word.strip_suffix('d').filter(|_| word.len() > 3)?;
        let stem = if !word.ends_with("dd") && self.knows(shorter) {
            shorter
        } else {
            let stem = word
                .strip_suffix("ed")
                .filter(|_| word.len() > 4 && !word.ends_with("eed"))?;
            self.knows(stem).then_some(stem)?
        };
        let phonemes = self.look_up(stem, tag, stress, ahead)?;
        let mut back = phonemes.chars().rev();
        let (last, before) = (back.next()?, back.next());
        Some(match last {
            'p' | 'k' | 'f' | 'θ' | 'ʃ' | 's' | 'ʧ' => phonemes + "t",
            'd' => phonemes + self.reduced() + "d",
            't' if self.british || before.is_none() => phonemes + "ɪd",
            't' if before.is_some_and(|c| TAPPING.contains(c)) => {
                phonemes[..phonemes.len() - 1].to_owned() + "ɾᵻd"
            }
            't' => phonemes + "ᵻd",
            _ => phonemes + "d",
        })
    }

    /// Present participles.
    fn with_ing(
        &self,
        word: &str,
        tag: &str,
        stress: Option<Stress>,
        ahead: Ahead,
    ) -> Option<String> {
        let shorter = word.strip_suffix("ing").filter(|_| word.len() > 4)?;
        let silent = format!("{shorter}e");
        let doubled = || {
            let mut back = shorter.chars().rev();
            let (last, before) = (back.next()?, back.next()?);
            let twice =
                last == before && "bcdgklmnprstvxz".contains(last) || shorter.ends_with("ck");
            shorter.strip_suffix(last).filter(|_| twice)
        };
        let stem = match () {
            () if word.len() > 5 && self.knows(shorter) => shorter,
            () if self.knows(&silent) => silent.as_str(),
            () => doubled().filter(|stem| word.len() > 5 && self.knows(stem))?,
        };
        let phonemes = self.look_up(stem, tag, stress, ahead)?;
        let mut back = phonemes.chars().rev();
        let (last, before) = (back.next()?, back.next());
        if self.british && matches!(last, 'ə' | 'ː') {
            return None;
        }
        let taps = !self.british && last == 't' && before.is_some_and(|c| TAPPING.contains(c));
        Some(match taps {
            true => phonemes[..phonemes.len() - 1].to_owned() + "ɾɪŋ",
            false => phonemes + "ɪŋ",
        })
    }

    fn reduced(&self) -> &'static str {
        if self.british { "ɪ" } else { "ᵻ" }
    }
}

/// The entry of a word, or of its twin with or without a capital.
fn entry<'a>(words: &'a Words, word: &str) -> Option<&'a Entry> {
    if let Some(found) = words.get(word) {
        return Some(found);
    }
    let mut letters = word.chars();
    let first = letters.next()?;
    let rest = letters.as_str();
    if rest.is_empty() || rest != rest.to_lowercase() {
        return None;
    }
    let twin: String = if first.is_lowercase() {
        first.to_uppercase().chain(rest.chars()).collect()
    } else {
        first.to_lowercase().chain(rest.chars()).collect()
    };
    words.get(&twin)
}

/// The family of a tag.
fn parent(tag: &str) -> &str {
    match tag {
        _ if tag.starts_with("VB") => "VERB",
        _ if tag.starts_with("NN") => "NOUN",
        _ if tag.starts_with("RB") || tag.starts_with("ADV") => "ADV",
        _ if tag.starts_with("JJ") || tag.starts_with("ADJ") => "ADJ",
        _ => tag,
    }
}
