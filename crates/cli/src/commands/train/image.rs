//! `medley train image`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use medley_engine::train::OptimiserKind;
use medley_engine::train::data::{Crop, Dataset, Side, Split, Transform, survey};
use medley_engine::train::image::{
    ClipSettings, ImageSettings, Mixing, Times, base_model, prepare,
};
use serde_json::{Value, json};

use super::{check_memory, checkpoint, drive, failure, mebibytes, run_settings, settings_before};
use crate::app::{device, fresh_seed, store};
use crate::args::{Global, TrainCompute};
use crate::output::{Failure, Outcome, note, print_json, print_now};
use crate::train_args::{PictureArgs, TrainCrop, TrainImageArgs, TrainOptimiser, TrainTimes};

/// How pictures become numbers.
pub fn transform(args: &PictureArgs) -> Transform {
    let [width, height] = args.size;
    Transform {
        crop: match args.crop {
            TrainCrop::Centre => Crop::Centre,
            TrainCrop::Random => Crop::Random,
            TrainCrop::Fit => Crop::Fit,
        },
        flip: args.flip,
        ..Transform::new(width, height)
    }
}

/// The pictures of `--data`, with captions where they are `read`.
pub fn open(data: &Path, read: bool, global: &Global) -> Outcome<Arc<Dataset>> {
    let dataset = match read {
        true => Dataset::open(data),
        false => Dataset::open_pictures(data),
    };
    let dataset = dataset.map_err(|e| failure(e.into()))?;
    tell_bad(&dataset, global);
    Ok(Arc::new(dataset))
}

/// The clips of `--data`.
fn open_films(data: &Path, read: bool, global: &Global) -> Outcome<Arc<Dataset>> {
    let dataset = Dataset::open_films(data, read).map_err(|e| failure(e.into()))?;
    tell_bad(&dataset, global);
    Ok(Arc::new(dataset))
}

/// The share that is held out: none where that would be less than one group.
pub fn hold_out(share: f64, dataset: &Dataset, global: &Global) -> Outcome<f64> {
    let split = Split::new(share).map_err(|e| failure(e.into()))?;
    if share > 0.0 && dataset.side(split, Side::HeldOut).is_err() {
        note(global, "so few pictures: none is held out for evaluation");
        return Ok(0.0);
    }
    Ok(share)
}

fn settings(args: &TrainImageArgs, text: bool, hold_out: f64) -> Outcome<ImageSettings> {
    let steps = args.run.steps.unwrap_or(1000);
    let wrong = |e: &dyn std::fmt::Display| Failure::usage(e.to_string());
    let prediction = match args.prediction.as_str() {
        "flow" => "flow_prediction",
        "v" => "v_prediction",
        other => other,
    };
    let prediction = prediction.parse().map_err(|_| {
        Failure::usage(format!(
            "--prediction {}: flow, epsilon, v or sample are known",
            args.prediction
        ))
    })?;
    let mixing = if prediction == "flow_prediction".parse().map_err(|e| wrong(&e))? {
        let times = match args.times {
            TrainTimes::Uniform => Times::Uniform,
            TrainTimes::LogitNormal => Times::LogitNormal {
                mean: args.times_mean,
                deviation: 1.0,
            },
        };
        Mixing::Flow { times }
    } else {
        Mixing::Diffusion {
            betas: args
                .schedule
                .parse()
                .map_err(|e| Failure::usage(format!("--schedule {}: {e}", args.schedule)))?,
            min_snr: args.min_snr,
        }
    };
    let mut model = match &args.base {
        Some(base) => base_model(base).map_err(failure)?,
        None => json!({
            "patch_size": args.patch,
            "stem_channels": args.stem,
            "hidden_size": args.width,
            "num_hidden_layers": args.layers,
            "num_attention_heads": args.heads,
            "intermediate_size": 4 * args.width,
            "text": if text { "cross" } else { "none" },
            "shared_modulation": true,
        }),
    };
    if let Some(blocks) = args.unshuffle {
        let before = model["pixel_unshuffle"].as_u64().unwrap_or(1).max(1);
        let patch = model["patch_size"].as_u64().unwrap_or(1);
        if args.base.is_some() {
            model["patch_size"] = json!(patch / before * u64::from(blocks));
        }
        model["pixel_unshuffle"] = json!(blocks);
    }
    Ok(ImageSettings {
        model,
        transform: transform(&args.pictures),
        prediction,
        mixing,
        drop_captions: args.drop_captions,
        text_tokens: usize::from(args.text_tokens),
        steps,
        batch: args.pictures.batch,
        accumulate: args.accumulate,
        rate: args.rate,
        warm_up: args.warm_up.unwrap_or((steps / 20).min(500)),
        optimiser: match args.optimiser {
            TrainOptimiser::Adamw => OptimiserKind::AdamW,
            TrainOptimiser::Muon => OptimiserKind::Muon,
        },
        weight_decay: args.weight_decay,
        clip: 1.0,
        ema: (args.ema > 0.0).then_some(args.ema),
        bf16: args.compute == TrainCompute::Bf16,
        recompute: args.recompute,
        hold_out,
        per_group: args.pictures.per_group,
        shuffle: args.pictures.shuffle,
        seed: args.run.seed.unwrap_or_else(fresh_seed),
        guidance: args.guidance,
        prompts: args.prompts.clone(),
        clips: None,
    })
}

