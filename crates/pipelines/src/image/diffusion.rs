//! From a prompt to a picture by denoising.

use std::time::Instant;

use medley_media::{Picture, grid};
use medley_nn::{Device, Tensor};
use medley_sampling::diffusion::{Guidance, NormalSource, Scheduler, TorchRng, share_noise};
use medley_types::{Event, ImagePlan, ImageRequest, ImageTimings};

use super::config::ImageConfig;
use super::inputs::{Fitted, ImageInputs};
use super::parts::{Autoencode, Conditioning, Denoise, Encode, TextStates, numbers, tensor};
use super::plan::{Plan, Speed};
use super::upscale::Upscaler;
use super::{ImageGenerator, Images};
use crate::{PipelineError, Run};

/// A denoiser with what stands around it.
///
/// The loop is that of [`Scheduler`]: the sample starts as noise (or as a picture with as much noise as belongs to the
/// strength), the denoiser is asked with and without the prompt, guidance makes one output of the two, the sampler moves
/// the sample on. Under a mask, what is kept is put back after every step with the noise that belongs there
/// ([Lugmayr et al. 2022](https://arxiv.org/abs/2201.09865), equation 8).
pub struct DiffusionGenerator {
    /// What the model is.
    pub config: ImageConfig,
    /// The network.
    pub denoiser: Box<dyn Denoise>,
    /// Reads prompts.
    pub encoder: Option<Box<dyn Encode>>,
    /// Between pixels and latents.
    pub autoencoder: Option<Box<dyn Autoencode>>,
    /// Enlarges what was drawn.
    pub upscaler: Option<Upscaler>,
    /// Where the denoiser runs.
    pub device: Device,
    /// Seconds that loading took.
    pub load_s: f64,
}

/// What the evaluations of one request have in common.
struct Job<'a> {
    request: &'a ImageRequest,
    guidance: Guidance,
    /// With the prompt and without, together.
    both: Conditioning,
    /// With the prompt alone.
    alone: Conditioning,
    fitted: Option<Fitted>,
    /// Latents of the picture to start from.
    original: Option<Vec<f32>>,
    /// Which parts of the latents are made anew.
    mask: Option<Vec<f32>>,
    preview_every: Option<usize>,
    /// Channels, frames, height and width of the sample; a picture has one frame, a clip those of its latents.
    shape: [usize; 4],
    /// Frames that are given.
    known: Known,
}

/// Frames of a clip that are given; none of a picture.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Which of the sample's; empty for none.
    pub flags: Vec<bool>,
    /// Channels of the sample.
    pub channels: usize,
    /// Pixels or latents of all frames, `[channels, frames, height, width]`; what is not given is not looked at.
    pub sample: Vec<f32>,
}

impl Known {
    /// Puts the frames that are given into a sample.
    fn put(&self, sample: &mut [f32]) {
        let frames = self.flags.len();
        if frames == 0 {
            return;
        }
        // Any whole number of channels lies one after the other.
        let plane = sample.len() / frames / self.channels.max(1);
        for (i, (part, given)) in sample
            .chunks_exact_mut(plane)
            .zip(self.sample.chunks_exact(plane))
            .enumerate()
        {
            if self.flags[i % frames] {
                part.copy_from_slice(given);
            }
        }
    }
}

/// A drawn clip, with its evaluations.
pub(crate) struct Drawn {
    pub frames: Vec<Picture>,
    pub evaluations: usize,
    pub timings: ImageTimings,
}

impl ImageGenerator for DiffusionGenerator {
    fn config(&self) -> &ImageConfig {
        &self.config
    }

