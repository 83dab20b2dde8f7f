//! `/v1/rerank`, in the shape of Cohere's and Jina's: which documents fit a query best, by the cosine between its
//! embedding and theirs.

use axum::Json;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::ask::model;
use crate::embeddings::vectors;
use crate::error::Answer;
use crate::fields::Fields;
use crate::service::Service;

/// Documents of one request at most.
const DOCUMENTS: usize = 1000;

/// Carries out a request.
pub(crate) async fn respond(service: &Service, fields: &Fields) -> Answer {
    let name = model(fields)?;
    fields.required("query")?;
    let query = fields.text("query")?.unwrap_or_default();
    if query.is_empty() {
        return Err(fields.wrong_value("query", "it must not be empty"));
    }
    let documents = documents(fields)?;
    let most = fields
        .count("top_n", 1..=i64::MAX)?
        .unwrap_or(documents.len());
    fields.count("max_tokens_per_doc", 1..=i64::MAX)?;
    let with_texts = fields.flag("return_documents")?.unwrap_or(false);
    let texts = std::iter::once(query).chain(documents.iter().map(String::as_str));
    let texts = texts.map(str::to_owned).collect();
    let (all, tokens) = vectors(service, &name, texts, "documents").await?;
    let (query, vectors) = match all.split_first() {
        Some(split) => split,
        None => (&Vec::new(), &[][..]),
    };
    let mut ranked: Vec<(usize, f32)> = vectors
        .iter()
        .map(|v| cosine(query, v))
        .enumerate()
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked.truncate(most);
    let result = |(index, score): &(usize, f32)| {
        let mut result = json!({ "index": index, "relevance_score": score });
        if with_texts {
            result["document"] = json!({ "text": documents[*index] });
        }
        result
    };
    let results: Vec<Value> = ranked.iter().map(result).collect();
    let answer = json!({
        "id": crate::said::new_id("rerank-"), "object": "list", "model": name, "results": results,
        "meta": { "api_version": { "version": "2" }, "billed_units": { "search_units": 1 } },
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    Ok(Json(answer).into_response())
}

/// Texts, or objects with a text.
fn documents(fields: &Fields) -> Answer<Vec<String>> {
    fields.required("documents")?;
    let list = fields.list("documents")?.unwrap_or_default();
    if list.is_empty() || list.len() > DOCUMENTS {
        let problem = format!("1 to {DOCUMENTS} documents may be given");
        return Err(fields.wrong_value("documents", &problem));
    }
    let one = |(index, value): (usize, &Value)| match value {
        Value::String(text) => Ok(text.clone()),
        value => {
            let document = fields.item("documents", index, value)?;
            document.required("text")?;
            Ok(document.text("text")?.unwrap_or_default().to_owned())
        }
    };
    list.iter().enumerate().map(one).collect()
}

/// Of vectors of any length; 0 where one is 0.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length > 0.0 {
        dot(a, b) / length
    } else {
        0.0
    }
}
