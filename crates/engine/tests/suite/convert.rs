//! Model files out of model files: checkpoints to GGUF and GGUF to other element types, beside the golden logits.
#![cfg(feature = "generators")]

use std::collections::BTreeSet;
use std::path::Path;

use crate::checkpoints::{checkpoint, load, notes, read};
use medley_engine::convert::{ConvertEvent, ConvertOptions, Scheme, convert, quantize};
use medley_engine::{CancelFlag, EngineError};
use medley_formats::gguf::{Metadata, Writer};
use medley_formats::safetensors::TensorData;
use medley_formats::{DType, TensorInfo, WeightFile, safetensors};
use medley_testkit::{Case, Tolerance, assert_close};
use serde_json::json;

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
