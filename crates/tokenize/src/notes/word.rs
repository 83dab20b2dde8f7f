//! The words and their numbers.

use medley_media::score::{Chord, Key, Metre, Mode, Quality};

use super::{Motion, Style, TempoClass};

const fn metre(beats: u8, unit: u8) -> Metre {
    Metre { beats, unit }
}

/// The metres that tunes are written in.
pub const METRES: [Metre; 14] = [
    metre(4, 4),
    metre(2, 2),
    metre(2, 4),
    metre(3, 4),
    metre(6, 8),
    metre(9, 8),
    metre(12, 8),
    metre(3, 8),
    metre(6, 4),
    metre(3, 2),
    metre(5, 4),
    metre(7, 8),
    metre(4, 8),
    metre(9, 4),
];

/// Lengths of notes in ticks, of which a quarter has 480: halves of a whole note down to sixty-fourths, with one and with two
/// dots, and as triplets.
pub const LENGTHS: [u32; 24] = [
    30, 60, 90, 120, 180, 210, 240, 360, 420, 480, 720, 840, 960, 1440, 1680, 1920,
    2880, // plain and dotted
    20, 40, 80, 160, 320, 640,  // triplets
    1200, // five eighths
];

/// Lowest and highest pitch in semitones from the reference pitch of the tonic.
const LOWEST: i32 = -24;
const HIGHEST: i32 = 42;

/// Masks of endings that have a word.
pub(super) const ENDINGS: [u8; 6] = [1, 2, 3, 4, 8, 7];

const STYLE: u32 = 1;
const METRE: u32 = STYLE + Style::ALL.len() as u32;
const TONIC: u32 = METRE + METRES.len() as u32;
const MODE: u32 = TONIC + 12;
const TEMPO: u32 = MODE + Mode::ALL.len() as u32;
const MOTION: u32 = TEMPO + TempoClass::ALL.len() as u32;
const SIGNS: u32 = MOTION + Motion::ALL.len() as u32;
const ENDING: u32 = SIGNS + 7;
const PITCH: u32 = ENDING + ENDINGS.len() as u32;
const LENGTH: u32 = PITCH + (HIGHEST - LOWEST + 1) as u32;
const CHORD: u32 = LENGTH + LENGTHS.len() as u32;
const SIZE: u32 = CHORD + 12 * Quality::ALL.len() as u32;

/// Number of tokens.
pub const fn vocabulary_size() -> usize {
    SIZE as usize
}

/// The pitch that a tonic's pitches count from: the one nearest to middle C.
pub const fn reference_pitch(tonic: u8) -> i32 {
    54 + (tonic as i32 + 6) % 12
}

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Ends a tune, and stands before one.
    End,
    /// What it is danced to.
    Style(Style),
    /// Place in [`METRES`].
    Metre(u8),
    /// Pitch class of the tonic.
    Tonic(u8),
    /// Mode.
    Mode(Mode),
    /// How fast it goes.
    Tempo(TempoClass),
    /// How many notes it has.
    Motion(Motion),
    /// Ends a bar.
    Bar,
    /// Ends a part.
    Double,
    /// Ends a part that is played again.
    Repeat,
    /// A part begins that is played again.
    Opens,
    /// A bar that is not full begins a part.
    Pickup,
    /// The note before goes on in the next.
    Tie,
    /// A rest.
    Rest,
    /// Mask of the times that an ending is for.
    Ending(u8),
    /// Semitones from the reference pitch of the tonic.
    Pitch(i8),
    /// Place in [`LENGTHS`]: what follows is as long as this.
    Length(u8),
    /// Semitones of the root above the tonic, and place in [`Quality::ALL`].
    Chord(u8, u8),
}

fn place<T: PartialEq>(all: &[T], one: &T) -> u32 {
    all.iter().position(|x| x == one).unwrap_or(0) as u32
}

