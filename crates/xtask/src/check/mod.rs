//! Rules that need no compiler, so that breaking one is told within seconds.

mod deny;
mod layers;
mod text;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::metadata::Metadata;
use crate::process;
use crate::steps::Steps;

/// `cargo xtask check`.
pub fn run() -> Result<()> {
    let mut steps = Steps::default();
    add_to(&mut steps);
    steps.finish()
}

/// All checks as steps of a longer run.
pub fn add_to(steps: &mut Steps) {
    let metadata = Metadata::load();
    let with_metadata = |verify: fn(&Metadata) -> Result<Vec<String>>| match &metadata {
        Ok(metadata) => none_of(verify(metadata)?),
        Err(error) => bail!("{error:#}"),
    };
    steps.step("check::layers", || {
        with_metadata(|metadata| Ok(layers::violations(metadata)))
    });
    steps.step("check::licences", || {
        with_metadata(|metadata| deny::Policy::load()?.licence_violations(metadata))
    });
    steps.step("check::bans", || {
        with_metadata(|metadata| Ok(deny::Policy::load()?.ban_violations(metadata)))
    });
    steps.step("check::sources", || {
        with_metadata(|metadata| Ok(deny::Policy::load()?.source_violations(metadata)))
    });
    steps.step("check::length", || {
        none_of(text::over_all(&tracked()?, text::too_long))
    });
    steps.step("check::words", || {
        none_of(text::over_all(&tracked()?, text::unfinished))
    });
    steps.step("check::paths", || {
        none_of(text::over_all(&tracked()?, text::machine_paths))
    });
    steps.step("check::unsafe", || {
        none_of(text::over_all(&tracked()?, text::misplaced_unsafe))
    });
    steps.step("check::modules", || none_of(undeclared(&tracked()?)));
    steps.step("check::golden-size", || none_of(oversized(&tracked()?)));
    steps.step("check::starter", || none_of(crate::starter::unlisted()?));
    if process::available("cargo-deny", "--version") {
        steps.step("check::cargo-deny", || {
            process::run(process::cargo().args(["deny", "check", "bans", "licenses", "sources"]))
        });
    }
}

/// Rust files that no `mod` reaches: nobody compiles them, so their tests never run.
fn undeclared(files: &[PathBuf]) -> Vec<String> {
    let reached = |path: &PathBuf| {
        let (Some(folder), Some(name)) = (path.parent(), path.file_stem()) else {
            return true;
        };
        // `a/mod.rs` is declared where `a.rs` would be.
        let (folder, name) = match (name == "mod", folder.file_name()) {
            (true, Some(above)) => (folder.parent().unwrap_or(folder), above),
            _ => (folder, name),
        };
        let name = name.to_string_lossy();
        let of_its_own = folder.file_name().and_then(|folder| folder.to_str());
        if matches!(&*name, "lib" | "main" | "build")
            || matches!(
                of_its_own,
                Some("tests" | "examples" | "benches" | "fuzz_targets")
            )
        {
            return true;
        }
        let beside = ["mod.rs", "lib.rs", "main.rs"].map(|parent| folder.join(parent));
        let mut parents = beside.into_iter().chain([folder.with_extension("rs")]);
        parents.any(|parent| {
            std::fs::read_to_string(process::root().join(parent))
                .is_ok_and(|text| text.contains(&format!("mod {name};")))
        })
    };
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .filter(|path| !reached(path))
        .map(|path| format!("{}: no `mod` declares it", path.display()))
        .collect()
}

/// Bytes a golden case may have: weights are filled from their names, never stored.
const MAX_CASE_BYTES: u64 = 200_000;

/// Golden cases that are too large.
fn oversized(files: &[PathBuf]) -> Vec<String> {
    files
        .iter()
        .filter(|path| path.ends_with("case.safetensors"))
        .filter_map(|path| {
            let bytes = std::fs::metadata(process::root().join(path)).ok()?.len();
            (bytes > MAX_CASE_BYTES).then(|| {
                format!(
                    "{}: {bytes} bytes, at most {MAX_CASE_BYTES}: keep fewer activations",
                    path.display()
                )
            })
        })
        .collect()
}

/// Nothing to complain about, or everything at once, one line each.
fn none_of(violations: Vec<String>) -> Result<()> {
    if violations.is_empty() {
        return Ok(());
    }
    bail!("{}", violations.join("\n    "));
}

/// Files that git tracks or would add, relative to the root.
fn tracked() -> Result<Vec<PathBuf>> {
    let listing = process::capture(
        Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(process::root()),
    )?;
    Ok(listing
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|path| process::root().join(path).is_file())
        .collect())
}
