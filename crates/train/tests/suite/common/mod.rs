//! Little pictures and datasets for the tests.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use medley_media::{Format, Origin, Picture, encode};
use medley_nn::train::Compute;
use medley_train::checkpoint::Checkpoint;
use medley_train::data::{BadList, DataError, Dataset, Loader, LoaderSpec};
use medley_train::run::run;
use medley_train::{Error, Event, Objective, RunEnd, RunSettings, Task, Trainer};

pub fn bytes(picture: &Picture, format: Format) -> Vec<u8> {
    encode(picture, format, Origin::Collected).unwrap()
}

pub fn plain(width: u32, height: u32, colour: [u8; 3]) -> Picture {
    Picture::filled(width, height, colour).unwrap()
}

pub fn png(colour: [u8; 3]) -> Vec<u8> {
    bytes(&plain(8, 8, colour), Format::Png)
}

pub fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub fn loader(folder: &Path, spec: LoaderSpec) -> Loader {
    Loader::new(Arc::new(Dataset::open(folder).unwrap()), spec).unwrap()
}

pub fn names(dataset: &Dataset) -> Vec<&str> {
    dataset.items().iter().map(|item| item.name()).collect()
}

pub fn bad(list: &BadList) -> BTreeMap<String, String> {
    let named = list.named.iter();
    named
        .map(|bad| (bad.name.clone(), bad.reason.clone()))
        .collect()
}

/// A message of one line that names the place, with a hint.
pub fn refused(path: &Path) -> (String, DataError) {
    let error = Dataset::open(path).unwrap_err();
    let report = error.report();
    assert!(!report.message.contains('\n'), "{}", report.message);
    assert!(
        report.message.contains(&*path.to_string_lossy()),
        "{}",
        report.message
    );
    assert!(report.hint.is_some(), "{}", report.message);
    (report.message, error)
}

/// Runs until `stop` steps are made in this call, and gives the losses of its steps.
pub fn learn<T: Task>(
    task: &mut T,
    trainer: &mut Trainer,
    settings: &RunSettings,
    checkpoint: Option<&Checkpoint>,
    stop: Option<u64>,
) -> (Vec<f64>, Result<RunEnd, Error>) {
    let (mut losses, made) = (Vec::new(), Cell::new(0));
    let end = run(
        task,
        trainer,
        settings,
        checkpoint,
        &|| stop.is_some_and(|stop| made.get() >= stop),
        &mut |event| {
            if let Event::Step { report, .. } = event {
                losses.push(report.loss);
                made.set(made.get() + 1);
            }
        },
    );
    (losses, end)
}

/// How far, as a share of it, a loss is from that of the reference at most; `batch` makes that of a step, from 1.
pub fn farthest<O: Objective>(
    trainer: &mut Trainer,
    objective: &mut O,
    losses: &[f64],
    batch: impl Fn(usize) -> O::Batch,
) -> f64 {
    let mut worst = 0f64;
    for (step, expected) in losses.iter().enumerate() {
        let report = trainer.step(objective, &[batch(step + 1)]).unwrap();
        worst = worst.max((report.loss / expected - 1.0).abs());
    }
    worst
}

/// Asks that no loss differs by more than `bound` in this arithmetic.
pub fn holds(difference: impl Fn(Compute) -> f64, compute: Compute, bound: f64) {
    let worst = difference(compute);
    assert!(
        worst < bound,
        "{compute:?}: a loss differs by {:.3} %",
        worst * 100.0
    );
}
