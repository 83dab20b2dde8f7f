//! Notes, bars and repeats of an ABC tune.

use super::read::{key_field, unit};
use crate::score::key::{NATURAL, letter_step};
use crate::score::{Bar, BarEnd, Chord, Event, Key, MOST_BARS, Metre, QUARTER};

/// Notes that a tune may have.
const MOST_NOTES: usize = 200_000;

/// Longest note, in ticks.
const LONGEST: u64 = 64 * QUARTER as u64;

/// A group of notes that is played in the time of another number (section 4.13).
struct Tuplet {
    /// Notes that are still to come.
    left: u32,
    /// `put` notes are played in the time of `time`.
    put: u64,
    time: u64,
    /// Ticks as written, and as played, so far.
    written: u64,
    played: u64,
}

/// The music of a tune while it is read.
pub(super) struct Body {
    key: Key,
    metre: Metre,
    unit: u32,
    bars: Vec<Bar>,
    bar: Bar,
    notes: usize,
    /// Accidentals of this bar by letter.
    accidentals: [Option<i8>; 7],
    /// Letter and octave of a tied note with its pitch, whose accidental goes on over the line.
    held: Option<(usize, i32, u8)>,
    tuplet: Option<Tuplet>,
    /// What a broken rhythm does to the next note, as a power of two of the share that is left or added.
    broken: Option<(bool, u32)>,
    /// A chord symbol for the next note.
    chord: Option<Chord>,
    /// Whether an overlay is skipped, to the end of the bar.
    overlay: bool,
}

/// Characters with what was read of them.
struct Text<'a> {
    rest: &'a str,
}

impl<'a> Text<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn second(&self) -> Option<char> {
        self.rest.chars().nth(1)
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    fn skip_if(&mut self, letter: char) -> bool {
        let is = self.peek() == Some(letter);
        if is {
            self.next();
        }
        is
    }

    /// What stands before `close`, which is read as well; nothing is read where it does not come.
    fn until(&mut self, close: char) -> Option<&'a str> {
        let end = self.rest.find(close)?;
        let inside = &self.rest[..end];
        self.rest = &self.rest[end + close.len_utf8()..];
        Some(inside)
    }

    fn number(&mut self) -> Option<u64> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.rest.len());
        let digits = &self.rest[..end.min(6)];
        let number = digits.parse().ok();
        self.rest = &self.rest[end..];
        number
    }
}

impl Body {
    pub(super) fn new(key: Key, metre: Metre, unit: u32) -> Self {
        Self {
            key,
            metre,
            unit,
            bars: Vec::new(),
            bar: Bar::default(),
            notes: 0,
            accidentals: [None; 7],
            held: None,
            tuplet: None,
            broken: None,
            chord: None,
            overlay: false,
        }
    }

    /// The bars.
    pub(super) fn finish(mut self) -> Result<Vec<Bar>, String> {
        self.close_bar(BarEnd::Plain);
        if self.bars.len() > MOST_BARS || self.notes > MOST_NOTES {
            return Err(format!(
                "it has more than {MOST_BARS} bars or {MOST_NOTES} notes"
            ));
        }
        let sounds = |b: &Bar| b.events.iter().any(|e| e.pitch.is_some());
        if !self.bars.iter().any(sounds) {
            return Err("it has no notes".into());
        }
        Ok(self.bars)
    }

    /// A field within the music.
    pub(super) fn field(&mut self, letter: char, value: &str) {
        match letter {
            'K' => {
                if let Some(key) = key_field(value).filter(|k| *k != self.key) {
                    self.key = key;
                    self.bar.key = Some(key);
                }
            }
            'M' => {
                if let Some(metre) = Metre::parse(value).filter(|m| *m != self.metre) {
                    self.metre = metre;
                    self.bar.metre = Some(metre);
                }
            }
            'L' => self.unit = unit(value).unwrap_or(self.unit),
            _ => {}
        }
    }

    /// A line of music.
    pub(super) fn line(&mut self, line: &str) {
        if self.notes > MOST_NOTES || self.bars.len() > MOST_BARS {
            return;
        }
        let mut text = Text { rest: line };
        while let Some(letter) = text.peek() {
            if self.overlay && !matches!(letter, '|' | ':') {
                text.next();
                continue;
            }
            match letter {
                '|' | ':' => self.line_of_bar(&mut text),
                '[' => self.bracket(&mut text),
                '"' => {
                    text.next();
                    let inside = text.until('"').unwrap_or("");
                    self.chord = Chord::parse(inside).or(self.chord);
                }
                '{' => {
                    text.next();
                    let _ = text.until('}');
                }
                '!' | '+' => {
                    text.next();
                    let end = text.rest.find(letter).filter(|&end| end < 30);
                    if end.is_some() {
                        let _ = text.until(letter);
                    }
                }
                '(' => self.open(&mut text),
                '>' | '<' => self.break_rhythm(&mut text),
                '-' => {
                    text.next();
                    self.tie();
                }
                '&' => {
                    text.next();
                    self.overlay = true;
                }
                'A'..='G' | 'a'..='g' | '^' | '_' | '=' => {
                    if let Some((pitch, length)) = self.note(&mut text) {
                        self.put(Some(pitch), length);
                    }
                }
                'z' | 'x' => {
                    text.next();
                    let length = self.length(&mut text);
                    self.put(None, length);
                }
                'Z' | 'X' => self.rest_of_bars(&mut text),
                _ => {
                    text.next();
                }
            }
        }
    }

