//! From what is written to what is played and back.

use super::{
    Bar, BarEnd, Event, MOST_BARS, Metre, Note, QUARTER, Score, Track, Tune, estimate_key,
};

/// Quarters a minute where a tune says nothing.
const TEMPO: f64 = 110.0;

/// How hard the notes of a tune are struck.
const VELOCITY: u8 = 90;

impl Tune {
    /// Numbers of the bars in the order in which they are played, repeats written out: at most [`MOST_BARS`].
    pub fn order(&self) -> Vec<usize> {
        let mut order = Vec::new();
        let (mut start, mut pass, mut at) = (0, 0u8, 0);
        // Whether what is read stands within an ending.
        let mut within = false;
        while let Some(bar) = self.bars.get(at) {
            if order.len() >= MOST_BARS {
                break;
            }
            if bar.opens && at != start {
                (start, pass, within) = (at, 0, false);
            }
            if bar.ending != 0 {
                within = true;
                if bar.ending >> pass.min(7) & 1 == 0 {
                    match self.next_ending(at) {
                        Some(next) => {
                            at = next;
                            continue;
                        }
                        None => break,
                    }
                }
            }
            order.push(at);
            match bar.end {
                BarEnd::Repeat if pass + 1 < self.passes(start, at) => {
                    (pass, within, at) = (pass + 1, false, start);
                    continue;
                }
                BarEnd::Repeat => (start, pass, within) = (at + 1, 0, false),
                BarEnd::Double if within => (start, pass, within) = (at + 1, 0, false),
                _ => {}
            }
            at += 1;
        }
        order
    }

    /// How often the part from `start` to the repeat sign behind bar `end` is played.
    fn passes(&self, start: usize, end: usize) -> u8 {
        let highest = |bar: &Bar| (8 - bar.ending.leading_zeros()) as u8;
        let inside = self.bars[start..=end].iter().map(highest).max();
        // The ending behind the sign is of the last time.
        let behind = self.bars.get(end + 1).filter(|b| !b.opens).map(highest);
        inside.max(behind).unwrap_or(0).max(2)
    }

    /// The next bar that begins an ending of the same part.
    fn next_ending(&self, from: usize) -> Option<usize> {
        let rest = self.bars.get(from + 1..)?;
        let next = rest.iter().position(|b| b.ending != 0 || b.opens)?;
        Some(from + 1 + next)
    }

    /// The metre and the key that hold in each bar.
    pub fn signs(&self) -> Vec<(Metre, super::Key)> {
        let (mut metre, mut key) = (self.metre, self.key);
        let mut signs = Vec::with_capacity(self.bars.len());
        for bar in &self.bars {
            metre = bar.metre.unwrap_or(metre);
            key = bar.key.unwrap_or(key);
            signs.push((metre, key));
        }
        signs
    }

    /// Ticks of an upbeat; 0 where the first bar is full.
    pub fn upbeat(&self) -> u32 {
        match self.bars.first() {
            Some(bar) if self.bars.len() > 1 && bar.length() < self.metre.bar() => bar.length(),
            _ => 0,
        }
    }

    /// The tune as it is played: one track, repeats written out, tied notes as one.
    pub fn play(&self) -> Score {
        let (mut notes, mut chords, mut at) = (Vec::<Note>::new(), Vec::new(), 0u32);
        let mut tied = false;
        for number in self.order() {
            let bar = &self.bars[number];
            chords.extend(bar.chords.iter().map(|&(tick, c)| (at + tick, c)));
            for event in &bar.events {
                if let Some(pitch) = event.pitch {
                    match notes.last_mut() {
                        Some(last) if tied && last.pitch == pitch => last.length += event.length,
                        _ => notes.push(Note {
                            start: at,
                            length: event.length,
                            pitch,
                            velocity: VELOCITY,
                        }),
                    }
                }
                tied = event.tied && event.pitch.is_some();
                at = at.saturating_add(event.length);
            }
        }
        Score {
            title: self.title.clone(),
            key: Some(self.key),
            metre: self.metre,
            upbeat: self.upbeat(),
            tempos: vec![(0, self.tempo.unwrap_or(TEMPO))],
            chords,
            tracks: vec![Track {
                name: "melody".into(),
                notes,
                ..Track::default()
            }],
        }
    }

    /// The tune moved by semitones; none where a note would leave the range of MIDI.
    pub fn transposed(&self, semitones: i32) -> Option<Self> {
        let mut tune = self.clone();
        tune.key = tune.key.transposed(semitones);
        for bar in &mut tune.bars {
            bar.key = bar.key.map(|k| k.transposed(semitones));
            for (_, chord) in &mut bar.chords {
                *chord = chord.transposed(semitones);
            }
            for event in &mut bar.events {
                if let Some(pitch) = event.pitch {
                    let moved = u8::try_from(i32::from(pitch) + semitones).ok()?;
                    event.pitch = Some(moved).filter(|p| *p < 128);
                    event.pitch?;
                }
            }
        }
        Some(tune)
    }

