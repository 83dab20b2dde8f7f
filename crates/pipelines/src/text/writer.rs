//! What becomes of logits: tokens, text, stop strings, log-probabilities and the reason for the end.

use medley_sampling::speculative::{self, Draft, Guide};
use medley_sampling::{
    Constraint, Dry, Sampler, SamplerConfig, SamplingError, TokenMask, log_sum_exp, top_logprobs,
};
use medley_tokenize::{StreamDecoder, Tokenizer};
use medley_types::{Event, FinishReason, TextRequest, TokenLogprob};

use super::TextModel;
use super::constrain::{constraint, hurry, watch};
use super::dialect::{Reading, Watch};
use crate::PipelineError;

/// Where events go.
pub(super) type Emit<'a> = &'a mut dyn FnMut(Event);

/// The state of one text that is being written.
pub(super) struct Writer {
    pub(super) sampler: Sampler,
    gate: Gate,
    tokenizer: Tokenizer,
    decoder: StreamDecoder,
    stop: Vec<String>,
    /// The stop string that came.
    pub(super) stopped_by: Option<String>,
    alternatives: Option<usize>,
    budget: usize,
    /// What has been sent.
    pub(super) text: String,
    /// What may still turn out to be the beginning of a stop string.
    held: String,
    pub(super) tokens: usize,
    /// Whether a part of the prompt was told.
    echoed: bool,
    pub(super) logprobs: Vec<TokenLogprob>,
}

/// What one row of logits, or the rows of a draft, came to.
pub(super) struct Written {
    /// Tokens of the draft that became text.
    pub(super) kept: usize,
    /// The token drawn last, which the model has not read yet.
    pub(super) last: u32,
    /// Why the text is at its end.
    pub(super) end: Option<FinishReason>,
}

impl Writer {
    /// A writer of at most `budget` tokens.
    pub(super) fn new(
        model: &TextModel,
        request: &TextRequest,
        budget: usize,
        reading: Reading,
    ) -> Result<Self, PipelineError> {
        let config = sampler_config(request, &model.tokenizer)?;
        let visible = match &model.dialect {
            Some(dialect) if reading.chat => dialect.visible(&model.tokenizer, reading.calls),
            _ => Vec::new(),
        };
        Ok(Self {
            sampler: Sampler::new(&config, model.decoder.config().vocab_size)?,
            gate: Gate {
                constraint: constraint(model, request, reading.thinking)?,
                end: model.tokenizer.end_of_generation().to_vec(),
                left: budget,
                hurry: hurry(request, budget),
                watch: watch(model, request, reading.thinking),
                tokenizer: model.tokenizer.clone(),
                size: model.decoder.config().vocab_size,
            },
            tokenizer: model.tokenizer.clone(),
            decoder: StreamDecoder::new(&model.tokenizer).showing(visible),
            stop: request.stop.clone(),
            stopped_by: None,
            alternatives: request.logprobs,
            budget,
            text: String::new(),
            held: String::new(),
            tokens: 0,
            echoed: false,
            logprobs: Vec::new(),
        })
    }

    /// Tokens that may still be written.
    pub(super) fn left(&self) -> usize {
        self.budget - self.tokens
    }

    /// How much of a draft the constraint leaves.
    pub(super) fn allowed(&mut self, draft: &[u32]) -> Result<usize, PipelineError> {
        match &mut self.gate.constraint {
            Some(constraint) => Ok(constraint.valid_prefix(draft)?),
            None => Ok(draft.len()),
        }
    }

