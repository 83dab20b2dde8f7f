//! `medley train music`

use medley_engine::train::music::{MusicPlan, MusicSettings, prepare};
use medley_engine::train::text::DecoderShape;
use serde_json::json;

use super::{
    check_memory, checkpoint, drive, failure, mebibytes, run_settings, settings_before,
    tell_left_out,
};
use crate::app::fresh_seed;
use crate::args::{Global, TrainCompute};
use crate::output::{Outcome, note, print_json, print_now};
use crate::train_args::TrainMusicArgs;

fn settings(args: &TrainMusicArgs, before: Option<MusicSettings>) -> MusicSettings {
    // A run that goes on keeps its settings; only its end may move.
    if let Some(before) = before {
        return MusicSettings {
            steps: args.run.steps.unwrap_or(before.steps),
            ..before
        };
    }
    let steps = args.run.steps.unwrap_or(1000);
    MusicSettings {
        shape: DecoderShape {
            // The vocabulary is that of notes, whatever stands here.
            vocab: 1,
            hidden: args.width,
            intermediate: (args.width * 8).div_ceil(3).next_multiple_of(32),
            layers: args.layers,
            heads: args.heads,
            kv_heads: args.heads,
            context: args.context,
            tied: true,
        },
        steps,
        batch: args.batch,
        length: args.length,
        rate: args.rate,
        warm_up: args.warm_up.unwrap_or((steps / 20).min(200)),
        weight_decay: args.weight_decay,
        ema: args.ema,
        bf16: args.compute == TrainCompute::Bf16,
        hold_out: args.hold_out,
        seed: args.run.seed.unwrap_or_else(fresh_seed),
    }
}

/// `medley train music`
pub fn run(args: &TrainMusicArgs, global: &Global) -> Outcome {
    let checkpoint = checkpoint(&args.run)?;
    let before = serde_json::from_value(settings_before(checkpoint.as_ref())).ok();
    let settings = settings(args, before);
    let (mut task, mut trainer, plan) = prepare(&settings, &args.data).map_err(failure)?;
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
            json!({ "medium": "music", "training": settings }),
        ),
        global,
    )
}

fn tell_plan(plan: &MusicPlan, settings: &MusicSettings, global: &Global) {
    note(
        global,
        &format!(
            "{} files; {} tunes of {} tokens to train on, {} held out",
            plan.files, plan.tunes, plan.tokens, plan.held_out
        ),
    );
    tell_left_out(&plan.names, plan.left_out, global);
    note(
        global,
        &format!(
            "{} parameters are trained; {} steps of {} tokens; about {} of memory",
            plan.parameters,
            settings.steps,
            plan.tokens_per_step,
            mebibytes(plan.memory)
        ),
    );
}

fn print_plan(plan: &MusicPlan, global: &Global) -> Outcome {
    if global.json {
        return print_json(&json!({
            "files": plan.files,
            "tunes": plan.tunes,
            "held_out": plan.held_out,
            "left_out": plan.left_out,
            "left_out_names": plan.names,
            "tokens": plan.tokens,
            "parameters": plan.parameters,
            "tokens_per_step": plan.tokens_per_step,
            "memory_bytes": plan.memory,
        }));
    }
    Ok(print_now(&format!(
        "{} tunes, {} parameters\n",
        plan.tunes, plan.parameters
    ))?)
}