    fn plan(&self, request: &ImageRequest, speed: &Speed) -> ImagePlan {
        let mut plan = Plan::new(self.denoiser.weight_bytes());
        if let Some(encoder) = &self.encoder {
            plan.weights(encoder.weight_bytes());
        }
        let [width, height] = request.size.unwrap_or(self.config.size);
        let factor = self.factor();
        let (w, h) = ((width / factor) as usize, (height / factor) as usize);
        let tokens = self.config.text_tokens;
        let frames = self.config.clip.map_or(1, |clip| clip.frames);
        let count = f64::from(request.count);
        let pictures = count * f64::from(frames);
        let frames = self.sample_frames();
        plan.pictures([width, height], request.upscale.unwrap_or(1), pictures);
        if let Ok((scheduler, guidance)) = self.run_of(request) {
            let total = scheduler.table().timesteps().len();
            let guided = (0..total)
                .filter(|&at| guidance.is_needed(at, total))
                .count();
            let single = self.denoiser.cost(w, h, frames, tokens);
            let double = self.denoiser.cost(w, h, 2 * frames, tokens);
            plan.add(single, (total - guided) as f64 * count);
            plan.add(double, guided as f64 * count);
        }
        if let Some(autoencoder) = &self.autoencoder {
            plan.weights(autoencoder.weight_bytes());
            plan.add(autoencoder.cost(width as usize, height as usize), pictures);
        }
        if let (Some(upscaler), Some(factor)) = (&self.upscaler, request.upscale) {
            upscaler.plan(&mut plan, width, height, factor, pictures);
        }
        plan.finish(speed)
    }

    fn generate(
        &self,
        request: &ImageRequest,
        inputs: &ImageInputs,
        run: &mut Run,
    ) -> Result<Images, PipelineError> {
        let start = Instant::now();
        let mut timings = ImageTimings {
            load_s: self.load_s,
            ..ImageTimings::default()
        };
        let job = self.job(request, inputs)?;
        timings.encode_s = start.elapsed().as_secs_f64();
        let mut pictures = Vec::new();
        let mut seeds = Vec::new();
        let mut evaluations = 0;
        for index in 0..request.count {
            let seed = request.seed.wrapping_add(u64::from(index));
            let (sample, done) = self.sample(&job, seed, index as usize, run, &mut timings)?;
            let decoding = Instant::now();
            let picture = self.frame(&job, &sample)?;
            let picture = match &job.fitted {
                Some(fitted) => fitted.composite(&picture)?,
                None => picture,
            };
            timings.decode_s += decoding.elapsed().as_secs_f64();
            pictures.push(picture);
            seeds.push(seed);
            evaluations = done;
        }
        let enlarging = Instant::now();
        let pictures = Upscaler::apply(self.upscaler.as_ref(), pictures, request, run)?;
        timings.upscale_s = enlarging.elapsed().as_secs_f64();
        timings.total_s = start.elapsed().as_secs_f64();
        run.emit(Event::Done);
        Ok(Images::new(pictures, seeds, evaluations, timings))
    }
}

impl DiffusionGenerator {
    fn run_of(
        &self,
        request: &ImageRequest,
    ) -> Result<(Box<dyn Scheduler>, Guidance), PipelineError> {
        let defaults = &self.config.sampler;
        let sampler = match &request.sampler {
            Some(name) => name.parse()?,
            None => defaults.name,
        };
        let steps = request.steps.unwrap_or(defaults.steps) as usize;
        let strength = request.init.as_ref().map_or(1.0, |init| init.strength);
        let scheduler = self
            .config
            .scheduler(sampler)?
            .build_from(steps, strength)?;
        let guidance = Guidance {
            scale: request.guidance.unwrap_or(defaults.guidance),
            rescale: defaults.rescale,
            interval: (defaults.interval[0], defaults.interval[1]),
        };
        guidance.check()?;
        Ok((scheduler, guidance))
    }

