//! `/v1/inspect/text`, which is ours: what a language model makes of a text. Its tokens, what it thinks comes next, and
//! what each head of each layer looks at.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use axum::routing::post;
use medley_engine::{TextModel, Tokenizer, Watched};
use serde::Serialize;

use crate::ask::model;
use crate::error::Answer;
use crate::fields::Fields;
use crate::service::Service;

/// Most next tokens that are named.
const CANDIDATES: i64 = 1000;

/// How many are named where nothing is said.
const USUAL: usize = 200;

/// Parts of one that weights of attention are rounded to.
const PARTS: f32 = 10_000.0;

pub(crate) fn routes() -> axum::Router<Arc<Service>> {
    axum::Router::new().route("/v1/inspect/text", post(text))
}

#[derive(Serialize)]
struct Token {
    id: u32,
    /// Bytes that are no whole letter are U+FFFD.
    text: String,
    bytes: Vec<u8>,
    /// Whether it stands for no text: the end of an answer, say.
    special: bool,
}

#[derive(Serialize)]
struct Candidate {
    #[serde(flatten)]
    token: Token,
    logprob: f64,
}

#[derive(Serialize)]
struct Next {
    candidates: Vec<Candidate>,
    /// The others: the log-probability of a class of them, and how many are in it.
    rest: Vec<(f64, usize)>,
}

/// Rows of weights, each one longer than that before it.
type Head = Vec<Vec<f32>>;

/// The model's shape.
#[derive(Serialize)]
struct Shape {
    family: &'static str,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    hidden_size: usize,
    vocab_size: usize,
    context: usize,
}

#[derive(Serialize)]
struct Inspection {
    object: &'static str,
    model: String,
    shape: Shape,
    tokens: Vec<Token>,
    next: Next,
    /// Layers of heads of rows: what a token takes from those up to itself. Left out unless it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<Vec<Vec<Head>>>,
}

async fn text(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let fields = Fields::of_request(request).await?;
    let name = model(&fields)?;
    fields.required("prompt")?;
    let prompt = fields.text("prompt")?.unwrap_or_default();
    if prompt.is_empty() {
        return Err(fields.wrong_value("prompt", "it must not be empty"));
    }
    let candidates = fields.count("candidates", 1..=CANDIDATES)?.unwrap_or(USUAL);
    let attention = fields.flag("attention")?.unwrap_or(false);
    let (model, seen) = service.watch(&name, prompt.to_owned(), candidates).await?;
    Ok(Json(inspection(name, &model, &seen, attention)).into_response())
}

fn inspection(name: String, model: &TextModel, seen: &Watched, attention: bool) -> Inspection {
    let tokenizer = model.tokenizer();
    let config = model.decoder().config();
    let named = |&(id, logprob): &(u32, f64)| Candidate {
        token: token(tokenizer, id),
        logprob,
    };
    Inspection {
        object: "inspection",
        model: name,
        shape: Shape {
            family: config.family,
            layers: config.layers.len(),
            heads: config.heads,
            kv_heads: config.kv_heads,
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            context: model.context(),
        },
        tokens: seen.tokens.iter().map(|&id| token(tokenizer, id)).collect(),
        next: Next {
            candidates: seen.next.iter().map(named).collect(),
            rest: seen.rest.clone(),
        },
        attention: attention.then(|| triangles(seen)),
    }
}

fn token(tokenizer: &Tokenizer, id: u32) -> Token {
    Token {
        id,
        text: tokenizer.token_text(id),
        bytes: tokenizer.token_bytes(id),
        special: tokenizer.is_special(id),
    }
}

/// The weights without those of later tokens, which are 0.
fn triangles(seen: &Watched) -> Vec<Vec<Head>> {
    let rounded = |weight: &f32| (weight * PARTS).round() / PARTS;
    let head = |weights: &Vec<f32>| {
        let rows = weights.chunks_exact(seen.tokens.len()).enumerate();
        rows.map(|(at, row)| row[..=at].iter().map(rounded).collect())
            .collect()
    };
    let layer = |heads: &Vec<Vec<f32>>| heads.iter().map(head).collect();
    seen.heads.iter().map(layer).collect()
}
