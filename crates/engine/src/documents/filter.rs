//! Which documents a search looks at, by their attributes.

use serde_json::{Map, Value};

use crate::{EngineError, Result};

/// How deep conditions lie within others.
const DEPTH: usize = 8;

/// Conditions of one filter.
const CONDITIONS: usize = 64;

/// A condition on the attributes of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of these hold.
    And(Vec<Filter>),
    /// One of these holds.
    Or(Vec<Filter>),
    /// An attribute compares so.
    Compare {
        /// Its name.
        key: String,
        /// How.
        how: Compare,
        /// With what.
        value: Value,
    },
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Not equal, or not there.
    Ne,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// One of a list.
    In,
    /// None of a list.
    Nin,
}

impl Filter {
    /// A filter in the shape that OpenAI publishes: `{"type": "eq", "key", "value"}`, or `{"type": "and", "filters": […]}`.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] of the field `filters`.
    pub fn of_json(value: &Value) -> Result<Self> {
        let mut left = CONDITIONS;
        read(value, DEPTH, &mut left)
    }

    /// Whether attributes fulfil it.
    pub fn holds(&self, attributes: &Map<String, Value>) -> bool {
        match self {
            Self::And(all) => all.iter().all(|one| one.holds(attributes)),
            Self::Or(any) => any.iter().any(|one| one.holds(attributes)),
            Self::Compare { key, how, value } => compare(attributes.get(key), *how, value),
        }
    }
}

fn wrong(reason: impl Into<String>) -> EngineError {
    EngineError::BadRequest {
        field: "filters".into(),
        reason: reason.into(),
    }
}

fn read(value: &Value, depth: usize, left: &mut usize) -> Result<Filter> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| wrong("it has too many conditions"))?;
    let kind = value["type"].as_str().unwrap_or_default();
    if matches!(kind, "and" | "or") {
        if depth == 0 {
            return Err(wrong("its conditions lie too deep within others"));
        }
        let list = value["filters"].as_array();
        let list = list.ok_or_else(|| wrong(format!("'{kind}' takes a list of 'filters'")))?;
        let list = list.iter().map(|one| read(one, depth - 1, left));
        let list = list.collect::<Result<_>>()?;
        return Ok(match kind {
            "and" => Filter::And(list),
            _ => Filter::Or(list),
        });
    }
    let how = match kind {
        "eq" => Compare::Eq,
        "ne" => Compare::Ne,
        "gt" => Compare::Gt,
        "gte" => Compare::Gte,
        "lt" => Compare::Lt,
        "lte" => Compare::Lte,
        "in" => Compare::In,
        "nin" => Compare::Nin,
        _ => {
            return Err(wrong(
                "its 'type' must be one of eq, ne, gt, gte, lt, lte, in, nin, and, or",
            ));
        }
    };
    let key = value["key"]
        .as_str()
        .ok_or_else(|| wrong("a condition has a 'key'"))?;
    let given = value.get("value").cloned().unwrap_or_default();
    let list = matches!(how, Compare::In | Compare::Nin);
    if list != given.is_array() || given.is_null() || given.is_object() {
        return Err(wrong(match list {
            true => "the 'value' of in and nin is a list",
            false => "a 'value' is a string, a number or a boolean",
        }));
    }
    Ok(Filter::Compare {
        key: key.to_owned(),
        how,
        value: given,
    })
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn compare(found: Option<&Value>, how: Compare, wanted: &Value) -> bool {
    let among = |value: &Value| {
        let list = wanted.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().any(|one| same(one, value))
    };
    let order = found.and_then(|found| match (found, wanted) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => found.as_f64()?.partial_cmp(&wanted.as_f64()?),
    });
    match how {
        Compare::Eq => found.is_some_and(|found| same(found, wanted)),
        Compare::Ne => found.is_none_or(|found| !same(found, wanted)),
        Compare::In => found.is_some_and(among),
        Compare::Nin => found.is_none_or(|found| !among(found)),
        Compare::Gt => order.is_some_and(std::cmp::Ordering::is_gt),
        Compare::Gte => order.is_some_and(std::cmp::Ordering::is_ge),
        Compare::Lt => order.is_some_and(std::cmp::Ordering::is_lt),
        Compare::Lte => order.is_some_and(std::cmp::Ordering::is_le),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_hold_as_they_say() {
        let attributes = json!({ "year": 2024, "kind": "terms", "open": true });
        let attributes = attributes.as_object().unwrap();
        for (filter, holds) in [
            (
                json!({ "type": "eq", "key": "kind", "value": "terms" }),
                true,
            ),
            (
                json!({ "type": "eq", "key": "year", "value": 2024.0 }),
                true,
            ),
            (json!({ "type": "gt", "key": "year", "value": 2024 }), false),
            (json!({ "type": "gte", "key": "year", "value": 2024 }), true),
            (json!({ "type": "lt", "key": "none", "value": 1 }), false),
            (json!({ "type": "ne", "key": "none", "value": 1 }), true),
            (
                json!({ "type": "in", "key": "kind", "value": ["faq", "terms"] }),
                true,
            ),
            (
                json!({ "type": "nin", "key": "kind", "value": ["faq"] }),
                true,
            ),
            (
                json!({ "type": "or", "filters": [
                    { "type": "eq", "key": "open", "value": false },
                    { "type": "and", "filters": [{ "type": "lte", "key": "year", "value": 2024 }] },
                ]}),
                true,
            ),
        ] {
            assert_eq!(
                Filter::of_json(&filter).unwrap().holds(attributes),
                holds,
                "{filter}"
            );
        }
        for wrong in [
            json!({}),
            json!({ "type": "eq", "value": 1 }),
            json!({ "type": "eq", "key": "a" }),
            json!({ "type": "in", "key": "a", "value": 1 }),
            json!({ "type": "and" }),
        ] {
            assert!(Filter::of_json(&wrong).is_err(), "{wrong}");
        }
        let mut deep = json!({ "type": "eq", "key": "a", "value": 1 });
        for _ in 0..20 {
            deep = json!({ "type": "and", "filters": [deep] });
        }
        assert!(Filter::of_json(&deep).is_err());
    }
}
