//! The real voice beside its own package on onnxruntime (golden/hibari). `MEDLEY_MODELS` names the folder that
//! `medley models pull` filled; `cargo xtask test` sets it. Without it these tests are skipped, and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, its helpers too"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use medley_formats::onnx::Graph;
use medley_models::hibari::{Hibari, HibariConfig};
use medley_nn::{Device, Weights};
use medley_pipelines::speech::hibari::{HibariVoice, Noise};
use medley_pipelines::speech::{SpeechGenerator, loudness};
use medley_pipelines::{PipelineError, Run};
use medley_testkit::{Case, Tolerance, assert_close};
use medley_types::{SpeechRequest, SpeechTimings};
use serde::Deserialize;

/// Texts and what the package reads them as.
#[derive(Deserialize)]
struct Phonemes {
    text: [String; 2],
    unknown: BTreeMap<String, String>,
    texts: BTreeMap<String, String>,
}

/// No noise, as in the case.
struct Silence;

impl Noise for Silence {
    fn fill(&self, _: usize, parts: &mut [[f32; 2]; 601]) {
        *parts = [[0.0; 2]; 601];
    }
}

fn folder() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("MEDLEY_MODELS") else {
        eprintln!("skipped: MEDLEY_MODELS names no folder with models");
        return None;
    };
    let folder = PathBuf::from(folder).join("hibari");
    assert!(folder.is_dir(), "{}: pull it first", folder.display());
    Some(folder)
}

fn request(text: &str) -> SpeechRequest {
    SpeechRequest {
        model: "hibari".into(),
        text: text.into(),
        ..SpeechRequest::default()
    }
}

#[test]
fn spectra_and_pitch_are_those_of_onnxruntime() {
    let Some(folder) = folder() else { return };
    let case = Case::open("hibari").unwrap();
    let state = Graph::open(&folder.join("hibari.onnx")).unwrap().state();
    let tensors = state.unwrap().into_iter().collect();
    let weights = Weights::from_tensors(tensors, &Device::Cpu);
    let config = HibariConfig::from_weights(&weights).unwrap();
    let network = Hibari::new(config, &weights).unwrap();
    assert!(weights.unused().is_empty(), "{:?}", weights.unused());
    let ids = case.ids("ids").unwrap();
    let speed = case.f32s("speed").unwrap()[0];
    let spectrum = network.forward(&ids, speed).unwrap();
    let pitch = case.f32s("pitch").unwrap();
    assert_eq!(spectrum.durations.iter().sum::<usize>(), pitch.len());
    // Activations are rounded to bytes; where one falls between two of them, the last bit of a norm decides.
    assert_close("pitch", &spectrum.pitch, pitch, Tolerance::absolute(0.5));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let width = 5 * spectrum.bins;
    let frames = case.ids("frames").unwrap();
    for (row, &frame) in case.f32s("parts").unwrap().chunks(width).zip(&frames) {
        ours.extend_from_slice(&spectrum.parts[frame as usize * width..][..width]);
        theirs.extend_from_slice(row);
    }
    let far = |(a, b): (&f32, &f32)| (a - b).abs();
    let mean = ours.iter().zip(&theirs).map(far).sum::<f32>() / ours.len() as f32;
    let most = ours.iter().zip(&theirs).map(far).fold(0.0, f32::max);
    eprintln!("spectrum: mean difference {mean:e}, largest {most:e}");
    assert!(mean < 1e-3 && most < 0.1, "mean {mean:e}, largest {most:e}");
}

#[test]
fn samples_are_forty_decibels_from_those_of_the_package() {
    let Some(folder) = folder() else { return };
    let case = Case::open("hibari").unwrap();
    let voice = HibariVoice::load(&folder, None).unwrap();
    let ids = case.ids("ids").unwrap();
    let speed = case.f32s("speed").unwrap()[0];
    let mut timings = SpeechTimings::default();
    let (samples, _) = voice.say(&ids, speed, &Silence, &mut timings).unwrap();
    let wave = case.f32s("wave").unwrap();
    assert_eq!(samples.len(), wave.len());
    let power = |x: &mut dyn Iterator<Item = f32>| x.map(|v| f64::from(v * v)).sum::<f64>();
    let error = power(&mut samples.iter().zip(wave).map(|(a, b)| a - b));
    let decibels = 10.0 * (error / power(&mut wave.iter().copied())).log10();
    eprintln!("difference {decibels:.1} dB");
    assert!(decibels < -40.0, "{decibels} dB");
}

