//! The decoder against transformers, on tiny seeded configurations of every architecture.

use medley_models::decoder::{Decoder, Input, Wanted, from_tensors, trainable};
use medley_nn::train::{Compute, Gradients, IGNORED, backward, with_compute};
use medley_nn::{Cache, Device, KvType, Tensor};
use medley_testkit::{Case, Tolerance, assert_close};
use serde_json::Value;

const CASES: &[&str] = &[
    "llama",
    "llama_bias",
    "llama_dynamic",
    "llama_linear",
    "llama_llama3",
    "llama_yarn",
    "llama_yarn_tuned",
    "smollm",
    "mistral",
    "mistral_nemo",
    "smollm3",
    "qwen2",
    "qwen2_window",
    "qwen3",
    "gemma2",
    "gemma3_text",
    "gemma3_scaled",
    "phi3",
    "phi3_longrope",
    "granite",
    "olmo2",
    "mixtral",
    "qwen3_moe",
    "qwen3_moe_dense",
];

fn tolerance() -> Tolerance {
    Tolerance::absolute(1e-4)
}

struct Golden {
    name: &'static str,
    case: Case,
    ids: Vec<u32>,
    model: Decoder,
}

fn golden(name: &'static str) -> Golden {
    let case = Case::open(&format!("decoder/{name}")).unwrap();
    let config = case.config().unwrap();
    let model = from_tensors(case.weights().unwrap(), &config, &Device::Cpu, false).unwrap();
    let ids = case.ids("input_ids").unwrap();
    Golden {
        name,
        case,
        ids,
        model,
    }
}

fn read(model: &Decoder, cache: &mut Cache, tokens: &[u32]) -> Vec<f32> {
    model
        .forward(&mut [Input {
            tokens,
            cache,
            wanted: Wanted::All,
        }])
        .unwrap()
        .remove(0)
}

/// Logits of both sequences, read together in one step.
fn together(model: &Decoder, ids: &[u32]) -> Vec<f32> {
    let (first, second) = ids.split_at(ids.len() / 2);
    let (mut a, mut b) = (model.cache(KvType::F32, 64), model.cache(KvType::F32, 64));
    let mut inputs = [
        Input {
            tokens: first,
            cache: &mut a,
            wanted: Wanted::All,
        },
        Input {
            tokens: second,
            cache: &mut b,
            wanted: Wanted::All,
        },
    ];
    model.forward(&mut inputs).unwrap().concat()
}

#[test]
fn logits_are_those_of_transformers() {
    for name in CASES {
        let g = golden(name);
        assert_close(
            g.name,
            &together(&g.model, &g.ids),
            g.case.f32s("logits").unwrap(),
            tolerance(),
        );
    }
}

#[test]
fn logits_with_a_cache_are_those_without_it_bit_for_bit() {
    for name in CASES {
        let g = golden(name);
        let expected = together(&g.model, &g.ids);
        let mut found = Vec::new();
        for sequence in g.ids.chunks_exact(g.ids.len() / 2) {
            let mut cache = g.model.cache(KvType::F32, 64);
            let (head, tail) = sequence.split_at(5);
            found.extend(read(&g.model, &mut cache, head));
            for token in tail {
                found.extend(read(&g.model, &mut cache, &[*token]));
            }
        }
        let same = expected
            .iter()
            .zip(&found)
            .all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(
            same && expected.len() == found.len(),
            "{name}: reading token by token changed the logits"
        );
    }
}

#[test]
fn sequences_longer_than_the_trained_context_are_those_of_transformers() {
    let mut seen = 0;
    for name in CASES {
        let g = golden(name);
        if !g.case.has("long.input_ids") {
            continue;
        }
        seen += 1;
        let ids = g.case.ids("long.input_ids").unwrap();
        assert_close(
            g.name,
            &together(&g.model, &ids),
            g.case.f32s("long.logits").unwrap(),
            tolerance(),
        );
        if g.case.has("long.cached_logits") {
            let mut found = Vec::new();
            for sequence in ids.chunks_exact(ids.len() / 2) {
                let mut cache = g.model.cache(KvType::F32, 64);
                found.extend(read(&g.model, &mut cache, &sequence[..12]));
                sequence[12..]
                    .iter()
                    .for_each(|t| found.extend(read(&g.model, &mut cache, &[*t])));
            }
            assert_close(
                g.name,
                &found,
                g.case.f32s("long.cached_logits").unwrap(),
                tolerance(),
            );
        }
    }
    assert!(seen >= 4, "only {seen} cases have a long sequence");
}

#[test]
fn both_spellings_of_a_configuration_give_the_same_model() {
    for name in CASES {
        let g = golden(name);
        let newer: Value = g.case.json("config.v5.json").unwrap();
        let model = from_tensors(g.case.weights().unwrap(), &newer, &Device::Cpu, false).unwrap();
        assert_eq!(
            together(&model, &g.ids),
            together(&g.model, &g.ids),
            "{name}"
        );
    }
}

