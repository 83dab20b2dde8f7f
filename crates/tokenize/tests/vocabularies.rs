//! Ids equal the reference's on a text full of traps, for every pre-tokenizer kind and every family (see
//! `vocabularies/make.py`, which made the references with llama.cpp and the tokenizers package).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::path::{Path, PathBuf};

use medley_formats::gguf::{Array, Metadata, Value as Gguf};
use medley_tokenize::{StreamDecoder, Tokenizer};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vocabularies")
}

fn read_json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn torture() -> Vec<u8> {
    std::fs::read(folder().join("torture.txt")).unwrap()
}

fn ids(list: &Value) -> Vec<u32> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

/// A JSON value as GGUF metadata has it.
fn gguf_value(key: &str, value: &Value) -> Gguf {
    match value {
        Value::Bool(flag) => Gguf::Bool(*flag),
        Value::Number(number) => Gguf::U32(number.as_u64().unwrap() as u32),
        Value::String(text) => Gguf::String(text.clone()),
        Value::Array(list) if list.first().is_some_and(Value::is_string) => Gguf::Array(
            Array::Strings(list.iter().map(|s| s.as_str().unwrap()).collect()),
        ),
        Value::Array(list) if key.ends_with("charsmap") => Gguf::Array(Array::U8(
            list.iter().map(|n| n.as_u64().unwrap() as u8).collect(),
        )),
        Value::Array(list) if key.ends_with("scores") => Gguf::Array(Array::F32(
            list.iter().map(|n| n.as_f64().unwrap() as f32).collect(),
        )),
        Value::Array(list) => Gguf::Array(Array::I32(
            list.iter().map(|n| n.as_i64().unwrap() as i32).collect(),
        )),
        _ => panic!("{key}: {value}"),
    }
}

fn metadata(fixture: &Value, overrides: &Value) -> Metadata {
    let mut metadata = Metadata::default();
    for pairs in [&fixture["metadata"], overrides] {
        for (key, value) in pairs.as_object().unwrap() {
            metadata.insert(key.clone(), gguf_value(key, value));
        }
    }
    metadata
}

fn assert_same(label: &str, tokenizer: &Tokenizer, ours: &[u32], theirs: &[u32]) {
    if ours == theirs {
        return;
    }
    let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let show = |ids: &[u32]| -> Vec<String> {
        ids.iter()
            .skip(at.saturating_sub(4))
            .take(12)
            .map(|&id| tokenizer.token_text(id))
            .collect()
    };
    panic!(
        "{label}: ids differ at {at}\n  ours   {:?}\n  theirs {:?}",
        show(ours),
        show(theirs)
    );
}

/// Checks all cases of a fixture; gives their number.
fn check(name: &str) -> usize {
    let fixture = read_json(&format!("{name}.json"));
    let broken: Vec<u8> = ids(&read_json("broken.json"))
        .iter()
        .map(|&b| b as u8)
        .collect();
    let text = torture();
    let cases = fixture["cases"].as_array().unwrap();
    for case in cases {
        let tokenizer = Tokenizer::from_gguf(&metadata(&fixture, &case["overrides"])).unwrap();
        for (key, bytes, parse_special) in [
            ("special", &text, true),
            ("plain", &text, false),
            ("broken", &broken, false),
        ] {
            let theirs = ids(&fixture["ids"][case[key].as_u64().unwrap() as usize]);
            // llama-tokenize adds no token at all where the model wants no BOS.
            let ours = tokenizer
                .encode_bytes(bytes, tokenizer.adds_bos(), parse_special)
                .unwrap();
            let label = format!("{name}, {}, {key}", case["overrides"]);
            assert_same(&label, &tokenizer, &ours, &theirs);
        }
    }
    cases.len()
}

#[test]
fn byte_level_kinds() {
    assert!(
        check("byte_level") >= 90,
        "every kind of pre-tokenizer has its case"
    );
}

#[test]
fn eos_is_added_where_the_file_says_so() {
    for (name, overrides, expected) in [
        (
            "spm",
            r#"{"tokenizer.ggml.add_bos_token":false,"tokenizer.ggml.add_eos_token":true}"#,
            vec![],
        ),
        ("unigram", "{}", vec![]),
        ("spm", r#"{"tokenizer.ggml.add_eos_token":true}"#, vec![1]),
    ] {
        let tokenizer = Tokenizer::from_gguf(&metadata(
            &read_json(&format!("{name}.json")),
            &overrides.parse().unwrap(),
        ))
        .unwrap();
        let mut expected: Vec<u32> = expected;
        expected.extend(tokenizer.encode("a", false, false).unwrap());
        expected.extend(tokenizer.eos());
        assert_eq!(
            tokenizer.encode("a", true, false).unwrap(),
            expected,
            "{name} {overrides}"
        );
    }
}

#[test]
fn plain_bpe() {
    assert_eq!(check("plain_bpe"), 2);
}

#[test]
fn sentencepiece_bpe() {
    assert_eq!(check("spm"), 3);
    assert_eq!(check("spm_phrases"), 1);
}

#[test]
fn unigram() {
    assert_eq!(check("unigram"), 3);
}

#[test]
fn wordpiece() {
    assert_eq!(check("wordpiece"), 2);
}

#[test]
fn tokenizer_json() {
    let expected = read_json("hub/expected.json");
    let text = String::from_utf8(torture()).unwrap();
    for (name, lists) in expected.as_object().unwrap() {
        let tokenizer = Tokenizer::from_file(&folder().join("hub").join(name)).unwrap();
        for (key, parse_special) in [("special", true), ("plain", false)] {
            let ours = tokenizer.encode(&text, true, parse_special).unwrap();
            assert_same(
                &format!("{name}, {key}"),
                &tokenizer,
                &ours,
                &ids(&lists[key]),
            );
        }
    }
}

#[test]
fn byte_level_text_comes_back() {
    let fixture = read_json("byte_level.json");
    let tokenizer = Tokenizer::from_gguf(&metadata(
        &fixture,
        &serde_json::json!({"tokenizer.ggml.pre": "gpt-2"}),
    ))
    .unwrap();
    let text = String::from_utf8(torture()).unwrap();
    let ids = tokenizer.encode(&text, true, false).unwrap();
    assert_eq!(tokenizer.decode(&ids), text);
    let mut decoder = StreamDecoder::new(&tokenizer);
    let mut streamed = String::new();
    for &id in &ids {
        streamed.push_str(&decoder.push(id));
    }
    streamed.push_str(&decoder.finish());
    assert_eq!(streamed, text);
}
