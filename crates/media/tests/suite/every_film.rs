//! One film of every kind that is written, read by ffmpeg: how long, how many frames, at what rate, how near its pictures are, how
//! far sound and picture are apart. `cargo xtask prove film-files` asks a browser the same of the files, which `MEDLEY_FILMS` names
//! a folder for.

use std::path::Path;

use crate::ffmpeg::{by_ffmpeg, mean_gap, pattern, run};
use medley_media::film::*;
use medley_media::*;
use serde_json::{Value, json};

/// Moments a second of the sound.
const SOUND: u32 = 48_000;

struct Case {
    name: &'static str,
    codec: Codec,
    size: (u32, u32),
    rate: (u32, u32),
    sound: bool,
}

const fn case(
    name: &'static str,
    codec: Codec,
    size: (u32, u32),
    rate: (u32, u32),
    sound: bool,
) -> Case {
    Case {
        name,
        codec,
        size,
        rate,
        sound,
    }
}

const CASES: [Case; 10] = [
    case("h264-24.mp4", Codec::H264, (320, 180), (24, 1), true),
    case(
        "h264-ntsc.mp4",
        Codec::H264,
        (160, 120),
        (30_000, 1001),
        true,
    ),
    case("h264-60.mp4", Codec::H264, (128, 128), (60, 1), true),
    case("h264-8.mp4", Codec::H264, (128, 128), (8, 1), false),
    case("h264-odd.mp4", Codec::H264, (161, 91), (25, 1), true),
    case("av1-24.mp4", Codec::Av1, (320, 180), (24, 1), true),
    case("av1-30.mp4", Codec::Av1, (128, 128), (30, 1), false),
    case("palette.gif", Codec::H264, (128, 96), (20, 1), false),
    case("lossless.png", Codec::H264, (128, 96), (24, 1), false),
    case("lossy.webp", Codec::H264, (128, 96), (25, 1), false),
];

const FRAMES: u32 = 60;
/// The frame that is white, with a click in the sound.
const FLASH: usize = 36;

impl Case {
    fn rate(&self) -> Rate {
        Rate::new(self.rate.0, self.rate.1).unwrap()
    }

    /// The moving pattern under black and white blocks that say the frame's number.
    fn frames(&self) -> Vec<Picture> {
        let (width, height) = self.size;
        let numbered = |(number, frame): (u32, Picture)| {
            let mut pixels = frame.into_pixels();
            for (x, y) in (0..height / 8).flat_map(|y| (0..width / 8 * 6).map(move |x| (x, y))) {
                let bit = number >> (x / (width / 8)) & 1;
                let at = (y * width + x) as usize * 3;
                pixels[at..at + 3].fill(255 * bit as u8);
            }
            Picture::new(width, height, Layout::Rgb, pixels).unwrap()
        };
        let frames = pattern(width, height, FRAMES);
        let mut frames: Vec<Picture> = (0..).zip(frames).map(numbered).collect();
        frames[FLASH] = Picture::filled(self.size.0, self.size.1, [255; 3]).unwrap();
        frames
    }

    /// Silence with a click where the flash is.
    fn audio(&self) -> Audio {
        let count = self.rate().time_of(FRAMES.into()) * f64::from(SOUND);
        let click = (self.rate().time_of(FLASH as u64) * f64::from(SOUND)).round() as usize;
        let moment = |i: usize| match i.checked_sub(click) {
            Some(i) if i < 64 => [0.9, -0.9][i / 4 % 2],
            _ => 0.0,
        };
        let samples = (0..count as usize).map(moment);
        Audio::new(SOUND, 1, samples.collect()).unwrap()
    }

    fn write(&self, path: &Path) -> Written {
        let format = FilmFormat::from_path(path).unwrap();
        let mut options = FilmOptions::new(self.rate());
        options.codec = self.codec;
        options.audio = self.sound.then(|| self.audio());
        let mut writer = FilmWriter::create(path, format, options).unwrap();
        self.frames().iter().for_each(|f| writer.push(f).unwrap());
        writer.finish(Origin::Generated { recipe: None }).unwrap()
    }
}