#[test]
fn the_plain_composition_that_training_uses_gives_the_same_logits() {
    for name in CASES
        .iter()
        .filter(|n| !n.contains("moe") && !n.contains("mixtral"))
    {
        let g = golden(name);
        let config = g.case.config().unwrap();
        let plain = from_tensors(g.case.weights().unwrap(), &config, &Device::Cpu, true).unwrap();
        let ids = Tensor::from_vec(g.ids.clone(), (2, g.ids.len() / 2), &Device::Cpu).unwrap();
        let logits: Vec<f32> = plain
            .forward_train(&ids)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        assert_close(g.name, &logits, g.case.f32s("logits").unwrap(), tolerance());
        assert_close(
            g.name,
            &together(&plain, &g.ids),
            g.case.f32s("logits").unwrap(),
            tolerance(),
        );
    }
}

/// Loss and gradients of every parameter by name, after one token is predicted from another.
/// What each head looks at, beside transformers' own weights; what is read without a cache is what is read with one.
#[test]
fn watched_attention_is_that_of_transformers() {
    for name in ["llama", "gemma2", "gemma3_text", "qwen3", "olmo2"] {
        let g = golden(name);
        let tokens = &g.ids[..g.ids.len() / 2];
        let (logits, layers) = g.model.forward_watched(tokens).unwrap();
        let read = read(&g.model, &mut g.model.cache(KvType::F32, 64), tokens);
        let last = &read[read.len() - logits.len()..];
        assert_close(name, &logits, last, tolerance());
        let config = g.model.config();
        let sides = (config.heads, tokens.len(), tokens.len());
        assert_eq!(layers.len(), config.layers.len(), "{name}");
        let mut all: Vec<f32> = Vec::new();
        for weights in &layers {
            assert_eq!(weights.dims3().unwrap(), sides, "{name}");
            all.extend(weights.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        }
        assert_close(name, &all, g.case.f32s("attention").unwrap(), tolerance());
        for (at, row) in all.chunks_exact(tokens.len()).enumerate() {
            let later = &row[at % tokens.len() + 1..];
            assert!(later.iter().all(|&weight| weight == 0.0), "{name}: {row:?}");
            assert!(
                (row.iter().sum::<f32>() - 1.0).abs() < 1e-5,
                "{name}: {row:?}"
            );
        }
    }
}

fn loss_and_gradients(name: &'static str, compute: Compute) -> (f32, Vec<(String, Vec<f32>)>) {
    let case = Case::open(&format!("decoder/{name}")).unwrap();
    let (config, ids) = (case.config().unwrap(), case.ids("input_ids").unwrap());
    let weights = case.weights().unwrap();
    let (model, parameters) = trainable(&weights, &config, &Device::Cpu).unwrap();
    let mut targets = ids[1..].to_vec();
    targets.push(IGNORED);
    let ids = Tensor::from_vec(ids.clone(), (2, ids.len() / 2), &Device::Cpu).unwrap();
    with_compute(compute, || {
        let loss = model.loss(&ids, &targets).unwrap();
        let mut gradients = Gradients::default();
        backward(&loss, &mut gradients).unwrap();
        let all = parameters.all().iter().map(|p| {
            let gradient = gradients.get(&p.var);
            (p.name.clone(), gradient.expect("a gradient").to_vec())
        });
        (loss.to_scalar().unwrap(), all.collect())
    })
}

#[test]
fn training_operations_give_the_gradients_of_the_plain_composition() {
    for name in CASES
        .iter()
        .filter(|n| !n.contains("moe") && !n.contains("mixtral"))
    {
        let (plain, expected) = loss_and_gradients(name, Compute::Plain);
        let (fast, found) = loss_and_gradients(name, Compute::F32);
        assert!((plain - fast).abs() < 1e-4, "{name}: {plain} {fast}");
        assert_eq!(found.len(), expected.len());
        for ((parameter, found), (_, expected)) in found.iter().zip(&expected) {
            let size = expected.iter().map(|e| e.abs()).fold(1e-6, f32::max);
            assert_close(
                &format!("{name} {parameter}"),
                found,
                expected,
                Tolerance::absolute(1e-4 * size),
            );
        }
    }
}

#[test]
fn a_forked_cache_goes_on_like_its_origin_and_leaves_it_alone() {
    let g = golden("gemma3_text");
    let mut origin = g.model.cache(KvType::F16, 256);
    let prefix: Vec<u32> = (0..70).map(|i| i % 90).collect();
    read(&g.model, &mut origin, &prefix);
    let mut fork = origin.fork(66).unwrap();
    let forked = read(&g.model, &mut fork, &[7, 8, 9]);
    let kept = read(&g.model, &mut origin, &[3]);
    let mut whole = g.model.cache(KvType::F16, 256);
    let all: Vec<u32> = prefix[..66].iter().copied().chain([7, 8, 9]).collect();
    let vocab = g.model.config().vocab_size;
    assert_eq!(read(&g.model, &mut whole, &all)[66 * vocab..], forked[..]);
    let mut again = g.model.cache(KvType::F16, 256);
    read(&g.model, &mut again, &prefix);
    assert_eq!(read(&g.model, &mut again, &[3]), kept);
}