#[test]
fn texts_are_read_as_the_package_reads_them() {
    let Some(folder) = folder() else { return };
    let case = Case::open("hibari").unwrap();
    let phonemes: Phonemes = case.json("phonemes.json").unwrap();
    let voice = HibariVoice::load(&folder, None).unwrap();
    let read = |text: &str| -> String {
        let said = voice.utterances(text);
        let said: Vec<String> = said.iter().map(|u| u.phonemes()).collect();
        said.join(" ")
    };
    let [text, expected] = &phonemes.text;
    assert_eq!(&read(text), expected);
    assert_eq!(voice.ids(expected), case.ids("ids").unwrap());
    for (word, expected) in &phonemes.unknown {
        if !word.contains('\'') {
            assert_eq!(&read(word), &expected.replace('ɾ', "T"), "{word}");
        }
    }
    let mut other = Vec::new();
    for (text, expected) in &phonemes.texts {
        let found = read(text);
        if &found != expected {
            other.push(format!("{text}\n  {found}\n  {expected}"));
        }
    }
    assert!(
        other.len() * 10 <= phonemes.texts.len(),
        "{} of {} differ:\n{}",
        other.len(),
        phonemes.texts.len(),
        other.join("\n")
    );
    eprintln!(
        "{} of {} differ\n{}",
        other.len(),
        phonemes.texts.len(),
        other.join("\n")
    );
}

#[test]
fn a_text_becomes_sound_with_times_of_its_words() {
    let Some(folder) = folder() else { return };
    let voice = HibariVoice::load(&folder, None).unwrap();
    let text = "Hello there. It costs $9.50, Ann!";
    let asked = voice.complete(&request(text)).unwrap();
    assert_eq!(asked.voice.as_deref(), Some("heart"));
    let speech = voice.generate(&asked, &mut Run::quiet()).unwrap();
    assert_eq!(speech.work.sentences, 2);
    let words: Vec<&str> = speech.work.words.iter().map(|w| w.word.as_str()).collect();
    assert_eq!(words.join(" "), text);
    let mut before = 0.0;
    for word in &speech.work.words {
        assert!(word.start >= before && word.end > word.start, "{word:?}");
        before = word.start;
    }
    assert!(before < speech.work.seconds && speech.work.seconds < 10.0);
    assert!((loudness(&speech.audio).unwrap() + 18.0).abs() < 1.0);
    let again = voice.generate(&asked, &mut Run::quiet()).unwrap();
    assert_eq!(again.audio, speech.audio);
    let fast = SpeechRequest {
        speed: Some(2.0),
        ..asked.clone()
    };
    let fast = voice.generate(&fast, &mut Run::quiet()).unwrap();
    assert!(fast.work.seconds < 0.7 * speech.work.seconds);
}

#[test]
fn what_cannot_be_said_is_refused_or_told() {
    let Some(folder) = folder() else { return };
    let Err(error) = HibariVoice::load(&folder, Some("nobody")) else {
        panic!("there is no such voice");
    };
    assert!(error.to_string().contains("there are: heart"), "{error}");
    let voice = HibariVoice::load(&folder, None).unwrap();
    let asked = voice.complete(&request("Hello 漢字.")).unwrap();
    let speech = voice.generate(&asked, &mut Run::quiet()).unwrap();
    assert_eq!(speech.work.skipped, "漢字");
    let asked = voice.complete(&request("漢字")).unwrap();
    assert!(matches!(
        voice.generate(&asked, &mut Run::quiet()),
        Err(PipelineError::InvalidRequest(_))
    ));
    let run = Run::quiet();
    run.cancel.cancel();
    let asked = voice.complete(&request("Hello.")).unwrap();
    let mut run = run;
    assert!(matches!(
        voice.generate(&asked, &mut run),
        Err(PipelineError::Cancelled)
    ));
    // One sentence of three hundred words is said in several breaths.
    let long = voice.complete(&request(&"word ".repeat(300))).unwrap();
    let speech = voice.generate(&long, &mut Run::quiet()).unwrap();
    assert_eq!(speech.work.words.len(), 300);
    assert!(speech.work.seconds > 50.0);
}
