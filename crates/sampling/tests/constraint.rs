//! Whatever a model wants, a constrained text conforms.

#![allow(clippy::unwrap_used, reason = "a test stops when something is wrong")]

mod common;

use common::Random;
use common::vocabulary::{END, TOOL, generate, vocabulary, wild};
use medley_sampling::{Constraint, SamplingError};
use serde_json::{Value, json};

fn schemas() -> Vec<Value> {
    vec![
        json!({"type": "object", "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "email": {"type": "string", "pattern": "^[a-z]{1,8}@[a-z]{1,8}\\.(com|org)$"}},
            "required": ["name", "age"], "additionalProperties": false}),
        json!({"type": "array", "minItems": 2, "maxItems": 4,
            "items": {"enum": ["red", "green", 3, null, true, {"a": [1, 2]}]}}),
        json!({"type": "object", "required": ["tree"], "additionalProperties": false,
            "properties": {"tree": {"$ref": "#/$defs/node"}},
            "$defs": {"node": {"type": "object", "required": ["value"], "additionalProperties": false,
                "properties": {"value": {"type": "number", "exclusiveMinimum": -1, "maximum": 10.5},
                "children": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/node"}}}}}}),
        json!({"anyOf": [{"type": "string", "maxLength": 5}, {"type": "integer", "multipleOf": 7},
            {"const": {"é": "\"\\\n"}}, {"type": "null"}]}),
        json!({"type": "object", "properties": {"any": true, "kind": {"type": ["string", "boolean"]}},
            "required": ["any"], "additionalProperties": {"type": "integer"}}),
        json!({"type": "object", "additionalProperties": false, "required": ["day", "id"],
            "properties": {"day": {"type": "string", "format": "date"},
            "id": {"type": "string", "format": "uuid"}}}),
        json!({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string", "maxLength": 3}],
            "items": false, "minItems": 2}),
        json!({"oneOf": [
            {"type": "object", "properties": {"k": {"const": "a"}, "x": {"type": "integer"}},
             "required": ["k", "x"], "additionalProperties": false},
            {"type": "object", "properties": {"k": {"const": "b"}, "y": {"type": "boolean"}},
             "required": ["k", "y"], "additionalProperties": false}]}),
        json!(true),
    ]
}

/// A plain validator of the keywords that the schemas above use.
fn conforms(value: &Value, schema: &Value, root: &Value) -> bool {
    let Some(schema) = schema.as_object() else {
        return schema == &json!(true);
    };
    schema.iter().all(|(key, rule)| match key.as_str() {
        "type" => match rule {
            Value::Array(kinds) => kinds.iter().any(|kind| has_type(value, kind)),
            kind => has_type(value, kind),
        },
        "enum" => rule.as_array().unwrap().contains(value),
        "const" => rule == value,
        "anyOf" => rule
            .as_array()
            .unwrap()
            .iter()
            .any(|s| conforms(value, s, root)),
        "oneOf" => {
            rule.as_array()
                .unwrap()
                .iter()
                .filter(|s| conforms(value, s, root))
                .count()
                == 1
        }
        "$ref" => conforms(
            value,
            root.pointer(&rule.as_str().unwrap()[1..]).unwrap(),
            root,
        ),
        "required" => value.as_object().is_none_or(|object| {
            rule.as_array()
                .unwrap()
                .iter()
                .all(|name| object.contains_key(name.as_str().unwrap()))
        }),
        "properties" => value.as_object().is_none_or(|object| {
            object
                .iter()
                .all(|(name, v)| rule.get(name).is_none_or(|s| conforms(v, s, root)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let known = |name: &str| {
                schema
                    .get("properties")
                    .is_some_and(|p| p.get(name).is_some())
            };
            object
                .iter()
                .all(|(name, v)| known(name) || conforms(v, rule, root))
        }),
        "items" => value.as_array().is_none_or(|items| {
            let skip = schema
                .get("prefixItems")
                .map_or(0, |p| p.as_array().unwrap().len());
            items
                .iter()
                .skip(skip)
                .all(|item| conforms(item, rule, root))
        }),
        "prefixItems" => value.as_array().is_none_or(|items| {
            let rules = rule.as_array().unwrap();
            items
                .iter()
                .zip(rules)
                .all(|(item, rule)| conforms(item, rule, root))
        }),
        "minItems" => value
            .as_array()
            .is_none_or(|a| a.len() as u64 >= rule.as_u64().unwrap()),
        "maxItems" => value
            .as_array()
            .is_none_or(|a| a.len() as u64 <= rule.as_u64().unwrap()),
        "minLength" => value
            .as_str()
            .is_none_or(|s| s.chars().count() as u64 >= rule.as_u64().unwrap()),
        "maxLength" => value
            .as_str()
            .is_none_or(|s| s.chars().count() as u64 <= rule.as_u64().unwrap()),
        "pattern" => value.as_str().is_none_or(|s| {
            regex::Regex::new(rule.as_str().unwrap())
                .unwrap()
                .is_match(s)
        }),
        "format" => value.as_str().is_none_or(|s| {
            let pattern = match rule.as_str().unwrap() {
                "date" => r"^\d{4}-\d\d-\d\d$",
                "uuid" => r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
                other => panic!("format {other}"),
            };
            regex::Regex::new(pattern).unwrap().is_match(s)
        }),
        "minimum" => value.as_f64().is_none_or(|x| x >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|x| x <= rule.as_f64().unwrap()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|x| x > rule.as_f64().unwrap()),
        "multipleOf" => value
            .as_i64()
            .is_none_or(|x| x % rule.as_i64().unwrap() == 0),
        "$defs" => true,
        other => panic!("the validator does not know {other}"),
    })
}

fn has_type(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|x| x.fract() == 0.0)
        }
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    }
}

#[test]
fn random_models_write_json_that_conforms() {
    let vocabulary = vocabulary();
    let mut random = Random(1);
    for schema in schemas() {
        let start = Constraint::json_schema(&vocabulary, &schema).unwrap();
        let mut complete = 0;
        for seed in 0..40 {
            let spread = random.pick(&[0.5, 3.0]);
            let dear = random.pick(&["\"]}", "]},", "\"0123456789]}", " \n\"]}"]);
            let wish = |_: &[u8]| wild(&mut random, spread, dear, 5.0);
            let (text, done) = generate(start.clone(), 1200, seed, wish);
            if !done {
                continue;
            }
            complete += 1;
            let shown = String::from_utf8_lossy(&text);
            // Numbers too large for JSON's parser are the parser's limit, not the text's fault.
            let value: Value = match serde_json::from_slice(&text) {
                Ok(value) => value,
                Err(error) if error.to_string().contains("number out of range") => continue,
                Err(error) => panic!("{error} in {shown:?} for {schema}"),
            };
            assert!(conforms(&value, &schema, &schema), "{shown} for {schema}");
        }
        assert!(
            complete >= 20,
            "{complete} of 40 texts came to their end: {schema}"
        );
    }
}

#[test]
fn a_model_that_wants_only_white_space_still_comes_to_an_end() {
    let vocabulary = vocabulary();
    let schema = json!({"type": "object", "additionalProperties": false,
        "properties": {"a": {"type": "integer", "maximum": 99, "minimum": 0}, "b": {"type": "boolean"}},
        "required": ["a", "b"]});
    for dear in [" ", "\n", " \n\t\r"] {
        let constraint = Constraint::json_schema(&vocabulary, &schema).unwrap();
        let mut random = Random(3);
        let wish = |_: &[u8]| wild(&mut random, 0.1, dear, 50.0);
        let (text, done) = generate(constraint, 400, 0, wish);
        assert!(done, "{:?}", String::from_utf8_lossy(&text));
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert!(conforms(&value, &schema, &schema));
        // Nothing follows the closing brace.
        assert_eq!(text.last(), Some(&b'}'));
    }
}

/// Feeds a text byte by byte. How many bytes were allowed, and whether it may end there.
fn feed(constraint: &mut Constraint, text: &[u8]) -> (usize, bool) {
    for (at, &byte) in text.iter().enumerate() {
        if constraint.is_done() || !constraint.mask().unwrap().is_allowed(u32::from(byte)) {
            return (at, constraint.is_complete().unwrap());
        }
        constraint.accept(u32::from(byte)).unwrap();
    }
    (text.len(), constraint.is_complete().unwrap())
}

fn takes(start: &Constraint, text: &str) -> bool {
    feed(&mut start.clone(), text.as_bytes()) == (text.len(), true)
}

#[test]
fn the_usual_layouts_of_json_are_allowed_and_endless_ones_are_not() {
    let vocabulary = vocabulary();
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"},
        "b": {"type": "array", "items": {"type": "string"}}}});
    let start = Constraint::json_schema(&vocabulary, &schema).unwrap();
    for text in [
        r#"{"a":1,"b":["x","y"]}"#,
        r#"{"a": 1, "b": ["x", "y"]}"#,
        "{\n  \"a\": 1,\n  \"b\": [\n    \"x\",\n    \"y\"\n  ]\n}",
        r#"{ "a" : 1 }"#,
        "{}",
    ] {
        assert!(takes(&start, text), "{text}");
    }
    for text in [
        "{  \"a\":1}",
        "{\n\n\"a\":1}",
        "{\t\"a\":1}",
        " {}",
        r#"{"b":["x"],"a":1}"#,
    ] {
        assert!(!takes(&start, text), "{text}");
    }
    // Complete, but for a space: ended.
    let mut constraint = start.clone();
    assert_eq!(feed(&mut constraint, b"{} "), (2, true));
    assert!(constraint.is_done());
    // A number at the top may end or go on; a space may not follow.
    let mut constraint = Constraint::json_schema(&vocabulary, &json!({"type": "integer"})).unwrap();
    assert_eq!(feed(&mut constraint, b"12"), (2, true));
    assert!(!constraint.is_done());
    let mask = constraint.mask().unwrap();
    assert!(mask.is_allowed(END) && mask.is_allowed(END + 1) && mask.is_allowed(u32::from(b'3')));
    assert!(!mask.is_allowed(u32::from(b' ')) && !mask.is_allowed(TOOL));
    constraint.accept(END).unwrap();
    assert!(constraint.is_done());
    assert_eq!(
        constraint.mask().unwrap().iter().collect::<Vec<_>>(),
        [END, END + 1]
    );
}

#[test]
fn random_models_match_regular_expressions() {
    let vocabulary = vocabulary();
    let mut random = Random(4);
    let patterns = [
        r"[a-c]+\d{2,3}(x|yz)?",
        r"^(\d{3}-){2}\d{4}$",
        r"^a$|^b+c$",
        r"\w{1,6}@\w{1,6}\.(com|de)",
        r"(?i)yes|no",
        r"[^\n]{0,20}é😀/x",
        r#""([^"\\]|\\.)*""#,
        r"(?:ab){3}",
    ];
    for pattern in patterns {
        let start = Constraint::regex(&vocabulary, pattern).unwrap();
        let whole = regex::Regex::new(&format!(r"\A(?:{pattern})\z")).unwrap();
        let mut complete = 0;
        for seed in 0..40 {
            let wish = |_: &[u8]| wild(&mut random, 2.0, "\"xc0", 3.0);
            let (text, done) = generate(start.clone(), 300, seed, wish);
            let text = String::from_utf8_lossy(&text);
            complete += usize::from(done);
            assert!(!done || whole.is_match(&text), "{text:?} for {pattern}");
        }
        assert!(
            complete > 20,
            "{complete} of 40 texts came to their end: {pattern}"
        );
    }
    let start = Constraint::regex(&vocabulary, r"^(\d{3}-){2}\d{4}$").unwrap();
    assert!(takes(&start, "555-123-4567") && !takes(&start, "555-1234567"));
}

const ARITHMETIC: &str = r#"
# sums and products
root  ::= expr "\n"
expr  ::= term ([-+*/] term)*
term  ::= num | "(" ws expr ")" ws
num   ::= [0-9]+ ws
ws    ::= [ \t]{0,2}
"#;

/// llama.cpp's grammar of JSON, as its users write it.
const JSON: &str = r#"
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::= "[" ws (
            value
    ("," ws value)*
  )? "]" ws
string ::= "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4})
  )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"#;

