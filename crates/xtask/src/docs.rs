//! `cargo xtask docs`: pages that are written by programs, and the check that they are up to date.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::audio::AudioReport;
use crate::bench::image::ImageReport;
use crate::bench::load::LoadReport;
use crate::bench::report::Report;
use crate::bench::table::table;
use crate::bench::train::TrainReport;
use crate::process;

/// Where `cargo xtask prove bench-text` leaves its figures.
pub const BENCH_TEXT: &str = "docs/proof/bench-text.json";

/// Where `cargo xtask prove bench-train` leaves its figures.
pub const BENCH_TRAIN: &str = "docs/proof/bench-train.json";

/// Where `cargo xtask prove bench-image` leaves its figures.
pub const BENCH_IMAGE: &str = "docs/proof/bench-image.json";

/// Where `cargo xtask prove bench-audio` leaves its figures.
pub const BENCH_AUDIO: &str = "docs/proof/bench-audio.json";

/// Where `cargo xtask prove bench-video` and `prove create` leave their figures.
const BENCH_VIDEO: &str = "docs/proof/bench-video.json";
const CREATE: &str = "docs/proof/create.json";

/// Where `cargo xtask prove listen` leaves its figures.
const LISTEN: &str = "docs/proof/listen.json";

/// Where `cargo xtask prove load` leaves its figures.
pub const BENCH_LOAD: &str = "docs/proof/load.json";

/// Write the generated pages, or fail if one would change.
pub fn run(check: bool) -> Result<()> {
    page(Path::new("docs/benchmarks.md"), &benchmarks()?, check)?;
    page(Path::new("docs/cli.md"), &command_line()?, check)
}

