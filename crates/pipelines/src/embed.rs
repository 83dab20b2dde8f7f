//! Sentence embeddings.

use std::path::Path;

use medley_formats::WeightFile;
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
}

/// Sentences that are encoded together at most.
const BATCH: usize = 32;

impl EmbeddingModel {
    /// Loads a folder with `config.json`, `tokenizer.json` and weights; `1_Pooling/config.json` and
    /// `sentence_bert_config.json` of sentence-transformers say how states are pooled and how long a text may be.
    pub fn load(path: &Path) -> Result<Self, PipelineError> {
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
        let said = optional("sentence_bert_config.json")?
            .and_then(|c| c.get("max_seq_length").and_then(Value::as_u64))
            .map_or(usize::MAX, |n| n as usize);
        let limit = said.min(config.max_positions).max(2);
        let weights = Weights::from_file(WeightFile::open(path)?, path, &Device::Cpu);
        Ok(Self {
            model: Bert::new(config, &weights)?,
            tokenizer: Tokenizer::from_file(folder)?,
            pooling,
            limit,
        })
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
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            let ids: Vec<Vec<u32>> = batch
                .iter()
                .map(|t| self.ids(t))
                .collect::<Result<_, _>>()?;
            let borrowed: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            vectors.extend(
                self.model
                    .forward(&borrowed)?
                    .iter()
                    .map(|states| self.pool(states)),
            );
        }
        Ok(vectors)
    }

    /// Ids of a text, its closing mark kept where it is cut.
    fn ids(&self, text: &str) -> Result<Vec<u32>, PipelineError> {
        let mut ids = self.tokenizer.encode(text, true, false)?;
        if ids.len() > self.limit
            && let Some(&last) = ids.last()
        {
            ids.truncate(self.limit - 1);
            ids.push(last);
        }
        Ok(ids)
    }

    fn pool(&self, states: &[f32]) -> Vec<f32> {
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
