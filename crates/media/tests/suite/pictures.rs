//! Round trips, labels, and files that mean harm.

use std::path::Path;
use std::time::Duration;

use medley_media::*;

const RECIPE: &str = "{\"prompt\": \"an <apple> & \\\"peär\\\" 🍎\", \"seed\": 42}";
const GENERATED: Origin<'static> = Origin::Generated {
    recipe: Some(RECIPE),
};

/// A smooth picture with a corner of its own colour.
fn sample(width: u32, height: u32, layout: Layout) -> Picture {
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let corner = x < 4 && y < 4;
            let (r, g) = (x * 255 / width, y * 255 / height);
            let colour = if corner {
                [255, 0, 0]
            } else {
                [r as u8, g as u8, 90]
            };
            pixels.extend_from_slice(&colour);
            if layout == Layout::Rgba {
                pixels.push(if x + y < 10 { 0 } else { 255 });
            }
        }
    }
    Picture::new(width, height, layout, pixels).unwrap()
}

fn encoded(format: Format, layout: Layout) -> Vec<u8> {
    encode(&sample(37, 23, layout), format, GENERATED).unwrap()
}

fn mean_difference(a: &Picture, b: &Picture) -> f64 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let (a, b) = (a.over([255; 3]), b.over([255; 3]));
    let sum: f64 = a
        .pixels()
        .iter()
        .zip(b.pixels())
        .map(|(&x, &y)| f64::from(x.abs_diff(y)))
        .sum();
    sum / a.pixels().len() as f64
}

#[test]
fn pictures_come_back() {
    for layout in [Layout::Rgb, Layout::Rgba] {
        let picture = sample(37, 23, layout);
        for format in Format::ALL {
            let bytes = encoded(format, layout);
            assert_eq!(Format::of_bytes(&bytes), Some(format));
            let back = decode(&bytes, &Limits::default()).unwrap();
            if matches!(format, Format::Png | Format::WebP) {
                assert_eq!(back, picture, "{format}");
            } else {
                let gap = mean_difference(&back, &picture);
                assert!(gap < 4.0, "{format} {layout:?}: {gap}");
            }
        }
    }
}

#[test]
fn lossy_pictures_are_smaller_and_near() {
    for (format, layout) in [
        (Format::WebP, Layout::Rgb),
        (Format::WebP, Layout::Rgba),
        (Format::Jpeg, Layout::Rgb),
    ] {
        let picture = sample(137, 93, layout);
        let lossy = |quality| encode_lossy(&picture, format, quality, GENERATED).unwrap();
        let (good, poor) = (lossy(95), lossy(5));
        assert!(
            poor.len() < good.len(),
            "{format}: {} {}",
            poor.len(),
            good.len()
        );
        assert_eq!(good, lossy(95), "the same bytes each time");
        let read = |bytes: &[u8]| decode(bytes, &Limits::default()).unwrap();
        let (near, far) = (read(&good), read(&poor));
        assert_eq!(near.layout(), layout, "{format}: transparency is kept");
        let gaps = (
            mean_difference(&near, &picture),
            mean_difference(&far, &picture),
        );
        assert!(
            gaps.0 < 3.0 && gaps.0 < gaps.1 && gaps.1 < 16.0,
            "{format} {layout:?}: {gaps:?}"
        );
        let label = Label::of(&good);
        assert_eq!(
            (label.recipe.as_deref(), label.synthetic),
            (Some(RECIPE), true)
        );
        let plain = encode_lossy(&picture, format, 95, Origin::Collected).unwrap();
        assert_eq!(Label::of(&plain), Label::default());
        assert_eq!(read(&plain), near, "the label changes no pixel");
    }
    let picture = sample(20, 20, Layout::Rgb);
    let refused = |format, quality| {
        let error = encode_lossy(&picture, format, quality, GENERATED);
        error.unwrap_err().to_string()
    };
    assert!(refused(Format::WebP, 0).contains("must be 1 to 100"));
    assert!(refused(Format::Jpeg, 101).contains("must be 1 to 100"));
    assert!(refused(Format::Png, 80).contains("no quality to choose"));
    let wide = Picture::filled(16_384, 1, [0; 3]).unwrap();
    let error = encode_lossy(&wide, Format::WebP, 80, GENERATED).unwrap_err();
    assert!(error.to_string().contains("more than 16383"), "{error}");
}

