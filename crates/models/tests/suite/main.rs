//! All tests of `medley-models` from outside: one executable, for each would link the whole engine again.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod bert;
mod contrastive;
mod dcgan;
mod decoder;
mod dit;
mod lora;
mod rrdb;
mod stylegan2;
mod twin;
mod vae;
mod vae3d;
mod whisper;
