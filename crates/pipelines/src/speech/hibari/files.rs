//! What lies in a folder of voices.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use medley_formats::onnx::Graph;
use medley_models::hibari::{Hibari, HibariConfig, Letters, LettersConfig};
use medley_nn::{Device, Weights};
use medley_tokenize::english::{Lexicon, Tagger};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::MARK;
use crate::PipelineError;

/// Largest file of a folder, unpacked.
const MAX_FILE: u64 = 256 << 20;

/// A voice that is here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Voice {
    #[serde(skip)]
    pub name: String,
    pub file: String,
    #[serde(default)]
    pub british: bool,
    /// Whether the package has it; others can be put beside it.
    #[serde(default)]
    bundled: bool,
}

/// Letters and symbols of the network that sounds words out.
#[derive(Deserialize)]
pub(super) struct Alphabet {
    #[serde(rename = "in")]
    letters: Vec<char>,
    #[serde(rename = "out")]
    symbols: Vec<char>,
    slots: usize,
}

impl Alphabet {
    /// The number of a letter; 0 is none.
    pub(super) fn letter(&self, c: char) -> Option<u32> {
        let at = self.letters.binary_search(&c).ok();
        let at = at.or_else(|| self.letters.iter().position(|&l| l == c))?;
        Some(at as u32 + 1)
    }

    pub(super) fn symbol(&self, number: u32) -> Option<char> {
        self.symbols.get((number as usize).checked_sub(1)?).copied()
    }
}

/// The voices whose files are in the folder, bundled ones first.
pub(super) fn voices(folder: &Path) -> Result<Vec<Voice>, PipelineError> {
    let all: BTreeMap<String, Voice> = json(folder, MARK)?;
    let mut here: Vec<Voice> = all
        .into_iter()
        .map(|(name, voice)| Voice { name, ..voice })
        .filter(|voice| {
            let plain = !voice.file.contains(['/', '\\']);
            plain && folder.join(&voice.file).is_file()
        })
        .collect();
    here.sort_by_key(|voice| !voice.bundled);
    match here.is_empty() {
        true => Err(damaged(
            folder,
            MARK,
            "none of its voices is in this folder",
        )),
        false => Ok(here),
    }
}

pub(super) fn symbols(folder: &Path) -> Result<HashMap<char, u32>, PipelineError> {
    json(folder, "vocab.json")
}

pub(super) fn lexicon(folder: &Path, british: bool) -> Result<Lexicon, PipelineError> {
    let accent = if british { "gb" } else { "us" };
    let [first, second] = ["gold", "silver"].map(|kind| format!("lexicon_{accent}_{kind}.json.gz"));
    Lexicon::from_json(&bytes(folder, &first)?, &bytes(folder, &second)?, british)
        .map_err(|e| damaged(folder, &first, e))
}

pub(super) fn tagger(folder: &Path) -> Result<Tagger, PipelineError> {
    const NAME: &str = "tagger.json.gz";
    Tagger::from_json(&bytes(folder, NAME)?).map_err(|e| damaged(folder, NAME, e))
}

pub(super) fn letters(folder: &Path, british: bool) -> Result<(Letters, Alphabet), PipelineError> {
    let name = if british { "oov_gb" } else { "oov" };
    let alphabet: Alphabet = json(folder, &format!("{name}.json"))?;
    let weights = weights(&folder.join(format!("{name}.onnx")))?;
    let config = LettersConfig::from_weights(&weights, alphabet.slots)?;
    Ok((Letters::new(config, &weights)?, alphabet))
}

pub(super) fn network(path: &Path) -> Result<Hibari, PipelineError> {
    let weights = weights(path)?;
    Ok(Hibari::new(
        HibariConfig::from_weights(&weights)?,
        &weights,
    )?)
}

/// The weights of an ONNX file under their own names.
fn weights(path: &Path) -> Result<Weights, PipelineError> {
    let state = Graph::open(path)?.state().map_err(|p| p.at(path))?;
    let tensors = state.into_iter().collect();
    Ok(Weights::from_tensors(tensors, &Device::Cpu))
}

fn json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, PipelineError> {
    serde_json::from_slice(&bytes(folder, name)?).map_err(|e| damaged(folder, name, e))
}

/// The bytes of a file, unpacked where it is packed.
fn bytes(folder: &Path, name: &str) -> Result<Vec<u8>, PipelineError> {
    let file = File::open(folder.join(name)).map_err(|e| damaged(folder, name, e))?;
    let mut out = Vec::new();
    let read = match name.ends_with(".gz") {
        true => GzDecoder::new(file)
            .take(MAX_FILE + 1)
            .read_to_end(&mut out),
        false => file.take(MAX_FILE + 1).read_to_end(&mut out),
    };
    read.map_err(|e| damaged(folder, name, e))?;
    match out.len() as u64 > MAX_FILE {
        true => Err(damaged(folder, name, "it is larger than any such file")),
        false => Ok(out),
    }
}

fn damaged(folder: &Path, name: &str, problem: impl ToString) -> PipelineError {
    PipelineError::File {
        path: folder.join(name),
        problem: problem.to_string(),
    }
}
