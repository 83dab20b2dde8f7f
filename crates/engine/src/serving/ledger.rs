//! One account of memory over all models: what is loaded, what is being loaded, and who waits for room.
//!
//! What counts are the models' own needs, as their cards say before they are loaded, the keys and values that the texts
//! under way may come to take, and what is kept of prompts that were read. The last goes first when room is needed, then
//! models that are idle, the least recently used first.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;

use super::error::ServingError;
use super::shelf::{Card, Model, Shelf};
use super::texts::TextRoom;
use super::worker::Limits;
use crate::EmbeddingModel;
use crate::database::now;
use crate::image::ImageGenerator;
use crate::music::MusicGenerator;
use crate::speech::Voices;
use crate::transcript::Listener;
use crate::video::VideoGenerator;

/// Who waits for a model.
pub(super) type Granted = oneshot::Sender<Result<Model, ServingError>>;

/// What all models take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that they may take.
    pub budget: u64,
    /// Bytes that they take, with what is set aside for texts.
    pub used: u64,
    /// Those that are loaded, and those that are being loaded.
    pub models: Vec<Held>,
    /// What was written since the beginning, by model.
    pub totals: BTreeMap<String, Totals>,
}

/// What a model wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tokens of texts that came to an end.
    pub tokens: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
}

/// A model in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub id: String,
    /// Bytes that it takes, with those of its texts.
    pub memory: u64,
    /// Whether it may be put away.
    pub idle: bool,
    /// When it was asked for last, in seconds since 1970.
    pub last_used: u64,
}

/// A model in memory with what it does.
pub(super) struct Loaded {
    pub(super) id: String,
    memory: u64,
    /// When it was last asked for: a number that grows, and the time.
    used: (u64, u64),
    pub(super) room: Room,
}

pub(super) enum Room {
    /// It is on its way into memory.
    Loading,
    Text(Box<TextRoom>),
    Embedding(Arc<EmbeddingModel>),
    Image(Arc<dyn ImageGenerator>),
    Speech(Arc<dyn Listener>),
    Voice(Arc<Voices>),
    Music(Arc<dyn MusicGenerator>),
    Video(Arc<dyn VideoGenerator>),
}

/// The account.
pub(super) struct Ledger {
    shelf: Arc<dyn Shelf>,
    limits: Limits,
    pub(super) loaded: Vec<Loaded>,
    /// Requests for models, in order of arrival. One that waits for room is not overtaken, so that each gets its turn.
    waiting: VecDeque<(Card, Granted)>,
    arrivals: (Sender<Arrival>, Receiver<Arrival>),
    clock: u64,
    totals: BTreeMap<String, Totals>,
}

/// A model that was loaded, or could not be.
type Arrival = (String, Result<Model, ServingError>);

/// What becomes of a request for a model.
enum Verdict {
    Ready(Result<Model, ServingError>),
    Loading,
    NoRoom,
}

impl Ledger {
    pub(super) fn new(shelf: Arc<dyn Shelf>, limits: Limits) -> Self {
        Self {
            shelf,
            limits,
            loaded: Vec::new(),
            waiting: VecDeque::new(),
            arrivals: channel(),
            clock: 0,
            totals: BTreeMap::new(),
        }
    }

    pub(super) fn ask(&mut self, card: Card, reply: Granted) {
        self.waiting.push_back((card, reply));
    }

    /// Whether somebody waits for a model.
    pub(super) fn is_awaited(&self) -> bool {
        !self.waiting.is_empty() || self.loaded.iter().any(|l| matches!(l.room, Room::Loading))
    }

    /// Takes in what was loaded, and gives out models to those who wait for them.
    pub(super) fn grant(&mut self) {
        while let Ok((id, model)) = self.arrivals.1.try_recv() {
            self.arrive(&id, model);
        }
        let mut next = 0;
        while let Some((card, reply)) = self.waiting.get(next) {
            if reply.is_closed() {
                self.waiting.remove(next);
                continue;
            }
            match self.verdict(&card.clone()) {
                Verdict::Ready(model) => {
                    if let Some((_, reply)) = self.waiting.remove(next) {
                        drop(reply.send(model));
                    }
                }
                // Its room is set aside already, so that nobody behind it takes anything away.
                Verdict::Loading => next += 1,
                Verdict::NoRoom => return,
            }
        }
    }

