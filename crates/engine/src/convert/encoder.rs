//! A published sentence encoder, planned as a GGUF file.

use std::path::Path;

use medley_formats::gguf::{Metadata, Value as GgufValue};
use medley_formats::{DType, WeightFile};
use medley_models::bert::{BertConfig, gguf_metadata, gguf_name};
use medley_pipelines::embed::LIMIT_KEY;
use serde_json::Value;

use super::checkpoint::{json, refuse, title};
use super::write::{Planned, Rows};
use super::{ConvertEvent, tokenizer};
use crate::Result;

/// Metadata and tensors; those that the encoder does without, such as the pooler, are left out.
pub(super) fn plan(
    folder: &Path,
    spelled: &Value,
    file: &WeightFile,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<(Metadata, Vec<Planned>)> {
    let wrong = |e: medley_models::ConfigError| refuse(format!("config.json: {e}"));
    let config = BertConfig::from_json(spelled).map_err(wrong)?;
    let mut metadata = gguf_metadata(&config, &title(folder)).map_err(wrong)?;
    let mut planned = Vec::new();
    let mut left_out = 0;
    for info in file.tensors() {
        let name = info.name.strip_prefix("bert.").unwrap_or(&info.name);
        let Some(name) = gguf_name(name) else {
            left_out += 1;
            continue;
        };
        let dtype = match info.dtype {
            DType::Block(_) => info.dtype,
            _ => DType::F32,
        };
        planned.push(Planned {
            name,
            shape: info.shape.clone(),
            dtype,
            rows: Rows::Plain {
                source: info.name.clone(),
            },
            add: 0.0,
        });
    }
    if planned.iter().all(|t| t.name != "token_embd.weight") {
        return Err(refuse(format!(
            "{} has no embeddings.word_embeddings.weight, so it is no sentence encoder that GGUF files are made of here",
            file.path().display()
        )));
    }
    if left_out > 0 {
        events(ConvertEvent::Note(format!(
            "{left_out} tensors that sentence vectors are made without are left out"
        )));
    }
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    if let Some(segments) = number(&spelled["type_vocab_size"]) {
        metadata.insert("tokenizer.ggml.token_type_count", GgufValue::U32(segments));
    }
    let pooling = json(folder, "1_Pooling/config.json")?;
    // The numbers of llama.cpp's pooling types: mean, first state.
    let kind = if pooling["pooling_mode_cls_token"] == true {
        2
    } else {
        1
    };
    metadata.insert("bert.pooling_type", GgufValue::U32(kind));
    if let Some(limit) = number(&json(folder, "sentence_bert_config.json")?["max_seq_length"]) {
        metadata.insert(LIMIT_KEY, GgufValue::U32(limit));
    }
    tokenizer::describe(folder, spelled, config.vocab_size, &mut metadata, events)?;
    Ok((metadata, planned))
}
