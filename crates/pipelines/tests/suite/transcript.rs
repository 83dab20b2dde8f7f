//! The way from sound to text, with a tiny model whose words mean nothing.

use crate::common::ear;
use medley_pipelines::transcript::{Listener, load};
use medley_pipelines::{CancelToken, PipelineError, Run};
use medley_types::{Event, TranscriptRequest, TranscriptTask};

fn listener() -> Box<dyn Listener> {
    let folder = tempfile::tempdir().unwrap();
    ear::write(folder.path());
    load(folder.path()).unwrap()
}

fn request() -> TranscriptRequest {
    TranscriptRequest {
        temperature: Some(0.0),
        words: true,
        ..TranscriptRequest::default()
    }
}

#[test]
fn a_sound_is_heard_to_its_end_in_order() {
    let listener = listener();
    let sound = ear::sound();
    let (mut chunks, mut steps) = (String::new(), 0);
    let mut run = Run::new(CancelToken::default(), |event| match event {
        Event::Chunk { text } => chunks.push_str(&text),
        Event::Progress { done, total, .. } => {
            assert!(done <= total);
            steps += 1;
        }
        _ => {}
    });
    let heard = listener.listen(&sound, &request(), &mut run).unwrap();
    drop(run);
    assert_eq!(heard.duration, 2.0);
    assert!(["en", "de"].contains(&heard.language.as_str()));
    assert!(steps > 8, "others get their turn at every step");
    assert_eq!(chunks.trim(), heard.text);
    assert!(!heard.segments.is_empty());
    let mut last = 0.0;
    for (i, segment) in heard.segments.iter().enumerate() {
        assert_eq!(segment.id, i);
        assert!(
            segment.start >= last - 1e-9 && segment.end > segment.start,
            "{segment:?}"
        );
        assert!(segment.end <= heard.duration);
        last = segment.start;
    }
    assert!(!heard.words.is_empty());
    assert!(
        heard
            .words
            .iter()
            .all(|w| w.end >= w.start && (0.0..=1.0).contains(&w.probability))
    );
    // The same again, and beside others: bits.
    let again = listener
        .listen(&sound, &request(), &mut Run::quiet())
        .unwrap();
    assert_eq!(again, heard);
}

#[test]
fn drawn_and_followed_texts_depend_on_the_seed_alone() {
    let listener = listener();
    let sound = ear::sound();
    let of = |change: TranscriptRequest| {
        listener
            .listen(&sound, &change, &mut Run::quiet())
            .unwrap()
            .segments
    };
    let drawn = |seed| {
        of(TranscriptRequest {
            temperature: Some(1.0),
            seed,
            ..request()
        })
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let one = of(TranscriptRequest {
        beam: Some(1),
        ..request()
    });
    assert_eq!(one, of(request()));
    let many = of(TranscriptRequest {
        beam: Some(4),
        ..request()
    });
    assert!(
        many[0].avg_logprob >= one[0].avg_logprob - 1e-9,
        "the likeliest of several is no less likely"
    );
}

#[test]
fn silence_gives_no_words() {
    let listener = listener();
    for sound in [vec![], vec![0.0; 50], vec![0.0; 40_000]] {
        let heard = listener
            .listen(&sound, &request(), &mut Run::quiet())
            .unwrap();
        assert_eq!((heard.text.as_str(), heard.segments.len()), ("", 0));
        assert_eq!(heard.duration, sound.len() as f64 / 16_000.0);
    }
}

#[test]
fn requests_are_completed_or_refused() {
    let listener = listener();
    let complete = |change: TranscriptRequest| listener.complete(&change);
    let named = complete(TranscriptRequest {
        language: Some("German".into()),
        ..request()
    })
    .unwrap();
    assert_eq!(named.language.as_deref(), Some("de"));
    assert_eq!(named.beam, Some(1));
    assert!(
        complete(TranscriptRequest {
            task: TranscriptTask::Translate,
            ..request()
        })
        .is_ok()
    );
    for wrong in [
        TranscriptRequest {
            language: Some("fr".into()),
            ..request()
        },
        TranscriptRequest {
            language: Some("klingon".into()),
            ..request()
        },
        TranscriptRequest {
            temperature: Some(1.5),
            ..request()
        },
        TranscriptRequest {
            temperature: Some(f64::NAN),
            ..request()
        },
        TranscriptRequest {
            beam: Some(0),
            ..request()
        },
        TranscriptRequest {
            prompt: Some("x".repeat(1 << 17)),
            ..request()
        },
    ] {
        assert!(matches!(
            complete(wrong),
            Err(PipelineError::InvalidRequest(_))
        ));
    }
}

#[test]
fn a_run_ends_when_it_is_told_to() {
    let listener = listener();
    let cancel = CancelToken::default();
    let told = cancel.clone();
    let mut steps = 0;
    let mut run = Run::new(cancel, |_| {
        steps += 1;
        if steps == 5 {
            told.cancel();
        }
    });
    let heard = listener.listen(&ear::sound(), &request(), &mut run);
    assert!(matches!(heard, Err(PipelineError::Cancelled)));
    drop(run);
    assert!(steps <= 6);
}

#[test]
fn folders_that_hold_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    ear::write(folder.path());
    std::fs::write(folder.path().join("vocabulary.json"), "[\"a\", \"b\"]").unwrap();
    assert!(matches!(
        load(folder.path()),
        Err(PipelineError::Tokenize(_))
    ));
    std::fs::remove_file(folder.path().join("vocabulary.json")).unwrap();
    assert!(load(folder.path()).is_err());
    std::fs::write(
        folder.path().join("config.json"),
        "{\"model_type\": \"bert\"}",
    )
    .unwrap();
    assert!(load(folder.path()).is_err());
}
