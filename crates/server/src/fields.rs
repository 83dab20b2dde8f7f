//! The fields of a body, read one by one, so that each error names its field as OpenAI's does.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::error::{Answer, ApiError};

/// How long a body may take to arrive.
pub(crate) const ARRIVAL: Duration = Duration::from_secs(30);

/// What a body that does not come is answered.
pub(crate) fn late() -> ApiError {
    ApiError::refused(
        StatusCode::REQUEST_TIMEOUT,
        None,
        "The body took too long to arrive.",
    )
}

/// A JSON object; `null` counts as absent.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    /// What stands before a field's name in errors.
    path: String,
}

impl Fields {
    /// The body of a request.
    pub(crate) async fn of_request(request: Request) -> Answer<Self> {
        let bytes = tokio::time::timeout(ARRIVAL, Bytes::from_request(request, &()))
            .await
            .map_err(|_| late())?
            .map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ApiError::refused(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    Some("request_too_large"),
                    "The request's body is too large.",
                ),
                _ => ApiError::invalid(None, "The request's body could not be read."),
            })?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(Self::new(map)),
            Ok(_) => Err(ApiError::invalid(
                None,
                "The request's body must be a JSON object.",
            )),
            Err(error) => Err(ApiError::invalid(
                None,
                format!("We could not parse the JSON body of your request: {error}."),
            )),
        }
    }

    pub(crate) fn new(map: Map<String, Value>) -> Self {
        Self {
            map,
            path: String::new(),
        }
    }

    /// The name of a field as errors call it.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// The same with this field.
    pub(crate) fn with(&self, name: &str, value: impl Into<Value>) -> Self {
        let mut fields = self.clone();
        fields.map.insert(name.to_owned(), value.into());
        fields
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn required(&self, name: &str) -> Answer<&Value> {
        self.get(name).ok_or_else(|| {
            let path = self.path(name);
            ApiError::invalid(
                Some("missing_required_parameter"),
                format!("Missing required parameter: '{path}'."),
            )
            .about(path)
        })
    }

    /// A value that is of another kind than it should be.
    pub(crate) fn wrong_type(&self, name: &str, expected: &str) -> ApiError {
        let path = self.path(name);
        let got = kind_of(self.map.get(name).unwrap_or(&Value::Null));
        ApiError::invalid(
            Some("invalid_type"),
            format!("Invalid type for '{path}': expected {expected}, but got {got} instead."),
        )
        .about(path)
    }

    /// A value that cannot be.
    pub(crate) fn wrong_value(&self, name: &str, problem: &str) -> ApiError {
        let path = self.path(name);
        ApiError::invalid(
            Some("invalid_value"),
            format!("Invalid value for '{path}': {problem}."),
        )
        .about(path)
    }

    /// A field that no model here can honour.
    pub(crate) fn unsupported(&self, name: &str, why: &str) -> ApiError {
        let path = self.path(name);
        ApiError::invalid(
            Some("unsupported_parameter"),
            format!("Unsupported parameter: '{path}' {why}."),
        )
        .about(path)
    }

    pub(crate) fn text(&self, name: &str) -> Answer<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong_type(name, "a string")),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Answer<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong_type(name, "a boolean")),
        }
    }

    pub(crate) fn number(&self, name: &str, range: RangeInclusive<f64>) -> Answer<Option<f64>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = value
            .as_f64()
            .ok_or_else(|| self.wrong_type(name, "a decimal"))?;
        self.within("decimal", name, number, &range)?;
        Ok(Some(number))
    }

    pub(crate) fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Answer<Option<i64>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        // Some clients write whole numbers as 1.0.
        let whole = |n: f64| (n.fract() == 0.0 && n.abs() < 9e15).then_some(n as i64);
        let number = value.as_i64().or_else(|| value.as_f64().and_then(whole));
        let number = number.ok_or_else(|| self.wrong_type(name, "an integer"))?;
        self.within("integer", name, number, &range)?;
        Ok(Some(number))
    }

    /// As [`integer`](Self::integer), of what is no less than 0.
    pub(crate) fn count(&self, name: &str, range: RangeInclusive<i64>) -> Answer<Option<usize>> {
        let number = self.integer(name, range)?;
        Ok(number.map(|n| usize::try_from(n).unwrap_or(0)))
    }

    fn within<T: PartialOrd + std::fmt::Display>(
        &self,
        kind: &str,
        name: &str,
        value: T,
        range: &RangeInclusive<T>,
    ) -> Answer<()> {
        let (word, code, sign, limit) = if value < *range.start() {
            let code = match kind {
                "integer" => "integer_below_min_value",
                _ => "decimal_below_min_value",
            };
            ("below minimum", code, ">=", range.start())
        } else if value > *range.end() {
            let code = match kind {
                "integer" => "integer_above_max_value",
                _ => "decimal_above_max_value",
            };
            ("above maximum", code, "<=", range.end())
        } else {
            return Ok(());
        };
        let path = self.path(name);
        let message = format!(
            "Invalid '{path}': {kind} {word} value. Expected a value {sign} {limit}, but got {value} instead."
        );
        Err(ApiError::invalid(Some(code), message).about(path))
    }

    pub(crate) fn list(&self, name: &str) -> Answer<Option<&[Value]>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong_type(name, "an array")),
        }
    }

    /// An object inside this one.
    pub(crate) fn object(&self, name: &str) -> Answer<Option<Self>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self {
                map: map.clone(),
                path: format!("{}.", self.path(name)),
            })),
            Some(_) => Err(self.wrong_type(name, "an object")),
        }
    }

    /// An object of a list.
    pub(crate) fn item(&self, name: &str, index: usize, value: &Value) -> Answer<Self> {
        let path = format!("{}[{index}]", self.path(name));
        match value {
            Value::Object(map) => Ok(Self {
                map: map.clone(),
                path: format!("{path}."),
            }),
            _ => Err(ApiError::invalid(
                Some("invalid_type"),
                format!(
                    "Invalid type for '{path}': expected an object, but got {} instead.",
                    kind_of(value)
                ),
            )
            .about(path)),
        }
    }

    /// One of these words.
    pub(crate) fn word(&self, name: &str, words: &[&'static str]) -> Answer<Option<&'static str>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match words.iter().find(|word| **word == text) {
            Some(word) => Ok(Some(word)),
            None => {
                let known: Vec<String> = words.iter().map(|w| format!("'{w}'")).collect();
                let shown: String = text.chars().take(80).collect();
                Err(self.wrong_value(
                    name,
                    &format!("'{shown}'; supported are {}", known.join(", ")),
                ))
            }
        }
    }

    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.map)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.map.iter()
    }

    /// Refuses fields that ask for something which no model here does. `false`, 0, an empty text, list or object asks
    /// for nothing.
    pub(crate) fn refuse(&self, names: &[&str], why: &str) -> Answer<()> {
        let asks = |value: &Value| match value {
            Value::Bool(flag) => *flag,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::Null => false,
        };
        match names.iter().find(|name| self.get(name).is_some_and(asks)) {
            Some(name) => Err(self.unsupported(name, why)),
            None => Ok(()),
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
