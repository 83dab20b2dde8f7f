//! What `bench text` found out, as JSON and as the tables of docs/benchmarks.md.

use serde::{Deserialize, Serialize};

use super::bars;
use super::machine::{Description, Limits};
use super::rounds::{Round, Sample, median};
use super::table::{mebibytes, number, percent, ratio, table};
use super::workload::Workload;

/// A whole run of `bench text`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The command that made it.
    pub command: String,
    /// Where it ran.
    pub machine: Description,
    /// Medley's version and commit.
    pub medley: String,
    /// The peer's package version and commit.
    pub peer: String,
    /// The machine's limits, best seen in this run, per number of threads.
    pub limits: Vec<Limits>,
    /// One entry per model and number of threads.
    pub cells: Vec<Cell>,
}

/// One model with one number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Name or file name of the model.
    pub model: String,
    /// Threads of both engines.
    pub threads: usize,
    /// Sequences of the batched measurement, if one was made.
    pub batch: Option<usize>,
    /// Options with which the peer was fastest, and so was run.
    pub peer_options: Vec<String>,
    /// Work per token.
    pub work: Workload,
    /// Rounds that were run, the kept ones included.
    pub rounds_run: usize,
    /// Kept rounds in which the machine was slow nevertheless.
    pub slow_rounds_kept: usize,
    /// The kept rounds.
    pub rounds: Vec<Round>,
    /// Medians and ratios over the kept rounds.
    #[serde(default)]
    pub summary: Vec<Line>,
}

/// One metric of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Name of the metric, as in [`Sample`].
    pub metric: String,
    /// Median of Medley.
    pub medley: Option<f64>,
    /// Median of the peer.
    pub peer: Option<f64>,
    /// Medley's median by the peer's.
    pub ratio: Option<f64>,
    /// Share of the machine's limit that Medley reaches.
    pub of_limit: Option<f64>,
}

type Pick = fn(&Sample) -> Option<f64>;

const METRICS: &[(&str, Pick)] = &[
    ("prefill_tok_s", |sample| Some(sample.prefill_tok_s)),
    ("decode_tok_s", |sample| Some(sample.decode_tok_s)),
    ("batch_decode_tok_s", |sample| sample.batch_decode_tok_s),
    ("load_s", |sample| sample.load_s),
    ("first_token_s", |sample| sample.first_token_s),
    ("peak_rss_bytes", |sample| {
        Some(sample.peak_rss_bytes as f64)
    }),
];

impl Cell {
    /// Compute the summary from the rounds, against these limits of the machine.
    pub fn summarise(&mut self, limits: &Limits) {
        self.summary = METRICS
            .iter()
            .map(|(name, pick)| {
                let medley = median(&self.rounds, |round| pick(&round.medley));
                let peer = median(&self.rounds, |round| pick(&round.peer));
                Line {
                    metric: (*name).to_owned(),
                    medley,
                    peer,
                    ratio: medley.zip(peer).map(|(own, other)| own / other),
                    of_limit: medley.and_then(|value| self.of_limit(name, value, limits)),
                }
            })
            .filter(|line| line.medley.is_some() || line.peer.is_some())
            .collect();
    }

    fn of_limit(&self, metric: &str, value: f64, limits: &Limits) -> Option<f64> {
        let (used, limit) = match metric {
            "prefill_tok_s" => (value * self.work.prefill_ops, limits.int8_ops_s),
            "decode_tok_s" => (value * self.work.decode_bytes, limits.read_bytes_s),
            _ => return None,
        };
        (limit > 0.0).then(|| used / limit)
    }

    fn label(&self, metric: &str) -> String {
        match (metric, self.batch) {
            ("prefill_tok_s", _) => "prefill 512, tok/s".into(),
            ("decode_tok_s", _) => "decode 128, tok/s".into(),
            ("batch_decode_tok_s", Some(count)) => format!("decode, {count} sequences, tok/s"),
            ("load_s", _) => "load, s".into(),
            ("first_token_s", _) => "load and one token, s".into(),
            ("peak_rss_bytes", _) => "resident memory".into(),
            (other, _) => other.to_owned(),
        }
    }
}

