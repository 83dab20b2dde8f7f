//! Voices of [Piper](https://github.com/rhasspy/piper): an `.onnx` file with its settings in `.onnx.json` beside it.
//! Graphs of other architectures with the same settings speak too, as they stand (`graph`).
//!
//! English is read by our own reader, whose phonemes are rewritten as the voice learned them; other languages by the
//! program espeak-ng where it is installed.

mod external;
mod files;
mod graph;
mod symbols;

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use medley_models::vits::{Vits, VitsParams};
use medley_tokenize::english::{English, Utterance};
use medley_types::{SpeechRequest, SpeechTimings, WordTime};

use super::hibari::{breaths, reader_and};
use super::timing::{Said, written};
use super::{PhonemeTime, Piece, SpeechGenerator, each_breath};
use crate::{PipelineError, Run};
use files::Settings;
use graph::GraphVoice;

pub use files::find;

/// Marks of a voice: between all symbols, at the beginning, at the end.
const BETWEEN: &str = "_";
const BEGINNING: &str = "^";
const END: &str = "$";

/// How a language is read.
enum Reader {
    English {
        reader: Box<English>,
        british: bool,
    },
    /// By espeak-ng, in this voice of it.
    External(String),
}

/// What makes samples.
enum Network {
    Vits(Box<Vits>),
    Graph(Box<GraphVoice>),
}

impl Network {
    fn load(file: &Path) -> Result<Self, PipelineError> {
        Ok(match files::network(file)? {
            Some(vits) => Self::Vits(Box::new(vits)),
            None => Self::Graph(Box::new(GraphVoice::load(file)?)),
        })
    }
}

/// The numbers of an utterance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// All of them.
    pub ids: Vec<u32>,
    /// How many stand before the first word.
    pub before: usize,
    /// How many each of the words has.
    pub counts: Vec<usize>,
    /// Symbols that the voice has no number for.
    pub unknown: Vec<char>,
}

/// One voice, ready to speak.
pub struct PiperVoice {
    network: Network,
    settings: Settings,
    reader: Reader,
    /// Names of the speakers, or of the voice.
    voices: Vec<String>,
    speaker: usize,
    load_s: f64,
}

/// Noise of a piece, as Piper's own settings name it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Of the sound.
    pub noise: f32,
    /// Of the durations.
    pub duration_noise: f32,
    /// What durations are multiplied by.
    pub length: f32,
}

impl PiperVoice {
    /// Loads a voice. `voice` is a speaker, by name or number, where it has several; `english` a folder of hibari.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] lists the speakers there are, and says what English needs;
    /// [`PipelineError::File`], [`PipelineError::Format`] and [`PipelineError::Model`] where a file is damaged.
    pub fn load(
        file: &Path,
        voice: Option<&str>,
        english: Option<&Path>,
    ) -> Result<Self, PipelineError> {
        let start = Instant::now();
        let settings = files::settings(file)?;
        let voices = speakers(file, &settings);
        let speaker = match voice {
            None => 0,
            Some(name) => number(name, &voices)?,
        };
        let network = || Network::load(file);
        let (reader, network) = match (language(&settings)?, english) {
            (Language::Other(voice), _) => (Reader::External(voice), network()?),
            (Language::English { .. }, None) => {
                return Err(PipelineError::InvalidRequest(
                    "English is read with the dictionaries of hibari; \
                     get them with `medley models pull hibari`"
                        .into(),
                ));
            }
            (Language::English { british }, Some(folder)) => {
                let (reader, network) = reader_and(folder, british, network)?;
                let reader = Box::new(reader);
                (Reader::English { reader, british }, network)
            }
        };
        if let Network::Graph(graph) = &network
            && speaker > 0
            && !graph.has_speakers()
        {
            return Err(PipelineError::ModelConfig(format!(
                "{} is told of {} speakers, but its graph takes none",
                file.display(),
                voices.len()
            )));
        }
        Ok(Self {
            network,
            settings,
            reader,
            voices,
            speaker,
            load_s: start.elapsed().as_secs_f64(),
        })
    }

    /// The noise that the voice's own settings ask for.
    pub fn scales(&self) -> Scales {
        let own = self.settings.inference;
        Scales {
            noise: own.noise_scale,
            duration_noise: own.noise_w,
            length: own.length_scale,
        }
    }

    /// What is said for a sentence, breath by breath.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] where another program is needed and missing.
    pub fn utterances(&self, sentence: &str) -> Result<Vec<Utterance>, PipelineError> {
        let spoken = match &self.reader {
            Reader::English { reader, british } => {
                let mut spoken = reader.speak(sentence);
                for word in &mut spoken.words {
                    word.phonemes = symbols::espeak(&word.phonemes, *british);
                }
                spoken
            }
            Reader::External(voice) => external::speak(sentence, voice)?,
        };
        Ok(breaths(spoken))
    }

