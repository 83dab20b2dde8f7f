//! Outputs of every format, as models write them, whole, letter by letter and cut off anywhere.

use super::*;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tokenize/tests/templates/");

pub(super) fn of_file(name: &str) -> Dialect {
    let source = std::fs::read_to_string(format!("{ROOT}{name}.jinja")).unwrap();
    Dialect::of_source(&source, None)
}

/// What Llama 3.1's template says of functions.
pub(super) const LLAMA_SOURCE: &str = r#"{%- if tools is not none %}Respond in the format {"name": function name, "parameters": dictionary of
argument name and its value}.{% endif %}<|start_header_id|>{{ '"parameters": ' }}<|end_header_id|>"#;

/// Phi-4-mini's template.
pub(super) const PHI_SOURCE: &str = "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and \
    message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + \
    message['tools'] + '<|/tool|>' + '<|end|>' }}{% endif %}{% endfor %}";

/// Reasoning, text and calls that pieces come to.
pub(super) fn joined(pieces: &[Piece]) -> (String, String, Vec<(String, String)>) {
    let (mut thought, mut said, mut calls) = (String::new(), String::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => said.push_str(text),
            Piece::Reasoning(text) => thought.push_str(text),
            Piece::Call { index, name } => {
                assert_eq!(*index, calls.len(), "calls are counted");
                calls.push((name.clone(), String::new()));
            }
            Piece::Arguments { index, text } => calls[*index].1.push_str(text),
        }
    }
    (thought, said, calls)
}

fn read(
    dialect: &Dialect,
    parts: &[&str],
    thinking: bool,
) -> (String, String, Vec<(String, String)>) {
    let mut reader = dialect.reader(true, thinking);
    let mut pieces: Vec<Piece> = parts.iter().flat_map(|part| reader.push(part)).collect();
    pieces.extend(reader.finish());
    let all = joined(&pieces);
    assert_eq!(reader.calls(), all.2.len());
    all
}

/// Reads a text whole and letter by letter, and cut off everywhere: what was read of its beginning is the beginning of what
/// is read of it.
fn check(dialect: &Dialect, text: &str, thought: &str, said: &str, calls: &[(&str, &str)]) {
    let letters: Vec<&str> = text.split("").collect();
    let expected: Vec<(String, String)> = calls
        .iter()
        .map(|&(n, a)| (n.to_owned(), a.to_owned()))
        .collect();
    for parts in [vec![text], letters] {
        let (t, s, c) = read(dialect, &parts, false);
        assert_eq!(
            (t.as_str(), s.as_str(), &c),
            (thought, said, &expected),
            "{text}"
        );
    }
    for (cut, _) in text.char_indices() {
        let (t, s, c) = read(dialect, &[&text[..cut]], false);
        assert!(thought.starts_with(&t), "{cut}: {t:?}");
        assert!(c.len() <= expected.len(), "{cut}: {c:?}");
        for (got, whole) in c.iter().zip(&expected) {
            assert_eq!(got.0, whole.0);
            // What was not begun counts as no arguments.
            assert!(
                whole.1.starts_with(&got.1) || got.1 == "{}",
                "{cut}: {got:?}"
            );
        }
        // A mark that is cut off may have been text.
        let rest = s.strip_prefix(said).unwrap_or("");
        assert!(
            said.starts_with(&s) || text[..cut].ends_with(rest),
            "{cut}: {s:?}"
        );
    }
}