const LARK: &str = r#"
start: greeting ("," " " NAME)+ "!"
greeting: "hello" | "good " DAY
DAY: "morning" | "evening"
NAME: /[A-Z][a-z]{1,7}/
"#;

/// Whether a text is a sum as ARITHMETIC has it; a parser by hand.
fn is_sum(text: &str) -> bool {
    fn expr(mut rest: &str) -> Option<&str> {
        loop {
            rest = term(rest)?;
            match rest.strip_prefix(['-', '+', '*', '/']) {
                Some(next) => rest = next,
                None => return Some(rest),
            }
        }
    }
    fn term(rest: &str) -> Option<&str> {
        if let Some(inner) = rest.strip_prefix('(') {
            return expr(blanks(inner))?.strip_prefix(')').map(blanks);
        }
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        (after.len() < rest.len()).then(|| blanks(after))
    }
    fn blanks(rest: &str) -> &str {
        let trimmed = rest.trim_start_matches([' ', '\t']);
        &rest[(rest.len() - trimmed.len()).min(2)..]
    }
    expr(text) == Some("\n")
}

#[test]
fn random_models_follow_grammars() {
    let vocabulary = vocabulary();
    let mut random = Random(5);
    let greeting =
        regex::Regex::new(r"\A(hello|good (morning|evening))(, [A-Z][a-z]{1,7})+!\z").unwrap();
    type Check<'a> = &'a dyn Fn(&str) -> bool;
    let cases: [(&str, &str, Check); 3] = [
        (ARITHMETIC, "\n)0", &is_sum),
        (JSON, "\"]}", &|text| {
            serde_json::from_str::<Value>(text).is_ok_and(|v| v.is_object())
        }),
        (LARK, "!", &|text| greeting.is_match(text)),
    ];
    for (grammar, dear, check) in cases {
        let start = Constraint::grammar(&vocabulary, grammar).unwrap();
        let mut complete = 0;
        for seed in 0..40 {
            let wish = |_: &[u8]| wild(&mut random, 1.0, dear, 4.0);
            let (text, done) = generate(start.clone(), 600, seed, wish);
            let text = String::from_utf8_lossy(&text);
            complete += usize::from(done);
            assert!(!done || check(&text), "{text:?} for {grammar}");
        }
        assert!(
            complete > 20,
            "{complete} of 40 texts came to their end: {grammar}"
        );
    }
}

