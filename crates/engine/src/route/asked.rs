//! What verbs ask for, with what stands behind them.

use super::clause::{BEFORE, DECIDES, HEAD, all_of_it};
use super::lexicon::Class::*;
use super::listed::{noun, several, target, taught};
use super::phrase::Phrase;
use super::words::Word;
use super::{Destination, Evidence};

pub(super) fn verb(words: &[Word], found: &mut Evidence) {
    let (verb, rest) = match words.split_first() {
        Some(split) => split,
        None => return,
    };
    let particle = |word: &&Word| matches!(word.text.as_str(), "up" | "together" | "out" | "down");
    let rest = &rest[rest.iter().take_while(particle).count()..];
    let come = verb.text == "come" && rest.first().is_some_and(|word| word.text == "with");
    let rest = &rest[usize::from(come)..];
    // "make for me a song"
    let for_me = rest.first().is_some_and(|word| word.text == "for")
        && rest.get(1).is_some_and(|word| word.classes.has(Me));
    let rest = &rest[2 * usize::from(for_me)..];
    let phrase = Phrase::of(rest);
    let named = phrase.names();
    let head = named
        .filter(|named| named.head)
        .map(|named| named.destination);
    let is = |class| verb.classes.has(class);
    if is(VerbText) {
        text(words, rest, &phrase, head, found);
    } else if is(VerbMend) {
        found.add(head.unwrap_or(Destination::Text), HEAD);
    } else if is(VerbImage) && told_of(rest) {
        found.add(Destination::Text, HEAD);
    } else if is(VerbImage) {
        made(words, Destination::Image, head, found);
    } else if is(VerbVideo) {
        made(words, Destination::Video, None, found);
    } else if is(VerbMusic) {
        made(words, Destination::Music, head, found);
    } else if is(VerbSpeech) {
        let vague =
            rest.first().is_some_and(|w| w.text == "something") && !rest.iter().any(|w| w.quoted);
        found.add(
            if vague {
                Destination::Text
            } else {
                Destination::Speech
            },
            DECIDES,
        );
    } else if is(VerbRead) {
        found.add(Destination::Speech, HEAD);
    } else if is(VerbHear) {
        found.add(
            head.filter(|&d| d == Destination::Music)
                .unwrap_or(Destination::Speech),
            HEAD,
        );
    } else if is(VerbPromote) {
        found.add(Destination::Create, HEAD + 1.0);
        several(&phrase, found);
    }
    if is(VerbTurn) && turned(words, found) {
        return;
    }
    if is(VerbMake) {
        make(verb, rest, found);
    }
}

/// "Picture this: …" begins a story.
fn told_of(rest: &[Word]) -> bool {
    rest.first().is_some_and(|word| {
        matches!(word.text.as_str(), "this" | "that") && matches!(word.mark, Some(':' | ','))
    })
}

/// A verb that asks for a text, unless what it asks for cannot be one.
fn text(
    words: &[Word],
    rest: &[Word],
    phrase: &Phrase,
    head: Option<Destination>,
    found: &mut Evidence,
) {
    let verb = &words[0];
    // "write a jig" asks for notes, "write a song" for words.
    let notes = head == Some(Destination::Music) && !phrase.head_classes().has(Worded);
    let written = matches!(verb.text.as_str(), "write" | "draft" | "complete");
    if taught(phrase) {
        found.add(Destination::Create, DECIDES);
        return;
    }
    let shown =
        target(rest, &["as"]).filter(|d| matches!(d, Destination::Speech | Destination::Video));
    if let Some(shown) = shown {
        found.add(shown, DECIDES);
        return;
    }
    if verb.text == "tell" && words.iter().any(|word| word.text == "aloud") {
        found.add(Destination::Speech, DECIDES);
        return;
    }
    match head {
        Some(Destination::Create) if phrase.head_classes().has(Create) && !written_only(phrase) => {
            found.add(Destination::Create, DECIDES);
        }
        _ if written && notes => found.add(Destination::Music, DECIDES),
        _ => found.add(Destination::Text, DECIDES),
    }
}

/// A campaign is more than a text even where it is to be written; a lesson is one.
fn written_only(phrase: &Phrase) -> bool {
    phrase
        .head()
        .is_some_and(|head| head.text.starts_with("lesson"))
}