    fn arrive(&mut self, id: &str, model: Result<Model, ServingError>) {
        let Some(place) = self.loaded.iter().position(|loaded| loaded.id == id) else {
            return;
        };
        match model {
            Ok(model) => {
                self.loaded[place].room = match &model {
                    Model::Text(model) => Room::Text(Box::new(TextRoom::new(model, &self.limits))),
                    Model::Embedding(model) => Room::Embedding(model.clone()),
                    Model::Image(model) => Room::Image(model.clone()),
                    Model::Speech(model) => Room::Speech(model.clone()),
                    Model::Voice(model) => Room::Voice(model.clone()),
                    Model::Music(model) => Room::Music(model.clone()),
                    Model::Video(model) => Room::Video(model.clone()),
                };
            }
            Err(error) => {
                self.loaded.remove(place);
                for (card, reply) in std::mem::take(&mut self.waiting) {
                    if card.id == id {
                        drop(reply.send(Err(error.clone())));
                    } else {
                        self.waiting.push_back((card, reply));
                    }
                }
            }
        }
    }

    /// A model, whose loading begins where it is not here; no room as long as others that are in use leave none.
    fn verdict(&mut self, card: &Card) -> Verdict {
        self.clock += 1;
        if let Some(loaded) = self.loaded.iter_mut().find(|l| l.id == card.id) {
            loaded.used = (self.clock, now());
            return match loaded.room.model() {
                Some(model) => Verdict::Ready(Ok(model)),
                None => Verdict::Loading,
            };
        }
        if card.memory > self.limits.memory {
            return Verdict::Ready(Err(ServingError::TooLarge {
                model: card.id.clone(),
                needed: card.memory,
                limit: self.limits.memory,
            }));
        }
        if !self.make_room(card.memory) {
            return Verdict::NoRoom;
        }
        self.loaded.push(Loaded {
            id: card.id.clone(),
            memory: card.memory,
            used: (self.clock, now()),
            room: Room::Loading,
        });
        match self.fetch(card.clone()) {
            Ok(()) => Verdict::Loading,
            Err(_) => {
                self.loaded.pop();
                Verdict::Ready(Err(ServingError::failed("no thread to load the model")))
            }
        }
    }

    /// Loads a model beside everything else that goes on.
    fn fetch(&self, card: Card) -> std::io::Result<()> {
        let (shelf, arrivals) = (self.shelf.clone(), self.arrivals.0.clone());
        let load = move || {
            let loading = catch_unwind(AssertUnwindSafe(|| shelf.load(&card)));
            let model = match loading {
                Ok(Ok(model)) => Ok(model),
                Ok(Err(report)) => Err(ServingError::Load(report)),
                Err(_) => Err(ServingError::failed("loading the model failed")),
            };
            drop(arrivals.send((card.id, model)));
        };
        let thread = std::thread::Builder::new().name("medley-load".into());
        thread.spawn(load).map(drop)
    }

    /// Bytes that are taken or set aside.
    fn used(&self) -> u64 {
        self.loaded.iter().map(Loaded::bytes).sum()
    }

    /// Makes room for `memory` more bytes; false where it cannot be had.
    pub(super) fn make_room(&mut self, memory: u64) -> bool {
        loop {
            let over = self
                .used()
                .saturating_add(memory)
                .saturating_sub(self.limits.memory);
            if over == 0 {
                return true;
            }
            if !self.trim(over) && !self.evict_oldest() {
                return false;
            }
        }
    }

