//! Pictures in one pass of a GAN's generator, and walks through its latent space.

use std::time::Instant;

use medley_media::Picture;
use medley_nn::Device;
use medley_sampling::diffusion::TorchRng;
use medley_types::{Event, ImagePlan, ImageRequest, ImageTimings, LatentShare};

use super::config::ImageConfig;
use super::inputs::ImageInputs;
use super::parts::{Conditioning, Encode, Synthesize, numbers, tensor};
use super::plan::{Plan, Speed};
use super::upscale::Upscaler;
use super::walk::circle;
use super::{ImageGenerator, Images};
use crate::{PipelineError, Run};

/// A GAN's generator with what stands around it.
pub struct GanGenerator {
    /// What the model is.
    pub config: ImageConfig,
    /// The network.
    pub network: Box<dyn Synthesize>,
    /// Reads prompts, where the network takes them.
    pub encoder: Option<Box<dyn Encode>>,
    /// Enlarges what was made.
    pub upscaler: Option<Upscaler>,
    /// Where the network runs.
    pub device: Device,
    /// Seconds that loading took.
    pub load_s: f64,
}

impl ImageGenerator for GanGenerator {
    fn config(&self) -> &ImageConfig {
        &self.config
    }

    fn plan(&self, request: &ImageRequest, speed: &Speed) -> ImagePlan {
        let mut plan = Plan::new(self.network.weight_bytes());
        if let Some(encoder) = &self.encoder {
            plan.weights(encoder.weight_bytes());
        }
        let count = f64::from(request.walk.unwrap_or(request.count));
        plan.add(self.network.cost(), count);
        let [width, height] = self.config.size;
        plan.pictures([width, height], request.upscale.unwrap_or(1), count);
        if let (Some(upscaler), Some(factor)) = (&self.upscaler, request.upscale) {
            upscaler.plan(&mut plan, width, height, factor, count);
        }
        plan.finish(speed)
    }

    fn generate(
        &self,
        request: &ImageRequest,
        _: &ImageInputs,
        run: &mut Run,
    ) -> Result<Images, PipelineError> {
        let start = Instant::now();
        let truncation = request.truncation.unwrap_or(self.config.sampler.truncation);
        if truncation != 1.0 && !self.network.truncates() {
            return Err(PipelineError::InvalidRequest(format!(
                "{} has no average to truncate towards: leave the truncation out",
                request.model
            )));
        }
        let conditioning = self.condition(request)?;
        let mut timings = ImageTimings {
            load_s: self.load_s,
            encode_s: start.elapsed().as_secs_f64(),
            ..ImageTimings::default()
        };
        let (latents, seeds) = self.latents(request);
        let sampling = Instant::now();
        let total = latents.len();
        let mut pictures = Vec::with_capacity(total);
        for latent in latents {
            run.check()?;
            pictures.push(self.picture(latent, &conditioning, truncation)?);
            run.emit(Event::Progress {
                stage: "step".into(),
                done: pictures.len(),
                total,
            });
        }
        run.check()?;
        timings.sample_s = sampling.elapsed().as_secs_f64();
        let enlarging = Instant::now();
        let pictures = Upscaler::apply(self.upscaler.as_ref(), pictures, request, run)?;
        timings.upscale_s = enlarging.elapsed().as_secs_f64();
        timings.total_s = start.elapsed().as_secs_f64();
        run.emit(Event::Done);
        Ok(Images::new(pictures, seeds, 0, timings))
    }
}

impl GanGenerator {
    /// One latent vector for each picture or frame, and the seeds.
    fn latents(&self, request: &ImageRequest) -> (Vec<Vec<f32>>, Vec<u64>) {
        let width = self.network.latent_width();
        if let Some(frames) = request.walk {
            let mut rng = TorchRng::new(request.seed);
            let (from, to) = (rng.normal(width), rng.normal(width));
            return (circle(&from, &to, frames as usize), vec![request.seed]);
        }
        if !request.mix.is_empty() {
            return (vec![mixed(&request.mix, width)], vec![request.seed]);
        }
        let seeds: Vec<u64> = (0..u64::from(request.count))
            .map(|index| request.seed.wrapping_add(index))
            .collect();
        let of = |&seed: &u64| TorchRng::new(seed).normal(width);
        (seeds.iter().map(of).collect(), seeds)
    }

    fn condition(&self, request: &ImageRequest) -> Result<Conditioning, PipelineError> {
        if let Some(encoder) = &self.encoder {
            let states = encoder.encode(&[request.prompt.as_str()], self.config.text_tokens)?;
            return Conditioning::of_texts(&states.iter().collect::<Vec<_>>(), &self.device);
        }
        if self.config.classes.is_empty() {
            return Ok(Conditioning::default());
        }
        let class = self.config.class_of(&request.prompt, &request.model)?;
        Ok(Conditioning {
            classes: Some(vec![class]),
            ..Conditioning::default()
        })
    }

    fn picture(
        &self,
        latent: Vec<f32>,
        conditioning: &Conditioning,
        truncation: f64,
    ) -> Result<Picture, PipelineError> {
        let [width, height] = self.config.size;
        let latent = tensor(latent, &[1, self.network.latent_width()], &self.device)?;
        let pixels = self.network.synthesize(&latent, conditioning, truncation)?;
        Ok(Picture::from_planes(&numbers(&pixels)?, width, height)?)
    }
}

/// Σ weight · z over √(Σ weight²), `width` numbers: as likely as any other vector of independent normal numbers, and the
/// seed's own where one has all the weight.
fn mixed(mix: &[LatentShare], width: usize) -> Vec<f32> {
    let norm = mix.iter().map(|share| share.weight.powi(2)).sum::<f64>();
    let mut sum = vec![0.0f64; width];
    for share in mix {
        let vector = TorchRng::new(share.seed).normal(width);
        for (sum, z) in sum.iter_mut().zip(vector) {
            *sum += share.weight / norm.sqrt() * f64::from(z);
        }
    }
    sum.into_iter().map(|z| z as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_keeps_the_spread_and_one_seed_alone_is_itself() {
        let share = |seed, weight| LatentShare { seed, weight };
        assert_eq!(
            mixed(&[share(3, 1.0), share(4, 0.0)], 8),
            TorchRng::new(3).normal(8)
        );
        let quarter = [
            share(1, 0.5),
            share(2, 0.25),
            share(3, 0.125),
            share(4, 0.125),
        ];
        let vector = mixed(&quarter, 4096);
        let variance = vector.iter().map(|z| z * z).sum::<f32>() / 4096.0;
        assert!((variance - 1.0).abs() < 0.1, "{variance}");
    }
}
