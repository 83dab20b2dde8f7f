//! PyTorch checkpoints, read without running their code.
//!
//! A checkpoint is a pickle: a program for Python's stack machine. The reader here runs the few
//! instructions that tensors, dictionaries, lists, numbers and strings are made with, on data of its
//! own, and refuses every name ("global") that is not on a short list of harmless ones. Two containers
//! are read: the zip archive that `torch.save` writes since PyTorch 1.6, and the stream before it.
//! Tensor data stays in the memory map; tensors that are strided views are copied when asked for.

mod globals;
mod legacy;
mod node;
mod ops;
mod state;
mod vm;
mod zip;

use std::ops::Range;

use crate::cursor::Cursor;
use crate::dtype::TensorInfo;
use crate::error::{Problem, quote};
use crate::weights::{Place, Strided};
use node::{StorageRecord, TensorRecord};

/// Bounds on what a pickle may ask for; each is far beyond any published checkpoint.
mod limit {
    /// Instructions, and elements copied by them. Each takes at most some 40 bytes of memory.
    pub(super) const STEPS: u64 = 8 << 20;
    /// PyTorch stops at 64 dimensions.
    pub(super) const RANK: u64 = 64;
    /// Containers within containers, on the way to a tensor.
    pub(super) const DEPTH: usize = 64;
    /// Values looked at on the search for tensors.
    pub(super) const VISITS: u64 = 8 << 20;
    /// Names for one tensor, on average over a checkpoint.
    pub(super) const NAMES: u64 = 64;
    /// Bytes of a name of a Python module or object.
    pub(super) const NAME: usize = 256;
    /// Files in a zip archive.
    pub(super) const ENTRIES: u64 = 1 << 18;
    /// Bytes that a strided view may take beyond its storage: PyTorch keeps expanded tensors
    /// as views of fewer elements.
    pub(super) const EXPANDED: u64 = 1 << 20;
}

/// The tensors of a checkpoint and where their bytes are.
pub(crate) struct Contents {
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) places: Vec<Place>,
}

/// Whether the bytes look like one of the containers.
pub(crate) fn is_checkpoint(file: &[u8]) -> bool {
    zip::is_zip(file) || legacy::is_legacy(file)
}

/// Finds all tensors in the bytes of a whole file.
pub(crate) fn parse(file: &[u8]) -> Result<Contents, Problem> {
    if zip::is_zip(file) {
        return zip::parse(file);
    }
    legacy::parse(file)
}

/// Runs the bytes as the pickle of an archive whose storages are all as long as they should be, and
/// fill `storage_bytes` bytes at most. For fuzzing, which seldom gets through a zip archive.
pub(crate) fn parse_program(program: &[u8], storage_bytes: usize) -> Result<Contents, Problem> {
    let mut machine = vm::Machine::default();
    let root = machine.run(&mut Cursor::new(program))?;
    let named = state::named_tensors(&machine, root)?;
    let ranges = machine.storages.iter().map(|storage| {
        let bytes = storage.bytes().and_then(|n| usize::try_from(n).ok());
        match bytes {
            Some(bytes) if bytes <= storage_bytes => Ok(0..bytes),
            _ => Err(Problem::invalid("a storage", "too long", "shorter")),
        }
    });
    let ranges = ranges.collect::<Result<Vec<_>, _>>()?;
    place(named, &machine.storages, &ranges)
}

/// Gives each named tensor its place, once the place of each storage in the file is known.
fn place(
    named: Vec<(String, TensorRecord)>,
    storages: &[StorageRecord],
    ranges: &[Range<usize>],
) -> Result<Contents, Problem> {
    let mut tensors = Vec::with_capacity(named.len());
    let mut places = Vec::with_capacity(named.len());
    for (name, record) in named {
        let storage = record.storage as usize;
        let (Some(about), Some(range)) = (storages.get(storage), ranges.get(storage)) else {
            return Err(Problem::invalid("a storage", "missing", "in the file"));
        };
        let (info, place) = view(name, &record, about, range)?;
        tensors.push(info);
        places.push(place);
    }
    Ok(Contents { tensors, places })
}

/// A tensor as a view of its storage, every bound checked.
fn view(
    name: String,
    record: &TensorRecord,
    storage: &StorageRecord,
    range: &Range<usize>,
) -> Result<(TensorInfo, Place), Problem> {
    let what = |field: &str| format!("the {field} of tensor {}", quote(&name));
    let Some(width) = record.dtype.element_bytes() else {
        return Err(Problem::invalid(what("type"), record.dtype, "unquantised"));
    };
    let shape = record.shape.iter().map(|&d| usize::try_from(d).ok());
    let info = shape
        .collect::<Option<Vec<usize>>>()
        .map(|shape| TensorInfo {
            name: name.clone(),
            dtype: record.dtype,
            shape,
        });
    let sized = info.and_then(|info| Some((info.byte_len()?, info)));
    let Some((bytes, info)) = sized else {
        return Err(Problem::invalid(
            what("shape"),
            format!("{:?}", record.shape),
            "a number of elements that fits into memory",
        ));
    };
    if bytes == 0 {
        return Ok((info, Place::Plain(range.start..range.start)));
    }
    let last = last_element(record);
    let end = last.and_then(|last| last.checked_add(1)?.checked_mul(width as u64));
    let storage_bytes = range.len() as u64;
    if end.is_none_or(|end| end > storage_bytes) {
        return Err(Problem::invalid(
            what("view of its storage"),
            format!(
                "shape {:?} with strides {:?} from element {}",
                record.shape, record.strides, record.offset
            ),
            format!(
                "within the {} elements of storage {}",
                storage.numel,
                quote(&storage.key)
            ),
        ));
    }
    // `end` is within the file, and the offset is below it.
    let start = range.start + usize::try_from(record.offset).unwrap_or(0) * width;
    if is_contiguous(record) {
        return Ok((info, Place::Plain(start..start + bytes)));
    }
    Problem::check_limit(
        what("expanded size"),
        bytes as u64,
        storage_bytes.max(limit::EXPANDED),
    )?;
    // A dimension of size 1 may have any stride; 0 keeps the copy's arithmetic within the storage.
    let dims = record.shape.iter().zip(&record.strides);
    let strides = dims.map(|(&dim, &stride)| if dim == 1 { 0 } else { stride });
    let strides = strides.map(|s| usize::try_from(s).unwrap_or(0)).collect();
    let strided = Strided::new(start..range.end, width, &info.shape, strides);
    Ok((info, Place::Strided(Box::new(strided))))
}

/// Index in the storage of the last element of a view that has elements.
fn last_element(record: &TensorRecord) -> Option<u64> {
    let mut dims = record.shape.iter().zip(&record.strides);
    dims.try_fold(record.offset, |at, (&dim, &stride)| {
        at.checked_add((dim - 1).checked_mul(stride)?)
    })
}

/// Whether elements lie in row-major order without gaps. Strides of dimensions of size 1 are free.
fn is_contiguous(record: &TensorRecord) -> bool {
    let mut expected = 1u64;
    for (&dim, &stride) in record.shape.iter().zip(&record.strides).rev() {
        if dim != 1 && stride != expected {
            return false;
        }
        expected = expected.saturating_mul(dim);
    }
    true
}
