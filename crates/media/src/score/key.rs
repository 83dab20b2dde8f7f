//! Keys: a tonic with a mode.

use std::fmt;

/// The seven modes of the diatonic scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Ionian.
    Major,
    /// Natural minor, Aeolian.
    Minor,
    /// Minor with a major sixth.
    Dorian,
    /// Major with a minor seventh.
    Mixolydian,
    /// Minor with a minor second.
    Phrygian,
    /// Major with an augmented fourth.
    Lydian,
    /// Minor with a minor second and a diminished fifth.
    Locrian,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 7] = [
        Self::Major,
        Self::Minor,
        Self::Dorian,
        Self::Mixolydian,
        Self::Phrygian,
        Self::Lydian,
        Self::Locrian,
    ];

    /// Semitones from the tonic of the major scale with the same notes up to this mode's.
    const fn offset(self) -> u8 {
        match self {
            Self::Major => 0,
            Self::Dorian => 2,
            Self::Phrygian => 4,
            Self::Lydian => 5,
            Self::Mixolydian => 7,
            Self::Minor => 9,
            Self::Locrian => 11,
        }
    }

    /// Fifths from the tonic of the major scale with the same notes up to this mode's.
    const fn fifths(self) -> i8 {
        match self {
            Self::Lydian => -1,
            Self::Major => 0,
            Self::Mixolydian => 1,
            Self::Dorian => 2,
            Self::Minor => 3,
            Self::Phrygian => 4,
            Self::Locrian => 5,
        }
    }

    /// Whether the third above its tonic is minor.
    pub const fn is_minor(self) -> bool {
        matches!(
            self,
            Self::Minor | Self::Dorian | Self::Phrygian | Self::Locrian
        )
    }

    /// Its name in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Major => "major",
            Self::Minor => "minor",
            Self::Dorian => "dorian",
            Self::Mixolydian => "mixolydian",
            Self::Phrygian => "phrygian",
            Self::Lydian => "lydian",
            Self::Locrian => "locrian",
        }
    }

    /// The mode of a word: its name, `min`, `mix`, `m` … in any case; the empty word is major.
    pub fn of_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let start = word.get(..3).unwrap_or(&word);
        match start {
            "" | "maj" | "ion" => Some(Self::Major),
            "m" | "min" | "aeo" => Some(Self::Minor),
            "dor" => Some(Self::Dorian),
            "mix" => Some(Self::Mixolydian),
            "phr" => Some(Self::Phrygian),
            "lyd" => Some(Self::Lydian),
            "loc" => Some(Self::Locrian),
            _ => None,
        }
    }
}

/// A key. Two keys with the same notes under other names (F♯ and G♭) differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Sharps of the signature, or flats where negative: −7 to 7.
    fifths: i8,
    mode: Mode,
}

impl Default for Key {
    /// C major.
    fn default() -> Self {
        Self {
            fifths: 0,
            mode: Mode::Major,
        }
    }
}

/// The letters in order of fifths.
const FIFTHS: [char; 7] = ['F', 'C', 'G', 'D', 'A', 'E', 'B'];

/// Pitch classes of the letters C, D, E, F, G, A, B.
pub(crate) const NATURAL: [u8; 7] = [0, 2, 4, 5, 7, 9, 11];

/// Place of a letter in [`NATURAL`].
pub(crate) fn letter_step(letter: char) -> Option<usize> {
    "CDEFGAB".find(letter.to_ascii_uppercase())
}

impl Key {
    /// A key by its signature (sharps, or flats where negative); none beyond seven.
    pub fn of_signature(fifths: i8, mode: Mode) -> Option<Self> {
        (-7..=7).contains(&fifths).then_some(Self { fifths, mode })
    }

    /// The key on a pitch class (0 is C) with the fewest accidentals.
    pub fn of_tonic(tonic: u8, mode: Mode) -> Self {
        let fits = |fifths: &i8| {
            let key = Self {
                fifths: *fifths,
                mode,
            };
            key.tonic() == tonic % 12
        };
        let nearest = (-6..=6i8).filter(fits).min_by_key(|f| f.abs());
        Self {
            fifths: nearest.unwrap_or(0),
            mode,
        }
    }

