//! Weights that a run begins with: drawn, or those of a model.

use std::collections::HashMap;
use std::path::Path;

use medley_formats::WeightFile;
use medley_models::parameters::{Init, Parameter};
use medley_nn::weights::Tensors;
use serde_json::Value;

use crate::random::{self, Purpose, unit};
use crate::{Error, Result};

/// First weights, drawn as the list says. Those of a name depend on nothing else in the list.
pub(crate) fn fresh(parameters: Vec<Parameter>, seed: u64) -> Tensors {
    let mut tensors = HashMap::new();
    for parameter in parameters {
        let count: usize = parameter.shape.iter().product();
        let number = random::of_text(&parameter.name);
        let draws = || random::normal(seed, Purpose::Weights, number, count);
        let values = match parameter.init {
            Init::Zeros => vec![0.0; count],
            Init::Ones => vec![1.0; count],
            Init::Normal(deviation) => draws().map(|x| x as f32 * deviation).collect(),
            Init::NormalAroundOne(deviation) => {
                draws().map(|x| 1.0 + x as f32 * deviation).collect()
            }
            Init::Uniform(bound) => (0..count as u64)
                .map(|i| (2.0 * unit(seed, Purpose::Weights, number, i) as f32 - 1.0) * bound)
                .collect(),
        };
        tensors.insert(parameter.name, (parameter.shape, values));
    }
    tensors
}

/// The weights of the file at `path`, under names that begin with `prefix` there.
pub(crate) fn published(parameters: Vec<Parameter>, path: &Path, prefix: &str) -> Result<Tensors> {
    let file = WeightFile::open(path)?;
    let mut tensors = HashMap::new();
    for parameter in parameters {
        let name = format!("{prefix}{}", parameter.name);
        let found = file.info(&name).map(|info| info.shape.clone());
        if found.as_ref() != Some(&parameter.shape) {
            return Err(Error::State(format!(
                "{}: {name} is {}, the model needs {:?}; --base must have the shape of the run",
                path.display(),
                found.map_or("missing".into(), |shape| format!("{shape:?}")),
                parameter.shape
            )));
        }
        let values = file.to_f32(&name)?;
        tensors.insert(parameter.name, (parameter.shape, values));
    }
    Ok(tensors)
}

/// The weights of a model of clips that begins as the model of pictures at `path`, whose weights are `still`: what only clips
/// have is drawn, and begins as nothing.
pub(crate) fn inflated(
    parameters: Vec<Parameter>,
    still: Vec<Parameter>,
    path: &Path,
    seed: u64,
) -> Result<Tensors> {
    let mut tensors = published(still, path, "")?;
    let new: Vec<Parameter> = parameters
        .into_iter()
        .filter(|parameter| !tensors.contains_key(&parameter.name))
        .collect();
    let file = WeightFile::open(path)?;
    match new
        .iter()
        .all(|parameter| file.info(&parameter.name).is_some())
    {
        // It is a model of clips already.
        true => tensors.extend(published(new, path, "")?),
        false => tensors.extend(fresh(new, seed)),
    }
    Ok(tensors)
}

/// The shape that `config.json` of a model's folder says, if it is of this architecture.
pub(crate) fn shape_of(base: &Path, architecture: &str) -> Result<Value> {
    let path = base.join("config.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
    let wrong = |what: String| Error::State(format!("{}: {what}", path.display()));
    let config: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    match config["architecture"].as_str() {
        Some(found) if found == architecture => Ok(config["model"].clone()),
        _ => Err(wrong(format!(
            "--base is to be a model of the architecture {architecture}"
        ))),
    }
}
