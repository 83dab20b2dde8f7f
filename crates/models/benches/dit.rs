//! Samples per second of a diffusion transformer of the icons' size, forward alone and with its backward pass:
//! `cargo bench --bench dit -- [THREADS [BATCH]]`. `crates/xtask/peer/dit.py` is the same in PyTorch.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops when wrong"
)]

use std::time::Instant;

use medley_models::dit::{Condition, Dit, DitConfig, TextKind, TextStates};
use medley_models::parameters::Init;
use medley_nn::weights::Vars;
use medley_nn::{Device, Tensor, Var, Weights};
use medley_testkit::fill::fill;

const TOKENS: usize = 12;
const ROUNDS: usize = 7;

fn tensor(name: &str, shape: &[usize], mean: f32, scale: f32) -> Tensor {
    let values = fill(name, shape.iter().product(), mean, scale);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Median seconds.
fn seconds(mut f: impl FnMut()) -> f64 {
    f();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse().ok())
        .collect();
    let threads = numbers.first().copied().unwrap_or(2);
    let batch = numbers.get(1).copied().unwrap_or(32);
    medley_nn::set_threads(threads);
    let config = DitConfig {
        channels: 3,
        sample_size: [32, 32],
        patch_size: 4,
        hidden_size: 256,
        layers: 8,
        heads: 4,
        intermediate_size: 1024,
        text: TextKind::Cross,
        text_width: 384,
        classes: 0,
        shared_modulation: true,
        rope_theta: 100.0,
        norm_eps: 1e-6,
    };
    let vars: Vars = config
        .parameters()
        .into_iter()
        .map(|p| {
            let (mean, scale) = if p.init == Init::Ones {
                (1.0, 0.1)
            } else {
                (0.0, 0.05)
            };
            let value = tensor(&p.name, &p.shape, mean, scale);
            (p.name, Var::from_tensor(&value).unwrap())
        })
        .collect();
    let count: usize = vars.values().map(|v| v.elem_count()).sum();
    let tensors = vars
        .iter()
        .map(|(name, var)| {
            let values = var.flatten_all().unwrap().to_vec1().unwrap();
            (name.clone(), (var.dims().to_vec(), values))
        })
        .collect();
    let packed = Dit::new(
        config.clone(),
        &Weights::from_tensors(tensors, &Device::Cpu),
    )
    .unwrap();
    let trained = Dit::new(config, &Weights::from_vars(vars, &Device::Cpu)).unwrap();
    let x = tensor("x", &[batch, 3, 32, 32], 0.0, 1.0);
    let target = tensor("target", &[batch, 3, 32, 32], 0.0, 1.0);
    let text = tensor("text", &[batch, TOKENS, 384], 0.0, 1.0);
    let lengths = vec![TOKENS; batch];
    let t: Vec<f32> = (0..batch)
        .map(|i| 1000.0 * i as f32 / batch as f32)
        .collect();
    let condition = Condition {
        text: Some(TextStates {
            states: &text,
            lengths: &lengths,
        }),
        classes: None,
    };
    let forward = seconds(|| {
        packed.forward(&x, &t, &condition).unwrap();
    });
    let both = seconds(|| {
        let y = trained.forward(&x, &t, &condition).unwrap();
        let loss = (y - &target).unwrap().sqr().unwrap().mean_all().unwrap();
        loss.backward().unwrap();
    });
    println!(
        "{{\"parameters\": {count}, \"threads\": {threads}, \"batch\": {batch}, \
         \"forward_samples_per_second\": {:.2}, \"both_samples_per_second\": {:.2}}}",
        batch as f64 / forward,
        batch as f64 / both
    );
}