    /// Reads `D minor`, `F#m`, `Bb`, `Edor`, `E flat major` …; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut rest = text.chars();
        let letter = rest.next()?.to_ascii_uppercase();
        let place = FIFTHS.iter().position(|l| *l == letter)? as i8 - 1;
        let mut rest = rest.as_str();
        let mut accidental = 0;
        for (mark, value) in [("#", 1), ("♯", 1), ("b", -1), ("♭", -1)] {
            if let Some(after) = rest.strip_prefix(mark) {
                (rest, accidental) = (after, value);
                break;
            }
        }
        let mut words = rest.trim_start_matches(['-', ' ']);
        for (word, value) in [("sharp", 1), ("flat", -1)] {
            if words.to_ascii_lowercase().starts_with(word) {
                accidental = value;
                words = words[word.len()..].trim_start_matches(['-', ' ']);
            }
        }
        let word: String = words.chars().take_while(|c| c.is_alphabetic()).collect();
        let mode = Mode::of_word(&word)?;
        Self::of_signature(place + 7 * accidental - mode.fifths(), mode)
    }

    /// Sharps of the signature, or flats where negative.
    pub fn fifths(self) -> i8 {
        self.fifths
    }

    /// The mode.
    pub fn mode(self) -> Mode {
        self.mode
    }

    /// Pitch class of the tonic; 0 is C.
    pub fn tonic(self) -> u8 {
        let place = i32::from(self.fifths) * 7 + i32::from(self.mode.offset());
        place.rem_euclid(12) as u8
    }

    /// Pitch classes of the scale, from the tonic upwards.
    pub fn scale(self) -> [u8; 7] {
        let major =
            NATURAL.map(|n| (i32::from(n) + i32::from(self.fifths) * 7).rem_euclid(12) as u8);
        let tonic = self.tonic();
        let start = major.iter().position(|n| *n == tonic).unwrap_or(0);
        std::array::from_fn(|i| major[(start + i) % 7])
    }

    /// Semitones that the signature adds to a letter (0 is C, 6 is B): −1, 0 or 1.
    pub fn alteration(self, step: usize) -> i8 {
        // The place of the letter in the order F C G D A E B.
        let place = [1, 3, 5, 0, 2, 4, 6][step % 7];
        i8::from(place < self.fifths) - i8::from(6 - place < -self.fifths)
    }

    /// The key moved by semitones.
    pub fn transposed(self, semitones: i32) -> Self {
        let tonic = (i32::from(self.tonic()) + semitones).rem_euclid(12) as u8;
        Self::of_tonic(tonic, self.mode)
    }

    /// Its name: `F♯`, `Bb` … without the mode, with ASCII signs.
    pub fn tonic_name(self) -> String {
        let place = self.fifths + self.mode.fifths() + 1;
        let letter = FIFTHS[place.rem_euclid(7) as usize];
        let sign = match place.div_euclid(7) {
            0 => "",
            1.. => "#",
            _ => "b",
        };
        format!("{letter}{sign}")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tonic_name(), self.mode.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_their_names() {
        for mode in Mode::ALL {
            for fifths in -6..=6 {
                let key = Key::of_signature(fifths, mode).unwrap();
                let read = Key::parse(&key.to_string()).unwrap();
                assert_eq!(read.tonic(), key.tonic(), "{key}");
                assert_eq!(read, key);
                assert_eq!(Key::of_tonic(key.tonic(), mode).tonic(), key.tonic());
            }
        }
    }

    #[test]
    fn what_people_write_is_read() {
        for (text, tonic, fifths) in [
            ("D minor", 2, -1),
            ("Dm", 2, -1),
            ("F#m", 6, 3),
            ("Bb", 10, -2),
            ("Edor", 4, 2),
            ("E flat major", 3, -3),
            ("c sharp minor", 1, 4),
            ("AMix", 9, 2),
            ("G", 7, 1),
        ] {
            let key = Key::parse(text).unwrap();
            assert_eq!((key.tonic(), key.fifths()), (tonic, fifths), "{text}");
        }
        for wrong in ["", "H", "Dxyz", "x minor", "G# lydian"] {
            assert_eq!(Key::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn signatures_alter_the_letters_that_they_show() {
        let d = Key::parse("D").unwrap();
        let altered: Vec<i8> = (0..7).map(|s| d.alteration(s)).collect();
        assert_eq!(altered, [1, 0, 0, 1, 0, 0, 0]); // C♯, F♯
        let e_flat = Key::parse("Eb").unwrap();
        let altered: Vec<i8> = (0..7).map(|s| e_flat.alteration(s)).collect();
        assert_eq!(altered, [0, 0, -1, 0, 0, -1, -1]); // E♭, A♭, B♭
        assert_eq!(Key::parse("Em").unwrap().scale(), [4, 6, 7, 9, 11, 0, 2]);
    }
}
