//! What noun phrases ask for: one thing, or several that are joined.

use super::clause::{BEFORE, CUE, HEAD};
use super::lexicon::Class::*;
use super::phrase::Phrase;
use super::words::Word;
use super::{Destination, Evidence};

pub(super) fn noun(phrase: &Phrase, found: &mut Evidence) {
    if several(phrase, found) {
        return;
    }
    // "a castle as an icon" is an icon.
    if let Some(named) = target(phrase.rest, &["as"]) {
        found.add(named, HEAD);
    }
    let called = phrase.head().filter(|head| head.mark == Some(':'));
    let reel = phrase
        .head()
        .is_some_and(|head| matches!(head.text.as_str(), "reel" | "reels"));
    let shown = |word: &Word| {
        matches!(
            word.text.as_str(),
            "insta" | "instagram" | "tiktok" | "facebook" | "youtube"
        )
    };
    if reel && phrase.rest.iter().any(shown) {
        found.add(Destination::Video, HEAD);
        return;
    }
    match phrase.names() {
        // "announcement: dear customers …", "speech: dear guests"
        Some(_)
            if called.is_some_and(|head| {
                matches!(
                    head.text.as_str(),
                    "announcement" | "speech" | "announcements"
                )
            }) =>
        {
            found.add(Destination::Speech, HEAD);
        }
        Some(named) => found.add(named.destination, if named.head { HEAD } else { BEFORE }),
        None if is_played(phrase) => found.add(Destination::Music, HEAD),
        None => apart(phrase, found),
    }
    if found.is_empty()
        && phrase.head_classes().has(Abstract)
        && !phrase.head_classes().has(Concrete)
    {
        found.add(Destination::Text, CUE);
    }
}

/// "celtic air on a tin whistle"
fn is_played(phrase: &Phrase) -> bool {
    let Some((link, rest)) = phrase.rest.split_first() else {
        return false;
    };
    let seen = |word: &Word| word.classes.any(&[Concrete, CueImage]);
    let thing = phrase.words.iter().any(seen) || phrase.words.is_empty();
    matches!(link.text.as_str(), "on" | "for")
        && !thing
        && Phrase::of(rest).head_classes().has(Instrument)
}

/// What a phrase between commas names: "a happy, upbeat song", "a boat on the sea, video".
fn apart(phrase: &Phrase, found: &mut Evidence) {
    let comma = phrase.head().is_some_and(|head| head.mark == Some(','));
    let after = |word: &Word| word.mark == Some(',');
    let mut rest = phrase.rest;
    if !comma {
        let Some(at) = rest.iter().position(after) else {
            return;
        };
        rest = &rest[at + 1..];
    }
    while !rest.is_empty() {
        let next = Phrase::of(rest);
        let alone = next.rest.is_empty() || next.head().is_some_and(after);
        if let Some(named) = next.names().filter(|named| named.head || alone) {
            let weight = if named.head && (alone || comma) {
                HEAD - 1.0
            } else {
                CUE
            };
            found.add(named.destination, weight);
            return;
        }
        match rest.iter().position(after) {
            Some(at) => rest = &rest[at + 1..],
            None => return,
        }
    }
}

