//! How fast a diffusion transformer trains on this machine.

use medley_models::dit::{Dit, DitConfig};
use medley_nn::train::Compute;
use medley_nn::{Device, Parameters, Tensor, Weights};
use medley_sampling::diffusion::Prediction;
use serde_json::json;

use super::{Denoising, Mixing, NoisyBatch, Times, denoising_loss};
use crate::initial::fresh;
use crate::random::{Purpose, normal};
use crate::speed::{Speed, timed};
use crate::{Objective, Result};

/// Tokens of a caption.
const TOKENS: usize = 12;

/// The transformer that is timed: 9.4 million parameters, 32 × 32 pixels in 64 tokens.
fn shape() -> Result<DitConfig> {
    Ok(DitConfig::from_json(&json!({
        "model_type": "dit", "channels": 3, "sample_size": 32, "patch_size": 4,
        "hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 4, "intermediate_size": 1024,
        "text": "cross", "text_width": 384, "shared_modulation": true,
    }))?)
}

/// A transformer alone.
struct Alone(Dit);

impl Objective for Alone {
    type Batch = NoisyBatch;

    fn loss(&mut self, batch: &NoisyBatch) -> Result<Tensor> {
        denoising_loss(&self.0, batch)
    }
}

/// Times `steps` steps of AdamW from fresh weights, each on `batch` random pictures with captions of random states.
///
/// # Errors
/// [`Error::NotFinite`](crate::Error::NotFinite) where a loss is no number.
pub fn measure(batch: usize, steps: usize, compute: Compute) -> Result<Speed> {
    let shape = shape()?;
    let parameters = Parameters::new(&fresh(shape.parameters(), 0), |_| 0.0, &Device::Cpu)?;
    let weights = Weights::from_vars(parameters.vars(), &Device::Cpu);
    let network = Alone(Dit::new(shape.clone(), &weights)?);
    let times = Times::Uniform;
    let rule = Denoising::new(Prediction::Flow, Mixing::Flow { times })?;
    let [height, width] = shape.sample_size;
    let size = [batch, shape.channels, 1, height, width];
    let draws = |number: u64, count: usize| -> Vec<f32> {
        normal(1, Purpose::Noise, number, count)
            .map(|x| x as f32)
            .collect()
    };
    let mut batches = Vec::new();
    for number in 0..=steps as u64 {
        let pictures = draws(number, size.iter().product());
        let mut noisy = rule.mix(&pictures, size, Vec::new(), (0, number), false);
        let states = draws(number, batch * TOKENS * shape.text_width);
        let states = Tensor::from_vec(states, (batch, TOKENS, shape.text_width), &Device::Cpu)
            .map_err(medley_nn::Error::from)?;
        noisy.text = Some((states, vec![TOKENS; batch]));
        batches.push(noisy);
    }
    timed(network, parameters, batches.into_iter(), compute, batch)
}