    /// `Z4`: bars of rest.
    fn rest_of_bars(&mut self, text: &mut Text) {
        text.next();
        let count = text.number().unwrap_or(1).clamp(1, 64);
        for i in 0..count {
            self.put(None, u64::from(self.metre.bar()));
            if i + 1 < count {
                self.close_bar(BarEnd::Plain);
            }
        }
    }

    /// `[`: a field, an ending, a line, or notes that sound together.
    fn bracket(&mut self, text: &mut Text) {
        text.next();
        match (text.peek(), text.second()) {
            (Some('|'), _) => self.line_of_bar(text),
            (Some(letter), Some(':')) if letter.is_ascii_alphabetic() => {
                if let Some(inside) = text.until(']') {
                    self.field(letter, &inside[2..]);
                }
            }
            (Some('1'..='9'), _) => self.ending(text),
            _ => self.together(text),
        }
    }

    /// Notes within brackets: the highest counts.
    fn together(&mut self, text: &mut Text) {
        let Some(inside) = text.until(']') else {
            return;
        };
        let mut notes = Text { rest: inside };
        let mut highest: Option<(u8, u64)> = None;
        let held = self.held.take();
        while let Some(letter) = notes.peek() {
            if matches!(letter, 'A'..='G' | 'a'..='g' | '^' | '_' | '=') {
                self.held = held;
                if let Some((pitch, length)) = self.note(&mut notes) {
                    let higher = highest.is_none_or(|(p, _)| pitch > p);
                    highest = if higher {
                        Some((pitch, length))
                    } else {
                        highest
                    };
                }
            } else {
                notes.next();
            }
        }
        let outer = self.scale(text, u64::from(self.unit));
        if let Some((pitch, length)) = highest {
            let length = length.saturating_mul(outer) / u64::from(self.unit.max(1));
            self.put(Some(pitch), length);
        }
    }

    /// `(`: a tuplet where a number follows, else a slur.
    fn open(&mut self, text: &mut Text) {
        text.next();
        if !matches!(text.peek(), Some('2'..='9')) {
            return;
        }
        let put = text.number().unwrap_or(3).clamp(2, 9);
        let usual = match put {
            2 | 4 | 8 => 3,
            3 | 6 => 2,
            _ if self.metre.is_compound() => 3,
            _ => 2,
        };
        let (mut time, mut left) = (usual, put);
        if text.skip_if(':') {
            time = text.number().unwrap_or(usual).clamp(1, 16);
            if text.skip_if(':') {
                left = text.number().unwrap_or(put).clamp(1, 64);
            }
        }
        self.tuplet = Some(Tuplet {
            left: left as u32,
            put,
            time,
            written: 0,
            played: 0,
        });
    }

    /// `>` and `<` after a note: it is longer or shorter at the cost of the next (section 4.4).
    fn break_rhythm(&mut self, text: &mut Text) {
        let Some(sign) = text.next() else { return };
        let mut count = 1;
        while count < 4 && text.skip_if(sign) {
            count += 1;
        }
        let Some(last) = self.bar.events.last_mut() else {
            return;
        };
        let part = last.length >> count;
        last.length = if sign == '>' {
            2 * last.length - part
        } else {
            part
        };
        self.broken = Some((sign == '<', count));
    }

    fn tie(&mut self) {
        if let Some(last) = self.bar.events.last_mut().filter(|e| e.pitch.is_some()) {
            last.tied = true;
        }
    }

    /// A note's pitch and its ticks as written.
    fn note(&mut self, text: &mut Text) -> Option<(u8, u64)> {
        let mut accidental = None;
        while let Some(sign) = text.peek().filter(|c| matches!(c, '^' | '_' | '=')) {
            text.next();
            let step = match sign {
                '^' => 1,
                '_' => -1,
                _ => 0,
            };
            accidental = Some((accidental.unwrap_or(0) + step).clamp(-2, 2));
        }
        let letter = text.peek().filter(char::is_ascii_alphabetic)?;
        let step = letter_step(letter)?;
        text.next();
        let mut octave = i32::from(letter.is_ascii_lowercase());
        while let Some(mark) = text.peek().filter(|c| matches!(c, ',' | '\'')) {
            text.next();
            octave = (octave + if mark == ',' { -1 } else { 1 }).clamp(-6, 6);
        }
        let length = self.length(text);
        let held = self.held.take();
        if let (None, Some((held_step, held_octave, pitch))) = (accidental, held)
            && (held_step, held_octave) == (step, octave)
        {
            return Some((pitch, length));
        }
        if accidental.is_some() {
            self.accidentals[step] = accidental;
        }
        let altered = self.accidentals[step].unwrap_or_else(|| self.key.alteration(step));
        let pitch = 60 + i32::from(NATURAL[step]) + 12 * octave + i32::from(altered);
        let pitch = u8::try_from(pitch).ok().filter(|p| *p < 128)?;
        self.held = Some((step, octave, pitch));
        Some((pitch, length))
    }

