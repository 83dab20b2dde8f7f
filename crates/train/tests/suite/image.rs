//! Training of a small diffusion transformer on pictures, as the command line runs it.

use std::path::Path;
use std::sync::Arc;

use crate::common::{bytes, learn, put};
use medley_media::{Format, Picture};
use medley_nn::Device;
use medley_sampling::diffusion::{BetaShape, Prediction};
use medley_train::data::{Dataset, Transform};
use medley_train::image::{Denoising, ImageSettings, Mixing, Times, prepare};
use medley_train::run::{find_checkpoint, run};
use medley_train::{Error, OptimiserKind, RunEnd, RunSettings};
use serde_json::json;

fn pictures(folder: &Path) {
    for n in 0..24u8 {
        // A bar on a ground, both of colours of their own.
        let (level, at) = (f32::from(n) / 12.0 - 1.0, usize::from(n) % 7);
        let value = |i: usize| match (i % 12).abs_diff(at) < 3 {
            true => level,
            false => -level * (i / 120) as f32 / 2.0,
        };
        let planes: Vec<f32> = (0..3 * 120).map(value).collect();
        let picture = Picture::from_planes(&planes, 12, 10).unwrap();
        put(folder, &format!("{n}.png"), bytes(&picture, Format::Png));
        put(folder, &format!("{n}.txt"), format!("picture number {n}"));
    }
}

const FLOW: Mixing = Mixing::Flow {
    times: Times::LogitNormal {
        mean: 0.0,
        deviation: 1.0,
    },
};

fn settings() -> ImageSettings {
    ImageSettings {
        model: json!({
            "patch_size": 4, "stem_channels": [8, 12], "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 64, "text": "none", "shared_modulation": true,
        }),
        transform: Transform {
            flip: 0.5,
            ..Transform::new(12, 8)
        },
        prediction: Prediction::Flow,
        mixing: FLOW,
        drop_captions: 0.1,
        text_tokens: 16,
        steps: 40,
        batch: 4,
        accumulate: 2,
        rate: 3e-3,
        warm_up: 5,
        optimiser: OptimiserKind::AdamW,
        weight_decay: 0.01,
        clip: 1.0,
        ema: Some(0.9),
        bf16: false,
        recompute: false,
        hold_out: 0.2,
        per_group: None,
        shuffle: 9,
        seed: 7,
        guidance: 1.0,
        prompts: Vec::new(),
        clips: None,
    }
}

/// Runs in `out`, stops when `stop` steps are made in this call, and gives the losses of its steps.
fn train(data: &Path, out: &Path, settings: &ImageSettings, stop: Option<u64>) -> Trained {
    let checkpoint = find_checkpoint(out).unwrap();
    let dataset = Arc::new(Dataset::open(data).unwrap());
    let (mut task, mut trainer, plan) =
        prepare(settings, dataset, None, None, None, &Device::Cpu).unwrap();
    assert_eq!((plan.tokens, plan.pictures_per_step), (6, 8));
    assert!(plan.parameters > 10_000 && plan.memory > 4 * plan.parameters);
    let run_settings = RunSettings {
        steps: settings.steps,
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
    (losses, end)
}

type Trained = (Vec<f64>, Result<RunEnd, Error>);

#[test]
fn a_run_that_goes_on_makes_the_very_same_losses_and_weights() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (expected, end) = train(data.path(), whole.path(), &settings(), None);
    let end = end.unwrap();
    assert_eq!((expected.len(), end.steps, end.cancelled), (40, 40, false));
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(
        mean(&expected[30..]) < 0.8 * mean(&expected[..5]),
        "{expected:?}"
    );
    assert_eq!(end.evaluation[0].0, "held_out_loss");
    let (mut found, end) = train(data.path(), parts.path(), &settings(), Some(4));
    assert!(end.unwrap().cancelled);
    // A second stop, in which steps after the last checkpoint are lost as by a crash.
    let checkpoint = std::fs::read(parts.path().join("checkpoint.safetensors")).unwrap();
    let _ = train(data.path(), parts.path(), &settings(), Some(9));
    std::fs::write(parts.path().join("checkpoint.safetensors"), checkpoint).unwrap();
    let (rest, _) = train(data.path(), parts.path(), &settings(), None);
    found.extend(rest);
    assert_eq!(found, expected);
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    for name in [
        "model.safetensors",
        "config.json",
        "samples/step-0000040.png",
    ] {
        assert_eq!(read(whole.path(), name), read(parts.path(), name), "{name}");
    }
    let other = ImageSettings {
        batch: 5,
        ..settings()
    };
    let dataset = Arc::new(Dataset::open(data.path()).unwrap());
    let (mut task, mut trainer, _) =
        prepare(&other, dataset, None, None, None, &Device::Cpu).unwrap();
    let checkpoint = find_checkpoint(parts.path()).unwrap();
    let run_settings = RunSettings {
        steps: 50,
        out: parts.path().to_owned(),
        evaluate_every: 0,
        sample_every: 0,
        save_every: 0,
    };
    let error = run(
        &mut task,
        &mut trainer,
        &run_settings,
        checkpoint.as_ref(),
        &|| false,
        &mut |_| {},
    );
    assert!(error.unwrap_err().to_string().contains("other settings"));
}

