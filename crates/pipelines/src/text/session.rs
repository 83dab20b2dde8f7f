use medley_models::decoder::{Input, Wanted};
use medley_nn::Cache;
use medley_types::Event;

use super::{PREFILL_CHUNK, TextModel};
use crate::{PipelineError, Run};

/// What a model has read so far, so that a conversation goes on without reading it again.
pub struct Session {
    cache: Cache,
    ids: Vec<u32>,
}

impl TextModel {
    /// A session that has read nothing.
    pub fn session(&self) -> Session {
        Session {
            cache: self.cache(),
            ids: Vec::new(),
        }
    }
}

impl Session {
    /// Tokens that the cache holds.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Reads `ids` from the beginning, keeping what the cache already holds of them, and gives the logits after the
    /// last. `None` where the run was cancelled meanwhile. `ids` must not be empty.
    pub fn read(
        &mut self,
        model: &TextModel,
        ids: &[u32],
        run: &mut Run,
    ) -> Result<Option<Vec<f32>>, PipelineError> {
        let common = self.ids.iter().zip(ids).take_while(|(a, b)| a == b).count();
        let keep = common.min(ids.len().saturating_sub(1));
        self.cache
            .truncate(keep)
            .map_err(medley_models::ConfigError::from)?;
        self.ids.truncate(keep);
        let mut logits = Vec::new();
        for chunk in ids[keep..].chunks(PREFILL_CHUNK) {
            if run.cancel.is_cancelled() {
                return Ok(None);
            }
            let last = self.ids.len() + chunk.len() == ids.len();
            logits = self.step(model, chunk, if last { Wanted::Last } else { Wanted::None })?;
            run.emit(Event::Progress {
                stage: "prefill".into(),
                done: self.ids.len(),
                total: ids.len(),
            });
        }
        Ok(Some(logits))
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
}
