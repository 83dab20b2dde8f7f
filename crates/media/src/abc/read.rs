//! Fields of ABC files, and the tunes between them.

use super::body::Body;
use crate::error::MediaError;
use crate::score::{Key, Metre, Mode, QUARTER, Tune};

/// Most bytes of a file.
const MOST_BYTES: usize = 32 << 20;

/// Remarks of a tune that are kept.
const MOST_REMARKS: usize = 64;

/// Every tune of a file, in order; those that cannot be read with the reason, which names the tune's number.
///
/// Of several voices the first is read, of notes that sound together the highest; grace notes, words, decorations and
/// voice overlays are skipped.
///
/// # Errors
/// [`MediaError::Notation`] where the file is too large; of each tune, where it has no key, no notes, or a metre that is
/// none.
pub fn tunes(bytes: &[u8]) -> Result<Vec<Result<Tune, MediaError>>, MediaError> {
    if bytes.len() > MOST_BYTES {
        return Err(wrong(format!(
            "it has {} bytes, but at most {MOST_BYTES} are read",
            bytes.len()
        )));
    }
    let text = decode(bytes);
    let mut tunes = Vec::new();
    let mut reader: Option<Reader> = None;
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(number) = line.strip_prefix("X:") {
            tunes.extend(reader.take().map(Reader::finish));
            reader = Some(Reader::new(number.trim()));
            continue;
        }
        // A file of one tune may lack its number.
        if reader.is_none() && tunes.is_empty() && line.starts_with("T:") {
            reader = Some(Reader::new("1"));
        }
        if let Some(reader) = &mut reader {
            reader.line(line);
        }
    }
    tunes.extend(reader.map(Reader::finish));
    Ok(tunes)
}

/// The first tune of a file.
///
/// # Errors
/// As [`tunes`]; and where the file has none.
pub fn read(bytes: &[u8]) -> Result<Tune, MediaError> {
    let first = tunes(bytes)?.into_iter().next();
    first.unwrap_or_else(|| Err(wrong("it has no tune: none begins with X:".into())))
}

pub(super) fn wrong(reason: String) -> MediaError {
    MediaError::Notation {
        kind: "ABC",
        reason,
    }
}

/// UTF-8, or else Latin-1 as in old files.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}

/// One tune while it is read.
struct Reader {
    number: String,
    tune: Tune,
    /// Ticks of a note without a length, where a field says it.
    unit: Option<u32>,
    /// What Q: said, which may count in lengths that L: gives later.
    tempo: Option<String>,
    body: Option<Body>,
    /// Whether lines of another voice than the first are skipped.
    other_voice: bool,
    first_voice: Option<String>,
    failed: Option<String>,
}

impl Reader {
    fn new(number: &str) -> Self {
        Self {
            number: number.chars().take(20).collect(),
            tune: Tune::default(),
            unit: None,
            tempo: None,
            body: None,
            other_voice: false,
            first_voice: None,
            failed: None,
        }
    }

    fn line(&mut self, line: &str) {
        if line.starts_with('%') || self.failed.is_some() {
            return;
        }
        let mut letters = line.chars();
        let field = letters.next().filter(char::is_ascii_alphabetic);
        match (field, letters.next()) {
            (Some(letter), Some(':')) => self.field(letter, letters.as_str()),
            _ if self.body.is_some() && !self.other_voice => {
                if let Some(body) = &mut self.body {
                    // A remark ends the line, unless its sign is escaped.
                    body.line(line.split('%').next().unwrap_or(line));
                }
            }
            _ => {}
        }
    }

    fn field(&mut self, letter: char, value: &str) {
        let value = value.split('%').next().unwrap_or(value).trim();
        if let Some(body) = &mut self.body {
            match letter {
                'V' => self.voice(value),
                _ if self.other_voice => {}
                'K' | 'M' | 'L' => body.field(letter, value),
                _ => {}
            }
            return;
        }
        match letter {
            'T' if self.tune.title.is_empty() => {
                self.tune.title = value.chars().take(200).collect()
            }
            'R' => self.tune.rhythm = Some(value.to_lowercase()).filter(|v| !v.is_empty()),
            'N' if self.tune.remarks.len() < MOST_REMARKS && !value.is_empty() => {
                self.tune.remarks.push(value.chars().take(400).collect());
            }
            'L' => self.unit = unit(value).or(self.unit),
            'Q' => self.tempo = Some(value.to_owned()),
            'M' => match Metre::parse(value) {
                Some(metre) => self.tune.metre = metre,
                None => self.failed = Some(format!("{value:?} is no metre that is read")),
            },
            'V' => self.voice(value),
            'K' => self.begin(value),
            _ => {}
        }
    }

