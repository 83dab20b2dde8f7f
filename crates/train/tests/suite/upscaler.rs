//! Training of a small upscaler on little pictures, as the command line runs it.

use std::path::Path;
use std::sync::Arc;

use crate::common::{bytes, learn, put};
use medley_media::{Filter, Format, Layout, Picture};
use medley_train::data::{Dataset, Loader, LoaderSpec, Transform};
use medley_train::run::find_checkpoint;
use medley_train::upscaler::{
    Perceive, UpscalerBatch, UpscalerSettings, UpscalerTask, prepare, psnr, smaller,
};
use medley_train::{Error, Objective, RunEnd, RunSettings, Trainer};

const SIZE: u32 = 32;

/// A picture of edges: a disc of one colour on another.
fn disc(n: u32) -> Picture {
    let (cx, cy, r) = (10 + n % 12, 9 + n * 7 % 14, 4 + n % 6);
    let pixels = (0..SIZE * SIZE).flat_map(|i| {
        let (x, y) = (i % SIZE, i / SIZE);
        let inside = x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2) < r * r;
        match inside {
            true => [20, (n * 9 % 256) as u8, 200],
            false => [250, 240, (n * 31 % 256) as u8],
        }
    });
    Picture::new(SIZE, SIZE, Layout::Rgb, pixels.collect()).unwrap()
}

fn pictures(folder: &Path) {
    for n in 0..24 {
        put(
            folder,
            &format!("disc {n}.png"),
            bytes(&disc(n), Format::Png),
        );
    }
}

fn settings() -> UpscalerSettings {
    UpscalerSettings {
        scale: 4,
        features: 8,
        blocks: 1,
        growth: 4,
        transform: Transform::new(SIZE, SIZE),
        patch: 16,
        noise: 0.02,
        adversarial: 0.0,
        perceptual: 0.0,
        penalty: 0.1,
        steps: 20,
        batch: 4,
        rate: 2e-3,
        warm_up: 5,
        ema: 0.9,
        hold_out: 0.2,
        per_group: None,
        shuffle: 100,
        seed: 3,
    }
}

fn prepared(data: &Path, settings: &UpscalerSettings) -> Result<(UpscalerTask, Trainer), Error> {
    let dataset = Arc::new(Dataset::open(data).unwrap());
    let (task, trainer, plan) = prepare(settings, dataset, None)?;
    assert!(plan.parameters > 1000 && plan.memory > 50_000);
    assert_eq!(plan.discriminator > 0, settings.adversarial > 0.0);
    Ok((task, trainer))
}

fn train(
    data: &Path,
    out: &Path,
    settings: &UpscalerSettings,
    stop: Option<u64>,
) -> (Vec<f64>, RunEnd) {
    let checkpoint = find_checkpoint(out).unwrap();
    let (mut task, mut trainer) = prepared(data, settings).unwrap();
    let run_settings = RunSettings {
        steps: settings.steps,
        out: out.to_owned(),
        evaluate_every: 0,
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
    (losses, end.unwrap())
}

#[test]
fn a_run_that_goes_on_makes_the_very_same_losses() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    for (scale, adversarial) in [(4, 0.0), (2, 0.05)] {
        let settings = UpscalerSettings {
            scale,
            adversarial,
            ..settings()
        };
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (expected, end) = train(data.path(), whole.path(), &settings, None);
        assert_eq!((expected.len(), end.cancelled), (20, false));
        let (mut found, end) = train(data.path(), parts.path(), &settings, Some(9));
        assert!(end.cancelled);
        let (rest, _) = train(data.path(), parts.path(), &settings, None);
        found.extend(rest);
        assert_eq!(found, expected);
        for name in ["model.safetensors", "samples/step-0000020.png"] {
            let file = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
            assert!(file(whole.path()) == file(parts.path()), "{name}");
        }
    }
}

#[test]
fn it_learns_and_says_how_well() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let after = |steps: u64| {
        let out = tempfile::tempdir().unwrap();
        let settings = UpscalerSettings {
            steps,
            noise: 0.0,
            scale: 2,
            ..settings()
        };
        let (_, end) = train(data.path(), out.path(), &settings, None);
        let value = |name: &str| end.evaluation.iter().find(|(n, _)| *n == name).unwrap().1;
        (value("psnr"), value("bicubic_psnr"))
    };
    let ((before, plain), (own, same)) = (after(1), after(300));
    assert!(own > before + 6.0, "{before} {own}");
    assert_eq!(plain, same);
    assert!((15.0..40.0).contains(&plain), "{plain}");
}

