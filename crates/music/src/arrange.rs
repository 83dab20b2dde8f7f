//! An accompaniment: chords, bass, pad and drums by the style of a tune.

mod patterns;

use medley_media::score::{BarEnd, Chord, Key, Metre, Note, QUARTER, Score, Track, Tune};

use crate::noise::Noise;
use crate::traits::Style;
use crate::wish::Mood;
use patterns::{Part, Stroke, bass_strokes, chord_strokes, drum_strokes};

/// How a tune is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Style.
    pub style: Style,
    /// Mood.
    pub mood: Mood,
    /// Quarters a minute.
    pub tempo: f64,
    /// Bars that are played, repeats counted; the tune begins again where it is shorter.
    pub bars: usize,
    /// Draws what differs from stroke to stroke.
    pub seed: u64,
}

/// A bar as the accompaniment sees it.
struct Measure {
    start: u32,
    length: u32,
    metre: Metre,
    chords: Vec<(u32, Chord)>,
    /// How much is played: 0 little to 2 all.
    level: u8,
    last: bool,
}

/// Melody and measures in the order in which they are played.
struct Played {
    melody: Vec<Note>,
    measures: Vec<Measure>,
    upbeat: u32,
}

/// The tune with its accompaniment. A tune without chords is given none, so that only its melody and the drums are heard.
pub fn arrange(tune: &Tune, band: &Band) -> Score {
    let mut played = play(tune, band.bars.max(1));
    if let Some(last) = played.measures.last_mut() {
        last.last = true;
    }
    let mut noise = Noise::new(band.seed);
    shape_melody(&mut played, &mut noise);
    let mut tracks = vec![Track {
        name: "melody".into(),
        program: lead(band),
        drums: false,
        notes: played.melody.clone(),
    }];
    let mut add = |name: &str, program: u8, drums: bool, notes: Vec<Note>| {
        if !notes.is_empty() {
            tracks.push(Track {
                name: name.into(),
                program,
                drums,
                notes,
            });
        }
    };
    let quiet = matches!(band.mood, Mood::Calm | Mood::Sad) || band.style == Style::Air;
    add(
        "chords",
        if quiet { 4 } else { 25 },
        false,
        chords(&played, band, &mut noise),
    );
    add("bass", 32, false, bass(&played, band, &mut noise));
    if quiet || band.mood == Mood::Bold {
        add("pad", 48, false, pad(&played));
    }
    add("drums", 0, true, drums(&played, band, &mut noise));
    let end = played.measures.last().map_or(0, |m| m.start + m.length);
    Score {
        title: tune.title.clone(),
        key: Some(tune.key),
        metre: tune.metre,
        upbeat: played.upbeat,
        tempos: tempos(band.tempo, &played, end),
        chords: played
            .measures
            .iter()
            .flat_map(|m| m.chords.iter().map(|(at, c)| (m.start + at, *c)))
            .collect(),
        tracks,
    }
}

/// The last two bars broaden.
fn tempos(tempo: f64, played: &Played, end: u32) -> Vec<(u32, f64)> {
    let mut tempos = vec![(0, tempo)];
    if played.measures.len() >= 8
        && let [.., before, last] = &played.measures[..]
    {
        tempos.push((before.start + before.length / 2, tempo * 0.95));
        tempos.push((last.start, tempo * 0.88));
        tempos.push((last.start + (end - last.start) / 2, tempo * 0.8));
    }
    tempos
}

/// What plays the melody.
fn lead(band: &Band) -> u8 {
    match (band.style, band.mood) {
        (_, Mood::Calm) => 4,
        (Style::Air, _) | (_, Mood::Sad) => 78,
        (Style::March, _) => 72,
        (Style::Waltz, _) => 4,
        _ => 25,
    }
}

/// Reads the tune through, as often as it takes to fill the bars.
fn play(tune: &Tune, bars: usize) -> Played {
    let order = tune.order();
    let signs = tune.signs();
    let mut played = Played {
        melody: Vec::new(),
        measures: Vec::new(),
        upbeat: tune.upbeat(),
    };
    let (mut at, mut tied, mut part, mut begins) = (0u32, false, 0usize, true);
    'whole: loop {
        for &number in &order {
            let bar = &tune.bars[number];
            let metre = signs[number].0;
            let ends = bar.end != BarEnd::Plain;
            let upbeat = begins && !ends && bar.length() < metre.bar();
            if !upbeat && played.measures.len() >= bars {
                break 'whole;
            }
            if !upbeat {
                played.measures.push(Measure {
                    start: at,
                    length: metre.bar(),
                    metre,
                    chords: bar.chords.clone(),
                    level: part.min(2) as u8,
                    last: false,
                });
            }
            for event in &bar.events {
                if let Some(pitch) = event.pitch {
                    match played.melody.last_mut() {
                        Some(last) if tied && last.pitch == pitch => last.length += event.length,
                        _ => played.melody.push(Note {
                            start: at,
                            length: event.length,
                            pitch,
                            velocity: 0,
                        }),
                    }
                }
                tied = event.tied && event.pitch.is_some();
                at = at.saturating_add(event.length);
            }
            part += usize::from(ends);
            begins = ends;
        }
        if order.is_empty() || played.measures.is_empty() {
            break;
        }
    }
    // An upbeat to nothing is not played.
    let end = played.measures.last().map_or(0, |m| m.start + m.length);
    if let Some(last) = played.measures.last() {
        let (from, key) = (last.start, tune.key);
        played.melody.retain(|n| n.start < end);
        close(&mut played.melody, from, end, key);
    }
    played
}

