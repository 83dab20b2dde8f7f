//! `bench perplexity`: the same text through both engines by the same protocol.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::llama::Llama;
use super::table::table;
use crate::process;
use crate::smoke::Program;

#[derive(Args)]
pub struct PerplexityArgs {
    /// Catalog names or GGUF files
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "smollm2-135m,gemma3-270m"
    )]
    models: Vec<String>,
    /// Text to predict
    #[arg(long)]
    file: PathBuf,
    /// Tokens in a chunk
    #[arg(long, default_value_t = 512)]
    context: usize,
    /// Threads of both engines
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What `medley bench perplexity --json` prints.
#[derive(Debug, Clone, Deserialize)]
pub struct Own {
    /// Exponential of the mean negative log-likelihood.
    pub perplexity: f64,
    /// Tokens that were predicted.
    pub tokens: u64,
}

#[derive(Debug, Serialize)]
struct Comparison {
    model: String,
    context: usize,
    tokens: u64,
    medley: f64,
    peer: f64,
    relative_difference: f64,
}

/// Medley's own measurement; `model` is a catalog name or a file.
pub fn own(program: &Program, model: &str, file: &Path, context: usize) -> Result<Own> {
    let file = file.to_string_lossy();
    let context = context.to_string();
    let value = program.json(&[
        "bench",
        "perplexity",
        "--model",
        model,
        "--file",
        &file,
        "--context",
        &context,
    ])?;
    serde_json::from_value(value).context("`medley bench perplexity` printed something unexpected")
}

pub fn run(args: &PerplexityArgs) -> Result<()> {
    let program = Program::build()?;
    let llama = Llama::open()?;
    let mut found = Vec::new();
    for name in &args.models {
        let model = program.weights(name)?;
        let own = own(&program, &model.to_string_lossy(), &args.file, args.context)?;
        let peer = llama.perplexity(&model, &args.file, args.context, args.threads)?;
        found.push(Comparison {
            model: name.clone(),
            context: args.context,
            tokens: own.tokens,
            medley: own.perplexity,
            peer,
            relative_difference: own.perplexity / peer - 1.0,
        });
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            vec![
                one.model.clone(),
                one.tokens.to_string(),
                format!("{:.4}", one.medley),
                format!("{:.4}", one.peer),
                format!("{:+.3} %", one.relative_difference * 100.0),
            ]
        })
        .collect();
    print!(
        "{}",
        table(
            &["model", "tokens", "Medley", "llama.cpp", "difference"],
            &rows
        )
    );
    if let Some(path) = &args.json {
        process::write_record(path, &found)?;
    }
    Ok(())
}
