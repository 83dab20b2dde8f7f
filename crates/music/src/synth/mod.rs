//! A score as sound.
//!
//! The built-in instruments are few and cost little: strings that are plucked, an electric piano, a bass, a pad, a whistle and
//! drums, each mixed to its place, with one reverberation for all. [`soundfont`] plays the instruments of a SoundFont instead.

mod drums;
mod effects;
mod font;
mod instruments;
mod pluck;

use medley_media::score::{Note, Score, Track};

pub use font::soundfont;

use effects::{Reverb, master};
use instruments::{Kind, Tone};

/// Longest music that is rendered, in seconds.
pub const LONGEST: f64 = 3600.0;

/// Why no sound was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// More seconds than are rendered.
    #[error("the music lasts {seconds:.0} seconds, but at most {LONGEST} are rendered")]
    TooLong {
        /// How long it lasts.
        seconds: f64,
    },
    /// A file that is no SoundFont, or a damaged one.
    #[error("this is no SoundFont that can be played: {0}")]
    SoundFont(String),
    /// The score cannot be played by a SoundFont.
    #[error("{0}")]
    Score(String),
}

/// What of a track goes where.
#[derive(Clone, Copy, Debug)]
struct Place {
    gain: f32,
    /// −1 is left, 1 right.
    pan: f32,
    /// Share that is sent to the reverberation.
    send: f32,
}

impl Place {
    fn of(kind: Kind) -> Self {
        let (gain, pan, send) = match kind {
            Kind::Pluck => (0.5, -0.12, 0.22),
            Kind::Piano => (0.34, 0.2, 0.25),
            Kind::Bass => (0.55, 0.0, 0.05),
            Kind::Pad => (0.2, 0.0, 0.45),
            Kind::Whistle => (0.3, 0.08, 0.35),
            Kind::Drums => (0.5, 0.0, 0.14),
        };
        Self { gain, pan, send }
    }
}

/// Samples of both sides.
pub(crate) struct Stereo {
    left: Vec<f32>,
    right: Vec<f32>,
}

/// Renders a score: interleaved samples of left and right, `rate` a second each, with `tail` seconds behind the last note for
/// the reverberation. The loudest sample stays 1 dB below full scale.
///
/// `stop` is asked between notes; where it says so, nothing comes out.
///
/// # Errors
/// [`SynthError::TooLong`].
pub fn render(
    score: &Score,
    rate: u32,
    tail: f64,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Vec<f32>>, SynthError> {
    let frames = frames(score, rate, tail)?;
    let mut dry = Stereo::silent(frames);
    let mut sent = Stereo::silent(frames);
    for (number, track) in score.tracks.iter().enumerate() {
        let kind = if track.drums {
            Kind::Drums
        } else {
            Kind::of_program(track.program)
        };
        let place = Place::of(kind);
        let mut bus = vec![0.0f32; frames];
        for (i, note) in track.notes.iter().enumerate() {
            if stop() {
                return Ok(None);
            }
            let seed = (number as u64) << 32 | i as u64;
            let tone = tone(score, note, rate, seed);
            match kind {
                Kind::Drums => drums::strike(&mut bus, &tone),
                _ => kind.sound(&mut bus, &tone),
            }
        }
        mix(&bus, track, place, &mut dry, &mut sent);
    }
    Reverb::new(rate).add(&sent, &mut dry);
    master(&mut dry, rate);
    let pairs = dry.left.iter().zip(&dry.right);
    Ok(Some(pairs.flat_map(|(l, r)| [*l, *r]).collect()))
}

/// Moments of the whole.
fn frames(score: &Score, rate: u32, tail: f64) -> Result<usize, SynthError> {
    let seconds = score.seconds() + tail.max(0.0);
    if seconds > LONGEST {
        return Err(SynthError::TooLong { seconds });
    }
    Ok((seconds * f64::from(rate)).ceil() as usize)
}

fn tone(score: &Score, note: &Note, rate: u32, seed: u64) -> Tone {
    let from = score.seconds_at(note.start);
    let to = score.seconds_at(note.start.saturating_add(note.length));
    Tone {
        start: (from * f64::from(rate)) as usize,
        seconds: (to - from).max(0.02) as f32,
        pitch: note.pitch,
        hertz: 440.0 * ((f32::from(note.pitch) - 69.0) / 12.0).exp2(),
        force: f32::from(note.velocity.clamp(1, 127)) / 127.0,
        rate: rate as f32,
        seed,
    }
}

impl Stereo {
    fn silent(frames: usize) -> Self {
        Self {
            left: vec![0.0; frames],
            right: vec![0.0; frames],
        }
    }
}

/// Adds a track to its place between left and right, with the same power wherever that is.
fn mix(bus: &[f32], track: &Track, place: Place, dry: &mut Stereo, sent: &mut Stereo) {
    // Several tracks of one kind stand apart.
    let pan = match track.name.as_str() {
        "chords" => 0.32,
        "counter" => -0.4,
        _ => place.pan,
    };
    let angle = (pan + 1.0) * std::f32::consts::FRAC_PI_4;
    let (left, right) = (angle.cos() * place.gain, angle.sin() * place.gain);
    for (i, sample) in bus.iter().enumerate() {
        dry.left[i] += left * sample;
        dry.right[i] += right * sample;
        sent.left[i] += left * place.send * sample;
        sent.right[i] += right * place.send * sample;
    }
}
