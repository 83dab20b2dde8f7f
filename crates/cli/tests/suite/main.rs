//! The program, run as its users run it: one executable, for each would link the whole engine again.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod code;
mod desk;
mod docs;
mod image;
mod image_inputs;
mod image_refusals;
mod models;
mod train;
