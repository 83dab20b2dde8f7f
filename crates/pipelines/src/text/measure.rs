//! Perplexity and speed of a language model.

use std::time::Instant;

use medley_models::decoder::{Input, Wanted};
use medley_sampling::log_sum_exp;

use super::{PREFILL_CHUNK, TextModel};
use crate::PipelineError;

/// How well a text is predicted.
#[derive(Clone, Copy, Debug)]
pub struct Perplexity {
    /// `exp` of the mean negative log-likelihood.
    pub perplexity: f64,
    /// Tokens that were scored.
    pub tokens: usize,
}

/// How fast a model reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Prompt tokens per second.
    pub prefill_tok_s: f64,
    /// Tokens written per second, over all sequences.
    pub decode_tok_s: f64,
}

impl TextModel {
    /// Perplexity of `text` by the protocol of llama.cpp's `llama-perplexity`: chunks of `context` tokens that do not
    /// overlap, the first half of each only as context, the first token of each replaced by BOS where the model's
    /// files ask for one, and the remainder dropped.
    pub fn perplexity(
        &self,
        text: &str,
        context: usize,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Perplexity, PipelineError> {
        if context < 8 || context > self.context {
            return Err(PipelineError::InvalidRequest(format!(
                "a context of {context} tokens cannot be measured; it must lie between 8 and {}",
                self.context
            )));
        }
        let ids = self.tokenizer.encode(text, true, false)?;
        let chunks = ids.len() / context;
        if chunks == 0 {
            return Err(PipelineError::InvalidRequest(format!(
                "the text has {} tokens, fewer than one chunk of {context}",
                ids.len()
            )));
        }
        let bos = self.tokenizer.bos().filter(|_| self.tokenizer.adds_bos());
        let first = context / 2;
        let (mut sum, mut count) = (0.0f64, 0usize);
        for (index, chunk) in ids.chunks_exact(context).enumerate() {
            let mut chunk = chunk.to_vec();
            if let Some(bos) = bos {
                chunk[0] = bos;
            }
            let mut cache = self.cache();
            for (part, tokens) in chunk.chunks(PREFILL_CHUNK).enumerate() {
                let start = part * PREFILL_CHUNK;
                let logits = self
                    .decoder
                    .forward(&mut [Input {
                        tokens,
                        cache: &mut cache,
                        wanted: Wanted::All,
                    }])?
                    .remove(0);
                let vocab = self.decoder.config().vocab_size;
                for (i, row) in logits.chunks_exact(vocab).enumerate() {
                    let position = start + i;
                    if position >= first && position + 1 < context {
                        sum += log_sum_exp(row) - f64::from(row[chunk[position + 1] as usize]);
                        count += 1;
                    }
                }
            }
            progress(index + 1, chunks);
        }
        Ok(Perplexity {
            perplexity: (sum / count as f64).exp(),
            tokens: count,
        })
    }

    /// Speed of reading `prefill` tokens and then writing `decode` more in each of `sequences` sequences together.
    pub fn speed(
        &self,
        prefill: usize,
        decode: usize,
        sequences: usize,
    ) -> Result<Speed, PipelineError> {
        let vocab = self.decoder.config().vocab_size as u32;
        let token = |i: usize| (i as u32).wrapping_mul(2_654_435_761) % vocab;
        let prompt: Vec<u32> = (0..prefill).map(token).collect();
        let mut caches: Vec<_> = (0..sequences).map(|_| self.cache()).collect();
        self.decoder.forward(&mut [Input {
            tokens: &prompt[..1],
            cache: &mut self.cache(),
            wanted: Wanted::Last,
        }])?;
        let start = Instant::now();
        for cache in &mut caches {
            for tokens in prompt.chunks(PREFILL_CHUNK) {
                self.decoder.forward(&mut [Input {
                    tokens,
                    cache,
                    wanted: Wanted::Last,
                }])?;
            }
        }
        let read = start.elapsed().as_secs_f64();
        if prefill == 0 || decode == 0 {
            return Ok(Speed {
                prefill_tok_s: (prefill * sequences) as f64 / read,
                decode_tok_s: 0.0,
            });
        }
        // One sequence is written behind an empty context, as llama-bench does; several go on from their prompts, as
        // llama-batched-bench does.
        if let [cache] = &mut caches[..] {
            cache
                .truncate(0)
                .map_err(medley_models::ConfigError::from)?;
        }
        let start = Instant::now();
        for step in 0..decode {
            let token = [token(step)];
            let mut inputs: Vec<Input> = caches
                .iter_mut()
                .map(|cache| Input {
                    tokens: &token,
                    cache,
                    wanted: Wanted::Last,
                })
                .collect();
            self.decoder.forward(&mut inputs)?;
        }
        let written = start.elapsed().as_secs_f64();
        Ok(Speed {
            prefill_tok_s: (prefill * sequences) as f64 / read,
            decode_tok_s: (decode * sequences) as f64 / written,
        })
    }
}
