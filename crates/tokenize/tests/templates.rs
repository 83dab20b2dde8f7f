//! Published chat templates render byte for byte as transformers' `apply_chat_template` (see `templates/README.md`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::path::{Path, PathBuf};

use medley_tokenize::{ChatInput, ChatTemplate};
use serde_json::Value;

/// The templates of this repository, and those of a folder to try (`MEDLEY_TEMPLATES`, made with `make.py FOLDER`).
fn folders() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates");
    let other = std::env::var_os("MEDLEY_TEMPLATES").map(PathBuf::from);
    [own].into_iter().chain(other).collect()
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Where two texts part, with some of what comes before.
fn difference(ours: &str, theirs: &str) -> String {
    let at = ours
        .chars()
        .zip(theirs.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let show =
        |text: &str| -> String { text.chars().skip(at.saturating_sub(60)).take(160).collect() };
    format!("  ours   …{:?}\n  theirs …{:?}", show(ours), show(theirs))
}

#[test]
fn published_templates_render_as_in_transformers() {
    let spec = read_json(&folders()[0].join("conversations.json"));
    let special: Vec<(&str, &str)> = spec["special"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, text)| (key.as_str(), text.as_str().unwrap()))
        .collect();
    let now = spec["now"].as_str().unwrap().parse().unwrap();
    let mut templates = 0;
    let mut rendered = 0;
    let mut failures = Vec::new();
    for folder in folders() {
        let expected = read_json(&folder.join("expected.json"));
        for (name, outputs) in expected.as_object().unwrap() {
            templates += 1;
            let source = std::fs::read_to_string(folder.join(name)).unwrap();
            let template = match ChatTemplate::new(&source, &special) {
                Ok(template) => template,
                Err(e) => {
                    failures.push(format!("{name}: {e}"));
                    continue;
                }
            };
            for (case, theirs) in spec["cases"]
                .as_array()
                .unwrap()
                .iter()
                .zip(outputs.as_array().unwrap())
            {
                let tools = match &case["tools"] {
                    Value::Bool(true) => spec["tools"].as_array(),
                    other => other.as_array(),
                };
                let ours = template.render(&ChatInput {
                    messages: case["messages"].as_array().unwrap(),
                    tools: tools.map(Vec::as_slice),
                    documents: case["documents"].as_array().map(Vec::as_slice),
                    add_generation_prompt: case["add_generation_prompt"] == true,
                    extra: case["extra"].as_object(),
                    now: Some(now),
                });
                let label = format!("{name}, {}", case["name"]);
                match (ours, theirs) {
                    (Ok(ours), Value::String(theirs)) if ours == *theirs => rendered += 1,
                    (Ok(ours), Value::String(theirs)) => {
                        failures.push(format!("{label}:\n{}", difference(&ours, theirs)));
                    }
                    (Err(e), Value::String(_)) => failures.push(format!("{label}: {e}")),
                    (Ok(_), Value::Object(_)) => failures.push(format!("{label}: to be refused")),
                    (Err(e), Value::Object(refusal)) => {
                        let message = refusal["refused"].as_str().unwrap().replace('\n', " ");
                        if !e.to_string().contains(&message) {
                            failures.push(format!("{label}: {e}, not {message}"));
                        }
                    }
                    // Python fails; nothing follows for us but that we do not panic.
                    _ => {}
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(
        templates >= 20 && rendered >= 200,
        "{templates} templates, {rendered} texts"
    );
}
