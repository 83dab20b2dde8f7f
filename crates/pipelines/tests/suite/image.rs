//! The loop from a prompt to a picture, over denoisers whose output is known exactly.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fakes::{self, Function, Words, draw, flow, generator, one_colour, request};
use medley_media::{Layout, Picture};
use medley_pipelines::image::*;
use medley_pipelines::{CancelToken, PipelineError, Run};
use medley_sampling::diffusion::TorchRng;
use medley_types::{Event, ImageRequest, InitPicture, InputFile};
use serde_json::json;

#[test]
fn guidance_takes_the_prompt_and_the_negative_one() {
    // Velocity towards the number of words: guided by 3, the colour is w₋ + 3 (w₊ - w₋).
    let network = Function(|x: &[f32], t: f32, tokens| {
        let colour = tokens as f32 / 10.0;
        x.iter().map(|x| (x - colour) / (t / 1000.0)).collect()
    });
    let mut config = flow([4, 4]);
    config["text_encoder"] = json!("encoder");
    config["sampler"]["guidance"] = json!(3.0);
    let generator = DiffusionGenerator {
        encoder: Some(Box::new(Words)),
        ..generator(config, network)
    };
    for (prompt, negative, guidance, colour) in [
        ("two words", "", 3.0, 0.6),
        ("two words", "one", 3.0, 0.4),
        ("two words", "", 1.0, 0.2),
    ] {
        let request = ImageRequest {
            prompt: prompt.into(),
            negative: negative.into(),
            guidance: Some(guidance),
            ..request(5)
        };
        let images = draw(&generator, &request, &ImageInputs::default());
        let byte = ((colour + 1.0) * 127.5f64).round() as u8;
        let pixels = images.pictures[0].pixels();
        assert!(
            pixels.iter().all(|pixel| pixel.abs_diff(byte) <= 1),
            "{prompt:?} {negative:?} {guidance}: {pixels:?} is not {byte}"
        );
    }
}

/// Each of several pictures is the one that its own seed gives.
#[test]
fn pictures_of_a_count_have_their_own_seeds() {
    // Anything that keeps some of the noise.
    let network = || Function(|x: &[f32], _, _| x.iter().map(|x| x.tanh()).collect());
    let generator = generator(flow([4, 4]), network());
    let three = draw(
        &generator,
        &ImageRequest {
            count: 3,
            ..request(9)
        },
        &ImageInputs::default(),
    );
    assert_eq!(three.work.seeds, [9, 10, 11]);
    for (seed, picture) in three.work.seeds.iter().zip(&three.pictures) {
        let alone = draw(&generator, &request(*seed), &ImageInputs::default());
        assert_eq!(&alone.pictures[0], picture);
    }
    assert_ne!(three.pictures[0], three.pictures[1]);
    // The noise is PyTorch's, in the order channels, height, width.
    let seen = Mutex::new(Vec::new());
    let first = Function(move |x: &[f32], t: f32, _| {
        seen.lock().unwrap().push((x.to_vec(), t));
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0], (TorchRng::new(9).normal(48), 1000.0));
        vec![0.0; x.len()]
    });
    draw(
        &fakes::generator(flow([4, 4]), first),
        &request(9),
        &ImageInputs::default(),
    );
}

fn with_init(strength: f64, mask: bool) -> ImageRequest {
    let file = || InputFile {
        sha256: String::new(),
    };
    ImageRequest {
        init: Some(InitPicture {
            file: file(),
            strength,
        }),
        mask: mask.then(file),
        ..request(3)
    }
}

#[test]
fn the_strength_says_how_many_steps_are_run() {
    let generator = generator(flow([4, 4]), one_colour(0.5));
    let inputs = ImageInputs {
        init: Some(Picture::filled(9, 4, [10, 20, 30]).unwrap()),
        ..ImageInputs::default()
    };
    for (strength, evaluations) in [(1.0, 4), (0.5, 2), (0.01, 1)] {
        let images = draw(&generator, &with_init(strength, false), &inputs);
        assert_eq!(images.work.evaluations, evaluations, "{strength}");
        assert_eq!((images.work.width, images.work.height), (4, 4));
    }
    // A request that starts from a picture is not run without it.
    let full = generator.config.complete(&with_init(0.5, false)).unwrap();
    let result = generator.generate(&full, &ImageInputs::default(), &mut Run::quiet());
    let text = result.unwrap_err().to_string();
    assert!(text.contains("--init"), "{text}");
}

