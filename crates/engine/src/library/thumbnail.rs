//! Small pictures of works.

use medley_media::{Filter, Format, Limits, Origin};
use medley_types::Medium;

/// Longest side in pixels.
pub const SIDE: u32 = 256;

/// Lines of a text that are shown, and characters of a line.
const LINES: usize = 12;
const COLUMNS: usize = 34;

/// A small picture of a picture, as PNG; none of what is small enough itself, or is no picture.
pub(super) fn of(medium: Medium, mime: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    if medium != Medium::Image {
        return None;
    }
    let picture = medley_media::decode(bytes, &Limits::default()).ok()?;
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
