//! What a tune is like, beside its key and metre.

use medley_media::score::{QUARTER, Tune};

/// What a tune is danced to or called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// Even eighths in two.
    Reel,
    /// Eighths in threes.
    Jig,
    /// A jig in 9/8.
    SlipJig,
    /// Dotted, steady.
    Hornpipe,
    /// Dotted and snapped.
    Strathspey,
    /// In three.
    Waltz,
    /// To walk to.
    March,
    /// Short and quick in 2/4.
    Polka,
    /// To be sung or listened to.
    Air,
    /// None of these.
    Other,
}

impl Style {
    /// Every style.
    pub const ALL: [Self; 10] = [
        Self::Reel,
        Self::Jig,
        Self::SlipJig,
        Self::Hornpipe,
        Self::Strathspey,
        Self::Waltz,
        Self::March,
        Self::Polka,
        Self::Air,
        Self::Other,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reel => "reel",
            Self::Jig => "jig",
            Self::SlipJig => "slip jig",
            Self::Hornpipe => "hornpipe",
            Self::Strathspey => "strathspey",
            Self::Waltz => "waltz",
            Self::March => "march",
            Self::Polka => "polka",
            Self::Air => "air",
            Self::Other => "tune",
        }
    }

    /// The style that words name.
    pub fn of_words(words: &str) -> Option<Self> {
        const NAMES: [(&str, Style); 20] = [
            ("slip", Style::SlipJig),
            ("hop jig", Style::SlipJig),
            ("jig", Style::Jig),
            ("slide", Style::Jig),
            ("reel", Style::Reel),
            ("hornpipe", Style::Hornpipe),
            ("clog", Style::Hornpipe),
            ("strathspey", Style::Strathspey),
            ("fling", Style::Strathspey),
            ("waltz", Style::Waltz),
            ("march", Style::March),
            ("quick step", Style::March),
            ("quickstep", Style::March),
            ("polka", Style::Polka),
            ("lament", Style::Air),
            ("lullaby", Style::Air),
            ("ballad", Style::Air),
            ("song", Style::Air),
            ("air", Style::Air),
            ("planxty", Style::Air),
        ];
        let words = words.to_lowercase();
        let has = |name: &str| {
            words.match_indices(name).any(|(at, _)| {
                let before = words[..at].chars().next_back();
                let mut after = words[at + name.len()..].chars();
                let end = match after.next() {
                    Some('s') => after.next(),
                    other => other,
                };
                !before.is_some_and(char::is_alphabetic) && !end.is_some_and(char::is_alphabetic)
            })
        };
        NAMES
            .iter()
            .find(|(name, _)| has(name))
            .map(|(_, style)| *style)
    }
}

/// How fast a tune goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TempoClass {
    /// Slow.
    Slow,
    /// Moderate.
    Moderate,
    /// Fast.
    Fast,
}

impl TempoClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Slow, Self::Moderate, Self::Fast];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Moderate => "moderate",
            Self::Fast => "fast",
        }
    }

    /// The class that words name.
    pub fn of_words(words: &str) -> Option<Self> {
        const SLOW: &[&str] = &[
            "slow",
            "slowly",
            "plaintive",
            "plaintively",
            "tenderly",
            "mournful",
            "mournfully",
            "feeling",
            "expression",
            "solemn",
            "sad",
            "grave",
            "adagio",
            "largo",
            "lento",
            "lament",
            "lullaby",
            "calm",
            "gentle",
            "gently",
            "peaceful",
            "dreamy",
            "relaxed",
            "relaxing",
            "quiet",
        ];
        const FAST: &[&str] = &[
            "fast",
            "quick",
            "quickly",
            "lively",
            "spirit",
            "spirited",
            "animated",
            "gay",
            "gaily",
            "bold",
            "boldly",
            "cheerful",
            "cheerfully",
            "brisk",
            "merry",
            "playful",
            "playfully",
            "allegro",
            "presto",
            "vivace",
            "upbeat",
            "energetic",
            "rapid",
            "joyful",
            "joyous",
            "up-tempo",
            "uptempo",
        ];
        const MODERATE: &[&str] = &[
            "moderate",
            "moderately",
            "medium",
            "steady",
            "andante",
            "moderato",
        ];
        let words = words.to_lowercase();
        let all = || words.split(|c: char| !c.is_alphanumeric() && c != '-');
        // "Moderately slow" is what its last word says.
        for (class, set) in [
            (Self::Slow, SLOW),
            (Self::Fast, FAST),
            (Self::Moderate, MODERATE),
        ] {
            if all().any(|w| set.contains(&w)) {
                return Some(class);
            }
        }
        None
    }
}

/// How many notes a melody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Motion {
    /// Few.
    Calm,
    /// Some.
    Steady,
    /// Many.
    Busy,
}

impl Motion {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Calm, Self::Steady, Self::Busy];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Steady => "flowing",
            Self::Busy => "busy",
        }
    }
}

/// What stands in the heading of a tune beside key and metre.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Style.
    pub style: Style,
    /// Tempo.
    pub tempo: TempoClass,
    /// Motion.
    pub motion: Motion,
}

impl Traits {
    /// What a tune's fields, remarks, title and notes say.
    pub fn of(tune: &Tune) -> Self {
        let said = tune.rhythm.as_deref().and_then(Style::of_words);
        let said = said.or_else(|| Style::of_words(&tune.title));
        let remarks = tune.remarks.join(" ");
        let tempo = TempoClass::of_words(&remarks);
        let style = said.unwrap_or(match (tune.metre.beats, tune.metre.unit) {
            (3, 4 | 8) => Style::Waltz,
            _ if tempo == Some(TempoClass::Slow) => Style::Air,
            (6 | 12, 8) => Style::Jig,
            (9, 8) => Style::SlipJig,
            _ => Style::Other,
        });
        let usual = match style {
            Style::Air => TempoClass::Slow,
            Style::Waltz | Style::March | Style::Other | Style::Strathspey => TempoClass::Moderate,
            _ => TempoClass::Fast,
        };
        Self {
            style,
            tempo: tempo.unwrap_or(usual),
            motion: motion(tune),
        }
    }
}

/// Notes to a quarter: a third of the traditional tunes lies below 1.8, a third above 2.
fn motion(tune: &Tune) -> Motion {
    let notes = tune.bars.iter().flat_map(|b| &b.events);
    let (mut count, mut ticks) = (0u32, 0u64);
    for event in notes {
        count += u32::from(event.pitch.is_some());
        ticks += u64::from(event.length);
    }
    let mean = f64::from(count) * f64::from(QUARTER) / ticks.max(1) as f64;
    match mean {
        ..1.6 => Motion::Calm,
        ..2.0 => Motion::Steady,
        _ => Motion::Busy,
    }
}
