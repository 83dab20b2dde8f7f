//! The instruments, each a function from a note to samples.

use std::f32::consts::TAU;

use super::pluck::{StringKind, pluck};
use crate::noise::Noise;

/// A note in samples and hertz.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tone {
    pub start: usize,
    pub seconds: f32,
    pub pitch: u8,
    pub hertz: f32,
    /// 0 to 1.
    pub force: f32,
    pub rate: f32,
    pub seed: u64,
}

/// What plays a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pluck,
    Piano,
    Bass,
    Pad,
    Whistle,
    Drums,
}

/// Samples that are added to a bus from a place on, as far as it goes.
pub(super) struct Adds<'a> {
    bus: &'a mut [f32],
    at: usize,
}

impl<'a> Adds<'a> {
    pub(super) fn new(bus: &'a mut [f32], at: usize) -> Self {
        Self { bus, at }
    }

    /// Whether there was room.
    pub(super) fn add(&mut self, sample: f32) -> bool {
        match self.bus.get_mut(self.at) {
            Some(place) => {
                *place += sample;
                self.at += 1;
                true
            }
            None => false,
        }
    }
}

impl Kind {
    /// What stands for a program of General MIDI.
    pub(super) fn of_program(program: u8) -> Self {
        match program {
            0..=15 => Self::Piano,
            24..=31 | 45..=46 | 104..=108 => Self::Pluck,
            32..=39 => Self::Bass,
            56..=79 => Self::Whistle,
            _ => Self::Pad,
        }
    }

    /// Adds a note.
    pub(super) fn sound(self, bus: &mut [f32], tone: &Tone) {
        match self {
            Self::Pluck => pluck(
                bus,
                tone,
                StringKind {
                    decay: 2.8,
                    bright: 0.85,
                    place: 0.18,
                    release: 0.16,
                },
            ),
            Self::Piano => piano(bus, tone),
            Self::Bass => bass(bus, tone),
            Self::Pad => pad(bus, tone),
            Self::Whistle => whistle(bus, tone),
            Self::Drums => {}
        }
    }
}

/// 0 to 1 over `attack` seconds, and from `held` on to 0 over `release` seconds, without corners.
fn envelope(t: f32, attack: f32, held: f32, release: f32) -> f32 {
    let up = (t / attack).min(1.0);
    let down = (1.0 - (t - held) / release).clamp(0.0, 1.0);
    smooth(up) * smooth(down)
}

fn smooth(x: f32) -> f32 {
    x * x * (3.0 - 2.0 * x)
}

/// An electric piano by frequency modulation (Chowning 1973): a body of one modulator, a tine of another.
fn piano(bus: &mut [f32], tone: &Tone) {
    let held = tone.seconds;
    let release = 0.22;
    let count = ((held + release) * tone.rate) as usize;
    let step = TAU * tone.hertz / tone.rate;
    let low = (1.0 - (f32::from(tone.pitch) - 60.0) / 60.0).clamp(0.4, 1.6);
    let (body, tine) = (
        1.35 * tone.force * low,
        0.28 * tone.force * tone.force * low,
    );
    // Amplitudes fall by these factors each sample.
    let fall = |seconds: f32| (-1.0 / (seconds * tone.rate)).exp();
    let (amp_fall, body_fall, tine_fall) = (fall(1.3 * low), fall(0.45), fall(0.09));
    let (mut amp, mut body, mut tine) = (0.55 * (0.3 + 0.7 * tone.force), body, tine);
    let mut phase = 0.0f32;
    let mut adds = Adds::new(bus, tone.start);
    for i in 0..count {
        let t = i as f32 / tone.rate;
        let inner = body * phase.sin() + tine * (phase * 14.0).sin();
        let sample = (phase + inner).sin() * amp * envelope(t, 0.003, held, release);
        if !adds.add(sample) {
            break;
        }
        (amp, body, tine) = (amp * amp_fall, body * body_fall, tine * tine_fall);
        phase += step;
        if phase > TAU {
            phase -= TAU;
        }
    }
}

