//! Speech that is heard again.

use anyhow::{Context, Result, ensure};

use super::Program;
use crate::listen::{hear, speak};

/// A sentence said by the starter voice comes back as text, and silence stays silent.
pub fn heard(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let file = folder.path().join("said.wav");
    speak(
        program,
        "hibari",
        "The children laughed when the dog chased its own tail.",
        &file,
    )?;
    let text = hear(program, &file)?;
    ensure!(
        text == "The children laughed when the dog chased its own tail.",
        "what was heard is {text:?}"
    );
    let path = file.to_string_lossy().into_owned();
    let srt = program
        .run(&["transcribe", &path, "--format", "srt"])?
        .succeeded()?;
    ensure!(
        srt.stdout.starts_with("1\n00:00:0"),
        "no captions: {}",
        srt.stdout
    );
    let told = program.json(&["transcribe", &path])?;
    let words = told["words"].as_array().context("JSON has the words")?;
    let times: Vec<f64> = words.iter().filter_map(|w| w["start"].as_f64()).collect();
    ensure!(
        times.len() == 10 && times.is_sorted(),
        "times of words: {times:?}"
    );
    ensure!(
        told["language"] == "en",
        "the language is {}",
        told["language"]
    );
    let quiet = folder.path().join("quiet.wav");
    std::fs::write(&quiet, silence())?;
    let told = program.json(&["transcribe", &quiet.to_string_lossy()])?;
    ensure!(
        told["text"] == "" && told["duration"] == 2.0,
        "silence gives {told}"
    );
    std::fs::write(&quiet, b"RIFF....WAVEfmt nothing")?;
    program.refuses(&["transcribe", &quiet.to_string_lossy()], 1, &["quiet.wav"])?;
    program.refuses(
        &["transcribe", &path, "--language", "klingon"],
        2,
        &["klingon"],
    )
}

/// Two seconds of a WAV file at 16 kHz.
fn silence() -> Vec<u8> {
    let data = 64_000u32;
    let mut out = b"RIFF".to_vec();
    out.extend((36 + data).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend(16_000u32.to_le_bytes());
    out.extend(32_000u32.to_le_bytes());
    out.extend_from_slice(b"\x02\0\x10\0data");
    out.extend(data.to_le_bytes());
    out.resize(out.len() + data as usize, 0);
    out
}
