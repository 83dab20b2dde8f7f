//! Pictures of the whole pipeline against the trajectories of diffusers (golden/diffusion).

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fakes::{Colours, Function, draw, request};
use medley_media::Picture;
use medley_nn::Device;
use medley_pipelines::image::*;
use medley_sampling::diffusion::{Point, Prediction};
use medley_testkit::{Case, golden};
use medley_types::{ImageRequest, InitPicture, InputFile};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Mixture {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    deviations: Vec<f64>,
}

impl Mixture {
    /// What an exact model gives for rows of four at x = α·x₀ + σ·ε.
    fn model(
        &self,
        input: &[f32],
        Point { alpha, sigma }: Point,
        prediction: Prediction,
    ) -> Vec<f32> {
        let row = |row: &[f32]| -> Vec<f32> {
            let x: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            let (mut total, mut clean) = (0.0, vec![0.0; x.len()]);
            for ((weight, mean), deviation) in
                self.weights.iter().zip(&self.means).zip(&self.deviations)
            {
                let variance = (alpha * deviation).powi(2) + sigma * sigma;
                let rest: Vec<f64> = x.iter().zip(mean).map(|(x, m)| x - alpha * m).collect();
                let square: f64 = rest.iter().map(|r| r * r).sum();
                let share = weight
                    * variance.powf(-0.5 * x.len() as f64)
                    * (-0.5 * square / variance).exp();
                total += share;
                let gain = alpha * deviation.powi(2) / variance;
                for (i, value) in clean.iter_mut().enumerate() {
                    *value += share * (mean[i] + gain * rest[i]);
                }
            }
            let pairs = x.iter().zip(clean);
            pairs
                .map(|(x, clean)| {
                    let clean = clean / total;
                    let noise = (x - alpha * clean) / sigma;
                    (match prediction {
                        Prediction::Epsilon => noise,
                        Prediction::V => alpha * noise - sigma * clean,
                        Prediction::Sample => clean,
                        Prediction::Flow => noise - clean,
                    }) as f32
                })
                .collect()
        };
        input.chunks(4).flat_map(row).collect()
    }
}

/// The runs of golden/diffusion that a configuration can say, each through the whole pipeline: the picture is that of
/// diffusers' last sample.
#[test]
fn pictures_are_those_of_diffusers() {
    let case = Case::load(golden("diffusion").join("case.safetensors")).unwrap();
    let runs: Vec<Value> = case.json("runs.json").unwrap();
    let mut compared = 0;
    for run in &runs {
        let unsaid = ["tokens", "order", "zero_terminal_snr"];
        if unsaid.iter().any(|key| run.get(key).is_some()) {
            continue;
        }
        let mixture: Mixture = case.json("mixture.json").unwrap();
        let is_flow = run["prediction"] == "flow_prediction";
        let process = match is_flow {
            true => json!({ "kind": "flow", "shift": run.get("shift").unwrap_or(&json!(1.0)) }),
            false => {
                let scaled = run["betas"] == "scaled_linear";
                let (start, end) = if scaled {
                    (0.00085, 0.012)
                } else {
                    (1e-4, 0.02)
                };
                json!({ "kind": "diffusion", "betas": run["betas"], "start": start, "end": end })
            }
        };
        let mut sampler = json!({
            "name": run["sampler"],
            "steps": run.get("steps").unwrap_or(&json!(10)),
            "timestep_spacing": run["timestep_spacing"],
            "steps_offset": run["steps_offset"],
            "sigma_spacing": run["sigma_spacing"],
        });
        for key in ["eta", "clip", "keep_last_noise"] {
            if let Some(value) = run.get(key) {
                sampler[key] = value.clone();
            }
        }
        let config = ImageConfig::from_json(json!({
            "medium": "image", "architecture": "dit", "size": [2, 2], "channels": 4, "vae": "vae",
            "prediction": run["prediction"], "process": process, "sampler": sampler,
        }))
        .unwrap();
        let strength = run.get("strength").and_then(Value::as_f64);
        // What the network sees is of unit variance, but for flows.
        let points: Vec<Point> = config
            .points(strength.unwrap_or(1.0))
            .unwrap()
            .into_iter()
            .map(|point| {
                let norm = if is_flow { 1.0 } else { point.norm() };
                Point {
                    alpha: point.alpha / norm,
                    sigma: point.sigma / norm,
                }
            })
            .collect();
        let at = AtomicUsize::new(0);
        let prediction = config.prediction;
        let picture_latents = [mixture.means.concat(), mixture.means.concat()].concat();
        let network = Function(move |x: &[f32], _, _| {
            mixture.model(x, points[at.fetch_add(1, Ordering::Relaxed)], prediction)
        });
        let latents = picture_latents.iter().map(|&x| x as f32).collect();
        let generator = DiffusionGenerator {
            config,
            denoiser: Box::new(network),
            encoder: None,
            autoencoder: Some(Box::new(Colours(latents))),
            upscaler: None,
            device: Device::Cpu,
            load_s: 0.0,
        };
        let init = strength.map(|strength| InitPicture {
            file: InputFile {
                sha256: String::new(),
            },
            strength,
        });
        let inputs = ImageInputs {
            init: init
                .as_ref()
                .map(|_| Picture::filled(2, 2, [0; 3]).unwrap()),
            ..ImageInputs::default()
        };
        let images = draw(&generator, &ImageRequest { init, ..request(7) }, &inputs);
        let trace = case
            .f32s(&format!("{}.trace", run["name"].as_str().unwrap()))
            .unwrap();
        let last = &trace[trace.len() - 16..trace.len() - 4];
        let expected = Picture::from_planes(last, 2, 2).unwrap();
        let pairs = images.pictures[0].pixels().iter().zip(expected.pixels());
        let gap = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(
            gap <= 1,
            "{}: {:?} is not {expected:?}",
            run["name"],
            images.pictures[0]
        );
        compared += 1;
    }
    assert!(compared >= 20, "{compared}");
}
