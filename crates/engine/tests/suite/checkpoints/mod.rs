//! What the tests of conversion share: golden models as published checkpoints, with tokenizers.

use std::path::Path;

use medley_engine::convert::ConvertEvent;
use medley_engine::{Device, KvType};
use medley_formats::WeightFile;
use medley_models::decoder::{self, Decoder, Input, Wanted};
use medley_testkit::Case;
use serde_json::{Value, json};

pub fn read(model: &Decoder, ids: &[u32]) -> Vec<f32> {
    ids.chunks(ids.len() / 2)
        .flat_map(|tokens| {
            let mut cache = model.cache(KvType::F32, 64);
            let wanted = Wanted::All;
            let input = Input {
                tokens,
                cache: &mut cache,
                wanted,
            };
            model.forward(&mut [input]).unwrap().remove(0)
        })
        .collect()
}

pub fn load(path: &Path) -> Decoder {
    let file = WeightFile::open(path).unwrap();
    decoder::from_file(file, path, None, &Device::Cpu).unwrap()
}

/// A byte-level vocabulary of 96 characters without merges, for the golden models.
pub fn tiny_tokenizer() -> Value {
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>", "\u{120}", "\u{10a}"]
        .map(str::to_owned)
        .into();
    texts.extend(('!'..='}').filter(|c| !"`|".contains(*c)).map(String::from));
    assert_eq!(texts.len(), 96);
    let vocab: serde_json::Map<String, Value> = texts
        .iter()
        .enumerate()
        .map(|(i, t)| (t.clone(), json!(i)))
        .collect();
    byte_level(Value::Object(vocab), json!([]), &texts[..3], GPT2)
}

pub const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub fn byte_level(vocab: Value, merges: Value, special: &[String], pattern: &str) -> Value {
    let added: Vec<Value> = special
        .iter()
        .map(|text| {
            json!({ "id": vocab[text], "content": text, "special": true, "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false })
        })
        .collect();
    json!({
        "version": "1.0", "added_tokens": added, "normalizer": null, "post_processor": null,
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false },
        ] },
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "vocab": vocab, "merges": merges,
                   "continuing_subword_prefix": null, "end_of_word_suffix": null, "byte_fallback": false,
                   "fuse_unk": false, "ignore_merges": false },
    })
}

/// GPT-2's letter for a byte.
pub fn letter(byte: u8) -> char {
    let shown = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let hidden = (0..u32::from(byte)).filter(|&b| !shown(b)).count() as u32;
    let code = if shown(byte.into()) {
        u32::from(byte)
    } else {
        256 + hidden
    };
    char::from_u32(code).unwrap()
}

pub fn spelled(text: &str) -> String {
    text.bytes().map(letter).collect()
}

/// All bytes, some merges, and three special tokens behind them.
pub fn whole_tokenizer(pattern: &str) -> (Value, usize) {
    let mut texts: Vec<String> = (0..=255u8).map(|b| letter(b).to_string()).collect();
    let mut merges = Vec::new();
    for (a, b) in [
        ("t", "h"),
        ("th", "e"),
        (" ", "the"),
        ("i", "n"),
        ("1", "2"),
        ("12", "3"),
        ("3", "4"),
        ("'", "s"),
        (" ", " "),
        ("\n", "\n"),
        ("e", "r"),
        ("0", "0"),
        ("I", "'"),
        ("w", "or"),
        ("o", "r"),
        ("!", "\n"),
    ] {
        let pair = [spelled(a), spelled(b)];
        let joined = pair.concat();
        if pair.iter().all(|p| texts.contains(p)) {
            texts.push(joined);
            merges.push(json!(pair));
        }
    }
    let special: Vec<String> = ["<|bos|>", "<|eos|>", "<|im_end|>"]
        .map(str::to_owned)
        .into();
    texts.extend(special.clone());
    let vocab = texts
        .iter()
        .enumerate()
        .map(|(i, t)| (t.clone(), json!(i)))
        .collect();
    let count = texts.len();
    (
        byte_level(Value::Object(vocab), json!(merges), &special, pattern),
        count,
    )
}

/// A folder with a golden model as a published checkpoint.
pub fn checkpoint(case: &Case, folder: &Path) {
    case.write_checkpoint(folder).unwrap();
    let text = tiny_tokenizer().to_string();
    std::fs::write(folder.join("tokenizer.json"), text).unwrap();
}

pub fn notes(events: &[ConvertEvent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|e| match e {
            ConvertEvent::Note(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}
