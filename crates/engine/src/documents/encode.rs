//! Vectors of passages and questions, wherever the model that makes them runs.

use crate::{EmbeddingModel, EngineError, Result};

/// A model that embeds.
pub trait Encoder: Send + Sync {
    /// Its name; vectors of models with different names are not compared.
    fn name(&self) -> &str;

    /// One vector of length 1 per text; texts that are too long are cut.
    ///
    /// # Errors
    /// [`EngineError::Encoding`].
    fn encode(&self, texts: &[String]) -> Result<Vec<Vec<f32>>>;
}

/// A model in this process, used by one caller.
pub struct LocalEncoder {
    model: EmbeddingModel,
    name: String,
}

impl LocalEncoder {
    /// This model, by this name.
    pub fn new(model: EmbeddingModel, name: impl Into<String>) -> Self {
        Self {
            model,
            name: name.into(),
        }
    }
}

impl Encoder for LocalEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn encode(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.model
            .embed(&texts)
            .map_err(|error| EngineError::Encoding {
                reason: error.to_string(),
            })
    }
}