#[test]
fn the_same_picture_gives_the_same_bytes() {
    for format in Format::ALL {
        assert_eq!(
            encoded(format, Layout::Rgba),
            encoded(format, Layout::Rgba),
            "{format}"
        );
    }
}

#[test]
fn labels_come_back() {
    let long = format!("{{\"prompt\": \"{}\"}}", "langer Wunsch ".repeat(20_000));
    for format in Format::ALL {
        let picture = sample(20, 20, Layout::Rgb);
        for recipe in [RECIPE, &long] {
            let origin = Origin::Generated {
                recipe: Some(recipe),
            };
            let label = Label::of(&encode(&picture, format, origin).unwrap());
            assert_eq!(label.recipe.as_deref(), Some(recipe), "{format}");
            assert!(label.synthetic, "{format}");
        }
        let bytes = encode(&picture, format, Origin::Generated { recipe: None }).unwrap();
        let label = Label::of(&bytes);
        assert_eq!(label.recipe, None);
        assert!(label.synthetic, "the mark stays without the recipe");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("digitalsourcetype/trainedAlgorithmicMedia"));
        let plain = encode(&picture, format, Origin::Collected).unwrap();
        assert_eq!(Label::of(&plain), Label::default());
        let too_long = " ".repeat(label::MAX_RECIPE + 1);
        let origin = Origin::Generated {
            recipe: Some(&too_long),
        };
        let error = encode(&picture, format, origin).unwrap_err().to_string();
        assert!(error.contains("the recipe has 1048577 bytes"), "{error}");
    }
}

fn frames() -> Vec<Frame> {
    (0..5u8)
        .map(|i| Frame {
            picture: Picture::filled(16, 12, [i * 50, 10, 200]).unwrap(),
            delay: Duration::from_millis(80),
        })
        .collect()
}

#[test]
fn animations_come_back() {
    for format in [Format::Gif, Format::Png] {
        let bytes = encode_animation(&frames(), format, GENERATED).unwrap();
        assert_eq!(
            bytes,
            encode_animation(&frames(), format, GENERATED).unwrap()
        );
        let back = decode_frames(&bytes, &Limits::default()).unwrap();
        assert_eq!(back.len(), 5, "{format}");
        for (shown, made) in back.iter().zip(frames()) {
            assert_eq!(shown.delay, made.delay);
            assert_eq!(shown.picture, made.picture.to_rgba(), "{format}");
        }
        assert_eq!(Label::of(&bytes).recipe.as_deref(), Some(RECIPE));
        assert!(Label::of(&bytes).synthetic);
        let first = decode(&bytes, &Limits::default()).unwrap();
        assert_eq!(first.to_rgba(), frames()[0].picture.to_rgba());
        let few = Limits {
            frames: 4,
            ..Limits::default()
        };
        let error = decode_frames(&bytes, &few).unwrap_err().to_string();
        assert_eq!(
            error,
            "the picture has more than 4 frames, but at most 4 frames are read"
        );
    }
    let error = encode_animation(&frames(), Format::Jpeg, GENERATED).unwrap_err();
    assert!(error.to_string().contains("animations are written as GIF"));
    assert!(encode_animation(&[], Format::Gif, GENERATED).is_err());
    let mut unequal = frames();
    unequal[3].picture = Picture::filled(16, 13, [0; 3]).unwrap();
    let error = encode_animation(&unequal, Format::Png, GENERATED).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the size of a frame is 16x13, but it must be 16x12 as the first one"
    );
}

