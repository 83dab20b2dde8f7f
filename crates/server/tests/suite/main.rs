//! All tests of `medley-server` from outside: one executable, for each would link the whole engine again.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod api;
mod common;
mod creations;
mod documents;
mod generators;
mod jobs;
mod links;
mod messages;
mod operations;
mod pictures;
mod responses;
mod sound;
mod texts;
mod tools;
mod transcripts;
mod videos;
