//! Noun phrases: what is asked for.

use super::Destination;
use super::lexicon::Class::*;
use super::lexicon::Classes;
use super::words::Word;

/// A noun phrase of a clause.
#[derive(Clone, Debug)]
pub(super) struct Phrase<'a> {
    /// Its adjectives and nouns, without article.
    pub(super) words: &'a [Word],
    /// Whether an article, a number or the like stands before it.
    pub(super) determined: bool,
    /// The words of the clause behind it.
    pub(super) rest: &'a [Word],
}

/// How surely a phrase names a medium.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Named {
    pub(super) destination: Destination,
    /// Whether its last word does, and not one before it.
    pub(super) head: bool,
}

impl<'a> Phrase<'a> {
    /// The phrase that `words` begin with; "me" and articles before it are passed over.
    pub(super) fn of(words: &'a [Word]) -> Self {
        let mut at = 0;
        let mut determined = false;
        while let Some(word) = words.get(at) {
            let number = word.text.starts_with(|c: char| c.is_ascii_digit()) && !word.quoted;
            // "these in the style of …": nothing stands behind it.
            // "about two minutes of music"
            let about = matches!(word.text.as_str(), "about" | "around" | "roughly")
                && words.get(at + 1).is_some_and(|next| {
                    next.classes.has(Det) || next.text.starts_with(|c: char| c.is_ascii_digit())
                });
            let passed = number || about || word.classes.any(&[Me, Filler, Det]);
            if !passed || word.quoted || word.mark.is_some() && word.classes.has(Det) {
                break;
            }
            determined |= number || word.classes.has(Det);
            at += 1;
            if word.mark.is_some_and(|mark| mark != ',') {
                break;
            }
        }
        let begin = at;
        while let Some(word) = words.get(at) {
            let ends = word.classes.any(&[Prep, Stop, Det, Pronoun, And])
                && !word.classes.has(Super)
                || at > begin && is_done(&words[at..]);
            // "the inside of a clock"
            let side = determined && matches!(word.text.as_str(), "inside" | "outside" | "past");
            if word.quoted || ends && !(at == begin && (side || word.classes.names().is_some())) {
                break;
            }
            // "a cat playing piano" is a cat.
            let named = || compound(&words[at - 1], &words[begin..at - 1]).is_some();
            if at > begin && is_doing(word) && (words[at - 1].classes.has(Concrete) || named()) {
                break;
            }
            at += 1;
            if word.mark.is_some() {
                break;
            }
        }
        let mut end = at;
        while end > begin && words[end - 1].classes.has(Filler) {
            end -= 1;
        }
        Self {
            words: &words[begin..end],
            determined,
            rest: &words[at..],
        }
    }

