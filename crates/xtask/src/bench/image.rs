//! `bench image`: Medley and PyTorch draw with the same weights, in turn.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::{self, Description};
use super::measure;
use super::rounds::{self, SLOW_BELOW};
use super::table::{mebibytes, number, ratio, table};
use super::train::median;
use crate::process;
use crate::python::Venv;
use crate::smoke::Program;

#[derive(Args)]
pub struct ImageArgs {
    /// Folder of a diffusion transformer with an upscaler (default: starter/icons, or one of its size with random weights)
    #[arg(long)]
    model: Option<PathBuf>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Pictures that are timed in a round, after one that is not; their median counts
    #[arg(long, default_value_t = 5)]
    pictures: usize,
    /// Rounds: both programs once, in fresh processes
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

impl ImageArgs {
    /// The defaults, with the figures kept in `file`.
    pub fn into_file(file: &Path) -> Self {
        Self::of(None, Some(file))
    }

    /// The defaults for a model.
    pub(super) fn of(model: Option<PathBuf>, file: Option<&Path>) -> Self {
        Self {
            model,
            threads: vec![1, 2],
            pictures: 5,
            rounds: 3,
            json: file.map(Path::to_owned),
        }
    }
}

/// One program in one round: medians, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImageSample {
    /// The sampler's steps.
    pub sample_s: f64,
    /// The upscaler.
    pub upscale_s: f64,
    /// Highest resident memory of the process, from the operating system.
    pub peak_rss_bytes: u64,
}

/// Both programs, with the speed of the machine around them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImageRound {
    /// Speed of the arithmetic loop, operations per second: the lesser of before and after.
    pub pulse: f64,
    /// Medley.
    pub medley: ImageSample,
    /// PyTorch.
    pub peer: ImageSample,
}

/// All rounds with one number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageCell {
    /// Threads of both programs.
    pub threads: usize,
    /// All rounds.
    pub rounds: Vec<ImageRound>,
    /// Rounds in which the machine ran below [`SLOW_BELOW`] of the best seen; they count all the same.
    pub slow_rounds: usize,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageReport {
    /// The command that made it.
    pub command: String,
    /// Where it ran.
    pub machine: Description,
    /// Medley's version and commit.
    pub medley: String,
    /// PyTorch's version.
    pub peer: String,
    /// What is drawn.
    pub work: String,
    /// One entry per number of threads.
    pub cells: Vec<ImageCell>,
}

pub fn run(args: &ImageArgs) -> Result<()> {
    let report = measured(args, "image")?;
    println!("\n{}", report.render());
    if let Some(path) = &args.json {
        put(path, &report)?;
    }
    Ok(())
}

/// Writes a report as JSON.
pub(super) fn put(path: &Path, report: &impl Serialize) -> Result<()> {
    process::write_record(path, report)
}

/// Measures models of pictures, or of clips: `command` is what `medley bench` calls it.
pub(super) fn measured(args: &ImageArgs, command: &str) -> Result<ImageReport> {
    let venv = Venv::open()?;
    venv.need_requirements(&process::root().join("golden/requirements.txt"))?;
    let program = Program::build()?;
    let model = match &args.model {
        Some(model) => model.clone(),
        None => default_model(&venv)?,
    };
    let (mut peer, mut work) = (String::new(), String::new());
    let mut cells = Vec::new();
    for &threads in &args.threads {
        let mut rounds = Vec::new();
        for index in 0..args.rounds.max(1) {
            let before = machine::pulse(threads);
            // Who goes first alternates, so that neither always finds the machine as the other left it.
            let (own, other) = if index % 2 == 0 {
                let other = peer_sample(&venv, &model, threads, args.pictures)?;
                let own = own_sample((&program, command), &model, threads, args.pictures)?;
                (own, other)
            } else {
                let own = own_sample((&program, command), &model, threads, args.pictures)?;
                (own, peer_sample(&venv, &model, threads, args.pictures)?)
            };
            peer = text(&other.1, "version");
            work = format!(
                "{} parameters, {} steps with guidance at {}x{}; upscaler of {} parameters to {}x",
                other.1["parameters"],
                own.1["steps"],
                own.1["size"][0],
                own.1["size"][1],
                other.1["upscaler_parameters"],
                own.1["upscale"],
            );
            let round = ImageRound {
                pulse: before.min(machine::pulse(threads)),
                medley: own.0,
                peer: other.0,
            };
            println!(
                "{threads} threads, round {}: sampling {:.3} / {:.3} s, upscaling {:.3} / {:.3} s",
                index + 1,
                round.medley.sample_s,
                round.peer.sample_s,
                round.medley.upscale_s,
                round.peer.upscale_s,
            );
            rounds.push(round);
        }
        cells.push(cell_of(threads, rounds));
    }
    Ok(ImageReport {
        command: format!("cargo xtask bench {command}"),
        machine: Description::read(),
        medley: super::text::own_version(program.binary())?,
        peer,
        work,
        cells,
    })
}

/// The icons where they are there, else a model of their size with random weights.
fn default_model(venv: &Venv) -> Result<PathBuf> {
    let starter = process::root().join("starter/icons");
    if starter.is_dir() {
        return Ok(starter);
    }
    let folder = process::ref_dir()?.join("bench-image");
    let mut command = venv.command(venv.python())?;
    command.arg(script()).arg("--make").arg(&folder);
    process::run(&mut command)?;
    Ok(folder)
}

