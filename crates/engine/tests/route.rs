//! The router over labelled requests: those it was tuned on, and our own.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use medley_engine::route::route;
use serde::Deserialize;

#[derive(Deserialize)]
struct Labelled {
    prompt: String,
    medium: String,
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
    right(include_str!("route/seen.json"), 0.95);
}

#[test]
fn requests_of_very_different_people() {
    right(include_str!("route/own.json"), 0.97);
}
