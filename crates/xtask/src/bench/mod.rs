//! Benchmarks beside the best peer, in turn, in the same run.

pub mod audio;
mod bars;
pub mod image;
pub mod llama;
pub mod load;
pub mod machine;
mod measure;
pub mod perplexity;
mod prepare;
pub mod report;
mod rounds;
pub mod table;
pub mod text;
pub mod train;
pub mod video;
mod workload;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum BenchCommand {
    /// Prefill, decode, load and memory beside llama.cpp
    Text(text::TextArgs),
    /// Sampling and upscaling of pictures beside PyTorch
    Image(image::ImageArgs),
    /// Clips drawn beside PyTorch, a clip as users have it, and films composed against the clock
    Video(video::VideoArgs),
    /// Sound made and heard beside the best peer of each kind
    Audio(audio::AudioArgs),
    /// Perplexity of a text file beside llama-perplexity
    Perplexity(perplexity::PerplexityArgs),
    /// Training of a small decoder beside PyTorch
    Train(train::TrainArgs),
    /// Many clients at once beside llama-server
    Load(load::LoadArgs),
    /// Fetch and build the peers, and do nothing else
    Peers,
}

pub fn run(command: BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Text(args) => text::run(&args),
        BenchCommand::Image(args) => image::run(&args),
        BenchCommand::Video(args) => video::run(&args),
        BenchCommand::Audio(args) => audio::run(&args),
        BenchCommand::Perplexity(args) => perplexity::run(&args),
        BenchCommand::Train(args) => train::run(&args),
        BenchCommand::Load(args) => load::run(&args),
        BenchCommand::Peers => {
            let llama = llama::Llama::open()?;
            println!("{}", llama.program("llama-bench").display());
            Ok(())
        }
    }
}
