//! The fast chain leaves the same tokens with the same probabilities as the plain one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use common::{Random, assert_plausible, chi_square, reference};
use medley_sampling::{Dry, Sampler, SamplerConfig, SamplingError, TokenMask, top_logprobs};

/// Everything off: a start for cases that turn on one filter.
fn plain() -> SamplerConfig {
    SamplerConfig::unfiltered(0)
}

fn single_filters() -> Vec<(&'static str, SamplerConfig)> {
    let mut cases = vec![("no filter", plain())];
    let mut case = |name, change: &dyn Fn(&mut SamplerConfig)| {
        let mut config = plain();
        change(&mut config);
        cases.push((name, config));
    };
    case("temperature 0.6", &|c| c.temperature = 0.6);
    case("temperature 1.7", &|c| c.temperature = 1.7);
    case("top-k", &|c| c.top_k = 7);
    case("top-p", &|c| c.top_p = 0.83);
    case("min-p", &|c| c.min_p = 0.11);
    case("typical", &|c| c.typical_p = 0.71);
    case("repetition", &|c| c.repeat_penalty = 1.6);
    case("frequency", &|c| c.frequency_penalty = 0.4);
    case("presence", &|c| c.presence_penalty = 0.9);
    case("bias", &|c| {
        c.logit_bias = vec![(3, 1.5), (4, f32::NEG_INFINITY)]
    });
    case("dry", &|c| {
        c.dry = Some(Dry {
            sequence_breakers: vec![vec![9], vec![2, 3]],
            ..Dry::default()
        });
    });
    case("defaults", &|c| *c = SamplerConfig::default());
    case("greedy", &|c| *c = SamplerConfig::greedy());
    cases
}

fn random_config(random: &mut Random, vocab: usize) -> SamplerConfig {
    let id = |random: &mut Random| random.below(vocab) as u32;
    SamplerConfig {
        temperature: random.pick(&[0.0, 0.3, 0.8, 1.0, 1.3, 5.0]),
        top_k: random.pick(&[0, 0, 1, 3, 40, 200, 5000]),
        top_p: random.pick(&[1.0, 1.0, 0.0, 0.31, 0.913, 0.9991]),
        min_p: random.pick(&[0.0, 0.0, 1.0, 0.051, 0.0003]),
        typical_p: random.pick(&[1.0, 1.0, 0.0, 0.213, 0.9017]),
        repeat_penalty: random.pick(&[1.0, 1.1, 0.7]),
        repeat_last_n: random.pick(&[0, 5, 64, -1]),
        frequency_penalty: random.pick(&[0.0, 0.3, -0.2]),
        presence_penalty: random.pick(&[0.0, 0.7]),
        dry: random.pick(&[None, Some(())]).map(|()| Dry {
            multiplier: 0.7,
            base: 1.3,
            allowed_length: 1 + random.below(3),
            penalty_last_n: random.pick(&[-1, 0, 17]),
            sequence_breakers: vec![vec![id(random)], vec![id(random), id(random)]],
        }),
        logit_bias: vec![(id(random), 2.0)],
        logprobs: false,
        seed: 0,
    }
}

/// A text in which sequences come back.
fn random_text(random: &mut Random, vocab: usize) -> Vec<u32> {
    let kinds = 1 + random.below(vocab.min(6));
    (0..random.below(80))
        .map(|_| random.below(kinds) as u32)
        .collect()
}

