//! Fits the layer that the router has beside its rules, to the labelled requests of its tests; requests that are kept for
//! measuring are not read.

use anyhow::Result;

use crate::process::{self, cargo, root};

/// Requests that may be learned from, below the tests of the engine.
const SETS: [&str; 4] = ["seen.json", "own.json", "fresh.json", "more.json"];
const REQUESTS: &str = "crates/engine/tests/route";
const LAYER: &str = "crates/engine/src/route/layer.json";
const ENCODER: &str = "starter/icon-encoder/encoder.gguf";

/// Says how rules and layer do on requests that the layer has not seen, and writes the layer of all.
pub fn run() -> Result<()> {
    process::run(cargo().args(["build", "--release", "--workspace", "--example", "router"]))?;
    let mut fit = std::process::Command::new(root().join("target/release/examples/router"));
    fit.args([ENCODER, LAYER]).current_dir(root());
    process::run(fit.args(SETS.map(|set| format!("{REQUESTS}/{set}"))))
}