/// Reads captions where nothing else is asked for.
const ICON_ENCODER: &str = "icon-encoder";

/// The encoder of captions that is asked for.
pub fn encoder(name: Option<&str>) -> Outcome<Option<PathBuf>> {
    match name {
        Some("none") => Ok(None),
        Some(file) if Path::new(file).is_file() => Ok(Some(file.into())),
        Some(file) => Err(Failure::usage(format!(
            "--encoder {file}: there is no such file; give the GGUF file of a sentence encoder, or none"
        ))),
        None => {
            let bundled = store()?.resolve(ICON_ENCODER).map(|model| model.path);
            let missing = |error| {
                Failure::usage(format!(
                    "--encoder is missing, and the bundled one cannot be used: {error}"
                ))
            };
            bundled.map(Some).map_err(missing)
        }
    }
}

/// What a run learns from, clips where it does.
pub struct Data {
    /// How clips are learned.
    pub clips: Option<ClipSettings>,
    /// Pictures beside them.
    pub stills: Option<Arc<Dataset>>,
}

/// `medley train image`
pub fn run(args: &TrainImageArgs, global: &Global) -> Outcome {
    let data = Data {
        clips: None,
        stills: None,
    };
    learn(args, data, global)
}

/// Trains on pictures, or on clips.
pub fn learn(args: &TrainImageArgs, data: Data, global: &Global) -> Outcome {
    let checkpoint = checkpoint(&args.run)?;
    let before: Option<ImageSettings> =
        serde_json::from_value(settings_before(checkpoint.as_ref())).ok();
    let encoder = match (&args.encoder, &before) {
        // What the run copied into its folder, or the same again.
        (None, Some(_)) => {
            let own = args.run.out.join("encoder.gguf");
            let text = before
                .as_ref()
                .is_some_and(|b| b.model["text"].as_str() != Some("none"));
            match (text, own.is_file()) {
                (false, _) => None,
                (true, true) => Some(own),
                (true, false) => encoder(None)?,
            }
        }
        (name, _) => encoder(name.as_deref())?,
    };
    let dataset = match data.clips {
        Some(_) => open_films(&args.pictures.data, encoder.is_some(), global)?,
        None => open(&args.pictures.data, encoder.is_some(), global)?,
    };
    // A run that goes on keeps its settings; only its end may move.
    let settings = match before {
        Some(before) => ImageSettings {
            steps: args.run.steps.unwrap_or(before.steps),
            ..before
        },
        None => {
            let share = hold_out(args.pictures.hold_out, &dataset, global)?;
            ImageSettings {
                clips: data.clips,
                ..settings(args, encoder.is_some(), share)?
            }
        }
    };
    let device = device(global)?;
    let (mut task, mut trainer, plan) = prepare(
        &settings,
        dataset.clone(),
        data.stills,
        encoder.as_deref(),
        args.base.as_deref(),
        &device,
    )
    .map_err(failure)?;
    let what = match settings.clips {
        Some(_) => "clip",
        None => "picture",
    };
    note(
        global,
        &format!(
            "{} {what}s an epoch; {} parameters, {} tokens a {what}; {} steps of {} {what}s; about {} of memory",
            plan.pictures,
            plan.parameters,
            plan.tokens,
            settings.steps,
            plan.pictures_per_step,
            mebibytes(plan.memory)
        ),
    );
    if device.is_cpu() {
        check_memory(plan.memory)?;
    }
    if args.run.dry_run {
        let plan = json!({
            "pictures_per_epoch": plan.pictures,
            "parameters": plan.parameters,
            "tokens_per_picture": plan.tokens,
            "pictures_per_step": plan.pictures_per_step,
            "memory_bytes": plan.memory,
        });
        let how = (settings.hold_out, &settings.transform);
        return dry_run(&dataset, how, &args.run.out, plan, global);
    }
    drive(
        &mut task,
        &mut trainer,
        &run_settings(&args.run, settings.steps),
        checkpoint.as_ref(),
        (
            settings.seed,
            json!({
                "medium": if settings.clips.is_some() { "video" } else { "image" },
                "training": settings,
            }),
        ),
        global,
    )
}

/// Entries of a dataset that cannot be used.
fn tell_bad(dataset: &Dataset, global: &Global) {
    let bad = dataset.bad();
    for bad in &bad.named {
        note(global, &format!("left out: {}: {}", bad.name, bad.reason));
    }
    if bad.count > bad.named.len() {
        note(global, &format!("left out in all: {}", bad.count));
    }
}

/// Says what was found, shows it on a sheet in the folder `out`, and with `--json` what is planned.
pub fn dry_run(
    dataset: &Dataset,
    (hold_out, transform): (f64, &Transform),
    out: &Path,
    plan: Value,
    global: &Global,
) -> Outcome {
    let split = Split::new(hold_out).map_err(|e| failure(e.into()))?;
    let (report, sheet) = survey(dataset, split, transform, out).map_err(failure)?;
    if global.json {
        return print_json(&json!({ "found": report, "plan": plan, "contact_sheet": sheet }));
    }
    Ok(print_now(&format!("{report}\n"))?)
}
