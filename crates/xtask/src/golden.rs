//! `cargo xtask golden`: run the make.py scripts that hold this project against the field's reference programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bench::llama::Llama;
use crate::process;
use crate::python::Venv;
use crate::smoke::Program;

#[derive(Args)]
pub struct GoldenArgs {
    /// Run only scripts whose path contains one of these words
    names: Vec<String>,
    /// List the scripts and run none
    #[arg(long)]
    list: bool,
}

pub fn run(args: &GoldenArgs) -> Result<()> {
    let scripts: Vec<PathBuf> = scripts()?
        .into_iter()
        .filter(|script| {
            let text = script.to_string_lossy();
            args.names.is_empty() || args.names.iter().any(|name| text.contains(name.as_str()))
        })
        .collect();
    if scripts.is_empty() {
        bail!("no make.py matches {}", args.names.join(", "));
    }
    if args.list {
        for script in scripts {
            println!("{}", script.display());
        }
        return Ok(());
    }
    let venv = Venv::open()?;
    for script in scripts {
        println!("{}", script.display());
        let script = process::root().join(script);
        let folder = script
            .parent()
            .with_context(|| format!("{} is in no folder", script.display()))?;
        if let Some(file) = requirements(folder, process::root()) {
            venv.need_requirements(&file)?;
        }
        process::run(
            venv.command(venv.python())?
                .arg(&script)
                .args(arguments(&script)?)
                .current_dir(folder),
        )?;
    }
    Ok(())
}

/// What a script asks for beside its own folder: real models, and the reference program.
fn arguments(script: &Path) -> Result<Vec<OsString>> {
    if script.ends_with("golden/text/make.py") {
        let llama = Llama::open()?;
        let program = Program::build()?;
        let mut list: Vec<OsString> = vec![llama.package()?.into(), llama.build_dir()?.into()];
        for name in ["smollm2-135m", "gemma3-270m"] {
            let mut pair = OsString::from(format!("{name}="));
            pair.push(program.weights(name)?);
            list.push(pair);
        }
        return Ok(list);
    }
    if script.ends_with("golden/minilm/make.py") {
        let marker = Program::build()?.file_of("minilm", &|path| {
            path.ends_with("sentence_bert_config.json")
        })?;
        return Ok(marker.parent().map(Into::into).into_iter().collect());
    }
    Ok(Vec::new())
}

/// Every make.py that git knows or would add.
fn scripts() -> Result<Vec<PathBuf>> {
    let listing = process::capture(
        Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .args(["--", "make.py", "*/make.py"])
            .current_dir(process::root()),
    )?;
    let mut found: Vec<PathBuf> = listing
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// The nearest requirements.txt at or above `folder`, within `root`.
fn requirements(folder: &Path, root: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .take_while(|ancestor| ancestor.starts_with(root))
        .map(|ancestor| ancestor.join("requirements.txt"))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_the_nearest_ones() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(requirements(&deep, root.path()), None);
        let outer = root.path().join("requirements.txt");
        std::fs::write(&outer, "numpy==2\n").unwrap();
        assert_eq!(requirements(&deep, root.path()), Some(outer));
        let inner = root.path().join("a/requirements.txt");
        std::fs::write(&inner, "torch==2\n").unwrap();
        assert_eq!(requirements(&deep, root.path()), Some(inner));
    }
}
