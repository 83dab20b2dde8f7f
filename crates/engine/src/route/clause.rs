//! What one clause of a prompt says of the medium: who asks, the verb, the noun phrase behind it, and what stands after.

use super::asked::verb;
use super::cues::cues;
use super::lexicon::Class::{self, *};
use super::lexicon::classes;
use super::listed::noun;
use super::phrase::Phrase;
use super::words::Word;
use super::{Destination, Evidence};

/// Of a verb that decides whatever stands behind it.
pub(super) const DECIDES: f32 = 10.0;
/// Of the head of the phrase that is asked for.
pub(super) const HEAD: f32 = 6.0;
/// Of a word before that head, where the head says nothing.
pub(super) const BEFORE: f32 = 3.0;
/// Of a word or sign anywhere.
pub(super) const CUE: f32 = 2.5;

/// Ways to begin a request, longest first where one begins another.
const FRAMES: &[&str] = &[
    "would it be possible to get",
    "would it be possible to have",
    "would it be possible to",
    "could it be possible to",
    "how about you",
    "what about you",
    "how about we",
    "why don't you",
    "do you think you could",
    "i was wondering if you could",
    "would you mind",
    "would you please",
    "i would like that you",
    "i want that you",
    "i would like you to",
    "i would like to have",
    "i would like to",
    "i would like",
    "i would love to",
    "i would love",
    "i'd like you to",
    "i'd like to have",
    "i'd like to",
    "i'd like",
    "i'd love to",
    "i'd love",
    "id like",
    "i want you to",
    "i want to have",
    "i want to",
    "i want",
    "i wanna",
    "i need you to",
    "i need to have",
    "i need to",
    "i need",
    "i wish for",
    "i am looking for",
    "i'm looking for",
    "we are looking for",
    "we're looking for",
    "we would like to",
    "we would like",
    "we'd like to",
    "we'd like",
    "we need to",
    "we need",
    "we want to",
    "we want",
    "looking for",
    "need you to",
    "is it possible to have",
    "is it possible to get",
    "is it possible to",
    "can you",
    "could you",
    "would you",
    "will you",
    "can u",
    "may i have",
    "can i have",
    "can i get",
    "could i have",
    "could i get",
    "may i get",
    "can i hear",
    "can i see",
    "could i hear",
    "could i see",
    "can we have",
    "can we get",
    "could we have",
    "could we get",
    "are you able to",
    "you can",
    "you could",
    "you should",
    "how about",
    "what about",
    "let's have",
    "lets have",
    "let's",
    "lets",
    "help me to",
    "help me",
    "go ahead and",
    "any chance of",
    "try to",
    "time for",
    "let me hear",
    "let me see",
    "let us hear",
    "let me have",
    "would love",
    "would like",
];

/// The words behind greetings and the frame of a request, and whether there was a frame.
pub(super) fn unframed(mut words: &[Word]) -> (&[Word], bool) {
    let mut framed = false;
    'next: loop {
        while let Some(first) = words.first()
            && first.classes.has(Filler)
            && !first.quoted
        {
            words = &words[1..];
        }
        for frame in FRAMES {
            let mut at = 0;
            let all = frame.split(' ').all(|part| {
                let here = words.get(at).is_some_and(|w| w.text == part && !w.quoted);
                at += 1;
                here
            });
            if all {
                // What is to be heard or seen tells.
                let sense = frame.ends_with(" hear") || frame.ends_with(" see");
                words = &words[at - usize::from(sense)..];
                framed = true;
                continue 'next;
            }
        }
        return (words, framed);
    }
}

/// Whether a word is a verb where it stands: words that are nouns too are so before an article, a pronoun and the like.
pub(super) fn is_verb(words: &[Word]) -> bool {
    const VERBS: &[Class] = &[
        VerbText,
        VerbMend,
        VerbImage,
        VerbSpeech,
        VerbRead,
        VerbHear,
        VerbMusic,
        VerbVideo,
        VerbMake,
        VerbTurn,
        VerbPromote,
    ];
    let Some((first, rest)) = words.split_first() else {
        return false;
    };
    if first.quoted || !first.classes.any(VERBS) {
        return false;
    }
    if !first.classes.has(VerbBoth) || first.mark.is_some() {
        return !first.classes.has(VerbBoth);
    }
    rest.first().is_some_and(|next| {
        let number = next.text.starts_with(|c: char| c.is_ascii_digit());
        next.quoted
            || number
            || next.classes.any(&[Det, Me])
            || matches!(next.text.as_str(), "it" | "something" | "anything")
    })
}

/// Whether a clause asks for something with a verb.
pub(super) fn asks(clause: &[Word]) -> bool {
    is_verb(unframed(clause).0)
}

