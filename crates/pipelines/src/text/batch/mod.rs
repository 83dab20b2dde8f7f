//! Several texts in one decoding step ("continuous batching": Yu et al. 2022, Orca).
//!
//! A [`Batch`] is a synchronous core for a server: requests are added at any time, every [`Batch::step`] reads or writes
//! a little of all of them in one pass over the weights, and says what happened. Prompts are read in chunks, one chunk
//! of one prompt a step beside the tokens that the others write, so that nobody waits long. What was read stays in a cache
//! of prefixes that further prompts go on from.
//!
//! The text of a request is, bit for bit, the one that it gets alone: neither the requests beside it nor what the prefix
//! cache holds change a logit (on a CPU with packed weights; elsewhere products of other sizes round differently).
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use medley_pipelines::CancelToken;
//! use medley_pipelines::text::batch::{Batch, BatchOptions, Happening};
//! use medley_pipelines::text::{LoadOptions, TextModel};
//! use medley_types::{Event, Message, Prompt, TextRequest};
//!
//! # fn main() -> Result<(), medley_pipelines::PipelineError> {
//! let model = TextModel::load("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref(), &LoadOptions::default())?;
//! let mut batch = Batch::new(Arc::new(model), BatchOptions::default());
//! for (seed, river) in (1..).zip(["Nile", "Rhine", "Amazon"]) {
//!     let prompt = Prompt::Messages(vec![Message::new("user", format!("Where is the {river}?"))]);
//!     let request = TextRequest {
//!         max_tokens: Some(40),
//!         ..TextRequest::new("smollm2-135m", prompt, seed)
//!     };
//!     batch.add(&request, CancelToken::default())?;
//! }
//! // A server would look for new requests and for clients that hung up between two steps.
//! while !batch.is_idle() {
//!     for (slot, happening) in batch.step() {
//!         match happening {
//!             Happening::Event(Event::Chunk { text }) => println!("{slot:?} goes on: {text}"),
//!             Happening::Event(_) => {}
//!             Happening::Finished(work) => println!("{slot:?} wrote {} tokens", work.tokens),
//!             Happening::Failed(error) => println!("{slot:?} failed: {error}"),
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod prefix;
mod slot;

use std::sync::Arc;

use medley_models::decoder::Input;
use medley_types::{Event, TextRequest, TextWork};

use super::dialect::Reader;
use super::sequence::Sequence;
use super::session::common_prefix;
use super::{PREFILL_CHUNK, TextModel};
use crate::{CancelToken, PipelineError};
use prefix::Prefixes;
use slot::Slot;

pub use slot::SlotId;

/// Tokens that a prompt waits for while another slot reads them, instead of reading them again.
const WORTH_WAITING: usize = 32;

/// How much a batch may hold.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    /// Requests that are read and written at the same time; further ones wait for their turn.
    pub slots: usize,
    /// Bytes of keys and values that the prefix cache keeps beside those of the requests themselves.
    pub prefix_bytes: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            slots: 8,
            prefix_bytes: 256 << 20,
        }
    }
}

/// What happened to a request in a step.
#[derive(Debug)]
pub enum Happening {
    /// It went on.
    Event(Event),
    /// It is at its end, after [`Event::Done`] or [`Event::Cancelled`].
    Finished(TextWork),
    /// It is at its end without a work.
    Failed(PipelineError),
}

/// A request that was checked, with its prompt as tokens and its constraint compiled. Other threads than the one that
/// steps may make it, so that a long prompt holds up nobody.
pub struct Prepared(Sequence);

impl Prepared {
    /// Checks a request and encodes its prompt for `model`.
    ///
    /// # Errors
    /// As [`Batch::add`].
    pub fn new(model: &TextModel, request: &TextRequest) -> Result<Self, PipelineError> {
        Sequence::new(model, request).map(Self)
    }

    /// A reader of the text that will come of it, for thoughts and calls in it.
    pub fn reader(&self, model: &TextModel) -> Reader {
        model.reader(self.0.reading())
    }

    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.0.prompt().len()
    }

    /// Tokens of prompt and text at most.
    pub fn most_tokens(&self) -> usize {
        self.0.most_tokens()
    }
}

/// Requests on their way through one model.
pub struct Batch {
    model: Arc<TextModel>,
    options: BatchOptions,
    /// In order of arrival.
    slots: Vec<Slot>,
    prefixes: Prefixes,
    /// The slot whose prompt was read from last.
    turn: SlotId,
    next: SlotId,
    happenings: Vec<(SlotId, Happening)>,
}

impl Batch {
    /// A batch without requests.
    pub fn new(model: Arc<TextModel>, options: BatchOptions) -> Self {
        Self {
            prefixes: Prefixes::new(options.prefix_bytes),
            model,
            options,
            slots: Vec::new(),
            turn: SlotId(0),
            next: SlotId(1),
            happenings: Vec::new(),
        }
    }

    /// Takes in a request, or refuses it at once. `cancel` ends it, as [`Batch::cancel`] does.
    pub fn add(
        &mut self,
        request: &TextRequest,
        cancel: CancelToken,
    ) -> Result<SlotId, PipelineError> {
        Ok(self.enter(Prepared::new(&self.model, request)?, cancel))
    }

