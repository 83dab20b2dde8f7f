//! Samples per second of the picture models at the sizes that icons are made with, forward alone and with the backward
//! pass: `cargo bench --bench pictures -- [THREADS [MODEL ...]]`. `crates/xtask/peer/pictures.py` is the same in
//! PyTorch.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops when wrong"
)]

use std::time::Instant;

use medley_models::dit::{Condition, Dit, DitConfig, TextKind, TextStates, TimeKind};
use medley_models::parameters::{Init, Parameter};
use medley_models::rrdb::{Rrdb, RrdbConfig};
use medley_models::stylegan2::{Discriminator, Generator, StyleGan2Config};
use medley_models::vae::{Vae, VaeConfig};
use medley_nn::weights::{Tensors, Vars};
use medley_nn::{Device, Tensor, Var, Weights};
use medley_testkit::fill::fill;

// The program's allocator, which keeps the pages of freed activations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

/// Weights for inference and for training.
fn weights(parameters: Vec<Parameter>) -> (usize, Weights, Weights) {
    let (mut tensors, mut vars) = (Tensors::default(), Vars::default());
    let mut count = 0;
    for p in parameters {
        let (mean, scale) = match p.init {
            Init::Ones | Init::NormalAroundOne(_) => (1.0, 0.1),
            Init::Normal(deviation) => (0.0, deviation),
            Init::Uniform(bound) => (0.0, bound),
            Init::Zeros => (0.0, 0.05),
        };
        let value = tensor(&p.name, &p.shape, mean, scale);
        count += value.elem_count();
        let values = value.flatten_all().unwrap().to_vec1().unwrap();
        tensors.insert(p.name.clone(), (p.shape, values));
        vars.insert(p.name, Var::from_tensor(&value).unwrap());
    }
    let inference = Weights::from_tensors(tensors, &Device::Cpu);
    (count, inference, Weights::from_vars(vars, &Device::Cpu))
}

/// Prints what a model does of both.
fn report(
    model: &str,
    batch: usize,
    parameters: usize,
    forward: impl Fn() -> Tensor,
    trained: impl Fn() -> Tensor,
) {
    let alone = seconds(|| {
        forward();
    });
    let both = seconds(|| {
        let loss = trained().sqr().unwrap().mean_all().unwrap();
        loss.backward().unwrap();
    });
    println!(
        "{{\"model\": \"{model}\", \"parameters\": {parameters}, \"threads\": {}, \"batch\": {batch}, \
         \"forward_samples_per_second\": {:.2}, \"both_samples_per_second\": {:.2}}}",
        medley_nn::threads(),
        batch as f64 / alone,
        batch as f64 / both
    );
}

fn dit(batch: usize) {
    let config = DitConfig {
        channels: 3,
        sample_size: [32, 32],
        patch_size: 4,
        stem_channels: Vec::new(),
        unshuffle: 1,
        hidden_size: 256,
        layers: 8,
        heads: 4,
        intermediate_size: 1024,
        text: TextKind::Cross,
        text_width: 384,
        classes: 0,
        shared_modulation: true,
        frames: 1,
        frame_patch: 1,
        time: TimeKind::None,
        loops: false,
        rope_theta: 100.0,
        norm_eps: 1e-6,
    };
    let (count, inference, training) = weights(config.parameters());
    let packed = Dit::new(config.clone(), &inference).unwrap();
    let trained = Dit::new(config, &training).unwrap();
    let x = tensor("x", &[batch, 3, 32, 32], 0.0, 1.0);
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
    let run = |model: &Dit| model.forward(&x, &t, &condition).unwrap();
    report("dit", batch, count, || run(&packed), || run(&trained));
}

fn rrdb(batch: usize) {
    let config = RrdbConfig {
        channels: 3,
        scale: 4,
        features: 64,
        blocks: 4,
        growth: 32,
    };
    let (count, inference, training) = weights(config.parameters());
    let model = Rrdb::new(config.clone(), &inference).unwrap();
    let trained = Rrdb::new(config, &training).unwrap();
    let x = tensor("x", &[batch, 3, 32, 32], 0.5, 0.5);
    let run = |model: &Rrdb| model.forward(&x).unwrap();
    report("rrdb", batch, count, || run(&model), || run(&trained));
}

fn vae(batch: usize) {
    let config = VaeConfig {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 4,
        block_out_channels: vec![64, 128, 128],
        layers_per_block: 1,
        norm_num_groups: 32,
        scaling_factor: 0.18215,
        shift_factor: 0.0,
        use_quant_conv: true,
        use_post_quant_conv: true,
        mid_block_add_attention: true,
    };
    let (count, inference, training) = weights(config.parameters());
    let model = Vae::new(config.clone(), &inference).unwrap();
    let trained = Vae::new(config, &training).unwrap();
    let x = tensor("x", &[batch, 3, 64, 64], 0.0, 1.0);
    let run = |model: &Vae| model.decode(&model.encode(&x).unwrap().mean).unwrap();
    report("vae", batch, count, || run(&model), || run(&trained));
}

fn stylegan2(batch: usize) {
    let config = StyleGan2Config {
        latent: 128,
        style: 128,
        mapping_layers: 4,
        condition: 64,
        channels: 3,
        size: 32,
        channel_base: 2048,
        channel_max: 128,
    };
    let z = tensor("z", &[batch, 128], 0.0, 1.7);
    let condition = tensor("condition", &[batch, 64], 0.0, 1.7);
    let (count, inference, training) = weights(config.generator_parameters());
    let model = Generator::new(config.clone(), &inference).unwrap();
    let trained = Generator::new(config.clone(), &training).unwrap();
    let run = |model: &Generator| model.forward(&z, Some(&condition)).unwrap();
    let name = "stylegan2 generator";
    report(name, batch, count, || run(&model), || run(&trained));
    let x = tensor("x", &[batch, 3, 32, 32], 0.0, 1.0);
    let (count, inference, training) = weights(config.discriminator_parameters());
    let model = Discriminator::new(config.clone(), &inference).unwrap();
    let trained = Discriminator::new(config, &training).unwrap();
    let run = |model: &Discriminator| model.forward(&x, Some(&condition)).unwrap();
    let name = "stylegan2 discriminator";
    report(name, batch, count, || run(&model), || run(&trained));
}

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let threads = args.first().and_then(|a| a.parse().ok()).unwrap_or(2);
    medley_nn::set_threads(threads);
    let wanted = |name: &str| args.len() < 2 || args[1..].iter().any(|a| a == name);
    if wanted("dit") {
        dit(2);
        dit(32);
    }
    if wanted("rrdb") {
        rrdb(1);
        rrdb(8);
    }
    if wanted("vae") {
        vae(4);
    }
    if wanted("stylegan2") {
        stylegan2(16);
    }
}
