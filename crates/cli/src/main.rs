//! The medley command line.

fn main() {}
