//! The developers' own commands: `cargo xtask test` and its parts, benchmarks against peers, golden
//! cases, proofs, packing and generated documentation. CONTRIBUTING.md says when to use which.
#![allow(
    clippy::print_stdout,
    reason = "the output of these commands is their purpose"
)]

mod bare;
mod bench;
mod check;
mod clients;
mod create;
mod desk;
mod dist;
mod docs;
mod films;
mod golden;
mod icons;
mod listen;
mod metadata;
mod process;
mod prove;
mod python;
mod router;
mod serving;
mod smoke;
mod starter;
mod steps;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Medley's developer commands", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check and test, cheapest first
    Test(test::TestArgs),
    /// Rules that need no compiler: layers, file sizes, unfinished words, machine paths, licences, sources
    Check,
    /// Format the workspace (or verify it)
    Fmt {
        /// Change nothing; fail if something is not formatted
        #[arg(long)]
        check: bool,
    },
    /// Run Medley beside the best peer on the same file, in turn, and print the ratios
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Run the long proofs and write docs/proof/NAME.json
    Prove(prove::ProveArgs),
    /// Run the make.py scripts that produce golden cases and fixtures
    Golden(golden::GoldenArgs),
    /// Make the dataset of the starter's icons, and the text encoder that reads their captions
    Icons(icons::IconsArgs),
    /// Bring a trained model into starter/, in bf16, and print sizes and hashes for the catalog
    Starter(starter::StarterArgs),
    /// Fit the layer that the router has beside its rules to labelled requests
    Router,
    /// Build the optimised program and pack it with its data and licences
    Dist(dist::DistArgs),
    /// Regenerate the generated pages of docs/ (or verify them)
    Docs {
        /// Change nothing; fail if a page is out of date
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Check => check::run(),
        Command::Fmt { check } => test::fmt(check),
        Command::Bench(command) => bench::run(command),
        Command::Prove(args) => prove::run(&args),
        Command::Golden(args) => golden::run(&args),
        Command::Router => router::run(),
        Command::Icons(args) => icons::run(&args),
        Command::Starter(args) => starter::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Docs { check } => docs::run(check),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
