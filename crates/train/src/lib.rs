//! Training: what models learn from and how.
//!
//! - [`data`]: captioned pictures from folders, lists, tables and archives, in a seeded order that goes on at
//!   the very picture where a run stopped;
//! - [`captions`]: captions as the states of a sentence encoder.

pub mod captions;
pub mod data;
