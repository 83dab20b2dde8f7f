use std::sync::Arc;

use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, HeaderValue};
use ureq::tls::{RootCerts, TlsConfig};

use super::{Fetch, Head, Limits, Request, Response, is_loopback, server_of};
use crate::{EngineError, Result};

/// [`Fetch`] over HTTP and HTTPS.
///
/// Certificates are checked by the platform's own roots, so that a company's proxy with its own authority works. The
/// usual proxy variables are honoured, except for addresses of this machine. An `https` address is never followed to a
/// plain `http` one.
#[derive(Debug)]
pub struct HttpFetch {
    agent: Agent,
    limits: Limits,
}

/// Posts JSON to an address; what comes back is not read.
///
/// # Errors
/// [`EngineError::Network`], [`EngineError::Status`] for an answer that is no success.
pub fn post_json(url: &str, value: &serde_json::Value) -> Result<()> {
    let fetch = HttpFetch::new(&Limits::default());
    let sent = fetch
        .agent
        .post(url)
        .header("content-type", "application/json")
        .send(value.to_string());
    let response = sent.map_err(|error| fetch.explain(url, error))?;
    match response.status().is_success() {
        true => Ok(()),
        false => Err(EngineError::Status {
            server: server_of(url),
            status: response.status().as_u16(),
            what: "what was posted".into(),
        }),
    }
}

impl HttpFetch {
    /// A client with these limits.
    pub fn new(limits: &Limits) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_per_read(Some(limits.idle))
            .timeout_per_write(Some(limits.idle))
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .max_redirects(10)
            .user_agent(concat!("medley/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Self {
            agent: Agent::new_with_config(config),
            limits: limits.clone(),
        }
    }

    fn explain(&self, url: &str, error: ureq::Error) -> EngineError {
        let reason = match error {
            ureq::Error::Timeout(ureq::Timeout::Resolve) => {
                format!(
                    "its name was not resolved within {} s",
                    self.limits.connect.as_secs_f32()
                )
            }
            ureq::Error::Timeout(ureq::Timeout::Connect) => {
                format!(
                    "no connection within {} s",
                    self.limits.connect.as_secs_f32()
                )
            }
            ureq::Error::Timeout(_) => {
                format!("no answer within {} s", self.limits.idle.as_secs_f32())
            }
            ureq::Error::HostNotFound => "there is no server of this name".to_owned(),
            ureq::Error::TooManyRedirects => "it redirects more than ten times".to_owned(),
            ureq::Error::RequireHttpsOnly(_) => {
                "it redirects from https to plain http, which is refused".to_owned()
            }
            // The standard library has no kind for it, only a text; what follows it differs from system to system.
            ureq::Error::Io(error) if error.to_string().starts_with("failed to lookup address") => {
                "its name cannot be resolved".to_owned()
            }
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        EngineError::Network {
            server: server_of(url),
            reason: reason.replace('\n', " "),
        }
    }
}

impl Fetch for HttpFetch {
    fn get(&self, request: &Request) -> Result<Response> {
        let url = &request.url;
        let https = url.starts_with("https://");
        let mut get = self.agent.get(url).header("accept-encoding", "identity");
        if request.from > 0 {
            get = get.header("range", format!("bytes={}-", request.from));
            if let Some(tag) = &request.if_range {
                get = get.header("if-range", tag);
            }
        }
        // A key in the clear would be anybody's.
        if let Some(token) = request.token.as_ref().filter(|_| https || is_loopback(url))
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
        {
            value.set_sensitive(true);
            get = get.header("authorization", value);
        }
        let mut config = get.config().https_only(https);
        if is_loopback(url) {
            config = config.proxy(None);
        }
        let response = config
            .build()
            .call()
            .map_err(|error| self.explain(url, error))?;
        let (parts, body) = response.into_parts();
        let head = read_head(parts.status.as_u16(), &parts.headers);
        Ok(Response {
            head,
            body: Box::new(body.into_with_config().limit(u64::MAX).reader()),
        })
    }
}

fn read_head(status: u16, headers: &HeaderMap) -> Head {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let (range_start, range_total) =
        text("content-range").map_or((None, None), parse_content_range);
    Head {
        status,
        length: text("content-length").and_then(|v| v.parse().ok()),
        chunked: text("transfer-encoding")
            .is_some_and(|v| v.to_ascii_lowercase().contains("chunked")),
        range_start,
        range_total,
        etag: text("etag").map(str::to_owned),
        retry_after: text("retry-after").and_then(|v| v.parse().ok()),
        error_code: text("x-error-code").map(str::to_owned),
    }
}

/// `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10`: first byte and total, as far as they are given.
fn parse_content_range(value: &str) -> (Option<u64>, Option<u64>) {
    let Some((range, total)) = value
        .strip_prefix("bytes")
        .map(str::trim)
        .and_then(|v| v.split_once('/'))
    else {
        return (None, None);
    };
    (
        range
            .split_once('-')
            .and_then(|(start, _)| start.trim().parse().ok()),
        total.trim().parse().ok(),
    )
}

#[cfg(test)]
mod tests {
    use super::parse_content_range;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 5-9/10"), (Some(5), Some(10)));
        assert_eq!(parse_content_range("bytes 5-9/*"), (Some(5), None));
        assert_eq!(parse_content_range("bytes */10"), (None, Some(10)));
        assert_eq!(parse_content_range("lines 1-2/3"), (None, None));
        assert_eq!(
            parse_content_range("bytes 99999999999999999999-1/2"),
            (None, Some(2))
        );
    }
}
