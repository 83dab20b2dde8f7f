//! Time of one sampling step: `cargo bench -p medley-sampling --bench step`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops when wrong"
)]

use std::time::Instant;

use medley_sampling::{Dry, Sampler, SamplerConfig, TokenMask, log_sum_exp, top_logprobs};

/// Logits as a language model gives them: a wide bell and a few tokens far above it.
fn logits(n: usize, peak: f32, state: &mut u64) -> Vec<f32> {
    let mut uniform = || {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*state >> 40) as f32 / (1u32 << 24) as f32
    };
    (0..n)
        .map(|_| {
            let bell: f32 = (0..6).map(|_| uniform()).sum::<f32>() - 3.0;
            let likely = if uniform() < 40.0 / n as f32 {
                12.0 * uniform()
            } else {
                0.0
            };
            bell * 3.0 + peak * likely
        })
        .collect()
}

fn time(what: &str, mut step: impl FnMut(usize)) {
    let mut times: Vec<f64> = (0..200)
        .map(|i| {
            let start = Instant::now();
            step(i);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "  {what:<44} {:.3} ms (fastest {:.3})",
        times[100], times[0]
    );
}

fn main() {
    for vocab in [49_152, 262_144] {
        println!("{vocab} tokens, median of 200 steps:");
        let mut state = 1;
        let rows: Vec<Vec<f32>> = (0..8).map(|_| logits(vocab, 1.5, &mut state)).collect();
        let flat: Vec<Vec<f32>> = (0..8).map(|_| logits(vocab, 0.0, &mut state)).collect();
        let plain = SamplerConfig::unfiltered(1);
        let defaults = SamplerConfig::default();
        let cases = [
            ("greedy", SamplerConfig::greedy()),
            ("defaults (top-k 40, top-p, min-p)", defaults.clone()),
            (
                "defaults and penalties, DRY",
                SamplerConfig {
                    repeat_penalty: 1.1,
                    dry: Some(Dry::default()),
                    ..defaults
                },
            ),
            ("no filter", plain.clone()),
            (
                "top-p 0.95 alone",
                SamplerConfig {
                    top_p: 0.95,
                    ..plain.clone()
                },
            ),
            (
                "min-p 0.05 alone",
                SamplerConfig {
                    min_p: 0.05,
                    ..plain.clone()
                },
            ),
            (
                "typical 0.95 alone",
                SamplerConfig {
                    typical_p: 0.95,
                    ..plain
                },
            ),
        ];
        for (name, config) in cases {
            let mut sampler = Sampler::new(&config, vocab).unwrap();
            sampler.observe(&(0..2000).map(|i| i % 700).collect::<Vec<_>>());
            time(name, |i| {
                sampler.sample(&rows[i % 8], None).unwrap();
            });
            if name.ends_with("alone") {
                time(&format!("{name}, no likely token"), |i| {
                    sampler.sample(&flat[i % 8], None).unwrap();
                });
            }
        }
        let mut sampler = Sampler::new(&SamplerConfig::default(), vocab).unwrap();
        let few = TokenMask::of(&[5, 900, 40_000], vocab);
        let most = TokenMask::all(vocab);
        time("defaults, mask of three", |i| {
            sampler.sample(&rows[i % 8], Some(&few)).unwrap();
        });
        time("defaults, mask of all", |i| {
            sampler.sample(&rows[i % 8], Some(&most)).unwrap();
        });
        time("log_sum_exp", |i| {
            std::hint::black_box(log_sum_exp(&rows[i % 8]));
        });
        time("top_logprobs 20", |i| {
            std::hint::black_box(top_logprobs(&rows[i % 8], 20));
        });
    }
}
