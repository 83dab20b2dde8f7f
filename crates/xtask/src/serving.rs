//! A server over a free port, as a child that ends with what holds it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// No server takes longer to start, and no answer to begin.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs.
pub struct Server {
    child: Child,
    /// Host and port.
    pub address: String,
}

impl Server {
    /// `medley serve` with these flags.
    pub fn medley(binary: &Path, home: &Path, flags: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary)
            .args(["serve", "--port", "0", "--json"])
            .args(flags)
            .env("MEDLEY_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("`medley serve` does not start")?;
        let mut line = String::new();
        let output = child.stdout.take().context("it has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let started: Value =
            serde_json::from_str(&line).context("`medley serve --json` said no JSON")?;
        let url = started["url"].as_str().context("it named no url")?;
        let address = url.trim_start_matches("http://").trim_end_matches("/v1");
        Ok(Self {
            child,
            address: address.to_owned(),
        })
    }

    /// Another server, which is told its port by `--port`; it is up when `/health` answers 200.
    pub fn other(command: &mut Command) -> Result<Self> {
        // Free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} does not start", crate::process::describe(command)))?;
        let mut server = Self {
            child,
            address: format!("127.0.0.1:{port}"),
        };
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended with {status}", crate::process::describe(command));
            }
            if server.is_healthy().unwrap_or(false) {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("{} does not come up", crate::process::describe(command))
    }

    fn is_healthy(&self) -> Result<bool> {
        let stream = self.request("GET /health", "", None)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line.contains(" 200"))
    }

    /// Sends a request; what is read from the stream is the answer.
    pub fn request(&self, request: &str, body: &str, key: Option<&str>) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let key = key.map_or(String::new(), |key| {
            format!("Authorization: Bearer {key}\r\n")
        });
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n{key}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        Ok(stream)
    }

    /// Bytes that it holds in memory now; nothing where the system does not tell.
    pub fn resident_bytes(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    }

    /// Fails where it has ended.
    pub fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the server ended: {ended:?}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
