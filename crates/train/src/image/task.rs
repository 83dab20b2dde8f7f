//! A diffusion transformer with its data.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use medley_media::{Format, Origin, Picture, encode, grid, write_file};
use medley_models::dit::{Dit, DitConfig, TextKind, TimeKind};
use medley_nn::{Device, Parameters, Tensor, Weights};
use serde_json::{Value, json};

use super::{Denoising, Draw, ImageSettings, NoisyBatch, denoising_loss, draw_clips};
use crate::captions::{CaptionEncoder, ENCODER};
use crate::checkpoint::same_settings;
use crate::data::{Batch, Dataset, Loader, Side, Stream};
use crate::files::{copy_encoder, write_model, write_whole};
use crate::initial::{fresh, inflated, published, shape_of};
use crate::optim::Optimiser;
use crate::random::{Purpose, unit};
use crate::step::scalar;
use crate::{Error, Objective, Result, Task, Trainer};

/// Held-out pictures that an evaluation looks at, and how many at a time.
const EVALUATED: usize = 256;
const EVALUATED_AT_ONCE: usize = 32;
/// Pictures on the sheet of samples, and in a row of it.
const SAMPLED: usize = 16;
const IN_A_ROW: usize = 8;
/// The same of clips, each of which is a row.
const EVALUATED_CLIPS: usize = 64;
const CLIPS_AT_ONCE: usize = 8;
const SAMPLED_CLIPS: usize = 8;
/// Pixels between the pictures of a sheet.
const GAP: u32 = 2;
/// Steps of a sample.
const SAMPLE_STEPS: usize = 20;
/// Times as many frames as are drawn that a clip has where nothing is said.
const SMOOTH: u32 = 4;
/// Bytes of encoded captions that are remembered.
const CAPTION_MEMORY: usize = 512 << 20;

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImagePlan {
    /// Pictures of an epoch.
    pub pictures: usize,
    /// Numbers of the model.
    pub parameters: usize,
    /// Tokens of a picture.
    pub tokens: usize,
    /// Pictures of a step.
    pub pictures_per_step: usize,
    /// Bytes of memory that the run takes, about.
    pub memory: usize,
}

/// A diffusion transformer with its data.
pub struct ImageTask {
    settings: ImageSettings,
    network: Dit,
    rule: Denoising,
    stream: Stream,
    /// Pictures beside the clips, as they are and set in motion.
    stills: Vec<Stream>,
    captions: Option<CaptionEncoder>,
    encoder: Option<PathBuf>,
    held: Vec<NoisyBatch>,
    prompts: Vec<String>,
    /// Sum and number of the rates of the clips so far.
    rates: (f64, u64),
}

/// Makes everything that a run needs. `encoder` reads captions for models with text; `base` is the folder of a model of the
/// same shape to go on from, without which the model begins from nothing; a model of clips may go on from one of pictures.
/// `stills` are the pictures that clips are learned with. A `base` of pictures that are coarser by the blocks of the run's
/// shape is made as fine. The network is on `device`; data and the optimiser stay on the CPU.
///
/// # Errors
/// [`Error::Setting`], [`Error::Data`], [`Error::Caption`], [`Error::Model`], each for its part.
pub fn prepare(
    settings: &ImageSettings,
    dataset: Arc<Dataset>,
    stills: Option<Arc<Dataset>>,
    encoder: Option<&Path>,
    base: Option<&Path>,
    device: &Device,
) -> Result<(ImageTask, Trainer, ImagePlan)> {
    settings.check()?;
    let shared = settings.clips.map_or(0.0, |clips| clips.shared_noise);
    let rule = Denoising::new(settings.prediction, settings.mixing)?.sharing(shared)?;
    let mut captions = match encoder {
        Some(path) => Some(CaptionEncoder::open(
            path,
            settings.text_tokens,
            CAPTION_MEMORY,
        )?),
        None => None,
    };
    let shape = settings.shape(captions.as_ref().map_or(0, |c| c.width()))?;
    let file = base.map(|base| base.join("model.safetensors"));
    let as_base = match base {
        Some(base) => shape.with_blocks(blocks_of(base)?),
        None => shape.clone(),
    };
    let mut tensors = match (file, settings.clips) {
        (Some(file), None) => published(as_base.parameters(), &file, "")?,
        (Some(file), Some(_)) => {
            let still = as_base.of_pictures().parameters();
            inflated(as_base.parameters(), still, &file, settings.seed)?
        }
        (None, _) => fresh(shape.parameters(), settings.seed),
    };
    as_base.refine(&shape, &mut tensors)?;
    if settings.bf16 {
        medley_nn::gpu::allow_tf32(true);
    }
    let parameters = Parameters::new(&tensors, |_| 0.0, device)?;
    drop(tensors);
    let network = Dit::new(shape, &Weights::from_vars(parameters.vars(), device))?;
    let trainer = Trainer::new(parameters, settings.step())?;
    let held = match settings.hold_out > 0.0 {
        true => held_out(settings, &dataset, &rule, captions.as_mut(), device)?,
        false => Vec::new(),
    };
    let task = ImageTask {
        prompts: prompts(settings, &dataset)?,
        stream: Stream::new(dataset, settings.loader()?)?,
        stills: match stills {
            Some(stills) => settings
                .stills()?
                .into_iter()
                .map(|spec| Ok(Stream::new(stills.clone(), spec)?))
                .collect::<Result<_>>()?,
            None => Vec::new(),
        },
        settings: settings.clone(),
        encoder: encoder.map(Path::to_owned),
        network,
        rule,
        captions,
        held,
        rates: (0.0, 0),
    };
    let plan = task.plan(&trainer);
    Ok((task, trainer, plan))
}

