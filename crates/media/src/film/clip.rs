//! Clips in memory.

use std::time::Duration;

use super::rate::{Rate, gcd};
use crate::audio::Audio;
use crate::error::{MediaError, size};
use crate::picture::Picture;
use crate::resize::Filter;
use crate::write::Frame;

/// What browsers make of a duration that is too short to be meant.
const UNSAID: Duration = Duration::from_millis(100);
const TOO_SHORT: Duration = Duration::from_millis(10);

/// The longest clip whose frames have durations of their own.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The most frames a second that uneven durations are laid onto.
const FINEST: u64 = 60;

/// Frames of one size at a constant rate, and what is heard with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    frames: Vec<Picture>,
    rate: Rate,
    audio: Option<Audio>,
}

/// How a frame of other proportions comes to a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It fills the size, and what stands over is cut off on both sides.
    Crop,
    /// It lies within the size, over this colour.
    Pad([u8; 3]),
}

impl Fit {
    /// The picture at the new size.
    ///
    /// # Errors
    /// [`MediaError::Size`] if a side is 0 or beyond 65535.
    pub fn apply(
        self,
        picture: &Picture,
        width: u32,
        height: u32,
        filter: Filter,
    ) -> Result<Picture, MediaError> {
        match self {
            Self::Crop => picture.cover(width, height, filter),
            Self::Pad(colour) => picture.fit(width, height, colour, filter),
        }
    }
}

impl Clip {
    /// A clip of these frames.
    ///
    /// # Errors
    /// [`MediaError::Size`] if there are none or their sizes differ.
    pub fn new(frames: Vec<Picture>, rate: Rate, audio: Option<Audio>) -> Result<Self, MediaError> {
        let Some(first) = frames.first() else {
            return size(false, "the number of frames", 0, "at least 1")
                .and(Err(MediaError::damaged_film("")));
        };
        let want = (first.width(), first.height());
        for frame in &frames {
            same_size(want, frame)?;
        }
        Ok(Self {
            frames,
            rate,
            audio,
        })
    }

    /// A clip of the frames of a GIF, an animated PNG or WebP, as browsers show them: for 100 ms where their file says up to 10 ms,
    /// which is never meant. Otherwise as [`Clip::of_frames`].
    ///
    /// # Errors
    /// As [`Clip::of_frames`].
    pub fn of_animation(frames: Vec<Frame>, most: usize) -> Result<Self, MediaError> {
        let browsed = frames.into_iter().map(|frame| Frame {
            delay: if frame.delay <= TOO_SHORT {
                UNSAID
            } else {
                frame.delay
            },
            picture: frame.picture,
        });
        Self::of_frames(browsed.collect(), most)
    }

    /// A clip of frames that are shown for as long as each says, and for 100 ms where it says nothing. Where all say the same, that is the rate; where their durations
    /// have a common part of at least a 60th of a second, frames are repeated; otherwise the clip has as many frames
    /// evenly over the same time, the ones that are shown then.
    ///
    /// # Errors
    /// As [`Clip::new`]; [`MediaError::TooLarge`] if that makes more than `most` frames.
    pub fn of_frames(frames: Vec<Frame>, most: usize) -> Result<Self, MediaError> {
        let delays = frames.iter().map(|frame| match frame.delay {
            Duration::ZERO => UNSAID.as_micros(),
            delay => delay.as_micros(),
        });
        let whole: u128 = delays.clone().sum();
        size(
            whole <= LONGEST.as_micros(),
            "the length of the clip",
            format!("{} s", whole / 1_000_000),
            format!("at most {} s", LONGEST.as_secs()),
        )?;
        let delays: Vec<u64> = delays.map(|micros| micros as u64).collect();
        let total = whole as u64;
        let common = delays.iter().fold(0, |common, &delay| gcd(common, delay));
        let even = delays.iter().all(|&delay| delay == common);
        if even || common * FINEST < 1_000_000 {
            // Uneven: as many as there are, over the same time.
            let step = if even {
                common
            } else {
                total / frames.len().max(1) as u64
            };
            let rate = Rate::of_duration(Duration::from_micros(step))?;
            let clip = Self::new(frames.into_iter().map(|f| f.picture).collect(), rate, None)?;
            return Ok(if even {
                clip
            } else {
                clip.retimed(&delays, total)
            });
        }
        let count = (total / common) as usize;
        if count > most {
            return Err(MediaError::TooLarge {
                got: format!("{count} frames"),
                allowed: format!("{most} frames"),
            });
        }
        let rate = Rate::of_duration(Duration::from_micros(common))?;
        let repeated = frames.into_iter().zip(&delays).flat_map(|(frame, delay)| {
            std::iter::repeat_n(frame.picture, (delay / common) as usize)
        });
        Self::new(repeated.collect(), rate, None)
    }

    /// The frames that are shown at even steps, where frame i is shown for `delays[i]` of `total`.
    fn retimed(self, delays: &[u64], total: u64) -> Self {
        let count = self.frames.len() as u64;
        let mut ends = delays.iter().scan(0, |sum, delay| {
            *sum += delay;
            Some(*sum)
        });
        let mut shown = 0;
        let mut end = ends.next().unwrap_or(total);
        let frames = (0..count).map(|i| {
            // In the middle of the step.
            while (2 * i + 1) * total >= 2 * count * end && shown + 1 < self.frames.len() {
                shown += 1;
                end = ends.next().unwrap_or(total);
            }
            self.frames[shown].clone()
        });
        Self {
            frames: frames.collect(),
            rate: self.rate,
            audio: self.audio,
        }
    }

