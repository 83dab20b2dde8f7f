//! `cargo xtask test`: everything that must hold, cheapest check first.

use anyhow::Result;
use clap::Args;

use crate::process::{self, cargo};
use crate::steps::Steps;
use crate::{check, docs, smoke};

#[derive(Args)]
pub struct TestArgs {
    /// Run only these groups or steps: check, fmt, clippy, rustdoc, models, test, docs, smoke, or one such as check::layers
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Runs every step even after a failure: one run tells all there is to mend.
pub fn run(args: &TestArgs) -> Result<()> {
    let mut steps = Steps::only(&args.only);
    check::add_to(&mut steps);
    steps.step("fmt", || fmt(true));
    steps.step("clippy", clippy);
    steps.step("rustdoc", rustdoc);
    let mut models = None;
    steps.step("models", || {
        models = Some(smoke::pull_models()?);
        Ok(())
    });
    // One profile for all: what is tested is what runs. Doc tests are among them.
    steps.step("test", || {
        let mut command = cargo();
        command.args(["test", "--release", "--workspace", "--no-fail-fast"]);
        if let Some(folder) = &models {
            command.env("MEDLEY_MODELS", folder);
        }
        process::run(&mut command)
    });
    steps.step("docs", || docs::run(true));
    smoke::add_to(&mut steps);
    steps.finish()
}

/// `cargo fmt` over the workspace.
pub fn fmt(check: bool) -> Result<()> {
    let mut command = cargo();
    command.args(["fmt", "--all"]);
    if check {
        command.arg("--check");
    }
    process::run(&mut command)
}

fn clippy() -> Result<()> {
    process::run(cargo().args([
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Documentation must build without broken links.
fn rustdoc() -> Result<()> {
    process::run(
        cargo()
            .args(["doc", "--release", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}
