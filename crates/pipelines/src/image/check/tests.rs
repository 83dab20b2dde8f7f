use medley_types::{InitPicture, InputFile, LatentShare};
use serde_json::json;

use super::*;

fn icons() -> ImageConfig {
    ImageConfig::from_json(json!({
        "medium": "image", "architecture": "dit", "size": [32, 32], "text_encoder": "encoder",
        "sampler": { "steps": 20, "guidance": 3.0, "upscale": 4 },
    }))
    .unwrap()
}

fn gan() -> ImageConfig {
    let value = json!({
        "medium": "image", "architecture": "stylegan2", "size": [32, 32], "sampler": { "truncation": 0.7 },
    });
    ImageConfig::from_json(value).unwrap()
}

fn apple() -> ImageRequest {
    ImageRequest {
        model: "icons".into(),
        prompt: "a red apple".into(),
        seed: 1,
        count: 1,
        ..ImageRequest::default()
    }
}

fn line(result: Result<ImageRequest, PipelineError>) -> String {
    let text = result.unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn defaults_are_filled_in() {
    let full = icons().complete(&apple()).unwrap();
    assert_eq!(full.steps, Some(20));
    assert_eq!(full.guidance, Some(3.0));
    assert_eq!(full.sampler.as_deref(), Some("flow_euler"));
    assert_eq!((full.size, full.upscale), (Some([32, 32]), Some(4)));
    // A completed request stays as it is, so that a recipe runs as it did.
    assert_eq!(icons().complete(&full).unwrap(), full);
    let full = gan()
        .complete(&ImageRequest {
            prompt: String::new(),
            ..apple()
        })
        .unwrap();
    assert_eq!((full.truncation, full.steps), (Some(0.7), None));
}

#[test]
fn sizes_are_drawn_enlarged_or_refused_with_the_nearest() {
    let sized = |size, upscale| {
        let full = icons().complete(&ImageRequest {
            size: Some(size),
            upscale,
            ..apple()
        })?;
        Ok((full.size.unwrap(), full.upscale.unwrap()))
    };
    assert_eq!(sized([32, 32], None).unwrap(), ([32, 32], 1));
    assert_eq!(sized([128, 128], None).unwrap(), ([32, 32], 4));
    assert_eq!(sized([32, 32], Some(2)).unwrap(), ([32, 32], 2));
    let error: PipelineError = sized([100, 100], None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this model cannot draw 100x100; the nearest it can is 128x128 or 32x32"
    );
    assert!(sized([128, 128], Some(4)).is_err());
    let mut free = icons();
    free.sizes = Some(super::super::SizeRule {
        multiple: 8,
        min: 16,
        max: 64,
    });
    let request = ImageRequest {
        size: Some([37, 500]),
        ..apple()
    };
    let text = line(free.complete(&request));
    assert!(text.ends_with("64x256 or 40x64"), "{text}");
    let request = ImageRequest {
        size: Some([24, 64]),
        ..apple()
    };
    assert_eq!(free.complete(&request).unwrap().size, Some([24, 64]));
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let a = apple;
    let file = || InputFile {
        sha256: "0".repeat(64),
    };
    let share = |weight| LatentShare { seed: 1, weight };
    let init = |strength| {
        Some(InitPicture {
            file: file(),
            strength,
        })
    };
    for (request, words) in [
        (
            ImageRequest {
                prompt: " ".into(),
                ..a()
            },
            "the prompt is empty",
        ),
        (
            ImageRequest {
                prompt: "x".repeat(70_000),
                ..a()
            },
            "65536",
        ),
        (
            ImageRequest {
                size: Some([0, 32]),
                ..a()
            },
            "0x32",
        ),
        (
            ImageRequest {
                size: Some([32, 1 << 30]),
                ..a()
            },
            "8192",
        ),
        (
            ImageRequest {
                steps: Some(0),
                ..a()
            },
            "steps is 0",
        ),
        (
            ImageRequest {
                steps: Some(5000),
                ..a()
            },
            "5000",
        ),
        (ImageRequest { count: 0, ..a() }, "count is 0"),
        (
            ImageRequest {
                count: 1_000_000,
                ..a()
            },
            "1 to 1000",
        ),
        (
            ImageRequest {
                guidance: Some(f64::NAN),
                ..a()
            },
            "guidance scale is NaN",
        ),
        (
            ImageRequest {
                guidance: Some(-1.0),
                ..a()
            },
            "guidance scale is -1",
        ),
        (
            ImageRequest {
                sampler: Some("eulr".into()),
                ..a()
            },
            "there are ddpm",
        ),
        (
            ImageRequest {
                sampler: Some("ddim".into()),
                ..a()
            },
            "flow_euler",
        ),
        (
            ImageRequest {
                init: init(0.0),
                ..a()
            },
            "strength is 0",
        ),
        (
            ImageRequest {
                init: init(f64::NAN),
                ..a()
            },
            "strength is NaN",
        ),
        (
            ImageRequest {
                mask: Some(file()),
                ..a()
            },
            "--init",
        ),
        (
            ImageRequest {
                upscale: Some(3),
                ..a()
            },
            "2, 4, 8 or 16",
        ),
        (
            ImageRequest {
                truncation: Some(0.5),
                ..a()
            },
            "no truncation",
        ),
        (
            ImageRequest {
                walk: Some(24),
                ..a()
            },
            "no GAN",
        ),
        (
            ImageRequest {
                walk: Some(1),
                ..a()
            },
            "2 to 1000",
        ),
        (
            ImageRequest {
                mix: vec![share(1.0)],
                ..a()
            },
            "seeds are not mixed",
        ),
        (
            ImageRequest {
                mix: vec![share(0.0)],
                ..a()
            },
            "all weights",
        ),
        (
            ImageRequest {
                mix: vec![share(f64::INFINITY)],
                ..a()
            },
            "a weight in the mix is inf",
        ),
        (
            ImageRequest {
                mix: vec![share(1.0)],
                count: 2,
                ..a()
            },
            "leave out the count",
        ),
        (
            ImageRequest {
                negative: "blue".into(),
                guidance: Some(1.0),
                ..a()
            },
            "--guidance",
        ),
    ] {
        let text = line(icons().complete(&request));
        assert!(text.contains(words), "{words:?} is not in {text:?}");
    }
    let none = || ImageRequest {
        prompt: String::new(),
        ..a()
    };
    for (request, words) in [
        (a(), "leave the prompt out"),
        (
            ImageRequest {
                steps: Some(4),
                ..none()
            },
            "no steps",
        ),
        (
            ImageRequest {
                sampler: Some("ddim".into()),
                ..none()
            },
            "no sampler",
        ),
        (
            ImageRequest {
                init: init(0.5),
                ..none()
            },
            "no picture to start from",
        ),
        (
            ImageRequest {
                truncation: Some(f64::INFINITY),
                ..none()
            },
            "truncation is inf",
        ),
        (
            ImageRequest {
                walk: Some(4),
                count: 2,
                ..none()
            },
            "one animation",
        ),
    ] {
        let text = line(gan().complete(&request));
        assert!(text.contains(words), "{words:?} is not in {text:?}");
    }
}

#[test]
fn classes_are_named() {
    let mut config = gan();
    config.classes = vec!["Apple".into(), "Pear".into()];
    let text = line(config.complete(&ImageRequest {
        prompt: "a tree".into(),
        ..apple()
    }));
    assert!(text.contains("Apple, Pear"), "{text}");
    assert_eq!(config.class_of(" pear", "x").unwrap(), 1);
}