#[test]
fn small_and_large_parts_are_of_one_place() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let settings = UpscalerSettings {
        noise: 0.0,
        ..settings()
    };
    let dataset = Arc::new(Dataset::open(data.path()).unwrap());
    let spec = LoaderSpec::new(settings.transform, 8, 1);
    let batch = Loader::new(dataset, spec).unwrap().next_batch().unwrap();
    let pairs = UpscalerBatch::of(&batch, &settings, 5).unwrap();
    assert_eq!(pairs.small.dims(), [8, 3, 4, 4]);
    assert_eq!(pairs.large.dims(), [8, 3, 16, 16]);
    // Means of the large parts over the blocks that become pixels are near the small ones.
    let means = pairs.large.avg_pool2d(4).unwrap();
    let apart = (means - &pairs.small).unwrap().abs().unwrap();
    let apart = apart.mean_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(apart < 0.06, "{apart}");
    // Other batches are cut elsewhere.
    let other = UpscalerBatch::of(&batch, &settings, 6).unwrap();
    let moved = (other.large - &pairs.large).unwrap().abs().unwrap();
    assert!(moved.mean_all().unwrap().to_scalar::<f32>().unwrap() > 0.02);
}

#[test]
fn the_ratio_is_that_of_its_definition() {
    let grey = |value| Picture::filled(8, 8, [value; 3]).unwrap();
    // A difference of 16 in every value.
    let expected = 20.0 * (255.0f64 / 16.0).log10();
    assert!((psnr(&grey(100), &grey(116)) - expected).abs() < 1e-9);
    assert_eq!(psnr(&grey(7), &grey(7)), 100.0);
    let small = smaller(&disc(1), 4, Filter::Lanczos).unwrap();
    assert_eq!((small.width(), small.height()), (8, 8));
}

/// Sees the mean of each channel.
struct Means;

impl Perceive for Means {
    fn features(&self, pictures: &medley_nn::Tensor) -> Result<Vec<medley_nn::Tensor>, Error> {
        let means = pictures.mean((2, 3)).map_err(medley_nn::Error::from)?;
        Ok(vec![means])
    }
}

#[test]
fn features_of_another_network_count_with_their_weight() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let settings = settings();
    let dataset = Arc::new(Dataset::open(data.path()).unwrap());
    let spec = LoaderSpec::new(settings.transform, 4, 1);
    let batch = Loader::new(dataset, spec).unwrap().next_batch().unwrap();
    let pairs = UpscalerBatch::of(&batch, &settings, 0).unwrap();
    let loss = |weight: Option<f64>| {
        let settings = UpscalerSettings {
            perceptual: weight.unwrap_or(0.0),
            ..settings.clone()
        };
        let (mut task, _) = prepared(data.path(), &settings).unwrap();
        if weight.is_some() {
            task = task.with_perceptual(Box::new(Means));
        }
        task.loss(&pairs).unwrap().to_scalar::<f32>().unwrap()
    };
    let (plain, one, three) = (loss(None), loss(Some(1.0)), loss(Some(3.0)));
    assert!(one > plain);
    assert!(((three - plain) - 3.0 * (one - plain)).abs() < 1e-4 * three);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path());
    let refused = |settings: UpscalerSettings| match prepared(data.path(), &settings) {
        Err(Error::Setting(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{settings:?}"),
    };
    let usual = settings;
    let text = refused(UpscalerSettings {
        scale: 3,
        ..usual()
    });
    assert!(text.contains("2 and 4"), "{text}");
    for (patch, near) in [
        (18, "near it is 16"),
        (4, "near it is 8"),
        (64, "near it is 32"),
    ] {
        let text = refused(UpscalerSettings { patch, ..usual() });
        assert!(text.ends_with(near), "{text}");
    }
    let text = refused(UpscalerSettings {
        patch: 24,
        adversarial: 0.1,
        ..usual()
    });
    assert!(text.ends_with("near it is 16"), "{text}");
    let text = refused(UpscalerSettings {
        transform: Transform::new(30, 32),
        ..usual()
    });
    assert!(text.ends_with("near it is 28x32"), "{text}");
    for wrong in [
        UpscalerSettings {
            batch: 0,
            ..usual()
        },
        UpscalerSettings {
            rate: -1.0,
            ..usual()
        },
        UpscalerSettings {
            noise: 2.0,
            ..usual()
        },
        UpscalerSettings {
            adversarial: f64::NAN,
            ..usual()
        },
    ] {
        assert!(!refused(wrong).contains('\n'));
    }
}
