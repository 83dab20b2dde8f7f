//! What a run measures, for people and programs: `metrics.jsonl` and TensorBoard's event files.

mod events;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

pub use events::EventFile;

use crate::{Error, Result};

/// Name of the list of measurements in the folder of a run.
pub const METRICS: &str = "metrics.jsonl";

/// The measurements of a run.
pub struct Metrics {
    path: PathBuf,
    lines: File,
    events: EventFile,
}

impl Metrics {
    /// Opens the list in `folder`, which holds the measurements up to `step` (of the checkpoint that a run goes on from;
    /// 0 for a new run); later ones are left out, for they are about to be made again.
    pub fn open(folder: &Path, step: u64) -> Result<Self> {
        let path = folder.join(METRICS);
        keep_until(&path, step)?;
        let lines = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|e| Error::io(&path, "open", e))?;
        let events = EventFile::create(folder).map_err(|e| Error::io(folder, "write in", e))?;
        Ok(Self {
            path,
            lines,
            events,
        })
    }

    /// One line: a step and numbers by name. Numbers that are none stand as null.
    pub fn write(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut line = Map::new();
        line.insert("step".into(), json!(step));
        for (name, value) in values {
            line.insert((*name).to_owned(), json!(value));
        }
        let text = Value::Object(line).to_string() + "\n";
        self.lines
            .write_all(text.as_bytes())
            .map_err(|e| Error::io(&self.path, "write", e))?;
        self.events
            .scalars(step, values)
            .map_err(|e| Error::io(&self.path, "write beside", e))
    }
}

fn keep_until(path: &Path, step: u64) -> Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io(path, "open", e)),
    };
    let mut kept = String::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|e| Error::io(path, "read", e))?;
        // A line that was cut short by a crash is no measurement.
        let value: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        if value["step"].as_u64().is_some_and(|s| s <= step) {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    crate::files::write_whole(path, kept.as_bytes())
}

/// The measurements in a folder, line by line.
pub fn read(folder: &Path) -> Result<Vec<Value>> {
    let path = folder.join(METRICS);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", e))?;
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_after_the_checkpoint_are_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(folder.path(), 0).unwrap();
        for step in 1..=5 {
            metrics
                .write(step, &[("loss", 1.0 / step as f64), ("bad", f64::NAN)])
                .unwrap();
        }
        drop(metrics);
        let path = folder.path().join(METRICS);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"step\": 3, \"lo");
        std::fs::write(&path, text).unwrap();
        let mut metrics = Metrics::open(folder.path(), 3).unwrap();
        metrics.write(4, &[("loss", 9.0)]).unwrap();
        let lines = read(folder.path()).unwrap();
        let steps: Vec<u64> = lines.iter().filter_map(|l| l["step"].as_u64()).collect();
        assert_eq!(steps, [1, 2, 3, 4]);
        assert_eq!(lines[3]["loss"], 9.0);
        assert!(lines[0]["bad"].is_null());
    }
}
