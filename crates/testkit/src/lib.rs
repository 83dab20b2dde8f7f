//! Golden cases and comparisons for the tests.
//!
//! A golden case is a folder below `golden/`: the configuration of a tiny model, the names and
//! shapes of its weights, and what the field's reference computed with it. The weights themselves
//! are not stored; [`mod@fill`] makes the same ones here and in Python.
//!
//! ```no_run
//! use medley_testkit::{Case, Tolerance, assert_close};
//!
//! let case = Case::open("decoder/llama").unwrap();
//! let weights = case.weights().unwrap(); // name -> (shape, values)
//! let ids = case.i64s("input_ids").unwrap(); // 2 × 12
//! # let logits: Vec<f32> = Vec::new();
//! assert_close("logits", &logits, case.f32s("logits").unwrap(), Tolerance::absolute(1e-4));
//! ```

pub mod case;
pub mod compare;
pub mod fill;
mod pulled;
pub mod text;
mod wordpiece;

pub use case::{Case, CaseError, Tensor, Weights, golden};
pub use compare::{
    Difference, Mismatch, Tolerance, assert_close, check_close, cosine, difference, kl_divergence,
    log_softmax,
};
pub use pulled::pulled;
pub use wordpiece::wordpiece;
