use std::time::Instant;

use medley_models::decoder::Wanted;
use medley_sampling::{Constraint, Dry, Sampler, SamplerConfig, top_logprobs};
use medley_tokenize::{ChatInput, StreamDecoder, Tokenizer, encode_chat};
use medley_types::{
    Event, FinishReason, Message, Prompt, TextRequest, TextTimings, TextWork, TokenLogprob,
};
use serde_json::json;

use super::{Session, TextModel};
use crate::{PipelineError, Run, TextGenerator};

impl TextGenerator for TextModel {
    fn generate(&self, request: &TextRequest, run: &mut Run) -> Result<TextWork, PipelineError> {
        self.generate_in(&mut self.session(), request, run)
    }
}

impl TextModel {
    /// Refuses what no model could do, before one is loaded.
    pub fn validate(request: &TextRequest) -> Result<(), PipelineError> {
        if request.stop.iter().any(String::is_empty) {
            return Err(PipelineError::InvalidRequest(
                "a stop string must not be empty".into(),
            ));
        }
        let config = SamplerConfig {
            dry: None,
            ..sampler_fields(&request.sampling, request.seed)
        };
        Ok(config.validate(u32::MAX as usize)?)
    }

    /// The ids of a prompt, with its chat template where it is a conversation.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, PipelineError> {
        let ids = match prompt {
            Prompt::Raw(text) if text.is_empty() => return Err(PipelineError::EmptyPrompt),
            Prompt::Raw(text) => self.tokenizer.encode(text, true, true)?,
            Prompt::Messages(messages) => {
                if messages.iter().all(|m| m.content.is_empty()) {
                    return Err(PipelineError::EmptyPrompt);
                }
                let template = self
                    .template
                    .as_ref()
                    .ok_or_else(|| PipelineError::NoTemplate {
                        model: self.name.clone(),
                    })?;
                let turn = |m: &Message| json!({"role": m.role, "content": m.content});
                let messages: Vec<_> = messages.iter().map(turn).collect();
                let input = ChatInput {
                    messages: &messages,
                    add_generation_prompt: true,
                    ..ChatInput::default()
                };
                encode_chat(&self.tokenizer, template, &input)?
            }
        };
        if ids.is_empty() {
            return Err(PipelineError::EmptyPrompt);
        }
        if ids.len() > self.context {
            return Err(PipelineError::PromptTooLong {
                prompt: ids.len(),
                context: self.context,
                model: self.name.clone(),
            });
        }
        Ok(ids)
    }

    /// What the text must conform to, compiled for this model's tokens.
    fn constraint(&self, request: &TextRequest) -> Result<Option<Constraint>, PipelineError> {
        use medley_types::Constraint as Wanted;
        let Some(wanted) = &request.constraint else {
            return Ok(None);
        };
        let vocabulary = self.vocabulary()?;
        let compiled = match wanted {
            Wanted::JsonSchema(schema) => Constraint::json_schema(vocabulary, schema)?,
            Wanted::Regex(pattern) => Constraint::regex(vocabulary, pattern)?,
            Wanted::Grammar(grammar) => Constraint::grammar(vocabulary, grammar)?,
        };
        Ok(Some(compiled))
    }

    /// As [`TextGenerator::generate`], going on from what `session` has read where the prompt begins with it.
    pub fn generate_in(
        &self,
        session: &mut Session,
        request: &TextRequest,
        run: &mut Run,
    ) -> Result<TextWork, PipelineError> {
        Self::validate(request)?;
        let mut writer = Writer::new(self, request)?;
        let ids = self.encode(&request.prompt)?;
        let budget = request
            .max_tokens
            .unwrap_or(usize::MAX)
            .min(self.context - ids.len());
        let start = Instant::now();
        let kept = session
            .ids()
            .iter()
            .zip(&ids)
            .take_while(|(a, b)| a == b)
            .count()
            .min(ids.len() - 1);
        let logits = session.read(self, &ids, run)?;
        let prefill = start.elapsed().as_secs_f64();
        writer.sampler.observe(&ids);
        let start = Instant::now();
        let reason = match logits {
            None => FinishReason::Cancelled,
            Some(logits) => writer.write(session, logits, budget, run)?,
        };
        let decode = start.elapsed().as_secs_f64();
        run.emit(if reason == FinishReason::Cancelled {
            Event::Cancelled
        } else {
            Event::Done
        });
        let rate = |n: usize, seconds: f64| {
            if seconds > 0.0 {
                n as f64 / seconds
            } else {
                0.0
            }
        };
        Ok(TextWork {
            text: writer.text,
            tokens: writer.tokens,
            finish_reason: reason,
            prompt_tokens: ids.len(),
            timings: TextTimings {
                load_s: self.load_s,
                prefill_tok_s: rate(ids.len() - kept, prefill),
                decode_tok_s: rate(writer.tokens, decode),
            },
            logprobs: request.logprobs.map(|_| writer.logprobs),
        })
    }
}

