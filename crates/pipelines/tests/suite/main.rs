//! All tests of `medley-pipelines` from outside: one executable, for each would link the whole engine again.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod batch;
mod common;
mod fakes;
mod graph_voice;
mod hibari;
mod image;
mod image_diffusers;
mod image_gan;
mod joins;
mod music;
mod piper;
mod reference;
mod speculation;
mod transcript;
mod video;
mod video_latents;
