//! `prove create`: five briefs, each to a folder whose files open, play and are heard; a run that is killed goes on; an edited
//! plan makes anew only what hangs on it; one work of each medium is remade to the byte.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bench::machine::Description;
use crate::listen::hear;
use crate::process;
use crate::smoke::studio::Browser;
use crate::smoke::{self, Program};

/// A product, a café, a course, a charity and a game.
pub const BRIEFS: [(&str, &str); 5] = [
    (
        "product",
        "Ember, a smokeless campfire for small balconies: launch campaign, warm and witty",
    ),
    (
        "cafe",
        "Nook, a small café with forty kinds of tea in an old bookshop: calm and cosy",
    ),
    (
        "course",
        "Clay, an evening pottery course for busy parents: friendly and encouraging",
    ),
    (
        "charity",
        "Open Paws, a charity that walks the dogs of people in hospital: hopeful and honest",
    ),
    (
        "game",
        "Lantern Lane, a puzzle game about a lighthouse keeper who repairs the stars: mysterious and playful",
    ),
];

/// Seconds that one brief may take on two cores.
const BAR: f64 = 240.0;

/// The least share of the voice-over's words that recognition finds.
const HEARD: f64 = 0.9;

/// What a campaign holds beside its plan.
const FILES: [&str; 14] = [
    "copy.md",
    "script.txt",
    "key-visual.png",
    "picture-2.png",
    "picture-3.png",
    "poster.png",
    "post-1.png",
    "jingle.wav",
    "jingle.mid",
    "voiceover.wav",
    "voiceover.vtt",
    "clip.mp4",
    "teaser.mp4",
    "index.html",
];

/// Carries the briefs out and keeps what came of it.
pub fn prove(file: &Path) -> Result<()> {
    smoke::pull_models()?;
    ensure!(
        process::available("ffprobe", "-version"),
        "ffmpeg is not installed, and it is what opens the files"
    );
    let (program, browser) = (Program::build()?, Browser::open()?);
    let place = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut works = Vec::new();
    for (name, brief) in BRIEFS {
        let work = one(&program, place.path(), name, brief)?;
        println!("    {name}: {work}");
        works.push(work);
    }
    let shots = process::target_dir()
        .join("create")
        .to_string_lossy()
        .into_owned();
    let names = BRIEFS.map(|(name, _)| name);
    let script = process::root().join("crates/xtask/create/drive.py");
    let seen = browser.run(
        &script,
        place.path(),
        &[],
        &[&[shots.as_str()][..], &names].concat(),
    )?;
    let pages = seen["pages"].as_object().context("pages were looked at")?;
    for (page, found) in pages {
        for nothing in ["broken", "unnamed", "silent", "over", "outside"] {
            ensure!(
                found[nothing] == 0,
                "{page}: {nothing} is {}",
                found[nothing]
            );
        }
        ensure!(
            found["pictures"].as_u64() >= Some(4) && found["media"].as_u64() >= Some(4),
            "{page}: {found}"
        );
        ensure!(found["errors"] == json!([]), "{page}: {found}");
    }
    let killed = killed(&program, place.path())?;
    let edited = edited(&program, &place.path().join("product"))?;
    let remade = remade(&program, &place.path().join("cafe"))?;
    println!(
        "    killed: {killed}\n    edited: {edited}\n    remade: {remade}; pictures of the pages: {shots}"
    );
    let record = json!({
        "command": "cargo xtask prove create",
        "machine": Description::read(),
        "bars": { "seconds": BAR, "words_heard": HEARD },
        "briefs": works,
        "chromium": seen["chromium"],
        "pages": pages,
        "killed": killed,
        "edited": edited,
        "remade": remade,
    });
    process::write_record(file, &record)?;
    for work in &works {
        ensure!(work["seconds"].as_f64() < Some(BAR), "too slow: {work}");
        ensure!(
            work["words_heard"].as_f64() >= Some(HEARD),
            "not understood: {work}"
        );
    }
    Ok(())
}

fn create(program: &Program, brief: Option<&str>, folder: &Path) -> Result<Value> {
    let folder = folder.to_string_lossy();
    let mut args = vec!["create", "-o", &folder, "--seed", "5"];
    args.extend(brief);
    program.json(&args)
}

