//! Adapters from training to use: over a published checkpoint and over a quantised file, as PEFT's folder, as GGUF, and
//! merged.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use medley_engine::convert::{ConvertOptions, Scheme, adapter, convert, merge, quantize};
use medley_engine::train::run::{find_checkpoint, run};
use medley_engine::train::text::{DecoderShape, LoraSettings, TextSettings, prepare};
use medley_engine::train::{Error, Event, OptimiserKind, RunSettings};
use medley_engine::{KvType, LoadOptions, TextModel};
use medley_formats::{DType, WeightFile};
use medley_kernels::BlockType;
use medley_models::decoder::{Input, Wanted};
use tempfile::TempDir;

fn settings(lora: Option<LoraSettings>) -> TextSettings {
    TextSettings {
        shape: DecoderShape {
            vocab: 300,
            hidden: 64,
            intermediate: 96,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            context: 64,
            tied: true,
        },
        steps: 24,
        batch: 2,
        accumulate: 1,
        length: 32,
        rate: 5e-3,
        warm_up: 2,
        optimiser: OptimiserKind::AdamW,
        weight_decay: 0.0,
        clip: 1.0,
        ema: None,
        bf16: false,
        hold_out: 0.1,
        shuffle: 8,
        seed: 5,
        lora,
    }
}

fn rank(rank: usize) -> LoraSettings {
    LoraSettings {
        rank,
        alpha: 8.0,
        targets: Vec::new(),
        base: "base".into(),
    }
}

fn data(folder: &Path, answer: &str) -> PathBuf {
    let path = folder.join(format!("{answer}.jsonl"));
    let lines: Vec<String> = (0..30)
        .map(|n| {
            format!(
                r#"{{"messages": [{{"role": "user", "content": "say {n}"}}, {{"role": "assistant", "content": "{answer} {n} {answer}"}}]}}"#
            )
        })
        .collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

/// Runs to the end, or for so many steps; gives the losses of its steps.
fn train(
    settings: &TextSettings,
    data: &Path,
    base: Option<&Path>,
    out: &Path,
    stop: Option<u64>,
) -> Result<Vec<f64>, Error> {
    let checkpoint = find_checkpoint(out)?;
    let (mut task, mut trainer, plan) = prepare(settings, data, base, out, checkpoint.is_some())?;
    assert_eq!(plan.frozen > 0, settings.lora.is_some());
    let run_settings = RunSettings {
        steps: settings.steps,
        out: out.to_owned(),
        evaluate_every: 10,
        sample_every: 10,
        save_every: 5,
    };
    let (mut losses, made) = (Vec::new(), Cell::new(0));
    run(
        &mut task,
        &mut trainer,
        &run_settings,
        checkpoint.as_ref(),
        &|| stop.is_some_and(|stop| made.get() >= stop),
        &mut |event| {
            if let Event::Step { report, .. } = event {
                losses.push(report.loss);
                made.set(made.get() + 1);
            }
        },
    )?;
    Ok(losses)
}

/// A model of its own as a folder and as a quantised file, and talks that it has not seen.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let first = data(desk.folder.path(), "well");
        train(&settings(None), &first, None, &desk.at("base"), None).unwrap();
        let (options, source) = (ConvertOptions::default(), desk.at("base"));
        let target = desk.at("base.gguf");
        convert(&source, &target, Some(Scheme::Q8_0), &options, &mut |_| {}).unwrap();
        desk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn learn(&self, base: &str, out: &str) -> Vec<f64> {
        let data = data(self.folder.path(), "arr");
        let (base, out) = (self.at(base), self.at(out));
        train(&settings(Some(rank(4))), &data, Some(&base), &out, None).unwrap()
    }
}

/// Logits of a text under a model with adapters.
fn logits(model: &Path, loras: &[(PathBuf, f64)]) -> Vec<f32> {
    let options = LoadOptions {
        kv_type: KvType::F32,
        loras: loras.to_vec(),
        ..LoadOptions::default()
    };
    let model = TextModel::load(model, &options).unwrap();
    let ids = model.tokenizer().encode("say arr 7", false, false).unwrap();
    let mut cache = model.cache();
    let input = Input {
        tokens: &ids,
        cache: &mut cache,
        wanted: Wanted::All,
    };
    model.decoder().forward(&mut [input]).unwrap().remove(0)
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let gaps = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    gaps.fold(0.0, f32::max)
}

