//! Captions as the states of a sentence encoder, which picture models look at.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use half::f16;
use medley_formats::{FormatError, WeightFile};
use medley_models::ConfigError;
use medley_models::bert::{Bert, BertConfig};
use medley_nn::{Device, Weights};
use medley_tokenize::{TokenizeError, Tokenizer};
use medley_types::{ErrorCode, ErrorReport};

/// Name of the encoder in the folder of a model.
pub const ENCODER: &str = "encoder.gguf";

/// Captions that are encoded together at most.
const TOGETHER: usize = 32;

/// Why captions cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptionError {
    /// The encoder's file cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is no sentence encoder.
    #[error("{}: {source}", path.display())]
    Config {
        /// The encoder.
        path: std::path::PathBuf,
        /// What is wrong.
        source: Box<ConfigError>,
    },
    /// Another container than GGUF.
    #[error("{}: the encoder of captions is one GGUF file, this is {kind}", path.display())]
    Container {
        /// The encoder.
        path: std::path::PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Its tokenizer cannot be read, or not read a caption.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The model refused.
    #[error(transparent)]
    Model(#[from] ConfigError),
}

impl CaptionError {
    /// As users and programs see it.
    pub fn report(&self) -> ErrorReport {
        let report = ErrorReport::new(ErrorCode::InvalidModel, self.to_string());
        match self {
            Self::Container { .. } | Self::Config { .. } => report.with_hint(
                "make one of a published encoder: medley models convert FOLDER encoder.gguf --type Q8_0",
            ),
            _ => report,
        }
    }
}

/// States of a batch of captions.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptionStates {
    /// `[captions, tokens, width]`, 0 behind a caption's last token.
    pub values: Vec<f32>,
    /// Tokens of the longest caption; 1 if all are empty.
    pub tokens: usize,
    /// Width of a state.
    pub width: usize,
    /// Tokens of each caption, from the first on; 0 for an empty one, which stands for no text.
    pub lengths: Vec<usize>,
}

/// A frozen sentence encoder that remembers what it has encoded.
///
/// States are rounded to half precision, remembered or not, so that a run that goes on sees what the run that was not
/// stopped saw.
pub struct CaptionEncoder {
    model: Bert,
    tokenizer: Tokenizer,
    limit: usize,
    /// Whether the first state stands for the text, or the mean of all.
    first: bool,
    remembered: HashMap<String, Arc<[f16]>>,
    /// Pooled ones.
    vectors: HashMap<String, Arc<[f32]>>,
    /// Bytes of states that may be remembered, and are.
    memory: (usize, usize),
}