/// The melody ends on a note of the tonic chord, which is held: on the last tonic of the last bar where it has one, since
/// what follows that leads back to the beginning.
fn close(melody: &mut Vec<Note>, from: u32, end: u32, key: Key) {
    let scale = key.scale();
    let home = [scale[0], scale[2], scale[4]];
    let tonic = melody
        .iter()
        .rposition(|n| n.start >= from && n.pitch % 12 == scale[0]);
    if let Some(place) = tonic {
        melody.truncate(place + 1);
    }
    let Some(last) = melody.last_mut().filter(|n| n.start >= from) else {
        return;
    };
    if !home.contains(&(last.pitch % 12)) {
        let near = (1..=3).flat_map(|d| [last.pitch.saturating_sub(d), last.pitch + d]);
        if let Some(pitch) = near.into_iter().find(|p| home.contains(&(p % 12))) {
            last.pitch = pitch;
        }
    }
    last.length = end.saturating_sub(last.start).max(1);
}

/// Velocities: beats are stronger, high notes and the middle of phrases too; notes are a little shorter than written.
fn shape_melody(played: &mut Played, noise: &mut Noise) {
    let mean = played
        .melody
        .iter()
        .map(|n| f32::from(n.pitch))
        .sum::<f32>()
        / played.melody.len().max(1) as f32;
    let mut measure = 0;
    for note in &mut played.melody {
        while played
            .measures
            .get(measure + 1)
            .is_some_and(|m| m.start <= note.start)
        {
            measure += 1;
        }
        let Some(m) = played.measures.get(measure) else {
            break;
        };
        let place = note.start.saturating_sub(m.start);
        let accent = match place {
            0 => 12.0,
            p if p % m.metre.beat() == 0 => 7.0,
            p if p % (m.metre.beat() / 2).max(1) == 0 => 1.0,
            _ => -4.0,
        };
        let arch = 6.0 * (std::f32::consts::PI * ((measure % 8) as f32 + 0.5) / 8.0).sin();
        let high = ((f32::from(note.pitch) - mean) * 0.5).clamp(-6.0, 6.0);
        let velocity = 82.0 + accent + arch + high + 4.0 * noise.signed();
        note.velocity = velocity.clamp(40.0, 120.0) as u8;
        note.length = note.length.saturating_sub(note.length / 14).max(1);
    }
}

/// The chord that sounds at a place of a measure.
fn chord_at(measure: &Measure, at: u32, before: Option<Chord>) -> Option<Chord> {
    let started = measure.chords.iter().rev().find(|c| c.0 <= at);
    started.or(measure.chords.first()).map(|c| c.1).or(before)
}

/// A note of a stroke with what differs from one to the next.
fn struck(at: u32, stroke: &Stroke, pitch: u8, loudness: f32, noise: &mut Noise) -> Note {
    let late = (5.0 * noise.share()) as u32;
    let velocity = stroke.force * loudness + 5.0 * noise.signed();
    Note {
        start: at + late,
        length: stroke.length.max(1),
        pitch,
        velocity: velocity.clamp(12.0, 122.0) as u8,
    }
}

/// Plays a pattern in every measure. `pitches` gives the notes of a stroke.
fn pattern(
    played: &Played,
    noise: &mut Noise,
    strokes: impl Fn(&Measure, u64) -> Vec<Stroke>,
    pitches: impl Fn(&Stroke, Option<Chord>) -> Vec<u8>,
) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut before = None;
    for (number, measure) in played.measures.iter().enumerate() {
        for stroke in strokes(measure, number as u64) {
            let chord = chord_at(measure, stroke.at, before);
            // Strings of a chord sound one after the other.
            for (i, pitch) in pitches(&stroke, chord).into_iter().enumerate() {
                let at = measure.start + stroke.at + stroke.spread * i as u32;
                notes.push(struck(at, &stroke, pitch, 1.0, noise));
            }
        }
        before = measure.chords.last().map(|c| c.1).or(before);
    }
    notes.sort_by_key(|n| n.start);
    notes
}

