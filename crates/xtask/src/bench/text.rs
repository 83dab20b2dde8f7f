//! `bench text`: Medley and llama.cpp on the same file, in turn.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;

use super::llama::{BenchRun, Llama, PACKAGE_VERSION};
use super::machine::{self, Description, Limits};
use super::report::{Cell, Report};
use super::rounds::{self, Round, Sample};
use super::workload::Workload;
use super::{measure, prepare};
use crate::process;
use crate::smoke::Program;

/// Options of the peer that are tried; the fastest is kept for the comparison.
const PEER_OPTIONS: &[&[&str]] = &[&["-fa", "off"], &["-fa", "on"]];

#[derive(Args)]
pub struct TextArgs {
    /// Catalog names or GGUF files; when none is named, the starter models, other types of one of them and a larger
    /// shape, which are made first
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Good rounds to collect for each model and number of threads
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Also generate this many sequences together
    #[arg(long)]
    batch: Option<usize>,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What `medley bench text --json` prints. With `--batch N`, `decode_tok_s` counts the tokens of all sequences.
#[derive(Debug, Deserialize)]
struct Own {
    prefill_tok_s: f64,
    decode_tok_s: f64,
    load_s: f64,
    first_token_s: Option<f64>,
}

impl TextArgs {
    /// The defaults, with the figures kept in `file`.
    pub fn into_file(file: &Path) -> Self {
        Self {
            models: Vec::new(),
            threads: vec![1, 2],
            rounds: 5,
            batch: Some(8),
            json: Some(file.to_owned()),
        }
    }
}

struct Bench<'a> {
    args: &'a TextArgs,
    program: Program,
    llama: Llama,
    limits: Vec<Limits>,
    peer_commit: String,
}

pub fn run(args: &TextArgs) -> Result<()> {
    let mut bench = Bench {
        args,
        program: Program::build()?,
        llama: Llama::open()?,
        limits: Vec::new(),
        peer_commit: String::new(),
    };
    let models = if args.models.is_empty() {
        prepare::models(&bench.program)?
    } else {
        args.models.clone()
    };
    let medley = own_version(bench.program.binary())?;
    let mut cells = Vec::new();
    for name in &models {
        let model = bench.program.weights(name)?;
        for &threads in &args.threads {
            cells.push(bench.cell(name, &model, threads)?);
        }
        // A run takes half an hour: what it has measured so far is kept if it is stopped.
        bench.keep(&medley, &cells)?;
    }
    println!("\n{}", bench.report(&medley, &cells).render());
    Ok(())
}

