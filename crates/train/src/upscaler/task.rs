//! A network that enlarges, with its data.

use std::path::Path;
use std::sync::Arc;

use medley_media::{Filter, Format, Origin, Picture, encode, grid, write_file};
use medley_models::rrdb::{Rrdb, RrdbConfig};
use medley_nn::{Device, Error as NnError, Parameters, Tensor, Weights};
use serde_json::{Value, json};

use super::pairs::{psnr, smaller, tensor, unit_planes};
use super::{UpscalerBatch, UpscalerSettings};
use crate::adversarial::{AdversarialLoss, Critic, Judged};
use crate::checkpoint::{CHECKPOINT, same_settings};
use crate::data::{Dataset, Loader, Stream};
use crate::files::write_model;
use crate::initial::{fresh, published};
use crate::optim::Optimiser;
use crate::{Error, Objective, Result, StepReport, Task, Trainer};

/// Held-out pictures that an evaluation looks at.
const EVALUATED: usize = 64;
/// Pictures on the sheet of samples.
const SAMPLED: usize = 8;
/// Steps from one penalty of the discriminator to the next.
const PENALTY_EVERY: u64 = 8;

/// Features of pictures, whose distance is how different they look
/// ([Johnson et al. 2016](https://arxiv.org/abs/1603.08155)).
pub trait Perceive {
    /// States of some layers for pictures `[batch, 3, height, width]` in [0, 1]; gradients flow back to the pictures.
    ///
    /// # Errors
    /// What the network gives.
    fn features(&self, pictures: &Tensor) -> Result<Vec<Tensor>>;
}

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpscalerPlan {
    /// Pictures of an epoch.
    pub pictures: usize,
    /// Numbers of the network.
    pub parameters: usize,
    /// Numbers of the discriminator; 0 without one.
    pub discriminator: usize,
    /// Bytes of memory that the run takes, about.
    pub memory: usize,
}

/// A discriminator on its way.
struct Opponent {
    critic: Critic,
    trainer: Trainer,
    judged: Judged,
}

/// A network that enlarges, with its data.
pub struct UpscalerTask {
    settings: UpscalerSettings,
    network: Rrdb,
    /// The same without gradients.
    still: Rrdb,
    opponent: Option<Opponent>,
    perceptual: Option<Box<dyn Perceive>>,
    stream: Stream,
    held: Vec<Picture>,
}

/// Makes everything that a run needs; `base` is the folder of an upscaler of the same shape to go on from.
///
/// # Errors
/// [`Error::Setting`], [`Error::Data`], [`Error::Model`], each for its part.
pub fn prepare(
    settings: &UpscalerSettings,
    dataset: Arc<Dataset>,
    base: Option<&Path>,
) -> Result<(UpscalerTask, Trainer, UpscalerPlan)> {
    settings.check()?;
    let shape = settings.shape();
    let tensors = match base {
        Some(base) => published(shape.parameters(), &base.join("model.safetensors"), "")?,
        None => fresh(shape.parameters(), settings.seed),
    };
    let parameters = Parameters::new(&tensors, |_| 0.0, &Device::Cpu)?;
    let weights = || Weights::from_vars(parameters.vars(), &Device::Cpu);
    let (network, still) = (
        Rrdb::new(shape.clone(), &weights())?,
        Rrdb::new(shape, &weights().frozen())?,
    );
    let opponent = match settings.adversarial > 0.0 {
        true => Some(opponent(settings, base)?),
        false => None,
    };
    let held = match settings.hold_out > 0.0 {
        true => held_out(settings, &dataset)?,
        false => Vec::new(),
    };
    let trainer = Trainer::new(parameters, settings.step(true))?;
    let task = UpscalerTask {
        stream: Stream::new(dataset, settings.loader()?)?,
        settings: settings.clone(),
        network,
        still,
        opponent,
        perceptual: None,
        held,
    };
    let plan = task.plan(&trainer);
    Ok((task, trainer, plan))
}

/// A discriminator from nothing, or that of an earlier run which had one.
fn opponent(settings: &UpscalerSettings, base: Option<&Path>) -> Result<Opponent> {
    let shape = settings.critic();
    let list = shape.discriminator_parameters();
    let before = base
        .map(|base| base.join(CHECKPOINT))
        .filter(|p| p.is_file());
    let earlier = before.map(|path| published(list.clone(), &path, "opponent/weights/"));
    let tensors = match earlier {
        Some(Ok(tensors)) => tensors,
        // The run before had none, or of another size: it learns quickly.
        _ => fresh(list, settings.seed ^ 1),
    };
    let parameters = Parameters::new(&tensors, |_| 0.0, &Device::Cpu)?;
    Ok(Opponent {
        critic: Critic::new(&shape, &parameters)?,
        trainer: Trainer::new(parameters, settings.step(false))?,
        judged: Judged::default(),
    })
}

