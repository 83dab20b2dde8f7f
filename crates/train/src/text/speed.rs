//! How fast a decoder trains on this machine.

use medley_nn::Device;
use medley_nn::train::Compute;

use super::{DecoderShape, NextToken, TokenBatch};
use crate::speed::{Speed, timed};
use crate::{Result, random};

/// What is timed: steps of AdamW over random tokens.
#[derive(Clone, Copy, Debug)]
pub struct SpeedSettings {
    /// The model.
    pub shape: DecoderShape,
    /// Tokens of a sequence.
    pub length: usize,
    /// Sequences of a step.
    pub batch: usize,
    /// Steps that are timed, after one that is not.
    pub steps: usize,
    /// How products are computed.
    pub compute: Compute,
}

/// Times steps from fresh weights.
pub fn measure(settings: &SpeedSettings) -> Result<Speed> {
    let shape = settings.shape;
    shape.check()?;
    let tensors = shape.fresh(0);
    let (decoder, parameters) =
        medley_models::decoder::trainable(&tensors, &shape.config(), &Device::Cpu)?;
    drop(tensors);
    let objective = NextToken {
        decoder,
        device: Device::Cpu,
    };
    let batches = (0..=settings.steps as u64).map(|number| random_batch(settings, number));
    let units = settings.batch * settings.length;
    timed(objective, parameters, batches, settings.compute, units)
}

fn random_batch(settings: &SpeedSettings, number: u64) -> TokenBatch {
    let vocab = settings.shape.vocab as u64;
    let token =
        |i| random::below(vocab, random::bits(0, random::Purpose::Tokens, number, i)) as u32;
    let (mut ids, mut targets) = (Vec::new(), Vec::new());
    for sequence in 0..settings.batch {
        let first = sequence * (settings.length + 1);
        for i in first..first + settings.length {
            ids.push(token(i as u64));
            targets.push(token(i as u64 + 1));
        }
    }
    TokenBatch {
        length: settings.length,
        ids,
        targets,
    }
}
