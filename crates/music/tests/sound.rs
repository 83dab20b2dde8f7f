//! What the synthesizer gives: the right pitches at the right times, at the right level, always the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use medley_media::score::{Metre, Note, Score, Track};
use medley_music::synth::{self, SynthError};

const RATE: u32 = 22_050;

fn score(program: u8, drums: bool, pitches: &[u8]) -> Score {
    let note = |(i, &pitch): (usize, &u8)| Note {
        start: i as u32 * 480,
        length: 440,
        pitch,
        velocity: 90,
    };
    Score {
        title: String::new(),
        key: None,
        metre: Metre::default(),
        upbeat: 0,
        tempos: vec![(0, 60.0)],
        chords: Vec::new(),
        tracks: vec![Track {
            name: "melody".into(),
            program,
            drums,
            notes: pitches.iter().enumerate().map(note).collect(),
        }],
    }
}

fn render(score: &Score) -> Vec<f32> {
    synth::render(score, RATE, 0.5, &|| false).unwrap().unwrap()
}

/// Power of one frequency in a stretch of the left side (Goertzel).
fn power(samples: &[f32], from: f64, to: f64, hertz: f64) -> f64 {
    let range = (from * f64::from(RATE)) as usize..(to * f64::from(RATE)) as usize;
    let (mut re, mut im) = (0.0, 0.0);
    for (i, frame) in samples
        .chunks_exact(2)
        .enumerate()
        .take(range.end)
        .skip(range.start)
    {
        let angle = std::f64::consts::TAU * hertz * i as f64 / f64::from(RATE);
        re += f64::from(frame[0]) * angle.cos();
        im += f64::from(frame[0]) * angle.sin();
    }
    (re * re + im * im) / (range.len() as f64).powi(2)
}

#[test]
fn every_instrument_plays_in_tune() {
    for program in [25, 4, 32, 48, 72] {
        let pitches = if program == 32 { [40, 45] } else { [69, 64] };
        let sound = render(&score(program, false, &pitches));
        for (i, &pitch) in pitches.iter().enumerate() {
            let hertz = 440.0 * ((f64::from(pitch) - 69.0) / 12.0).exp2();
            let (from, to) = (i as f64 + 0.3, i as f64 + 0.85);
            let own = power(&sound, from, to, hertz);
            // A third of a semitone beside the pitch there is far less.
            for beside in [
                hertz * 2f64.powf(0.7 / 12.0),
                hertz * 2f64.powf(-0.7 / 12.0),
            ] {
                let other = power(&sound, from, to, beside);
                assert!(own > 4.0 * other, "{program} {pitch}: {own:e} {other:e}");
            }
        }
    }
}

#[test]
fn the_level_is_that_of_published_music() {
    for sound in [
        render(&score(25, false, &[60, 64, 67, 72])),
        render(&score(0, true, &[36, 42, 38, 42, 36, 36, 38, 46])),
    ] {
        let loudest = sound.iter().fold(0f32, |m, s| m.max(s.abs()));
        assert!((0.3..=0.892).contains(&loudest), "{loudest}");
        let mean = sound.iter().sum::<f32>() / sound.len() as f32;
        assert!(mean.abs() < 0.005, "{mean}");
        // It ends in silence.
        assert!(sound[sound.len() - 2..].iter().all(|s| s.abs() < 1e-4));
    }
}

#[test]
fn the_same_score_gives_the_same_samples() {
    let score = score(48, false, &[60, 64]);
    assert_eq!(render(&score), render(&score));
    assert!(
        synth::render(&score, RATE, 0.5, &|| true)
            .unwrap()
            .is_none()
    );
    let long = Score {
        tempos: vec![(0, 0.01)],
        ..score.clone()
    };
    assert!(matches!(
        synth::render(&long, RATE, 0.5, &|| false),
        Err(SynthError::TooLong { .. })
    ));
    assert!(matches!(
        synth::soundfont(&score, b"RIFF no SoundFont", RATE, 0.5),
        Err(SynthError::SoundFont(_))
    ));
}
