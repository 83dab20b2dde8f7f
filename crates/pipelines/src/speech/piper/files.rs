//! The two files of a voice: the network, and its settings beside it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use medley_formats::onnx::Graph;
use medley_models::vits::{Vits, VitsConfig};
use medley_nn::{Device, Weights};
use serde::Deserialize;

use crate::PipelineError;

/// Largest file of settings.
const MAX_SETTINGS: u64 = 4 << 20;
/// Samples a second that are believed.
const RATES: [u32; 2] = [4_000, 192_000];

/// What stands in a voice's `.onnx.json`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Settings {
    pub audio: Sound,
    #[serde(default)]
    pub espeak: Espeak,
    #[serde(default)]
    pub inference: Inference,
    pub phoneme_id_map: HashMap<String, Vec<u32>>,
    #[serde(default)]
    pub phoneme_type: Option<String>,
    #[serde(default)]
    pub num_speakers: usize,
    #[serde(default)]
    pub speaker_id_map: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Sound {
    pub sample_rate: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Espeak {
    #[serde(default)]
    pub voice: String,
}

/// How much is drawn, and how long the voice takes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Inference {
    pub noise_scale: f32,
    pub length_scale: f32,
    pub noise_w: f32,
}

impl Default for Inference {
    fn default() -> Self {
        Self {
            noise_scale: 0.667,
            length_scale: 1.0,
            noise_w: 0.8,
        }
    }
}

/// The file of a voice: `path` itself, or the one in that folder; none where there is no such file.
///
/// # Errors
/// [`PipelineError::ModelConfig`] where there are several, and for a file without its settings.
pub fn find(path: &Path) -> Result<Option<PathBuf>, PipelineError> {
    let is_network = |path: &Path| path.extension().is_some_and(|ending| ending == "onnx");
    let file = if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|e| damaged(path, e))?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| is_network(path) && settings_of(path).is_file())
            .collect();
        files.sort();
        if files.len() > 1 {
            let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
            return Err(PipelineError::ModelConfig(format!(
                "{} holds several voices; name one: {}",
                path.display(),
                names.join(", ")
            )));
        }
        files.pop()
    } else {
        is_network(path).then(|| path.to_owned())
    };
    match file {
        Some(file) if !settings_of(&file).is_file() => Err(PipelineError::ModelConfig(format!(
            "{} is a voice only with its settings beside it, in {}",
            file.display(),
            settings_of(&file).display()
        ))),
        found => Ok(found),
    }
}

fn settings_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".json");
    PathBuf::from(name)
}

pub(super) fn settings(file: &Path) -> Result<Settings, PipelineError> {
    let path = settings_of(file);
    let size = fs::metadata(&path).map_err(|e| damaged(&path, e))?.len();
    if size > MAX_SETTINGS {
        return Err(damaged(&path, "it is larger than any such file"));
    }
    let text = fs::read(&path).map_err(|e| damaged(&path, e))?;
    let settings: Settings = serde_json::from_slice(&text).map_err(|e| damaged(&path, e))?;
    let [least, most] = RATES;
    let rate = settings.audio.sample_rate;
    if !(least..=most).contains(&rate) {
        let problem = format!("{rate} samples a second, where {least} to {most} are known");
        return Err(damaged(&path, problem));
    }
    Ok(settings)
}

/// The network; `None` where the file is a graph of another kind.
pub(super) fn network(file: &Path) -> Result<Option<Vits>, PipelineError> {
    let graph = Graph::open(file)?;
    let Ok(mut state) = graph.state() else {
        return Ok(None);
    };
    let tables = [("enc_p.emb.weight", "input"), ("emb_g.weight", "sid")];
    for (name, input) in tables {
        // Exporters give the tables of numbers other names.
        if let (Some(table), false) = (graph.table(input), state.contains_key(name)) {
            let values = table.floats().map_err(|p| p.at(file))?;
            state.insert(name.into(), (table.shape.clone(), values));
        }
    }
    if !state.contains_key("enc_p.emb.weight") || !state.contains_key("dp.flows.0.m") {
        return Ok(None);
    }
    let scale = "dp.flows.0.scale";
    if let Some((shape, logs)) = state.get("dp.flows.0.logs").cloned() {
        let values = logs.iter().map(|log| (-log).exp()).collect();
        state.insert(scale.into(), (shape, values));
    } else if let Some(factor) = graph.factor("dp.flows.0.m") {
        let values = factor.floats().map_err(|p| p.at(file))?;
        let mut shape = factor.shape.clone();
        if shape.len() == 3 && shape[0] == 1 {
            shape.remove(0);
        }
        state.insert(scale.into(), (shape, values));
    }
    let steps = graph.steps().map_err(|p| p.at(file))?;
    let weights = Weights::from_tensors(state.into_iter().collect(), &Device::Cpu);
    let config = VitsConfig::from_weights(&weights)?;
    let shape = |name: &str| steps.get(name).copied().unwrap_or([1, 1]);
    Ok(Some(Vits::new(config, &weights, &shape)?))
}

pub(super) fn damaged(path: &Path, problem: impl ToString) -> PipelineError {
    PipelineError::File {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}
