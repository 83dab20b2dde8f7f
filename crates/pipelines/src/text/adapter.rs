//! Low-rank adapters out of files.

use std::path::{Path, PathBuf};

use medley_formats::WeightFile;
use medley_models::decoder::Adapter;

use super::read_json;
use crate::PipelineError;

/// Weights of an adapter as PEFT names their file.
const ADAPTER: &str = "adapter_model.safetensors";
/// Its settings.
const SETTINGS: &str = "adapter_config.json";

/// The file that holds an adapter's weights: this one, or the one of PEFT in this folder.
///
/// # Errors
/// [`PipelineError::File`] for what is not there, and for a folder without an adapter.
pub fn adapter_file(path: &Path) -> Result<PathBuf, PipelineError> {
    let problem = |problem: String| PipelineError::File {
        path: path.to_owned(),
        problem,
    };
    if !path.exists() {
        return Err(problem("there is no such file".into()));
    }
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join(ADAPTER);
    if file.is_file() {
        return Ok(file);
    }
    let what = format!("an adapter is a folder with {ADAPTER}, or a GGUF file");
    Err(problem(what))
}

/// Reads an adapter: a folder of PEFT, its safetensors file, or a GGUF file of llama.cpp's kind.
///
/// # Errors
/// [`PipelineError::File`] for what is no adapter of a language model, or has settings that cannot be honoured.
pub fn open_adapter(path: &Path) -> Result<Adapter, PipelineError> {
    let path = adapter_file(path)?;
    let file = WeightFile::open(&path)?;
    let settings = path.with_file_name(SETTINGS);
    let settings = match file.metadata() {
        None if settings.is_file() => Some(read_json(&settings)?),
        _ => None,
    };
    Adapter::read(&file, settings.as_ref()).map_err(|e| at(&path, &e.to_string()))
}

/// An error of an adapter, with its file.
pub(super) fn at(path: &Path, problem: &str) -> PipelineError {
    PipelineError::File {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}
