//! Folders, child processes and their outcome.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// The root of the workspace: two folders above this crate.
pub fn root() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir
        .parent()
        .and_then(Path::parent)
        .unwrap_or(crate_dir)
}

/// Folder outside the repository for everything that is fetched or built for developers: peers, virtual
/// environments, models. `MEDLEY_REF`, or `medley-dev` in the user's cache folder.
pub fn ref_dir() -> Result<PathBuf> {
    let dir = match std::env::var_os("MEDLEY_REF") {
        Some(dir) => PathBuf::from(dir),
        None => cache_home()?.join("medley-dev"),
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

fn cache_home() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    let home = std::env::var_os("HOME")
        .or_else(|| std::env::var_os("USERPROFILE"))
        .context("neither MEDLEY_REF, XDG_CACHE_HOME nor HOME is set: set MEDLEY_REF to a folder for fetched files")?;
    Ok(Path::new(&home).join(".cache"))
}

/// The cargo that runs this program.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The command line as a person would type it, for messages.
pub fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Run with inherited output and no input; fail unless the exit code is 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// Run and return standard output; standard error is shown only when the command fails.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}:\n{}{}",
            describe(command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed invalid UTF-8", describe(command)))
}

/// Whether a program of this name can be started.
pub fn available(program: &str, probe: &str) -> bool {
    Command::new(program)
        .arg(probe)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The program as users build it: `cargo build --release`, then `target/release/medley`; or the one that `MEDLEY_BIN`
/// names, such as one of the profile `dist`.
pub fn build_medley() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("MEDLEY_BIN") {
        let binary = PathBuf::from(named);
        if !binary.is_file() {
            bail!("MEDLEY_BIN names {}, which is no file", binary.display());
        }
        return std::path::absolute(&binary).context("there is no current folder");
    }
    // With the features of the whole workspace, as the tests are compiled: nothing is compiled twice.
    run(cargo().args(["build", "--release", "--workspace", "--bin", "medley"]))?;
    let binary = target_dir()
        .join("release")
        .join(format!("medley{}", std::env::consts::EXE_SUFFIX));
    if !binary.is_file() {
        bail!("cargo built medley, but {} is missing", binary.display());
    }
    Ok(binary)
}

/// Writes a record as JSON for people to read.
pub fn write_record(file: &Path, record: &impl Serialize) -> Result<()> {
    std::fs::write(file, serde_json::to_string_pretty(record)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))
}
