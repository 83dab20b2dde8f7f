//! ffmpeg, asked by tests, and what it is shown.

use std::path::Path;
use std::process::Command;

use medley_media::*;

/// What ffmpeg or ffprobe says to these words, among which `FILE` is the file; none, with a word about it, where it is not
/// installed.
pub fn run(program: &str, words: &str, file: &Path) -> Option<Vec<u8>> {
    let words = words.split_whitespace();
    let words = words.map(|word| {
        if word == "FILE" {
            file.as_os_str()
        } else {
            word.as_ref()
        }
    });
    let Ok(output) = Command::new(program).args(words).output() else {
        println!("SKIPPED: {program} is not installed");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // Not a word of complaint.
    assert!(
        output.status.success() && said.is_empty(),
        "{program}: {said}"
    );
    Some(output.stdout)
}

/// The frames of a film as ffmpeg decodes them, in RGB.
pub fn by_ffmpeg(file: &Path) -> Option<Vec<u8>> {
    let words =
        "-v error -i FILE -sws_flags accurate_rnd+full_chroma_int -f rawvideo -pix_fmt rgb24 -";
    run("ffmpeg", words, file)
}

/// How far two pictures are apart in the mean.
pub fn mean_gap(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: u64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    sum as f64 / a.len() as f64
}

/// Moving colours: slopes, a disc that wanders, a patch of each primary.
pub fn pattern(width: u32, height: u32, count: u32) -> Vec<Picture> {
    let frame = |t: u32| {
        let pixel = |x: u32, y: u32| {
            let (cx, cy) = (width / 4 + t * width / (2 * count.max(1)), height / 2);
            let (dx, dy) = (x.abs_diff(cx), y.abs_diff(cy));
            if dx * dx + dy * dy < height * height / 25 {
                return [230, 60, 40];
            }
            if y > height * 7 / 8 {
                return [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3]]
                    [(4 * x / width) as usize % 4];
            }
            [
                (255 * x / width) as u8,
                (255 * y / height) as u8,
                (40 + 160 * t / count) as u8,
            ]
        };
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y)));
        Picture::new(width, height, Layout::Rgb, pixels.collect()).unwrap()
    };
    (0..count).map(frame).collect()
}
