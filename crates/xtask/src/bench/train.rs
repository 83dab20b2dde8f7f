//! `bench train`: Medley and PyTorch train the same small decoder and diffusion transformer, in turn.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::machine::{self, Description};
use super::measure;
use super::rounds::{self, SLOW_BELOW};
use super::table::{mebibytes, number, ratio, table};
use crate::process;
use crate::python::Venv;
use crate::smoke::Program;

#[derive(Args)]
pub struct TrainArgs {
    /// Models
    #[arg(long, value_delimiter = ',', default_value = "decoder,transformer")]
    models: Vec<String>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// How products are computed
    #[arg(long, value_delimiter = ',', default_value = "f32,bf16")]
    compute: Vec<String>,
    /// Token ids of the decoder
    #[arg(long, default_value_t = 32000)]
    vocab: usize,
    /// Steps that are timed in a round, after one that is not
    #[arg(long, default_value_t = 2)]
    steps: usize,
    /// Rounds: both programs once, in fresh processes
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

impl TrainArgs {
    /// The defaults, with the figures kept in `file`.
    pub fn into_file(file: &Path) -> Self {
        Self {
            models: vec!["decoder".into(), "transformer".into()],
            threads: vec![1, 2],
            compute: vec!["f32".into(), "bf16".into()],
            vocab: 32000,
            steps: 2,
            rounds: 3,
            json: Some(file.to_owned()),
        }
    }
}

/// What either program prints.
#[derive(Debug, Deserialize)]
struct Printed {
    seconds: Vec<f64>,
    units: usize,
    losses: Vec<f64>,
    parameters: usize,
    version: Option<String>,
}

/// One program in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSample {
    /// Seconds of each timed step.
    pub seconds: Vec<f64>,
    /// Highest resident memory of the process, from the operating system.
    pub peak_rss_bytes: u64,
    /// Losses, the untimed step's included.
    pub losses: Vec<f64>,
}

/// Both programs, with the speed of the machine around them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainRound {
    /// Speed of the arithmetic loop, operations per second: the lesser of before and after.
    pub pulse: f64,
    /// Medley.
    pub medley: TrainSample,
    /// PyTorch.
    pub peer: TrainSample,
}

/// One way of computing with one number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainCell {
    /// decoder or transformer.
    pub model: String,
    /// Its numbers.
    pub parameters: usize,
    /// f32 or bf16.
    pub compute: String,
    /// Threads of both programs.
    pub threads: usize,
    /// Tokens or pictures of a step.
    pub units: usize,
    /// All rounds.
    pub rounds: Vec<TrainRound>,
    /// Rounds in which the machine ran below [`SLOW_BELOW`] of the best seen; they count all the same.
    pub slow_rounds: usize,
    /// Median tokens or pictures per second of Medley.
    pub medley_per_s: f64,
    /// Median tokens or pictures per second of PyTorch.
    pub peer_per_s: f64,
    /// Largest memory of Medley.
    pub medley_peak_bytes: u64,
    /// Largest memory of PyTorch.
    pub peer_peak_bytes: u64,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// The command that made it.
    pub command: String,
    /// Where it ran.
    pub machine: Description,
    /// Medley's version and commit.
    pub medley: String,
    /// PyTorch's version.
    pub peer: String,
    /// Token ids of the decoder.
    pub vocab: usize,
    /// One entry per model, way of computing and number of threads.
    pub cells: Vec<TrainCell>,
}

struct Bench<'a> {
    args: &'a TrainArgs,
    program: Program,
    venv: Venv,
    peer: String,
}

/// What is measured together.
struct What<'a> {
    model: &'a str,
    compute: &'a str,
    threads: usize,
}