#[test]
fn cut_off_files_are_told() {
    for format in Format::ALL {
        let bytes = encoded(format, Layout::Rgb);
        let whole = decode(&bytes, &Limits::default()).unwrap();
        for length in 0..bytes.len() {
            let part = &bytes[..length];
            let _ = Label::of(part);
            let _ = decode_frames(part, &Limits::default());
            // The last bytes may be missed without harm, but never a part of the picture.
            if let Ok(picture) = decode(part, &Limits::default()) {
                assert_eq!(picture, whole, "{format} at {length} of {}", bytes.len());
            }
        }
        let error = decode(&bytes[..bytes.len() / 2 + 300], &Limits::default());
        if let Err(error) = error {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut state = 1u32;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(state) * below as u64) >> 32) as usize
    };
    let limits = Limits {
        pixels: 1 << 20,
        ..Limits::default()
    };
    let animation = encode_animation(&frames(), Format::Gif, GENERATED).unwrap();
    let apng = encode_animation(&frames(), Format::Png, GENERATED).unwrap();
    let stills = Format::ALL.map(|format| encoded(format, Layout::Rgba));
    for bytes in stills.into_iter().chain([animation, apng]) {
        for _ in 0..1500 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random(4) {
                let at = random(damaged.len());
                damaged[at] = random(256) as u8;
            }
            let _ = decode(&damaged, &limits);
            let _ = decode_frames(&damaged, &limits);
            let _ = Label::of(&damaged);
        }
    }
}

/// Files of a few bytes that claim to be giants.
#[test]
fn giants_are_refused_before_they_are_made() {
    let told = |bytes: &[u8]| decode(bytes, &Limits::default()).unwrap_err().to_string();
    let mut png = encoded(Format::Png, Layout::Rgb);
    // Width and height, and a checksum that fits them.
    let resize_png = |png: &mut Vec<u8>, side: u32| {
        png[16..20].copy_from_slice(&side.to_be_bytes());
        png[20..24].copy_from_slice(&side.to_be_bytes());
        let step = |crc: u32, _| {
            if crc & 1 == 1 {
                0xEDB8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            }
        };
        let crc = png[12..29]
            .iter()
            .fold(u32::MAX, |crc, &b| (0..8).fold(crc ^ u32::from(b), step));
        png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    };
    resize_png(&mut png, 60_000);
    let expected = "the picture has 60000x60000 pixels, but at most 64000000 pixels are read";
    assert_eq!(told(&png), expected);
    resize_png(&mut png, 7_000);
    assert!(told(&png).contains("bytes cannot hold 7000x7000 pixels"));
    resize_png(&mut png, 0);
    assert!(told(&png).starts_with("the PNG picture is damaged"));

    let mut gif = encoded(Format::Gif, Layout::Rgb);
    gif[6..10].copy_from_slice(&[0xFF; 4]);
    assert!(told(&gif).contains("65535x65535 pixels"));
    assert!(decode_frames(&gif, &Limits::default()).is_err());

    let mut jpeg = encoded(Format::Jpeg, Layout::Rgb);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xFF, 0xC0])
        .unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
    assert!(told(&jpeg).contains("65500x65500 pixels"));
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x1F, 0, 0x1F, 0]);
    assert!(told(&jpeg).contains("bytes cannot hold 7936x7936 pixels"));

    let mut webp = encoded(Format::WebP, Layout::Rgb);
    let extended = 12 + 8 + 4;
    webp[extended..extended + 6].copy_from_slice(&[0xFF; 6]);
    assert!(decode(&webp, &Limits::default()).is_err());
}

#[test]
fn other_files_are_told() {
    for bytes in [&b""[..], b"hello", b"RIFF....WAVE", &[0xFF, 0xD8]] {
        let error = decode(bytes, &Limits::default()).unwrap_err().to_string();
        assert_eq!(error, "this is no PNG, JPEG, WebP or GIF picture");
        assert_eq!(Label::of(bytes), Label::default());
    }
    let error = Format::from_path(Path::new("folder/picture.tiff")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"picture.tiff\" ends in no picture format; use .png, .jpg, .webp or .gif"
    );
    assert_eq!(
        Format::from_path(Path::new("A.JPEG")).unwrap(),
        Format::Jpeg
    );
}