#[test]
fn black_of_a_mask_is_kept_to_the_byte() {
    let generator = generator(flow([4, 4]), one_colour(0.5));
    let picture: Vec<u8> = (0..48).map(|i| i * 5).collect();
    let init = Picture::new(4, 4, Layout::Rgb, picture).unwrap();
    let left = |i: usize| (i / 3) % 4 < 2;
    let mask: Vec<u8> = (0..48).map(|i| if left(i) { 255 } else { 0 }).collect();
    let inputs = ImageInputs {
        init: Some(init.clone()),
        mask: Some(Picture::new(4, 4, Layout::Rgb, mask).unwrap()),
        preview_every: None,
    };
    for sampler in ["flow_euler", "flow_heun", "dpmpp_2m_sde"] {
        let request = ImageRequest {
            sampler: Some(sampler.into()),
            steps: Some(6),
            ..with_init(1.0, true)
        };
        let images = draw(&generator, &request, &inputs);
        for (i, (&new, &old)) in images.pictures[0]
            .pixels()
            .iter()
            .zip(init.pixels())
            .enumerate()
        {
            // 0.5 is byte 191.
            let expected = if left(i) { 191 } else { old };
            assert!(
                new.abs_diff(expected) <= u8::from(left(i)),
                "{sampler} {i}: {new} {expected}"
            );
        }
    }
}

#[test]
fn a_cancelled_run_ends_within_a_step_and_gives_nothing() {
    let token = CancelToken::default();
    let (inside, calls) = (token.clone(), std::sync::Arc::new(AtomicUsize::new(0)));
    let count = calls.clone();
    let network = Function(move |x: &[f32], _, _| {
        if count.fetch_add(1, Ordering::Relaxed) == 1 {
            inside.cancel();
        }
        x.to_vec()
    });
    let generator = generator(flow([4, 4]), network);
    let full = generator.config.complete(&request(1)).unwrap();
    let mut events = Vec::new();
    let mut run = Run::new(token, |event| events.push(event));
    let result = generator.generate(&full, &ImageInputs::default(), &mut run);
    assert!(matches!(result, Err(PipelineError::Cancelled)));
    drop(run);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(events.len(), 1, "{events:?}");
}

#[test]
fn values_that_are_not_finite_end_the_run_in_one_line() {
    let nan =
        || Function(|x: &[f32], t: f32, _| vec![if t < 600.0 { f32::NAN } else { 0.0 }; x.len()]);
    let broken = generator(flow([4, 4]), nan());
    let full = broken.config.complete(&request(1)).unwrap();
    let error = broken
        .generate(&full, &ImageInputs::default(), &mut Run::quiet())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model's output is NaN at value 0 of evaluation 3: it must be finite"
    );
    let report = error.report();
    assert_eq!(report.code, "invalid_model");
    assert!(report.hint.is_some());
}

#[test]
fn progress_and_previews_come_as_asked() {
    let generator = generator(flow([4, 4]), one_colour(0.5));
    let full = generator
        .config
        .complete(&ImageRequest {
            count: 2,
            ..request(1)
        })
        .unwrap();
    let inputs = ImageInputs {
        preview_every: Some(2),
        ..ImageInputs::default()
    };
    let mut events = Vec::new();
    let mut run = Run::new(CancelToken::default(), |event| events.push(event));
    generator.generate(&full, &inputs, &mut run).unwrap();
    drop(run);
    let mut progress = Vec::new();
    let mut previews = Vec::new();
    for event in &events {
        match event {
            Event::Progress { stage, done, total } => {
                assert_eq!((stage.as_str(), *total), ("step", 8));
                progress.push(*done);
            }
            Event::Preview {
                index,
                done,
                total,
                width,
                height,
                rgb,
                noisy,
            } => {
                assert_eq!((*total, *width, *height), (4, 4, 4));
                // The exact denoiser knows the picture from the first step on.
                assert!(rgb.len() == 48 && rgb.iter().all(|&byte| byte.abs_diff(191) <= 1));
                // What it read is the same at the end only.
                let differs = |a: &u8, b: &u8| a.abs_diff(*b) > 16;
                let noise = rgb.iter().zip(noisy).filter(|(a, b)| differs(a, b)).count();
                assert_eq!((noisy.len(), noise == 0), (48, done == total), "{done}");
                previews.push((*index, *done));
            }
            _ => {}
        }
    }
    assert_eq!(progress, (1..=8).collect::<Vec<_>>());
    assert_eq!(previews, [(0, 2), (0, 4), (1, 2), (1, 4)]);
    assert_eq!(events.last(), Some(&Event::Done));
}

#[test]
fn a_plan_counts_every_evaluation() {
    let mut config = flow([8, 4]);
    config["text_encoder"] = json!("encoder");
    config["sampler"] = json!({ "steps": 10, "guidance": 2.0, "interval": [0.2, 0.8] });
    let generator = DiffusionGenerator {
        encoder: Some(Box::new(Words)),
        ..generator(config, one_colour(0.0))
    };
    let request = ImageRequest {
        prompt: "x".into(),
        count: 3,
        ..request(1)
    };
    let full = generator.config.complete(&request).unwrap();
    let plan = generator.plan(&full, &Speed { flops_per_s: 1e9 });
    // Six of ten evaluations are of two samples.
    assert_eq!(plan.flops, 3.0 * 16.0 * 32.0 * 1e6);
    assert_eq!(
        plan.memory_bytes,
        11 + (1 << 20) + 3 * 96 + 64_000 + (64 << 20)
    );
    assert!(check_memory(&plan, 1 << 20).is_err());
}
