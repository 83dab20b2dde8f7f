//! Small pictures of works.

use medley_media::film::{FilmReader, film_limits};
use medley_media::{Filter, Format, Limits, Origin, Picture};
use medley_types::Medium;

/// Longest side in pixels.
pub const SIDE: u32 = 256;

/// Lines of a text that are shown, and characters of a line.
const LINES: usize = 12;
const COLUMNS: usize = 34;

/// A small picture of a picture, or of a film's first frame, as PNG; none of what is small enough itself, or is neither.
pub(super) fn of(medium: Medium, mime: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let picture = match medium {
        Medium::Image => medley_media::decode(bytes, &Limits::default()).ok()?,
        Medium::Video => first_frame(bytes)?,
        _ => return None,
    };
    let (width, height) = (picture.width(), picture.height());
    if width.max(height) <= SIDE && mime == "image/png" {
        return None;
    }
    let scale = (f64::from(SIDE) / f64::from(width.max(height))).min(1.0);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let small = picture
        .resize(side(width), side(height), Filter::Lanczos)
        .ok()?;
    medley_media::encode(&small, Format::Png, Origin::Generated { recipe: None }).ok()
}

/// The first frame of a film.
fn first_frame(bytes: &[u8]) -> Option<Picture> {
    let folder = tempfile::tempdir().ok()?;
    let path = folder.path().join("film.mp4");
    std::fs::write(&path, bytes).ok()?;
    let mut reader = FilmReader::open(&path, film_limits(), None).ok()?;
    Some(reader.next_frame().ok()??.picture)
}

/// The beginning of a text on a page, as SVG.
pub(super) fn page(text: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace().take(LINES * COLUMNS) {
        let word: String = word.chars().take(COLUMNS).collect();
        let length = |line: &String| line.chars().count();
        let full = lines
            .last()
            .is_some_and(|line| !line.is_empty() && length(line) + 1 + length(&word) > COLUMNS);
        if full {
            lines.push(String::new());
        }
        if lines.len() > LINES {
            break;
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE}" height="{SIDE}" viewBox="0 0 {SIDE} {SIDE}"><rect width="{SIDE}" height="{SIDE}" fill="#fff"/><g font-family="sans-serif" font-size="13" fill="#333">"##
    );
    for (number, line) in lines.iter().take(LINES).enumerate() {
        let y = 28 + number * 18;
        svg.push_str(&format!(r#"<text x="16" y="{y}">{}</text>"#, escaped(line)));
    }
    svg.push_str("</g></svg>");
    svg
}

/// Bars of a sound's picture.
const BARS: usize = 64;

/// A sound by how loud it is over time, as SVG; a line where it cannot be read.
pub(super) fn wave(bytes: Vec<u8>) -> String {
    let sound = medley_media::audio::decode(bytes, medley_media::audio::SoundLimits::default());
    let samples = sound.map_or_else(|_| Vec::new(), |sound| sound.to_mono().into_samples());
    let part = samples.len().div_ceil(BARS).max(1);
    let peak = |part: &[f32]| part.iter().fold(0.0f32, |most, s| most.max(s.abs()));
    let mut peaks: Vec<f32> = samples.chunks(part).map(peak).collect();
    peaks.resize(BARS, 0.0);
    let loudest = peaks.iter().copied().fold(0.01, f32::max);
    let mut path = String::new();
    for (bar, peak) in peaks.iter().enumerate() {
        let (x, half) = (2.0 + 4.0 * bar as f32, 1.0 + 90.0 * peak / loudest);
        let (from, to) = (128.0 - half, 128.0 + half);
        path.push_str(&format!("M{x} {from:.1}V{to:.1}"));
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE}" height="{SIDE}" viewBox="0 0 {SIDE} {SIDE}"><rect width="{SIDE}" height="{SIDE}" fill="#fff"/><path d="{path}" stroke="#b4552d" stroke-width="2.6" stroke-linecap="round"/></svg>"##
    )
}

/// A text as XML has it, without the characters that XML cannot have.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\u{FFFE}' | '\u{FFFF}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}