    /// K: ends the header.
    fn begin(&mut self, value: &str) {
        let Some(key) = key_field(value) else {
            self.failed = Some(format!("{value:?} is no key"));
            return;
        };
        self.tune.key = key;
        let metre = self.tune.metre;
        // Short metres count in sixteenths (section 3.1.7).
        let usual = if 4 * u32::from(metre.beats) < 3 * u32::from(metre.unit) {
            QUARTER / 4
        } else {
            QUARTER / 2
        };
        let unit = self.unit.unwrap_or(usual);
        self.tune.tempo = self.tempo.as_deref().and_then(|t| tempo(t, unit));
        self.body = Some(Body::new(key, metre, unit));
    }

    fn voice(&mut self, value: &str) {
        let name = value.split_whitespace().next().unwrap_or("").to_owned();
        let first = self.first_voice.get_or_insert_with(|| name.clone());
        self.other_voice = *first != name;
    }

    fn finish(self) -> Result<Tune, MediaError> {
        let named = |reason: String| wrong(format!("tune {}: {reason}", self.number));
        if let Some(reason) = self.failed {
            return Err(named(reason));
        }
        let Some(body) = self.body else {
            return Err(named("it has no K: field".into()));
        };
        let mut tune = self.tune;
        tune.bars = body.finish().map_err(named)?;
        tune.tidy();
        Ok(tune)
    }
}

/// Ticks of a length such as `1/8`.
pub(super) fn unit(text: &str) -> Option<u32> {
    let (above, below) = text.split_once('/').unwrap_or((text, "1"));
    let (above, below): (u32, u32) = (above.trim().parse().ok()?, below.trim().parse().ok()?);
    let fits = (1..=8).contains(&above) && (1..=64).contains(&below);
    fits.then(|| 4 * QUARTER * above / below)
}

/// A key field: a key with remarks behind it; `HP` and `Hp` are the bagpipes'.
pub(super) fn key_field(value: &str) -> Option<Key> {
    let value = value.trim();
    if value.is_empty() || value.starts_with("none") {
        return Some(Key::default());
    }
    if value.eq_ignore_ascii_case("hp") {
        return Key::of_signature(2, Mode::Mixolydian);
    }
    let mut words = value.split_whitespace();
    let first = words.next()?;
    let second = words.next().filter(|w| {
        let plain = w.chars().all(|c| c.is_ascii_alphabetic());
        plain && first.len() <= 2 && Mode::of_word(w).is_some()
    });
    let both = Key::parse(&format!("{first} {}", second.unwrap_or("")));
    // What stands behind an unknown word is a remark, as "Bn" for a natural.
    both.or_else(|| Key::parse(first.get(..1)?))
}

/// Quarters a minute of `1/4=120`, `"Allegro" 3/8=100` or, in lengths of notes, `120`.
fn tempo(text: &str, unit_ticks: u32) -> Option<f64> {
    let plain: String = text.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let (length, number) = match plain.split_once('=') {
        Some((length, number)) => {
            let parts: Option<Vec<u32>> = length.split_whitespace().map(unit).collect();
            let sum = parts?.iter().sum::<u32>();
            // `C=100` counts in lengths of notes.
            (if sum == 0 { unit_ticks } else { sum }, number)
        }
        None => (unit_ticks, plain.as_str()),
    };
    let number: f64 = number.split_whitespace().next()?.parse().ok()?;
    let tempo = number * f64::from(length) / f64::from(QUARTER);
    (10.0..=600.0).contains(&tempo).then_some(tempo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_are_written() {
        assert_eq!(tempo("1/4=120", 240), Some(120.0));
        assert_eq!(tempo("3/8=120", 240), Some(180.0));
        assert_eq!(tempo("\"Slowly\" 1/2 = 50", 240), Some(100.0));
        assert_eq!(tempo("120", 240), Some(60.0));
        assert_eq!(tempo("fast", 240), None);
        assert_eq!(key_field("E Minor"), Key::parse("Em"));
        assert_eq!(key_field("Amix % remark"), Key::parse("Amix"));
        assert_eq!(key_field("G clef=treble"), Key::parse("G"));
        assert_eq!(key_field("Bn"), Key::parse("B"));
        assert_eq!(key_field("?"), None);
        assert_eq!(unit("1/8"), Some(240));
        assert_eq!(unit("1/0"), None);
    }
}
