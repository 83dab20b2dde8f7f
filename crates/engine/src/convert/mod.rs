//! Model files out of model files: other element types, other containers.
//!
//! [`quantize`] turns a GGUF file into one with other element types, [`convert`] a published checkpoint into GGUF,
//! [`adapter`] an adapter of PEFT into GGUF, and [`merge`] adds adapters to a model's weights. They
//! plan the whole file first, then stream it tensor by tensor, some tens of megabytes at a time, to a temporary name
//! that is renamed at the end. What goes into which type follows llama.cpp (`src/llama-quant.cpp`), so that its files
//! and ours of one name are alike.

mod adapter;
mod checkpoint;
mod encoder;
mod scheme;
mod tokenizer;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use medley_formats::gguf::{Metadata, Value};
use medley_formats::{Container, DType, WeightFile};
use medley_kernels::BlockType;

use crate::fetch::CancelFlag;
use crate::{EngineError, Result};

pub use adapter::{adapter, merge};
pub use scheme::{Scheme, UnknownScheme};
use write::{Planned, Rows, Source};

/// How files are made.
#[derive(Clone, Default)]
pub struct ConvertOptions {
    /// Replace a file that is there already.
    pub force: bool,
    /// Ends the work, and leaves nothing behind.
    pub cancel: CancelFlag,
}

/// What is told meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertEvent {
    /// Something that the user should know; nothing is wrong.
    Note(String),
    /// How far the writing has come.
    Progress {
        /// The tensor that was written last.
        tensor: String,
        /// Elements that are written.
        done: u64,
        /// Elements in all.
        total: u64,
    },
}

/// A file that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The recipe of its element types, as `--type` names it.
    pub scheme: &'static str,
    /// Number of tensors by element type.
    pub types: BTreeMap<&'static str, usize>,
}

/// Writes `source`, a GGUF file, with the element types of `scheme` to `target`. Metadata are kept.
///
/// Norms and everything of one dimension stay in single precision; rows that are not whole blocks of a type get the
/// next finer type that fits, as in llama.cpp.
///
/// # Errors
/// One line where `source` is missing, damaged or no GGUF, holds numbers that are not finite, or `target` exists or
/// cannot be written. Nothing is left behind then.
pub fn quantize(
    source: &Path,
    target: &Path,
    scheme: Scheme,
    options: &ConvertOptions,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<Converted> {
    check_source(source)?;
    check_target(source, target, options)?;
    let file = WeightFile::open(source)?;
    requantized(
        &Source::plain(&file),
        source,
        target,
        scheme,
        options,
        events,
    )
}

/// [`quantize`], with changes.
fn requantized(
    from: &Source<'_>,
    source: &Path,
    target: &Path,
    scheme: Scheme,
    options: &ConvertOptions,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<Converted> {
    let file = from.file;
    let Some(metadata) = file.metadata().filter(|_| file.kind() == Container::Gguf) else {
        return Err(EngineError::Convert {
            reason: format!(
                "{} is {}, and quantize reads GGUF; `medley models convert FOLDER DST.gguf --type {}` reads published checkpoints",
                source.display(),
                file.kind().name(),
                scheme.name()
            ),
        });
    };
    let quantised: Vec<&str> = file
        .types()
        .iter()
        .filter(|share| matches!(share.dtype, DType::Block(ty) if !ty.is_float()))
        .map(|share| share.dtype.name())
        .collect();
    if !quantised.is_empty() && scheme.base() != BlockType::F32 {
        events(ConvertEvent::Note(format!(
            "{} is quantised already ({}); quantising it again loses more than starting from the original does",
            source.display(),
            quantised.join(", ")
        )));
    }
    let mut planned: Vec<Planned> = file
        .tensors()
        .iter()
        .map(|info| Planned {
            name: info.name.clone(),
            shape: info.shape.clone(),
            dtype: info.dtype,
            rows: Rows::Plain {
                source: info.name.clone(),
            },
            add: 0.0,
        })
        .collect();
    scheme.assign(metadata, &mut planned, events);
    let mut metadata = metadata.clone();
    for key in ["split.no", "split.count", "split.tensors.count"] {
        metadata.remove(key);
    }
    write::stream(
        from,
        target,
        finished(metadata, scheme),
        &planned,
        scheme,
        options,
        events,
    )
}

/// Writes `folder`, a published checkpoint of a language model or a sentence encoder, to `target` as GGUF with the element types of `scheme`,
/// or those of the checkpoint.
///
/// # Errors
/// One line where files of the folder are missing, damaged or of a kind that GGUF has no words for, or `target` exists
/// or cannot be written. Nothing is left behind then.
pub fn convert(
    folder: &Path,
    target: &Path,
    scheme: Option<Scheme>,
    options: &ConvertOptions,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<Converted> {
    check_source(folder)?;
    if !folder.is_dir() {
        return Err(EngineError::Convert {
            reason: format!(
                "{} is a file; convert takes the folder of a published checkpoint, with config.json, tokenizer.json and weights",
                folder.display()
            ),
        });
    }
    check_target(folder, target, options)?;
    let file = WeightFile::open(folder)?;
    if file.metadata().is_some() {
        return Err(EngineError::Convert {
            reason: format!(
                "{} is GGUF already; `medley models quantize` changes its element types",
                file.path().display()
            ),
        });
    }
    published(
        &Source::plain(&file),
        folder,
        target,
        scheme,
        options,
        events,
    )
}

/// [`convert`], with changes.
fn published(
    from: &Source<'_>,
    folder: &Path,
    target: &Path,
    scheme: Option<Scheme>,
    options: &ConvertOptions,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<Converted> {
    let file = from.file;
    let scheme = scheme.unwrap_or_else(|| match file.dominant_type() {
        Some(DType::Block(BlockType::F16)) => Scheme::F16,
        Some(DType::Block(BlockType::F32) | DType::F64) => Scheme::F32,
        _ => Scheme::BF16,
    });
    let (metadata, mut planned) = checkpoint::plan(folder, file, events)?;
    scheme.assign(&metadata, &mut planned, events);
    write::stream(
        from,
        target,
        finished(metadata, scheme),
        &planned,
        scheme,
        options,
        events,
    )
}

/// The metadata with what a file says of its types.
fn finished(mut metadata: Metadata, scheme: Scheme) -> Metadata {
    metadata.insert("general.file_type", Value::U32(scheme.file_type()));
    // The version of ggml's block layouts, `GGML_QNT_VERSION`.
    metadata.insert("general.quantization_version", Value::U32(2));
    metadata
}

fn check_source(source: &Path) -> Result<()> {
    if source.exists() {
        return Ok(());
    }
    Err(EngineError::NoSuchPath {
        path: source.to_owned(),
    })
}

fn check_target(source: &Path, target: &Path, options: &ConvertOptions) -> Result<()> {
    let refuse = |reason: &str| {
        Err(EngineError::Output {
            path: target.to_owned(),
            reason: reason.to_owned(),
        })
    };
    if target.is_dir() {
        return refuse("it is a folder; give the name of a file in it");
    }
    let same = match (source.canonicalize(), target.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    };
    if same {
        return refuse("it is the source; give another name");
    }
    if target.exists() && !options.force {
        return refuse("it exists already; --force replaces it");
    }
    const OTHERS: [&str; 5] = ["safetensors", "bin", "pt", "pth", "json"];
    let extension = target.extension().unwrap_or_default();
    if OTHERS
        .iter()
        .any(|other| extension.eq_ignore_ascii_case(other))
    {
        return refuse("what is written is GGUF; give it a name that ends in .gguf");
    }
    Ok(())
}
