//! WAV files: what is written comes back, and so do recipe and mark.

#![allow(clippy::unwrap_used, reason = "a test stops when something is wrong")]

use medley_media::audio::{Depth, SoundLimits, decode, encode_wav};
use medley_media::{Audio, Label, MediaError, Origin};

const GENERATED: Origin<'static> = Origin::Generated {
    recipe: Some("{\"speech\": \"hello\"}"),
};

fn tone(channels: u16, frames: usize) -> Audio {
    let samples = (0..frames * usize::from(channels))
        .map(|i| (i as f32 * 0.13).sin() * 0.7)
        .collect();
    Audio::new(24_000, channels, samples).unwrap()
}

#[test]
fn sounds_come_back() {
    for channels in [1, 2] {
        // An odd number of moments, so that chunks have to be padded where they are odd.
        let sound = tone(channels, 1001);
        let bytes = encode_wav(&sound, Depth::Float32, GENERATED).unwrap();
        assert_eq!(decode(bytes, SoundLimits::default()).unwrap(), sound);
        let bytes = encode_wav(&sound, Depth::Int16, GENERATED).unwrap();
        let back = decode(bytes, SoundLimits::default()).unwrap();
        assert_eq!(
            (back.rate(), back.channels(), back.frames()),
            (24_000, channels, 1001)
        );
        for (a, b) in back.samples().iter().zip(sound.samples()) {
            assert!((a - b).abs() < 1.0 / 16_000.0, "{a} for {b}");
        }
    }
}

#[test]
fn label_is_read_back() {
    let sound = tone(1, 100);
    let bytes = encode_wav(&sound, Depth::Int16, GENERATED).unwrap();
    let label = Label::of(&bytes);
    assert_eq!(label.recipe.as_deref(), Some("{\"speech\": \"hello\"}"));
    assert!(label.synthetic);
    let bytes = encode_wav(&sound, Depth::Int16, Origin::Generated { recipe: None }).unwrap();
    let label = Label::of(&bytes);
    assert!(label.recipe.is_none() && label.synthetic);
    let bytes = encode_wav(&sound, Depth::Int16, Origin::Collected).unwrap();
    assert_eq!(Label::of(&bytes), Label::default());
    let size = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    assert_eq!(size + 8, bytes.len());
}

#[test]
fn too_loud_is_clipped_and_nonsense_refused() {
    let sound = Audio::new(8000, 1, vec![4.0, -4.0]).unwrap();
    let bytes = encode_wav(&sound, Depth::Int16, Origin::Collected).unwrap();
    let back = decode(bytes, SoundLimits::default()).unwrap();
    assert!(back.samples()[0] > 0.999 && back.samples()[1] < -0.999);
    let broken = Audio::new(8000, 1, vec![0.0, f32::NAN]).unwrap();
    assert!(matches!(
        encode_wav(&broken, Depth::Int16, Origin::Collected),
        Err(MediaError::SampleNotFinite { index: 1, .. })
    ));
    assert!(Audio::new(0, 1, vec![]).is_err());
    assert!(Audio::new(8000, 2, vec![0.0]).is_err());
}

#[test]
fn damaged_files_are_refused_or_read_as_far_as_they_go() {
    let whole = encode_wav(&tone(1, 500), Depth::Int16, GENERATED).unwrap();
    for length in 0..whole.len().min(200) {
        if let Ok(sound) = decode(whole[..length].to_vec(), SoundLimits::default()) {
            assert!(sound.frames() <= 500);
        }
        let _ = Label::of(&whole[..length]);
    }
    for at in 0..120 {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let _ = decode(bytes, SoundLimits::default());
        }
    }
    assert!(matches!(
        decode(
            b"no sound at all, just a line".to_vec(),
            SoundLimits::default()
        ),
        Err(MediaError::UnknownSound)
    ));
    let limits = SoundLimits {
        samples: 100,
        ..SoundLimits::default()
    };
    assert!(matches!(
        decode(whole, limits),
        Err(MediaError::Size { .. })
    ));
}

#[test]
fn mono_is_the_mean_of_the_channels() {
    let sound = Audio::new(8000, 2, vec![0.5, 0.25, -1.0, 1.0]).unwrap();
    assert_eq!(sound.to_mono().samples(), [0.375, 0.0]);
    assert_eq!(sound.seconds(), 2.0 / 8000.0);
}