    /// Its last word.
    pub(super) fn head(&self) -> Option<&'a Word> {
        self.words.last()
    }

    /// What its last word is.
    pub(super) fn head_classes(&self) -> Classes {
        self.head().map(|word| word.classes).unwrap_or_default()
    }

    /// The medium that it names.
    pub(super) fn names(&self) -> Option<Named> {
        let (head, before) = self.words.split_last()?;
        if self.is_open() {
            return self.contained();
        }
        if head.classes.has(Style) {
            return None;
        }
        let sure = |destination| {
            Some(Named {
                destination,
                head: true,
            })
        };
        // "logo idea: two hands"
        if matches!(head.text.as_str(), "idea" | "concept")
            && head.mark == Some(':')
            && let Some(destination) = before.last().and_then(|word| word.classes.names())
        {
            return sure(destination);
        }
        if let Some(destination) = compound(head, before) {
            return sure(destination);
        }
        // "lullaby music box", but a music box is a thing.
        if let [played @ .., music] = before
            && head.text == "box"
            && music.text == "music"
            && played.iter().any(|w| w.classes.has(Music))
        {
            return sure(Destination::Music);
        }
        let modified = |class| before.iter().any(|word| word.classes.has(class));
        let named = head.classes.names();
        if matches!(named, None | Some(Destination::Image)) && modified(ModVideo) {
            return sure(Destination::Video);
        }
        if modified(ModSpeech) && matches!(named, None | Some(Destination::Text)) {
            return sure(Destination::Speech);
        }
        if head.classes.has(Instrumental) && modified(Instrument) {
            return sure(Destination::Music);
        }
        if modified(ModTold) && named == Some(Destination::Text) {
            return sure(Destination::Create);
        }
        if head.classes.has(Genre) && !self.determined {
            return sure(Destination::Music);
        }
        // "dark table" is furniture.
        let looks = |w: &Word| w.classes.has(Look) || is_colour(w);
        let thing = named == Some(Destination::Text)
            && head.classes.has(Concrete)
            && before.iter().any(looks);
        if let Some(destination) = named.filter(|_| !head.quoted && !thing) {
            return sure(destination);
        }
        if head.classes.has(Instrument)
            && before
                .iter()
                .any(|w| w.classes.any(&[ModMood, ModMusic, Music, Genre]))
        {
            return sure(Destination::Music);
        }
        let plain = |w: &Word| !w.classes.any(&[Look, Concrete, CueImage]) && !is_colour(w);
        if head.classes.has(Instrument)
            && !self.determined
            && !before.is_empty()
            && before.iter().all(plain)
        {
            return sure(Destination::Music);
        }
        // "film noir" is a look.
        let noir = |at: usize| self.words.get(at + 1).is_some_and(|w| w.text == "noir");
        let last = before
            .iter()
            .enumerate()
            .rev()
            .filter(|(at, word)| !word.classes.any(&[Look, Concrete]) && !noir(*at))
            .find_map(|(_, word)| word.classes.names());
        if head.classes.has(Container) {
            return self.contained().or(last.map(|destination| Named {
                destination,
                head: true,
            }));
        }
        // "a film projector", "the letter B"
        let tool = head.text.ends_with("er") || head.text.ends_with("or") || head.text.len() == 1;
        if head.classes.any(&[Concrete, Abstract]) || tool && head.classes.is_empty() {
            return None;
        }
        last.map(|destination| Named {
            destination,
            head: false,
        })
    }

    fn is_called(&self, name: &str) -> bool {
        self.head().is_some_and(|head| head.text == name)
    }

    /// "something calm": the first word is the head, and says nothing.
    pub(super) fn is_open(&self) -> bool {
        const OPEN: &[&str] = &[
            "something",
            "anything",
            "sth",
            "someone",
            "somebody",
            "anyone",
        ];
        self.words
            .first()
            .is_some_and(|word| OPEN.contains(&word.text.as_str()))
    }

    /// What "a series of photos" or "a piece for piano" names.
    fn contained(&self) -> Option<Named> {
        if self.is_open() {
            let music = |word: &Word| word.classes.any(&[ModMusic, ModMood, Music, Genre]);
            let heard = || self.words.iter().any(music).then_some(Destination::Music);
            if let Some(destination) = purpose(self.rest).or_else(heard) {
                return Some(Named {
                    destination,
                    head: true,
                });
            }
        }
        let (first, rest) = self.rest.split_first()?;
        if !first.classes.has(Prep) {
            return None;
        }
        let inner = Phrase::of(rest);
        let music =
            inner.words.iter().any(|word| word.classes.has(Instrument)) && first.text != "of";
        match inner.names() {
            None if self.is_called("loop") && first.text == "of" => Some(Named {
                destination: Destination::Video,
                head: true,
            }),
            None if self.is_called("piece")
                && matches!(first.text.as_str(), "in" | "for" | "by") =>
            {
                Some(Named {
                    destination: Destination::Music,
                    head: true,
                })
            }
            _ if music => Some(Named {
                destination: Destination::Music,
                head: true,
            }),
            Some(named) if matches!(first.text.as_str(), "of" | "like") => Some(named),
            _ => None,
        }
    }
}

