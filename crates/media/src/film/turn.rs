//! Which way up a film is: telephones film as they are held and say how to turn it.

use image::DynamicImage;
use image::metadata::Orientation;

use crate::error::MediaError;
use crate::picture::{Layout, Picture};

/// How frames are turned before they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn(Orientation);

impl Turn {
    /// What the matrix of a track asks for (`tkhd`, ISO/IEC 14496-12, 6.2.2: a, b, u, c, d, v, x, y, w): quarter turns and mirrors.
    /// Frames stay as they are under any other.
    pub(super) fn of(matrix: [i32; 9]) -> Self {
        let [a, b, _, c, d, ..] = matrix.map(i32::signum);
        Self(match [a, b, c, d] {
            [0, 1, -1, 0] => Orientation::Rotate90,
            [-1, 0, 0, -1] => Orientation::Rotate180,
            [0, -1, 1, 0] => Orientation::Rotate270,
            [-1, 0, 0, 1] => Orientation::FlipHorizontal,
            [1, 0, 0, -1] => Orientation::FlipVertical,
            [0, 1, 1, 0] => Orientation::Rotate90FlipH,
            [0, -1, -1, 0] => Orientation::Rotate270FlipH,
            _ => Orientation::NoTransforms,
        })
    }

    /// Width and height when it is turned.
    pub(super) fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        match self.0 {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (height, width),
            _ => (width, height),
        }
    }

    /// The opaque picture as it is shown.
    pub(super) fn apply(self, picture: Picture) -> Result<Picture, MediaError> {
        if self.0 == Orientation::NoTransforms || picture.layout() != Layout::Rgb {
            return Ok(picture);
        }
        let (width, height) = (picture.width(), picture.height());
        let image = image::RgbImage::from_raw(width, height, picture.into_pixels());
        let image = image.ok_or_else(|| MediaError::damaged_film("a frame has too few pixels"))?;
        let mut image = DynamicImage::from(image);
        image.apply_orientation(self.0);
        let (width, height) = (image.width(), image.height());
        Picture::new(width, height, Layout::Rgb, image.into_rgb8().into_raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_go_where_the_matrix_sends_them() {
        // One bright pixel, left of the middle in the upper of two rows.
        let (width, height) = (3u32, 2u32);
        let pixels = (0..6).flat_map(|i| [if i == 0 { 255 } else { 0 }; 3]);
        let picture = Picture::new(width, height, Layout::Rgb, pixels.collect()).unwrap();
        for [a, b, c, d] in [
            [1, 0, 0, 1],
            [0, 1, -1, 0],
            [-1, 0, 0, -1],
            [0, -1, 1, 0],
            [-1, 0, 0, 1],
            [1, 0, 0, -1],
            [0, 1, 1, 0],
            [0, -1, -1, 0],
        ] {
            let turn = Turn::of([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]);
            let got = turn.apply(picture.clone()).unwrap();
            assert_eq!((got.width(), got.height()), turn.size((width, height)));
            // The upper left corner, and the side that is 0 or the farthest.
            let side = |along: i32, across: i32, length: u32| {
                if along + across < 0 { length - 1 } else { 0 }
            };
            let (x, y) = (side(a, c, got.width()), side(b, d, got.height()));
            let at = ((y * got.width() + x) * 3) as usize;
            assert_eq!(got.pixels()[at], 255, "{:?}", [a, b, c, d]);
        }
        assert_eq!(Turn::of([0; 9]).0, Orientation::NoTransforms);
    }
}
