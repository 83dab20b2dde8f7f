//! Chords for a melody: the likeliest path through the chords of its key.

use medley_media::score::{Chord, Key, Metre, Mode, QUARTER, Quality, Tune};

/// A chord of a key, and how readily it is taken.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    chord: Chord,
    /// Place of its root in the scale, 0 for the tonic.
    degree: usize,
    cost: f64,
}

/// A stretch of melody under one chord.
struct Segment {
    bar: usize,
    tick: u32,
    /// How long each pitch class sounds, in beats; beginnings and strong places count more.
    weights: [f64; 12],
    /// Whether a part ends with it.
    ends: bool,
    begins: bool,
    half: bool,
}

/// Gives a tune chords, one for each bar, two where a bar is as long as four quarters and its halves differ. Chords that are
/// there are replaced.
///
/// Viterbi's algorithm: a chord costs what of the melody does not belong to it, and what the step from the one before costs
/// (falling fifths are cheap, a dominant without its tonic is dear); parts end on the tonic or the dominant.
pub fn harmonise(tune: &mut Tune) {
    let signs = tune.signs();
    let segments = segments(tune, &signs);
    for bar in &mut tune.bars {
        bar.chords.clear();
    }
    let mut from = 0;
    while from < segments.len() {
        let key = signs[segments[from].bar].1;
        let same = segments[from..]
            .iter()
            .take_while(|s| signs[s.bar].1 == key);
        let to = from + same.count();
        let path = best_path(&segments[from..to], &candidates(key));
        let mut before = None;
        for (segment, chord) in segments[from..to].iter().zip(path) {
            if !segment.half || before != Some(chord) {
                tune.bars[segment.bar].chords.push((segment.tick, chord));
            }
            before = Some(chord);
        }
        from = to;
    }
}

/// The chords of a key.
fn candidates(key: Key) -> Vec<Candidate> {
    use Quality::{Dominant, Major, Minor};
    // Degree, semitones above the tonic, quality, cost.
    let table: &[(usize, u8, Quality, f64)] = match key.mode() {
        Mode::Major | Mode::Lydian => &[
            (0, 0, Major, 0.0),
            (3, 5, Major, 0.25),
            (4, 7, Major, 0.15),
            (4, 7, Dominant, 0.35),
            (5, 9, Minor, 0.5),
            (1, 2, Minor, 0.55),
            (2, 4, Minor, 0.9),
        ],
        Mode::Mixolydian => &[
            (0, 0, Major, 0.0),
            (6, 10, Major, 0.1),
            (3, 5, Major, 0.25),
            (4, 7, Minor, 0.6),
            (1, 2, Minor, 0.7),
            (5, 9, Minor, 0.8),
        ],
        Mode::Dorian => &[
            (0, 0, Minor, 0.0),
            (6, 10, Major, 0.1),
            (3, 5, Major, 0.4),
            (2, 3, Major, 0.4),
            (4, 7, Minor, 0.5),
        ],
        Mode::Minor | Mode::Phrygian | Mode::Locrian => &[
            (0, 0, Minor, 0.0),
            (6, 10, Major, 0.3),
            (5, 8, Major, 0.4),
            (2, 3, Major, 0.4),
            (3, 5, Minor, 0.35),
            (4, 7, Major, 0.4),
            (4, 7, Dominant, 0.5),
            (4, 7, Minor, 0.7),
        ],
    };
    let of = |&(degree, up, quality, cost): &(usize, u8, Quality, f64)| Candidate {
        chord: Chord {
            root: (key.tonic() + up) % 12,
            quality,
        },
        degree,
        cost,
    };
    table.iter().map(of).collect()
}

fn segments(tune: &Tune, signs: &[(Metre, Key)]) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut begins = true;
    for (number, bar) in tune.bars.iter().enumerate() {
        let metre = signs[number].0;
        let ends = bar.end != medley_media::score::BarEnd::Plain;
        if begins && bar.length() < metre.bar() && !ends {
            // An upbeat has no chord.
            continue;
        }
        let mut cuts = vec![0];
        let half = metre.bar() / 2;
        let mut at = 0;
        for event in &bar.events {
            if at == half && metre.bar() >= 4 * QUARTER && metre.bar().is_multiple_of(2) {
                cuts.push(half);
            }
            at += event.length;
        }
        for (i, &tick) in cuts.iter().enumerate() {
            let to = cuts.get(i + 1).copied().unwrap_or(u32::MAX);
            segments.push(Segment {
                bar: number,
                tick,
                weights: weights(bar, metre, tick, to),
                ends: ends && i + 1 == cuts.len(),
                begins: begins && i == 0,
                half: tick > 0,
            });
        }
        begins = ends;
    }
    segments
}

