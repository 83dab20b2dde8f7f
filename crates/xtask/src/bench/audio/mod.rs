//! `bench audio`: sound made and heard by Medley and by the best peer of each kind, in turn.
//!
//! A part is a file of this folder and a line of [`PARTS`].

mod hibari;
mod music;
mod piper;
mod voice;
mod whisper;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::machine::{self, Description};
use super::rounds::{self, SLOW_BELOW};
use super::table::{mebibytes, number, ratio, table};
use super::train::median;
use crate::process;
use crate::python::Venv;
use crate::smoke::Program;

#[derive(Args)]
pub struct AudioArgs {
    /// Parts to measure: hibari, piper, music, whisper; all of them when none is named
    parts: Vec<String>,
    /// Threads of both programs
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Rounds: both programs once, in fresh processes; medians count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

impl AudioArgs {
    /// The defaults, with the figures kept in `file`.
    pub fn into_file(file: &Path) -> Self {
        Self {
            parts: Vec::new(),
            threads: 2,
            rounds: 5,
            json: Some(file.to_owned()),
        }
    }
}

/// What a part needs.
struct Setup {
    program: Program,
    venv: Venv,
    threads: usize,
    /// Where a part may leave what it prepares, until the run ends.
    folder: PathBuf,
}

/// What is measured of one kind of sound.
trait Part {
    /// What is done, for people.
    fn work(&self) -> String;
    /// The peer and its version; none where there is no peer.
    fn peer(&self) -> Option<String>;
    /// What is asked of the medians.
    fn asked(&self) -> Asked;
    /// Medley, once.
    fn own(&self) -> Result<AudioSample>;
    /// The peer, once; not called where there is none.
    fn other(&self) -> Result<AudioSample>;
}

type Make = fn(&Setup) -> Result<Box<dyn Part>>;

const PARTS: &[(&str, Make)] = &[
    ("hibari", hibari::make),
    ("piper", piper::make),
    ("music", music::make),
    ("whisper", whisper::make),
];

/// What is asked of a part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// So many times as fast as the peer.
    Faster(f64),
    /// No more than so many seconds.
    Within(f64),
}

/// One program in one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AudioSample {
    /// The work itself, with the model loaded, in seconds.
    pub seconds: f64,
    /// Highest resident memory of the process, from the operating system.
    pub peak_rss_bytes: u64,
}

/// Both programs, with the speed of the machine around them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AudioRound {
    /// Speed of the arithmetic loop, operations per second: the lesser of before and after.
    pub pulse: f64,
    /// Medley.
    pub medley: AudioSample,
    /// The peer, where there is one.
    pub peer: Option<AudioSample>,
}

/// All rounds of one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioCell {
    /// The part's name.
    pub part: String,
    /// What is done.
    pub work: String,
    /// The peer and its version.
    pub peer: Option<String>,
    /// What is asked.
    pub asked: Asked,
    /// All rounds.
    pub rounds: Vec<AudioRound>,
    /// Rounds in which the machine ran below [`SLOW_BELOW`] of the best seen; they count all the same.
    pub slow_rounds: usize,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioReport {
    /// The command that made it.
    pub command: String,
    /// Where it ran.
    pub machine: Description,
    /// Medley's version and commit.
    pub medley: String,
    /// Threads of both programs.
    pub threads: usize,
    /// One entry per part.
    pub cells: Vec<AudioCell>,
}

pub fn run(args: &AudioArgs) -> Result<()> {
    if let Some(unknown) = args
        .parts
        .iter()
        .find(|part| PARTS.iter().all(|(name, _)| name != part))
    {
        let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        bail!(
            "no part is called {unknown}; there are {}",
            known.join(", ")
        );
    }
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let setup = Setup {
        program: Program::build()?,
        venv: Venv::open()?,
        threads: args.threads,
        folder: folder.path().to_owned(),
    };
    let mut cells = Vec::new();
    for (name, make) in PARTS {
        if args.parts.is_empty() || args.parts.iter().any(|part| part == name) {
            cells.push(cell(name, &*make(&setup)?, args)?);
        }
    }
    let report = AudioReport {
        command: "cargo xtask bench audio".into(),
        machine: Description::read(),
        medley: super::text::own_version(setup.program.binary())?,
        threads: args.threads,
        cells,
    };
    println!("\n{}", report.render());
    if let Some(path) = &args.json {
        process::write_record(path, &report)?;
    }
    Ok(())
}

