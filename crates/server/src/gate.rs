//! Who is let in, to do what, and how often.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use medley_engine::desk::KEY_PREFIX;
use medley_engine::keys::{Keys, Scope, hash};

use crate::anthropic;
use crate::error::{Answer, ApiError};
use crate::links::is_file;
use crate::service::Service;

/// How often the file of keys is looked at for changes.
const LOOK: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

/// Who sent a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// The name of the key; none where no key is needed.
    pub(crate) name: Option<String>,
    /// Jobs that may be on their way.
    pub(crate) jobs: Option<usize>,
    /// What the key lets do; all of it where there is none.
    scopes: Option<Vec<Scope>>,
    /// SHA-256 of a key that lets only so many requests a minute through, and how many.
    quota: Option<(String, u32)>,
}

impl Caller {
    /// Whether this may be done.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        let scopes = self.scopes.as_ref();
        scopes.is_none_or(|scopes| scopes.contains(&scope))
    }
}

/// The keys of a server.
pub(crate) struct Gate {
    /// SHA-256 of keys that may do everything.
    own: Vec<String>,
    file: Option<PathBuf>,
    state: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Keys,
    /// Whether the file of keys cannot be read: then nobody is let in by it, and nobody without a key.
    damaged: bool,
    looked: Option<Instant>,
    changed: Option<SystemTime>,
    /// Requests of each key since the beginning of its minute.
    counts: HashMap<String, (Instant, u32)>,
}

/// Why a request is not let in.
enum Refusal {
    NoKey,
    WrongKey,
    Scope(Scope),
    Rate(u32),
    /// A desk's key, which lets do nothing here.
    Desk,
}

impl Known {
    /// Counts a request, unless there were too many in this minute.
    fn count(&mut self, quota: Option<&(String, u32)>) -> Result<(), Refusal> {
        let Some((sha256, limit)) = quota else {
            return Ok(());
        };
        let count = self.counts.entry(sha256.clone());
        let count = count.or_insert((Instant::now(), 0));
        if count.0.elapsed() >= MINUTE {
            *count = (Instant::now(), 0);
        }
        if count.1 >= *limit {
            return Err(Refusal::Rate(*limit));
        }
        count.1 += 1;
        Ok(())
    }
}

impl Gate {
    /// A gate for these keys, and for those of a file.
    pub(crate) fn new(own: &[String], file: Option<PathBuf>) -> Self {
        Self {
            own: own.iter().map(|key| hash(key)).collect(),
            file,
            state: Mutex::default(),
        }
    }

    fn admit(&self, key: Option<&str>, scope: Option<Scope>) -> Result<Caller, Refusal> {
        if key.is_some_and(|key| key.starts_with(KEY_PREFIX)) {
            return Err(Refusal::Desk);
        }
        let mut known = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut known);
        if self.own.is_empty() && known.keys.keys.is_empty() && !known.damaged {
            return Ok(Caller::default());
        }
        // Hashes are compared, which tells nothing of the keys by the time that it takes.
        let sha256 = hash(key.ok_or(Refusal::NoKey)?);
        if self.own.contains(&sha256) {
            return Ok(Caller {
                name: sha256.get(..12).map(str::to_owned),
                ..Caller::default()
            });
        }
        let key = known.keys.keys.iter().find(|key| key.sha256 == sha256);
        let key = key.ok_or(Refusal::WrongKey)?.clone();
        if let Some(scope) = scope
            && !key.scopes.contains(&scope)
        {
            return Err(Refusal::Scope(scope));
        }
        let quota = key.requests_per_minute.map(|limit| (sha256, limit));
        known.count(quota.as_ref())?;
        Ok(Caller {
            name: Some(key.name),
            jobs: key.jobs,
            scopes: Some(key.scopes),
            quota,
        })
    }

    /// Counts one more request of a caller, as what is asked for within a request is.
    pub(crate) fn charge(&self, caller: &Caller) -> Answer<()> {
        let mut known = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = known.count(caller.quota.as_ref());
        counted.map_err(Refusal::error)
    }

    /// Reads the file of keys where it has changed.
    fn look(&self, known: &mut Known) {
        let Some(file) = &self.file else { return };
        if known.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        let changed = std::fs::metadata(file)
            .and_then(|found| found.modified())
            .ok();
        if known.looked.is_some() && changed == known.changed {
            known.looked = Some(Instant::now());
            return;
        }
        (known.looked, known.changed) = (Some(Instant::now()), changed);
        match Keys::load(file) {
            Ok(keys) => (known.keys, known.damaged) = (keys, false),
            Err(error) => {
                tracing::error!("{error}");
                (known.keys, known.damaged) = (Keys::default(), true);
            }
        }
    }
}