    /// As [`Batch::add`], of a request that was prepared for this batch's model.
    pub fn enter(&mut self, prepared: Prepared, cancel: CancelToken) -> SlotId {
        let id = self.next;
        self.next = SlotId(id.0 + 1);
        self.slots.push(Slot::new(id, prepared.0, cancel));
        if self.slots.len() > self.options.slots {
            self.happenings.push((id, Happening::Event(Event::Queued)));
        }
        id
    }

    /// Ends a request with the next step; what it has written so far comes as its work.
    pub fn cancel(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.iter().find(|slot| slot.id == id) {
            slot.cancel.cancel();
        }
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.happenings.is_empty()
    }

    /// Requests that are not at their end, those that wait included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no request is on its way.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of keys and values in the prefix cache.
    pub fn prefix_bytes(&self) -> usize {
        self.prefixes.bytes()
    }

    /// Keeps no more than so many bytes in the prefix cache from now on; what is least recently used goes at once.
    pub fn limit_prefixes(&mut self, bytes: usize) {
        self.prefixes.set_limit(bytes);
    }

    /// Prompt tokens that were taken from the prefix cache so far instead of being read.
    pub fn prefix_tokens(&self) -> usize {
        self.prefixes.taken()
    }

    /// One pass over the weights; what happened, in order for each request.
    pub fn step(&mut self) -> Vec<(SlotId, Happening)> {
        let happenings = &mut self.happenings;
        for slot in self.slots.iter_mut().filter(|s| s.cancel.is_cancelled()) {
            let id = slot.id;
            let mut emit = |event| happenings.push((id, Happening::Event(event)));
            slot.sequence.cancel(&mut emit);
        }
        self.choose();
        self.forward();
        self.collect();
        std::mem::take(&mut self.happenings)
    }

    /// Picks the slots of this step: all that write, and in turn those whose prompt is being read, as long as the parts
    /// fit into one chunk together. A part is never cut, so that a prompt is read in the parts it is read in alone.
    fn choose(&mut self) {
        let active = self.options.slots.max(1).min(self.slots.len());
        for slot in &mut self.slots {
            slot.chosen = false;
        }
        let turn = self.turn;
        let mut order: Vec<usize> = (0..active).filter(|&i| !self.slots[i].is_done()).collect();
        order.sort_by_key(|&i| (self.slots[i].id <= turn, self.slots[i].id));
        let mut rows = 0;
        for index in order {
            if self.slots[index].sequence.is_writing() {
                self.slots[index].chosen = true;
                continue;
            }
            if !self.slots[index].begun && !self.begin(index) {
                continue;
            }
            let slot = &mut self.slots[index];
            if rows == 0 || rows + slot.sequence.rows() <= PREFILL_CHUNK {
                rows += slot.sequence.rows();
                slot.chosen = true;
                self.turn = slot.id;
            }
        }
    }

    /// Begins to read a prompt, from what was read for others on; false where it failed, or waits because another slot
    /// is about to read what both begin with.
    fn begin(&mut self, index: usize) -> bool {
        let slot = &self.slots[index];
        let prompt = slot.sequence.prompt();
        let others = || self.slots.iter().filter(|s| s.begun && s.id != slot.id);
        let there = self.prefixes.common(prompt);
        let worth_waiting = others().any(|other| {
            let shared = common_prefix(other.sequence.prompt(), prompt);
            let read = other.sequence.session().ids().len();
            !other.is_done() && read < shared && shared >= there.max(read) + WORTH_WAITING
        });
        if worth_waiting {
            return false;
        }
        let live = others().map(|other| other.sequence.session());
        let session = self.prefixes.take(&self.model, prompt, live);
        let slot = &mut self.slots[index];
        slot.begun = true;
        let begun = session.and_then(|session| slot.sequence.begin(&self.model, session));
        slot.failure = begun.err();
        slot.failure.is_none()
    }

    /// The pass itself. What an error concerns ends with it.
    fn forward(&mut self) {
        let mut chosen: Vec<&mut Slot> = self.slots.iter_mut().filter(|s| s.chosen).collect();
        if chosen.is_empty() {
            return;
        }
        let mut inputs: Vec<Input> = chosen.iter_mut().map(|s| s.sequence.input()).collect();
        let logits = self.model.decoder.forward(&mut inputs);
        let beside = chosen.len();
        match logits {
            Ok(logits) => {
                for (slot, logits) in chosen.into_iter().zip(&logits) {
                    let (id, happenings) = (slot.id, &mut self.happenings);
                    let mut emit = |event| happenings.push((id, Happening::Event(event)));
                    let went = slot
                        .sequence
                        .advance(&self.model, logits, beside, &mut emit);
                    slot.failure = went.err();
                }
            }
            Err(error) => {
                let message = error.to_string();
                for slot in chosen {
                    slot.failure = Some(PipelineError::Step(message.clone()));
                }
            }
        }
    }

    /// Takes out what is at its end.
    fn collect(&mut self) {
        let (ended, going) = std::mem::take(&mut self.slots)
            .into_iter()
            .partition(Slot::is_done);
        self.slots = going;
        for slot in ended {
            let happening = match slot.failure {
                Some(error) => Happening::Failed(error),
                None => {
                    let (work, session) = slot.sequence.finished(&self.model);
                    self.prefixes.insert(session);
                    Happening::Finished(work)
                }
            };
            self.happenings.push((slot.id, happening));
        }
    }
}
