//! Sounds to one: tracks with their fades, music under voices, a loudness, a ceiling.

use std::path::Path;

use ebur128::{EbuR128, Mode};

use super::check::{place, wrong};
use super::{ClipScene, Role, Timeline};
use crate::audio::{Audio, SoundLimits, read};
use crate::error::MediaError;
use crate::film::read::{FilmReader, film_limits};

/// Moments a second of the mix.
pub(super) const RATE: u32 = 48_000;

/// The highest sample: -1.5 dBFS, so that coding has room.
const CEILING: f32 = 0.841;

/// When a scene is shown, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub start: f64,
    pub seconds: f64,
    /// How long it comes over the scene before.
    pub fade: f64,
}

/// What there is to hear, and when.
pub(super) struct Heard<'a> {
    pub timeline: &'a Timeline,
    pub base: &'a Path,
    /// When each scene is shown, for the sounds of clips.
    pub scenes: &'a [Span],
    pub seconds: f64,
}

/// A sound at the mix's rate, and how it is laid.
struct Layer<'a> {
    moments: &'a [[f32; 2]],
    start: f64,
    end: f64,
    gain: f64,
    /// Moments after which it begins again.
    period: Option<f64>,
    fade_in: f64,
    fade_out: f64,
}

impl Heard<'_> {
    /// The mix in stereo; none where nothing is heard. Voices come first, so that one track is enough: it is known what music
    /// goes down under when that is added.
    pub(super) fn mix(&self) -> Result<Option<Audio>, MediaError> {
        let mut track = Vec::new();
        self.sounds(Role::Voice, &[], &mut track)?;
        let down = ducking(&track);
        self.sounds(Role::Music, &down, &mut track)?;
        self.sounds(Role::Effect, &[], &mut track)?;
        for (scene, &span) in self.timeline.scenes.iter().zip(self.scenes) {
            if let Some((clip, volume)) = scene.clip.as_ref().and_then(|c| Some((c, c.volume?))) {
                self.clip(clip, volume, span, &mut track)?;
            }
        }
        if track.is_empty() {
            return Ok(None);
        }
        level(&mut track, self.timeline.loudness)?;
        limit(&mut track);
        Audio::new(RATE, 2, track.into_flattened()).map(Some)
    }

    /// Adds the sounds of a role, each lower by the timeline's decibels where `down` says so.
    fn sounds(
        &self,
        role: Role,
        down: &[f64],
        track: &mut Vec<[f32; 2]>,
    ) -> Result<(), MediaError> {
        for sound in self.timeline.sounds.iter().filter(|s| s.role == role) {
            let audio = read(&place(self.base, &sound.file), SoundLimits::default())?;
            let moments = stereo(&audio)?;
            let layer = Layer {
                moments: &moments,
                start: sound.start,
                end: self.seconds,
                gain: sound.gain,
                period: sound.repeat.then_some(moments.len() as f64),
                fade_in: sound.fade_in,
                fade_out: sound.fade_out,
            };
            layer.lay(self.allocated(track)?, |i| {
                ducked(down, i, self.timeline.duck)
            });
        }
        Ok(())
    }

    /// Adds the sound of a clip, which begins again when its pictures do.
    fn clip(
        &self,
        clip: &ClipScene,
        volume: f64,
        span: Span,
        track: &mut Vec<[f32; 2]>,
    ) -> Result<(), MediaError> {
        let mut reader = FilmReader::open(&place(self.base, &clip.file), film_limits(), None)?;
        let Some(audio) = reader.audio(SoundLimits::default())? else {
            return Ok(());
        };
        let moments = stereo(&audio)?;
        let rate = f64::from(RATE);
        let skipped = ((clip.start * rate).round() as usize).min(moments.len());
        let layer = Layer {
            moments: &moments[skipped..],
            start: span.start,
            end: span.start + span.seconds,
            gain: volume,
            period: clip.repeat.then(|| (reader.seconds() - clip.start) * rate),
            fade_in: span.fade,
            fade_out: 0.02,
        };
        layer.lay(self.allocated(track)?, |_| 1.0);
        Ok(())
    }

    /// The track as long as the film; nothing is held for films in which nothing is heard.
    fn allocated<'a>(
        &self,
        track: &'a mut Vec<[f32; 2]>,
    ) -> Result<&'a mut [[f32; 2]], MediaError> {
        let count = (self.seconds * f64::from(RATE)).round() as usize;
        let most = SoundLimits::default().samples / 2;
        if count > most {
            let hours = most as f64 / f64::from(RATE) / 3600.0;
            let reason = format!("a film with sound can be {hours:.0} hours long at most");
            return Err(wrong("scenes", reason));
        }
        track.resize(count, [0.0; 2]);
        Ok(track)
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

