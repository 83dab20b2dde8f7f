//! Low-rank adapters as GGUF files, and added to the weights of a model.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use medley_formats::safetensors::write_with;
use medley_formats::{DType, TensorInfo, WeightFile, gguf};
use medley_kernels::{BlockType, quantize};
use medley_models::decoder::{Adapter, DecoderConfig, RowOrder, configured};
use medley_nn::{Device, Weights};
use medley_pipelines::text::open_adapter;

use super::checkpoint::{json, refuse, title};
use super::write::{self, Change, Planned, Rows, Source};
use super::{ConvertEvent, ConvertOptions, Converted, Scheme, check_source, check_target};
use crate::{EngineError, Result};

/// Files of a published checkpoint beside its weights.
const BESIDE: [&str; 10] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
];

/// The model that adapters change.
struct Base {
    config: DecoderConfig,
    weights: Weights,
}

impl Base {
    fn open(path: &Path) -> Result<Self> {
        check_source(path)?;
        let file = WeightFile::open(path)?;
        let config = match file.metadata() {
            Some(_) => None,
            None => Some(json(path, "config.json")?),
        };
        let opened = configured(file, path, config.as_ref(), &Device::Cpu);
        let (config, weights) = opened.map_err(|e| refuse(format!("{}: {e}", path.display())))?;
        Ok(Self { config, weights })
    }

    /// An adapter that fits this model, with its rows in this order.
    fn adapter(&self, path: &Path, order: RowOrder) -> Result<Adapter> {
        let adapter = open_adapter(path).map_err(|e| refuse(e.to_string()))?;
        let wrong = |what: String| refuse(format!("{}: {what}", path.display()));
        let checked = adapter.check_family(&self.config);
        checked.map_err(|e| wrong(e.to_string()))?;
        for (layer, factors) in &adapter.layers {
            let [out, inputs] = factors.shape;
            match self.weights.shape(&format!("{layer}.weight")) {
                Ok(shape) if shape == [out, inputs] => {}
                Ok(shape) => {
                    return Err(wrong(format!(
                        "the adapter's {layer} changes a matrix of {out} x {inputs}; the model's is {shape:?}, so it was made for another"
                    )));
                }
                Err(_) => {
                    return Err(wrong(format!(
                        "the adapter's {layer} is no matrix of the model"
                    )));
                }
            }
        }
        Ok(adapter.ordered(&self.config, order))
    }
}

/// Writes an adapter of `base` to `target` as GGUF, which llama.cpp runs. `scheme` may be `F32`, `F16` or `BF16`.
///
/// # Errors
/// One line where one of the files is missing, damaged or of another kind, the adapter does not fit the model, or
/// `target` exists or cannot be written. Nothing is left behind then.
pub fn adapter(
    source: &Path,
    base: &Path,
    target: &Path,
    scheme: Option<Scheme>,
    options: &ConvertOptions,
) -> Result<Converted> {
    check_source(source)?;
    check_target(source, target, options)?;
    let scheme = scheme.unwrap_or(Scheme::F32);
    let ty = scheme.base();
    if !ty.is_float() {
        return Err(refuse(format!(
            "an adapter is written as F32, F16 or BF16, not as {}",
            scheme.name()
        )));
    }
    let base = Base::open(base)?;
    let adapter = base.adapter(source, RowOrder::Halves)?;
    let (metadata, tensors) = adapter
        .to_gguf(&base.config, &title(source))
        .map_err(|e| refuse(e.to_string()))?;
    let infos: Vec<TensorInfo> = tensors
        .iter()
        .map(|(name, shape, _)| TensorInfo {
            name: name.clone(),
            dtype: DType::Block(ty),
            shape: shape.to_vec(),
        })
        .collect();
    let mut writer = gguf::Writer::create(target, &super::finished(metadata, scheme), &infos)?;
    for (name, _, values) in &tensors {
        let mut bytes = vec![0; ty.bytes_for(values.len()).unwrap_or(0)];
        quantize(ty, values, &mut bytes).map_err(|e| refuse(format!("tensor {name}: {e}")))?;
        writer.write(name, &bytes)?;
    }
    writer.finish()?;
    made(
        target,
        scheme.name(),
        BTreeMap::from([(ty.name(), infos.len())]),
    )
}

fn made(
    path: &Path,
    scheme: &'static str,
    types: BTreeMap<&'static str, usize>,
) -> Result<Converted> {
    let about = std::fs::metadata(path).map_err(EngineError::io("read", path))?;
    Ok(Converted {
        path: path.to_owned(),
        bytes: about.len(),
        scheme,
        types,
    })
}

