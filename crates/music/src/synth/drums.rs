//! Drums by the keys of General MIDI's channel 10.

use std::f32::consts::TAU;

use super::instruments::{Adds, Tone};
use crate::noise::Noise;

/// What a drum is made of: a tone that falls, and noise between two frequencies.
struct Drum {
    from: f32,
    to: f32,
    /// Seconds in which the pitch falls.
    bend: f32,
    /// Seconds to −60 dB, of the tone and of the noise.
    ring: f32,
    hiss: f32,
    tone: f32,
    noise: f32,
    low_cut: f32,
    high_cut: f32,
    gain: f32,
}

impl Drum {
    fn of(key: u8) -> Self {
        let drum = |tone: [f32; 5], noise: [f32; 4], gain| Self {
            from: tone[0],
            to: tone[1],
            bend: tone[2],
            ring: tone[3],
            tone: tone[4],
            hiss: noise[0],
            noise: noise[1],
            low_cut: noise[2],
            high_cut: noise[3],
            gain,
        };
        match key {
            35 | 36 => drum(
                [150.0, 48.0, 0.035, 0.42, 1.0],
                [0.03, 0.18, 800.0, 6000.0],
                0.95,
            ),
            37 => drum(
                [820.0, 780.0, 0.01, 0.07, 0.5],
                [0.04, 0.5, 1500.0, 9000.0],
                0.35,
            ),
            38..=40 => drum(
                [240.0, 180.0, 0.03, 0.2, 0.45],
                [0.26, 0.75, 900.0, 9000.0],
                0.5,
            ),
            // Frame drums.
            41 | 43 | 45 => drum(
                [120.0, 74.0, 0.06, 0.5, 0.9],
                [0.05, 0.25, 300.0, 3000.0],
                0.75,
            ),
            47 | 48 | 50 => drum(
                [190.0, 128.0, 0.05, 0.35, 0.8],
                [0.05, 0.3, 400.0, 4000.0],
                0.6,
            ),
            46 => drum([1.0, 1.0, 1.0, 0.1, 0.0], [0.5, 0.8, 7000.0, 16000.0], 0.24),
            49 | 57 => drum([1.0, 1.0, 1.0, 0.1, 0.0], [1.8, 0.8, 3500.0, 15000.0], 0.26),
            51 | 59 => drum([1.0, 1.0, 1.0, 0.1, 0.0], [0.7, 0.7, 5500.0, 15000.0], 0.2),
            54 => drum(
                [1.0, 1.0, 1.0, 0.1, 0.0],
                [0.22, 0.8, 5000.0, 14000.0],
                0.26,
            ),
            69 | 70 | 82 => drum(
                [1.0, 1.0, 1.0, 0.1, 0.0],
                [0.09, 0.8, 4500.0, 12000.0],
                0.22,
            ),
            // Hats and all else.
            _ => drum(
                [1.0, 1.0, 1.0, 0.1, 0.0],
                [0.08, 0.8, 7500.0, 16000.0],
                0.24,
            ),
        }
    }
}

/// Adds one stroke.
pub(super) fn strike(bus: &mut [f32], tone: &Tone) {
    let drum = Drum::of(tone.pitch);
    let longest = drum.ring.max(drum.hiss);
    let count = (longest * tone.rate) as usize;
    let fall = |seconds: f32| 0.001f32.powf(1.0 / (seconds * tone.rate));
    let (ring_fall, hiss_fall) = (fall(drum.ring), fall(drum.hiss));
    let (mut ring, mut hiss) = (drum.tone, drum.noise);
    let cut = |hertz: f32| 1.0 - (-TAU * hertz / tone.rate).exp();
    let (low, high) = (cut(drum.low_cut), cut(drum.high_cut.min(tone.rate * 0.45)));
    let (mut below, mut under) = (0.0f32, 0.0f32);
    let mut noise = Noise::new(tone.seed ^ 0xD5);
    let gain = drum.gain * (0.15 + 0.85 * tone.force * tone.force);
    let mut phase = 0.0f32;
    let mut adds = Adds::new(bus, tone.start);
    for i in 0..count {
        let t = i as f32 / tone.rate;
        let hertz = drum.to + (drum.from - drum.to) * (-t / drum.bend).exp();
        phase += TAU * hertz / tone.rate;
        below += high * (noise.signed() - below);
        under += low * (below - under);
        let soft = (t / 0.001).min(1.0) * (1.0 - i as f32 / count as f32);
        let sample = ring * phase.sin() + hiss * (below - under);
        if !adds.add(gain * soft * sample) {
            break;
        }
        (ring, hiss) = (ring * ring_fall, hiss * hiss_fall);
    }
}