/// One brief: how long, how much memory, and whether its files are what they should be.
fn one(program: &Program, place: &Path, name: &str, brief: &str) -> Result<Value> {
    let folder = place.join(name);
    let begun = Instant::now();
    let made = create(program, Some(brief), &folder)?;
    let seconds = begun.elapsed().as_secs_f64();
    let plays = opened(&folder).with_context(|| name.to_owned())?;
    let said = std::fs::read_to_string(folder.join("voiceover.vtt"))?;
    let heard = hear(program, &folder.join("voiceover.wav"))?;
    Ok(json!({
        "name": name, "brief": brief, "seconds": seconds, "peak_rss_bytes": made["peak_rss_bytes"],
        "seconds_of": plays, "words_heard": found(&spoken(&said), &heard), "heard": heard,
    }))
}

/// Whether a campaign's files are there and open; how many seconds each plays that does.
pub fn opened(folder: &Path) -> Result<BTreeMap<&'static str, f64>> {
    for file in FILES {
        ensure!(folder.join(file).is_file(), "{file} is missing");
    }
    let mut plays = BTreeMap::new();
    for file in ["jingle.wav", "voiceover.wav", "clip.mp4", "teaser.mp4"] {
        plays.insert(file, duration(&folder.join(file))?);
    }
    for picture in ["key-visual.png", "poster.png", "post-1.png"] {
        duration(&folder.join(picture))?;
    }
    Ok(plays)
}

/// How long ffprobe finds a file to be; 0 for a picture that it can read.
pub fn duration(file: &Path) -> Result<f64> {
    let mut probe = Command::new("ffprobe");
    probe
        .args([
            "-v",
            "error",
            "-show_entries",
            "format=duration:stream=codec_name",
            "-of",
            "json",
        ])
        .arg(file);
    let found: Value = serde_json::from_str(&process::capture(&mut probe)?)?;
    ensure!(
        found["streams"][0]["codec_name"].is_string(),
        "{}: {found}",
        file.display()
    );
    Ok(found["format"]["duration"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0))
}

/// The words of WebVTT, without its times.
fn spoken(vtt: &str) -> Vec<String> {
    let lines = vtt.lines().skip(1).filter(|line| !line.contains("-->"));
    let text = lines.collect::<Vec<_>>().join(" ");
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    words(&plain)
}

/// Small letters without accents; numbers as words, as recognisers write some of them in digits.
fn words(text: &str) -> Vec<String> {
    const NUMBERS: [(&str, &str); 14] = [
        ("1", "one"),
        ("2", "two"),
        ("3", "three"),
        ("4", "four"),
        ("5", "five"),
        ("6", "six"),
        ("7", "seven"),
        ("8", "eight"),
        ("9", "nine"),
        ("10", "ten"),
        ("12", "twelve"),
        ("20", "twenty"),
        ("40", "forty"),
        ("100", "hundred"),
    ];
    let plain = |c: char| !(c.is_alphanumeric() || c == '\'');
    let text = text.to_lowercase().replace('é', "e");
    let words = text.split(plain).filter(|word| !word.is_empty());
    let word = |word: &str| {
        let number = NUMBERS.iter().find(|(digits, _)| *digits == word);
        number.map_or(word, |(_, word)| word).to_owned()
    };
    words.map(word).collect()
}

