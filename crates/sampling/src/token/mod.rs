//! Choosing the next token from a language model's logits.

mod config;
mod filter;
mod logprob;
mod penalty;
mod sampler;
mod select;

pub use config::{Dry, SamplerConfig};
pub use logprob::{log_sum_exp, top_logprobs};
pub use sampler::{Distribution, Sampled, Sampler};
