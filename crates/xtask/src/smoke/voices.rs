//! Spoken words.

use anyhow::{Context, Result, ensure};

use super::Program;

/// A sentence comes out as sound with the times of its words; what cannot be said is refused in one line.
pub fn speech(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let file = folder.path().join("hello.wav");
    let path = file.to_string_lossy().into_owned();
    let value = program.json(&["speech", "Hello there, it is half past nine.", "-o", &path])?;
    let seconds = value["files"][0]["seconds"].as_f64().unwrap_or_default();
    ensure!(
        (1.0..6.0).contains(&seconds),
        "a short sentence lasts {seconds} s"
    );
    let words = value["words"].as_array().map_or(0, Vec::len);
    ensure!(words == 7, "{words} words have times, not 7");
    let sound = std::fs::read(&file).context("no sound was written")?;
    ensure!(sound.starts_with(b"RIFF"), "{path} is no WAV file");
    Ok(())
}
