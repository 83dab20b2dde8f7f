//! Several requests together give each the very text that it gets alone.

use std::collections::HashMap;
use std::sync::Arc;

use crate::common::{Kind, essence, model, prompt, request, requests};
use medley_pipelines::text::TextModel;
use medley_pipelines::text::batch::{Batch, BatchOptions, Happening, SlotId};
use medley_pipelines::{CancelToken, Run, TextGenerator};
use medley_types::{Event, FinishReason, Speculation, TextRequest, TextWork};
use serde_json::Value;

const KINDS: [Kind; 3] = [Kind::Plain, Kind::Window, Kind::Stretched];

fn batch(model: &Arc<TextModel>, slots: usize, prefix_bytes: usize) -> Batch {
    let options = BatchOptions {
        slots,
        prefix_bytes,
    };
    Batch::new(model.clone(), options)
}

fn alone(model: &TextModel, requests: &[TextRequest]) -> Vec<Value> {
    let run = |request| essence(&model.generate(request, &mut Run::quiet()).unwrap());
    requests.iter().map(run).collect()
}

/// What happened to each slot.
#[derive(Default)]
struct Log {
    works: HashMap<SlotId, TextWork>,
    chunks: HashMap<SlotId, String>,
    events: HashMap<SlotId, Vec<Event>>,
}

impl Log {
    fn step(&mut self, batch: &mut Batch) {
        for (slot, happening) in batch.step() {
            assert!(
                !self.works.contains_key(&slot),
                "{slot:?} went on after its end"
            );
            match happening {
                Happening::Event(event) => {
                    if let Event::Chunk { text } = &event {
                        self.chunks.entry(slot).or_default().push_str(text);
                    }
                    self.events.entry(slot).or_default().push(event);
                }
                Happening::Finished(work) => {
                    self.works.insert(slot, work);
                }
                Happening::Failed(error) => panic!("{slot:?}: {error}"),
            }
        }
    }

    fn drain(&mut self, batch: &mut Batch) {
        for _ in 0..2000 {
            if batch.is_idle() {
                return;
            }
            self.step(batch);
        }
        panic!("the batch does not come to its end");
    }

    fn essence(&self, slot: SlotId) -> Value {
        let work = &self.works[&slot];
        assert_eq!(
            self.chunks.get(&slot).map_or("", String::as_str),
            work.text,
            "the events are not the text"
        );
        essence(work)
    }
}

/// Runs the requests, one more joining every `apart` steps.
fn together(batch: &mut Batch, requests: &[TextRequest], apart: usize) -> Vec<Value> {
    let mut log = Log::default();
    let mut ids = Vec::new();
    for request in requests {
        ids.push(batch.add(request, CancelToken::default()).unwrap());
        (0..apart).for_each(|_| log.step(batch));
    }
    log.drain(batch);
    ids.iter().map(|&id| log.essence(id)).collect()
}

#[test]
fn joining_and_leaving_changes_no_text() {
    for kind in KINDS {
        let model = Arc::new(model(kind, "tiny"));
        let requests = requests();
        let expected = alone(&model, &requests);
        assert!(expected.iter().any(|e| e["reason"] == "stop"));
        assert!(expected.iter().any(|e| e["reason"] == "length"));
        for (slots, apart) in [(16, 0), (16, 3), (16, 11), (2, 0), (1, 1)] {
            let found = together(&mut batch(&model, slots, 64 << 20), &requests, apart);
            assert_eq!(
                found, expected,
                "{kind:?}, {slots} slots, {apart} steps apart"
            );
        }
    }
}

#[test]
fn threads_and_drafts_change_no_text_in_a_batch() {
    let model = Arc::new(model(Kind::Plain, "tiny"));
    let expected = alone(&model, &requests());
    let mut drafting = requests();
    for request in &mut drafting {
        request.speculation = Speculation::Lookup;
    }
    for threads in [1, 2] {
        medley_kernels::pool::set_threads(threads);
        for requests in [&requests(), &drafting] {
            let found = together(&mut batch(&model, 16, 64 << 20), requests, 2);
            assert_eq!(found, expected, "{threads} threads");
        }
    }
    medley_kernels::pool::set_threads(0);
}

#[test]
fn what_was_read_before_is_not_read_again_and_changes_no_text() {
    for kind in KINDS {
        let model = Arc::new(model(kind, "tiny"));
        let start = "the manual of the river boat says";
        let requests: Vec<TextRequest> = [
            (420, "why?"),
            (420, "how?"),
            (600, ""),
            (420, "why?"),
            (90, ""),
        ]
        .iter()
        .zip(1..)
        .map(|(&(length, end), seed)| request(&prompt(start, length, end), seed))
        .collect();
        let expected = alone(&model, &requests);
        let mut batch = batch(&model, 4, 64 << 20);
        for (request, expected) in requests.iter().zip(&expected) {
            let before = batch.prefix_tokens();
            let found = together(&mut batch, std::slice::from_ref(request), 0);
            assert_eq!(&found[0], expected, "{kind:?}");
            let taken = batch.prefix_tokens() - before;
            let prompt = expected["prompt"].as_u64().unwrap() as usize;
            match (request.seed, kind) {
                (1, _) => assert_eq!(taken, 0),
                // Only up to a border between chunks, below the length from which angles change.
                (_, Kind::Stretched) => assert_eq!(taken, if prompt > 256 { 256 } else { 0 }),
                (4, _) => assert_eq!(taken, prompt - 1),
                _ => assert!(taken >= 80 && taken < prompt, "{taken} of {prompt}"),
            }
        }
    }
}

