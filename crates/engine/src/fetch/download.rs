//! A file over HTTP into a `.part` file: resumed, checked, and renamed once it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use sha2::Digest;

use super::hash::feed;
use super::{CancelFlag, Fetch, Hasher, Head, Limits, Request, Token, hex, server_of};
use crate::{EngineError, Result};

/// Enough progress for a transfer that is cut off again and again to be worth going on with.
const WORTHWHILE: u64 = 64 << 10;
const MAX_RESTARTS: u32 = 3;
const MAX_RETRY_AFTER: u64 = 10;

/// What a transfer works with.
#[derive(Clone, Copy)]
pub(crate) struct Transfer<'a> {
    pub fetch: &'a Arc<dyn Fetch>,
    pub limits: &'a Limits,
    pub cancel: &'a CancelFlag,
}

/// One file to fetch.
#[derive(Clone, Copy)]
pub(crate) struct Download<'a> {
    /// The file's name, for messages.
    pub name: &'a str,
    /// The source, for messages.
    pub from: &'a str,
    pub url: &'a str,
    pub token: Option<&'a Token>,
    /// Where the file is to be; until it is whole it is called `….part`.
    pub target: &'a Path,
    pub size: Option<u64>,
    pub sha256: Option<&'a str>,
}

impl Download<'_> {
    /// The file and its repository.
    fn what(&self) -> String {
        format!("{} of {}", self.name, self.from.trim_start_matches("hub "))
    }
}

/// A file as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub size: u64,
    pub sha256: String,
}

enum Step {
    Complete,
    /// What was there is of no use; begin at the first byte.
    Restart,
    Interrupted {
        error: EngineError,
        wait: Duration,
    },
}

enum Message {
    Head(Head),
    Data(Vec<u8>),
    End,
    Failed(EngineError),
    Cut(std::io::Error),
}

