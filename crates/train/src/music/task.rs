//! Training of a decoder on tunes.

use std::path::Path;

use medley_media::score::Tune;
use medley_media::{Origin, abc};
use medley_models::decoder::{Decoder, Input, Wanted, trainable};
use medley_nn::train::{Compute, IGNORED};
use medley_nn::{Device, KvType, Tensor};
use medley_sampling::{Sampler, SamplerConfig, TokenMask};
use medley_tokenize::notes::{Form, Grammar, VOCABULARY, Word, decode, vocabulary_size};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::data::{Piece, TuneSource};
use crate::data::{Cursor, Order};
use crate::files::{write_weights, write_whole};
use crate::optim::Optimiser;
use crate::step::scalar;
use crate::text::{DecoderShape, NextToken, TokenBatch};
use crate::{
    Error, Objective, OptimiserKind, OptimiserSettings, Result, Schedule, StepSettings, Task,
    Trainer,
};

/// What a run is asked for; with the data, it says all of the model that comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MusicSettings {
    /// Sizes of the model; the vocabulary is that of notes.
    pub shape: DecoderShape,
    /// Steps.
    pub steps: u64,
    /// Sequences of a batch.
    pub batch: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Largest learning rate.
    pub rate: f64,
    /// Steps until it is reached.
    pub warm_up: u64,
    /// Share of matrices that is taken away at each step, times the rate.
    pub weight_decay: f32,
    /// Decay of averaged weights, or none.
    pub ema: Option<f64>,
    /// Whether products are in bf16.
    pub bf16: bool,
    /// Share of tunes that is kept for evaluation.
    pub hold_out: f64,
    /// Draws first weights, order, keys and samples.
    pub seed: u64,
}

/// What is about to happen.
#[derive(Clone, Debug)]
pub struct MusicPlan {
    /// Files that were read.
    pub files: usize,
    /// Tunes to train on.
    pub tunes: usize,
    /// Tunes that are kept for evaluation.
    pub held_out: usize,
    /// Tunes that cannot be used, and the first of them with the reason.
    pub left_out: usize,
    /// The first of these with the reason.
    pub names: Vec<String>,
    /// Tokens of all tunes to train on.
    pub tokens: usize,
    /// Numbers that are trained.
    pub parameters: usize,
    /// Tokens of a step.
    pub tokens_per_step: usize,
    /// Bytes of memory that the run takes, about.
    pub memory: usize,
}

/// A decoder with its tunes.
pub struct MusicTask {
    settings: MusicSettings,
    config: Value,
    objective: NextToken,
    pieces: Vec<Piece>,
    order: Order,
    held: Vec<TokenBatch>,
    held_notes: usize,
}

/// Makes everything that a run needs out of the tunes below `data`.
///
/// # Errors
/// [`Error::Setting`] for sizes that cannot be, [`Error::Text`] where there are no tunes.
pub fn prepare(settings: &MusicSettings, data: &Path) -> Result<(MusicTask, Trainer, MusicPlan)> {
    check(settings)?;
    let source = TuneSource::open(data)?;
    let (train, held) = source.split(settings.hold_out)?;
    if train.is_empty() {
        return Err(Error::Setting(
            "every tune is held out; --hold-out leaves none".into(),
        ));
    }
    let shape = DecoderShape {
        vocab: vocabulary_size(),
        context: settings.shape.context.max(settings.length),
        ..settings.shape
    };
    shape.check()?;
    let mut config = shape.config();
    config["medium"] = json!("music");
    config["vocabulary"] = json!(VOCABULARY);
    let tensors = shape.fresh(settings.seed);
    let (decoder, parameters) = trainable(&tensors, &config, &Device::Cpu)?;
    drop(tensors);
    let trainer = Trainer::new(parameters, step_settings(settings))?;
    let (held, held_notes) = evaluation(&source, &held, settings.length);
    let pieces: Vec<Piece> = train.iter().map(|&i| source.pieces[i].clone()).collect();
    let order = Order::new(pieces.len(), pieces.len(), Some(settings.seed))?;
    let task = MusicTask {
        settings: settings.clone(),
        config,
        objective: NextToken {
            decoder,
            device: Device::Cpu,
        },
        pieces,
        order,
        held,
        held_notes,
    };
    let plan = task.plan(&trainer, &source);
    Ok((task, trainer, plan))
}

