//! ABC notation, [version 2.1](https://abcnotation.com/wiki/abc:standard:v2.1): melodies as text.

mod body;
mod read;
mod write;

pub use read::{read, tunes};
pub use write::write;
