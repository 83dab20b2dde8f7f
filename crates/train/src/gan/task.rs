//! A generator, its discriminator and their data.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use medley_media::{Format, Origin, Picture, encode, grid, write_file};
use medley_models::stylegan2::StyleGan2Config;
use medley_nn::{Device, Error as NnError, Parameters, Tensor};
use serde_json::{Value, json};

use super::pair::latents;
use super::{GanBatch, GanSettings, Judge, Pair};
use crate::adversarial::{Adaptive, Distortion, Judged};
use crate::captions::{CaptionEncoder, ENCODER};
use crate::checkpoint::{CHECKPOINT, same_settings, unreadable};
use crate::data::{Batch, Dataset, Loader, Side, Stream};
use crate::files::{copy_encoder, write_model, write_whole};
use crate::initial::{fresh, published, shape_of};
use crate::optim::Optimiser;
use crate::{Error, Objective, Result, StepReport, Task, Trainer};

/// Held-out pictures that an evaluation looks at, and how many at a time.
const EVALUATED: usize = 256;
const EVALUATED_AT_ONCE: usize = 32;
/// Pictures on the sheet of samples, and in a row of it.
const SAMPLED: usize = 32;
const IN_A_ROW: usize = 8;
/// Bytes of encoded captions that are remembered.
const CAPTION_MEMORY: usize = 128 << 20;
/// Marks draws of samples and evaluations off from those of steps.
const SHOWN: u64 = 1 << 60;

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GanPlan {
    /// Pictures of an epoch.
    pub pictures: usize,
    /// Numbers of the generator.
    pub generator: usize,
    /// Numbers of the discriminator.
    pub discriminator: usize,
    /// Bytes of memory that the run takes, about.
    pub memory: usize,
}

/// A pair of networks with its data.
pub struct GanTask {
    settings: GanSettings,
    pair: Pair,
    opponent: Trainer,
    adaptive: Adaptive,
    stream: Stream,
    captions: Option<CaptionEncoder>,
    encoder: Option<PathBuf>,
    held: Vec<GanBatch>,
    prompts: Vec<String>,
    judged: Judged,
}

/// Makes everything that a run needs. `encoder` reads captions for generators with text; `base` is the folder of a run of
/// the same shape to go on from with its weights, without which both networks begin from nothing.
///
/// # Errors
/// [`Error::Setting`], [`Error::Data`], [`Error::Caption`], [`Error::Model`], each for its part.
pub fn prepare(
    settings: &GanSettings,
    dataset: Arc<Dataset>,
    encoder: Option<&Path>,
    base: Option<&Path>,
) -> Result<(GanTask, Trainer, GanPlan)> {
    settings.check()?;
    let mut captions = match encoder {
        Some(path) => Some(CaptionEncoder::open(
            path,
            settings.text_tokens,
            CAPTION_MEMORY,
        )?),
        None => None,
    };
    let shape = settings.shape(captions.as_ref().map_or(0, |c| c.width()))?;
    let (generator, discriminator) = parameters(&shape, settings.seed, base)?;
    let pair = Pair::new(&shape, &generator, &discriminator)?;
    let trainer = Trainer::new(generator, settings.step(true))?;
    let opponent = Trainer::new(discriminator, settings.step(false))?;
    let held = match settings.hold_out > 0.0 {
        true => held_out(settings, &dataset, shape.latent, captions.as_mut())?,
        false => Vec::new(),
    };
    let task = GanTask {
        prompts: prompts(settings, &dataset)?,
        stream: Stream::new(dataset, settings.loader()?)?,
        settings: settings.clone(),
        encoder: encoder.map(Path::to_owned),
        adaptive: Adaptive::default(),
        pair,
        opponent,
        captions,
        held,
        judged: Judged::default(),
    };
    let plan = task.plan(&trainer);
    Ok((task, trainer, plan))
}