pub fn run(args: &TrainArgs) -> Result<()> {
    let venv = Venv::open()?;
    venv.need_requirements(&process::root().join("golden/requirements.txt"))?;
    let mut bench = Bench {
        args,
        program: Program::build()?,
        venv,
        peer: String::new(),
    };
    let mut cells = Vec::new();
    for model in &args.models {
        for compute in &args.compute {
            for &threads in &args.threads {
                cells.push(bench.cell(&What {
                    model,
                    compute,
                    threads,
                })?);
            }
        }
    }
    let report = TrainReport {
        command: "cargo xtask bench train".into(),
        machine: Description::read(),
        medley: super::text::own_version(bench.program.binary())?,
        peer: bench.peer,
        vocab: args.vocab,
        cells,
    };
    println!("\n{}", report.render());
    if let Some(path) = &args.json {
        process::write_record(path, &report)?;
    }
    Ok(())
}

impl Bench<'_> {
    fn cell(&mut self, what: &What) -> Result<TrainCell> {
        let mut rounds = Vec::new();
        let (mut units, mut parameters) = (0, 0);
        for index in 0..self.args.rounds.max(1) {
            let before = machine::pulse(what.threads);
            // Who goes first alternates, so that neither always finds the machine as the other left it.
            let (own, peer) = if index % 2 == 0 {
                let peer = self.peer_sample(what)?;
                (self.own_sample(what)?, peer)
            } else {
                let own = self.own_sample(what)?;
                (own, self.peer_sample(what)?)
            };
            (units, parameters) = (own.1.units, own.1.parameters);
            let round = TrainRound {
                pulse: before.min(machine::pulse(what.threads)),
                medley: own.0,
                peer: peer.0,
            };
            println!(
                "{}, {}, {} threads, round {}: {:.0} / {:.0} a second, {} / {}",
                what.model,
                what.compute,
                what.threads,
                index + 1,
                units as f64 / median(&round.medley.seconds),
                units as f64 / median(&round.peer.seconds),
                mebibytes(Some(round.medley.peak_rss_bytes as f64)),
                mebibytes(Some(round.peer.peak_rss_bytes as f64)),
            );
            rounds.push(round);
        }
        Ok(cell_of(what, parameters, units, rounds))
    }

    fn own_sample(&mut self, what: &What) -> Result<(TrainSample, Printed)> {
        let mut command = Command::new(self.program.binary());
        command.args(["bench", "train", "--json"]);
        self.sample(&mut command, what)
    }

    fn peer_sample(&mut self, what: &What) -> Result<(TrainSample, Printed)> {
        let mut command = self.venv.command(self.venv.python())?;
        command.arg(process::root().join("crates/xtask/peer/train.py"));
        let sample = self.sample(&mut command, what)?;
        if let Some(version) = &sample.1.version {
            self.peer.clone_from(version);
        }
        Ok(sample)
    }

    fn sample(&self, command: &mut Command, what: &What) -> Result<(TrainSample, Printed)> {
        command.args(["--model", what.model, "--compute", what.compute]);
        command.args(["--threads", &what.threads.to_string()]);
        command.args(["--vocab", &self.args.vocab.to_string()]);
        command.args(["--steps", &self.args.steps.to_string()]);
        let measured = measure::run(command)?;
        let printed: Printed = serde_json::from_str(&measured.stdout).with_context(|| {
            format!(
                "{} printed something unexpected",
                process::describe(command)
            )
        })?;
        let sample = TrainSample {
            seconds: printed.seconds.clone(),
            peak_rss_bytes: measured.peak_rss_bytes,
            losses: printed.losses.clone(),
        };
        Ok((sample, printed))
    }
}

/// Of an even number of values the mean of the middle two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn cell_of(what: &What, parameters: usize, units: usize, rounds: Vec<TrainRound>) -> TrainCell {
    let speed = |pick: fn(&TrainRound) -> &TrainSample| {
        let seconds: Vec<f64> = rounds
            .iter()
            .flat_map(|round| pick(round).seconds.iter().copied())
            .collect();
        units as f64 / median(&seconds)
    };
    let peak = |pick: fn(&TrainRound) -> &TrainSample| {
        let each = rounds.iter().map(|round| pick(round).peak_rss_bytes);
        each.max().unwrap_or(0)
    };
    let best = rounds.iter().map(|round| round.pulse).fold(0.0, f64::max);
    TrainCell {
        model: what.model.to_owned(),
        parameters,
        compute: what.compute.to_owned(),
        threads: what.threads,
        units,
        slow_rounds: rounds
            .iter()
            .filter(|round| round.pulse < SLOW_BELOW * best)
            .count(),
        medley_per_s: speed(|round| &round.medley),
        peer_per_s: speed(|round| &round.peer),
        medley_peak_bytes: peak(|round| &round.medley),
        peer_peak_bytes: peak(|round| &round.peer),
        rounds,
    }
}

