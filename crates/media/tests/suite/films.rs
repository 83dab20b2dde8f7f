//! Films, against themselves and against ffmpeg, which is skipped where it is missing.

use std::path::Path;

use crate::ffmpeg::{by_ffmpeg, mean_gap, pattern, run};
use medley_media::audio::SoundLimits;
use medley_media::film::*;
use medley_media::*;

fn rate(frames: u32) -> Rate {
    Rate::new(frames, 1).unwrap()
}

fn tone(seconds: f64, channels: u16) -> Audio {
    let moment = |i: usize| (i as f32 * 0.0576).sin() * 0.4;
    let count = (seconds * 48_000.0) as usize;
    let samples = (0..count).flat_map(|i| (0..channels).map(move |_| moment(i)));
    Audio::new(48_000, channels, samples.collect()).unwrap()
}

const RECIPE: &str = "{\"prompt\": \"a heart < & >\"}";

fn made() -> Origin<'static> {
    Origin::Generated {
        recipe: Some(RECIPE),
    }
}

#[test]
fn a_pattern_survives_mp4_in_our_reader_and_in_ffmpeg() {
    let folder = tempfile::tempdir().unwrap();
    for (width, height) in [(320, 240), (128, 128), (1280, 720)] {
        let path = folder.path().join(format!("{width}.mp4"));
        let frames = pattern(width, height, 12);
        let clip = Clip::new(frames, rate(24), None).unwrap();
        let written =
            write_clip(&path, &clip, FilmFormat::Mp4, FilmOptions::QUALITY, made()).unwrap();
        assert_eq!((written.frames, written.seconds), (12, 0.5));
        let got = read_clip(&path, film_limits(), None).unwrap();
        assert_eq!((got.frames().len(), got.rate()), (12, rate(24)));
        for (got, want) in got.frames().iter().zip(clip.frames()) {
            let gap = mean_gap(got.pixels(), want.pixels());
            assert!(gap < 4.0, "{width}x{height}: {gap}");
        }
        let worst = got.frames().iter().zip(clip.frames());
        let worst = worst
            .map(|(a, b)| mean_gap(a.pixels(), b.pixels()))
            .fold(0.0, f64::max);
        println!("{width}x{height}: our reader is {worst:.2} off in the mean");
        let Some(raw) = by_ffmpeg(&path) else {
            continue;
        };
        let want: Vec<u8> = clip
            .frames()
            .iter()
            .flat_map(|f| f.pixels().to_vec())
            .collect();
        let gap = mean_gap(&raw, &want);
        println!("{width}x{height}: ffmpeg is {gap:.2} off in the mean");
        assert!(gap < 4.0, "{gap}");
        let label = Label::of(&std::fs::read(&path).unwrap());
        assert_eq!(
            (label.recipe.as_deref(), label.synthetic),
            (Some(RECIPE), true)
        );
    }
}

const PROBE: &str = "-v error -count_frames -of default=nw=1 -show_entries \
     stream=codec_name,profile,width,height,avg_frame_rate,nb_read_frames,duration,color_range,color_space,\
     color_primaries,color_transfer,pix_fmt,start_time,sample_rate,channels FILE";

const PROBED: &str = "codec_name=h264 width=160 height=90 pix_fmt=yuv420p color_range=tv color_space=bt709 \
    color_transfer=bt709 color_primaries=bt709 nb_read_frames=16 codec_name=aac profile=LC sample_rate=48000 \
    channels=2 start_time=0.000000";

