//! Tokenizers of published checkpoints in GGUF: the same ids from both.
#![cfg(feature = "generators")]

use std::path::{Path, PathBuf};

use crate::checkpoints::{GPT2, LLAMA3, QWEN2, whole_tokenizer};
use medley_engine::EngineError;
use medley_engine::convert::{ConvertOptions, convert};
use medley_formats::gguf::Metadata;
use medley_formats::safetensors::TensorData;
use medley_formats::{DType, WeightFile, safetensors};
use medley_tokenize::Tokenizer;
use serde_json::{Value, json};

const TEXTS: &[&str] = &[
    "The quick brown fox, 12345 times over the lazy dog's back!\n\nAnd   then?",
    "  indented\twith tabs and 99 problems; it's 100% \"fine\" – naïve 日本語 😀",
    "the the in in 123 1234 00 000 I'm WE'LL x == y && z\r\n",
];

/// A model of one layer with the given tokenizer, converted.
fn converted(
    dir: &Path,
    tokenizer: &Value,
    vocab: usize,
    settings: Value,
) -> Result<PathBuf, EngineError> {
    let config = json!({
        "model_type": "llama", "vocab_size": vocab, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    });
    let write = |name: &str, value: &Value| {
        std::fs::write(dir.join(name), value.to_string()).unwrap();
    };
    write("config.json", &config);
    write("tokenizer.json", tokenizer);
    write("tokenizer_config.json", &settings);
    let shapes: [(&str, Vec<usize>); 11] = [
        ("model.embed_tokens.weight", vec![vocab, 32]),
        ("model.norm.weight", vec![32]),
        ("model.layers.0.input_layernorm.weight", vec![32]),
        ("model.layers.0.post_attention_layernorm.weight", vec![32]),
        ("model.layers.0.self_attn.q_proj.weight", vec![32, 32]),
        ("model.layers.0.self_attn.k_proj.weight", vec![16, 32]),
        ("model.layers.0.self_attn.v_proj.weight", vec![16, 32]),
        ("model.layers.0.self_attn.o_proj.weight", vec![32, 32]),
        ("model.layers.0.mlp.gate_proj.weight", vec![64, 32]),
        ("model.layers.0.mlp.up_proj.weight", vec![64, 32]),
        ("model.layers.0.mlp.down_proj.weight", vec![32, 64]),
    ];
    let bytes: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, shape)| vec![0; shape.iter().product::<usize>() * 4])
        .collect();
    let tensors: Vec<TensorData> = shapes
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| TensorData {
            name,
            dtype: DType::F32,
            shape,
            bytes,
        })
        .collect();
    safetensors::write(&dir.join("model.safetensors"), &tensors, &[]).unwrap();
    let target = dir.join("model.gguf");
    let options = ConvertOptions {
        force: true,
        ..ConvertOptions::default()
    };
    convert(dir, &target, None, &options, &mut |_| {})?;
    Ok(target)
}

/// Checks that both tokenizers agree, and gives the metadata.
fn same_ids(dir: &Path, target: &Path, pattern: &str) -> Metadata {
    let file = WeightFile::open(target).unwrap();
    let metadata = file.metadata().unwrap().clone();
    let (ours, theirs) = (
        Tokenizer::from_gguf(&metadata).unwrap(),
        Tokenizer::from_file(dir).unwrap(),
    );
    for text in TEXTS {
        let ids = |t: &Tokenizer| t.encode(text, false, false).unwrap();
        assert_eq!(ids(&ours), ids(&theirs), "{pattern}: {text}");
    }
    assert_eq!(ours.end_of_generation(), theirs.end_of_generation());
    metadata
}

