//! Voices of [hibari](https://pypi.org/project/hibari-tts/): a folder with its ONNX files, dictionaries and tables.

mod files;
mod waveform;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use medley_kernels::pool;
use medley_models::hibari::{FRAME_RATE, Hibari, Letters, Spectrum};
use medley_tokenize::english::{English, Spoken, Utterance, sentences};
use medley_types::{SpeechRequest, SpeechTimings, WordTime};

use super::timing::{Said, written};
use super::{PhonemeTime, Piece, SpeechGenerator, each_breath};
use crate::{PipelineError, Run};
use files::Alphabet;
use waveform::{BINS, Seeded};

pub use waveform::{Noise, Synthesizer};

/// The file that a folder of voices is known by.
pub const MARK: &str = "voices.json";

/// The most phonemes that are spoken in one breath.
const BREATH: usize = 400;

thread_local! {
    /// The spectrum of a sentence, whose memory the next one takes: fresh pages cost as much as what is computed in them.
    static SPECTRUM: RefCell<Spectrum> = RefCell::default();
}

/// One voice, ready to speak.
pub struct HibariVoice {
    network: Hibari,
    reader: English,
    symbols: HashMap<char, u32>,
    synthesizer: Synthesizer,
    /// Names of the voices that are here; the one that was loaded is `voice`.
    voices: Vec<String>,
    voice: String,
    load_s: f64,
}

impl HibariVoice {
    /// Loads a voice of the folder, the first one where none is named.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] lists the voices there are; [`PipelineError::File`],
    /// [`PipelineError::Format`] and [`PipelineError::Model`] where a file is missing or damaged.
    pub fn load(folder: &Path, voice: Option<&str>) -> Result<Self, PipelineError> {
        let start = Instant::now();
        let here = files::voices(folder)?;
        let chosen = match voice {
            None => here.first(),
            Some(name) => here.iter().find(|v| v.name == name),
        };
        let names: Vec<String> = here.iter().map(|v| v.name.clone()).collect();
        let Some(chosen) = chosen else {
            return Err(PipelineError::InvalidRequest(format!(
                "there is no voice {:?}; there are: {}",
                voice.unwrap_or_default(),
                names.join(", ")
            )));
        };
        let network = || files::network(&folder.join(&chosen.file));
        let (reader, network) = reader_and(folder, chosen.british, network)?;
        if network.config().bins != BINS {
            return Err(PipelineError::ModelConfig(format!(
                "{} has {} frequencies where {BINS} are known",
                chosen.file,
                network.config().bins
            )));
        }
        Ok(Self {
            network,
            reader,
            symbols: files::symbols(folder)?,
            synthesizer: Synthesizer::default(),
            voices: names,
            voice: chosen.name.clone(),
            load_s: start.elapsed().as_secs_f64(),
        })
    }

    /// What is said for a text, breath by breath.
    pub fn utterances(&self, text: &str) -> Vec<Utterance> {
        let spoken = sentences(text).into_iter().map(|s| self.reader.speak(s));
        spoken.flat_map(breaths).collect()
    }

    /// The numbers of phonemes, with silence at both ends; characters that the voice does not have are left out.
    pub fn ids(&self, phonemes: &str) -> Vec<u32> {
        let known = phonemes
            .chars()
            .filter_map(|c| self.symbols.get(&c).copied());
        std::iter::once(0).chain(known).chain([0]).collect()
    }

    /// Samples, and the frames of each phoneme, of phonemes by number.
    ///
    /// # Errors
    /// [`PipelineError::Model`].
    pub fn say(
        &self,
        ids: &[u32],
        speed: f32,
        noise: &dyn Noise,
        timings: &mut SpeechTimings,
    ) -> Result<(Vec<f32>, Vec<usize>), PipelineError> {
        let start = Instant::now();
        SPECTRUM.with_borrow_mut(|spectrum| {
            self.network.forward_into(ids, speed, spectrum)?;
            let middle = Instant::now();
            let samples = self.synthesizer.synthesize(spectrum, noise);
            timings.model_s += (middle - start).as_secs_f64();
            timings.wave_s += middle.elapsed().as_secs_f64();
            // The shape was checked when the voice was loaded.
            Ok((samples.unwrap_or_default(), spectrum.durations.clone()))
        })
    }

