//! A model's folder or file.

use std::path::{Path, PathBuf};

use medley_formats::{Container, WeightFile};
use medley_models::whisper::{Precision, Whisper, WhisperConfig};
use medley_nn::{Device, Weights};
use medley_tokenize::WhisperTokenizer;
use serde_json::Value;

use super::{Ear, Listener};
use crate::PipelineError;
use crate::text::read_json;

/// The model at `path`: a folder of Hugging Face (`config.json`, `model.safetensors`) or CTranslate2 (`config.json`,
/// `model.bin`), or a file of whisper.cpp (`ggml-*.bin`).
///
/// # Errors
/// [`PipelineError::Format`], [`PipelineError::Model`], [`PipelineError::Tokenize`], [`PipelineError::File`].
pub fn load(path: &Path) -> Result<Box<dyn Listener>, PipelineError> {
    Ok(Box::new(open(path)?))
}

fn open(path: &Path) -> Result<Ear, PipelineError> {
    let file = WeightFile::open(&weights_of(path))?;
    let kind = file.kind();
    let metadata = file.metadata().cloned();
    let is_other = kind == Container::CTranslate2
        && !file
            .notes()
            .iter()
            .any(|(key, value)| key == "spec" && value == "WhisperSpec");
    if is_other {
        return Err(PipelineError::File {
            path: path.to_owned(),
            problem: "it is a CTranslate2 model of another kind than Whisper".into(),
        });
    }
    let weights = Weights::from_file(file, path, &Device::Cpu);
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    };
    let said = settings(folder, kind)?;
    let config = match kind {
        Container::Ggml | Container::CTranslate2 => WhisperConfig::from_file(kind, &weights)?,
        _ => WhisperConfig::from_json(&read_json(&folder.join("config.json"))?)?,
    };
    let tokenizer = match (kind, &metadata) {
        (Container::Ggml, Some(metadata)) => {
            WhisperTokenizer::from_metadata(metadata, config.vocab_size)?
        }
        _ => WhisperTokenizer::from_folder(folder, config.vocab_size)?,
    };
    let suppressed = match numbers(&said, &["suppress_ids", "suppress_tokens"]) {
        Some(list) => list,
        None => tokenizer.unspoken()?,
    };
    let alignment = heads(&said, &config);
    let matrices = config.width * (config.vocab_size + 4 * config.width * 3 * config.text_layers);
    let bytes = matrices * 2 + config.memory_bytes() + 64 * config.audio_context * config.width;
    Ok(Ear {
        model: Whisper::new(config, kind, &weights, Precision::Quantised)?,
        tokenizer,
        suppressed,
        alignment,
        bytes: bytes as u64,
    })
}

/// The file of whisper.cpp where a folder holds one alone.
fn weights_of(path: &Path) -> PathBuf {
    let list = path.read_dir().into_iter().flatten().flatten();
    let mut models = list.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("ggml-") && name.ends_with(".bin")
    });
    match (models.next(), models.next()) {
        (Some(one), None) if path.is_dir() => one,
        _ => path.to_owned(),
    }
}

/// What a folder says of decoding; null where it says nothing.
fn settings(folder: &Path, kind: Container) -> Result<Value, PipelineError> {
    let name = match kind {
        Container::Ggml => return Ok(Value::Null),
        Container::CTranslate2 => "config.json",
        _ => "generation_config.json",
    };
    let path = folder.join(name);
    match path.exists() {
        true => read_json(&path),
        false => Ok(Value::Null),
    }
}

fn numbers(said: &Value, keys: &[&str]) -> Option<Vec<u32>> {
    let list = keys.iter().find_map(|key| said.get(key)?.as_array())?;
    // CTranslate2 writes -1 for OpenAI's own list.
    list.iter()
        .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()))
        .collect()
}

/// The published heads; else all of the last half of the layers, as OpenAI has it.
fn heads(said: &Value, config: &WhisperConfig) -> Vec<(usize, usize)> {
    let pair = |pair: &Value| {
        let number = |i: usize| pair.get(i)?.as_u64().and_then(|n| usize::try_from(n).ok());
        Some((number(0)?, number(1)?))
    };
    let published = said.get("alignment_heads").and_then(Value::as_array);
    let published: Option<Vec<_>> = published.and_then(|list| list.iter().map(pair).collect());
    let there =
        |(layer, head): &(usize, usize)| *layer < config.text_layers && *head < config.text_heads;
    match published {
        Some(list) if !list.is_empty() && list.iter().all(there) => list,
        _ => (config.text_layers / 2..config.text_layers)
            .flat_map(|layer| (0..config.text_heads).map(move |head| (layer, head)))
            .collect(),
    }
}
