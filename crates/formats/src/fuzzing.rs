//! What the fuzz targets and the corpus tests run: read arbitrary bytes as a whole file, use all that
//! is in it, and check what must hold of everything that was accepted.

use std::path::Path;

use crate::error::{FormatError, Problem};
use crate::gguf;
use crate::onnx::Graph;
use crate::pickle;
use crate::weights::{Place, WeightFile};

/// Reads bytes as a GGUF file.
///
/// # Errors
/// As [`WeightFile::open`].
///
/// # Panics
/// Where a header that was accepted does not survive being written and read again: a defect.
pub fn gguf(bytes: &[u8]) -> Result<(), FormatError> {
    const LABEL: &str = "fuzz.gguf";
    let at = |problem: Problem| problem.at(Path::new(LABEL));
    let header = gguf::Header::parse(bytes).map_err(at)?;
    let mut again = gguf::encode(&header.metadata, &header.tensors).map_err(at)?;
    let start = again.len();
    again.resize(start + bytes.len() + padding(&header), 0);
    let reread = gguf::Header::parse(&again).map_err(at)?;
    assert_eq!(header.tensors, reread.tensors);
    // Compared as bytes, for which NaN equals itself.
    let encoded = gguf::encode(&reread.metadata, &reread.tensors).map_err(at)?;
    assert_eq!(encoded, again[..start]);
    whole(LABEL, bytes)
}

/// Room for the writer's padding between tensors that have data.
fn padding(header: &gguf::Header) -> usize {
    let alignment = header.metadata.usize(gguf::ALIGNMENT_KEY).unwrap_or(32);
    let with_data = header.tensors.iter().filter(|t| t.elements() > 0);
    alignment.saturating_mul(with_data.count())
}

/// Reads bytes as a safetensors file.
///
/// # Errors
/// As [`WeightFile::open`].
pub fn safetensors(bytes: &[u8]) -> Result<(), FormatError> {
    whole("fuzz.safetensors", bytes)
}

/// Reads bytes as a model of CTranslate2 or of whisper.cpp.
///
/// # Errors
/// As [`WeightFile::open`].
pub fn whisper(bytes: &[u8]) -> Result<(), FormatError> {
    whole("fuzz.bin", bytes)
}

/// Reads bytes as an ONNX file, and asks for everything that a loader asks of one.
///
/// # Errors
/// As [`Graph::open`] and [`Graph::state`].
pub fn onnx(bytes: &[u8]) -> Result<(), FormatError> {
    let at = |problem: Problem| problem.at(Path::new("fuzz.onnx"));
    let graph = Graph::parse(bytes).map_err(at)?;
    for tensor in graph.tensors.values() {
        assert_eq!(tensor.elements(), tensor.shape.iter().product::<usize>());
    }
    for input in &graph.inputs {
        let _ = graph.table(input);
    }
    for shift in graph.tensors.keys() {
        let _ = graph.factor(shift);
    }
    graph.steps().map_err(at)?;
    for (shape, values) in graph.state().map_err(at)?.values() {
        assert_eq!(shape.iter().product::<usize>(), values.len());
    }
    Ok(())
}

/// Reads bytes as a PyTorch checkpoint, or, where they are neither a zip archive nor an old stream, as
/// the pickle of one.
///
/// # Errors
/// As [`WeightFile::open`].
pub fn pytorch(bytes: &[u8]) -> Result<(), FormatError> {
    const LABEL: &str = "fuzz.pt";
    if pickle::is_checkpoint(bytes) {
        return whole(LABEL, bytes);
    }
    let storage = [0x40; 4096];
    let at = |problem: Problem| problem.at(Path::new(LABEL));
    let contents = pickle::parse_program(bytes, storage.len()).map_err(at)?;
    for (info, place) in contents.tensors.iter().zip(&contents.places) {
        let data = match place {
            Place::Plain(range) => storage.get(range.clone()),
            Place::Strided(strided) => strided.contiguous(&storage),
        };
        assert_eq!(data.map(<[u8]>::len), info.byte_len());
    }
    Ok(())
}

/// Uses every tensor of a file.
fn whole(label: &str, bytes: &[u8]) -> Result<(), FormatError> {
    let file = WeightFile::from_bytes(Path::new(label), bytes.to_vec())?;
    for tensor in file.tensors() {
        let data = file.bytes(&tensor.name)?;
        assert_eq!(Some(data.len()), tensor.byte_len());
        let floats = file.to_f32(&tensor.name)?;
        assert_eq!(Some(floats.len()), tensor.checked_elements());
        file.release(&tensor.name);
    }
    let shares = file.types();
    assert_eq!(
        shares.iter().map(|s| s.tensors).sum::<usize>(),
        file.tensors().len()
    );
    Ok(())
}