    /// The frames.
    pub fn frames(&self) -> &[Picture] {
        &self.frames
    }

    /// The frames themselves.
    pub fn into_frames(self) -> Vec<Picture> {
        self.frames
    }

    /// Frames a second.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// What is heard.
    pub fn audio(&self) -> Option<&Audio> {
        self.audio.as_ref()
    }

    /// The same pictures with another sound, or with none.
    pub fn with_audio(self, audio: Option<Audio>) -> Self {
        Self { audio, ..self }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.frames[0].width()
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.frames[0].height()
    }

    /// How long the pictures last.
    pub fn seconds(&self) -> f64 {
        self.rate.time_of(self.frames.len() as u64)
    }

    /// `count` frames evenly over the whole duration, the first of the clip first: frame i of them is shown at i/`count` of it,
    /// so that a clip that closes into a loop still does. More than there are repeat some. The sound is left out.
    ///
    /// # Errors
    /// [`MediaError::Size`] for a count of 0 or a rate that cannot be.
    pub fn sampled(&self, count: usize) -> Result<Self, MediaError> {
        size(count > 0, "the number of frames", count, "at least 1")?;
        let total = self.frames.len();
        let frames = (0..count).map(|i| self.frames[i * total / count].clone());
        let step = Duration::from_secs_f64(self.seconds() / count as f64);
        Self::new(frames.collect(), Rate::of_duration(step)?, None)
    }

    /// The clip at another size.
    ///
    /// # Errors
    /// [`MediaError::Size`] if a side is 0 or beyond 65535.
    pub fn fitted(
        &self,
        width: u32,
        height: u32,
        fit: Fit,
        filter: Filter,
    ) -> Result<Self, MediaError> {
        let frames: Result<Vec<Picture>, MediaError> = self
            .frames
            .iter()
            .map(|frame| fit.apply(frame, width, height, filter))
            .collect();
        Ok(Self {
            frames: frames?,
            rate: self.rate,
            audio: self.audio.clone(),
        })
    }
}

/// That a frame has the size of the first one.
pub(super) fn same_size(want: (u32, u32), frame: &Picture) -> Result<(), MediaError> {
    let got = (frame.width(), frame.height());
    size(
        got == want,
        "the size of a frame",
        format!("{}x{}", got.0, got.1),
        format!("{}x{} as the first one", want.0, want.1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(level: u8) -> Picture {
        Picture::filled(2, 2, [level; 3]).unwrap()
    }

    fn timed(frames: &[(u8, u64)]) -> Vec<Frame> {
        frames
            .iter()
            .map(|&(level, ms)| Frame {
                picture: grey(level),
                delay: Duration::from_millis(ms),
            })
            .collect()
    }

    fn levels(clip: &Clip) -> Vec<u8> {
        clip.frames()
            .iter()
            .map(|frame| frame.pixels()[0])
            .collect()
    }

    #[test]
    fn durations_become_a_rate() {
        let clip = Clip::of_frames(timed(&[(1, 40), (2, 40)]), 100).unwrap();
        assert_eq!(
            (levels(&clip), clip.rate().to_string()),
            (vec![1, 2], "25".to_owned())
        );
        let clip = Clip::of_frames(timed(&[(1, 100), (2, 50), (3, 150)]), 100).unwrap();
        assert_eq!(
            (levels(&clip), clip.rate().to_string()),
            (vec![1, 1, 2, 3, 3, 3], "20".to_owned())
        );
        // Nothing in common: the third is shown at the middle of two of three steps of 71 ms.
        let clip = Clip::of_frames(timed(&[(1, 33), (2, 37), (3, 143)]), 100).unwrap();
        assert_eq!(levels(&clip), [2, 3, 3]);
        assert!((clip.seconds() - 0.213).abs() < 1e-6);
        let short = timed(&[(1, 10), (2, 10)]);
        let rates = [
            Clip::of_animation(short.clone(), 9),
            Clip::of_frames(short, 9),
        ]
        .map(|clip| clip.unwrap().rate().to_string());
        assert_eq!(rates, ["10", "100"]);
        let still = Clip::of_frames(timed(&[(1, 0)]), 9).unwrap();
        assert_eq!(still.rate().to_string(), "10");
        assert!(Clip::of_frames(timed(&[(1, 20), (2, 60_000)]), 100).is_err());
        assert!(Clip::of_frames(Vec::new(), 100).is_err());
    }

    #[test]
    fn frames_are_taken_evenly() {
        let frames: Vec<Picture> = (0..8).map(grey).collect();
        let clip = Clip::new(frames, Rate::new(8, 1).unwrap(), None).unwrap();
        assert_eq!(levels(&clip.sampled(4).unwrap()), [0, 2, 4, 6]);
        assert_eq!(clip.sampled(4).unwrap().rate().to_string(), "4");
        assert_eq!(levels(&clip.sampled(3).unwrap()), [0, 2, 5]);
        assert_eq!(levels(&clip.sampled(16).unwrap())[..4], [0, 0, 1, 1]);
        assert!(clip.sampled(0).is_err());
    }
}
