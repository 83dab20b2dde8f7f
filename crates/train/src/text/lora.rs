//! A low-rank adapter over a model that stays as it is stored (Hu et al. 2021).

use std::path::Path;

use medley_formats::DType;
use medley_formats::WeightFile;
use medley_formats::safetensors::{TensorData, write};
use medley_kernels::BlockType;
use medley_models::decoder::{Decoder, from_file};
use medley_models::parameters::{Init, Parameter};
use medley_nn::weights::Tensors;
use medley_nn::{Device, Parameters};
use medley_tokenize::{ChatTemplate, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::files::write_whole;
use crate::random::{self, Purpose, unit};
use crate::{Error, Result};

/// Name of the adapter's weights in its folder, as PEFT has it.
pub const ADAPTER: &str = "adapter_model.safetensors";

/// Bytes of a tensor that tell one base from another.
const LOOKED_AT: usize = 1 << 12;

/// What adapter is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraSettings {
    /// Columns of B and rows of A.
    pub rank: usize,
    /// The change counts `alpha / rank`.
    pub alpha: f64,
    /// Ends of the names of layers that it changes; all linear layers where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Name of the model below, not its path.
    pub base: String,
}

/// A model with an adapter that learns.
pub(super) struct Adapted {
    pub(super) decoder: Decoder,
    pub(super) parameters: Parameters,
    pub(super) tokenizer: Tokenizer,
    pub(super) template: Option<ChatTemplate>,
    pub(super) below: Below,
}

/// What is known of the model below an adapter.
pub(super) struct Below {
    settings: LoraSettings,
    /// Ends of the names of the layers that are changed.
    targets: Vec<String>,
    /// Tells it from others.
    pub(super) digest: String,
    /// Numbers, and bytes in memory, of its weights.
    pub(super) numbers: usize,
    pub(super) bytes: usize,
}

/// Opens the model below, a folder or a GGUF file, and puts a new adapter onto it.
pub(super) fn open(settings: &LoraSettings, base: &Path, seed: u64) -> Result<Adapted> {
    if !(settings.alpha.is_finite() && settings.alpha > 0.0) {
        let alpha = settings.alpha;
        return Err(Error::Setting(format!(
            "an alpha of {alpha} must be above 0"
        )));
    }
    let file = WeightFile::open(base)?;
    let digest = digest(&file)?;
    let (tokenizer, template, config) = match file.metadata() {
        Some(metadata) => {
            let tokenizer = Tokenizer::from_gguf(metadata)?;
            let template = ChatTemplate::from_gguf(metadata, &tokenizer)?;
            (tokenizer, template, None)
        }
        None if base.is_dir() => {
            let config = read_json(&base.join("config.json"))?;
            let template = ChatTemplate::from_folder(base)?;
            (Tokenizer::from_file(base)?, template, Some(config))
        }
        None => {
            return Err(Error::Text {
                path: base.to_owned(),
                reason: "a model to adapt is a GGUF file, or a folder with config.json, tokenizer.json and safetensors".into(),
            });
        }
    };
    let mut decoder = from_file(file, base, config.as_ref(), &Device::Cpu)?;
    let (numbers, bytes) = (decoder.weight_count(), decoder.bytes());
    let list = decoder.adapter_parameters(settings.rank, &settings.targets)?;
    let mut targets: Vec<String> = Vec::new();
    for parameter in &list {
        let target = parameter.name.rsplit('.').nth(2).unwrap_or_default();
        if !targets.iter().any(|t| t == target) {
            targets.push(target.to_owned());
        }
    }
    let scale = settings.alpha / settings.rank as f64;
    let parameters = decoder.learn(&first(list, seed), scale)?;
    let below = Below {
        settings: settings.clone(),
        targets,
        digest,
        numbers,
        bytes,
    };
    Ok(Adapted {
        decoder,
        parameters,
        tokenizer,
        template,
        below,
    })
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::Text {
        path: path.to_owned(),
        reason: e.to_string(),
    })
}

/// Names, shapes and types of all tensors, and how each begins.
fn digest(file: &WeightFile) -> Result<String> {
    let mut hash = Sha256::new();
    for info in file.tensors() {
        hash.update(format!("{} {} {:?}\n", info.name, info.dtype, info.shape));
        let bytes = file.bytes(&info.name)?;
        hash.update(&bytes[..bytes.len().min(LOOKED_AT)]);
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// First numbers of the factors.
fn first(list: Vec<Parameter>, seed: u64) -> Tensors {
    let each = list.into_iter().map(|parameter| {
        let count: usize = parameter.shape.iter().product();
        let place = random::of_text(&parameter.name);
        let values = match parameter.init {
            Init::Uniform(bound) => (0..count as u64)
                .map(|i| (2.0 * unit(seed, Purpose::Weights, place, i) as f32 - 1.0) * bound)
                .collect(),
            _ => vec![0.0; count],
        };
        (parameter.name, (parameter.shape, values))
    });
    each.collect()
}

impl Below {
    /// Writes the adapter as PEFT does: `adapter_model.safetensors` and `adapter_config.json`.
    pub(super) fn export(
        &self,
        decoder: &Decoder,
        parameters: &Parameters,
        folder: &Path,
    ) -> Result<()> {
        let each = parameters.all().iter().map(|p| {
            let shape = p.var.dims();
            Ok((
                &p.name,
                shape,
                decoder.published(&p.name, shape, &p.stored()?),
            ))
        });
        let all: Vec<(&String, &[usize], Vec<f32>)> = each.collect::<Result<_>>()?;
        let tensors: Vec<TensorData> = all
            .iter()
            .map(|(name, shape, values)| TensorData {
                name,
                dtype: DType::Block(BlockType::F32),
                shape,
                bytes: bytemuck::cast_slice(values),
            })
            .collect();
        write(&folder.join(ADAPTER), &tensors, &[("format", "pt")])?;
        let LoraSettings {
            rank, alpha, base, ..
        } = &self.settings;
        // Whole numbers as PEFT writes them.
        let alpha = match alpha.fract() == 0.0 {
            true => json!(*alpha as u64),
            false => json!(alpha),
        };
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": rank,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "target_modules": self.targets,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "use_dora": false,
            "use_rslora": false,
        });
        let text = format!("{config:#}\n");
        write_whole(&folder.join("adapter_config.json"), text.as_bytes())
    }
}
