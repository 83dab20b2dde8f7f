//! What the words of a prompt say about music.

use medley_media::score::{Key, Metre, Mode, QUARTER};

use crate::traits::{Style, TempoClass};

/// How music shall feel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mood {
    /// Nothing is said.
    #[default]
    Plain,
    /// Happy, bright.
    Bright,
    /// Soft, at rest.
    Calm,
    /// In sorrow.
    Sad,
    /// Strong, solemn.
    Bold,
}

impl Mood {
    /// The mood that words name.
    pub fn of_words(words: &str) -> Self {
        const WORDS: [(Mood, &[&str]); 4] = [
            (
                Mood::Sad,
                &[
                    "sad",
                    "sorrowful",
                    "mournful",
                    "melancholy",
                    "melancholic",
                    "lonely",
                    "dark",
                    "wistful",
                    "lament",
                    "gloomy",
                    "tragic",
                    "plaintive",
                ],
            ),
            (
                Mood::Calm,
                &[
                    "calm",
                    "gentle",
                    "peaceful",
                    "quiet",
                    "soft",
                    "relaxing",
                    "relaxed",
                    "dreamy",
                    "tender",
                    "lullaby",
                    "ambient",
                    "soothing",
                    "meditative",
                    "romantic",
                ],
            ),
            (
                Mood::Bold,
                &[
                    "bold",
                    "heroic",
                    "epic",
                    "proud",
                    "solemn",
                    "strong",
                    "dramatic",
                    "triumphant",
                    "powerful",
                    "military",
                    "majestic",
                ],
            ),
            (
                Mood::Bright,
                &[
                    "happy",
                    "bright",
                    "cheerful",
                    "merry",
                    "joyful",
                    "joyous",
                    "sunny",
                    "playful",
                    "festive",
                    "funny",
                    "lively",
                    "upbeat",
                    "jolly",
                    "energetic",
                    "fun",
                ],
            ),
        ];
        let words = words.to_lowercase();
        let mut all = words.split(|c: char| !c.is_alphanumeric());
        let named = |word| WORDS.iter().find(|(_, set)| set.contains(&word));
        all.find_map(named).map_or(Self::Plain, |(mood, _)| *mood)
    }
}

/// Why a prompt cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WishError {
    /// A metre that nothing is written in.
    #[error("music in {given} cannot be written; metres are {known}")]
    Metre {
        /// What was asked for.
        given: String,
        /// What there is.
        known: String,
    },
    /// A metre that a style does not have.
    #[error("a {style} is in {usual}, not in {given}")]
    StyleMetre {
        /// The style.
        style: &'static str,
        /// Its metres.
        usual: String,
        /// What was asked for.
        given: String,
    },
    /// A key that there is none of.
    #[error(
        "{given:?} is no key; keys are C, F#, Bb … with major, minor, dorian, mixolydian, phrygian, lydian or locrian"
    )]
    Key {
        /// What was asked for.
        given: String,
    },
    /// A tempo that nothing is played at.
    #[error("{given} beats a minute cannot be played; 20 to 400 can")]
    Tempo {
        /// What was asked for.
        given: String,
    },
}

/// What a prompt asks for; what it does not say is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// Key.
    pub key: Option<Key>,
    /// A mode without a tonic.
    pub mode: Option<Mode>,
    /// Metre.
    pub metre: Option<Metre>,
    /// Beats a minute.
    pub beats: Option<f64>,
    /// How fast.
    pub tempo: Option<TempoClass>,
    /// Style.
    pub style: Option<Style>,
    /// Mood.
    pub mood: Mood,
}

/// The metres of a style, the usual one first; empty where all are right.
pub fn metres_of(style: Style) -> &'static [Metre] {
    const fn m(beats: u8, unit: u8) -> Metre {
        Metre { beats, unit }
    }
    match style {
        Style::Reel => const { &[m(2, 2), m(4, 4), m(2, 4)] },
        Style::Jig => const { &[m(6, 8), m(12, 8), m(9, 8)] },
        Style::SlipJig => const { &[m(9, 8)] },
        Style::Hornpipe => const { &[m(2, 2), m(4, 4), m(2, 4), m(3, 2)] },
        Style::Strathspey => const { &[m(4, 4), m(2, 2)] },
        Style::Waltz => const { &[m(3, 4), m(3, 8)] },
        Style::March => const { &[m(2, 4), m(4, 4), m(2, 2), m(6, 8)] },
        Style::Polka => const { &[m(2, 4)] },
        Style::Air | Style::Other => &[],
    }
}