/// The notes of a chord from a pitch upwards, within an octave.
fn voiced(chord: Chord, lowest: u8) -> Vec<u8> {
    let mut notes: Vec<u8> = chord
        .notes()
        .map(|n| lowest + (n + 12 - lowest % 12) % 12)
        .collect();
    notes.sort_unstable();
    notes
}

fn chords(played: &Played, band: &Band, noise: &mut Noise) -> Vec<Note> {
    pattern(
        played,
        noise,
        |m, _| chord_strokes(band.style, band.mood, m.metre, m.level, m.last),
        |stroke, chord| {
            let Some(chord) = chord else {
                return Vec::new();
            };
            let notes = voiced(chord, 54);
            match stroke.part {
                Part::Chord => notes,
                Part::Step(n) => {
                    let octave = 12 * (n / notes.len()) as u8;
                    vec![notes[n % notes.len()] + octave]
                }
                _ => Vec::new(),
            }
        },
    )
}

fn bass(played: &Played, band: &Band, noise: &mut Noise) -> Vec<Note> {
    pattern(
        played,
        noise,
        |m, _| bass_strokes(band.style, m.metre, m.level, m.last),
        |stroke, chord| {
            let Some(chord) = chord else {
                return Vec::new();
            };
            let root = 36 + chord.root % 12;
            let fifth = chord.quality.intervals().get(2).copied().unwrap_or(7);
            match stroke.part {
                Part::Root => vec![root],
                // Below the root where there is room.
                Part::Fifth if root + fifth >= 45 => vec![root + fifth - 12],
                Part::Fifth => vec![root + fifth],
                Part::Octave => vec![root + 12],
                _ => Vec::new(),
            }
        },
    )
}

fn pad(played: &Played) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for measure in &played.measures {
        for (i, &(at, chord)) in measure.chords.iter().enumerate() {
            let to = measure.chords.get(i + 1).map_or(measure.length, |c| c.0);
            for pitch in voiced(chord, 55) {
                notes.push(Note {
                    start: measure.start + at,
                    length: to.saturating_sub(at).max(QUARTER / 4),
                    pitch,
                    velocity: 58 + 10 * measure.level,
                });
            }
        }
    }
    notes
}

fn drums(played: &Played, band: &Band, noise: &mut Noise) -> Vec<Note> {
    pattern(
        played,
        noise,
        |m, number| drum_strokes(band.style, band.mood, m.metre, m.level, number, m.last),
        |stroke, _| match stroke.part {
            Part::Drum(key) => vec![key],
            _ => Vec::new(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tune() -> Tune {
        let text = "X:1\nM:6/8\nL:1/8\nK:D\nA|:\"D\"d2A F2A|\"G\"B2d \"A\"c2A|\"D\"d2A F2A|\"A\"E3 \"D\"D2A:|";
        medley_media::abc::read(text.as_bytes()).unwrap()
    }

    const BAND: Band = Band {
        style: Style::Jig,
        mood: Mood::Plain,
        tempo: 170.0,
        bars: 8,
        seed: 3,
    };

    #[test]
    fn the_accompaniment_follows_the_bars() {
        let score = arrange(&tune(), &BAND);
        let names: Vec<&str> = score.tracks.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["melody", "chords", "bass", "drums"]);
        let bass = &score.tracks[2].notes;
        // The first bar begins behind the upbeat, with the root of its chord.
        assert!((240..246).contains(&bass[0].start), "{}", bass[0].start);
        assert_eq!(bass[0].pitch % 12, 2);
        // Eight bars, whatever the tune has.
        let end = 240 + 8 * 1440;
        assert!(
            score
                .tracks
                .iter()
                .flat_map(|t| &t.notes)
                .all(|n| n.start < end)
        );
        assert_eq!(score.tracks[0].notes.last().unwrap().pitch % 12, 2);
        assert_eq!(arrange(&tune(), &BAND), score);
        let other = arrange(&tune(), &Band { seed: 4, ..BAND });
        assert_ne!(other, score);
        let long = arrange(&tune(), &Band { bars: 30, ..BAND });
        assert!(long.seconds() > 3.0 * score.seconds());
    }

    #[test]
    fn quiet_music_has_a_pad_and_no_drums() {
        let score = arrange(
            &tune(),
            &Band {
                mood: Mood::Calm,
                ..BAND
            },
        );
        let names: Vec<&str> = score.tracks.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["melody", "chords", "bass", "pad"]);
    }
}
