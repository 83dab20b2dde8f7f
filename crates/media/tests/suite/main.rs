//! All tests of `medley-media` from outside: one executable, for each would link the whole engine again.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too, and prints what it measured"
)]

mod every_film;
mod ffmpeg;
mod films;
mod films_of_others;
mod interpolate;
mod mel;
mod music;
mod pictures;
mod reference;
mod sound;
mod timeline;
