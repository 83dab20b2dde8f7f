//! Documents in a seeded order, one behind the other, cut into sequences of one length.

use std::collections::VecDeque;

use medley_nn::train::IGNORED;
use serde::{Deserialize, Serialize};

use super::{Encoder, TextSource};
use crate::data::{Cursor, Order};
use crate::text::TokenBatch;
use crate::{Error, Result};

/// Where the next sequence begins: all that a checkpoint keeps of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The document, in the order of its epoch.
    pub document: Cursor,
    /// The token in it.
    pub token: usize,
}

/// A token that waits for its sequence.
#[derive(Clone, Copy)]
struct Waiting {
    id: u32,
    counted: bool,
}

/// Sequences out of documents.
pub struct Packer {
    source: TextSource,
    encoder: Encoder,
    /// The documents that take part.
    documents: Vec<usize>,
    order: Order,
    waiting: VecDeque<Waiting>,
    /// Documents of the waiting tokens, with what is still there of each.
    parts: VecDeque<(Cursor, usize)>,
    /// Tokens of the first document that are gone.
    gone: usize,
}

/// Documents in a row that cannot be used before the data is given up.
const GIVE_UP: usize = 10_000;

impl Packer {
    /// The documents of these numbers, shuffled through `buffer` of them.
    pub fn new(
        source: TextSource,
        encoder: Encoder,
        documents: Vec<usize>,
        buffer: usize,
        seed: u64,
    ) -> Result<Self> {
        let order = Order::new(documents.len(), buffer, Some(seed))
            .map_err(|e| Error::Setting(e.to_string()))?;
        Ok(Self {
            source,
            encoder,
            documents,
            order,
            waiting: VecDeque::new(),
            parts: VecDeque::new(),
            gone: 0,
        })
    }

    /// The texts.
    pub fn source(&mut self) -> &mut TextSource {
        &mut self.source
    }

    /// How they become tokens.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Where the next sequence begins.
    pub fn place(&self) -> Place {
        match self.parts.front() {
            Some((cursor, _)) => Place {
                document: *cursor,
                token: self.gone,
            },
            None => Place {
                document: self.order.cursor(),
                token: 0,
            },
        }
    }

    /// Goes to a place.
    pub fn seek(&mut self, place: Place) -> Result<()> {
        if !self.order.seek(place.document) {
            return Err(Error::State(format!(
                "the checkpoint was made with {} documents, {} are here now; resume needs the same data",
                place.document.pictures,
                self.documents.len()
            )));
        }
        self.waiting.clear();
        self.parts.clear();
        self.gone = 0;
        if place.token > 0 {
            self.take_document()?;
            if place.token >= self.waiting.len() {
                return Err(Error::State(
                    "a document is shorter than it was; resume needs the same data".into(),
                ));
            }
            self.drop_front(place.token);
        }
        Ok(())
    }

    /// Reads documents until one gives tokens.
    fn take_document(&mut self) -> Result<()> {
        for _ in 0..GIVE_UP {
            let cursor = self.order.cursor();
            let number = self.documents[self.order.draw().0];
            let Some(document) = self.source.read(number) else {
                continue;
            };
            let tokens = match self.encoder.encode(&document) {
                Ok(tokens) => tokens,
                Err(why) => {
                    self.source.bad().add(format!("document {number}: {why}"));
                    continue;
                }
            };
            if tokens.ids.is_empty() {
                continue;
            }
            self.parts.push_back((cursor, tokens.ids.len()));
            let each = tokens.ids.into_iter().zip(tokens.counted);
            self.waiting
                .extend(each.map(|(id, counted)| Waiting { id, counted }));
            return Ok(());
        }
        let why = self.source.bad().names().last().cloned();
        Err(Error::Setting(format!(
            "none of {GIVE_UP} documents in a row can be used: {}",
            why.unwrap_or_default()
        )))
    }

    fn drop_front(&mut self, count: usize) {
        self.waiting.drain(..count);
        self.gone += count;
        while let Some((_, len)) = self.parts.front()
            && self.gone >= *len
        {
            self.gone -= len;
            self.parts.pop_front();
        }
    }

    /// The next `sequences` of `length` tokens each.
    pub fn batch(&mut self, sequences: usize, length: usize) -> Result<TokenBatch> {
        let mut batch = TokenBatch {
            length,
            ids: Vec::with_capacity(sequences * length),
            targets: Vec::with_capacity(sequences * length),
        };
        for _ in 0..sequences {
            while self.waiting.len() <= length {
                self.take_document()?;
            }
            batch
                .ids
                .extend(self.waiting.iter().take(length).map(|w| w.id));
            let followers = self.waiting.iter().skip(1).take(length);
            batch
                .targets
                .extend(followers.map(|w| if w.counted { w.id } else { IGNORED }));
            self.drop_front(length);
        }
        Ok(batch)
    }
}
