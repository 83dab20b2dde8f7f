//! Music: a decoder writes a melody with chords under the grammar of notes, an accompaniment is arranged, and all of it is
//! made to sound.
//!
//! ```text
//! MusicRequest ─> complete: the prompt's words: key, metre, tempo, style
//!      └─> MusicModel: heading ─> [ decoder ─> grammar's mask ─> draw ] × tokens ─> tune (of several the best)
//!            └─> medley_music: accompaniment ─> score ─> synthesizer or SoundFont ─> samples
//! ```

mod compose;
mod request;

use std::path::Path;
use std::time::Instant;

use medley_formats::WeightFile;
use medley_media::Audio;
use medley_media::score::{Score, Tune};
use medley_models::decoder::{self, Decoder};
use medley_music::{Band, Mood, Style, arrange, synth};
use medley_nn::Device;
use medley_tokenize::notes::{VOCABULARY, vocabulary_size};
use medley_types::{Event, MusicRequest, MusicTimings, MusicWork};

pub use compose::Choice;
pub use request::{LONGEST_S, complete};

use crate::text::read_json;
use crate::{PipelineError, Run};

/// Samples a second of what is rendered.
pub const RATE: u32 = 44_100;

/// Seconds behind the last note, in which the room falls silent.
const TAIL_S: f64 = 1.8;

/// Least seconds of a tune for which no length is asked.
const LEAST_S: f64 = 16.0;

/// What a request for music starts from, read.
#[derive(Clone, Debug, Default)]
pub struct MusicInputs {
    /// The tune that is gone on with.
    pub init: Option<Tune>,
    /// The bytes of a SoundFont.
    pub soundfont: Option<Vec<u8>>,
    /// Whether samples are wanted, beside the notes.
    pub sound: bool,
}

/// Music that was made.
#[derive(Clone, Debug)]
pub struct Music {
    /// The melody with its chords.
    pub tune: Tune,
    /// What is played.
    pub score: Score,
    /// How it sounds, in two channels, where that was wanted.
    pub sound: Option<Audio>,
    /// What the model thought of the notes of the melody, in order; of a tune that was gone on with those behind it.
    pub choices: Vec<Choice>,
    /// What is known of it.
    pub work: MusicWork,
}

/// Turns requests for music into music.
pub trait MusicGenerator: Send + Sync {
    /// Runs a request that is complete to its end.
    ///
    /// # Errors
    /// [`PipelineError::Cancelled`], and [`PipelineError::InvalidRequest`] for what the model cannot honour.
    fn generate(
        &self,
        request: &MusicRequest,
        inputs: &MusicInputs,
        run: &mut Run,
    ) -> Result<Music, PipelineError>;
}

/// A decoder over notes.
pub struct MusicModel {
    decoder: Decoder,
    load_s: f64,
}

impl MusicModel {
    /// Loads a folder with `config.json` and weights, as `medley train music` writes it.
    ///
    /// # Errors
    /// [`PipelineError::File`], and [`PipelineError::ModelConfig`] for a model of something else.
    pub fn load(path: &Path, device: &Device) -> Result<Self, PipelineError> {
        let start = Instant::now();
        let folder = if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(path)
        };
        let config = read_json(&folder.join("config.json"))?;
        if config["vocabulary"] != VOCABULARY {
            return Err(PipelineError::ModelConfig(format!(
                "\"vocabulary\" must be {VOCABULARY:?} for a model of music, as medley train music writes it"
            )));
        }
        let file = WeightFile::open(path)?;
        let decoder = decoder::from_file(file, path, Some(&config), device)?;
        if decoder.config().vocab_size != vocabulary_size() {
            return Err(PipelineError::ModelConfig(format!(
                "it has {} tokens, the vocabulary of notes {}",
                decoder.config().vocab_size,
                vocabulary_size()
            )));
        }
        Ok(Self {
            decoder,
            load_s: start.elapsed().as_secs_f64(),
        })
    }
}

