//! Whatever a model wants to write, its calls are those that were declared, in every format.

use medley_formats::gguf::{Metadata, StringArray, Value as Gguf};
use medley_sampling::{Constraint, TokenMask, Vocabulary};
use medley_tokenize::Tokenizer;
use medley_types::{Tool, ToolChoice, Tools};
use serde_json::{Value, json};

use super::super::tests::{LLAMA_SOURCE, PHI_SOURCE, joined, of_file};
use super::super::*;

/// Marks that are single tokens which no text spells.
const SPECIAL: [&str; 12] = [
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "[THINK]",
    "[/THINK]",
    "<|tool_call>",
    "<tool_call|>",
    "<|\"|>",
    "<|tool_call|>",
    "<|/tool_call|>",
    "<|channel>",
    "<channel|>",
];

/// Every byte, the marks and a few words.
fn tokenizer() -> Tokenizer {
    let words = [
        "\": ",
        "\", \"",
        "{\"",
        "\"}",
        "name",
        "</think>",
        "<tool_call>",
    ];
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(SPECIAL.iter().chain(&words).map(|&text| text.to_owned()));
    let mut kinds: Vec<i32> = vec![2, 3, 3];
    kinds.extend([6; 256]);
    kinds.extend([3; SPECIAL.len()]);
    kinds.extend(words.map(|_| 1));
    let scores: Vec<f32> = (0..tokens.len()).map(|i| -(i as f32)).collect();
    let metadata: Metadata = [
        ("tokenizer.ggml.model", Gguf::from("llama")),
        (
            "tokenizer.ggml.tokens",
            tokens.iter().collect::<StringArray>().into(),
        ),
        ("tokenizer.ggml.scores", scores.into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        ("tokenizer.ggml.bos_token_id", 1u32.into()),
        ("tokenizer.ggml.eos_token_id", 2u32.into()),
    ]
    .into_iter()
    .collect();
    Tokenizer::from_gguf(&metadata).unwrap()
}

/// A text as marks and single bytes.
fn spelled(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut rest = text;
    while let Some(&byte) = rest.as_bytes().first() {
        let mark = SPECIAL.iter().find(|mark| rest.starts_with(**mark));
        let length = mark.map_or(1, |mark| mark.len());
        ids.push(mark.map_or(3 + u32::from(byte), |mark| {
            tokenizer.token_id(mark).unwrap()
        }));
        rest = &rest[length..];
    }
    ids
}

fn vocabulary(tokenizer: &Tokenizer) -> Vocabulary {
    let tokens = tokenizer.vocabulary_bytes();
    let special: Vec<bool> = (0..tokens.len() as u32)
        .map(|id| tokenizer.is_special(id))
        .collect();
    Vocabulary::new(tokens, &special, tokenizer.end_of_generation()).unwrap()
}

fn tools(choice: ToolChoice, parallel: bool) -> Tools {
    let schema = json!({ "type": "object", "additionalProperties": false, "required": ["city", "n"], "properties": {
        "city": { "type": "string" }, "n": { "type": "integer", "minimum": 0, "maximum": 9 },
        "unit": { "enum": ["c", "f"] }, "tags": { "type": "array", "items": { "type": "boolean" }, "maxItems": 3 },
        "deep": { "type": "object", "properties": { "x": { "$ref": "#/$defs/x" } }, "required": ["x"],
                  "additionalProperties": false } }, "$defs": { "x": { "type": ["integer", "null"] } } });
    let tool = |name: &str, parameters| Tool {
        name: name.into(),
        description: None,
        parameters,
    };
    Tools {
        list: vec![tool("look_up", Some(schema)), tool("now", None)],
        choice,
        parallel,
    }
}

fn check(name: &str, arguments: &str) {
    let value: Value =
        serde_json::from_str(arguments).unwrap_or_else(|e| panic!("{arguments}: {e}"));
    let fields = value.as_object().unwrap();
    if name == "now" {
        assert!(fields.is_empty(), "{arguments}");
        return;
    }
    assert_eq!(name, "look_up");
    assert!(
        fields["city"].is_string() && fields["n"].is_u64(),
        "{arguments}"
    );
    for (key, value) in fields {
        let fits = match key.as_str() {
            "city" | "n" => true,
            "unit" => ["c", "f"].contains(&value.as_str().unwrap()),
            "tags" => value.as_array().unwrap().iter().all(Value::is_boolean),
            "deep" => value["x"].is_number() || value["x"].is_null(),
            _ => false,
        };
        assert!(fits, "{key} in {arguments}");
    }
}

/// Writes at random within a constraint, hurrying to the end after `patience` tokens.
fn write(
    tokenizer: &Tokenizer,
    watch: &mut Watch,
    constraint: &mut Constraint,
    patience: usize,
    state: &mut u64,
) -> String {
    let mut bytes = Vec::new();
    for step in 0..patience + 2000 {
        if constraint.is_done() {
            break;
        }
        let mask = match (step < patience, watch.closing()) {
            (true, _) => constraint.mask(),
            // Within a character nothing can be closed.
            (false, Some(id)) if constraint.valid_prefix(&[id]).unwrap() > 0 => {
                Ok(TokenMask::of(&[id], tokenizer.vocab_size()))
            }
            (false, Some(_)) => constraint.mask(),
            (false, None) => constraint.closing_mask(),
        };
        let allowed: Vec<u32> = mask.unwrap().iter().collect();
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let id = allowed[(*state >> 33) as usize % allowed.len()];
        constraint.accept(id).unwrap();
        watch.take(id, &tokenizer.token_bytes(id));
        if !tokenizer.end_of_generation().contains(&id) {
            bytes.extend(tokenizer.token_bytes(id));
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(constraint.is_done(), "it comes to its end: {text}");
    text
}

fn dialects() -> Vec<(&'static str, Dialect)> {
    let files = [
        "Qwen-Qwen3-0.6B",
        "HuggingFaceTB-SmolLM2-135M-Instruct",
        "mistralai-Mistral-Nemo-Instruct-2407",
        "Mistral-Small-3.2-24B-Instruct-2506",
        "mistralai-Ministral-3-14B-Reasoning-2512",
        "google-gemma-4-31B-it",
        "ibm-granite-granite-3.3-2B-Instruct",
    ];
    let mut list: Vec<(&str, Dialect)> = files
        .into_iter()
        .map(|name| (name, of_file(name)))
        .collect();
    list.push(("llama", Dialect::of_source(LLAMA_SOURCE, None)));
    list.push(("phi", Dialect::of_source(PHI_SOURCE, None)));
    list
}

#[test]
fn every_format_keeps_to_what_was_declared() {
    let tokenizer = tokenizer();
    let vocabulary = vocabulary(&tokenizer);
    let mut state = 1;
    let mut several = Vec::new();
    for (name, dialect) in dialects() {
        for (choice, parallel, thinking) in [
            (ToolChoice::Required, true, false),
            (ToolChoice::Named("look_up".into()), true, false),
            (ToolChoice::Required, false, true),
        ] {
            let tools = tools(choice.clone(), parallel);
            let thinking = thinking && dialect.thinks();
            let shape = Shape {
                tools: &tools,
                answer: Answer::Free,
                thinking,
            };
            let grammar = dialect.grammar(&tokenizer, &shape).unwrap();
            let constraint = Constraint::grammar(&vocabulary, &grammar);
            let constraint = constraint.unwrap_or_else(|e| panic!("{name}: {e}\n{grammar}"));
            for patience in [0, 20, 60, 200] {
                let text = write(
                    &tokenizer,
                    &mut dialect.watch(&tokenizer, thinking),
                    &mut constraint.clone(),
                    patience,
                    &mut state,
                );
                let mut reader = dialect.reader(true, thinking);
                let mut pieces = reader.push(&text);
                pieces.extend(reader.finish());
                let (_, said, calls) = joined(&pieces);
                assert_eq!(said, "", "{name}: {text}");
                assert!(!calls.is_empty(), "{name}: {text}");
                assert!(
                    calls.len() == 1 || parallel && choice == ToolChoice::Required,
                    "{name}: {text}"
                );
                if calls.len() > 1 {
                    several.push(name);
                }
                for (function, arguments) in &calls {
                    check(function, arguments);
                }
            }
        }
    }
    several.dedup();
    assert!(
        several.len() > 4,
        "most formats have several calls: {several:?}"
    );
}

#[test]
fn who_may_call_may_also_speak() {
    let tokenizer = tokenizer();
    let vocabulary = vocabulary(&tokenizer);
    let accepts = |dialect: &Dialect, answer: Answer, texts: &[&str]| -> Vec<bool> {
        let tools = tools(ToolChoice::Auto, true);
        let shape = Shape {
            tools: &tools,
            answer,
            thinking: false,
        };
        let grammar = dialect.grammar(&tokenizer, &shape).unwrap();
        let constraint = Constraint::grammar(&vocabulary, &grammar);
        let constraint = constraint.unwrap_or_else(|e| panic!("{e}\n{grammar}"));
        let one = |text: &&str| {
            let mut constraint = constraint.clone();
            let ids = &spelled(&tokenizer, text);
            constraint.valid_prefix(ids).unwrap() == ids.len() && {
                ids.iter().for_each(|&id| constraint.accept(id).unwrap());
                constraint.is_complete().unwrap()
            }
        };
        texts.iter().map(one).collect()
    };
    let call = "{\"name\": \"now\", \"arguments\": {}}";
    let hermes = of_file("Qwen-Qwen3-0.6B");
    let marked = format!("<tool_call>\n{call}\n</tool_call>");
    let texts = [
        "Just words.",
        "<think>Hm <x>.</think>\n\nWords.",
        &format!("Words first. {marked}"),
        &marked,
        "<tool_call>\n{\"name\": \"other\", \"arguments\": {}}\n</tool_call>",
    ];
    assert_eq!(
        accepts(&hermes, Answer::Free, &texts),
        [true, true, true, true, false]
    );
    let schema = Answer::Json(json!({ "type": "integer" }));
    let texts = [
        "42",
        &format!("<think>Hm.</think>{marked}"),
        "<think>Hm.</think>42",
        "Words.",
    ];
    assert_eq!(accepts(&hermes, schema, &texts), [true, true, true, false]);
    let llama = Dialect::of_source(LLAMA_SOURCE, None);
    let texts = [
        "Words.",
        "{\"name\": \"now\", \"parameters\": {}}",
        "{\"name\": \"no\"}",
        "{\"x\": 1}",
    ];
    assert_eq!(
        accepts(&llama, Answer::Free, &texts),
        [true, true, false, true]
    );
    let mistral = of_file("mistralai-Mistral-Nemo-Instruct-2407");
    let texts = [
        "Words.",
        &format!("Words.[TOOL_CALLS][{call}]"),
        "[TOOL_CALLS][]",
    ];
    assert_eq!(accepts(&mistral, Answer::Free, &texts), [true, true, false]);
}
