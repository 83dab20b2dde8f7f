//! `medley train upscaler`

use medley_engine::train::data::Transform;
use medley_engine::train::scorer::Perceptual;
use medley_engine::train::upscaler::{UpscalerSettings, prepare};
use serde_json::json;

use super::image::{dry_run, hold_out, open};
use super::{check_memory, checkpoint, drive, failure, mebibytes, run_settings, settings_before};
use crate::app::{fresh_seed, resolve};
use crate::args::Global;
use crate::output::{Failure, Outcome, note};
use crate::train_args::TrainUpscalerArgs;

fn settings(args: &TrainUpscalerArgs, hold_out: f64) -> UpscalerSettings {
    let steps = args.run.steps.unwrap_or(1000);
    let [width, height] = args.size;
    UpscalerSettings {
        scale: args.scale,
        features: args.features,
        blocks: args.blocks,
        growth: args.growth,
        transform: Transform {
            flip: args.flip,
            ..Transform::new(width, height)
        },
        patch: args.patch,
        noise: args.noise,
        adversarial: args.adversarial,
        perceptual: match args.perceptual {
            Some(_) => args.perceptual_weight,
            None => 0.0,
        },
        penalty: args.penalty,
        steps,
        batch: args.batch,
        rate: args.rate,
        warm_up: args.warm_up.unwrap_or((steps / 20).min(500)),
        ema: args.ema,
        hold_out,
        per_group: args.per_group,
        shuffle: args.shuffle,
        seed: args.run.seed.unwrap_or_else(fresh_seed),
    }
}

/// `medley train upscaler`
pub fn run(args: &TrainUpscalerArgs, global: &Global) -> Outcome {
    let checkpoint = checkpoint(&args.run)?;
    let before: Option<UpscalerSettings> =
        serde_json::from_value(settings_before(checkpoint.as_ref())).ok();
    let dataset = open(&args.data, false, global)?;
    // A run that goes on keeps its settings; only its end may move.
    let settings = match before {
        Some(before) => UpscalerSettings {
            steps: args.run.steps.unwrap_or(before.steps),
            ..before
        },
        None => settings(args, hold_out(args.hold_out, &dataset, global)?),
    };
    let (mut task, mut trainer, plan) =
        prepare(&settings, dataset.clone(), args.base.as_deref()).map_err(failure)?;
    match &args.perceptual {
        Some(name) => {
            let network = Perceptual::open(&resolve(name, global)?.path).map_err(failure)?;
            task = task.with_perceptual(Box::new(network));
        }
        None if settings.perceptual > 0.0 => {
            let missing =
                "--perceptual is missing: the run began with a scorer, which it needs to go on";
            return Err(Failure::usage(missing));
        }
        None => {}
    }
    note(
        global,
        &format!(
            "{} pictures an epoch; {} parameters, {} of the discriminator; {} steps of {} parts; about {} of memory",
            plan.pictures,
            plan.parameters,
            plan.discriminator,
            settings.steps,
            settings.batch,
            mebibytes(plan.memory)
        ),
    );
    check_memory(plan.memory)?;
    if args.run.dry_run {
        let plan = json!({
            "pictures_per_epoch": plan.pictures,
            "parameters": plan.parameters,
            "discriminator_parameters": plan.discriminator,
            "parts_per_step": settings.batch,
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
            json!({ "medium": "image", "training": settings }),
        ),
        global,
    )
}
