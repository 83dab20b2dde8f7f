//! One window to tokens.

use medley_models::whisper::{Memory, Text};
use medley_sampling::{Sampler, SamplerConfig, log_sum_exp};

use super::Ear;
use crate::PipelineError;

/// Texts that are drawn side by side at temperatures above 0.
const DRAWS: usize = 5;

/// How a window is written.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) temperature: f64,
    /// Texts that are followed side by side at temperature 0.
    pub(super) beam: usize,
    pub(super) seed: u64,
}

/// What was written for a window.
pub(super) struct Written {
    /// Words and times.
    pub(super) tokens: Vec<u32>,
    /// Mean log-probability, the end of the text included.
    pub(super) avg_logprob: f64,
    pub(super) no_speech_prob: f64,
    pub(super) temperature: f64,
    /// Tokens that were computed.
    pub(super) cost: usize,
}

/// A text on its way.
#[derive(Clone)]
struct Draft {
    tokens: Vec<u32>,
    /// Sum of log-probabilities.
    sum: f64,
    text: Text,
}

impl Draft {
    fn mean(&self) -> f64 {
        self.sum / (self.tokens.len() + 1) as f64
    }
}

impl Ear {
    /// Writes a window. `prompt` ends with the tokens that begin a text; `ended` is asked before every step.
    pub(super) fn write_window(
        &self,
        prompt: &[u32],
        memory: &Memory,
        manner: Manner,
        mut ended: impl FnMut() -> bool,
    ) -> Result<Written, PipelineError> {
        let vocab = self.model.config().vocab_size;
        let context = self.model.config().text_context;
        let longest = (context / 2).min(context.saturating_sub(prompt.len()));
        let (mut logits, no_speech_prob, text) = self.begin(prompt, memory)?;
        let count = if manner.temperature > 0.0 {
            DRAWS
        } else {
            manner.beam
        };
        let mut samplers = samplers(manner, count, vocab)?;
        let mut open = vec![Draft {
            tokens: Vec::new(),
            sum: 0.0,
            text,
        }];
        if manner.temperature > 0.0 {
            open = vec![open[0].clone(); count];
            logits = logits.repeat(count);
        }
        let (mut done, mut cost) = (Vec::new(), 0);
        for step in 0..longest {
            if ended() {
                return Err(PipelineError::Cancelled);
            }
            cost += open.len();
            for (draft, row) in open.iter().zip(logits.chunks_exact_mut(vocab)) {
                self.rules().apply(&draft.tokens, row);
            }
            open = match manner.temperature > 0.0 {
                true => self.drawn(open, &logits, &mut samplers, &mut done)?,
                false => self.followed(open, &logits, manner.beam, &mut done),
            };
            if open.is_empty() || manner.temperature == 0.0 && done.len() >= manner.beam {
                break;
            }
            if step + 1 == longest {
                break;
            }
            logits = self.read_on(&mut open, memory)?;
        }
        done.append(&mut open);
        let best = done
            .into_iter()
            .max_by(|a, b| a.mean().total_cmp(&b.mean()));
        let best = best.ok_or_else(|| PipelineError::Step("no text was written".into()))?;
        Ok(Written {
            avg_logprob: best.mean(),
            tokens: best.tokens,
            no_speech_prob,
            temperature: manner.temperature,
            cost,
        })
    }

    /// Reads the last token of each text: the logits behind it, text by text.
    fn read_on(&self, open: &mut [Draft], memory: &Memory) -> Result<Vec<f32>, PipelineError> {
        let decoder = &self.model.decoder;
        let last: Vec<u32> = open
            .iter()
            .filter_map(|d| d.tokens.last().copied())
            .collect();
        let mut texts: Vec<&mut Text> = open.iter_mut().map(|d| &mut d.text).collect();
        let counts = vec![1; last.len()];
        let states = decoder.forward(&last, &counts, &mut texts, memory)?;
        Ok(decoder.logits(&states)?)
    }

    /// Reads the prompt: the logits behind it, and the probability that nobody speaks, which stands behind the token
    /// that begins a text.
    fn begin(
        &self,
        prompt: &[u32],
        memory: &Memory,
    ) -> Result<(Vec<f32>, f64, Text), PipelineError> {
        let (decoder, tokens) = (&self.model.decoder, self.tokenizer.tokens());
        let vocab = self.model.config().vocab_size;
        let mut text = decoder.begin();
        let states = decoder.forward(prompt, &[prompt.len()], &mut [&mut text], memory)?;
        let start = prompt
            .iter()
            .rposition(|&id| id == tokens.start)
            .unwrap_or(0);
        let row = |i: usize| {
            states
                .narrow(0, i, 1)
                .map_err(medley_models::ConfigError::from)
        };
        let at_start = decoder.logits(&row(start)?)?;
        let silent = at_start
            .get(tokens.no_speech as usize)
            .copied()
            .unwrap_or(f32::NEG_INFINITY);
        let no_speech = (f64::from(silent) - log_sum_exp(&at_start)).exp();
        let logits = decoder.logits(&row(prompt.len() - 1)?)?;
        debug_assert_eq!(logits.len(), vocab);
        Ok((logits, no_speech, text))
    }

