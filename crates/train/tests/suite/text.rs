//! Training of a small decoder on texts, as the command line runs it.

use crate::common::learn;
use std::path::Path;

use medley_models::decoder::{Input, Wanted, from_file};
use medley_nn::{Device, KvType};
use medley_tokenize::Tokenizer;
use medley_train::run::{find_checkpoint, run};
use medley_train::text::data::{Document, Encoder, HoldOut, Packer, TextSource};
use medley_train::text::{DecoderShape, TextSettings, prepare, vocabulary};
use medley_train::{Error, Event, OptimiserKind, RunEnd, RunSettings};

fn texts(folder: &Path) {
    for n in 0..30u32 {
        let words = [
            "red", "green", "blue", "apple", "pear", "sky", "runs", "sings",
        ];
        let text: Vec<&str> = (0..200u32)
            .map(|i| words[((i * i + n * 7 + i * n) % 8) as usize])
            .collect();
        std::fs::write(folder.join(format!("{n}.txt")), text.join(" ")).unwrap();
    }
}

fn settings(steps: u64) -> TextSettings {
    TextSettings {
        shape: DecoderShape {
            vocab: 280,
            hidden: 32,
            intermediate: 64,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            context: 32,
            tied: true,
        },
        steps,
        batch: 4,
        accumulate: 2,
        length: 24,
        rate: 3e-3,
        warm_up: 5,
        optimiser: OptimiserKind::AdamW,
        weight_decay: 0.1,
        clip: 1.0,
        ema: Some(0.9),
        bf16: false,
        hold_out: 0.1,
        shuffle: 8,
        seed: 7,
        lora: None,
    }
}

/// Runs in `out`, stops when `stop` steps are made in this call, and gives the losses of its steps.
fn train(data: &Path, out: &Path, steps: u64, stop: Option<u64>) -> (Vec<f64>, RunEnd) {
    let checkpoint = find_checkpoint(out).unwrap();
    // The schedule belongs to the whole run.
    let settings = settings(60);
    let resume = checkpoint.is_some();
    let (mut task, mut trainer, plan) = prepare(&settings, data, None, out, resume).unwrap();
    assert!(plan.held_out > 0 && plan.parameters > 10_000 && plan.memory > 4 * plan.parameters);
    let run_settings = RunSettings {
        steps,
        out: out.to_owned(),
        evaluate_every: 20,
        sample_every: 30,
        save_every: 7,
    };
    let (losses, end) = learn(
        &mut task,
        &mut trainer,
        &run_settings,
        checkpoint.as_ref(),
        stop,
    );
    (losses, end.unwrap())
}

#[test]
fn a_run_that_goes_on_makes_the_very_same_losses() {
    let data = tempfile::tempdir().unwrap();
    texts(data.path());
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (expected, end) = train(data.path(), whole.path(), 60, None);
    assert_eq!((expected.len(), end.steps, end.cancelled), (60, 60, false));
    assert!(expected[59] < 0.7 * expected[0], "{expected:?}");
    let (mut found, end) = train(data.path(), parts.path(), 60, Some(4));
    assert!(end.cancelled);
    // A second stop, in which steps after the last checkpoint are lost as by a crash.
    let checkpoint = std::fs::read(parts.path().join("checkpoint.safetensors")).unwrap();
    train(data.path(), parts.path(), 60, Some(9));
    std::fs::write(parts.path().join("checkpoint.safetensors"), checkpoint).unwrap();
    let (rest, end) = train(data.path(), parts.path(), 60, None);
    found.extend(rest);
    assert_eq!((found, end.steps), (expected, 60));
    let lines = medley_train::metrics::read(parts.path()).unwrap();
    let losses = lines.iter().filter(|l| l["loss"].is_f64()).count();
    assert_eq!(losses, 60);
    assert!(lines.iter().any(|l| l["bits_per_byte"].is_f64()));
    let model = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(model(whole.path()), model(parts.path()));
    assert!(parts.path().join("samples/step-60.txt").exists());
}

#[test]
fn the_folder_is_a_model() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    texts(data.path());
    train(data.path(), out.path(), 60, None);
    let config = std::fs::read_to_string(out.path().join("config.json")).unwrap();
    let config = serde_json::from_str(&config).unwrap();
    let file = medley_formats::WeightFile::open(&out.path().join("model.safetensors")).unwrap();
    let model = from_file(file, out.path(), Some(&config), &Device::Cpu).unwrap();
    let tokenizer = Tokenizer::from_file(out.path()).unwrap();
    let ids = tokenizer.encode("red green blue", false, false).unwrap();
    let mut cache = model.cache(KvType::F32, 32);
    let input = Input {
        tokens: &ids,
        cache: &mut cache,
        wanted: Wanted::Last,
    };
    let logits = model.forward(&mut [input]).unwrap().remove(0);
    assert_eq!(logits.len(), tokenizer.vocab_size());
}

