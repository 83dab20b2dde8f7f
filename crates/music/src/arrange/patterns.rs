//! What the accompaniment plays in a bar.

use medley_media::score::{Metre, QUARTER};

use crate::traits::Style;
use crate::wish::Mood;

/// What a stroke plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The whole chord.
    Chord,
    /// The note of the chord at this place, counted upwards.
    Step(usize),
    /// Root of the chord, in the bass.
    Root,
    /// Its fifth.
    Fifth,
    /// Its root an octave up.
    Octave,
    /// A drum of General MIDI.
    Drum(u8),
}

/// A stroke at a place of the bar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub at: u32,
    pub length: u32,
    pub part: Part,
    /// Velocity.
    pub force: f32,
    /// Ticks from one note of it to the next.
    pub spread: u32,
}

fn stroke(at: u32, length: u32, part: Part, force: f32) -> Stroke {
    Stroke {
        at,
        length,
        part,
        force,
        spread: 0,
    }
}

/// Beats of a bar with their length: of 2/2 four quarters, since that is how it is accompanied.
fn beats(metre: Metre) -> (u32, u32) {
    let beat = match metre.beat() {
        b if b >= 2 * QUARTER => QUARTER,
        b => b,
    };
    (metre.bar() / beat.max(1), beat)
}

pub(super) fn chord_strokes(
    style: Style,
    mood: Mood,
    metre: Metre,
    level: u8,
    last: bool,
) -> Vec<Stroke> {
    let (count, beat) = beats(metre);
    let louder = 4.0 * f32::from(level);
    let strum = |at: u32, length: u32, force: f32| Stroke {
        spread: 9,
        ..stroke(at, length, Part::Chord, force + louder)
    };
    if last {
        return vec![Stroke {
            spread: 26,
            ..strum(0, metre.bar(), 62.0)
        }];
    }
    let quiet = matches!(mood, Mood::Calm | Mood::Sad) || style == Style::Air;
    if quiet && style != Style::Waltz {
        return broken(metre, louder);
    }
    let mut strokes = Vec::new();
    match style {
        Style::Waltz => {
            strokes.extend((1..count).map(|i| strum(i * beat, beat * 8 / 10, 52.0)));
        }
        Style::Jig | Style::SlipJig => {
            // The last eighth of each group, and from the second time on the first as well.
            for i in 0..count {
                if level > 0 {
                    strokes.push(strum(i * beat, beat / 3, 44.0));
                }
                strokes.push(strum(i * beat + beat * 2 / 3, beat / 4, 56.0));
            }
        }
        Style::Reel | Style::Hornpipe | Style::Polka | Style::Strathspey => {
            for i in 0..count {
                let back = i % 2 == 1;
                if back || count < 3 {
                    let at = if count < 3 {
                        i * beat + beat / 2
                    } else {
                        i * beat
                    };
                    strokes.push(strum(at, beat / 2, 58.0));
                }
                if level > 1 {
                    strokes.push(strum(i * beat + beat / 2, beat / 3, 42.0));
                }
            }
        }
        _ => {
            strokes.extend((0..count).map(|i| strum(i * beat + beat / 2, beat / 3, 52.0)));
        }
    }
    strokes
}

/// The chord note by note, up and down.
fn broken(metre: Metre, louder: f32) -> Vec<Stroke> {
    let step = if metre.is_compound() {
        metre.beat() / 3
    } else {
        QUARTER / 2
    };
    let count = metre.bar() / step.max(1);
    const UP_AND_DOWN: [usize; 6] = [0, 1, 2, 3, 2, 1];
    (0..count)
        .map(|i| {
            let part = Part::Step(UP_AND_DOWN[i as usize % 6]);
            let force = if i == 0 { 50.0 } else { 42.0 };
            // Each rings on under the next ones.
            let length = (metre.bar() - i * step).min(3 * step);
            stroke(i * step, length, part, force + louder)
        })
        .collect()
}

