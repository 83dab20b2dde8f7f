//! Arguments of `medley video`.

use std::path::PathBuf;

use clap::Args;

use crate::args::parse_size;

/// `medley video`
#[derive(Args, Debug, Clone)]
pub struct VideoArgs {
    /// What is to be seen; - reads it from standard input
    pub prompt: Option<String>,
    /// Name in the catalog, or folder [default: clips]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// Size of the frames in pixels; with --upscale, before they are enlarged [default: the model's]
    #[arg(long, value_name = "WxH", value_parser = parse_size, allow_hyphen_values = true)]
    pub size: Option<[u32; 2]>,
    /// Frames of the clip; those that the model does not draw are made between the others [default: the model's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub frames: Option<u32>,
    /// Frames a second; the model is told how fast what it draws goes [default: the model's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub fps: Option<u32>,
    /// Steps of the sampler [default: the model's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<u32>,
    /// How strongly the prompt counts; 1 is the model alone [default: the model's]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// How the steps are made [default: the model's]
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<String>,
    /// What is not to be seen
    #[arg(long, value_name = "P")]
    pub negative: Option<String>,
    /// Seed [default: a new one each time]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// A picture that is the first frame, or a clip to go on with; without a prompt a clip that is enlarged (--upscale) or made
    /// smoother (--interpolate)
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// Pad an --init of another aspect with white instead of cutting it
    #[arg(long, requires = "init")]
    pub pad: bool,
    /// Times as many frames, made between those of a clip given by --init
    #[arg(long, value_name = "K", requires = "init", conflicts_with_all = ["prompt", "frames"], value_parser = clap::value_parser!(u32).range(1..=8))]
    pub interpolate: Option<u32>,
    /// Make the frames 2 or 4 times as large; 1 leaves them as they were drawn [default: the model's]
    #[arg(long, value_name = "2|4", allow_negative_numbers = true)]
    pub upscale: Option<u32>,
    /// A sound that goes with it, cut where the pictures end; .mp4 only
    #[arg(long, value_name = "FILE")]
    pub sound: Option<PathBuf>,
    /// A timeline (JSON) of titles, stills, clips, captions and sounds, made into one film without a model
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "init", "sound", "frames", "fps", "size"])]
    pub timeline: Option<PathBuf>,
    /// How the frames of an .mp4 are coded: H.264 plays everywhere; AV1 is smaller and slow to write [default: h264]
    #[arg(long, value_enum)]
    pub codec: Option<FilmCodec>,
    /// Write what it looks like after every so many steps, frames side by side, to NAME-step-N.png
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub previews: Option<u32>,
    /// Write to this file: .mp4, .gif, .webp, .png (animated), or a folder of frames [default: words of the prompt and the seed, .mp4]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How the frames of an .mp4 are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FilmCodec {
    /// H.264
    H264,
    /// AV1
    Av1,
}

impl From<FilmCodec> for medley_types::VideoCodec {
    fn from(codec: FilmCodec) -> Self {
        match codec {
            FilmCodec::H264 => Self::H264,
            FilmCodec::Av1 => Self::Av1,
        }
    }
}