fn check(settings: &MusicSettings) -> Result<()> {
    if settings.batch == 0 || settings.length < 16 {
        return Err(Error::Setting(
            "a batch has at least 1 sequence, a sequence at least 16 tokens".into(),
        ));
    }
    if !(settings.rate.is_finite() && settings.rate > 0.0) {
        return Err(Error::Setting(format!(
            "a learning rate of {} must be above 0",
            settings.rate
        )));
    }
    Ok(())
}

fn step_settings(settings: &MusicSettings) -> StepSettings {
    StepSettings {
        optimiser: OptimiserSettings {
            kind: OptimiserKind::AdamW,
            weight_decay: settings.weight_decay,
            ..OptimiserSettings::default()
        },
        schedule: Schedule {
            peak: settings.rate,
            warm_up: settings.warm_up,
            steps: settings.steps,
            floor: 0.05,
        },
        clip: Some(1.0),
        compute: if settings.bf16 {
            Compute::Bf16
        } else {
            Compute::F32
        },
        ema: settings.ema,
    }
}

/// Tokens that a tune begins with whatever its melody is.
pub(super) const HEADING: usize = 7;

/// Held-out tunes, one to a sequence, their headings not counted, in batches of sixteen; and the notes behind them.
fn evaluation(source: &TuneSource, held: &[usize], length: usize) -> (Vec<TokenBatch>, usize) {
    let mut notes = 0;
    let mut batches = Vec::new();
    for some in held.chunks(16) {
        let mut batch = TokenBatch {
            length,
            ids: Vec::new(),
            targets: Vec::new(),
        };
        for &place in some {
            let tokens = source.pieces[place].tokens();
            let count = (tokens.len() - 1).min(length);
            let target = |i: usize| if i < HEADING { IGNORED } else { tokens[i] };
            notes += tokens[1..=count].iter().filter(|&&id| is_note(id)).count();
            batch.ids.extend(&tokens[..count]);
            batch.targets.extend((1..=count).map(target));
            let end = batch.ids.len().next_multiple_of(length);
            batch.ids.resize(end, 0);
            batch.targets.resize(end, IGNORED);
        }
        batches.push(batch);
    }
    (batches, notes)
}

pub(super) fn is_note(id: u32) -> bool {
    matches!(Word::of(id), Some(Word::Pitch(_) | Word::Rest))
}

impl Objective for MusicTask {
    type Batch = TokenBatch;

    fn loss(&mut self, batch: &TokenBatch) -> Result<Tensor> {
        self.objective.loss(batch)
    }
}

impl MusicTask {
    fn plan(&self, trainer: &Trainer, source: &TuneSource) -> MusicPlan {
        let settings = &self.settings;
        let parameters = trainer.parameters().count();
        let moments = Optimiser::bytes_for(&trainer.settings().optimiser, trainer.parameters());
        let averages = if settings.ema.is_some() {
            4 * parameters
        } else {
            0
        };
        let step = settings.batch * settings.length;
        let shape = &settings.shape;
        let layer = 10 * shape.hidden + 3 * shape.intermediate;
        let logits = 2 * step * vocabulary_size();
        let activations = 4 * (step * layer * (shape.layers + 1) + logits);
        MusicPlan {
            files: source.files,
            tunes: self.pieces.len(),
            held_out: source.pieces.len() - self.pieces.len(),
            left_out: source.left_out,
            names: source.names.clone(),
            tokens: self.pieces.iter().map(|p| p.tokens().len()).sum(),
            parameters,
            tokens_per_step: step,
            memory: 8 * parameters + moments + averages + activations,
        }
    }

    /// One sequence: whole tunes, each in a key of its own, of which the last may be cut off.
    fn sequence(&mut self, batch: &mut TokenBatch) {
        let length = self.settings.length;
        let mut tokens = Vec::with_capacity(length + 1);
        while tokens.len() <= length {
            let (place, epoch, position) = self.order.draw();
            let more = self.pieces[place].transposed(self.settings.seed, epoch, position);
            // The end of one tune stands before the next.
            tokens.pop();
            tokens.extend(more);
        }
        batch.ids.extend(&tokens[..length]);
        batch.targets.extend(&tokens[1..=length]);
    }
}

