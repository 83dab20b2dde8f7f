//! The studio: the pages of `web/`, which are part of the program.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

static WEB: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../web");

/// Hashes of all files, by path.
static TAGS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let mut tags = HashMap::new();
    tag_all(&WEB, &mut tags);
    tags
});

/// Nothing comes from elsewhere, nothing is written into the page as script or style, and no other page shows this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    media-src 'self' blob:; connect-src 'self'; font-src 'self'; \
    frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The pages, which need no key: they hold nothing but themselves, and ask for the key where the API does.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let index = |headers: HeaderMap| async move { file("index.html", &headers) };
    let asset = |Path(path): Path<String>, headers: HeaderMap| async move { file(&path, &headers) };
    Router::new()
        .route("/", get(index))
        .route("/assets/{*path}", get(asset))
}

fn tag_all(dir: &Dir<'_>, tags: &mut HashMap<String, String>) {
    for file in dir.files() {
        let hash = Sha256::digest(file.contents());
        let short: String = hash[..12]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let path = file.path().to_string_lossy().replace('\\', "/");
        tags.insert(path, format!("\"{short}\""));
    }
    for inner in dir.dirs() {
        tag_all(inner, tags);
    }
}

fn file(path: &str, asked: &HeaderMap) -> Response {
    let (Some(file), Some(tag)) = (WEB.get_file(path), TAGS.get(path)) else {
        return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response();
    };
    // Asked for again every time and sent again only when the program is another one, so that pages and scripts of two
    // versions never meet.
    let headers = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, tag),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let known = asked.get(header::IF_NONE_MATCH);
    let known = known.and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = [(header::CONTENT_TYPE, kind(path))];
    (headers, kind, file.contents()).into_response()
}

/// The MIME type by the name.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `import … from './x.js'`, `import('./x.js')` and `src` or `href` of the page, with the file it is in.
    fn references() -> Vec<(String, String)> {
        let mut found = Vec::new();
        for path in TAGS.keys().filter(|path| !path.starts_with("vendor/")) {
            let file = WEB.get_file(path).unwrap();
            let text = file.contents_utf8().unwrap_or_default();
            let quotes: &[&str] = match path.rsplit_once('.').unwrap().1 {
                "js" => &["from '", "import('", "import '"],
                "html" => &["src=\"", "href=\""],
                _ => continue,
            };
            for quote in quotes {
                for (at, _) in text.match_indices(quote) {
                    let rest = &text[at + quote.len()..];
                    let end = rest.find(['\'', '"']).unwrap();
                    found.push((path.clone(), rest[..end].to_owned()));
                }
            }
        }
        found
    }

    #[test]
    fn all_that_the_pages_ask_for_is_there() {
        let references = references();
        assert!(references.len() > 30, "{references:?}");
        for (from, to) in references {
            let place = std::path::Path::new(&from);
            let joined = match to.strip_prefix("assets/") {
                Some(rest) => std::path::PathBuf::from(rest),
                None => place.parent().unwrap().join(&to),
            };
            let mut whole: Vec<String> = Vec::new();
            for part in joined.components() {
                match part {
                    std::path::Component::ParentDir => drop(whole.pop()),
                    std::path::Component::Normal(name) => {
                        whole.push(name.to_string_lossy().into());
                    }
                    _ => {}
                }
            }
            let whole = whole.join("/");
            assert!(TAGS.contains_key(&whole), "{from} asks for {to}");
        }
    }

    #[test]
    fn pages_bring_their_type_and_policy_and_are_not_sent_twice() {
        let first = file("main.js", &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(
            first.headers()["content-type"],
            "text/javascript; charset=utf-8"
        );
        let policy = first.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        let mut asked = HeaderMap::new();
        asked.insert(header::IF_NONE_MATCH, first.headers()["etag"].clone());
        assert_eq!(file("main.js", &asked).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(file("index.html", &asked).status(), StatusCode::OK);
        for outside in ["../Cargo.toml", "/etc/passwd", "pages", ""] {
            assert_eq!(file(outside, &asked).status(), StatusCode::NOT_FOUND);
        }
    }
}
