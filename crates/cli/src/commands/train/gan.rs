//! `medley train gan`

use std::path::PathBuf;

use medley_engine::train::adversarial::{AdversarialLoss, Augmentation};
use medley_engine::train::gan::{GanSettings, base_model, prepare};
use serde_json::json;

use super::image::{dry_run, encoder, hold_out, open, transform};
use super::{check_memory, checkpoint, drive, failure, mebibytes, run_settings, settings_before};
use crate::app::fresh_seed;
use crate::args::Global;
use crate::output::{Outcome, note};
use crate::train_args::{TrainAdversarial, TrainGanArgs};

fn settings(args: &TrainGanArgs, text: bool, hold_out: f64) -> Outcome<GanSettings> {
    let model = match &args.base {
        Some(base) => base_model(base).map_err(failure)?,
        None => json!({
            "latent": args.latent,
            "style": args.latent,
            "mapping_layers": args.mapping_layers,
            // A quarter of the channels at the full side, all of them at a quarter of it.
            "channel_base": args.width * args.pictures.size[0] as usize / 4,
            "channel_max": args.width,
        }),
    };
    Ok(GanSettings {
        model,
        transform: transform(&args.pictures),
        text,
        text_tokens: usize::from(args.text_tokens),
        steps: args.run.steps.unwrap_or(1000),
        batch: args.pictures.batch,
        rate: args.rate,
        loss: match args.loss {
            TrainAdversarial::Logistic => AdversarialLoss::Logistic,
            TrainAdversarial::Hinge => AdversarialLoss::Hinge,
        },
        penalty: args.penalty,
        penalty_every: args.penalty_every,
        augmentation: args
            .distort
            .map_or(Augmentation::Adaptive, Augmentation::Fixed),
        ema: args.ema,
        truncation: args.truncation,
        hold_out,
        per_group: args.pictures.per_group,
        shuffle: args.pictures.shuffle,
        seed: args.run.seed.unwrap_or_else(fresh_seed),
        prompts: args.prompts.clone(),
    })
}

/// The encoder of a run: what it copied into its folder, or what is asked for.
fn encoder_of(args: &TrainGanArgs, before: Option<&GanSettings>) -> Outcome<Option<PathBuf>> {
    let own = args.run.out.join("encoder.gguf");
    match (&args.encoder, before) {
        (None, Some(before)) if !before.text => Ok(None),
        (None, Some(_)) if own.is_file() => Ok(Some(own)),
        (name, _) => encoder(name.as_deref()),
    }
}

/// `medley train gan`
pub fn run(args: &TrainGanArgs, global: &Global) -> Outcome {
    let checkpoint = checkpoint(&args.run)?;
    let before: Option<GanSettings> =
        serde_json::from_value(settings_before(checkpoint.as_ref())).ok();
    let encoder = encoder_of(args, before.as_ref())?;
    let dataset = open(&args.pictures.data, encoder.is_some(), global)?;
    // A run that goes on keeps its settings; only its end may move.
    let settings = match before {
        Some(before) => GanSettings {
            steps: args.run.steps.unwrap_or(before.steps),
            ..before
        },
        None => {
            let share = hold_out(args.pictures.hold_out, &dataset, global)?;
            settings(args, encoder.is_some(), share)?
        }
    };
    let (mut task, mut trainer, plan) = prepare(
        &settings,
        dataset.clone(),
        encoder.as_deref(),
        args.base.as_deref(),
    )
    .map_err(failure)?;
    note(
        global,
        &format!(
            "{} pictures an epoch; {} parameters of the generator, {} of the discriminator; {} steps of {} pictures; about {} of memory",
            plan.pictures,
            plan.generator,
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
            "generator_parameters": plan.generator,
            "discriminator_parameters": plan.discriminator,
            "pictures_per_step": settings.batch,
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
