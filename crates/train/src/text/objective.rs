//! The next token.

use medley_models::decoder::Decoder;
use medley_nn::train::IGNORED;
use medley_nn::{Device, Tensor};

use crate::{Error, Objective, Result};

/// Sequences of one length, and for each of their tokens the one that is to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    /// Tokens of one sequence.
    pub length: usize,
    /// Sequences, one after the other.
    pub ids: Vec<u32>,
    /// As many targets; [`IGNORED`] where no loss is taken.
    pub targets: Vec<u32>,
}

impl TokenBatch {
    /// Targets that count.
    pub fn counted(&self) -> usize {
        self.targets.iter().filter(|&&t| t != IGNORED).count()
    }
}

/// The mean cross entropy of next tokens, in nats.
pub struct NextToken {
    /// The model in training.
    pub decoder: Decoder,
    /// Where its parameters are.
    pub device: Device,
}

impl Objective for NextToken {
    type Batch = TokenBatch;

    fn loss(&mut self, batch: &TokenBatch) -> Result<Tensor> {
        self.loss_of(batch)
    }
}

impl NextToken {
    /// The loss without changing anything.
    pub fn loss_of(&self, batch: &TokenBatch) -> Result<Tensor> {
        let length = batch.length.max(1);
        if batch.ids.len() != batch.targets.len() || !batch.ids.len().is_multiple_of(length) {
            return Err(Error::Setting(format!(
                "{} tokens with {} targets are no sequences of {length}",
                batch.ids.len(),
                batch.targets.len()
            )));
        }
        let shape = (batch.ids.len() / length, length);
        let ids = Tensor::from_vec(batch.ids.clone(), shape, &Device::Cpu);
        let ids = ids.map_err(medley_nn::Error::from)?;
        Ok(self.decoder.loss(&ids, &batch.targets)?)
    }
}
