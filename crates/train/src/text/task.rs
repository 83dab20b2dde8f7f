//! Training of a decoder on texts.

use std::path::Path;

use medley_formats::WeightFile;
use medley_models::decoder::{Decoder, Input, Wanted, trainable};
use medley_nn::train::{Compute, IGNORED};
use medley_nn::weights::Tensors;
use medley_nn::{Device, KvType, Parameters, Tensor};
use medley_sampling::{Sampler, SamplerConfig};
use medley_tokenize::{ChatTemplate, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::data::{Bad, Encoder, HoldOut, Kinds, Packer, Place, TextSource};
use super::lora::{self, ADAPTER, Below, LoraSettings};
use super::{DecoderShape, NextToken, TokenBatch, vocabulary};
use crate::checkpoint::{same_settings, unreadable};
use crate::files::{write_weights, write_whole};
use crate::optim::Optimiser;
use crate::step::scalar;
use crate::{
    Error, Objective, OptimiserKind, OptimiserSettings, Result, Schedule, StepSettings, Task,
    Trainer,
};

/// What a run is asked for; with the data, it says all of the model that comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextSettings {
    /// Sizes of a model from nothing; its vocabulary is at most as large as said here.
    pub shape: DecoderShape,
    /// Steps.
    pub steps: u64,
    /// Sequences of a batch.
    pub batch: usize,
    /// Batches of a step.
    pub accumulate: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Largest learning rate.
    pub rate: f64,
    /// Steps until it is reached.
    pub warm_up: u64,
    /// Which rule moves the parameters.
    pub optimiser: OptimiserKind,
    /// Share of matrices that is taken away at each step, times the rate.
    pub weight_decay: f32,
    /// Largest norm of gradients.
    pub clip: f64,
    /// Decay of averaged weights, or none.
    pub ema: Option<f64>,
    /// Whether products are in bf16.
    pub bf16: bool,
    /// Share of documents that is kept for evaluation.
    pub hold_out: f64,
    /// Documents that are shuffled at a time.
    pub shuffle: usize,
    /// Draws first weights, order and samples.
    pub seed: u64,
    /// An adapter that is trained in place of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraSettings>,
}

/// What is about to happen.
#[derive(Clone, Debug)]
pub struct TextPlan {
    /// What the data is.
    pub kinds: Kinds,
    /// Documents to train on.
    pub documents: usize,
    /// Documents that are kept for evaluation.
    pub held_out: usize,
    /// What could not be used so far.
    pub bad: Bad,
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// Numbers that are trained.
    pub parameters: usize,
    /// Numbers of the model below an adapter, which stay as they are.
    pub frozen: usize,
    /// Tokens of a step.
    pub tokens_per_step: usize,
    /// Bytes of memory that the run takes, about.
    pub memory: usize,
    /// The first sequence, as text.
    pub example: String,
}

/// Windows that an evaluation looks at, at most.
const EVALUATED: usize = 64;
/// Tokens of a sample.
const SAMPLED: usize = 80;

/// What a run makes.
enum Made {
    /// A model with this `config.json`.
    Model(Value),
    /// An adapter over a model.
    Adapter(Below),
}

/// A decoder with its data.
pub struct TextTask {
    settings: TextSettings,
    made: Made,
    objective: NextToken,
    packer: Packer,
    held: Vec<TokenBatch>,
    held_bytes: usize,
}

/// Makes everything that a run needs. `base` is the folder of a published model to go on from, or the model below an
/// adapter (a GGUF file too); without one the model and its vocabulary begin from nothing. What `out` holds of an earlier run (`resume`) is used again.
pub fn prepare(
    settings: &TextSettings,
    data: &Path,
    base: Option<&Path>,
    out: &Path,
    resume: bool,
) -> Result<(TextTask, Trainer, TextPlan)> {
    check(settings)?;
    let mut source = TextSource::open(data)?;
    let (documents, held) = source.split(&HoldOut {
        share: settings.hold_out,
        seed: settings.seed,
    });
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, "make", e))?;
    let Begun {
        decoder,
        parameters,
        encoder,
        made,
    } = match &settings.lora {
        Some(lora) => adapted(lora, base, settings.seed)?,
        None => whole(settings, base, &mut source, &documents, (out, resume))?,
    };
    if settings.length > decoder.config().max_positions {
        return Err(Error::Setting(format!(
            "sequences of {} tokens are longer than the {} that the model is meant for",
            settings.length,
            decoder.config().max_positions
        )));
    }
    let trainer = Trainer::new(parameters, step_settings(settings))?;
    let kinds = source.kinds();
    let (held_batches, held_bytes) = evaluation(&mut source, &encoder, &held, settings.length)?;
    let counts = (documents.len(), held.len());
    let packer = Packer::new(source, encoder, documents, settings.shuffle, settings.seed)?;
    let mut task = TextTask {
        settings: settings.clone(),
        made,
        objective: NextToken {
            decoder,
            device: Device::Cpu,
        },
        packer,
        held: held_batches,
        held_bytes,
    };
    let plan = task.plan(&trainer, kinds, counts)?;
    Ok((task, trainer, plan))
}

