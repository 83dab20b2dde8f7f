//! Benchmarks beside the best peer, in turn, in the same run.

pub mod llama;
pub mod machine;
mod measure;
pub mod perplexity;
pub mod report;
mod rounds;
mod table;
pub mod text;
mod workload;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum BenchCommand {
    /// Prefill, decode, load and memory beside llama.cpp
    Text(text::TextArgs),
    /// Perplexity of a text file beside llama-perplexity
    Perplexity(perplexity::PerplexityArgs),
    /// Fetch and build the peers, and do nothing else
    Peers,
    /// Print the machine's limits as JSON
    Probe {
        /// Threads running at once
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
}

pub fn run(command: BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Text(args) => text::run(&args),
        BenchCommand::Perplexity(args) => perplexity::run(&args),
        BenchCommand::Peers => {
            let llama = llama::Llama::open()?;
            println!("{}", llama.program("llama-bench").display());
            Ok(())
        }
        BenchCommand::Probe { threads } => {
            let limits = machine::Limits::measure_here(threads);
            println!("{}", serde_json::to_string(&limits)?);
            Ok(())
        }
    }
}