/// The shape of the pair in a folder.
///
/// # Errors
/// [`Error::State`] for a folder that holds none.
pub fn base_model(base: &Path) -> Result<Value> {
    shape_of(base, StyleGan2Config::MODEL_TYPE)
}

/// Parameters of the generator and of the discriminator.
fn parameters(
    shape: &StyleGan2Config,
    seed: u64,
    base: Option<&Path>,
) -> Result<(Parameters, Parameters)> {
    let lists = (
        shape.generator_parameters(),
        shape.discriminator_parameters(),
    );
    let (generator, discriminator) = match base {
        Some(base) => (
            published(lists.0, &base.join("model.safetensors"), "")?,
            published(lists.1, &base.join(CHECKPOINT), "opponent/weights/")?,
        ),
        // The two share names, but not their numbers.
        None => (fresh(lists.0, seed), fresh(lists.1, seed ^ 1)),
    };
    Ok((
        Parameters::new(&generator, |_| 0.0, &Device::Cpu)?,
        Parameters::new(&discriminator, |_| 0.0, &Device::Cpu)?,
    ))
}

/// What samples are drawn of: what was asked for, or captions from all over the data.
fn prompts(settings: &GanSettings, dataset: &Dataset) -> Result<Vec<String>> {
    if !settings.prompts.is_empty() {
        return Ok(settings.prompts.clone());
    }
    let side = match settings.hold_out > 0.0 {
        true => dataset.side(settings.split()?, Side::HeldOut)?,
        false => (0..dataset.items().len() as u32).collect(),
    };
    let count = SAMPLED.min(side.len());
    let caption = |i: usize| {
        let item = &dataset.items()[side[i * side.len() / count] as usize];
        item.captions().next().unwrap_or("").to_owned()
    };
    Ok((0..count).map(caption).collect())
}

/// Captions as a condition.
fn condition(captions: &mut CaptionEncoder, texts: &[&str]) -> Result<Tensor> {
    let values = captions.pooled(texts)?;
    let shape = (texts.len(), captions.width());
    Ok(Tensor::from_vec(values, shape, &Device::Cpu).map_err(NnError::from)?)
}

/// What is drawn for a batch.
struct Draws<'a> {
    settings: &'a GanSettings,
    latent: usize,
    /// Of distortions.
    probability: f64,
    number: u64,
}

impl Draws<'_> {
    fn batch(&self, batch: &Batch, captions: Option<&mut CaptionEncoder>) -> Result<GanBatch> {
        let (settings, count) = (self.settings, batch.len());
        // Draws of a batch, each of its own number.
        let number = |part: u64| self.number * 4 + part;
        let z = |part| latents(settings.seed, number(part), count, self.latent);
        let size = settings.transform.width as usize;
        let distortions = |part| -> Vec<Distortion> {
            let draw = (settings.seed, number(part));
            let one = |i| Distortion::random(self.probability, draw, i, size);
            (0..count).map(one).collect()
        };
        let shape = batch.shape().to_vec();
        let pixels = Tensor::from_vec(batch.pixels.clone(), shape, &Device::Cpu);
        let texts: Vec<&str> = batch.captions.iter().map(String::as_str).collect();
        Ok(GanBatch {
            pixels: pixels.map_err(NnError::from)?,
            condition: match captions {
                Some(captions) => Some(condition(captions, &texts)?),
                None => None,
            },
            latents: [z(0)?, z(1)?],
            distortions: [distortions(0), distortions(1), distortions(2)],
            number: self.number,
        })
    }
}

/// Held-out pictures as they are.
fn held_out(
    settings: &GanSettings,
    dataset: &Arc<Dataset>,
    latent: usize,
    mut captions: Option<&mut CaptionEncoder>,
) -> Result<Vec<GanBatch>> {
    let mut loader = Loader::new(dataset.clone(), settings.held_out(EVALUATED_AT_ONCE)?)?;
    let mut held = Vec::new();
    while held.len() < EVALUATED / EVALUATED_AT_ONCE {
        let Some(batch) = loader.next_of_epoch(0)? else {
            break;
        };
        let draws = Draws {
            settings,
            latent,
            probability: 0.0,
            number: SHOWN + 1 + held.len() as u64,
        };
        held.push(draws.batch(&batch, captions.as_deref_mut())?);
    }
    Ok(held)
}