#[test]
fn gbnf_keeps_its_language() {
    let vocabulary = vocabulary();
    let arithmetic = Constraint::grammar(&vocabulary, ARITHMETIC).unwrap();
    for text in ["1\n", "12+3*(4-5 )  /6\n", "((( 1)))\n"] {
        assert!(takes(&arithmetic, text), "{text:?}");
    }
    for text in ["1", "+1\n", "(1\n", "1   +2\n"] {
        assert!(!takes(&arithmetic, text), "{text:?}");
    }
    let json = Constraint::grammar(&vocabulary, JSON).unwrap();
    for text in [
        r#"{"a": [1, -2.5e3, "x\u00e9\n", {}, []], "true": true}"#,
        "{}",
        "{\n  \"a\":\n null}",
    ] {
        assert!(takes(&json, text), "{text}");
    }
    for text in ["[1]", r#"{"a": 01}"#, r#"{"a" 1}"#, r#"{"a":1,}"#] {
        assert!(!takes(&json, text), "{text}");
    }
    // Where a greedy terminal would swallow what must follow.
    let regular = Constraint::grammar(&vocabulary, "root ::= [a-z]+ \"foo\"").unwrap();
    assert!(takes(&regular, "xfoo") && takes(&regular, "foofoo") && !takes(&regular, "foo"));
    // Recursion on both sides, empty alternatives, and every escape.
    let nested = Constraint::grammar(&vocabulary, "root ::= \"<\" root \">\" | \"\"").unwrap();
    assert!(takes(&nested, "<<>>") && takes(&nested, "") && !takes(&nested, "<>>"));
    let odd = "root ::= a \"\\x41\\u00e9\\U0001F600\\\"\\\\\" [\\]^\\x7f\\n-]{2,} .\na ::= \"/\"? | a \"b\"";
    let odd = Constraint::grammar(&vocabulary, odd).unwrap();
    assert!(takes(&odd, "/bbAé😀\"\\]^-日") && takes(&odd, "Aé😀\"\\\u{7f}\n\n"));
    assert!(!takes(&odd, "/bbAé😀\"\\]"));
    // Special tokens by name, which text cannot imitate.
    let tool = "root ::= <|tool|> call | \"none\"\ncall ::= \"f\" <|tool|>";
    let mut tool = Constraint::grammar(&vocabulary, tool).unwrap();
    assert!(!takes(&tool, "<|tool|>f<|tool|>") && takes(&tool, "none"));
    for id in [TOOL, u32::from(b'f'), TOOL] {
        tool.accept(id).unwrap();
    }
    assert!(tool.is_done());
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_its_place() {
    let vocabulary = vocabulary();
    let schema = |schema: Value| message(Constraint::json_schema(&vocabulary, &schema));
    schema(
        json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "strin"}}}}),
    );
    schema(json!([]));
    schema(json!(false));
    schema(json!({"type": "array", "contains": {"type": "null"}}));
    schema(
        json!({"$defs": {"x/y": {"pattern": "(", "type": "string"}}, "items": {"$ref": "#/$defs/x~1y"}}),
    );
    schema(
        json!({"$defs": {"x": {"pattern": "(", "type": "string"}}, "items": {"$ref": "#/$defs/x"}}),
    );
    schema(json!({"$ref": "#/$defs/missing"}));
    schema(json!({"$ref": "https://example.com/schema"}));
    schema(json!({"type": "integer", "minimum": 5, "maximum": 4}));
    schema(json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}));
    schema(json!({"properties": [1]}));
    schema(json!({"$ref": "#"}));
    schema(json!({"type": "string", "pattern": "a{100000}b{100000}"}));
    schema(json!({"type": "string", "maxLength": 100000000}));
    schema(json!({"type": "object", "properties": {"a": false}, "required": ["a"]}));
    let regex = |pattern: &str| message(Constraint::regex(&vocabulary, pattern));
    for r in [
        "(a",
        "a**",
        "[z-a]",
        "",
        "^$",
        r"\bword",
        "a(?=b)",
        r"\p{Foo}",
        "a$b",
        "(?m)^a",
        "x{1000}{1000}{1000}",
        "(a{100}){1000}",
    ] {
        regex(r);
    }
    let grammar = |text: &str| message(Constraint::grammar(&vocabulary, text));
    for g in [
        "",
        "start: \"a",
        "start: a",
        "start: \"a\"\nb: (",
        "root ::= b",
        "a: \"b\"",
        "start: <|nope|>",
        "start: A\nA: A \"x\"",
        "start: start",
        "root ::= root",
        "root ::= <|nope|>",
        "start: /(/",
        "root ::= \"a\"{90000}",
        "%json {",
    ] {
        grammar(g);
    }
    grammar(&format!("start: {}", "(".repeat(100_000)));
    grammar(&format!("start: {}", "(\n".repeat(100_000)));
}

fn message(result: Result<Constraint, SamplingError>) -> String {
    let message = result.map_or_else(|e| e.to_string(), |_| "FINE".into());
    assert!(!message.contains('\n'), "{message}");
    message
}
