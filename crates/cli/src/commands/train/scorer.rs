//! `medley train scorer`

use medley_engine::train::scorer::{ScorerPlan, ScorerSettings, prepare};
use serde_json::json;

use super::image::{open, transform};
use super::{check_memory, checkpoint, drive, failure, mebibytes, run_settings, settings_before};
use crate::app::fresh_seed;
use crate::args::{Global, TrainCompute};
use crate::output::{Outcome, note, print_json, print_now};
use crate::train_args::TrainScorerArgs;

fn settings(args: &TrainScorerArgs, before: Option<ScorerSettings>) -> ScorerSettings {
    // A run that goes on keeps its settings; only its end may move.
    if let Some(before) = before {
        return ScorerSettings {
            steps: args.run.steps.unwrap_or(before.steps),
            ..before
        };
    }
    let steps = args.run.steps.unwrap_or(1000);
    ScorerSettings {
        transform: transform(&args.pictures),
        widths: args.widths.clone(),
        blocks: args.blocks.clone(),
        vocab: args.vocab,
        text_tokens: usize::from(args.text_tokens),
        text_width: args.text_width,
        text_layers: args.text_layers,
        embed: args.embed,
        steps,
        batch: args.pictures.batch,
        rate: args.rate,
        warm_up: args.warm_up.unwrap_or((steps / 20).min(200)),
        weight_decay: args.weight_decay,
        clip: 1.0,
        ema: (args.ema > 0.0).then_some(args.ema),
        bf16: args.compute == TrainCompute::Bf16,
        hold_out: args.pictures.hold_out,
        per_group: args.pictures.per_group,
        shuffle: args.pictures.shuffle,
        augment: args.augment,
        seed: args.run.seed.unwrap_or_else(fresh_seed),
    }
}

/// `medley train scorer`
pub fn run(args: &TrainScorerArgs, global: &Global) -> Outcome {
    let checkpoint = checkpoint(&args.run)?;
    let before = serde_json::from_value(settings_before(checkpoint.as_ref())).ok();
    let settings = settings(args, before);
    let dataset = open(&args.pictures.data, true, global)?;
    let dry = match args.run.dry_run {
        true => Some(tempfile::tempdir()?),
        false => None,
    };
    let out = dry.as_ref().map_or(args.run.out.as_path(), |d| d.path());
    let (mut task, mut trainer, plan) =
        prepare(&settings, dataset, out, args.run.resume).map_err(failure)?;
    note(
        global,
        &format!(
            "{} pictures an epoch; {} parameters, a vocabulary of {}; {} steps of {} pictures; {} held out ones to tell apart; about {} of memory",
            plan.pictures,
            plan.parameters,
            plan.vocab,
            settings.steps,
            settings.batch,
            plan.held_out,
            mebibytes(plan.memory)
        ),
    );
    check_memory(plan.memory)?;
    if args.run.dry_run {
        return print_plan(plan, global);
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

fn print_plan(plan: ScorerPlan, global: &Global) -> Outcome {
    if global.json {
        return print_json(&json!({
            "pictures_per_epoch": plan.pictures,
            "held_out": plan.held_out,
            "vocabulary": plan.vocab,
            "parameters": plan.parameters,
            "memory_bytes": plan.memory,
        }));
    }
    Ok(print_now(&format!(
        "{} pictures, {} parameters\n",
        plan.pictures, plan.parameters
    ))?)
}
