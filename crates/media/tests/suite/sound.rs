//! Sound files: what is written comes back, and so do recipe and mark.

use medley_media::audio::{Depth, SoundFormat, SoundLimits, SoundStream, decode, encode_wav};
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
fn rates_that_flac_cannot_have_are_refused_in_its_name() {
    let audio = |rate| Audio::new(rate, 1, vec![0.1; 4096]).unwrap();
    assert!(audio(96_000).encode(SoundFormat::Flac, GENERATED).is_ok());
    let error = audio(192_000).encode(SoundFormat::Flac, GENERATED);
    let said = error.unwrap_err().to_string();
    assert!(said.contains("at most 96000 in a FLAC file"), "{said}");
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

/// A voice-like sound: a tone that rises, with a second one above it.
fn voice(rate: u32, channels: u16, seconds: f64) -> Audio {
    let frames = (f64::from(rate) * seconds) as usize;
    let moment = |i: usize| {
        let t = i as f64 / f64::from(rate);
        let wave = |hertz: f64| (std::f64::consts::TAU * hertz * t).sin();
        (0.4 * wave(220.0 + 100.0 * t) + 0.15 * wave(1500.0)) as f32
    };
    let samples = (0..frames).flat_map(|i| vec![moment(i); usize::from(channels)]);
    Audio::new(rate, channels, samples.collect()).unwrap()
}

/// The difference of two sounds of one rate, in decibels below the first; the second may be late by up to `late` moments.
fn difference(a: &Audio, b: &Audio, late: usize) -> f64 {
    let step = usize::from(a.channels());
    let (a, b) = (a.samples(), b.samples());
    let at = |shift: usize| {
        let b = &b[(shift * step).min(b.len())..];
        let pairs = || a.iter().zip(b).skip(4000 * step);
        let noise: f64 = pairs().map(|(x, y)| f64::from(x - y).powi(2)).sum();
        let power: f64 = pairs().map(|(x, _)| f64::from(*x).powi(2)).sum();
        10.0 * (noise / power).log10()
    };
    (0..=late).map(at).fold(f64::INFINITY, f64::min)
}

#[test]
fn every_format_keeps_the_sound_the_recipe_and_the_mark() {
    for (format, rate, channels, at, least) in [
        (SoundFormat::Wav, 24_000, 1, 24_000, -80.0),
        (SoundFormat::Flac, 24_000, 1, 24_000, -80.0),
        (SoundFormat::Flac, 44_100, 2, 44_100, -80.0),
        (SoundFormat::Opus, 48_000, 2, 48_000, -20.0),
        (SoundFormat::Opus, 48_000, 1, 48_000, -20.0),
        (SoundFormat::Mp3, 24_000, 1, 24_000, -20.0),
        (SoundFormat::Mp3, 44_100, 2, 44_100, -20.0),
    ] {
        let sound = voice(rate, channels, 1.5);
        let bytes = sound.encode(format, GENERATED).unwrap();
        assert_eq!(
            bytes,
            sound.encode(format, GENERATED).unwrap(),
            "{format:?}"
        );
        assert_eq!(SoundFormat::of_bytes(&bytes), Some(format));
        let label = Label::of(&bytes);
        assert_eq!(
            label.recipe.as_deref(),
            Some("{\"speech\": \"hello\"}"),
            "{format:?}"
        );
        assert!(label.synthetic, "{format:?}");
        let unsaid = sound
            .encode(format, Origin::Generated { recipe: None })
            .unwrap();
        assert!(Label::of(&unsaid).recipe.is_none() && Label::of(&unsaid).synthetic);
        let plain = sound.encode(format, Origin::Collected).unwrap();
        assert_eq!(Label::of(&plain), Label::default(), "{format:?}");
        let back = decode(bytes, SoundLimits::default()).unwrap();
        assert_eq!((back.rate(), back.channels()), (at, channels), "{format:?}");
        let found = difference(&sound, &back, 2500);
        assert!(found < least, "{format:?} at {rate}: {found:.1} dB");
    }
}

#[test]
fn opus_is_as_long_as_it_was_and_begins_where_it_began() {
    for (rate, frames) in [
        (24_000, 24_000),
        (48_000, 1),
        (16_000, 12_345),
        (44_100, 44_100),
    ] {
        let sound = voice(rate, 1, f64::from(frames) / f64::from(rate));
        let bytes = sound.encode(SoundFormat::Opus, Origin::Collected).unwrap();
        let back = decode(bytes, SoundLimits::default()).unwrap();
        let expected = sound.frames() as f64 * 48_000.0 / f64::from(rate);
        assert!(
            (back.frames() as f64 - expected).abs() <= 3.0,
            "{rate}: {}",
            back.frames()
        );
    }
}

#[test]
fn odd_rates_channels_and_lengths_are_written_too() {
    for format in [SoundFormat::Flac, SoundFormat::Opus, SoundFormat::Mp3] {
        for (rate, channels, seconds) in [
            (11_025, 1, 0.3),
            (22_050, 2, 0.001),
            (96_000, 1, 0.2),
            (48_000, 3, 0.2),
        ] {
            let sound = voice(rate, channels, seconds);
            let bytes = sound.encode(format, GENERATED).unwrap();
            assert!(
                decode(bytes, SoundLimits::default()).is_ok(),
                "{format:?} {rate} {channels}"
            );
        }
        let nothing = Audio::new(24_000, 1, Vec::new()).unwrap();
        assert!(
            matches!(
                nothing.encode(format, GENERATED),
                Err(MediaError::Size { .. })
            ),
            "{format:?}"
        );
        let broken = Audio::new(24_000, 1, vec![f32::NAN]).unwrap();
        assert!(broken.encode(format, GENERATED).is_err());
    }
}

#[test]
fn a_file_that_is_sent_while_it_is_made_is_a_file() {
    let sound = voice(24_000, 1, 1.0);
    let parts: Vec<&[f32]> = sound.samples().chunks(7001).collect();
    for format in [
        SoundFormat::Wav,
        SoundFormat::Flac,
        SoundFormat::Opus,
        SoundFormat::Mp3,
    ] {
        let (mut stream, mut bytes) = SoundStream::begin(Some(format), 24_000, GENERATED).unwrap();
        for part in &parts {
            bytes.extend(stream.push(part).unwrap());
        }
        bytes.extend(stream.finish().unwrap());
        assert_eq!(SoundFormat::of_bytes(&bytes), Some(format));
        assert!(
            Label::of(&bytes).recipe.is_some() && Label::of(&bytes).synthetic,
            "{format:?}"
        );
        if format == SoundFormat::Mp3 {
            // Nothing is lost where pieces join: the bytes are those of one piece.
            assert!(bytes == sound.encode(format, GENERATED).unwrap());
        }
        let back = decode(bytes, SoundLimits::default()).unwrap();
        assert!(
            (back.seconds() - 1.0).abs() < 0.15,
            "{format:?}: {}",
            back.seconds()
        );
    }
    let (mut stream, first) = SoundStream::begin(None, 24_000, GENERATED).unwrap();
    assert!(first.is_empty());
    assert_eq!(
        stream.push(&[0.0, 1.0, -2.0]).unwrap(),
        [0, 0, 0xFF, 0x7F, 0x01, 0x80]
    );
}

#[test]
fn samples_at_no_rate_are_no_sound() {
    let mut bytes = encode_wav(&voice(24_000, 1, 0.1), Depth::Int16, Origin::Collected).unwrap();
    bytes[24..28].fill(0);
    assert!(matches!(
        decode(bytes, SoundLimits::default()),
        Err(MediaError::DamagedSound { .. })
    ));
}

#[test]
fn damaged_files_of_every_format_do_no_harm() {
    for format in [SoundFormat::Flac, SoundFormat::Opus, SoundFormat::Mp3] {
        let whole = voice(24_000, 1, 0.3).encode(format, GENERATED).unwrap();
        let mut state = 7u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                let at = next(bytes.len());
                bytes[at] = next(256) as u8;
            }
            bytes.truncate(1 + next(whole.len()));
            let _ = Label::of(&bytes);
            if let Ok(sound) = decode(bytes, SoundLimits::default()) {
                assert!(sound.seconds() < 60.0);
            }
        }
    }
}
