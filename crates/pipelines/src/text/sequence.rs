//! One request on its way through the decoder, step by step: alone or beside others.

use std::time::Instant;

use medley_models::decoder::{Input, Wanted};
use medley_types::{Event, FinishReason, TextRequest, TextTimings, TextWork};

use super::dialect::Reading;
use super::draft::Drafter;
use super::writer::{Emit, Writer};
use super::{PREFILL_CHUNK, Session, TextModel};
use crate::PipelineError;

/// Most tokens of a text that must call a function and has no limit of its own: a weak model may find no end to an argument,
/// and what must be a call is whole only at its end.
const CALL_TOKENS: usize = 2048;

/// As [`PREFILL_CHUNK`], where the logits of every token are wanted, which take a megabyte each in a large vocabulary.
const ECHO_CHUNK: usize = 32;

/// A request with what was read and written for it.
///
/// [`Sequence::begin`] once, then for every step [`Sequence::input`], a forward pass, [`Sequence::advance`], until
/// [`Sequence::is_done`].
pub(super) struct Sequence {
    session: Session,
    prompt: Vec<u32>,
    writer: Writer,
    drafter: Option<Drafter>,
    /// What the next step reads: a part of the prompt, or the token drawn last and a draft behind it.
    next: Vec<u32>,
    end: Option<FinishReason>,
    /// Prompt tokens that were not read for this request.
    cached: usize,
    logprobs: bool,
    reading: Reading,
    /// Whether the log-probabilities of the prompt are told.
    echo: bool,
    started: Instant,
    writing_since: Option<Instant>,
    ended: Option<Instant>,
    drafted: usize,
    accepted: usize,
}

impl Sequence {
    /// Checks the request and encodes its prompt; nothing is read yet.
    pub(super) fn new(model: &TextModel, request: &TextRequest) -> Result<Self, PipelineError> {
        TextModel::validate(request)?;
        let prompt = model.encode(request)?;
        let reading = model.reading(request, &prompt);
        let limit = request.max_tokens.unwrap_or_else(|| unasked(request));
        let budget = limit.min(model.context - prompt.len());
        Ok(Self {
            session: model.session(),
            writer: Writer::new(model, request, budget, reading)?,
            reading,
            echo: request.echo_logprobs && request.logprobs.is_some(),
            drafter: Drafter::new(model, &request.speculation)?,
            prompt,
            next: Vec::new(),
            end: None,
            cached: 0,
            logprobs: request.logprobs.is_some(),
            started: Instant::now(),
            writing_since: None,
            ended: None,
            drafted: 0,
            accepted: 0,
        })
    }

    /// What is to be read out of its text.
    pub(super) fn reading(&self) -> Reading {
        self.reading
    }

    /// The ids of the prompt.
    pub(super) fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    /// Tokens of prompt and text at most.
    pub(super) fn most_tokens(&self) -> usize {
        self.prompt.len() + self.writer.left()
    }

    /// What was read.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Goes on from what `session` has read, as far as the prompt begins with it.
    pub(super) fn begin(
        &mut self,
        model: &TextModel,
        mut session: Session,
    ) -> Result<(), PipelineError> {
        self.started = Instant::now();
        if let Some(drafter) = &mut self.drafter {
            drafter.resume(session.draft.take());
        }
        self.session = session;
        if self.echo {
            // All of the prompt's logits are wanted.
            self.session.truncate(0)?;
        }
        self.cached = self.session.keep(model, &self.prompt)?;
        self.read_on();
        Ok(())
    }

