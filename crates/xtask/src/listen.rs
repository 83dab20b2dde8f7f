//! `prove listen`: what voices say is heard again. Sentences are spoken, recognised by Whisper base here and by
//! faster-whisper with the same folder, and compared word by word.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench::machine::Description;
use crate::process;
use crate::python::Venv;
use crate::smoke::Program;

/// The model that listens.
pub const MODEL: &str = "whisper-base";
/// Who it is held against.
pub const PEER: &str = "CTranslate2";

/// Voices, and the word error rate that each may have; one that is not in the catalog is left out.
const VOICES: [(&str, Option<f64>); 2] = [("hibari", Some(0.08)), ("piper-joe", None)];
/// How much more than the peer's the word error rate may be.
const BESIDE_PEER: f64 = 0.01;

/// Without numbers and words that are spelled in two ways, which a recogniser may choose between.
const SENTENCES: [&str; 30] = [
    "The old clock in the hall stopped at midnight.",
    "She opened the window and let the fresh air into the room.",
    "Please send the report to the office before Friday afternoon.",
    "A small boat drifted slowly down the quiet river.",
    "The children laughed when the dog chased its own tail.",
    "Could you tell me where the nearest station is?",
    "Heavy rain is expected over the mountains this evening.",
    "He found a letter from his brother under the door.",
    "Fresh bread and warm soup were waiting on the table.",
    "Nobody knew why the lights had gone out so suddenly.",
    "The museum shows paintings from every part of the world.",
    "We walked along the beach until the sun went down.",
    "My sister plays the violin in a large orchestra.",
    "Turn left at the corner and follow the road to the bridge.",
    "The engine made a strange noise and then fell silent.",
    "Good teachers listen more than they speak.",
    "The forest was dark, but the path was easy to follow.",
    "They finished the work long before the winter came.",
    "Is there anything else that I can help you with today?",
    "The doctor told him to rest and drink plenty of water.",
    "A bright star appeared above the roof of the barn.",
    "The company plans to open a new factory next year.",
    "I have never seen such a beautiful garden before.",
    "The train was late because of snow on the tracks.",
    "Every student received a book and a pencil.",
    "The wind carried the smell of flowers across the field.",
    "Remember to lock the gate when you leave.",
    "Our neighbors invited us to dinner on Saturday.",
    "The judge asked the witness to repeat her answer.",
    "Language is the road map of a culture.",
];

/// Packages of the peer.
pub fn requirements() -> PathBuf {
    process::root().join("crates/xtask/peer/whisper.txt")
}

/// The peer over the files that are added to the command.
pub fn peer_command(venv: &Venv, model: &Path, threads: usize) -> Result<Command> {
    let mut command = venv.command(venv.python())?;
    command.arg(process::root().join("crates/xtask/peer/whisper.py"));
    command
        .arg("--model")
        .arg(model)
        .args(["--threads", &threads.to_string()]);
    Ok(command)
}

/// The folder of the model, which is pulled first.
pub fn model_folder(program: &Program) -> Result<PathBuf> {
    let file = program.file_of(MODEL, &|path| path.ends_with("model.bin"))?;
    Ok(file
        .parent()
        .context("the model lies in a folder")?
        .to_owned())
}

/// Has a voice say a text.
pub fn speak(program: &Program, voice: &str, text: &str, file: &Path) -> Result<Value> {
    program.json(&[
        "speech",
        text,
        "--model",
        voice,
        "-o",
        &file.to_string_lossy(),
    ])
}

/// What is heard in a file.
pub fn hear(program: &Program, file: &Path) -> Result<String> {
    let heard = program.json(&[
        "transcribe",
        &file.to_string_lossy(),
        "--model",
        MODEL,
        "--language",
        "en",
    ])?;
    let text = heard["text"].as_str();
    Ok(text
        .with_context(|| format!("no text in {heard}"))?
        .to_owned())
}

/// Speaks and listens, and keeps what came of it in `file`.
pub fn prove(file: &Path) -> Result<()> {
    let (program, venv) = (Program::build()?, Venv::open()?);
    venv.need_requirements(&requirements())?;
    let model = model_folder(&program)?;
    let mut voices = serde_json::Map::new();
    let mut holds = true;
    for (voice, bar) in VOICES {
        if !program.run(&["models", "pull", voice])?.succeeded_quietly() {
            println!("    {voice}: not there");
            continue;
        }
        let record = proved(&program, &venv, &model, voice)?;
        let (own, peer) = (rate(&record, "medley"), rate(&record, "peer"));
        println!(
            "    {voice}: {:.2} % of the words are wrong, {:.2} % by {PEER}",
            100.0 * own,
            100.0 * peer
        );
        holds &= own <= peer + BESIDE_PEER && bar.is_none_or(|bar| own < bar);
        voices.insert(voice.to_owned(), record);
    }
    let record = json!({
        "command": "cargo xtask prove listen",
        "machine": Description::read(),
        "model": MODEL,
        "peer": std::fs::read_to_string(requirements())?.trim().replace('\n', ", "),
        "sentences": SENTENCES.len(),
        "voices": voices,
        "holds": holds,
    });
    process::write_record(file, &record)?;
    ensure!(holds, "more words are wrong than may be");
    Ok(())
}

fn rate(record: &Value, who: &str) -> f64 {
    record[who]["word_error_rate"].as_f64().unwrap_or(1.0)
}

/// One voice: word error rates, and the sentences that were not heard as they were said.
fn proved(program: &Program, venv: &Venv, model: &Path, voice: &str) -> Result<Value> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let files: Vec<PathBuf> = (0..SENTENCES.len())
        .map(|i| folder.path().join(format!("{i:02}.wav")))
        .collect();
    let mut own = Vec::new();
    for (sentence, file) in SENTENCES.iter().zip(&files) {
        speak(program, voice, sentence, file)?;
        own.push(hear(program, file)?);
    }
    let mut command = peer_command(venv, model, 2)?;
    let heard: Value = serde_json::from_str(&process::capture(command.args(&files))?)?;
    let texts = heard["files"].as_array().context("the peer gives a list")?;
    let peer: Vec<String> = texts
        .iter()
        .map(|f| f["text"].as_str().unwrap_or_default().to_owned())
        .collect();
    Ok(json!({ "medley": judged(&own), "peer": judged(&peer) }))
}

fn judged(heard: &[String]) -> Value {
    let (mut errors, mut words, mut wrong) = (0, 0, Vec::new());
    for (said, heard) in SENTENCES.iter().zip(heard) {
        let (a, b) = (words_of(said), words_of(heard));
        let distance = distance(&a, &b);
        if distance > 0 {
            wrong.push(json!({ "said": said, "heard": heard, "errors": distance }));
        }
        errors += distance;
        words += a.len();
    }
    json!({ "word_error_rate": errors as f64 / words as f64, "errors": errors, "words": words, "wrong": wrong })
}

/// Lower-case words without marks.
fn words_of(text: &str) -> Vec<String> {
    let plain: String = text
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || c.is_whitespace() || *c == '\'')
        .collect();
    plain.split_whitespace().map(str::to_owned).collect()
}

/// Words that are put in, left out or changed on the way from one to the other, at least (Levenshtein).
fn distance(a: &[String], b: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_in_words() {
        let of = |a: &str, b: &str| distance(&words_of(a), &words_of(b));
        assert_eq!(of("The cat sat.", "the cat sat"), 0);
        assert_eq!(of("the cat sat", "a cat sat down"), 2);
        assert_eq!(of("the cat sat", ""), 3);
        assert_eq!(of("it's here", "it is here"), 2);
    }
}
