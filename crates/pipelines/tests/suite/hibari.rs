//! The real voice beside its own package on onnxruntime (golden/hibari). `MEDLEY_MODELS` names the folder that
//! `medley models pull` filled; `cargo xtask test` sets it. Without it these tests are skipped, and say so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use medley_formats::onnx::Graph;
use medley_models::hibari::{Hibari, HibariConfig, Spectrum};
use medley_nn::{Device, Weights};
use medley_pipelines::speech::hibari::{HibariVoice, Noise, Synthesizer};
use medley_pipelines::speech::{SpeechGenerator, loudness};
use medley_pipelines::{PipelineError, Run};
use medley_testkit::{Case, Tolerance, assert_close, pulled};
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
    pulled("hibari", false)
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
    let off = |(a, b): (&f32, &f32)| (a - b).abs();
    let farthest = spectrum
        .pitch
        .iter()
        .zip(pitch)
        .map(off)
        .fold(0.0, f32::max);
    eprintln!("pitch: largest difference {farthest} Hz");
    assert_close("pitch", &spectrum.pitch, pitch, Tolerance::absolute(1e-3));
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
    // Activations are rounded to bytes; where one falls between two of them, the last bit of a norm decides, and one
    // such byte moves a whole spectrum by about 0.03 (docs/decisions/0016).
    assert!(mean < 0.05 && most < 0.5, "mean {mean:e}, largest {most:e}");
}

#[test]
fn a_sentence_is_near_the_samples_of_the_package() {
    let Some(folder) = folder() else { return };
    let case = Case::open("hibari").unwrap();
    let voice = HibariVoice::load(&folder, None).unwrap();
    let ids = case.ids("ids").unwrap();
    let speed = case.f32s("speed").unwrap()[0];
    let mut timings = SpeechTimings::default();
    let (samples, _) = voice.say(&ids, speed, &Silence, &mut timings).unwrap();
    let wave = case.f32s("wave").unwrap();
    let far = decibels(&samples, wave);
    eprintln!("difference of the short sentence {far:.1} dB");
    assert!(far < -40.0, "{far} dB");
    let ids = case.ids("long_ids").unwrap();
    let (samples, _) = voice.say(&ids, 1.0, &Silence, &mut timings).unwrap();
    let samples: Vec<f32> = samples.into_iter().step_by(16).collect();
    let far = decibels(&samples, case.f32s("long_wave").unwrap());
    eprintln!("difference of the long sentence {far:.1} dB");
    // Without these instructions onnxruntime itself sums in another order than the one that is kept here.
    #[cfg(target_arch = "x86_64")]
    let same = is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    let same = false;
    assert!(far < if same { -40.0 } else { -25.0 }, "{far} dB");
}

/// The power of the difference beside that of the reference.
fn decibels(samples: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(samples.len(), reference.len());
    let power = |x: &mut dyn Iterator<Item = f32>| x.map(|v| f64::from(v * v)).sum::<f64>();
    let error = power(&mut samples.iter().zip(reference).map(|(a, b)| a - b));
    10.0 * (error / power(&mut reference.iter().copied())).log10()
}

#[test]
fn the_same_spectrum_gives_the_samples_of_the_package() {
    let case = Case::open("hibari").unwrap();
    let (pitch, frames) = (case.f32s("pitch").unwrap(), case.ids("frames").unwrap());
    let spectrum = Spectrum {
        bins: 601,
        parts: case.f32s("parts").unwrap().to_vec(),
        pitch: frames.iter().map(|&frame| pitch[frame as usize]).collect(),
        durations: vec![frames.len()],
    };
    let samples = Synthesizer::default()
        .synthesize(&spectrum, &Silence)
        .unwrap();
    let far = decibels(&samples, case.f32s("sampled_wave").unwrap());
    eprintln!("difference of the synthesis {far:.1} dB");
    assert!(far < -80.0, "{far} dB");
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
        assert_eq!(&read(word), expected, "{word}");
    }
    let mut other = Vec::new();
    for (text, expected) in &phonemes.texts {
        let found = read(text);
        if &found != expected {
            other.push(format!("{text}\n  {found}\n  {expected}"));
        }
    }
    assert!(
        other.is_empty(),
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