    /// Draws a token for each text; those that end are `done`.
    fn drawn(
        &self,
        open: Vec<Draft>,
        logits: &[f32],
        samplers: &mut [Sampler],
        done: &mut Vec<Draft>,
    ) -> Result<Vec<Draft>, PipelineError> {
        let vocab = self.model.config().vocab_size;
        let mut left = Vec::new();
        for ((mut draft, row), sampler) in open
            .into_iter()
            .zip(logits.chunks_exact(vocab))
            .zip(samplers)
        {
            let id = sampler.sample(row, None)?.id;
            draft.sum += f64::from(row[id as usize]) - log_sum_exp(row);
            if id == self.tokenizer.tokens().end {
                done.push(draft);
            } else {
                draft.tokens.push(id);
                left.push(draft);
            }
        }
        Ok(left)
    }

    /// Goes on with the likeliest texts, one token longer; those that end are `done`.
    fn followed(
        &self,
        open: Vec<Draft>,
        logits: &[f32],
        beam: usize,
        done: &mut Vec<Draft>,
    ) -> Vec<Draft> {
        let vocab = self.model.config().vocab_size;
        let mut next: Vec<(f64, usize, u32)> = Vec::new();
        for (i, (draft, row)) in open.iter().zip(logits.chunks_exact(vocab)).enumerate() {
            let all = log_sum_exp(row);
            let best = best(row, beam + 1);
            next.extend(
                best.into_iter()
                    .map(|(id, logit)| (draft.sum + f64::from(logit) - all, i, id)),
            );
        }
        next.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut left: Vec<Draft> = Vec::new();
        for (sum, i, id) in next {
            if left.len() == beam {
                break;
            }
            let mut draft = Draft {
                sum,
                ..open[i].clone()
            };
            if id == self.tokenizer.tokens().end {
                if done.len() < beam {
                    done.push(draft);
                }
            } else {
                draft.tokens.push(id);
                left.push(draft);
            }
        }
        // A single text that has ended is the answer.
        if beam == 1 && !done.is_empty() {
            Vec::new()
        } else {
            left
        }
    }

    /// The likeliest language of a window, with its probability.
    pub(super) fn language_of(&self, memory: &Memory) -> Result<(String, f64), PipelineError> {
        let (decoder, tokens) = (&self.model.decoder, self.tokenizer.tokens());
        let mut text = decoder.begin();
        let states = decoder.forward(&[tokens.start], &[1], &mut [&mut text], memory)?;
        let logits = decoder.logits(&states)?;
        let of = |id: u32| {
            logits
                .get(id as usize)
                .copied()
                .unwrap_or(f32::NEG_INFINITY)
        };
        let rows: Vec<f32> = tokens.languages.iter().map(|(_, id)| of(*id)).collect();
        let all = log_sum_exp(&rows);
        let best = tokens
            .languages
            .iter()
            .zip(&rows)
            .max_by(|a, b| a.1.total_cmp(b.1));
        Ok(match best {
            Some(((code, _), logit)) => (code.clone(), (f64::from(*logit) - all).exp()),
            None => ("en".to_owned(), 1.0),
        })
    }
}

/// The tokens with the highest logits, highest first, the lower id first among equals.
fn best(row: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (id, &logit) in row.iter().enumerate() {
        if best.len() == count && best.last().is_some_and(|(_, worst)| logit <= *worst) {
            continue;
        }
        if logit == f32::NEG_INFINITY {
            continue;
        }
        let at = best.partition_point(|(_, other)| *other >= logit);
        best.insert(at, (id as u32, logit));
        best.truncate(count);
    }
    best
}

fn samplers(manner: Manner, count: usize, vocab: usize) -> Result<Vec<Sampler>, PipelineError> {
    if manner.temperature == 0.0 {
        return Ok(Vec::new());
    }
    let config = |i: usize| SamplerConfig {
        temperature: manner.temperature as f32,
        ..SamplerConfig::unfiltered(manner.seed.wrapping_mul(31).wrapping_add(i as u64))
    };
    (0..count)
        .map(|i| Ok(Sampler::new(&config(i), vocab)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_in_order() {
        let row = [0.0, 3.0, f32::NEG_INFINITY, 1.0, 3.0];
        assert_eq!(best(&row, 3), [(1, 3.0), (4, 3.0), (3, 1.0)]);
        assert_eq!(best(&row, 9).len(), 4);
    }
}
