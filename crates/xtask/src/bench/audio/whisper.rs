//! Whisper base over a minute of speech, beside CTranslate2 with the same folder in int8.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Asked, AudioSample, Part, Setup};
use crate::bench::measure;
use crate::listen::{MODEL, PEER, model_folder, peer_command, speak};

/// A minute of it, said by hibari.
const TEXT: &str = "Good morning, and welcome to the harbour. Our first ferry leaves at eight o'clock from the northern pier. \
    Please keep your ticket ready, and remember that bicycles travel free on weekdays. The journey to the island takes \
    forty minutes. On the way you will see the old lighthouse, which was built long ago and still guides the fishing boats \
    home at night. Coffee, tea and sandwiches are served on the upper deck. If the sea is rough, take a seat near the \
    middle of the ship, where you will feel the waves less. We hope that you enjoy the trip, and we thank you for \
    travelling with us today. When you arrive, the bus to the village waits beside the market. It runs every half hour \
    until six in the evening. The museum is open from ten until five, except on Mondays. Children may enter without \
    paying. At the end of the road there is a small beach with clear water and white sand. Swim only between the two \
    flags, and never alone. The last ferry back leaves at sunset, so keep an eye on the clock.";

struct Whisper {
    binary: PathBuf,
    home: PathBuf,
    file: PathBuf,
    model: PathBuf,
    seconds: f64,
    version: String,
    venv: crate::python::Venv,
    threads: usize,
}

pub(super) fn make(setup: &Setup) -> Result<Box<dyn Part>> {
    setup
        .venv
        .need_requirements(&crate::listen::requirements())?;
    let file = setup.folder.join("minute.wav");
    let said = speak(&setup.program, "hibari", TEXT, &file)?;
    let model = model_folder(&setup.program)?;
    let mut whisper = Whisper {
        binary: setup.program.binary().to_owned(),
        home: setup.program.home().to_owned(),
        file,
        model,
        seconds: said["files"][0]["seconds"].as_f64().unwrap_or_default(),
        version: String::new(),
        venv: crate::python::Venv::open()?,
        threads: setup.threads,
    };
    let (value, _) = measure::json(&mut whisper.peer_run()?)?;
    whisper.version = value["version"].as_str().unwrap_or_default().to_owned();
    Ok(Box::new(whisper))
}

impl Whisper {
    fn peer_run(&self) -> Result<Command> {
        let mut command = peer_command(&self.venv, &self.model, self.threads)?;
        command.args(["--beam", "1"]).arg(&self.file);
        Ok(command)
    }
}

impl Part for Whisper {
    fn work(&self) -> String {
        format!("{MODEL} over {:.0} s of speech", self.seconds)
    }

    fn peer(&self) -> Option<String> {
        Some(format!("{PEER} {}, int8", self.version))
    }

    fn asked(&self) -> Asked {
        Asked::Faster(1.2)
    }

    fn own(&self) -> Result<AudioSample> {
        let mut command = Command::new(&self.binary);
        command
            .env("MEDLEY_HOME", &self.home)
            .arg("transcribe")
            .arg(&self.file);
        // Without the times of words, which the peer does not find either.
        command.args([
            "--model",
            MODEL,
            "--language",
            "en",
            "--format",
            "text",
            "--json",
            "--threads",
        ]);
        command.arg(self.threads.to_string());
        let (value, peak_rss_bytes) = measure::json(&mut command)?;
        let seconds = value["timings"]["listen_s"].as_f64();
        Ok(AudioSample {
            seconds: seconds.with_context(|| format!("no time in {value}"))?,
            peak_rss_bytes,
        })
    }

    fn other(&self) -> Result<AudioSample> {
        let (value, peak_rss_bytes) = measure::json(&mut self.peer_run()?)?;
        let seconds = value["files"][0]["seconds"].as_f64();
        Ok(AudioSample {
            seconds: seconds.with_context(|| format!("no time in {value}"))?,
            peak_rss_bytes,
        })
    }
}
