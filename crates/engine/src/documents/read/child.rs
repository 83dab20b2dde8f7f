//! Readers in a process of their own: what a file does to them ends with them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Content, Format};

/// The hidden command by which the program reads one document from standard input and writes [`Content`] as JSON.
pub const COMMAND: &str = "read-document";

/// Memory that a reader may address.
const MEMORY: u64 = 2 << 30;

/// How long a reader may take.
const TIME: Duration = Duration::from_secs(60);

/// Most bytes of what a reader writes.
const OUTPUT: u64 = 256 << 20;

/// How often a reader is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How documents are read.
#[derive(Clone, Debug)]
pub enum Readers {
    /// PDF and Word files by this program, in a process of its own; the rest here.
    Child(PathBuf),
    /// All of them here: only for documents of one's own making.
    Here,
}

impl Readers {
    /// By this very program.
    pub fn this_program() -> Self {
        std::env::current_exe().map_or(Self::Here, Self::Child)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub fn read(&self, format: Format, bytes: &[u8]) -> Result<Content, String> {
        match self {
            Self::Child(program) if format.is_risky() => ask(program, format, bytes, TIME),
            _ => super::parse(format, bytes),
        }
    }
}

/// Sets the limits of a reader, in its process.
pub fn limit_this_process() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let to = |most| Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        // Where the system refuses, the time that the parent gives still ends it.
        let _ = setrlimit(Resource::As, to(MEMORY));
        let _ = setrlimit(Resource::Cpu, to(TIME.as_secs()));
        let _ = setrlimit(Resource::Core, to(0));
        let _ = setrlimit(Resource::Fsize, to(0));
    }
}

fn ask(
    program: &Path,
    format: Format,
    bytes: &[u8],
    patience: Duration,
) -> Result<Content, String> {
    let failed = |error: std::io::Error| format!("its reader cannot be started: {error}");
    let mut child = Command::new(program)
        .args([COMMAND, format.as_str()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let mut text = Vec::new();
    let status = std::thread::scope(|scope| {
        scope.spawn(|| {
            // A reader that ends early reads no more.
            input.map(|mut input| input.write_all(bytes))
        });
        let text = &mut text;
        scope.spawn(move || output.map(|output| output.take(OUTPUT).read_to_end(text)));
        let begun = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if begun.elapsed() < patience => std::thread::sleep(LOOK),
                _ => {
                    drop(child.kill());
                    drop(child.wait());
                    break None;
                }
            }
        }
    });
    let status = status.ok_or_else(|| {
        let seconds = patience.as_secs();
        format!("reading it takes longer than {seconds} seconds")
    })?;
    let answer: Result<Content, String> = match serde_json::from_slice(&text) {
        Ok(answer) => answer,
        Err(_) => return Err(format!("its reader ended badly ({status})")),
    };
    answer
}

/// Carries out [`COMMAND`]: reads standard input and writes what came of it.
///
/// # Errors
/// When standard input or output are gone.
pub fn serve(format: Format) -> std::io::Result<()> {
    limit_this_process();
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(super::LIMIT + 1)
        .read_to_end(&mut bytes)?;
    let answer = super::parse(format, &bytes);
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &answer)?;
    out.flush()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_hangs_or_dies_is_told_in_words() {
        let read = |program: &str, patience| {
            let patience = Duration::from_millis(patience);
            ask(Path::new(program), Format::Pdf, b"x", patience).unwrap_err()
        };
        assert!(read("/bin/false", 5000).contains("ended badly"));
        assert!(read("/nowhere", 5000).contains("cannot be started"));
        let folder = tempfile::tempdir().unwrap();
        let slow = folder.path().join("slow");
        std::fs::write(&slow, "#!/bin/sh\nexec /bin/sleep 5\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&slow, mode).unwrap();
        assert!(read(slow.to_str().unwrap(), 200).contains("longer than"));
    }
}
