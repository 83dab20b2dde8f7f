//! `cargo xtask prove`: proofs that take too long for every test run; each leaves docs/proof/NAME.json.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use crate::bench::audio::{self, AudioArgs};
use crate::bench::image::{self, ImageArgs};
use crate::bench::llama::Llama;
use crate::bench::load::{self, LoadArgs};
use crate::bench::machine::Description;
use crate::bench::text::{self, TextArgs};
use crate::bench::train::{self, TrainArgs};
use crate::bench::video::{self, VideoArgs};
use crate::clients;
use crate::dist::copy_folder;
use crate::docs::{BENCH_LOAD, BENCH_TEXT, BENCH_TRAIN};
use crate::process;
use crate::python::Venv;
use crate::smoke::Program;
use crate::smoke::serve::{KEY, Server};
use crate::smoke::studio::Browser;

#[derive(Args)]
pub struct ProveArgs {
    /// Proofs to run; all of them when none is named
    names: Vec<String>,
    /// List the proofs and run none
    #[arg(long)]
    list: bool,
}

/// The reference of adapters, in the version of golden/lora.
const PEFT: &str = "peft==0.21.2";

struct Proof {
    name: &'static str,
    claim: &'static str,
    run: fn(&Path) -> Result<()>,
}

const PROOFS: &[Proof] = &[
    Proof {
        name: "text-exactness",
        claim: "greedy text, distributions and perplexity are llama.cpp's, as near as its own (docs/decisions/0006)",
        run: text_exactness,
    },
    Proof {
        name: "lora",
        claim: "adapters that Medley trains give the same distributions in PEFT and in llama.cpp",
        run: lora,
    },
    Proof {
        name: "bench-text",
        claim: "speed, load time and memory beside llama.cpp",
        run: bench_text,
    },
    Proof {
        name: "bench-train",
        claim: "training speed and memory beside PyTorch",
        run: bench_train,
    },
    Proof {
        name: "bench-image",
        claim: "sampling and upscaling of pictures beside PyTorch",
        run: bench_image,
    },
    Proof {
        name: "bench-video",
        claim: "denoising of clips beside PyTorch, a clip in 30 s, films composed faster than they play",
        run: |file| video::run(&VideoArgs::into_file(file)),
    },
    Proof {
        name: "create",
        claim: "five briefs become works that open, play and are understood; nothing is lost by a kill, nothing made twice",
        run: crate::create::prove,
    },
    Proof {
        name: "dist",
        claim: "the archive of `cargo xtask dist` makes every work in a bare Debian root: no network, no /proc, nothing installed",
        run: crate::bare::prove,
    },
    Proof {
        name: "bench-audio",
        claim: "sound made and heard beside the best peer of each kind",
        run: |file| audio::run(&AudioArgs::into_file(file)),
    },
    Proof {
        name: "listen",
        claim: "what voices say is heard again, as well as by faster-whisper with the same weights",
        run: crate::listen::prove,
    },
    Proof {
        name: "film-files",
        claim: "ffmpeg and Chromium read every kind of film that is written: duration, frames, rate, pictures, sound in step",
        run: crate::films::prove,
    },
    Proof {
        name: "studio",
        claim: "every page of the studio does what it is for, in a browser against `medley serve`",
        run: studio,
    },
    Proof {
        name: "service",
        claim: "OpenAI's and Anthropic's own clients work with the served starter model",
        run: clients::prove,
    },
    Proof {
        name: "load",
        claim: "many clients at once: no error, no stall, flat memory, and speed beside llama-server",
        run: bench_load,
    },
    Proof {
        name: "jobs",
        claim: "a server that is killed three times in the middle of 20 queued jobs ends each of them once",
        run: jobs_survive,
    },
    Proof {
        name: "desk-answers",
        claim: "questions over an open manual are answered where it answers them, cited, and refused where it does not",
        run: crate::desk::prove,
    },
    Proof {
        name: "desk-page",
        claim: "the desk in a page of another origin answers, cites and hands over; a blocked origin gets nothing",
        run: crate::desk::page,
    },
    Proof {
        name: "api-fuzz",
        claim: "nothing that schemathesis makes of the API's document has the server fail (no 5xx)",
        run: api_fuzz,
    },
];

