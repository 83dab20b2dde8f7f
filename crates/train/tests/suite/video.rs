//! Training on clips, as the command line runs it.

use std::path::Path;
use std::sync::Arc;

use crate::common::{bytes, learn, names, put};
use medley_formats::WeightFile;
use medley_media::film::{Clip, FilmFormat, Rate, write_clip};
use medley_media::{Format, Origin, Picture};
use medley_models::dit::{Condition, Dit, DitConfig};
use medley_nn::{Device, Tensor, Weights};
use medley_sampling::diffusion::Prediction;
use medley_train::data::{Dataset, Loader, LoaderSpec, Transform};
use medley_train::image::{ClipSettings, Denoising, ImageSettings, Mixing, Time, Times, prepare};
use medley_train::run::find_checkpoint;
use medley_train::{OptimiserKind, RunSettings};
use serde_json::{Value, json};

/// A bar that walks, frame by frame, of a colour of its own.
fn frames(level: u8, count: usize) -> Vec<Picture> {
    let frame = |at: usize| {
        let value = |i: usize| match (i % 16) / 2 == at * 8 / count {
            true => f32::from(level) / 128.0 - 1.0,
            false => 1.0,
        };
        let planes: Vec<f32> = (0..3 * 256).map(value).collect();
        Picture::from_planes(&planes, 16, 16).unwrap()
    };
    (0..count).map(frame).collect()
}

/// Writes the walking bar as a film.
fn film(folder: &Path, name: &str, (level, count): (u8, usize), rate: u32, format: FilmFormat) {
    let rate = Rate::new(rate, 1).unwrap();
    let clip = Clip::new(frames(level, count), rate, None).unwrap();
    write_clip(&folder.join(name), &clip, format, 95, Origin::Collected).unwrap();
}

/// Clips of every kind: a folder of frames, GIF, WebP and MP4, and a picture that does not move.
fn clips(folder: &Path) {
    for n in 0..6u8 {
        let name = format!("{} bar.gif", char::from(b'a' + n));
        film(folder, &name, (20 * n, 8), 8, FilmFormat::Gif);
    }
    film(folder, "web bar.webp", (130, 8), 8, FilmFormat::WebP);
    film(folder, "film bar.mp4", (170, 12), 12, FilmFormat::Mp4);
    for (i, frame) in frames(150, 10).iter().enumerate() {
        let name = format!("folder of frames/{i:03}.png");
        put(folder, &name, bytes(frame, Format::Png));
    }
    put(folder, "a still.png", bytes(&frames(10, 2)[0], Format::Png));
}

fn stills(folder: &Path) {
    for n in 0..9u8 {
        let name = format!("{} thing.png", char::from(b'a' + n));
        put(folder, &name, bytes(&frames(25 * n, 2)[1], Format::Png));
    }
}

const CLIPS: ClipSettings = ClipSettings {
    frames: 4,
    frame_patch: 1,
    time: Time::Factorised,
    loops: true,
    shared_noise: 0.5,
    known: 0.5,
    rate_words: 0.0,
    pictures: 2,
    moved: 2,
};

const FLOW: Mixing = Mixing::Flow {
    times: Times::Uniform,
};

fn settings(clips: Option<ClipSettings>) -> ImageSettings {
    ImageSettings {
        model: json!({
            "patch_size": 2, "stem_channels": [8], "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 32, "text": "none", "shared_modulation": true,
        }),
        transform: Transform::new(16, 8),
        prediction: Prediction::Flow,
        mixing: FLOW,
        drop_captions: 0.0,
        text_tokens: 16,
        steps: 12,
        batch: 2,
        accumulate: 1,
        rate: 3e-3,
        warm_up: 2,
        optimiser: OptimiserKind::AdamW,
        weight_decay: 0.01,
        clip: 1.0,
        ema: None,
        bf16: false,
        recompute: false,
        hold_out: 0.0,
        per_group: None,
        shuffle: 9,
        seed: 7,
        guidance: 1.0,
        prompts: Vec::new(),
        clips,
    }
}