impl Word {
    /// Its number.
    pub fn id(self) -> u32 {
        match self {
            Self::End => 0,
            Self::Style(style) => STYLE + place(&Style::ALL, &style),
            Self::Metre(at) => METRE + u32::from(at),
            Self::Tonic(tonic) => TONIC + u32::from(tonic),
            Self::Mode(mode) => MODE + place(&Mode::ALL, &mode),
            Self::Tempo(tempo) => TEMPO + place(&TempoClass::ALL, &tempo),
            Self::Motion(motion) => MOTION + place(&Motion::ALL, &motion),
            Self::Bar => SIGNS,
            Self::Double => SIGNS + 1,
            Self::Repeat => SIGNS + 2,
            Self::Opens => SIGNS + 3,
            Self::Pickup => SIGNS + 4,
            Self::Tie => SIGNS + 5,
            Self::Rest => SIGNS + 6,
            Self::Ending(mask) => ENDING + place(&ENDINGS, &mask),
            Self::Pitch(up) => PITCH + (i32::from(up) - LOWEST) as u32,
            Self::Length(at) => LENGTH + u32::from(at),
            Self::Chord(root, quality) => CHORD + u32::from(root) * 8 + u32::from(quality),
        }
    }

    /// The word of a number; none beyond the vocabulary.
    pub fn of(id: u32) -> Option<Self> {
        let byte = |from: u32| (id - from) as u8;
        Some(match id {
            0 => Self::End,
            STYLE..METRE => Self::Style(Style::ALL[(id - STYLE) as usize]),
            METRE..TONIC => Self::Metre(byte(METRE)),
            TONIC..MODE => Self::Tonic(byte(TONIC)),
            MODE..TEMPO => Self::Mode(Mode::ALL[(id - MODE) as usize]),
            TEMPO..MOTION => Self::Tempo(TempoClass::ALL[(id - TEMPO) as usize]),
            MOTION..SIGNS => Self::Motion(Motion::ALL[(id - MOTION) as usize]),
            SIGNS..ENDING => [
                Self::Bar,
                Self::Double,
                Self::Repeat,
                Self::Opens,
                Self::Pickup,
                Self::Tie,
                Self::Rest,
            ][(id - SIGNS) as usize],
            ENDING..PITCH => Self::Ending(ENDINGS[(id - ENDING) as usize]),
            PITCH..LENGTH => Self::Pitch((i32::from(byte(PITCH)) + LOWEST) as i8),
            LENGTH..CHORD => Self::Length(byte(LENGTH)),
            CHORD..SIZE => Self::Chord(byte(CHORD) / 8, byte(CHORD) % 8),
            _ => return None,
        })
    }

    /// The word of a pitch in a key, where it is near enough.
    pub(super) fn of_pitch(pitch: u8, key: Key) -> Option<Self> {
        let up = i32::from(pitch) - reference_pitch(key.tonic());
        (LOWEST..=HIGHEST)
            .contains(&up)
            .then_some(Self::Pitch(up as i8))
    }

    /// The word of a chord in a key.
    pub(super) fn of_chord(chord: Chord, key: Key) -> Self {
        let root = (chord.root + 12 - key.tonic()) % 12;
        Self::Chord(root, place(&Quality::ALL, &chord.quality) as u8)
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::End => f.write_str("end"),
            Self::Style(style) => f.write_str(style.name()),
            Self::Metre(at) => write!(f, "{}", METRES[usize::from(*at)]),
            Self::Tonic(tonic) => f.write_str(&Key::of_tonic(*tonic, Mode::Major).tonic_name()),
            Self::Mode(mode) => f.write_str(mode.name()),
            Self::Tempo(tempo) => f.write_str(tempo.name()),
            Self::Motion(motion) => f.write_str(motion.name()),
            Self::Bar => f.write_str("|"),
            Self::Double => f.write_str("||"),
            Self::Repeat => f.write_str(":|"),
            Self::Opens => f.write_str("|:"),
            Self::Pickup => f.write_str("pickup"),
            Self::Tie => f.write_str("tie"),
            Self::Rest => f.write_str("rest"),
            Self::Ending(mask) => write!(f, "ending:{mask}"),
            Self::Pitch(up) => write!(f, "{up:+}"),
            Self::Length(at) => write!(f, "{}", LENGTHS[usize::from(*at)]),
            Self::Chord(root, quality) => {
                write!(f, "chord:{root}:{:?}", Quality::ALL[usize::from(*quality)])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_word_and_no_other() {
        for id in 0..SIZE {
            assert_eq!(Word::of(id).map(Word::id), Some(id));
        }
        assert_eq!(Word::of(SIZE), None);
        let mut names: Vec<String> = (0..SIZE)
            .filter_map(Word::of)
            .map(|w| w.to_string())
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), SIZE as usize);
    }
}
