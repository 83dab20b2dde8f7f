//! `medley bench fidelity`

use std::path::Path;
use std::sync::Arc;

use medley_engine::fidelity::{
    ClipFidelity, Fidelity, FidelityError, FidelitySettings, Row, measure, measure_clips, ranks,
};
use medley_engine::image::{self, ImageConfig};
use medley_engine::train::data::Dataset;
use medley_engine::train::scorer::Scorer;
use medley_engine::{PipelineError, Resolved, train, video};
use medley_types::{ErrorCode, ImageRequest, VideoRequest};
use serde_json::{Value, json};

use super::image::{Files, load};
use crate::app::{Bar, DEFAULT_IMAGE, cancel_token, resolve, store};
use crate::args::Global;
use crate::bench_args::{BenchFidelityArgs, BenchSubjectsArgs};
use crate::output::{Failure, Outcome, peak_rss, print_json, print_now};

/// Share of groups that the trainers hold out where nothing is said.
const HOLD_OUT: f64 = 0.02;

fn failure(error: FidelityError) -> Failure {
    match error {
        FidelityError::Pipeline(PipelineError::Cancelled) => Failure::Interrupted,
        error => Failure::Failed(error.report()),
    }
}

fn trained(error: train::Error) -> Failure {
    let report = error.report();
    match report.code == ErrorCode::InvalidRequest.as_str() {
        true => Failure::Usage(report),
        false => Failure::Failed(report),
    }
}

/// What the model's training held out, as its trainer wrote it down.
fn held_out(model: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(model.join("training.json")).ok()?;
    let json: Value = serde_json::from_str(&text).ok()?;
    json["training"]["hold_out"].as_f64()
}

/// `medley bench subjects`
pub fn subjects(args: &BenchSubjectsArgs, global: &Global) -> Outcome {
    let scorer = Scorer::open(&resolve(&args.scorer, global)?.path).map_err(trained)?;
    let text = std::fs::read_to_string(&args.file).map_err(|e| Failure::file(&args.file, e))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let prompts: Vec<String> = lines.map(str::to_owned).collect();
    if prompts.is_empty() {
        return Err(Failure::file(&args.file, "it has no captions"));
    }
    let model = resolve(args.model.as_deref().unwrap_or(DEFAULT_IMAGE), global)?;
    let config = image::read_config(&model.path)?;
    let request = ImageRequest {
        model: image::recipe_name(&model),
        prompt: prompts[0].clone(),
        upscale: Some(1),
        seed: args.seed,
        count: 1,
        ..ImageRequest::default()
    };
    let completed = config.complete(&request)?;
    let generator = load(&model, config, &completed, &Files::default(), global)?;
    let mut bar = Bar::new(global);
    let found = ranks(
        generator.as_ref(),
        &request,
        &prompts,
        &scorer,
        args.count,
        &cancel_token(),
        &mut |done, total| bar.show_steps("draw", done, total),
    );
    bar.close();
    let ranks = found.map_err(failure)?;
    if global.json {
        let each = prompts.iter().zip(&ranks);
        let each: Vec<Value> = each
            .map(|(caption, rank)| json!({ "caption": caption, "rank": rank }))
            .collect();
        return print_json(&json!({ "model": request.model, "captions": each }));
    }
    let lines: Vec<String> = prompts
        .iter()
        .zip(&ranks)
        .map(|(caption, rank)| format!("{rank:8.1} {caption}\n"))
        .collect();
    Ok(print_now(&lines.concat())?)
}

/// `medley bench fidelity`
pub fn run(args: &BenchFidelityArgs, global: &Global) -> Outcome {
    if let Some(sheet) = &args.sheet {
        image::check_output(sheet, &ImageRequest::default())?;
    }
    let scorer = Scorer::open(&resolve(&args.scorer, global)?.path).map_err(trained)?;
    let name = args.model.as_deref().unwrap_or(DEFAULT_IMAGE);
    let model = resolve(name, global)?;
    let config = image::read_config(&model.path)?;
    if config.clip.is_none() {
        image::check_medium(&store()?, name)?;
    }
    let hold_out = args
        .hold_out
        .or_else(|| held_out(&model.path))
        .unwrap_or(HOLD_OUT);
    if !(hold_out > 0.0 && hold_out < 1.0) {
        return Err(Failure::usage(format!(
            "--hold-out {hold_out}: pictures that the model was not trained on are needed, a share above 0 and below 1"
        )));
    }
    if config.clip.is_some() {
        return clips(args, &model, config, (&scorer, hold_out), global);
    }
    let dataset = Dataset::open(&args.data).map_err(|e| trained(e.into()))?;
    let reads = config.has_prompt();
    let request = ImageRequest {
        model: image::recipe_name(&model),
        prompt: if reads {
            "a caption".into()
        } else {
            String::new()
        },
        steps: args.steps,
        guidance: args.guidance,
        sampler: args.sampler.clone(),
        truncation: args.truncation,
        upscale: Some(1),
        seed: args.seed,
        count: 1,
        ..ImageRequest::default()
    };
    let request = config.complete(&request)?;
    let generator = load(&model, config, &request, &Files::default(), global)?;
    let settings = FidelitySettings {
        count: args.count as usize,
        seed: args.seed,
        hold_out,
    };
    let mut bar = Bar::new(global);
    let found = measure(
        generator.as_ref(),
        &request,
        &Arc::new(dataset),
        &scorer,
        &settings,
        &cancel_token(),
        &mut |done, total| bar.show_steps("draw", done, total),
    );
    bar.close();
    let (fidelity, sheet) = found.map_err(failure)?;
    if let Some(path) = &args.sheet {
        let format = medley_engine::image::check_output(path, &request)?;
        image::write_picture(path, format, &sheet, None)?;
    }
    if global.json {
        return print_json(&json!({
            "model": request.model,
            "steps": request.steps,
            "guidance": request.guidance,
            "truncation": request.truncation,
            "sampler": request.sampler,
            "seed": args.seed,
            "count": args.count,
            "hold_out": hold_out,
            "rows": fidelity.rows,
            "copies": fidelity.copies,
            "sheet": args.sheet,
            "peak_rss_bytes": peak_rss(),
        }));
    }
    Ok(print_now(&table(&fidelity))?)
}