/// Runs in `out`, stops when `stop` steps are made in this call, and gives the losses of its steps.
fn train(
    data: [&Path; 2],
    out: &Path,
    base: Option<&Path>,
    settings: &ImageSettings,
    stop: u64,
) -> Vec<f64> {
    let checkpoint = find_checkpoint(out).unwrap();
    let dataset = match settings.clips {
        Some(_) => Dataset::open_films(data[0], true).unwrap(),
        None => Dataset::open(data[1]).unwrap(),
    };
    let stills = settings
        .clips
        .map(|_| Arc::new(Dataset::open(data[1]).unwrap()));
    let (mut task, mut trainer, _) = prepare(
        settings,
        Arc::new(dataset),
        stills,
        None,
        base,
        &Device::Cpu,
    )
    .unwrap();
    let run_settings = RunSettings {
        steps: settings.steps,
        out: out.to_owned(),
        evaluate_every: 0,
        sample_every: 6,
        save_every: 3,
    };
    let (losses, end) = learn(
        &mut task,
        &mut trainer,
        &run_settings,
        checkpoint.as_ref(),
        Some(stop),
    );
    end.unwrap();
    losses
}

#[test]
fn clips_of_every_kind_are_read_and_stills_are_named() {
    let data = tempfile::tempdir().unwrap();
    clips(data.path());
    let dataset = Arc::new(Dataset::open_films(data.path(), true).unwrap());
    assert_eq!(names(&dataset).len(), 10);
    assert!(names(&dataset).contains(&"folder of frames"));
    let spec = LoaderSpec {
        frames: 4,
        seed: None,
        ..LoaderSpec::new(Transform::new(16, 8), 9, 0)
    };
    let mut loader = Loader::new(dataset.clone(), spec).unwrap();
    let batch = loader.next_batch().unwrap();
    assert_eq!(batch.clip_shape(), [9, 3, 4, 8, 16]);
    let still = &loader.bad().named;
    assert_eq!((still.len(), still[0].name.as_str()), (1, "a still.png"));
    for (clip, caption) in batch.captions.iter().enumerate() {
        // Of 8 steps of the bar every second one: it stands 2 · 2 pixels further each time.
        let values = &batch.pixels[clip * 3 * 512..][..512];
        for (frame, values) in values.chunks_exact(128).enumerate() {
            let row = &values[64..80];
            let dark = |x: &usize| row[*x] < 0.9;
            let first = (0..16).find(dark).expect("a bar");
            let expected = match caption.as_str() {
                // 10 or 12 frames: the ones at 0, 1/4, 1/2 and 3/4.
                "folder of frames" => [0, 1, 4, 5][frame] * 2,
                "film bar" => [0, 2, 4, 6][frame] * 2,
                _ => 4 * frame,
            };
            assert!(
                first.abs_diff(expected) <= 1,
                "{caption} {frame}: {first} for {expected}"
            );
        }
        let rate = match caption.as_str() {
            "folder of frames" => 8.0 * 4.0 / 10.0,
            _ => 4.0,
        };
        assert!(
            (batch.rates[clip] - rate).abs() < 0.02,
            "{caption}: {}",
            batch.rates[clip]
        );
    }
}

#[test]
fn a_run_that_goes_on_makes_the_very_same_losses_and_learns() {
    let (clips_in, stills_in) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    clips(clips_in.path());
    stills(stills_in.path());
    let data = [clips_in.path(), stills_in.path()];
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = ImageSettings {
        steps: 40,
        ..settings(Some(CLIPS))
    };
    let expected = train(data, whole.path(), None, &settings, u64::MAX);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(
        mean(&expected[30..]) < 0.8 * mean(&expected[..5]),
        "{expected:?}"
    );
    let mut found = train(data, parts.path(), None, &settings, 6);
    found.extend(train(data, parts.path(), None, &settings, u64::MAX));
    assert_eq!(found, expected);
    let config = std::fs::read(whole.path().join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["medium"], "video");
    assert_eq!(config["clip"]["frames"], 4);
    assert_eq!(config["model"]["loop"], true);
    // A row of four frames for each of the samples.
    let sheet = std::fs::read(whole.path().join("samples/step-0000040.png")).unwrap();
    let sheet = medley_media::decode(&sheet, &medley_media::Limits::default()).unwrap();
    assert_eq!(sheet.width(), 4 * 16 + 3 * 2);
}