#[test]
fn formats_are_found_in_published_templates() {
    for (name, calls, given, thinks) in [
        (
            "Qwen-Qwen2.5-7B-Instruct",
            Calls::Json(HERMES),
            Given::Variable,
            false,
        ),
        (
            "Qwen-Qwen3-0.6B",
            Calls::Json(HERMES),
            Given::Variable,
            true,
        ),
        ("Qwen-QwQ-32B", Calls::Json(HERMES), Given::Variable, true),
        (
            "HuggingFaceTB-SmolLM2-135M-Instruct",
            Calls::Json(HERMES),
            Given::Described,
            false,
        ),
        (
            "mistralai-Mistral-Nemo-Instruct-2407",
            Calls::Json(MISTRAL),
            Given::Variable,
            false,
        ),
        (
            "Mistral-Small-3.2-24B-Instruct-2506",
            Calls::Named { id: true },
            Given::Variable,
            false,
        ),
        (
            "unsloth-mistral-Devstral-Small-2507",
            Calls::Named { id: false },
            Given::Variable,
            false,
        ),
        (
            "mistralai-Ministral-3-14B-Reasoning-2512",
            Calls::Named { id: false },
            Given::Variable,
            true,
        ),
        ("google-gemma-4-31B-it", Calls::Gemma, Given::Variable, true),
        (
            "ibm-granite-granite-3.3-2B-Instruct",
            Calls::Json(GRANITE),
            Given::Variable,
            true,
        ),
        (
            "ibm-granite-granite-4.0",
            Calls::Json(HERMES),
            Given::Variable,
            false,
        ),
        (
            "microsoft-Phi-3.5-mini-instruct",
            Calls::Json(HERMES),
            Given::Described,
            false,
        ),
        (
            "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
            Calls::Json(HERMES),
            Given::Described,
            true,
        ),
    ] {
        let dialect = of_file(name);
        assert_eq!(
            (dialect.calls, dialect.given, dialect.thinks),
            (calls, given, thinks),
            "{name}"
        );
    }
    let llama = Dialect::of_source(LLAMA_SOURCE, None);
    assert_eq!(
        (llama.calls, llama.given),
        (Calls::Json(LLAMA), Given::Variable)
    );
    let phi = Dialect::of_source(PHI_SOURCE, None);
    assert_eq!((phi.calls, phi.given), (Calls::Json(PHI), Given::InSystem));
    assert_eq!(of_file("Qwen-Qwen3-0.6B").knobs, ["enable_thinking"]);
    assert!(of_file("mistralai-Mistral-Nemo-Instruct-2407").short_ids);
}

#[test]
fn hermes_calls_are_read() {
    let dialect = of_file("Qwen-Qwen3-0.6B");
    check(
        &dialect,
        "<think>\nThe user wants the weather: <tool> it is.\n</think>\n\nLet me look.\n<tool_call>\n{\"name\": \"get_weather\", \
         \"arguments\": {\"city\": \"Paris \\\"Nord\\\" }\", \"days\": [1, 2]}}\n</tool_call>\n<tool_call>\n{\"name\": \
         \"now\", \"arguments\": {}}\n</tool_call>",
        "The user wants the weather: <tool> it is.",
        "Let me look.",
        &[
            (
                "get_weather",
                "{\"city\": \"Paris \\\"Nord\\\" }\", \"days\": [1, 2]}",
            ),
            ("now", "{}"),
        ],
    );
    // Arguments first, as a text, as null, or missing.
    check(
        &dialect,
        "<tool_call>{\"arguments\": {\"a\": {\"b\": 1}}, \"name\": \"f\"}</tool_call>",
        "",
        "",
        &[("f", "{\"a\": {\"b\": 1}}")],
    );
    check(
        &dialect,
        "<tool_call>\n{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}\n</tool_call>",
        "",
        "",
        &[("f", "{\"a\": 1}")],
    );
    check(
        &dialect,
        "<tool_call>{\"name\": \"f\", \"arguments\": null }</tool_call>",
        "",
        "",
        &[("f", "{}")],
    );
    check(
        &dialect,
        "<tool_call>{\"id\": 7, \"name\": \"f\"}</tool_call>",
        "",
        "",
        &[("f", "{}")],
    );
    check(&dialect, "Just words.", "", "Just words.", &[]);
}