#[test]
fn ffprobe_reads_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    for (frames, seconds) in [(30, 1), (30000, 1001), (8, 1)] {
        let rate = Rate::new(frames, seconds).unwrap();
        let path = folder.path().join("film.mp4");
        let audio = tone(rate.time_of(16), 2);
        let clip = Clip::new(pattern(160, 90, 16), rate, Some(audio)).unwrap();
        write_clip(&path, &clip, FilmFormat::Mp4, 80, made()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let place = |name: &[u8]| bytes.windows(4).position(|w| w == name).unwrap();
        assert!(place(b"moov") < place(b"mdat"));
        let Some(said) = run("ffprobe", PROBE, &path) else {
            return;
        };
        let said = String::from_utf8(said).unwrap();
        println!("{said}");
        let rate_said = format!("avg_frame_rate={frames}/{seconds}");
        for want in PROBED.split_whitespace().chain([rate_said.as_str()]) {
            assert!(said.contains(want), "{want} in {said}");
        }
        for line in said
            .lines()
            .filter_map(|line| line.strip_prefix("duration="))
        {
            let duration: f64 = line.parse().unwrap();
            assert!((duration - rate.time_of(16)).abs() < 0.001, "{duration}");
        }
        run("ffmpeg", "-v warning -i FILE -f null -", &path);
    }
}

#[test]
fn a_flash_and_a_click_stay_together() {
    // A white frame among black ones at 1.5 s, and a click at the same time.
    let (at, fps) = (45usize, 30u32);
    let grey = |level| Picture::filled(320, 180, [level; 3]).unwrap();
    let frames = (0..90)
        .map(|i| grey(if i == at { 255 } else { 0 }))
        .collect();
    let mut samples = vec![0.0f32; 3 * 44_100];
    let click = at * 44_100 / fps as usize;
    samples[click..click + 64]
        .iter_mut()
        .enumerate()
        .for_each(|(i, s)| *s = if i % 8 < 4 { 0.9 } else { -0.9 });
    let audio = Audio::new(44_100, 1, samples).unwrap();
    let clip = Clip::new(frames, rate(fps), Some(audio)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("click.mp4");
    write_clip(&path, &clip, FilmFormat::Mp4, 80, Origin::Collected).unwrap();
    let loudest = |samples: &[f32]| {
        let most = samples.iter().fold(0.0f32, |most, s| most.max(s.abs()));
        assert!(most > 0.3, "{most}");
        samples.iter().position(|s| s.abs() > most / 2.0).unwrap()
    };
    let got = read_clip(&path, film_limits(), None).unwrap();
    let brightest = got
        .frames()
        .iter()
        .position(|f| f.pixels()[0] > 200)
        .unwrap();
    assert_eq!(brightest, at);
    let audio = got.audio().unwrap();
    assert!((audio.seconds() - 3.0).abs() < 0.001, "{}", audio.seconds());
    let gap = loudest(audio.samples()) as f64 / 44_100.0 - 1.5;
    println!("our reader: {:.1} ms apart", gap * 1000.0);
    assert!(gap.abs() < 0.02, "{gap}");
    let Some(raw) = run("ffmpeg", "-v warning -i FILE -vn -f f32le -", &path) else {
        return;
    };
    let samples: Vec<f32> = raw
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&b| f32::from_le_bytes(b))
        .collect();
    let gap = loudest(&samples) as f64 / 44_100.0 - 1.5;
    println!("ffmpeg: {:.1} ms apart", gap * 1000.0);
    assert!(gap.abs() < 0.02, "{gap}");
}

#[test]
fn a_tone_comes_back_out_of_aac() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tone.mp4");
    let want = tone(2.0, 2);
    let clip = Clip::new(pattern(64, 64, 20), rate(10), Some(want.clone())).unwrap();
    write_clip(&path, &clip, FilmFormat::Mp4, 80, Origin::Collected).unwrap();
    let mut reader = FilmReader::open(&path, film_limits(), None).unwrap();
    assert!(reader.has_audio());
    let got = reader.audio(SoundLimits::default()).unwrap().unwrap();
    assert_eq!(
        (got.frames(), got.channels(), got.rate()),
        (96_000, 2, 48_000)
    );
    let part = 20_000..160_000;
    let (mut noise, mut signal) = (0.0, 0.0);
    for (a, b) in got.samples()[part.clone()]
        .iter()
        .zip(&want.samples()[part])
    {
        noise += f64::from(a - b).powi(2);
        signal += f64::from(*b).powi(2);
    }
    let decibels = 10.0 * (signal / noise).log10();
    println!("{decibels:.1} dB above the noise");
    assert!(decibels > 25.0, "{decibels}");
    // Frame by frame and again, the same pictures.
    let first = reader.next_frame().unwrap().unwrap();
    reader.rewind().unwrap();
    assert_eq!(reader.next_frame().unwrap().unwrap(), first);
}