fn script() -> PathBuf {
    process::root().join("crates/xtask/peer/image.py")
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn seconds(value: &Value, key: &str) -> Result<f64> {
    let found = value[key].as_f64();
    found.with_context(|| format!("no {key} in {value}"))
}

type Sample = (ImageSample, Value);

fn own_sample(
    (program, name): (&Program, &str),
    model: &Path,
    threads: usize,
    pictures: usize,
) -> Result<Sample> {
    let mut command = Command::new(program.binary());
    command.env("MEDLEY_HOME", crate::smoke::home()?);
    command
        .args(["bench", name, "--json", "--model"])
        .arg(model);
    // Upscaled even where a model of random weights would not be.
    command.args(["--upscale", "4"]);
    command.args([
        "--threads",
        &threads.to_string(),
        "--rounds",
        &pictures.to_string(),
    ]);
    let (value, peak_rss_bytes) = measure::json(&mut command)?;
    let timings = &value["timings"];
    let sample = ImageSample {
        sample_s: seconds(timings, "sample_s")?,
        upscale_s: seconds(timings, "upscale_s")?,
        peak_rss_bytes,
    };
    Ok((sample, value))
}

fn peer_sample(venv: &Venv, model: &Path, threads: usize, pictures: usize) -> Result<Sample> {
    let mut command = venv.command(venv.python())?;
    command.arg(script()).arg("--model").arg(model);
    command.args([
        "--threads",
        &threads.to_string(),
        "--rounds",
        &pictures.to_string(),
    ]);
    let (value, peak_rss_bytes) = measure::json(&mut command)?;
    let sample = ImageSample {
        sample_s: seconds(&value, "sample_s")?,
        upscale_s: seconds(&value, "upscale_s")?,
        peak_rss_bytes,
    };
    Ok((sample, value))
}

fn cell_of(threads: usize, rounds: Vec<ImageRound>) -> ImageCell {
    let best = rounds.iter().map(|round| round.pulse).fold(0.0, f64::max);
    let slow = |round: &&ImageRound| round.pulse < SLOW_BELOW * best;
    ImageCell {
        threads,
        slow_rounds: rounds.iter().filter(slow).count(),
        rounds,
    }
}

impl ImageCell {
    /// Medians of Medley and of PyTorch.
    fn medians(&self, pick: impl Fn(&ImageSample) -> f64) -> (f64, f64) {
        let of = |side: fn(&ImageRound) -> &ImageSample| {
            let values: Vec<f64> = self.rounds.iter().map(|round| pick(side(round))).collect();
            median(&values)
        };
        (of(|round| &round.medley), of(|round| &round.peer))
    }
}

impl ImageReport {
    /// The table, readable as text and as Markdown. Ratios are PyTorch's seconds over ours: more is better.
    pub fn render(&self) -> String {
        let mut rows = Vec::new();
        for cell in &self.cells {
            let mut row = |what: &str, (own, peer): (f64, f64), asked: &str, met: Option<f64>| {
                let faster = peer / own;
                rows.push(vec![
                    cell.threads.to_string(),
                    what.to_owned(),
                    number(Some(own)),
                    number(Some(peer)),
                    ratio(Some(faster)),
                    asked.to_owned(),
                    met.map_or("", |bar| if faster >= bar { "yes" } else { "no" })
                        .to_owned(),
                ]);
            };
            row(
                "sampling, s",
                cell.medians(|s| s.sample_s),
                "≥ 1.5×",
                Some(1.5),
            );
            row(
                "upscaling, s",
                cell.medians(|s| s.upscale_s),
                "≥ 1.2×",
                Some(1.2),
            );
            row(
                "a picture, s",
                cell.medians(|s| s.sample_s + s.upscale_s),
                "",
                None,
            );
            let (own, peer) = cell.medians(|s| s.peak_rss_bytes as f64);
            rows.push(vec![
                cell.threads.to_string(),
                "resident memory".into(),
                mebibytes(Some(own)),
                mebibytes(Some(peer)),
                ratio(Some(peer / own)),
                String::new(),
                String::new(),
            ]);
        }
        let slow: usize = self.cells.iter().map(|cell| cell.slow_rounds).sum();
        let note = rounds::slow_note(slow);
        format!(
            "{}\nMedley {}; {}. {}.\n\n{}{note}",
            self.machine.headline(),
            self.medley,
            self.peer,
            self.work,
            table(
                &[
                    "threads",
                    "measured",
                    "Medley",
                    "PyTorch",
                    "times as fast",
                    "asked",
                    "met"
                ],
                &rows
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_bars_stand_in_the_table() {
        let sample = |sample_s, upscale_s| ImageSample {
            sample_s,
            upscale_s,
            peak_rss_bytes: 100 << 20,
        };
        let round = |pulse, own| ImageRound {
            pulse,
            medley: sample(own, 0.2),
            peer: sample(1.0, 0.1),
        };
        let report = ImageReport {
            command: "cargo xtask bench image".into(),
            machine: Description {
                cpu: "A processor".into(),
                cores: 2,
                memory_bytes: 8 << 30,
                features: vec!["avx2".into()],
            },
            medley: "0.1.0 (abc)".into(),
            peer: "torch 1.2.3".into(),
            work: "a picture".into(),
            cells: vec![cell_of(
                2,
                vec![round(1.0, 0.5), round(0.5, 0.4), round(1.0, 9.0)],
            )],
        };
        assert_eq!(report.cells[0].slow_rounds, 1);
        let text = report.render();
        for part in [
            "2.00×",
            "0.50×",
            "yes",
            "no",
            "torch 1.2.3",
            "1 of the rounds",
        ] {
            assert!(text.contains(part), "{part}\nnot in\n{text}");
        }
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<ImageReport>(&json).unwrap(), report);
    }
}
