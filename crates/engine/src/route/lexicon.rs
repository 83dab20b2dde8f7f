//! What the router knows of words: the classes of `lexicon.txt`, and the things of `concrete.txt`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::Destination;

/// What a word can be in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Verbs that ask for a text, whatever stands behind them.
    VerbText,
    /// Verbs that ask for a text unless the thing behind them is of another medium.
    VerbMend,
    VerbImage,
    VerbSpeech,
    /// Reads aloud.
    VerbRead,
    /// Wants to hear.
    VerbHear,
    VerbMusic,
    VerbVideo,
    /// Makes what stands behind it.
    VerbMake,
    /// Turns one thing into another.
    VerbTurn,
    /// Makes something known, which takes every medium.
    VerbPromote,
    /// Verbs that are nouns too.
    VerbBoth,
    Text,
    Image,
    Speech,
    Music,
    Video,
    Create,
    /// Nouns that say how much there is of what follows: "a series of photos".
    Container,
    Instrument,
    /// What there is of an instrument: "a piano piece".
    Instrumental,
    /// What makes a text more than a text.
    ModTold,
    ModVideo,
    ModSpeech,
    ModMusic,
    /// How music sounds.
    ModMood,
    /// Adjectives that say nothing of what is to be seen.
    ModPlain,
    CueMusic,
    CueVideo,
    CueSpeech,
    CueImage,
    /// What something does in a film: "make the cat dance".
    CueMotion,
    /// What no picture shows.
    Abstract,
    Super,
    /// Music that has words.
    Worded,
    Det,
    Prep,
    /// Words that end a noun phrase and are no prepositions.
    Stop,
    And,
    Me,
    /// Words that begin a question.
    Ask,
    Pronoun,
    Filler,
    /// Kinds of music that mean other things behind an article: "a rock".
    Genre,
    /// Words that say what something is like: "documentary style".
    Style,
    /// How things look.
    Look,
    /// Things that a picture may show.
    Concrete,
}

use Class::*;

const NAMES: &[(&str, Class)] = &[
    ("verb.text", VerbText),
    ("verb.mend", VerbMend),
    ("verb.image", VerbImage),
    ("verb.speech", VerbSpeech),
    ("verb.read", VerbRead),
    ("verb.hear", VerbHear),
    ("verb.music", VerbMusic),
    ("verb.video", VerbVideo),
    ("verb.make", VerbMake),
    ("verb.turn", VerbTurn),
    ("verb.promote", VerbPromote),
    ("verb.both", VerbBoth),
    ("text", Text),
    ("image", Image),
    ("speech", Speech),
    ("music", Music),
    ("video", Video),
    ("create", Create),
    ("container", Container),
    ("instrument", Instrument),
    ("instrumental", Instrumental),
    ("mod.told", ModTold),
    ("mod.video", ModVideo),
    ("mod.speech", ModSpeech),
    ("mod.music", ModMusic),
    ("mod.mood", ModMood),
    ("mod.plain", ModPlain),
    ("cue.music", CueMusic),
    ("cue.video", CueVideo),
    ("cue.speech", CueSpeech),
    ("cue.image", CueImage),
    ("cue.motion", CueMotion),
    ("abstract", Abstract),
    ("super", Super),
    ("worded", Worded),
    ("det", Det),
    ("prep", Prep),
    ("stop", Stop),
    ("and", And),
    ("me", Me),
    ("ask", Ask),
    ("pronoun", Pronoun),
    ("filler", Filler),
    ("look", Look),
    ("style", Style),
    ("genre", Genre),
];

/// The classes of one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Classes(u64);

impl Classes {
    const fn of(class: Class) -> Self {
        Self(1 << class as u64)
    }

    /// Whether the word is of this class.
    pub(super) fn has(self, class: Class) -> bool {
        self.0 & (1 << class as u64) != 0
    }

    /// Whether it is of one of these.
    pub(super) fn any(self, classes: &[Class]) -> bool {
        classes.iter().any(|&c| self.has(c))
    }