/// A model to be trained, before its first step.
struct Begun {
    decoder: Decoder,
    parameters: Parameters,
    encoder: Encoder,
    made: Made,
}

/// A model all of whose weights learn.
fn whole(
    settings: &TextSettings,
    base: Option<&Path>,
    source: &mut TextSource,
    documents: &[usize],
    (out, resume): (&Path, bool),
) -> Result<Begun> {
    if !(resume && out.join("tokenizer.json").exists()) {
        match base {
            Some(base) => copy_tokenizer(base, out)?,
            None => vocabulary::make(source, documents, settings.shape.vocab, out)?,
        }
    }
    let tokenizer = Tokenizer::from_file(out)?;
    let template = ChatTemplate::from_folder(out)?;
    let (config, tensors) = model(settings, base, &tokenizer)?;
    let (decoder, parameters) = trainable(&tensors, &config, &Device::Cpu)?;
    Ok(Begun {
        decoder,
        parameters,
        encoder: Encoder::new(tokenizer, template),
        made: Made::Model(config),
    })
}

/// A model that stays as it is, with an adapter that learns.
fn adapted(lora: &LoraSettings, base: Option<&Path>, seed: u64) -> Result<Begun> {
    let Some(base) = base else {
        let name = &lora.base;
        return Err(Error::Setting(format!(
            "the adapter is trained over {name}: give it with --base"
        )));
    };
    let lora::Adapted {
        decoder,
        parameters,
        tokenizer,
        template,
        below,
    } = lora::open(lora, base, seed)?;
    Ok(Begun {
        decoder,
        parameters,
        encoder: Encoder::new(tokenizer, template),
        made: Made::Adapter(below),
    })
}

fn check(settings: &TextSettings) -> Result<()> {
    let sizes = [
        ("batch", settings.batch),
        ("accumulate", settings.accumulate),
        ("length", settings.length),
        ("shuffle", settings.shuffle),
    ];
    if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
        return Err(Error::Setting(format!("{name} must be at least 1")));
    }
    if !(settings.rate.is_finite() && settings.rate > 0.0) {
        return Err(Error::Setting(format!(
            "a learning rate of {} must be above 0",
            settings.rate
        )));
    }
    if !(0.0..1.0).contains(&settings.hold_out) {
        return Err(Error::Setting(format!(
            "a held-out share of {} must be at least 0 and below 1",
            settings.hold_out
        )));
    }
    Ok(())
}

fn step_settings(settings: &TextSettings) -> StepSettings {
    StepSettings {
        optimiser: OptimiserSettings {
            kind: settings.optimiser,
            weight_decay: settings.weight_decay,
            ..OptimiserSettings::default()
        },
        schedule: Schedule {
            peak: settings.rate,
            warm_up: settings.warm_up,
            steps: settings.steps,
            floor: 0.1,
        },
        clip: Some(settings.clip),
        compute: if settings.bf16 {
            Compute::Bf16
        } else {
            Compute::F32
        },
        ema: settings.ema,
    }
}

/// Files of a tokenizer that a model folder may have.
const TOKENIZER_FILES: [&str; 4] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
];

fn copy_tokenizer(base: &Path, out: &Path) -> Result<()> {
    if !base.join("tokenizer.json").exists() {
        return Err(Error::Text {
            path: base.to_owned(),
            reason:
                "a model to train on is a folder with config.json, tokenizer.json and safetensors"
                    .into(),
        });
    }
    for name in TOKENIZER_FILES {
        let from = base.join(name);
        if from.exists() {
            let bytes = std::fs::read(&from).map_err(|e| Error::io(&from, "read", e))?;
            write_whole(&out.join(name), &bytes)?;
        }
    }
    Ok(())
}