fn page(path: &Path, text: &str, check: bool) -> Result<()> {
    let full = process::root().join(path);
    if std::fs::read_to_string(&full).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if check {
        bail!(
            "{} is out of date: run `cargo xtask docs` and commit it",
            path.display()
        );
    }
    std::fs::write(&full, text).with_context(|| format!("cannot write {}", full.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

/// The command-line reference, which the program prints itself.
fn command_line() -> Result<String> {
    let medley = process::build_medley()?;
    let text = process::capture(Command::new(medley).arg("help-markdown"))?;
    Ok(text.trim_end().to_owned() + "\n")
}

fn benchmarks() -> Result<String> {
    Ok(benchmarks_page(
        report(BENCH_TEXT)?.as_ref(),
        report(BENCH_TRAIN)?.as_ref(),
        report(BENCH_IMAGE)?.as_ref(),
        [report(BENCH_VIDEO)?.as_ref(), report(CREATE)?.as_ref()],
        report(BENCH_LOAD)?.as_ref(),
        report(BENCH_AUDIO)?.as_ref(),
        report(LISTEN)?.as_ref(),
    ))
}

/// A report that is kept in the repository, if it has been made.
fn report<T: serde::de::DeserializeOwned>(file: &str) -> Result<Option<T>> {
    let path = process::root().join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is no report", path.display()))
            .map(Some),
        Err(_) => Ok(None),
    }
}

const BENCHMARKS_INTRODUCTION: &str = "\
# Benchmarks

<!-- Written by `cargo xtask docs` from bench-text.json, bench-train.json, bench-image.json, bench-video.json, create.json, load.json, bench-audio.json and listen.json in docs/proof; do not edit. -->

`cargo xtask bench text` builds llama.cpp from the source package of llama-cpp-python into a folder outside the
repository (`MEDLEY_REF`, or `medley-dev` in the user's cache folder), then runs both engines in turn on the same file
with the same number of threads.

- One **round** runs both engines once, each in a fresh process; who goes first alternates. The figures are medians
  over the rounds.
- **llama.cpp** is built Release for the machine at hand and run with the fastest of its option sets, tried first.
  Prefill, decode and memory come from `llama-bench -p 512 -n 128 -r 1` (after its own warm-up), batches from
  `llama-batched-bench` (64 prompt and 64 generated tokens a sequence), load from a small program over its library that
  times the loading of the model and the making of a context (`crates/xtask/peer/llama_load.cpp`). It maps the weights
  and reads most of them with the first token, so its load time is its best case.
- **Medley**'s load time includes repacking. Memory is the process's highest resident set, for both from `wait4`.
- A short arithmetic loop, pinned to as many cores as there are threads, runs before and after each round. A round in
  which it ran below 85 % of the best seen is repeated, at most until three times the rounds were run; slow rounds that
  had to be kept are named below the table.
- **Of the limit**: decode against the memory bandwidth measured in the same run (weights read per token, times tokens
  per second), prefill against the int8 peak of the widest instructions that the kernels use (operations of the layers' matrices).
";

const AUDIO_INTRODUCTION: &str = "
## Sound

`cargo xtask bench audio` makes and hears sound with Medley and with the best peer of each kind, in turn and in fresh
processes, with the same weights and number of threads; loading the model is not counted. Voices are held against onnxruntime
(`crates/xtask/peer/voice.py`): hibari from text to samples against its own package, Piper with the same graph, each after
once that is not timed, in seconds for ten seconds of sound. Whisper is held against CTranslate2 in int8
(`crates/xtask/peer/whisper.py`), both taking the likeliest token each time. A tune has no peer that writes and renders it.
Figures are medians over the rounds, memory the largest resident set, from `wait4`.

";

const TRAINING_INTRODUCTION: &str = "
## Training

`cargo xtask bench train` trains the same decoder of the Llama line (6 layers, 384 wide, feed-forward 1024, 6 heads, tied
head) and the same diffusion transformer (8 layers, 256 wide, patches of 4, cross-attention to 12 states of a text) with
Medley and with PyTorch (`crates/xtask/peer/train.py`: joint projections, `scaled_dot_product_attention`, the fused AdamW;
bf16 by autocast), in turn and in fresh processes. A step is forward, backward, clipping and AdamW over random data.
Speed is the median over the steps of all rounds, memory the largest resident set, from `wait4`.

";

const IMAGE_INTRODUCTION: &str = "
## Pictures

`cargo xtask bench image` draws with the same weights in Medley and in PyTorch (`crates/xtask/peer/image.py`: the twins of
the golden cases with PyTorch's fused functions), in turn and in fresh processes. Seconds are medians over pictures, then
over rounds.

";

const VIDEO_INTRODUCTION: &str = "
## Clips

`cargo xtask prove bench-video` draws a clip of the starter as above (upscaling is that of one frame), and then makes a clip and a film
of a timeline as users do.

";

const BRIEFS_INTRODUCTION: &str = "
## Briefs

`cargo xtask prove create` makes campaigns with the bundled models alone; whisper-base hears the voice-overs.

";

const LOAD_INTRODUCTION: &str = "
## Many clients at once

`cargo xtask bench load` has so many clients stream chats (a prompt of some 70 tokens, each another; answers of 64 tokens) from
`medley serve` and from llama.cpp's `llama-server` on the same file, in turn and in fresh processes; each client asks again as
soon as it is answered. First token is the median time from the request to the first words.

";

fn benchmarks_page(
    report: Option<&Report>,
    training: Option<&TrainReport>,
    images: Option<&ImageReport>,
    [films, briefs]: [Option<&Value>; 2],
    load: Option<&LoadReport>,
    audio: Option<&AudioReport>,
    heard: Option<&Value>,
) -> String {
    let mut page = BENCHMARKS_INTRODUCTION.to_owned();
    page.push_str("\n## Text\n\n");
    match report {
        Some(report) => page.push_str(&report.render()),
        None => page.push_str(
            "`cargo xtask prove bench-text` measures and keeps the figures that stand here.\n",
        ),
    }
    page.push_str(TRAINING_INTRODUCTION);
    match training {
        Some(report) => page.push_str(&report.render()),
        None => page.push_str(
            "`cargo xtask prove bench-train` measures and keeps the figures that stand here.\n",
        ),
    }
    page.push_str(IMAGE_INTRODUCTION);
    match images {
        Some(report) => page.push_str(&report.render()),
        None => page.push_str(
            "`cargo xtask prove bench-image` measures and keeps the figures that stand here.\n",
        ),
    }
    if let Some(report) = films {
        page.push_str(VIDEO_INTRODUCTION);
        page.push_str(&films_table(report));
    }
    if let Some(report) = briefs {
        page.push_str(BRIEFS_INTRODUCTION);
        page.push_str(&briefs_table(report));
    }
    page.push_str(LOAD_INTRODUCTION);
    match load {
        Some(report) => page.push_str(&report.render()),
        None => page
            .push_str("`cargo xtask prove load` measures and keeps the figures that stand here.\n"),
    }
    page.push_str(AUDIO_INTRODUCTION);
    match audio {
        Some(report) => page.push_str(&report.render()),
        None => page.push_str(
            "`cargo xtask prove bench-audio` measures and keeps the figures that stand here.\n",
        ),
    }
    page.push_str(&heard.map(heard_table).unwrap_or_default());
    page
}

/// Clips beside PyTorch, and what users wait for.
fn films_table(report: &Value) -> String {
    let drawing: Option<ImageReport> = serde_json::from_value(report["drawing"].clone()).ok();
    let drawing = drawing.map_or_else(String::new, |drawing| drawing.render());
    let row = |what: &str, runs: &Value, asked: String| {
        vec![
            what.to_owned(),
            format!("{:.1}", runs["median_s"].as_f64().unwrap_or(f64::NAN)),
            asked,
            format!("{} MiB", runs["peak_rss_bytes"].as_u64().unwrap_or(0) >> 20),
        ]
    };
    let lasts = report["film_lasts_s"].as_f64().unwrap_or(f64::NAN);
    let rows = [
        row(
            "`medley video \"a beating red heart\"`",
            &report["clip"],
            "≤ 30".into(),
        ),
        row(
            &format!("a film of {lasts} s at 720p30 of titles, a still, a clip and captions"),
            &report["film"],
            format!("≤ {lasts}"),
        ),
    ];
    let head = ["made", "seconds", "asked", "resident memory"];
    format!("{drawing}\n{}", table(&head, &rows))
}

/// Campaigns, their time, memory and voice-overs.
fn briefs_table(report: &Value) -> String {
    let briefs = report["briefs"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = briefs
        .map(|brief| {
            let number = |key: &str| brief[key].as_f64().unwrap_or(f64::NAN);
            vec![
                brief["name"].as_str().unwrap_or_default().to_owned(),
                format!("{:.0}", number("seconds")),
                format!("{:.0} MiB", number("peak_rss_bytes") / f64::from(1 << 20)),
                format!("{:.0} %", 100.0 * number("words_heard")),
            ]
        })
        .collect();
    table(
        &["brief", "seconds", "resident memory", "words heard"],
        &rows,
    )
}

/// How many words are heard wrong of what voices say.
fn heard_table(report: &Value) -> String {
    let percent = |voice: &Value, who: &str| {
        let rate = voice[who]["word_error_rate"].as_f64();
        rate.map_or_else(String::new, |rate| format!("{:.2} %", 100.0 * rate))
    };
    let voices = report["voices"].as_object().into_iter().flatten();
    let rows: Vec<Vec<String>> = voices
        .map(|(name, voice)| {
            vec![
                name.clone(),
                percent(voice, "medley"),
                percent(voice, "peer"),
            ]
        })
        .collect();
    let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    format!(
        "\n`{}` has voices say {} sentences, which {} hears here and on {}. Words that are heard wrong:\n\n{}",
        text("command"),
        report["sentences"],
        text("model"),
        text("peer"),
        table(&["voice", "Medley", "peer"], &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{report, train};

    #[test]
    fn the_page_holds_the_tables() {
        let training = train::tests::example();
        let page = benchmarks_page(
            Some(&report::tests::example()),
            Some(&training),
            None,
            [None, None],
            None,
            None,
            None,
        );
        assert!(page.starts_with("# Benchmarks\n"));
        assert!(page.contains("| 2.00× |") && page.contains("torch 1.2.3"));
        let empty = benchmarks_page(None, None, None, [None, None], None, None, None);
        assert!(empty.ends_with("stand here.\n"));
        let heard = serde_json::json!({
            "sentences": 3, "voices": {"a": {"medley": {"word_error_rate": 0.015}, "peer": {"word_error_rate": 0.0}}}
        });
        let table = heard_table(&heard);
        assert!(
            table.contains("3 sentences") && table.contains("1.50 %"),
            "{table}"
        );
    }
}