impl Wish {
    /// Reads a prompt; `metres` are those that the model writes in.
    ///
    /// # Errors
    /// [`WishError`] for a metre, a key or a tempo that cannot be.
    pub fn of_prompt(prompt: &str, metres: &[Metre]) -> Result<Self, WishError> {
        let words: Vec<&str> = prompt
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '.' | '!' | '(' | ')'))
            .filter(|w| !w.is_empty())
            .collect();
        let (key, mode) = key_of(&words)?;
        let wish = Self {
            key,
            mode,
            metre: metre_of(&words, metres)?,
            beats: beats_of(&words)?,
            tempo: TempoClass::of_words(prompt),
            style: Style::of_words(prompt),
            mood: Mood::of_words(prompt),
        };
        if let (Some(style), Some(metre)) = (wish.style, wish.metre) {
            let usual = metres_of(style);
            if !usual.is_empty() && !usual.contains(&metre) {
                return Err(WishError::StyleMetre {
                    style: style.name(),
                    usual: list(usual),
                    given: metre.to_string(),
                });
            }
        }
        Ok(wish)
    }

    /// The style: what was asked for, or one that fits metre and mood, `choice` among several.
    pub fn style_or(&self, choice: u64) -> Style {
        if let Some(style) = self.style {
            return style;
        }
        let slow = self.tempo == Some(TempoClass::Slow);
        let fit: &[Style] = match self.metre.map(|m| (m.beats, m.unit)) {
            Some((6 | 12, 8)) => &[Style::Jig],
            Some((9, 8)) => &[Style::SlipJig],
            Some((3, 4 | 8)) if !slow => &[Style::Waltz],
            Some((2, 4)) if !slow => &[Style::Polka, Style::March],
            Some((4, 4) | (2, 2)) if !slow => &[Style::Reel, Style::Hornpipe],
            Some(_) => &[Style::Air],
            None => match self.mood {
                Mood::Calm | Mood::Sad => &[Style::Air, Style::Waltz],
                Mood::Bold => &[Style::March],
                _ if slow => &[Style::Air, Style::Waltz],
                Mood::Bright => &[Style::Jig, Style::Reel, Style::Hornpipe],
                Mood::Plain => &[Style::Jig, Style::Reel, Style::Hornpipe, Style::Waltz],
            },
        };
        fit[(choice % fit.len() as u64) as usize]
    }

    /// Quarters a minute for a style in a metre.
    pub fn quarters(&self, style: Style, metre: Metre, class: TempoClass) -> f64 {
        if let Some(beats) = self.beats {
            return beats * f64::from(metre.beat()) / f64::from(QUARTER);
        }
        let [slow, moderate, fast] = match style {
            Style::Reel => [132.0, 172.0, 204.0],
            Style::Jig | Style::SlipJig => [114.0, 150.0, 174.0],
            Style::Hornpipe => [112.0, 144.0, 168.0],
            Style::Strathspey => [96.0, 116.0, 132.0],
            Style::Waltz => [92.0, 122.0, 150.0],
            Style::March => [88.0, 104.0, 116.0],
            Style::Polka => [100.0, 118.0, 132.0],
            Style::Air => [66.0, 82.0, 100.0],
            Style::Other => [80.0, 108.0, 132.0],
        };
        match class {
            TempoClass::Slow => slow,
            TempoClass::Moderate => moderate,
            TempoClass::Fast => fast,
        }
    }
}

fn list(metres: &[Metre]) -> String {
    let names: Vec<String> = metres.iter().map(Metre::to_string).collect();
    names.join(", ")
}

fn metre_of(words: &[&str], metres: &[Metre]) -> Result<Option<Metre>, WishError> {
    let is_fraction = |word: &&&str| {
        let digits = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_digit());
        word.split_once('/')
            .is_some_and(|(a, b)| digits(a) && digits(b))
    };
    let Some(word) = words.iter().find(is_fraction) else {
        return Ok(None);
    };
    match Metre::parse(word).filter(|m| metres.contains(m)) {
        Some(metre) => Ok(Some(metre)),
        None => Err(WishError::Metre {
            given: (*word).chars().take(20).collect(),
            known: list(metres),
        }),
    }
}

fn beats_of(words: &[&str]) -> Result<Option<f64>, WishError> {
    for (i, word) in words.iter().enumerate() {
        let word = word.to_ascii_lowercase();
        let number = match word.strip_suffix("bpm") {
            Some("") => match i.checked_sub(1) {
                Some(before) => words[before],
                None => continue,
            },
            Some(number) => number,
            None => continue,
        };
        let beats: Option<f64> = number.parse().ok();
        return match beats.filter(|b| (20.0..=400.0).contains(b)) {
            Some(beats) => Ok(Some(beats)),
            None => Err(WishError::Tempo {
                given: number.chars().take(20).collect(),
            }),
        };
    }
    Ok(None)
}