pub(super) fn bass_strokes(style: Style, metre: Metre, level: u8, last: bool) -> Vec<Stroke> {
    let (count, beat) = beats(metre);
    if last {
        return vec![stroke(0, metre.bar(), Part::Root, 84.0)];
    }
    let long = beat * 9 / 10;
    match style {
        Style::Air | Style::Waltz => {
            let mut strokes = vec![stroke(0, metre.bar() * 9 / 10, Part::Root, 78.0)];
            if level > 1 && count > 2 {
                strokes[0].length = (count - 1) * beat * 9 / 10;
                strokes.push(stroke((count - 1) * beat, long, Part::Fifth, 62.0));
            }
            strokes
        }
        _ => {
            let mut strokes = Vec::new();
            for i in 0..count {
                let part = match (i % 2, count) {
                    (0, 1..=3) if i > 0 => Part::Octave,
                    (0, _) if i % 4 == 0 => Part::Root,
                    (1, 1..=3) | (0, _) => Part::Fifth,
                    _ => continue,
                };
                strokes.push(stroke(
                    i * beat,
                    long,
                    part,
                    if i == 0 { 86.0 } else { 74.0 },
                ));
            }
            strokes
        }
    }
}

const KICK: u8 = 36;
const SNARE: u8 = 38;
const HAT: u8 = 42;
const FRAME: u8 = 41;
const FRAME_HIGH: u8 = 48;
const SHAKER: u8 = 70;
const TAMBOURINE: u8 = 54;
const CYMBAL: u8 = 51;

pub(super) fn drum_strokes(
    style: Style,
    mood: Mood,
    metre: Metre,
    level: u8,
    number: u64,
    last: bool,
) -> Vec<Stroke> {
    let (count, beat) = beats(metre);
    let drum = |at: u32, key: u8, force: f32| stroke(at, QUARTER / 8, Part::Drum(key), force);
    let quiet = matches!(mood, Mood::Calm | Mood::Sad) || style == Style::Air;
    if quiet || (level == 0 && number < 4) {
        return Vec::new();
    }
    if last {
        return vec![drum(0, KICK, 80.0), drum(0, CYMBAL, 60.0)];
    }
    let strong = if mood == Mood::Bold { 14.0 } else { 0.0 };
    let mut strokes = Vec::new();
    let parts = if metre.is_compound() { 3 } else { 2 };
    for i in 0..count {
        let at = i * beat;
        // Small strokes on every part of the beat, the last one a little stronger.
        for p in 0..parts {
            let force = if p == 0 { 58.0 } else { 46.0 } + if p + 1 == parts { 8.0 } else { 0.0 };
            let key = if style == Style::Waltz { HAT } else { SHAKER };
            if style != Style::Waltz || (p == 0 && i > 0) {
                strokes.push(drum(at + beat * p / parts, key, force));
            }
        }
        match style {
            Style::March => {
                strokes.push(drum(
                    at,
                    if i % 2 == 0 { KICK } else { SNARE },
                    74.0 + strong,
                ));
                strokes.push(drum(at + beat / 2, SNARE, 44.0));
                strokes.push(drum(at + beat * 3 / 4, SNARE, 50.0));
            }
            Style::Jig | Style::SlipJig => {
                strokes.push(drum(at, FRAME, if i == 0 { 84.0 } else { 70.0 } + strong));
                strokes.push(drum(at + beat * 2 / 3, FRAME_HIGH, 48.0));
            }
            Style::Waltz if i == 0 => strokes.push(drum(at, KICK, 66.0)),
            Style::Waltz => {}
            _ if i % 2 == 0 => {
                strokes.push(drum(at, FRAME, if i == 0 { 82.0 } else { 68.0 } + strong))
            }
            _ => strokes.push(drum(at, FRAME_HIGH, 54.0)),
        }
        if level > 1 && i % 2 == 1 && style != Style::Waltz {
            strokes.push(drum(at, TAMBOURINE, 58.0));
        }
    }
    // The last bar of a phrase leads on.
    if number % 8 == 7 && level > 0 {
        let from = (count - 1) * beat;
        strokes
            .extend((0..4).map(|i| drum(from + beat * i / 4, FRAME_HIGH, 50.0 + 7.0 * i as f32)));
    }
    strokes
}