impl Objective for GanTask {
    type Batch = GanBatch;

    fn loss(&mut self, batch: &GanBatch) -> Result<Tensor> {
        self.pair.making(batch, self.settings.loss)
    }
}

impl GanTask {
    fn plan(&self, trainer: &Trainer) -> GanPlan {
        let numbers = |trainer: &Trainer| {
            let count = trainer.parameters().count();
            let moments = Optimiser::bytes_for(&trainer.settings().optimiser, trainer.parameters());
            (count, 8 * count + moments)
        };
        let (generator, own) = numbers(trainer);
        let (discriminator, others) = numbers(&self.opponent);
        let c = self.pair.config();
        let sizes = std::iter::successors(Some(4), |size| Some(size * 2));
        let states: usize = sizes
            .take_while(|&size| size <= c.size)
            .map(|size| size * size * c.width(size))
            .sum();
        // What a step keeps for its backward pass, about: states before and after scaling, convolution and activation of
        // two layers a size; with the penalty four passes of the discriminator at a time.
        let activations = 4 * self.settings.batch * states * 4 * 8;
        let encoder = self.captions.as_ref().map_or(0, |_| CAPTION_MEMORY);
        GanPlan {
            pictures: self.stream.pictures(),
            generator,
            discriminator,
            memory: own + 4 * generator + others + activations + encoder,
        }
    }

    /// The networks.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The probability of distortions as it is.
    pub fn probability(&self) -> f64 {
        self.adaptive.probability(self.settings.augmentation)
    }

    /// Pictures `[count, 3, size, size]` of the prompts in turn, from vectors of this number.
    fn drawn(&mut self, number: u64, count: usize) -> Result<Tensor> {
        let prompts: Vec<&str> = self.prompts.iter().map(String::as_str).collect();
        let condition = match &mut self.captions {
            Some(captions) => {
                let texts: Vec<&str> = prompts.iter().cycle().take(count).copied().collect();
                Some(condition(captions, &texts)?)
            }
            None => None,
        };
        let generator = &self.pair.still_generator;
        let z = latents(self.settings.seed, number, count, generator.config().latent)?;
        let w = generator.map(&z, condition.as_ref())?;
        let w = generator.truncate(&w, self.settings.truncation)?;
        Ok(generator.synthesize(&w)?)
    }

    /// `config.json` of the model.
    fn config(&self) -> Value {
        let s = &self.settings;
        let mut config = json!({
            "medium": "image",
            "architecture": StyleGan2Config::MODEL_TYPE,
            "model": self.pair.config().to_json(),
            "size": [s.transform.width, s.transform.height],
            "channels": 3,
            "text_tokens": s.text_tokens,
            "sampler": { "truncation": s.truncation },
        });
        if self.encoder.is_some() {
            config["text_encoder"] = json!(ENCODER);
        }
        config
    }
}

