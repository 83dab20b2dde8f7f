//! JSON schemas: layout options, and finding the place of an error.

use llguidance::api::TopLevelGrammar;
use llguidance::{JsonCompileOptions, Matcher};
use serde_json::{Map, Value};

use super::{Vocabulary, one_line};
use crate::SamplingError;

/// One space, or a line break and indentation.
const WHITE_SPACE: &str = r"\x20|\x0A\x20{0,20}";
/// How many parts of a schema are tried alone to find which one is wrong.
const MOST_TRIES: usize = 400;
/// Keywords whose value is a schema, a list of schemas or a map of schemas.
const SINGLE: [&str; 3] = ["items", "additionalProperties", "additionalItems"];
const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
const MAPS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];

pub(super) fn compile(vocabulary: &Vocabulary, schema: &Value) -> Result<Matcher, SamplingError> {
    let closed = close(schema);
    let schema = &closed;
    let root = match schema {
        Value::Object(map) => map.clone(),
        Value::Bool(true) => Map::new(),
        Value::Bool(false) => return Err(fail("", "false allows no value at all")),
        _ => return Err(fail("", "a schema is an object, true or false")),
    };
    try_compile(vocabulary, root.clone())?.map_err(|message| {
        let mut search = Search {
            vocabulary,
            root: &root,
            message: one_line(&message),
            tries: MOST_TRIES,
        };
        fail(&search.narrow(schema, String::new()), &message)
    })
}

/// Objects that list their properties get no others, as in the field's other engines: what comes out still conforms,
/// and a weak model cannot go on with properties of its own for ever. Schemas with `allOf` stay as they are, for one part may
/// list what another does not.
fn close(schema: &Value) -> Value {
    fn combines(node: &Value) -> bool {
        match node {
            Value::Object(map) => map.contains_key("allOf") || map.values().any(combines),
            Value::Array(list) => list.iter().any(combines),
            _ => false,
        }
    }
    fn walk(node: &mut Value) {
        let Value::Object(map) = node else { return };
        if map.get("properties").is_some_and(Value::is_object)
            && !map.contains_key("patternProperties")
        {
            map.entry("additionalProperties").or_insert(false.into());
        }
        for (key, value) in map.iter_mut() {
            match value {
                Value::Object(parts) if MAPS.contains(&key.as_str()) => {
                    parts.values_mut().for_each(walk);
                }
                Value::Array(parts) if LISTS.contains(&key.as_str()) || key == "items" => {
                    parts.iter_mut().for_each(walk);
                }
                value if SINGLE.contains(&key.as_str()) => walk(value),
                _ => {}
            }
        }
    }
    let mut schema = schema.clone();
    if !combines(&schema) {
        walk(&mut schema);
    }
    schema
}

/// The search for the innermost part of a schema that alone gives the same error.
struct Search<'a> {
    vocabulary: &'a Vocabulary,
    root: &'a Map<String, Value>,
    message: String,
    tries: usize,
}

impl Search<'_> {
    /// The place, as a JSON pointer, of the culprit at or below `node`, which is at `place`.
    fn narrow(&mut self, node: &Value, place: String) -> String {
        let parts = parts(node);
        for (pointer, part) in parts {
            if self.is_culprit(part) {
                return self.narrow(part, place + &pointer);
            }
        }
        place
    }

    fn is_culprit(&mut self, part: &Value) -> bool {
        let Value::Object(part) = part else {
            return false;
        };
        if self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        let mut alone = part.clone();
        for key in ["$defs", "definitions", "$schema"] {
            if let Some(value) = self.root.get(key) {
                alone.entry(key).or_insert_with(|| value.clone());
            }
        }
        let compiled = try_compile(self.vocabulary, alone);
        matches!(compiled, Ok(Err(message)) if one_line(&message) == self.message)
    }
}

/// The schemas directly inside a schema, each with its pointer from there.
fn parts(node: &Value) -> Vec<(String, &Value)> {
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let mut parts = Vec::new();
    for key in MAPS {
        if let Some(Value::Object(map)) = node.get(key) {
            let each = map.iter();
            parts.extend(each.map(|(name, part)| (format!("/{key}/{}", escape(name)), part)));
        }
    }
    for key in LISTS {
        if let Some(Value::Array(list)) = node.get(key) {
            let each = list.iter().enumerate();
            parts.extend(each.map(|(index, part)| (format!("/{key}/{index}"), part)));
        }
    }
    for key in SINGLE {
        if let Some(part) = node.get(key) {
            parts.push((format!("/{key}"), part));
        }
    }
    parts
}

fn fail(place: &str, reason: &str) -> SamplingError {
    SamplingError::Schema {
        place: place.into(),
        reason: plain(&one_line(reason)),
    }
}

/// The engine's commonest messages in words that help a user of this crate.
fn plain(message: &str) -> String {
    if let Some(keys) = message.strip_prefix("Unimplemented keys: ") {
        return format!("these keywords are not supported: {keys}");
    }
    if message.starts_with("oneOf constraints") {
        return "oneOf is only supported where its branches exclude each other; use anyOf".into();
    }
    if let Some((_, reference)) = message.split_once("feature; ref ") {
        return format!("$ref must lead to a place within the schema (#/...), not to {reference}");
    }
    message.to_owned()
}

fn try_compile(
    vocabulary: &Vocabulary,
    schema: Map<String, Value>,
) -> Result<Result<Matcher, String>, SamplingError> {
    vocabulary.matcher(TopLevelGrammar::from_json_schema(with_layout(schema)))
}

/// A schema for use in a grammar, behind `%json`: what [`super::Constraint::json_schema`] makes of it before it compiles
/// it.
pub fn embedded_schema(schema: &Value) -> Value {
    match close(schema) {
        Value::Object(map) => with_layout(map),
        Value::Bool(true) => with_layout(Map::new()),
        other => other,
    }
}

/// The same schema with the layout that is allowed.
fn with_layout(mut schema: Map<String, Value>) -> Value {
    let options = JsonCompileOptions {
        whitespace_pattern: Some(WHITE_SPACE.into()),
        ..JsonCompileOptions::default()
    };
    let options = serde_json::to_value(options).unwrap_or_default();
    schema.insert("x-guidance".into(), options);
    Value::Object(schema)
}
