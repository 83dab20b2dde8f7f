//! A curve of 200 steps of flow matching against that of PyTorch (golden/train/denoise.py): the same first weights,
//! pictures, noise and captions in the same order.

use crate::common::{farthest, holds};
use medley_models::dit::{Dit, DitConfig};
use medley_nn::train::Compute;
use medley_nn::weights::Tensors;
use medley_nn::{Device, Parameters, Tensor, Weights};
use medley_testkit::case::golden;
use medley_testkit::fill::fill;
use medley_train::image::{NoisyBatch, denoising_loss};
use medley_train::{Objective, OptimiserSettings, Result, Schedule, StepSettings, Trainer};
use serde_json::Value;

const STEPS: usize = 200;
const BATCH: usize = 4;
const TOKENS: usize = 5;
const PICTURES: usize = 6;

struct Flow(Dit);

impl Objective for Flow {
    type Batch = NoisyBatch;

    fn loss(&mut self, batch: &NoisyBatch) -> Result<Tensor> {
        denoising_loss(&self.0, batch)
    }
}

fn batch(c: &DitConfig, step: usize) -> NoisyBatch {
    let [height, width] = c.sample_size;
    let each = c.channels * height * width;
    let noise = fill(&format!("noise.{step}"), BATCH * each, 0.0, 2.0);
    let sigmas = fill(&format!("sigma.{step}"), BATCH, 0.5, 0.5);
    let (mut noisy, mut target) = (Vec::new(), Vec::new());
    let (mut text, mut lengths) = (Vec::new(), Vec::new());
    for i in 0..BATCH {
        let n = (step * BATCH + i) % PICTURES;
        let picture = fill(&format!("picture.{n}"), each, 0.0, 1.0);
        let noise = &noise[i * each..][..each];
        let s = sigmas[i];
        noisy.extend(
            picture
                .iter()
                .zip(noise)
                .map(|(x, e)| (1.0 - s) * x + s * e),
        );
        target.extend(picture.iter().zip(noise).map(|(x, e)| e - x));
        text.extend(fill(&format!("text.{n}"), TOKENS * c.text_width, 0.0, 1.0));
        lengths.push(n % (TOKENS + 1));
    }
    let states = Tensor::from_vec(text, (BATCH, TOKENS, c.text_width), &Device::Cpu).unwrap();
    NoisyBatch {
        shape: [BATCH, c.channels, 1, height, width],
        noisy,
        target,
        timesteps: sigmas.iter().map(|s| s * 1000.0).collect(),
        known: Vec::new(),
        weights: None,
        text: Some((states, lengths)),
    }
}

/// The largest difference from the reference's losses, as a share of them.
fn difference(compute: Compute) -> f64 {
    let text = std::fs::read_to_string(golden("train").join("denoise.json")).unwrap();
    let case: Value = serde_json::from_str(&text).unwrap();
    let config = DitConfig::from_json(&case["config"]).unwrap();
    let tensors: Tensors = case["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| {
            let name = t["name"].as_str().unwrap();
            let shape: Vec<usize> = serde_json::from_value(t["shape"].clone()).unwrap();
            let number = |key: &str| t[key].as_f64().unwrap() as f32;
            let count = shape.iter().product();
            let values = fill(name, count, number("mean"), number("scale"));
            (name.to_owned(), (shape, values))
        })
        .collect();
    let parameters = Parameters::new(&tensors, |_| 0.0, &Device::Cpu).unwrap();
    let weights = Weights::from_vars(parameters.vars(), &Device::Cpu);
    let mut objective = Flow(Dit::new(config.clone(), &weights).unwrap());
    let settings = StepSettings {
        optimiser: OptimiserSettings::default(),
        schedule: Schedule {
            peak: 1e-3,
            warm_up: 20,
            steps: STEPS as u64,
            floor: 0.1,
        },
        clip: Some(1.0),
        compute,
        ema: None,
    };
    let mut trainer = Trainer::new(parameters, settings).unwrap();
    let losses: Vec<f64> = serde_json::from_value(case["losses"].clone()).unwrap();
    assert_eq!(losses.len(), STEPS);
    assert!(losses[STEPS - 1] < 0.8 * losses[0], "something is learned");
    farthest(&mut trainer, &mut objective, &losses, |step| {
        batch(&config, step)
    })
}

#[test]
fn the_curve_is_that_of_pytorch() {
    holds(difference, Compute::F32, 0.02);
    holds(difference, Compute::Plain, 0.02);
}

#[test]
fn in_bf16_the_curve_is_near() {
    holds(difference, Compute::Bf16, 0.05);
}
