//! JSON schemas in Gemma's notation: keys without quotes, texts between marks, the rest as in JSON.

use std::fmt::Write;

use medley_sampling::embedded_schema;
use medley_types::Tool;
use serde_json::{Value, json};

use super::super::reader::QUOTE;
use super::{Mark, Writer, parameters, quote};

/// Deepest nesting that is followed; what lies deeper may be anything.
const DEEPEST: usize = 12;

/// Most values of one request's schemas that have rules of their own: a schema that holds itself several times grows fast.
const MOST_VALUES: usize = 2000;

/// Keywords that bound numbers.
const BOUNDS: [&str; 5] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];

/// What every grammar of this notation has.
const RULES: &str = r#"number: /-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?/
integer: /-?(0|[1-9][0-9]{0,17})/
truth: "true" | "false"
nothing: "null"
key: /[a-zA-Z_][a-zA-Z0-9_]{0,60}/
any: text | number | truth | nothing | any_list | any_object
any_list: "[" (any ("," any)*)? "]"
any_object: "{" (key ":" any ("," key ":" any)*)? "}"
"#;

/// A schema within the whole one.
#[derive(Clone, Copy)]
struct At<'a> {
    schema: &'a Value,
    root: &'a Value,
    depth: usize,
}

impl<'a> At<'a> {
    /// A schema inside this one.
    fn inside(self, schema: &'a Value) -> Self {
        Self {
            schema,
            depth: self.depth + 1,
            ..self
        }
    }
}

impl Writer<'_> {
    pub(super) fn gemma_call(&mut self, tools: &[&Tool]) -> String {
        let text = match self.mark(QUOTE) {
            Some(Mark::Special(id)) => format!("TEXT? {id}"),
            Some(Mark::Text(text)) => {
                let _ = writeln!(self.rules, "words[suffix={text}]: /(?s:.*)/");
                "words".into()
            }
            None => String::new(),
        };
        let mark = self.literal(QUOTE);
        let _ = writeln!(self.rules, "TEXT: /(?s:.*)/\ntext: {mark} {text}");
        self.rules.push_str(RULES);
        let mut number = 0;
        let mut ways = Vec::new();
        for tool in tools {
            let root = parameters(tool);
            let at = At {
                schema: &root,
                root: &root,
                depth: 0,
            };
            let value = self.value(at, &mut number);
            ways.push(format!("{} {value}", quote(&format!("call:{}", tool.name))));
        }
        ways.join(" | ")
    }

    /// The rule of a value. What the notation cannot tell (patterns and lengths of texts) is left to the model.
    fn value(&mut self, at: At, number: &mut usize) -> String {
        let schema = at.schema;
        *number += 1;
        if at.depth > DEEPEST || *number > MOST_VALUES {
            return "any".into();
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let place = reference.strip_prefix('#');
            return match place.and_then(|place| at.root.pointer(place)) {
                Some(place) => self.value(at.inside(place), number),
                None => "any".into(),
            };
        }
        let either = schema["anyOf"].as_array();
        let ways: Vec<String> = if let Some(list) = either.or(schema["oneOf"].as_array()) {
            let ways = list.iter().map(|way| self.value(at.inside(way), number));
            ways.collect()
        } else if let Some(list) = schema["enum"].as_array() {
            list.iter().map(|value| self.constant(value)).collect()
        } else if let Some(constant) = schema.get("const") {
            vec![self.constant(constant)]
        } else {
            match &schema["type"] {
                Value::String(kind) => vec![self.of_kind(kind, at, number)],
                Value::Array(kinds) => {
                    let kinds = kinds.iter().filter_map(Value::as_str);
                    kinds.map(|kind| self.of_kind(kind, at, number)).collect()
                }
                _ if schema["properties"].is_object() => vec![self.object(at, number)],
                _ => vec!["any".into()],
            }
        };
        format!("({})", ways.join(" | "))
    }

    fn of_kind(&mut self, kind: &str, at: At, number: &mut usize) -> String {
        let schema = at.schema;
        match kind {
            "string" => "text".into(),
            // Numbers are JSON's own, so JSON's rule holds their bounds.
            "integer" | "number" if BOUNDS.iter().any(|b| schema.get(b).is_some()) => {
                let mut bounded = json!({ "type": kind });
                for bound in BOUNDS {
                    if let Some(value) = schema.get(bound) {
                        bounded[bound] = value.clone();
                    }
                }
                *number += 1;
                let rule = embedded_schema(&bounded);
                let _ = writeln!(self.rules, "bounded_{number}: %json {rule}");
                format!("bounded_{number}")
            }
            "integer" | "number" => kind.into(),
            "boolean" => "truth".into(),
            "null" => "nothing".into(),
            "array" => {
                let item = self.value(at.inside(&schema["items"]), number);
                format!("\"[\" ({item} (\",\" {item})*)? \"]\"")
            }
            "object" if schema["properties"].is_object() => self.object(at, number),
            "object" => "any_object".into(),
            _ => "any".into(),
        }
    }

    fn constant(&self, value: &Value) -> String {
        let mark = self.literal(QUOTE);
        match value {
            Value::String(text) if text.is_empty() => format!("{mark} {mark}"),
            Value::String(text) => format!("{mark} {} {mark}", quote(text)),
            other => quote(&other.to_string()),
        }
    }

    /// An object's properties in the order of the alphabet, as the model's template writes them.
    fn object(&mut self, at: At, number: &mut usize) -> String {
        let Some(properties) = at.schema["properties"].as_object() else {
            return "any_object".into();
        };
        let required: Vec<&str> = at.schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut names: Vec<&String> = properties.keys().collect();
        names.sort();
        *number += 1;
        let this = *number;
        // Two rules for each place: nothing stands before it, or something does.
        let last = names.len();
        let mut rules = format!("o{this}_{last}: \"}}\"\np{this}_{last}: \"}}\"\n");
        for (place, name) in names.iter().enumerate().rev() {
            let value = self.value(at.inside(&properties[*name]), number);
            let next = place + 1;
            let pair = format!("{} {value} p{this}_{next}", quote(&format!("{name}:")));
            let skip = |letter: char| match required.contains(&name.as_str()) {
                true => String::new(),
                false => format!(" | {letter}{this}_{next}"),
            };
            let _ = writeln!(rules, "o{this}_{place}: {pair}{}", skip('o'));
            let _ = writeln!(rules, "p{this}_{place}: \",\" {pair}{}", skip('p'));
        }
        self.rules.push_str(&rules);
        format!("\"{{\" o{this}_0")
    }
}
