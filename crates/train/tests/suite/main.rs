//! All tests of `medley-train` from outside: one executable, for each would link the whole engine again.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod adversarial;
mod batches;
mod captions;
mod common;
mod curve;
mod dataset_kinds;
mod denoise_curve;
mod gan;
mod image;
mod lora;
mod music;
mod ngram;
mod optim;
mod scorer;
mod tables;
mod text;
mod upscaler;
mod video;
