//! Clips: a denoiser of clips, what stands around it, and frames made between those that it draws.
//!
//! A model is a folder as pictures have it ([`ImageConfig`]) whose `config.json` says `"medium": "video"` and has a `clip`.
//! Its frames are drawn together by the loop of pictures; then each is enlarged, and optical flow makes those between
//! ([`interpolate`](fn@medley_media::film::interpolate)).

mod check;

use std::time::Instant;

use medley_media::film::{Clip, Fit, Rate, interpolate, rate_words};
use medley_media::{Filter, Picture};
use medley_nn::Device;
use medley_types::{Event, ImagePlan, ImageRequest, VideoRequest, VideoTimings, VideoWork};

use crate::image::diffusion::{Drawn, Known};
use crate::image::{
    ClipConfig, DiffusionGenerator, ImageConfig, ImageGenerator, Sources, Speed, load_diffusion,
};
use crate::{PipelineError, Run};

pub use check::{complete, validate};

/// What a request refers to by content, and what the caller wants to see on the way.
#[derive(Clone, Debug, Default)]
pub struct VideoInputs {
    /// The picture (a clip of one frame) or clip of `init`.
    pub init: Option<Clip>,
    /// Send a preview, the frames side by side, after every so many steps.
    pub preview_every: Option<usize>,
}

/// A clip with what is known of it.
#[derive(Clone, Debug)]
pub struct Video {
    /// Its frames and rate.
    pub clip: Clip,
    /// Sizes and times.
    pub work: VideoWork,
}

/// Turns requests for clips into clips.
pub trait VideoGenerator: Send + Sync {
    /// What the model is.
    fn config(&self) -> &ImageConfig;

    /// What a completed request will take.
    fn plan(&self, request: &VideoRequest, speed: &Speed) -> ImagePlan;

    /// Runs a request that [`complete`] gave. Looks at the cancel token around every evaluation of the network and every frame;
    /// reports progress as `step`, `upscale` and `interpolate`, and previews where `inputs` asks for them.
    ///
    /// # Errors
    /// [`PipelineError::Cancelled`] leaves nothing; [`PipelineError::Diffusion`] for values that are not finite.
    fn generate(
        &self,
        request: &VideoRequest,
        inputs: &VideoInputs,
        run: &mut Run,
    ) -> Result<Video, PipelineError>;
}

/// A denoiser of clips with what stands around it.
pub struct VideoModel {
    network: DiffusionGenerator,
    clip: ClipConfig,
}

/// A generator of everything that `sources` names.
///
/// # Errors
/// As [`crate::image::load`]; [`PipelineError::ModelConfig`] for a model of pictures.
pub fn load(
    config: ImageConfig,
    sources: &Sources,
    device: &Device,
) -> Result<VideoModel, PipelineError> {
    if config.clip.is_none() {
        return Err(check::no_clips(&config));
    }
    VideoModel::new(load_diffusion(config, sources, device)?)
}

impl VideoGenerator for VideoModel {
    fn config(&self) -> &ImageConfig {
        &self.network.config
    }

    fn plan(&self, request: &VideoRequest, speed: &Speed) -> ImagePlan {
        self.network.plan(&self.still(request), speed)
    }

    fn generate(
        &self,
        request: &VideoRequest,
        inputs: &VideoInputs,
        run: &mut Run,
    ) -> Result<Video, PipelineError> {
        let start = Instant::now();
        let known = self.known(request, inputs)?;
        let still = self.still(request);
        let drawn = self
            .network
            .draw_clip(&still, known, inputs.preview_every, run)?;
        let mut timings = VideoTimings {
            load_s: drawn.timings.load_s,
            encode_s: drawn.timings.encode_s,
            sample_s: drawn.timings.sample_s,
            decode_s: drawn.timings.decode_s,
            ..VideoTimings::default()
        };
        let Drawn {
            frames,
            evaluations,
            ..
        } = drawn;
        let enlarging = Instant::now();
        let frames = enlarged(&self.network, frames, request.upscale.unwrap_or(1), run)?;
        timings.upscale_s = enlarging.elapsed().as_secs_f64();
        let between = Instant::now();
        let clip = self.shown(request, frames, run)?;
        timings.interpolate_s = between.elapsed().as_secs_f64();
        timings.total_s = start.elapsed().as_secs_f64();
        run.emit(Event::Done);
        let work = VideoWork {
            width: clip.width(),
            height: clip.height(),
            frames: clip.frames().len() as u32,
            drawn: self.clip.frames,
            fps: request.fps.unwrap_or(1),
            seconds: clip.seconds(),
            evaluations,
            timings,
        };
        Ok(Video { clip, work })
    }
}

impl VideoModel {
    /// A generator over a denoiser of clips.
    ///
    /// # Errors
    /// [`PipelineError::ModelConfig`] for one of pictures.
    pub fn new(network: DiffusionGenerator) -> Result<Self, PipelineError> {
        let config = &network.config;
        let clip = config.clip.ok_or_else(|| check::no_clips(config))?;
        Ok(Self { network, clip })
    }

    /// The request for the frames that are drawn, as that of a picture.
    fn still(&self, request: &VideoRequest) -> ImageRequest {
        let mut still = check::still(request);
        if self.clip.rate_in_prompt && !still.prompt.is_empty() {
            let rate = rate_words(self.drawn_rate(request));
            still.prompt = format!("{}, {rate}", still.prompt);
        }
        still
    }