#[test]
fn a_thousand_random_configurations_match_the_plain_chain() {
    let mut random = Random(2026);
    for round in 0..1500 {
        let vocab = random.pick(&[1, 2, 17, 64, 65, 300, 3000]);
        let config = random_config(&mut random, vocab);
        let mut logits = {
            let spread = random.pick(&[0.5, 3.0, 9.0]);
            random.logits(vocab, spread)
        };
        if round % 3 == 0 {
            // Many ties.
            logits
                .iter_mut()
                .for_each(|x| *x = (*x * 2.0).round() / 2.0);
        }
        let text = random_text(&mut random, vocab);
        let allowed: Vec<u32> = (0..vocab as u32).filter(|_| random.below(4) == 0).collect();
        let mask = TokenMask::of(&allowed, vocab);
        let mask = (round % 2 == 0 && !allowed.is_empty()).then_some(&mask);
        let mut sampler = Sampler::new(&config, vocab).unwrap();
        sampler.observe(&text);
        let got = sampler.distribution(&logits, mask).unwrap();
        let want = reference(&config, &text, &logits, mask);
        let ids = |d: &[(u32, f64)]| {
            d.iter()
                .filter(|t| t.1 > 1e-30)
                .map(|t| t.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ids(got.entries()),
            ids(&want),
            "round {round}: {config:?} after {text:?}"
        );
        for (&(id, p), q) in want.iter().map(|t| (t, got.probability(t.0))) {
            assert!(
                (p - q).abs() <= 2e-6 * p + 1e-12,
                "round {round}, token {id}: {p} or {q}"
            );
        }
        let total: f64 = got.entries().iter().map(|t| t.1).sum();
        assert!((total - 1.0).abs() < 1e-9);
    }
}

#[test]
fn drawn_frequencies_fit_the_exact_probabilities_of_every_filter() {
    let mut random = Random(11);
    for vocab in [12, 500] {
        let logits = random.logits(vocab, 1.8);
        let text = [1, 2, 3, 5, 1, 2, 3, 6, 5, 5, 8, 1, 2];
        for (name, config) in single_filters() {
            let want = reference(&config, &text, &logits, None);
            let mut counts = vec![0; vocab];
            for seed in 0..20_000 {
                let config = SamplerConfig {
                    seed,
                    ..config.clone()
                };
                let mut sampler = Sampler::new(&config, vocab).unwrap();
                sampler.observe(&text);
                counts[sampler.sample(&logits, None).unwrap().id as usize] += 1;
            }
            let name = format!("{name}, {vocab} tokens");
            assert_plausible(chi_square(&counts, &want), &name);
        }
    }
}

#[test]
fn successive_draws_of_one_sampler_are_independent() {
    let mut random = Random(12);
    let logits = random.logits(6, 1.0);
    let config = plain();
    let single = reference(&config, &[], &logits, None);
    let mut sampler = Sampler::new(&config, 6).unwrap();
    let mut pairs = vec![0; 36];
    for _ in 0..20_000 {
        let first = sampler.sample(&logits, None).unwrap().id;
        let second = sampler.sample(&logits, None).unwrap().id;
        pairs[(first * 6 + second) as usize] += 1;
    }
    let want: Vec<(u32, f64)> = single
        .iter()
        .flat_map(|a| single.iter().map(move |b| (a.0 * 6 + b.0, a.1 * b.1)))
        .collect();
    assert_plausible(chi_square(&pairs, &want), "pairs");
}

/// Figures of llama.cpp's own test of its DRY sampler (tests/test-sampling.cpp).
#[test]
fn dry_gives_llama_cpps_probabilities() {
    type Case<'a> = (f32, f32, usize, i32, &'a [u32], &'a [&'a [u32]], &'a [f64]);
    let cases: [Case; 4] = [
        (
            1.0,
            1.1,
            2,
            5,
            &[0, 1, 2, 0, 1],
            &[],
            &[0.296923, 0.296923, 0.109232, 0.296923],
        ),
        (1.0, 1.1, 2, 6, &[0, 1, 3, 4, 0, 1], &[&[3]], &[0.2; 5]),
        (
            2.0,
            1.1,
            2,
            5,
            &[0, 1, 2, 0, 1],
            &[],
            &[0.241818, 0.241818, 0.032727, 0.241818, 0.241818],
        ),
        (1.0, 1.1, 4, 7, &[0, 1, 2, 3, 4, 0, 1], &[], &[0.2; 5]),
    ];
    for (multiplier, base, allowed_length, penalty_last_n, text, breakers, want) in cases {
        let config = SamplerConfig {
            dry: Some(Dry {
                multiplier,
                base,
                allowed_length,
                penalty_last_n,
                sequence_breakers: breakers.iter().map(|b| b.to_vec()).collect(),
            }),
            ..plain()
        };
        let mut sampler = Sampler::new(&config, want.len()).unwrap();
        sampler.observe(text);
        let got = sampler.distribution(&vec![0.0; want.len()], None).unwrap();
        for ((id, p), want) in got.entries().iter().zip(want) {
            assert!((p - want).abs() < 1e-5, "token {id}: {p}, not {want}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let run = |seed| {
        let config = SamplerConfig {
            seed,
            repeat_penalty: 1.1,
            ..SamplerConfig::default()
        };
        let mut random = Random(5);
        let mut sampler = Sampler::new(&config, 1000).unwrap();
        (0..64)
            .map(|_| sampler.sample(&random.logits(1000, 2.0), None).unwrap().id)
            .collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    // Held fast, so that neither a platform nor a change can alter texts unseen.
    assert_eq!(run(1)[..8], [379, 656, 223, 301, 549, 678, 64, 604]);
}

#[test]
fn greedy_takes_the_first_of_the_best() {
    let mut logits = vec![-0.5; 300];
    for id in [130, 131, 290] {
        logits[id] = 2.0;
    }
    let mut sampler = Sampler::new(&SamplerConfig::greedy(), 300).unwrap();
    assert_eq!(sampler.sample(&logits, None).unwrap().id, 130);
    let mask = TokenMask::of(&[131, 290], 300);
    assert_eq!(sampler.sample(&logits, Some(&mask)).unwrap().id, 131);
    // Zero and minus zero tie.
    let mut sampler = Sampler::new(&SamplerConfig::greedy(), 2).unwrap();
    assert_eq!(sampler.sample(&[-0.0, 0.0], None).unwrap().id, 0);
}

#[test]
fn log_probabilities_are_those_of_the_model_not_of_the_filters() {
    let mut random = Random(3);
    let logits = random.logits(100, 2.0);
    let config = SamplerConfig {
        temperature: 2.0,
        top_k: 3,
        logit_bias: vec![(7, 9.0)],
        logprobs: true,
        ..SamplerConfig::default()
    };
    let mut sampler = Sampler::new(&config, 100).unwrap();
    let all = top_logprobs(&logits, 100);
    for _ in 0..20 {
        let sampled = sampler.sample(&logits, None).unwrap();
        let (_, want) = *all.iter().find(|t| t.0 == sampled.id).unwrap();
        assert!((sampled.logprob.unwrap() - want).abs() < 1e-6);
    }
    assert!((all.iter().map(|t| f64::from(t.1).exp()).sum::<f64>() - 1.0).abs() < 1e-5);
}

#[test]
fn broken_logits_are_an_error_and_leave_the_sampler_as_it_was() {
    for config in [SamplerConfig::default(), SamplerConfig::greedy()] {
        let mut sampler = Sampler::new(&config, 3).unwrap();
        let mut fresh = sampler.clone();
        let error = sampler.sample(&[0.0, f32::NAN, 1.0], None).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the model gave the logit NaN for token 1")
        );
        let error = sampler
            .sample(&[0.0, 1.0, f32::INFINITY], None)
            .unwrap_err();
        assert!(error.to_string().contains("logit inf for token 2"));
        let error = sampler.sample(&[0.0, 1.0], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 logits were given, but the vocabulary has 3 tokens"
        );
        let none = [f32::NEG_INFINITY; 3];
        assert_eq!(
            sampler.sample(&none, None),
            Err(SamplingError::NothingAllowed)
        );
        let mask = TokenMask::none(3);
        let logits = [0.1, 0.2, 0.3];
        assert_eq!(
            sampler.sample(&logits, Some(&mask)),
            Err(SamplingError::NothingAllowed)
        );
        assert_eq!(sampler.sample(&logits, None), fresh.sample(&logits, None));
        // A single -inf is a token that cannot be chosen, and no error.
        let mask = TokenMask::of(&[0, 1], 3);
        let logits = [f32::NEG_INFINITY, -900.0, 5.0];
        assert_eq!(sampler.sample(&logits, Some(&mask)).unwrap().id, 1);
    }
}

#[test]
fn extreme_values_never_panic() {
    let values = [
        0.0,
        f32::MAX,
        f32::MIN,
        1e-45,
        -1e-45,
        f32::NEG_INFINITY,
        88.0,
    ];
    let mut random = Random(77);
    for _ in 0..3000 {
        let vocab = 1 + random.below(130);
        let logits: Vec<f32> = (0..vocab).map(|_| random.pick(&values)).collect();
        let mut config = random_config(&mut random, vocab);
        config.temperature = random.pick(&[0.0, 1e-45, 1e-3, 1.0, 100.0]);
        config.repeat_penalty = random.pick(&[f32::MIN_POSITIVE, 1.0, 100.0]);
        config.min_p = random.pick(&[0.0, 1e-45, 1.0]);
        let text = random_text(&mut random, vocab);
        let mut sampler = Sampler::new(&config, vocab).unwrap();
        sampler.observe(&text);
        match sampler.sample(&logits, None) {
            Ok(token) => assert!(logits[token.id as usize] > f32::NEG_INFINITY),
            Err(error) => assert_eq!(error, SamplingError::NothingAllowed),
        }
    }
}