/// Writes `base` with adapters added to its weights, each as strongly as its number says: to a GGUF file, with the
/// element types of `scheme`; or, where `base` is a published checkpoint and `target` no `.gguf` file, to a folder like
/// it, with its own types.
///
/// # Errors
/// As [`adapter`].
pub fn merge(
    base: &Path,
    adapters: &[(PathBuf, f64)],
    target: &Path,
    scheme: Option<Scheme>,
    options: &ConvertOptions,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<Converted> {
    let model = Base::open(base)?;
    let file = WeightFile::open(base)?;
    let mut source = Source {
        file: &file,
        changes: HashMap::new(),
    };
    for (path, weight) in adapters {
        let adapter = model.adapter(path, RowOrder::of(&model.config))?;
        for (layer, factors) in adapter.layers {
            let name = model.weights.stored_name(&format!("{layer}.weight"));
            let scale = (factors.scale * weight) as f32;
            source.changes.entry(name).or_default().push(Change {
                rank: factors.rank,
                a: factors.a,
                b: factors.b.iter().map(|b| b * scale).collect(),
            });
        }
    }
    let extension = target.extension().unwrap_or_default();
    if extension.eq_ignore_ascii_case("gguf") {
        check_target(base, target, options)?;
        if file.metadata().is_none() {
            return super::published(&source, base, target, scheme, options, events);
        }
        let scheme = scheme.unwrap_or(match file.dominant_type() {
            Some(DType::Block(BlockType::F32)) => Scheme::F32,
            Some(DType::Block(BlockType::BF16)) => Scheme::BF16,
            _ => Scheme::F16,
        });
        return super::requantized(&source, base, target, scheme, options, events);
    }
    let refuse_target = |reason: &str| {
        Err(EngineError::Output {
            path: target.to_owned(),
            reason: reason.to_owned(),
        })
    };
    if file.metadata().is_some() {
        return refuse_target(
            "the model is GGUF, and so is what is made of it: give a name that ends in .gguf",
        );
    }
    if scheme.is_some() {
        return refuse_target(
            "--type is for GGUF files: give a name that ends in .gguf, or leave it out",
        );
    }
    if target.exists() && !(options.force && target.is_dir()) {
        return refuse_target("it exists already; --force replaces the model in a folder");
    }
    let same = (base.canonicalize(), target.canonicalize());
    if matches!(same, (Ok(a), Ok(b)) if a == b) {
        return refuse_target("it is the model itself; give another name");
    }
    checkpoint(&source, base, target, options, events)
}

/// A folder like `base`, with changed weights.
fn checkpoint(
    source: &Source<'_>,
    base: &Path,
    target: &Path,
    options: &ConvertOptions,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<Converted> {
    std::fs::create_dir_all(target).map_err(EngineError::io("create", target))?;
    for name in BESIDE {
        let from = base.join(name);
        if from.is_file() {
            std::fs::copy(&from, target.join(name)).map_err(EngineError::io("copy", &from))?;
        }
    }
    let planned: HashMap<&str, Planned> = source
        .file
        .tensors()
        .iter()
        .map(|info| (info.name.as_str(), planned(source, info)))
        .collect();
    let infos: Vec<TensorInfo> = source
        .file
        .tensors()
        .iter()
        .map(|info| TensorInfo {
            dtype: planned[info.name.as_str()].dtype,
            ..info.clone()
        })
        .collect();
    let total = infos.iter().map(|i| i.elements() as u64).sum();
    let (mut done, mut types) = (0, BTreeMap::new());
    let path = target.join("model.safetensors");
    write_with(
        &path,
        &infos,
        &[("format", "pt")],
        |info, put| -> Result<()> {
            write::one(source, &planned[info.name.as_str()], options, put)?;
            source.file.release(&info.name);
            *types.entry(info.dtype.name()).or_default() += 1;
            done += info.elements() as u64;
            let tensor = info.name.clone();
            events(ConvertEvent::Progress {
                tensor,
                done,
                total,
            });
            Ok::<(), EngineError>(())
        },
    )?;
    made(&path, "as in the model", types)
}

/// A tensor as it is, or in its own type after a change.
fn planned(source: &Source<'_>, info: &TensorInfo) -> Planned {
    let changed = source.changes.contains_key(&info.name);
    Planned {
        name: info.name.clone(),
        shape: info.shape.clone(),
        dtype: match info.dtype {
            DType::Block(_) => info.dtype,
            _ if changed => DType::F32,
            other => other,
        },
        rows: Rows::Plain {
            source: info.name.clone(),
        },
        add: 0.0,
    }
}
