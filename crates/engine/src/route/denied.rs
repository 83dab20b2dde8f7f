//! What a prompt says that is not wanted, and what it takes back: "not a video, just a picture", "a poem, no wait, a song".

use super::clause::{is_verb, unframed};
use super::lexicon::Class::{And, Det};
use super::phrase::Phrase;
use super::words::Word;

/// What takes back all that stands before it.
const CORRECTIONS: &[&[&str]] = &[
    &["no", "wait"],
    &["wait", "no"],
    &["scratch", "that"],
    &["or", "rather"],
    &["i", "mean"],
    &["on", "second", "thought"],
    &["on", "second", "thoughts"],
    &["actually"],
];
const DENIALS: &[&str] = &["not", "no", "without", "skip", "forget", "never"];
const INSTEAD: &[&str] = &["just", "only", "but", "instead", "rather", "simply"];

/// The words without those.
pub(super) fn wanted(mut words: Vec<Word>) -> Vec<Word> {
    if let Some(begin) = corrected(&words).or_else(|| first_denied(&words)) {
        words.drain(..begin);
    }
    let mut kept: Vec<Word> = Vec::with_capacity(words.len());
    let mut rest = &words[..];
    while let Some((word, behind)) = rest.split_first() {
        let parted = kept.last().is_some_and(|last| last.mark.is_some());
        let thing = behind
            .first()
            .is_some_and(|next| next.classes.has(Det) || next.classes.names().is_some());
        if parted && thing && is(word, &["not", "no", "without"]) {
            let end = behind.iter().position(|word| word.mark.is_some());
            rest = end.map_or(&[], |end| &behind[end + 1..]);
            continue;
        }
        kept.push(word.clone());
        rest = behind;
    }
    kept
}

fn is(word: &Word, set: &[&str]) -> bool {
    !word.quoted && set.contains(&word.text.as_str())
}

/// Whether words ask for something by a verb or by a medium's name.
fn asks(words: &[Word]) -> bool {
    let (words, _) = unframed(words);
    is_verb(words) || Phrase::of(words).names().is_some_and(|named| named.head)
}

/// Where what counts begins, behind the last correction.
fn corrected(words: &[Word]) -> Option<usize> {
    let behind = |at: &usize| {
        let found = CORRECTIONS.iter().find(|parts| {
            let here = words.get(*at..*at + parts.len());
            here.is_some_and(|here| here.iter().zip(**parts).all(|(w, part)| is(w, &[part])))
        });
        let end = at + found?.len();
        (words[at - 1].mark.is_some() && words.get(end..).is_some_and(asks)).then_some(end)
    };
    (1..words.len()).rev().find_map(|at| behind(&at))
}

/// Where what is wanted begins, behind what is not: "no words please, only the tune".
fn first_denied(words: &[Word]) -> Option<usize> {
    let (open, _) = unframed(words);
    let begin = words.len() - open.len();
    if !is(open.first()?, DENIALS) {
        return None;
    }
    let instead = (begin + 1..words.len())
        .find(|&at| is(&words[at], INSTEAD) && words.get(at + 1..).is_some_and(asks))
        .map(|at| at + 1);
    instead.or_else(|| {
        let parted = |at: &usize| words[*at].mark.is_some() && asks(&words[at + 1..]);
        let denied_again =
            |at: usize| is(&words[at + 1], DENIALS) || words[at + 1].classes.has(And);
        (begin..words.len().saturating_sub(1))
            .filter(|&at| !denied_again(at))
            .find(parted)
            .map(|at| at + 1)
    })
}

#[cfg(test)]
mod tests {
    use crate::route::{Destination, route};

    #[test]
    fn what_is_denied_or_taken_back_is_not_asked_for() {
        for (prompt, wanted, left) in [
            (
                "Not a video, just a picture of a horse",
                Destination::Image,
                "a horse",
            ),
            (
                "no words please, only the tune of a waltz",
                Destination::Music,
                "no words please, only the tune of a waltz",
            ),
            (
                "a poem, no wait, a painting of a lighthouse",
                Destination::Image,
                "a lighthouse",
            ),
            (
                "Skip the music. I just need a photo of a street",
                Destination::Image,
                "a street",
            ),
            (
                "a poster of a fair, no text, not a video",
                Destination::Image,
                "a poster of a fair, no text, not a video",
            ),
            (
                "no idea what to cook",
                Destination::Text,
                "no idea what to cook",
            ),
            ("not now", Destination::Text, "not now"),
            ("no, wait", Destination::Text, "no, wait"),
        ] {
            let found = route(prompt);
            assert_eq!(
                (found.destination, found.prompt.as_str()),
                (wanted, left),
                "{prompt}"
            );
        }
    }
}
