//! Values out of a configuration.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::{ConfigError, Result};

fn get<'a>(c: &'a Value, key: &str) -> Result<&'a Value> {
    c.get(key).ok_or_else(|| ConfigError::missing(key))
}

/// A whole number within a range.
pub(crate) fn size(c: &Value, key: &str, range: RangeInclusive<usize>) -> Result<usize> {
    let value = get(c, key)?;
    let found = value.as_u64().and_then(|n| usize::try_from(n).ok());
    found.filter(|n| range.contains(n)).ok_or_else(|| {
        let expected = format!(
            "it must be a whole number from {} to {}",
            range.start(),
            range.end()
        );
        ConfigError::invalid(key, value, &expected)
    })
}

/// A list of whole numbers, each within a range.
pub(crate) fn sizes(c: &Value, key: &str, range: RangeInclusive<usize>) -> Result<Vec<usize>> {
    let value = get(c, key)?;
    let found = value.as_array().and_then(|list| {
        list.iter()
            .map(|n| n.as_u64().and_then(|n| usize::try_from(n).ok()))
            .map(|n| n.filter(|n| range.contains(n)))
            .collect::<Option<Vec<usize>>>()
    });
    found
        .filter(|list| !list.is_empty() && list.len() <= 64)
        .ok_or_else(|| {
            let expected = format!(
                "it must be a list of whole numbers from {} to {}",
                range.start(),
                range.end()
            );
            ConfigError::invalid(key, value, &expected)
        })
}

/// A finite number, or `default` where there is none.
pub(crate) fn float(c: &Value, key: &str, default: f32) -> Result<f32> {
    match c.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value
            .as_f64()
            .map(|x| x as f32)
            .filter(|x| x.is_finite())
            .ok_or_else(|| ConfigError::invalid(key, value, "it must be a number")),
    }
}

/// True or false, or `default` where there is none.
pub(crate) fn switch(c: &Value, key: &str, default: bool) -> Result<bool> {
    match c.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value
            .as_bool()
            .ok_or_else(|| ConfigError::invalid(key, value, "it must be true or false")),
    }
}

/// One of several words; the first where there is none.
pub(crate) fn choice<T: Copy>(c: &Value, key: &str, words: &[(&str, T)]) -> Result<T> {
    let found = match c.get(key) {
        None => words.first(),
        Some(value) => words.iter().find(|(word, _)| value.as_str() == Some(word)),
    };
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let value = c.get(key).cloned().unwrap_or_default();
        ConfigError::invalid(
            key,
            value,
            &format!("it must be one of {}", known.join(", ")),
        )
    })
}

/// Fails unless the value is this word.
pub(crate) fn required(c: &Value, key: &str, word: &str) -> Result<()> {
    match get(c, key)?.as_str() {
        Some(found) if found == word => Ok(()),
        _ => Err(ConfigError::UnknownArchitecture {
            name: get(c, key)?.to_string(),
            known: word.to_owned(),
        }),
    }
}
