use std::path::{Path, PathBuf};
use std::time::Instant;

use medley_formats::WeightFile;
use medley_models::decoder::{self, Decoder};
use medley_nn::{Device, KvType};
use medley_tokenize::{ChatTemplate, Tokenizer};
use serde_json::Value;

use super::TextModel;
use super::adapter::{at, open_adapter};
use crate::PipelineError;

/// How a language model is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: Device,
    /// Element type of the KV cache.
    pub kv_type: KvType,
    /// Most tokens of prompt and text together; the model's own limit where absent.
    pub context: Option<usize>,
    /// Low-rank adapters on its layers, and how strongly each counts; 1 as it was trained.
    pub loras: Vec<(PathBuf, f64)>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            kv_type: KvType::F16,
            context: None,
            loras: Vec::new(),
        }
    }
}

impl TextModel {
    /// Loads a GGUF file, or a folder with `config.json`, `tokenizer.json` and weights.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, PipelineError> {
        let start = Instant::now();
        let file = WeightFile::open(path)?;
        let (tokenizer, template, config) = match file.metadata() {
            Some(metadata) => {
                let tokenizer = Tokenizer::from_gguf(metadata)?;
                let template = ChatTemplate::from_gguf(metadata, &tokenizer)?;
                (tokenizer, template, None)
            }
            None => {
                let folder = if path.is_dir() {
                    path
                } else {
                    path.parent().unwrap_or(path)
                };
                let config = read_json(&folder.join("config.json"))?;
                let tokenizer = Tokenizer::from_file(folder)?;
                let template = ChatTemplate::from_folder(folder)?;
                (tokenizer, template, Some(config))
            }
        };
        let mut decoder = decoder::from_file(file, path, config.as_ref(), &options.device)?;
        for (path, weight) in &options.loras {
            let attached = decoder.attach(open_adapter(path)?, *weight);
            attached.map_err(|e| at(path, &e.to_string()))?;
        }
        let name = path.file_stem().unwrap_or(path.as_os_str());
        let model = Self::new(
            &name.to_string_lossy(),
            decoder,
            tokenizer,
            template,
            options,
        )?;
        Ok(Self {
            load_s: start.elapsed().as_secs_f64(),
            ..model
        })
    }

    /// A model out of its parts.
    pub fn new(
        name: &str,
        decoder: Decoder,
        tokenizer: Tokenizer,
        template: Option<ChatTemplate>,
        options: &LoadOptions,
    ) -> Result<Self, PipelineError> {
        let limit = decoder.config().max_positions;
        let context = options.context.unwrap_or(limit);
        if context == 0 || context > limit {
            return Err(PipelineError::InvalidRequest(format!(
                "a context of {context} tokens was asked for; this model allows 1 to {limit}"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            decoder,
            tokenizer,
            dialect: template.as_ref().map(super::dialect::Dialect::of),
            template,
            vocabulary: std::sync::OnceLock::new(),
            kv_type: options.kv_type,
            context,
            load_s: 0.0,
            draft: None,
        })
    }
}

/// A JSON file of at most 64 MiB.
pub(crate) fn read_json(path: &Path) -> Result<Value, PipelineError> {
    let problem = |problem: String| PipelineError::File {
        path: path.to_owned(),
        problem,
    };
    let size = std::fs::metadata(path)
        .map_err(|e| problem(e.to_string()))?
        .len();
    if size > 64 << 20 {
        return Err(problem(format!(
            "{size} bytes are too many for a configuration; 64 MiB is the limit"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|e| problem(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| problem(format!("not valid JSON: {e}")))
}