impl CaptionEncoder {
    /// Opens the GGUF file of an encoder. Captions count up to `limit` tokens, and `memory` bytes of states are
    /// remembered.
    ///
    /// # Errors
    /// [`CaptionError`] for a file that cannot be read or holds something else.
    pub fn open(path: &Path, limit: usize, memory: usize) -> Result<Self, CaptionError> {
        let file = WeightFile::open(path)?;
        let Some(metadata) = file.metadata() else {
            return Err(CaptionError::Container {
                path: path.to_owned(),
                kind: file.kind().name(),
            });
        };
        let config = BertConfig::from_gguf(metadata).map_err(|source| CaptionError::Config {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let tokenizer = Tokenizer::from_gguf(metadata)?;
        // The number of llama.cpp's pooling by the first token.
        let first = metadata.u64("bert.pooling_type") == Some(2);
        let limit = limit.min(config.max_positions).max(2);
        let weights = Weights::from_file(file, path, &Device::Cpu);
        Ok(Self {
            model: Bert::new(config, &weights)?,
            tokenizer,
            limit,
            first,
            remembered: HashMap::new(),
            vectors: HashMap::new(),
            memory: (memory, 0),
        })
    }

    /// Width of a state.
    pub fn width(&self) -> usize {
        self.model.config().hidden_size
    }

    /// The states of captions, those of their opening and closing marks included.
    ///
    /// # Errors
    /// [`CaptionError::Tokenize`] for a caption that no tokenizer would read.
    pub fn encode(&mut self, captions: &[&str]) -> Result<CaptionStates, CaptionError> {
        let mut missing: Vec<&str> = captions
            .iter()
            .copied()
            .filter(|caption| !is_empty(caption) && !self.remembered.contains_key(*caption))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        let mut fresh: HashMap<&str, Arc<[f16]>> = HashMap::new();
        for some in missing.chunks(TOGETHER) {
            let ids: Vec<Vec<u32>> = some
                .iter()
                .map(|caption| self.ids(caption))
                .collect::<Result<_, _>>()?;
            let borrowed: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            for (caption, states) in some.iter().zip(self.model.forward(&borrowed)?) {
                let states: Arc<[f16]> = states.into_iter().map(f16::from_f32).collect();
                self.remember(caption, &states);
                fresh.insert(caption, states);
            }
        }
        let found: Vec<Option<&Arc<[f16]>>> = captions
            .iter()
            .map(|caption| fresh.get(caption).or_else(|| self.remembered.get(*caption)))
            .collect();
        let width = self.width();
        let lengths: Vec<usize> = found
            .iter()
            .map(|states| states.map_or(0, |states| states.len() / width))
            .collect();
        let tokens = lengths.iter().copied().max().unwrap_or(0).max(1);
        let mut values = vec![0.0; captions.len() * tokens * width];
        for (row, states) in values.chunks_exact_mut(tokens * width).zip(found) {
            for (value, state) in row
                .iter_mut()
                .zip(states.into_iter().flat_map(|s| s.iter()))
            {
                *value = state.to_f32();
            }
        }
        Ok(CaptionStates {
            values,
            tokens,
            width,
            lengths,
        })
    }

    /// Captions as one vector each, `[captions, width]`: pooled as the encoder says and of length 1, or zeros for an empty
    /// one.
    ///
    /// # Errors
    /// As [`CaptionEncoder::encode`].
    pub fn pooled(&mut self, captions: &[&str]) -> Result<Vec<f32>, CaptionError> {
        let mut missing: Vec<&str> = captions
            .iter()
            .copied()
            .filter(|caption| !is_empty(caption) && !self.vectors.contains_key(*caption))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        let mut fresh: HashMap<&str, Arc<[f32]>> = HashMap::new();
        for some in missing.chunks(TOGETHER) {
            let ids: Vec<Vec<u32>> = some
                .iter()
                .map(|caption| self.ids(caption))
                .collect::<Result<_, _>>()?;
            let borrowed: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            for (caption, states) in some.iter().zip(self.model.forward(&borrowed)?) {
                let vector: Arc<[f32]> = self.pool(&states).into();
                if self.has_room(4 * vector.len() + caption.len()) {
                    self.vectors.insert((*caption).to_owned(), vector.clone());
                }
                fresh.insert(caption, vector);
            }
        }
        let zeros: Arc<[f32]> = vec![0.0; self.width()].into();
        let found = captions.iter().flat_map(|caption| {
            let vector = fresh.get(caption).or_else(|| self.vectors.get(*caption));
            vector.unwrap_or(&zeros).iter().copied()
        });
        Ok(found.collect())
    }

    /// The states of a text as one vector of length 1.
    fn pool(&self, states: &[f32]) -> Vec<f32> {
        let width = self.width();
        let rows = match self.first {
            true => &states[..width.min(states.len())],
            false => states,
        };
        let mut vector = vec![0.0f32; width];
        for row in rows.chunks_exact(width) {
            vector.iter_mut().zip(row).for_each(|(v, x)| *v += x);
        }
        let square: f64 = vector.iter().map(|v| f64::from(*v).powi(2)).sum();
        let norm = square.sqrt().max(1e-12);
        vector
            .iter_mut()
            .for_each(|v| *v = (f64::from(*v) / norm) as f32);
        vector
    }

    /// Whether so many bytes more may be remembered, which are counted then.
    fn has_room(&mut self, bytes: usize) -> bool {
        // About what an entry holds beside its numbers.
        const ENTRY: usize = 128;
        let room = self.memory.1 + bytes + ENTRY <= self.memory.0;
        if room {
            self.memory.1 += bytes + ENTRY;
        }
        room
    }

    fn remember(&mut self, caption: &str, states: &Arc<[f16]>) {
        if self.has_room(2 * states.len() + caption.len()) {
            self.remembered.insert(caption.to_owned(), states.clone());
        }
    }

    /// Ids of a caption, its closing mark kept where it is cut.
    fn ids(&self, caption: &str) -> Result<Vec<u32>, TokenizeError> {
        let mut ids = self.tokenizer.encode(caption, true, false)?;
        if ids.len() > self.limit
            && let Some(&last) = ids.last()
        {
            ids.truncate(self.limit - 1);
            ids.push(last);
        }
        Ok(ids)
    }
}

fn is_empty(caption: &str) -> bool {
    caption.trim().is_empty()
}
