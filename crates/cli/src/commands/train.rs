use std::time::{Duration, Instant};

use medley_engine::train::text::data::Kinds;
use medley_engine::train::text::{DecoderShape, TextPlan, TextSettings, prepare};
use medley_engine::train::{self, Event, OptimiserKind, RunSettings};
use medley_types::{ErrorCode, ErrorReport};
use serde_json::json;

use crate::app::{cancel_token, fresh_seed, model_path};
use crate::args::{Global, TrainCompute};
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};
use crate::train_args::{TrainCommand, TrainOptimiser, TrainTextArgs};

/// `medley train`
pub fn run(command: TrainCommand, global: &Global) -> Outcome {
    match command {
        TrainCommand::Text(args) => text(&args, global),
    }
}

fn failure(error: train::Error) -> Failure {
    let code = match &error {
        train::Error::Io { .. } | train::Error::Text { .. } | train::Error::Format(_) => {
            ErrorCode::File
        }
        _ => ErrorCode::InvalidRequest,
    };
    match error {
        train::Error::Setting(_) => Failure::Usage(ErrorReport::new(code, error.to_string())),
        _ => Failure::Failed(ErrorReport::new(code, error.to_string())),
    }
}

fn settings(args: &TrainTextArgs, before: Option<TextSettings>) -> TextSettings {
    // A run that goes on keeps its settings; only its end may move.
    if let Some(before) = before {
        return TextSettings {
            steps: args.steps.unwrap_or(before.steps),
            ..before
        };
    }
    let steps = args.steps.unwrap_or(1000);
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
        seed: args.seed.unwrap_or_else(fresh_seed),
    }
}

fn text(args: &TrainTextArgs, global: &Global) -> Outcome {
    let checkpoint = train::run::find_checkpoint(&args.out).map_err(failure)?;
    if checkpoint.is_some() && !args.resume {
        return Err(Failure::usage(format!(
            "--out {}: a run was begun there; --resume goes on with it, another folder starts anew",
            args.out.display()
        )));
    }
    if checkpoint.is_none() && args.resume {
        return Err(Failure::usage(format!(
            "--resume: {} holds no checkpoint",
            args.out.display()
        )));
    }
    let before = match &checkpoint {
        Some(c) => serde_json::from_value(c.task()["settings"].clone()).ok(),
        None => None,
    };
    let settings = settings(args, before);
    let base = match &args.base {
        Some(name) => Some(model_path(name, global)?),
        None => None,
    };
    let dry = match args.dry_run {
        true => Some(tempfile::tempdir()?),
        false => None,
    };
    let out = dry.as_ref().map_or(args.out.as_path(), |d| d.path());
    let (mut task, mut trainer, plan) =
        prepare(&settings, &args.data, base.as_deref(), out, args.resume).map_err(failure)?;
    tell_plan(&plan, &settings, global);
    if args.dry_run {
        return print_plan(&plan, global);
    }
    let run = RunSettings {
        steps: settings.steps,
        out: args.out.clone(),
        evaluate_every: args.evaluate_every,
        sample_every: args.sample_every,
        save_every: args.save_every,
    };
    let cancel = cancel_token();
    let start = Instant::now();
    let mut last = None;
    let end = train::run::run(
        &mut task,
        &mut trainer,
        &run,
        checkpoint.as_ref(),
        &|| cancel.is_cancelled(),
        &mut |event| tell(&event, &mut last, global),
    )
    .map_err(failure)?;
    if end.cancelled {
        note(
            global,
            &format!(
                "stopped after step {}; --resume goes on from there",
                end.steps
            ),
        );
        return Err(Failure::Interrupted);
    }
    let file = args.out.join("model.safetensors");
    if global.json {
        let evaluation: serde_json::Map<String, serde_json::Value> = end
            .evaluation
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        return print_json(&json!({
            "files": [{ "path": file, "mime": "application/octet-stream" }],
            "seed": settings.seed,
            "model": args.out,
            "recipe": { "medium": "text", "training": settings },
            "timings": { "seconds": start.elapsed().as_secs_f64() },
            "peak_rss_bytes": peak_rss(),
            "steps": end.steps,
            "loss": end.loss,
            "evaluation": evaluation,
        }));
    }
    Ok(print_now(&format!("{}\n", file.display()))?)
}

fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
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
    for name in plan.bad.names() {
        note(global, &format!("left out: {name}"));
    }
    if plan.bad.count() > plan.bad.names().len() {
        note(global, &format!("left out in all: {}", plan.bad.count()));
    }
    note(
        global,
        &format!(
            "{} parameters, a vocabulary of {}; {} steps of {} tokens; about {} of memory",
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
            "tokens_per_step": plan.tokens_per_step,
            "memory_bytes": plan.memory,
            "example": plan.example,
        }));
    }
    Ok(print_now(&format!("{}\n", plan.example))?)
}

/// A line for what happens; steps at most every two seconds.
fn tell(event: &Event, last: &mut Option<Instant>, global: &Global) {
    match event {
        Event::Resumed(step) => note(global, &format!("goes on after step {step}")),
        Event::Step {
            report,
            steps,
            speed,
            unit,
            left,
        } => {
            let due = last.is_none_or(|at| at.elapsed() > Duration::from_secs(2));
            if due || report.step == *steps {
                *last = Some(Instant::now());
                note(
                    global,
                    &format!(
                        "step {}/{steps}  loss {:.4}  {speed:.0} {unit}/s  {} left",
                        report.step,
                        report.loss,
                        duration(*left)
                    ),
                );
            }
        }
        Event::Evaluated(step, values) => {
            let values: Vec<String> = values
                .iter()
                .map(|(name, value)| format!("{} {value:.4}", name.replace('_', " ")))
                .collect();
            note(global, &format!("step {step}: {}", values.join(", ")));
        }
        Event::Sample(line) => note(global, line),
        Event::Complaint(line) => note(global, &format!("left out: {line}")),
        _ => {}
    }
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
