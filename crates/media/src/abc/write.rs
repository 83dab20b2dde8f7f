//! Tunes as ABC text.

use std::fmt::Write;

use crate::label::Origin;
use crate::score::key::NATURAL;
use crate::score::{Bar, BarEnd, Event, Key, QUARTER, Tune};

/// Ticks of a note without a length.
const UNIT: u32 = QUARTER / 2;

/// Bars of a line.
const BARS_PER_LINE: usize = 4;

/// A file with this tune. Pitches outside the scale get accidentals, sharps in sharp keys and flats in flat ones.
pub fn write(tune: &Tune, origin: Origin) -> Vec<u8> {
    let mut out = String::from("%abc-2.1\n");
    crate::label::abc::write(&mut out, origin);
    let one_line = |text: &str| text.replace(['\n', '\r', '%'], " ");
    let _ = writeln!(out, "X:1\nT:{}", one_line(&tune.title));
    if let Some(rhythm) = &tune.rhythm {
        let _ = writeln!(out, "R:{}", one_line(rhythm));
    }
    for remark in &tune.remarks {
        let _ = writeln!(out, "N:{}", one_line(remark));
    }
    let _ = writeln!(out, "M:{}\nL:1/8", tune.metre);
    if let Some(tempo) = tune.tempo {
        let beat = tune.metre.beat();
        let number = tempo * f64::from(QUARTER) / f64::from(beat);
        let (above, below) = reduced(beat, 4 * QUARTER);
        let _ = writeln!(out, "Q:{above}/{below}={}", number.round());
    }
    let _ = writeln!(out, "K:{}", tune.key);
    let mut key = tune.key;
    let mut in_line = 0;
    for (i, bar) in tune.bars.iter().enumerate() {
        if let Some(new) = bar.key {
            key = new;
            let _ = write!(out, "[K:{new}]");
        }
        if let Some(metre) = bar.metre {
            let _ = write!(out, "[M:{metre}]");
        }
        if bar.opens && i > 0 {
            out.push_str("|:");
        } else if bar.opens {
            out.push_str("|: ");
        }
        if bar.ending != 0 {
            let numbers = (0..8).filter(|n| bar.ending >> n & 1 == 1);
            let numbers: Vec<String> = numbers.map(|n| (n + 1).to_string()).collect();
            let _ = write!(out, "[{} ", numbers.join(","));
        }
        write_bar(bar, key, &mut out);
        out.push_str(match bar.end {
            BarEnd::Plain => " |",
            BarEnd::Double => " ||",
            BarEnd::Repeat => " :|",
        });
        in_line += 1;
        let part = bar.end != BarEnd::Plain;
        out.push(if part || in_line == BARS_PER_LINE {
            '\n'
        } else {
            ' '
        });
        if part || in_line == BARS_PER_LINE {
            in_line = 0;
        }
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out.into_bytes()
}

fn write_bar(bar: &Bar, key: Key, out: &mut String) {
    let mut altered: [Option<i8>; 7] = [None; 7];
    let (mut at, mut chords) = (0, bar.chords.iter().peekable());
    let mut events = bar.events.as_slice();
    while !events.is_empty() {
        while let Some((_, chord)) = chords.next_if(|c| c.0 <= at) {
            let _ = write!(out, "\"{}\"", chord.name(key.fifths() < 0));
        }
        let group = triplets(events);
        let count = if group { 3 } else { 1 };
        if group {
            out.push_str("(3");
        }
        for event in &events[..count] {
            let length = if group {
                event.length / 2 * 3
            } else {
                event.length
            };
            write_event(event, length, key, &mut altered, out);
            at += event.length;
        }
        events = &events[count..];
        // Notes of one beat hang together.
        if at % (2 * UNIT) == 0 && !events.is_empty() {
            out.push(' ');
        }
    }
}

/// Whether the next three notes are as long as one another and fill the time of two that are written as usual.
fn triplets(events: &[Event]) -> bool {
    match events {
        [a, b, c, ..] => {
            let same = a.length == b.length && b.length == c.length;
            same && a.length.is_multiple_of(20)
                && !a.length.is_multiple_of(30)
                && (a.length / 20).is_power_of_two()
        }
        _ => false,
    }
}

fn write_event(
    event: &Event,
    length: u32,
    key: Key,
    altered: &mut [Option<i8>; 7],
    out: &mut String,
) {
    match event.pitch {
        Some(pitch) => write_pitch(pitch, key, altered, out),
        None => out.push('z'),
    }
    let (above, below) = reduced(length, UNIT);
    match (above, below) {
        (1, 1) => {}
        (_, 1) => {
            let _ = write!(out, "{above}");
        }
        (1, 2) => out.push('/'),
        _ => {
            let _ = write!(out, "{above}/{below}");
        }
    }
    if event.tied {
        out.push('-');
    }
}

/// The letter of the scale where the pitch has one, else a letter with an accidental.
fn write_pitch(pitch: u8, key: Key, altered: &mut [Option<i8>; 7], out: &mut String) {
    let (step, accidental) = spell(pitch % 12, key);
    let natural = i32::from(NATURAL[step]) + i32::from(accidental);
    let octave = (i32::from(pitch) - 60 - natural).div_euclid(12);
    if altered[step].unwrap_or_else(|| key.alteration(step)) != accidental {
        altered[step] = Some(accidental);
        out.push_str(match accidental {
            2 => "^^",
            1 => "^",
            0 => "=",
            -1 => "_",
            _ => "__",
        });
    }
    let letter = ['C', 'D', 'E', 'F', 'G', 'A', 'B'][step];
    if octave >= 1 {
        out.push(letter.to_ascii_lowercase());
        (1..octave).for_each(|_| out.push('\''));
    } else {
        out.push(letter);
        (octave..0).for_each(|_| out.push(','));
    }
}

/// Letter (0 is C) and accidental of a pitch class.
fn spell(class: u8, key: Key) -> (usize, i8) {
    let with = |step: usize, accidental: i8| {
        (i32::from(NATURAL[step]) + i32::from(accidental)).rem_euclid(12) == i32::from(class)
    };
    let in_scale = (0..7).find(|&s| with(s, key.alteration(s)));
    if let Some(step) = in_scale {
        return (step, key.alteration(step));
    }
    let order: [i8; 3] = if key.fifths() < 0 {
        [0, -1, 1]
    } else {
        [0, 1, -1]
    };
    for accidental in order {
        if let Some(step) = (0..7).find(|&s| with(s, accidental)) {
            return (step, accidental);
        }
    }
    (0, 0)
}

/// A fraction in lowest terms.
fn reduced(above: u32, below: u32) -> (u32, u32) {
    let (mut a, mut b) = (above, below);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (above / a.max(1), below / a.max(1))
}
