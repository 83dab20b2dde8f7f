//! Voices whose graph is of no architecture that is known: run as it stands, by [rten](https://github.com/robertknight/rten).
//!
//! A graph is understood by the names and kinds of what goes in and out. In: the numbers of phonemes, and what else voices
//! of this kind are told (see [`Role`]); a graph that wants anything else is refused with the name of it. Out: samples, as
//! the first output of floats.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use medley_kernels::pool;
use rten::{DataType, Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueType};
use rten_tensor::Layout;

use super::Scales;
use super::files::damaged;
use crate::PipelineError;

/// Largest file: rten reads all of it.
const MAX_FILE: u64 = 2 << 30;
/// Most samples of a piece: an hour at 48 kHz.
const MAX_SAMPLES: usize = 3600 * 48_000;
/// Most phonemes of a piece, with what stands between them.
pub(super) const MAX_PHONEMES: usize = 4096;

/// What an input means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Numbers of phonemes, `[1, n]` or `[n]`.
    Ids,
    /// How many they are.
    Length,
    /// Noise, length and noise of the durations, one behind the other, as Piper has them.
    Scales,
    /// Each of the three by itself.
    Noise,
    Slowness,
    DurationNoise,
    /// How many times as fast.
    Speed,
    /// The number of the speaker.
    Speaker,
}

/// Names of inputs as Piper, Coqui, Hugging Face and sherpa-onnx export them.
const NAMES: &[(Role, &[&str])] = &[
    (
        Role::Ids,
        &[
            "input",
            "input_ids",
            "ids",
            "tokens",
            "x",
            "text",
            "phoneme_ids",
        ],
    ),
    (
        Role::Length,
        &[
            "input_lengths",
            "lengths",
            "x_length",
            "x_lengths",
            "text_lengths",
            "tokens_lens",
        ],
    ),
    (Role::Scales, &["scales"]),
    (Role::Noise, &["noise_scale"]),
    (Role::Slowness, &["length_scale"]),
    (
        Role::DurationNoise,
        &["noise_scale_w", "noise_scale_dur", "noise_w"],
    ),
    (Role::Speed, &["speed"]),
    (Role::Speaker, &["sid", "speaker", "speaker_id"]),
];

impl Role {
    fn of(name: &str) -> Option<Self> {
        let known = NAMES.iter().find(|(_, names)| names.contains(&name));
        known.map(|(role, _)| *role)
    }

    fn whole(self) -> bool {
        matches!(self, Self::Ids | Self::Length | Self::Speaker)
    }
}

/// An input: what it is given, and how many dimensions it has.
struct Input {
    node: NodeId,
    role: Role,
    dims: Option<usize>,
}

/// A graph that makes samples of phonemes.
pub(super) struct GraphVoice {
    model: Model,
    inputs: Vec<Input>,
    output: NodeId,
    /// The threads of its own that the runtime takes, made for a number of them.
    threads: Mutex<Option<(usize, Arc<ThreadPool>)>>,
}

impl GraphVoice {
    /// Loads a graph.
    ///
    /// # Errors
    /// [`PipelineError::File`] where it cannot be read or has operations that are not there;
    /// [`PipelineError::ModelConfig`] where its inputs or outputs are none that are understood.
    pub(super) fn load(file: &Path) -> Result<Self, PipelineError> {
        let size = std::fs::metadata(file).map_err(|e| damaged(file, e))?.len();
        if size > MAX_FILE {
            return Err(damaged(file, "it is larger than any voice"));
        }
        let model = guarded(|| ModelOptions::with_all_ops().load_file(file))
            .ok_or_else(|| damaged(file, "it cannot be read as a graph"))?
            .map_err(|error| damaged(file, one_line(&error)))?;
        let refused = |what: String| {
            PipelineError::ModelConfig(format!(
                "{} is no voice that is known: {what}",
                file.display()
            ))
        };
        let inputs = inputs(&model).map_err(refused)?;
        let output = output(&model).map_err(refused)?;
        Ok(Self {
            model,
            inputs,
            output,
            threads: Mutex::new(None),
        })
    }

    /// Whether it can speak faster and slower.
    pub(super) fn has_speed(&self) -> bool {
        let told = [Role::Scales, Role::Slowness, Role::Speed];
        self.inputs.iter().any(|input| told.contains(&input.role))
    }

    /// Whether it has several speakers to choose from.
    pub(super) fn has_speakers(&self) -> bool {
        self.inputs.iter().any(|input| input.role == Role::Speaker)
    }

