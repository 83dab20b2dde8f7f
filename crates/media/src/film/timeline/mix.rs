//! Sounds to one: tracks with their fades, music under voices, a loudness, a ceiling.

use std::path::Path;

use ebur128::{EbuR128, Mode};

use super::check::place;
use super::{Role, Sound, Timeline};
use crate::audio::{Audio, SoundLimits, read};
use crate::error::MediaError;
use crate::film::read::{FilmReader, film_limits};

/// Moments a second of the mix.
pub(super) const RATE: u32 = 48_000;

/// The highest sample: -1.5 dBFS, so that coding has room.
const CEILING: f32 = 0.841;

/// When each scene begins, for the sounds of clips.
pub(super) struct Heard<'a> {
    pub timeline: &'a Timeline,
    pub base: &'a Path,
    /// Beginning and length of each scene, in seconds.
    pub scenes: &'a [(f64, f64)],
    pub seconds: f64,
}

impl Heard<'_> {
    /// The mix in stereo; none where nothing is heard.
    pub(super) fn mix(&self) -> Result<Option<Audio>, MediaError> {
        let count = (self.seconds * f64::from(RATE)).round() as usize;
        let mut voice = vec![[0f32; 2]; count];
        let mut music = voice.clone();
        let mut others = voice.clone();
        let mut heard = false;
        for sound in &self.timeline.sounds {
            let audio = read(&place(self.base, &sound.file), SoundLimits::default())?;
            let track = match sound.role {
                Role::Voice => &mut voice,
                Role::Music => &mut music,
                Role::Effect => &mut others,
            };
            lay(&stereo(&audio)?, sound, self.seconds, track);
            heard = true;
        }
        for (scene, &(start, seconds)) in self.timeline.scenes.iter().zip(self.scenes) {
            let Some((clip, volume)) = scene
                .clip
                .as_ref()
                .and_then(|clip| Some((clip, clip.volume?)))
            else {
                continue;
            };
            let mut reader = FilmReader::open(&place(self.base, &clip.file), film_limits(), None)?;
            let Some(audio) = reader.audio(SoundLimits::default())? else {
                continue;
            };
            let mut moments = stereo(&audio)?;
            moments.drain(..((clip.start * f64::from(RATE)) as usize).min(moments.len()));
            if !clip.repeat {
                moments.truncate((seconds * f64::from(RATE)) as usize);
            }
            let sound = Sound {
                file: clip.file.clone(),
                role: Role::Effect,
                start,
                gain: volume,
                repeat: clip.repeat,
                fade_in: scene.fade,
                fade_out: 0.02,
            };
            lay(&moments, &sound, start + seconds, &mut others);
            heard = true;
        }
        if !heard {
            return Ok(None);
        }
        duck(&voice, &mut music, self.timeline.duck);
        for (sum, (a, b)) in voice.iter_mut().zip(music.iter().zip(&others)) {
            *sum = [sum[0] + a[0] + b[0], sum[1] + a[1] + b[1]];
        }
        level(&mut voice, self.timeline.loudness)?;
        limit(&mut voice);
        Audio::new(RATE, 2, voice.into_flattened()).map(Some)
    }
}

/// The sound in two channels at the mix's rate; of more than two the mean.
fn stereo(audio: &Audio) -> Result<Vec<[f32; 2]>, MediaError> {
    let audio = audio.resampled(RATE)?;
    let channels = usize::from(audio.channels());
    let moments = audio
        .samples()
        .chunks_exact(channels)
        .map(|moment| match *moment {
            [only] => [only; 2],
            [left, right] => [left, right],
            _ => [moment.iter().sum::<f32>() / channels as f32; 2],
        });
    Ok(moments.collect())
}

/// Adds a sound to its track, with its fades, until `end` seconds.
fn lay(moments: &[[f32; 2]], sound: &Sound, end: f64, track: &mut [[f32; 2]]) {
    if moments.is_empty() {
        return;
    }
    let rate = f64::from(RATE);
    let start = ((sound.start * rate).round() as usize).min(track.len());
    let end = ((end * rate).round() as usize).min(track.len());
    let length = if sound.repeat {
        end.saturating_sub(start)
    } else {
        moments.len().min(end.saturating_sub(start))
    };
    let gain = 10f64.powf(sound.gain / 20.0);
    let (fade_in, fade_out) = (sound.fade_in * rate, sound.fade_out * rate);
    for (i, (out, moment)) in track[start..start + length]
        .iter_mut()
        .zip(moments.iter().cycle())
        .enumerate()
    {
        let coming = if fade_in > 0.0 {
            (i as f64 / fade_in).min(1.0)
        } else {
            1.0
        };
        let going = if fade_out > 0.0 {
            ((length - i) as f64 / fade_out).min(1.0)
        } else {
            1.0
        };
        // Sines keep the power even where two sounds cross.
        let part = |x: f64| (x * std::f64::consts::FRAC_PI_2).sin();
        let gain = (gain * part(coming) * part(going)) as f32;
        *out = [out[0] + moment[0] * gain, out[1] + moment[1] * gain];
    }
}

