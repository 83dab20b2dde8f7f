//! Training of a small generator on little pictures, as the command line runs it.

use std::path::Path;
use std::sync::Arc;

use crate::common::{bytes, learn, plain, png, put};
use medley_media::Format;
use medley_train::adversarial::{AdversarialLoss, Augmentation};
use medley_train::data::{Dataset, Transform};
use medley_train::gan::{GanPlan, GanSettings, GanTask, prepare};
use medley_train::run::{find_checkpoint, run};
use medley_train::{Error, Event, RunEnd, RunSettings, Trainer};
use serde_json::json;

fn pictures(folder: &Path) {
    for n in 0..24u8 {
        let colour = [200, 10 * n, 255 - 10 * n];
        let picture = plain(16, 16, colour);
        put(
            folder,
            &format!("square {n}.png"),
            bytes(&picture, Format::Png),
        );
    }
}

fn settings() -> GanSettings {
    GanSettings {
        model: json!({
            "latent": 8, "style": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8,
        }),
        transform: Transform::new(8, 8),
        text: false,
        text_tokens: 16,
        steps: 20,
        batch: 4,
        rate: 1e-2,
        loss: AdversarialLoss::Logistic,
        penalty: 0.5,
        penalty_every: 3,
        augmentation: Augmentation::Adaptive,
        ema: 0.9,
        truncation: 0.9,
        hold_out: 0.2,
        per_group: None,
        shuffle: 100,
        seed: 7,
        prompts: Vec::new(),
    }
}

fn prepared(data: &Path, settings: &GanSettings) -> Result<(GanTask, Trainer, GanPlan), Error> {
    let dataset = Arc::new(Dataset::open(data).unwrap());
    prepare(settings, dataset, None, None)
}

/// Losses of the steps made, all measurements at their ends, and the end.
type Ran = (Vec<f64>, Result<RunEnd, Error>);

/// Runs in `out` and stops when `stop` steps are made in this call.
fn train(data: &Path, out: &Path, settings: &GanSettings, stop: Option<u64>) -> Ran {
    let checkpoint = find_checkpoint(out).unwrap();
    let (mut task, mut trainer, plan) = prepared(data, settings).unwrap();
    assert!(plan.generator > 1000 && plan.discriminator > 1000 && plan.memory > 50_000);
    let run_settings = RunSettings {
        steps: settings.steps,
        out: out.to_owned(),
        evaluate_every: 6,
        sample_every: 10,
        save_every: 4,
    };
    let (losses, end) = learn(
        &mut task,
        &mut trainer,
        &run_settings,
        checkpoint.as_ref(),
        stop,
    );
    (losses, end)
}

/// What a run measured, without the time that it took.
fn measured(folder: &Path) -> Vec<serde_json::Value> {
    let mut lines = medley_train::metrics::read(folder).unwrap();
    for line in &mut lines {
        line.as_object_mut().unwrap().remove("pictures_per_s");
    }
    lines
}

#[test]
fn a_run_that_goes_on_makes_the_very_same_losses() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    for augmentation in [Augmentation::Adaptive, Augmentation::Fixed(0.5)] {
        let settings = GanSettings {
            augmentation,
            ..settings()
        };
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (expected, end) = train(data.path(), whole.path(), &settings, None);
        assert_eq!((expected.len(), end.unwrap().cancelled), (20, false));
        let (mut found, end) = train(data.path(), parts.path(), &settings, Some(7));
        assert!(end.unwrap().cancelled);
        let checkpoint = std::fs::read(parts.path().join("checkpoint.safetensors")).unwrap();
        // Steps after the last checkpoint are lost as by a crash.
        train(data.path(), parts.path(), &settings, Some(3))
            .1
            .unwrap();
        std::fs::write(parts.path().join("checkpoint.safetensors"), checkpoint).unwrap();
        let (rest, end) = train(data.path(), parts.path(), &settings, None);
        found.extend(rest);
        assert_eq!((found, end.unwrap().steps), (expected, 20));
        assert_eq!(measured(parts.path()), measured(whole.path()));
        for name in [
            "model.safetensors",
            "samples/step-0000020.png",
            "config.json",
        ] {
            let file = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
            assert!(file(whole.path()) == file(parts.path()), "{name}");
        }
        let lines = measured(whole.path());
        assert!(lines.iter().any(|l| l["held_out_sign"].is_f64()));
        // The penalty comes at every third step.
        let slopes = lines.iter().filter(|l| l["squared_slope"].is_f64());
        assert_eq!(slopes.count(), 7);
        if augmentation == Augmentation::Adaptive {
            assert!(lines.iter().any(|l| l["distorted"].as_f64() > Some(0.0)));
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let refused = |settings: GanSettings| match prepared(data.path(), &settings) {
        Err(Error::Setting(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{settings:?}"),
    };
    let size = |width, height| GanSettings {
        transform: Transform::new(width, height),
        ..settings()
    };
    for (width, height, near) in [
        (48, 48, "near it are 32x32 and 64x64"),
        (32, 16, "near it are 16x16 and 32x32"),
        (4, 4, "near it is 8x8"),
        (3000, 3000, "near it is 1024x1024"),
    ] {
        let text = refused(size(width, height));
        assert!(text.ends_with(near), "{text}");
    }
    for wrong in [
        GanSettings {
            batch: 0,
            ..settings()
        },
        GanSettings {
            penalty_every: 0,
            ..settings()
        },
        GanSettings {
            rate: 0.0,
            ..settings()
        },
        GanSettings {
            penalty: -1.0,
            ..settings()
        },
        GanSettings {
            augmentation: Augmentation::Fixed(1.5),
            ..settings()
        },
        GanSettings {
            hold_out: 1.0,
            ..settings()
        },
        GanSettings {
            ema: 1.0,
            ..settings()
        },
    ] {
        let text = refused(wrong);
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn numbers_that_run_away_end_the_run_and_leave_its_checkpoint() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pictures(data.path());
    let wild = GanSettings {
        rate: 1e30,
        ..settings()
    };
    let (losses, end) = train(data.path(), out.path(), &wild, Some(0));
    assert!(losses.is_empty() && end.unwrap().cancelled);
    let before = std::fs::read(out.path().join("checkpoint.safetensors")).unwrap();
    let (_, end) = train(data.path(), out.path(), &wild, None);
    let error = end.unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    let after = std::fs::read(out.path().join("checkpoint.safetensors")).unwrap();
    assert!(before == after);
}

#[test]
fn pictures_that_cannot_be_read_are_named_and_left_out() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pictures(data.path());
    put(data.path(), "torn.png", &png([1, 2, 3])[..40]);
    let settings = GanSettings {
        hold_out: 0.0,
        ..settings()
    };
    let (mut task, mut trainer, _) = prepared(data.path(), &settings).unwrap();
    let run_settings = RunSettings {
        steps: 10,
        out: out.path().to_owned(),
        evaluate_every: 0,
        sample_every: 0,
        save_every: 0,
    };
    let mut complaints = Vec::new();
    run(
        &mut task,
        &mut trainer,
        &run_settings,
        None,
        &|| false,
        &mut |event| {
            if let Event::Complaint(line) = event {
                complaints.push(line);
            }
        },
    )
    .unwrap();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].starts_with("torn.png: "), "{complaints:?}");
}