/// The same for a model of clips.
fn clips(
    args: &BenchFidelityArgs,
    model: &Resolved,
    config: ImageConfig,
    (scorer, hold_out): (&Scorer, f64),
    global: &Global,
) -> Outcome {
    let dataset = Dataset::open_films(&args.data, true).map_err(|e| trained(e.into()))?;
    let request = VideoRequest {
        model: image::recipe_name(model),
        prompt: "a caption".into(),
        steps: args.steps,
        guidance: args.guidance,
        sampler: args.sampler.clone(),
        upscale: Some(1),
        seed: args.seed,
        ..VideoRequest::default()
    };
    let request = video::complete(&config, &request)?;
    let generator = super::video::load(model, config, &request, global)?;
    let settings = FidelitySettings {
        count: args.count as usize,
        seed: args.seed,
        hold_out,
    };
    let mut bar = Bar::new(global);
    let found = measure_clips(
        &generator,
        &request,
        &Arc::new(dataset),
        scorer,
        &settings,
        &cancel_token(),
        &mut |done, total| bar.show_steps("draw", done, total),
    );
    bar.close();
    let (fidelity, sheet) = found.map_err(failure)?;
    if let Some(path) = &args.sheet {
        let format = image::check_output(path, &ImageRequest::default())?;
        image::write_picture(path, format, &sheet, None)?;
    }
    if global.json {
        return print_json(&json!({
            "model": request.model,
            "steps": request.steps,
            "guidance": request.guidance,
            "sampler": request.sampler,
            "seed": args.seed,
            "count": args.count,
            "hold_out": hold_out,
            "rows": fidelity.rows,
            "motion": fidelity.motion,
            "copies": fidelity.copies,
            "sheet": args.sheet,
            "peak_rss_bytes": peak_rss(),
        }));
    }
    Ok(print_now(&clip_table(&fidelity))?)
}

/// The measurements of clips for people.
fn clip_table(fidelity: &ClipFidelity) -> String {
    let mut text = rows(&fidelity.rows);
    text += &format!(
        "\n{:<52} {:>8} {:>8} {:>12} {:>9}\n",
        "", "clips", "change", "consistency", "loop gap"
    );
    for row in &fidelity.motion {
        text += &format!(
            "{:<52} {:>8} {:>8.3} {:>12.2} {:>9.2}\n",
            row.name, row.clips, row.change, row.consistency, row.loop_gap
        );
    }
    let copies = &fidelity.copies;
    text += &format!(
        "\nnearest of {} frames that were trained on: least, 5 %, 25 %, median\n",
        copies.among
    );
    for (name, s) in [("drawn", copies.drawn), ("held-out", copies.held_out)] {
        text += &format!(
            "  {name:<9} {:.3} {:.3} {:.3} {:.3}\n",
            s.least, s.p5, s.p25, s.median
        );
    }
    text += &format!(
        "drawn clips that are nearer than all but 5 % of held-out ones: {:.1} %\n",
        100.0 * copies.nearer
    );
    text
}

/// The measurements for people.
fn table(fidelity: &Fidelity) -> String {
    let mut text = rows(&fidelity.rows);
    let copies = &fidelity.copies;
    text += &format!(
        "\nnearest of {} pictures that were trained on: least, 5 %, 25 %, median\n",
        copies.among
    );
    for (name, near) in [("drawn", copies.drawn), ("held-out", copies.held_out)] {
        for (what, s) in [("pixels", near.pixels), ("features", near.features)] {
            text += &format!(
                "  {name:<9} {what:<9} {:.3} {:.3} {:.3} {:.3}\n",
                s.least, s.p5, s.p25, s.median
            );
        }
    }
    text += &format!(
        "drawn pictures that are nearer than all but 5 % of held-out ones: {:.1} % by pixels, {:.1} % by features\n",
        100.0 * copies.nearer_by_pixels,
        100.0 * copies.nearer_by_features
    );
    text
}

/// Sets of pictures, a line each.
fn rows(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<52} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>6} {:>10}\n",
        "", "pictures", "against", "Frechet", "kernel", "top 1", "top 5", "among", "similarity"
    );
    let number = |value: Option<f64>, digits: usize| {
        value.map_or(String::new(), |value| format!("{value:.digits$}"))
    };
    for row in rows {
        let against = row.against.map_or(String::new(), |n| n.to_string());
        let captions = row.captions.as_ref();
        let percent =
            |share: Option<f64>| share.map_or(String::new(), |x| format!("{:.1} %", 100.0 * x));
        text += &format!(
            "{:<52} {:>8} {against:>8} {:>9} {:>9} {:>7} {:>7} {:>6} {:>10}\n",
            row.name,
            row.pictures,
            number(row.frechet, 3),
            number(row.kernel, 5),
            percent(captions.map(|c| c.top_1)),
            percent(captions.map(|c| c.top_5)),
            number(captions.map(|c| c.among), 0),
            number(captions.map(|c| c.similarity), 1),
        );
    }
    text
}
