//! The real voice of Piper beside onnxruntime (golden/piper). `MEDLEY_MODELS` names the folder that
//! `medley models pull` filled; without the voice in it these tests are skipped, and say so.

use std::path::PathBuf;

use medley_pipelines::speech::piper::{PiperVoice, Scales, find};
use medley_pipelines::speech::{SpeechGenerator, load, loudness};
use medley_pipelines::{PipelineError, Run};
use medley_testkit::{Case, pulled};
use medley_types::{SpeechRequest, SpeechTimings};

fn folders() -> Option<[PathBuf; 2]> {
    Some([pulled("piper-joe", true)?, pulled("hibari", false)?])
}

fn voice() -> Option<PiperVoice> {
    let [folder, english] = folders()?;
    let file = find(&folder).unwrap().unwrap();
    Some(PiperVoice::load(&file, None, Some(&english)).unwrap())
}

fn request(text: &str) -> SpeechRequest {
    SpeechRequest {
        model: "piper-joe".into(),
        text: text.into(),
        ..SpeechRequest::default()
    }
}

#[test]
fn samples_are_those_of_onnxruntime() {
    let Some(voice) = voice() else { return };
    let case = Case::open("piper").unwrap();
    let ids = case.ids("ids").unwrap();
    let quiet = Scales {
        noise: 0.0,
        duration_noise: 0.0,
        length: 1.0,
    };
    let mut timings = SpeechTimings::default();
    let (samples, _) = voice.say(&ids, quiet, 0, &mut timings).unwrap();
    assert_eq!(samples.len(), case.ids("length").unwrap()[0] as usize);
    let wave = case.f32s("wave").unwrap();
    let ours: Vec<f32> = samples.into_iter().step_by(8).collect();
    let power = |x: &mut dyn Iterator<Item = f32>| x.map(|v| f64::from(v * v)).sum::<f64>();
    let error = power(&mut ours.iter().zip(wave).map(|(a, b)| a - b));
    let far = 10.0 * (error / power(&mut wave.iter().copied())).log10();
    eprintln!("difference {far:.1} dB");
    assert!(far < -40.0, "{far} dB");
}

#[test]
fn a_text_becomes_sound_with_times_of_its_words() {
    let Some(voice) = voice() else { return };
    let text = "Hello there. It costs $9.50, Ann!";
    let asked = voice.complete(&request(text)).unwrap();
    assert_eq!(asked.voice.as_deref(), Some("en_US-joe-medium"));
    let speech = voice.generate(&asked, &mut Run::quiet()).unwrap();
    assert_eq!(
        (speech.work.sentences, speech.work.sample_rate),
        (2, 22_050)
    );
    let words: Vec<&str> = speech.work.words.iter().map(|w| w.word.as_str()).collect();
    assert_eq!(words.join(" "), text);
    let mut before = 0.0;
    for word in &speech.work.words {
        assert!(word.start >= before && word.end > word.start, "{word:?}");
        before = word.start;
    }
    assert!(before < speech.work.seconds && speech.work.seconds < 10.0);
    assert!((loudness(&speech.audio).unwrap() + 18.0).abs() < 1.5);
    let again = voice.generate(&asked, &mut Run::quiet()).unwrap();
    assert_eq!(again.audio, speech.audio);
    let other = SpeechRequest { seed: 1, ..asked };
    let other = voice.generate(&other, &mut Run::quiet()).unwrap();
    assert_ne!(other.audio, speech.audio);
}

#[test]
fn what_is_missing_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let message = |path: &std::path::Path| match load(path, None, None) {
        Ok(_) => panic!("there is no voice"),
        Err(error) => error.to_string(),
    };
    assert!(message(empty.path()).contains("holds no voice"));
    let file = empty.path().join("voice.onnx");
    std::fs::write(&file, b"no graph").unwrap();
    assert!(message(&file).contains("voice.onnx.json"));
    let settings = empty.path().join("voice.onnx.json");
    std::fs::write(&settings, b"{}").unwrap();
    assert!(message(&file).contains("voice.onnx.json"));
    let text = r#"{"audio": {"sample_rate": 22050}, "espeak": {"voice": "LANGUAGE"}, "phoneme_id_map": {}}"#;
    std::fs::write(&settings, text.replace("LANGUAGE", "en-us")).unwrap();
    assert!(message(&file).contains("medley models pull hibari"));
    std::fs::write(&settings, text.replace("LANGUAGE", "de")).unwrap();
    assert!(message(&file).contains("voice.onnx"));
    std::fs::write(&settings, text.replace("22050", "1")).unwrap();
    assert!(message(&file).contains("samples a second"));
    std::fs::write(empty.path().join("other.onnx"), b"").unwrap();
    std::fs::write(empty.path().join("other.onnx.json"), b"").unwrap();
    assert!(message(empty.path()).contains("several voices"));
}

#[test]
fn unknown_speakers_and_cancelled_runs_end() {
    let Some([folder, english]) = folders() else {
        return;
    };
    let Err(error) = load(&folder, Some("nobody"), Some(&english)) else {
        panic!("there is no such voice");
    };
    assert!(
        error.to_string().contains("there are: en_US-joe-medium"),
        "{error}"
    );
    let voice = load(&folder, Some("0"), Some(&english)).unwrap();
    let asked = voice.complete(&request("Hello. There.")).unwrap();
    let mut run = Run::quiet();
    let cancel = run.cancel.clone();
    let mut heard = 0;
    let ended = voice.stream(&asked, &mut run, &mut SpeechTimings::default(), &mut |_| {
        heard += 1;
        cancel.cancel();
        Ok(())
    });
    assert!(matches!(ended, Err(PipelineError::Cancelled)));
    assert_eq!(heard, 1);
}
