//! All tests of `medley-engine` from outside: one executable, for each would link the whole engine again.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too, and prints what it measured"
)]

mod checkpoints;
mod common;
mod convert;
mod convert_encoder;
mod convert_tokenizer;
mod fidelity;
mod http;
mod http_failures;
mod hub;
mod lora;
mod package;
mod program;
mod real_pull;
mod renaming;
mod repository;
mod route;
mod store;