    /// The samples of phonemes by number.
    ///
    /// # Errors
    /// [`PipelineError::ModelConfig`] where the graph fails or gives something else than samples.
    pub(super) fn say(
        &self,
        ids: &[u32],
        scales: Scales,
        speaker: usize,
    ) -> Result<Vec<f32>, PipelineError> {
        let failed = |what: String| PipelineError::ModelConfig(format!("the voice's graph {what}"));
        if ids.is_empty() || ids.len() > MAX_PHONEMES {
            let found = ids.len();
            return Err(failed(format!(
                "is given {found} phonemes, and 1 to {MAX_PHONEMES} are spoken at a time"
            )));
        }
        let mut given = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let value = input.value(ids, scales, speaker).map_err(&failed)?;
            given.push((input.node, value.into()));
        }
        let options = RunOptions::default().with_thread_pool(Some(self.pool()));
        let ran = guarded(|| self.model.run(given, &[self.output], Some(options)));
        let out = ran
            .ok_or_else(|| failed("does not fit these phonemes".into()))?
            .map_err(|error| failed(format!("failed: {}", one_line(&error))))?;
        let out = out.into_iter().next();
        samples(out.ok_or_else(|| failed("gives nothing".into()))?).map_err(failed)
    }

    fn pool(&self) -> Arc<ThreadPool> {
        let count = pool::threads();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        match &*threads {
            Some((made, pool)) if *made == count => Arc::clone(pool),
            _ => {
                let pool = Arc::new(ThreadPool::with_num_threads(count));
                *threads = Some((count, Arc::clone(&pool)));
                pool
            }
        }
    }
}

impl Input {
    /// What it is given.
    fn value(&self, ids: &[u32], scales: Scales, speaker: usize) -> Result<Value, String> {
        let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let floats = match self.role {
            Role::Ids => {
                let values: Vec<i32> = ids.iter().map(|&id| number(id as usize)).collect();
                let shape = match self.dims {
                    Some(1) => vec![ids.len()],
                    _ => vec![1, ids.len()],
                };
                return Value::from_shape(shape, values).map_err(|e| e.to_string());
            }
            Role::Length => return self.one(number(ids.len())),
            Role::Speaker => return self.one(number(speaker)),
            Role::Scales => {
                let all = vec![scales.noise, scales.length, scales.duration_noise];
                return Value::from_shape([3], all).map_err(|e| e.to_string());
            }
            Role::Noise => scales.noise,
            Role::Slowness => scales.length,
            Role::DurationNoise => scales.duration_noise,
            Role::Speed => 1.0 / scales.length.max(f32::MIN_POSITIVE),
        };
        self.one(floats)
    }

    /// One number, in as many dimensions as the graph asks for.
    fn one<T>(&self, value: T) -> Result<Value, String>
    where
        Value: From<rten_tensor::Tensor<T>>,
    {
        let shape = vec![1; self.dims.unwrap_or(1).min(4)];
        Value::from_shape(shape, vec![value]).map_err(|e| e.to_string())
    }
}

/// Runs what foreign graphs may make panic; none where they did.
fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

fn one_line(error: &impl ToString) -> String {
    error.to_string().replace(['\n', '\r'], " ")
}

fn inputs(model: &Model) -> Result<Vec<Input>, String> {
    let mut all: Vec<Input> = Vec::new();
    for &node in model.input_ids() {
        let info = model.node_info(node);
        let name = info
            .as_ref()
            .and_then(|info| info.name())
            .unwrap_or_default();
        let role = Role::of(name).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().flat_map(|(_, names)| *names).copied().collect();
            format!(
                "its graph takes {name:?}, and known are phonemes and what they are spoken with: {}",
                known.join(", ")
            )
        })?;
        let kind = info.as_ref().and_then(|info| info.dtype());
        let fits = match kind {
            Some(ValueType::Tensor(kind)) => (kind == DataType::Int32) == role.whole(),
            Some(_) => false,
            None => true,
        };
        if !fits {
            let wanted = if role.whole() {
                "whole numbers"
            } else {
                "floats"
            };
            return Err(format!("its input {name:?} does not take {wanted}"));
        }
        if all.iter().any(|other| other.role == role) {
            return Err(format!(
                "two of its inputs mean the same, of which one is {name:?}"
            ));
        }
        let dims = info.and_then(|info| info.shape()).map(|shape| shape.len());
        all.push(Input { node, role, dims });
    }
    match all.iter().any(|input| input.role == Role::Ids) {
        true => Ok(all),
        false => Err("its graph takes no phonemes".into()),
    }
}

/// The first output that may be samples.
fn output(model: &Model) -> Result<NodeId, String> {
    let floats = |node: &NodeId| {
        let kind = model.node_info(*node).and_then(|info| info.dtype());
        kind.is_none_or(|kind| kind == ValueType::Tensor(DataType::Float))
    };
    let found = model.output_ids().iter().copied().find(floats);
    found.ok_or_else(|| "its graph gives no samples".into())
}

/// The samples of an output that has them along one axis.
fn samples(value: Value) -> Result<Vec<f32>, String> {
    let shape = value.shape().to_vec();
    let count: usize = shape.iter().product();
    let Value::FloatTensor(tensor) = value else {
        return Err("gives something else than samples".into());
    };
    if shape.iter().filter(|&&dim| dim != 1).count() > 1 || count == 0 || count > MAX_SAMPLES {
        return Err(format!(
            "gives numbers of the shape {shape:?}, where samples stand along one axis"
        ));
    }
    let samples = tensor.into_data();
    match samples.iter().all(|sample| sample.is_finite()) {
        true => Ok(samples),
        false => Err("gives samples that are no numbers".into()),
    }
}