impl Bench<'_> {
    fn report(&self, medley: &str, cells: &[Cell]) -> Report {
        let mut cells = cells.to_vec();
        for cell in &mut cells {
            if let Some(limits) = self.limits.iter().find(|own| own.threads == cell.threads) {
                cell.summarise(limits);
            }
        }
        Report {
            command: "cargo xtask bench text".into(),
            machine: Description::read(),
            medley: medley.to_owned(),
            peer: format!("llama-cpp-python {PACKAGE_VERSION} ({})", self.peer_commit),
            limits: self.limits.clone(),
            cells,
        }
    }

    fn keep(&self, medley: &str, cells: &[Cell]) -> Result<()> {
        let Some(path) = &self.args.json else {
            return Ok(());
        };
        process::write_record(path, &self.report(medley, cells))
    }

    fn cell(&mut self, name: &str, model: &Path, threads: usize) -> Result<Cell> {
        let label = match model.file_name() {
            Some(file) if Path::new(name).is_file() => file.to_string_lossy().into_owned(),
            _ => name.to_owned(),
        };
        self.note_limits(threads)?;
        let options = self.best_peer_options(model, threads)?;
        let (rounds, rounds_run, slow_rounds_kept) = rounds::collect(self.args.rounds, |index| {
            let round = self.round(index, model, threads, &options)?;
            print_round(&label, threads, index, &round);
            Ok::<_, anyhow::Error>(round)
        })?;
        // A second look at the limits: a slow spell at the start must not flatter the shares.
        self.note_limits(threads)?;
        Ok(Cell {
            model: label,
            threads,
            batch: self.args.batch,
            peer_options: options,
            work: Workload::of(model)?,
            rounds_run,
            slow_rounds_kept,
            rounds,
            summary: Vec::new(),
        })
    }

    fn note_limits(&mut self, threads: usize) -> Result<()> {
        let now = Limits::measure(self.program.binary(), threads)?;
        match self.limits.iter_mut().find(|own| own.threads == threads) {
            Some(own) => *own = own.best(now),
            None => self.limits.push(now),
        }
        Ok(())
    }

    /// Run the peer once with each set of options; the fastest by the product of both speeds.
    fn best_peer_options(&mut self, model: &Path, threads: usize) -> Result<Vec<String>> {
        let mut best: Option<(f64, Vec<String>)> = None;
        for options in PEER_OPTIONS {
            let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
            let run: BenchRun = self.llama.bench(model, threads, &options)?;
            let speed = run.prefill_tok_s * run.decode_tok_s;
            self.peer_commit = run.commit;
            if best.as_ref().is_none_or(|(fastest, _)| speed > *fastest) {
                best = Some((speed, options));
            }
        }
        Ok(best.map(|(_, options)| options).unwrap_or_default())
    }

    fn round(
        &self,
        index: usize,
        model: &Path,
        threads: usize,
        options: &[String],
    ) -> Result<Round> {
        let pulse_before = machine::pulse(threads);
        // Who goes first alternates, so that neither always finds the machine as the other left it.
        let (medley, peer) = if index.is_multiple_of(2) {
            let peer = self.peer_sample(model, threads, options)?;
            (self.own_sample(model, threads)?, peer)
        } else {
            let own = self.own_sample(model, threads)?;
            (own, self.peer_sample(model, threads, options)?)
        };
        Ok(Round {
            pulse_before,
            pulse_after: machine::pulse(threads),
            medley,
            peer,
        })
    }

    fn own_sample(&self, model: &Path, threads: usize) -> Result<Sample> {
        let run = |batch: Option<usize>| -> Result<(Own, u64)> {
            let mut command = Command::new(self.program.binary());
            command.args(["bench", "text", "--json", "--model"]);
            command.arg(model).args(["--threads", &threads.to_string()]);
            if let Some(count) = batch {
                // As llama-batched-bench is run: 64 prompt tokens and 64 generated ones for each sequence.
                command.args(["--batch", &count.to_string()]);
                command.args(["--prefill", "64", "--decode", "64"]);
            }
            let measured = measure::run(&mut command)?;
            let own: Own = serde_json::from_str(&measured.stdout).with_context(|| {
                format!(
                    "{} printed something unexpected",
                    process::describe(&command)
                )
            })?;
            Ok((own, measured.peak_rss_bytes))
        };
        let (own, peak_rss_bytes) = run(None)?;
        // The batch runs in a process of its own, as the peer's does: its cache must not count as memory of one sequence.
        let batch_decode_tok_s = match self.args.batch {
            Some(count) => Some(run(Some(count))?.0.decode_tok_s),
            None => None,
        };
        Ok(Sample {
            prefill_tok_s: own.prefill_tok_s,
            decode_tok_s: own.decode_tok_s,
            load_s: Some(own.load_s),
            first_token_s: own.first_token_s,
            peak_rss_bytes,
            batch_decode_tok_s,
        })
    }

    fn peer_sample(&self, model: &Path, threads: usize, options: &[String]) -> Result<Sample> {
        let run = self.llama.bench(model, threads, options)?;
        let load = self.llama.load_times(model, threads)?;
        let batch_decode_tok_s = self
            .args
            .batch
            .map(|count| self.llama.batch(model, threads, count, options))
            .transpose()?;
        Ok(Sample {
            prefill_tok_s: run.prefill_tok_s,
            decode_tok_s: run.decode_tok_s,
            load_s: load.map(|times| times.load_s),
            first_token_s: load.map(|times| times.first_token_s),
            peak_rss_bytes: run.peak_rss_bytes,
            batch_decode_tok_s,
        })
    }
}

fn print_round(label: &str, threads: usize, index: usize, round: &Round) {
    println!(
        "{label}, {threads} threads, round {}: decode {:.0} / {:.0}, prefill {:.0} / {:.0} tok/s (machine {:.0} / {:.0} GFLOP/s)",
        index + 1,
        round.medley.decode_tok_s,
        round.peer.decode_tok_s,
        round.medley.prefill_tok_s,
        round.peer.prefill_tok_s,
        round.pulse_before / 1e9,
        round.pulse_after / 1e9,
    );
}

/// Version and commit of the program under test.
pub fn own_version(medley: &Path) -> Result<String> {
    let version = process::capture(Command::new(medley).arg("--version"))?;
    let commit = process::capture(
        Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .current_dir(process::root()),
    )?;
    let version = version.trim().trim_start_matches("medley ");
    Ok(format!("{version} ({})", commit.trim()))
}