impl Layer<'_> {
    /// Adds the sound to a track, with its fades, each moment of it as many times `gain_at` as that says.
    fn lay(&self, track: &mut [[f32; 2]], gain_at: impl Fn(usize) -> f32) {
        if self.moments.is_empty() {
            return;
        }
        let rate = f64::from(RATE);
        let place = |seconds: f64| ((seconds * rate).round() as usize).min(track.len());
        let (start, end) = (place(self.start), place(self.end));
        let length = match self.period {
            Some(_) => end.saturating_sub(start),
            None => self.moments.len().min(end.saturating_sub(start)),
        };
        let gain = 10f64.powf(self.gain / 20.0);
        // A sound is not faded for longer than it lasts.
        let fade = |seconds: f64| (seconds * rate).min(length as f64);
        let (fade_in, fade_out) = (fade(self.fade_in), fade(self.fade_out));
        let along = |at: f64, fade: f64| if at < fade { at / fade } else { 1.0 };
        // Sines keep the power even where two sounds cross.
        let part = |x: f64| (x * std::f64::consts::FRAC_PI_2).sin();
        let period = self.period.unwrap_or(length as f64).max(1.0);
        // Each turn begins at its own time, so that nothing adds up.
        let begin = |turn: u32| ((f64::from(turn) * period).round() as usize).min(length);
        for turn in (0..).take_while(|&turn| begin(turn) < length) {
            for (i, moment) in (begin(turn)..begin(turn + 1)).zip(self.moments) {
                let coming = part(along(i as f64, fade_in));
                let going = part(along((length - i) as f64, fade_out));
                let out = &mut track[start + i];
                let gain = (gain * coming * going) as f32 * gain_at(start + i);
                *out = [out[0] + moment[0] * gain, out[1] + moment[1] * gain];
            }
        }
    }
}

/// A block, in moments: 10 ms.
const BLOCK: usize = RATE as usize / 100;

/// How far down music is at the beginning of each block, 0 to 1: it begins to go before the first word and takes its time to come
/// back. Empty where there is no voice.
fn ducking(voice: &[[f32; 2]]) -> Vec<f64> {
    /// Blocks in which music goes before a voice, stays down after it, and comes back.
    const GO: usize = 20;
    const STAY: usize = 30;
    const COME: f64 = 60.0;
    /// The least power of a voice: -45 dBFS.
    const VOICE: f32 = 3.2e-5;
    if voice.is_empty() {
        return Vec::new();
    }
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
    down
}

/// What is left of music at moment `i` when it goes down by so many decibels.
fn ducked(down: &[f64], i: usize, decibels: f64) -> f32 {
    let (block, part) = (i / BLOCK, (i % BLOCK) as f64 / BLOCK as f64);
    let at = |block: usize| down.get(block).copied().unwrap_or(0.0);
    let here = at(block) * (1.0 - part) + at(block + 1) * part;
    10f64.powf(-decibels * here / 20.0) as f32
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
        let down = ducking(&voice);
        for (i, moment) in music.iter_mut().enumerate() {
            *moment = moment.map(|sample| sample * ducked(&down, i, 12.0));
        }
        let second = |at: f64| &music[(at * f64::from(RATE)) as usize..][..RATE as usize / 4];
        assert!((power(second(1.0)) - power(&whole)).abs() < 0.1);
        assert!((power(second(2.5)) - power(&whole) + 12.0).abs() < 0.1);
        assert!((power(second(4.5)) - power(&whole)).abs() < 0.1);
    }

    #[test]
    fn what_repeats_keeps_its_time_and_fades_within_its_length() {
        // A click at the start of a sound that begins again every 0.01 s and a third of a moment, and is shorter than that.
        let period = 480.0 + 1.0 / 3.0;
        let mut moments = vec![[0.0; 2]; 400];
        moments[0] = [1.0; 2];
        let layer = |period, fade_in, moments| Layer {
            moments,
            start: 0.5,
            end: 3.0,
            gain: 0.0,
            period,
            fade_in,
            fade_out: 0.0,
        };
        let mut track = vec![[0.0f32; 2]; 3 * RATE as usize];
        layer(Some(period), 0.0, &moments[..]).lay(&mut track, |_| 1.0);
        let clicks: Vec<usize> = (0..track.len()).filter(|&i| track[i][0] > 0.5).collect();
        let want = |turn: usize| 24_000 + (turn as f64 * period).round() as usize;
        assert_eq!(clicks, (0..clicks.len()).map(want).collect::<Vec<_>>());
        assert_eq!(clicks.len(), 250);
        // A fade of nine seconds into one second of sound ends with it.
        track.fill([0.0; 2]);
        layer(None, 9.0, &vec![[1.0; 2]; RATE as usize]).lay(&mut track, |_| 1.0);
        let last = track[24_000 + RATE as usize - 1][0];
        assert!(
            last > 0.99 && track[24_000 + RATE as usize / 3][0] < 0.51,
            "{last}"
        );
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
