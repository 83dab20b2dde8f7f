//! Tiny seeded models with a tokenizer, and requests for them.
#![allow(dead_code, reason = "the server's tests use a part of it")]

pub mod ear;

use medley_formats::gguf::{Metadata, StringArray, Value as Gguf};
use medley_models::decoder::from_tensors;
use medley_nn::Device;
use medley_pipelines::text::{LoadOptions, TextModel};
use medley_testkit::fill;
use medley_tokenize::{ChatTemplate, Tokenizer};
use medley_types::{Prompt, TextRequest};
use serde_json::{Value, json};

const HIDDEN: usize = 64;
const INNER: usize = 96;
const LAYERS: usize = 4;
/// Three tokens with a role, one for each byte, some words; the logits have more, as padding.
const WORDS: [&str; 8] = ["▁the", "▁a", "▁of", "ing", "er", "▁river", "▁is", "▁and"];
const VOCAB: usize = 272;

/// How a tiny model deviates from a plain one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Plain,
    /// A query sees only the last 40 positions.
    Window,
    /// The first layer alone: a draft model.
    Shallow,
    /// Beyond 300 positions, angles follow the length of the sequence.
    Stretched,
}

/// A model whose weights follow from `seed`.
pub fn model(kind: Kind, seed: &str) -> TextModel {
    with_tokenizer(kind, seed, tokenizer(&WORDS))
}

pub fn with_tokenizer(kind: Kind, seed: &str, tokenizer: Tokenizer) -> TextModel {
    built(kind, seed, tokenizer, None)
}

/// A plain model that chats.
pub fn chatting(seed: &str) -> TextModel {
    let source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ";
    let template = ChatTemplate::new(source, &[]).unwrap();
    built(Kind::Plain, seed, tokenizer(&WORDS), Some(template))
}

fn built(
    kind: Kind,
    seed: &str,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
) -> TextModel {
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
    });
    if template.is_some() {
        // Room for functions that are described letter by letter.
        config["max_position_embeddings"] = 4096.into();
    }
    match kind {
        Kind::Plain => {}
        Kind::Shallow => config["num_hidden_layers"] = 1.into(),
        Kind::Window => {
            config["model_type"] = "mistral".into();
            config["architectures"] = json!(["MistralForCausalLM"]);
            config["sliding_window"] = 40.into();
        }
        Kind::Stretched => {
            config["rope_scaling"] =
                json!({"type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 300});
        }
    }
    let decoder = from_tensors(weights(seed), &config, &Device::Cpu, false).unwrap();
    TextModel::new(seed, decoder, tokenizer, template, &LoadOptions::default()).unwrap()
}

fn weights(seed: &str) -> medley_testkit::Weights {
    let mut shapes = vec![
        ("lm_head".to_owned(), vec![VOCAB, HIDDEN], 0.5),
        ("model.embed_tokens".to_owned(), vec![VOCAB, HIDDEN], 0.5),
        ("model.norm".to_owned(), vec![HIDDEN], 0.25),
    ];
    for layer in 0..LAYERS {
        for (name, shape, scale) in [
            ("input_layernorm", vec![HIDDEN], 0.25),
            ("post_attention_layernorm", vec![HIDDEN], 0.25),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN], 0.25),
            ("self_attn.k_proj", vec![HIDDEN / 2, HIDDEN], 0.25),
            ("self_attn.v_proj", vec![HIDDEN / 2, HIDDEN], 0.25),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN], 0.25),
            ("mlp.gate_proj", vec![INNER, HIDDEN], 0.25),
            ("mlp.up_proj", vec![INNER, HIDDEN], 0.25),
            ("mlp.down_proj", vec![HIDDEN, INNER], 0.125),
        ] {
            // Later layers say little, so that the first alone guesses well.
            let adds = layer > 0 && ["self_attn.o_proj", "mlp.down_proj"].contains(&name);
            let scale = if adds { scale * 0.2 } else { scale };
            shapes.push((format!("model.layers.{layer}.{name}"), shape, scale));
        }
    }
    let tensor = |(name, shape, scale): (String, Vec<usize>, f32)| {
        let mean = if shape.len() == 1 { 1.0 } else { 0.0 };
        let values = fill::fill(
            &format!("{seed}.{name}"),
            shape.iter().product(),
            mean,
            scale,
        );
        (format!("{name}.weight"), (shape, values))
    };
    shapes.into_iter().map(tensor).collect()
}

