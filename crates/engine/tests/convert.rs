//! Model files out of model files: checkpoints to GGUF and GGUF to other element types, beside the golden logits.
#![cfg(feature = "generators")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use medley_engine::convert::{ConvertEvent, ConvertOptions, Scheme, convert, quantize};
use medley_engine::{CancelFlag, Device, EngineError, KvType};
use medley_formats::gguf::{Metadata, Writer};
use medley_formats::safetensors::TensorData;
use medley_formats::{DType, TensorInfo, WeightFile, safetensors};
use medley_models::decoder::{self, Decoder, Input, Wanted};
use medley_testkit::{Case, Tolerance, assert_close};
use medley_tokenize::Tokenizer;
use serde_json::{Value, json};

fn read(model: &Decoder, ids: &[u32]) -> Vec<f32> {
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

fn load(path: &Path) -> Decoder {
    let file = WeightFile::open(path).unwrap();
    decoder::from_file(file, path, None, &Device::Cpu).unwrap()
}

/// A byte-level vocabulary of 96 characters without merges, for the golden models.
fn tiny_tokenizer() -> Value {
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

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn byte_level(vocab: Value, merges: Value, special: &[String], pattern: &str) -> Value {
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
fn letter(byte: u8) -> char {
    let shown = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let hidden = (0..u32::from(byte)).filter(|&b| !shown(b)).count() as u32;
    let code = if shown(byte.into()) {
        u32::from(byte)
    } else {
        256 + hidden
    };
    char::from_u32(code).unwrap()
}

fn spelled(text: &str) -> String {
    text.bytes().map(letter).collect()
}

/// All bytes, some merges, and three special tokens behind them.
fn whole_tokenizer(pattern: &str) -> (Value, usize) {
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
fn checkpoint(case: &Case, folder: &Path) {
    case.write_checkpoint(folder).unwrap();
    let text = tiny_tokenizer().to_string();
    std::fs::write(folder.join("tokenizer.json"), text).unwrap();
}

fn notes(events: &[ConvertEvent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|e| match e {
            ConvertEvent::Note(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn golden_models_have_their_logits_from_gguf() {
    for name in [
        "llama",
        "llama_bias",
        "llama_linear",
        "llama_llama3",
        "llama_yarn",
        "smollm",
        "mistral",
        "smollm3",
        "qwen2",
        "qwen3",
        "gemma2",
        "phi3",
        "phi3_longrope",
        "granite",
        "olmo2",
        "mixtral",
        "qwen3_moe",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let case = Case::open(&format!("decoder/{name}")).unwrap();
        checkpoint(&case, dir.path());
        let target = dir.path().join("model.gguf");
        let made = convert(
            dir.path(),
            &target,
            None,
            &ConvertOptions::default(),
            &mut |_| {},
        );
        let made = made.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(made.scheme, "F32", "{name}");
        let found = read(&load(&target), &case.ids("input_ids").unwrap());
        let wanted = case.f32s("logits").unwrap();
        assert_close(name, &found, wanted, Tolerance::absolute(1e-4));
    }
}

#[test]
fn what_gguf_cannot_say_is_refused() {
    for (name, why) in [
        ("llama_dynamic", "dynamic"),
        ("qwen2_window", "windows"),
        ("gemma3_text", "windows"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        checkpoint(&Case::open(&format!("decoder/{name}")).unwrap(), dir.path());
        let target = dir.path().join("model.gguf");
        let error = convert(
            dir.path(),
            &target,
            None,
            &ConvertOptions::default(),
            &mut |_| {},
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
        assert!(!target.exists(), "{name}");
    }
}

/// The most that logits may err by, as a part of their root mean square.
fn allowed(scheme: &str) -> f64 {
    match scheme {
        "F32" => 1e-6,
        "F16" => 0.003,
        "BF16" => 0.02,
        "Q8_0" | "MXFP4_MOE" => 0.03,
        "Q6_K" => 0.06,
        name if name.starts_with("Q5") => 0.16,
        name if name.starts_with("Q4") || name.starts_with("IQ4") => 0.3,
        name if name.starts_with("Q3") || name == "MXFP4" => 0.55,
        _ => 0.9,
    }
}

#[test]
fn every_type_loads_and_stays_near_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let case = Case::open("decoder/llama").unwrap();
    checkpoint(&case, dir.path());
    let original = dir.path().join("f32.gguf");
    let options = ConvertOptions::default();
    convert(
        dir.path(),
        &original,
        Some(Scheme::F32),
        &options,
        &mut |_| {},
    )
    .unwrap();
    let ids = case.ids("input_ids").unwrap();
    let wanted = read(&load(&original), &ids);
    let square = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    for scheme in Scheme::all() {
        let target = dir.path().join(format!("{}.gguf", scheme.name()));
        let mut events = Vec::new();
        let made = quantize(&original, &target, scheme, &options, &mut |e| {
            events.push(e)
        })
        .unwrap();
        assert!(notes(&events).is_empty(), "{}: {events:?}", scheme.name());
        assert_eq!(made.bytes, std::fs::metadata(&target).unwrap().len());
        let file = WeightFile::open(&target).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.u32("general.file_type"), Some(scheme.file_type()));
        assert_eq!(metadata.u32("general.quantization_version"), Some(2));
        assert_eq!(metadata.str("tokenizer.ggml.model"), Some("gpt2"));
        let base = DType::Block(scheme.base());
        let some = |t: &TensorInfo| t.dtype == base || scheme == Scheme::MXFP4_MOE;
        assert!(file.tensors().iter().any(some), "{}", scheme.name());
        assert!(
            file.tensors()
                .iter()
                .all(|t| t.shape.len() > 1 || t.dtype == DType::F32)
        );
        let found = read(&load(&target), &ids);
        let difference: Vec<f32> = found.iter().zip(&wanted).map(|(a, b)| a - b).collect();
        let error = (square(&difference) / square(&wanted)).sqrt();
        println!("{} {error:.4}", scheme.name());
        assert!(
            error <= allowed(scheme.name()),
            "{} errs by {error:.4}",
            scheme.name()
        );
    }
}

#[test]
fn what_is_quantised_is_read_and_noted_and_the_same_type_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let case = Case::open("decoder/qwen2").unwrap();
    checkpoint(&case, dir.path());
    let options = ConvertOptions::default();
    let path = |name: &str| dir.path().join(name);
    let quiet = &mut |_: ConvertEvent| {};
    convert(
        dir.path(),
        &path("a.gguf"),
        Some(Scheme::Q8_0),
        &options,
        quiet,
    )
    .unwrap();
    let mut events = Vec::new();
    quantize(
        &path("a.gguf"),
        &path("b.gguf"),
        Scheme::Q8_0,
        &options,
        &mut |e| events.push(e),
    )
    .unwrap();
    assert!(
        notes(&events)[0].contains("quantised already (Q8_0)"),
        "{events:?}"
    );
    let bytes = |name: &str| std::fs::read(path(name)).unwrap();
    assert!(bytes("a.gguf") == bytes("b.gguf"));
    quantize(
        &path("a.gguf"),
        &path("c.gguf"),
        Scheme::F32,
        &options,
        quiet,
    )
    .unwrap();
    quantize(
        &path("c.gguf"),
        &path("d.gguf"),
        Scheme::Q4_0,
        &options,
        quiet,
    )
    .unwrap();
    quantize(
        &path("a.gguf"),
        &path("e.gguf"),
        Scheme::Q4_0,
        &options,
        quiet,
    )
    .unwrap();
    assert!(
        bytes("d.gguf") == bytes("e.gguf"),
        "quantised sources must be dequantised first"
    );
}

#[test]
fn shards_and_half_precision_become_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let case = Case::open("decoder/llama").unwrap();
    checkpoint(&case, dir.path());
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let weights = case.weight_list().unwrap();
    let bytes: Vec<Vec<u8>> = weights
        .iter()
        .map(|w| w.values().iter().flat_map(|x| half_bits(*x)).collect())
        .collect();
    let mut map = serde_json::Map::new();
    for shard in 0..2 {
        let name = format!("model-0000{}-of-00002.safetensors", shard + 1);
        let part: Vec<TensorData> = (0..weights.len())
            .filter(|i| i % 2 == shard)
            .map(|i| TensorData {
                name: &weights[i].name,
                dtype: DType::BF16,
                shape: &weights[i].shape,
                bytes: &bytes[i],
            })
            .collect();
        part.iter().for_each(|t| {
            map.insert(t.name.to_owned(), json!(name));
        });
        safetensors::write(&dir.path().join(&name), &part, &[]).unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": map });
    let path = dir.path().join("model.safetensors.index.json");
    std::fs::write(path, index.to_string()).unwrap();
    let target = dir.path().join("model.gguf");
    let made = convert(
        dir.path(),
        &target,
        None,
        &ConvertOptions::default(),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(made.scheme, "BF16");
    let kept: BTreeSet<&str> = made.types.keys().copied().collect();
    assert_eq!(kept, BTreeSet::from(["BF16", "F32"]));
    let found = read(&load(&target), &case.ids("input_ids").unwrap());
    let wanted = case.f32s("logits").unwrap();
    assert_close("bf16", &found, wanted, Tolerance::absolute(0.1));
}

fn half_bits(x: f32) -> [u8; 2] {
    // To nearest, ties to even.
    let bits = x.to_bits();
    (((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16).to_le_bytes()
}

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

/// A GGUF file with one matrix.
fn small_gguf(path: &Path, values: &[f32]) {
    let mut metadata = Metadata::default();
    metadata.insert("general.architecture", "llama");
    let info = TensorInfo {
        name: "blk.0.attn_q.weight".into(),
        dtype: DType::F32,
        shape: vec![values.len() / 32, 32],
    };
    let mut writer = Writer::create(path, &metadata, std::slice::from_ref(&info)).unwrap();
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    writer.write(&info.name, &bytes).unwrap();
    writer.finish().unwrap();
}

#[test]
fn wrong_sources_and_targets_are_refused_in_one_line_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    small_gguf(&path("good.gguf"), &[0.5; 64]);
    let mut bad = [0.5; 64];
    bad[41] = f32::NAN;
    small_gguf(&path("nan.gguf"), &bad);
    std::fs::write(path("text.gguf"), "no model").unwrap();
    std::fs::write(path("there.gguf"), "kept").unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    let options = ConvertOptions::default();
    let run = |source: &str, target: &str| {
        quantize(
            &path(source),
            &path(target),
            Scheme::Q8_0,
            &options,
            &mut |_| {},
        )
        .map(|_| ())
        .map_err(|e| e.report())
    };
    for (source, target, why) in [
        ("missing.gguf", "out.gguf", "missing.gguf does not exist"),
        ("text.gguf", "out.gguf", "text.gguf"),
        (
            "nan.gguf",
            "out.gguf",
            "element 41 of tensor blk.0.attn_q.weight is not a finite number",
        ),
        ("good.gguf", "there.gguf", "--force"),
        ("good.gguf", "good.gguf", "it is the source"),
        ("good.gguf", "empty", "it is a folder"),
        ("good.gguf", "nowhere/out.gguf", "cannot create"),
        ("good.gguf", "out.safetensors", ".gguf"),
    ] {
        let report = run(source, target).unwrap_err();
        assert!(
            report.message.contains(why),
            "{source} to {target}: {}",
            report.message
        );
        assert!(!report.message.contains('\n'), "{}", report.message);
    }
    assert_eq!(std::fs::read_to_string(path("there.gguf")).unwrap(), "kept");
    let force = ConvertOptions {
        force: true,
        ..ConvertOptions::default()
    };
    quantize(
        &path("good.gguf"),
        &path("there.gguf"),
        Scheme::Q8_0,
        &force,
        &mut |_| {},
    )
    .unwrap();
    WeightFile::open(&path("there.gguf")).unwrap();

    let cancel = CancelFlag::new();
    cancel.cancel();
    let stopped = ConvertOptions {
        cancel,
        ..ConvertOptions::default()
    };
    let ended = quantize(
        &path("good.gguf"),
        &path("out.gguf"),
        Scheme::Q8_0,
        &stopped,
        &mut |_| {},
    );
    assert!(matches!(ended, Err(EngineError::Cancelled)));
    let convert_it = |source: &str| {
        convert(
            &path(source),
            &path("out.gguf"),
            None,
            &options,
            &mut |_| {},
        )
        .unwrap_err()
        .to_string()
    };
    assert!(
        convert_it("good.gguf").contains("is a file"),
        "{}",
        convert_it("good.gguf")
    );
    assert!(convert_it("missing").contains("does not exist"));
    assert!(convert_it("empty").contains("empty"));
    let left: BTreeSet<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let all = ["empty", "good.gguf", "nan.gguf", "text.gguf", "there.gguf"];
    assert_eq!(left, all.map(str::to_owned).into());
}

#[test]
fn checkpoints_that_lack_something_are_refused() {
    let case = Case::open("decoder/llama").unwrap();
    for (file, contents, why) in [
        ("config.json", None, "config.json"),
        ("tokenizer.json", None, "no tokenizer.json"),
        (
            "tokenizer.json",
            Some(r#"{"model": {"type": "Unigram"}}"#),
            "tokenizer.json",
        ),
        (
            "config.json",
            Some(r#"{"model_type": "mamba"}"#),
            "unknown architecture `mamba`",
        ),
        ("config.json", Some("{"), "is no JSON"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        checkpoint(&case, dir.path());
        match contents {
            Some(text) => std::fs::write(dir.path().join(file), text).unwrap(),
            None => std::fs::remove_file(dir.path().join(file)).unwrap(),
        }
        let target = dir.path().join("out.gguf");
        let error = convert(
            dir.path(),
            &target,
            None,
            &ConvertOptions::default(),
            &mut |_| {},
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(why) && !error.contains('\n'),
            "{file}: {error}"
        );
        assert!(!target.exists());
    }
}
