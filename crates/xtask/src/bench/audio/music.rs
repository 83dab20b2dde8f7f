//! A minute of music, written and rendered; nobody else does both.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Asked, AudioSample, Part, Setup};
use crate::bench::measure;

struct Music {
    binary: PathBuf,
    home: PathBuf,
    threads: usize,
}

pub(super) fn make(setup: &Setup) -> Result<Box<dyn Part>> {
    Ok(Box::new(Music {
        binary: setup.program.binary().to_owned(),
        home: setup.program.home().to_owned(),
        threads: setup.threads,
    }))
}

impl Part for Music {
    fn work(&self) -> String {
        "a tune of 60 s, written and rendered".into()
    }

    fn peer(&self) -> Option<String> {
        None
    }

    fn asked(&self) -> Asked {
        Asked::Within(3.0)
    }

    fn own(&self) -> Result<AudioSample> {
        let mut command = Command::new(&self.binary);
        command
            .env("MEDLEY_HOME", &self.home)
            .args(["bench", "music", "--rounds", "1", "--json", "--threads"])
            .arg(self.threads.to_string());
        let (value, peak_rss_bytes) = measure::json(&mut command)?;
        let seconds = value["timings"]["total_s"].as_f64();
        Ok(AudioSample {
            seconds: seconds.with_context(|| format!("no time in {value}"))?,
            peak_rss_bytes,
        })
    }

    fn other(&self) -> Result<AudioSample> {
        bail!("there is no peer")
    }
}