impl MusicGenerator for MusicModel {
    fn generate(
        &self,
        request: &MusicRequest,
        inputs: &MusicInputs,
        run: &mut Run,
    ) -> Result<Music, PipelineError> {
        let start = Instant::now();
        let plan = request::Plan::of(request, inputs.init.as_ref())?;
        let written = compose::compose(&self.decoder, &plan, inputs.init.as_ref(), run)?;
        let write_s = start.elapsed().as_secs_f64();
        let mut tune = written.tune;
        tune.title = title(request, inputs.init.as_ref());
        tune.tempo = Some(plan.quarters);
        let score = play(&tune, request, &plan);
        let rendering = Instant::now();
        let sound = match inputs.sound {
            true => Some(render(&score, request, inputs, run)?),
            false => None,
        };
        let seconds = sound
            .as_ref()
            .map_or_else(|| score.seconds(), Audio::seconds);
        let notes = tune.bars.iter().flat_map(|b| &b.events);
        let work = MusicWork {
            seconds,
            bars: tune.bars.len(),
            notes: notes.filter(|e| e.pitch.is_some()).count(),
            tokens: written.tokens,
            timings: MusicTimings {
                load_s: self.load_s,
                write_s,
                render_s: if inputs.sound {
                    rendering.elapsed().as_secs_f64()
                } else {
                    0.0
                },
                total_s: start.elapsed().as_secs_f64(),
            },
        };
        run.emit(Event::Done);
        Ok(Music {
            tune,
            score,
            sound,
            choices: written.choices,
            work,
        })
    }
}

/// A title of the prompt's words, or of the tune that was gone on with.
fn title(request: &MusicRequest, init: Option<&Tune>) -> String {
    let prompt: String = request.prompt.chars().take(80).collect();
    let mut letters = prompt.chars();
    match (letters.next(), init) {
        (Some(first), _) => first.to_uppercase().chain(letters).collect(),
        (None, Some(tune)) => tune.title.clone(),
        (None, None) => String::new(),
    }
}

/// The tune as it is played, as long as the request says.
fn play(tune: &Tune, request: &MusicRequest, plan: &request::Plan) -> Score {
    let band = |bars: usize, tempo: f64| Band {
        style: plan.style,
        mood: plan.mood,
        tempo,
        bars,
        seed: request.seed,
    };
    let once = tune.order().len() - usize::from(tune.upbeat() > 0);
    let bar_s = f64::from(tune.metre.bar()) / 480.0 * 60.0 / plan.quarters;
    let Some(seconds) = request.seconds else {
        let rounds = if once as f64 * bar_s < LEAST_S { 2 } else { 1 };
        return arrange(tune, &band(rounds * once.max(1), plan.quarters));
    };
    let wanted = (seconds - tail(seconds)).max(0.5);
    let bars = fitting(wanted / bar_s);
    let score = arrange(tune, &band(bars, plan.quarters));
    // Seconds fall as the tempo grows.
    let tempo = plan.quarters * score.seconds() / wanted;
    let mut score = arrange(tune, &band(bars, tempo));
    if score.seconds() > wanted {
        score.tempos.iter_mut().for_each(|t| t.1 *= 1.000_001);
    }
    score
}

/// Seconds in which the room falls silent, of all.
fn tail(seconds: f64) -> f64 {
    TAIL_S.min(seconds / 4.0)
}

/// Whole bars near a number of them: fours where the tempo need change by less than a tenth, or else twos, or else ones.
fn fitting(bars: f64) -> usize {
    for step in [4.0, 2.0] {
        let near = (bars / step).round() * step;
        if near > 0.0 && (near / bars - 1.0).abs() < 0.1 {
            return near as usize;
        }
    }
    (bars.round() as usize).max(1)
}

fn render(
    score: &Score,
    request: &MusicRequest,
    inputs: &MusicInputs,
    run: &mut Run,
) -> Result<Audio, PipelineError> {
    run.emit(Event::Progress {
        stage: "render".into(),
        done: 0,
        total: 1,
    });
    let tail_s = match request.seconds {
        Some(seconds) => seconds - score.seconds(),
        None => TAIL_S,
    };
    let failed = |e: synth::SynthError| PipelineError::InvalidRequest(e.to_string());
    let samples = match &inputs.soundfont {
        Some(font) => synth::soundfont(score, font, RATE, tail_s).map_err(failed)?,
        None => {
            let cancel = run.cancel.clone();
            let samples = synth::render(score, RATE, tail_s, &|| cancel.is_cancelled());
            samples.map_err(failed)?.ok_or(PipelineError::Cancelled)?
        }
    };
    run.check()?;
    run.emit(Event::Progress {
        stage: "render".into(),
        done: 1,
        total: 1,
    });
    Ok(Audio::new(RATE, 2, samples)?)
}

/// What plays quietly.
fn is_quiet(mood: Mood, style: Style) -> bool {
    matches!(mood, Mood::Calm | Mood::Sad) || style == Style::Air
}
