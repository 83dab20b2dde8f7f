//! What a file does not say about its music.

use super::{Key, Mode, Note};

/// How often the degrees of the chromatic scale sound in major (Krumhansl and Kessler 1982).
const MAJOR: [f64; 12] = [
    6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88,
];

/// The same in minor.
const MINOR: [f64; 12] = [
    6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17,
];

/// The major or minor key whose profile the lengths of the notes follow best.
pub fn estimate_key(notes: &[Note]) -> Key {
    let mut heard = [0.0; 12];
    for note in notes {
        heard[usize::from(note.pitch % 12)] += f64::from(note.length);
    }
    let mut best = (f64::MIN, Key::default());
    for (mode, profile) in [(Mode::Major, MAJOR), (Mode::Minor, MINOR)] {
        for tonic in 0..12u8 {
            let turned: Vec<f64> = (0..12)
                .map(|i| heard[(i + usize::from(tonic)) % 12])
                .collect();
            let score = correlation(&turned, &profile);
            if score > best.0 {
                best = (score, Key::of_tonic(tonic, mode));
            }
        }
    }
    best.1
}

/// Pearson's coefficient; 0 where one side is constant.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len().max(1) as f64;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma).powi(2);
        bb += (y - mb).powi(2);
    }
    if aa * bb > 0.0 {
        ab / (aa * bb).sqrt()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_with_its_chord_tells_its_key() {
        for key in [Key::parse("D").unwrap(), Key::parse("Gm").unwrap()] {
            let scale = key.scale();
            let chord = [scale[0], scale[2], scale[4], scale[0]];
            let note = |(i, &pitch): (usize, &u8)| Note {
                start: i as u32 * 480,
                length: 480,
                pitch: 60 + pitch,
                velocity: 90,
            };
            let notes: Vec<Note> = scale.iter().chain(&chord).enumerate().map(note).collect();
            assert_eq!(estimate_key(&notes), key);
        }
    }
}
