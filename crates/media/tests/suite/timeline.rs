//! The compositor: what is seen and heard when, and how fast it is.

use std::ops::ControlFlow;
use std::path::Path;

use medley_media::audio::{Depth, SoundLimits, encode_wav};
use medley_media::film::timeline::{Compositor, Timeline, render};
use medley_media::film::*;
use medley_media::*;

fn rate(frames: u32) -> Rate {
    Rate::new(frames, 1).unwrap()
}

fn sound(path: &Path, seconds: f64, rate: u32, hertz: f64, level: f32) {
    let sample = |i: usize| {
        (i as f64 * hertz * std::f64::consts::TAU / f64::from(rate)).sin() as f32 * level
    };
    let samples = (0..(seconds * f64::from(rate)) as usize)
        .map(sample)
        .collect();
    let audio = Audio::new(rate, 1, samples).unwrap();
    std::fs::write(
        path,
        encode_wav(&audio, Depth::Int16, Origin::Collected).unwrap(),
    )
    .unwrap();
}

/// A slope of colours.
fn slope(width: u32, height: u32) -> Picture {
    let pixel = |x: u32, y: u32| [(255 * x / width) as u8, (255 * y / height) as u8, 128];
    let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y)));
    Picture::new(width, height, Layout::Rgb, pixels.collect()).unwrap()
}

/// Three colours of half a second each.
fn colours() -> Clip {
    let frame = |i: u32| {
        Picture::filled(
            64,
            64,
            [[200, 0, 0], [0, 200, 0], [0, 0, 200]][(i / 5) as usize],
        )
        .unwrap()
    };
    Clip::new((0..15).map(frame).collect(), rate(10), None).unwrap()
}

fn prepare(folder: &Path) {
    let still = encode(&slope(640, 400), Format::Png, Origin::Collected).unwrap();
    std::fs::write(folder.join("key.png"), still).unwrap();
    write_clip(
        &folder.join("clip.mp4"),
        &colours(),
        FilmFormat::Mp4,
        90,
        Origin::Collected,
    )
    .unwrap();
    sound(&folder.join("voice.wav"), 1.5, 22_050, 180.0, 0.4);
    sound(&folder.join("music.wav"), 2.0, 44_100, 440.0, 0.3);
}

const TEASER: &str = r##"{
  "size": [320, 180], "rate": 20, "background": "#102030", "fade_out": 0.4,
  "scenes": [
    {"title": {"text": "Red Hearts for everyone", "subtitle": "made by hand"}, "seconds": 1.5, "fade": 0.3},
    {"still": {"file": "key.png", "zoom": [1.0, 1.3]}, "seconds": 2, "fade": 0.5},
    {"clip": {"file": "clip.mp4", "repeat": true}, "seconds": 4, "fade": 0.5}
  ],
  "sounds": [
    {"file": "voice.wav", "role": "voice", "start": 1.5},
    {"file": "music.wav", "role": "music", "repeat": true, "fade_in": 0.2, "fade_out": 0.5}
  ],
  "captions": {"start": 1.5, "words": [
    {"word": "These", "start": 0.0, "end": 0.3, "sentence": 0}, {"word": "are", "start": 0.3, "end": 0.5},
    {"word": "yours.", "start": 0.5, "end": 0.9}]},
  "loudness": -18
}"##;

fn go_on() -> impl FnMut(timeline::Step) -> ControlFlow<()> {
    |_| ControlFlow::Continue(())
}

