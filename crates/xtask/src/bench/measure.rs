//! A child process with the memory it held at most, measured the same way for both engines.

use std::io::Read;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use wait4::Wait4;

use crate::process;

/// What a child left behind.
pub struct Measured {
    /// Its standard output.
    pub stdout: String,
    /// Highest resident set, bytes, as `wait4` reports it.
    pub peak_rss_bytes: u64,
}

/// Run to the end. Standard error goes to a temporary file and is shown only on failure.
pub fn run(command: &mut Command) -> Result<Measured> {
    let mut errors = tempfile::tempfile().context("cannot make a temporary file")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {}", process::describe(command)))?;
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout)
            .with_context(|| format!("{} printed invalid UTF-8", process::describe(command)))?;
    }
    let used = child.wait4()?;
    if !used.status.success() {
        let mut text = String::new();
        std::io::Seek::rewind(&mut errors)?;
        errors.read_to_string(&mut text)?;
        bail!(
            "{} ended with {}:\n{stdout}{text}",
            process::describe(command),
            used.status
        );
    }
    Ok(Measured {
        stdout,
        peak_rss_bytes: used.rusage.maxrss,
    })
}

/// Runs a program that prints one JSON object, and gives it with the memory that it took.
pub fn json(command: &mut Command) -> Result<(Value, u64)> {
    let measured = run(command)?;
    let value = serde_json::from_str(&measured.stdout).with_context(|| {
        format!(
            "{} printed something unexpected",
            process::describe(command)
        )
    })?;
    Ok((value, measured.peak_rss_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn memory_output_and_failure_of_a_child() {
        let measured = run(Command::new("sh").args(["-c", "echo fine"])).unwrap();
        assert_eq!(measured.stdout, "fine\n");
        assert!(measured.peak_rss_bytes > 100_000, "not in bytes?");
        let error = run(Command::new("sh").args(["-c", "echo because >&2; exit 3"]));
        assert!(error.is_err_and(|error| error.to_string().contains("because")));
    }
}