fn weights(bar: &medley_media::score::Bar, metre: Metre, from: u32, to: u32) -> [f64; 12] {
    let mut weights = [0.0; 12];
    let mut at = 0u32;
    for event in &bar.events {
        if let Some(pitch) = event.pitch.filter(|_| (from..to).contains(&at)) {
            let strong = match at {
                _ if at == from => 1.8,
                _ if at.is_multiple_of(metre.beat()) => 1.35,
                _ => 1.0,
            };
            let long = f64::from(event.length.min(2 * QUARTER)) / f64::from(QUARTER);
            weights[usize::from(pitch % 12)] += strong * long;
        }
        at = at.saturating_add(event.length);
    }
    weights
}

/// What of the melody does not belong to the chord.
fn mismatch(segment: &Segment, chord: Chord) -> f64 {
    let total: f64 = segment.weights.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let inside: f64 = chord
        .notes()
        .enumerate()
        // The root says more than the fifth, the fifth more than a seventh.
        .map(|(i, n)| segment.weights[usize::from(n)] * [1.0, 0.95, 0.85, 0.6][i.min(3)])
        .sum();
    4.0 * (1.0 - inside / total)
}

/// What the step from one chord to the next costs.
fn step(from: &Candidate, to: &Candidate) -> f64 {
    if from.chord == to.chord {
        return 0.12;
    }
    let dominant = from.chord.quality == Quality::Dominant;
    match (from.degree, to.degree) {
        (4, 0) => 0.0,
        (4, 5) => 0.5,
        (4, 4) => 0.3,
        (4, _) if dominant => 1.2,
        (4, _) => 0.7,
        (1 | 3, 4) => 0.05,
        (0, 3 | 4) | (3, 0) | (6, 0) | (0, 6) => 0.1,
        (5, 1 | 3) | (2, 5) => 0.15,
        _ => 0.4,
    }
}

fn best_path(segments: &[Segment], candidates: &[Candidate]) -> Vec<Chord> {
    let edge = |segment: &Segment, c: &Candidate| {
        let tonic = if c.degree == 0 { 0.0 } else { 0.7 };
        let open = if matches!(c.degree, 0 | 4) { 0.0 } else { 1.0 };
        f64::from(u8::from(segment.begins)) * tonic
            + f64::from(u8::from(segment.ends)) * (0.6 * tonic + open)
    };
    let local = |s: &Segment, c: &Candidate| mismatch(s, c.chord) + c.cost + edge(s, c);
    let Some(first) = segments.first() else {
        return Vec::new();
    };
    let mut costs: Vec<f64> = candidates.iter().map(|c| local(first, c)).collect();
    let mut came: Vec<Vec<usize>> = Vec::new();
    for segment in &segments[1..] {
        let mut next = Vec::with_capacity(costs.len());
        let mut from = Vec::with_capacity(costs.len());
        for candidate in candidates {
            let steps = costs.iter().zip(candidates).map(|(c, f)| {
                // Chords change less within a bar.
                let within = if segment.half && f.chord != candidate.chord {
                    0.35
                } else {
                    0.0
                };
                c + step(f, candidate) + within
            });
            let best = steps.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            let (place, cost) = best.unwrap_or((0, 0.0));
            from.push(place);
            next.push(cost + local(segment, candidate));
        }
        came.push(from);
        costs = next;
    }
    let last = costs.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
    let mut place = last.map_or(0, |l| l.0);
    let mut path = vec![candidates[place].chord];
    for from in came.iter().rev() {
        place = from[place];
        path.push(candidates[place].chord);
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chords(text: &str) -> Vec<String> {
        let mut tune = medley_media::abc::read(text.as_bytes()).unwrap();
        harmonise(&mut tune);
        let all = tune.bars.iter().flat_map(|b| &b.chords);
        all.map(|c| c.1.name(false)).collect()
    }

    #[test]
    fn broken_chords_are_known() {
        let of = |key: &str, body: &str| chords(&format!("X:1\nM:3/4\nL:1/4\nK:{key}\n{body}\n"));
        assert_eq!(of("C", "CEG|FAc|GBd|c3||"), ["C", "F", "G", "C"]);
        assert_eq!(of("Dm", "DFA|GBd|A^ce|d3||"), ["Dm", "Gm", "A", "Dm"]);
        assert_eq!(of("Edor", "EGB|dFA|EBE||"), ["Em", "D", "Em"]);
    }

    #[test]
    fn an_upbeat_has_no_chord_and_halves_may_differ() {
        assert_eq!(
            chords("X:1\nM:4/4\nL:1/4\nK:C\nG|C E D B,|C E G c|c3||"),
            ["C", "G", "C", "C"]
        );
    }
}