/// Music down by `decibels` while a voice is heard; it begins to go before the first word and takes its time to come back.
fn duck(voice: &[[f32; 2]], music: &mut [[f32; 2]], decibels: f64) {
    /// A block, in moments: 10 ms.
    const BLOCK: usize = RATE as usize / 100;
    /// Blocks in which music goes before a voice, stays down after it, and comes back.
    const GO: usize = 20;
    const STAY: usize = 30;
    const COME: f64 = 60.0;
    /// The least power of a voice: -45 dBFS.
    const VOICE: f32 = 3.2e-5;
    let speaks: Vec<bool> = voice
        .chunks(BLOCK)
        .map(|block| {
            block.iter().map(|m| m[0] * m[0] + m[1] * m[1]).sum::<f32>() / (2 * block.len()) as f32
                > VOICE
        })
        .collect();
    let mut down = vec![0.0f64; speaks.len() + 1];
    for (at, _) in speaks.iter().enumerate().filter(|(_, speaks)| **speaks) {
        let first = at.saturating_sub(GO);
        for (down, block) in down[first..=at].iter_mut().zip(first..) {
            *down = down.max(1.0 - (at - block) as f64 / (GO + 1) as f64);
        }
        let end = (at + STAY).min(speaks.len());
        down[at..=end].fill(1.0);
    }
    for at in 1..down.len() {
        down[at] = down[at].max(down[at - 1] - 1.0 / COME);
    }
    for (i, moment) in music.iter_mut().enumerate() {
        let (block, part) = (i / BLOCK, (i % BLOCK) as f64 / BLOCK as f64);
        let here = down[block] * (1.0 - part) + down[block + 1] * part;
        let gain = 10f64.powf(-decibels * here / 20.0) as f32;
        *moment = moment.map(|sample| sample * gain);
    }
}

/// Brings the mix to a loudness (ITU-R BS.1770); silence stays as it is.
fn level(mix: &mut [[f32; 2]], target: f64) -> Result<(), MediaError> {
    let failed = |e| MediaError::encode_film("sound", e);
    let mut meter = EbuR128::new(2, RATE, Mode::I).map_err(failed)?;
    meter.add_frames_f32(mix.as_flattened()).map_err(failed)?;
    let loudness = meter.loudness_global().map_err(failed)?;
    if loudness.is_finite() && loudness > -70.0 {
        let gain = 10f64.powf((target - loudness) / 20.0) as f32;
        mix.iter_mut().flatten().for_each(|sample| *sample *= gain);
    }
    Ok(())
}

/// Takes back what is above the ceiling: the gain goes down before a peak, over 5 ms, and comes back over 50.
fn limit(mix: &mut [[f32; 2]]) {
    const AHEAD: usize = RATE as usize / 200;
    const BACK: f32 = 1.0 / (RATE as f32 / 20.0);
    let mut gains: Vec<f32> = mix
        .iter()
        .map(|m| CEILING / m[0].abs().max(m[1].abs()).max(CEILING))
        .collect();
    // Backwards down to each peak, forwards up from it.
    for at in (1..gains.len()).rev() {
        gains[at - 1] = gains[at - 1].min(gains[at] + 1.0 / AHEAD as f32);
    }
    for at in 1..gains.len() {
        gains[at] = gains[at].min(gains[at - 1] + BACK);
    }
    for (moment, gain) in mix.iter_mut().zip(gains) {
        *moment = moment.map(|sample| sample * gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(seconds: f64, hertz: f64, level: f32) -> Vec<[f32; 2]> {
        let sample = |i: usize| {
            (i as f64 * hertz * std::f64::consts::TAU / f64::from(RATE)).sin() as f32 * level
        };
        (0..(seconds * f64::from(RATE)) as usize)
            .map(|i| [sample(i); 2])
            .collect()
    }

    fn power(part: &[[f32; 2]]) -> f64 {
        let sum: f64 = part.iter().flatten().map(|s| f64::from(*s).powi(2)).sum();
        10.0 * (sum / (2 * part.len()) as f64).log10()
    }

    #[test]
    fn music_goes_down_under_a_voice_and_comes_back() {
        let mut voice = vec![[0.0; 2]; 5 * RATE as usize];
        voice[2 * RATE as usize..3 * RATE as usize].copy_from_slice(&tone(1.0, 200.0, 0.3));
        let whole = tone(5.0, 440.0, 0.2);
        let mut music = whole.clone();
        duck(&voice, &mut music, 12.0);
        let second = |at: f64| &music[(at * f64::from(RATE)) as usize..][..RATE as usize / 4];
        assert!((power(second(1.0)) - power(&whole)).abs() < 0.1);
        assert!((power(second(2.5)) - power(&whole) + 12.0).abs() < 0.1);
        assert!((power(second(4.5)) - power(&whole)).abs() < 0.1);
    }

    #[test]
    fn the_mix_has_its_loudness_and_stays_below_the_ceiling() {
        let mut mix = tone(4.0, 997.0, 0.05);
        mix[RATE as usize] = [0.9; 2];
        level(&mut mix, -14.0).unwrap();
        limit(&mut mix);
        assert!(mix.iter().flatten().all(|s| s.abs() <= CEILING + 1e-6));
        let mut meter = EbuR128::new(2, RATE, Mode::I).unwrap();
        meter.add_frames_f32(mix.as_flattened()).unwrap();
        assert!((meter.loudness_global().unwrap() + 14.0).abs() < 0.5);
    }
}