/// The network of a run's folder.
fn network(folder: &Path, shape: impl Fn(DitConfig) -> DitConfig) -> Dit {
    let config = std::fs::read(folder.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let path = folder.join("model.safetensors");
    let weights = Weights::from_file(WeightFile::open(&path).unwrap(), &path, &Device::Cpu);
    Dit::new(
        shape(DitConfig::from_json(&config["model"]).unwrap()),
        &weights,
    )
    .unwrap()
}

#[test]
fn a_model_of_pictures_becomes_one_of_clips_that_draws_the_same() {
    let (clips_in, stills_in) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    clips(clips_in.path());
    stills(stills_in.path());
    let data = [clips_in.path(), stills_in.path()];
    let (base, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(data, base.path(), None, &settings(None), u64::MAX);
    // No step is made: what is written is what it begins with.
    train(
        data,
        out.path(),
        Some(base.path()),
        &settings(Some(CLIPS)),
        0,
    );
    let (still, clip) = (network(base.path(), |c| c), network(out.path(), |c| c));
    let values: Vec<f32> = (0..2 * 3 * 4 * 128)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let x = Tensor::from_vec(values, (2, 3, 4, 8, 16), &Device::Cpu).unwrap();
    let made = clip
        .forward_clips(&x, &[300.0, 700.0], &[], &Condition::default())
        .unwrap();
    for frame in 0..4 {
        let x = x
            .narrow(2, frame, 1)
            .unwrap()
            .squeeze(2)
            .unwrap()
            .contiguous()
            .unwrap();
        let alone = still
            .forward(&x, &[300.0, 700.0], &Condition::default())
            .unwrap();
        let made = made.narrow(2, frame, 1).unwrap().squeeze(2).unwrap();
        let worst = (alone - made)
            .unwrap()
            .abs()
            .unwrap()
            .flatten_all()
            .unwrap();
        let worst = worst.max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(worst < 1e-5, "{frame}: {worst}");
    }
    // And goes on from clips as from pictures.
    let on = tempfile::tempdir().unwrap();
    train(data, on.path(), Some(out.path()), &settings(Some(CLIPS)), 0);
    let read = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(read(on.path()), read(out.path()));
}

#[test]
fn frames_that_are_given_have_no_noise_and_no_error() {
    let rule = Denoising::new(Prediction::Flow, FLOW)
        .unwrap()
        .sharing(0.5)
        .unwrap();
    let pictures: Vec<f32> = (0..2 * 3 * 4 * 6).map(|i| (i as f32).sin()).collect();
    let shape = [2, 3, 4, 2, 3];
    let known = vec![true, false, true, false, false, false, false, false];
    let batch = rule.mix(&pictures, shape, known.clone(), (1, 2), false);
    let weights = batch.weights.as_ref().unwrap();
    assert_eq!(weights, &[0.0, 2.0, 0.0, 2.0, 1.0, 1.0, 1.0, 1.0]);
    for (i, (noisy, picture)) in batch.noisy.iter().zip(&pictures).enumerate() {
        let (clip, frame) = (i / 72, i / 6 % 4);
        assert_eq!(noisy == picture, known[clip * 4 + frame], "{i}");
        if !known[clip * 4 + frame] {
            let clean = noisy - batch.timesteps[clip] / 1000.0 * batch.target[i];
            assert!((clean - picture).abs() < 1e-5);
        }
    }
    assert!(
        Denoising::new(Prediction::Flow, FLOW)
            .unwrap()
            .sharing(1.5)
            .is_err()
    );
}

#[test]
fn the_noise_of_frames_is_as_alike_as_is_asked() {
    let shape = [64, 3, 4, 8, 8];
    let zeros = vec![0.0; shape.iter().product()];
    for shared in [0.0, 0.5, 0.9] {
        let rule = Denoising::new(Prediction::Flow, FLOW)
            .unwrap()
            .sharing(shared)
            .unwrap();
        // Of pictures of nothing the target is the noise.
        let noise = rule.mix(&zeros, shape, Vec::new(), (3, 4), false).target;
        let (mut variance, mut common) = (0.0, 0.0);
        for channel in noise.chunks_exact(4 * 64) {
            for i in 0..64 {
                variance += f64::from(channel[i]).powi(2);
                common += f64::from(channel[i] * channel[64 + i]);
            }
        }
        let count = (64 * 3 * 64) as f64;
        assert!((variance / count - 1.0).abs() < 0.04, "{shared}");
        assert!(
            (common / count - shared).abs() < 0.04,
            "{shared}: {}",
            common / count
        );
    }
}
