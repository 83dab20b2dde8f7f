//! Music as it is written down: a [`Tune`] is a melody in bars, with chords and repeats; a [`Score`] is what is played, notes
//! of several tracks at their times.

mod chord;
mod guess;
pub(crate) mod key;
mod play;

pub use chord::{Chord, Quality};
pub use guess::estimate_key;
pub use key::{Key, Mode};

/// Ticks of a quarter note: sixty-fourths, and thirds and fifths of most lengths, are whole numbers.
pub const QUARTER: u32 = 480;

/// Bars that a tune may have, with repeats written out.
pub const MOST_BARS: usize = 20_000;

/// A format of written music that is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScoreFormat {
    /// Standard MIDI files.
    Midi,
    /// ABC notation.
    Abc,
}

impl ScoreFormat {
    /// The format that an ending of a file's name asks for.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "mid" | "midi" => Some(Self::Midi),
            "abc" => Some(Self::Abc),
            _ => None,
        }
    }

    /// The format that a file's first bytes show.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"MThd") {
            Some(Self::Midi)
        } else if bytes.starts_with(b"%abc") {
            Some(Self::Abc)
        } else {
            None
        }
    }

    /// Its MIME type.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Midi => "audio/midi",
            Self::Abc => "text/vnd.abc",
        }
    }
}

/// How many beats a bar has, and of which length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Metre {
    /// The upper number.
    pub beats: u8,
    /// The lower number: 4 is a quarter.
    pub unit: u8,
}

impl Default for Metre {
    fn default() -> Self {
        Self { beats: 4, unit: 4 }
    }
}

impl Metre {
    /// Reads `6/8`, `C` and `C|`; none for what is no metre: 1 to 32 beats of a power of two up to 32.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == "C" {
            return Some(Self { beats: 4, unit: 4 });
        }
        if text == "C|" {
            return Some(Self { beats: 2, unit: 2 });
        }
        let (beats, unit) = text.split_once('/')?;
        let metre = Self {
            beats: beats.trim().parse().ok()?,
            unit: unit.trim().parse().ok()?,
        };
        let fits =
            (1..=32).contains(&metre.beats) && metre.unit <= 32 && metre.unit.is_power_of_two();
        fits.then_some(metre)
    }

    /// Ticks of a bar.
    pub fn bar(self) -> u32 {
        4 * QUARTER * u32::from(self.beats) / u32::from(self.unit.max(1))
    }

    /// Whether beats are felt in threes: 6/8, 9/8, 12/8.
    pub fn is_compound(self) -> bool {
        self.unit >= 8 && self.beats > 3 && self.beats.is_multiple_of(3)
    }

    /// Ticks of a beat as it is felt: a dotted quarter in 6/8.
    pub fn beat(self) -> u32 {
        let unit = 4 * QUARTER / u32::from(self.unit.max(1));
        if self.is_compound() { 3 * unit } else { unit }
    }
}

impl std::fmt::Display for Metre {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.beats, self.unit)
    }
}

/// A note or a rest of a melody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Pitch as in MIDI, 60 is middle C; none is a rest.
    pub pitch: Option<u8>,
    /// Ticks, at least 1.
    pub length: u32,
    /// Whether it goes on in the next note.
    pub tied: bool,
}

/// What stands behind a bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BarEnd {
    /// One line.
    #[default]
    Plain,
    /// Two lines: the end of a part.
    Double,
    /// The part that ends here is played again.
    Repeat,
}

/// A bar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// Whether a part that is repeated begins here.
    pub opens: bool,
    /// The bar begins an ending for these times, bit 0 for the first; 0 where it begins none.
    pub ending: u8,
    /// A key that holds from here on.
    pub key: Option<Key>,
    /// A metre that holds from here on.
    pub metre: Option<Metre>,
    /// Notes and rests, one after the other.
    pub events: Vec<Event>,
    /// Chords with the ticks from the bar's beginning.
    pub chords: Vec<(u32, Chord)>,
    /// What stands behind it.
    pub end: BarEnd,
}

impl Bar {
    /// Ticks of its notes and rests.
    pub fn length(&self) -> u32 {
        self.events
            .iter()
            .fold(0, |sum, e| sum.saturating_add(e.length))
    }
}

/// A melody with chords, as on a lead sheet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tune {
    /// Its title; may be empty.
    pub title: String,
    /// What it is danced to or called: reel, jig, waltz …
    pub rhythm: Option<String>,
    /// Remarks, such as "slow".
    pub remarks: Vec<String>,
    /// The key at the beginning.
    pub key: Key,
    /// The metre at the beginning.
    pub metre: Metre,
    /// Quarters a minute.
    pub tempo: Option<f64>,
    /// The bars.
    pub bars: Vec<Bar>,
}

/// A note at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Ticks from the beginning.
    pub start: u32,
    /// Ticks.
    pub length: u32,
    /// Pitch as in MIDI; on a track of drums the instrument of General MIDI.
    pub pitch: u8,
    /// How hard it is struck, 1 to 127.
    pub velocity: u8,
}

/// Notes of one instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// Its name.
    pub name: String,
    /// Program of General MIDI, from 0.
    pub program: u8,
    /// Whether its notes are drums.
    pub drums: bool,
    /// Notes in order of their beginnings.
    pub notes: Vec<Note>,
}

/// Music to be played.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Its title; may be empty.
    pub title: String,
    /// Key, where it is known.
    pub key: Option<Key>,
    /// Metre.
    pub metre: Metre,
    /// Ticks of an upbeat before the first full bar.
    pub upbeat: u32,
    /// Quarters a minute from a tick on, in order; the first from tick 0.
    pub tempos: Vec<(u32, f64)>,
    /// Chords at their ticks.
    pub chords: Vec<(u32, Chord)>,
    /// Tracks.
    pub tracks: Vec<Track>,
}

impl Score {
    /// Ticks to the end of the last note.
    pub fn ticks(&self) -> u32 {
        let notes = self.tracks.iter().flat_map(|t| &t.notes);
        notes
            .map(|n| n.start.saturating_add(n.length))
            .max()
            .unwrap_or(0)
    }

    /// Seconds from the beginning to a tick.
    pub fn seconds_at(&self, tick: u32) -> f64 {
        let mut seconds = 0.0;
        for (i, &(from, tempo)) in self.tempos.iter().enumerate() {
            let to = self.tempos.get(i + 1).map_or(tick, |next| next.0.min(tick));
            if to > from {
                seconds += f64::from(to - from) / f64::from(QUARTER) * 60.0 / tempo;
            }
        }
        seconds
    }

    /// Seconds to the end of the last note.
    pub fn seconds(&self) -> f64 {
        self.seconds_at(self.ticks())
    }
}
