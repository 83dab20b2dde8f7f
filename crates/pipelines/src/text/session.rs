use medley_models::decoder::{Input, Wanted};
use medley_nn::Cache;

use super::{PREFILL_CHUNK, TextModel};
use crate::PipelineError;

/// What a model has read so far, so that a conversation goes on without reading it again.
pub struct Session {
    pub(super) cache: Cache,
    pub(super) ids: Vec<u32>,
    /// What a draft model has read of it.
    pub(super) draft: Option<Box<Session>>,
}

impl TextModel {
    /// A session that has read nothing.
    pub fn session(&self) -> Session {
        Session {
            cache: self.cache(),
            ids: Vec::new(),
            draft: None,
        }
    }

    /// How many of `common` tokens that another text begins with can be taken over from where they were read for this
    /// one, so that the text comes out as if all had been read for it. Where angles follow the length of a sequence
    /// ([`medley_models::decoder::DecoderConfig::steady_positions`]), it must go on at a border between chunks.
    pub(super) fn reusable(&self, common: usize) -> usize {
        match self.decoder.config().steady_positions() {
            None => common,
            Some(steady) => common.min(steady) / PREFILL_CHUNK * PREFILL_CHUNK,
        }
    }
}

impl Session {
    /// Tokens that the cache holds.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Keeps what `ids` begins with, less its last token, whose logits are wanted; gives how many tokens that are.
    pub(super) fn keep(&mut self, model: &TextModel, ids: &[u32]) -> Result<usize, PipelineError> {
        let common = common_prefix(&self.ids, ids).min(ids.len().saturating_sub(1));
        let kept = model.reusable(common);
        self.truncate(kept)?;
        Ok(kept)
    }

    /// Reads `ids` from the beginning, keeping what the cache already holds of them, and gives the logits after the
    /// last. `ids` must not be empty.
    pub fn read(&mut self, model: &TextModel, ids: &[u32]) -> Result<Vec<f32>, PipelineError> {
        let kept = self.keep(model, ids)?;
        let mut logits = Vec::new();
        for chunk in ids[kept..].chunks(PREFILL_CHUNK) {
            let last = self.ids.len() + chunk.len() == ids.len();
            logits = self.step(model, chunk, if last { Wanted::Last } else { Wanted::None })?;
        }
        Ok(logits)
    }

    /// Reads `tokens` behind what is there and gives the wanted logits.
    pub fn step(
        &mut self,
        model: &TextModel,
        tokens: &[u32],
        wanted: Wanted,
    ) -> Result<Vec<f32>, PipelineError> {
        let mut inputs = [Input {
            tokens,
            cache: &mut self.cache,
            wanted,
        }];
        let logits = model.decoder.forward(&mut inputs)?.remove(0);
        self.ids.extend_from_slice(tokens);
        Ok(logits)
    }

    /// Forgets the tokens from `len` on.
    pub fn truncate(&mut self, len: usize) -> Result<(), PipelineError> {
        self.cache
            .truncate(len)
            .map_err(medley_models::ConfigError::from)?;
        self.ids.truncate(len);
        Ok(())
    }

    /// A session that has read the first `len` tokens of this one; their memory is shared.
    pub fn fork(&self, len: usize) -> Result<Self, PipelineError> {
        let len = len.min(self.ids.len());
        Ok(Self {
            cache: self
                .cache
                .fork(len)
                .map_err(medley_models::ConfigError::from)?,
            ids: self.ids[..len].to_vec(),
            draft: None,
        })
    }
}

/// How many tokens two texts have in common at their beginning.
pub(super) fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