#[test]
fn what_only_looks_like_a_call_is_text() {
    let dialect = of_file("Qwen-Qwen2.5-7B-Instruct");
    for text in [
        "Write <tool_call> and then JSON.",
        "<tool_call>\n{\"nome\": \"f\"}\n</tool_call>",
        "<tool_call>{\"name\": 5}</tool_call>",
        "a < b and <tool",
        "<tool_call>[]</tool_call>",
    ] {
        let (_, said, calls) = read(&dialect, &[text], false);
        assert!(calls.is_empty(), "{text}: {calls:?}");
        let words = said.replace(char::is_whitespace, "");
        assert!(
            text.replace(char::is_whitespace, "").contains(&words) && !words.is_empty()
                || text.contains("[]"),
            "{text}: {said}"
        );
    }
    // Without functions nothing is a call.
    let mut reader = dialect.reader(false, false);
    let text = "<tool_call>\n{\"name\": \"f\"}\n</tool_call>\n";
    let mut pieces = reader.push(text);
    pieces.extend(reader.finish());
    assert_eq!(joined(&pieces).1, text);
}

#[test]
fn llama_phi_granite_and_mistral_are_read() {
    let llama = Dialect::of_source(LLAMA_SOURCE, None);
    check(
        &llama,
        "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Oslo\"}}",
        "",
        "",
        &[("get_weather", "{\"city\": \"Oslo\"}")],
    );
    check(
        &llama,
        "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}",
        "",
        "",
        &[("f", "{}")],
    );
    check(
        &llama,
        "It is {\"name\": \"f\"}.",
        "",
        "It is {\"name\": \"f\"}.",
        &[],
    );
    let (_, said, calls) = read(&llama, &["{\"answer\": 42}"], false);
    assert_eq!((said.as_str(), calls.len()), ("{\"answer\": 42}", 0));

    let phi = Dialect::of_source(PHI_SOURCE, None);
    check(
        &phi,
        "<|tool_call|>[{\"name\": \"a\", \"arguments\": {\"x\": 1}}, {\"name\": \"b\", \"arguments\": {\"y\": \"]\"}}]<|/tool_call|>",
        "",
        "",
        &[("a", "{\"x\": 1}"), ("b", "{\"y\": \"]\"}")],
    );
    check(
        &of_file("ibm-granite-granite-3.3-2B-Instruct"),
        "<think>Look it up.</think>I call. <|tool_call|>[{\"name\": \"a\", \"arguments\": {\"x\": 1}}]",
        "Look it up.",
        "I call.",
        &[("a", "{\"x\": 1}")],
    );
    check(
        &of_file("mistralai-Mistral-Nemo-Instruct-2407"),
        "[TOOL_CALLS][{\"name\": \"a\", \"arguments\": {\"x\": 1}, \"id\": \"abcdefghi\"}, {\"name\": \"b\", \"arguments\": {}}]",
        "",
        "",
        &[("a", "{\"x\": 1}"), ("b", "{}")],
    );
    check(
        &of_file("mistralai-Ministral-3-14B-Reasoning-2512"),
        "[THINK]Hm.[/THINK]Yes.[TOOL_CALLS]a[ARGS]{\"x\": \"{\"}[TOOL_CALLS]b[ARGS]{}",
        "Hm.",
        "Yes.",
        &[("a", "{\"x\": \"{\"}"), ("b", "{}")],
    );
    check(
        &of_file("Mistral-Small-3.2-24B-Instruct-2506"),
        "[TOOL_CALLS]a[CALL_ID]123456789[ARGS]{\"x\": [1]}",
        "",
        "",
        &[("a", "{\"x\": [1]}")],
    );
}

#[test]
fn gemma_calls_become_json() {
    check(
        &of_file("google-gemma-4-31B-it"),
        "<|channel>thought\nWhich city?\n<channel|>One moment. <|tool_call>call:get_weather{city:<|\"|>Köln \"Süd\" {a}<|\"|>,\
         days:3,deep:{list:[1,<|\"|>b<|\"|>,true],<|\"|>k 1<|\"|>:null},unit:celsius}<tool_call|><|tool_call>call:now{}<tool_call|>",
        "Which city?",
        "One moment.",
        &[
            (
                "get_weather",
                "{\"city\":\"Köln \\\"Süd\\\" {a}\",\"days\":3,\"deep\":{\"list\":[1,\"b\",true],\"k 1\":null},\"unit\":\"celsius\"}",
            ),
            ("now", "{}"),
        ],
    );
}

