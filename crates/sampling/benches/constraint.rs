//! Time of constraints: `cargo bench -p medley-sampling --bench constraint`.
//!
//! With `MEDLEY_VOCAB=FILE` over a real vocabulary: for each token its length as a little-endian
//! u32 and its bytes. Else over a made-up one of 262144 tokens.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops when wrong"
)]

use std::time::Instant;

use medley_sampling::{Constraint, Vocabulary};
use serde_json::json;

fn read(path: &str) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut words = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (word, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        words.push(word.to_vec());
        rest = after;
    }
    words
}

fn made_up() -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    let mut state = 1u64;
    while words.len() < 262_144 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let length = 2 + (state >> 60) as usize / 2;
        let mut word = if state >> 59 & 1 == 1 {
            b" ".to_vec()
        } else {
            vec![]
        };
        word.extend((0..length).map(|i| b'a' + ((state >> (5 * i)) % 26) as u8));
        words.push(word);
    }
    words
}

fn main() {
    let mut words = std::env::var("MEDLEY_VOCAB").map_or_else(|_| made_up(), |path| read(&path));
    words.push(b"<end>".to_vec());
    let end = words.len() - 1;
    let special: Vec<bool> = (0..words.len()).map(|id| id == end).collect();
    let bytes: Vec<u32> = (0..=255u8)
        .map(|byte| words.iter().position(|w| w == &[byte]).unwrap_or(0) as u32)
        .collect();
    println!("{} tokens", words.len());
    let start = Instant::now();
    let vocabulary = Vocabulary::new(words, &special, &[end as u32]).unwrap();
    println!("  vocabulary {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    vocabulary.prepare().unwrap();
    println!(
        "  prefix tree {:.0} ms",
        start.elapsed().as_secs_f64() * 1e3
    );

    let schema = json!({"type": "object", "required": ["title", "tags", "score"], "properties": {
        "title": {"type": "string", "maxLength": 60}, "tags": {"type": "array", "items": {"type": "string"}},
        "score": {"type": "number"}}});
    let gbnf = "root ::= object\nvalue ::= object | string | [0-9]+\nobject ::= \"{\" string \":\" value (\",\" string \":\" value)* \"}\"\n\
                string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" [\"\\\\nt])* \"\\\"\"";
    let text = br#"{"title":"A house by the sea","tags":["house","sea side"],"score":4.5}"#;
    let nested = br#"{"title":{"a":"A house by the sea","b":{"c":"sea side"}},"score":45}"#;
    let letter = b"Dear reader, this is a line of text.";
    type Make<'a> = &'a dyn Fn() -> Constraint;
    let cases: [(&str, Make, &[u8]); 3] = [
        (
            "JSON schema",
            &|| Constraint::json_schema(&vocabulary, &schema).unwrap(),
            text,
        ),
        (
            "GBNF",
            &|| Constraint::grammar(&vocabulary, gbnf).unwrap(),
            nested,
        ),
        (
            "regex",
            &|| Constraint::regex(&vocabulary, "[A-Z][a-z ,]{1,40}[.!]").unwrap(),
            &letter[..36],
        ),
    ];
    for (name, make, text) in cases {
        let start = Instant::now();
        let first = make();
        let compile = start.elapsed().as_secs_f64() * 1e3;
        for round in 0..2 {
            let mut constraint = if round == 0 { first.clone() } else { make() };
            let mut times = Vec::new();
            for &byte in text {
                let start = Instant::now();
                let mask = constraint.mask().unwrap();
                let id = bytes[byte as usize];
                assert!(mask.is_allowed(id), "{:?}", byte as char);
                constraint.accept(id).unwrap();
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            println!(
                "  {name:<12} compiled with first mask {compile:.1} ms; a step: median {:.3}, mean {mean:.3}, worst {:.3} ms",
                times[times.len() / 2],
                times[times.len() - 1]
            );
        }
    }
}