impl Transfer<'_> {
    /// Fetches the file; what an earlier call left in the `.part` file is not fetched again.
    pub fn download(
        &self,
        file: &Download,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Checked> {
        let mut part = PartFile::open(file.target, self.cancel)?;
        let can_resume = file.sha256.is_some() || part.etag.is_some();
        if !can_resume || file.size.is_some_and(|size| part.length > size) {
            part.reset()?;
        }
        let (mut failures, mut restarts) = (0, 0);
        loop {
            if file.size != Some(part.length) {
                let before = part.length;
                match self.attempt(file, &mut part, progress)? {
                    Step::Complete => {}
                    Step::Restart => {
                        part.reset()?;
                        restarts += 1;
                        if restarts > MAX_RESTARTS {
                            return Err(network(
                                file.url,
                                format!("its answers for {} do not fit together", file.name),
                            ));
                        }
                        continue;
                    }
                    Step::Interrupted { error, wait } => {
                        if part.length >= before + WORTHWHILE {
                            failures = 0;
                        }
                        failures += 1;
                        if failures > self.limits.retries {
                            return Err(error);
                        }
                        let backoff = self
                            .limits
                            .backoff
                            .saturating_mul(1 << (failures - 1).min(16));
                        self.cancel.sleep(backoff.max(wait))?;
                        continue;
                    }
                }
            }
            let sha256 = part.digest();
            match file.sha256 {
                Some(expected) if expected != sha256 => {
                    // Pieces of two versions may have met in one file: only a hash over one whole answer is final.
                    let pieced = part.pieced;
                    part.reset()?;
                    if !pieced {
                        return Err(EngineError::HashMismatch {
                            file: file.name.to_owned(),
                            from: file.from.to_owned(),
                            expected: expected.to_owned(),
                            actual: sha256,
                        });
                    }
                }
                _ => {
                    let size = part.finish(file.target)?;
                    return Ok(Checked { size, sha256 });
                }
            }
        }
    }

    /// Gets a short text, a list of files say, of at most `limit` bytes.
    pub fn text(
        &self,
        url: &str,
        what: &str,
        token: Option<&Token>,
        limit: usize,
    ) -> Result<Vec<u8>> {
        let stream = self.open(Request {
            url: url.to_owned(),
            token: token.cloned(),
            ..Default::default()
        })?;
        let mut text = Vec::new();
        loop {
            match stream.next()? {
                Message::Head(head) if head.status == 200 => {}
                Message::Head(head) => return Err(refusal(&head, url, what, token.is_some())),
                Message::Data(data) if text.len() + data.len() > limit => {
                    return Err(network(
                        url,
                        format!("its answer for {what} is longer than {limit} bytes"),
                    ));
                }
                Message::Data(data) => text.extend_from_slice(&data),
                Message::End => return Ok(text),
                Message::Failed(error) => return Err(error),
                Message::Cut(error) => return Err(network(url, cut_reason(&error, self.limits))),
            }
        }
    }

    fn attempt(
        &self,
        file: &Download,
        part: &mut PartFile,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Step> {
        let from = part.length;
        let stream = self.open(Request {
            url: file.url.to_owned(),
            from,
            if_range: part.etag.clone(),
            token: file.token.cloned(),
        })?;
        let head = match stream.next()? {
            Message::Head(head) => head,
            // A server that was never there is left to the next source at once.
            Message::Failed(error) if part.received == 0 => return Err(error),
            Message::Failed(error) => {
                return Ok(Step::Interrupted {
                    error,
                    wait: Duration::ZERO,
                });
            }
            _ => return Err(network(file.url, "it sent no answer".to_owned())),
        };
        let total = match head.status {
            200 => {
                part.reset()?;
                head.length
            }
            206 if from > 0 && head.range_start == Some(from) => {
                part.pieced = true;
                head.range_total
                    .or(head.length.map(|length| length.saturating_add(from)))
            }
            206 => return Ok(Step::Restart),
            416 if from > 0 && head.range_total == Some(from) && file.size.is_none() => {
                return Ok(Step::Complete);
            }
            416 if from > 0 => return Ok(Step::Restart),
            408 | 429 | 500 | 502 | 503 | 504 => {
                let wait = Duration::from_secs(head.retry_after.unwrap_or(0).min(MAX_RETRY_AFTER));
                return Ok(Step::Interrupted {
                    error: refusal(&head, file.url, &file.what(), file.token.is_some()),
                    wait,
                });
            }
            _ => return Err(refusal(&head, file.url, &file.what(), file.token.is_some())),
        };
        if let (Some(expected), Some(actual)) = (file.size, total)
            && expected != actual
        {
            return Err(size_mismatch(file, expected, actual));
        }
        let total = file.size.or(total);
        if total.is_none() && !head.chunked {
            return Err(network(
                file.url,
                format!("it does not say how long {} is", file.name),
            ));
        }
        part.set_etag(head.etag)?;
        self.receive(file, part, &stream, total, progress)
    }

    fn receive(
        &self,
        file: &Download,
        part: &mut PartFile,
        stream: &Stream,
        total: Option<u64>,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Step> {
        let interrupted = |reason| {
            Ok(Step::Interrupted {
                error: network(file.url, reason),
                wait: Duration::ZERO,
            })
        };
        progress(part.length, total);
        loop {
            match stream.next()? {
                Message::Data(data) => {
                    let length = part.length + data.len() as u64;
                    if let Some(expected) = total.filter(|total| length > *total) {
                        part.reset()?;
                        return Err(size_mismatch(file, expected, length));
                    }
                    part.append(&data)?;
                    progress(part.length, total);
                }
                Message::End => {
                    return match total {
                        Some(total) if part.length < total => interrupted(format!(
                            "it ended {} after {} of {total} bytes",
                            file.name, part.length
                        )),
                        _ => Ok(Step::Complete),
                    };
                }
                Message::Cut(error) => return interrupted(cut_reason(&error, self.limits)),
                Message::Failed(error) => {
                    return Ok(Step::Interrupted {
                        error,
                        wait: Duration::ZERO,
                    });
                }
                Message::Head(_) => {}
            }
        }
    }

    /// Sends the request from a thread of its own, so that a silent server never keeps a user who cancels waiting. The
    /// thread ends when the server speaks again, or at the idle limit.
    fn open(&self, request: Request) -> Result<Stream<'_>> {
        let (sender, messages) = sync_channel(8);
        let fetch = Arc::clone(self.fetch);
        let server = server_of(&request.url);
        std::thread::Builder::new()
            .name("medley-fetch".into())
            .spawn(move || pump(fetch.as_ref(), &request, &sender))
            .map_err(|error| EngineError::Network {
                server,
                reason: format!("no thread for the transfer: {error}"),
            })?;
        Ok(Stream {
            messages,
            cancel: self.cancel,
        })
    }
}

struct Stream<'a> {
    messages: Receiver<Message>,
    cancel: &'a CancelFlag,
}

impl Stream<'_> {
    fn next(&self) -> Result<Message> {
        loop {
            self.cancel.check()?;
            match self.messages.recv_timeout(Duration::from_millis(50)) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Message::Cut(std::io::Error::other(
                        "the transfer broke off",
                    )));
                }
            }
        }
    }
}

