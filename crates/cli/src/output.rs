//! What goes to stdout and stderr, and how a run ends.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use medley_types::{ErrorCode, ErrorReport};
use serde_json::{Value, json};

use crate::args::Global;

/// Why a run ends without its result.
pub enum Failure {
    /// Something went wrong: exit code 1.
    Failed(ErrorReport),
    /// The command line cannot be carried out as it stands: exit code 2.
    Usage(ErrorReport),
    /// The user ended it: exit code 130.
    Interrupted,
    /// Whoever read the output has gone.
    Closed,
}

impl From<ErrorReport> for Failure {
    fn from(report: ErrorReport) -> Self {
        Self::Failed(report)
    }
}

impl From<medley_engine::EngineError> for Failure {
    fn from(error: medley_engine::EngineError) -> Self {
        match error {
            medley_engine::EngineError::Cancelled => Self::Interrupted,
            other => Self::Failed(other.report()),
        }
    }
}

impl From<medley_engine::PipelineError> for Failure {
    fn from(error: medley_engine::PipelineError) -> Self {
        match error {
            medley_engine::PipelineError::Cancelled => Self::Interrupted,
            other => Self::Failed(other.report()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            io::ErrorKind::Interrupted => Self::Interrupted,
            _ => Self::Failed(ErrorReport::new(ErrorCode::File, error.to_string())),
        }
    }
}

impl Failure {
    /// A command line that cannot be carried out.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(ErrorReport::new(ErrorCode::InvalidRequest, message))
    }

    /// A file that cannot be read or written.
    pub fn file(path: &std::path::Path, problem: impl std::fmt::Display) -> Self {
        Self::Failed(ErrorReport::new(
            ErrorCode::File,
            format!("{}: {problem}", path.display()),
        ))
    }
}

/// Result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Prints an error and gives the exit code.
pub fn end(outcome: Outcome, json: bool) -> ExitCode {
    let (report, code) = match outcome {
        Ok(()) | Err(Failure::Closed) => return ExitCode::SUCCESS,
        Err(Failure::Interrupted) => return ExitCode::from(130),
        Err(Failure::Failed(report)) => (report, 1),
        Err(Failure::Usage(report)) => (report, 2),
    };
    if json {
        let _ = writeln!(io::stdout(), "{}", json!({ "error": report }));
    } else {
        let hint = report
            .hint
            .as_ref()
            .map(|h| format!(" ({h})"))
            .unwrap_or_default();
        eprintln!("medley: {}{hint}", report.message.replace('\n', " "));
    }
    ExitCode::from(code)
}

/// Prints one JSON object as a line.
pub fn print_json(value: &Value) -> Outcome {
    writeln!(io::stdout(), "{value}")?;
    Ok(())
}

/// Prints text to stdout at once.
pub fn print_now(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A note for the user, which is no result.
pub fn note(global: &Global, text: &str) {
    if !global.quiet {
        eprintln!("{text}");
    }
}

/// Whether progress may be drawn.
pub fn draws(global: &Global) -> bool {
    !global.quiet && io::stderr().is_terminal()
}

/// Most memory that this process has held, in bytes; 0 where the system does not tell.
pub fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kb| kb * 1024)
}
