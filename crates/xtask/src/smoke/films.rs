//! Clips that are drawn, gone on with, improved, composed and learned; and a tune.

use anyhow::{Context, Result, ensure};
use medley_media::film::read_clip;

use super::Program;

/// A clip of the starter model has its frames, its sound and its recipe, and is made again to the byte.
pub fn draws(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (tune, film, again) = (at("tune.wav"), at("heart.mp4"), at("again.mp4"));
    let written = program.json(&[
        "music",
        "a slow waltz in D minor",
        "--seconds",
        "4",
        "--seed",
        "3",
        "-o",
        &tune,
    ])?;
    ensure!(written["files"][0]["path"] == tune, "the tune: {written}");
    let asked = [
        "video",
        "a beating red heart",
        "--seed",
        "7",
        "--steps",
        "8",
        "--sound",
        &tune,
        "-o",
        &film,
    ];
    let told = program.json(&asked)?;
    let work = &told["work"];
    ensure!(
        work["frames"] == 64 && work["drawn"] == 16 && work["width"] == 128,
        "the clip: {work}"
    );
    let clip = read_clip(film.as_ref(), medley_media::film::film_limits(), None)?;
    ensure!(clip.frames().len() == 64, "{} frames", clip.frames().len());
    ensure!(clip.audio().is_some(), "the clip has no sound");
    let red = |frame: &medley_media::Picture| {
        let pixels = frame.pixels().chunks_exact(3);
        pixels
            .filter(|p| p[0] > 150 && p[1] < 110 && p[2] < 110)
            .count()
    };
    let counts: Vec<usize> = clip.frames().iter().map(red).collect();
    let (least, most) = (counts.iter().min(), counts.iter().max());
    ensure!(least > Some(&500), "no red heart: {counts:?}");
    ensure!(least < most, "nothing moves: {counts:?}");
    program
        .run(&["remake", &film, "--sound", &tune, "-o", &again])?
        .succeeded()?;
    ensure!(
        std::fs::read(&film)? == std::fs::read(&again)?,
        "the clip that was made again is another one"
    );
    refusals(program, &film)
}

/// What no film can be, in one line each.
fn refusals(program: &Program, film: &str) -> Result<()> {
    program.refuses(&["video", "x", "--frames", "17"], 1, &["16 or 32"])?;
    program.refuses(&["video", "x", "-o", "x.mov"], 1, &["mov"])?;
    program.refuses(&["video", "x", "--size", "33x33"], 1, &["33x33", "32x32"])?;
    program.refuses(
        &["video", "--init", film],
        2,
        &["--upscale", "--interpolate"],
    )?;
    program.refuses(
        &["video", "--timeline", "nothing.json"],
        1,
        &["nothing.json"],
    )
}