    /// Joins notes that are tied within a bar, and forgets ties that lead to no note of the same pitch.
    pub fn tidy(&mut self) {
        for bar in &mut self.bars {
            let mut joined: Vec<Event> = Vec::with_capacity(bar.events.len());
            for event in bar.events.drain(..).filter(|e| e.length > 0) {
                match joined.last_mut() {
                    Some(last) if last.tied && last.pitch == event.pitch => {
                        last.length += event.length;
                        last.tied = event.tied;
                    }
                    Some(last) => {
                        last.tied = false;
                        joined.push(event);
                    }
                    None => joined.push(event),
                }
            }
            bar.events = joined;
        }
        for i in 0..self.bars.len() {
            let next = self.bars.get(i + 1).and_then(|b| b.events.first().copied());
            if let Some(last) = self.bars[i].events.last_mut() {
                let meets = next.is_some_and(|n| n.pitch == last.pitch);
                last.tied &= last.pitch.is_some() && meets;
            }
        }
    }
}

/// Finest note of a melody taken out of a score: a thirty-second, or a third of an eighth.
const GRID: [u32; 2] = [QUARTER / 8, QUARTER / 6];

impl Score {
    /// The melody as a tune: of the track whose notes lie highest (drums and basses aside) the upper voice, on a grid of
    /// thirty-seconds and triplets, cut into bars. None where there are no notes.
    pub fn melody(&self) -> Option<Tune> {
        let mean = |t: &Track| {
            let sum: f64 = t.notes.iter().map(|n| f64::from(n.pitch)).sum();
            // A few high notes are no melody.
            sum / t.notes.len() as f64 + (t.notes.len() as f64).ln()
        };
        let tracks = self
            .tracks
            .iter()
            .filter(|t| !t.drums && !t.notes.is_empty());
        let track = tracks.max_by(|a, b| mean(a).total_cmp(&mean(b)))?;
        let notes = upper_voice(&track.notes);
        let key = self.key.unwrap_or_else(|| estimate_key(&notes));
        let mut tune = Tune {
            title: self.title.clone(),
            key,
            metre: self.metre,
            tempo: self.tempos.first().map(|t| t.1),
            bars: bars(&notes, self.metre.bar().max(1), self.upbeat),
            ..Tune::default()
        };
        tune.tidy();
        Some(tune)
    }
}

/// Of notes that begin together the highest, each ended by the next one; beginnings on the grid.
fn upper_voice(notes: &[Note]) -> Vec<Note> {
    let mut voice: Vec<Note> = Vec::new();
    let mut sorted = notes.to_vec();
    sorted.sort_by_key(|n| (n.start, std::cmp::Reverse(n.pitch)));
    for note in sorted {
        let start = on_grid(note.start);
        let end = on_grid(note.start.saturating_add(note.length)).max(start + GRID[0]);
        match voice.last_mut() {
            Some(last) if last.start == start => continue,
            // A lower note under one that still sounds is another voice.
            Some(last) if last.start + last.length > start + GRID[0] && note.pitch < last.pitch => {
                continue;
            }
            Some(last) => last.length = last.length.min(start - last.start),
            None => {}
        }
        voice.push(Note {
            start,
            length: end - start,
            ..note
        });
    }
    voice
}

/// The nearest tick of either grid.
fn on_grid(tick: u32) -> u32 {
    let near = GRID.map(|g| tick.saturating_add(g / 2) / g * g);
    if near[0].abs_diff(tick) <= near[1].abs_diff(tick) {
        near[0]
    } else {
        near[1]
    }
}

/// Notes and the rests between them in bars of `bar` ticks, the first of `upbeat` where that is not 0.
fn bars(notes: &[Note], bar: u32, upbeat: u32) -> Vec<Bar> {
    let mut bars = vec![Bar::default()];
    let mut room = if upbeat > 0 && upbeat < bar {
        upbeat
    } else {
        bar
    };
    let mut at = 0;
    let mut put = |pitch: Option<u8>, mut length: u32| {
        while length > 0 && bars.len() < MOST_BARS {
            let part = length.min(room);
            length -= part;
            room -= part;
            if let Some(last) = bars.last_mut() {
                last.events.push(Event {
                    pitch,
                    length: part,
                    tied: length > 0 && pitch.is_some(),
                });
            }
            if room == 0 {
                bars.push(Bar::default());
                room = bar;
            }
        }
        room
    };
    let mut left = bar;
    for note in notes {
        if note.start > at {
            put(None, note.start - at);
        }
        left = put(Some(note.pitch), note.length);
        at = note.start + note.length;
    }
    // The last bar is full, too.
    if left < bar {
        put(None, left);
    }
    bars.retain(|b| !b.events.is_empty());
    bars
}