/// The shape of the model in a folder.
///
/// # Errors
/// [`Error::State`] for a folder that holds none.
pub fn base_model(base: &Path) -> Result<Value> {
    shape_of(base, DitConfig::MODEL_TYPE)
}

/// Pixels along a side of a block that the model in a folder takes as one.
fn blocks_of(base: &Path) -> Result<usize> {
    let blocks = base_model(base)?["pixel_unshuffle"].as_u64().unwrap_or(1);
    Ok(usize::try_from(blocks).unwrap_or(usize::MAX).max(1))
}

/// What samples are drawn of: what was asked for, or captions from all over the data.
fn prompts(settings: &ImageSettings, dataset: &Dataset) -> Result<Vec<String>> {
    if !settings.prompts.is_empty() {
        return Ok(settings.prompts.clone());
    }
    let side = match settings.hold_out > 0.0 {
        true => dataset.side(settings.split()?, Side::HeldOut)?,
        false => (0..dataset.items().len() as u32).collect(),
    };
    let most = settings.clips.map_or(SAMPLED, |_| SAMPLED_CLIPS);
    let count = most.min(side.len());
    let caption = |i: usize| {
        let item = &dataset.items()[side[i * side.len() / count] as usize];
        item.captions().next().unwrap_or("").to_owned()
    };
    Ok((0..count).map(caption).collect())
}

/// States of captions as the network takes them.
fn states(
    captions: &mut CaptionEncoder,
    texts: &[&str],
    device: &Device,
) -> Result<(Tensor, Vec<usize>)> {
    let s = captions.encode(texts)?;
    let states = Tensor::from_vec(s.values, (texts.len(), s.tokens, s.width), device);
    Ok((states.map_err(medley_nn::Error::from)?, s.lengths))
}

/// Held-out pictures with noise that is always the same, at levels that lie evenly.
fn held_out(
    settings: &ImageSettings,
    dataset: &Arc<Dataset>,
    rule: &Denoising,
    mut captions: Option<&mut CaptionEncoder>,
    device: &Device,
) -> Result<Vec<NoisyBatch>> {
    let (all, at_once) = match settings.clips {
        Some(_) => (EVALUATED_CLIPS, CLIPS_AT_ONCE),
        None => (EVALUATED, EVALUATED_AT_ONCE),
    };
    let mut loader = Loader::new(dataset.clone(), settings.held_out(at_once)?)?;
    let mut held = Vec::new();
    while held.len() < all / at_once {
        let Some(batch) = loader.next_of_epoch(0)? else {
            break;
        };
        let draws = (0, held.len() as u64);
        let shape = batch.clip_shape();
        let mut noisy = rule.mix(&batch.pixels, shape, Vec::new(), draws, true);
        if let Some(captions) = captions.as_deref_mut() {
            let texts: Vec<&str> = batch.captions.iter().map(String::as_str).collect();
            noisy.text = Some(states(captions, &texts, device)?);
        }
        held.push(noisy);
    }
    Ok(held)
}