    /// Whether the prompt is read and the text is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.writing_since.is_some()
    }

    /// Whether nothing more will come.
    pub(super) fn is_done(&self) -> bool {
        self.end.is_some()
    }

    /// Rows of the next step.
    pub(super) fn rows(&self) -> usize {
        self.next.len()
    }

    /// What the decoder reads in the next step.
    pub(super) fn input(&mut self) -> Input<'_> {
        let last = self.session.ids.len() + self.next.len() >= self.prompt.len();
        Input {
            tokens: &self.next,
            cache: &mut self.session.cache,
            wanted: match (last, self.writing_since) {
                (_, None) if self.echo => Wanted::All,
                (false, _) => Wanted::None,
                (true, None) => Wanted::Last,
                (true, Some(_)) => Wanted::All,
            },
        }
    }

    /// Takes in the logits of the step. `beside` is the number of sequences that write in the next one.
    pub(super) fn advance(
        &mut self,
        model: &TextModel,
        logits: &[f32],
        beside: usize,
        emit: Emit,
    ) -> Result<(), PipelineError> {
        let before = self.session.ids.len();
        self.session.ids.extend_from_slice(&self.next);
        let read = self.session.ids.len();
        if !self.is_writing() {
            emit(Event::Progress {
                stage: "prefill".into(),
                done: read,
                total: self.prompt.len(),
            });
            if self.echo {
                self.writer
                    .echo(&self.prompt[before..], self.next.len(), logits, emit);
            }
            if read < self.prompt.len() {
                self.read_on();
                return Ok(());
            }
            self.writing_since = Some(Instant::now());
            self.writer.sampler.observe(&self.prompt);
            if self.writer.left() == 0 {
                let reason = self.writer.close(FinishReason::Length, emit);
                self.finish(reason, emit);
                return Ok(());
            }
            self.next.truncate(1);
        }
        let draft = &self.next[1..];
        // Of a prompt that is told, only the last row is for the text.
        let rows = (1 + draft.len()) * self.writer.sampler.vocab_size();
        let logits = &logits[logits.len() - rows..];
        let written = self.writer.write(logits, draft, emit)?;
        self.drafted += draft.len();
        self.accepted += written.kept;
        if let Some(drafter) = self.drafter.as_mut().filter(|_| !draft.is_empty()) {
            drafter.learn(draft.len(), written.kept);
        }
        if !draft.is_empty() {
            self.session.truncate(before + 1 + written.kept)?;
        }
        match written.end {
            Some(reason) => self.finish(reason, emit),
            None => self.write_on(model, written.last, beside)?,
        }
        Ok(())
    }

    /// Ends the text where it is.
    pub(super) fn cancel(&mut self, emit: Emit) {
        if !self.is_done() {
            let reason = if self.is_writing() {
                self.writer.close(FinishReason::Cancelled, emit)
            } else {
                FinishReason::Cancelled
            };
            self.finish(reason, emit);
        }
    }

    /// The text with what is known of it, and what was read for it.
    pub(super) fn finished(mut self, model: &TextModel) -> (TextWork, Session) {
        let rate = |n: usize, from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) if to > from => n as f64 / (to - from).as_secs_f64(),
            _ => 0.0,
        };
        let ended = self.ended.or_else(|| Some(Instant::now()));
        let read_until = self.writing_since.or(ended);
        let read = self.session.ids.len().min(self.prompt.len());
        let work = TextWork {
            tokens: self.writer.tokens,
            stopped_by: self.writer.stopped_by,
            finish_reason: self.end.unwrap_or(FinishReason::Cancelled),
            prompt_tokens: self.prompt.len(),
            cached_tokens: self.cached,
            timings: TextTimings {
                load_s: model.load_s,
                prefill_tok_s: rate(
                    read.saturating_sub(self.cached),
                    Some(self.started),
                    read_until,
                ),
                decode_tok_s: rate(self.writer.tokens, self.writing_since, ended),
                drafted: self.drafted,
                accepted: self.accepted,
            },
            text: self.writer.text,
            logprobs: self.logprobs.then_some(self.writer.logprobs),
        };
        self.session.draft = self.drafter.and_then(Drafter::into_session);
        (work, self.session)
    }

    /// What was read, of a request that failed.
    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// The next part of the prompt.
    fn read_on(&mut self) {
        let read = self.session.ids.len();
        let chunk = if self.echo { ECHO_CHUNK } else { PREFILL_CHUNK };
        let end = self.prompt.len().min(read + chunk);
        self.next.clear();
        self.next.extend_from_slice(&self.prompt[read..end]);
    }

    /// The token that was drawn last, and guesses at what follows it.
    fn write_on(
        &mut self,
        model: &TextModel,
        last: u32,
        beside: usize,
    ) -> Result<(), PipelineError> {
        self.next.clear();
        self.next.push(last);
        let Some(drafter) = &mut self.drafter else {
            return Ok(());
        };
        let length = self.session.ids.len() + 1;
        let steady = model.decoder.config().steady_positions();
        let most =
            (self.writer.left() - 1).min(steady.map_or(usize::MAX, |s| s.saturating_sub(length)));
        self.session.ids.push(last);
        let draft = drafter.propose(&self.session.ids, most, beside, &self.writer.sampler);
        self.session.ids.pop();
        let draft = draft?;
        let allowed = self.writer.allowed(&draft)?;
        self.next.extend_from_slice(&draft[..allowed]);
        Ok(())
    }

    fn finish(&mut self, reason: FinishReason, emit: Emit) {
        self.end = Some(reason);
        self.ended = Some(Instant::now());
        emit(if reason == FinishReason::Cancelled {
            Event::Cancelled
        } else {
            Event::Done
        });
    }
}

/// Most tokens of a text where the request does not say.
fn unasked(request: &TextRequest) -> usize {
    match request.tools.must_call() {
        true => CALL_TOKENS,
        false => usize::MAX,
    }
}
