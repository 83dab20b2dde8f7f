//! Spoken words: text to sound, sentence by sentence.
//!
//! A folder per architecture of voices; what they have in common is here: the request and its limits, joins, loudness
//! and captions.

pub mod captions;
pub mod hibari;
mod level;
pub mod piper;
mod timing;

use std::path::Path;
use std::time::Instant;

use medley_media::Audio;
use medley_tokenize::english::{Utterance, sentences};
use medley_types::{Event, SpeechRequest, SpeechTimings, SpeechWork, WordTime};

use crate::{PipelineError, Run};

pub use level::{Level, TARGET, loudness};

/// Longest text, in characters: about twenty hours.
pub const MAX_TEXT: usize = 1_000_000;
/// Slowest and fastest.
pub const SPEEDS: [f64; 2] = [0.25, 4.0];
/// Longest silence between sentences, in seconds.
const MAX_PAUSE: f64 = 60.0;
/// Seconds of all pauses of a text together.
const MOST_SILENCE: f64 = 6.0 * 3600.0;
/// Quietest and loudest, in LUFS.
const LOUDNESS: [f64; 2] = [-50.0, -5.0];

/// When a phoneme is said.
#[derive(Clone, Debug, PartialEq)]
pub struct PhonemeTime {
    /// Its sign, of the International Phonetic Alphabet mostly.
    pub symbol: char,
    /// Its beginning in seconds, from the beginning of its piece.
    pub start: f64,
    /// Its end in seconds.
    pub end: f64,
}

/// A sentence, spoken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// One channel.
    pub samples: Vec<f32>,
    /// When each word is said, from the beginning of this piece.
    pub words: Vec<WordTime>,
    /// When each phoneme is said, of voices that know.
    pub phonemes: Vec<PhonemeTime>,
    /// Characters that the voice has no sound for.
    pub skipped: Vec<char>,
}

/// What a generator gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Speech {
    /// All of the sound.
    pub audio: Audio,
    /// What is known of it.
    pub work: SpeechWork,
}

/// Turns requests for speech into sound.
pub trait SpeechGenerator: Send + Sync {
    /// Names of the voices, the usual one first.
    fn voices(&self) -> &[String];

    /// Samples a second.
    fn sample_rate(&self) -> u32;

    /// Seconds that loading took.
    fn load_s(&self) -> f64;

    /// Says the sentences of a completed request one after the other and hands each to `heard` as soon as it is there,
    /// as loud as the voice is.
    ///
    /// # Errors
    /// [`PipelineError`]; [`PipelineError::Cancelled`] between two sentences.
    fn stream(
        &self,
        request: &SpeechRequest,
        run: &mut Run,
        timings: &mut SpeechTimings,
        heard: &mut dyn FnMut(Piece) -> Result<(), PipelineError>,
    ) -> Result<(), PipelineError>;

    /// The request with everything filled in.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] names the value that cannot be used.
    fn complete(&self, request: &SpeechRequest) -> Result<SpeechRequest, PipelineError>;

    /// Says all of a completed request.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    fn generate(&self, request: &SpeechRequest, run: &mut Run) -> Result<Speech, PipelineError> {
        let start = Instant::now();
        let rate = self.sample_rate();
        let mut timings = SpeechTimings {
            load_s: self.load_s(),
            ..SpeechTimings::default()
        };
        let mut first = None;
        let mut speech = Joined::new(rate, request.pause);
        self.stream(request, run, &mut timings, &mut |piece| {
            first.get_or_insert_with(|| start.elapsed().as_secs_f64());
            speech.add(piece);
            Ok(())
        })?;
        let mut audio = Audio::new(rate, 1, speech.samples)?;
        if let Some(target) = request.loudness {
            level::normalize(&mut audio, target);
        }
        timings.first_s = first.unwrap_or(0.0);
        timings.total_s = start.elapsed().as_secs_f64();
        run.emit(Event::Done);
        Ok(Speech {
            work: SpeechWork {
                seconds: audio.seconds(),
                sample_rate: rate,
                sentences: speech.sentences,
                words: speech.words,
                skipped: speech.skipped,
                timings,
            },
            audio,
        })
    }
}

