//! The loop of a run: steps, measurements, evaluation, samples, checkpoints, and the end.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::checkpoint::{CHECKPOINT, Checkpoint, save};
use crate::metrics::Metrics;
use crate::{Error, Objective, Result, StepReport, Trainer};

/// What a run trains, with its data.
pub trait Task: Objective {
    /// What throughput is counted in, such as `tokens`.
    fn unit(&self) -> &'static str;

    /// The batches of the next step, whose mean loss it takes.
    fn batches(&mut self) -> Result<Vec<Self::Batch>>;

    /// Units in a batch.
    fn size(&self, batch: &Self::Batch) -> usize;

    /// What a checkpoint must keep beside the trainer, the place in the data above all.
    fn state(&self) -> Value;

    /// Goes on from what [`Task::state`] gave.
    fn restore(&mut self, state: &Value) -> Result<()>;

    /// Makes one step; gives what it did, and its units. What trains two networks against each other makes its own.
    fn step(&mut self, trainer: &mut Trainer) -> Result<(StepReport, usize)>
    where
        Self: Sized,
    {
        let batches = self.batches()?;
        let units = batches.iter().map(|b| self.size(b)).sum();
        Ok((trainer.step(self, &batches)?, units))
    }

    /// Measurements of the last step by name, beside its loss.
    fn measurements(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// The trainer of a second network that is trained against the first; checkpoints hold both.
    fn opponent(&self) -> Option<&Trainer> {
        None
    }

    /// The same, to be restored.
    fn opponent_mut(&mut self) -> Option<&mut Trainer> {
        None
    }

    /// Measurements on held-out data by name; nothing where there is none.
    fn evaluate(&mut self) -> Result<Vec<(&'static str, f64)>>;

    /// Shows what the model makes at this step, in lines for people; files go below `folder`.
    fn sample(&mut self, step: u64, folder: &Path) -> Result<Vec<String>>;

    /// Name of the file of weights that [`Task::export`] writes.
    fn file(&self) -> &'static str {
        "model.safetensors"
    }

    /// Writes the model with the weights as they are, ready to be used, into `folder`.
    fn export(&mut self, trainer: &Trainer, folder: &Path) -> Result<()>;

    /// What was wrong with the data since the last call, one line each.
    fn complaints(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// How often what happens.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Steps of the whole run.
    pub steps: u64,
    /// Folder of the run and of the model that it makes.
    pub out: PathBuf,
    /// Steps from one evaluation to the next; 0 for none but the last.
    pub evaluate_every: u64,
    /// Steps from one sample to the next; 0 for none.
    pub sample_every: u64,
    /// Steps from one checkpoint to the next; 0 for none but the last.
    pub save_every: u64,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The run goes on after this step.
    Resumed(u64),
    /// A step was made.
    Step {
        /// What it did.
        report: StepReport,
        /// Steps of the whole run.
        steps: u64,
        /// Units per second over the last steps.
        speed: f64,
        /// What throughput is counted in.
        unit: &'static str,
        /// Seconds that are left at this speed.
        left: f64,
    },
    /// Held-out data was looked at.
    Evaluated(u64, Vec<(&'static str, f64)>),
    /// What the model makes.
    Sample(String),
    /// Something was wrong with the data.
    Complaint(String),
    /// A checkpoint was written.
    Saved(u64),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnd {
    /// Steps that were made in all.
    pub steps: u64,
    /// Whether it was cancelled before its last step.
    pub cancelled: bool,
    /// The last evaluation.
    pub evaluation: Vec<(&'static str, f64)>,
    /// Loss of the last step.
    pub loss: f64,
}

/// Weight of a new step in the average of speeds.
const SPEED_SHARE: f64 = 0.1;

/// The checkpoint of a folder, if it has one.
pub fn find_checkpoint(folder: &Path) -> Result<Option<Checkpoint>> {
    let path = folder.join(CHECKPOINT);
    match path.try_exists() {
        Ok(true) => Checkpoint::open(&path).map(Some),
        Ok(false) => Ok(None),
        Err(e) => Err(Error::io(&path, "look for", e)),
    }
}

/// Runs `task` to its last step, or until `cancelled` says so between two steps; then a checkpoint is written and, at
/// the end, the model with averaged weights where there are any. A `checkpoint` is gone on from, and the run gives the
/// very losses that it would have given without a stop. Where a loss is no number the run ends with that error, and the
/// last checkpoint stays.
pub fn run<T: Task>(
    task: &mut T,
    trainer: &mut Trainer,
    settings: &RunSettings,
    checkpoint: Option<&Checkpoint>,
    cancelled: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(Event),
) -> Result<RunEnd> {
    let out = &settings.out;
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, "make", e))?;
    if let Some(checkpoint) = checkpoint {
        checkpoint.restore(trainer)?;
        if let Some(opponent) = task.opponent_mut() {
            checkpoint.restore_opponent(opponent)?;
        }
        task.restore(checkpoint.task())?;
        tell(Event::Resumed(checkpoint.step()));
    }
    let mut metrics = Metrics::open(out, trainer.steps())?;
    let mut end = RunEnd {
        steps: trainer.steps(),
        cancelled: false,
        evaluation: Vec::new(),
        loss: f64::NAN,
    };
    let mut speed = None;
    while trainer.steps() < settings.steps {
        if cancelled() {
            end.cancelled = true;
            break;
        }
        let start = Instant::now();
        let (report, units) = task.step(trainer)?;
        task.complaints()
            .into_iter()
            .for_each(|c| tell(Event::Complaint(c)));
        let now = units as f64 / start.elapsed().as_secs_f64().max(1e-9);
        let mean = speed.map_or(now, |mean: f64| mean + SPEED_SHARE * (now - mean));
        speed = Some(mean);
        let rest = settings.steps.saturating_sub(report.step) as f64;
        tell(Event::Step {
            report,
            steps: settings.steps,
            speed: mean,
            unit: task.unit(),
            left: rest * units as f64 / mean.max(1e-9),
        });
        let per_s = format!("{}_per_s", task.unit());
        let mut measured = vec![
            ("loss", report.loss),
            ("gradient_norm", report.norm),
            ("learning_rate", report.rate),
            (per_s.as_str(), now),
        ];
        measured.extend(task.measurements());
        metrics.write(report.step, &measured)?;
        (end.steps, end.loss) = (report.step, report.loss);
        after_step(task, trainer, settings, &mut metrics, &mut end, tell)?;
    }
    finish(task, trainer, settings, &mut metrics, &mut end, tell)?;
    Ok(end)
}

/// Writes the checkpoint.
fn keep<T: Task>(task: &T, trainer: &Trainer, settings: &RunSettings) -> Result<()> {
    let path = settings.out.join(CHECKPOINT);
    save(&path, trainer, task.opponent(), task.state())
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// What is due after a step that is not the last.
fn after_step<T: Task>(
    task: &mut T,
    trainer: &mut Trainer,
    settings: &RunSettings,
    metrics: &mut Metrics,
    end: &mut RunEnd,
    tell: &mut dyn FnMut(Event),
) -> Result<()> {
    let step = trainer.steps();
    if step >= settings.steps {
        return Ok(());
    }
    if due(step, settings.evaluate_every) {
        end.evaluation = evaluate(task, trainer, metrics, tell)?;
    }
    if due(step, settings.sample_every) {
        sample(task, trainer, settings, tell)?;
    }
    if due(step, settings.save_every) {
        keep(task, trainer, settings)?;
        tell(Event::Saved(step));
    }
    Ok(())
}

/// The end of a run, at its last step or before.
fn finish<T: Task>(
    task: &mut T,
    trainer: &mut Trainer,
    settings: &RunSettings,
    metrics: &mut Metrics,
    end: &mut RunEnd,
    tell: &mut dyn FnMut(Event),
) -> Result<()> {
    keep(task, trainer, settings)?;
    tell(Event::Saved(trainer.steps()));
    if !end.cancelled {
        end.evaluation = evaluate(task, trainer, metrics, tell)?;
        if settings.sample_every > 0 {
            sample(task, trainer, settings, tell)?;
        }
    }
    in_averages(trainer, |trainer| task.export(trainer, &settings.out))
}

fn evaluate<T: Task>(
    task: &mut T,
    trainer: &mut Trainer,
    metrics: &mut Metrics,
    tell: &mut dyn FnMut(Event),
) -> Result<Vec<(&'static str, f64)>> {
    let values = in_averages(trainer, |_| task.evaluate())?;
    if !values.is_empty() {
        metrics.write(trainer.steps(), &values)?;
        tell(Event::Evaluated(trainer.steps(), values.clone()));
    }
    Ok(values)
}

fn sample<T: Task>(
    task: &mut T,
    trainer: &mut Trainer,
    settings: &RunSettings,
    tell: &mut dyn FnMut(Event),
) -> Result<()> {
    let (step, folder) = (trainer.steps(), settings.out.join("samples"));
    let lines = in_averages(trainer, |_| task.sample(step, &folder))?;
    lines.into_iter().for_each(|line| tell(Event::Sample(line)));
    Ok(())
}

/// Runs `f` while the parameters hold the averaged weights, where there are any.
fn in_averages<R>(trainer: &mut Trainer, f: impl FnOnce(&Trainer) -> Result<R>) -> Result<R> {
    trainer.swap_averages()?;
    let result = medley_nn::train::evaluating(|| f(trainer));
    trainer.swap_averages()?;
    result
}
