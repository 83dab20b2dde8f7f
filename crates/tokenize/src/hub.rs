//! Tokenizers as model hubs publish them: a folder with `tokenizer.json` and its companions.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::engine::json::Json;
use crate::error::{Result, TokenizeError};
use crate::tokenizer::{Engine, Inner, SpecialTokens};

/// The folder of a model given by a file in it or by itself.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.to_path_buf()
    } else {
        path.parent().map(Path::to_path_buf).unwrap_or_default()
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| TokenizeError::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// A JSON file that may be missing.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&read(path)?).map_err(|e| TokenizeError::BadFile {
        path: path.to_path_buf(),
        detail: e.to_string(),
    })
}

/// The text of a token as configurations write it: a string, or an object with `content`.
pub(crate) fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// Reads `tokenizer.json` and what its companions say of special tokens.
pub(crate) fn load(path: &Path) -> Result<Inner> {
    let folder = folder_of(path);
    let file = if path.is_dir() {
        folder.join("tokenizer.json")
    } else {
        path.to_path_buf()
    };
    let bytes = read(&file)?;
    let bad = |detail: String| TokenizeError::BadFile {
        path: file.clone(),
        detail,
    };
    let (json, vocab) = Json::parse(&bytes).map_err(bad)?;
    let spelled: Value = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    let config = read_json(&folder.join("tokenizer_config.json"))?;
    let model = read_json(&folder.join("config.json"))?;
    let generation = read_json(&folder.join("generation_config.json"))?;

    let named = |key: &str| token_text(&config[key]).and_then(|text| json.id(text));
    let ids = |key: &str| -> Vec<u32> {
        [&generation[key], &model[key]]
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(list) => list.iter().collect(),
                other => vec![other],
            })
            .filter_map(Value::as_u64)
            .filter_map(|id| u32::try_from(id).ok())
            .filter(|&id| (id as usize) < vocab.len())
            .collect()
    };
    let special = SpecialTokens {
        bos: named("bos_token").or_else(|| ids("bos_token_id").first().copied()),
        eos: named("eos_token").or_else(|| ids("eos_token_id").first().copied()),
        unknown: named("unk_token"),
        separator: named("sep_token"),
        padding: named("pad_token").or_else(|| ids("pad_token_id").first().copied()),
        ..SpecialTokens::default()
    };
    let mut ends = ids("eos_token_id");
    ends.extend(special.eos);
    ends.extend(TURN_ENDS.iter().filter_map(|text| json.id(text)));
    ends.sort_unstable();
    ends.dedup();
    let mut inner = Inner {
        strip_space: json.space_prefix(&spelled),
        special,
        end_of_generation: ends,
        vocab,
        engine: Engine::Json(json),
    };
    inner.special.add_bos = starts_with_bos(&inner);
    Ok(inner)
}

/// Whether the post-processor puts BOS in front.
fn starts_with_bos(inner: &Inner) -> bool {
    let Engine::Json(json) = &inner.engine else {
        return false;
    };
    let mut ids = Vec::new();
    json.encode("", true, false, None, &mut ids).is_ok()
        && inner
            .special
            .bos
            .is_some_and(|bos| ids.first() == Some(&bos))
}

/// Tokens that end a turn whatever the configuration says.
const TURN_ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
];
