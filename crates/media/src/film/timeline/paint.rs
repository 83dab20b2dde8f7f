//! Pixels of a frame: blending, masks, slow zooms.

use super::font::Mask;
use crate::error::MediaError;
use crate::picture::{Layout, Picture};

/// A frame that is painted on: height × width × red, green, blue.
#[derive(Clone, Debug)]
pub(crate) struct Canvas {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

impl Canvas {
    pub(crate) fn filled(width: u32, height: u32, colour: [u8; 3]) -> Self {
        let (width, height) = (width as usize, height as usize);
        Self {
            width,
            height,
            pixels: colour.repeat(width * height),
        }
    }

    pub(crate) fn into_picture(self) -> Result<Picture, MediaError> {
        Picture::new(
            self.width as u32,
            self.height as u32,
            Layout::Rgb,
            self.pixels,
        )
    }

    /// Goes over into `other` by `part` of 256.
    pub(crate) fn blend(&mut self, other: &[u8], part: u16) {
        for (here, &there) in self.pixels.iter_mut().zip(other) {
            let sum = u16::from(*here) * (256 - part) + u16::from(there) * part;
            *here = ((sum + 128) >> 8) as u8;
        }
    }

    /// Paints the mask at (`x`, `y`) in `colour`.
    pub(crate) fn stamp(&mut self, mask: &Mask, x: i64, y: i64, colour: [u8; 3]) {
        for (row, line) in mask.cover.chunks_exact(mask.width).enumerate() {
            let Some(y) = usize::try_from(y + row as i64)
                .ok()
                .filter(|&y| y < self.height)
            else {
                continue;
            };
            for (column, &cover) in line.iter().enumerate().filter(|(_, cover)| **cover > 0) {
                let Some(x) = usize::try_from(x + column as i64)
                    .ok()
                    .filter(|&x| x < self.width)
                else {
                    continue;
                };
                let at = (y * self.width + x) * 3;
                for (pixel, colour) in self.pixels[at..at + 3].iter_mut().zip(colour) {
                    let sum = u32::from(*pixel) * (255 - u32::from(cover))
                        + u32::from(colour) * u32::from(cover);
                    *pixel = ((sum + 127) / 255) as u8;
                }
            }
        }
    }

    /// Darkens a rectangle to `keep` of 256, cut to the frame.
    pub(crate) fn darken(&mut self, x: i64, y: i64, width: i64, height: i64, keep: u16) {
        let clip = |from: i64, length: i64, side: usize| {
            let end = (from + length).clamp(0, side as i64) as usize;
            (from.clamp(0, side as i64) as usize).min(end)..end
        };
        let (columns, rows) = (clip(x, width, self.width), clip(y, height, self.height));
        for y in rows {
            let line = &mut self.pixels
                [(y * self.width + columns.start) * 3..(y * self.width + columns.end) * 3];
            line.iter_mut()
                .for_each(|p| *p = ((u16::from(*p) * keep) >> 8) as u8);
        }
    }
}

/// The window (`left`, `top`, `width`, `height`) of `source` at the size of the canvas, between pixels by straight lines.
pub(crate) fn window(source: &Picture, [left, top, width, height]: [f64; 4], out: &mut Canvas) {
    const ONE: f64 = 256.0;
    let taps = |start: f64, length: f64, count: usize, most: usize| -> Vec<(usize, usize, u32)> {
        let step = length / count as f64;
        let tap = |i: usize| {
            let at = (start + (i as f64 + 0.5) * step - 0.5).clamp(0.0, (most - 1) as f64);
            let first = at as usize;
            (
                first,
                (first + 1).min(most - 1),
                ((at - first as f64) * ONE) as u32,
            )
        };
        (0..count).map(tap).collect()
    };
    let (w, h) = (source.width() as usize, source.height() as usize);
    let columns = taps(left, width, out.width, w);
    let rows = taps(top, height, out.height, h);
    let line = w * 3;
    let mut mixed = vec![0u16; line];
    let (from, to) = (columns[0].0 * 3, (columns[columns.len() - 1].1 + 1) * 3);
    for (out, &(upper, lower, part)) in out.pixels.chunks_exact_mut(out.width * 3).zip(&rows) {
        let upper = &source.pixels()[upper * line + from..upper * line + to];
        let lower = &source.pixels()[lower * line + from..lower * line + to];
        let part = part as u16;
        for (mixed, (&a, &b)) in mixed[from..to].iter_mut().zip(upper.iter().zip(lower)) {
            *mixed = u16::from(a) * (256 - part) + u16::from(b) * part;
        }
        for (pixel, &(a, b, part)) in out.as_chunks_mut::<3>().0.iter_mut().zip(&columns) {
            for (c, pixel) in pixel.iter_mut().enumerate() {
                let sum =
                    u32::from(mixed[a * 3 + c]) * (256 - part) + u32::from(mixed[b * 3 + c]) * part;
                *pixel = ((sum + (1 << 15)) >> 16) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_the_same_size_is_the_picture() {
        let pixels: Vec<u8> = (0..8 * 6 * 3).map(|i| (i * 7 % 256) as u8).collect();
        let picture = Picture::new(8, 6, Layout::Rgb, pixels.clone()).unwrap();
        let mut canvas = Canvas::filled(8, 6, [0; 3]);
        window(&picture, [0.0, 0.0, 8.0, 6.0], &mut canvas);
        assert_eq!(canvas.pixels, pixels);
        // A part of one pixel is that pixel everywhere.
        window(&picture, [3.5, 2.5, 0.001, 0.001], &mut canvas);
        let at = (2 * 8 + 3) * 3;
        for pixel in canvas.pixels.chunks_exact(3) {
            assert!(
                pixel
                    .iter()
                    .zip(&pixels[at..])
                    .all(|(a, b)| a.abs_diff(*b) <= 1)
            );
        }
    }

    #[test]
    fn blending_reaches_both_ends() {
        let mut canvas = Canvas::filled(2, 1, [10, 20, 30]);
        canvas.blend(&[200; 6], 0);
        assert_eq!(canvas.pixels[..3], [10, 20, 30]);
        canvas.blend(&[200; 6], 256);
        assert_eq!(canvas.pixels, [200; 6]);
    }
}
