//! Guesses change how fast a text comes, never the text.

use std::sync::Arc;

use crate::common::{Kind, essence, model, prompt, request, requests, tokenizer, with_tokenizer};
use medley_pipelines::text::TextModel;
use medley_pipelines::{PipelineError, Run, TextGenerator};
use medley_types::{Prompt, Speculation, TextRequest, TextTimings};

fn draft() -> Speculation {
    Speculation::Draft("draft".into())
}

/// A model, and its first layer as the draft model: right now and then.
fn pair(kind: Kind) -> TextModel {
    model(kind, "tiny")
        .with_draft(Arc::new(model(Kind::Shallow, "tiny")))
        .unwrap()
}

fn write(
    model: &TextModel,
    request: &TextRequest,
    how: &Speculation,
) -> (serde_json::Value, TextTimings) {
    let request = TextRequest {
        speculation: how.clone(),
        ..request.clone()
    };
    let work = model.generate(&request, &mut Run::quiet()).unwrap();
    (essence(&work), work.timings)
}

#[test]
fn every_text_is_the_one_without_guesses() {
    for kind in [Kind::Plain, Kind::Window, Kind::Stretched] {
        let model = pair(kind);
        let mut all = requests();
        for request in &mut all {
            request.max_tokens = request.max_tokens.map(|n| n * 4);
        }
        for how in [Speculation::Lookup, draft()] {
            let (mut drafted, mut accepted) = (0, 0);
            for request in &all {
                let (plain, timings) = write(&model, request, &Speculation::Off);
                assert_eq!((timings.drafted, timings.accepted), (0, 0));
                let (found, timings) = write(&model, request, &how);
                assert_eq!(found, plain, "{kind:?}, {how:?}, seed {}", request.seed);
                assert!(timings.accepted <= timings.drafted);
                drafted += timings.drafted;
                accepted += timings.accepted;
            }
            // Both outcomes were tried.
            assert!(
                accepted > 5 && accepted < drafted,
                "{kind:?}, {how:?}: {accepted} of {drafted}"
            );
        }
    }
}

#[test]
fn many_seeds_at_high_temperature_write_the_same() {
    let model = pair(Kind::Plain);
    let mut accepted = 0;
    for seed in 0..60 {
        let mut request = request("the river is the river is", seed);
        request.sampling.temperature = 1.2;
        request.sampling.top_k = 0;
        request.sampling.repeat_penalty = [1.0, 1.1][seed as usize % 2];
        let (plain, _) = write(&model, &request, &Speculation::Off);
        for how in [Speculation::Lookup, draft()] {
            let (found, timings) = write(&model, &request, &how);
            assert_eq!(found, plain, "{how:?}, seed {seed}");
            accepted += timings.accepted;
        }
    }
    assert!(accepted > 0);
}

#[test]
fn a_text_that_repeats_is_guessed() {
    let model = model(Kind::Plain, "tiny");
    let mut request = request("abcabcabcabcabcabc", 1);
    request.constraint = Some(medley_types::Constraint::Regex("(abc){40}".into()));
    request.max_tokens = Some(90);
    let (plain, _) = write(&model, &request, &Speculation::Off);
    let (found, timings) = write(&model, &request, &Speculation::Lookup);
    assert_eq!(found, plain);
    assert!(
        timings.accepted >= 70,
        "{} of 90 tokens were guessed",
        timings.accepted
    );
}

#[test]
fn a_talk_goes_on_from_what_was_read() {
    let model = pair(Kind::Plain);
    for how in [Speculation::Lookup, draft()] {
        let (mut plain, mut guessing) = (model.session(), model.session());
        let mut text = prompt("a talk about boats", 300, "\n");
        for seed in 0..3 {
            let request = TextRequest {
                prompt: Prompt::Raw(text.clone()),
                ..request("", seed)
            };
            let expected = model
                .generate_in(&mut plain, &request, &mut Run::quiet())
                .unwrap();
            let request = TextRequest {
                speculation: how.clone(),
                ..request
            };
            let found = model
                .generate_in(&mut guessing, &request, &mut Run::quiet())
                .unwrap();
            assert_eq!(essence(&found), essence(&expected), "{how:?}, turn {seed}");
            assert_eq!(guessing.ids(), plain.ids());
            text = text + "and the river is and the river is" + &seed.to_string();
        }
    }
}

#[test]
fn a_draft_model_must_have_the_same_vocabulary() {
    let words = ["▁the", "▁an", "▁of", "ing", "er", "▁river", "▁is", "▁and"];
    let other = with_tokenizer(Kind::Plain, "other", tokenizer(&words));
    let error = model(Kind::Plain, "tiny").with_draft(Arc::new(other));
    let error = error.err().unwrap();
    assert!(matches!(
        error,
        PipelineError::DraftVocabulary { id: 260, .. }
    ));
    let message = error.to_string();
    assert!(
        message.contains("other") && !message.contains('\n'),
        "{message}"
    );
    let shorter = with_tokenizer(Kind::Plain, "other", tokenizer(&words[..1]));
    let error = model(Kind::Plain, "tiny").with_draft(Arc::new(shorter));
    assert!(error.is_err());
}
