//! `medley train`

mod gan;
mod image;
mod music;
mod scorer;
mod text;
mod upscaler;
mod video;

use std::time::{Duration, Instant};

use medley_engine::train::checkpoint::Checkpoint;
use medley_engine::train::{self, Event, RunSettings, Task, Trainer};
use medley_types::ErrorCode;
use serde_json::{Value, json};

use crate::app::cancel_token;
use crate::args::Global;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};
use crate::train_args::{RunArgs, TrainCommand};

/// `medley train`
pub fn run(command: TrainCommand, global: &Global) -> Outcome {
    let on_gpu = matches!(command, TrainCommand::Image(_) | TrainCommand::Video(_));
    if global.device != "cpu" && !on_gpu {
        return Err(Failure::usage(format!(
            "--device {}: models of pictures and clips are trained there; all others on the cpu",
            global.device
        )));
    }
    match command {
        TrainCommand::Text(args) => text::run(&args, global),
        TrainCommand::Image(args) => image::run(&args, global),
        TrainCommand::Music(args) => music::run(&args, global),
        TrainCommand::Video(args) => video::run(&args, global),
        TrainCommand::Gan(args) => gan::run(&args, global),
        TrainCommand::Scorer(args) => scorer::run(&args, global),
        TrainCommand::Upscaler(args) => upscaler::run(&args, global),
    }
}

fn failure(error: train::Error) -> Failure {
    let report = error.report();
    match &error {
        train::Error::Setting(_) => Failure::Usage(report),
        _ if report.code == ErrorCode::InvalidRequest.as_str() => Failure::Usage(report),
        _ => Failure::Failed(report),
    }
}

/// The checkpoint that a run goes on from; a run that was begun is gone on with only where that is asked for.
fn checkpoint(args: &RunArgs) -> Outcome<Option<Checkpoint>> {
    let checkpoint = train::run::find_checkpoint(&args.out).map_err(failure)?;
    match (&checkpoint, args.resume) {
        (Some(_), false) => Err(Failure::usage(format!(
            "--out {}: a run was begun there; --resume goes on with it, another folder starts anew",
            args.out.display()
        ))),
        (None, true) => Err(Failure::usage(format!(
            "--resume: {} holds no checkpoint",
            args.out.display()
        ))),
        _ => Ok(checkpoint),
    }
}

/// What a checkpoint says of the settings that it was made with; null without one.
fn settings_before(checkpoint: Option<&Checkpoint>) -> Value {
    checkpoint.map_or(Value::Null, |c| c.task()["settings"].clone())
}

/// Runs a task to its end and says what came out. `recipe` is what it was asked for.
fn drive<T: Task>(
    task: &mut T,
    trainer: &mut Trainer,
    settings: &RunSettings,
    checkpoint: Option<&Checkpoint>,
    (seed, recipe): (u64, Value),
    global: &Global,
) -> Outcome {
    let cancel = cancel_token();
    let start = Instant::now();
    let mut last = None;
    let end = train::run::run(
        task,
        trainer,
        settings,
        checkpoint,
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
    let file = settings.out.join(task.file());
    if !global.json {
        return Ok(print_now(&format!("{}\n", file.display()))?);
    }
    let evaluation: serde_json::Map<String, Value> = end
        .evaluation
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    print_json(&json!({
        "files": [{ "path": file, "mime": "application/octet-stream" }],
        "seed": seed,
        "model": settings.out,
        "recipe": recipe,
        "timings": { "seconds": start.elapsed().as_secs_f64() },
        "peak_rss_bytes": peak_rss(),
        "steps": end.steps,
        "loss": end.loss,
        "evaluation": evaluation,
    }))
}

fn run_settings(args: &RunArgs, steps: u64) -> RunSettings {
    RunSettings {
        steps,
        out: args.out.clone(),
        evaluate_every: args.evaluate_every,
        sample_every: args.sample_every,
        save_every: args.save_every,
    }
}

/// Refuses a run that takes more memory than there is.
fn check_memory(bytes: usize) -> Outcome {
    let free = usize::try_from(medley_engine::available_memory()).unwrap_or(usize::MAX);
    if free == 0 || bytes <= free {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the run takes about {} of memory and {} are free; a smaller --batch or model needs less",
        mebibytes(bytes),
        mebibytes(free)
    )))
}

/// Names what of the data cannot be used, and how much there is in all where not everything is named.
fn tell_left_out(names: &[String], count: usize, global: &Global) {
    for name in names {
        note(global, &format!("left out: {name}"));
    }
    if count > names.len() {
        note(global, &format!("left out in all: {count}"));
    }
}

fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
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