impl Task for GanTask {
    fn unit(&self) -> &'static str {
        "pictures"
    }

    fn batches(&mut self) -> Result<Vec<GanBatch>> {
        let (batch, number) = self.stream.next_batch()?;
        let draws = Draws {
            settings: &self.settings,
            latent: self.pair.config().latent,
            probability: self.probability(),
            number,
        };
        Ok(vec![draws.batch(&batch, self.captions.as_mut())?])
    }

    fn size(&self, batch: &GanBatch) -> usize {
        batch.len()
    }

    fn step(&mut self, trainer: &mut Trainer) -> Result<(StepReport, usize)> {
        let batches = self.batches()?;
        let (penalty, every) = (self.settings.penalty, self.settings.penalty_every);
        let due = penalty > 0.0 && self.opponent.steps().is_multiple_of(every);
        let mut judge = Judge {
            pair: &self.pair,
            loss: self.settings.loss,
            penalty: due.then_some(penalty * every as f64),
            seen: Judged::default(),
        };
        self.opponent.step(&mut judge, &batches)?;
        self.judged = judge.seen;
        let report = trainer.step(self, &batches)?;
        self.adaptive.see(&self.judged.real);
        Ok((report, batches.iter().map(GanBatch::len).sum()))
    }

    fn measurements(&self) -> Vec<(&'static str, f64)> {
        let Judged {
            real,
            loss,
            squared_slope,
        } = &self.judged;
        let signs: f64 = real.iter().map(|s| f64::from(s.signum())).sum();
        let mut values = vec![
            ("discriminator_loss", *loss),
            ("real_sign", signs / real.len().max(1) as f64),
            ("distorted", self.probability()),
        ];
        values.extend(squared_slope.map(|square| ("squared_slope", square)));
        values
    }

    fn opponent(&self) -> Option<&Trainer> {
        Some(&self.opponent)
    }

    fn opponent_mut(&mut self) -> Option<&mut Trainer> {
        Some(&mut self.opponent)
    }

    fn state(&self) -> Value {
        json!({
            "settings": self.settings, "data": self.stream.state(), "adaptive": self.adaptive,
        })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        same_settings(state, &self.settings, |settings| &mut settings.steps)?;
        self.adaptive = serde_json::from_value(state["adaptive"].clone()).map_err(unreadable)?;
        self.stream.restore(&state["data"])
    }

    fn evaluate(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let (mut real, mut made, mut count) = (0.0, 0.0, 0);
        let signs = |scores: Tensor| -> Result<f64> {
            let scores: Vec<f32> = scores.to_vec1().map_err(NnError::from)?;
            Ok(scores.iter().map(|s| f64::from(s.signum())).sum())
        };
        for batch in &self.held {
            let (critic, condition) = (self.pair.critic.still(), batch.condition.as_ref());
            real += signs(critic.forward(&batch.pixels, condition)?)?;
            let generator = &self.pair.still_generator;
            let pictures = generator.forward(&batch.latents[0], condition)?;
            made += signs(critic.forward(&pictures, condition)?)?;
            count += batch.len();
        }
        Ok(match count {
            0 => Vec::new(),
            _ => vec![
                ("held_out_sign", real / count as f64),
                ("made_sign", made / count as f64),
            ],
        })
    }

    fn sample(&mut self, step: u64, folder: &Path) -> Result<Vec<String>> {
        let drawn = self.drawn(SHOWN, SAMPLED)?;
        let size = self.settings.transform.width;
        let values: Vec<f32> = drawn
            .flatten_all()
            .and_then(|x| x.to_vec1())
            .map_err(NnError::from)?;
        let each = values.len() / SAMPLED;
        let pictures: Vec<Picture> = values
            .chunks_exact(each)
            .map(|planes| Picture::from_planes(planes, size, size))
            .collect::<std::result::Result<_, _>>()?;
        let sheet = grid(&pictures, IN_A_ROW, 2, [255; 3])?;
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "make", e))?;
        let path = folder.join(format!("step-{step:07}.png"));
        let origin = Origin::Generated { recipe: None };
        write_file(&path, &encode(&sheet, Format::Png, origin)?)?;
        if self.captions.is_some() {
            let list = format!("{}\n", self.prompts.join("\n"));
            write_whole(&folder.join("prompts.txt"), list.as_bytes())?;
        }
        Ok(vec![format!("step {step} draws {}", path.display())])
    }

    fn export(&mut self, trainer: &Trainer, folder: &Path) -> Result<()> {
        copy_encoder(self.encoder.as_deref(), folder)?;
        write_model(trainer, folder, &self.config(), &self.settings)
    }

    fn complaints(&mut self) -> Vec<String> {
        self.stream.complaints()
    }
}