    /// The numbers of an utterance.
    pub fn numbers(&self, utterance: &Utterance) -> Numbers {
        let map = &self.settings.phoneme_id_map;
        let of = |symbol: &str| map.get(symbol).map_or(&[][..], Vec::as_slice);
        let between = of(BETWEEN);
        let mut ids: Vec<u32> = of(BEGINNING).to_vec();
        // The empty symbol stands between numbers, of which the beginning is one where the voice has it.
        if !ids.is_empty() {
            ids.extend_from_slice(between);
        }
        let mut all = Numbers {
            before: ids.len(),
            ..Numbers::default()
        };
        let mut buffer = [0; 4];
        for (i, word) in utterance.words.iter().enumerate() {
            let before = ids.len();
            let space = word.space && i + 1 < utterance.words.len();
            let symbols = word.phonemes.chars().chain(space.then_some(' '));
            for symbol in symbols {
                let numbers = of(symbol.encode_utf8(&mut buffer));
                if !numbers.is_empty() {
                    ids.extend_from_slice(numbers);
                    ids.extend_from_slice(between);
                } else if !symbol.is_whitespace() && !all.unknown.contains(&symbol) {
                    all.unknown.push(symbol);
                }
            }
            all.counts.push(ids.len() - before);
        }
        ids.extend_from_slice(of(END));
        all.ids = ids;
        all
    }

    /// Samples, and the frames of each number, of phonemes by number.
    ///
    /// # Errors
    /// [`PipelineError::Model`].
    pub fn say(
        &self,
        ids: &[u32],
        scales: Scales,
        seed: u64,
        timings: &mut SpeechTimings,
    ) -> Result<(Vec<f32>, Vec<usize>), PipelineError> {
        let start = Instant::now();
        let said = match &self.network {
            Network::Vits(network) => {
                let params = VitsParams {
                    noise: scales.noise,
                    duration_noise: scales.duration_noise,
                    length: scales.length,
                    speaker: self.speaker,
                };
                let sound = network.forward(ids, &params, &mut normal(seed))?;
                (sound.samples, sound.durations)
            }
            // How long each number is nobody knows: as long as the others.
            Network::Graph(graph) => (graph.say(ids, scales, self.speaker)?, vec![1; ids.len()]),
        };
        timings.model_s += start.elapsed().as_secs_f64();
        Ok(said)
    }

    /// Phonemes with their times, the empty symbol behind each counted to it.
    fn phonemes(&self, ids: &[u32], durations: &[usize], frame: f64) -> Vec<PhonemeTime> {
        let mut symbols: HashMap<u32, char> = HashMap::new();
        for (symbol, numbers) in &self.settings.phoneme_id_map {
            let marks = [BETWEEN, BEGINNING, END].contains(&symbol.as_str());
            if let (&[number], Some(symbol), false) =
                (numbers.as_slice(), symbol.chars().next(), marks)
            {
                symbols.insert(number, symbol);
            }
        }
        let (mut at, mut timed) = (0.0, Vec::new());
        for (id, &frames) in ids.iter().zip(durations) {
            let start = at;
            at += frames as f64 * frame;
            match symbols.get(id) {
                Some(&symbol) => timed.push(PhonemeTime {
                    symbol,
                    start,
                    end: at,
                }),
                None => {
                    if let Some(last) = timed.last_mut() {
                        last.end = at;
                    }
                }
            }
        }
        timed.retain(|phoneme| !phoneme.symbol.is_whitespace());
        timed
    }

    fn piece(
        &self,
        utterance: &Utterance,
        scales: Scales,
        seed: u64,
        timings: &mut SpeechTimings,
    ) -> Result<Option<Piece>, PipelineError> {
        let numbers = self.numbers(utterance);
        if numbers.counts.iter().all(|&count| count == 0) {
            return Ok(None);
        }
        let (samples, durations) = self.say(&numbers.ids, scales, seed, timings)?;
        let frames: usize = durations.iter().sum();
        let rate = f64::from(self.settings.audio.sample_rate);
        let frame = samples.len() as f64 / frames.max(1) as f64 / rate;
        let skipped = utterance.skipped.iter().chain(&numbers.unknown).copied();
        Ok(Some(Piece {
            samples,
            words: words(utterance, &numbers, &durations, frame),
            phonemes: self.phonemes(&numbers.ids, &durations, frame),
            skipped: skipped.collect(),
        }))
    }
}

/// Words of the written text with their times.
fn words(
    utterance: &Utterance,
    numbers: &Numbers,
    durations: &[usize],
    frame: f64,
) -> Vec<WordTime> {
    let mut rest = durations.iter();
    let mut take =
        |count: usize| -> f64 { rest.by_ref().take(count).sum::<usize>() as f64 * frame };
    let mut at = take(numbers.before);
    let mut said = Vec::new();
    for (spoken, &count) in utterance.words.iter().zip(&numbers.counts) {
        let start = at;
        at += take(count);
        said.push(Said {
            spoken,
            start,
            end: at,
        });
    }
    written(&utterance.text, &said)
}

