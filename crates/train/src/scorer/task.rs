//! A scorer with its data.

use std::path::Path;
use std::sync::Arc;

use medley_models::contrastive::{Contrastive, ContrastiveConfig};
use medley_nn::loss::contrastive;
use medley_nn::{Device, Parameters, Tensor, Weights};
use serde_json::{Value, json};

use super::augment::augment;
use super::open::numbers;
use super::reader::{CaptionReader, Ids};
use super::{SALT, ScorerSettings};
use crate::checkpoint::same_settings;
use crate::data::{Batch, Dataset, Loader, Side, Stream};
use crate::fidelity::retrieve;
use crate::files::write_model;
use crate::initial::fresh;
use crate::optim::Optimiser;
use crate::random::of_text;
use crate::{Error, Objective, Result, Task, Trainer};

/// Pictures among which the right one is to be found, and how often they are drawn.
const AMONG: usize = 100;
const POOLS: usize = 4;
/// Pictures whose likeliest captions are shown, and how many of these.
const SHOWN: usize = 4;
const SHOWN_CAPTIONS: usize = 3;

/// Pictures and their captions.
pub struct ScorerBatch {
    /// `[pictures, 3, height, width]`
    pixels: Tensor,
    ids: Ids,
    /// What is no negative of what.
    groups: Vec<u64>,
}

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScorerPlan {
    /// Pictures of an epoch.
    pub pictures: usize,
    /// Held-out pictures that are told apart in each evaluation.
    pub held_out: usize,
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// Numbers of the model.
    pub parameters: usize,
    /// Bytes of memory that the run takes, about.
    pub memory: usize,
}

/// Held-out pictures of different groups.
struct Pool {
    batch: ScorerBatch,
    captions: Vec<String>,
    names: Vec<String>,
}

/// A scorer with its data.
pub struct ScorerTask {
    settings: ScorerSettings,
    network: Contrastive,
    reader: CaptionReader,
    dataset: Arc<Dataset>,
    stream: Stream,
    pools: Vec<Pool>,
}

/// Makes everything that a run needs. The vocabulary is written into `out`, or read from there where the run goes on.
///
/// # Errors
/// [`Error::Setting`], [`Error::Data`], [`Error::Model`], each for its part.
pub fn prepare(
    settings: &ScorerSettings,
    dataset: Arc<Dataset>,
    out: &Path,
    resume: bool,
) -> Result<(ScorerTask, Trainer, ScorerPlan)> {
    settings.check()?;
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, "make", e))?;
    if !(resume && out.join("tokenizer.json").exists()) {
        let side = dataset.side(settings.split()?, Side::Train)?;
        let items = side.iter().map(|&i| &dataset.items()[i as usize]);
        CaptionReader::learn(items.flat_map(|item| item.captions()), settings.vocab, out)?;
    }
    let reader = CaptionReader::open(out, settings.text_tokens)?;
    let shape = settings.shape(reader.vocab())?;
    let tensors = fresh(shape.parameters(), settings.seed);
    let parameters = Parameters::new(&tensors, |_| 0.0, &Device::Cpu)?;
    drop(tensors);
    let weights = Weights::from_vars(parameters.vars(), &Device::Cpu);
    let network = Contrastive::new(shape, &weights)?;
    let trainer = Trainer::new(parameters, settings.step())?;
    let pools = match settings.hold_out > 0.0 {
        true => pools(settings, &dataset, &reader)?,
        false => Vec::new(),
    };
    let task = ScorerTask {
        stream: Stream::new(dataset.clone(), settings.loader()?)?,
        settings: settings.clone(),
        network,
        reader,
        dataset,
        pools,
    };
    let plan = task.plan(&trainer);
    Ok((task, trainer, plan))
}

/// Held-out pictures in pools, each time other ones of their groups.
fn pools(
    settings: &ScorerSettings,
    dataset: &Arc<Dataset>,
    reader: &CaptionReader,
) -> Result<Vec<Pool>> {
    let mut loader = Loader::new(dataset.clone(), settings.held_out(AMONG)?)?;
    let groups = loader.pictures();
    let mut pools = Vec::new();
    for epoch in 0..POOLS as u64 {
        let batch = match groups > AMONG {
            true => Some(loader.next_batch()?),
            false => loader.next_of_epoch(epoch)?,
        };
        let Some(batch) = batch else { continue };
        let name = |&i: &u32| dataset.items()[i as usize].name().to_owned();
        pools.push(Pool {
            names: batch.items.iter().map(name).collect(),
            batch: batched(dataset, reader, &batch)?,
            captions: batch.captions,
        });
    }
    Ok(pools)
}

/// A batch as the towers take it.
fn batched(dataset: &Dataset, reader: &CaptionReader, batch: &Batch) -> Result<ScorerBatch> {
    let captions: Vec<&str> = batch.captions.iter().map(String::as_str).collect();
    let group = |&i: &u32| of_text(dataset.items()[i as usize].group());
    let pixels = Tensor::from_vec(batch.pixels.clone(), &batch.shape()[..], &Device::Cpu);
    Ok(ScorerBatch {
        pixels: pixels.map_err(medley_nn::Error::from)?,
        ids: reader.read(&captions)?,
        groups: batch.items.iter().map(group).collect(),
    })
}

impl Objective for ScorerTask {
    type Batch = ScorerBatch;