#[test]
fn an_adapter_is_trained_used_written_and_merged() {
    let desk = Desk::new();
    let options = ConvertOptions::default();
    for (base, name) in [("base", "over-folder"), ("base.gguf", "over-gguf")] {
        let losses = desk.learn(base, name);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        assert!(
            mean(&losses[18..]) < 0.92 * mean(&losses[..2]),
            "{losses:?}"
        );
        let (base, lora) = (desk.at(base), desk.at(name));
        let trained = std::fs::read_dir(&lora).unwrap();
        let files: Vec<String> = trained
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            files.iter().any(|f| f == "adapter_config.json"),
            "{files:?}"
        );
        assert!(!files.iter().any(|f| f == "model.safetensors"), "{files:?}");
        // Only the factors are in the checkpoint.
        let checkpoint = WeightFile::open(&lora.join("checkpoint.safetensors")).unwrap();
        assert!(
            checkpoint
                .tensors()
                .iter()
                .all(|t| t.name.contains(".lora_"))
        );
        let used = [(lora.clone(), 1.0)];
        let (with, without) = (logits(&base, &used), logits(&base, &[]));
        assert!(distance(&with, &without) > 0.5, "{name}");
        // As GGUF it is the same adapter, in both models.
        let gguf = desk.at(&format!("{name}.gguf"));
        let made = adapter(&lora, &base, &gguf, None, &options).unwrap();
        assert_eq!(made.types["F32"], 2 * 2 * 7);
        assert!(
            distance(&logits(&base, &[(gguf.clone(), 1.0)]), &with) < 1e-4,
            "{name}"
        );
        let other = match name {
            "over-gguf" => desk.at("base"),
            _ => desk.at("base.gguf"),
        };
        let there = logits(&other, &used);
        assert!(
            distance(&logits(&other, &[(gguf.clone(), 1.0)]), &there) < 1e-4,
            "{name}"
        );
        // The rows of queries and keys are those of the model, whichever it is.
        assert!(distance(&there, &with) < 0.3, "{name}");
        // Merged into a file, and half and half.
        let merged = desk.at(&format!("{name}-merged.gguf"));
        merge(
            &base,
            &used,
            &merged,
            Some(Scheme::F32),
            &options,
            &mut |_| {},
        )
        .unwrap();
        assert!(distance(&logits(&merged, &[]), &with) < 0.05, "{name}");
        let twice = [(lora.clone(), 0.5), (gguf.clone(), 0.5)];
        assert!(distance(&logits(&base, &twice), &with) < 1e-3, "{name}");
        let merged = desk.at(&format!("{name}-small.gguf"));
        let made = merge(
            &base,
            &twice,
            &merged,
            Some(Scheme::Q8_0),
            &options,
            &mut |_| {},
        )
        .unwrap();
        assert!(made.types["Q8_0"] > 0);
        assert!(distance(&logits(&merged, &[]), &with) < 0.3, "{name}");
    }
    a_merged_folder_is_a_checkpoint(&desk, &options);
}

fn a_merged_folder_is_a_checkpoint(desk: &Desk, options: &ConvertOptions) {
    let used = [(desk.at("over-folder"), 1.0)];
    let (base, target) = (desk.at("base"), desk.at("whole"));
    merge(&base, &used, &target, None, options, &mut |_| {}).unwrap();
    let with = logits(&base, &used);
    assert!(distance(&logits(&target, &[]), &with) < 1e-4);
    let (before, after) = (
        WeightFile::open(&base).unwrap(),
        WeightFile::open(&target).unwrap(),
    );
    assert_eq!(before.tensors().len(), after.tensors().len());
    let embedding = "model.embed_tokens.weight";
    assert_eq!(
        before.bytes(embedding).unwrap(),
        after.bytes(embedding).unwrap()
    );
    // In bf16 it stays bf16.
    let (half, half_target) = (desk.at("half"), desk.at("half-whole"));
    std::fs::create_dir_all(&half).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(base.join(name), half.join(name)).unwrap();
    }
    let infos: Vec<_> = before
        .tensors()
        .iter()
        .map(|info| medley_formats::TensorInfo {
            dtype: DType::BF16,
            ..info.clone()
        })
        .collect();
    let path = half.join("model.safetensors");
    medley_formats::safetensors::write_with(&path, &infos, &[], |info, put| {
        let values = before.to_f32(&info.name)?;
        let mut bytes = vec![0; 2 * values.len()];
        medley_kernels::quantize(BlockType::BF16, &values, &mut bytes).unwrap();
        put(&bytes)
    })
    .unwrap();
    merge(&half, &used, &half_target, None, options, &mut |_| {}).unwrap();
    let after = WeightFile::open(&half_target).unwrap();
    assert!(after.tensors().iter().all(|t| t.dtype == DType::BF16));
    assert!(distance(&logits(&half_target, &[]), &with) < 0.2);
}

