//! What the parts of voices share: `medley bench speech` beside `crates/xtask/peer/voice.py`. Both are counted in seconds
//! for ten seconds of sound.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Asked, AudioSample, Part, Setup};
use crate::bench::measure;
use crate::process;
use crate::python::Venv;

/// Four sentences of a quarter of a minute.
pub(super) const TEXT: &str = "The quick brown fox jumps over the lazy dog, and nine people paid for it at half past seven. \
    She sells sea shells by the sea shore. Our first ferry leaves at eight o'clock from the northern pier. \
    Please keep your ticket ready, and remember that bicycles travel free on weekdays.";

/// Seconds of sound that are counted.
const SOUND: f64 = 10.0;

/// A voice beside onnxruntime.
pub(super) struct Voice {
    binary: PathBuf,
    home: PathBuf,
    venv: Venv,
    threads: usize,
    model: &'static str,
    /// What the peer is told.
    peer: Vec<String>,
    version: String,
    asked: f64,
}

/// A voice of the catalog, which is pulled first; `peer` gives what the peer is told.
pub(super) fn make(
    setup: &Setup,
    model: &'static str,
    asked: f64,
    peer: impl Fn(&Setup) -> Result<Vec<String>>,
) -> Result<Box<dyn Part>> {
    setup
        .venv
        .need_requirements(&process::root().join("crates/xtask/peer/voice.txt"))?;
    setup.program.json(&["models", "pull", model])?;
    let mut voice = Voice {
        binary: setup.program.binary().to_owned(),
        home: setup.program.home().to_owned(),
        venv: Venv::open()?,
        threads: setup.threads,
        model,
        peer: peer(setup)?,
        version: String::new(),
        asked,
    };
    let (value, _) = measure::json(&mut voice.peer_run()?)?;
    voice.version = value["version"].as_str().unwrap_or_default().to_owned();
    Ok(Box::new(voice))
}

impl Voice {
    fn peer_run(&self) -> Result<Command> {
        let mut command = self.venv.command(self.venv.python())?;
        command.arg(process::root().join("crates/xtask/peer/voice.py"));
        command.args(&self.peer);
        command.args(["--threads", &self.threads.to_string()]);
        Ok(command)
    }
}

fn sample(value: &Value, took: &Value, sound: &str, peak_rss_bytes: u64) -> Result<AudioSample> {
    let sound = value[sound].as_f64().filter(|sound| *sound > 0.0);
    let seconds = took.as_f64().zip(sound).map(|(took, sound)| took / sound);
    let seconds = seconds.with_context(|| format!("no times in {value}"))? * SOUND;
    Ok(AudioSample {
        seconds,
        peak_rss_bytes,
    })
}

impl Part for Voice {
    fn work(&self) -> String {
        format!("{SOUND} s of speech by {}", self.model)
    }

    fn peer(&self) -> Option<String> {
        Some(format!("onnxruntime {}", self.version))
    }

    fn asked(&self) -> Asked {
        Asked::Faster(self.asked)
    }

    fn own(&self) -> Result<AudioSample> {
        let mut command = Command::new(&self.binary);
        command
            .env("MEDLEY_HOME", &self.home)
            .args(["bench", "speech", "--model", self.model, "--text", TEXT])
            .args(["--rounds", "1", "--json", "--threads"])
            .arg(self.threads.to_string());
        let (value, peak) = measure::json(&mut command)?;
        sample(&value, &value["timings"]["total_s"], "seconds", peak)
    }

    fn other(&self) -> Result<AudioSample> {
        let (value, peak) = measure::json(&mut self.peer_run()?)?;
        sample(&value, &value["seconds"], "sound", peak)
    }
}
