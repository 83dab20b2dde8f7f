//! Planned tensors into a GGUF file, some rows at a time.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;

use medley_formats::gguf::{Metadata, Writer};
use medley_formats::{DType, FormatError, TensorInfo, WeightFile};
use medley_kernels::{BlockType, QuantizeError, dequantize, pool, quantize};

use super::{ConvertEvent, ConvertOptions, Converted, Scheme};
use crate::{EngineError, Result};

/// Elements that are held at a time: 64 MiB as singles.
const PIECE: usize = 16 << 20;

/// A tensor of the file to be.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// The type it is to have; before the recipe is applied, the one it comes in.
    pub(super) dtype: DType,
    pub(super) rows: Rows,
    /// Added to every element.
    pub(super) add: f32,
}

/// Where the rows of a planned tensor come from.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    /// A tensor as it is.
    Plain { source: String },
    /// A tensor whose rows are reordered within `heads` from halves to neighbouring pairs.
    Paired { source: String, heads: usize },
    /// Tensors one below the other.
    Stacked { sources: Vec<String> },
    /// Of each matrix in a tensor the upper (0) or lower (1) half of its rows.
    Half { source: String, half: usize },
    /// Values that stand in no file.
    Values(Vec<f32>),
}

/// A row: the tensor that has it, and its number there.
type Place<'a> = (&'a str, usize);

impl Planned {
    /// Rows, and elements of each. Vectors are one row, unless their elements are reordered.
    fn dimensions(&self) -> (usize, usize) {
        let elements: usize = self.shape.iter().product();
        let row = match (&self.rows, self.shape.len()) {
            (Rows::Paired { .. }, 1) => 1,
            _ => self.shape.last().copied().unwrap_or(1),
        };
        (elements.checked_div(row).unwrap_or(0), row)
    }

    /// Where row `r` of `count` comes from.
    fn place(&self, r: usize, count: usize) -> Place<'_> {
        match &self.rows {
            Rows::Plain { source } => (source, r),
            Rows::Paired { source, heads } => {
                let head = (count / heads).max(1);
                let (start, at) = (r / head * head, r % head);
                (source, start + at % 2 * (head / 2) + at / 2)
            }
            Rows::Stacked { sources } => {
                let each = (count / sources.len().max(1)).max(1);
                (sources.get(r / each).map_or("", String::as_str), r % each)
            }
            Rows::Half { source, half } => {
                let matrix = self.shape.iter().rev().nth(1).copied().unwrap_or(1).max(1);
                (source, (r / matrix * 2 + half) * matrix + r % matrix)
            }
            Rows::Values(_) => ("", r),
        }
    }

    fn sources(&self) -> Vec<&str> {
        match &self.rows {
            Rows::Plain { source } | Rows::Paired { source, .. } | Rows::Half { source, .. } => {
                vec![source]
            }
            Rows::Stacked { sources } => sources.iter().map(String::as_str).collect(),
            Rows::Values(_) => Vec::new(),
        }
    }
}

/// Tensors with low-rank changes of their rows: file, and changes by the name of the tensor there.
pub(super) struct Source<'a> {
    pub(super) file: &'a WeightFile,
    pub(super) changes: HashMap<String, Vec<Change>>,
}

/// `B A` of one tensor, with everything that scales it in B.
pub(super) struct Change {
    pub(super) rank: usize,
    pub(super) a: Vec<f32>,
    pub(super) b: Vec<f32>,
}

impl<'a> Source<'a> {
    /// A file as it is.
    pub(super) fn plain(file: &'a WeightFile) -> Self {
        Self {
            file,
            changes: HashMap::new(),
        }
    }
}

impl Change {
    /// Adds row `at`.
    fn add(&self, at: usize, row: &mut [f32]) {
        let factors = &self.b[at * self.rank..][..self.rank];
        for (factor, a) in factors.iter().zip(self.a.chunks_exact(row.len())) {
            row.iter_mut().zip(a).for_each(|(w, a)| *w += factor * a);
        }
    }
}

/// Where finished bytes go.
type Put<'a> = dyn FnMut(&[u8]) -> std::result::Result<(), FormatError> + 'a;