impl TrainReport {
    /// What is trained, in words.
    fn models(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for cell in &self.cells {
            let (parameters, vocab) = (cell.parameters, self.vocab);
            let name = match cell.model.as_str() {
                "decoder" => format!(
                    "a decoder of {parameters} parameters and {vocab} token ids on 16 sequences of 256 tokens"
                ),
                _ => format!(
                    "a diffusion transformer of {parameters} parameters on {} pictures of 32x32 pixels",
                    cell.units
                ),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join("; ")
    }

    /// The tables, readable as text and as Markdown.
    pub fn render(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .cells
            .iter()
            .flat_map(|cell| {
                let (own, peer) = (cell.medley_per_s, cell.peer_per_s);
                let memory = (cell.medley_peak_bytes as f64, cell.peer_peak_bytes as f64);
                let name = |what: &str| {
                    vec![
                        cell.model.clone(),
                        cell.compute.clone(),
                        cell.threads.to_string(),
                        what.to_owned(),
                    ]
                };
                let values =
                    |row: Vec<String>, values: [String; 3]| row.into_iter().chain(values).collect();
                [
                    values(
                        name(if cell.model == "decoder" {
                            "training, tok/s"
                        } else {
                            "training, pictures/s"
                        }),
                        [
                            number(Some(own)),
                            number(Some(peer)),
                            ratio(Some(own / peer)),
                        ],
                    ),
                    values(
                        name("resident memory"),
                        [
                            mebibytes(Some(memory.0)),
                            mebibytes(Some(memory.1)),
                            ratio(Some(memory.0 / memory.1)),
                        ],
                    ),
                ]
            })
            .collect();
        let slow: usize = self.cells.iter().map(|cell| cell.slow_rounds).sum();
        let note = rounds::slow_note(slow);
        format!(
            "{}\nMedley {}; {}. Steps of AdamW: {}.\n\n{}{note}",
            self.machine.headline(),
            self.medley,
            self.peer,
            self.models(),
            table(
                &[
                    "model", "products", "threads", "measured", "Medley", "PyTorch", "ratio"
                ],
                &rows
            )
        )
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A report with one cell and round numbers.
    pub fn example() -> TrainReport {
        let sample = |seconds: f64, bytes| TrainSample {
            seconds: vec![seconds, seconds * 2.0, seconds],
            peak_rss_bytes: bytes,
            losses: vec![10.0],
        };
        let round = |pulse| TrainRound {
            pulse,
            medley: sample(1.0, 100 << 20),
            peer: sample(2.0, 200 << 20),
        };
        TrainReport {
            command: "cargo xtask bench train".into(),
            machine: Description {
                cpu: "A processor".into(),
                cores: 2,
                memory_bytes: 8 << 30,
                features: vec!["avx2".into()],
            },
            medley: "0.1.0 (abc)".into(),
            peer: "torch 1.2.3".into(),
            vocab: 32000,
            cells: vec![cell_of(
                &What {
                    model: "decoder",
                    compute: "f32",
                    threads: 2,
                },
                1000,
                4096,
                vec![round(1.0), round(0.5)],
            )],
        }
    }

    #[test]
    fn medians_and_ratios_stand_in_the_table() {
        let report = example();
        let cell = &report.cells[0];
        assert_eq!((cell.medley_per_s, cell.peer_per_s), (4096.0, 2048.0));
        assert_eq!(cell.slow_rounds, 1);
        let text = report.render();
        for part in [
            "4096",
            "2048",
            "2.00×",
            "0.50×",
            "torch 1.2.3",
            "1 of the rounds",
        ] {
            assert!(text.contains(part), "{part}\nnot in\n{text}");
        }
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<TrainReport>(&json).unwrap(), report);
    }
}
