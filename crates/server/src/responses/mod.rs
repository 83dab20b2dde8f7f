//! `/v1/responses`: answers that are kept, and that others go on from.

mod ask;
mod chain;
mod items;
mod lookup;
mod run;
mod store;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::Stream;
use serde_json::{Map, Value, json};

use crate::answer::keep_alive;
use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::gate::Caller;
use crate::generators::{Generator, offered};
use crate::service::Service;
use ask::Ask;
use chain::Chain;
use lookup::Lookup;
use run::Run;
use store::Kept;

pub(crate) use store::{Store, abandoned};

/// The paths of responses.
pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/responses", post(create))
        .route("/v1/responses/input_tokens", post(count))
        .route("/v1/responses/{id}", get(retrieve).delete(delete))
        .route("/v1/responses/{id}/cancel", post(cancel))
        .route("/v1/responses/{id}/input_items", get(input_items))
}

/// A request for a response, and all that it may call.
struct Asked {
    ask: Ask,
    found: Option<Lookup>,
    generators: Vec<Arc<Generator>>,
    caller: Option<Caller>,
}

async fn read(service: &Arc<Service>, request: Request) -> Answer<Asked> {
    let caller = request.extensions().get::<Caller>().cloned();
    let fields = Fields::of_request(request).await?;
    let earlier = match fields.text("previous_response_id")? {
        Some(id) => service.responses.context(id).await?,
        None => None,
    };
    let mut ask = Ask::read(&fields, earlier)?;
    let functions = &ask.wanted.request.tools.list;
    let generators = offered(service, &fields, functions, &ask.context).await?;
    if !generators.is_empty() {
        let small = service.is_small(&ask.wanted.request.model).await?;
        ask.choose(&generators, small);
    }
    let found = lookup::carry_out(service, &fields, caller.as_ref(), &mut ask).await?;
    Ok(Asked {
        ask,
        found,
        generators,
        caller,
    })
}

impl Asked {
    /// How the response goes on after generators were called; none where there are none.
    fn chain(&self, service: &Arc<Service>) -> Option<Chain> {
        let ask = &self.ask;
        (!self.generators.is_empty()).then(|| Chain {
            service: service.clone(),
            caller: self.caller.clone(),
            generators: self.generators.clone(),
            request: ask.wanted.request.clone(),
            names: ask.wanted.names,
            instructions: ask.instructions.clone(),
            context: ask.context.clone(),
            previews: ask.stream || ask.background,
            left: ask.most_calls,
            waiting: VecDeque::new(),
            called: false,
            by_words: ask.by_words,
            goes_on: false,
        })
    }
}

async fn create(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let asked = read(&service, request).await?;
    let chain = asked.chain(&service);
    let Asked { ask, found, .. } = asked;
    let Ask {
        wanted,
        response,
        context,
        stream,
        background,
        store,
        logprobs,
        ..
    } = ask;
    let running = service.write(wanted).await?;
    let id = response["id"].as_str().unwrap_or_default().to_owned();
    let first = response.clone();
    let mut run = Run::new(response, running, background, logprobs).after(found);
    run.chain = chain;
    if background {
        let kept = Kept::new(first.clone(), context, true).ended_by(run.ending.clone());
        let kept = service.responses.keep(&id, kept).await?;
        let writing = kept.clone();
        tokio::spawn(async move {
            while let Some(event) = run.next().await {
                writing.put(event, &run.response);
            }
            service.responses.finish(&id).await;
        });
        return Ok(match stream {
            true => follow(kept, 0),
            false => Json(first).into_response(),
        });
    }
    let kept = store.then_some((service, context));
    if stream {
        let events = futures_util::stream::unfold((run, kept), |(mut run, mut kept)| async move {
            let event = run.next().await;
            if ends(event.as_ref()) {
                keep(kept.take(), &run.response).await;
            }
            event.map(|event| (event, (run, kept)))
        });
        return Ok(sent(events));
    }
    while let Some(event) = run.next().await {
        if event["type"] == "response.failed" {
            let failed = || ApiError::internal("the response failed");
            return Err(run.failure.take().unwrap_or_else(failed));
        }
    }
    keep(kept, &run.response).await;
    Ok(Json(run.response).into_response())
}

/// Whether this is a stream's last event.
fn ends(event: Option<&Value>) -> bool {
    let kind = event.and_then(|event| event["type"].as_str());
    matches!(
        kind,
        None | Some("response.completed" | "response.incomplete" | "response.failed")
    )
}

