//! What all instruments share: the room, and the level.

use super::Stereo;

/// Lines of the reverberation.
const LINES: usize = 8;

/// Their lengths in seconds: no two have a common divisor that is heard.
const LENGTHS: [f64; LINES] = [
    0.0297, 0.0371, 0.0411, 0.0437, 0.0533, 0.0617, 0.0683, 0.0797,
];

/// Seconds to −60 dB.
const DECAY: f64 = 1.7;

/// Seconds before the first echo.
const BEFORE: f64 = 0.018;

/// A network of delays that feed one another through a Hadamard matrix (Jot and Chaigne 1991), darker with every round.
pub(super) struct Reverb {
    lines: [Vec<f32>; LINES],
    places: [usize; LINES],
    gains: [f32; LINES],
    low: [f32; LINES],
    before: usize,
}

impl Reverb {
    pub(super) fn new(rate: u32) -> Self {
        let samples = LENGTHS.map(|s| ((s * f64::from(rate)) as usize).max(1));
        Self {
            lines: samples.map(|n| vec![0.0; n]),
            places: [0; LINES],
            gains: LENGTHS.map(|s| 10f64.powf(-3.0 * s / DECAY) as f32),
            low: [0.0; LINES],
            before: (BEFORE * f64::from(rate)) as usize,
        }
    }

    /// Adds the room's answer to `sent`.
    pub(super) fn add(mut self, sent: &Stereo, out: &mut Stereo) {
        for i in 0..out.left.len() {
            let (l, r) = match i.checked_sub(self.before) {
                Some(at) => (sent.left[at], sent.right[at]),
                None => (0.0, 0.0),
            };
            let (left, right) = self.step(l, r);
            out.left[i] += left;
            out.right[i] += right;
        }
    }

    fn step(&mut self, l: f32, r: f32) -> (f32, f32) {
        for (n, low) in self.low.iter_mut().enumerate() {
            let sample = self.lines[n][self.places[n]] * self.gains[n];
            *low += 0.62 * (sample - *low);
        }
        let mut heard = self.low;
        let left = heard[0] + heard[2] - heard[4] + heard[6];
        let right = heard[1] - heard[3] + heard[5] + heard[7];
        hadamard(&mut heard);
        for (n, heard) in heard.into_iter().enumerate() {
            let value = heard + if n % 2 == 0 { l } else { r };
            let at = self.places[n];
            // So small that it would slow the processor down.
            self.lines[n][at] = if value.abs() < 1e-20 { 0.0 } else { value };
            self.places[n] = if at + 1 == self.lines[n].len() {
                0
            } else {
                at + 1
            };
        }
        (0.7 * left, 0.7 * right)
    }
}

/// The matrix, which keeps the energy.
fn hadamard(x: &mut [f32; LINES]) {
    let mut width = 1;
    while width < LINES {
        for start in (0..LINES).step_by(2 * width) {
            for i in start..start + width {
                let (a, b) = (x[i], x[i + width]);
                (x[i], x[i + width]) = (a + b, a - b);
            }
        }
        width *= 2;
    }
    let scale = 1.0 / (LINES as f32).sqrt();
    x.iter_mut().for_each(|x| *x *= scale);
}

/// Mean level that music has, below full scale: −17 dB.
const LEVEL: f32 = 0.141;

/// Loudest sample: −1 dB.
const PEAK: f32 = 0.891;

/// Brings the music to its level: offset away, mean level set over what is not silent, peaks held below full scale by a gain
/// that falls before them and rises slowly.
pub(super) fn master(sound: &mut Stereo, rate: u32) {
    for side in [&mut sound.left, &mut sound.right] {
        without_offset(side, rate);
    }
    let block = (rate as usize / 5).max(1);
    let pairs = || sound.left.chunks(block).zip(sound.right.chunks(block));
    let power = |l: &[f32], r: &[f32]| {
        let sum: f32 = l.iter().zip(r).map(|(l, r)| l * l + r * r).sum();
        sum / (2 * l.len().max(1)) as f32
    };
    let powers: Vec<f32> = pairs().map(|(l, r)| power(l, r)).collect();
    let loudest = powers.iter().copied().fold(0.0, f32::max);
    // Rests and the last echo do not count.
    let loud: Vec<f32> = powers.into_iter().filter(|p| *p > loudest * 0.01).collect();
    if loud.is_empty() || loudest <= 0.0 {
        return;
    }
    let mean = loud.iter().sum::<f32>() / loud.len() as f32;
    let gain = LEVEL / mean.sqrt();
    limit(sound, gain, rate);
    fade(sound, rate);
}

fn without_offset(side: &mut [f32], rate: u32) {
    let keep = (-std::f32::consts::TAU * 22.0 / rate as f32).exp();
    let (mut before, mut out) = (0.0f32, 0.0f32);
    for sample in side {
        out = *sample - before + keep * out;
        before = *sample;
        *sample = out;
    }
}

fn limit(sound: &mut Stereo, gain: f32, rate: u32) {
    let frames = sound.left.len();
    let mut gains: Vec<f32> = (0..frames)
        .map(|i| {
            let loudest = sound.left[i].abs().max(sound.right[i].abs()) * gain;
            if loudest > PEAK { PEAK / loudest } else { 1.0 }
        })
        .collect();
    // Backwards the gain falls in 4 ms before a peak, forwards it rises in 120 ms behind one.
    let (fall, rise) = (1.0 / (0.004 * rate as f32), 1.0 / (0.12 * rate as f32));
    for i in (0..frames.saturating_sub(1)).rev() {
        gains[i] = gains[i].min(gains[i + 1] + fall);
    }
    for i in 1..frames {
        gains[i] = gains[i].min(gains[i - 1] + rise);
    }
    for (i, g) in gains.into_iter().enumerate() {
        sound.left[i] *= gain * g;
        sound.right[i] *= gain * g;
    }
}

/// The very end goes to nothing.
fn fade(sound: &mut Stereo, rate: u32) {
    let frames = sound.left.len();
    let count = (rate as usize / 4).min(frames);
    for i in 0..count {
        let share = (count - i - 1) as f32 / count as f32;
        sound.left[frames - count + i] *= share;
        sound.right[frames - count + i] *= share;
    }
}
