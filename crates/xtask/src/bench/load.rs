//! `bench load`: many clients that chat at once, with Medley and with llama-server in turn, and a minute of 64 of them with
//! Medley alone.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::llama::Llama;
use super::machine::Description;
use super::table::{mebibytes, number, ratio, table};
use crate::process;
use crate::serving::Server;
use crate::smoke::{self, Program};

const MODEL: &str = "smollm2-135m";

/// Tokens of each answer.
const TOKENS: usize = 64;

/// A gap between two pieces of an answer that counts as a stall.
const STALL: Duration = Duration::from_secs(10);

/// What the clients ask; each adds a number, so that no two prompts are the same.
const QUESTION: &str = "A customer writes that the parcel which was ordered two weeks ago has not arrived, that the tracking page \
    shows no movement since Monday, and asks what can be done now. Write a friendly answer to customer number";

#[derive(Args)]
pub struct LoadArgs {
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
    clients: Vec<usize>,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Rounds: both servers once, who goes first alternates
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Threads of each server
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Clients that keep Medley busy for a minute
    #[arg(long, default_value_t = 64)]
    crowd: usize,
    /// What else ran on the machine, for the record
    #[arg(long, default_value = "")]
    beside: String,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

impl LoadArgs {
    /// The defaults, with the figures kept in `file`.
    pub fn into_file(file: &Path) -> Self {
        Self {
            clients: vec![1, 8, 32],
            seconds: 15,
            rounds: 3,
            threads: 2,
            crowd: 64,
            beside: String::new(),
            json: Some(file.to_owned()),
        }
    }
}

/// What so many clients saw of one server, medians over the rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    pub tokens_s: f64,
    pub first_token_s: f64,
}

/// Both servers under so many clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub clients: usize,
    pub medley: Seen,
    pub llama_server: Seen,
}

/// A minute of many clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crowd {
    pub clients: usize,
    pub seconds: f64,
    pub answers: usize,
    pub errors: usize,
    pub longest_gap_s: f64,
    pub tokens_s: f64,
    /// Resident memory after ten seconds, and at the end.
    pub early_bytes: u64,
    pub late_bytes: u64,
}

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadReport {
    pub command: String,
    pub machine: Description,
    pub threads: usize,
    pub beside: String,
    pub rows: Vec<Row>,
    pub crowd: Crowd,
}

impl LoadReport {
    /// Whether Medley is ahead everywhere, and nobody in the crowd met an error or a stall.
    pub fn holds(&self) -> bool {
        let ahead = |row: &Row| {
            row.medley.tokens_s >= row.llama_server.tokens_s
                && row.medley.first_token_s <= row.llama_server.first_token_s
        };
        self.rows.iter().all(ahead) && self.crowd.holds()
    }

    /// As tables.
    pub fn render(&self) -> String {
        let row = |row: &Row| {
            let rate = |seen: &Seen| number(Some(seen.tokens_s));
            let first = |seen: &Seen| number(Some(seen.first_token_s * 1000.0));
            let (ours, theirs) = (&row.medley, &row.llama_server);
            vec![
                row.clients.to_string(),
                rate(ours),
                rate(theirs),
                ratio(Some(ours.tokens_s / theirs.tokens_s)),
                first(ours),
                first(theirs),
                ratio(Some(theirs.first_token_s / ours.first_token_s)),
            ]
        };
        let header = [
            "clients",
            "Medley, tok/s",
            "llama-server, tok/s",
            "ratio",
            "first token, ms",
            "llama-server, ms",
            "ratio",
        ];
        let rows: Vec<Vec<String>> = self.rows.iter().map(row).collect();
        let crowd = &self.crowd;
        let mut text = table(&header, &rows);
        text.push_str(&format!(
            "\n{} clients for {:.0} s: {} answers, {} errors, {} tok/s, the longest gap between two pieces {} s, resident memory {} after ten seconds and {} at the end.\n",
            crowd.clients, crowd.seconds, crowd.answers, crowd.errors, number(Some(crowd.tokens_s)),
            number(Some(crowd.longest_gap_s)), mebibytes(Some(crowd.early_bytes as f64)), mebibytes(Some(crowd.late_bytes as f64)),
        ));
        if !self.beside.is_empty() {
            text.push_str(&format!("\nBeside it ran: {}.\n", self.beside));
        }
        text
    }
}