impl Objective for ImageTask {
    type Batch = NoisyBatch;

    fn loss(&mut self, batch: &NoisyBatch) -> Result<Tensor> {
        denoising_loss(&self.network, batch)
    }
}

impl ImageTask {
    fn plan(&self, trainer: &Trainer) -> ImagePlan {
        let c = self.network.config();
        let parameters = trainer.parameters().count();
        let moments = Optimiser::bytes_for(&trainer.settings().optimiser, trainer.parameters());
        let averages = if self.settings.ema.is_some() { 4 } else { 0 } * parameters;
        let tokens = (c.sample_size[0] / c.patch_size)
            * (c.sample_size[1] / c.patch_size)
            * (c.frames / c.frame_patch);
        // What a block keeps for its backward pass: states, norms, q, k, v, what was mixed, and the wide states before and
        // after their activation.
        let cross = if c.text == TextKind::None { 0 } else { 3 };
        let time = if c.time == TimeKind::Factorised { 6 } else { 0 };
        let block = (9 + cross + time) * c.hidden_size + 2 * c.intermediate_size;
        // Those that run again keep what comes in, and one of them all of it.
        let kept = match self.settings.recompute {
            true => block + c.hidden_size * c.layers,
            false => block * c.layers,
        };
        // Levels of the stem: what comes in and out of two norms, activations and convolutions, down and up.
        let stem = |(i, width): (usize, &usize)| {
            18 * width * (tokens << (2 * (c.stem_channels.len() - i)))
        };
        let stem: usize = c.stem_channels.iter().enumerate().map(stem).sum();
        let activations = 4 * self.settings.batch * (tokens * kept + stem);
        let encoder = self.captions.as_ref().map_or(0, |_| CAPTION_MEMORY);
        ImagePlan {
            pictures: self.stream.pictures(),
            parameters,
            tokens,
            pictures_per_step: self.settings.batch * self.settings.accumulate,
            memory: 8 * parameters + moments + averages + activations + encoder,
        }
    }

    /// The transformer in training.
    pub fn network(&self) -> &Dit {
        &self.network
    }

    /// Noise and captions for the batch of this number.
    fn noisy(&mut self, batch: &Batch, (seed, number): (u64, u64)) -> Result<NoisyBatch> {
        let shape = batch.clip_shape();
        let clips = self.settings.clips.filter(|_| batch.frames > 1);
        let known = clips.map_or(Vec::new(), |c| c.known(batch.len(), seed, number));
        let mut noisy = self
            .rule
            .mix(&batch.pixels, shape, known, (seed, number), false);
        let Some(captions) = &mut self.captions else {
            return Ok(noisy);
        };
        let text = |(i, caption): (usize, &String)| {
            let i = i as u64;
            if unit(seed, Purpose::Drop, number, i) < self.settings.drop_captions {
                return String::new();
            }
            match clips {
                Some(clips) => clips.caption(caption, batch.rates[i as usize], seed, number, i),
                None => caption.clone(),
            }
        };
        let texts: Vec<String> = batch.captions.iter().enumerate().map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        noisy.text = Some(states(captions, &texts, self.network.device())?);
        Ok(noisy)
    }

    fn how(&self) -> Draw {
        Draw {
            prediction: self.settings.prediction,
            mixing: self.settings.mixing,
            sampler: self.settings.sampler(),
            steps: SAMPLE_STEPS,
            guidance: self.settings.guidance,
            seed: self.settings.seed,
            shared_noise: self.settings.clips.map_or(0.0, |clips| clips.shared_noise),
        }
    }

    /// Frames a second of the clips so far, in the mean, to a tenth.
    fn rate(&self) -> f64 {
        match self.rates {
            (_, 0) => 1.0,
            (sum, count) => (10.0 * sum / count as f64).round().max(1.0) / 10.0,
        }
    }