/// Configuration and weights to begin with.
fn model(
    settings: &TextSettings,
    base: Option<&Path>,
    tokenizer: &Tokenizer,
) -> Result<(Value, Tensors)> {
    let Some(base) = base else {
        let shape = DecoderShape {
            vocab: tokenizer.vocab_size(),
            ..settings.shape
        };
        shape.check()?;
        let mut config = shape.config();
        config["bos_token_id"] = json!(tokenizer.bos());
        config["eos_token_id"] = json!(tokenizer.eos());
        return Ok((config, shape.fresh(settings.seed)));
    };
    published(base)
}

/// Configuration and weights of a published model.
pub(crate) fn published(base: &Path) -> Result<(Value, Tensors)> {
    let path = base.join("config.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
    let config = serde_json::from_slice(&bytes).map_err(|e| Error::Text {
        path,
        reason: e.to_string(),
    })?;
    let file = WeightFile::open(base)?;
    let mut tensors = Tensors::new();
    for info in file.tensors() {
        tensors.insert(
            info.name.clone(),
            (info.shape.clone(), file.to_f32(&info.name)?),
        );
    }
    Ok((config, tensors))
}

/// Held-out documents as sequences, and the bytes of text behind them (0 where chats are among them).
fn evaluation(
    source: &mut TextSource,
    encoder: &Encoder,
    documents: &[usize],
    length: usize,
) -> Result<(Vec<TokenBatch>, usize)> {
    let end = encoder.tokenizer().eos().unwrap_or(0);
    let (mut ids, mut targets, mut bytes, mut chats) = (vec![end], Vec::new(), 0, false);
    for &number in documents {
        let Some(document) = source.read(number) else {
            continue;
        };
        let tokens = match encoder.encode(&document) {
            Ok(tokens) => tokens,
            Err(why) => {
                source.bad().add(format!("document {number}: {why}"));
                continue;
            }
        };
        chats |= tokens.bytes == 0;
        bytes += tokens.bytes;
        let each = tokens.ids.iter().zip(&tokens.counted);
        targets.extend(each.map(|(&id, &counted)| if counted { id } else { IGNORED }));
        ids.extend(tokens.ids);
        if targets.len() >= EVALUATED * length {
            break;
        }
    }
    ids.truncate(targets.len());
    let padded = targets.len().next_multiple_of(length);
    ids.resize(padded, end);
    targets.resize(padded, IGNORED);
    let sequences = ids.chunks(length).zip(targets.chunks(length));
    let batches = sequences.map(|(ids, targets)| TokenBatch {
        length,
        ids: ids.to_vec(),
        targets: targets.to_vec(),
    });
    Ok((batches.collect(), if chats { 0 } else { bytes }))
}

impl Objective for TextTask {
    type Batch = TokenBatch;

    fn loss(&mut self, batch: &TokenBatch) -> Result<Tensor> {
        self.objective.loss(batch)
    }
}

impl TextTask {
    fn plan(
        &mut self,
        trainer: &Trainer,
        kinds: Kinds,
        (documents, held_out): (usize, usize),
    ) -> Result<TextPlan> {
        let settings = &self.settings;
        let place = self.packer.place();
        let first = self.packer.batch(1, settings.length)?;
        self.packer.seek(place)?;
        let config = self.objective.decoder.config();
        let parameters = trainer.parameters().count();
        let moments = Optimiser::bytes_for(&trainer.settings().optimiser, trainer.parameters());
        let averages = if settings.ema.is_some() {
            4 * parameters
        } else {
            0
        };
        let tokens = settings.batch * settings.length;
        let (frozen, below) = match &self.made {
            Made::Model(_) => (0, 0),
            Made::Adapter(below) => (below.numbers, below.bytes),
        };
        Ok(TextPlan {
            kinds,
            documents,
            held_out,
            bad: self.packer.source().bad().clone(),
            vocab: config.vocab_size,
            parameters,
            frozen,
            tokens_per_step: tokens * settings.accumulate,
            memory: 8 * parameters + moments + averages + below + activations(config, tokens),
            example: self.packer.encoder().tokenizer().decode(&first.ids),
        })
    }

    /// The texts that go on from the beginning of one, drawn from the model.
    fn write_on(&self, seed: u64) -> Result<String> {
        let decoder = &self.objective.decoder;
        let tokenizer = self.packer.encoder().tokenizer();
        let failed = |e: medley_sampling::SamplingError| Error::Setting(e.to_string());
        let config = SamplerConfig {
            seed,
            ..SamplerConfig::default()
        };
        let mut sampler = Sampler::new(&config, decoder.config().vocab_size).map_err(failed)?;
        let count = SAMPLED.min(self.settings.length);
        let mut cache = decoder.cache(KvType::F32, count + 1);
        let mut next = vec![tokenizer.bos().or(tokenizer.eos()).unwrap_or(0)];
        let mut written = Vec::new();
        for _ in 0..count {
            let input = Input {
                tokens: &next,
                cache: &mut cache,
                wanted: Wanted::Last,
            };
            let logits = decoder.forward(&mut [input])?.remove(0);
            let id = sampler.sample(&logits, None).map_err(failed)?.id;
            if tokenizer.end_of_generation().contains(&id) {
                break;
            }
            written.push(id);
            next = vec![id];
        }
        Ok(tokenizer.decode(&written))
    }
}

/// Bytes of what a step keeps for its backward pass, about: rows of every layer, and the logits that exist at a time.
fn activations(config: &medley_models::decoder::DecoderConfig, tokens: usize) -> usize {
    let heads = (2 * config.heads + 2 * config.kv_heads) * config.head_dim;
    let layer = 6 * config.hidden_size + heads + 3 * config.intermediate_size;
    let logits = (config.vocab_size * tokens).min(1 << 25);
    4 * (tokens * layer * (config.layers.len() + 1) + logits)
        + 4 * config.vocab_size * config.hidden_size
}

impl Task for TextTask {
    fn unit(&self) -> &'static str {
        "tokens"
    }

    fn batches(&mut self) -> Result<Vec<TokenBatch>> {
        let (batch, length) = (self.settings.batch, self.settings.length);
        (0..self.settings.accumulate)
            .map(|_| self.packer.batch(batch, length))
            .collect()
    }

    fn size(&self, batch: &TokenBatch) -> usize {
        batch.ids.len()
    }

    fn file(&self) -> &'static str {
        match &self.made {
            Made::Model(_) => "model.safetensors",
            Made::Adapter(_) => ADAPTER,
        }
    }

    fn state(&self) -> Value {
        let mut state = json!({ "settings": self.settings, "place": self.packer.place() });
        if let Made::Adapter(below) = &self.made {
            state["base"] = json!(below.digest);
        }
        state
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        same_settings(state, &self.settings, |settings| &mut settings.steps)?;
        if let Made::Adapter(below) = &self.made
            && state["base"] != json!(below.digest)
        {
            return Err(Error::State(
                "the checkpoint's adapter was trained over another model than --base".into(),
            ));
        }
        let place: Place = serde_json::from_value(state["place"].clone()).map_err(unreadable)?;
        self.packer.seek(place)
    }

    fn evaluate(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let (mut nats, mut counted) = (0.0, 0);
        for batch in self.held.iter().filter(|b| b.counted() > 0) {
            let loss = self.objective.loss_of(batch)?;
            nats += f64::from(scalar(&loss)?) * batch.counted() as f64;
            counted += batch.counted();
        }
        if counted == 0 {
            return Ok(Vec::new());
        }
        let mut values = vec![("held_out_loss", nats / counted as f64)];
        if self.held_bytes > 0 {
            let bits = nats / std::f64::consts::LN_2;
            values.push(("bits_per_byte", bits / self.held_bytes as f64));
        }
        Ok(values)
    }

    fn sample(&mut self, step: u64, folder: &Path) -> Result<Vec<String>> {
        let text = self.write_on(self.settings.seed)?;
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "make", e))?;
        write_whole(&folder.join(format!("step-{step}.txt")), text.as_bytes())?;
        Ok(vec![format!("step {step} writes: {}", text.escape_debug())])
    }

    fn export(&mut self, trainer: &Trainer, folder: &Path) -> Result<()> {
        match &self.made {
            Made::Model(config) => {
                write_weights(trainer.parameters(), &folder.join("model.safetensors"))?;
                let text = format!("{config:#}\n");
                write_whole(&folder.join("config.json"), text.as_bytes())?;
            }
            Made::Adapter(below) => {
                below.export(&self.objective.decoder, trainer.parameters(), folder)?;
            }
        }
        let recipe =
            json!({ "medium": "text", "training": self.settings, "steps_made": trainer.steps() });
        write_whole(
            &folder.join("training.json"),
            format!("{recipe:#}\n").as_bytes(),
        )
    }

    fn complaints(&mut self) -> Vec<String> {
        self.packer.source().bad().news()
    }
}
