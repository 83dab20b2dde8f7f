//! Token filters and samplers, constrained output; denoising.
//!
//! - [`token`]: choosing the next token from a language model's logits.
//! - [`constraint`]: text that must follow a JSON schema, a regular expression or a grammar.
//! - [`speculative`]: keeping the right ones of several proposed tokens at once.
//! - [`diffusion`]: noise schedules, samplers and guidance of diffusion and flow models.
//! - [`TokenMask`]: the set of tokens that may come next.

pub mod constraint;
pub mod diffusion;
mod error;
mod mask;
mod math;
mod rng;
pub mod speculative;
pub mod token;

pub use constraint::{Constraint, Vocabulary, embedded_schema};
pub use error::SamplingError;
pub use mask::TokenMask;
pub use token::{Distribution, Dry, Sampled, Sampler, SamplerConfig, log_sum_exp, top_logprobs};
