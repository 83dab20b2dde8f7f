//! `/metrics`, in Prometheus's words; `/ready`; and a line of the log for every request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde_json::json;

use crate::error::{Answer, ApiError};
use crate::kept::with_kept;
use crate::service::Service;

/// How long the engine may take to say that it is there: as long as its longest step.
const PATIENCE: Duration = Duration::from_secs(10);

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    path: String,
    method: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPath {
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

/// What is counted as it happens; the rest is asked for when it is wanted.
pub(crate) struct Metrics {
    requests: Family<Asked, Counter>,
    seconds: Family<OfPath, Histogram, fn() -> Histogram>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: Family::default(),
            // From a millisecond to a minute and a half.
            seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 17))
            }),
        }
    }
}

pub(crate) fn routes() -> axum::Router<Arc<Service>> {
    axum::Router::new().route("/metrics", get(metrics))
}

/// Counts a request, and writes it into the log.
pub(crate) async fn watched(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = request.method().to_string();
    // The route, not the address: there are so many and no more.
    let matched = request.extensions().get::<MatchedPath>();
    let path = matched.map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let (seconds, status) = (begun.elapsed().as_secs_f64(), response.status().as_u16());
    tracing::info!(method, path, status, seconds, "request");
    let of_path = OfPath { path: path.clone() };
    service
        .metrics
        .seconds
        .get_or_create(&of_path)
        .observe(seconds);
    let asked = Asked {
        path,
        method,
        status,
    };
    service.metrics.requests.get_or_create(&asked).inc();
    response
}

async fn metrics(State(service): State<Arc<Service>>) -> Answer {
    let mut registry = Registry::with_prefix("medley");
    let Metrics { requests, seconds } = &service.metrics;
    registry.register("requests", "Requests by route", requests.clone());
    registry.register_with_unit(
        "request",
        "Time to the answer, or to the head of a stream",
        Unit::Seconds,
        seconds.clone(),
    );
    let jobs: Family<OfState, Gauge> = Family::default();
    if service.kept().is_ok() {
        let counts = with_kept(&service, |kept| kept.jobs.counts()).await?;
        for (state, count) in [("queued", counts.queued), ("running", counts.running)] {
            jobs.get_or_create(&OfState { state }).set(count as i64);
        }
    }
    registry.register("jobs", "Jobs on their way", jobs);
    let under_way: Gauge = Gauge::default();
    under_way.set(service.under_way() as i64);
    registry.register(
        "queue",
        "Texts, embeddings and pictures on their way",
        under_way,
    );
    let memory = service.memory().await?;
    let (budget, used) = (Gauge::<i64>::default(), Gauge::<i64>::default());
    budget.set(i64::try_from(memory.budget).unwrap_or(i64::MAX));
    used.set(i64::try_from(memory.used).unwrap_or(i64::MAX));
    registry.register_with_unit(
        "memory_budget",
        "What all models may take",
        Unit::Bytes,
        budget,
    );
    registry.register_with_unit("memory_used", "What all models take", Unit::Bytes, used);
    let models: Family<OfModel, Gauge> = Family::default();
    let (read, written) = (
        Family::<OfModel, Counter>::default(),
        Family::<OfModel, Counter>::default(),
    );
    for held in memory.models {
        let of_model = OfModel { model: held.id };
        models
            .get_or_create(&of_model)
            .set(i64::try_from(held.memory).unwrap_or(i64::MAX));
    }
    for (model, total) in memory.totals {
        let of_model = OfModel { model };
        read.get_or_create(&of_model).inc_by(total.prompt_tokens);
        written.get_or_create(&of_model).inc_by(total.tokens);
    }
    registry.register_with_unit(
        "model_memory",
        "What a loaded model takes",
        Unit::Bytes,
        models,
    );
    registry.register(
        "prompt_tokens",
        "Tokens of prompts of texts that ended",
        read,
    );
    registry.register("tokens", "Tokens of texts that ended", written);
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|_| ApiError::internal("the metrics could not be written"))?;
    let mut response = text.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT));
    Ok(response)
}

/// Whether requests can be carried out: the engine answers, and what is kept can be read.
pub(crate) async fn ready(State(service): State<Arc<Service>>) -> Answer {
    let late = |_| ApiError::unavailable(Some("not_ready"), "The engine does not answer.");
    tokio::time::timeout(PATIENCE, service.memory())
        .await
        .map_err(late)??;
    if service.kept().is_ok() {
        with_kept(&service, |kept| kept.jobs.counts()).await?;
    }
    Ok((StatusCode::OK, Json(json!({ "status": "ready" }))).into_response())
}
