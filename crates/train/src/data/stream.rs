//! Batches of a run, from where it stands.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Batch, Cursor, DataError, Dataset, Loader, LoaderSpec, Prefetch};
use crate::{Error, Result};

/// Batches that are read ahead.
const AHEAD: usize = 4;

/// Batches that are read ahead, with all that a checkpoint must keep of them.
pub struct Stream {
    dataset: Arc<Dataset>,
    spec: LoaderSpec,
    batches: Prefetch,
    cursor: Cursor,
    number: u64,
    complained: usize,
    pictures: usize,
}

impl Stream {
    /// From the beginning of the order.
    ///
    /// # Errors
    /// As [`Loader::new`] and [`Loader::prefetch`].
    pub fn new(dataset: Arc<Dataset>, spec: LoaderSpec) -> Result<Self, DataError> {
        let loader = Loader::new(dataset.clone(), spec)?;
        Ok(Self {
            cursor: loader.cursor(),
            pictures: loader.pictures(),
            batches: loader.prefetch(AHEAD)?,
            dataset,
            spec,
            number: 0,
            complained: 0,
        })
    }

    /// Pictures of an epoch.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    /// The next batch, and which of the run it is, from 0.
    ///
    /// # Errors
    /// As [`Loader::next_batch`].
    pub fn next_batch(&mut self) -> Result<(Batch, u64), DataError> {
        let batch = self.batches.next_batch()?;
        self.cursor = batch.cursor;
        self.number += 1;
        Ok((batch, self.number - 1))
    }

    /// Where the run stands.
    pub fn state(&self) -> Value {
        json!({ "cursor": self.cursor, "batches": self.number })
    }

    /// Goes on from what [`Stream::state`] gave.
    ///
    /// # Errors
    /// [`Error::State`] for another state, [`Error::Data`] if the dataset has another number of pictures.
    pub fn restore(&mut self, state: &Value) -> Result<()> {
        let wrong = |e: serde_json::Error| Error::State(format!("the checkpoint: {e}"));
        self.cursor = serde_json::from_value(state["cursor"].clone()).map_err(wrong)?;
        self.number = serde_json::from_value(state["batches"].clone()).map_err(wrong)?;
        let mut loader = Loader::new(self.dataset.clone(), self.spec)?;
        loader.seek(self.cursor)?;
        self.batches = loader.prefetch(AHEAD)?;
        Ok(())
    }

    /// Pictures that could not be read since the last call, one line each.
    pub fn complaints(&mut self) -> Vec<String> {
        let bad = self.batches.bad();
        let news = bad.named.iter().skip(self.complained);
        let lines: Vec<String> = news.map(|b| format!("{}: {}", b.name, b.reason)).collect();
        self.complained = bad.named.len();
        lines
    }
}
