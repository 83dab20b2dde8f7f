//! All that a run needs to go on, in one file that appears whole or not at all.
//!
//! A safetensors file: `weights/NAME`, `means/NAME` and `squares/NAME` of the optimiser, `averages/NAME` where there are
//! averaged weights; the same below `opponent/` for a network that is trained against the first; the step and what the
//! task keeps (place in the data, settings) as JSON in its metadata.

use std::path::Path;

use medley_formats::safetensors::{TensorData, write};
use medley_formats::{DType, WeightFile};
use medley_kernels::BlockType;
use medley_nn::{Parameter, tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::optim::Moments;
use crate::{Error, Result, Trainer};

/// Name of the checkpoint in the folder of a run.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

const STATE: &str = "medley.training";
const VERSION: u32 = 1;

/// What a task cannot read of the state that it kept.
pub(crate) fn unreadable(error: serde_json::Error) -> Error {
    Error::State(format!("the checkpoint: {error}"))
}

/// Refuses to go on with other settings than the `settings` of a task's state. More steps, which `steps` finds in them, are
/// no other run; everything else would be.
pub(crate) fn same_settings<S: DeserializeOwned + Clone + PartialEq>(
    state: &Value,
    now: &S,
    steps: impl Fn(&mut S) -> &mut u64,
) -> Result<()> {
    let mut before: S = serde_json::from_value(state["settings"].clone()).map_err(unreadable)?;
    *steps(&mut before) = *steps(&mut now.clone());
    if before == *now {
        return Ok(());
    }
    Err(Error::State(
        "the checkpoint was made with other settings; resume without them, or start a new folder"
            .into(),
    ))
}

#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    step: u64,
    task: Value,
}

/// The numbers of a parameter, where they lie or as a copy.
enum Numbers<'a> {
    Here(tensor::Slice<'a>),
    Copied(Vec<f32>),
}

impl Numbers<'_> {
    fn of(parameter: &Parameter) -> Result<Numbers<'_>> {
        Ok(match tensor::slice(&parameter.var) {
            Some(slice) => Numbers::Here(slice),
            None => {
                let values = parameter.var.flatten_all().and_then(|v| v.to_vec1());
                Numbers::Copied(values.map_err(medley_nn::Error::from)?)
            }
        })
    }

    fn get(&self) -> &[f32] {
        match self {
            Self::Here(slice) => slice,
            Self::Copied(values) => values,
        }
    }
}

/// Where the tensors of a second network are.
const OPPONENT: &str = "opponent/";

/// A tensor of a checkpoint.
type Entry<'a> = (String, &'a [usize], &'a [f32]);

fn numbers(trainer: &Trainer) -> Result<Vec<Numbers<'_>>> {
    let parameters = trainer.parameters().all();
    parameters.iter().map(Numbers::of).collect()
}

/// Everything of `trainer`, whose parameters have these numbers, under names that begin with `prefix`.
fn entries<'a>(trainer: &'a Trainer, numbers: &'a [Numbers], prefix: &str) -> Vec<Entry<'a>> {
    let mut list: Vec<Entry> = Vec::new();
    for (i, parameter) in trainer.parameters().all().iter().enumerate() {
        let dims = parameter.var.dims();
        let name = &parameter.name;
        list.push((format!("{prefix}weights/{name}"), dims, numbers[i].get()));
        if let Some(Moments { means, squares }) = trainer.optimiser().moments().get(name) {
            list.push((format!("{prefix}means/{name}"), dims, means));
            if !squares.is_empty() {
                list.push((format!("{prefix}squares/{name}"), dims, squares));
            }
        }
        if let Some(ema) = trainer.ema() {
            list.push((format!("{prefix}averages/{name}"), dims, &ema.values()[i]));
        }
    }
    list
}

/// Writes `path` with everything of `trainer`, and of a second one where there is one, and what the task wants to keep.
pub fn save(path: &Path, trainer: &Trainer, opponent: Option<&Trainer>, task: Value) -> Result<()> {
    let first = numbers(trainer)?;
    let second = opponent.map(numbers).transpose()?.unwrap_or_default();
    let mut list = entries(trainer, &first, "");
    if let Some(opponent) = opponent {
        list.extend(entries(opponent, &second, OPPONENT));
    }
    let tensors: Vec<TensorData> = list
        .iter()
        .map(|(name, shape, values)| TensorData {
            name,
            dtype: DType::Block(BlockType::F32),
            shape,
            bytes: bytemuck::cast_slice(values),
        })
        .collect();
    let state = State {
        version: VERSION,
        step: trainer.steps(),
        task,
    };
    let state = serde_json::to_string(&state).map_err(|e| Error::State(e.to_string()))?;
    Ok(write(path, &tensors, &[(STATE, &state)])?)
}

/// A checkpoint that was opened.
pub struct Checkpoint {
    file: WeightFile,
    state: State,
}

impl Checkpoint {
    /// Opens and checks it; its tensors are read by [`Checkpoint::restore`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = WeightFile::open(path)?;
        let wrong = |what: &str| Error::State(format!("{}: {what}", path.display()));
        let note = file.notes().iter().find(|(key, _)| key == STATE);
        let (_, text) = note.ok_or_else(|| wrong("this is no checkpoint of a training run"))?;
        let state: State = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
        if state.version != VERSION {
            return Err(wrong(&format!(
                "a checkpoint of version {}; this program reads version {VERSION}",
                state.version
            )));
        }
        Ok(Self { file, state })
    }

    /// The last step before it.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// What the task kept.
    pub fn task(&self) -> &Value {
        &self.state.task
    }

    fn numbers(&self, name: &str, parameter: &Parameter) -> Result<Vec<f32>> {
        let values = self.file.to_f32(name)?;
        if values.len() != parameter.var.elem_count() {
            return Err(Error::State(format!(
                "the checkpoint has {} numbers of {name}, the model {}",
                values.len(),
                parameter.var.elem_count()
            )));
        }
        Ok(values)
    }

    /// Brings `trainer` to where it was.
    pub fn restore(&self, trainer: &mut Trainer) -> Result<()> {
        self.restore_as(trainer, "")
    }

    /// Brings the trainer of a second network to where it was.
    pub fn restore_opponent(&self, trainer: &mut Trainer) -> Result<()> {
        self.restore_as(trainer, OPPONENT)
    }

    fn restore_as(&self, trainer: &mut Trainer, prefix: &str) -> Result<()> {
        let parameters = trainer.parameters().clone();
        let mut moments = std::collections::BTreeMap::new();
        let mut averages = Vec::new();
        for parameter in parameters.all() {
            let name = &parameter.name;
            let values = self.numbers(&format!("{prefix}weights/{name}"), parameter)?;
            parameter.update(|numbers| numbers.copy_from_slice(&values))?;
            let [means, squares, averages_of] =
                ["means", "squares", "averages"].map(|kind| format!("{prefix}{kind}/{name}"));
            if self.file.info(&means).is_some() {
                let squares = match self.file.info(&squares) {
                    Some(_) => self.numbers(&squares, parameter)?,
                    None => Vec::new(),
                };
                let means = self.numbers(&means, parameter)?;
                moments.insert(name.clone(), Moments { means, squares });
            }
            if trainer.ema().is_some() {
                averages.push(self.numbers(&averages_of, parameter)?);
            }
        }
        trainer.optimiser_mut().restore(self.state.step, moments);
        if let Some(ema) = trainer.ema_mut() {
            ema.restore(averages)?;
        }
        Ok(())
    }
}
