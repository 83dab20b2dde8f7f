//! The router over labelled requests: those it was tuned on, and our own.

use std::path::Path;

use medley_engine::EmbeddingModel;
use medley_engine::route::{Route, Router, route};
use serde::Deserialize;

#[derive(Deserialize)]
struct Labelled {
    prompt: String,
    medium: String,
}

/// The share of the requests that go where they should.
fn share(text: &str, route: impl Fn(&str) -> Route) -> f64 {
    let rows: Vec<Labelled> = serde_json::from_str(text).unwrap();
    let right = |row: &&Labelled| route(&row.prompt).destination.as_str() == row.medium;
    rows.iter().filter(right).count() as f64 / rows.len() as f64
}

/// Asks that at least `share` of the requests go where they should.
fn right(text: &str, share: f64) {
    let rows: Vec<Labelled> = serde_json::from_str(text).unwrap();
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| route(&row.prompt).destination.as_str() != row.medium)
        .map(|row| format!("{} is {}", row.prompt, row.medium))
        .collect();
    let reached = 1.0 - wrong.len() as f64 / rows.len() as f64;
    assert!(reached >= share, "{:.1} %: {wrong:#?}", reached * 100.0);
}

#[test]
fn requests_that_rules_were_tuned_on() {
    right(include_str!("../route/seen.json"), 0.95);
}

#[test]
fn requests_of_very_different_people() {
    right(include_str!("../route/own.json"), 0.97);
}

/// Requests that nobody looked at while the rules were made, and that nobody is to look at: which of them are wrong is not
/// said. 95 % is the aim; 54 of 60 went right at first. The encoder's layer is what reaches it.
#[test]
fn requests_that_no_rule_was_made_for() {
    assert!(share(include_str!("../route/blind.json"), route) >= 0.9);
}

fn with_the_encoder() -> Router {
    let encoder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../starter/icon-encoder/encoder.gguf"
    );
    Router::with(Some(EmbeddingModel::load(Path::new(encoder)).unwrap()))
}

/// The router with the encoder that stands beside the program, over the same requests.
#[test]
fn with_the_encoder_what_no_rule_was_made_for_is_understood_too() {
    let router = with_the_encoder();
    for (name, text) in [
        ("blind", include_str!("../route/blind.json")),
        ("blind-c", include_str!("../route/blind-c.json")),
        ("blind-d", include_str!("../route/blind-d.json")),
        ("long", include_str!("../route/long.json")),
        ("seen", include_str!("../route/seen.json")),
        ("own", include_str!("../route/own.json")),
        ("fresh", include_str!("../route/fresh.json")),
        ("more", include_str!("../route/more.json")),
    ] {
        let both = share(text, |prompt| router.route(prompt));
        let rules = share(text, route);
        println!("{name}: {both:.4} with the encoder, {rules:.4} by rules");
        assert!(both >= 0.95, "{name}: {both:.4}");
    }
}

/// Whatever is said in a long text, what is asked of it stands before or behind it.
#[test]
fn material_asks_for_nothing() {
    let router = with_the_encoder();
    let article = "The orchestra returned to the stage after two years, and the first concert was filmed for television. \
        The conductor said that the new hall sounds warmer than the old one. Painters had restored the ceiling, on which \
        clouds and angels are seen. Tickets were sold out within an hour. "
        .repeat(8);
    for (before, behind, medium) in [
        ("Summarise this in three sentences: ", "", "text"),
        ("", "Please summarise the above.", "text"),
        ("", "\n\nTranslate into German", "text"),
        ("What is the main point? ", "", "text"),
        ("Read this aloud: ", "", "speech"),
        ("", "\n\nread that out loud please", "speech"),
        ("", "\n\nMake an illustration for this article.", "image"),
        ("Write a tune that fits this: ", "", "music"),
    ] {
        let prompt = format!("{before}{article}{behind}");
        let found = router.route(&prompt).destination;
        assert_eq!(found.as_str(), medium, "{before} … {behind}");
    }
}