/// The generator of a model: a folder, or the file of a voice. `english` is a folder of hibari, whose dictionaries say
/// English for voices that have none.
///
/// # Errors
/// [`PipelineError::ModelConfig`] where there is no voice that is known, and what loading it meets.
pub fn load(
    path: &Path,
    voice: Option<&str>,
    english: Option<&Path>,
) -> Result<Box<dyn SpeechGenerator>, PipelineError> {
    if path.join(hibari::MARK).is_file() {
        return Ok(Box::new(hibari::HibariVoice::load(path, voice)?));
    }
    if let Some(file) = piper::find(path)? {
        return Ok(Box::new(piper::PiperVoice::load(&file, voice, english)?));
    }
    Err(no_voice(path))
}

/// Names of the voices in a folder or a file, the usual one first; their weights are not read.
///
/// # Errors
/// [`PipelineError`] where it holds no voice that is known.
pub fn names(path: &Path) -> Result<Vec<String>, PipelineError> {
    if path.join(hibari::MARK).is_file() {
        return hibari::names(path);
    }
    match piper::find(path)? {
        Some(file) => piper::names(&file),
        None => Err(no_voice(path)),
    }
}

fn no_voice(path: &Path) -> PipelineError {
    PipelineError::ModelConfig(format!(
        "{} holds no voice: a folder of hibari has {}, a voice of Piper is an .onnx file with its .onnx.json beside it",
        path.display(),
        hibari::MARK
    ))
}

/// Says a text breath by breath: `read` gives the breaths of a sentence, `say` one of them, with a seed of its own.
/// Characters that are skipped go with what is said next.
fn each_breath(
    request: &SpeechRequest,
    run: &mut Run,
    timings: &mut SpeechTimings,
    read: impl Fn(&str) -> Result<Vec<Utterance>, PipelineError>,
    mut say: impl FnMut(&Utterance, u64, &mut SpeechTimings) -> Result<(), PipelineError>,
) -> Result<(), PipelineError> {
    let texts = sentences(&request.text);
    let total = texts.len();
    let (mut number, mut skipped) = (0u64, Vec::new());
    for (done, text) in texts.into_iter().enumerate() {
        run.check()?;
        run.emit(Event::Progress {
            stage: "speak".into(),
            done,
            total,
        });
        let start = Instant::now();
        let parts = read(text)?;
        timings.text_s += start.elapsed().as_secs_f64();
        for mut utterance in parts {
            run.check()?;
            skipped.append(&mut utterance.skipped);
            if utterance
                .words
                .iter()
                .all(|word| word.phonemes.trim().is_empty())
            {
                continue;
            }
            utterance.skipped = std::mem::take(&mut skipped);
            let seed = request.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9));
            number += 1;
            say(&utterance, seed, timings)?;
        }
    }
    match number {
        0 => Err(PipelineError::InvalidRequest(
            "there is nothing in the text that this voice can say".into(),
        )),
        _ => Ok(()),
    }
}

/// What [`SpeechGenerator::complete`] does for every voice, of which `loaded` is the one that is in memory.
fn complete(
    generator: &dyn SpeechGenerator,
    request: &SpeechRequest,
    loaded: &str,
) -> Result<SpeechRequest, PipelineError> {
    validate(request)?;
    let voices = generator.voices();
    let voice = request.voice.as_deref().unwrap_or(loaded);
    if !voices.iter().any(|known| known == voice) {
        return Err(PipelineError::InvalidRequest(format!(
            "there is no voice {voice:?}; there are: {}",
            voices.join(", ")
        )));
    }
    if voice != loaded {
        return Err(PipelineError::InvalidRequest(format!(
            "the voice {loaded} was loaded, not {voice}"
        )));
    }
    Ok(SpeechRequest {
        voice: Some(voice.to_owned()),
        speed: Some(request.speed.unwrap_or(1.0)),
        loudness: Some(request.loudness.unwrap_or(TARGET)),
        ..request.clone()
    })
}

