//! How fast models train on this machine.

use std::time::Instant;

use medley_nn::Parameters;
use medley_nn::train::Compute;

use crate::{Objective, OptimiserSettings, Result, Schedule, StepSettings, Trainer};

/// What was timed.
#[derive(Clone, Debug)]
pub struct Speed {
    /// Seconds of each step: forward, backward, clipping, AdamW.
    pub seconds: Vec<f64>,
    /// Tokens or pictures of a step.
    pub units: usize,
    /// Losses, the first step's included.
    pub losses: Vec<f64>,
    /// Numbers of all parameters.
    pub parameters: usize,
}

/// Times a step on each batch but the first.
pub(crate) fn timed<O: Objective>(
    mut objective: O,
    parameters: Parameters,
    batches: impl Iterator<Item = O::Batch>,
    compute: Compute,
    units: usize,
) -> Result<Speed> {
    let count = parameters.count();
    let settings = StepSettings {
        optimiser: OptimiserSettings {
            beta2: 0.999,
            ..OptimiserSettings::default()
        },
        schedule: Schedule::constant(1e-3),
        clip: Some(1.0),
        compute,
        ema: None,
    };
    let mut trainer = Trainer::new(parameters, settings)?;
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for batch in batches {
        let start = Instant::now();
        let report = trainer.step(&mut objective, std::slice::from_ref(&batch))?;
        seconds.push(start.elapsed().as_secs_f64());
        losses.push(report.loss);
    }
    seconds.drain(..1.min(seconds.len()));
    Ok(Speed {
        seconds,
        units,
        losses,
        parameters: count,
    })
}