    /// Forgets some of what was read before; false where nothing was kept.
    fn trim(&mut self, bytes: u64) -> bool {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        for loaded in &mut self.loaded {
            if let Room::Text(room) = &mut loaded.room {
                let kept = room.batch.prefix_bytes();
                if kept > 0 {
                    room.batch.limit_prefixes(kept.saturating_sub(bytes));
                    return true;
                }
            }
        }
        false
    }

    fn evict_oldest(&mut self) -> bool {
        let idle = self.loaded.iter().enumerate();
        let idle = idle.filter(|(_, loaded)| loaded.room.is_idle());
        let Some((oldest, _)) = idle.min_by_key(|(_, loaded)| loaded.used.0) else {
            return false;
        };
        self.loaded.remove(oldest);
        true
    }

    /// Puts a model away; whether it was there, and idle.
    pub(super) fn evict(&mut self, id: &str) -> bool {
        let before = self.loaded.len();
        self.loaded
            .retain(|loaded| loaded.id != id || !loaded.room.is_idle());
        self.loaded.len() < before
    }

    /// Lets the models keep as much of what they read as there is room for, each the same.
    pub(super) fn share_rest(&mut self) {
        let free = self.limits.memory.saturating_sub(self.used());
        let share = free / (self.loaded.len() as u64).max(1);
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        for loaded in &mut self.loaded {
            if let Room::Text(room) = &mut loaded.room {
                let may = room.batch.prefix_bytes().saturating_add(share);
                room.batch.limit_prefixes(may.min(self.limits.prefix_bytes));
            }
        }
    }

    /// The name of a model, and whether so many bytes could ever be had beside it.
    pub(super) fn could_hold(&self, place: usize, bytes: u64) -> bool {
        self.loaded[place].memory.saturating_add(bytes) <= self.limits.memory
    }

    pub(super) fn memory(&self) -> Memory {
        let held = |loaded: &Loaded| Held {
            id: loaded.id.clone(),
            memory: loaded.bytes(),
            idle: loaded.room.is_idle(),
            last_used: loaded.used.1,
        };
        Memory {
            budget: self.limits.memory,
            used: self.used(),
            models: self.loaded.iter().map(held).collect(),
            totals: self.totals.clone(),
        }
    }

    /// Counts what models wrote in a step.
    pub(super) fn count(&mut self, written: Vec<(String, Totals)>) {
        for (model, more) in written {
            let total = self.totals.entry(model).or_default();
            total.tokens += more.tokens;
            total.prompt_tokens += more.prompt_tokens;
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limits.memory
    }
}

impl Loaded {
    fn bytes(&self) -> u64 {
        let texts = match &self.room {
            Room::Text(room) => room
                .reserved
                .saturating_add(room.batch.prefix_bytes() as u64),
            _ => 0,
        };
        self.memory.saturating_add(texts)
    }
}

impl Room {
    fn model(&self) -> Option<Model> {
        match self {
            Self::Loading => None,
            Self::Text(room) => Some(Model::Text(room.model.clone())),
            Self::Embedding(model) => Some(Model::Embedding(model.clone())),
            Self::Image(model) => Some(Model::Image(model.clone())),
            Self::Speech(model) => Some(Model::Speech(model.clone())),
            Self::Voice(model) => Some(Model::Voice(model.clone())),
            Self::Music(model) => Some(Model::Music(model.clone())),
            Self::Video(model) => Some(Model::Video(model.clone())),
        }
    }

    /// Whether nobody needs the model: no text is on its way, and no request holds it.
    fn is_idle(&self) -> bool {
        match self {
            Self::Loading => false,
            // The room and its batch.
            Self::Text(room) => room.batch.is_idle() && Arc::strong_count(&room.model) <= 2,
            Self::Embedding(model) => Arc::strong_count(model) <= 1,
            Self::Image(model) => Arc::strong_count(model) <= 1,
            Self::Speech(model) => Arc::strong_count(model) <= 1,
            Self::Voice(model) => Arc::strong_count(model) <= 1 && model.is_silent(),
            Self::Music(model) => Arc::strong_count(model) <= 1,
            Self::Video(model) => Arc::strong_count(model) <= 1,
        }
    }
}