#[test]
fn files_are_written_whole_and_read_within_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let picture = sample(12, 9, Layout::Rgb);
    let bytes = encode(&picture, Format::Png, GENERATED).unwrap();
    write_file(&path, b"old").unwrap();
    write_file(&path, &bytes).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(read(&path, &Limits::default()).unwrap(), picture);
    let small = Limits {
        file_bytes: 100,
        ..Limits::default()
    };
    let error = read(&path, &small).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "a.png: the picture has more than 100 bytes, but at most 100 bytes are read"
        )
    );
    let nowhere = folder.path().join("none/b.png");
    let error = write_file(&nowhere, &bytes).unwrap_err().to_string();
    assert!(error.contains("b.png: cannot create"), "{error}");
    assert!(read(&nowhere, &Limits::default()).is_err());
}

#[test]
fn resizing_keeps_what_it_must() {
    let flat = Picture::filled(31, 17, [12, 200, 77]).unwrap();
    for filter in [
        Filter::Nearest,
        Filter::Bilinear,
        Filter::Bicubic,
        Filter::Lanczos,
    ] {
        for (w, h) in [(1, 1), (7, 40), (64, 3), (62, 34)] {
            let resized = flat.resize(w, h, filter).unwrap();
            assert_eq!(resized, Picture::filled(w, h, [12, 200, 77]).unwrap());
        }
    }
    // Halving with a triangle: weights 1, 3, 3, 1 over four pixels.
    let row = Picture::new(
        4,
        1,
        Layout::Rgb,
        [0, 80, 160, 240].map(|v| [v; 3]).concat(),
    );
    let half = row.unwrap().resize(2, 1, Filter::Bilinear).unwrap();
    assert_eq!(half.pixels()[0], 57, "(3·0 + 3·80 + 160)/7");
    // What cannot be seen does not colour what can.
    let pixels = [[255, 0, 0, 0], [0, 0, 255, 255]].concat();
    let seen = Picture::new(2, 1, Layout::Rgba, pixels).unwrap();
    let one = seen.resize(1, 1, Filter::Bilinear).unwrap();
    assert_eq!(one.pixels(), [0, 0, 255, 128]);
    assert!(flat.resize(0, 5, Filter::Lanczos).is_err());
}

#[test]
fn cropping_and_fitting() {
    let picture = sample(40, 20, Layout::Rgb);
    assert_eq!(
        picture.crop(0, 0, 4, 4).unwrap(),
        Picture::filled(4, 4, [255, 0, 0]).unwrap()
    );
    assert_eq!(
        picture.crop_to_ratio(1, 1).unwrap(),
        picture.crop(10, 0, 20, 20).unwrap()
    );
    let error = picture.crop(30, 0, 11, 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "the part is 11x1 at 30,0, but it must be within 40x20"
    );
    assert!(picture.crop(u32::MAX, 0, 2, 1).is_err());
    let cover = picture.cover(8, 8, Filter::Lanczos).unwrap();
    assert_eq!((cover.width(), cover.height()), (8, 8));
    let fit = picture.fit(20, 20, [1, 2, 3], Filter::Lanczos).unwrap();
    assert_eq!(
        fit.crop(0, 0, 20, 5).unwrap(),
        Picture::filled(20, 5, [1, 2, 3]).unwrap()
    );
    assert_eq!(fit.crop(0, 5, 1, 1).unwrap().pixels()[0], 255);
}