/// Names of the voices in a file.
pub(super) fn names(file: &Path) -> Result<Vec<String>, PipelineError> {
    Ok(speakers(file, &files::settings(file)?))
}

fn speakers(file: &Path, settings: &Settings) -> Vec<String> {
    if settings.num_speakers > 1 {
        let mut names: Vec<String> = (0..settings.num_speakers.min(1 << 16))
            .map(|i| i.to_string())
            .collect();
        for (name, &i) in &settings.speaker_id_map {
            if let Some(to) = names.get_mut(i) {
                to.clone_from(name);
            }
        }
        return names;
    }
    let stem = file.file_stem().unwrap_or_default();
    vec![stem.to_string_lossy().into_owned()]
}

fn number(name: &str, voices: &[String]) -> Result<usize, PipelineError> {
    let by_name = voices.iter().position(|voice| voice == name);
    let by_number = || name.parse().ok().filter(|&i: &usize| i < voices.len());
    by_name.or_else(by_number).ok_or_else(|| {
        let some: Vec<&str> = voices.iter().take(40).map(String::as_str).collect();
        let more = match voices.len() - some.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        PipelineError::InvalidRequest(format!(
            "there is no voice {name:?}; there are: {}{more}",
            some.join(", ")
        ))
    })
}

enum Language {
    English { british: bool },
    Other(String),
}

fn language(settings: &Settings) -> Result<Language, PipelineError> {
    let kind = settings.phoneme_type.as_deref().unwrap_or("espeak");
    if kind != "espeak" {
        return Err(PipelineError::ModelConfig(format!(
            "the voice takes {kind}, and only phonemes of espeak are known"
        )));
    }
    Ok(match settings.espeak.voice.as_str() {
        "en" | "en-us" => Language::English { british: false },
        other if other.starts_with("en-gb") => Language::English { british: true },
        other => Language::Other(other.to_owned()),
    })
}

/// Normal numbers from a seed (SplitMix64, Steele et al. 2014; Box and Muller 1958).
fn normal(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    let mut bits = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) >> 40
    };
    let mut second = None;
    move || {
        if let Some(second) = second.take() {
            return second;
        }
        let unit = |bits: u64| (bits as f32 + 0.5) / (1u64 << 24) as f32;
        let (size, turn) = (unit(bits()), unit(bits()));
        let size = (-2.0 * size.ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * turn).sin_cos();
        second = Some(size * sin);
        size * cos
    }
}

impl SpeechGenerator for PiperVoice {
    fn voices(&self) -> &[String] {
        &self.voices
    }

    fn sample_rate(&self) -> u32 {
        self.settings.audio.sample_rate
    }

    fn load_s(&self) -> f64 {
        self.load_s
    }

    fn complete(&self, request: &SpeechRequest) -> Result<SpeechRequest, PipelineError> {
        let voice = match &request.voice {
            None => None,
            Some(name) => Some(self.voices[number(name, &self.voices)?].clone()),
        };
        let named = SpeechRequest {
            voice,
            ..request.clone()
        };
        if let Network::Graph(graph) = &self.network
            && !graph.has_speed()
            && request.speed.is_some_and(|speed| speed != 1.0)
        {
            return Err(PipelineError::InvalidRequest(
                "speed: this voice's graph is not told how fast to speak; leave it at 1".into(),
            ));
        }
        super::complete(self, &named, &self.voices[self.speaker])
    }

    fn stream(
        &self,
        request: &SpeechRequest,
        run: &mut Run,
        timings: &mut SpeechTimings,
        heard: &mut dyn FnMut(Piece) -> Result<(), PipelineError>,
    ) -> Result<(), PipelineError> {
        let own = self.scales();
        let scales = Scales {
            length: own.length / request.speed.unwrap_or(1.0) as f32,
            ..own
        };
        let read = |text: &str| self.utterances(text);
        each_breath(
            request,
            run,
            timings,
            read,
            |utterance, seed, timings| match self.piece(utterance, scales, seed, timings)? {
                Some(piece) => heard(piece),
                None => Ok(()),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_normal_and_of_its_seed() {
        let numbers: Vec<f32> = std::iter::repeat_with(normal(3)).take(20_000).collect();
        let mean = numbers.iter().sum::<f32>() / 20_000.0;
        let variance = numbers.iter().map(|v| v * v).sum::<f32>() / 20_000.0;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
        assert_eq!(
            numbers[..9],
            std::iter::repeat_with(normal(3))
                .take(9)
                .collect::<Vec<_>>()
        );
        assert_ne!(numbers[0], normal(4)());
    }

    #[test]
    fn speakers_go_by_name_and_number() {
        let voices = ["anna".to_owned(), "1".to_owned()];
        assert_eq!(number("anna", &voices).unwrap_or(9), 0);
        assert_eq!(number("1", &voices).unwrap_or(9), 1);
        assert_eq!(number("0", &voices).unwrap_or(9), 0);
        let Err(error) = number("2", &voices) else {
            panic!("there are two")
        };
        assert!(error.to_string().contains("there are: anna, 1"));
    }
}
