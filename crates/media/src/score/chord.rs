//! Chords by their symbols.

use super::key::{NATURAL, letter_step};

/// What is built on a chord's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quality {
    /// Major third, fifth.
    Major,
    /// Minor third, fifth.
    Minor,
    /// Major third, fifth, minor seventh.
    Dominant,
    /// Minor third, fifth, minor seventh.
    MinorSeventh,
    /// Major third, fifth, major seventh.
    MajorSeventh,
    /// Minor third, diminished fifth.
    Diminished,
    /// Major third, augmented fifth.
    Augmented,
    /// Fourth, fifth.
    Suspended,
}

impl Quality {
    /// Every quality.
    pub const ALL: [Self; 8] = [
        Self::Major,
        Self::Minor,
        Self::Dominant,
        Self::MinorSeventh,
        Self::MajorSeventh,
        Self::Diminished,
        Self::Augmented,
        Self::Suspended,
    ];

    /// Semitones above the root, the root first.
    pub const fn intervals(self) -> &'static [u8] {
        match self {
            Self::Major => &[0, 4, 7],
            Self::Minor => &[0, 3, 7],
            Self::Dominant => &[0, 4, 7, 10],
            Self::MinorSeventh => &[0, 3, 7, 10],
            Self::MajorSeventh => &[0, 4, 7, 11],
            Self::Diminished => &[0, 3, 6],
            Self::Augmented => &[0, 4, 8],
            Self::Suspended => &[0, 5, 7],
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Major => "",
            Self::Minor => "m",
            Self::Dominant => "7",
            Self::MinorSeventh => "m7",
            Self::MajorSeventh => "maj7",
            Self::Diminished => "dim",
            Self::Augmented => "aug",
            Self::Suspended => "sus4",
        }
    }
}

/// A chord.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chord {
    /// Pitch class of its root; 0 is C.
    pub root: u8,
    /// What is built on it.
    pub quality: Quality,
}

impl Chord {
    /// Reads `Am`, `F#7`, `Bbmaj7`, `G/B` (the bass is not kept) …; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let letter = text.chars().next().filter(char::is_ascii_uppercase)?;
        let step = letter_step(letter)?;
        let rest = &text[1..];
        let (accidental, rest) = match rest.chars().next() {
            Some('#' | '♯') => (1, rest.trim_start_matches(['#', '♯'])),
            Some('b' | '♭') => (11, rest.trim_start_matches(['b', '♭'])),
            _ => (0, rest),
        };
        let kind = rest.split('/').next().unwrap_or(rest).trim();
        let quality = match kind {
            "" | "maj" | "M" | "5" | "6" => Quality::Major,
            "m" | "min" | "-" | "m6" => Quality::Minor,
            "7" | "9" | "11" | "13" => Quality::Dominant,
            "m7" | "min7" | "-7" | "m9" => Quality::MinorSeventh,
            "maj7" | "M7" | "maj9" => Quality::MajorSeventh,
            "dim" | "o" | "dim7" | "o7" | "m7b5" => Quality::Diminished,
            "aug" | "+" => Quality::Augmented,
            "sus" | "sus4" | "sus2" | "7sus4" => Quality::Suspended,
            _ => return None,
        };
        Some(Self {
            root: (NATURAL[step] + accidental) % 12,
            quality,
        })
    }

    /// Pitch classes of its notes, the root first.
    pub fn notes(self) -> impl Iterator<Item = u8> {
        let up = self.quality.intervals().iter();
        up.map(move |i| (self.root + i) % 12)
    }

    /// The chord moved by semitones.
    pub fn transposed(self, semitones: i32) -> Self {
        Self {
            root: (i32::from(self.root) + semitones).rem_euclid(12) as u8,
            quality: self.quality,
        }
    }

    /// Its symbol, with flats or sharps.
    pub fn name(self, flats: bool) -> String {
        const SHARPS: [&str; 12] = [
            "C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B",
        ];
        const FLATS: [&str; 12] = [
            "C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B",
        ];
        let names = if flats { FLATS } else { SHARPS };
        format!(
            "{}{}",
            names[usize::from(self.root % 12)],
            self.quality.sign()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_come_back() {
        for root in 0..12 {
            for quality in Quality::ALL {
                let chord = Chord { root, quality };
                for flats in [false, true] {
                    assert_eq!(Chord::parse(&chord.name(flats)), Some(chord));
                }
            }
        }
        let g = Chord::parse("G/B").unwrap();
        assert_eq!(g.notes().collect::<Vec<_>>(), [7, 11, 2]);
        // Fingerings and directions stand in the same quotes.
        for wrong in ["4", "Fine", "D.C.", "^above", "e", "Coda", ""] {
            assert_eq!(Chord::parse(wrong), None, "{wrong}");
        }
    }
}
