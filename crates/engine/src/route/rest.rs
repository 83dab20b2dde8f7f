//! What of a prompt is meant for the model of its medium.

use super::Destination;
use super::clause::{is_verb, unframed};
use super::lexicon::Class::*;
use super::words::Word;

/// The prompt that the model of `destination` is given.
pub(super) fn rest(prompt: &str, words: &[Word], destination: Destination) -> String {
    let left = match destination {
        Destination::Image | Destination::Video => subject(prompt, words),
        Destination::Speech => spoken(prompt, words),
        _ => prompt,
    };
    let left = left.trim();
    if left.chars().any(char::is_alphanumeric) {
        left.to_owned()
    } else {
        prompt.trim().to_owned()
    }
}

/// The words behind greetings and the frame of a request.
fn request(words: &[Word]) -> &[Word] {
    unframed(words).0
}

fn from<'a>(prompt: &'a str, words: &[Word]) -> &'a str {
    let start = words.first().map_or(prompt.len(), |word| word.place.start);
    // An opening quotation mark belongs to what stands behind it.
    let before = prompt[..start].trim_end_matches(['"', '“', '„', '«', '‘', '\'', '(']);
    &prompt[before.len()..]
}

/// What is to be seen: the words behind "draw me", "a picture of" and the like.
fn subject<'a>(prompt: &'a str, all: &[Word]) -> &'a str {
    let mut words = request(all);
    let asked = words.len() < all.len();
    if is_verb(words)
        && words[0]
            .classes
            .any(&[VerbImage, VerbVideo, VerbMake, VerbTurn])
    {
        words = &words[1..];
        while words
            .first()
            .is_some_and(|word| word.classes.any(&[Me, Filler]))
        {
            words = &words[1..];
        }
    }
    let words = of_kind(words).unwrap_or(words);
    let text = from(prompt, words).trim();
    if asked {
        text.trim_end_matches(['?', ' '])
    } else {
        text
    }
}

/// What "a picture of X", "a short video: X" and "this into a picture: X" are of. "A picture frame" stays, and so does
/// what says how it is drawn: "an oil painting of X".
fn of_kind(words: &[Word]) -> Option<&[Word]> {
    let kind = |word: &Word| {
        let told = word.classes.any(&[Image, Video]);
        let singular = word.text.strip_suffix('s').unwrap_or(&word.text);
        told && !LOOKS.contains(&singular) && !word.quoted
    };
    let into = words.iter().position(|word| word.text == "into");
    let mut at = into.map_or(0, |at| at + 1);
    while words.get(at).is_some_and(|word| {
        word.classes.any(&[Det, ModPlain]) || is_number(word) || is_length(word)
    }) {
        at += 1;
    }
    if !words.get(at).is_some_and(kind) {
        return None;
    }
    let behind = &words[at + 1..];
    if words[at].mark == Some(':') && !behind.is_empty() {
        return Some(behind);
    }
    let next = behind.first()?;
    let linked = matches!(
        next.text.as_str(),
        "of" | "showing" | "about" | "with" | "featuring" | "depicting" | "where"
    );
    (linked && behind.len() > 1).then_some(&behind[1..])
}

/// Kinds of pictures that are seen in the picture, and so belong to what is asked for.
const LOOKS: &[&str] = &[
    "logo",
    "poster",
    "portrait",
    "wallpaper",
    "sticker",
    "cartoon",
    "watercolour",
    "watercolor",
    "avatar",
    "banner",
    "flyer",
    "cover",
    "infographic",
    "card",
    "tattoo",
    "favicon",
    "silhouette",
    "comic",
    "badge",
    "mural",
    "mascot",
    "caricature",
    "diorama",
    "collage",
    "graffiti",
    "pattern",
    "texture",
    "storyboard",
    "closeup",
    "pixel-art",
    "line-art",
    "stencil",
    "fresco",
    "engraving",
    "linocut",
    "woodcut",
    "etching",
    "postcard",
    "brochure",
    "t-shirt",
    "timelapse",
    "stopmotion",
    "slowmotion",
];

