//! `bench video`: clips drawn beside PyTorch with the same weights, a clip as users have it, and how fast films are composed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::image::{self, ImageArgs, ImageReport};
use super::measure;
use super::train::median;
use crate::process;
use crate::smoke::Program;

/// Seconds of the film that is composed, and runs of which the median counts.
const FILM_S: f64 = 12.0;
const RUNS: usize = 5;

#[derive(Args)]
pub struct VideoArgs {
    /// Folder of a model of clips (default: starter/clips)
    #[arg(long)]
    model: Option<PathBuf>,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

impl VideoArgs {
    /// The defaults, with the figures kept in `file`.
    pub fn into_file(file: &Path) -> Self {
        Self {
            model: None,
            json: Some(file.to_owned()),
        }
    }
}

/// Medians of some runs, with all of them.
#[derive(Debug, Serialize)]
struct Runs {
    /// Seconds of each, the start of the program and the file included.
    seconds: Vec<f64>,
    /// Their median.
    median_s: f64,
    /// Highest resident memory of all.
    peak_rss_bytes: u64,
}

/// A whole run.
#[derive(Debug, Serialize)]
struct VideoReport {
    /// Denoising beside PyTorch; upscaling is that of one frame.
    drawing: ImageReport,
    /// `medley video PROMPT -o clip.mp4` with the defaults.
    clip: Runs,
    /// A film of titles, a slow zoom, a clip and captions, 1280 × 720 at 30 frames a second, to MP4.
    film: Runs,
    /// Seconds that the film lasts.
    film_lasts_s: f64,
}

pub fn run(args: &VideoArgs) -> Result<()> {
    let model = args.model.clone();
    let model = model.unwrap_or_else(|| process::root().join("starter/clips"));
    let drawing = image::measured(&ImageArgs::of(Some(model.clone()), None), "video")?;
    println!("\n{}", drawing.render());
    let program = Program::build()?;
    let folder = tempfile::tempdir()?;
    let clip = folder.path().join("clip.mp4");
    let drawn = runs(|| {
        let mut command = medley(&program)?;
        command.args([
            "video",
            "a beating red heart",
            "--seed",
            "7",
            "--json",
            "--model",
        ]);
        command.arg(&model).arg("-o").arg(&clip);
        Ok(command)
    })?;
    let timeline = timeline(folder.path(), &clip)?;
    let film = folder.path().join("film.mp4");
    let composed = runs(|| {
        let mut command = medley(&program)?;
        command.args(["video", "--json", "--timeline"]);
        command.arg(&timeline).arg("-o").arg(&film);
        Ok(command)
    })?;
    println!(
        "a clip: {:.1} s (30 asked), {} MiB\na film of {FILM_S} s at 720p30: {:.1} s, {:.2} times as fast as it plays (1 asked), {} MiB",
        drawn.median_s,
        drawn.peak_rss_bytes >> 20,
        composed.median_s,
        FILM_S / composed.median_s,
        composed.peak_rss_bytes >> 20,
    );
    let report = VideoReport {
        drawing,
        clip: drawn,
        film: composed,
        film_lasts_s: FILM_S,
    };
    match &args.json {
        Some(path) => image::put(path, &report),
        None => Ok(()),
    }
}

fn medley(program: &Program) -> Result<Command> {
    let mut command = Command::new(program.binary());
    command.env("MEDLEY_HOME", crate::smoke::home()?);
    Ok(command)
}

/// Runs a command some times.
fn runs(command: impl Fn() -> Result<Command>) -> Result<Runs> {
    let (mut seconds, mut peak) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let start = std::time::Instant::now();
        let (_, bytes): (Value, u64) = measure::json(&mut command()?)?;
        seconds.push(start.elapsed().as_secs_f64());
        peak = peak.max(bytes);
    }
    Ok(Runs {
        median_s: median(&seconds),
        seconds,
        peak_rss_bytes: peak,
    })
}

/// A timeline with a bit of everything, and the picture that it needs.
fn timeline(folder: &Path, clip: &Path) -> Result<PathBuf> {
    let picture = process::root().join("docs/images/icons.png");
    let still = folder.join("still.png");
    std::fs::copy(&picture, &still).with_context(|| picture.display().to_string())?;
    let third = FILM_S / 3.0;
    let value = json!({
        "size": [1280, 720], "rate": 30, "background": "#ffffff", "fade_out": 0.5,
        "scenes": [
            { "title": { "text": "Red Hearts", "subtitle": "made by hand" }, "seconds": third, "fade": 0.5 },
            { "still": { "file": still, "zoom": [1.0, 1.2] }, "seconds": third, "fade": 1.0 },
            { "clip": { "file": clip, "repeat": true, "fit": "pad" }, "seconds": third, "fade": 0.5 },
        ],
        "captions": { "words": [
            { "word": "A", "start": 1.0, "end": 1.3 }, { "word": "beating", "start": 1.3, "end": 2.0 },
            { "word": "heart", "start": 2.0, "end": 3.0 },
        ] },
    });
    let path = folder.join("film.json");
    std::fs::write(&path, value.to_string()).with_context(|| path.display().to_string())?;
    Ok(path)
}
