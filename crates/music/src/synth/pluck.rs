//! A plucked string (Karplus and Strong 1983; Jaffe and Smith 1983).

use super::instruments::{Adds, Tone};
use crate::noise::Noise;

/// How a string is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct StringKind {
    /// Seconds to −60 dB at middle C.
    pub decay: f32,
    /// 0 dark to 1 bright.
    pub bright: f32,
    /// Where it is plucked, as a share of its length.
    pub place: f32,
    /// Seconds that a finger takes to still it.
    pub release: f32,
}

/// Adds a note of two strings that are nearly in tune.
pub(super) fn pluck(bus: &mut [f32], tone: &Tone, kind: StringKind) {
    for (i, cents) in [-1.6f32, 1.9].into_iter().enumerate() {
        let hertz = tone.hertz * (cents / 1200.0).exp2();
        one(bus, tone, kind, hertz, tone.seed * 2 + i as u64);
    }
}

fn one(bus: &mut [f32], tone: &Tone, kind: StringKind, hertz: f32, seed: u64) {
    let period = tone.rate / hertz.clamp(20.0, tone.rate / 8.0);
    // The loop's filter, a mean of two samples with these weights, delays by `damp`.
    let damp = (0.5 - 0.38 * kind.bright * (0.5 + 0.5 * tone.force)).clamp(0.05, 0.5);
    let whole = period - damp;
    let mut length = whole.floor();
    let mut rest = whole - length;
    if rest < 0.3 {
        (length, rest) = (length - 1.0, rest + 1.0);
    }
    // What is left of a sample is an allpass's delay.
    let tune = (1.0 - rest) / (1.0 + rest);
    let size = (length as usize).max(2);
    let mut string = excitation(size, tone, kind, seed);
    let t60 = kind.decay * (261.6 / hertz).sqrt();
    let keep = 0.001f32.powf(1.0 / (hertz * t60.max(0.05)));
    let held = (tone.seconds * tone.rate) as usize;
    let still = 0.001f32.powf(1.0 / (hertz * kind.release.max(0.02)));
    let most = held + (kind.release * 1.2 * tone.rate) as usize;
    let (mut at, mut last, mut ap_in, mut ap_out) = (0, 0.0f32, 0.0f32, 0.0f32);
    let mut adds = Adds::new(bus, tone.start);
    for i in 0..most {
        let now = string[at];
        let filtered = (1.0 - damp) * now + damp * last;
        last = now;
        let through = tune * filtered + ap_in - tune * ap_out;
        (ap_in, ap_out) = (filtered, through);
        string[at] = through * if i < held { keep } else { still };
        at = if at + 1 == size { 0 } else { at + 1 };
        if !adds.add(now * 0.5) {
            break;
        }
    }
}

/// A burst of noise as a pick leaves it: softer strokes are darker, and what lies still at the place of the pick is missing.
fn excitation(size: usize, tone: &Tone, kind: StringKind, seed: u64) -> Vec<f32> {
    let mut noise = Noise::new(seed ^ u64::from(tone.pitch) << 48);
    let dark = 1.0 - (0.25 + 0.7 * tone.force * kind.bright);
    let mut low = 0.0;
    let raw: Vec<f32> = (0..size)
        .map(|_| {
            low = dark * low + (1.0 - dark) * noise.signed();
            low
        })
        .collect();
    let gap = ((kind.place * size as f32) as usize).clamp(1, size - 1);
    let mut shaped: Vec<f32> = (0..size)
        .map(|i| raw[i] - 0.9 * raw[(i + size - gap) % size])
        .collect();
    let mean = shaped.iter().sum::<f32>() / size as f32;
    shaped.iter_mut().for_each(|x| *x -= mean);
    let power = (shaped.iter().map(|x| x * x).sum::<f32>() / size as f32)
        .sqrt()
        .max(1e-6);
    let gain = 0.28 * (0.25 + 0.75 * tone.force * tone.force) / power;
    shaped.iter_mut().for_each(|x| *x *= gain);
    shaped
}
