//! The instruments of a SoundFont.

use std::io::Cursor;
use std::sync::Arc;

use medley_media::score::Score;
use medley_media::{Origin, midi};
use rustysynth::{MidiFile, MidiFileSequencer, SoundFont, Synthesizer, SynthesizerSettings};

use super::{Stereo, SynthError, frames};

/// Renders a score as [`super::render`] does, with the instruments of a SoundFont (`.sf2`).
///
/// # Errors
/// [`SynthError::SoundFont`] for bytes that are none, [`SynthError::TooLong`], and [`SynthError::Score`] where there are more
/// tracks than MIDI has channels.
pub fn soundfont(score: &Score, font: &[u8], rate: u32, tail: f64) -> Result<Vec<f32>, SynthError> {
    let frames = frames(score, rate, tail)?;
    let refuse = |e: &dyn std::fmt::Display| SynthError::SoundFont(e.to_string());
    let font = SoundFont::new(&mut Cursor::new(font)).map_err(|e| refuse(&e))?;
    let settings = SynthesizerSettings::new(i32::try_from(rate).unwrap_or(44_100));
    let synthesizer = Synthesizer::new(&Arc::new(font), &settings).map_err(|e| refuse(&e))?;
    let bytes =
        midi::write(score, Origin::Collected).map_err(|e| SynthError::Score(e.to_string()))?;
    let file =
        MidiFile::new(&mut Cursor::new(bytes)).map_err(|e| SynthError::Score(e.to_string()))?;
    let mut sequencer = MidiFileSequencer::new(synthesizer);
    sequencer.play(&Arc::new(file), false);
    let mut sound = Stereo::silent(frames);
    sequencer.render(&mut sound.left, &mut sound.right);
    super::effects::master(&mut sound, rate);
    let pairs = sound.left.iter().zip(&sound.right);
    Ok(pairs.flat_map(|(l, r)| [*l, *r]).collect())
}