/// What something is for: "to dance to", "for accordion", "to hang on the wall", "to announce the winner".
fn purpose(rest: &[Word]) -> Option<Destination> {
    const ENDS: &[(&[&str], Destination)] = &[
        (
            &[
                "play", "dance", "listen", "hum", "sing", "whistle", "meditate", "relax", "study",
                "sleep",
            ],
            Destination::Music,
        ),
        (&["watch"], Destination::Video),
        (&["hang", "frame", "print"], Destination::Image),
        (&["read", "write"], Destination::Text),
        (
            &["say", "speak", "announce", "narrate", "pronounce", "recite"],
            Destination::Speech,
        ),
    ];
    let purpose = rest
        .windows(2)
        .filter(|pair| pair[0].text == "to")
        .find_map(|pair| {
            let found = ENDS
                .iter()
                .find(|(verbs, _)| verbs.contains(&pair[1].text.as_str()));
            found.map(|(_, destination)| *destination)
        });
    let played = || {
        rest.iter()
            .any(|word| word.classes.has(Instrument) && !word.quoted)
    };
    let hung = rest.windows(3).any(|w| {
        w[0].text == "for"
            && w[1].classes.has(Det)
            && matches!(w[2].text.as_str(), "wall" | "desktop" | "lockscreen")
    });
    let purpose = purpose.or_else(|| hung.then_some(Destination::Image));
    purpose.or_else(|| played().then_some(Destination::Music))
}

/// "read by a man", "played on a flute": a participle with what it leads to.
fn is_done(words: &[Word]) -> bool {
    const DONE: &[&str] = &[
        "read", "played", "sung", "drawn", "painted", "written", "shot", "told", "said", "seen",
        "filmed", "spoken", "set", "lit", "carved",
    ];
    const LINKS: &[&str] = &[
        "by", "on", "in", "with", "from", "as", "like", "for", "to", "at", "against", "slowly",
    ];
    let [word, next, ..] = words else {
        return false;
    };
    DONE.contains(&word.text.as_str()) && LINKS.contains(&next.text.as_str())
}

/// Whether a word says what something does: "running", but not "wedding".
pub(super) fn is_doing(word: &Word) -> bool {
    const THINGS: &[&str] = &[
        "ring",
        "king",
        "string",
        "spring",
        "wing",
        "swing",
        "thing",
        "ceiling",
        "building",
        "wedding",
        "evening",
        "morning",
        "lightning",
        "pudding",
        "clothing",
        "railing",
    ];
    word.text.ends_with("ing")
        && word.text.len() > 4
        && !THINGS.contains(&word.text.as_str())
        && word.classes.names().is_none()
}

