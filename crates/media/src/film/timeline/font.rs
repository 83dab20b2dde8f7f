//! Letters: shaped by the font's own rules, drawn with smooth edges.

use std::path::Path;

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use rustybuzz::ttf_parser::{GlyphId, OutlineBuilder};
use rustybuzz::{Face, UnicodeBuffer};

use crate::error::MediaError;

/// The bundled fonts (see `fonts/README.md`).
const REGULAR: &[u8] = include_bytes!("../../../fonts/Inter-Regular.ttf");
const BOLD: &[u8] = include_bytes!("../../../fonts/Inter-Bold.ttf");

/// Bytes of the largest font file.
const MAX_FONT: u64 = 64 << 20;

/// A font that text is set in, from left to right.
pub struct Font {
    bytes: std::borrow::Cow<'static, [u8]>,
}

/// How much of each pixel a text covers; rows from top to bottom.
#[derive(Clone, Debug)]
pub(crate) struct Mask {
    pub width: usize,
    pub height: usize,
    pub cover: Vec<u8>,
}

impl Font {
    /// Inter.
    pub fn regular() -> Self {
        Self {
            bytes: REGULAR.into(),
        }
    }

    /// Inter, bold.
    pub fn bold() -> Self {
        Self { bytes: BOLD.into() }
    }

    /// A TrueType or OpenType file.
    ///
    /// # Errors
    /// [`MediaError::Io`]; [`MediaError::Timeline`] if it is no font.
    pub fn open(path: &Path) -> Result<Self, MediaError> {
        let io = |e| MediaError::io(path, "read", e);
        let length = std::fs::metadata(path).map_err(io)?.len();
        let bytes = if length > MAX_FONT {
            Vec::new()
        } else {
            std::fs::read(path).map_err(io)?
        };
        let font = Self {
            bytes: bytes.into(),
        };
        if font.face().is_none() {
            let reason = format!("{} is no TrueType or OpenType font", path.display());
            return Err(MediaError::Timeline {
                at: "font".to_owned(),
                reason,
            });
        }
        Ok(font)
    }

    fn face(&self) -> Option<Face<'_>> {
        Face::from_slice(&self.bytes, 0)
    }

    /// How wide a line is, in pixels, at `size` pixels a line.
    pub(crate) fn width(&self, text: &str, size: f32) -> f32 {
        let Some(face) = self.face() else {
            return 0.0;
        };
        let scale = size / face.units_per_em() as f32;
        let total: i32 = shape(&face, text).iter().map(|glyph| glyph.advance).sum();
        total as f32 * scale
    }

    /// A line of text as a mask: as wide as the line, 1.4 times `size` high, the letters' foot at 1.05 times.
    pub(crate) fn line(&self, text: &str, size: f32) -> Mask {
        const FOOT: f32 = 1.05;
        const HEIGHT: f32 = 1.4;
        let width = (self.width(text, size).ceil() as usize).clamp(1, 16_384);
        let height = ((size * HEIGHT).ceil() as usize).clamp(1, 4096);
        let mut mask = Mask {
            width,
            height,
            cover: vec![0; width * height],
        };
        let Some(face) = self.face() else {
            return mask;
        };
        let scale = size / face.units_per_em() as f32;
        let mut pen = Pen {
            raster: Rasterizer::new(width, height),
            scale,
            origin: point(0.0, size * FOOT),
            bounds: (width as f32, height as f32),
            start: point(0.0, 0.0),
            at: point(0.0, 0.0),
        };
        let mut x = 0;
        for glyph in shape(&face, text) {
            pen.origin = point(
                (x + glyph.x) as f32 * scale,
                size * FOOT - glyph.y as f32 * scale,
            );
            face.outline_glyph(GlyphId(glyph.id), &mut pen);
            x += glyph.advance;
        }
        let cover = &mut mask.cover;
        pen.raster.for_each_pixel(|i, part| {
            if let Some(pixel) = cover.get_mut(i) {
                *pixel = (part.clamp(0.0, 1.0) * 255.0).round() as u8;
            }
        });
        mask
    }

    /// The text in lines that are at most `width` pixels wide, where words allow it.
    pub(crate) fn wrap(&self, text: &str, size: f32, width: f32) -> Vec<String> {
        let mut lines = Vec::new();
        for paragraph in text.lines() {
            let mut line = String::new();
            for word in paragraph.split_whitespace() {
                let longer = if line.is_empty() {
                    word.to_owned()
                } else {
                    format!("{line} {word}")
                };
                if line.is_empty() || self.width(&longer, size) <= width {
                    line = longer;
                } else {
                    lines.push(std::mem::replace(&mut line, word.to_owned()));
                }
            }
            lines.push(line);
        }
        lines
    }
}

struct Glyph {
    id: u16,
    advance: i32,
    x: i32,
    y: i32,
}

/// The glyphs of a line with their places, in the font's units.
fn shape(face: &Face<'_>, text: &str) -> Vec<Glyph> {
    let mut buffer = UnicodeBuffer::new();
    buffer.push_str(text);
    buffer.guess_segment_properties();
    let shaped = rustybuzz::shape(face, &[], buffer);
    let places = shaped.glyph_infos().iter().zip(shaped.glyph_positions());
    places
        .map(|(info, place)| Glyph {
            id: info.glyph_id as u16,
            advance: place.x_advance,
            x: place.x_offset,
            y: place.y_offset,
        })
        .collect()
}

/// Draws outlines into pixels. What lies outside is moved to the edge, as the raster takes nothing beyond.
struct Pen {
    raster: Rasterizer,
    scale: f32,
    origin: Point,
    bounds: (f32, f32),
    start: Point,
    at: Point,
}

impl Pen {
    fn place(&self, x: f32, y: f32) -> Point {
        point(
            (self.origin.x + x * self.scale).clamp(0.0, self.bounds.0),
            (self.origin.y - y * self.scale).clamp(0.0, self.bounds.1),
        )
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.start = self.place(x, y);
        self.at = self.start;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let end = self.place(x, y);
        self.raster.draw_line(self.at, end);
        self.at = end;
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let (bend, end) = (self.place(x1, y1), self.place(x, y));
        self.raster.draw_quad(self.at, bend, end);
        self.at = end;
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let (first, second, end) = (self.place(x1, y1), self.place(x2, y2), self.place(x, y));
        self.raster.draw_cubic(self.at, first, second, end);
        self.at = end;
    }

    fn close(&mut self) {
        self.raster.draw_line(self.at, self.start);
        self.at = self.start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_drawn_where_they_should_be() {
        let font = Font::bold();
        let mask = font.line("I", 100.0);
        let row = |y: usize| &mask.cover[y * mask.width..][..mask.width];
        // A stem between foot and height of capitals, nothing above and below.
        assert!(row(70).contains(&255));
        assert!(row(20).iter().all(|&c| c == 0) && row(120).iter().all(|&c| c == 0));
        // Kerning: the pair is narrower than its letters.
        assert!(font.width("AV", 100.0) < font.width("A", 100.0) + font.width("V", 100.0));
        for letters in ["ä", "Ж", "Ω", "ế", "€", "→"] {
            assert!(
                font.line(letters, 40.0).cover.iter().any(|&c| c > 200),
                "{letters}"
            );
        }
    }

    #[test]
    fn lines_break_between_words() {
        let font = Font::regular();
        let lines = font.wrap("one two three four\nfive", 20.0, 90.0);
        assert!(
            lines.len() >= 3 && lines.last().is_some_and(|l| l == "five"),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| font.width(line, 20.0) <= 90.0));
    }
}
