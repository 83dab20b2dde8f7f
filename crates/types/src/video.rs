use serde::{Deserialize, Serialize};

use crate::InputFile;

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What a clip starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipInit {
    /// The file: a picture is the first frame, of a clip the last frames are the first ones.
    #[serde(flatten)]
    pub file: InputFile,
    /// Whether another aspect is padded with white; otherwise what stands over is cut off.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pad: bool,
}

/// A request for a clip. What is absent is the model's default; a generator fills it in, so that the recipe in a file holds
/// every value that counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VideoRequest {
    /// Name in the catalog; for a model in a folder of the user's, that folder's own name.
    pub model: String,
    /// What is to be seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// What is not to be seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub negative: String,
    /// Width and height that are drawn, in pixels, before any upscaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// Frames of the clip; those that the model does not draw are made between the ones that it draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<u32>,
    /// Frames a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<u32>,
    /// Steps of the sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Scale of classifier-free guidance; 1 is the prompt alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// Name of the sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// Seed of the noise.
    pub seed: u64,
    /// What it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<ClipInit>,
    /// How many times larger an upscaler makes the sides; 1 leaves them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upscale: Option<u32>,
    /// The sound that goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<InputFile>,
    /// How the frames of an MP4 file are coded; H.264 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<VideoCodec>,
}

/// How the frames of an MP4 file are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264, which everything plays.
    H264,
    /// AV1: smaller, free of licences, and slow to write.
    Av1,
}

/// Where the time went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VideoTimings {
    /// Loading the models; 0 where they were there already.
    pub load_s: f64,
    /// Reading the prompt.
    pub encode_s: f64,
    /// The sampler's steps.
    pub sample_s: f64,
    /// From latents to pixels.
    pub decode_s: f64,
    /// Upscaling.
    pub upscale_s: f64,
    /// Making the frames between.
    pub interpolate_s: f64,
    /// All of it but the loading.
    pub total_s: f64,
}

/// What is known of a clip that was made; the pixels are the generator's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VideoWork {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames.
    pub frames: u32,
    /// Frames that the model drew.
    pub drawn: u32,
    /// Frames a second.
    pub fps: u32,
    /// How long it lasts.
    pub seconds: f64,
    /// Evaluations of the model.
    pub evaluations: usize,
    /// Where the time went.
    pub timings: VideoTimings,
}
