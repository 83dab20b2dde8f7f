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

#[cfg(test)]
mod tests {
    use super::*;

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
