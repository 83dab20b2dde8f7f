//! What learning from clips adds: frames that are given, noise that frames have in common, the rate in the caption.

use medley_media::film::rate_words;
use serde::{Deserialize, Serialize};

use crate::random::{Purpose, below, bits, unit};
use crate::{Error, Result};

/// How a run learns from clips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipSettings {
    /// Frames of a clip, evenly from the whole of each.
    pub frames: usize,
    /// Frames of a patch.
    pub frame_patch: usize,
    /// How frames see each other.
    pub time: Time,
    /// Whether the first frame follows the last one.
    pub loops: bool,
    /// Share of the noise's variance that the frames of a clip have in common.
    pub shared_noise: f64,
    /// Share of clips of which frames are given, so that the model goes on from a picture or a clip and draws between frames.
    pub known: f64,
    /// Share of captions that say how many frames a second there are.
    pub rate_words: f64,
    /// Pictures of a step, beside its clips; 0 for none.
    pub pictures: usize,
    /// Clips of a step that are pictures set in motion; 0 for none.
    pub moved: usize,
}

/// How frames see each other, as `config.json` of the transformer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Time {
    /// Each place along the frames by itself.
    Factorised,
    /// All tokens of a clip together.
    Full,
}

impl ClipSettings {
    pub(super) fn check(&self, flow: bool) -> Result<()> {
        if !(2..=1024).contains(&self.frames) {
            return Err(Error::Setting(format!(
                "clips of {} frames: 2 to 1024 can be learned",
                self.frames
            )));
        }
        if !flow {
            return Err(Error::Setting(
                "clips are learned as flow: leave --prediction out".into(),
            ));
        }
        for (name, share) in [
            ("share of clips with known frames", self.known),
            ("share of captions with a rate", self.rate_words),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::Setting(format!(
                    "a {name} of {share} must be 0 to 1"
                )));
            }
        }
        Ok(())
    }

    /// Which frames of `clips` clips are given at the batch of this number: of half of those with any the first one, of the
    /// others the first half or every second one.
    pub(super) fn known(&self, clips: usize, seed: u64, number: u64) -> Vec<bool> {
        let mut known = Vec::with_capacity(clips * self.frames);
        for clip in 0..clips as u64 {
            let some = unit(seed, Purpose::Known, number, 2 * clip) < self.known;
            let kind = below(4, bits(seed, Purpose::Known, number, 2 * clip + 1));
            known.extend((0..self.frames).map(|frame| {
                some && match kind {
                    0 | 1 => frame < self.frame_patch,
                    2 => {
                        frame
                            < (self.frames / 2)
                                .next_multiple_of(self.frame_patch)
                                .min(self.frames - self.frame_patch)
                    }
                    _ => (frame / self.frame_patch).is_multiple_of(2),
                }
            }));
        }
        match known.contains(&true) {
            true => known,
            false => Vec::new(),
        }
    }

    /// The caption of a clip, with its rate where chance says so.
    pub(super) fn caption(
        &self,
        caption: &str,
        rate: f64,
        seed: u64,
        number: u64,
        clip: u64,
    ) -> String {
        let said = unit(seed, Purpose::Rate, number, clip) < self.rate_words;
        match said && rate > 0.0 && !caption.is_empty() {
            true => format!("{caption}, {}", rate_words(rate)),
            false => caption.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIPS: ClipSettings = ClipSettings {
        frames: 8,
        frame_patch: 1,
        time: Time::Factorised,
        loops: true,
        shared_noise: 0.5,
        known: 0.5,
        rate_words: 0.5,
        pictures: 0,
        moved: 0,
    };

    #[test]
    fn known_frames_come_in_three_kinds_and_never_all() {
        let mut seen = std::collections::BTreeMap::new();
        for number in 0..1000 {
            let known = CLIPS.known(1, 7, number);
            let text: String = known.iter().map(|k| if *k { 'k' } else { '.' }).collect();
            *seen.entry(text).or_insert(0) += 1;
        }
        let counts: Vec<(&str, i32)> = seen.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let names: Vec<&str> = counts.iter().map(|c| c.0).collect();
        assert_eq!(names, ["", "k.......", "k.k.k.k.", "kkkk...."]);
        assert!((400..600).contains(&seen[""]), "{counts:?}");
        assert!((180..320).contains(&seen["k......."]), "{counts:?}");
        let whole = ClipSettings {
            frame_patch: 4,
            known: 1.0,
            ..CLIPS
        };
        for number in 0..50 {
            let known = whole.known(1, 7, number);
            assert!(known[..4].iter().all(|k| *k) && known[4..].iter().all(|k| !*k));
        }
    }

    #[test]
    fn rates_are_said_in_words() {
        let said = (0..1000).filter(|&n| CLIPS.caption("x", 5.0, 1, n, 0) == "x, 5 fps");
        assert!((430..570).contains(&said.count()));
        assert_eq!(CLIPS.caption("", 5.0, 1, 0, 0), "");
    }
}
