//! Requests without a verb or a medium's name: a thing to be seen, or something else.

use super::clause::{is_statement, is_verb, unframed};
use super::lexicon::Class::*;
use super::phrase::{Phrase, is_colour, is_doing};
use super::words::Word;

/// Whether a prompt that names no medium is a thing that a picture may show: "a cat in a hat", "yellow umbrella". The
/// rules are for its first clause; `all` are all its words.
pub(super) fn is_thing(first: &[Word], all: &[Word]) -> bool {
    let question = all.last().is_some_and(|word| word.mark == Some('?'));
    let (words, framed) = unframed(first);
    let Some(begin) = words.first() else {
        return false;
    };
    if question && !framed || begin.quoted || begin.classes.any(&[Super, Pronoun, Ask]) {
        return false;
    }
    let make = is_verb(words);
    if make && !begin.classes.has(VerbMake) {
        return false;
    }
    let phrase = Phrase::of(if make { &words[1..] } else { words });
    let Some(head) = phrase.head() else {
        return false;
    };
    let speaks = first.iter().any(|word| {
        matches!(
            word.text.as_str(),
            "i" | "you" | "me" | "we" | "vs" | "versus"
        ) && !framed
            && !make
    });
    let sup = phrase.words.iter().any(|word| word.classes.has(Super));
    if speaks || sup || is_statement(&phrase) || is_abstract(head) {
        return false;
    }
    let seen = first
        .iter()
        .filter(|word| word.classes.has(CueImage))
        .count();
    let concrete = phrase.words.iter().any(|word| word.classes.has(Concrete));
    if phrase.determined {
        return concrete || seen > 0 || !make || is_placed(&phrase);
    }
    let colours = phrase
        .words
        .iter()
        .any(|word| is_colour(word) || word.classes.has(Look));
    head.classes.has(Concrete)
        || !is_doing(&words[0]) && is_at_work(words)
        || (seen > 0 || colours) && (concrete || phrase.words.len() <= 4)
        || concrete && phrase.words.len() <= 3 && is_placed(&phrase)
}

/// "gnome riding a snail": somebody does something to something.
fn is_at_work(words: &[Word]) -> bool {
    words.windows(2).skip(1).take(4).any(|pair| {
        is_doing(&pair[0]) && pair[0].mark.is_none() && pair[1].classes.any(&[Det, Concrete])
    })
}

/// Whether something is said of where it is or what it does.
fn is_placed(phrase: &Phrase) -> bool {
    const PLACES: &[&str] = &[
        "in", "on", "at", "under", "over", "above", "below", "behind", "beside", "between", "near",
        "wearing", "holding", "inside", "across", "against", "around", "with",
    ];
    phrase
        .rest
        .first()
        .is_some_and(|word| PLACES.contains(&word.text.as_str()) || is_doing(word))
}

/// Whether the word means what nobody can see, by itself or by its ending.
fn is_abstract(word: &Word) -> bool {
    if word.classes.has(Concrete) {
        return false;
    }
    const ENDINGS: &[&str] = &[
        "tion", "sion", "ness", "ism", "ology", "ance", "ence", "ship", "ment", "ility", "ivity",
        "acy", "hood", "omics",
    ];
    word.classes.has(Abstract)
        || ENDINGS
            .iter()
            .any(|ending| word.text.ends_with(ending) && word.text.len() > ending.len() + 2)
}

/// Whether a prompt holds lines of a program.
pub(super) fn is_code(prompt: &str) -> bool {
    const SIGNS: &[&str] = &[
        "```", "();", "){", ") {", "=>", "==", "def ", "fn ", "</", "#include", "SELECT ",
        "import ",
    ];
    SIGNS.iter().any(|sign| prompt.contains(sign))
}
