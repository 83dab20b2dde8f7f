//! Spectrograms against transformers.

use medley_media::audio::{MEL_HOP, log_mel};
use medley_testkit::{Case, Tolerance, assert_close};

#[test]
fn spectrograms_are_those_of_transformers() {
    let case = Case::open("whisper/tiny").unwrap();
    let samples = case.f32s("samples").unwrap();
    for (bands, every) in [(80, 4), (128, 16)] {
        let mel = log_mel(samples, 32_000, bands).unwrap();
        assert_eq!(mel.len(), 32_000 / MEL_HOP * bands);
        let frames = mel.chunks_exact(bands).step_by(every);
        let seen: Vec<f32> = frames.flatten().copied().collect();
        let name = format!("features.{bands}");
        let expected = case.f32s(&name).unwrap();
        assert_close(&name, &seen, expected, Tolerance::absolute(1e-3));
    }
}

#[test]
fn silence_is_flat_and_sizes_are_checked() {
    let mel = log_mel(&[], 32_000, 80).unwrap();
    assert!(mel.iter().all(|x| (x - mel[0]).abs() < 1e-6));
    assert!(log_mel(&[0.0; 1000], 999, 80).is_err());
    assert!(log_mel(&[0.0; 1000], 16_000, 0).is_err());
}
