//! Links that open one file for who brings no key, for a while: frames, players and other programs cannot send one.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::{Method, Uri};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::gate::{Caller, scope_of};
use crate::query::Parameters;
use crate::said::now;
use crate::service::Service;

/// How long a link opens where nothing is said, in seconds, and the longest.
pub(crate) const USUAL: u64 = 3600;
const LONGEST: i64 = 7 * 24 * 3600;

/// Longest path.
const PATH: usize = 500;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new().route("/v1/links", post(create))
}

/// What signs links, and knows those that it signed. Another process knows none of them.
pub(crate) struct Signer([u8; 64]);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }

    /// HMAC-SHA256 over the time when the link ends and the path.
    fn mac(&self, path: &str, expires: u64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.0.into());
        mac.update(&expires.to_be_bytes());
        mac.update(path.as_bytes());
        mac
    }

    /// The path with a signature, and when it opens no more, in seconds since 1970.
    pub(crate) fn sign(&self, path: &str, seconds: u64) -> (String, u64) {
        let expires = now().saturating_add(seconds);
        let bytes = self.mac(path, expires).finalize().into_bytes();
        let signature: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let url = format!("{path}?expires={expires}&signature={signature}");
        (url, expires)
    }

    /// Whether an address was signed here and opens still. What else stands behind the question mark says only how the
    /// file is sent.
    pub(crate) fn opens(&self, uri: &Uri) -> bool {
        let Ok(query) = Parameters::of(uri) else {
            return false;
        };
        let expires = query.text("expires").and_then(|text| text.parse().ok());
        let signature = query.text("signature").and_then(|text| bytes_of(&text));
        match (expires, signature) {
            (Some(expires), Some(signature)) if now() < expires => {
                let mac = self.mac(uri.path(), expires);
                mac.verify_slice(&signature).is_ok()
            }
            _ => false,
        }
    }
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    Some(digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect())
}

/// Whether a path is that of a file, which links are for.
pub(crate) fn is_file(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", "v1", "library", id, "file" | "thumbnail"]
        | ["", "v1", "videos", id, "content"]
        | ["", "v1", "creations", id, "zip"] => !id.is_empty(),
        ["", "v1", "creations", id, "files", name] => !id.is_empty() && !name.is_empty(),
        _ => false,
    }
}

/// `POST /v1/links`: the address of a file that opens without the key, for who may fetch the file with it.
async fn create(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let fields = Fields::of_request(request).await?;
    fields.required("path")?;
    let path = fields.text("path")?.unwrap_or_default();
    let uri = path.parse::<Uri>().ok();
    let plain = uri.filter(|uri| uri.path() == path && path.len() <= PATH && is_file(path));
    if plain.is_none() {
        let problem =
            "it must be the path of a file: of the library, of a video's content or of a creation";
        return Err(fields.wrong_value("path", problem));
    }
    if let Some(scope) = scope_of(&Method::GET, path).filter(|scope| !caller.may(*scope)) {
        return Err(ApiError::lacks(scope));
    }
    let seconds = fields.count("seconds", 1..=LONGEST)?;
    let seconds = seconds.map_or(USUAL, |seconds| seconds as u64);
    let (url, expires) = service.links.sign(path, seconds);
    let answer = json!({ "object": "link", "url": url, "expires_at": expires });
    Ok(Json(answer).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_its_file_alone_and_for_its_time() {
        let signer = Signer::new();
        let path = "/v1/creations/a/files/index.html";
        let (url, expires) = signer.sign(path, 60);
        let opens = |url: &str| signer.opens(&url.parse().unwrap());
        assert!(opens(&url) && opens(&format!("{url}&v=3")));
        assert!(!opens(path));
        assert!(!opens(&url.replace("index", "other")));
        assert!(!opens(
            &url.replace(&expires.to_string(), &(expires + 1).to_string())
        ));
        assert!(!opens(&url[..url.len() - 2]) && !opens(&format!("{url}00")));
        assert!(!opens(&signer.sign(path, 0).0), "it is over at once");
        assert!(
            !Signer::new().opens(&url.parse().unwrap()),
            "another secret"
        );
        assert!(!opens(&format!("{path}?expires=x&signature=é")));
    }

    #[test]
    fn links_are_for_files() {
        for (path, file) in [
            ("/v1/library/work_1/file", true),
            ("/v1/library/work_1/thumbnail", true),
            ("/v1/videos/video_1/content", true),
            ("/v1/creations/a/files/index.html", true),
            ("/v1/creations/a/zip", true),
            ("/v1/library/work_1", false),
            ("/v1/library//file", false),
            ("/v1/creations/a/files/b/c", false),
            ("/v1/jobs/job_1/events", false),
        ] {
            assert_eq!(is_file(path), file, "{path}");
        }
    }
}