    /// Draws tokens from `logits`, one row for each token of `draft` and one more, as long as they are the draft's. The
    /// draws are those of a text without drafts.
    pub(super) fn write(
        &mut self,
        logits: &[f32],
        draft: &[u32],
        emit: Emit,
    ) -> Result<Written, PipelineError> {
        let draft = Draft::Fixed(draft);
        let accepted = speculative::accept(&mut self.sampler, &mut self.gate, logits, draft)?;
        let mut written = Written {
            kept: accepted.kept,
            last: 0,
            end: None,
        };
        let rows = logits.chunks_exact(self.sampler.vocab_size());
        for (token, row) in accepted.tokens.iter().zip(rows) {
            written.last = token.id;
            if self.gate.end.contains(&token.id) {
                written.end = Some(self.close(FinishReason::Stop, emit));
                break;
            }
            self.tokens += 1;
            if let Some(n) = self.alternatives {
                let entry = self.describe(token.id, token.logprob.unwrap_or(f32::NAN), row, n);
                emit(Event::Token(entry.clone()));
                self.logprobs.push(entry);
            }
            let piece = self.decoder.push(token.id);
            if self.send_up_to_stop(&piece, emit) {
                written.end = Some(FinishReason::Stop);
                break;
            }
        }
        if written.end.is_none() {
            let fulfilled = self.gate.is_done();
            if fulfilled {
                written.end = Some(self.close(FinishReason::Stop, emit));
            } else if self.left() == 0 {
                written.end = Some(self.close(FinishReason::Length, emit));
            }
        }
        Ok(written)
    }

    /// Tells of a part of the prompt, `count` tokens long: `prompt` from there on, and the logits of that part.
    pub(super) fn echo(&mut self, prompt: &[u32], count: usize, logits: &[f32], emit: Emit) {
        let n = self.alternatives.unwrap_or(0);
        let first = self.tokens == 0 && !self.echoed;
        if let Some(&id) = prompt.first().filter(|_| first) {
            emit(Event::Token(self.describe(id, 0.0, &[], 0)));
        }
        self.echoed = true;
        let rows = logits.chunks_exact(self.sampler.vocab_size());
        for (&id, row) in prompt.iter().skip(1).take(count).zip(rows) {
            let all = log_sum_exp(row);
            let logprob = row
                .get(id as usize)
                .map_or(f64::NAN, |&x| f64::from(x) - all);
            emit(Event::Token(self.describe(id, logprob as f32, row, n)));
        }
    }

    /// Sends what was held back. The reason is another one where that completes a stop string.
    pub(super) fn close(&mut self, reason: FinishReason, emit: Emit) -> FinishReason {
        let rest = self.decoder.finish();
        if self.send_up_to_stop(&rest, emit) {
            return FinishReason::Stop;
        }
        let held = std::mem::take(&mut self.held);
        self.send(&held, emit);
        reason
    }

    /// Sends what can no longer become a stop string; true where one is complete.
    fn send_up_to_stop(&mut self, piece: &str, emit: Emit) -> bool {
        if piece.is_empty() {
            return false;
        }
        self.held.push_str(piece);
        let found = self
            .stop
            .iter()
            .filter_map(|s| Some((self.held.find(s.as_str())?, s)))
            .min_by_key(|&(at, _)| at);
        if let Some((at, stop)) = found {
            self.stopped_by = Some(stop.clone());
            let before = self.held[..at].to_owned();
            self.held.clear();
            self.send(&before, emit);
            return true;
        }
        let keep = self
            .stop
            .iter()
            .map(|s| overlap(&self.held, s))
            .max()
            .unwrap_or(0);
        let ready: String = self.held.drain(..self.held.len() - keep).collect();
        self.send(&ready, emit);
        false
    }

    fn send(&mut self, text: &str, emit: Emit) {
        if !text.is_empty() {
            self.text.push_str(text);
            emit(Event::Chunk {
                text: text.to_owned(),
            });
        }
    }

    fn describe(&self, id: u32, logprob: f32, logits: &[f32], alternatives: usize) -> TokenLogprob {
        let entry = |id: u32, logprob: f32, top: Vec<TokenLogprob>| TokenLogprob {
            token: String::from_utf8_lossy(&self.tokenizer.token_bytes(id)).into_owned(),
            id,
            logprob,
            top,
        };
        let top = top_logprobs(logits, alternatives);
        let top = top.into_iter().map(|(id, p)| entry(id, p, Vec::new()));
        entry(id, logprob, top.collect())
    }
}

