//! The real models beside llama.cpp: greedy text, distributions and perplexity (golden/README.md says how they were
//! made). `MEDLEY_MODELS` names the folder that `medley models pull` filled; `cargo xtask test` sets it. Without it
//! these tests are skipped, and say so.

use std::path::PathBuf;

use medley_models::decoder::{Input, Wanted};
use medley_pipelines::text::{LoadOptions, TextModel};
use medley_pipelines::{Run, TextGenerator};
use medley_testkit::text::{Greedy, Heldout};
use medley_types::{Message, Prompt, Sampling, TextRequest};

/// Tokens of a continuation that are compared.
const TOKENS: usize = 32;

fn load(model: &str) -> Option<TextModel> {
    let Some(folder) = std::env::var_os("MEDLEY_MODELS") else {
        eprintln!("skipped: MEDLEY_MODELS names no folder with models");
        return None;
    };
    let folder = PathBuf::from(folder).join(model);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let file = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "gguf"))
        .unwrap_or_else(|| panic!("{} holds no GGUF file", folder.display()));
    Some(TextModel::load(&file, &LoadOptions::default()).unwrap())
}

/// Greedy texts of ten prompts of different kinds: at least nine as llama.cpp's, near ties aside.
fn greedy(model: &str) {
    let Some(text) = load(model) else { return };
    let reference = Greedy::open(model).unwrap();
    let mut equal = 0;
    for prompt in &reference.prompts {
        let request = TextRequest {
            model: model.into(),
            prompt: match &prompt.messages {
                Some(messages) => Prompt::Messages(
                    messages
                        .iter()
                        .map(|m| {
                            Message::new(
                                m["role"].as_str().unwrap(),
                                m["content"].as_str().unwrap(),
                            )
                        })
                        .collect(),
                ),
                None => Prompt::Raw(prompt.prompt.clone()),
            },
            max_tokens: Some(TOKENS),
            sampling: Sampling {
                temperature: 0.0,
                ..Sampling::default()
            },
            seed: 0,
            stop: Vec::new(),
            constraint: None,
            logprobs: Some(0),
        };
        assert_eq!(
            text.encode(&request.prompt).unwrap(),
            prompt.prompt_ids,
            "{model} {}: ids of the prompt",
            prompt.id
        );
        let work = text.generate(&request, &mut Run::quiet()).unwrap();
        let mut ids: Vec<u32> = work.logprobs.unwrap().iter().map(|t| t.id).collect();
        if ids.len() < TOKENS {
            // The token that ended the turn is not part of the text.
            ids.extend(text.tokenizer().end_of_generation().iter().take(1));
        }
        let agreement = prompt.agreement(&ids, TOKENS);
        eprintln!("{model} {}: {agreement:?}", prompt.id);
        equal += usize::from(agreement.is_equal());
    }
    // Nine of ten, or as many as llama.cpp has in common with itself.
    let wanted = reference.own_agreement.min(9);
    assert!(
        equal >= wanted,
        "{equal} of {} texts agree",
        reference.prompts.len()
    );
}

/// Mean divergence from llama.cpp's distributions and the perplexity, over a held-out text.
fn heldout(model: &str) {
    let Some(text) = load(model) else { return };
    let heldout = Heldout::open(model).unwrap();
    let mut score = heldout.score();
    let vocabulary = text.decoder().config().vocab_size;
    for chunk in 0..heldout.chunks() {
        let input = heldout.input(chunk);
        let mut cache = text.cache();
        let rows = text
            .decoder()
            .forward(&mut [Input {
                tokens: &input,
                cache: &mut cache,
                wanted: Wanted::All,
            }])
            .unwrap()
            .remove(0);
        for position in heldout.scored() {
            let logits = &rows[position * vocabulary..][..vocabulary];
            score.add(chunk, position, logits).unwrap();
        }
    }
    let relative = score.perplexity() / heldout.perplexity() - 1.0;
    eprintln!(
        "{model}: mean divergence {:.2e}, perplexity {:.4} ({:+.3} % of llama.cpp's {:.4})",
        score.mean_kl(),
        score.perplexity(),
        relative * 100.0,
        heldout.perplexity()
    );
    // 2e-3, or as far as llama.cpp is from itself.
    assert!(
        score.mean_kl() <= heldout.own_spread().max(2e-3),
        "mean divergence {}",
        score.mean_kl()
    );
    assert!(relative.abs() <= 5e-3, "perplexity differs by {relative}");
}

#[test]
fn smollm2_writes_what_llama_cpp_writes() {
    greedy("smollm2-135m");
}

#[test]
fn gemma3_writes_what_llama_cpp_writes() {
    greedy("gemma3-270m");
}

#[test]
fn smollm2_predicts_as_llama_cpp_does() {
    heldout("smollm2-135m");
}

#[test]
fn gemma3_predicts_as_llama_cpp_does() {
    heldout("gemma3-270m");
}