impl Crowd {
    fn holds(&self) -> bool {
        let flat = self.late_bytes <= self.early_bytes + self.early_bytes / 10;
        self.errors == 0 && self.longest_gap_s < STALL.as_secs_f64() && flat
    }
}

pub fn run(args: &LoadArgs) -> Result<()> {
    smoke::pull_models()?;
    let program = Program::build()?;
    let weights = program.weights(MODEL)?;
    let peer = Llama::open()?.server()?;
    let threads = args.threads.to_string();
    let most = args.clients.iter().max().copied().unwrap_or(1);
    let ours = || Server::medley(program.binary(), program.home(), &["--threads", &threads]);
    let theirs = || {
        let mut command = Command::new(&peer);
        command.arg("-m").arg(&weights).args(["-t", &threads]);
        command.args([
            "--parallel",
            &most.to_string(),
            "-c",
            &(most * 512).to_string(),
        ]);
        Server::other(&mut command)
    };
    let time = Duration::from_secs(args.seconds);
    let mut rows = Vec::new();
    for &clients in &args.clients {
        let mut seen: [Vec<Seen>; 2] = [Vec::new(), Vec::new()];
        for round in 0..args.rounds.max(1) {
            for turn in 0..2 {
                let who = (round + turn) % 2;
                let server = if who == 0 { ours()? } else { theirs()? };
                // The first answer pays for loading.
                chat(&server, 0, 4)?;
                let met = crowd(&server, clients, time)?;
                ensure!(
                    met.errors.is_empty(),
                    "a client met an error: {}",
                    met.errors[0]
                );
                seen[who].push(met.seen());
            }
        }
        let [medley, llama_server] = seen.map(|seen| median(&seen));
        println!(
            "{clients} clients: Medley {} tok/s, llama-server {} tok/s",
            number(Some(medley.tokens_s)),
            number(Some(llama_server.tokens_s))
        );
        rows.push(Row {
            clients,
            medley,
            llama_server,
        });
    }
    let report = LoadReport {
        command: "cargo xtask bench load".into(),
        machine: Description::read(),
        threads: args.threads,
        beside: args.beside.clone(),
        rows,
        crowd: minute(&ours()?, args.crowd)?,
    };
    println!("{}", report.render());
    if let Some(file) = &args.json {
        process::write_record(file, &report)?;
    }
    if !report.holds() {
        println!("Medley is not ahead everywhere, or a client met an error or a stall.");
    }
    Ok(())
}

/// What clients met.
#[derive(Default)]
struct Met {
    answers: usize,
    tokens: usize,
    first: Vec<f64>,
    longest_gap: Duration,
    errors: Vec<String>,
    seconds: f64,
}

impl Met {
    fn seen(&self) -> Seen {
        let mut first = self.first.clone();
        first.sort_by(f64::total_cmp);
        Seen {
            tokens_s: self.tokens as f64 / self.seconds,
            first_token_s: first.get(first.len() / 2).copied().unwrap_or(f64::NAN),
        }
    }
}

fn median(seen: &[Seen]) -> Seen {
    let of = |get: fn(&Seen) -> f64| {
        let mut values: Vec<f64> = seen.iter().map(get).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Seen {
        tokens_s: of(|s| s.tokens_s),
        first_token_s: of(|s| s.first_token_s),
    }
}

/// So many clients, each of which asks again as soon as it is answered, for so long.
fn crowd(server: &Server, clients: usize, time: Duration) -> Result<Met> {
    let met = Mutex::new(Met::default());
    let since = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..clients {
            let met = &met;
            scope.spawn(move || {
                let mut number = client * 10_000 + 1;
                while since.elapsed() < time {
                    let answer = chat(server, number, TOKENS);
                    number += 1;
                    let Ok(mut met) = met.lock() else { return };
                    match answer {
                        Ok(answer) => {
                            met.answers += 1;
                            met.tokens += answer.tokens;
                            met.first.push(answer.first.as_secs_f64());
                            met.longest_gap = met.longest_gap.max(answer.longest_gap);
                        }
                        Err(error) => met.errors.push(format!("{error:#}")),
                    }
                }
            });
        }
    });
    let mut met = met.into_inner().ok().context("a client panicked")?;
    met.seconds = since.elapsed().as_secs_f64();
    Ok(met)
}

