//! Files that Pillow wrote, against the pixels that it reads and resizes (`golden/media`).

use medley_media::*;
use medley_testkit::{Case, golden};

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(golden("media/files").join(name)).unwrap()
}

/// Largest and mean difference from a stored array.
fn gap(case: &Case, name: &str, pixels: &[u8]) -> (u8, f64) {
    let want = case.i64s(name).unwrap();
    assert_eq!(pixels.len(), want.len(), "{name}");
    let far = pixels
        .iter()
        .zip(want)
        .map(|(&got, &want)| got.abs_diff(want as u8));
    let sum: f64 = far.clone().map(f64::from).sum();
    (far.max().unwrap_or(0), sum / want.len() as f64)
}

#[test]
fn stills_are_read_as_pillow_reads_them() {
    let case = Case::open("media").unwrap();
    // Decoders of lossy forms round differently and widen the halved colours by other filters.
    for (name, allowed) in [
        ("rgb.png", 0),
        ("rgba.png", 0),
        ("grey.png", 0),
        ("grey_alpha.png", 0),
        ("palette.png", 0),
        ("bits.png", 0),
        ("grey16.png", 1),
        ("plain.jpg", 3),
        ("grey.jpg", 2),
        ("turned.jpg", 3),
        ("progressive.jpg", 6),
        ("lossless.webp", 0),
        ("lossy.webp", 2),
        ("lossy_alpha.webp", 2),
        ("still.gif", 0),
    ] {
        let picture = decode(&bytes_of(name), &Limits::default()).unwrap();
        let shape = [
            picture.height() as usize,
            picture.width() as usize,
            picture.layout().channels(),
        ];
        assert_eq!(case.shape(name).unwrap(), shape, "{name}");
        let (most, mean) = gap(&case, name, picture.pixels());
        println!("{name}: {most}, mean {mean:.3}");
        assert!(most <= allowed, "{name}: {most}, mean {mean:.3}");
        assert_eq!(Label::of(&bytes_of(name)), Label::default());
    }
}

#[test]
fn animations_are_read_as_pillow_reads_them() {
    let case = Case::open("media").unwrap();
    for name in ["animated.gif", "animated.png", "animated.webp"] {
        let frames = decode_frames(&bytes_of(name), &Limits::default()).unwrap();
        let shape = case.shape(name).unwrap();
        assert_eq!(frames.len(), shape[0], "{name}");
        let pixels: Vec<u8> = frames
            .iter()
            .flat_map(|frame| {
                assert_eq!(frame.delay.as_millis(), 120, "{name}");
                if shape[3] == 4 {
                    frame.picture.to_rgba().pixels().to_vec()
                } else {
                    frame.picture.over([0; 3]).pixels().to_vec()
                }
            })
            .collect();
        let (most, mean) = gap(&case, name, &pixels);
        // The decoder's blending of WebP frames is a step off.
        let allowed = u8::from(name == "animated.webp");
        assert!(most <= allowed, "{name}: {most}, mean {mean:.3}");
    }
}

#[test]
fn resizing_agrees_with_pillow() {
    let case = Case::open("media").unwrap();
    let picture = decode(&bytes_of("rgb.png"), &Limits::default()).unwrap();
    for (word, filter) in [
        ("nearest", Filter::Nearest),
        ("bilinear", Filter::Bilinear),
        ("bicubic", Filter::Bicubic),
        ("lanczos", Filter::Lanczos),
    ] {
        for (width, height) in [(10, 7), (40, 32), (24, 4)] {
            let name = format!("resize.{word}.{width}x{height}");
            let resized = picture.resize(width, height, filter).unwrap();
            let (most, mean) = gap(&case, &name, resized.pixels());
            println!("{name}: {most}, mean {mean:.3}");
            let allowed = u8::from(filter != Filter::Nearest);
            assert!(
                most <= allowed && mean < 0.3,
                "{name}: {most}, mean {mean:.3}"
            );
        }
    }
}