    fn length(&self, text: &mut Text) -> u64 {
        self.scale(text, u64::from(self.unit))
    }

    /// `base` times the fraction that follows: `3`, `/`, `3/2`, `//` …
    fn scale(&self, text: &mut Text, base: u64) -> u64 {
        let above = match text.peek() {
            Some('0'..='9') => text.number().unwrap_or(1),
            _ => 1,
        };
        let mut below = 1u64;
        while text.skip_if('/') {
            let by = match text.peek() {
                Some('0'..='9') => text.number().unwrap_or(2),
                _ => 2,
            };
            below = below.saturating_mul(by.max(1)).min(4096);
        }
        (base.saturating_mul(above) / below).min(LONGEST)
    }

    /// Appends a note or a rest of these ticks as written.
    fn put(&mut self, pitch: Option<u8>, written: u64) {
        let mut length = written.min(LONGEST);
        if let Some((longer, count)) = self.broken.take() {
            let part = length >> count;
            length = if longer { 2 * length - part } else { part };
        }
        if let Some(tuplet) = &mut self.tuplet {
            tuplet.written += length;
            // Rounded over the whole group, so that it ends where it shall.
            let end = tuplet.written * tuplet.time / tuplet.put;
            length = end - tuplet.played;
            tuplet.played = end;
            tuplet.left -= 1;
            if tuplet.left == 0 {
                self.tuplet = None;
            }
        }
        if let Some(chord) = self.chord.take() {
            self.bar.chords.push((self.bar.length(), chord));
        }
        if length == 0 {
            return;
        }
        // Without a tie the next note of the same place has its own accidental.
        if pitch.is_none() {
            self.held = None;
        }
        self.notes += 1;
        self.bar.events.push(Event {
            pitch,
            length: length as u32,
            tied: false,
        });
    }

    /// A line between bars with its colons, and the ending that may follow.
    fn line_of_bar(&mut self, text: &mut Text) {
        let (mut before, mut lines, mut after) = (0, 0, 0);
        while let Some(sign) = text.peek() {
            match sign {
                ':' if lines == 0 => before += 1,
                ':' => after += 1,
                '|' if after == 0 => lines += 1,
                ']' if lines > 0 && after == 0 => lines = 2,
                // `:||:` and `::` are one sign, `|: |` are two.
                _ => break,
            }
            text.next();
        }
        if lines == 0 {
            // A single colon is no line.
            if before < 2 {
                return;
            }
            after = 1;
        }
        let end = match (before, lines) {
            (1.., _) => BarEnd::Repeat,
            (_, 2..) => BarEnd::Double,
            _ => BarEnd::Plain,
        };
        self.close_bar(end);
        self.bar.opens |= after > 0;
        if matches!(text.peek(), Some('1'..='9')) {
            self.ending(text);
        }
    }

    /// `1`, `2`, `1,3` or `1-3`: an ending begins.
    fn ending(&mut self, text: &mut Text) {
        let mut mask = 0u8;
        let mut from = None;
        while let Some(number) = text.number() {
            let number = number.clamp(1, 8) as u8;
            for n in from.unwrap_or(number)..=number.max(from.unwrap_or(number)) {
                mask |= 1 << (n - 1);
            }
            from = None;
            let digit = |c: Option<char>| matches!(c, Some('1'..='9'));
            match text.peek() {
                Some(',') if digit(text.second()) => {}
                Some('-') if digit(text.second()) => from = Some(number),
                _ => break,
            }
            text.next();
        }
        if !self.bar.events.is_empty() {
            self.close_bar(BarEnd::Plain);
        }
        self.bar.ending = mask;
    }

    /// Ends the bar, if it holds anything; else what stands behind the bar before is said again.
    fn close_bar(&mut self, end: BarEnd) {
        self.accidentals = [None; 7];
        self.overlay = false;
        self.broken = None;
        let tied = self.bar.events.last().is_some_and(|e| e.tied);
        if !tied {
            self.held = None;
        }
        if self.bar.events.is_empty() {
            let stronger = match (self.bars.last().map(|b| b.end), end) {
                (Some(BarEnd::Plain), _) | (_, BarEnd::Repeat) => end,
                (Some(known), _) => known,
                (None, _) => BarEnd::Plain,
            };
            if let Some(last) = self.bars.last_mut() {
                last.end = stronger;
            }
            return;
        }
        let mut bar = std::mem::take(&mut self.bar);
        bar.end = end;
        self.bars.push(bar);
    }
}