#[test]
fn byte_level_tokenizers_get_the_pre_tokenizer_that_cuts_as_they_do() {
    for (pattern, wanted) in [(GPT2, "gpt-2"), (QWEN2, "qwen2"), (LLAMA3, "dbrx")] {
        let dir = tempfile::tempdir().unwrap();
        let (tokenizer, count) = whole_tokenizer(pattern);
        let settings = json!({
            "bos_token": "<|bos|>", "eos_token": { "content": "<|eos|>" },
            "chat_template": [
                { "name": "default", "template": "{{ messages }}" },
                { "name": "tool_use", "template": "{{ tools }}" },
            ],
        });
        // Four ids more than tokens, as padded embeddings have.
        let target = converted(dir.path(), &tokenizer, count + 4, settings).unwrap();
        let metadata = same_ids(dir.path(), &target, wanted);
        assert_eq!(metadata.str("tokenizer.ggml.pre"), Some(wanted));
        assert_eq!(
            metadata.u32("tokenizer.ggml.bos_token_id"),
            Some(count as u32 - 3)
        );
        assert_eq!(
            metadata.u32("tokenizer.ggml.eos_token_id"),
            Some(count as u32 - 2)
        );
        assert_eq!(
            metadata.u32("tokenizer.ggml.eot_token_id"),
            Some(count as u32 - 1)
        );
        assert_eq!(metadata.bool("tokenizer.ggml.add_bos_token"), Some(false));
        assert_eq!(
            metadata.str("tokenizer.chat_template"),
            Some("{{ messages }}")
        );
        assert_eq!(
            metadata.str("tokenizer.chat_template.tool_use"),
            Some("{{ tools }}")
        );
        let kinds = metadata.i32s("tokenizer.ggml.token_type").unwrap();
        assert_eq!(&kinds[count - 4..], [1, 3, 3, 3, 5, 5, 5, 5]);
    }
}

/// A vocabulary in SentencePiece's spelling: bytes by name, letters, merges.
fn sentencepiece_tokenizer() -> (Value, usize) {
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into();
    texts.extend((0..=255u8).map(|b| format!("<0x{b:02X}>")));
    texts.push("\u{2581}".into());
    texts.extend((' '..='~').filter(|c| *c != ' ').map(String::from));
    let mut merges = Vec::new();
    for (a, b) in [
        ("\u{2581}", "t"),
        ("h", "e"),
        ("\u{2581}t", "he"),
        ("i", "n"),
        ("\u{2581}", "\u{2581}"),
        ("e", "r"),
        ("1", "2"),
        ("o", "v"),
        ("ov", "er"),
        ("12", "3"),
        ("\u{2581}", "over"),
    ] {
        texts.push(format!("{a}{b}"));
        merges.push(json!([a, b]));
    }
    let vocab: serde_json::Map<String, Value> = texts
        .iter()
        .enumerate()
        .map(|(i, t)| (t.clone(), json!(i)))
        .collect();
    let added: Vec<Value> = (0..3)
        .map(|i| {
            json!({ "id": i, "content": texts[i], "special": true, "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false })
        })
        .collect();
    let count = texts.len();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "\u{2581}" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "\u{2581}" },
        ] },
        "pre_tokenizer": null,
        "post_processor": { "type": "TemplateProcessing",
            "single": [ { "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } } ],
            "pair": [ { "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } } ],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } } },
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " },
            { "type": "ByteFallback" }, { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
        ] },
        "model": { "type": "BPE", "dropout": null, "unk_token": "<unk>", "vocab": vocab, "merges": merges,
                   "continuing_subword_prefix": null, "end_of_word_suffix": null, "byte_fallback": true,
                   "fuse_unk": true, "ignore_merges": false },
    });
    (tokenizer, count)
}

#[test]
fn sentencepiece_tokenizers_get_scores_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (tokenizer, count) = sentencepiece_tokenizer();
    let settings = json!({ "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>" });
    let target = converted(dir.path(), &tokenizer, count, settings).unwrap();
    let metadata = same_ids(dir.path(), &target, "llama");
    assert_eq!(metadata.str("tokenizer.ggml.model"), Some("llama"));
    assert_eq!(metadata.bool("tokenizer.ggml.add_bos_token"), Some(true));
    assert_eq!(metadata.bool("tokenizer.ggml.add_space_prefix"), Some(true));
    let kinds = metadata.i32s("tokenizer.ggml.token_type").unwrap();
    assert_eq!((&kinds[..4], kinds[259]), (&[2, 3, 3, 6][..], 1));
}