/// The share of the words that are heard, in their order.
fn found(said: &[String], heard: &str) -> f64 {
    let heard = words(heard);
    let mut row = vec![0usize; heard.len() + 1];
    for word in said {
        let mut before = 0;
        for (at, other) in heard.iter().enumerate() {
            let here = row[at + 1];
            row[at + 1] = if word == other {
                before + 1
            } else {
                here.max(row[at])
            };
            before = here;
        }
    }
    row[heard.len()] as f64 / said.len().max(1) as f64
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(file: &Path) -> Result<String> {
    let hash = Sha256::digest(std::fs::read(file)?);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// SHA-256 of each file of a folder that is there.
fn hashes(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if FILES.contains(&name.as_str()) {
            found.insert(name, sha256(&entry.path())?);
        }
    }
    Ok(found)
}

/// A run that is killed in its middle, and what the next one makes of it.
fn killed(program: &Program, place: &Path) -> Result<Value> {
    let folder = place.join("killed");
    let mut run = Command::new(program.binary())
        .args(["create", BRIEFS[1].1, "--seed", "5", "-o"])
        .arg(&folder)
        .env("MEDLEY_HOME", program.home())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let begun = Instant::now();
    // Some works are there, others are not.
    while hashes(&folder).map_or(0, |found| found.len()) < 5 {
        ensure!(
            begun.elapsed() < Duration::from_secs(240),
            "nothing is made"
        );
        if run.try_wait()?.is_some() {
            bail!("the run ended before it was killed");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    run.kill()?;
    run.wait()?;
    let before = hashes(&folder)?;
    let made = create(program, None, &folder)?;
    let kept = made["works"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|work| work["state"] == "kept")
        .count();
    let after = hashes(&folder)?;
    ensure!(kept >= 2, "nothing was kept: {made}");
    for (name, hash) in &before {
        ensure!(after.get(name) == Some(hash), "{name} was lost");
    }
    let whole = hashes(&place.join("cafe"))?;
    ensure!(
        after == whole,
        "the killed run came to other files than the whole one"
    );
    Ok(
        json!({ "files_before": before.len(), "works_kept": kept, "files_after": after.len(), "same_as_whole_run": true }),
    )
}

/// A plan with another picture: only what hangs on it is made anew.
fn edited(program: &Program, folder: &Path) -> Result<Value> {
    let path = folder.join("plan.json");
    let mut plan: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    let works = plan["works"].as_array_mut().context("a plan has works")?;
    let picture = works
        .iter_mut()
        .find(|work| work["id"] == "picture-3")
        .context("a third picture")?;
    picture["prompt"] = json!("a red heart, 3d icon");
    std::fs::write(&path, serde_json::to_string_pretty(&plan)?)?;
    let made = create(program, None, folder)?;
    let done: Vec<&str> = made["works"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|work| work["state"] == "done")
        .filter_map(|work| work["id"].as_str())
        .collect();
    ensure!(
        done == ["picture-3", "teaser", "page"],
        "made anew: {done:?}"
    );
    // What somebody writes by hand is kept, and what is made of it is made anew.
    let script = folder.join("script.txt");
    std::fs::write(&script, "This is what I wanted to say.\n")?;
    let made = create(program, None, folder)?;
    let state = |id: &str| {
        made["works"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|w| w["id"] == id)
            .map(|w| w["state"].clone())
    };
    ensure!(
        state("script") == Some(json!("kept")) && state("voiceover") == Some(json!("done")),
        "{made}"
    );
    ensure!(
        std::fs::read_to_string(&script)?.starts_with("This is what I wanted"),
        "what was written by hand is lost"
    );
    let heard = hear(program, &folder.join("voiceover.wav"))?;
    ensure!(
        found(&words("this is what I wanted to say"), &heard) >= HEARD,
        "heard: {heard}"
    );
    Ok(json!({ "made_anew": done, "hand_written_kept": true, "heard": heard }))
}

/// One work of each kind, made again out of its file alone.
fn remade(program: &Program, folder: &Path) -> Result<Value> {
    let mut same = serde_json::Map::new();
    let again = tempfile::tempdir()?;
    for name in [
        "copy.md",
        "key-visual.png",
        "poster.png",
        "jingle.wav",
        "voiceover.wav",
        "clip.mp4",
        "teaser.mp4",
        "index.html",
    ] {
        let (from, to) = (folder.join(name), again.path().join(name));
        let (from_text, to_text) = (from.to_string_lossy(), to.to_string_lossy());
        let init = folder.join("key-visual.png");
        let init = init.to_string_lossy();
        let mut args = vec!["remake", &from_text, "-o", &to_text];
        if name == "clip.mp4" {
            args.extend(["--init", &init]);
        }
        program.json(&args)?;
        let equal = std::fs::read(&from)? == std::fs::read(&to)?;
        ensure!(equal, "{name} is remade with other bytes");
        same.insert(name.to_owned(), json!(equal));
    }
    Ok(Value::Object(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_their_order() {
        let said = spoken("WEBVTT\n\n00:00.000 --> 00:01.000\nMeet <00:00.500>Ember, now.\n");
        assert_eq!(said, ["meet", "ember", "now"]);
        assert_eq!(found(&said, "Meet amber now!"), 2.0 / 3.0);
        assert_eq!(found(&said, "now ember meet"), 1.0 / 3.0);
    }
}
