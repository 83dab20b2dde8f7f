//! Token filters and samplers, constrained output.
//!
//! - [`token`]: choosing the next token from a language model's logits.
//! - [`speculative`]: keeping the right ones of several proposed tokens at once.
//! - [`TokenMask`]: the set of tokens that may come next.

mod error;
mod mask;
mod math;
mod rng;
pub mod speculative;
pub mod token;

pub use error::SamplingError;
pub use mask::TokenMask;
pub use token::{Distribution, Dry, Sampled, Sampler, SamplerConfig, log_sum_exp, top_logprobs};