/// Hands over what a request brings, piece by piece, until it ends or nobody listens.
fn pump(fetch: &dyn Fetch, request: &Request, sender: &SyncSender<Message>) {
    let mut response = match fetch.get(request) {
        Ok(response) => response,
        Err(error) => {
            let _ = sender.send(Message::Failed(error));
            return;
        }
    };
    if sender.send(Message::Head(response.head)).is_err() {
        return;
    }
    loop {
        let mut buffer = vec![0; 128 << 10];
        let message = match response.body.read(&mut buffer) {
            Ok(0) => Message::End,
            Ok(n) => {
                buffer.truncate(n);
                Message::Data(buffer)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Message::Cut(error),
        };
        let last = !matches!(message, Message::Data(_));
        if sender.send(message).is_err() || last {
            return;
        }
    }
}

fn network(url: &str, reason: String) -> EngineError {
    EngineError::Network {
        server: server_of(url),
        reason,
    }
}

fn cut_reason(error: &std::io::Error, limits: &Limits) -> String {
    match error.kind() {
        std::io::ErrorKind::TimedOut => {
            format!("it sent nothing for {} s", limits.idle.as_secs_f32())
        }
        std::io::ErrorKind::UnexpectedEof => "it broke the connection off".to_owned(),
        _ => format!(
            "the transfer broke off: {}",
            error.to_string().replace('\n', " ")
        ),
    }
}

fn size_mismatch(file: &Download, expected: u64, actual: u64) -> EngineError {
    EngineError::SizeMismatch {
        file: file.name.to_owned(),
        from: file.from.to_owned(),
        expected,
        actual,
    }
}

fn refusal(head: &Head, url: &str, what: &str, token: bool) -> EngineError {
    let missing = matches!(
        head.error_code.as_deref(),
        Some("RepoNotFound" | "RevisionNotFound" | "EntryNotFound")
    );
    match head.status {
        404 | 410 => EngineError::HubMissing {
            what: what.to_owned(),
        },
        // The hub does not tell strangers whether a private repository exists.
        401 if missing => EngineError::HubMissing {
            what: what.to_owned(),
        },
        401 | 403 => EngineError::HubDenied {
            what: what.to_owned(),
            token,
        },
        status => EngineError::Status {
            server: server_of(url),
            status,
            what: what.to_owned(),
        },
    }
}

/// The file as far as it has come, with its hash so far and the entity tag of the answer it comes from.
struct PartFile {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
    /// Bytes that came in this call.
    received: u64,
    /// Whether it consists of more than one answer.
    pieced: bool,
    etag: Option<String>,
}

impl PartFile {
    fn open(target: &Path, cancel: &CancelFlag) -> Result<Self> {
        let path = with_suffix(target, ".part");
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(EngineError::io("write", &path))?;
        let mut hasher = Hasher::new();
        let length = feed(&mut file, &path, &mut hasher, cancel, &mut |_| {})?;
        let etag = fs::read_to_string(with_suffix(target, ".part.etag"))
            .ok()
            .and_then(|tag| strong(tag.trim()));
        Ok(Self {
            path,
            file,
            hasher,
            length,
            received: 0,
            pieced: length > 0,
            etag,
        })
    }

    fn reset(&mut self) -> Result<()> {
        if self.length > 0 {
            self.file
                .set_len(0)
                .map_err(EngineError::io("write", &self.path))?;
        }
        self.hasher = Hasher::new();
        self.length = 0;
        self.pieced = false;
        self.set_etag(None)
    }

    fn set_etag(&mut self, etag: Option<String>) -> Result<()> {
        let etag = etag.and_then(|tag| strong(&tag));
        if etag == self.etag {
            return Ok(());
        }
        let path = with_suffix(&self.path, ".etag");
        match &etag {
            Some(tag) => fs::write(&path, tag).map_err(EngineError::io("write", &path))?,
            None => remove_if_there(&path)?,
        }
        self.etag = etag;
        Ok(())
    }

    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.file
            .write_all(data)
            .map_err(EngineError::io("write", &self.path))?;
        self.hasher.update(data);
        self.length += data.len() as u64;
        self.received += data.len() as u64;
        Ok(())
    }

    fn digest(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }

    fn finish(mut self, target: &Path) -> Result<u64> {
        self.set_etag(None)?;
        self.file
            .sync_all()
            .map_err(EngineError::io("write", &self.path))?;
        let Self {
            path, file, length, ..
        } = self;
        drop(file);
        fs::rename(&path, target).map_err(EngineError::io("write", target))?;
        Ok(length)
    }
}

/// Only a strong tag promises the same bytes.
fn strong(tag: &str) -> Option<String> {
    let tag = tag.trim();
    (tag.len() > 2
        && tag.starts_with('"')
        && tag.ends_with('"')
        && tag.bytes().all(|b| b.is_ascii_graphic()))
    .then(|| tag.to_owned())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