/// Keeps a response that is at its end. Who asked for it has it either way, so what fails here is only told.
async fn keep(kept: Option<(Arc<Service>, Vec<Value>)>, response: &Value) {
    if let (Some((service, input)), Some(id)) = (kept, response["id"].as_str()) {
        let kept = Kept::new(response.clone(), input, false);
        if let Err(error) = service.responses.keep(id, kept).await {
            tracing::error!("the response {id} cannot be kept: {}", error.message);
        }
    }
}

/// Events as they are sent, each with its name.
fn sent(events: impl Stream<Item = Value> + Send + 'static) -> Response {
    let named = futures_util::StreamExt::map(events, |event: Value| {
        let name = event["type"].as_str().unwrap_or("error").to_owned();
        Ok::<_, Infallible>(Event::default().event(name).data(event.to_string()))
    });
    Sse::new(named).keep_alive(keep_alive()).into_response()
}

/// The events of a response in the background, from one on.
fn follow(kept: Arc<Kept>, from: usize) -> Response {
    let events = futures_util::stream::unfold((kept, from), move |(kept, number)| async move {
        let event = kept.event(number, number == from).await?;
        Some((event, (kept, number.saturating_add(1))))
    });
    sent(events)
}

async fn count(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let asked = read(&service, request).await?;
    let tokens = service.count(asked.ask.wanted).await?;
    let answer = json!({ "object": "response.input_tokens", "input_tokens": tokens });
    Ok(Json(answer).into_response())
}

async fn find(service: &Service, id: &str) -> Answer<Arc<Kept>> {
    service.responses.get(id).await?.ok_or_else(|| {
        let shown: String = id.chars().take(80).collect();
        let message = format!("Response with id '{shown}' not found.");
        ApiError::refused(StatusCode::NOT_FOUND, None, message)
    })
}

/// What stands behind the question mark, as fields.
fn asked(query: Vec<(String, String)>) -> Fields {
    let mut map = Map::new();
    for (name, text) in query {
        let value = match text.parse::<i64>() {
            Ok(number) if name != "after" => json!(number),
            _ if text == "true" || text == "false" => json!(text == "true"),
            _ => json!(text),
        };
        map.insert(name, value);
    }
    Fields::new(map)
}

type Queried = Query<Vec<(String, String)>>;

async fn retrieve(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    Query(query): Queried,
) -> Answer {
    let query = asked(query);
    let kept = find(&service, &id).await?;
    if !query.flag("stream")?.unwrap_or(false) {
        return Ok(Json(kept.response()).into_response());
    }
    if !kept.background {
        return Err(query.wrong_value(
            "stream",
            "only a response that was asked for with 'background': true can be streamed again",
        ));
    }
    let after = query.count("starting_after", 0..=i64::MAX)?;
    Ok(follow(
        kept,
        after.map_or(0, |after| after.saturating_add(1)),
    ))
}

async fn delete(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    find(&service, &id).await?;
    service.responses.remove(&id).await?;
    let answer = json!({ "id": id, "object": "response", "deleted": true });
    Ok(Json(answer).into_response())
}

async fn cancel(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer {
    let kept = find(&service, &id).await?;
    if !kept.background {
        return Err(ApiError::invalid(
            None,
            "Only a response that was asked for with 'background': true can be cancelled.",
        ));
    }
    kept.ending.end();
    // What is done ends with its next step.
    let mut number = 0;
    while kept.event(number, false).await.is_some() {
        number += 1;
    }
    Ok(Json(kept.response()).into_response())
}

async fn input_items(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    Query(query): Queried,
) -> Answer {
    let query = asked(query);
    let kept = find(&service, &id).await?;
    let mut items = kept.input.clone();
    if query.word("order", &["asc", "desc"])? != Some("asc") {
        items.reverse();
    }
    if let Some(after) = query.text("after")? {
        let at = items.iter().position(|item| item["id"] == after);
        let at = at.ok_or_else(|| query.wrong_value("after", "no item has this id"))?;
        items.drain(..=at);
    }
    let limit = query.count("limit", 1..=100)?.unwrap_or(20);
    let more = items.len() > limit;
    items.truncate(limit);
    let id_of = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    let answer = json!({
        "object": "list", "first_id": id_of(items.first()), "last_id": id_of(items.last()),
        "has_more": more, "data": items,
    });
    Ok(Json(answer).into_response())
}