#[test]
fn a_run_on_an_adapter_goes_on_with_the_very_same_losses() {
    let desk = Desk::new();
    let data = data(desk.folder.path(), "arr");
    for (base, name) in [("base", "folder"), ("base.gguf", "gguf")] {
        let base = desk.at(base);
        let (whole, parts) = (desk.at(&format!("{name}-w")), desk.at(&format!("{name}-p")));
        let settings = settings(Some(rank(2)));
        let expected = train(&settings, &data, Some(&base), &whole, None).unwrap();
        let mut found = train(&settings, &data, Some(&base), &parts, Some(7)).unwrap();
        assert_eq!(found.len(), 7);
        found.extend(train(&settings, &data, Some(&base), &parts, None).unwrap());
        assert_eq!(found, expected, "{name}");
        let adapter = |folder: &Path| std::fs::read(folder.join("adapter_model.safetensors"));
        assert_eq!(adapter(&whole).unwrap(), adapter(&parts).unwrap());
    }
    // Another model below is another run.
    let settings = settings(Some(rank(2)));
    let mixed = train(
        &settings,
        &data,
        Some(&desk.at("base")),
        &desk.at("gguf-p"),
        None,
    );
    let text = mixed.unwrap_err().to_string();
    assert!(text.contains("another model than --base"), "{text}");
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let desk = Desk::new();
    let data = data(desk.folder.path(), "arr");
    let (base, out) = (desk.at("base.gguf"), desk.at("out"));
    let refused = |lora: LoraSettings, base: Option<&Path>| {
        let text = train(&settings(Some(lora)), &data, base, &out, None)
            .unwrap_err()
            .to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    };
    assert!(refused(rank(0), Some(&base)).contains("rank of 0"));
    assert!(refused(rank(40), Some(&base)).contains("between 1 and 32"));
    let targets = LoraSettings {
        targets: vec!["query".into()],
        ..rank(2)
    };
    assert!(refused(targets, Some(&base)).contains("it has q_proj, k_proj"));
    let alpha = LoraSettings {
        alpha: f64::NAN,
        ..rank(2)
    };
    assert!(refused(alpha, Some(&base)).contains("must be above 0"));
    assert!(refused(rank(2), None).contains("give it with --base"));
    let weights = desk.at("base").join("model.safetensors");
    assert!(refused(rank(2), Some(&weights)).contains("a GGUF file, or a folder"));
    refusals_of_files(&desk);
}

fn refusals_of_files(desk: &Desk) {
    let options = ConvertOptions::default();
    desk.learn("base", "lora");
    // A model of another width.
    let wide = TextSettings {
        shape: DecoderShape {
            hidden: 96,
            ..settings(None).shape
        },
        steps: 1,
        ..settings(None)
    };
    let data = data(desk.folder.path(), "well");
    train(&wide, &data, None, &desk.at("wide"), None).unwrap();
    let lora = desk.at("lora");
    let used = [(lora.clone(), 1.0)];
    let merged = |base: &str, target: &str, scheme: Option<Scheme>| {
        let (base, target) = (desk.at(base), desk.at(target));
        let text = merge(&base, &used, &target, scheme, &options, &mut |_| {}).unwrap_err();
        assert!(!target.exists() || target.is_dir(), "{target:?}");
        text.to_string()
    };
    let text = merged("wide", "x.gguf", None);
    assert!(
        text.contains("model.layers.0.mlp.down_proj") && text.contains("64 x 96"),
        "{text}"
    );
    assert!(merged("base.gguf", "folder", None).contains("ends in .gguf"));
    assert!(merged("base", "folder", Some(Scheme::Q8_0)).contains("--type is for GGUF"));
    assert!(merged("base", "base", None).contains("exists already"));
    let convert = |source: &str, scheme| {
        let (source, base, target) = (desk.at(source), desk.at("base"), desk.at("y.gguf"));
        let made = adapter(&source, &base, &target, scheme, &options);
        made.unwrap_err().to_string()
    };
    assert!(convert("lora", Some(Scheme::Q4_0)).contains("F32, F16 or BF16"));
    assert!(convert("wide", None).contains("adapter_model.safetensors"));
    assert!(convert("base.gguf", None).contains("no LoRA"));
    // An adapter is no model.
    let target = desk.at("lora.gguf");
    adapter(&lora, &desk.at("base"), &target, None, &options).unwrap();
    let quantized = quantize(
        &target,
        &desk.at("z.gguf"),
        Scheme::F16,
        &options,
        &mut |_| {},
    );
    assert!(quantized.is_ok(), "its types may change");
    assert!(TextModel::load(&target, &LoadOptions::default()).is_err());
}