/// Whether more than one medium is asked for: "poster, jingle and teaser for …", "a story with pictures".
pub(super) fn several(phrase: &Phrase, found: &mut Evidence) -> bool {
    let mut media: Vec<Destination> = Vec::new();
    let first = phrase
        .names()
        .filter(|named| named.head)
        .map(|named| named.destination);
    media.extend(first);
    let joined_by_and = listed(phrase, &mut media);
    if phrase.head_classes().has(Container)
        && let Some((_, inner)) = phrase.rest.split_first().filter(|(of, _)| of.text == "of")
    {
        listed(&Phrase::of(inner), &mut media);
    }
    let joined = distinct(&media);
    let book = phrase.head().is_some_and(|head| head.text == "book");
    let mut with: Vec<Destination> = Vec::new();
    for (at, word) in phrase.rest.iter().enumerate() {
        if word.text == "with" || word.text == "plus" || word.text == "including" {
            let inner = Phrase::of(&phrase.rest[at + 1..]);
            with.extend(
                inner
                    .names()
                    .filter(|named| named.head)
                    .map(|named| named.destination),
            );
            listed(&inner, &mut with);
        }
    }
    let shown = with.iter().any(|d| *d != Destination::Text);
    let told = matches!(first, Some(Destination::Text | Destination::Create));
    let with_text = with.contains(&Destination::Text);
    // Commas alone also lead to what something is like.
    let joined = joined >= 3 || joined == 2 && joined_by_and;
    if joined
        || distinct(&with) >= 2 && !(first == Some(Destination::Image) && with_text)
        || (told || book) && shown
    {
        found.add(Destination::Create, HEAD + 2.0);
        return true;
    }
    false
}

/// Whether a clause is a list of three media or more.
pub(super) fn is_list(clause: &[Word]) -> bool {
    let mut media = Vec::new();
    let phrase = Phrase::of(clause);
    media.extend(
        phrase
            .names()
            .filter(|named| named.head)
            .map(|named| named.destination),
    );
    listed(&phrase, &mut media);
    distinct(&media) >= 3
}

/// Adds the media of the phrases that "and" and commas join to this one; whether there was an "and".
pub(super) fn listed(phrase: &Phrase, media: &mut Vec<Destination>) -> bool {
    let mut last = phrase.clone();
    let mut by_and = false;
    loop {
        let comma = last.head().is_some_and(|head| head.mark == Some(','));
        let and = last
            .rest
            .first()
            .is_some_and(|word| word.classes.has(And) && word.text != "or");
        if !comma && !and {
            // "four lines of description, a tune and a clip"
            let linked = last
                .rest
                .first()
                .is_some_and(|word| matches!(word.text.as_str(), "of" | "as" | "for"));
            let next = last.rest.iter().position(|word| word.mark == Some(','));
            match next.filter(|_| linked) {
                Some(next) => last = Phrase::of(&last.rest[next + 1..]),
                None => return by_and,
            }
        } else {
            by_and |= and;
            last = Phrase::of(&last.rest[usize::from(and)..]);
        }
        if last.words.is_empty() {
            return by_and;
        }
        media.extend(
            last.names()
                .filter(|named| named.head)
                .map(|named| named.destination),
        );
    }
}

pub(super) fn distinct(media: &[Destination]) -> usize {
    let mut seen: Vec<Destination> = Vec::new();
    for &destination in media {
        if !seen.contains(&destination) && destination != Destination::Create {
            seen.push(destination);
        }
    }
    seen.len()
}

/// The medium of the phrase behind the last of `links`: "into a song", "as an icon".
pub(super) fn target(words: &[Word], links: &[&str]) -> Option<Destination> {
    let at = words
        .iter()
        .rposition(|word| links.contains(&word.text.as_str()) && !word.quoted)?;
    let phrase = Phrase::of(&words[at + 1..]);
    match phrase.head()?.text.as_str() {
        "speech" | "voice" if !phrase.determined && phrase.words.len() == 1 => {
            Some(Destination::Speech)
        }
        _ => phrase
            .names()
            .filter(|named| named.head)
            .map(|named| named.destination),
    }
}

/// "teach kids about the moon with pictures and narration"
pub(super) fn taught(phrase: &Phrase) -> bool {
    let mut media = Vec::new();
    if let Some(at) = phrase.rest.iter().position(|word| word.text == "with") {
        let inner = Phrase::of(&phrase.rest[at + 1..]);
        media.extend(
            inner
                .names()
                .filter(|named| named.head)
                .map(|named| named.destination),
        );
        listed(&inner, &mut media);
    }
    media.retain(|&destination| destination != Destination::Text);
    distinct(&media) >= 2
}
