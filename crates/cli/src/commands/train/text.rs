//! `medley train text`

use medley_engine::Resolved;
use medley_engine::image::recipe_name;
use medley_engine::train::OptimiserKind;
use medley_engine::train::text::data::Kinds;
use medley_engine::train::text::{DecoderShape, LoraSettings, TextPlan, TextSettings, prepare};
use serde_json::json;

use super::{
    check_memory, checkpoint, drive, failure, mebibytes, run_settings, settings_before,
    tell_left_out,
};
use crate::app::{fresh_seed, resolve};
use crate::args::{Global, TrainCompute};
use crate::output::{Failure, Outcome, note, print_json, print_now};
use crate::train_args::{TrainOptimiser, TrainTextArgs};

/// The adapter that is asked for, over a base of this name.
fn lora(args: &TrainTextArgs, base: Option<&Resolved>) -> Option<LoraSettings> {
    let (rank, base) = (args.lora?, base?);
    let name = recipe_name(base);
    Some(LoraSettings {
        rank,
        alpha: args.lora_alpha.unwrap_or(2.0 * rank.max(1) as f64),
        targets: args.lora_targets.clone(),
        base: name.strip_prefix("./").unwrap_or(&name).to_owned(),
    })
}

/// Refuses to go on with another adapter than the run began.
fn same_adapter(args: &TrainTextArgs, before: &TextSettings) -> Outcome {
    let begun = before.lora.as_ref().map(|lora| lora.rank);
    match (args.lora, begun) {
        (Some(rank), Some(begun)) if rank != begun => Err(Failure::usage(format!(
            "--lora {rank}: the run in --out trains an adapter of rank {begun}"
        ))),
        (Some(_), None) => Err(Failure::usage(
            "--lora: the run in --out trains a whole model; another --out starts anew",
        )),
        _ => Ok(()),
    }
}

fn settings(
    args: &TrainTextArgs,
    before: Option<TextSettings>,
    base: Option<&Resolved>,
) -> TextSettings {
    // A run that goes on keeps its settings; only its end may move.
    if let Some(before) = before {
        return TextSettings {
            steps: args.run.steps.unwrap_or(before.steps),
            ..before
        };
    }
    let steps = args.run.steps.unwrap_or(1000);
    TextSettings {
        shape: DecoderShape {
            vocab: args.vocab,
            hidden: args.width,
            intermediate: (args.width * 8).div_ceil(3).next_multiple_of(32),
            layers: args.layers,
            heads: args.heads,
            kv_heads: args.heads,
            context: args.length,
            tied: true,
        },
        steps,
        batch: args.batch,
        accumulate: args.accumulate,
        length: args.length,
        rate: args.rate,
        warm_up: args.warm_up.unwrap_or((steps / 20).min(200)),
        optimiser: match args.optimiser {
            TrainOptimiser::Adamw => OptimiserKind::AdamW,
            TrainOptimiser::Muon => OptimiserKind::Muon,
        },
        weight_decay: args.weight_decay,
        clip: 1.0,
        ema: args.ema,
        bf16: args.compute == TrainCompute::Bf16,
        hold_out: args.hold_out,
        shuffle: args.shuffle,
        seed: args.run.seed.unwrap_or_else(fresh_seed),
        lora: lora(args, base),
    }
}

/// `medley train text`
pub fn run(args: &TrainTextArgs, global: &Global) -> Outcome {
    let checkpoint = checkpoint(&args.run)?;
    let before: Option<TextSettings> =
        serde_json::from_value(settings_before(checkpoint.as_ref())).ok();
    let base = match &args.base {
        Some(name) => Some(resolve(name, global)?),
        None => None,
    };
    if let Some(before) = &before {
        same_adapter(args, before)?;
    }
    let settings = settings(args, before, base.as_ref());
    let base = base.map(|base| base.path);
    let dry = match args.run.dry_run {
        true => Some(tempfile::tempdir()?),
        false => None,
    };
    let out = dry.as_ref().map_or(args.run.out.as_path(), |d| d.path());
    let resume = args.run.resume;
    let (mut task, mut trainer, plan) =
        prepare(&settings, &args.data, base.as_deref(), out, resume).map_err(failure)?;
    tell_plan(&plan, &settings, global);
    check_memory(plan.memory)?;
    if args.run.dry_run {
        return print_plan(&plan, global);
    }
    drive(
        &mut task,
        &mut trainer,
        &run_settings(&args.run, settings.steps),
        checkpoint.as_ref(),
        (
            settings.seed,
            json!({ "medium": "text", "training": settings }),
        ),
        global,
    )
}

fn tell_plan(plan: &TextPlan, settings: &TextSettings, global: &Global) {
    let Kinds {
        files,
        lists,
        lines,
        bytes,
    } = plan.kinds;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    note(
        global,
        &format!(
            "{files} text files, {lines} lines of {lists} lists, {}; {} documents to train on, {} held out",
            mebibytes(bytes),
            plan.documents,
            plan.held_out
        ),
    );
    tell_left_out(plan.bad.names(), plan.bad.count(), global);
    if let Some(lora) = &settings.lora {
        note(
            global,
            &format!(
                "an adapter of rank {} over {} of {} parameters, which stay as they are stored",
                lora.rank, lora.base, plan.frozen
            ),
        );
    }
    note(
        global,
        &format!(
            "{} parameters are trained, a vocabulary of {}; {} steps of {} tokens; about {} of memory",
            plan.parameters,
            plan.vocab,
            settings.steps,
            plan.tokens_per_step,
            mebibytes(plan.memory)
        ),
    );
}

fn print_plan(plan: &TextPlan, global: &Global) -> Outcome {
    if global.json {
        return print_json(&json!({
            "files": plan.kinds.files,
            "lists": plan.kinds.lists,
            "lines": plan.kinds.lines,
            "bytes": plan.kinds.bytes,
            "documents": plan.documents,
            "held_out": plan.held_out,
            "left_out": plan.bad.count(),
            "left_out_names": plan.bad.names(),
            "vocabulary": plan.vocab,
            "parameters": plan.parameters,
            "frozen_parameters": plan.frozen,
            "tokens_per_step": plan.tokens_per_step,
            "memory_bytes": plan.memory,
            "example": plan.example,
        }));
    }
    Ok(print_now(&format!("{}\n", plan.example))?)
}