/// A verb of one medium with an object that may name another: "draw an animation", "draft up a plan", "compose an email".
fn made(words: &[Word], own: Destination, head: Option<Destination>, found: &mut Evidence) {
    let phrasal = words
        .get(1)
        .is_some_and(|word| matches!(word.text.as_str(), "up" | "out"));
    match (own, head) {
        (Destination::Image, Some(Destination::Video)) => found.add(Destination::Video, DECIDES),
        (Destination::Image, Some(Destination::Text)) if phrasal => {
            found.add(Destination::Text, DECIDES)
        }
        (Destination::Music, Some(other)) => found.add(other, DECIDES),
        _ => found.add(own, DECIDES),
    }
    if phrasal && own == Destination::Image {
        let inner = Phrase::of(&words[2..]).names();
        if inner.is_some_and(|named| named.destination == Destination::Text) {
            found.add(Destination::Text, DECIDES + 1.0);
        }
    }
}

/// "turn X into Y", "set X to music", "convert X to speech".
fn turned(words: &[Word], found: &mut Evidence) -> bool {
    let links: &[&str] = if words.iter().any(|word| word.text == "into") {
        &["into"]
    } else {
        &["to", "as"]
    };
    if let Some(to) = target(words, links) {
        found.add(to, DECIDES + 2.0);
        return true;
    }
    if words[0].classes.has(VerbMake) {
        return false;
    }
    found.add(Destination::Text, BEFORE);
    true
}

fn make(verb: &Word, rest: &[Word], found: &mut Evidence) {
    if rest.first().is_some_and(|word| word.text == "everything") && all_of_it(rest) {
        found.add(Destination::Create, HEAD);
        return;
    }
    let mut behind = rest;
    while let Some(word) = behind.first()
        && word.classes.any(&[Me, Filler])
    {
        behind = &behind[1..];
    }
    // "show me how to fold a crane"
    if behind
        .first()
        .is_some_and(|word| word.classes.has(Ask) || word.text == "that")
        && verb.text != "make"
    {
        let what = behind.first().is_some_and(|word| word.text == "what");
        let looks = behind.iter().any(|word| word.text.starts_with("look"));
        found.add(
            if what && looks {
                Destination::Image
            } else {
                Destination::Text
            },
            HEAD,
        );
        return;
    }
    let phrase = Phrase::of(rest);
    if looked_at(&phrase, found) || verb.text == "make" && moved(rest, &phrase, found) {
        return;
    }
    noun(&phrase, found);
    let definite = is_definite(rest);
    let shorter = phrase
        .head()
        .is_some_and(|head| head.text.ends_with("er") && head.classes.is_empty());
    if found.is_empty() && definite && shorter {
        found.add(Destination::Text, BEFORE);
    }
    if found.is_empty() && verb.text == "record" {
        found.add(Destination::Speech, BEFORE);
    }
    let drawn = matches!(
        verb.text.as_str(),
        "design" | "render" | "show" | "generate" | "see"
    );
    if found.is_empty() && drawn && phrase.determined && !phrase.head_classes().has(Abstract) {
        found.add(Destination::Image, BEFORE);
    }
}

/// "have a look at my essay"
fn looked_at(phrase: &Phrase, found: &mut Evidence) -> bool {
    let looks = phrase.head().is_some_and(|head| head.text == "look");
    let at = looks && phrase.rest.first().is_some_and(|word| word.text == "at");
    if at {
        found.add(Destination::Text, HEAD);
    }
    at
}

fn is_definite(words: &[Word]) -> bool {
    const DEFINITE: &[&str] = &["my", "this", "that", "our", "these"];
    words
        .first()
        .is_some_and(|word| DEFINITE.contains(&word.text.as_str()))
}

/// "make the cat dance", "make my drawing of a fish swim"
fn moved(rest: &[Word], phrase: &Phrase, found: &mut Evidence) -> bool {
    let moves = |word: Option<&Word>| word.is_some_and(|word| word.classes.has(CueMotion));
    let before = rest
        .len()
        .checked_sub(2)
        .map(|at| rest[at].classes.any(&[Det, Prep]));
    let at_end = is_definite(rest) && moves(rest.last()) && rest.len() < 9 && before == Some(false);
    let next = moves(phrase.head()) || moves(phrase.rest.first());
    let named = phrase.head_classes().names().is_some();
    if at_end || next && phrase.determined && !named {
        found.add(Destination::Video, DECIDES);
        return true;
    }
    false
}
