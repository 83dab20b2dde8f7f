//! The same sound at another sample rate.

use rubato::{FftFixedIn, Resampler};

use super::Audio;
use crate::error::MediaError;

/// Moments that are turned over at a time.
const CHUNK: usize = 4096;
/// Lowest rate that is turned over, and how many times higher the other may be.
const SLOWEST: usize = 1000;
const MOST: usize = 200;

impl Audio {
    /// The sound at `rate` samples a second, of the same length in time: what lies beyond half of the lower rate is
    /// left out.
    ///
    /// # Errors
    /// [`MediaError::Size`] for a rate that cannot be, and for rates that have next to nothing in common.
    pub fn resampled(&self, rate: u32) -> Result<Self, MediaError> {
        if rate == self.rate || self.samples.is_empty() {
            return Self::new(rate, self.channels, self.samples.clone());
        }
        let channels = usize::from(self.channels);
        let refused = |_| MediaError::Size {
            what: "the sample rate",
            got: format!("{} to {rate}", self.rate),
            allowed: "rates that sound is recorded in, such as 16000, 44100 and 48000".into(),
        };
        let (from, to) = (self.rate as usize, rate as usize);
        // Rates far apart take filters of their ratio, and much more memory than the sound that came.
        if from.min(to) < SLOWEST || from.max(to) / from.min(to) > MOST {
            return Err(refused(String::new()));
        }
        let mut turner = FftFixedIn::<f32>::new(from, to, CHUNK, 1, channels)
            .map_err(|e| refused(e.to_string()))?;
        let wanted =
            (self.frames() as u64 * u64::from(rate)).div_ceil(u64::from(self.rate)) as usize;
        let late = turner.output_delay();
        let mut out: Vec<Vec<f32>> = vec![Vec::with_capacity(wanted + late + CHUNK); channels];
        let mut at = 0;
        while out.first().is_some_and(|first| first.len() < wanted + late) {
            let count = turner.input_frames_next();
            let part: Vec<Vec<f32>> = (0..channels)
                .map(|c| {
                    let moment = |i: usize| self.samples.get(i * channels + c).copied();
                    (at..at + count).map(|i| moment(i).unwrap_or(0.0)).collect()
                })
                .collect();
            at += count;
            let turned = turner
                .process(&part, None)
                .map_err(|e| refused(e.to_string()))?;
            for (out, turned) in out.iter_mut().zip(turned) {
                out.extend(turned);
            }
        }
        let samples = (late..late + wanted)
            .flat_map(|i| out.iter().map(move |channel| channel[i]))
            .collect();
        Self::new(rate, self.channels, samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_stays_where_it_is() {
        for (from, to) in [(24_000, 16_000), (44_100, 16_000), (8_000, 16_000)] {
            let tone = |rate: u32, i: u32| {
                (std::f64::consts::TAU * 440.0 * f64::from(i) / f64::from(rate)).sin() as f32
            };
            let sound: Vec<f32> = (0..from).flat_map(|i| [tone(from, i), 0.0]).collect();
            let turned = Audio::new(from, 2, sound).and_then(|a| a.resampled(to));
            let turned = turned.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((turned.rate(), turned.frames()), (to, to as usize));
            // Not at the ends, where there was nothing before.
            for i in to / 8..to * 7 / 8 {
                let at = 2 * i as usize;
                let [left, right] = [turned.samples()[at], turned.samples()[at + 1]];
                assert!((left - tone(to, i)).abs() < 0.01, "{from} to {to} at {i}");
                assert!(right.abs() < 1e-3);
            }
        }
    }
}