    /// Phonemes with their times; the first of the durations is the silence before them.
    fn phonemes(&self, phonemes: &str, durations: &[usize]) -> Vec<PhonemeTime> {
        let known = phonemes.chars().filter(|c| self.symbols.contains_key(c));
        let mut frames = durations.iter().map(|&d| d as f64 / f64::from(FRAME_RATE));
        let mut at = frames.next().unwrap_or(0.0);
        let timed = known.zip(frames).map(|(symbol, length)| {
            let start = at;
            at += length;
            PhonemeTime {
                symbol,
                start,
                end: at,
            }
        });
        timed
            .filter(|phoneme| !phoneme.symbol.is_whitespace())
            .collect()
    }

    /// Words of the written text with their times.
    fn words(&self, utterance: &Utterance, durations: &[usize]) -> Vec<WordTime> {
        let mut frames = durations.iter().map(|&d| d as f64 / f64::from(FRAME_RATE));
        let mut at = frames.next().unwrap_or(0.0);
        let known = |text: &str| {
            text.chars()
                .filter(|c| self.symbols.contains_key(c))
                .count()
        };
        let (mut said, mut spaced) = (Vec::new(), false);
        for spoken in &utterance.words {
            let start = at;
            at += frames.by_ref().take(known(&spoken.phonemes)).sum::<f64>();
            said.push(Said {
                spoken,
                start,
                end: at,
            });
            // Two spaces in a row are one, as in `Utterance::phonemes`.
            spaced &= spoken.phonemes.is_empty();
            if spoken.space && !spaced {
                at += frames.next().unwrap_or(0.0);
                spaced = true;
            }
        }
        written(&utterance.text, &said)
    }
}

/// The reader of an accent, of the dictionaries in a folder of hibari, and something else that is loaded meanwhile.
pub(super) fn reader_and<T: Send>(
    folder: &Path,
    british: bool,
    also: impl Fn() -> Result<T, PipelineError> + Sync,
) -> Result<(English, T), PipelineError> {
    let (mut lexicon, mut rest) = (None, None);
    side_by_side(
        || files::lexicon(folder, british),
        || {
            Ok((
                files::letters(folder, british)?,
                files::tagger(folder)?,
                also()?,
            ))
        },
        (&mut lexicon, &mut rest),
    );
    let (lexicon, ((letters, alphabet), tagger, also)) = (taken(lexicon)?, taken(rest)?);
    let unknown = move |word: &str| sound_out(&letters, &alphabet, word);
    Ok((English::new(lexicon, tagger, Box::new(unknown)), also))
}

type Made<T> = Option<Result<T, PipelineError>>;

/// Two things that are loaded at the same time.
fn side_by_side<A: Send, B: Send>(
    first: impl Fn() -> Result<A, PipelineError> + Sync,
    second: impl Fn() -> Result<B, PipelineError> + Sync,
    (a, b): (&mut Made<A>, &mut Made<B>),
) {
    let (a, b) = (Mutex::new(a), Mutex::new(b));
    pool::parallel_for(2, |i| match i {
        0 => {
            let made = first();
            if let Ok(mut a) = a.lock() {
                **a = Some(made);
            }
        }
        _ => {
            let made = second();
            if let Ok(mut b) = b.lock() {
                **b = Some(made);
            }
        }
    });
}

fn taken<T>(made: Made<T>) -> Result<T, PipelineError> {
    made.unwrap_or_else(|| Err(PipelineError::ModelConfig("loading ended early".into())))
}