/// A minute of many clients, with the memory that the server holds.
fn minute(server: &Server, clients: usize) -> Result<Crowd> {
    chat(server, 0, 4)?;
    let early = Mutex::new(0);
    let met = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(10));
            if let Ok(mut early) = early.lock() {
                *early = server.resident_bytes().unwrap_or(0);
            }
        });
        crowd(server, clients, Duration::from_secs(60))
    })?;
    for error in met.errors.iter().take(3) {
        println!("a client met an error: {error}");
    }
    Ok(Crowd {
        clients,
        seconds: met.seconds,
        answers: met.answers,
        errors: met.errors.len(),
        longest_gap_s: met.longest_gap.as_secs_f64(),
        tokens_s: met.tokens as f64 / met.seconds,
        early_bytes: early.into_inner().unwrap_or(0),
        late_bytes: server.resident_bytes().unwrap_or(0),
    })
}

struct Answered {
    tokens: usize,
    first: Duration,
    longest_gap: Duration,
}

/// One streamed answer of so many tokens.
fn chat(server: &Server, number: usize, tokens: usize) -> Result<Answered> {
    // The model does not end its answer by itself.
    let body = json!({
        "model": MODEL, "stream": true, "max_tokens": tokens, "temperature": 0.8, "seed": number,
        "logit_bias": { "0": -100, "2": -100 }, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": format!("{QUESTION} {number}.") }],
    });
    let since = Instant::now();
    let stream = server.request("POST /v1/chat/completions", &body.to_string(), None)?;
    let mut answered = Answered {
        tokens: 0,
        first: Duration::ZERO,
        longest_gap: Duration::ZERO,
    };
    let mut last = since;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if let Some(status) = line.strip_prefix("HTTP/1.1 ") {
            ensure!(status.starts_with("200"), "the server answers {status}");
        }
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        if data == "[DONE]" {
            ensure!(
                answered.tokens > 0,
                "the answer came without a count of its tokens"
            );
            return Ok(answered);
        }
        let event: Value = serde_json::from_str(data).context("an event is no JSON")?;
        if event.get("error").is_some_and(|e| !e.is_null()) {
            bail!("the server says {event}");
        }
        answered.longest_gap = answered.longest_gap.max(last.elapsed());
        last = Instant::now();
        let said = event["choices"][0]["delta"]["content"].as_str();
        if answered.first.is_zero() && said.is_some_and(|text| !text.is_empty()) {
            answered.first = since.elapsed();
        }
        if let Some(count) = event["usage"]["completion_tokens"].as_u64() {
            answered.tokens = count as usize;
        }
    }
    bail!("the answer broke off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_verdicts() {
        let seen = |tokens_s, first_token_s| Seen {
            tokens_s,
            first_token_s,
        };
        let middle = median(&[seen(3.0, 0.1), seen(1.0, 0.3), seen(2.0, 0.2)]);
        assert_eq!((middle.tokens_s, middle.first_token_s), (2.0, 0.2));
        let crowd = Crowd {
            clients: 64,
            seconds: 60.0,
            answers: 9,
            errors: 0,
            longest_gap_s: 1.0,
            tokens_s: 5.0,
            early_bytes: 100,
            late_bytes: 105,
        };
        assert!(crowd.holds());
        assert!(
            !Crowd {
                errors: 1,
                ..crowd.clone()
            }
            .holds()
        );
        assert!(
            !Crowd {
                late_bytes: 120,
                ..crowd.clone()
            }
            .holds()
        );
        assert!(
            !Crowd {
                longest_gap_s: 11.0,
                ..crowd
            }
            .holds()
        );
    }
}