#[test]
fn prompts_that_come_together_share_what_they_begin_with() {
    let model = Arc::new(model(Kind::Plain, "tiny"));
    let requests: Vec<TextRequest> = (1..=6)
        .map(|seed| {
            request(
                &prompt("the same words", 400, ["?", "!"][seed % 2]),
                seed as u64,
            )
        })
        .collect();
    let expected = alone(&model, &requests);
    let mut batch = batch(&model, 8, 0);
    assert_eq!(together(&mut batch, &requests, 0), expected);
    let shared = expected[0]["prompt"].as_u64().unwrap() as usize - 2;
    assert!(
        batch.prefix_tokens() >= 5 * shared,
        "{} tokens shared",
        batch.prefix_tokens()
    );
    assert_eq!(
        batch.prefix_bytes(),
        0,
        "nothing is kept where nothing may be"
    );
}

#[test]
fn cancelling_one_leaves_the_others_as_they_are() {
    let model = Arc::new(model(Kind::Plain, "tiny"));
    let mut requests = requests();
    requests[0].max_tokens = Some(400);
    let expected = alone(&model, &requests);
    for steps in [0, 1, 2, 5, 12] {
        let mut batch = batch(&model, 6, 64 << 20);
        let mut log = Log::default();
        let tokens: Vec<CancelToken> = requests.iter().map(|_| CancelToken::default()).collect();
        let ids: Vec<SlotId> = requests
            .iter()
            .zip(&tokens)
            .map(|(r, t)| batch.add(r, t.clone()).unwrap())
            .collect();
        (0..steps).for_each(|_| log.step(&mut batch));
        // One by its number, one by its token, one that still waits.
        batch.cancel(ids[0]);
        tokens[1].cancel();
        batch.cancel(ids[8]);
        log.drain(&mut batch);
        for (index, id) in ids.iter().enumerate() {
            let found = log.essence(*id);
            if [0, 1].contains(&index) {
                assert_eq!(log.works[id].finish_reason, FinishReason::Cancelled);
                assert_eq!(log.events[id].last(), Some(&Event::Cancelled));
                let whole = expected[index]["text"].as_str().unwrap();
                assert!(
                    whole.starts_with(found["text"].as_str().unwrap().trim_end_matches('\u{FFFD}'))
                );
            } else if index != 8 {
                assert_eq!(
                    found, expected[index],
                    "request {index} after {steps} steps"
                );
            }
        }
    }
}

#[test]
fn the_prefix_cache_keeps_within_its_limit() {
    let model = Arc::new(model(Kind::Plain, "tiny"));
    // One page of 64 positions: keys and values of 4 layers × 32 numbers in two bytes.
    let page = 64 * 4 * 2 * 32 * 2;
    let ask = |batch: &mut Batch, word: &str| {
        let before = batch.prefix_tokens();
        let request = TextRequest {
            max_tokens: Some(1),
            ..request(&prompt(word, 200, ""), 1)
        };
        together(batch, &[request], 0);
        batch.prefix_tokens() - before
    };
    let mut batch = batch(&model, 2, 8 * page);
    assert_eq!(ask(&mut batch, "first"), 0);
    assert_eq!(batch.prefix_bytes(), 4 * page, "200 tokens are four pages");
    assert!(ask(&mut batch, "second") < 10);
    assert_eq!(batch.prefix_bytes(), 8 * page);
    assert!(ask(&mut batch, "first") > 190, "both are there");
    assert!(ask(&mut batch, "third") < 10);
    assert_eq!(batch.prefix_bytes(), 8 * page);
    assert!(ask(&mut batch, "first") > 190, "it was used lately");
    assert!(ask(&mut batch, "second") < 10, "it was used longest ago");
}

#[test]
fn a_prompt_that_is_read_holds_nobody_up() {
    let model = Arc::new(model(Kind::Plain, "tiny"));
    let mut batch = batch(&model, 8, 0);
    let mut log = Log::default();
    let writing = batch
        .add(&request("the", 1), CancelToken::default())
        .unwrap();
    log.step(&mut batch);
    let long = batch
        .add(
            &request(&prompt("long long", 900, ""), 2),
            CancelToken::default(),
        )
        .unwrap();
    let short = batch.add(&request("a", 3), CancelToken::default()).unwrap();
    let chunks = |log: &Log, id| {
        let events = log.events.get(&id).map_or(&[][..], Vec::as_slice);
        let progress = |e: &&Event| matches!(e, Event::Progress { .. });
        (
            events.iter().filter(progress).count(),
            log.works.get(&id).map(|w| w.tokens),
        )
    };
    log.step(&mut batch);
    assert_eq!(chunks(&log, long).0, 1);
    log.step(&mut batch);
    assert_eq!(
        chunks(&log, short).0,
        1,
        "short prompts get their turn between the parts of a long one"
    );
    assert!(log.events[&writing].len() >= 2);
    log.drain(&mut batch);
    assert_eq!(chunks(&log, long).0, 4, "900 tokens are four parts");
}

#[test]
fn a_request_that_cannot_be_is_refused_at_once() {
    let model = Arc::new(model(Kind::Plain, "tiny"));
    let mut batch = batch(&model, 2, 0);
    assert!(batch.add(&request("", 1), CancelToken::default()).is_err());
    let long = prompt("too long", 2000, "");
    assert!(
        batch
            .add(&request(&long, 1), CancelToken::default())
            .is_err()
    );
    let draft = TextRequest {
        speculation: Speculation::Draft("none".into()),
        ..request("x", 1)
    };
    let error = batch.add(&draft, CancelToken::default()).unwrap_err();
    assert!(error.to_string().contains("draft model none"), "{error}");
    assert!(batch.is_idle());
}