#[test]
fn every_other_form_comes_back_with_its_time_and_label() {
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip::new(pattern(48, 32, 10), rate(30), None).unwrap();
    for (name, format, allowed) in [
        ("a.gif", FilmFormat::Gif, 8.0),
        ("a.png", FilmFormat::Apng, 0.0),
        ("a.webp", FilmFormat::WebP, 0.0),
        ("frames", FilmFormat::Frames, 0.0),
    ] {
        let path = folder.path().join(name);
        assert_eq!(FilmFormat::from_path(&path).unwrap(), format);
        write_clip(&path, &clip, format, 100, made()).unwrap();
        let got = read_clip(&path, film_limits(), Some(rate(30))).unwrap();
        let sum: f64 = got.seconds();
        assert!((sum - clip.seconds()).abs() < 0.006, "{name}: {sum}");
        let (got_last, want_last) = (got.frames().last().unwrap(), clip.frames().last().unwrap());
        let gap = mean_gap(got_last.over([0; 3]).pixels(), want_last.pixels());
        println!(
            "{name}: {} frames, {gap:.2} off in the mean",
            got.frames().len()
        );
        assert!(gap <= allowed, "{name}: {gap}");
        let file = if path.is_dir() {
            path.join("frame-00001.png")
        } else {
            path.clone()
        };
        let label = Label::of(&std::fs::read(file).unwrap());
        assert_eq!(
            (label.recipe.as_deref(), label.synthetic),
            (Some(RECIPE), true),
            "{name}"
        );
        if path.is_file() && name != "a.webp" {
            // Debian's ffmpeg reads no animated WebP.
            let words =
                "-v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 FILE";
            if let Some(said) = run("ffprobe", words, &path) {
                assert_eq!(String::from_utf8(said).unwrap().trim(), "10", "{name}");
            }
        }
        let again = write_clip(&path, &clip, format, 100, made());
        assert_eq!(again.is_ok(), format != FilmFormat::Frames, "{name}");
    }
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mp4");
    let sound = Some(tone(0.1, 1));
    let clip = Clip::new(pattern(32, 32, 2), rate(10), sound).unwrap();
    assert!(
        write_clip(
            &folder.path().join("a.gif"),
            &clip,
            FilmFormat::Gif,
            80,
            made()
        )
        .is_err()
    );
    let small = Clip::new(pattern(8, 8, 2), rate(10), None).unwrap();
    assert!(write_clip(&path, &small, FilmFormat::Mp4, 80, made()).is_err());
    let mut writer =
        FilmWriter::create(&path, FilmFormat::Mp4, FilmOptions::new(rate(10))).unwrap();
    writer.push(&pattern(32, 32, 1)[0]).unwrap();
    assert!(writer.push(&pattern(34, 32, 1)[0]).is_err());
    drop(writer);
    let writer = FilmWriter::create(&path, FilmFormat::Mp4, FilmOptions::new(rate(10))).unwrap();
    assert!(writer.finish(made()).is_err());
    let missing = Path::new("/nowhere/at/all/film.mp4");
    assert!(FilmWriter::create(missing, FilmFormat::Mp4, FilmOptions::new(rate(10))).is_err());
    // Browsers would show these at a tenth of their rate.
    for (name, most) in [("a.gif", 50), ("a.webp", 90), ("a.png", 90)] {
        let path = folder.path().join(name);
        let format = FilmFormat::from_path(&path).unwrap();
        let create = |rate| FilmWriter::create(&path, format, FilmOptions::new(rate));
        assert!(create(rate(most)).is_ok());
        let error = create(rate(most + 1)).err().unwrap().to_string();
        assert!(
            error.contains(&format!("at most {most} a second")),
            "{error}"
        );
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn folders_have_limits_for_all_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames");
    let clip = Clip::new(pattern(32, 32, 4), rate(10), None).unwrap();
    write_clip(&path, &clip, FilmFormat::Frames, 100, Origin::Collected).unwrap();
    let bytes: u64 = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    let limits = |file_bytes| Limits {
        file_bytes,
        ..film_limits()
    };
    assert!(read_clip(&path, limits(bytes), None).is_ok());
    let error = read_clip(&path, limits(bytes - 1), None).unwrap_err();
    assert!(error.to_string().contains("bytes"), "{error}");
}

/// The place of a box's letters within a file.
fn place_of(bytes: &[u8], letters: &[u8; 4], count: usize) -> usize {
    let found = bytes.windows(4).enumerate().filter(|(_, w)| *w == letters);
    found.map(|(at, _)| at).nth(count).unwrap()
}

#[test]
fn heads_that_ask_for_more_than_there_is_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mp4");
    let clip = Clip::new(pattern(32, 32, 6), rate(10), Some(tone(0.6, 1))).unwrap();
    write_clip(&path, &clip, FilmFormat::Mp4, 60, made()).unwrap();
    let good = std::fs::read(&path).unwrap();
    let refused = |change: &dyn Fn(&mut [u8]), want: &str| {
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let error = read_clip(&path, film_limits(), None).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    };
    // The same bytes for every picture, most of the file each time.
    let half = (good.len() as u32 / 2).to_be_bytes();
    let sizes = place_of(&good, b"stsz", 0) + 16;
    let places = place_of(&good, b"stco", 0);
    assert_eq!(good[places + 4..places + 12], [0, 0, 0, 0, 0, 0, 0, 1 + 1]);
    refused(
        &|bytes| {
            for i in 0..6 {
                bytes[sizes + 4 * i..][..4].copy_from_slice(&half);
            }
        },
        "its samples lie over one another",
    );
    // Edit lists of the pictures and of the sound: the first tick, and the pause in place of it.
    let start = |track| place_of(&good, b"elst", track) + 4 + 8 + 8;
    refused(
        &|bytes| bytes[start(0)..][..8].copy_from_slice(&i64::MAX.to_be_bytes()),
        "its edit list is beyond all measure",
    );
    let pause = |bytes: &mut [u8], ticks: u64| {
        bytes[start(1)..][..8].copy_from_slice(&[0xFF; 8]);
        bytes[start(1) - 8..][..8].copy_from_slice(&ticks.to_be_bytes());
    };
    refused(&|bytes| pause(bytes, u64::MAX), "its edit list is beyond");
    // 23 hours of silence before the sound.
    refused(
        &|bytes| pause(bytes, 23 * 3600 * 5120),
        "the length of the sound is more than",
    );
}