fn sound_out(letters: &Letters, alphabet: &Alphabet, word: &str) -> Option<String> {
    let numbers: Vec<u32> = word.chars().filter_map(|c| alphabet.letter(c)).collect();
    let symbols = letters.forward(&numbers).ok()?;
    let said: String = symbols.iter().filter_map(|&s| alphabet.symbol(s)).collect();
    (!said.trim().is_empty()).then_some(said)
}

/// A sentence in parts that one breath is enough for: cut at pauses where there are some, else between words.
pub(super) fn breaths(utterance: Utterance) -> Vec<Utterance> {
    let length =
        |words: &[Spoken]| -> usize { words.iter().map(|w| w.phonemes.chars().count() + 1).sum() };
    if length(&utterance.words) <= BREATH {
        return vec![utterance];
    }
    let mut parts: Vec<Vec<Spoken>> = vec![Vec::new()];
    // The last place to cut, counted in words of the part.
    let mut pause = None;
    for word in utterance.words {
        let Some(part) = parts.last_mut() else { break };
        part.push(word);
        if length(part) > BREATH && part.len() > 1 {
            let rest = part.split_off(pause.unwrap_or(part.len() - 1));
            parts.push(rest);
            pause = None;
        } else if part
            .last()
            .is_some_and(|w| matches!(w.phonemes.as_str(), "," | ";" | ":" | "—" | "…"))
        {
            pause = Some(part.len());
        }
    }
    // The written text goes with its first words; each part has as many as it says.
    let mut written = utterance.text.split_whitespace();
    let total: usize = parts.iter().map(Vec::len).sum();
    let count = utterance.text.split_whitespace().count();
    let mut skipped = utterance.skipped;
    let last = parts.len() - 1;
    let mut seen = 0;
    let mut taken = 0;
    parts
        .into_iter()
        .enumerate()
        .map(|(i, words)| {
            seen += words.len();
            let until = if i == last {
                count
            } else {
                count * seen / total.max(1)
            };
            let text: Vec<&str> = written.by_ref().take(until - taken).collect();
            taken = until;
            Utterance {
                text: text.join(" "),
                words,
                skipped: std::mem::take(&mut skipped),
            }
        })
        .collect()
}

/// Names of the voices in a folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, PipelineError> {
    let here = files::voices(folder)?;
    Ok(here.into_iter().map(|voice| voice.name).collect())
}

impl SpeechGenerator for HibariVoice {
    fn voices(&self) -> &[String] {
        &self.voices
    }

    fn sample_rate(&self) -> u32 {
        waveform::RATE
    }

    fn load_s(&self) -> f64 {
        self.load_s
    }

    fn complete(&self, request: &SpeechRequest) -> Result<SpeechRequest, PipelineError> {
        super::complete(self, request, &self.voice)
    }

    fn stream(
        &self,
        request: &SpeechRequest,
        run: &mut Run,
        timings: &mut SpeechTimings,
        heard: &mut dyn FnMut(Piece) -> Result<(), PipelineError>,
    ) -> Result<(), PipelineError> {
        let speed = request.speed.unwrap_or(1.0) as f32;
        let read = |text: &str| Ok(breaths(self.reader.speak(text)));
        each_breath(request, run, timings, read, |utterance, seed, timings| {
            let phonemes = utterance.phonemes();
            let ids = self.ids(&phonemes);
            if ids.len() < 3 {
                return Ok(());
            }
            let (samples, durations) = self.say(&ids, speed, &Seeded(seed), timings)?;
            heard(Piece {
                samples,
                words: self.words(utterance, &durations),
                phonemes: self.phonemes(&phonemes, &durations),
                skipped: utterance.skipped.clone(),
            })
        })
    }
}

/// Where a folder of this kind keeps its voices.
pub fn voice_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, PipelineError> {
    let voices = files::voices(folder)?;
    Ok(voices
        .into_iter()
        .map(|v| (v.name, folder.join(v.file)))
        .collect())
}
