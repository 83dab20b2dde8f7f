//! GANs and their walks, over a network whose picture is its latent vector.

use crate::fakes::{numbers, request, tensor};
use medley_media::Picture;
use medley_nn::{Device, Tensor};
use medley_pipelines::image::*;
use medley_pipelines::{CancelToken, PipelineError, Run};
use medley_sampling::diffusion::TorchRng;
use medley_types::{Event, ImageRequest};
use serde_json::json;

/// A GAN whose picture is its latent vector.
struct Echo;

impl Synthesize for Echo {
    fn latent_width(&self) -> usize {
        12
    }

    fn synthesize(
        &self,
        z: &Tensor,
        _: &Conditioning,
        truncation: f64,
    ) -> Result<Tensor, PipelineError> {
        let values = numbers(z)
            .iter()
            .map(|z| z * truncation as f32 / 4.0)
            .collect();
        Ok(tensor(values, &[1, 3, 2, 2]))
    }

    fn truncates(&self) -> bool {
        true
    }

    fn cost(&self) -> Cost {
        Cost {
            flops: 1.0,
            bytes: 1,
        }
    }

    fn weight_bytes(&self) -> u64 {
        0
    }
}

fn gan() -> GanGenerator {
    GanGenerator {
        config: ImageConfig::from_json(json!({
            "medium": "image", "architecture": "stylegan2", "size": [2, 2], "sampler": { "truncation": 0.5 },
        }))
        .unwrap(),
        network: Box::new(Echo),
        encoder: None,
        upscaler: None,
        device: Device::Cpu,
        load_s: 0.0,
    }
}

#[test]
fn a_gan_draws_its_latents_truncated() {
    let generator = gan();
    let of = |truncation| {
        let request = ImageRequest {
            count: 2,
            truncation,
            ..request(4)
        };
        let full = generator.config.complete(&request).unwrap();
        generator
            .generate(&full, &ImageInputs::default(), &mut Run::quiet())
            .unwrap()
    };
    let latent = TorchRng::new(5).normal(12);
    for (truncation, factor) in [(None, 0.5), (Some(1.0), 1.0), (Some(0.0), 0.0)] {
        let images = of(truncation);
        let planes: Vec<f32> = latent.iter().map(|z| z * factor / 4.0).collect();
        assert_eq!(
            images.pictures[1],
            Picture::from_planes(&planes, 2, 2).unwrap()
        );
        assert_eq!(images.work.seeds, [4, 5]);
    }
}

#[test]
fn a_walk_is_a_circle_of_frames() {
    let generator = gan();
    let full = generator
        .config
        .complete(&ImageRequest {
            walk: Some(8),
            ..request(4)
        })
        .unwrap();
    let mut steps = Vec::new();
    let mut run = Run::new(CancelToken::default(), |event| {
        if let Event::Progress { done, total, .. } = event {
            steps.push((done, total));
        }
    });
    let images = generator
        .generate(&full, &ImageInputs::default(), &mut run)
        .unwrap();
    drop(run);
    assert_eq!(images.pictures.len(), 8);
    assert_eq!(steps.last(), Some(&(8, 8)));
    // Opposite frames are opposite latents: bytes mirrored about 127.5.
    let pairs = images.pictures[0]
        .pixels()
        .iter()
        .zip(images.pictures[4].pixels());
    assert!(
        pairs
            .clone()
            .all(|(a, b)| (i16::from(*a) + i16::from(*b) - 255).abs() <= 1)
    );
    let full = generator.config.complete(&request(4)).unwrap();
    let one = generator
        .generate(&full, &ImageInputs::default(), &mut Run::quiet())
        .unwrap();
    assert_eq!(images.pictures[0], one.pictures[0]);
    let cancelled = Run::quiet();
    cancelled.cancel.cancel();
    let mut run = cancelled;
    let result = generator.generate(&full, &ImageInputs::default(), &mut run);
    assert!(matches!(result, Err(PipelineError::Cancelled)));
}