    /// Drawn frames a second.
    fn drawn_rate(&self, request: &VideoRequest) -> f64 {
        let frames = request.frames.unwrap_or(self.clip.frames);
        let rate = request.fps.map_or(self.clip.rate, f64::from);
        rate * f64::from(self.clip.frames) / f64::from(frames.max(1))
    }

    /// Frames that are given: a picture is the first one; the end of a clip, at the drawn rate and as much of it as half of
    /// what is drawn, are the first ones.
    fn known(&self, request: &VideoRequest, inputs: &VideoInputs) -> Result<Known, PipelineError> {
        let (Some(init), Some(clip)) = (&request.init, &inputs.init) else {
            if request.init.is_some() {
                return Err(PipelineError::InvalidRequest(
                    "the picture or clip that this request starts from is not there: give it with --init".into(),
                ));
            }
            return Ok(Known::default());
        };
        let config = &self.network.config;
        let [width, height] = request.size.unwrap_or(config.size);
        let fit = if init.pad {
            Fit::Pad([255; 3])
        } else {
            Fit::Crop
        };
        let frames = self.clip.frames as usize;
        let rate = self.drawn_rate(request);
        let most = match clip.frames().len() {
            1 => 1,
            _ => ((clip.seconds() * rate).round() as usize).clamp(1, (frames / 2).max(1)),
        };
        let given: Result<Vec<Picture>, _> = (1..=most)
            .map(|i| {
                // Of one frame that one, else those at even steps up to the last.
                let back = (most - i) as f64 / rate * clip.rate().per_second();
                let at = (clip.frames().len() - 1).saturating_sub(back.round() as usize);
                let frame = clip.frames()[at].over([255; 3]);
                fit.apply(&frame, width, height, Filter::Lanczos)
            })
            .collect();
        let given = given?;
        let blank = Picture::filled(width, height, [255; 3])?;
        let all: Vec<Picture> = given
            .iter()
            .cloned()
            .chain(std::iter::repeat_n(blank, frames - given.len()))
            .collect();
        Ok(Known {
            flags: self.network.given(given.len()),
            channels: config.channels,
            sample: self.network.sample_of(&all)?,
        })
    }

    /// The drawn frames as the request wants them shown.
    fn shown(
        &self,
        request: &VideoRequest,
        frames: Vec<Picture>,
        run: &mut Run,
    ) -> Result<Clip, PipelineError> {
        let (drawn, fps) = (frames.len() as u32, request.fps.unwrap_or(1));
        let times = request.frames.unwrap_or(drawn) / drawn.max(1);
        let closed = self.network.config.loops();
        smoothed(frames, times, Rate::new(fps, 1)?, closed, run)
    }
}

/// Every frame `factor` times larger.
fn enlarged(
    network: &DiffusionGenerator,
    frames: Vec<Picture>,
    factor: u32,
    run: &mut Run,
) -> Result<Vec<Picture>, PipelineError> {
    if factor == 1 {
        return Ok(frames);
    }
    let upscaler = network.upscaler.as_ref().ok_or_else(|| {
        PipelineError::InvalidRequest("there is no upscaler: leave --upscale out".into())
    })?;
    upscaler.enlarge_all(frames, factor, run)
}

/// Frames with so many times as many, shown at `rate`. A clip that does not close ends with its last drawn frame, held.
fn smoothed(
    frames: Vec<Picture>,
    times: u32,
    rate: Rate,
    closed: bool,
    run: &mut Run,
) -> Result<Clip, PipelineError> {
    run.check()?;
    let total = frames.len() * times as usize;
    let clip = Clip::new(frames, rate, None)?;
    if times <= 1 {
        return Ok(clip);
    }
    // The rate is that of the result.
    let slow = Clip::new(clip.into_frames(), Rate::new(1, 1)?, None)?;
    let made = interpolate(&slow, times, closed)?;
    run.check()?;
    run.emit(Event::Progress {
        stage: "interpolate".into(),
        done: total,
        total,
    });
    let mut frames = made.into_frames();
    if let Some(last) = frames.last().cloned() {
        frames.resize(total, last);
    }
    Ok(Clip::new(frames, rate, None)?)
}

/// A clip enlarged, with frames made between its own, without a model of clips.
///
/// # Errors
/// [`PipelineError::Cancelled`], [`PipelineError::Media`], those of the upscaler.
pub fn improve(
    clip: Clip,
    (upscaler, factor): (Option<&crate::image::Upscaler>, u32),
    times: u32,
    run: &mut Run,
) -> Result<Clip, PipelineError> {
    let (rate, audio) = (clip.rate(), clip.audio().cloned());
    let mut frames: Vec<Picture> = clip.into_frames();
    if let (Some(upscaler), true) = (upscaler, factor > 1) {
        let opaque = frames.iter().map(|frame| frame.over([255; 3])).collect();
        frames = upscaler.enlarge_all(opaque, factor, run)?;
    }
    let rate = Rate::new(rate.frames() * times, rate.seconds())?;
    Ok(smoothed(frames, times, rate, false, run)?.with_audio(audio))
}