/// A plucked bass: six partials, of which the higher fall faster.
fn bass(bus: &mut [f32], tone: &Tone) {
    const PARTIALS: [f32; 6] = [1.0, 0.55, 0.3, 0.16, 0.1, 0.05];
    let held = tone.seconds;
    let count = ((held + 0.09) * tone.rate) as usize;
    let step = TAU * tone.hertz / tone.rate;
    let mut parts: Vec<(f32, f32)> = PARTIALS
        .iter()
        .enumerate()
        .map(|(n, amp)| {
            let n = n as f32;
            let bright = if n == 0.0 {
                1.0
            } else {
                0.4 + 0.9 * tone.force
            };
            let fall = (-(1.1 + 1.6 * n) / tone.rate).exp();
            (0.5 * amp * bright * (0.4 + 0.6 * tone.force), fall)
        })
        .collect();
    let mut phase = 0.0f32;
    let mut adds = Adds::new(bus, tone.start);
    for i in 0..count {
        let t = i as f32 / tone.rate;
        let mut sample = 0.0;
        for (n, (amp, fall)) in parts.iter_mut().enumerate() {
            sample += *amp * (phase * (n + 1) as f32).sin();
            *amp *= *fall;
        }
        if !adds.add(sample * envelope(t, 0.006, held, 0.09)) {
            break;
        }
        phase += step;
        if phase > TAU {
            phase -= TAU;
        }
    }
}

/// A sawtooth without the corners that would fold back (polyBLEP, Välimäki and Huovilainen 2007).
fn saw(phase: f32, step: f32) -> f32 {
    let naive = 2.0 * phase - 1.0;
    if phase < step {
        let x = phase / step;
        naive - (2.0 * x - x * x - 1.0)
    } else if phase > 1.0 - step {
        let x = (phase - 1.0) / step;
        naive - (x * x + 2.0 * x + 1.0)
    } else {
        naive
    }
}

/// Strings from afar: three sawtooths that beat, behind a filter that opens slowly.
fn pad(bus: &mut [f32], tone: &Tone) {
    let held = tone.seconds.max(0.2);
    let (attack, release) = (0.35f32.min(held * 0.6), 0.7);
    let count = ((held + release) * tone.rate) as usize;
    let mut noise = Noise::new(tone.seed);
    let mut voices = [-7.0f32, 0.5, 6.0].map(|cents| {
        let step = tone.hertz * (cents / 1200.0).exp2() / tone.rate;
        (noise.share(), step)
    });
    let (mut a, mut b) = (0.0f32, 0.0f32);
    let drift = noise.share() * TAU;
    let mut adds = Adds::new(bus, tone.start);
    for i in 0..count {
        let t = i as f32 / tone.rate;
        let mut sum = 0.0;
        for (phase, step) in &mut voices {
            sum += saw(*phase, *step);
            *phase += *step;
            if *phase >= 1.0 {
                *phase -= 1.0;
            }
        }
        let open = 700.0
            + 900.0 * tone.force * envelope(t, 1.2, held, release)
            + 120.0 * (TAU * 0.23 * t + drift).sin();
        let g = (TAU * open / tone.rate).min(0.9);
        a += g * (sum - a);
        b += g * (a - b);
        let sample = 0.22 * (0.4 + 0.6 * tone.force) * b * envelope(t, attack, held, release);
        if !adds.add(sample) {
            break;
        }
    }
}

/// A whistle: three partials, breath, and a vibrato that comes late.
fn whistle(bus: &mut [f32], tone: &Tone) {
    let held = tone.seconds * 0.96;
    let release = 0.06;
    let count = ((held + release) * tone.rate) as usize;
    let mut noise = Noise::new(tone.seed);
    let (mut phase, mut breath) = (0.0f32, 0.0f32);
    let mut adds = Adds::new(bus, tone.start);
    for i in 0..count {
        let t = i as f32 / tone.rate;
        let late = ((t - 0.25) / 0.4).clamp(0.0, 1.0);
        let bend = 0.004 * late * (TAU * 5.3 * t).sin() - 0.012 * (1.0 - (t / 0.03).min(1.0));
        phase += TAU * tone.hertz * (1.0 + bend) / tone.rate;
        if phase > TAU {
            phase -= TAU;
        }
        breath += 0.25 * (noise.signed() - breath);
        let voice = phase.sin() + 0.22 * (2.0 * phase).sin() + 0.08 * (3.0 * phase).sin();
        let swell = 0.8 + 0.2 * late;
        let sample = 0.32 * (0.4 + 0.6 * tone.force) * swell * (voice + 0.08 * breath);
        if !adds.add(sample * envelope(t, 0.035, held, release)) {
            break;
        }
    }
}