    fn loss(&mut self, batch: &ScorerBatch) -> Result<Tensor> {
        let (images, captions) = self.embed(batch)?;
        let scale = self.network.scale()?;
        Ok(contrastive(&images, &captions, &scale, &batch.groups)?)
    }
}

impl ScorerTask {
    fn plan(&self, trainer: &Trainer) -> ScorerPlan {
        let (s, c) = (&self.settings, self.network.config());
        let parameters = trainer.parameters().count();
        let moments = Optimiser::bytes_for(&trainer.settings().optimiser, trainer.parameters());
        let averages = if s.ema.is_some() { 4 } else { 0 } * parameters;
        let mut places = (s.transform.width * s.transform.height) as usize;
        let mut states = 6 * places * c.image_widths[0];
        for (&width, &blocks) in c.image_widths.iter().zip(&c.image_blocks) {
            // What goes into norms, activations and convolutions, and as much again for gradients on their way.
            states += places * width * blocks * 16;
            places = places.div_ceil(4);
        }
        let text = c.text_tokens * c.text_width * (16 * c.text_layers + 4);
        ScorerPlan {
            pictures: self.stream.pictures(),
            held_out: self.pools.first().map_or(0, |pool| pool.names.len()),
            vocab: c.vocab_size,
            parameters,
            memory: 8 * parameters + moments + averages + 4 * s.batch * (states + text),
        }
    }

    /// Pictures and captions in the common space.
    fn embed(&self, batch: &ScorerBatch) -> Result<(Tensor, Tensor)> {
        let ids = &batch.ids;
        let captions = self.network.read(&ids.ids, ids.tokens, &ids.lengths)?;
        Ok((self.network.look(&batch.pixels)?.embedding, captions))
    }

    fn embedded(&self, pool: &Pool) -> Result<(Vec<f32>, Vec<f32>)> {
        let (images, captions) = self.embed(&pool.batch)?;
        Ok((numbers(&images)?, numbers(&captions)?))
    }

    /// `config.json` of the model.
    fn config(&self) -> Value {
        let s = &self.settings;
        json!({
            "medium": "image",
            "architecture": ContrastiveConfig::MODEL_TYPE,
            "model": self.network.config().to_json(),
            "size": [s.transform.width, s.transform.height],
            "held_out": { "share": s.hold_out, "salt": SALT },
        })
    }
}

impl Task for ScorerTask {
    fn unit(&self) -> &'static str {
        "pictures"
    }

    fn batches(&mut self) -> Result<Vec<ScorerBatch>> {
        let (mut batch, number) = self.stream.next_batch()?;
        let (shape, strength) = (batch.shape(), self.settings.augment);
        let draws = (self.settings.seed, number);
        augment(&mut batch.pixels, shape, strength, draws);
        Ok(vec![batched(&self.dataset, &self.reader, &batch)?])
    }

    fn size(&self, batch: &ScorerBatch) -> usize {
        batch.groups.len()
    }

    fn state(&self) -> Value {
        let mut state = self.stream.state();
        state["settings"] = json!(self.settings);
        state
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        same_settings(state, &self.settings, |settings| &mut settings.steps)?;
        self.stream.restore(state)
    }

    fn evaluate(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let dim = self.network.config().embed_dim;
        let mut sums = [0.0; 4];
        for pool in &self.pools {
            let (images, captions) = self.embedded(pool)?;
            let names: Vec<&str> = pool.captions.iter().map(String::as_str).collect();
            let by_image = retrieve(&images, &captions, dim, &names);
            let by_caption = retrieve(&captions, &images, dim, &names);
            let found = [
                by_image.top_1,
                by_image.top_5,
                by_caption.top_1,
                by_caption.top_5,
            ];
            sums.iter_mut().zip(found).for_each(|(sum, x)| *sum += x);
        }
        let names = [
            "caption_top_1",
            "caption_top_5",
            "picture_top_1",
            "picture_top_5",
        ];
        Ok(match self.pools.len() {
            0 => Vec::new(),
            n => names.into_iter().zip(sums.map(|x| x / n as f64)).collect(),
        })
    }

    fn sample(&mut self, step: u64, _: &Path) -> Result<Vec<String>> {
        let Some(pool) = self.pools.first() else {
            return Ok(Vec::new());
        };
        let dim = self.network.config().embed_dim;
        let (images, captions) = self.embedded(pool)?;
        let named = images.chunks_exact(dim).zip(&pool.names).take(SHOWN);
        let line = |(image, name): (&[f32], &String)| {
            let dot = |c: &[f32]| -> f32 { c.iter().zip(image).map(|(a, b)| a * b).sum() };
            let scores = captions.chunks_exact(dim).map(dot);
            let mut ranked: Vec<(f32, &String)> = scores.zip(&pool.captions).collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            let best = ranked.iter().take(SHOWN_CAPTIONS);
            let best: Vec<&str> = best.map(|(_, caption)| caption.as_str()).collect();
            format!("step {step} sees in {name}: {}", best.join(" | "))
        };
        Ok(named.map(line).collect())
    }

    fn export(&mut self, trainer: &Trainer, folder: &Path) -> Result<()> {
        write_model(trainer, folder, &self.config(), &self.settings)
    }

    fn complaints(&mut self) -> Vec<String> {
        self.stream.complaints()
    }
}