fn held_out(settings: &UpscalerSettings, dataset: &Arc<Dataset>) -> Result<Vec<Picture>> {
    let mut loader = Loader::new(dataset.clone(), settings.held_out(EVALUATED)?)?;
    let Some(batch) = loader.next_of_epoch(0)? else {
        return Ok(Vec::new());
    };
    let (height, width) = batch.size;
    let pictures = batch.pixels.chunks_exact(3 * height * width);
    pictures
        .map(|p| Ok(Picture::from_planes(p, width as u32, height as u32)?))
        .collect()
}

impl Objective for UpscalerTask {
    type Batch = UpscalerBatch;

    fn loss(&mut self, batch: &UpscalerBatch) -> Result<Tensor> {
        let nn = NnError::from;
        let made = self.network.forward(&batch.small)?;
        let apart = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.mean_all();
        let mut loss = apart(&made, &batch.large).map_err(nn)?;
        if let Some(network) = &self.perceptual {
            let (found, wanted) = (network.features(&made)?, network.features(&batch.large)?);
            for (found, wanted) in found.iter().zip(&wanted) {
                let far =
                    apart(found, &wanted.detach()).and_then(|far| far * self.settings.perceptual);
                loss = (loss + far.map_err(nn)?).map_err(nn)?;
            }
        }
        if let Some(opponent) = &self.opponent {
            let made = made.affine(2.0, -1.0).map_err(nn)?;
            let wanted = opponent
                .critic
                .making(AdversarialLoss::Logistic, &made, None)?;
            let weighed = (wanted * self.settings.adversarial).map_err(nn)?;
            loss = (loss + weighed).map_err(nn)?;
        }
        Ok(loss)
    }
}

/// What the discriminator of an upscaler wants.
struct Judge<'a> {
    critic: &'a Critic,
    still: &'a Rrdb,
    penalty: Option<f64>,
    seen: &'a mut Judged,
}

impl Objective for Judge<'_> {
    type Batch = UpscalerBatch;

    fn loss(&mut self, batch: &UpscalerBatch) -> Result<Tensor> {
        let signed = |x: &Tensor| x.affine(2.0, -1.0).map_err(NnError::from);
        let made = signed(&self.still.forward(&batch.small)?)?;
        let pictures = [&signed(&batch.large)?, &made];
        let wants = AdversarialLoss::Logistic;
        let (loss, seen) = self.critic.judging(wants, pictures, None, self.penalty)?;
        *self.seen = seen;
        Ok(loss)
    }
}

impl UpscalerTask {
    /// Lets pictures look alike to `network` too, with the weight of the settings beside the pixels'.
    pub fn with_perceptual(mut self, network: Box<dyn Perceive>) -> Self {
        self.perceptual = Some(network);
        self
    }

    fn plan(&self, trainer: &Trainer) -> UpscalerPlan {
        let numbers = |trainer: &Trainer| {
            let count = trainer.parameters().count();
            let moments = Optimiser::bytes_for(&trainer.settings().optimiser, trainer.parameters());
            (count, 8 * count + moments)
        };
        let (parameters, own) = numbers(trainer);
        let (discriminator, others) = match &self.opponent {
            Some(opponent) => numbers(&opponent.trainer),
            None => (0, 0),
        };
        let s = &self.settings;
        // Values that a pixel of the inner states keeps for the backward pass: joined inputs, results and activations of
        // five convolutions in each dense block; and states at the full side.
        let inner = 3 * s.blocks * (7 * s.features + 20 * s.growth);
        let side = s.patch / 4;
        let states = s.batch * (side * side * inner + s.patch * s.patch * 8 * s.features);
        UpscalerPlan {
            pictures: self.stream.pictures(),
            parameters,
            discriminator,
            memory: own + 4 * parameters + others + 4 * states,
        }
    }

    /// A picture made larger by the network as it is.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Media`].
    pub fn enlarge(&self, picture: &Picture) -> Result<Picture> {
        let (width, height) = (picture.width(), picture.height());
        let shape = [1, 3, height as usize, width as usize];
        let made = self.still.forward(&tensor(unit_planes(picture), shape)?)?;
        let signed = made
            .affine(2.0, -1.0)
            .and_then(|x| x.flatten_all()?.to_vec1());
        let scale = self.settings.scale as u32;
        let planes: Vec<f32> = signed.map_err(NnError::from)?;
        Ok(Picture::from_planes(
            &planes,
            width * scale,
            height * scale,
        )?)
    }

