use std::sync::Arc;

use axum::Json;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medley_engine::EmbeddingModel;
use serde_json::{Value, json};

use crate::ask::{Text, model, texts};
use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::service::Service;

/// Texts of one request at most.
const TEXTS: usize = 2048;

/// Carries out a request for vectors.
pub(crate) async fn respond(service: &Service, fields: &Fields) -> Answer {
    let name = model(fields)?;
    fields.required("input")?;
    let input = texts(fields, "input", TEXTS)?;
    let base64 = fields.word("encoding_format", &["float", "base64"])? == Some("base64");
    let dimensions = fields.count("dimensions", 1..=1_000_000)?;
    let (model, _place) = service.encoder(&name).await?;
    if dimensions.is_some_and(|wanted| wanted != model.width()) {
        let why = format!(
            "is not supported by this model: its vectors have {} numbers, and no fewer",
            model.width()
        );
        return Err(fields.unsupported("dimensions", &why));
    }
    let (vectors, tokens) = embed(service, model, input, "input").await?;
    let item = |(index, vector): (usize, &Vec<f32>)| {
        let embedding = match base64 {
            true => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            }
            false => json!(vector),
        };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    };
    let data: Vec<Value> = vectors.iter().enumerate().map(item).collect();
    let answer = json!({
        "object": "list", "data": data, "model": name,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    Ok(Json(answer).into_response())
}

/// The vectors of texts by the model of this name, and their tokens; `field` is where the texts came in.
pub(crate) async fn vectors(
    service: &Service,
    name: &str,
    texts: Vec<String>,
    field: &str,
) -> Answer<(Vec<Vec<f32>>, usize)> {
    let (model, _place) = service.encoder(name).await?;
    let texts = texts.into_iter().map(Text::Plain).collect();
    embed(service, model, texts, field).await
}

async fn embed(
    service: &Service,
    model: Arc<EmbeddingModel>,
    input: Vec<Text>,
    field: &str,
) -> Answer<(Vec<Vec<f32>>, usize)> {
    let encoder = model.clone();
    let encoding = tokio::task::spawn_blocking(move || {
        let encode = |text: Text| {
            let ids = match text {
                Text::Plain(text) => encoder.tokens(&text)?,
                Text::Tokens(ids) => ids,
            };
            encoder.check_tokens(&ids)?;
            Ok(ids)
        };
        input.into_iter().map(encode).collect()
    });
    let encoded: Result<Vec<Vec<u32>>, medley_engine::PipelineError> = encoding
        .await
        .map_err(|_| ApiError::internal("the texts could not be encoded"))?;
    let encoded = encoded.map_err(|e| ApiError::of_pipeline(&e, field).about(field))?;
    let tokens: usize = encoded.iter().map(Vec::len).sum();
    let vectors = service.embed(model, encoded).await?;
    Ok((vectors, tokens))
}
