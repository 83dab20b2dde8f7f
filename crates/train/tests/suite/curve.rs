//! A curve of 200 steps against that of transformers and PyTorch (golden/train): the same first weights, the same tokens
//! in the same order.

use crate::common::{farthest, holds};
use medley_models::decoder::trainable;
use medley_nn::Device;
use medley_nn::train::Compute;
use medley_nn::weights::Tensors;
use medley_testkit::case::golden;
use medley_testkit::fill::fill;
use medley_train::text::{NextToken, TokenBatch};
use medley_train::{OptimiserSettings, Schedule, StepSettings, Trainer};
use serde_json::Value;

const VOCAB: usize = 64;
const LENGTH: usize = 24;
const BATCH: usize = 4;
const STEPS: usize = 200;

fn token(step: usize, sequence: usize, i: usize) -> u32 {
    let s = step * BATCH + sequence;
    ((s * 7 + i * (1 + s % 3) + (i * i / 11) * (s % 5)) % VOCAB) as u32
}

fn batch(step: usize) -> TokenBatch {
    let rows = |shift: usize| -> Vec<u32> {
        (0..BATCH)
            .flat_map(|s| (0..LENGTH).map(move |i| token(step, s, i + shift)))
            .collect()
    };
    TokenBatch {
        length: LENGTH,
        ids: rows(0),
        targets: rows(1),
    }
}

/// The largest difference from the reference's losses, as a share of them.
fn difference(compute: Compute) -> f64 {
    let text = std::fs::read_to_string(golden("train").join("curve.json")).unwrap();
    let case: Value = serde_json::from_str(&text).unwrap();
    let tensors: Tensors = case["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| {
            let name = t["name"].as_str().unwrap();
            let shape: Vec<usize> = serde_json::from_value(t["shape"].clone()).unwrap();
            let (mean, scale) = if shape.len() == 1 {
                (1.0, 0.0)
            } else {
                (0.0, 0.0625)
            };
            let values = fill(name, shape.iter().product(), mean, scale);
            (name.to_owned(), (shape, values))
        })
        .collect();
    let (decoder, parameters) = trainable(&tensors, &case["config"], &Device::Cpu).unwrap();
    let mut objective = NextToken {
        decoder,
        device: Device::Cpu,
    };
    let settings = StepSettings {
        optimiser: OptimiserSettings::default(),
        schedule: Schedule {
            peak: 3e-3,
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
    assert!(losses[STEPS - 1] < 0.6 * losses[0], "something is learned");
    farthest(&mut trainer, &mut objective, &losses, batch)
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
