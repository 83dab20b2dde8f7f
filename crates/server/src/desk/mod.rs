//! `/desk/NAME`: a support desk's page, the script that shows it on other sites, and what both ask.
//!
//! These paths lie beside the API and its keys. A desk's key opens nothing but its own desk; a page of another site is let
//! in where the desk names its origin, and gets nothing, not even the greeting, where it does not.

mod doors;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use medley_engine::desk::{Desk, Desks, Turns};
use medley_engine::documents::answer::{Answer as Found, Citation, Phraser, Question};
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::reading::{ServerPhraser, waited};
use crate::service::Service;

pub(crate) use doors::Doors;

/// The script, which is one for all desks.
const SCRIPT: &str = include_str!("../../../../web/desk/desk.js");

/// Characters of a question at most.
const QUESTION: usize = 1000;

/// Characters of a citation's quote that visitors are shown.
const QUOTE: usize = 400;

/// Where a connection is from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/desk/{name}", get(page))
        .route("/desk/{name}/desk.js", get(script))
        .route("/desk/{name}/about", get(about).options(preflight))
        .route("/desk/{name}/ask", post(ask).options(preflight))
        .route("/desk/{name}/hand-over", post(hand_over).options(preflight))
}

/// Whether a path is one that other sites may ask, under the desk's own rules.
pub(crate) fn is_desk(path: &str) -> bool {
    path.strip_prefix("/desk/")
        .is_some_and(|rest| !rest.is_empty())
}

/// The desk of this name, as its file has it now.
async fn find(service: &Service, name: &str) -> Answer<Desk> {
    let home = service.settings.home.clone();
    let home = home.ok_or_else(|| unknown(name))?;
    let name = name.to_owned();
    let shown = name.clone();
    let found = waited(move || Ok(Desks::load(&home.desks_file())?.find(&name).cloned())).await?;
    found.map_err(|_| unknown(&shown))
}

fn unknown(name: &str) -> ApiError {
    let shown: String = name.chars().take(80).collect();
    let message = format!("There is no desk '{shown}'.");
    ApiError::refused(StatusCode::NOT_FOUND, None, message)
}

/// The origin of a request that a browser sends from elsewhere; nothing for the desk's own page.
fn foreign(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN)?;
    let own = origin.split_once("://").map(|(_, host)| host);
    (own != text(header::HOST)).then(|| origin.to_owned())
}

/// Lets in the desk's own page and the sites that it names; what is given back is the header that says so.
fn let_in(desk: &Desk, headers: &HeaderMap) -> Answer<Option<HeaderValue>> {
    let Some(origin) = foreign(headers) else {
        return Ok(None);
    };
    if !desk.lets_in(&origin) {
        let message = "This site may not show this desk.";
        return Err(ApiError::refused(
            StatusCode::FORBIDDEN,
            Some("forbidden"),
            message,
        ));
    }
    let value = HeaderValue::from_str(&origin);
    value
        .map(Some)
        .map_err(|_| ApiError::invalid(None, "The origin cannot be read."))
}

fn with_origin(mut response: Response, origin: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

/// What a browser asks before it asks.
async fn preflight(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let desk = find(&service, &name).await?;
    let origin = let_in(&desk, &headers)?;
    let mut response = with_origin(StatusCode::NO_CONTENT.into_response(), origin);
    let set = response.headers_mut();
    set.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST"),
    );
    let asked = HeaderValue::from_static("authorization, content-type");
    set.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
    set.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("600"),
    );
    Ok(response)
}

/// The desk that a request may ask: it brings its key, from where it may.
async fn admitted(
    service: &Service,
    name: &str,
    headers: &HeaderMap,
) -> Answer<(Desk, Option<HeaderValue>)> {
    let desk = find(service, name).await?;
    let origin = let_in(&desk, headers)?;
    let brought = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let brought = brought
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    if medley_engine::keys::hash(brought) != medley_engine::keys::hash(&desk.key) {
        let message = "This desk's key is missing or another one.";
        return Err(ApiError::refused(
            StatusCode::UNAUTHORIZED,
            Some("invalid_api_key"),
            message,
        ));
    }
    Ok((desk, origin))
}

/// Who asks: the address of the connection, or, behind a proxy on this machine, the one that it names.
fn visitor(headers: &HeaderMap, peer: Option<Extension<Peer>>) -> String {
    let peer = peer.map(|Extension(Peer(address))| address);
    let named = headers
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok());
    let named = named
        .and_then(|list| list.rsplit(',').next())
        .map(str::trim);
    match (peer, named) {
        (Some(peer), Some(named)) if peer.is_loopback() => named.chars().take(64).collect(),
        (Some(peer), _) => peer.to_string(),
        (None, _) => String::new(),
    }
}

/// What the page and the script show, which is nothing that is not to be seen.
async fn about(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let (desk, origin) = admitted(&service, &name, &headers).await?;
    let answer = json!({
        "title": desk.title, "greeting": desk.greeting, "colour": desk.colour, "language": desk.language,
        "mail": desk.mail, "hand_over": desk.webhook.is_some(), "unknown": desk.unknown,
    });
    Ok(with_origin(Json(answer).into_response(), origin))
}