    /// Whether nothing is known of it.
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The medium that a noun of these classes names.
    pub(super) fn names(self) -> Option<Destination> {
        const NOUNS: &[(Class, Destination)] = &[
            (Create, Destination::Create),
            (Text, Destination::Text),
            (Image, Destination::Image),
            (Music, Destination::Music),
            (Video, Destination::Video),
            (Speech, Destination::Speech),
        ];
        let found = NOUNS.iter().find(|(class, _)| self.has(*class));
        found.map(|(_, destination)| *destination)
    }

    /// Without what only the word itself is, and not its plural or a misspelling of it.
    fn nouns(self) -> Self {
        const ALONE: &[Class] = &[
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
            VerbBoth,
            ModPlain,
            CueMotion,
            Det,
            Prep,
            Stop,
            And,
            Me,
            Ask,
            Pronoun,
            Filler,
        ];
        let mask = ALONE.iter().fold(0, |mask, &c| mask | Self::of(c).0);
        Self(self.0 & !mask)
    }
}

struct Lexicon {
    words: HashMap<&'static str, Classes>,
    /// Words of five letters or more that tell a medium: what a misspelling may stand for.
    telling: Vec<&'static str>,
    /// Words that are spelt like a telling one but for a letter, and mean what they say.
    near: HashSet<&'static str>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut words: HashMap<&'static str, Classes> = HashMap::new();
    let mut add = |word: &'static str, class: Class| {
        words.entry(word).or_default().0 |= Classes::of(class).0;
    };
    for line in lines(include_str!("lexicon.txt")) {
        let Some((name, list)) = line.split_once(": ") else {
            continue;
        };
        if let Some((_, class)) = NAMES.iter().find(|(n, _)| *n == name) {
            list.split_whitespace().for_each(|word| add(word, *class));
        }
    }
    for line in lines(include_str!("concrete.txt")) {
        line.split_whitespace().for_each(|word| add(word, Concrete));
    }
    const TELLING: &[Class] = &[
        VerbText, VerbImage, VerbSpeech, VerbMusic, VerbVideo, Text, Image, Speech, Music, Video,
        Create,
    ];
    let long = |word: &str| word.chars().count() >= 5;
    let telling = words
        .iter()
        .filter(|(word, c)| long(word) && c.any(TELLING));
    let mut telling: Vec<&'static str> = telling.map(|(word, _)| *word).collect();
    telling.sort_unstable();
    Lexicon {
        words,
        telling,
        near: include_str!("near.txt").split_whitespace().collect(),
    }
});

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What is known of a word in small letters: of itself, of its singular, or of the telling word that it misspells by one
/// letter.
pub(super) fn classes(word: &str) -> Classes {
    let lexicon = &*LEXICON;
    if let Some(&classes) = lexicon.words.get(word) {
        return classes;
    }
    let singulars = [
        word.strip_suffix("'s"),
        word.strip_suffix('s'),
        word.strip_suffix("es"),
    ];
    for singular in singulars.into_iter().flatten() {
        if let Some(&classes) = lexicon.words.get(singular) {
            return classes.nouns();
        }
    }
    if let Some(stem) = word.strip_suffix("ies")
        && let Some(&classes) = lexicon.words.get(format!("{stem}y").as_str())
    {
        return classes.nouns();
    }
    misspelt(word)
}

fn misspelt(word: &str) -> Classes {
    let lexicon = &*LEXICON;
    let length = word.chars().count();
    let plain = word.chars().all(char::is_alphabetic);
    if length < 4 || !plain || lexicon.near.contains(word) {
        return Classes::default();
    }
    let one_off = |known: &&&str| {
        known.chars().count().abs_diff(length) <= 1 && strsim::osa_distance(known, word) == 1
    };
    let meant = lexicon.telling.iter().find(one_off);
    meant
        .and_then(|known| lexicon.words.get(known))
        .copied()
        .unwrap_or_default()
}