/// A tune that a decoder writes under a grammar, drawn at `temperature` 1; none where it does not end in time.
fn write(decoder: &Decoder, form: Form, seed: u64, most: usize) -> Result<Option<Tune>> {
    let failed = |e: medley_sampling::SamplingError| Error::Setting(e.to_string());
    let config = SamplerConfig {
        seed,
        temperature: 1.0,
        top_p: 0.98,
        ..SamplerConfig::default()
    };
    let mut sampler = Sampler::new(&config, vocabulary_size()).map_err(failed)?;
    let mut grammar = Grammar::new(form);
    let mut ids = grammar.heading();
    let mut cache = decoder.cache(KvType::F32, most + 1);
    let (mut next, mut allowed) = (ids.clone(), Vec::new());
    while !grammar.is_done() && ids.len() < most {
        let input = Input {
            tokens: &next,
            cache: &mut cache,
            wanted: Wanted::Last,
        };
        let logits = decoder.forward(&mut [input])?.remove(0);
        grammar.allowed(&mut allowed);
        let mut mask = TokenMask::none(allowed.len());
        (0..allowed.len())
            .filter(|&i| allowed[i])
            .for_each(|i| mask.allow(i as u32));
        let id = sampler.sample(&logits, Some(&mask)).map_err(failed)?.id;
        if let Some(word) = Word::of(id) {
            grammar.push(word);
        }
        ids.push(id);
        next = vec![id];
    }
    Ok(decode(&ids).ok().map(|(tune, _)| tune))
}

impl Task for MusicTask {
    fn unit(&self) -> &'static str {
        "tokens"
    }

    fn batches(&mut self) -> Result<Vec<TokenBatch>> {
        let mut batch = TokenBatch {
            length: self.settings.length,
            ids: Vec::new(),
            targets: Vec::new(),
        };
        (0..self.settings.batch).for_each(|_| self.sequence(&mut batch));
        Ok(vec![batch])
    }

    fn size(&self, batch: &TokenBatch) -> usize {
        batch.ids.len()
    }

    fn state(&self) -> Value {
        json!({ "settings": self.settings, "place": self.order.cursor() })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let wrong = |e: serde_json::Error| Error::State(format!("the checkpoint: {e}"));
        let before: MusicSettings =
            serde_json::from_value(state["settings"].clone()).map_err(wrong)?;
        // More steps are no other run; everything else would be.
        let now = MusicSettings {
            steps: before.steps,
            ..self.settings.clone()
        };
        if before != now {
            return Err(Error::State(
                "the checkpoint was made with other settings; resume without them, or start a new folder".into(),
            ));
        }
        let place: Cursor = serde_json::from_value(state["place"].clone()).map_err(wrong)?;
        match self.order.seek(place) {
            true => Ok(()),
            false => Err(Error::State(format!(
                "the checkpoint was made with {} tunes, {} are here now; resume needs the same data",
                place.pictures,
                self.pieces.len()
            ))),
        }
    }

    fn evaluate(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let (mut nats, mut counted) = (0.0, 0);
        for batch in &self.held {
            let loss = self.objective.loss_of(batch)?;
            nats += f64::from(scalar(&loss)?) * batch.counted() as f64;
            counted += batch.counted();
        }
        if counted == 0 {
            return Ok(Vec::new());
        }
        let bits = nats / std::f64::consts::LN_2;
        Ok(vec![
            ("held_out_loss", nats / counted as f64),
            ("bits_per_note", bits / self.held_notes.max(1) as f64),
        ])
    }

    fn sample(&mut self, step: u64, folder: &Path) -> Result<Vec<String>> {
        let most = self.objective.decoder.config().max_positions.min(512);
        let decoder = &self.objective.decoder;
        let Some(mut tune) = write(decoder, Form::default(), self.settings.seed, most)? else {
            return Ok(Vec::new());
        };
        tune.title = format!("Step {step}");
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "make", e))?;
        let text = abc::write(&tune, Origin::Generated { recipe: None });
        let path = folder.join(format!("step-{step}.abc"));
        write_whole(&path, &text)?;
        let bars = String::from_utf8_lossy(&text);
        let first = bars
            .lines()
            .find(|l| l.contains('|'))
            .unwrap_or("")
            .to_owned();
        Ok(vec![format!("step {step} writes: {first}")])
    }

    fn export(&mut self, trainer: &Trainer, folder: &Path) -> Result<()> {
        write_weights(trainer.parameters(), &folder.join("model.safetensors"))?;
        let text = format!("{:#}\n", self.config);
        write_whole(&folder.join("config.json"), text.as_bytes())?;
        let recipe =
            json!({ "medium": "music", "training": self.settings, "steps_made": trainer.steps() });
        write_whole(
            &folder.join("training.json"),
            format!("{recipe:#}\n").as_bytes(),
        )
    }
}