    fn job<'a>(
        &self,
        request: &'a ImageRequest,
        inputs: &ImageInputs,
    ) -> Result<Job<'a>, PipelineError> {
        let (_, guidance) = self.run_of(request)?;
        let [width, height] = request.size.unwrap_or(self.config.size);
        let factor = self.factor();
        let fitted = inputs.fitted(width, height)?;
        if request.init.is_some() != fitted.is_some() {
            return Err(PipelineError::InvalidRequest(
                "the picture that this request starts from is not there: give it with --init"
                    .into(),
            ));
        }
        let original = match &fitted {
            Some(fitted) => Some(self.latents(fitted)?),
            None => None,
        };
        let channels = self.config.channels;
        let (both, alone) = self.conditions(request)?;
        Ok(Job {
            request,
            guidance,
            both,
            alone,
            mask: fitted
                .as_ref()
                .and_then(|fitted| fitted.mask_of_latents(factor, channels)),
            fitted,
            original,
            preview_every: inputs.preview_every.filter(|&every| every > 0),
            shape: [
                channels,
                self.sample_frames(),
                (height / factor) as usize,
                (width / factor) as usize,
            ],
            known: Known::default(),
        })
    }

    /// The frames of a clip, of which `known` are given, as pictures of the drawn size. `request` is complete.
    ///
    /// # Errors
    /// As [`ImageGenerator::generate`].
    pub(crate) fn draw_clip(
        &self,
        request: &ImageRequest,
        known: Known,
        preview_every: Option<usize>,
        run: &mut Run,
    ) -> Result<Drawn, PipelineError> {
        let start = Instant::now();
        let mut timings = ImageTimings {
            load_s: self.load_s,
            ..ImageTimings::default()
        };
        let inputs = ImageInputs {
            preview_every,
            ..ImageInputs::default()
        };
        let mut job = self.job(request, &inputs)?;
        job.known = known;
        timings.encode_s = start.elapsed().as_secs_f64();
        let (sample, evaluations) = self.sample(&job, request.seed, 0, run, &mut timings)?;
        let decoding = Instant::now();
        let frames = self.frames(&job, &sample)?;
        timings.decode_s = decoding.elapsed().as_secs_f64();
        Ok(Drawn {
            frames,
            evaluations,
            timings,
        })
    }

    /// Pixels along each side of a value of the sample.
    pub(crate) fn factor(&self) -> u32 {
        self.autoencoder
            .as_ref()
            .map_or(1, |auto| auto.factor())
            .max(1)
    }

    /// Frames of a sample.
    pub(crate) fn sample_frames(&self) -> usize {
        let drawn = self.config.clip.map_or(1, |clip| clip.frames as usize);
        let latent = self.autoencoder.as_ref().map(|a| a.latent_frames(drawn));
        // One that makes no such clips was refused when the model was loaded.
        latent.flatten().unwrap_or(drawn)
    }

    /// Which frames of a sample the first `given` frames of a clip say whole.
    pub(crate) fn given(&self, given: usize) -> Vec<bool> {
        let whole = |frames: usize| match &self.autoencoder {
            Some(autoencoder) => autoencoder.latent_frames(frames),
            None => Some(frames),
        };
        let said = (1..=given).rev().find_map(whole).unwrap_or(0);
        (0..self.sample_frames()).map(|at| at < said).collect()
    }

    /// Pictures of one size as one sample, `[channels, frames, height, width]`.
    pub(crate) fn sample_of(&self, pictures: &[Picture]) -> Result<Vec<f32>, PipelineError> {
        let Some(first) = pictures.first() else {
            return Ok(Vec::new());
        };
        let plane = first.width() as usize * first.height() as usize;
        let frames: Vec<Vec<f32>> = pictures.iter().map(Picture::to_planes).collect();
        let mut pixels = Vec::with_capacity(3 * plane * frames.len());
        for channel in 0..3 {
            for frame in &frames {
                pixels.extend_from_slice(&frame[channel * plane..][..plane]);
            }
        }
        let Some(autoencoder) = &self.autoencoder else {
            return Ok(pixels);
        };
        let [width, height] = [first.width(), first.height()].map(|side| side as usize);
        let pixels = tensor(pixels, &[1, 3, frames.len(), height, width], &self.device)?;
        numbers(&autoencoder.encode_clip(&pixels)?)
    }

    /// What the network is told with and without the prompt, and with it alone. Without means the negative prompt, which
    /// is most often the empty one.
    fn conditions(
        &self,
        request: &ImageRequest,
    ) -> Result<(Conditioning, Conditioning), PipelineError> {
        let Some(encoder) = &self.encoder else {
            if self.config.classes.is_empty() {
                return Ok((Conditioning::default(), Conditioning::default()));
            }
            let class = self.config.class_of(&request.prompt, &request.model)?;
            let of = |classes: Vec<u32>| Conditioning {
                classes: Some(classes),
                ..Conditioning::default()
            };
            // The class after the last one stands for none.
            let none = self.config.classes.len() as u32;
            return Ok((of(vec![class, none]), of(vec![class])));
        };
        let prompts = [request.prompt.as_str(), request.negative.as_str()];
        let states = encoder.encode(&prompts, self.config.text_tokens)?;
        let all: Vec<&TextStates> = states.iter().collect();
        Ok((
            Conditioning::of_texts(&all, &self.device)?,
            Conditioning::of_texts(&all[..1], &self.device)?,
        ))
    }

    /// The picture to start from as the network's sample.
    fn latents(&self, fitted: &Fitted) -> Result<Vec<f32>, PipelineError> {
        match &self.autoencoder {
            None => Ok(fitted.planes.clone()),
            Some(_) => self.values_of(&fitted.picture),
        }
    }

    /// A picture as the network sees it, `[channels, height, width]`.
    fn values_of(&self, picture: &Picture) -> Result<Vec<f32>, PipelineError> {
        let planes = picture.to_planes();
        let Some(autoencoder) = &self.autoencoder else {
            return Ok(planes);
        };
        let shape = [1, 3, picture.height() as usize, picture.width() as usize];
        let pixels = tensor(planes, &shape, &self.device)?;
        numbers(&autoencoder.encode(&pixels)?)
    }

    /// The frames of a clip out of its sample.
    fn frames(&self, job: &Job, sample: &[f32]) -> Result<Vec<Picture>, PipelineError> {
        let [channels, frames, height, width] = job.shape;
        let Some(autoencoder) = &self.autoencoder else {
            return (0..frames)
                .map(|at| picture(sample, job.shape, at))
                .collect();
        };
        let shape = [1, channels, frames, height, width];
        let latents = tensor(sample.to_vec(), &shape, &self.device)?;
        let pixels = autoencoder.decode_clip(&latents)?;
        let (_, channels, frames, height, width) =
            pixels.dims5().map_err(medley_models::ConfigError::from)?;
        let pixels = numbers(&pixels)?;
        let shape = [channels, frames, height, width];
        (0..frames).map(|at| picture(&pixels, shape, at)).collect()
    }

    /// The picture of a sample of one frame.
    fn frame(&self, job: &Job, sample: &[f32]) -> Result<Picture, PipelineError> {
        let [channels, _, height, width] = job.shape;
        let Some(autoencoder) = &self.autoencoder else {
            return picture(sample, job.shape, 0);
        };
        let shape = [1, channels, height, width];
        let latents = tensor(sample.to_vec(), &shape, &self.device)?;
        let pixels = numbers(&autoencoder.decode(&latents)?)?;
        let [w, h] = [width, height].map(|side| side as u32 * self.factor());
        Ok(Picture::from_planes(&pixels, w, h)?)
    }

    /// What a sample looks like on the way: the picture, or the frames side by side.
    fn preview(&self, job: &Job, sample: &[f32]) -> Result<Picture, PipelineError> {
        if job.shape[1] == 1 {
            return self.frame(job, sample);
        }
        let mut sample = sample.to_vec();
        job.known.put(&mut sample);
        let frames = self.frames(job, &sample)?;
        Ok(grid(&frames, frames.len(), 0, [255; 3])?)
    }

    /// The noise of a seed.
    fn noise(&self, job: &Job, rng: &mut TorchRng) -> Vec<f32> {
        let [channels, frames, height, width] = job.shape;
        let mut noise = vec![0.0; channels * frames * height * width];
        rng.fill_normal(&mut noise);
        if let Some(clip) = &self.config.clip {
            let mut common = vec![0.0; channels * height * width];
            rng.fill_normal(&mut common);
            share_noise(
                &mut noise,
                &common,
                [frames, height * width],
                clip.shared_noise,
            );
        }
        noise
    }

    /// One run of the sampler: the clean sample, and the number of evaluations.
    fn sample(
        &self,
        job: &Job,
        seed: u64,
        index: usize,
        run: &mut Run,
        timings: &mut ImageTimings,
    ) -> Result<(Vec<f32>, usize), PipelineError> {
        let (mut scheduler, _) = self.run_of(job.request)?;
        let mut rng = TorchRng::new(seed);
        let noise = self.noise(job, &mut rng);
        let mut sample = match &job.original {
            Some(original) => scheduler.table().add_noise(original, &noise)?,
            None => {
                let mut sample = noise.clone();
                scheduler.table().scale_initial(&mut sample);
                sample
            }
        };
        let total = scheduler.table().timesteps().len();
        let sampling = Instant::now();
        let mut steps = 0;
        while let Some(timestep) = scheduler.table().timestep() {
            run.check()?;
            let at = scheduler.table().done();
            let mut input = scheduler.table().scale_input(&sample);
            job.known.put(&mut input);
            let output = self.evaluate(job, &input, timestep, job.guidance.is_needed(at, total))?;
            run.check()?;
            scheduler.step(&output, &mut sample, &mut rng)?;
            let table = scheduler.table();
            run.emit(Event::Progress {
                stage: "step".into(),
                done: index * total + table.done(),
                total: job.request.count as usize * total,
            });
            if !table.is_between_steps() {
                continue;
            }
            steps += 1;
            if let (Some(mask), Some(original)) = (&job.mask, &job.original) {
                keep(&mut sample, &table.add_noise(original, &noise)?, mask);
            }
            if job.preview_every.is_some_and(|every| steps % every == 0) {
                let picture = self.preview(job, table.denoised())?;
                let noisy = match self.autoencoder {
                    None => self
                        .preview(job, &table.scale_input(&sample))?
                        .into_pixels(),
                    Some(_) => Vec::new(),
                };
                run.emit(Event::Preview {
                    index,
                    done: steps,
                    total: table.steps(),
                    width: picture.width(),
                    height: picture.height(),
                    rgb: picture.into_pixels(),
                    noisy,
                });
            }
        }
        job.known.put(&mut sample);
        timings.sample_s += sampling.elapsed().as_secs_f64();
        Ok((sample, total))
    }

    /// The network's output at one evaluation, guided.
    fn evaluate(
        &self,
        job: &Job,
        input: &[f32],
        timestep: f32,
        guided: bool,
    ) -> Result<Vec<f32>, PipelineError> {
        let [channels, frames, height, width] = job.shape;
        let batch = if guided { 2 } else { 1 };
        let x: Tensor = tensor(
            input.repeat(batch),
            &[batch, channels, frames, height, width],
            &self.device,
        )?;
        let conditioning = if guided { &job.both } else { &job.alone };
        let known = job.known.flags.repeat(batch);
        let output = self.denoiser.predict(&x, timestep, &known, conditioning)?;
        let mut with = numbers(&output)?;
        if guided {
            let without = with.split_off(with.len() / 2);
            job.guidance.apply(&mut with, &without)?;
        }
        Ok(with)
    }
}

/// One frame of pixels `[channels, frames, height, width]`.
fn picture(values: &[f32], shape: [usize; 4], at: usize) -> Result<Picture, PipelineError> {
    let [_, frames, height, width] = shape;
    let plane = height * width;
    let planes: Vec<f32> = values
        .chunks_exact(frames * plane)
        .flat_map(|channel| &channel[at * plane..][..plane])
        .copied()
        .collect();
    Ok(Picture::from_planes(&planes, width as u32, height as u32)?)
}

/// Puts back what the mask keeps.
fn keep(sample: &mut [f32], kept: &[f32], mask: &[f32]) {
    for ((value, &old), &share) in sample.iter_mut().zip(kept).zip(mask) {
        *value = old + (*value - old) * share;
    }
}