/// Refuses what no voice can do.
///
/// # Errors
/// [`PipelineError::EmptyPrompt`], [`PipelineError::InvalidRequest`].
pub fn validate(request: &SpeechRequest) -> Result<(), PipelineError> {
    let invalid = |message: String| Err(PipelineError::InvalidRequest(message));
    if !request.text.chars().any(|c| !c.is_whitespace()) {
        return Err(PipelineError::EmptyPrompt);
    }
    let length = request.text.chars().count();
    if length > MAX_TEXT {
        return invalid(format!(
            "the text has {length} characters, but at most {MAX_TEXT} are said at a time; split it"
        ));
    }
    let within = |name: &str, value: f64, [least, most]: [f64; 2]| match value {
        value if (least..=most).contains(&value) => Ok(()),
        value => Err(PipelineError::InvalidRequest(format!(
            "{name} is {value}, but it must be from {least} to {most}"
        ))),
    };
    within("speed", request.speed.unwrap_or(1.0), SPEEDS)?;
    within("pause", request.pause, [0.0, MAX_PAUSE])?;
    let ends = |c: &char| matches!(c, '.' | '!' | '?' | '…' | '\n');
    let silent = request.text.chars().filter(ends).count() as f64 * request.pause;
    if silent > MOST_SILENCE {
        return invalid(format!(
            "pauses of {} s between so many sentences would last {:.0} hours; make them shorter",
            request.pause,
            silent / 3600.0
        ));
    }
    within("loudness", request.loudness.unwrap_or(TARGET), LOUDNESS)
}

/// Pieces one behind the other.
struct Joined {
    rate: u32,
    pause: usize,
    samples: Vec<f32>,
    words: Vec<WordTime>,
    skipped: String,
    sentences: usize,
}

impl Joined {
    fn new(rate: u32, pause: f64) -> Self {
        Self {
            rate,
            pause: (pause * f64::from(rate)) as usize,
            samples: Vec::new(),
            words: Vec::new(),
            skipped: String::new(),
            sentences: 0,
        }
    }

    fn add(&mut self, mut piece: Piece) {
        if self.sentences > 0 {
            self.samples.resize(self.samples.len() + self.pause, 0.0);
        }
        fade(&mut piece.samples, self.rate);
        let offset = self.samples.len() as f64 / f64::from(self.rate);
        self.samples.append(&mut piece.samples);
        for word in piece.words {
            self.words.push(WordTime {
                start: milliseconds(word.start + offset),
                end: milliseconds(word.end + offset),
                sentence: self.sentences,
                ..word
            });
        }
        for c in piece.skipped {
            if !self.skipped.contains(c) {
                self.skipped.push(c);
            }
        }
        self.sentences += 1;
    }
}

/// Seconds, to the millisecond.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Five milliseconds from and to silence, so that no join clicks.
pub fn fade(samples: &mut [f32], rate: u32) {
    let length = (rate as usize / 200).min(samples.len() / 2);
    let last = samples.len();
    for i in 0..length {
        let share = (i as f32 + 0.5) / length as f32;
        samples[i] *= share;
        samples[last - 1 - i] *= share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(start: f64) -> WordTime {
        WordTime {
            word: "a".into(),
            start,
            end: start + 0.1,
            sentence: 0,
        }
    }

    #[test]
    fn pieces_join_without_clicks_and_words_keep_their_times() {
        let mut joined = Joined::new(1000, 0.5);
        for _ in 0..2 {
            joined.add(Piece {
                samples: vec![1.0; 1000],
                words: vec![word(0.25)],
                skipped: vec!['漢', '漢'],
                ..Piece::default()
            });
        }
        assert_eq!(joined.samples.len(), 2500);
        assert_eq!(joined.words[1].start, 1.75);
        assert_eq!(joined.words[1].sentence, 1);
        assert_eq!(joined.skipped, "漢");
        let step = |pair: &[f32]| (pair[1] - pair[0]).abs();
        let largest = joined.samples.windows(2).map(step).fold(0.0, f32::max);
        assert!(largest <= 0.2 + 1e-6, "a step of {largest}");
        assert!(joined.samples[0] <= 0.1 && joined.samples[2499] <= 0.1);
    }

    #[test]
    fn requests_that_cannot_be_said_are_refused() {
        let request = |text: &str| SpeechRequest {
            text: text.into(),
            ..SpeechRequest::default()
        };
        assert!(validate(&request("Hello")).is_ok());
        assert!(matches!(
            validate(&request(" \n")),
            Err(PipelineError::EmptyPrompt)
        ));
        assert!(validate(&request(&"a ".repeat(MAX_TEXT))).is_err());
        for speed in [0.0, -1.0, f64::NAN, 99.0] {
            let fast = SpeechRequest {
                speed: Some(speed),
                ..request("Hello")
            };
            assert!(validate(&fast).is_err(), "{speed}");
        }
    }
}