    /// A picture made smaller, that enlarged by bicubic interpolation, and by the network.
    fn shown(&self, picture: &Picture) -> Result<[Picture; 3]> {
        let small = smaller(picture, self.settings.scale, Filter::Lanczos)?;
        let bicubic = small.resize(picture.width(), picture.height(), Filter::Bicubic)?;
        let made = self.enlarge(&small)?;
        Ok([small, bicubic, made])
    }
}

impl Task for UpscalerTask {
    fn unit(&self) -> &'static str {
        "pictures"
    }

    fn batches(&mut self) -> Result<Vec<UpscalerBatch>> {
        let (batch, number) = self.stream.next_batch()?;
        Ok(vec![UpscalerBatch::of(&batch, &self.settings, number)?])
    }

    fn size(&self, batch: &UpscalerBatch) -> usize {
        batch.len()
    }

    fn step(&mut self, trainer: &mut Trainer) -> Result<(StepReport, usize)> {
        let batches = self.batches()?;
        if let Some(opponent) = &mut self.opponent {
            let weight = self.settings.penalty * PENALTY_EVERY as f64;
            let due = weight > 0.0 && opponent.trainer.steps().is_multiple_of(PENALTY_EVERY);
            let mut judge = Judge {
                critic: &opponent.critic,
                still: &self.still,
                penalty: due.then_some(weight),
                seen: &mut opponent.judged,
            };
            opponent.trainer.step(&mut judge, &batches)?;
        }
        let report = trainer.step(self, &batches)?;
        Ok((report, batches.iter().map(UpscalerBatch::len).sum()))
    }

    fn measurements(&self) -> Vec<(&'static str, f64)> {
        let Some(opponent) = &self.opponent else {
            return Vec::new();
        };
        let mut values = vec![("discriminator_loss", opponent.judged.loss)];
        let square = opponent.judged.squared_slope;
        values.extend(square.map(|square| ("squared_slope", square)));
        values
    }

    fn opponent(&self) -> Option<&Trainer> {
        self.opponent.as_ref().map(|o| &o.trainer)
    }

    fn opponent_mut(&mut self) -> Option<&mut Trainer> {
        self.opponent.as_mut().map(|o| &mut o.trainer)
    }

    fn state(&self) -> Value {
        json!({ "settings": self.settings, "data": self.stream.state() })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        same_settings(state, &self.settings, |settings| &mut settings.steps)?;
        self.stream.restore(&state["data"])
    }

    fn evaluate(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let (mut own, mut bicubic) = (0.0, 0.0);
        for picture in &self.held {
            let [_, plain, made] = self.shown(picture)?;
            own += psnr(&made, picture);
            bicubic += psnr(&plain, picture);
        }
        let count = self.held.len() as f64;
        Ok(match self.held.is_empty() {
            true => Vec::new(),
            false => vec![("psnr", own / count), ("bicubic_psnr", bicubic / count)],
        })
    }

    /// Rows of small pictures, enlarged by bicubic interpolation, by the network, and as they were.
    fn sample(&mut self, step: u64, folder: &Path) -> Result<Vec<String>> {
        let count = self.held.len().min(SAMPLED);
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut rows: [Vec<Picture>; 4] = Default::default();
        for picture in &self.held[..count] {
            let [small, bicubic, made] = self.shown(picture)?;
            let blocks = small.resize(picture.width(), picture.height(), Filter::Nearest)?;
            let all = [blocks, bicubic, made, picture.clone()];
            rows.iter_mut().zip(all).for_each(|(row, p)| row.push(p));
        }
        let sheet = grid(&rows.concat(), count, 2, [255; 3])?;
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "make", e))?;
        let path = folder.join(format!("step-{step:07}.png"));
        let origin = Origin::Generated { recipe: None };
        write_file(&path, &encode(&sheet, Format::Png, origin)?)?;
        Ok(vec![format!("step {step} enlarges {}", path.display())])
    }

    fn export(&mut self, trainer: &Trainer, folder: &Path) -> Result<()> {
        let s = &self.settings;
        let config = json!({
            "medium": "image",
            "architecture": RrdbConfig::MODEL_TYPE,
            "model": s.shape().to_json(),
            "size": [s.transform.width, s.transform.height],
        });
        write_model(trainer, folder, &config, &self.settings)
    }

    fn complaints(&mut self) -> Vec<String> {
        self.stream.complaints()
    }
}
