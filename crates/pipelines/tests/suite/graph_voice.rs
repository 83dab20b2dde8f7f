//! Voices whose graph is of no architecture that is known (golden/graph-voice).

use std::path::Path;

use medley_pipelines::PipelineError;
use medley_pipelines::speech::piper::{PiperVoice, Scales};
use medley_pipelines::speech::{SpeechGenerator, load};
use medley_tokenize::english::{Spoken, Utterance};
use medley_types::{SpeechRequest, SpeechTimings};

const SETTINGS: &str = r#"{"audio": {"sample_rate": 16000}, "espeak": {"voice": "de"},
    "phoneme_id_map": {"a": [1], "b": [2, 3], " ": [4]}}"#;

/// A graph of the folder with settings beside it.
fn voice(name: &str) -> Result<PiperVoice, PipelineError> {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/graph-voice");
    let file = folder.path().join("voice.onnx");
    std::fs::copy(golden.join(name).with_extension("onnx"), &file).unwrap();
    std::fs::write(folder.path().join("voice.onnx.json"), SETTINGS).unwrap();
    PiperVoice::load(&file, None, None)
}

/// What `golden/graph-voice/make.py` fills its tables with.
fn samples(ids: &[u32], by: f32) -> Vec<f32> {
    let row = |id: &u32| (id * 8..id * 8 + 8).map(move |i| i as f32 / 64.0 * by);
    ids.iter().flat_map(row).collect()
}

fn scales(length: f32) -> Scales {
    Scales {
        noise: 0.0,
        duration_noise: 0.0,
        length,
    }
}

#[test]
fn graphs_as_pipers_are_told_what_they_ask_for() {
    let voice = voice("piper-like").unwrap();
    let mut timings = SpeechTimings::default();
    for length in [1.0, 2.0] {
        let ids = [2, 5, 0];
        let (said, durations) = voice.say(&ids, scales(length), 0, &mut timings).unwrap();
        assert_eq!(said, samples(&ids, length));
        assert_eq!(durations, [1; 3]);
    }
    assert!(timings.model_s > 0.0);
    let fast = SpeechRequest {
        text: "a".into(),
        speed: Some(2.0),
        ..SpeechRequest::default()
    };
    assert_eq!(voice.complete(&fast).unwrap().speed, Some(2.0));
}

#[test]
fn graphs_of_numbers_alone_speak_at_their_own_speed() {
    let voice = voice("ids-only").unwrap();
    let (said, _) = voice
        .say(&[1, 4], scales(1.0), 0, &mut SpeechTimings::default())
        .unwrap();
    assert_eq!(said, samples(&[1, 4], 1.0));
    let fast = SpeechRequest {
        text: "a".into(),
        speed: Some(2.0),
        ..SpeechRequest::default()
    };
    let refused = voice.complete(&fast).unwrap_err().to_string();
    assert!(refused.contains("speed"), "{refused}");
    // A number that the table does not have.
    let error = voice
        .say(&[1000], scales(1.0), 0, &mut SpeechTimings::default())
        .unwrap_err();
    assert!(error.to_string().contains("graph"), "{error}");
}

#[test]
fn what_no_graph_of_a_voice_has_is_named() {
    let problem = |name: &str| match voice(name) {
        Ok(_) => panic!("{name} is no voice"),
        Err(error) => error.to_string(),
    };
    assert!(problem("style").contains("takes \"style\""));
    let spectrum = voice("spectrum").unwrap();
    let error = spectrum
        .say(&[1, 2], scales(1.0), 0, &mut SpeechTimings::default())
        .unwrap_err();
    assert!(error.to_string().contains("[2, 8]"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("voice.onnx");
    std::fs::write(folder.path().join("voice.onnx.json"), SETTINGS).unwrap();
    for bytes in [&b"no graph"[..], b"", &[0x0A; 1000]] {
        std::fs::write(&file, bytes).unwrap();
        let Err(error) = load(&file, None, None) else {
            panic!("it is no voice")
        };
        assert!(error.to_string().contains("voice.onnx"), "{error}");
    }
}

#[test]
fn symbols_without_a_number_are_told_and_marks_that_are_missing_are_left_out() {
    let voice = voice("ids-only").unwrap();
    let word = |phonemes: &str| Spoken {
        text: phonemes.into(),
        phonemes: phonemes.into(),
        space: true,
    };
    let numbers = voice.numbers(&Utterance {
        text: "ab xa".into(),
        words: vec![word("ab"), word("xa")],
        skipped: Vec::new(),
    });
    assert_eq!(numbers.ids, [1, 2, 3, 4, 1]);
    assert_eq!((numbers.before, numbers.counts), (0, vec![4, 1]));
    assert_eq!(numbers.unknown, ['x']);
}
