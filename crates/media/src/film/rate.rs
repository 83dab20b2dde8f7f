//! Frames a second, exactly.

use std::fmt;
use std::time::Duration;

use crate::error::{MediaError, size};

/// A constant rate of frames as a fraction in lowest terms: 30/1, or 30000/1001 as television has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    frames: u32,
    seconds: u32,
}

impl Rate {
    /// The most frames a second.
    pub(super) const FASTEST: u32 = 240;

    /// `frames` in so many `seconds`.
    ///
    /// # Errors
    /// [`MediaError::Size`] unless it is between one frame in 100 seconds and 240 a second.
    pub fn new(frames: u32, seconds: u32) -> Result<Self, MediaError> {
        let (f, s) = (u64::from(frames), u64::from(seconds));
        size(
            s > 0 && f * 100 >= s && f <= s * u64::from(Self::FASTEST),
            "the frame rate",
            format!("{frames}/{seconds}"),
            format!("one frame in 100 seconds to {} a second", Self::FASTEST),
        )?;
        let common = gcd(f, s) as u32;
        Ok(Self {
            frames: frames / common,
            seconds: seconds / common,
        })
    }

    /// The rate of frames that are each shown for `duration`, to the microsecond.
    ///
    /// # Errors
    /// As [`Rate::new`].
    pub fn of_duration(duration: Duration) -> Result<Self, MediaError> {
        let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        Self::new(1_000_000, micros)
    }

    /// Frames in [`Rate::seconds`] seconds.
    pub fn frames(self) -> u32 {
        self.frames
    }

    /// The seconds that [`Rate::frames`] frames take.
    pub fn seconds(self) -> u32 {
        self.seconds
    }

    /// Frames a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// When frame `index` is shown, in seconds from the start.
    pub fn time_of(self, index: u64) -> f64 {
        index as f64 * f64::from(self.seconds) / f64::from(self.frames)
    }

    /// How many frames `seconds` take, to the nearest.
    pub fn frames_in(self, seconds: f64) -> u64 {
        (seconds.max(0.0) * self.per_second()).round() as u64
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds == 1 {
            write!(f, "{}", self.frames)
        } else {
            write!(f, "{}/{}", self.frames, self.seconds)
        }
    }
}

/// How captions and prompts of clips say a rate: `5 fps`.
pub fn rate_words(per_second: f64) -> String {
    format!("{:.0} fps", per_second.max(1.0))
}

/// The greatest common divisor; 1 of two zeros.
pub(super) fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_in_lowest_terms_and_within_bounds() {
        let rate = Rate::new(60, 2).unwrap();
        assert_eq!((rate.frames(), rate.seconds()), (30, 1));
        assert_eq!(rate.to_string(), "30");
        assert_eq!(
            Rate::of_duration(Duration::from_millis(40)).unwrap(),
            Rate::new(25, 1).unwrap()
        );
        for (frames, seconds) in [(0, 1), (1, 0), (241, 1), (1, 101)] {
            assert!(Rate::new(frames, seconds).is_err(), "{frames}/{seconds}");
        }
    }
}