/// Lets in who brings a key, where keys are asked for, and may do what is asked.
pub(crate) async fn with_key(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, uri) = (request.method(), request.uri());
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads && is_file(uri.path()) && service.links.opens(uri) {
        return next.run(request).await;
    }
    let scope = scope_of(method, uri.path());
    match service.gate.admit(key_of(request.headers()), scope) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => {
            let error = refusal.error();
            match anthropic::is_theirs(request.uri().path()) {
                true => anthropic::Refusal(error).into_response(),
                false => error.into_response(),
            }
        }
    }
}

/// The key that a request brings: as OpenAI's clients send it, or as Anthropic's do.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let text = |name: header::HeaderName| headers.get(name)?.to_str().ok();
    let bearer = text(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| text(header::HeaderName::from_static("x-api-key")))
}

/// What a key must let do for this.
pub(crate) fn scope_of(method: &Method, path: &str) -> Option<Scope> {
    let below = |prefix: &str| {
        let rest = path.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if below("/v1/jobs") {
        Some(Scope::Jobs)
    } else if below("/v1/library") {
        Some(Scope::Library)
    } else if below("/v1/files") || below("/v1/vector_stores") {
        Some(Scope::Documents)
    } else if below("/metrics") {
        Some(Scope::Metrics)
    } else if below("/v1/catalog") {
        (method != Method::GET).then_some(Scope::Models)
    // What a link is for is asked where it is made.
    } else if method == Method::GET && (below("/v1/models") || below("/v1/memory"))
        || below("/v1/links")
    {
        None
    } else {
        Some(Scope::Generate)
    }
}

impl Refusal {
    fn error(self) -> ApiError {
        let (status, code, message) = match self {
            Self::NoKey => (
                StatusCode::UNAUTHORIZED,
                "invalid_api_key",
                "You didn't provide an API key: send it as 'Authorization: Bearer YOUR_KEY'."
                    .to_owned(),
            ),
            Self::WrongKey => (
                StatusCode::UNAUTHORIZED,
                "invalid_api_key",
                "Incorrect API key provided.".to_owned(),
            ),
            Self::Scope(scope) => return ApiError::lacks(scope),
            Self::Desk => (
                StatusCode::FORBIDDEN,
                "insufficient_permissions",
                "This is a desk's key, which opens its desk and nothing else.".to_owned(),
            ),
            Self::Rate(limit) => {
                return ApiError::too_many(
                    "rate_limit_exceeded",
                    format!(
                        "This key lets {limit} requests a minute through; try again in a moment."
                    ),
                );
            }
        };
        ApiError::refused(status, Some(code), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_file_does_what_its_scopes_and_its_quota_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let gate = Gate::new(&[], Some(path.clone()));
        assert!(
            gate.admit(None, Some(Scope::Generate)).is_ok(),
            "no key is needed"
        );
        let mut keys = Keys::default();
        let key = keys
            .add("ada", vec![Scope::Generate], Some(2), Some(3))
            .unwrap();
        keys.save(&path).unwrap();
        gate.state.lock().unwrap().looked = None;
        assert!(matches!(gate.admit(None, None), Err(Refusal::NoKey)));
        let desk = Some("pk-0123");
        assert!(matches!(gate.admit(desk, None), Err(Refusal::Desk)));
        assert!(matches!(
            gate.admit(Some("mk-other"), None),
            Err(Refusal::WrongKey)
        ));
        let key = Some(key.as_str());
        assert!(matches!(
            gate.admit(key, Some(Scope::Models)),
            Err(Refusal::Scope(Scope::Models))
        ));
        for _ in 0..2 {
            let caller = gate.admit(key, Some(Scope::Generate)).ok().unwrap();
            assert_eq!(
                (caller.name.as_deref(), caller.jobs),
                (Some("ada"), Some(3))
            );
        }
        assert!(matches!(gate.admit(key, None), Err(Refusal::Rate(2))));
        // Whoever damages the file opens nothing.
        std::fs::write(&path, "{").unwrap();
        gate.state.lock().unwrap().looked = None;
        assert!(matches!(gate.admit(None, None), Err(Refusal::NoKey)));
    }

    #[test]
    fn every_path_has_its_scope() {
        for (method, path, scope) in [
            (Method::POST, "/v1/chat/completions", Some(Scope::Generate)),
            (Method::GET, "/v1/responses/resp_1", Some(Scope::Generate)),
            (Method::GET, "/v1/models", None),
            (Method::GET, "/v1/jobs/job_1/events", Some(Scope::Jobs)),
            (Method::GET, "/v1/library", Some(Scope::Library)),
            (Method::GET, "/v1/catalog", None),
            (Method::POST, "/v1/catalog/minilm/pull", Some(Scope::Models)),
            (Method::GET, "/v1/files", Some(Scope::Documents)),
            (
                Method::POST,
                "/v1/vector_stores/vs_1/search",
                Some(Scope::Documents),
            ),
            (Method::POST, "/v1/links", None),
            (Method::GET, "/metrics", Some(Scope::Metrics)),
        ] {
            assert_eq!(scope_of(&method, path), scope, "{method} {path}");
        }
    }
}