/// A key, or else a mode alone.
fn key_of(words: &[&str]) -> Result<(Option<Key>, Option<Mode>), WishError> {
    let lower: Vec<String> = words.iter().map(|w| w.to_ascii_lowercase()).collect();
    let names_mode = |word: &str| {
        let full = Mode::ALL.into_iter().find(|m| m.name() == word);
        full.or(match word {
            "aeolian" => Some(Mode::Minor),
            "ionian" => Some(Mode::Major),
            _ => None,
        })
    };
    // "in D", "key of Bb" before "Dm march": what is said to be a key is one.
    for said in [true, false] {
        for i in 0..words.len() {
            let behind_in = i > 0 && matches!(lower[i - 1].as_str(), "in" | "of");
            if behind_in != said {
                continue;
            }
            let capital = words[i].starts_with(|c: char| c.is_ascii_uppercase());
            let accidental = lower
                .get(i + 1)
                .is_some_and(|w| w == "sharp" || w == "flat");
            let behind = lower.get(i + 1 + usize::from(accidental));
            let with_mode = behind.and_then(|w| names_mode(w));
            let short = words[i].trim_end_matches('m').len() <= 2;
            // A small "a" before a mode is the article, unless "in" stands before it.
            let named = with_mode.is_some() && (said || capital);
            if !short || !(named || (said && capital)) {
                continue;
            }
            let sign = if accidental {
                lower[i + 1].as_str()
            } else {
                ""
            };
            let text = format!("{} {sign} {}", words[i], with_mode.map_or("", Mode::name));
            match Key::parse(&text) {
                Some(key) => return Ok((Some(key), None)),
                None if said && with_mode.is_some() => {
                    return Err(WishError::Key {
                        given: text.split_whitespace().collect::<Vec<_>>().join(" "),
                    });
                }
                None => {}
            }
        }
    }
    Ok((None, lower.iter().find_map(|w| names_mode(w))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRES: [Metre; 5] = [
        Metre { beats: 4, unit: 4 },
        Metre { beats: 3, unit: 4 },
        Metre { beats: 6, unit: 8 },
        Metre { beats: 2, unit: 2 },
        Metre { beats: 2, unit: 4 },
    ];

    fn wish(prompt: &str) -> Wish {
        Wish::of_prompt(prompt, &METRES).unwrap()
    }

    #[test]
    fn prompts_say_key_metre_tempo_style_and_mood() {
        let waltz = wish("a slow waltz in D minor");
        assert_eq!(waltz.key, Key::parse("Dm"));
        assert_eq!(waltz.style, Some(Style::Waltz));
        assert_eq!(waltz.tempo, Some(TempoClass::Slow));
        let tune = wish("something sad and quiet in 6/8 at 90 bpm");
        assert_eq!((tune.metre, tune.beats), (Some(METRES[2]), Some(90.0)));
        assert_eq!(tune.mood, Mood::Sad);
        assert_eq!(
            tune.quarters(Style::Jig, METRES[2], TempoClass::Slow),
            135.0
        );
        assert_eq!(tune.style_or(7), Style::Jig);
        for (prompt, key) in [
            ("a jig in G", "G"),
            ("a reel in the key of Bb", "Bb"),
            ("E flat major march", "Eb"),
            ("in F# minor, please", "F#m"),
            ("a tune in a minor", "Am"),
            ("A dorian reel in E dorian", "E dorian"),
            ("F# minor waltz", "F#m"),
        ] {
            assert_eq!(wish(prompt).key, Key::parse(key), "{prompt}");
        }
        for prompt in [
            "a happy tune",
            "a song of hope",
            "a waltz in the rain",
            "In Dublin",
        ] {
            assert_eq!(wish(prompt).key, None, "{prompt}");
        }
        assert_eq!(wish("a dorian tune").mode, Some(Mode::Dorian));
        assert_eq!(wish("a happy jingle for a bakery").mood, Mood::Bright);
    }

    #[test]
    fn what_cannot_be_is_refused_in_one_line() {
        for (prompt, part) in [
            ("a tune in 7/9", "7/9"),
            ("a tune in 0/4", "0/4"),
            ("a waltz in 4/4", "a waltz is in 3/4"),
            ("a jig in 4/4", "a jig is in 6/8"),
            ("a song in H minor", "no key"),
            ("a reel at 9000 bpm", "9000"),
        ] {
            let error = Wish::of_prompt(prompt, &METRES).unwrap_err().to_string();
            assert!(
                error.contains(part) && !error.contains('\n'),
                "{prompt}: {error}"
            );
        }
    }
}