#[test]
fn sheets_place_pictures_in_rows() {
    let pictures: Vec<Picture> = (0..5u8)
        .map(|i| Picture::filled(4, 3, [i, i, i]).unwrap())
        .collect();
    let sheet = grid(&pictures, 3, 2, [255; 3]).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (16, 8));
    assert_eq!(sheet.crop(6, 5, 4, 3).unwrap(), pictures[4]);
    assert_eq!(sheet.crop(12, 5, 4, 3).unwrap().pixels()[0], 255);
    let contact = contact_sheet(&pictures, 2, 10).unwrap();
    assert_eq!((contact.width(), contact.height()), (24, 38));
    assert!(grid(&[], 3, 2, [0; 3]).is_err());
    assert!(grid(&pictures, 0, 2, [0; 3]).is_err());
    assert!(grid(&pictures, 1, u32::MAX, [0; 3]).is_err());
}

#[test]
fn planes_are_what_models_give_and_take() {
    let picture = sample(7, 5, Layout::Rgb);
    let planes = picture.to_planes();
    assert_eq!(planes.len(), 3 * 7 * 5);
    assert_eq!((planes[0], planes[35], planes[70]), (1.0, -1.0, -1.0));
    assert_eq!(Picture::from_planes(&planes, 7, 5).unwrap(), picture);
    let wild = Picture::from_planes(&[9.0, -9.0, 0.0], 1, 1).unwrap();
    assert_eq!(wild.pixels(), [255, 0, 128]);
    let error = Picture::from_planes(&[0.0, f32::NAN, 0.0], 1, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "value 1 of the picture is NaN: it must be finite"
    );
    assert!(Picture::from_planes(&[0.0; 4], 1, 1).is_err());
}

/// An animated WebP of frames at even offsets, each taken away before the next.
fn disposing_webp(side: u32, frames: &[(u32, u32, &Picture)]) -> Vec<u8> {
    let three = |value: u32| value.to_le_bytes()[..3].to_vec();
    let chunk =
        |name: &[u8], body: &[u8]| [name, &(body.len() as u32).to_le_bytes(), body].concat();
    let (animated, with_opacity, take_away) = (0x02, 0x10, 0x01);
    let head = [
        vec![animated | with_opacity, 0, 0, 0],
        three(side - 1),
        three(side - 1),
    ]
    .concat();
    let mut body = [
        b"WEBP".to_vec(),
        chunk(b"VP8X", &head),
        chunk(b"ANIM", &[0; 6]),
    ]
    .concat();
    for &(x, y, picture) in frames {
        let coded = encode(picture, Format::WebP, Origin::Collected).unwrap();
        let start = coded.windows(4).position(|w| w == b"VP8L").unwrap();
        let length = u32::from_le_bytes(coded[start + 4..start + 8].try_into().unwrap());
        let coded = &coded[start..start + 8 + length.next_multiple_of(2) as usize];
        let (w, h) = (picture.width() - 1, picture.height() - 1);
        let place = [x / 2, y / 2, w, h, 100].map(three).concat();
        body.extend(chunk(b"ANMF", &[&place, &[take_away][..], coded].concat()));
    }
    chunk(b"RIFF", &body)
}

#[test]
fn frames_of_webp_that_are_taken_away_leave_nothing() {
    let red = Picture::filled(8, 6, [255, 0, 0]).unwrap().to_rgba();
    let blue = Picture::filled(4, 4, [0, 0, 255]).unwrap().to_rgba();
    let bytes = disposing_webp(16, &[(0, 0, &red), (6, 4, &blue), (10, 10, &blue)]);
    let frames = decode_frames(&bytes, &Limits::default()).unwrap();
    let shown = |i: usize, x: u32, y: u32| {
        let frame = frames[i].picture.crop(x, y, 1, 1).unwrap();
        // The reader's blending may be one off.
        let level = |v: &u8| if *v > 253 { 255 } else { *v };
        frame.pixels().iter().map(level).collect::<Vec<u8>>()
    };
    assert_eq!(shown(0, 2, 2), [255, 0, 0, 255]);
    assert_eq!(shown(1, 2, 2)[3], 0);
    assert_eq!(shown(1, 8, 6), [0, 0, 255, 255]);
    assert_eq!(shown(2, 8, 6)[3], 0);
    assert_eq!(shown(2, 12, 12), [0, 0, 255, 255]);
}