/// The constraint, and the tokens that end a turn.
struct Gate {
    constraint: Option<Constraint>,
    end: Vec<u32>,
    /// Tokens that may still be written.
    left: usize,
    /// With so many left or fewer, the constraint is brought to its end.
    hurry: usize,
    /// Thoughts that are to be ended then.
    watch: Option<Watch>,
    tokenizer: Tokenizer,
    /// Tokens that there are logits for.
    size: usize,
}

impl Gate {
    fn is_done(&self) -> bool {
        self.constraint.as_ref().is_some_and(Constraint::is_done)
    }
}

impl Guide for Gate {
    fn mask(&mut self) -> Result<Option<TokenMask>, SamplingError> {
        let hurries = self.left <= self.hurry;
        if hurries
            && let Some(constraint) = &mut self.constraint
            && let Some(id) = self.watch.as_ref().and_then(Watch::closing)
        {
            // Within a character nothing can be closed.
            let mask = match constraint.valid_prefix(&[id])? {
                0 => constraint.mask()?,
                _ => TokenMask::of(&[id], self.size),
            };
            return Ok(Some(mask));
        }
        let mask = match hurries {
            true => Constraint::closing_mask,
            false => Constraint::mask,
        };
        self.constraint.as_mut().map(mask).transpose()
    }

    fn accept(&mut self, id: u32) -> Result<bool, SamplingError> {
        self.left = self.left.saturating_sub(1);
        if let Some(watch) = &mut self.watch {
            watch.take(id, &self.tokenizer.token_bytes(id));
        }
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(id)?;
        }
        Ok(self.is_done() || self.end.contains(&id))
    }
}

/// Length in bytes of the longest end of `text` that is a beginning of `stop`.
pub(super) fn overlap(text: &str, stop: &str) -> usize {
    let most = text.len().min(stop.len() - 1);
    (1..=most)
        .rev()
        .find(|&n| {
            text.is_char_boundary(text.len() - n)
                && stop.is_char_boundary(n)
                && text.ends_with(&stop[..n])
        })
        .unwrap_or(0)
}

fn sampler_config(
    request: &TextRequest,
    tokenizer: &Tokenizer,
) -> Result<SamplerConfig, PipelineError> {
    let s = &request.sampling;
    let dry = if s.dry_multiplier > 0.0 {
        let breakers = ["\n", ":", "\"", "*"];
        let ids: Result<Vec<Vec<u32>>, _> = breakers
            .iter()
            .map(|b| tokenizer.encode(b, false, false))
            .collect();
        Some(Dry {
            multiplier: s.dry_multiplier,
            sequence_breakers: ids?,
            ..Dry::default()
        })
    } else {
        None
    };
    Ok(SamplerConfig {
        dry,
        logprobs: request.logprobs.is_some(),
        ..sampler_fields(s, request.seed)
    })
}

/// The settings that need no tokenizer.
pub(super) fn sampler_fields(s: &medley_types::Sampling, seed: u64) -> SamplerConfig {
    SamplerConfig {
        temperature: s.temperature,
        top_k: s.top_k,
        top_p: s.top_p,
        min_p: s.min_p,
        typical_p: s.typical_p,
        repeat_penalty: s.repeat_penalty,
        repeat_last_n: i32::try_from(s.repeat_last_n).unwrap_or(i32::MAX),
        frequency_penalty: s.frequency_penalty,
        presence_penalty: s.presence_penalty,
        dry: None,
        logit_bias: s.logit_bias.clone(),
        seed,
        logprobs: false,
    }
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn an_end_that_may_become_a_stop_string_is_held_back() {
        assert_eq!(overlap("abc", "cd"), 1);
        assert_eq!(overlap("abc", "abcd"), 3);
        assert_eq!(overlap("abc", "x"), 0);
        assert_eq!(overlap("é", "éa"), 2);
        assert_eq!(overlap("aab", "aabaab!"), 3);
    }
}