#[test]
fn a_teaser_shows_and_sounds_as_its_timeline_says() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let timeline = Timeline::parse(TEASER).unwrap();
    let path = folder.path().join("teaser.mp4");
    let mut steps = Vec::new();
    let written = render(
        &timeline,
        folder.path(),
        &path,
        Origin::Generated { recipe: None },
        &mut |step| {
            steps.push(step);
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    // 1.5 + 2 - 0.5 + 4 - 0.5 seconds.
    assert_eq!((written.frames, written.seconds), (130, 6.5));
    assert_eq!((steps[0].done, steps[0].total, steps.len()), (0, 130, 131));
    let clip = read_clip(&path, film_limits(), None).unwrap();
    assert!(Label::of(&std::fs::read(&path).unwrap()).synthetic);
    teaser_is_seen(&clip);
    let audio = clip.audio().unwrap();
    assert!((audio.seconds() - 6.5).abs() < 0.01, "{}", audio.seconds());
    let mut meter = ebur128::EbuR128::new(2, audio.rate(), ebur128::Mode::I).unwrap();
    meter.add_frames_f32(audio.samples()).unwrap();
    let loudness = meter.loudness_global().unwrap();
    assert!((loudness + 18.0).abs() < 0.7, "{loudness}");
}

fn teaser_is_seen(clip: &Clip) {
    let pixel = |frame: usize, x: usize, y: usize| {
        let at = (y * 320 + x) * 3;
        [0, 1, 2].map(|c| i32::from(clip.frames()[frame].pixels()[at + c]))
    };
    let near =
        |got: [i32; 3], want: [i32; 3]| got.iter().zip(want).all(|(g, w)| (g - w).abs() < 12);
    // The card's corner, and letters in its middle.
    assert!(near(pixel(15, 5, 5), [16, 32, 48]), "{:?}", pixel(15, 5, 5));
    let letters = clip.frames()[15]
        .pixels()
        .chunks_exact(3)
        .filter(|p| p.iter().all(|&c| c > 220))
        .count();
    assert!(letters > 300, "{letters}");
    // The still in its own time: columns that grow red.
    assert!(pixel(45, 300, 20)[0] > pixel(45, 20, 20)[0] + 150);
    // The clip: red, green, blue, red again; the still begins at 1.0 s and the clip at 2.5 s.
    for (seconds, want) in [
        (2.5 + 0.8, [0, 200, 0]),
        (2.5 + 1.2, [0, 0, 200]),
        (2.5 + 1.7, [200, 0, 0]),
        (2.5 + 2.2, [0, 200, 0]),
    ] {
        let got = pixel((seconds * 20.0) as usize, 160, 40);
        assert!(near(got, want), "{seconds}: {got:?}");
    }
    // Words at the bottom while they are said, and not before.
    let bright = |frame: usize| {
        let rows = 145 * 320 * 3..172 * 320 * 3;
        clip.frames()[frame].pixels()[rows]
            .chunks_exact(3)
            .filter(|p| p.iter().all(|&c| c > 215))
            .count()
    };
    assert!(
        bright(42) > 60 && bright(70) == 0,
        "{} {}",
        bright(42),
        bright(70)
    );
    // Gone at the end.
    assert!(
        near(pixel(129, 160, 40), [16, 32, 48]) || pixel(129, 160, 40)[1] < 60,
        "{:?}",
        pixel(129, 160, 40)
    );
}

#[test]
fn titles_break_and_shrink_to_fit() {
    let folder = tempfile::tempdir().unwrap();
    let long = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrente";
    let json = format!(
        r#"{{"size": [320, 180], "scenes": [{{"title": {{"text": "{long}"}}, "seconds": 1}}]}}"#
    );
    let mut compositor = Compositor::new(&Timeline::parse(&json).unwrap(), folder.path()).unwrap();
    let frame = compositor.next_frame().unwrap().unwrap();
    let lit = |x: usize| (0..180).any(|y| frame.pixels()[(y * 320 + x) * 3] > 120);
    assert!((0..320).any(lit) && !(0..12).any(lit) && !(308..320).any(lit));
    assert_eq!(compositor.frames(), 30);
}

/// Timelines, where `SCENE` is one that is right, and what is said of them.
const WRONG: [(&str, &str); 12] = [
    (
        r#"{"scenes": [{"still": {"file": "missing.png"}, "seconds": 1}]}"#,
        "scenes[0].still.file: there is no file missing.png",
    ),
    (
        r#"{"scenes": [{"title": {"text": "a"}}]}"#,
        "scenes[0]: it must have seconds",
    ),
    (
        r#"{"scenes": [{"seconds": 1}]}"#,
        "scenes[0]: it must have one of title, still and clip",
    ),
    (r#"{"scenes": []}"#, "scenes: there are 0"),
    (r#"{"size": [321, 180], SCENE}"#, "size: 321x180 must be"),
    (
        r#"{"background": "red", SCENE}"#,
        "background: \"red\" must be a colour",
    ),
    (
        r#"{"sounds": [{"file": "gone.wav", "role": "music"}], SCENE}"#,
        "sounds[0].file: there is no file gone.wav",
    ),
    (r#"{"font": "key.png", SCENE}"#, "is no TrueType"),
    (
        r#"{"scenes": [{"clip": {"file": "clip.mp4", "start": 9}}]}"#,
        "scenes[0].clip.start: 9 must be before",
    ),
    (
        r#"{"scenes": [{"clip": {"file": "voice.wav"}}]}"#,
        "voice.wav: this is no film",
    ),
    (
        r#"{"captions": {"words": [{"word": "a", "start": 2, "end": 1}]}, SCENE}"#,
        "captions.words[0]",
    ),
    (r#"{"colour": "red", SCENE}"#, "unknown field `colour`"),
];

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let path = folder.path().join("out.mp4");
    let scene = r#""scenes": [{"title": {"text": "a"}, "seconds": 1}]"#;
    let attempt = |timeline: &Timeline, path: &Path| {
        render(
            timeline,
            folder.path(),
            path,
            Origin::Collected,
            &mut go_on(),
        )
        .unwrap_err()
    };
    for (json, want) in WRONG {
        let error = match Timeline::parse(&json.replace("SCENE", scene)) {
            Ok(timeline) => attempt(&timeline, &path),
            Err(error) => error,
        };
        let said = error.to_string();
        assert!(said.contains(want) && said.lines().count() == 1, "{said}");
    }
    assert!(!path.exists());
    let timeline = Timeline::parse(TEASER).unwrap();
    let said = attempt(&timeline, &folder.path().join("teaser.gif")).to_string();
    assert!(said.contains("GIF has no sound"), "{said}");
}

#[test]
fn cancelling_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    let timeline = Timeline::parse(TEASER).unwrap();
    let stop = &mut |step: timeline::Step| {
        if step.done < 10 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let result = render(
        &timeline,
        folder.path(),
        &folder.path().join("no.mp4"),
        Origin::Collected,
        stop,
    );
    assert!(matches!(result, Err(MediaError::Cancelled)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before);
}

#[test]
fn a_clip_brings_its_own_sound() {
    let folder = tempfile::tempdir().unwrap();
    sound(&folder.path().join("a.wav"), 1.5, 48_000, 500.0, 0.5);
    let audio = audio::read(&folder.path().join("a.wav"), SoundLimits::default()).unwrap();
    let clip = colours().with_audio(Some(audio));
    write_clip(
        &folder.path().join("loud.mp4"),
        &clip,
        FilmFormat::Mp4,
        80,
        Origin::Collected,
    )
    .unwrap();
    let json = r#"{"size": [64, 64], "rate": 10, "scenes": [
        {"title": {"text": "a"}, "seconds": 1}, {"clip": {"file": "loud.mp4", "volume": 0}}]}"#;
    let timeline = Timeline::parse(json).unwrap();
    let compositor = Compositor::new(&timeline, folder.path()).unwrap();
    assert_eq!(compositor.frames(), 25);
    let mix = compositor.sound(&timeline, folder.path()).unwrap().unwrap();
    let loudest = |from: f64, to: f64| {
        let part = &mix.samples()[(from * 96_000.0) as usize..(to * 96_000.0) as usize];
        part.iter().fold(0.0f32, |most, s| most.max(s.abs()))
    };
    assert!(loudest(0.0, 0.98) < 0.01 && loudest(1.1, 2.3) > 0.05);
}

/// `cargo test --release --workspace --test suite -- timeline:: --ignored --nocapture`: half a minute of 720p.
#[test]
#[ignore = "a measurement"]
fn how_fast_720p_is() {
    let folder = tempfile::tempdir().unwrap();
    let still = encode(&slope(1920, 1200), Format::Jpeg, Origin::Collected).unwrap();
    std::fs::write(folder.path().join("key.jpg"), still).unwrap();
    let frames: Vec<Picture> = (0..24)
        .map(|i| slope(512 + i, 512).crop(i, 0, 512, 512).unwrap())
        .collect();
    let clip = Clip::new(frames, rate(12), None).unwrap();
    write_clip(
        &folder.path().join("clip.mp4"),
        &clip,
        FilmFormat::Mp4,
        80,
        Origin::Collected,
    )
    .unwrap();
    sound(&folder.path().join("voice.wav"), 20.0, 22_050, 180.0, 0.4);
    sound(&folder.path().join("music.wav"), 30.0, 44_100, 440.0, 0.3);
    let json = r#"{"scenes": [
        {"title": {"text": "A title", "subtitle": "with a second line"}, "seconds": 4, "fade": 1},
        {"still": {"file": "key.jpg", "zoom": [1, 1.3]}, "seconds": 14, "fade": 1},
        {"clip": {"file": "clip.mp4", "repeat": true}, "seconds": 14, "fade": 1}],
        "sounds": [{"file": "voice.wav", "role": "voice", "start": 2}, {"file": "music.wav", "role": "music"}],
        "captions": {"words": [{"word": "Words", "start": 4, "end": 20}]}}"#;
    let timeline = Timeline::parse(json).unwrap();
    let start = std::time::Instant::now();
    let compositor = Compositor::new(&timeline, folder.path()).unwrap();
    compositor.sound(&timeline, folder.path()).unwrap();
    println!("sound mixed in {:.2} s", start.elapsed().as_secs_f64());
    let start = std::time::Instant::now();
    let path = folder.path().join("out.mp4");
    let written = render(
        &timeline,
        folder.path(),
        &path,
        Origin::Collected,
        &mut go_on(),
    )
    .unwrap();
    let took = start.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!(
        "{:.1} s of 720p30 in {took:.1} s: {:.2} times real time, {bytes} bytes",
        written.seconds,
        written.seconds / took
    );
    let mut compositor = Compositor::new(&timeline, folder.path()).unwrap();
    let start = std::time::Instant::now();
    while compositor.next_frame().unwrap().is_some() {}
    println!("painting alone: {:.1} s", start.elapsed().as_secs_f64());
    if let Ok(keep) = std::env::var("MEDLEY_KEEP_FILM") {
        std::fs::copy(&path, keep).unwrap();
    }
}
