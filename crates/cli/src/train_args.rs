//! Arguments of `medley train`.

use clap::{Args, Subcommand};

use crate::args::TrainCompute;

/// `medley train`
#[derive(Subcommand, Debug)]
pub enum TrainCommand {
    /// A language model, from nothing or on from a published one
    Text(TrainTextArgs),
}

/// Which rule moves the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainOptimiser {
    /// AdamW for all
    Adamw,
    /// Muon for the matrices within the model, AdamW for the rest
    Muon,
}

/// What every run takes.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Folder of the run and of the model that it makes
    #[arg(long, value_name = "DIR")]
    pub out: std::path::PathBuf,
    /// Steps [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// Go on with the run that is in --out
    #[arg(long)]
    pub resume: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Steps from one evaluation to the next; 0 for none but the last
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub evaluate_every: u64,
    /// Steps from one sample to the next; 0 for none
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub sample_every: u64,
    /// Steps from one checkpoint to the next; 0 for none but the last
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub save_every: u64,
    /// Draws first weights, order and samples [default: random]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
}

/// `medley train text`
#[derive(Args, Debug)]
pub struct TrainTextArgs {
    /// Folder of texts and source files, or of .jsonl files with "text" or "messages"; or one file
    #[arg(long, value_name = "DIR")]
    pub data: std::path::PathBuf,
    /// Published model to go on from: a folder with config.json, tokenizer.json and safetensors
    #[arg(long, value_name = "M")]
    pub base: Option<String>,
    /// Sequences of a batch
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// Batches of a step
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub accumulate: usize,
    /// Tokens of a sequence
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub length: usize,
    /// Largest learning rate
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    pub rate: f64,
    /// Steps until it is reached [default: a twentieth of all, at most 200]
    #[arg(long, value_name = "N")]
    pub warm_up: Option<u64>,
    /// Which rule moves the parameters
    #[arg(long, value_enum, default_value_t = TrainOptimiser::Adamw)]
    pub optimiser: TrainOptimiser,
    /// Share of matrices that is taken away at each step, times the learning rate
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub weight_decay: f32,
    /// Decay of averaged weights, which are evaluated and kept [default: none]
    #[arg(long, value_name = "X")]
    pub ema: Option<f64>,
    /// How products are computed
    #[arg(long, value_enum, default_value_t = TrainCompute::F32)]
    pub compute: TrainCompute,
    /// Most tokens of a vocabulary that is made from the data
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub vocab: usize,
    /// Width of a model from nothing
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub width: usize,
    /// Layers of a model from nothing
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub layers: usize,
    /// Attention heads of a model from nothing
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub heads: usize,
    /// Share of documents that is kept for evaluation
    #[arg(long, value_name = "X", default_value_t = 0.02)]
    pub hold_out: f64,
    /// Documents that are shuffled at a time
    #[arg(long, value_name = "N", default_value_t = 10000)]
    pub shuffle: usize,
    /// The run
    #[command(flatten)]
    pub run: RunArgs,
}
