//! The texts of one model.

use std::collections::HashMap;
use std::sync::Arc;

use medley_types::Event;

use super::error::ServingError;
use super::ledger::Totals;
use super::mailbox::Mailbox;
use super::worker::{Limits, Texts};
use crate::TextModel;
use crate::batch::{Batch, BatchOptions, Happening, SlotId};

/// A language model with the texts that it writes.
pub(super) struct TextRoom {
    pub(super) model: Arc<TextModel>,
    pub(super) batch: Batch,
    readers: HashMap<SlotId, Reading>,
    /// Bytes that the keys and values of all texts here may come to take.
    pub(super) reserved: u64,
}

/// Where a text goes, and what is set aside for it.
struct Reading {
    mailbox: Arc<Mailbox>,
    text: usize,
    reserved: u64,
}

/// Bytes that the keys and values of these texts come to take at most, and tokens.
pub(super) fn needs(texts: &Texts) -> (u64, usize) {
    let each = texts.prepared.iter().map(|prepared| prepared.most_tokens());
    each.fold((0, 0), |(bytes, tokens), most| {
        (bytes + texts.model.cache_bytes(most), tokens + most)
    })
}

/// Ends texts that cannot be written.
pub(super) fn refuse(texts: &Texts, error: &ServingError) {
    for text in 0..texts.prepared.len() {
        texts
            .mailbox
            .put(text, |part| part.end = Some(Err(error.clone())));
    }
}

impl TextRoom {
    pub(super) fn new(model: &Arc<TextModel>, limits: &Limits) -> Self {
        let options = BatchOptions {
            slots: limits.slots,
            prefix_bytes: limits.prefix_bytes,
        };
        Self {
            model: model.clone(),
            batch: Batch::new(model.clone(), options),
            readers: HashMap::new(),
            reserved: 0,
        }
    }

    pub(super) fn enter(&mut self, texts: Texts) {
        for (text, prepared) in texts.prepared.into_iter().enumerate() {
            let reserved = self.model.cache_bytes(prepared.most_tokens());
            let slot = self.batch.enter(prepared, texts.cancel.clone());
            self.reserved += reserved;
            let mailbox = texts.mailbox.clone();
            let reading = Reading {
                mailbox,
                text,
                reserved,
            };
            self.readers.insert(slot, reading);
        }
    }

    /// One step; what was written by texts that ended in it.
    pub(super) fn step(&mut self) -> Totals {
        let mut written = Totals::default();
        for (slot, happening) in self.batch.step() {
            let end = match happening {
                Happening::Event(event) => {
                    if let Some(reading) = self.readers.get(&slot) {
                        tell(&reading.mailbox, reading.text, event);
                    }
                    continue;
                }
                Happening::Finished(work) => {
                    written.tokens += work.tokens as u64;
                    written.prompt_tokens += work.prompt_tokens as u64;
                    Ok(work)
                }
                Happening::Failed(error) => Err(ServingError::failed(error.to_string())),
            };
            if let Some(reading) = self.readers.remove(&slot) {
                self.reserved = self.reserved.saturating_sub(reading.reserved);
                reading
                    .mailbox
                    .put(reading.text, |part| part.end = Some(end));
            }
        }
        written
    }

    /// Ends all texts with an error.
    pub(super) fn fail(&mut self, error: &ServingError) {
        for (_, reading) in self.readers.drain() {
            reading
                .mailbox
                .put(reading.text, |part| part.end = Some(Err(error.clone())));
        }
    }
}

fn tell(mailbox: &Mailbox, text: usize, event: Event) {
    match event {
        Event::Chunk { text: chunk } => mailbox.put(text, |part| part.text.push_str(&chunk)),
        Event::Token(token) => mailbox.put(text, |part| part.tokens.push(token)),
        _ => {}
    }
}
