//! What the tests of the pull share: an HTTP server that can misbehave, a catalog with a toy model, and a store.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use medley_engine::fetch::sha256_hex;
use medley_engine::{
    Catalog, EngineError, Home, Hub, Limits, PullEvent, PullOptions, Resolved, Store,
};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// The first byte that is asked for.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }
}

/// A server on a port of its own; the test says what it answers.
pub struct Server {
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `answer` is given each request, how many came before it, and the connection to write to. The connection is
    /// closed when it returns.
    pub fn start(answer: impl Fn(&Seen, usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer, count) = (
            Arc::clone(&seen),
            Arc::new(answer),
            Arc::new(AtomicUsize::new(0)),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let (log, answer, count) =
                    (Arc::clone(&log), Arc::clone(&answer), Arc::clone(&count));
                std::thread::spawn(move || {
                    if let Some(request) = read_request(&stream) {
                        log.lock().unwrap().push(request.clone());
                        answer(&request, count.fetch_add(1, Ordering::SeqCst), &mut stream);
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(Seen { path, headers })
}

/// Writes a head; the connection ends after this answer.
pub fn head(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)]) {
    let mut text = format!("HTTP/1.1 {status} Whatever\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    let _ = stream.write_all((text + "\r\n").as_bytes());
}

/// Writes an answer with a length.
pub fn answer(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)], body: &[u8]) {
    let length = body.len().to_string();
    let mut all = vec![("Content-Length", length.as_str())];
    all.extend_from_slice(headers);
    head(stream, status, &all);
    let _ = stream.write_all(body);
}

/// Serves a file as a good server does: ranges, and `If-Range` against its entity tag.
pub fn serve(request: &Seen, stream: &mut TcpStream, body: &[u8], etag: &str) {
    serve_up_to(request, stream, body, etag, usize::MAX);
}

/// The same, but breaks off before byte `end` of the file.
pub fn serve_up_to(request: &Seen, stream: &mut TcpStream, body: &[u8], etag: &str, end: usize) {
    let same = request.header("if-range").is_none_or(|tag| tag == etag);
    let from = request.from().filter(|_| same).unwrap_or(0);
    if from > 0 && from >= body.len() {
        let range = format!("bytes */{}", body.len());
        return answer(stream, 416, &[("Content-Range", &range)], b"");
    }
    let length = (body.len() - from).to_string();
    let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
    let mut headers = vec![("Content-Length", length.as_str()), ("ETag", etag)];
    if from > 0 {
        headers.push(("Content-Range", range.as_str()));
    }
    head(stream, if from > 0 { 206 } else { 200 }, &headers);
    let end = end.min(body.len()).max(from);
    let _ = stream.write_all(&body[from..end]);
}

/// Bytes that look like nothing in particular, the same at each run.
pub fn weights(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The TOML of a model with these files and sources.
pub fn model(name: &str, files: &[(&str, &[u8])], sources: &str) -> String {
    let mut text = format!(
        "[[model]]\nname = {name:?}\nmedium = \"text\"\narchitecture = \"llama\"\nlicence = \"MIT\"\n\
         licence_note = \"be kind\"\nload = {:?}\n",
        files[0].0
    );
    for (file, content) in files {
        let hash = sha256_hex(content);
        text += &format!(
            "[[model.files]]\nname = {file:?}\nsize = {}\nsha256 = {hash:?}\n",
            content.len()
        );
    }
    text + sources
}

/// A hub source for the repository `o/n`.
pub const HUB: &str = "[[model.sources]]\nkind = \"hub\"\nrepo = \"o/n\"\n";

/// A folder source.
pub fn folder_source(folder: &Path) -> String {
    format!(
        "[[model.sources]]\nkind = \"folder\"\npath = {:?}\n",
        folder.display().to_string()
    )
}

/// Limits for tests: short, but long enough for a busy machine.
pub fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        idle: Duration::from_millis(400),
        retries: 2,
        backoff: Duration::from_millis(5),
        pip_idle: Duration::from_secs(2),
    }
}

/// A store in a folder, with a catalog and a hub of its own.
pub fn store(folder: &Path, catalog: &str, hub: &str) -> Store {
    Store::open(Home::at(folder))
        .unwrap()
        .with_catalog(Catalog::default().merged(catalog, "test").unwrap())
        .with_hub(Hub::new(hub, None))
        .with_limits(limits())
        .with_pips(Vec::new())
}

/// Pulls one model and returns it with what was reported.
pub fn pull(store: &Store, name: &str) -> (Result<Resolved, EngineError>, Vec<PullEvent>) {
    pull_with(store, name, &PullOptions::default())
}

/// The same with options.
pub fn pull_with(
    store: &Store,
    name: &str,
    options: &PullOptions,
) -> (Result<Resolved, EngineError>, Vec<PullEvent>) {
    let mut events = Vec::new();
    let result = store.pull(name, options, &mut |event| events.push(event));
    (result.map(|mut models| models.remove(0)), events)
}

/// The files below a folder, as paths from it, in order.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = item.file_name().to_string_lossy().into_owned();
        if item.path().is_dir() {
            files.extend(
                files_below(&item.path())
                    .into_iter()
                    .map(|below| format!("{name}/{below}")),
            );
        } else {
            files.push(name);
        }
    }
    files.sort();
    files
}

/// Bytes of a file that is fetched in parts.
pub const LENGTH: usize = 300_000;

pub fn toy() -> Vec<u8> {
    weights(LENGTH, 1)
}

pub fn catalog() -> String {
    model("toy", &[("m.gguf", &toy())], HUB)
}

pub fn part(home: &Path) -> std::path::PathBuf {
    home.join("partial/toy/m.gguf.part")
}

pub fn nothing_installed(home: &Path) {
    assert_eq!(files_below(&home.join("models")), Vec::<String>::new());
}
