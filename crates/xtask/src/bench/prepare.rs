//! Files that only the benchmarks need, made once in the developer folder: other types of the starter model, and a
//! larger shape with random weights.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::python::Venv;
use crate::smoke::Program;

/// Types to which the starter model's file is quantised.
const TYPES: [&str; 2] = ["Q4_0", "Q8_0"];

/// Names and files of every model of the whole benchmark; missing files are made first.
pub fn models(program: &Program) -> Result<Vec<String>> {
    let starter = program.weights("smollm2-135m")?;
    let dir = process::ref_dir()?.join("bench-models");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut names = vec!["smollm2-135m".to_owned()];
    for ty in TYPES {
        let file = dir.join(format!("smollm2-135m-{ty}.gguf"));
        quantize(program, &starter, &file, ty)?;
        names.push(file.to_string_lossy().into_owned());
    }
    names.push("gemma3-270m".to_owned());
    let large = dir.join("llama-1b-random-Q4_K_M.gguf");
    if !large.is_file() {
        let wide = random_llama(&starter, &dir)?;
        quantize(program, &wide, &large, "Q4_K_M")?;
        std::fs::remove_file(&wide).with_context(|| format!("cannot remove {}", wide.display()))?;
    }
    names.push(large.to_string_lossy().into_owned());
    Ok(names)
}

fn quantize(program: &Program, from: &Path, to: &Path, ty: &str) -> Result<()> {
    if to.is_file() {
        return Ok(());
    }
    process::run(
        Command::new(program.binary())
            .args(["models", "quantize"])
            .args([from, to])
            .args(["--type", ty]),
    )
}

/// The random weights as F16, 2 GB of them.
fn random_llama(starter: &Path, dir: &Path) -> Result<PathBuf> {
    let venv = Venv::open()?;
    process::run(&mut venv.pip(&["install", "--quiet", "gguf==0.19.0"])?)?;
    let wide = dir.join("llama-1b-random-F16.gguf");
    process::run(
        venv.command(venv.python())?
            .arg(process::root().join("crates/xtask/peer/random_llama.py"))
            .args([starter, &wide]),
    )?;
    Ok(wide)
}