#[test]
fn blocks_that_run_again_learn_the_same() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let (kept, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let short = ImageSettings {
        steps: 8,
        ..settings()
    };
    let recompute = ImageSettings {
        recompute: true,
        ..short.clone()
    };
    let (expected, _) = train(data.path(), kept.path(), &short, None);
    let (found, _) = train(data.path(), again.path(), &recompute, None);
    for (a, b) in expected.iter().zip(&found) {
        assert!((a - b).abs() < 1e-4 * a.abs(), "{expected:?} {found:?}");
    }
}

#[test]
fn every_prediction_learns() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let betas = BetaShape::Cosine;
    for (prediction, min_snr) in [
        (Prediction::Epsilon, None),
        (Prediction::V, Some(5.0)),
        (Prediction::Sample, Some(5.0)),
    ] {
        let out = tempfile::tempdir().unwrap();
        let settings = ImageSettings {
            prediction,
            mixing: Mixing::Diffusion { betas, min_snr },
            ..settings()
        };
        let (losses, end) = train(data.path(), out.path(), &settings, None);
        end.unwrap();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        assert!(
            mean(&losses[30..]) < 0.9 * mean(&losses[..5]),
            "{prediction}: {losses:?}"
        );
    }
}

#[test]
fn noise_is_mixed_as_the_rule_says() {
    let shape = [2, 1, 1, 2, 2];
    let pictures = [0.5f32, -0.5, 1.0, 0.0, -1.0, 0.25, 0.75, -0.25];
    let flow = Denoising::new(Prediction::Flow, FLOW).unwrap();
    let batch = flow.mix(&pictures, shape, Vec::new(), (1, 2), true);
    // Evenly: a quarter and three quarters of noise.
    assert_eq!(batch.timesteps, [250.0, 750.0]);
    for (i, picture) in pictures.iter().enumerate() {
        let sigma = batch.timesteps[i / 4] / 1000.0;
        // x - σ·v = x₀ along a straight line
        let clean = batch.noisy[i] - sigma * batch.target[i];
        assert!((clean - picture).abs() < 1e-5, "{clean} {picture}");
    }
    assert_eq!(
        flow.mix(&pictures, shape, Vec::new(), (1, 2), false).noisy,
        flow.mix(&pictures, shape, Vec::new(), (1, 2), false).noisy
    );
    assert_ne!(
        flow.mix(&pictures, shape, Vec::new(), (1, 2), false).noisy,
        flow.mix(&pictures, shape, Vec::new(), (1, 3), false).noisy
    );
    let mixing = Mixing::Diffusion {
        betas: BetaShape::Linear,
        min_snr: Some(5.0),
    };
    // min(SNR, 5) / SNR for noise, min(SNR, 5) / (SNR + 1) for v, min(SNR, 5) for the picture itself.
    let weights = |prediction| {
        let rule = Denoising::new(prediction, mixing).unwrap();
        rule.mix(&pictures, shape, Vec::new(), (1, 2), true)
            .weights
            .unwrap()
    };
    let (noise, v, clean) = (
        weights(Prediction::Epsilon),
        weights(Prediction::V),
        weights(Prediction::Sample),
    );
    for i in 0..2 {
        let snr = clean[i] / noise[i];
        let least = snr.min(5.0);
        assert!((clean[i] - least).abs() < 1e-4 * least);
        assert!((v[i] - least / (snr + 1.0)).abs() < 1e-4);
    }
}

#[test]
fn what_no_run_can_be_is_refused_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let refused = |change: &dyn Fn(&mut ImageSettings)| {
        let mut settings = settings();
        change(&mut settings);
        let dataset = Arc::new(Dataset::open(data.path()).unwrap());
        let error = match prepare(&settings, dataset, None, None, None, &Device::Cpu) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it was taken"),
        };
        assert!(!error.contains('\n'), "{error}");
        error
    };
    assert!(refused(&|s| s.batch = 0).contains("batch"));
    assert!(refused(&|s| s.rate = f64::NAN).contains("learning rate"));
    assert!(refused(&|s| s.drop_captions = 1.0).contains("captions"));
    assert!(refused(&|s| s.hold_out = -0.1).contains("held-out"));
    let sizes = refused(&|s| s.transform = Transform::new(30, 33));
    assert!(
        sizes.contains("28x32") && sizes.contains("32x36"),
        "{sizes}"
    );
    assert!(refused(&|s| s.prediction = Prediction::V).contains("flow"));
    assert!(
        refused(&|s| s.model["num_attention_heads"] = json!(5)).contains("num_attention_heads")
    );
    assert!(refused(&|s| s.model["stem_channels"] = json!([8])).contains("stem_channels"));
    assert!(refused(&|s| s.ema = Some(1.5)).contains("averages"));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_the_last_checkpoint_stays() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let out = tempfile::tempdir().unwrap();
    let wild = ImageSettings {
        rate: 1e30,
        warm_up: 12,
        optimiser: OptimiserKind::AdamW,
        ..settings()
    };
    let (_, end) = train(data.path(), out.path(), &wild, None);
    let error = end.unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert!(!out.path().join("model.safetensors").exists());
}