#[test]
fn hostile_films_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("good.mp4");
    let clip = Clip::new(pattern(32, 32, 6), rate(10), Some(tone(0.6, 1))).unwrap();
    write_clip(&path, &clip, FilmFormat::Mp4, 60, made()).unwrap();
    let good = std::fs::read(&path).unwrap();
    let try_out = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match read_clip(&path, film_limits(), None) {
            // One of them may stand for long.
            Ok(clip) => {
                let changes = clip.frames().windows(2).filter(|w| w[0] != w[1]);
                assert!(changes.count() < 6);
            }
            Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
        }
        let _ = Label::of(bytes);
    };
    for cut in (0..good.len()).step_by(7) {
        try_out(&good[..cut]);
    }
    let head = good.windows(4).position(|w| w == b"mdat").unwrap();
    for at in 0..head {
        for value in [0, 0x7F, 0xFF] {
            let mut bytes = good.clone();
            bytes[at] = value;
            try_out(&bytes);
        }
    }
    for at in (head..good.len()).step_by(3) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        try_out(&bytes);
    }
    std::fs::write(&path, b"no film").unwrap();
    let error = read_clip(&path, film_limits(), None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("good.mp4: this is no film"), "{error}");
    let small = Limits {
        frames: 3,
        ..film_limits()
    };
    std::fs::write(&path, &good).unwrap();
    assert!(
        read_clip(&path, small, None)
            .unwrap_err()
            .to_string()
            .contains("6 frames")
    );
    let few = Limits {
        pixels: 1000,
        ..film_limits()
    };
    assert!(read_clip(&path, few, None).is_err());
}
