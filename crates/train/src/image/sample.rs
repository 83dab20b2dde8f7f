//! Pictures that a model in training draws.

use medley_media::Picture;
use medley_models::dit::{Condition, Dit, TextStates};
use medley_nn::Tensor;
use medley_sampling::diffusion::{
    FlowShift, Guidance, NoiseSchedule, NormalSource, Prediction, Process, Sampler,
    SchedulerConfig, TorchRng, share_noise,
};

use super::objective::{BETAS, Mixing, TIMESTEPS};
use crate::Result;
use crate::captions::CaptionEncoder;

/// How pictures are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// What the network gives.
    pub prediction: Prediction,
    /// What it was trained with.
    pub mixing: Mixing,
    /// Sampler.
    pub sampler: Sampler,
    /// Its steps.
    pub steps: usize,
    /// Scale of the guidance.
    pub guidance: f64,
    /// Seed of the first picture; the following ones have the following seeds.
    pub seed: u64,
    /// Share of the noise's variance that the frames of a clip have in common.
    pub shared_noise: f64,
}

/// One picture for each prompt, all in one batch; the same bytes as those of `medley image` with these settings, but for
/// the rounding of captions. Of a model of clips the first frames.
///
/// # Errors
/// [`Error::Caption`](crate::Error::Caption) for a prompt that cannot be encoded, and those of the network.
pub fn draw(
    network: &Dit,
    captions: Option<&mut CaptionEncoder>,
    prompts: &[&str],
    how: &Draw,
) -> Result<Vec<Picture>> {
    let clips = draw_clips(network, captions, prompts, how)?;
    Ok(clips
        .into_iter()
        .filter_map(|clip| clip.into_iter().next())
        .collect())
}

/// The frames of one clip for each prompt, all in one batch; of a model of pictures one frame each.
///
/// # Errors
/// As [`draw`].
pub fn draw_clips(
    network: &Dit,
    captions: Option<&mut CaptionEncoder>,
    prompts: &[&str],
    how: &Draw,
) -> Result<Vec<Vec<Picture>>> {
    let c = network.config();
    let (count, [height, width]) = (prompts.len(), c.sample_size);
    let (frames, plane) = (c.frames, height * width);
    let each = c.channels * frames * plane;
    let process = match how.mixing {
        Mixing::Flow { .. } => Process::Flow {
            shift: FlowShift::Static(1.0),
            timesteps: TIMESTEPS,
        },
        Mixing::Diffusion { betas, .. } => {
            Process::Diffusion(NoiseSchedule::new(betas, TIMESTEPS, BETAS.0, BETAS.1)?)
        }
    };
    let guided = how.guidance != 1.0 && captions.is_some();
    let mut texts = prompts.to_vec();
    if guided {
        texts.resize(2 * count, "");
    }
    let states = captions.map(|encoder| encoder.encode(&texts)).transpose()?;
    let states = match states {
        Some(s) => {
            let shape = (texts.len(), s.tokens, s.width);
            let tensor = Tensor::from_vec(s.values, shape, network.device());
            Some((tensor.map_err(medley_nn::Error::from)?, s.lengths))
        }
        None => None,
    };
    let guidance = Guidance::new(how.guidance)?;
    let config = SchedulerConfig::new(how.sampler, how.prediction, process);
    let mut runs = Vec::new();
    for i in 0..count as u64 {
        let mut rng = TorchRng::new(how.seed.wrapping_add(i));
        let mut sample = vec![0.0; each];
        rng.fill_normal(&mut sample);
        if frames > 1 {
            let mut common = vec![0.0; c.channels * plane];
            rng.fill_normal(&mut common);
            share_noise(&mut sample, &common, [frames, plane], how.shared_noise);
        }
        let scheduler = config.build(how.steps)?;
        scheduler.table().scale_initial(&mut sample);
        runs.push((scheduler, rng, sample));
    }
    while let Some(timestep) = runs.first().and_then(|run| run.0.table().timestep()) {
        let mut input: Vec<f32> = Vec::with_capacity(each * texts.len());
        for (scheduler, _, sample) in &runs {
            input.extend(scheduler.table().scale_input(sample).iter());
        }
        if guided {
            input.extend_from_within(..);
        }
        let batch = input.len() / each.max(1);
        let shape = (batch, c.channels, frames, height, width);
        let x = Tensor::from_vec(input, shape, network.device()).map_err(medley_nn::Error::from)?;
        let text = states
            .as_ref()
            .map(|(states, lengths)| TextStates { states, lengths });
        let condition = Condition {
            text,
            classes: None,
        };
        let output = network.forward_clips(&x, &vec![timestep; batch], &[], &condition)?;
        let output = output.flatten_all().and_then(|x| x.to_vec1::<f32>());
        let output = output.map_err(medley_nn::Error::from)?;
        for (i, (scheduler, rng, sample)) in runs.iter_mut().enumerate() {
            let mut with = output[i * each..][..each].to_vec();
            if guided {
                guidance.apply(&mut with, &output[(count + i) * each..][..each])?;
            }
            scheduler.step(&with, sample, rng)?;
        }
    }
    let frame = |sample: &[f32], at: usize| -> Result<Picture> {
        let planes = sample.chunks_exact(frames * plane);
        let planes: Vec<f32> = planes
            .flat_map(|channel| &channel[at * plane..][..plane])
            .copied()
            .collect();
        Ok(Picture::from_planes(&planes, width as u32, height as u32)?)
    };
    runs.iter()
        .map(|(_, _, sample)| (0..frames).map(|at| frame(sample, at)).collect())
        .collect()
}
