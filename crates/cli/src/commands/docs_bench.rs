//! `medley bench docs`: how long it takes to find passages among many.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use medley_engine::EngineError;
use medley_engine::database::Database;
use medley_engine::documents::{Documents, Encoder, Format, NewDocument, Readers, Search};
use serde_json::{Map, Value, json};

use crate::args::Global;
use crate::output::{Outcome, peak_rss, print_json, print_now};

/// Numbers of a vector, as MiniLM's.
const WIDTH: usize = 384;

/// Words that texts are made of; the first are the commonest, as in languages.
const WORDS: u64 = 30_000;

/// As many of the commonest words say nothing.
const SILENT: u64 = 120;

/// Words of a passage, and passages of a document.
const LENGTH: usize = 110;
const PASSAGES: u32 = 200;

/// Questions that are timed.
const QUESTIONS: usize = 200;

/// Numbers that look random, the same each time (SplitMix64).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A word: the n-th commonest is drawn about 1/n as often as the first (Zipf).
    fn word(&mut self) -> u64 {
        let word = (self.share() * (WORDS as f64).ln()).exp();
        (word as u64).min(WORDS - 1)
    }

    /// Words of a text; those of a question are not of the commonest, which say nothing and are left out of a search.
    fn text(&mut self, words: usize, question: bool) -> String {
        let mut text = String::new();
        let mut left = words;
        while left > 0 {
            let word = self.word();
            if !question || word >= SILENT {
                let _ = write!(text, "w{word:x}x ");
                left -= 1;
            }
        }
        text
    }
}

/// Vectors by the texts' letters, of no meaning: the scan takes the same time whatever they are.
struct MadeUp;

impl Encoder for MadeUp {
    fn name(&self) -> &str {
        "made-up"
    }

    fn encode(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EngineError> {
        let vector = |text: &String| {
            let mut draws = Draws(
                text.bytes()
                    .fold(7, |sum, b| sum * 31 % 1_000_003 + u64::from(b)),
            );
            let numbers: Vec<f32> = (0..WIDTH).map(|_| draws.share() as f32 - 0.5).collect();
            let length = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
            numbers.iter().map(|x| x / length).collect()
        };
        Ok(texts.iter().map(vector).collect())
    }
}

pub fn run(passages: u32, global: &Global) -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("medley.db");
    let documents = Documents::new(Arc::new(Database::open(&file)?), Readers::Here);
    let collection = documents.create("bench", MadeUp.name(), &Value::Null)?;
    let mut draws = Draws(1);
    let begun = Instant::now();
    for number in 0..passages.div_ceil(PASSAGES) {
        let mut text = String::new();
        for _ in 0..PASSAGES.min(passages - number * PASSAGES) {
            let _ = write!(
                text,
                "# {}\n\n{}\n\n",
                draws.text(4, false),
                draws.text(LENGTH, false)
            );
        }
        let document = NewDocument {
            id: None,
            source: format!("{number}"),
            name: format!("{number}.md"),
            format: Format::Markdown,
            bytes: text.as_bytes(),
            attributes: Map::new(),
        };
        documents.add(&collection, &document, &MadeUp)?;
    }
    let indexing = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let held = documents.warm(&collection)?;
    let loading = begun.elapsed().as_secs_f64();
    let mut times = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let question = draws.text(8, true);
        let vector = MadeUp.encode(std::slice::from_ref(&question))?.remove(0);
        let begun = Instant::now();
        documents.search_by(&collection, &question, &vector, &Search::default())?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let bytes: u64 = std::fs::read_dir(folder.path())?
        .flatten()
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum();
    let value = json!({
        "passages": held, "index_bytes": bytes, "index_s": indexing, "load_s": loading,
        "query_ms": { "median": at(0.5), "p95": at(0.95), "most": at(1.0) },
        "threads": medley_engine::threads(), "peak_rss_bytes": peak_rss(),
    });
    if global.json {
        return print_json(&value);
    }
    Ok(print_now(&format!(
        "{held} passages: indexed in {indexing:.1} s without encoding, {:.0} MiB on disk, into memory in {loading:.2} s\n\
         a query: {:.1} ms in the middle, {:.1} ms for 95 of 100, {:.1} ms at the most\n",
        bytes as f64 / f64::from(1 << 20),
        at(0.5),
        at(0.95),
        at(1.0)
    ))?)
}
