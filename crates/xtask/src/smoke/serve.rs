//! The server over a socket, as clients reach it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Program;

/// The key that the server of these cases asks for.
pub const KEY: &str = "smoke";

const QUESTION: &str = "Name three rivers.";

/// No answer of these takes longer on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the server may take to end, the grace of what still runs among it.
const ENDING: Duration = Duration::from_secs(20);

pub fn serve(program: &Program) -> Result<()> {
    let flags = ["--temperature", "0", "--max-tokens", "16"];
    let alone = program.json(&[&["text", QUESTION], &flags[..]].concat())?;
    let server = Server::start(program, program.home(), &["--api-key", KEY])?;
    talk(&server, &alone["text"])?;
    server.end()
}

/// `medley serve` on a port of its own; it ends with this.
pub struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts it with its models in `home`, and waits until it answers.
    pub fn start(program: &Program, home: &Path, flags: &[&str]) -> Result<Self> {
        let child = Command::new(program.binary())
            .args(["serve", "--port", "0", "--json"])
            .args(flags)
            .env("MEDLEY_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("`medley serve` does not start")?;
        let mut server = Self {
            child,
            url: String::new(),
        };
        let mut line = String::new();
        let output = server.child.stdout.as_mut().context("it has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let started: Value =
            serde_json::from_str(&line).context("`medley serve --json` said no JSON")?;
        let url = started["url"].as_str().context("it named no url")?;
        server.url = url.trim_end_matches("/v1").to_owned();
        Ok(server)
    }

    /// Where its pages are: `http://HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.url
    }

    /// As kill -9 does.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ctrl-C, to which the server answers by ending well.
    pub fn end(mut self) -> Result<()> {
        let signalled = Command::new("sh")
            .args(["-c", "kill -INT \"$0\"", &self.child.id().to_string()])
            .status()?;
        ensure!(signalled.success(), "the server is gone already");
        let since = Instant::now();
        while since.elapsed() < ENDING {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "after Ctrl-C the server ended with {status}"
                );
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the server does not end after Ctrl-C")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is no harm.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `expected` is what the model writes where it is asked alone.
fn talk(server: &Server, expected: &Value) -> Result<()> {
    let address = server.address().trim_start_matches("http://");
    let (status, _) = ask(address, "GET /health", None, None)?;
    ensure!(status == 200, "/health answers {status}");
    let (status, _) = ask(address, "GET /v1/models", None, None)?;
    ensure!(status == 401, "without a key /v1/models answers {status}");
    let (status, models) = ask(address, "GET /v1/models", Some(KEY), None)?;
    ensure!(
        status == 200 && models.contains("\"smollm2-135m\""),
        "/v1/models answers {status}: {models}"
    );

    let chat = |change: Value| {
        let question = json!([{ "role": "user", "content": QUESTION }]);
        let mut body = json!({ "model": "smollm2-135m", "messages": question, "temperature": 0, "max_tokens": 16 });
        if let (Some(body), Value::Object(change)) = (body.as_object_mut(), change) {
            body.extend(change);
        }
        body
    };
    let path = "POST /v1/chat/completions";
    let (status, whole) = ask(address, path, Some(KEY), Some(&chat(json!({}))))?;
    let whole: Value = serde_json::from_str(&whole).context("a chat is no JSON")?;
    let text = &whole["choices"][0]["message"]["content"];
    ensure!(
        status == 200 && text == expected,
        "a chat answers {status}: {whole}, but `medley text` writes {expected}"
    );
    let stream = chat(json!({ "stream": true }));
    let (status, events) = ask(address, path, Some(KEY), Some(&stream))?;
    ensure!(
        status == 200 && events.contains("data: [DONE]"),
        "a stream answers {status}: {events}"
    );
    // A client that hangs up in the middle must not keep the server from ending.
    let long = chat(json!({ "stream": true, "max_tokens": 4000, "logit_bias": { "2": -100 } }));
    let mut hung_up = send(address, path, Some(KEY), Some(&long))?;
    hung_up.read_exact(&mut [0; 64])?;
    Ok(())
}

fn send(
    address: &str,
    request: &str,
    key: Option<&str>,
    body: Option<&Value>,
) -> Result<TcpStream> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let key = key
        .map(|key| format!("Authorization: Bearer {key}\r\n"))
        .unwrap_or_default();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{key}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(stream)
}

/// Status and body of an answer.
pub(super) fn ask(
    address: &str,
    request: &str,
    key: Option<&str>,
    body: Option<&Value>,
) -> Result<(u16, String)> {
    let mut answer = String::new();
    send(address, request, key, body)?.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in {head:?}"))?;
    Ok((status, body.to_owned()))
}
