//! What learns beside pictures' transformers: a language model from nothing, an adapter, an upscaler.

use std::path::Path;

use anyhow::{Result, ensure};
use medley_media::{Format, Origin, Picture, encode};

use super::Program;
use crate::process;

/// A language model from nothing on a text, and one sentence out of it.
pub fn text(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (data, out) = (at("rows.txt"), at("run"));
    let rows: String = (0..600)
        .map(|n| format!("row {n} has {} columns\n", n % 7 + 2))
        .collect();
    std::fs::write(&data, rows)?;
    let train = [
        "train",
        "text",
        "--data",
        &data,
        "--out",
        &out,
        "--vocab",
        "280",
        "--width",
        "64",
        "--layers",
        "1",
        "--heads",
        "2",
        "--length",
        "32",
        "--batch",
        "8",
        "--steps",
        "60",
        "--rate",
        "1e-2",
        "--hold-out",
        "0",
        "--seed",
        "3",
    ];
    let learned = program.json(&train)?;
    let loss = learned["loss"].as_f64().unwrap_or(f64::NAN);
    // 280 tokens: 5.6 at first.
    ensure!(loss < 3.0, "the loss after 60 steps: {learned}");
    let written = program.json(&[
        "text",
        "--model",
        &out,
        "--raw",
        "row 7 has",
        "--max-tokens",
        "12",
        "--temperature",
        "0",
    ])?;
    let text = written["text"].as_str().unwrap_or_default();
    ensure!(
        text.contains("col") || text.contains("row"),
        "it wrote {written}"
    );
    Ok(())
}

/// An adapter over the starter's language model, quantised as it is, in use.
pub fn lora(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (data, out) = (at("chats.jsonl"), at("adapter"));
    let chat = r#"{"messages": [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "Medley, at your service."}]}"#;
    std::fs::write(&data, format!("{chat}\n").repeat(8))?;
    let train = [
        "train",
        "text",
        "--base",
        "smollm2-135m",
        "--lora",
        "8",
        "--data",
        &data,
        "--out",
        &out,
        "--length",
        "48",
        "--batch",
        "2",
        "--steps",
        "12",
        "--rate",
        "5e-3",
        "--hold-out",
        "0",
        "--seed",
        "1",
    ];
    program.json(&train)?;
    let ask = [
        "text",
        "Who are you?",
        "--temperature",
        "0",
        "--max-tokens",
        "8",
        "--lora",
        &out,
    ];
    let answer = program.json(&ask)?;
    let text = answer["text"].as_str().unwrap_or_default();
    ensure!(text.starts_with("Medley"), "the adapter answers {answer}");
    Ok(())
}

/// An upscaler that a scorer looks at, where the bundled one is there, and what it makes.
pub fn upscaler(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::create_dir(at("data"))?;
    for n in 0..8u8 {
        let picture = Picture::filled(32, 32, [30 * n, 255 - 30 * n, 90])?;
        let bytes = encode(&picture, Format::Png, Origin::Collected)?;
        std::fs::write(at(&format!("data/{n}.png")), bytes)?;
    }
    let (data, out) = (at("data"), at("run"));
    let mut train = vec![
        "train",
        "upscaler",
        "--data",
        &data,
        "--out",
        &out,
        "--size",
        "32x32",
        "--patch",
        "32",
        "--batch",
        "2",
        "--steps",
        "3",
        "--features",
        "8",
        "--blocks",
        "1",
        "--growth",
        "4",
        "--hold-out",
        "0",
        "--seed",
        "1",
    ];
    let scored = process::root().join("starter/icon-scorer").is_dir();
    if scored {
        train.extend(["--perceptual", "icon-scorer"]);
    }
    let learned = program.json(&train)?;
    ensure!(
        learned["loss"].as_f64().is_some_and(f64::is_finite),
        "{learned}"
    );
    ensure!(
        Path::new(&at("run/model.safetensors")).is_file(),
        "no weights"
    );
    if scored {
        let more = [
            "train", "upscaler", "--data", &data, "--out", &out, "--resume", "--steps", "4",
        ];
        program.refuses(&more, 2, &["--perceptual is missing"])?;
        let scorer = [
            "image",
            "a pear",
            "--model",
            "icon-scorer",
            "-o",
            "nothing.png",
        ];
        program.refuses(&scorer, 1, &["icon-scorer", "scores of pictures"])?;
    }
    Ok(())
}
