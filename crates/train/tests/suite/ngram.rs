//! A model from nothing beside n-grams on the same held-out texts.

use std::path::Path;

use medley_train::OptimiserKind;
use medley_train::RunSettings;
use medley_train::run::run;
use medley_train::text::data::HoldOut;
use medley_train::text::measure::compare;
use medley_train::text::{DecoderShape, TextSettings, prepare};

fn settings() -> TextSettings {
    TextSettings {
        shape: DecoderShape {
            vocab: 300,
            hidden: 32,
            intermediate: 64,
            layers: 1,
            heads: 2,
            kv_heads: 2,
            context: 32,
            tied: true,
        },
        steps: 40,
        batch: 8,
        accumulate: 1,
        length: 32,
        rate: 1e-2,
        warm_up: 4,
        optimiser: OptimiserKind::AdamW,
        weight_decay: 0.0,
        clip: 1.0,
        ema: None,
        bf16: false,
        hold_out: 0.3,
        shuffle: 10,
        seed: 1,
        lora: None,
    }
}

#[test]
fn both_are_measured_on_the_texts_that_training_held_out() {
    let data = tempfile::tempdir().unwrap();
    for n in 0..12 {
        let line = |i: usize| format!("value_{} = {}\n", (i * n) % 7, i % 5);
        let text: String = (0..60).map(line).collect();
        std::fs::write(data.path().join(format!("{n}.py")), text).unwrap();
    }
    let out = tempfile::tempdir().unwrap();
    let s = settings();
    let (mut task, mut trainer, _) = prepare(&s, data.path(), None, out.path(), false).unwrap();
    let run_settings = RunSettings {
        steps: s.steps,
        out: out.path().to_owned(),
        evaluate_every: 0,
        sample_every: 0,
        save_every: 0,
    };
    let end = run(
        &mut task,
        &mut trainer,
        &run_settings,
        None,
        &|| false,
        &mut |_| {},
    )
    .unwrap();
    let trained = end
        .evaluation
        .iter()
        .find(|e| e.0 == "bits_per_byte")
        .unwrap()
        .1;
    let hold = HoldOut {
        share: s.hold_out,
        seed: s.seed,
    };
    let found = compare(out.path(), data.path(), &hold, s.length, 5).unwrap();
    assert!(found.documents >= 1 && found.bytes > 500, "{found:?}");
    // The run's own evaluation takes windows that begin with no context.
    assert!(
        (found.model / trained - 1.0).abs() < 0.1,
        "{found:?} {trained}"
    );
    // Lines of this kind are what n-grams are best at.
    assert!(found.ngrams < 1.0 && found.ngrams > 0.05, "{found:?}");
    let none = HoldOut {
        share: 0.0,
        seed: s.seed,
    };
    assert!(compare(out.path(), data.path(), &none, s.length, 5).is_err());
}

/// `MEDLEY_LM=FOLDER MEDLEY_LM_DATA=FOLDER cargo test --release --workspace --test suite -- ngram:: --ignored --nocapture`
#[test]
#[ignore = "measures a model that takes long to train"]
fn a_trained_model_beside_n_grams() {
    let folder = std::env::var("MEDLEY_LM").expect("MEDLEY_LM names the model's folder");
    let data = std::env::var("MEDLEY_LM_DATA").expect("MEDLEY_LM_DATA names its data");
    let text = std::fs::read_to_string(Path::new(&folder).join("training.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let s: TextSettings = serde_json::from_value(json["training"].clone()).unwrap();
    let hold = HoldOut {
        share: s.hold_out,
        seed: s.seed,
    };
    let found = compare(folder.as_ref(), data.as_ref(), &hold, s.length, 5).unwrap();
    eprintln!("{found:#?}");
    assert!(found.model < found.ngrams, "the model is no better");
}