fn is_number(word: &Word) -> bool {
    word.text.starts_with(|c: char| c.is_ascii_digit())
}

fn is_length(word: &Word) -> bool {
    matches!(
        word.text.as_str(),
        "second" | "seconds" | "sec" | "minute" | "long"
    )
}

/// What is to be said: the words behind "say", "read this aloud:" and the like.
fn spoken<'a>(prompt: &'a str, all: &[Word]) -> &'a str {
    let told = all
        .iter()
        .position(|word| word.mark.is_some_and(|m| m == ':' || m == '\n') && !word.quoted);
    if let Some(at) = told
        && at < 14
        && at + 1 < all.len()
        && all[..=at].iter().any(is_about_speech)
    {
        return unquoted(from(prompt, &all[at + 1..]));
    }
    let first = all.iter().position(|word| word.quoted);
    let last = all.iter().rposition(|word| word.quoted);
    if let (Some(first), Some(last)) = (first, last)
        && all.len() - (last + 1 - first) <= 9
    {
        return prompt[all[first].place.start..]
            .split_at_checked(all[last].place.end - all[first].place.start)
            .map_or(prompt, |(said, _)| {
                with_mark(prompt, said, all[last].place.end)
            });
    }
    if let Some(at) = all
        .iter()
        .position(|word| word.text == "saying" || word.text == "says")
        && at > 0
        && at + 1 < all.len()
    {
        return from(prompt, &all[at + 1..]);
    }
    let mut words = request(all);
    if !(is_verb(words) && words[0].classes.any(&[VerbSpeech, VerbRead])) {
        return prompt;
    }
    let pronounced = words[0].text == "pronounce";
    words = &words[1..];
    while words.len() > 1
        && words
            .first()
            .is_some_and(|word| is_around(word, pronounced))
    {
        words = &words[1..];
    }
    without_manner(prompt, words)
}

/// `said` with the full stop or question mark that stands before the closing quotation mark.
fn with_mark<'a>(prompt: &'a str, said: &'a str, end: usize) -> &'a str {
    let mark = prompt[end..]
        .chars()
        .next()
        .filter(|c| matches!(c, '.' | '!' | '?' | '…'));
    let start = end - said.len();
    &prompt[start..end + mark.map_or(0, char::len_utf8)]
}

fn is_about_speech(word: &Word) -> bool {
    word.classes.any(&[
        Speech, VerbSpeech, VerbRead, VerbHear, VerbTurn, CueSpeech, ModSpeech,
    ]) || matches!(
        word.text.as_str(),
        "voice" | "message" | "speech" | "greeting" | "announcement"
    )
}

/// Words between the verb and what is said: "read the following text aloud to me".
fn is_around(word: &Word, pronounced: bool) -> bool {
    let around = matches!(
        word.text.as_str(),
        "aloud"
            | "out"
            | "to"
            | "me"
            | "this"
            | "these"
            | "that"
            | "following"
            | "text"
            | "sentence"
            | "phrase"
            | "line"
            | "please"
    );
    let article = matches!(word.text.as_str(), "the" | "word" | "words" | "it") && !word.quoted;
    around || pronounced && article
}

/// "hello in a friendly voice" is said as "hello".
fn without_manner<'a>(prompt: &'a str, words: &[Word]) -> &'a str {
    let text = from(prompt, words);
    let manner = words
        .last()
        .filter(|word| matches!(word.text.as_str(), "voice" | "tone" | "accent" | "aloud"));
    let link = words
        .iter()
        .rposition(|word| matches!(word.text.as_str(), "in" | "with"));
    match (manner, link) {
        (Some(_), Some(at)) if at > 0 && words.len() - at <= 5 => {
            let end = words[at - 1].place.end - (prompt.len() - text.len());
            text.get(..end).unwrap_or(text)
        }
        _ => text,
    }
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let marks = [('"', '"'), ('“', '”'), ('«', '»'), ('‘', '’'), ('\'', '\'')];
    for (open, close) in marks {
        let inner = text
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close));
        if let Some(inner) = inner.filter(|inner| !inner.contains(close)) {
            return inner;
        }
    }
    text
}