#[test]
fn thoughts_are_never_said() {
    for (name, open, close) in [
        ("Qwen-Qwen3-0.6B", "<think>", "</think>"),
        (
            "mistralai-Ministral-3-14B-Reasoning-2512",
            "[THINK]",
            "[/THINK]",
        ),
        ("ByteDance-Seed-OSS", "<seed:think>", "</seed:think>"),
        ("google-gemma-4-31B-it", "<|channel>thought", "<channel|>"),
        // Its template knows of none, but models that were trained on others' answers think all the same.
        ("HuggingFaceTB-SmolLM2-135M-Instruct", "<think>", "</think>"),
    ] {
        let dialect = of_file(name);
        let text = format!("{open}\nFirst a.\n\nThen b.\n{close}\n\nAnswer: 5\n");
        check(&dialect, &text, "First a.\n\nThen b.", "Answer: 5", &[]);
        // The prompt has opened them.
        let (thought, said, _) = read(&dialect, &["Deep.", close, "Said"], true);
        assert_eq!(
            (thought.as_str(), said.as_str()),
            ("Deep.", "Said"),
            "{name}"
        );
        let (thought, said, _) = read(&dialect, &["Cut off"], true);
        assert_eq!((thought.as_str(), said.as_str()), ("Cut off", ""), "{name}");
    }
    assert!(of_file("Qwen-Qwen3-0.6B").ends_thinking("<|im_start|>assistant\n<think>\n"));
    assert!(!of_file("Qwen-Qwen3-0.6B").ends_thinking("<think>\n\n</think>\n\n"));
}

#[test]
fn whatever_comes_is_read_without_a_panic() {
    let words = [
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "{\"name\": \"f\"",
        "\"arguments\": {",
        "}",
        "]",
        "[",
        ", ",
        "[TOOL_CALLS]",
        "[ARGS]",
        "<|tool_call>call:f{",
        "<|\"|>",
        "<tool_call|>",
        "é",
        "\\",
        "\"",
        " ",
        "\n",
        ":",
        "k",
        "7",
    ];
    let mut state = 1u64;
    for name in [
        "Qwen-Qwen3-0.6B",
        "google-gemma-4-31B-it",
        "mistralai-Ministral-3-14B-Reasoning-2512",
        "mistralai-Mistral-Nemo-Instruct-2407",
    ] {
        let dialect = of_file(name);
        for _ in 0..2000 {
            let mut reader = dialect.reader(true, state & 64 != 0);
            let mut pieces = Vec::new();
            for _ in 0..12 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                pieces.extend(reader.push(words[(state >> 33) as usize % words.len()]));
            }
            pieces.extend(reader.finish());
            let calls = pieces
                .iter()
                .filter(|p| matches!(p, Piece::Call { .. }))
                .count();
            assert_eq!(calls, reader.calls());
        }
    }
}

#[test]
fn a_template_without_functions_is_told_of_them_in_words() {
    use medley_types::{Message, Tool, ToolCall, Tools};
    let tools = Tools {
        list: vec![Tool {
            name: "f".into(),
            description: Some("Does.".into()),
            parameters: None,
        }],
        ..Tools::default()
    };
    let call = ToolCall {
        id: "1".into(),
        name: "f".into(),
        arguments: "{\"a\":1}".into(),
    };
    let answer = |text: &str| Message {
        tool_call_id: Some("1".into()),
        ..Message::new("tool", text)
    };
    let messages = [
        Message::new("user", "Do."),
        Message {
            tool_calls: vec![call],
            ..Message::new("assistant", "")
        },
        answer("one"),
        answer("two"),
    ];
    let list = render::plain_for_tests(&messages, &tools);
    let roles: Vec<&str> = list.iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    let system = list[0]["content"].as_str().unwrap();
    assert!(
        system.contains("<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"f\""),
        "{system}"
    );
    assert_eq!(
        list[2]["content"],
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"
    );
    assert_eq!(
        list[3]["content"],
        "<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response>"
    );
}