/// What a clause tells. Nothing, where it is a statement or says only a thing.
pub(super) fn evidence(clause: &[Word]) -> Evidence {
    let mut found = Evidence::default();
    let (words, framed) = unframed(clause);
    let Some(first) = words.first() else {
        return found;
    };
    // "do me a sketch"
    let doing = first.text == "do" && words.get(1).is_some_and(|w| w.classes.any(&[Det, Me]));
    if !framed && first.classes.has(Ask) && !first.quoted && !doing || asks_late(words) {
        found.add(Destination::Text, HEAD);
        return found;
    }
    if framed && let Some(verbal) = gerund(words) {
        verb(&verbal, &mut found);
    } else if first.text == "everything" && all_of_it(words) {
        found.add(Destination::Create, HEAD);
    } else if let Some(at) = wanted(words).filter(|_| !framed) {
        noun(&Phrase::of(&words[at..]), &mut found);
    } else if is_verb(words) {
        verb(words, &mut found);
    } else if framed && first.classes.any(&[Ask, Pronoun]) || !framed && first.classes.has(Pronoun)
    {
        cues(words, &mut found);
        late(words, &mut found);
        return found;
    } else {
        let phrase = Phrase::of(words);
        if is_statement(&phrase) {
            cues(words, &mut found);
            late(words, &mut found);
            return found;
        }
        // "our shop opens in May, I need a poster"
        if !phrase.names().is_some_and(|named| named.head) {
            late(words, &mut found);
            if !found.is_empty() {
                return found;
            }
        }
        let said = phrase.names().is_some()
            && words
                .iter()
                .any(|word| word.text.starts_with("announcement"));
        if said && words.last().is_some_and(|last| last.mark == Some(':')) {
            found.add(Destination::Speech, HEAD + 1.0);
        }
        noun(&phrase, &mut found);
    }
    cues(words, &mut found);
    if found.most() < Evidence::SURE {
        late(words, &mut found);
    }
    found
}

/// "reading this" behind "how about" is as good as "read this".
fn gerund(words: &[Word]) -> Option<Vec<Word>> {
    let stem = words.first()?.text.strip_suffix("ing")?;
    if words.get(1).is_none_or(|next| next.classes.has(Prep)) {
        return None;
    }
    let stems = [stem.to_owned(), format!("{stem}e")];
    let mut words = words.to_vec();
    for stem in stems {
        words[0].classes = classes(&stem);
        words[0].text = stem;
        if is_verb(&words) {
            return Some(words);
        }
    }
    None
}

/// A request behind a comma, after what led to it: "my neighbour is loud, write him a note".
fn late(words: &[Word], found: &mut Evidence) {
    let parted = |at: &usize| {
        let word = &words[*at];
        let next = words.get(at + 1).map_or("", |next| next.text.as_str());
        let and = matches!(word.text.as_str(), "and" | "so" | "but" | "then")
            && matches!(
                next,
                "i" | "need" | "want" | "please" | "can" | "could" | "we"
            );
        // "For my game I want a …"
        let after = words[0].text == "for"
            && *at > 1
            && matches!(next, "i" | "we")
            && words
                .get(at + 2)
                .is_some_and(|verb| matches!(verb.text.as_str(), "want" | "need" | "would"));
        word.mark == Some(',') || and && *at > 0 || after
    };
    for at in (0..words.len()).filter(parted) {
        let (behind, framed) = unframed(&words[at + 1..]);
        let asks = is_verb(behind) && behind.len() > 1;
        if asks && !behind[0].classes.any(&[VerbMake, VerbTurn]) {
            verb(behind, found);
            return;
        }
        if framed || asks && !is_statement(&Phrase::of(behind)) {
            let object = Phrase::of(&behind[usize::from(asks)..]);
            noun(&object, found);
            return;
        }
    }
}

/// "Dear Medley, what can you do?"
fn asks_late(words: &[Word]) -> bool {
    let question = words.last().is_some_and(|word| word.mark == Some('?'));
    let late = words.windows(2).take(8).any(|pair| {
        pair[0].mark == Some(',')
            && matches!(
                pair[1].text.as_str(),
                "what" | "why" | "how" | "who" | "when" | "where" | "which"
            )
    });
    question && late && !is_verb(words)
}

/// Where what is wanted stands in "my boss wants a summary".
fn wanted(words: &[Word]) -> Option<usize> {
    let verb = |word: &Word| matches!(word.text.as_str(), "wants" | "needs" | "need" | "want");
    let at = words.iter().take(6).position(verb)?;
    let begin = words.get(at + 1)?;
    let thing = begin.classes.any(&[Det, Me]) || begin.classes.names().is_some();
    (at > 0 && thing && words[0].text != "everything").then_some(at + 1)
}

/// "everything I need to advertise my shop", but not "everything about volcanoes".
pub(super) fn all_of_it(words: &[Word]) -> bool {
    const ABOUT: &[&str] = &["about", "know", "is", "said", "wrong"];
    !words.iter().any(|word| ABOUT.contains(&word.text.as_str()))
        && words.get(1).is_some_and(|word| {
            matches!(
                word.text.as_str(),
                "for" | "i" | "we" | "you" | "needed" | "to" | "that" | "around"
            )
        })
}

/// "The video is late" asks for nothing.
pub(super) fn is_statement(phrase: &Phrase) -> bool {
    const LINKS: &[&str] = &[
        "that", "which", "who", "whom", "whose", "where", "when", "while",
    ];
    let next = phrase.rest.first();
    let ended = phrase.head().is_none_or(|head| head.mark.is_some());
    !ended
        && next.is_some_and(|word| {
            word.classes.has(Stop)
                && !word.classes.has(Pronoun)
                && !LINKS.contains(&word.text.as_str())
                && !matches!(word.text.as_str(), "but" | "so" | "if" | "because")
        })
}