/// A visit's name, which the page makes up.
fn session(fields: &Fields) -> Answer<String> {
    let session = fields.text("session")?.unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if session.len() > 64 || !session.bytes().all(plain) {
        return Err(fields.wrong_value("session", "it has at most 64 letters and digits"));
    }
    Ok(session.to_owned())
}

fn text(fields: &Fields, name: &str) -> Answer<String> {
    fields.required(name)?;
    let text = fields.text(name)?.unwrap_or_default().trim().to_owned();
    if text.is_empty() || text.chars().count() > QUESTION {
        let problem = format!("it has 1 to {QUESTION} characters");
        return Err(fields.wrong_value(name, &problem));
    }
    Ok(text)
}

async fn ask(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    peer: Option<Extension<Peer>>,
    request: Request,
) -> Answer {
    let headers = request.headers().clone();
    let (desk, origin) = admitted(&service, &name, &headers).await?;
    service.doors.pass(&desk, &visitor(&headers, peer))?;
    let fields = Fields::of_request(request).await?;
    let (question, session) = (text(&fields, "question")?, session(&fields)?);
    let answer = answered(&service, &desk, question, session).await?;
    Ok(with_origin(
        Json(shown(&desk, &answer)).into_response(),
        origin,
    ))
}

async fn answered(
    service: &Arc<Service>,
    desk: &Desk,
    question: String,
    session: String,
) -> Answer<Found> {
    let turns = Turns::new(service.kept()?.database.clone());
    let phraser = match &desk.model {
        Some(model) => ServerPhraser::new(service, model, desk.tone.as_deref())
            .await
            .inspect_err(|error| tracing::warn!("answers are quoted: {}", error.message))
            .ok(),
        None => None,
    };
    let of = desk.clone();
    service
        .with_collection(&desk.collection, move |documents, collection, encoder| {
            let earlier = match session.is_empty() {
                true => Vec::new(),
                false => turns.earlier(&of.name, &session)?,
            };
            let asked = Question {
                text: question.clone(),
                earlier,
                filter: None,
                sure: Some(of.sure),
            };
            let phraser = phraser.as_ref().map(|phraser| phraser as &dyn Phraser);
            let answer = documents.answer(collection, &asked, encoder, phraser)?;
            turns.keep(&of, &session, &question, &answer)?;
            Ok(answer)
        })
        .await
}

/// An answer as visitors see it: texts, which pages show as texts.
fn shown(desk: &Desk, answer: &Found) -> Value {
    let place = |citation: &Citation| {
        let quote: String = citation.quote.chars().take(QUOTE).collect();
        json!({ "name": citation.name, "title": citation.title, "heading": citation.heading,
                "page": citation.page, "quote": quote })
    };
    if !answer.answered {
        return json!({ "answered": false, "text": desk.unknown, "sentences": [], "citations": [] });
    }
    let citations: Vec<Value> = answer.citations.iter().map(place).collect();
    json!({ "answered": true, "text": answer.text, "sentences": answer.sentences, "citations": citations })
}

/// Hands a question over to people, where the desk has an address that takes it.
async fn hand_over(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    peer: Option<Extension<Peer>>,
    request: Request,
) -> Answer {
    let headers = request.headers().clone();
    let (desk, origin) = admitted(&service, &name, &headers).await?;
    service.doors.pass(&desk, &visitor(&headers, peer))?;
    let fields = Fields::of_request(request).await?;
    let Some(webhook) = desk.webhook.clone() else {
        let message = "This desk hands over by mail, or not at all.";
        return Err(ApiError::refused(StatusCode::NOT_FOUND, None, message));
    };
    let message = json!({
        "desk": desk.name, "session": session(&fields)?, "question": text(&fields, "question")?,
        "contact": text(&fields, "contact")?,
    });
    let sent =
        tokio::task::spawn_blocking(move || medley_engine::fetch::post_json(&webhook, &message));
    let sent = sent
        .await
        .map_err(|_| ApiError::internal("the question was not handed over"))?;
    if let Err(error) = sent {
        tracing::error!("{}: a question was not handed over: {error}", desk.name);
        let message = "The question could not be handed over; please try again later.";
        return Err(ApiError::refused(StatusCode::BAD_GATEWAY, None, message));
    }
    Ok(with_origin(
        Json(json!({ "handed_over": true })).into_response(),
        origin,
    ))
}

/// The script, with the desk that it is of. Everyone may load it: it shows nothing where the desk lets nobody in.
async fn script(State(service): State<Arc<Service>>, Path(name): Path<String>) -> Answer {
    let desk = find(&service, &name).await?;
    let of = json!({ "name": desk.name, "key": desk.key });
    let text = SCRIPT.replace("\"{DESK}\"", &of.to_string());
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ),
    ];
    Ok((headers, text).into_response())
}

/// Nothing comes from elsewhere, nothing in the page is script, and no other page shows this one. Styles are the script's
/// own objects.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The desk's own page.
async fn page(State(service): State<Arc<Service>>, Path(name): Path<String>) -> Answer {
    let desk = find(&service, &name).await?;
    let title = escaped(&desk.title);
    let language = desk.language.as_deref().map_or("en".to_owned(), escaped);
    let html = format!(
        "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n</head>\n\
         <body>\n<script src=\"/desk/{}/desk.js\" data-page></script>\n</body>\n</html>\n",
        escaped(&desk.name)
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    Ok((headers, html).into_response())
}

/// A text as it stands in HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
