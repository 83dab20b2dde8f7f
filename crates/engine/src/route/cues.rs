//! Words and signs that tell wherever they stand.

use super::clause::{BEFORE, CUE, DECIDES, HEAD};
use super::lexicon::Class::*;
use super::words::Word;
use super::{Destination, Evidence};

/// Adds what single words tell, and what those around them do.
pub(super) fn cues(words: &[Word], found: &mut Evidence) {
    for (at, word) in words.iter().enumerate().filter(|(_, word)| !word.quoted) {
        for (class, destination) in [
            (CueMusic, Destination::Music),
            (CueVideo, Destination::Video),
            (CueSpeech, Destination::Speech),
        ] {
            if word.classes.has(class) {
                found.add(destination, CUE);
            }
        }
        heard(words, at, found);
        voiced(words, at, found);
        seen(words, at, found);
        ending(&word.text, found);
        let lot = word.text == "the" && is(words, at + 1, &["lot", "works", "shebang"]);
        if lot && words.len() == at + 2 {
            found.add(Destination::Create, BEFORE);
        }
    }
}

fn is(words: &[Word], at: usize, set: &[&str]) -> bool {
    words
        .get(at)
        .is_some_and(|word| set.contains(&word.text.as_str()))
}

fn heard(words: &[Word], at: usize, found: &mut Evidence) {
    // "in D minor", "in B flat major"
    let note = words.get(at + 1).map_or("", |word| word.text.as_str());
    let note = note.starts_with(|c: char| matches!(c, 'a'..='g')) && note.len() <= 2;
    const MODES: &[&str] = &["major", "minor", "flat", "sharp"];
    if is(words, at, &["in"]) && note && (is(words, at + 2, MODES) || is(words, at + 3, MODES)) {
        found.add(Destination::Music, HEAD);
    }
    if is(
        words,
        at,
        &["3/4", "6/8", "4/4", "2/4", "12/8", "9/8", "5/4"],
    ) {
        found.add(Destination::Music, CUE);
    }
    const ALONG: &[&str] = &[
        "dance", "study", "sleep", "relax", "run", "meditate", "chill",
    ];
    if is(words, at, ALONG) && is(words, at + 1, &["to"]) && words.len() == at + 2 {
        found.add(Destination::Music, CUE);
    }
    // "should say: …", "have a man say …", "make it talk"
    let material =
        words.iter().any(|w| w.quoted) || words.last().is_some_and(|w| w.mark == Some(':'));
    let lets = is(words, 0, &["have", "let", "get"]);
    let said = at > 1 && is(words, at, &["say"]) && (material || lets);
    let read = at > 1 && at < 6 && lets && is(words, at, &["read", "speak", "narrate", "announce"]);
    let talks = at == 2
        && is(words, 0, &["make"])
        && is(words, 1, &["it"])
        && is(words, 2, &["talk", "speak", "say"]);
    if said || read || talks {
        found.add(Destination::Speech, HEAD);
    }
    const PERSONS: &[&str] = &[
        "someone", "somebody", "voice", "man", "woman", "lady", "narrator",
    ];
    const SOUNDS: &[&str] = &["mp3", "wav", "audio", "voice", "recording", "sound"];
    let speaks = is(words, at, PERSONS) && is(words, at + 1, &["saying", "speaking", "reading"]);
    if speaks && (0..words.len()).any(|at| is(words, at, SOUNDS)) {
        found.add(Destination::Speech, DECIDES);
    }
}

/// What only a voice can do, and who has one.
fn voiced(words: &[Word], at: usize, found: &mut Evidence) {
    const ASKS: &[&str] = &[
        "how", "what", "why", "when", "who", "should", "is", "are", "does",
    ];
    let asks = is(words, 0, ASKS);
    let last = at + 1 == words.len();
    let aloud = is(words, at, &["aloud"])
        || is(words, at, &["loud"]) && at > 0 && is(words, at - 1, &["out"]);
    // "a deep voice", not "our brand's voice" or "an active voice", which are ways of writing.
    const WHOSE: &[&str] = &[
        "female",
        "male",
        "woman's",
        "man's",
        "girl's",
        "boy's",
        "child's",
        "robot",
        "robotic",
        "deep",
        "husky",
        "whispering",
        "calm",
        "soothing",
        "british",
        "american",
        "elderly",
        "young",
        "computer",
        "synthetic",
    ];
    let whose = at > 0 && is(words, at, &["voice"]) && is(words, at - 1, WHOSE);
    const MACHINES: &[&str] = &["machine", "greeting", "menu", "message", "prompt"];
    let machine = is(
        words,
        at,
        &["answering", "voicemail", "phone", "telephone", "ivr"],
    ) && is(words, at + 1, MACHINES);
    let lets = is(words, 0, &["have", "let", "make"]);
    let tells = lets
        && (1..5).any(|i| is(words, i, &["voice", "narrator", "announcer"]))
        && is(words, at, &["tell", "greet", "say", "read"]);
    // "how does it sound when spoken"
    let sounds = is(words, at, &["sound", "sounds", "pronounced"])
        && asks
        && (last
            || words[at..]
                .iter()
                .any(|w| ["spoken", "said", "pronounced"].contains(&w.text.as_str())));
    if aloud && !asks || whose || machine && !asks || tells || sounds {
        found.add(Destination::Speech, DECIDES);
    }
    // Pictures and a voice together are more than one work.
    let told = is(words, at, &["illustrated"])
        && words
            .iter()
            .any(|w| ["narrated", "spoken", "voiced"].contains(&w.text.as_str()));
    if told {
        found.add(Destination::Create, DECIDES + HEAD);
    }
    let loops = last
        && at > 1
        && is(words, at, &["loop"])
        && words.iter().all(|w| !w.classes.has(CueMusic));
    if loops && found.0[Destination::Music as usize] == 0.0 {
        found.add(Destination::Video, CUE);
    }
}

fn seen(words: &[Word], at: usize, found: &mut Evidence) {
    const MOVES: &[&str] = &[
        "flies", "moves", "pans", "zooms", "follows", "circles", "glides", "tracks", "rises",
        "turns",
    ];
    if at < 2 && is(words, at, &["camera"]) && is(words, at + 1, MOVES) {
        found.add(Destination::Video, HEAD);
    }
    let alive = is(words, at, &["come", "comes"]) && is(words, at + 1, &["alive"]);
    if alive || is(words, at, &["to"]) && is(words, at + 1, &["life"]) {
        found.add(Destination::Video, DECIDES);
    }
}

/// "theme.wav", "logo.png"
fn ending(word: &str, found: &mut Evidence) {
    let Some((_, ending)) = word.rsplit_once('.') else {
        return;
    };
    let destination = match ending {
        "wav" | "midi" | "flac" => Destination::Music,
        "mp4" | "gif" | "webm" => Destination::Video,
        "png" | "jpg" | "jpeg" | "webp" => Destination::Image,
        _ => return,
    };
    found.add(destination, CUE);
}
