//! A program in a folder, changed by rule and by the default model.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::Program;
use crate::process;

const CONFIG: &str = "def parse(path):\n    return open(path).read()\n";
const MAIN: &str = "from config import parse\n\n\ndef main():\n    print(parse(\"my.ini\"))\n\n\ndef average(numbers):\n    return sum(numbers) / len(numbers)\n";

/// Diffs that git applies, and nothing written unasked.
pub fn code(program: &Program) -> Result<()> {
    let place = tempfile::tempdir()?;
    let at = |name: &str| place.path().join(name);
    fs::write(at("config.py"), CONFIG)?;
    fs::write(at("main.py"), MAIN)?;
    let folder = place.path().to_string_lossy().into_owned();
    let rename = "rename parse to read_config and fix callers";
    let renamed = program.json(&["code", rename, "--repo", &folder])?;
    let diff = renamed["diff"].as_str().unwrap_or_default();
    applies(place.path(), diff)?;
    ensure!(
        diff.matches("+").count() > 3 && renamed["files"][1]["path"] == "main.py",
        "{renamed}"
    );
    let guard = "guard average against an empty list";
    let guarded = program.json(&["code", guard, "--repo", &folder, "--seed", "1"])?;
    ensure!(guarded["files"][0]["path"] == "main.py", "{guarded}");
    applies(place.path(), guarded["diff"].as_str().unwrap_or_default())?;
    ensure!(
        fs::read_to_string(at("main.py"))? == MAIN,
        "written without --apply"
    );
    program.json(&["code", rename, "--repo", &folder, "--apply"])?;
    ensure!(
        fs::read_to_string(at("main.py"))?.contains("print(read_config("),
        "not written"
    );
    program.refuses(
        &["code", "x", "--repo", &at("no").to_string_lossy()],
        1,
        &["there is no such folder"],
    )
}

fn applies(folder: &Path, diff: &str) -> Result<()> {
    let file = folder.join("change.diff");
    fs::write(&file, diff)?;
    let mut git = Command::new("git");
    let checked = process::run(
        git.args(["apply", "--check"])
            .arg(&file)
            .current_dir(folder),
    );
    fs::remove_file(file)?;
    checked
}