fn cell(name: &str, part: &dyn Part, args: &AudioArgs) -> Result<AudioCell> {
    let mut rounds = Vec::new();
    for index in 0..args.rounds.max(1) {
        let before = machine::pulse(args.threads);
        let other = |wanted: bool| {
            (wanted && part.peer().is_some())
                .then(|| part.other())
                .transpose()
        };
        // Who goes first alternates, so that neither always finds the machine as the other left it.
        let first = other(index % 2 == 0)?;
        let medley = part.own()?;
        let round = AudioRound {
            medley,
            peer: match first {
                Some(first) => Some(first),
                None => other(true)?,
            },
            pulse: before.min(machine::pulse(args.threads)),
        };
        let peer = round
            .peer
            .map_or_else(String::new, |p| format!(" / {:.3}", p.seconds));
        println!(
            "{name}, round {}: {:.3}{peer} s",
            index + 1,
            round.medley.seconds
        );
        rounds.push(round);
    }
    let best = rounds.iter().map(|round| round.pulse).fold(0.0, f64::max);
    let slow = |round: &&AudioRound| round.pulse < SLOW_BELOW * best;
    Ok(AudioCell {
        part: name.to_owned(),
        work: part.work(),
        peer: part.peer(),
        asked: part.asked(),
        slow_rounds: rounds.iter().filter(slow).count(),
        rounds,
    })
}

impl AudioCell {
    /// Medians of Medley and of the peer, where there is one.
    fn medians(&self, pick: impl Fn(&AudioSample) -> f64) -> (f64, Option<f64>) {
        let own: Vec<f64> = self
            .rounds
            .iter()
            .map(|round| pick(&round.medley))
            .collect();
        let peers = self.rounds.iter().filter_map(|round| round.peer.as_ref());
        let peer: Vec<f64> = peers.map(pick).collect();
        (median(&own), (!peer.is_empty()).then(|| median(&peer)))
    }
}

impl AudioReport {
    /// The table, readable as text and as Markdown. Ratios are the peer's seconds over ours: more is better.
    pub fn render(&self) -> String {
        let mut rows = Vec::new();
        for cell in &self.cells {
            let (own, peer) = cell.medians(|s| s.seconds);
            let faster = peer.map(|peer| peer / own);
            let (asked, met) = match cell.asked {
                Asked::Faster(bar) => (format!("≥ {bar}×"), faster.is_some_and(|f| f >= bar)),
                Asked::Within(bar) => (format!("≤ {bar} s"), own <= bar),
            };
            rows.push(vec![
                cell.work.clone(),
                cell.peer.clone().unwrap_or_default(),
                number(Some(own)),
                number(peer),
                ratio(faster),
                asked,
                if met { "yes" } else { "no" }.to_owned(),
            ]);
            let (own, peer) = cell.medians(|s| s.peak_rss_bytes as f64);
            rows.push(vec![
                "resident memory".into(),
                String::new(),
                mebibytes(Some(own)),
                mebibytes(peer),
                ratio(peer.map(|peer| peer / own)),
                String::new(),
                String::new(),
            ]);
        }
        let slow: usize = self.cells.iter().map(|cell| cell.slow_rounds).sum();
        let heads = [
            "measured, s",
            "peer",
            "Medley",
            "peer's",
            "times as fast",
            "asked",
            "met",
        ];
        format!(
            "{}\nMedley {}, {} threads.\n\n{}{}",
            self.machine.headline(),
            self.medley,
            self.threads,
            table(&heads, &rows),
            rounds::slow_note(slow),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_bars_stand_in_the_table() {
        let sample = |seconds| AudioSample {
            seconds,
            peak_rss_bytes: 100 << 20,
        };
        let round = |own, peer| AudioRound {
            pulse: 1.0,
            medley: sample(own),
            peer,
        };
        let cell = |asked, rounds| AudioCell {
            part: "part".into(),
            work: "a minute".into(),
            peer: None,
            asked,
            rounds,
            slow_rounds: 0,
        };
        let beside = vec![
            round(1.0, Some(sample(3.0))),
            round(9.0, Some(sample(2.0))),
            round(1.0, Some(sample(2.0))),
        ];
        let report = AudioReport {
            command: "cargo xtask bench audio".into(),
            machine: Description {
                cpu: "A processor".into(),
                cores: 2,
                memory_bytes: 8 << 30,
                features: vec!["avx2".into()],
            },
            medley: "0.1.0 (abc)".into(),
            threads: 2,
            cells: vec![
                cell(Asked::Faster(1.5), beside),
                cell(Asked::Within(3.0), vec![round(4.0, None)]),
            ],
        };
        let text = report.render();
        for part in ["2.00×", "≥ 1.5×", "yes", "≤ 3 s", "no"] {
            assert!(text.contains(part), "{part}\nnot in\n{text}");
        }
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<AudioReport>(&json).unwrap(), report);
    }
}
