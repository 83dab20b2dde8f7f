//! A virtual environment outside the repository, for reference implementations and build tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Packages that are never installed: installing would compile them, and only their sources are wanted.
const SOURCE_ONLY: &[&str] = &["llama-cpp-python"];

/// The virtual environment in `MEDLEY_REF/venv` (see [`process::ref_dir`]).
pub struct Venv {
    dir: PathBuf,
}

impl Venv {
    /// Open it, making it first if it is not there.
    pub fn open() -> Result<Self> {
        let venv = Self {
            dir: process::ref_dir()?.join("venv"),
        };
        if venv.python().is_file() {
            return Ok(venv);
        }
        let system = ["python3", "python"]
            .into_iter()
            .find(|name| process::available(name, "--version"))
            .context("this command needs Python 3: neither python3 nor python can be started")?;
        println!("making a Python environment in {}", venv.dir.display());
        process::run(Command::new(system).args(["-m", "venv"]).arg(&venv.dir))
            .context("python -m venv failed: is the venv module of Python installed?")?;
        Ok(venv)
    }

    fn bin(&self) -> PathBuf {
        self.dir.join(if cfg!(windows) { "Scripts" } else { "bin" })
    }

    /// Its interpreter.
    pub fn python(&self) -> PathBuf {
        self.bin()
            .join(format!("python{}", std::env::consts::EXE_SUFFIX))
    }

    /// A program installed into it, such as `cmake`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin()
            .join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// A command that finds the environment's programs first.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let mut path = vec![self.bin()];
        path.extend(
            std::env::var_os("PATH")
                .iter()
                .flat_map(std::env::split_paths),
        );
        let mut command = Command::new(program);
        command
            .env("PATH", std::env::join_paths(path)?)
            .env("VIRTUAL_ENV", &self.dir);
        Ok(command)
    }

    /// `pip` with these arguments.
    pub fn pip(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.command(self.python())?;
        command.args(["-m", "pip", "--disable-pip-version-check"]);
        command.args(args);
        Ok(command)
    }

    /// Install the lines of a requirements file that were not installed before. Packages whose source is the point
    /// (see [`SOURCE_ONLY`]) are left to those who build them.
    pub fn need_requirements(&self, file: &Path) -> Result<()> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let stamp = self.dir.join("installed-requirements.txt");
        let done = std::fs::read_to_string(&stamp).unwrap_or_default();
        let missing: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter(|line| !SOURCE_ONLY.iter().any(|name| line.starts_with(name)))
            .filter(|line| !done.lines().any(|known| known == *line))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        println!("installing what {} asks for", file.display());
        process::run(self.pip(&["install", "--quiet"])?.args(&missing))?;
        let mut done = done;
        for line in missing {
            done.push_str(line);
            done.push('\n');
        }
        std::fs::write(&stamp, done).with_context(|| format!("cannot write {}", stamp.display()))
    }
}

/// The only entry of `dir` whose name starts with `prefix`.
pub fn find_entry(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(prefix))
        })
        .collect();
    found.sort();
    match found.pop() {
        Some(path) => Ok(path),
        None => bail!("{} holds nothing called {prefix}*", dir.display()),
    }
}
