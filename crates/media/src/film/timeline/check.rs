//! What a timeline must be, before anything is made of it.

use std::path::{Path, PathBuf};

use super::{Captions, Scene, Sound, Timeline};
use crate::error::MediaError;

/// The longest film, in seconds.
const LONGEST: f64 = 4.0 * 3600.0;
const MOST_SCENES: usize = 1000;
const MOST_SOUNDS: usize = 100;

impl Timeline {
    /// Reads a timeline.
    ///
    /// # Errors
    /// [`MediaError::Timeline`] with the line where it is no JSON of this form.
    pub fn parse(json: &str) -> Result<Self, MediaError> {
        serde_json::from_str(json).map_err(|e| wrong("the timeline", e))
    }

    /// That every number can be and every file is there.
    ///
    /// # Errors
    /// [`MediaError::Timeline`] names the first thing that is wrong.
    pub fn check(&self, base: &Path) -> Result<(), MediaError> {
        let [width, height] = self.size;
        let even = |side: u32| side.is_multiple_of(2) && (16..=3840).contains(&side);
        must(even(width) && even(height), "size", || {
            format!("{width}x{height} must be of even sides from 16 to 3840")
        })?;
        must((1..=60).contains(&self.rate), "rate", || {
            format!("{} must be 1 to 60", self.rate)
        })?;
        colour("background", &self.background)?;
        if let Some(font) = &self.font {
            exists("font", base, font)?;
        }
        within("fade_out", self.fade_out, 0.0, LONGEST)?;
        within("loudness", self.loudness, -70.0, -5.0)?;
        within("duck", self.duck, 0.0, 60.0)?;
        must(
            (1..=MOST_SCENES).contains(&self.scenes.len()),
            "scenes",
            || {
                format!(
                    "there are {}, but 1 to {MOST_SCENES} can be",
                    self.scenes.len()
                )
            },
        )?;
        must(self.sounds.len() <= MOST_SOUNDS, "sounds", || {
            format!(
                "there are {}, but at most {MOST_SOUNDS} can be",
                self.sounds.len()
            )
        })?;
        for (i, scene) in self.scenes.iter().enumerate() {
            check_scene(&format!("scenes[{i}]"), scene, base)?;
        }
        for (i, sound) in self.sounds.iter().enumerate() {
            check_sound(&format!("sounds[{i}]"), sound, base)?;
        }
        self.captions.as_ref().map_or(Ok(()), check_captions)
    }
}

fn check_scene(at: &str, scene: &Scene, base: &Path) -> Result<(), MediaError> {
    let kinds = usize::from(scene.title.is_some())
        + usize::from(scene.still.is_some())
        + usize::from(scene.clip.is_some());
    must(kinds == 1, at, || {
        "it must have one of title, still and clip".to_owned()
    })?;
    must(scene.seconds.is_some() || scene.clip.is_some(), at, || {
        "it must have seconds".to_owned()
    })?;
    if let Some(seconds) = scene.seconds {
        within(&format!("{at}.seconds"), seconds, 0.01, LONGEST)?;
        within(&format!("{at}.fade"), scene.fade, 0.0, seconds)?;
    }
    within(&format!("{at}.fade"), scene.fade, 0.0, LONGEST)?;
    if let Some(title) = &scene.title {
        colour(&format!("{at}.title.colour"), &title.colour)?;
        title
            .background
            .iter()
            .try_for_each(|c| colour(&format!("{at}.title.background"), c).map(|_| ()))?;
    }
    if let Some(still) = &scene.still {
        exists(&format!("{at}.still.file"), base, &still.file)?;
        for value in still.zoom {
            within(&format!("{at}.still.zoom"), value, 1.0, 4.0)?;
        }
        for value in still.towards {
            within(&format!("{at}.still.towards"), value, 0.0, 1.0)?;
        }
    }
    if let Some(clip) = &scene.clip {
        exists(&format!("{at}.clip.file"), base, &clip.file)?;
        within(&format!("{at}.clip.start"), clip.start, 0.0, LONGEST)?;
        within(
            &format!("{at}.clip.volume"),
            clip.volume.unwrap_or(0.0),
            -60.0,
            24.0,
        )?;
    }
    Ok(())
}

fn check_sound(at: &str, sound: &Sound, base: &Path) -> Result<(), MediaError> {
    exists(&format!("{at}.file"), base, &sound.file)?;
    within(&format!("{at}.gain"), sound.gain, -60.0, 24.0)?;
    for (name, value) in [
        ("start", sound.start),
        ("fade_in", sound.fade_in),
        ("fade_out", sound.fade_out),
    ] {
        within(&format!("{at}.{name}"), value, 0.0, LONGEST)?;
    }
    Ok(())
}

fn check_captions(captions: &Captions) -> Result<(), MediaError> {
    within("captions.start", captions.start, 0.0, LONGEST)?;
    let mut last = 0.0;
    for (i, word) in captions.words.iter().enumerate() {
        let at = format!("captions.words[{i}]");
        within(&at, word.start, last, LONGEST)?;
        within(&at, word.end, word.start, LONGEST)?;
        last = word.start;
    }
    Ok(())
}

/// That the whole is neither empty nor endless.
pub(super) fn check_length(seconds: f64) -> Result<(), MediaError> {
    within("scenes", seconds, 0.001, LONGEST)
}

/// Red, green and blue of `#rrggbb`.
pub(super) fn colour(at: &str, text: &str) -> Result<[u8; 3], MediaError> {
    let figures = text
        .strip_prefix('#')
        .filter(|f| f.len() == 6 && f.is_ascii());
    let value = figures.and_then(|figures| u32::from_str_radix(figures, 16).ok());
    let value = value.ok_or_else(|| wrong(at, format!("{text:?} must be a colour as #rrggbb")))?;
    Ok([(value >> 16) as u8, (value >> 8) as u8, value as u8])
}

/// Where a file of the timeline lies.
pub(super) fn place(base: &Path, file: &Path) -> PathBuf {
    base.join(file)
}

fn exists(at: &str, base: &Path, file: &Path) -> Result<(), MediaError> {
    must(place(base, file).exists(), at, || {
        format!("there is no file {}", file.display())
    })
}

fn within(at: &str, value: f64, least: f64, most: f64) -> Result<(), MediaError> {
    must((least..=most).contains(&value), at, || {
        format!("{value} must be {least} to {most}")
    })
}

fn must(holds: bool, at: &str, reason: impl FnOnce() -> String) -> Result<(), MediaError> {
    if holds {
        Ok(())
    } else {
        Err(wrong(at, reason()))
    }
}

pub(super) fn wrong(at: &str, reason: impl ToString) -> MediaError {
    MediaError::Timeline {
        at: at.to_owned(),
        reason: reason.to_string(),
    }
}