/// The state of one text that is being written.
struct Writer<'m> {
    model: &'m TextModel,
    sampler: Sampler,
    constraint: Option<Constraint>,
    stop: Vec<String>,
    alternatives: Option<usize>,
    decoder: StreamDecoder,
    /// What has been sent.
    text: String,
    /// What may still turn out to be the beginning of a stop string.
    held: String,
    tokens: usize,
    logprobs: Vec<TokenLogprob>,
}

impl<'m> Writer<'m> {
    fn new(model: &'m TextModel, request: &TextRequest) -> Result<Self, PipelineError> {
        let config = sampler_config(
            &request.sampling,
            request.seed,
            request.logprobs.is_some(),
            &model.tokenizer,
        )?;
        Ok(Self {
            model,
            sampler: Sampler::new(&config, model.decoder.config().vocab_size)?,
            constraint: model.constraint(request)?,
            stop: request.stop.clone(),
            alternatives: request.logprobs,
            decoder: StreamDecoder::new(&model.tokenizer),
            text: String::new(),
            held: String::new(),
            tokens: 0,
            logprobs: Vec::new(),
        })
    }

    /// Draws up to `budget` tokens, the first from `logits`.
    fn write(
        &mut self,
        session: &mut Session,
        mut logits: Vec<f32>,
        budget: usize,
        run: &mut Run,
    ) -> Result<FinishReason, PipelineError> {
        let reason = loop {
            if self.tokens == budget {
                break FinishReason::Length;
            }
            if run.cancel.is_cancelled() {
                break FinishReason::Cancelled;
            }
            let mask = self.constraint.as_mut().map(Constraint::mask).transpose()?;
            let drawn = self.sampler.sample(&logits, mask.as_ref())?;
            if let Some(constraint) = &mut self.constraint {
                constraint.accept(drawn.id)?;
            }
            if self.model.tokenizer.end_of_generation().contains(&drawn.id) {
                break FinishReason::Stop;
            }
            self.tokens += 1;
            if let Some(n) = self.alternatives {
                let entry = self.describe(drawn.id, drawn.logprob.unwrap_or(f32::NAN), &logits, n);
                self.logprobs.push(entry);
            }
            let piece = self.decoder.push(drawn.id);
            if self.emit(&piece, run) {
                return Ok(FinishReason::Stop);
            }
            if self.constraint.as_ref().is_some_and(Constraint::is_done) {
                break FinishReason::Stop;
            }
            if self.tokens < budget {
                logits = session.step(self.model, &[drawn.id], Wanted::Last)?;
            }
        };
        let rest = self.decoder.finish();
        if self.emit(&rest, run) {
            return Ok(FinishReason::Stop);
        }
        let held = std::mem::take(&mut self.held);
        self.send(&held, run);
        Ok(reason)
    }

    /// Sends what can no longer become a stop string; true where one is complete.
    fn emit(&mut self, piece: &str, run: &mut Run) -> bool {
        if piece.is_empty() {
            return false;
        }
        self.held.push_str(piece);
        let found = self
            .stop
            .iter()
            .filter_map(|s| self.held.find(s.as_str()))
            .min();
        if let Some(at) = found {
            let before = self.held[..at].to_owned();
            self.held.clear();
            self.send(&before, run);
            return true;
        }
        let keep = self
            .stop
            .iter()
            .map(|s| overlap(&self.held, s))
            .max()
            .unwrap_or(0);
        let ready: String = self.held.drain(..self.held.len() - keep).collect();
        self.send(&ready, run);
        false
    }

    fn send(&mut self, text: &str, run: &mut Run) {
        if !text.is_empty() {
            self.text.push_str(text);
            run.emit(Event::Chunk {
                text: text.to_owned(),
            });
        }
    }

    fn describe(&self, id: u32, logprob: f32, logits: &[f32], alternatives: usize) -> TokenLogprob {
        let token =
            |id: u32| String::from_utf8_lossy(&self.model.tokenizer.token_bytes(id)).into_owned();
        let top = top_logprobs(logits, alternatives);
        let top = top.into_iter().map(|(id, logprob)| TokenLogprob {
            token: token(id),
            id,
            logprob,
            top: Vec::new(),
        });
        TokenLogprob {
            token: token(id),
            id,
            logprob,
            top: top.collect(),
        }
    }
}

/// Length in bytes of the longest end of `text` that is a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
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
    s: &medley_types::Sampling,
    seed: u64,
    logprobs: bool,
    tokenizer: &Tokenizer,
) -> Result<SamplerConfig, PipelineError> {
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
        logprobs,
        ..sampler_fields(s, seed)
    })
}

/// The settings that need no tokenizer.
fn sampler_fields(s: &medley_types::Sampling, seed: u64) -> SamplerConfig {
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
