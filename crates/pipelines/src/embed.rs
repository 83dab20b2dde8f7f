//! Sentence embeddings.

use std::path::Path;

use medley_formats::WeightFile;
use medley_formats::gguf::Metadata;
use medley_models::bert::{Bert, BertConfig};
use medley_nn::{Device, Weights};
use medley_tokenize::Tokenizer;
use serde_json::Value;

use crate::PipelineError;
use crate::text::read_json;

/// How the states of a sentence become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean (MiniLM, nomic).
    Mean,
    /// The first state (BGE).
    Cls,
}

/// A sentence encoder with its tokenizer.
pub struct EmbeddingModel {
    model: Bert,
    tokenizer: Tokenizer,
    pooling: Pooling,
    limit: usize,
    weight_bytes: u64,
}

/// What a model says of itself: shape, tokenizer, pooling and how many tokens of a text count.
type Described = (BertConfig, Tokenizer, Pooling, Option<usize>);

fn of_gguf(metadata: &Metadata) -> Result<Described, PipelineError> {
    let config = BertConfig::from_gguf(metadata)?;
    // The numbers of llama.cpp's pooling types; files without one are read as those of MiniLM.
    let pooling = match metadata.u64("bert.pooling_type") {
        Some(2) => Pooling::Cls,
        _ => Pooling::Mean,
    };
    let limit = metadata.usize(LIMIT_KEY);
    Ok((config, Tokenizer::from_gguf(metadata)?, pooling, limit))
}

fn of_folder(path: &Path) -> Result<Described, PipelineError> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    };
    let config = BertConfig::from_json(&read_json(&folder.join("config.json"))?)?;
    let optional = |name: &str| -> Result<Option<Value>, PipelineError> {
        let file = folder.join(name);
        if file.exists() {
            read_json(&file).map(Some)
        } else {
            Ok(None)
        }
    };
    let pooling = match optional("1_Pooling/config.json")? {
        Some(p) if p.get("pooling_mode_cls_token").and_then(Value::as_bool) == Some(true) => {
            Pooling::Cls
        }
        _ => Pooling::Mean,
    };
    let limit = optional("sentence_bert_config.json")?
        .and_then(|c| c.get("max_seq_length").and_then(Value::as_u64))
        .map(|n| n as usize);
    Ok((config, Tokenizer::from_file(folder)?, pooling, limit))
}

/// The key in GGUF for how many tokens of a text count, which llama.cpp has no word for.
pub const LIMIT_KEY: &str = "medley.embedding.max_tokens";

/// Sentences that are encoded together at most.
const BATCH: usize = 32;

impl EmbeddingModel {
    /// Loads a GGUF file, or a folder with `config.json`, `tokenizer.json` and weights; there
    /// `1_Pooling/config.json` and `sentence_bert_config.json` of sentence-transformers say how states are pooled and
    /// how long a text may be.
    pub fn load(path: &Path) -> Result<Self, PipelineError> {
        let file = WeightFile::open(path)?;
        let (config, tokenizer, pooling, said) = match file.metadata() {
            Some(metadata) => of_gguf(metadata)?,
            None => of_folder(path)?,
        };
        let limit = said.unwrap_or(usize::MAX).min(config.max_positions).max(2);
        let weight_bytes = file.total_bytes();
        let weights = Weights::from_file(file, path, &Device::Cpu);
        Ok(Self {
            model: Bert::new(config, &weights)?,
            tokenizer,
            pooling,
            limit,
            weight_bytes,
        })
    }

    /// Bytes of the weights as they are stored, which is about what they hold in memory.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Width of an embedding.
    pub fn width(&self) -> usize {
        self.model.config().hidden_size
    }

