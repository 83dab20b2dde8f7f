//! A folder with a tiny language model that chats, a byte a token.

use std::path::{Path, PathBuf};

use medley_testkit::fill::fill;
use serde_json::{Value, json};

const HIDDEN: usize = 16;
const INNER: usize = 32;

/// Tokens beside those of the bytes.
const SPECIAL: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

/// The characters that byte-level tokenizers write bytes as.
fn characters() -> Vec<char> {
    let plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    let of = |byte: u32| match plain(byte) {
        true => byte,
        false => {
            next += 1;
            next - 1
        }
    };
    (0..256).map(of).filter_map(char::from_u32).collect()
}

/// Writes the model, whose words follow from its weights: letters in no order, as far as a grammar lets them.
pub fn writer(path: &Path) -> PathBuf {
    let vocabulary = 256 + SPECIAL.len();
    let mut tensors = Vec::new();
    let mut add = |name: &str, shape: &[usize], mean: f32, scale: f32| {
        tensors.push((
            format!("{name}.weight"),
            shape.to_vec(),
            fill(name, shape.iter().product(), mean, scale),
        ));
    };
    add("lm_head", &[vocabulary, HIDDEN], 0.0, 0.5);
    add("model.embed_tokens", &[vocabulary, HIDDEN], 0.0, 0.5);
    add("model.norm", &[HIDDEN], 1.0, 0.2);
    for (name, shape) in [
        ("input_layernorm", vec![HIDDEN]),
        ("post_attention_layernorm", vec![HIDDEN]),
    ] {
        add(&format!("model.layers.0.{name}"), &shape, 1.0, 0.2);
    }
    for (name, out, inputs) in [
        ("self_attn.q_proj", HIDDEN, HIDDEN),
        ("self_attn.k_proj", HIDDEN, HIDDEN),
        ("self_attn.v_proj", HIDDEN, HIDDEN),
        ("self_attn.o_proj", HIDDEN, HIDDEN),
        ("mlp.gate_proj", INNER, HIDDEN),
        ("mlp.up_proj", INNER, HIDDEN),
        ("mlp.down_proj", HIDDEN, INNER),
    ] {
        add(&format!("model.layers.0.{name}"), &[out, inputs], 0.0, 0.3);
    }
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "vocab_size": vocabulary,
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "eos_token_id": 257,
    });
    super::folder(path, &config, &tensors);
    let save =
        |name: &str, value: &Value| std::fs::write(path.join(name), value.to_string()).unwrap();
    let special = |(index, name): (usize, &&str)| {
        json!({ "id": 256 + index, "content": name, "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false })
    };
    let mut words: serde_json::Map<String, Value> = characters()
        .iter()
        .enumerate()
        .map(|(id, c)| (c.to_string(), json!(id)))
        .collect();
    words.extend(
        SPECIAL
            .iter()
            .enumerate()
            .map(|(id, name)| ((*name).to_owned(), json!(256 + id))),
    );
    save(
        "tokenizer.json",
        &json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": SPECIAL.iter().enumerate().map(special).collect::<Vec<_>>(), "normalizer": null,
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            "post_processor": null,
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
            "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": words, "merges": [] },
        }),
    );
    save(
        "tokenizer_config.json",
        &json!({
            "tokenizer_class": "GPT2Tokenizer", "eos_token": "<|im_end|>", "bos_token": null,
            "chat_template": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        }),
    );
    path.to_owned()
}