pub fn run(args: &ProveArgs) -> Result<()> {
    if let Some(unknown) = args
        .names
        .iter()
        .find(|name| PROOFS.iter().all(|proof| proof.name != **name))
    {
        bail!("no proof is called {unknown}; `cargo xtask prove --list` names them");
    }
    let mut failed = Vec::new();
    for proof in PROOFS {
        if !args.names.is_empty() && args.names.iter().all(|name| name != proof.name) {
            continue;
        }
        println!("{}: {}", proof.name, proof.claim);
        if args.list {
            continue;
        }
        let file = process::root().join(format!("docs/proof/{}.json", proof.name));
        if let Err(error) = (proof.run)(&file) {
            println!("    {error:#}");
            failed.push(proof.name);
        }
    }
    if !failed.is_empty() {
        bail!("not proved: {}", failed.join(", "));
    }
    Ok(())
}

fn bench_image(file: &Path) -> Result<()> {
    image::run(&ImageArgs::into_file(file))
}

fn bench_load(file: &Path) -> Result<()> {
    debug_assert!(file.ends_with(BENCH_LOAD));
    load::run(&LoadArgs::into_file(file))
}

fn bench_text(file: &Path) -> Result<()> {
    debug_assert!(file.ends_with(BENCH_TEXT));
    text::run(&TextArgs::into_file(file))
}

fn bench_train(file: &Path) -> Result<()> {
    debug_assert!(file.ends_with(BENCH_TRAIN));
    train::run(&TrainArgs::into_file(file))
}

/// What a server that is killed leaves, and the next makes of it.
fn jobs_survive(file: &Path) -> Result<()> {
    let seen = crate::smoke::jobs::kill(&Program::build()?, 20, 3)?;
    println!("    {seen}");
    let record = json!({
        "command": "cargo xtask prove jobs",
        "machine": Description::read(),
        "seen": seen,
    });
    process::write_record(file, &record)
}

/// The tool that asks what a document of an API says can be asked.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Routes whose answers are streams that do not end, pull over the network, or say that they are not there yet.
const NOT_FUZZED: &str = "/events$|/pull$|/v1/videos|/v1/creations$|/v1/audio/trans|/variations$";

fn api_fuzz(file: &Path) -> Result<()> {
    let (program, venv) = (Program::build()?, Venv::open()?);
    process::run(&mut venv.pip(&["install", "--quiet", SCHEMATHESIS])?)?;
    let home = tempfile::tempdir()?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(program.home().join("models"), home.path().join("models"))?;
    let server = crate::smoke::serve::Server::start(&program, home.path(), &[])?;
    let url = format!("{}/openapi.json", server.address());
    let output = venv
        .command(venv.program("schemathesis"))?
        .args([
            "run",
            &url,
            "--checks",
            "not_a_server_error",
            "--max-examples",
            "30",
        ])
        .args([
            "--exclude-path-regex",
            NOT_FUZZED,
            "--request-timeout",
            "60",
            "--seed",
            "1",
        ])
        .args(["--phases", "examples,coverage,fuzzing", "--no-color"])
        .output()
        .context("schemathesis does not start")?;
    server.end()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary: Vec<&str> = text.lines().rev().take(25).collect();
    let summary: Vec<&str> = summary
        .into_iter()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let record = json!({
        "command": "cargo xtask prove api-fuzz",
        "machine": Description::read(),
        "tool": SCHEMATHESIS,
        "holds": output.status.success(),
        "summary": summary,
    });
    process::write_record(file, &record)?;
    if !output.status.success() {
        bail!("{text}");
    }
    Ok(())
}

/// Instruction sets whose results are proved; one that the machine lacks is left out, and the record shows it.
const ISAS: [&str; 3] = ["avx512", "avx2", "scalar"];

