//! Getting bytes over HTTP: one small trait, its client, downloads that resume, and the model hub.

mod download;
pub(crate) mod hash;
mod http;
pub mod hub;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Result;

pub(crate) use download::{Checked, Download, Transfer};
pub(crate) use hash::{Hasher, hex};
pub use hash::{sha256_file, sha256_hex};
pub use http::{HttpFetch, post_json};

/// Gets one resource. Implementations follow redirects, and hand back any status that is not a redirect as it is.
pub trait Fetch: Send + Sync {
    /// Sends a GET request and returns once the head of the answer is there; the body is read from the response.
    ///
    /// # Errors
    /// [`EngineError::Network`](crate::EngineError::Network) where no answer comes.
    fn get(&self, request: &Request) -> Result<Response>;
}

/// A GET request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Absolute address, `http://` or `https://`.
    pub url: String,
    /// First byte that is wanted; 0 asks for the whole.
    pub from: u64,
    /// An entity tag: the range is only wanted if the resource still has it.
    pub if_range: Option<String>,
    /// Sent to the addressed server only, never along with a redirect to another.
    pub token: Option<Token>,
}

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// Bytes of the body, where the server says so.
    pub length: Option<u64>,
    /// Whether the body comes in chunks, so that its end is told from a cut even without a length.
    pub chunked: bool,
    /// First byte of the part that is sent.
    pub range_start: Option<u64>,
    /// Bytes of the whole resource, from `Content-Range`.
    pub range_total: Option<u64>,
    /// Entity tag.
    pub etag: Option<String>,
    /// Seconds after which to ask again.
    pub retry_after: Option<u64>,
    /// The hub's own word for what is wrong.
    pub error_code: Option<String>,
}

/// An answer.
pub struct Response {
    /// Its head.
    pub head: Head,
    /// Its body. A read that gets no data within the idle limit fails with `TimedOut`.
    pub body: Box<dyn Read + Send>,
}

/// How long to wait for what. The defaults are for people; tests take shorter ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// To find a server, and again to connect to it.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// How often a transfer that was cut off is taken up again without having moved on.
    pub retries: u32,
    /// Before the first further attempt; it doubles from one to the next.
    pub backoff: Duration,
    /// How long pip may run without a byte arriving.
    pub pip_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            retries: 3,
            backoff: Duration::from_millis(500),
            pip_idle: Duration::from_secs(90),
        }
    }
}

/// Set by one side to end what the other is doing. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it, for good.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The error that ends a pull, once the flag is set.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(crate::EngineError::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Sleeps, but not beyond the moment at which the flag is set.
    pub(crate) fn sleep(&self, time: Duration) -> Result<()> {
        let end = std::time::Instant::now() + time;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
    }
}

/// A key for a server. It shows itself to the server only.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// None for an empty text, or one that cannot stand in a header.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()))
            .then(|| Self(text.to_owned()))
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Host and port of an address, for messages; never its path, query or credentials.
pub(crate) fn server_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

/// Whether an address is this machine's own.
pub(crate) fn is_loopback(url: &str) -> bool {
    let server = server_of(url);
    let host = match server.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => server.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new(" hf_secret \n").unwrap();
        assert_eq!(token.reveal(), "hf_secret");
        let request = Request {
            url: "https://x/".into(),
            token: Some(token),
            ..Default::default()
        };
        assert!(!format!("{request:?}").contains("secret"));
        assert_eq!(Token::new("  "), None);
        assert_eq!(Token::new("a\r\nb"), None);
    }

    #[test]
    fn servers_are_named_without_path_or_credentials() {
        assert_eq!(
            server_of("https://user:pw@hub.example:8443/a?sig=1"),
            "hub.example:8443"
        );
        assert!(
            is_loopback("http://127.0.0.1:80/x")
                && is_loopback("http://localhost/")
                && is_loopback("http://[::1]:1/")
        );
        assert!(!is_loopback("http://127.0.0.1.example/") && !is_loopback("https://hub.example/"));
    }
}
