//! Loudness (ITU-R BS.1770, as EBU R 128 measures it).

use ebur128::{EbuR128, Mode};
use medley_media::Audio;

/// What speech is brought to if nothing else is asked for, in LUFS.
pub const TARGET: f64 = -18.0;

/// The highest peak that is left.
const CEILING: f32 = 0.98;

/// The loudness of a sound in LUFS; none of silence, and of what is shorter than 0.4 seconds.
pub fn loudness(audio: &Audio) -> Option<f64> {
    let mut meter = EbuR128::new(u32::from(audio.channels()), audio.rate(), Mode::I).ok()?;
    meter.add_frames_f32(audio.samples()).ok()?;
    meter.loudness_global().ok().filter(|lufs| lufs.is_finite())
}

/// Brings a sound to this loudness, or as near as its peaks let it come.
pub(super) fn normalize(audio: &mut Audio, target: f64) {
    let Some(lufs) = loudness(audio) else {
        return;
    };
    let peak = audio.samples().iter().fold(0.0f32, |m, s| m.max(s.abs()));
    let gain = 10f64.powf((target - lufs) / 20.0) as f32;
    let gain = gain.min(CEILING / peak.max(1e-9));
    audio.samples_mut().iter_mut().for_each(|s| *s *= gain);
}

/// Brings the pieces of a sound to a loudness while they come: all by as much as the first that can be measured needs, or
/// less where a peak would be cut.
pub struct Level {
    rate: u32,
    target: Option<f64>,
    gain: Option<f32>,
}

impl Level {
    /// For pieces of one channel with `rate` samples a second; without a target they stay as they are.
    pub fn new(rate: u32, target: Option<f64>) -> Self {
        Self {
            rate,
            target,
            gain: None,
        }
    }

    /// Brings the next piece to the loudness, with its ends faded so that no join clicks.
    pub fn apply(&mut self, samples: &mut [f32]) {
        super::fade(samples, self.rate);
        let Some(target) = self.target else { return };
        if self.gain.is_none() {
            let measured = Audio::new(self.rate, 1, samples.to_vec());
            let lufs = measured.ok().and_then(|audio| loudness(&audio));
            self.gain = lufs.map(|lufs| 10f64.powf((target - lufs) / 20.0) as f32);
        }
        let peak = samples.iter().fold(0.0f32, |m, s| m.max(s.abs()));
        let gain = self.gain.unwrap_or(1.0).min(CEILING / peak.max(1e-9));
        samples.iter_mut().for_each(|s| *s *= gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_all_as_much_louder_as_the_first_and_never_cut() {
        let tone = |size: f32| -> Vec<f32> {
            let wave = |i: i32| (i as f32 * 1000.0 / 24_000.0 * std::f32::consts::TAU).sin();
            (0..24_000).map(|i| wave(i) * size).collect()
        };
        let mut level = Level::new(24_000, Some(-18.0));
        let mut pieces = [tone(0.05), tone(0.025), tone(0.9)];
        pieces.iter_mut().for_each(|piece| level.apply(piece));
        let middle = |piece: &[f32]| piece[6000..18_000].iter().fold(0.0f32, |m, s| m.max(*s));
        let [first, second, third] = [0, 1, 2].map(|i| middle(&pieces[i]));
        let heard = Audio::new(24_000, 1, pieces[0].clone()).unwrap();
        assert!((loudness(&heard).unwrap() + 18.0).abs() < 0.3);
        assert!((first / second - 2.0).abs() < 0.01, "{first} {second}");
        assert!(third <= CEILING + 1e-6 && third > 0.9, "{third}");
        assert!(pieces[1][0].abs() < 1e-3);
    }

    #[test]
    fn a_tone_comes_to_its_loudness_and_silence_stays() {
        let tone = |size: f32| {
            let samples = (0..48_000)
                .map(|i| (i as f32 * 1000.0 / 24_000.0 * std::f32::consts::TAU).sin() * size)
                .collect();
            Audio::new(24_000, 1, samples).unwrap()
        };
        for size in [0.01, 0.5] {
            let mut audio = tone(size);
            normalize(&mut audio, -20.0);
            assert!((loudness(&audio).unwrap() + 20.0).abs() < 0.1);
        }
        let mut loud = tone(0.5);
        normalize(&mut loud, 5.0);
        assert!(loud.samples().iter().all(|s| s.abs() <= 0.981));
        let mut silence = Audio::new(24_000, 1, vec![0.0; 48_000]).unwrap();
        normalize(&mut silence, -20.0);
        assert!(silence.samples().iter().all(|&s| s == 0.0));
    }
}