    /// Most tokens of a text that count; what is beyond is left out.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// One vector of length 1 per text.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, PipelineError> {
        let states = self.states(texts)?;
        Ok(states.iter().map(|states| self.pool(states)).collect())
    }

    /// Ids of a whole text with its opening and closing mark, however long it is.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, PipelineError> {
        Ok(self.tokenizer.encode(text, true, false)?)
    }

    /// One vector of length 1 per text, of texts that are ids of this model's tokens already, marks included.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] for a text without tokens, with more than [`limit`](Self::limit), or with one that
    /// the model does not have.
    pub fn embed_tokens(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, PipelineError> {
        for ids in texts {
            self.check_tokens(ids)?;
        }
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            let states = self.model.forward(batch)?;
            vectors.extend(states.iter().map(|states| self.pool(states)));
        }
        Ok(vectors)
    }

    /// Refuses what [`embed_tokens`](Self::embed_tokens) would.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`].
    pub fn check_tokens(&self, ids: &[u32]) -> Result<(), PipelineError> {
        let vocabulary = self.model.config().vocab_size;
        let unknown = ids.iter().find(|&&id| id as usize >= vocabulary);
        let problem = match (ids.len(), unknown) {
            (0, _) => "the text has no tokens".to_owned(),
            (n, _) if n > self.limit => {
                format!(
                    "the text has {n} tokens, but the model takes {}",
                    self.limit
                )
            }
            (_, Some(id)) => format!("the text has the token {id}, but the model has {vocabulary}"),
            _ => return Ok(()),
        };
        Err(PipelineError::InvalidRequest(problem))
    }

    /// The states `[tokens, width]` of each text, those of its opening and closing mark included.
    pub fn states(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, PipelineError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            let ids: Vec<Vec<u32>> = batch
                .iter()
                .map(|t| self.ids(t))
                .collect::<Result<_, _>>()?;
            let borrowed: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            vectors.extend(self.model.forward(&borrowed)?);
        }
        Ok(vectors)
    }

    /// As [`states`](Self::states), of texts cut to at most `most` tokens. What denoising models and their training take
    /// as the condition.
    ///
    /// # Errors
    /// As [`states`](Self::states).
    pub fn states_within(
        &self,
        texts: &[&str],
        most: usize,
    ) -> Result<Vec<Vec<f32>>, PipelineError> {
        self.states_behind(self.model.config().layers, texts, most)
    }

    /// As [`states_within`](Self::states_within), the states behind the first `layers` layers.
    ///
    /// # Errors
    /// As [`states`](Self::states).
    pub fn states_behind(
        &self,
        layers: usize,
        texts: &[&str],
        most: usize,
    ) -> Result<Vec<Vec<f32>>, PipelineError> {
        let most = most.clamp(2, self.limit);
        let ids: Vec<Vec<u32>> = texts
            .iter()
            .map(|text| self.ids_within(text, most))
            .collect::<Result<_, _>>()?;
        let borrowed: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        Ok(self.model.forward_through(&borrowed, layers)?)
    }

    /// As [`tokens`](Self::tokens), cut to as many as count, the closing mark kept.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn tokens_within(&self, text: &str) -> Result<Vec<u32>, PipelineError> {
        self.ids(text)
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>, PipelineError> {
        self.ids_within(text, self.limit)
    }

    /// Ids of a text, its closing mark kept where it is cut.
    fn ids_within(&self, text: &str, most: usize) -> Result<Vec<u32>, PipelineError> {
        let mut ids = self.tokenizer.encode(text, true, false)?;
        if ids.len() > most
            && let Some(&last) = ids.last()
        {
            ids.truncate(most - 1);
            ids.push(last);
        }
        Ok(ids)
    }

    /// The states of a text as one vector of length 1.
    pub(crate) fn pool(&self, states: &[f32]) -> Vec<f32> {
        let width = self.width();
        let mut vector = vec![0.0f32; width];
        let rows = match self.pooling {
            Pooling::Cls => &states[..width.min(states.len())],
            Pooling::Mean => states,
        };
        for row in rows.chunks_exact(width) {
            vector.iter_mut().zip(row).for_each(|(v, x)| *v += x);
        }
        let norm = vector
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt()
            .max(1e-12);
        vector
            .iter_mut()
            .for_each(|v| *v = (f64::from(*v) / norm) as f32);
        vector
    }
}