impl Report {
    /// The tables, readable as text and as Markdown.
    pub fn render(&self) -> String {
        let mut text = format!(
            "{}\nMedley {}; llama.cpp from {}.\n\n",
            self.machine.headline(),
            self.medley,
            self.peer
        );
        let limits: Vec<Vec<String>> = self
            .limits
            .iter()
            .map(|limit| {
                vec![
                    limit.threads.to_string(),
                    number(Some(limit.read_bytes_s / 1e9)),
                    number(Some(limit.int8_ops_s / 1e9)),
                ]
            })
            .collect();
        text.push_str(&table(
            &["threads", "memory, GB/s read", "int8, GOP/s"],
            &limits,
        ));
        text.push('\n');
        let rows: Vec<Vec<String>> = self
            .cells
            .iter()
            .flat_map(|cell| cell.summary.iter().map(|line| row(cell, line)))
            .collect();
        text.push_str(&table(
            &[
                "model",
                "threads",
                "measured",
                "Medley",
                "llama.cpp",
                "ratio",
                "of the limit",
                "asked",
                "met",
            ],
            &rows,
        ));
        for cell in &self.cells {
            if cell.slow_rounds_kept > 0 {
                text.push_str(&format!(
                    "\n{}, {} threads: {} of {} kept rounds ran on a slow machine ({} were run).\n",
                    cell.model,
                    cell.threads,
                    cell.slow_rounds_kept,
                    cell.rounds.len(),
                    cell.rounds_run
                ));
            }
        }
        text
    }
}

fn row(cell: &Cell, line: &Line) -> Vec<String> {
    let value = |value: Option<f64>| match line.metric.as_str() {
        "peak_rss_bytes" => mebibytes(value),
        _ => number(value),
    };
    let verdict = bars::verdict(&cell.model, &line.metric, line.ratio, line.of_limit);
    let (asked, met) = match verdict {
        Some((asked, met)) => (asked, if met { "yes" } else { "no" }.to_owned()),
        None => (String::new(), String::new()),
    };
    vec![
        cell.model.clone(),
        cell.threads.to_string(),
        cell.label(&line.metric),
        value(line.medley),
        value(line.peer),
        ratio(line.ratio),
        percent(line.of_limit),
        asked,
        met,
    ]
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A report with one cell and round numbers.
    pub fn example() -> Report {
        let sample = |factor: f64| Sample {
            prefill_tok_s: 400.0 * factor,
            decode_tok_s: 100.0 * factor,
            load_s: Some(0.5 / factor),
            first_token_s: None,
            peak_rss_bytes: 200 << 20,
            batch_decode_tok_s: None,
        };
        let limits = Limits {
            threads: 2,
            read_bytes_s: 40e9,
            int8_ops_s: 800e9,
        };
        let round = Round {
            pulse_before: 1.0,
            pulse_after: 1.0,
            medley: sample(2.0),
            peer: sample(1.0),
        };
        let mut cell = Cell {
            model: "tiny".into(),
            threads: 2,
            batch: None,
            peer_options: vec![],
            work: Workload {
                decode_bytes: 1e8,
                prefill_ops: 2e8,
            },
            rounds_run: 3,
            slow_rounds_kept: 1,
            rounds: vec![round],
            summary: vec![],
        };
        cell.summarise(&limits);
        Report {
            command: "cargo xtask bench text".into(),
            machine: Description {
                cpu: "A processor".into(),
                cores: 2,
                memory_bytes: 8 << 30,
                features: vec!["avx2".into()],
            },
            medley: "0.1.0 (abc)".into(),
            peer: "llama-cpp-python 1.2.3 (def)".into(),
            limits: vec![limits],
            cells: vec![cell],
        }
    }

    #[test]
    fn medians_ratios_and_limits() {
        let report = example();
        let decode = &report.cells[0].summary[1];
        assert_eq!(
            (decode.medley, decode.peer, decode.ratio, decode.of_limit),
            (Some(200.0), Some(100.0), Some(2.0), Some(0.5))
        );
        let prefill = &report.cells[0].summary[0];
        assert_eq!(prefill.of_limit, Some(0.2));
    }

    #[test]
    fn the_tables_show_every_figure() {
        let text = example().render();
        for part in [
            "A processor, 2 cores, 8192 MiB, avx2.",
            "| 2       |              40.0 |         800 |",
            "| tiny  |       2 |  decode 128, tok/s |     200 |       100 | 2.00× |         50 % |",
            "| tiny  |       2 |    resident memory | 200 MiB |   200 MiB | 1.00× |            – |",
            "tiny, 2 threads: 1 of 1 kept rounds ran on a slow machine (3 were run).",
        ] {
            assert!(text.contains(part), "{part}\nnot in\n{text}");
        }
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let report = example();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