#[test]
fn ffmpeg_reads_every_film() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("MEDLEY_FILMS");
    let folder = kept.as_ref().map_or(temporary.path(), Path::new);
    let mut manifest = Vec::new();
    for case in &CASES {
        let path = folder.join(case.name);
        let written = case.write(&path);
        assert_eq!(written.frames, u64::from(FRAMES));
        let stills = folder.join(format!("{}.frames", case.name));
        let clip = Clip::new(case.frames(), case.rate(), None).unwrap();
        if kept.is_some() {
            write_clip(&stills, &clip, FilmFormat::Frames, 100, Origin::Collected).unwrap();
        }
        let format = FilmFormat::from_path(&path).unwrap();
        let bytes = std::fs::metadata(&path).unwrap().len();
        let said = json!({
            "file": case.name, "mime": format.mime(), "bytes": bytes, "width": written.width, "height": written.height,
            "frames": FRAMES, "rate": case.rate().per_second(), "seconds": written.seconds, "sound": case.sound, "flash": FLASH,
        });
        manifest.push(said);
        // Debian's ffmpeg reads no animated WebP.
        if format != FilmFormat::WebP {
            let Some(found) = found_by_ffmpeg(case, &path, &clip) else {
                return;
            };
            println!("ffmpeg {found}");
        }
        if let Some(info) = FilmInfo::read(&path).unwrap() {
            let size = (info.width, info.height, info.frames as u64);
            assert_eq!(size, (written.width, written.height, written.frames));
            assert_eq!((info.rate, info.sound.is_some()), (case.rate(), case.sound));
            assert!((info.seconds - written.seconds).abs() < 0.001 && info.label.synthetic);
            let pictures = match case.codec {
                Codec::H264 => "H.264",
                Codec::Av1 => "av01",
            };
            assert_eq!(info.pictures, pictures);
        } else {
            assert_ne!(format, FilmFormat::Mp4);
        }
    }
    if kept.is_some() {
        let text = serde_json::to_string_pretty(&manifest).unwrap();
        std::fs::write(folder.join("manifest.json"), text).unwrap();
    }
}

/// What ffprobe and ffmpeg find, held against what was written; none where they are missing.
fn found_by_ffmpeg(case: &Case, path: &Path, clip: &Clip) -> Option<Value> {
    let words = "-v error -count_frames -select_streams v -of json -show_entries \
                 stream=codec_name,nb_read_frames,avg_frame_rate:format=duration FILE";
    let said: Value = serde_json::from_slice(&run("ffprobe", words, path)?).unwrap();
    let stream = &said["streams"][0];
    assert_eq!(stream["nb_read_frames"], FRAMES.to_string(), "{said}");
    let rate = stream["avg_frame_rate"].as_str().unwrap();
    assert_eq!(rate, format!("{}/{}", case.rate.0, case.rate.1), "{said}");
    // Of PNG it says no duration.
    let seconds = said["format"]["duration"].as_str();
    let seconds: Option<f64> = seconds.map(|seconds| seconds.parse().unwrap());
    if let Some(seconds) = seconds {
        assert!((seconds - clip.seconds()).abs() < 0.002, "{said}");
    }
    let raw = by_ffmpeg(path)?;
    let want: Vec<u8> = clip.frames().iter().flat_map(even).collect();
    let gap = mean_gap(&raw, &want);
    let allowed = if case.name.ends_with(".gif") {
        8.0
    } else {
        4.0
    };
    assert!(gap < allowed, "{}: {gap}", case.name);
    let mut found = json!({
        "file": case.name, "codec": stream["codec_name"], "frames": FRAMES, "rate": rate, "seconds": seconds,
        "mean_gap": (gap * 100.0).round() / 100.0,
    });
    if case.sound {
        let raw = run("ffmpeg", "-v error -i FILE -vn -f f32le -", path)?;
        let samples = raw
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b));
        let click = samples.clone().position(|s| s.abs() > 0.3).unwrap();
        let gap = click as f64 / f64::from(SOUND) - case.rate().time_of(FLASH as u64);
        assert!(gap.abs() < 0.02, "{}: {gap}", case.name);
        found["sound_after_picture_ms"] = json!((gap * 1e5).round() / 100.0);
    }
    Some(found)
}

/// The frame with the last row and column once more where a side is odd.
fn even(frame: &Picture) -> Vec<u8> {
    let (w, h) = (frame.width() as usize, frame.height() as usize);
    let row = |y: usize| {
        let row = &frame.pixels()[y.min(h - 1) * w * 3..][..w * 3];
        let last = &row[(w - 1) * 3..];
        [row, if w % 2 == 1 { last } else { &[] }].concat()
    };
    (0..h.next_multiple_of(2)).flat_map(row).collect()
}