    /// `config.json` of the model.
    fn config(&self) -> Value {
        let s = &self.settings;
        // Guidance is between prompt and none.
        let guidance = self.encoder.as_ref().map_or(1.0, |_| s.guidance);
        let mut config = json!({
            "medium": "image",
            "architecture": DitConfig::MODEL_TYPE,
            "model": self.network.config().to_json(),
            "size": [s.transform.width, s.transform.height],
            "channels": 3,
            "prediction": s.prediction,
            "process": s.process(),
            "text_tokens": s.text_tokens,
            "sampler": { "name": s.sampler(), "steps": SAMPLE_STEPS, "guidance": guidance },
        });
        if let Some(clips) = &s.clips {
            config["medium"] = json!("video");
            config["clip"] = json!({
                "frames": clips.frames,
                "rate": self.rate(),
                "smooth": SMOOTH,
                "shared_noise": clips.shared_noise,
                "rate_in_prompt": clips.rate_words > 0.0,
            });
        }
        if self.encoder.is_some() {
            config["text_encoder"] = json!(ENCODER);
        }
        config
    }
}

impl Task for ImageTask {
    fn unit(&self) -> &'static str {
        match self.settings.clips {
            Some(_) => "clips",
            None => "pictures",
        }
    }

    fn batches(&mut self) -> Result<Vec<NoisyBatch>> {
        let seed = self.settings.seed;
        let mut batches = Vec::new();
        for _ in 0..self.settings.accumulate {
            let (batch, number) = self.stream.next_batch()?;
            self.rates.0 += batch.rates.iter().sum::<f64>();
            self.rates.1 += batch.rates.len() as u64;
            batches.push(self.noisy(&batch, (seed, number))?);
            for i in 0..self.stills.len() {
                let (batch, number) = self.stills[i].next_batch()?;
                let seed = seed.wrapping_add(1 + i as u64);
                batches.push(self.noisy(&batch, (seed, number))?);
            }
        }
        Ok(batches)
    }

    fn size(&self, batch: &NoisyBatch) -> usize {
        match self.settings.clips {
            Some(_) if batch.shape[2] == 1 => 0,
            _ => batch.shape[0],
        }
    }

    fn state(&self) -> Value {
        let mut state = self.stream.state();
        state["settings"] = json!(self.settings);
        if self.settings.clips.is_some() {
            state["rates"] = json!(self.rates);
        }
        if !self.stills.is_empty() {
            state["stills"] = self.stills.iter().map(Stream::state).collect();
        }
        state
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        same_settings(state, &self.settings, |settings| &mut settings.steps)?;
        for (i, stills) in self.stills.iter_mut().enumerate() {
            stills.restore(&state["stills"][i])?;
        }
        if let Ok(rates) = serde_json::from_value(state["rates"].clone()) {
            self.rates = rates;
        }
        self.stream.restore(state)
    }

    fn evaluate(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let (mut sum, mut count) = (0.0, 0);
        for batch in &self.held {
            let loss = scalar(&denoising_loss(&self.network, batch)?)?;
            sum += f64::from(loss) * batch.shape[0] as f64;
            count += batch.shape[0];
        }
        Ok(match count {
            0 => Vec::new(),
            _ => vec![("held_out_loss", sum / count as f64)],
        })
    }

    fn sample(&mut self, step: u64, folder: &Path) -> Result<Vec<String>> {
        let how = self.how();
        let prompts: Vec<&str> = self.prompts.iter().map(String::as_str).collect();
        let clips = draw_clips(&self.network, self.captions.as_mut(), &prompts, &how)?;
        let in_a_row = self.settings.clips.map_or(IN_A_ROW, |clips| clips.frames);
        let pictures: Vec<Picture> = clips.into_iter().flatten().collect();
        let sheet = grid(&pictures, in_a_row, GAP, [255; 3])?;
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "make", e))?;
        let path = folder.join(format!("step-{step:07}.png"));
        write_file(
            &path,
            &encode(&sheet, Format::Png, Origin::Generated { recipe: None })?,
        )?;
        write_whole(
            &folder.join("prompts.txt"),
            format!("{}\n", self.prompts.join("\n")).as_bytes(),
        )?;
        Ok(vec![format!("step {step} draws {}", path.display())])
    }

    fn export(&mut self, trainer: &Trainer, folder: &Path) -> Result<()> {
        copy_encoder(self.encoder.as_deref(), folder)?;
        write_model(trainer, folder, &self.config(), &self.settings)
    }

    fn complaints(&mut self) -> Vec<String> {
        let mut lines = self.stream.complaints();
        for stills in &mut self.stills {
            lines.extend(stills.complaints());
        }
        lines
    }
}
