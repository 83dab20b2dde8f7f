//! `/v1/library`: the works that are kept.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http_range_header::parse_range_header;
use medley_engine::EngineError;
use medley_engine::library::Query;
use medley_types::Work;
use serde_json::{Value, json};

use crate::error::Answer;
use crate::fields::Fields;
use crate::kept::with_kept;
use crate::query::Parameters;
use crate::service::Service;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/library", get(list))
        .route("/v1/library/{id}", get(one).patch(change).delete(remove))
        .route("/v1/library/{id}/file", get(file))
        .route("/v1/library/{id}/thumbnail", get(thumbnail))
}

/// A work as clients see it.
fn described(work: &Work) -> Value {
    json!({
        "id": work.id,
        "object": "work",
        "medium": work.medium,
        "model": work.model,
        "model_sha256": work.model_sha256,
        "title": work.title,
        "prompt": work.prompt,
        "recipe": work.recipe,
        "created_at": work.created_at,
        "mime": work.mime,
        "bytes": work.bytes,
        "sha256": work.sha256,
        "width": work.width,
        "height": work.height,
        "tags": work.tags,
        "timings": work.timings,
        "job": work.job,
    })
}

async fn list(State(service): State<Arc<Service>>, uri: Uri) -> Answer {
    let parameters = Parameters::of(&uri)?;
    let query = Query {
        words: parameters.text("q").unwrap_or_default(),
        medium: parameters.medium()?,
        tag: parameters.text("tag"),
        limit: parameters.limit()?,
        after: parameters.text("after"),
    };
    let (works, more) = with_kept(&service, move |kept| kept.library.list(&query)).await?;
    let data: Vec<Value> = works.iter().map(described).collect();
    Ok(Json(json!({ "object": "list", "data": data, "has_more": more })).into_response())
}

async fn one(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let work = with_kept(&service, move |kept| kept.library.get(&id)).await?;
    Ok(Json(described(&work)).into_response())
}

async fn change(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let fields = Fields::of_request(request).await?;
    let title = fields.text("title")?.map(str::to_owned);
    let wrong = || fields.wrong_type("tags", "an array of strings");
    let tags = match fields.list("tags")? {
        None => None,
        Some(list) => {
            let tag = |tag: &Value| tag.as_str().map(str::to_owned).ok_or_else(wrong);
            Some(list.iter().map(tag).collect::<Answer<Vec<String>>>()?)
        }
    };
    let changed = with_kept(&service, move |kept| {
        kept.library.change(&id, title.as_deref(), tags.as_deref())
    });
    Ok(Json(described(&changed.await?)).into_response())
}

async fn remove(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let removed = id.clone();
    with_kept(&service, move |kept| kept.library.remove(&removed)).await?;
    Ok(Json(json!({ "id": id, "object": "work", "deleted": true })).into_response())
}

async fn file(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let (bytes, mime, sha256) = with_kept(&service, move |kept| {
        let work = kept.library.get(&id)?;
        let file = kept.library.file(&id)?;
        let bytes = std::fs::read(&file.path).map_err(EngineError::io("read", &file.path))?;
        Ok((bytes, file.mime, work.sha256))
    })
    .await?;
    Ok(sent(bytes, &mime, &sha256, &headers))
}

async fn thumbnail(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let (bytes, mime, sha256) = with_kept(&service, move |kept| {
        let work = kept.library.get(&id)?;
        let (bytes, mime) = kept.library.thumbnail(&id)?;
        Ok((bytes, mime, work.sha256))
    })
    .await?;
    Ok(sent(bytes, mime, &format!("{sha256}-small"), &headers))
}

/// A file, or the part of it that is asked for. Its content never changes under its address; nothing in it runs in a
/// browser.
pub(crate) fn sent(bytes: Vec<u8>, mime: &str, tag: &str, headers: &HeaderMap) -> Response {
    let tag = format!("\"{tag}\"");
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        whole_or_part(bytes, &tag, headers)
    };
    let charset = if mime.starts_with("text/") {
        "; charset=utf-8"
    } else {
        ""
    };
    let kind = format!("{mime}{charset}");
    let set = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind.as_str()),
        (header::ETAG, tag.as_str()),
        (header::ACCEPT_RANGES, "bytes"),
        (
            header::CACHE_CONTROL,
            "private, max-age=31536000, immutable",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            set.insert(name, value);
        }
    }
    response
}

/// What the header `Range` asks for (RFC 9110, 14): one part of the file; players seek by it. Several at once, or a file
/// that has changed since, come whole.
fn whole_or_part(bytes: Vec<u8>, tag: &str, headers: &HeaderMap) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let same = text(header::IF_RANGE).is_none_or(|known| known == tag);
    let asked = text(header::RANGE).filter(|_| same);
    let length = bytes.len() as u64;
    let Some(ranges) = asked.and_then(|asked| parse_range_header(asked).ok()) else {
        return bytes.into_response();
    };
    let Ok(ranges) = ranges.validate(length) else {
        let whole = format!("bytes */{length}");
        let headers = [(header::CONTENT_RANGE, whole)];
        return (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response();
    };
    let [range] = ranges.as_slice() else {
        return bytes.into_response();
    };
    let (first, last) = (*range.start(), *range.end());
    let part = bytes
        .get(first as usize..=last as usize)
        .map(<[u8]>::to_vec);
    let headers = [(
        header::CONTENT_RANGE,
        format!("bytes {first}-{last}/{length}"),
    )];
    let part = part.unwrap_or_default();
    (StatusCode::PARTIAL_CONTENT, headers, part).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(header::HeaderName, &'static str)]) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name, HeaderValue::from_static(value));
        }
        sent((0..100).collect(), "video/mp4", "tag", &map)
    }

    async fn bytes(response: Response) -> Vec<u8> {
        let body = axum::body::to_bytes(response.into_body(), 1000).await;
        body.unwrap().to_vec()
    }

    #[tokio::test]
    async fn players_get_the_part_that_they_seek() {
        for (range, first, last) in [
            ("bytes=0-1", 0, 1),
            ("bytes=90-", 90, 99),
            ("bytes=-5", 95, 99),
            ("bytes=50-5000", 50, 99),
        ] {
            let response = asked(&[(header::RANGE, range)]);
            assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
            let told = response.headers()[header::CONTENT_RANGE].to_str().unwrap();
            assert_eq!(told, format!("bytes {first}-{last}/100"));
            assert_eq!(response.headers()[header::CONTENT_TYPE], "video/mp4");
            assert_eq!(bytes(response).await, (first..=last).collect::<Vec<u8>>());
        }
        let beyond = asked(&[(header::RANGE, "bytes=100-")]);
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(beyond.headers()[header::CONTENT_RANGE], "bytes */100");
    }

    #[tokio::test]
    async fn what_asks_for_no_one_part_comes_whole() {
        for headers in [
            &[][..],
            &[(header::RANGE, "lines=1-2")],
            &[(header::RANGE, "bytes=x")],
            &[(header::RANGE, "bytes=0-1,5-9")],
            &[
                (header::RANGE, "bytes=0-1"),
                (header::IF_RANGE, "\"other\""),
            ],
        ] {
            let response = asked(headers);
            assert_eq!(response.status(), StatusCode::OK, "{headers:?}");
            assert_eq!(response.headers()[header::ACCEPT_RANGES], "bytes");
            assert_eq!(bytes(response).await.len(), 100);
        }
        let same = [(header::RANGE, "bytes=0-1"), (header::IF_RANGE, "\"tag\"")];
        assert_eq!(asked(&same).status(), StatusCode::PARTIAL_CONTENT);
    }
}
