//! Whisper models of whisper.cpp (`ggml-*.bin`), the format before GGUF that is still their own.
//!
//! The layout is that of its
//! [converter](https://github.com/ggml-org/whisper.cpp/blob/master/models/convert-pt-to-ggml.py): eleven numbers, the
//! filters of the spectrogram, the vocabulary, then the tensors one after the other.

use std::ops::Range;

use crate::cursor::Cursor;
use crate::dtype::{DType, TensorInfo};
use crate::error::{Problem, quote_bytes};
use crate::gguf::{Array, Metadata, StringArray, Value};

/// "ggml" as a little-endian number.
const MAGIC: [u8; 4] = *b"lmgg";

/// The numbers at the start, by the names under which they are metadata.
const NUMBERS: [&str; 11] = [
    "whisper.vocab_size",
    "whisper.audio.context",
    "whisper.audio.width",
    "whisper.audio.heads",
    "whisper.audio.layers",
    "whisper.text.context",
    "whisper.text.width",
    "whisper.text.heads",
    "whisper.text.layers",
    "whisper.mels",
    "whisper.file_type",
];

/// Largest value of any of them that is believed.
const MAX_NUMBER: u32 = 1 << 20;
const MAX_WORD: u64 = 1024;
const MAX_TENSORS: usize = 1 << 16;

/// What is in a file.
pub(crate) struct Contents {
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) ranges: Vec<Range<usize>>,
    /// The numbers, and the vocabulary under `tokenizer.ggml.tokens`.
    pub(crate) metadata: Metadata,
}

/// Whether a file begins as these do. Language models had the same four bytes, but never 80 or 128 in this place.
pub(crate) fn is_whisper(file: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = file.get(4 + 4 * at..8 + 4 * at)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    file.starts_with(&MAGIC)
        && matches!(number(9), Some(80 | 128))
        && number(4).is_some_and(|layers| (1..=128).contains(&layers))
}

/// Reads where everything is.
pub(crate) fn parse(file: &[u8]) -> Result<Contents, Problem> {
    let mut cursor = Cursor::new(file);
    cursor.take(MAGIC.len(), "the start of the file")?;
    let mut metadata = Metadata::default();
    for name in NUMBERS {
        let number = cursor.u32(name)?;
        Problem::check_limit(name, number.into(), MAX_NUMBER.into())?;
        metadata.insert(name, Value::U32(number));
    }
    let [mels, bins] = [
        cursor.u32("the filters of the spectrogram")?,
        cursor.u32("the filters of the spectrogram")?,
    ];
    let filters = u64::from(mels) * u64::from(bins) * 4;
    cursor.take_u64(filters, "the filters of the spectrogram")?;
    let count = cursor.u32("the number of words")?;
    Problem::check_limit("the number of words", count.into(), MAX_NUMBER.into())?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = cursor.u32("a word")?;
        Problem::check_limit("the length of a word", length.into(), MAX_WORD)?;
        words.push(cursor.take(length as usize, "a word")?);
    }
    let words: StringArray = words.into_iter().collect();
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::Strings(words)));
    let (mut tensors, mut ranges) = (Vec::new(), Vec::new());
    while cursor.left() > 0 {
        Problem::check_limit(
            "the number of tensors",
            tensors.len() as u64,
            MAX_TENSORS as u64,
        )?;
        let (info, range) = tensor(&mut cursor)?;
        tensors.push(info);
        ranges.push(range);
    }
    Ok(Contents {
        tensors,
        ranges,
        metadata,
    })
}

fn tensor(cursor: &mut Cursor<'_>) -> Result<(TensorInfo, Range<usize>), Problem> {
    let rank = cursor.u32("the number of dimensions")?;
    Problem::check_limit("the number of dimensions", rank.into(), 4)?;
    let length = cursor.u32("the length of a tensor's name")?;
    Problem::check_limit("the length of a tensor's name", length.into(), MAX_WORD)?;
    let kind = cursor.u32("the type of a tensor")?;
    let mut shape = (0..rank)
        .map(|_| Ok(cursor.u32("a dimension")? as usize))
        .collect::<Result<Vec<usize>, Problem>>()?;
    // The file has the innermost dimension first.
    shape.reverse();
    let name = cursor.take(length as usize, "the name of a tensor")?;
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(Problem::invalid(
            "the name of a tensor",
            quote_bytes(name),
            "text",
        ));
    };
    let Some(dtype) = DType::from_ggml(kind) else {
        return Err(Problem::unsupported(
            format!("type {kind} of tensor {}", quote_bytes(name)),
            "quantise the model as q5_0 or q8_0, or leave it in f16",
        ));
    };
    let info = TensorInfo {
        name: text.to_owned(),
        dtype,
        shape,
    };
    let Some(bytes) = info.byte_len() else {
        return Err(Problem::invalid(
            format!("the shape of tensor {}", quote_bytes(name)),
            format!("{:?}", info.shape),
            "one of whole blocks",
        ));
    };
    let start = cursor.pos();
    cursor.take(bytes, "a tensor")?;
    Ok((info, start..cursor.pos()))
}