/// The reference tests of `medley-pipelines` (which hold the bars) under each instruction set; what they measured is kept.
fn text_exactness(file: &Path) -> Result<()> {
    let models = crate::smoke::pull_models()?;
    let mut sets = serde_json::Map::new();
    let mut problems = Vec::new();
    for isa in ISAS {
        let output = process::cargo()
            .args([
                "test",
                "--release",
                "--workspace",
                "--test",
                "suite",
                "--",
                "reference::",
            ])
            .args(["--nocapture", "--test-threads", "1"])
            .env("MEDLEY_ISA", isa)
            .env("MEDLEY_MODELS", &models)
            .output()
            .context("cannot start cargo")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        // libtest puts its own words in front of the first line of a test.
        let measured: Vec<&str> = text
            .lines()
            .map(|line| line.split_once(" ... ").map_or(line, |(_, rest)| rest))
            .filter(|line| {
                ["smollm2-135m", "gemma3-270m"]
                    .iter()
                    .any(|m| line.starts_with(m))
            })
            .collect();
        for line in &measured {
            println!("    {isa}: {line}");
        }
        if measured.is_empty() && text.contains("MEDLEY_ISA") {
            println!("    {isa}: this machine lacks it");
            continue;
        }
        if !output.status.success() || measured.is_empty() {
            problems.push(isa);
        }
        sets.insert(
            isa.into(),
            json!({"holds": output.status.success(), "measured": measured}),
        );
    }
    let record = json!({
        "command": "cargo xtask prove text-exactness",
        "machine": Description::read(),
        "instruction_sets": sets,
        "holds": problems.is_empty(),
    });
    process::write_record(file, &record)?;
    if !problems.is_empty() {
        bail!("not under {}", problems.join(", "));
    }
    Ok(())
}

/// `golden/lora/prove.py`, which trains adapters and has the references run them.
fn lora(file: &Path) -> Result<()> {
    let (llama, program, venv) = (Llama::open()?, Program::build()?, Venv::open()?);
    let script = process::root().join("golden/lora/prove.py");
    venv.need_requirements(&process::root().join("golden/requirements.txt"))?;
    // Without what it asks for beside these, which adapters on the CPU do not need.
    process::run(&mut venv.pip(&["install", "--quiet", "--no-deps", PEFT])?)?;
    process::run(
        venv.command(venv.python())?
            .arg(script)
            .arg(program.binary())
            .args([llama.package()?, llama.build_dir()?])
            .arg(program.weights("smollm2-135m")?)
            .arg(file)
            .current_dir(process::root()),
    )
}

/// The model that the studio is shown with.
const STUDIO_MODEL: &str = "smollm2-135m";

/// All pages, with and without a key, each time over a home that holds one language model beside what comes with the
/// program; the others are got there. Pictures of the pages are left in `target/studio`.
fn studio(file: &Path) -> Result<()> {
    let (program, browser) = (Program::build()?, Browser::open()?);
    let weights = program.weights(STUDIO_MODEL)?;
    let model = weights.parent().context("weights lie in a folder")?;
    let shots = process::target_dir().join("studio");
    let shown = shots.to_string_lossy();
    let ways: [(&[&str], &[&str]); 2] = [
        (&[], &["--all", "--shots", &shown]),
        (&["--api-key", KEY], &["--all", "--key", KEY]),
    ];
    let mut found = Vec::new();
    for (server, driver) in ways {
        let home = tempfile::tempdir().context("cannot make a temporary folder")?;
        copy_folder(model, &home.path().join("models").join(STUDIO_MODEL))?;
        let server = Server::start(&program, home.path(), server)?;
        found.push(browser.drive(&server, driver)?);
        server.end()?;
    }
    println!("    pictures of the pages: {shown}");
    let seen =
        |found: &serde_json::Value| json!({ "seconds": found["seconds"], "found": found["found"] });
    let record = json!({
        "command": "cargo xtask prove studio",
        "machine": Description::read(),
        "chromium": found[0]["chromium"],
        "without_a_key": seen(&found[0]),
        "with_a_key": seen(&found[1]),
    });
    process::write_record(file, &record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_proofs_are_refused() {
        let args = ProveArgs {
            names: vec!["nothing".into()],
            list: false,
        };
        assert!(run(&args).is_err());
    }
}