/// SentencePiece with every byte and these words.
pub fn tokenizer(words: &[&str]) -> Tokenizer {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    let mut kinds: Vec<i32> = vec![2, 3, 3];
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    kinds.extend([6; 256]);
    tokens.extend(words.iter().map(|&word| word.to_owned()));
    kinds.extend(words.iter().map(|_| 1));
    let scores: Vec<f32> = (0..tokens.len()).map(|i| -(i as f32)).collect();
    let metadata: Metadata = [
        ("tokenizer.ggml.model", Gguf::from("llama")),
        (
            "tokenizer.ggml.tokens",
            tokens.iter().collect::<StringArray>().into(),
        ),
        ("tokenizer.ggml.scores", scores.into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        ("tokenizer.ggml.bos_token_id", 1u32.into()),
        ("tokenizer.ggml.eos_token_id", 2u32.into()),
    ]
    .into_iter()
    .collect();
    Tokenizer::from_gguf(&metadata).unwrap()
}

/// A request for up to 40 tokens with their log-probabilities.
pub fn request(prompt: &str, seed: u64) -> TextRequest {
    TextRequest {
        max_tokens: Some(40),
        logprobs: Some(2),
        ..TextRequest::new("tiny", Prompt::Raw(prompt.into()), seed)
    }
}

/// A prompt of about `length` tokens, of which prompts with the same `start` share the beginning.
pub fn prompt(start: &str, length: usize, end: &str) -> String {
    let mut text = String::new();
    for (i, word) in start.split(' ').cycle().enumerate() {
        if text.len() + end.len() >= length {
            break;
        }
        text.push_str(word);
        text.push(char::from(b'a' + (i * 7 % 26) as u8));
    }
    text + end
}

/// Different ways to ask.
pub fn requests() -> Vec<TextRequest> {
    let with = |prompt: String, seed, change: &dyn Fn(&mut TextRequest)| {
        let mut request = request(&prompt, seed);
        change(&mut request);
        request
    };
    let object = json!({"type": "object", "properties": {"n": {"type": "integer", "maximum": 99}, "ok": {"type": "boolean"}},
        "required": ["n", "ok"]});
    vec![
        with("the river is".into(), 1, &|r| r.sampling.temperature = 0.0),
        with(prompt("once upon a time", 700, "?"), 2, &|_| {}),
        with(prompt("once upon a time", 500, "!"), 3, &|r| {
            r.sampling.repeat_penalty = 1.3
        }),
        with("x".into(), 4, &|r| r.stop = vec!["e".into(), "zz".into()]),
        with("abcabcabcabc".into(), 5, &|r| r.max_tokens = Some(7)),
        with(prompt("once upon a time", 280, ""), 6, &|r| {
            r.constraint = Some(medley_types::Constraint::JsonSchema(object.clone()));
        }),
        with("a list".into(), 7, &|r| {
            r.constraint = Some(medley_types::Constraint::Regex("(ab|abc )+x".into()));
            r.sampling.temperature = 1.5;
        }),
        with("once".into(), 8, &|r| {
            r.sampling.dry_multiplier = 0.8;
            r.sampling.frequency_penalty = 0.2;
            r.max_tokens = Some(120);
        }),
        with("the end".into(), 9, &|r| r.max_tokens = Some(0)),
    ]
}

/// A work without what the clock decides, comparable bit for bit.
pub fn essence(work: &medley_types::TextWork) -> Value {
    let bits: Vec<_> = work
        .logprobs
        .iter()
        .flatten()
        .map(|t| {
            let top: Vec<_> = t.top.iter().map(|t| (t.id, t.logprob.to_bits())).collect();
            (t.id, t.logprob.to_bits(), top)
        })
        .collect();
    json!({"text": work.text, "tokens": work.tokens, "reason": work.finish_reason, "prompt": work.prompt_tokens, "bits": bits})
}