#[test]
fn other_settings_or_data_are_no_continuation() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    texts(data.path());
    train(data.path(), out.path(), 60, Some(3));
    let checkpoint = find_checkpoint(out.path()).unwrap().unwrap();
    let other = TextSettings {
        rate: 1e-4,
        ..settings(60)
    };
    let go_on = |settings: &TextSettings| {
        let (mut task, mut trainer, _) =
            prepare(settings, data.path(), None, out.path(), true).unwrap();
        let run_settings = RunSettings {
            steps: 60,
            out: out.path().to_owned(),
            evaluate_every: 0,
            sample_every: 0,
            save_every: 0,
        };
        run(
            &mut task,
            &mut trainer,
            &run_settings,
            Some(&checkpoint),
            &|| true,
            &mut |_| {},
        )
    };
    assert!(matches!(go_on(&other), Err(Error::State(_))));
    std::fs::write(data.path().join("new.txt"), "another text").unwrap();
    assert!(matches!(go_on(&settings(60)), Err(Error::State(_))));
    assert!(find_checkpoint(data.path()).unwrap().is_none());
    std::fs::write(out.path().join("checkpoint.safetensors"), b"nonsense").unwrap();
    assert!(find_checkpoint(out.path()).is_err());
}

/// A run whose loss becomes no number ends, and its last checkpoint stays.
#[test]
fn what_is_no_number_ends_the_run_with_the_last_checkpoint_kept() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    texts(data.path());
    let (mut task, mut trainer, _) =
        prepare(&settings(60), data.path(), None, out.path(), false).unwrap();
    let run_settings = RunSettings {
        steps: 60,
        out: out.path().to_owned(),
        evaluate_every: 0,
        sample_every: 0,
        save_every: 5,
    };
    let parameters = trainer.parameters().clone();
    let result = run(
        &mut task,
        &mut trainer,
        &run_settings,
        None,
        &|| false,
        &mut |event| {
            if let Event::Step { report, .. } = event
                && report.step == 7
            {
                let first = &parameters.all()[0];
                first.update(|values| values.fill(f32::NAN)).unwrap();
            }
        },
    );
    assert!(
        matches!(result, Err(Error::NotFinite { step: 8, .. })),
        "{result:?}"
    );
    assert_eq!(find_checkpoint(out.path()).unwrap().unwrap().step(), 5);
}

fn encoder(source: &mut TextSource, folder: &Path) -> Encoder {
    let all: Vec<usize> = (0..source.len()).collect();
    vocabulary::make(source, &all, 280, folder).unwrap();
    let tokenizer = Tokenizer::from_file(folder).unwrap();
    let template = medley_tokenize::ChatTemplate::from_folder(folder).unwrap();
    Encoder::new(tokenizer, template)
}

#[test]
fn packing_goes_on_at_every_place_and_loses_no_token() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    texts(data.path());
    let mut source = TextSource::open(data.path()).unwrap();
    let encoder = encoder(&mut source, out.path());
    let packer = || {
        let source = TextSource::open(data.path()).unwrap();
        let (documents, _) = source.split(&HoldOut {
            share: 0.1,
            seed: 3,
        });
        Packer::new(source, encoder.clone(), documents, 6, 5).unwrap()
    };
    let mut first = packer();
    let all: Vec<_> = (0..400)
        .map(|_| (first.place(), first.batch(1, 17).unwrap()))
        .collect();
    for at in [0, 1, 2, 57, 399] {
        let mut later = packer();
        later.seek(all[at].0).unwrap();
        for (_, batch) in &all[at..] {
            assert_eq!(later.batch(1, 17).unwrap(), *batch);
        }
    }
    // Every sequence begins with what the one before it was to predict last.
    for pair in all.windows(2) {
        assert_eq!(pair[0].1.targets.last(), pair[1].1.ids.first());
        assert_eq!(pair[0].1.targets[..16], pair[0].1.ids[1..]);
    }
}

#[test]
fn of_chats_the_answers_count() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let chat = r#"{"messages": [{"role": "user", "content": "hi there"}, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "bye"}, {"role": "assistant", "content": "ciao"}]}"#;
    std::fs::write(data.path().join("a.jsonl"), chat).unwrap();
    let mut source = TextSource::open(data.path()).unwrap();
    let encoder = encoder(&mut source, out.path());
    let Some(document @ Document::Chat(_)) = source.read(0) else {
        panic!("a chat");
    };
    let tokens = encoder.encode(&document).unwrap();
    let counted: Vec<u32> = tokens
        .ids
        .iter()
        .zip(&tokens.counted)
        .filter_map(|(&id, &counted)| counted.then_some(id))
        .collect();
    assert_eq!(encoder.tokenizer().decode(&counted), "hello\nciao\n");
    assert_eq!(tokens.bytes, 0);
}
