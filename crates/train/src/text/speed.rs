//! How fast a decoder trains on this machine.

use std::time::Instant;

use medley_nn::Device;
use medley_nn::train::Compute;

use super::{DecoderShape, NextToken, TokenBatch};
use crate::{OptimiserSettings, Result, Schedule, StepSettings, Trainer, random};

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

/// What was timed.
#[derive(Clone, Debug)]
pub struct Speed {
    /// Seconds of each step: forward, backward, clipping, optimiser.
    pub seconds: Vec<f64>,
    /// Tokens of a step.
    pub tokens: usize,
    /// Losses, the first step's included.
    pub losses: Vec<f64>,
    /// Numbers of all parameters.
    pub parameters: usize,
}

/// Times steps from fresh weights.
pub fn measure(settings: &SpeedSettings) -> Result<Speed> {
    let shape = settings.shape;
    shape.check()?;
    let tensors = shape.fresh(0);
    let (decoder, parameters) =
        medley_models::decoder::trainable(&tensors, &shape.config(), &Device::Cpu)?;
    drop(tensors);
    let count = parameters.count();
    let mut objective = NextToken {
        decoder,
        device: Device::Cpu,
    };
    let step = StepSettings {
        optimiser: OptimiserSettings {
            beta2: 0.999,
            ..OptimiserSettings::default()
        },
        schedule: Schedule::constant(1e-3),
        clip: Some(1.0),
        compute: settings.compute,
        ema: None,
    };
    let mut trainer = Trainer::new(parameters, step)?;
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for number in 0..=settings.steps {
        let batch = random_batch(settings, number as u64);
        let start = Instant::now();
        let report = trainer.step(&mut objective, std::slice::from_ref(&batch))?;
        seconds.push(start.elapsed().as_secs_f64());
        losses.push(report.loss);
    }
    seconds.remove(0);
    Ok(Speed {
        seconds,
        tokens: settings.batch * settings.length,
        losses,
        parameters: count,
    })
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