/// What two words mean together that the last alone does not.
fn compound(head: &Word, before: &[Word]) -> Option<Destination> {
    const PAIRS: &[(&[&str], &[&str], Destination)] = &[
        (
            &["voice", "audio", "voicemail", "phone", "answering"],
            &[
                "message",
                "note",
                "memo",
                "recording",
                "greeting",
                "clip",
                "announcement",
                "version",
                "file",
                "guide",
            ],
            Destination::Speech,
        ),
        (
            &["radio"],
            &["ad", "advert", "spot", "commercial", "announcement"],
            Destination::Speech,
        ),
        (&["product", "landing"], &["page"], Destination::Create),
        (
            &[
                "brand",
                "branding",
                "media",
                "press",
                "social",
                "launch",
                "marketing",
                "release",
                "promo",
                "promotion",
                "promotional",
                "ad",
                "advertising",
                "campaign",
                "publicity",
            ],
            &[
                "kit",
                "set",
                "package",
                "pack",
                "bundle",
                "suite",
                "material",
                "asset",
                "collateral",
                "content",
                "everything",
                "stuff",
                "push",
                "drive",
            ],
            Destination::Create,
        ),
        (
            &["whole", "complete", "full", "entire", "opening"],
            &["package", "kit", "pack", "bundle"],
            Destination::Create,
        ),
        (
            &["colouring", "coloring"],
            &["page", "book", "sheet"],
            Destination::Image,
        ),
        (
            &["picture", "photo", "illustrated"],
            &["book", "story"],
            Destination::Create,
        ),
        (
            &["card", "book", "album", "magazine"],
            &["front", "back"],
            Destination::Image,
        ),
        (&["sound"], &["effect"], Destination::Music),
        (
            &[
                "title", "opening", "intro", "credit", "fight", "chase", "dream", "closing",
                "dance",
            ],
            &["sequence", "credits"],
            Destination::Video,
        ),
        (&["screen", "camera"], &["recording"], Destination::Video),
        (
            &["first", "last", "opening", "closing", "subject"],
            &["line", "sentence", "paragraph"],
            Destination::Text,
        ),
        (
            &["slow", "camera", "quick", "fast"],
            &["pan", "zoom"],
            Destination::Video,
        ),
        (
            &[
                "instagram",
                "tiktok",
                "facebook",
                "youtube",
                "social",
                "insta",
            ],
            &["reel", "short"],
            Destination::Video,
        ),
        (
            &[
                "drone",
                "tracking",
                "aerial",
                "dolly",
                "establishing",
                "panning",
                "crane",
                "moving",
            ],
            &["shot"],
            Destination::Video,
        ),
        (
            &["stage", "pop", "rock", "theme", "film", "movie", "game"],
            &["music", "score"],
            Destination::Music,
        ),
        (&["flash", "cue", "report"], &["card"], Destination::Text),
        (
            &["beat", "call", "cheat", "cue", "fact", "lyric", "tip"],
            &["sheet"],
            Destination::Text,
        ),
        (
            &["shot", "set", "track", "play", "packing"],
            &["list"],
            Destination::Text,
        ),
        (
            &[
                "image",
                "picture",
                "photo",
                "art",
                "video",
                "film",
                "music",
                "song",
                "midjourney",
            ],
            &[
                "prompt",
                "name",
                "title",
                "description",
                "review",
                "synopsis",
                "criticism",
                "theory",
            ],
            Destination::Text,
        ),
        (
            &[
                "card",
                "logo",
                "poster",
                "label",
                "tattoo",
                "packaging",
                "t-shirt",
                "shirt",
                "flyer",
                "cover",
                "sticker",
                "app",
                "pattern",
                "character",
                "banner",
                "badge",
                "invitation",
                "menu",
            ],
            &["design", "background", "artwork"],
            Destination::Image,
        ),
        (
            &["dolly", "crash", "push", "whip"],
            &["zoom", "pan", "in"],
            Destination::Video,
        ),
    ];
    let previous = before.last()?;
    if head.quoted || previous.quoted {
        return None;
    }
    // Only several of them: one is a text.
    if previous.text == "social" && head.text == "posts" {
        return Some(Destination::Create);
    }
    let is = |word: &Word, set: &[&str]| {
        let singular = word.text.strip_suffix('s').unwrap_or(&word.text);
        set.contains(&word.text.as_str()) || set.contains(&singular)
    };
    let found = PAIRS
        .iter()
        .find(|(first, second, _)| is(previous, first) && is(head, second));
    found.map(|(_, _, destination)| *destination)
}

/// Whether a word is a colour.
pub(super) fn is_colour(word: &Word) -> bool {
    const COLOURS: &[&str] = &[
        "red",
        "blue",
        "green",
        "yellow",
        "orange",
        "purple",
        "pink",
        "brown",
        "black",
        "white",
        "grey",
        "gray",
        "golden",
        "silver",
        "turquoise",
        "violet",
        "crimson",
        "scarlet",
        "teal",
        "beige",
        "colourful",
        "colorful",
        "striped",
        "spotted",
    ];
    COLOURS.contains(&word.text.as_str())
}