/// Writes all of `planned` out of `source` to `target`.
pub(super) fn stream(
    source: &Source<'_>,
    target: &Path,
    metadata: Metadata,
    planned: &[Planned],
    scheme: Scheme,
    options: &ConvertOptions,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<Converted> {
    let infos: Vec<TensorInfo> = planned
        .iter()
        .map(|t| TensorInfo {
            name: t.name.clone(),
            dtype: t.dtype,
            shape: t.shape.clone(),
        })
        .collect();
    let total = infos.iter().map(|i| i.elements() as u64).sum();
    let mut writer = Writer::create(target, &metadata, &infos)?;
    let mut done = 0;
    let mut types: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (tensor, info) in planned.iter().zip(&infos) {
        one(source, tensor, options, &mut |bytes| {
            writer.write(&tensor.name, bytes)
        })?;
        let sources = tensor.sources().into_iter();
        sources.for_each(|s| source.file.release(s));
        *types.entry(tensor.dtype.name()).or_default() += 1;
        done += info.elements() as u64;
        events(ConvertEvent::Progress {
            tensor: tensor.name.clone(),
            done,
            total,
        });
    }
    writer.finish()?;
    let bytes = std::fs::metadata(target)
        .map_err(EngineError::io("read", target))?
        .len();
    Ok(Converted {
        path: target.to_owned(),
        bytes,
        scheme: scheme.name(),
        types,
    })
}

/// Hands the bytes of one tensor on.
pub(super) fn one(
    from: &Source<'_>,
    tensor: &Planned,
    options: &ConvertOptions,
    put: &mut Put<'_>,
) -> Result<()> {
    let file = from.file;
    let same = match &tensor.rows {
        Rows::Plain { source } => {
            let unchanged = tensor.add == 0.0 && !from.changes.contains_key(source);
            unchanged && file.require(source)?.dtype == tensor.dtype
        }
        _ => false,
    };
    let DType::Block(ty) = tensor.dtype else {
        // Integers and doubles go over as they are; nothing else is planned for them.
        let source = tensor.sources().first().copied().unwrap_or_default();
        return Ok(put(file.bytes(source)?)?);
    };
    if same && let Rows::Plain { source } = &tensor.rows {
        for piece in file.bytes(source)?.chunks(PIECE) {
            check(options)?;
            put(piece)?;
        }
        return Ok(());
    }
    let (count, row) = tensor.dimensions();
    let whole = Wide::read(file, tensor)?;
    let step = (PIECE / row.max(1)).clamp(1, count.max(1));
    let mut values = vec![0.0f32; step * row];
    let mut bytes = vec![0u8; ty.bytes_for(step * row).unwrap_or(0)];
    // Rows of a reordered vector are single elements, which only float types hold.
    for first in (0..count).step_by(step) {
        check(options)?;
        let rows = step.min(count - first);
        let values = &mut values[..rows * row];
        fill(from, tensor, &whole, (first, count, row), values)?;
        if tensor.add != 0.0 {
            values.iter_mut().for_each(|v| *v += tensor.add);
        }
        let len = ty.bytes_for(values.len()).unwrap_or(0);
        quantize(ty, values, &mut bytes[..len])
            .map_err(|e| refused(&tensor.name, first, row, e))?;
        put(&bytes[..len])?;
    }
    Ok(())
}

fn check(options: &ConvertOptions) -> Result<()> {
    if options.cancel.is_cancelled() {
        return Err(EngineError::Cancelled);
    }
    Ok(())
}

fn refused(name: &str, first: usize, row: usize, error: QuantizeError) -> EngineError {
    let reason = match error {
        QuantizeError::NotFinite { index } => {
            format!(
                "element {} of tensor {name} is not a finite number",
                first * row + index
            )
        }
        other => format!("tensor {name}: {other}"),
    };
    EngineError::Convert { reason }
}

/// Sources whose elements are no blocks (doubles, integers, 8-bit floats), as singles.
struct Wide(BTreeMap<String, Vec<f32>>);

impl Wide {
    fn read(file: &WeightFile, tensor: &Planned) -> Result<Self> {
        let mut wide = BTreeMap::new();
        for source in tensor.sources() {
            if !matches!(file.require(source)?.dtype, DType::Block(_)) {
                wide.insert(source.to_owned(), file.to_f32(source)?);
            }
        }
        Ok(Self(wide))
    }
}

/// Fills `out` with the rows of `tensor` from `first` on, of `count` rows of `row` elements.
fn fill(
    from: &Source<'_>,
    tensor: &Planned,
    wide: &Wide,
    (first, count, row): (usize, usize, usize),
    out: &mut [f32],
) -> Result<()> {
    if let Rows::Values(values) = &tensor.rows {
        out.copy_from_slice(&values[first * row..][..out.len()]);
        return Ok(());
    }
    let file = from.file;
    let mut sources: BTreeMap<&str, (BlockType, &[u8])> = BTreeMap::new();
    for source in tensor.sources() {
        if let DType::Block(ty) = file.require(source)?.dtype {
            sources.insert(source, (ty, file.bytes(source)?));
        }
    }
    let failed = Mutex::new(None);
    pool::parallel_chunks(out, row.max(1), |i, out| {
        let (source, at) = tensor.place(first + i, count);
        let read = match (sources.get(source), wide.0.get(source)) {
            (Some((ty, bytes)), _) => rows_of(*ty, bytes, at, out),
            (None, Some(values)) => values
                .get(at * row..(at + 1) * row)
                .map(|v| out.copy_from_slice(v)),
            (None, None) => None,
        };
        let changes = from.changes.get(source).into_iter().flatten();
        changes.for_each(|change| change.add(at, out));
        if read.is_none()
            && let Ok(mut failed) = failed.lock()
        {
            *failed = Some(source.to_owned());
        }
    });
    match failed.into_inner().ok().flatten() {
        Some(source) => Err(EngineError::Format(FormatError::MissingTensor {
            path: file.path().to_owned(),
            name: source,
            nearest: None,
        })),
        None => Ok(()),
    }
}

/// Row `at` of blocks of `ty`; `None` where there is no such row, or it is not whole blocks.
fn rows_of(ty: BlockType, bytes: &[u8], at: usize, out: &mut [f32]) -> Option<()> {
    let len = ty.bytes_for(out.len())?;
    let row = bytes.get(at.checked_mul(len)?..at.checked_add(1)?.checked_mul(len)?)?;
    dequantize(ty, row, out).ok()
}
