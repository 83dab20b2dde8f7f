//! `prove film-files`: the films that `crates/media/tests/suite/every_film.rs` writes, read by ffmpeg there and by Chromium here.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench::machine::Description;
use crate::process;
use crate::smoke::studio::Browser;

/// What that test says before each thing that ffmpeg found.
const FOUND: &str = "ffmpeg {";

pub fn prove(file: &Path) -> Result<()> {
    ensure!(
        process::available("ffprobe", "-version"),
        "ffmpeg is not installed, and it is what films are held against"
    );
    let browser = Browser::open()?;
    let films = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut test = process::cargo();
    test.args(["test", "--release", "--workspace", "--test", "suite"])
        .args(["--", "every_film::", "--nocapture"])
        .env("MEDLEY_FILMS", films.path());
    let said = process::capture(&mut test)?;
    let by_ffmpeg = said
        .lines()
        .filter(|line| line.starts_with(FOUND))
        .map(|line| serde_json::from_str(&line[FOUND.len() - 1..]))
        .collect::<serde_json::Result<Vec<Value>>>()?;
    ensure!(!by_ffmpeg.is_empty(), "ffmpeg read no film: {said}");
    let script = process::root().join("crates/xtask/films/drive.py");
    let seen = browser.run(&script, films.path(), &[], &[])?;
    let version = process::capture(std::process::Command::new("ffmpeg").arg("-version"))?;
    let record = json!({
        "command": "cargo xtask prove film-files",
        "machine": Description::read(),
        "bars": {"mean_gap": 4.0, "mean_gap_of_gif": 8.0, "sound_after_picture_ms": 20},
        "ffmpeg": {"version": version.lines().next(), "films": by_ffmpeg},
        "chromium": {"version": seen["chromium"], "films": seen["films"]},
    });
    process::write_record(file, &record)
}
