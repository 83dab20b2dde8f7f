//! Arguments of `medley bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::{TrainCompute, TrainedModel, parse_size};

/// `medley bench`
#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// Speed of a language model: reading and writing tokens
    Text {
        /// Name in the catalog, file or folder
        #[arg(long, value_name = "M")]
        model: Option<String>,
        /// Tokens to read
        #[arg(
            long,
            value_name = "N",
            allow_negative_numbers = true,
            default_value_t = 512
        )]
        prefill: usize,
        /// Tokens to write
        #[arg(
            long,
            value_name = "N",
            allow_negative_numbers = true,
            default_value_t = 128
        )]
        decode: usize,
        /// Sequences that are written together
        #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
        batch: u16,
    },
    /// Speed of training a small model: forward, backward, clipping and AdamW over random data
    #[command(hide = true)]
    Train {
        /// Which model
        #[arg(long, value_enum, default_value_t = TrainedModel::Decoder)]
        model: TrainedModel,
        /// How products are computed
        #[arg(long, value_enum, default_value_t = TrainCompute::F32)]
        compute: TrainCompute,
        /// Token ids
        #[arg(long, value_name = "N", default_value_t = 32000)]
        vocab: usize,
        /// Steps that are timed
        #[arg(long, value_name = "N", default_value_t = 5)]
        steps: usize,
    },
    /// Search in documents: time to index so many passages of made-up words and vectors, and to find some
    Docs {
        /// Passages
        #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
        passages: u32,
    },
    /// What the machine can do at the most: memory bandwidth and 8-bit arithmetic
    Machine,
    /// Speed of a picture model: seconds a picture, steps per second
    Image(BenchImageArgs),
    /// Speed of drawing clips; upscaling is that of one frame
    Video(BenchImageArgs),
    /// How good drawn pictures are: near to real ones, what captions say, no copies
    Fidelity(BenchFidelityArgs),
    /// Which of some captions a picture model draws so that they are recognised
    Subjects(BenchSubjectsArgs),
    /// Speed of a voice: seconds a text, and until its first sound
    Speech(BenchSpeechArgs),
    /// Music: seconds for a minute of it; with --data what the model has learned, beside its data
    Music(BenchMusicArgs),
    /// Speed of an encoder: texts per second
    Embed {
        /// Name in the catalog, or folder
        #[arg(long, value_name = "M", default_value = "minilm")]
        model: String,
    },
    /// How well a language model predicts a text
    Perplexity {
        /// Name in the catalog, file or folder
        #[arg(long, value_name = "M")]
        model: Option<String>,
        /// The text
        #[arg(long, value_name = "F")]
        file: PathBuf,
        /// Tokens of a chunk
        #[arg(
            long,
            value_name = "N",
            allow_negative_numbers = true,
            default_value_t = 512
        )]
        context: usize,
    },
}

/// `medley bench subjects`
#[derive(Args, Debug, Clone)]
pub struct BenchSubjectsArgs {
    /// A text with one caption a line
    #[arg(long, value_name = "F")]
    pub file: PathBuf,
    /// Name in the catalog, file or folder [default: icons]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// What scores: a name of the catalog or a folder that medley train scorer made
    #[arg(long, value_name = "M", default_value = "icon-scorer")]
    pub scorer: String,
    /// Pictures that are drawn of each
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub count: u32,
    /// Seed of the first picture of each
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

/// `medley bench fidelity`
#[derive(Args, Debug, Clone)]
pub struct BenchFidelityArgs {
    /// Name in the catalog, file or folder [default: icons]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// Captioned pictures that it was trained on, held-out ones among them
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// What scores: a name of the catalog or a folder that medley train scorer made; numbers compare only with those of
    /// the same one
    #[arg(long, value_name = "M", default_value = "icon-scorer")]
    pub scorer: String,
    /// Pictures that are drawn of held-out captions, and again of captions of the training
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub count: u32,
    /// Share of groups of pictures that was held out in training [default: what training.json beside the model says]
    #[arg(long, value_name = "X")]
    pub hold_out: Option<f64>,
    /// Steps of the sampler [default: the model's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<u32>,
    /// How strongly captions count [default: the model's]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// How the steps are made [default: the model's]
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<String>,
    /// Truncation of a GAN [default: the model's]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub truncation: Option<f64>,
    /// Which captions are taken, and the seed of the first picture
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Write the drawn pictures that come nearest to a copy into this file: each, then what is nearest by pixels and by
    /// features
    #[arg(long, value_name = "FILE")]
    pub sheet: Option<PathBuf>,
}

/// `medley bench image`
#[derive(Args, Debug, Clone)]
pub struct BenchImageArgs {
    /// Name in the catalog, file or folder [default: icons]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// What is drawn, where the model reads prompts
    #[arg(long, value_name = "P", default_value = "a red apple")]
    pub prompt: String,
    /// Size of the picture in pixels [default: the model's]
    #[arg(long, value_name = "WxH", value_parser = parse_size, allow_hyphen_values = true)]
    pub size: Option<[u32; 2]>,
    /// Steps of the sampler [default: the model's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<u32>,
    /// How strongly the prompt counts [default: the model's]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// How many times larger the picture is made [default: the model's]
    #[arg(long, value_name = "1|2|4", allow_negative_numbers = true)]
    pub upscale: Option<u32>,
    /// Pictures that are timed, after one that is not; the median counts
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
}

/// `medley bench music`
#[derive(Args, Debug)]
pub struct BenchMusicArgs {
    /// Name in the catalog, or folder [default: tunes]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// Tunes that it was trained on; those that were held out are measured
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Share of tunes that was held out
    #[arg(long, value_name = "X", default_value_t = 0.05)]
    pub hold_out: f64,
    /// Tunes that are written to be looked at
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub count: u16,
    /// Rounds of the measurement of speed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: u16,
}

/// `medley bench speech`
#[derive(Args, Debug)]
pub struct BenchSpeechArgs {
    /// Name in the catalog, file or folder [default: hibari]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// Name of one of its voices [default: the first]
    #[arg(long, value_name = "V")]
    pub voice: Option<String>,
    /// What is said
    #[arg(long, value_name = "TEXT", default_value = BENCH_TEXT)]
    pub text: String,
    /// How often it is timed, after once that is not; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
}

/// A quarter of a minute of speech.
const BENCH_TEXT: &str = "The quick brown fox jumps over the lazy dog, and nine people paid for it at half past seven. \
    She sells sea shells by the sea shore. Our first ferry leaves at eight o'clock from the northern pier. \
    Please keep your ticket ready, and remember that bicycles travel free on weekdays.";
