//! A prompt as words with their places, and the clauses that they stand in.

use std::ops::Range;

use super::lexicon::{Classes, classes};

/// A word of a prompt.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// In small letters.
    pub(super) text: String,
    /// Where it stands in the prompt, in bytes.
    pub(super) place: Range<usize>,
    /// What it can be; of words in quotation marks nothing.
    pub(super) classes: Classes,
    /// Whether it stands in quotation marks, and so is material.
    pub(super) quoted: bool,
    /// The mark behind it that parts what comes from what was.
    pub(super) mark: Option<char>,
}

/// Words that are one in what they mean.
const JOINED: &[(&[&str], &str)] = &[
    (&["text", "to", "speech"], "tts"),
    (&["text-to-speech"], "tts"),
    (&["voice", "over"], "voiceover"),
    (&["voice", "overs"], "voiceover"),
    (&["out", "loud"], "aloud"),
    (&["time", "lapse"], "timelapse"),
    (&["slow", "motion"], "slowmotion"),
    (&["slow", "mo"], "slowmotion"),
    (&["slow-motion"], "slowmotion"),
    (&["slow-mo"], "slowmotion"),
    (&["slowmo"], "slowmotion"),
    (&["key", "visual"], "key-visual"),
    (&["coat", "of", "arms"], "coat-of-arms"),
    (&["free", "verse"], "free-verse"),
    (&["cross", "section"], "cross-section"),
    (&["concept", "art"], "concept-art"),
    (&["stained", "glass"], "stained-glass"),
    (&["motion", "graphics"], "motion-graphics"),
    (&["motion", "graphic"], "motion-graphics"),
    (&["backing", "track"], "backing-track"),
    (&["synth", "pop"], "synth-pop"),
    (&["big", "band"], "big-band"),
    (&["b", "roll"], "b-roll"),
    (&["stop", "motion"], "stopmotion"),
    (&["stop-motion"], "stopmotion"),
    (&["lo", "fi"], "lo-fi"),
    (&["close", "up"], "closeup"),
    (&["still", "life"], "still-life"),
    (&["pixel", "art"], "pixel-art"),
    (&["line", "art"], "line-art"),
    (&["clip", "art"], "clip-art"),
    (&["audio", "book"], "audiobook"),
    (&["sound", "track"], "soundtrack"),
    (&["show", "reel"], "showreel"),
    (&["multi", "media"], "multimedia"),
    (&["blog", "post"], "article"),
    (&["press", "release"], "article"),
    (&["low", "poly"], "low-poly"),
    (&["bossa", "nova"], "bossa-nova"),
    (&["hip", "hop"], "hip-hop"),
    (&["trip", "hop"], "trip-hop"),
    (&["drum", "and", "bass"], "drum-and-bass"),
    (&["w/"], "with"),
    (&["t", "shirt"], "t-shirt"),
    (&["social", "media"], "social"),
];

/// So many words at both ends of a prompt are looked at.
const LOOKED_AT: usize = 120;

/// Marks that end a clause.
const ENDS: &[char] = &['.', '?', '!', ':', ';', '\n', '—', '–'];

/// The words of `prompt`.
pub(super) fn words(prompt: &str) -> Vec<Word> {
    let mut out: Vec<Word> = Vec::new();
    let mut quote: Option<char> = None;
    let mut start: Option<usize> = None;
    let mut before = ' ';
    let mut letters = prompt.char_indices().peekable();
    while let Some((at, c)) = letters.next() {
        let next = letters.peek().map_or(' ', |(_, c)| *c);
        if is_part(c, before, next) {
            start.get_or_insert(at);
            before = c;
            continue;
        }
        if let Some(from) = start.take() {
            push(&mut out, prompt, from..at, quote.is_some());
        }
        quote = match quote {
            Some(end) if end == c && !(c == '\'' && next.is_alphanumeric()) => None,
            None => opened(c, before, &prompt[at + c.len_utf8()..]),
            open => open,
        };
        let parts = ENDS.contains(&c) && !(c == '.' && next.is_alphanumeric()) || c == ',';
        if quote.is_none() && (parts || c == '-' && next == ' ') {
            let mark = if c == '-' { ',' } else { c };
            if let Some(word) = out.last_mut()
                && word.mark.is_none_or(|m| m == ',')
            {
                word.mark = Some(mark);
            }
        }
        before = c;
    }
    if let Some(from) = start {
        push(&mut out, prompt, from..prompt.len(), quote.is_some());
    }
    let mut out = joined(out);
    let length = out.len();
    for (at, word) in out.iter_mut().enumerate() {
        // What stands in the middle of a long text is material.
        if !word.quoted && (at < LOOKED_AT || at + LOOKED_AT >= length) {
            word.classes = classes(&word.text);
        }
    }
    out
}

/// Whether a letter belongs to a word, by what stands around it.
fn is_part(c: char, before: char, next: char) -> bool {
    let inner = before.is_alphanumeric() && next.is_alphanumeric();
    let digits = before.is_ascii_digit() && next.is_ascii_digit();
    c.is_alphanumeric()
        || matches!(c, '\'' | '’' | '-') && inner
        || matches!(c, '/' | '.' | ',') && digits
        || matches!(c, '+' | '#') && before.is_alphanumeric()
        || c == '&'
        || c == '+' && before == ' ' && next == ' '
        || c == '/' && before == 'w' && !next.is_alphanumeric()
}

/// The mark that ends the quotation that `c` begins.
fn opened(c: char, before: char, rest: &str) -> Option<char> {
    let end = match c {
        '"' => '"',
        '“' | '„' => '”',
        '«' => '»',
        '‘' => '’',
        '\'' if !before.is_alphanumeric() => '\'',
        _ => return None,
    };
    rest.contains(end).then_some(end)
}

fn push(out: &mut Vec<Word>, prompt: &str, place: Range<usize>, quoted: bool) {
    let text = prompt[place.clone()].to_lowercase().replace('’', "'");
    out.push(Word {
        text,
        place,
        classes: Classes::default(),
        quoted,
        mark: None,
    });
}

/// The words with those of [`JOINED`] made one.
fn joined(words: Vec<Word>) -> Vec<Word> {
    let mut out: Vec<Word> = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        let is_here = |parts: &[&str]| {
            let here = words.get(at..at + parts.len());
            here.is_some_and(|here| {
                let apart = here[..parts.len() - 1].iter().any(|w| w.mark.is_some());
                let same = here.iter().zip(parts).all(|(w, p)| w.text == *p);
                same && !apart && !here[0].quoted
            })
        };
        match JOINED.iter().find(|(parts, _)| is_here(parts)) {
            Some((parts, one)) => {
                let last = &words[at + parts.len() - 1];
                out.push(Word {
                    text: (*one).to_owned(),
                    place: words[at].place.start..last.place.end,
                    classes: Classes::default(),
                    quoted: false,
                    mark: last.mark,
                });
                at += parts.len();
            }
            None => {
                out.push(words[at].clone());
                at += 1;
            }
        }
    }
    out
}

/// The clauses of a prompt: its words between full stops, colons and the like. Of a long text, only the first and the last.
pub(super) fn clauses(words: &[Word]) -> Vec<&[Word]> {
    /// Words beyond which a prompt is mostly material.
    const LONG: usize = 80;
    let ends = |word: &Word| word.mark.is_some_and(|mark| mark != ',');
    let mut all: Vec<&[Word]> = words
        .split_inclusive(ends)
        .filter(|clause| !clause.is_empty())
        .collect();
    if words.len() > LONG && all.len() > 2 {
        all = vec![all[0], all[all.len() - 1]];
    }
    all
}
